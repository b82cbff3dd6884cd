"""What a finished run said of its own images, as a table to work with.

from analysis.predict import saved_predictions
saved_predictions("run", split="test").query("label != decision").sort_values("probability")
"""

import pandas as pd

from analysis.found.run_option import find_run
from analysis.judge.calibrate import calibration_of
from analysis.judge.rules import DEFAULT_RULE
from cache.errors import UserError, one_of
from data.manifest import SPLITS
from heads.predictions import predictions_file, read_scores


def saved_predictions(
    run: str = "", *, data: str = "", split: str = "test", threshold: str | float = DEFAULT_RULE
) -> pd.DataFrame:
    """A row an image: path, digest, label, group, score, probability, threshold (a probability), decision, uncertain.

    run, data: as analysis.found.run_option.find_run takes them. threshold: a rule, or a probability of fake.

    Raises:
        UserError: no such run, or it did not score that split; an unknown rule.
    """
    one_of(split, SPLITS, what="split")
    folder = find_run(run, dataset=data)
    file, calibration = predictions_file(folder, split), calibration_of(folder)
    if not file.exists():
        raise UserError(f"{folder} has no {file.name}: its {split} images were not scored")
    at, table = calibration.named(threshold), read_scores(file)
    scores = table.score.to_numpy()
    return table.assign(
        probability=calibration.probability(scores), threshold=at.probability,
        decision=["fake" if each else "real" for each in scores >= at.score], uncertain=at.uncertain(scores),
    )  # fmt: skip
