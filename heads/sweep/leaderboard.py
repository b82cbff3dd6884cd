"""What a sweep found, setting by setting, and the choice among them; validation only."""

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from cache.errors import UserError
from heads.families import Family, Fitted
from heads.sweep import MEAN, VALIDATION, WORST

SEEN = ""  # instead of a generator: of the folds that leave none out
UNSEEN = "unseen "  # before a generator, in columns of leaderboard.csv
CURVE = ("epoch", "train_loss", "val_loss", "val_auc")


@dataclass(frozen=True)
class Trial:
    """One fitted member on some inputs. seconds: its share of what its bucket took."""

    inputs: str
    fitted: Fitted
    seconds: float


@dataclass(frozen=True)
class Setting:
    """A head's setting on some inputs, with one trial for each fold and seed.

    unseen: generator -> trials that it was left out of, where FOLDS says so; the others are in `trials`.
    """

    inputs: str
    config: Family
    trials: list[Trial]
    unseen: dict[str, list[Trial]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.config.name} on {self.inputs}"

    @property
    def fitted(self) -> list[Fitted]:
        return [trial.fitted for trial in self.trials]

    @property
    def diverged(self) -> int:
        """How many of its members stopped being finite."""
        return sum(each.diverged >= 0 for each in self.members)

    @property
    def usable(self) -> bool:
        """Every member has an epoch with a finite loss."""
        return all(np.isfinite(each.val_auc) and np.isfinite(each.val_loss) for each in self.members)

    @property
    def val_auc(self) -> float:
        """Mean over folds and seeds."""
        return float(np.mean([each.val_auc for each in self.fitted]))

    @property
    def val_auc_std(self) -> float:
        """Spread over folds and seeds; nan of a single member."""
        return float(np.std([each.val_auc for each in self.fitted], ddof=1)) if len(self.fitted) > 1 else float("nan")

    @property
    def standard_error(self) -> float:
        """Of val_auc over folds; seeds share a fold's images and are no further evidence."""
        folds: dict[int, list[float]] = defaultdict(list)
        for each in self.fitted:
            folds[each.member.fold].append(each.val_auc)
        means = [np.mean(of_fold) for of_fold in folds.values()]
        return float(np.std(means, ddof=1) / np.sqrt(len(means)))

    @property
    def val_loss(self) -> float:
        return float(np.mean([each.val_loss for each in self.fitted]))

    @property
    def size(self) -> int:
        """Numbers in one member; of a scikit-learn head the bytes that it is kept in."""
        return sum(tensor.numel() for tensor in self.fitted[0].parameters.values())

    @property
    def unseen_auc(self) -> dict[str, float]:
        """Generator -> AUC of its fakes against real images that are held out with them, the mean over seeds."""
        return {name: float(np.mean([each.fitted.val_auc for each in trials])) for name, trials in self.unseen.items()}

    def auc(self, by: str) -> float:
        """What CHOOSE goes by: validation, or the mean or the worst over generators that were left out."""
        if by == VALIDATION:
            return self.val_auc
        return float({MEAN: np.mean, WORST: np.min}[by](list(self.unseen_auc.values())))

    def rank(self, by: str = VALIDATION) -> tuple[float, float]:
        """Higher is better: AUC, ties by validation loss."""
        return self.auc(by), -self.val_loss

    @property
    def members(self) -> list[Fitted]:
        """All, those of `unseen` behind the others."""
        return self.fitted + [trial.fitted for trials in self.unseen.values() for trial in trials]


def settings(trials: list[Trial], generators: tuple[str, ...] = (), *, by: str = VALIDATION) -> list[Setting]:
    """Trials grouped by inputs and setting, the best first, those that diverged last.

    Args:
        generators: that the first folds leave out. Settings of which some of those folds are still missing are too.
    """
    groups: dict[tuple[str, Family], dict[str, list[Trial]]] = defaultdict(lambda: defaultdict(list))
    for trial in trials:
        member = trial.fitted.member
        left_out = generators[member.fold] if member.fold < len(generators) else SEEN
        groups[trial.inputs, member.config][left_out].append(trial)
    found = [Setting(*which, parts.pop(SEEN), dict(parts)) for which, parts in groups.items()
             if len(parts) == len(generators) + 1]  # fmt: skip
    return sorted(found, key=lambda each: (each.usable, *(each.rank(by) if each.usable else (0, 0))), reverse=True)


def choose(found: list[Setting], *, one_se: bool = False, by: str = VALIDATION) -> Setting:
    """The setting of best AUC, ties by loss; or the simplest within one standard error of it.

    The one-standard-error rule (Breiman et al. 1984) takes the smallest head, and of equals the one penalised most.

    Raises:
        UserError: every head diverged.
    """
    usable = [each for each in found if each.usable]
    if not usable:
        raise UserError("not one head has a finite validation loss; lower the learning rates in GRID")
    best = max(usable, key=lambda each: each.rank(by))
    if not one_se:
        return best
    margin = best.standard_error
    near = [each for each in usable if each.val_auc >= best.val_auc - margin]
    return min(near, key=lambda each: (each.size, -each.config.strength, -each.val_auc))


def table(found: list[Setting]) -> pd.DataFrame:
    """leaderboard.csv: one row a setting."""
    rows = [
        {
            "inputs": each.inputs, "head": each.config.name, "val_auc": each.val_auc, "val_auc_std": each.val_auc_std,
            "val_loss": each.val_loss, "members": len(each.trials), "diverged": each.diverged,
            "epoch": float(np.mean([f.epoch for f in each.fitted])), "size": each.size,
            "seconds": round(sum(trial.seconds for trial in each.trials), 3), **each.config.in_table(),
            **_of_unseen(each),
        }
        for each in found
    ]  # fmt: skip
    return pd.DataFrame(rows)


def _of_unseen(setting: Setting) -> dict[str, float]:
    """Columns of what generators that were left out say."""
    if not setting.unseen:
        return {}
    each = {f"{UNSEEN}{name}": auc for name, auc in sorted(setting.unseen_auc.items())}
    return {"mean_unseen_auc": setting.auc(MEAN), "worst_unseen_auc": setting.auc(WORST), **each}


def members(found: list[Setting]) -> pd.DataFrame:
    """members.csv: one row for each fold and seed of each setting."""
    rows = [
        {"inputs": each.inputs, "head": each.config.name, "fold": f.member.fold, "seed": f.member.seed,
         "val_auc": f.val_auc, "val_loss": f.val_loss, "epoch": f.epoch, "diverged": f.diverged}
        for each in found for f in each.members
    ]  # fmt: skip
    return pd.DataFrame(rows)


def curves(found: list[Setting]) -> pd.DataFrame:
    """curves.csv: the training curves of every head that was trained by gradient."""
    rows = [
        {"inputs": each.inputs, "head": each.config.name, "fold": f.member.fold, "seed": f.member.seed,
         **{name: getattr(point, name) for name in CURVE}}
        for each in found for f in each.members for point in f.curve
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["inputs", "head", "fold", "seed", *CURVE])
