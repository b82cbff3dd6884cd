"""By which rules validation scores fix a threshold."""

DEFAULT_RULE = "youden"
RULES = {
    DEFAULT_RULE: "highest balanced accuracy",
    "eer": "as many real ones called fake as fake ones missed",
    "fpr_5": "5 % of real ones called fake",
    "fpr_1": "1 % of real ones called fake",
    "half": "probability one half",
}
