"""Weights on disk: safetensors plus a JSON record in the file's header, loaded strictly."""

import json
import pickle
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from cache.atomic import replacing, write_bytes
from cache.errors import UserError


def save_weights(path: Path, tensors: dict[str, torch.Tensor], record: dict) -> None:
    """Write tensors (name -> any shape) and a JSON-able record into one safetensors file."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_bytes(path, save(tensors, metadata={"record": json.dumps(record)}))


def load_weights(path: Path) -> tuple[dict[str, torch.Tensor], dict]:
    """Tensors by name and the record.

    Raises:
        UserError: the file is missing or is not such a file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            record = json.loads((file.metadata() or {}).get("record", "{}"))
            return {name: file.get_tensor(name) for name in file.keys()}, record
    except (OSError, SafetensorError, ValueError) as error:
        raise UserError(f"cannot read the weights {path}: {error}") from error


def load_strictly(module: nn.Module, tensors: dict[str, torch.Tensor], *, where: str) -> None:
    """Fill `module` from `tensors`, every name and every shape.

    Raises:
        UserError: names that are missing, unexpected or of another shape; `module` may be partly filled then.
    """
    try:
        result = module.load_state_dict(tensors, strict=False)
    except RuntimeError as error:  # shapes differ: torch lists each with both shapes
        raise UserError(f"{where} does not fit {type(module).__name__}: {error}") from error
    problems = [
        f"{len(names)} {what} ({', '.join(names[:5])}{', ...' if len(names) > 5 else ''})"
        for what, names in (("missing", result.missing_keys), ("unexpected", result.unexpected_keys))
        if names
    ]
    if problems:
        raise UserError(f"{where} does not fit {type(module).__name__}: {'; '.join(problems)}")


def save_state(path: Path, state: dict) -> None:
    """Write nested dicts and lists of tensors, numbers and text, as torch.save does."""
    with replacing(path) as temporary, open(temporary, "wb") as file:  # through a path, a full disk is a RuntimeError
        torch.save(state, file)


def load_state(path: Path) -> dict:
    """What save_state wrote, on the CPU. No code in the file runs.

    Raises:
        UserError: the file is missing, truncated, or holds anything else than plain values.
    """
    cure = f"delete {path} to begin anew, or put a whole copy of it there"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(f"{path} holds more than tensors and plain values and was not read: {cure}") from error
    except (OSError, EOFError, RuntimeError, ValueError, KeyError) as error:
        raise UserError(f"cannot read the checkpoint {path} ({type(error).__name__}: {error}): {cure}") from error
    if not isinstance(state, dict):
        raise UserError(f"{path} is no checkpoint of this program: {cure}")
    return state
