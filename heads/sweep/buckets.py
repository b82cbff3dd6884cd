"""Heads that can be computed together: buckets, what they will take, and what became of them on disk."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import torch

from cache.checkpoint import load_weights, save_weights
from cache.errors import UserError
from cache.key import key
from heads.families import Family, Fitted, Member, from_json
from heads.sweep.leaderboard import Trial


@dataclass(frozen=True)
class Bucket:
    """Members that share what their family says (Family.shared), on one choice of inputs."""

    inputs: str
    members: tuple[Member, ...]

    @property
    def file(self) -> str:
        """Its name, a function of what is in it."""
        record = [(member.config.to_json(), member.fold, member.seed) for member in self.members]
        return f"{key({'inputs': self.inputs, 'members': record})}.safetensors"

    @property
    def unfinished(self) -> str:
        """The name of what is kept of it while it is trained."""
        return f"unfinished-{self.file}"

    @property
    def family(self) -> type[Family]:
        """Whose `fit` trains all of them."""
        return type(self.members[0].config)


def buckets(configs: list[Family], inputs: str, *, columns: int, folds: int, seeds: int) -> list[Bucket]:
    """Every setting in every fold, and from every seed where that makes a difference, in buckets."""
    groups: dict[tuple, list[Member]] = defaultdict(list)
    for config in configs:
        groups[config.shared(columns)] += [
            Member(config, fold, seed) for fold in range(folds) for seed in range(seeds if config.seeded else 1)
        ]
    made = []
    for group in groups.values():
        size = group[0].config.together(columns)
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
        **fitted.to_json(),
    }  # fmt: skip


def _trial(record: dict, parameters: dict[str, torch.Tensor]) -> Trial:
    member = Member(from_json(record["member"]["config"]), record["member"]["fold"], record["member"]["seed"])
    return Trial(record["inputs"], Fitted.of_json(record, member, parameters), record["seconds"])
