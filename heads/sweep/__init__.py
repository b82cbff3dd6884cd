"""A grid of heads over cached features: trained in buckets, judged on validation, one chosen."""

SEARCH = "search"  # the word of INPUTS that lets the convex heads choose
GENERATOR = "generator"  # the word of FOLDS that leaves one generator out at a time
DATE = "date"  # the word of FOLDS that judges each generator by heads that knew earlier ones alone
VALIDATION, MEAN, WORST = "validation", "mean", "worst"  # of CHOOSE
CHOICES = (VALIDATION, MEAN, WORST)
