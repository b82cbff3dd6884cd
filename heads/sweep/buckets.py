"""Heads that can be computed together: buckets, what they will take, and what became of them on disk."""

from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from cache.checkpoint import load_weights, save_weights
from cache.errors import UserError
from cache.key import key
from heads.families import Estimator, HeadConfig, Logistic, Ridge, Tail, TrainedConfig, from_json
from heads.fitting.estimators import has_seed
from heads.fitting.stack import Shape
from heads.fitting.task import Fitted, Member, Point
from heads.sweep.leaderboard import Trial

BUCKET_NUMBERS = 64_000_000  # parameters of the heads stacked together; training holds five copies
TAILS_TOGETHER = 2  # trained side by side on the same batches


@dataclass(frozen=True)
class Bucket:
    """Members of one kind and shape on one choice of inputs."""

    inputs: str
    members: tuple[Member, ...]

    @property
    def file(self) -> str:
        """Its name, a function of what is in it."""
        record = [(member.config.to_json(), member.fold, member.seed) for member in self.members]
        return f"{key({'inputs': self.inputs, 'members': record})}.safetensors"

    @property
    def epochs(self) -> int:
        """Of the member that is trained longest; 1 where nothing is trained by gradient."""
        return max(getattr(member.config, "epochs", 1) for member in self.members)


def is_convex(config: HeadConfig) -> bool:
    return isinstance(config, Ridge | Logistic)


def buckets(configs: list[HeadConfig], inputs: str, *, columns: int, folds: int, seeds: int) -> list[Bucket]:
    """Every setting in every fold, and from every seed where that makes a difference, in buckets."""
    groups: dict[tuple, list[Member]] = defaultdict(list)
    for config in configs:
        groups[_kind(config, columns)] += [
            Member(config, fold, seed) for fold in range(folds) for seed in range(seeds if _has_seed(config) else 1)
        ]
    made = []
    for group in groups.values():
        size = _together(group[0].config, columns)
        made += [Bucket(inputs, tuple(group[at : at + size])) for at in range(0, len(group), size)]
    return made


def save_trials(path: Path, trials: list[Trial]) -> None:
    tensors = {
        f"{number} {name}": tensor
        for number, trial in enumerate(trials)
        for name, tensor in trial.fitted.parameters.items()
    }
    save_weights(path, tensors, {"trials": [_trial_record(trial) for trial in trials]})


def load_trials(path: Path) -> list[Trial]:
    """Raises: UserError if the file is damaged."""
    tensors, record = load_weights(path)
    parameters: dict[int, dict[str, torch.Tensor]] = defaultdict(dict)
    for name, tensor in tensors.items():
        number, _, parameter = name.partition(" ")
        parameters[int(number)][parameter] = tensor
    try:
        return [_trial(each, parameters[number]) for number, each in enumerate(record["trials"])]
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{path} holds no trained heads ({error!r}): delete it and run the same command again"
        ) from error


def _trial_record(trial: Trial) -> dict:
    fitted, member = trial.fitted, trial.fitted.member
    return {
        "inputs": trial.inputs, "seconds": trial.seconds,
        "member": {"config": member.config.to_json(), "fold": member.fold, "seed": member.seed},
        "fitted": {name: getattr(fitted, name) for name in ("val_auc", "val_loss", "epoch", "diverged")},
        "curve": [list(asdict(point).values()) for point in fitted.curve],
    }  # fmt: skip


def _trial(record: dict, parameters: dict[str, torch.Tensor]) -> Trial:
    member = Member(from_json(record["member"]["config"]), record["member"]["fold"], record["member"]["seed"])
    curve = [Point(*point) for point in record["curve"]]
    return Trial(record["inputs"], Fitted(member, parameters, **record["fitted"], curve=curve), record["seconds"])


def _kind(config: HeadConfig, columns: int) -> tuple:
    """What members of a bucket share."""
    if isinstance(config, Tail):
        return "tail", config.batch
    if isinstance(config, TrainedConfig):
        return Shape.of(config, columns), config.batch
    return ("sklearn", config) if isinstance(config, Estimator) else ("convex",)


def _together(config: HeadConfig, columns: int) -> int:
    """How many members a bucket may hold."""
    if isinstance(config, Tail):
        return TAILS_TOGETHER
    if isinstance(config, TrainedConfig):
        return max(1, BUCKET_NUMBERS // Shape.of(config, columns).parameters)
    return 1_000_000


def _has_seed(config: HeadConfig) -> bool:
    return has_seed(config) if isinstance(config, Estimator) else isinstance(config, TrainedConfig)
