"""The state of a training, in last.pt: with it a stopped training goes on as if it had never stopped.

Random states are not in it, because randomness is a function of (seed, epoch, step); nor is the schedule's.
"""

from dataclasses import dataclass, field, fields
from pathlib import Path

import torch
from torch import nn

from cache.checkpoint import load_state, load_strictly, save_state
from cache.errors import UserError
from cache.key import differences
from cache.records import from_plain
from finetune.detectors.detector_record import checked_record
from finetune.training.epochs import Epoch
from finetune.training.job import STATE

FILE = STATE
ENTRIES = ("made_from", "detector", "optimiser", "scaler", "average", "epoch", "step", "best", "accumulate", "sums",
           "history")  # fmt: skip
SUMS = 3  # loss, images called rightly, images; of the epoch so far


@dataclass
class Standing:
    """Where a training stands. step: in the epoch. best: number of the epoch that is kept, -1 before there is one.

    sums: (SUMS,) float64. accumulate: parts that a step is computed in, which may grow on a small GPU.
    """

    accumulate: int
    epoch: int = 0
    step: int = 0
    best: int = -1
    sums: torch.Tensor = field(default_factory=lambda: torch.zeros(SUMS, dtype=torch.float64))
    history: list[Epoch] = field(default_factory=list)


@dataclass(frozen=True)
class Learner:
    """Everything that training changes. average: of the weights, None without ema."""

    detector: nn.Module
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: nn.Module | None


def save(path: Path, made_from: dict, learner: Learner, standing: Standing) -> None:
    """made_from: JSON-able; what `load` compares."""
    save_state(path, {
        "made_from": made_from,
        "detector": learner.detector.state_dict(),
        "optimiser": learner.optimiser.state_dict(),
        "scaler": learner.scaler.state_dict(),
        "average": learner.average.state_dict() if learner.average else None,
        "epoch": standing.epoch, "step": standing.step, "best": standing.best, "accumulate": standing.accumulate,
        "sums": standing.sums.cpu(), "history": [each.to_json() for each in standing.history],
    })  # fmt: skip


def load(path: Path, made_from: dict, learner: Learner) -> tuple[Standing, str]:
    """Fill the learner; where it stands, and a warning ('' if all is well).

    An optimiser state that does not fit is left out with a warning: the weights are worth more than it.

    Raises:
        UserError: a damaged file, a checkpoint of another recipe, data set or head, or of another network.
    """
    state = load_state(path, ENTRIES)
    try:
        _refuse_other(path, made_from, state["made_from"])
        standing = _standing(state)
        load_strictly(learner.detector, state["detector"], where=str(path))
        if learner.average:
            load_strictly(learner.average, state["average"], where=f"{path} (average)")
        return standing, _load_optimiser(path, learner, state)
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} is no checkpoint of this program, it lacks {error}: delete it to begin anew"
        ) from error


def _standing(state: dict) -> Standing:
    """Raises: UserError for entries of other types, or that contradict each other."""
    entries = {each.name: state[each.name] for each in fields(Standing)}
    found = from_plain(Standing, entries, makers={torch.Tensor: lambda sums: sums}, where="a checkpoint")
    sums = isinstance(found.sums, torch.Tensor) and (found.sums.shape, found.sums.dtype) == ((SUMS,), torch.float64)
    counted = found.accumulate > 0 and found.step >= 0 and -1 <= found.best <= found.epoch == len(found.history)
    if not sums or not counted:
        raise UserError("the checkpoint's counts and sums contradict each other: delete it to begin anew")
    return found


def refuse_other_best(path: Path, run: str, standing: Standing) -> None:
    """The weights of the best epoch lie beside the checkpoint that speaks of them.

    They may also be those of an epoch behind the checkpoint, which is trained again then: they are written first.

    Raises:
        UserError: they are missing, or are those of another training or epoch.
    """
    made = checked_record(path).made
    epoch = made.get("epoch", 0)
    if made.get("run") != run or (epoch != standing.best and epoch <= standing.epoch):
        raise UserError(
            f"{path} is epoch {epoch} of {made.get('run')}, and the checkpoint beside it speaks of epoch "
            f"{standing.best} of {run}: copy the two together, or delete both to begin anew"
        )


def _refuse_other(path: Path, expected: dict, found: dict) -> None:
    lines = differences(expected, found)
    if lines:
        raise UserError(
            f"{path} is the checkpoint of another training:\n  " + "\n  ".join(lines[:10]) + "\n"
            "Give it to the command that made it, or delete it to begin anew."
        )


def _load_optimiser(path: Path, learner: Learner, state: dict) -> str:
    try:
        _refuse_other_shapes(learner.optimiser, state["optimiser"])
        learner.optimiser.load_state_dict(state["optimiser"])
        learner.scaler.load_state_dict(state["scaler"])
    except (ValueError, KeyError, TypeError, RuntimeError, IndexError, AttributeError) as error:
        return f"warning: the optimiser's state in {path} does not fit ({error}): going on from its weights alone"
    return ""


def _refuse_other_shapes(optimiser: torch.optim.Optimizer, state: dict) -> None:
    """PyTorch looks at the number of parameters only, and fails at the first step."""
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    for number, of_one in state["state"].items():
        for name, value in of_one.items():
            shape = parameters[number].shape
            if isinstance(value, torch.Tensor) and value.ndim and value.shape != shape:
                raise ValueError(f"{name} of parameter {number} is {tuple(value.shape)}, expected {tuple(shape)}")
