"""By which rules validation scores fix a threshold, one entry each.

`RULES` is read by `calibrate`, the options of make predict, the page, summary.json and the model card, in its order.
One more needs no change here: a module of your own registers it, and PLUGINS=module adds it to a command.

    from analysis.judge.rules import Rule, register

    register(Rule("careful", "a false alarm as bad as ten misses",
                  lambda cuts: cuts.lowest(cuts.missed + 10 * cuts.alarms)))

This module is imported with the options, and imports no library for it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cache.errors import UserError, one_of

if TYPE_CHECKING:
    from analysis.judge.calibrate import Cuts

DEFAULT_RULE = "youden"  # decides wherever no other is asked for
GIVEN = "given"  # stands where a rule's name would, for a threshold that was given as a number


@dataclass(frozen=True)
class Rule:
    """meaning: what its threshold does on validation. place: every place where a threshold can lie -> its logit."""

    name: str
    meaning: str
    place: Callable[["Cuts"], float]


RULES: dict[str, Rule] = {}


def register(rule: Rule) -> None:
    """Add a rule behind those that are there.

    Raises:
        UserError: its name is taken, or is no word.
    """
    if rule.name in RULES or rule.name == GIVEN or not rule.name.isidentifier():
        raise UserError(f"a threshold rule cannot be called {rule.name!r}: expected a name of letters, digits and _ "
                        f"that is none of {', '.join((*RULES, GIVEN))}")  # fmt: skip
    RULES[rule.name] = rule


def given_probability(word: str) -> float | None:
    """What THRESHOLD= gives as a number, a probability of fake; None where it names a rule.

    Raises:
        UserError: neither a rule nor a probability.
    """
    try:
        probability = float(word)
    except ValueError:
        one_of(word, RULES, what="THRESHOLD")
        return None
    if not 0 < probability < 1:
        raise UserError(f"THRESHOLD={word}: a number is a probability of fake, more than 0 and less than 1; from it on "
                        f"an image is called fake. Rules: {', '.join(RULES)}")  # fmt: skip
    return probability


# Youden 1950. Of equally good places the lowest is taken.
register(Rule("youden", "highest balanced accuracy", lambda cuts: cuts.lowest(cuts.missed + cuts.alarms)))
register(Rule("eer", "as many real ones called fake as fake ones missed",
              lambda cuts: cuts.lowest(abs(cuts.missed - cuts.alarms))))  # fmt: skip
register(Rule("fpr_5", "5 % of real ones called fake", lambda cuts: cuts.sparing(0.05)))
register(Rule("fpr_1", "1 % of real ones called fake", lambda cuts: cuts.sparing(0.01)))
register(Rule("half", "probability one half", lambda cuts: 0.0))
