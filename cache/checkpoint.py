"""Weights on disk: safetensors plus a JSON record in the file's header, loaded strictly; the state of a training.

Both carry a checksum of every name, number and record in them, which is checked whenever they are opened: weights that
changed would give other scores without a word. The record has one of its own beside it, so that it can be read and
believed without the tensors, and without PyTorch, which this file imports only where there are tensors.

Files from before there were checksums are opened unchecked, and a line says so, because what they hold may have taken
days. One that has merely lost its checksum does not look like them. Of files from before records had their own, all is
read to know the record.
"""

import io
import json
import pickle
import sys
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xxhash
from safetensors import SafetensorError, safe_open

from cache.atomic import write_bytes
from cache.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import nn

# In a header's metadata: checksum of all, checksum of the record, record; one entry, because several have no order.
SEALED = "sealed record"
CHECKED = "checked record"  # the same from before records had a checksum of their own
UNCHECKED = "record"  # and from before there were checksums
CHECKSUM = "checksum"  # an entry of a state
CURE = "Delete it, or put a whole copy of it there, and make the run again."


def save_weights(path: Path, tensors: dict[str, "torch.Tensor"], record: dict) -> None:
    """Write tensors (name -> any shape) and a JSON-able record into one safetensors file."""
    from safetensors.torch import save

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(record)
    write_bytes(path, save(tensors, metadata={SEALED: f"{checksum([text, tensors])} {_text_checksum(text)} {text}"}))


def load_weights(path: Path) -> tuple[dict[str, "torch.Tensor"], dict]:
    """Tensors by name and the record.

    Raises:
        UserError: the file is missing, is not such a file, or is not what was written.
    """
    header = _header(path)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (OSError, SafetensorError, ValueError) as error:
        raise UserError(f"cannot read the weights {path}: {error}. {CURE}") from error
    if not header.of_all:
        _say_unchecked(path)
    elif header.of_all != checksum([header.text, tensors]):
        raise UserError(f"the weights {path} are not what was written, their checksum does not match. {CURE}")
    return tensors, header.record


def read_record(path: Path) -> dict:
    """The record alone, by its own checksum. Tensors that changed are found by load_weights, which reads them.

    Raises:
        UserError: the file is missing, cut off or not such a file, or the record is not what was written.
    """
    header = _header(path)
    return header.record if header.of_record else load_weights(path)[1]


@dataclass(frozen=True)
class _Header:
    """text: the record as it was written. of_all, of_record: checksums, '' in files that have none."""

    text: str
    of_all: str = ""
    of_record: str = ""

    @classmethod
    def of(cls, metadata: dict[str, str]) -> "_Header":
        if SEALED in metadata:
            of_all, of_record, text = metadata[SEALED].split(" ", 2)
            return cls(text, of_all, of_record)
        if CHECKED in metadata:
            of_all, text = metadata[CHECKED].split(" ", 1)
            return cls(text, of_all)
        return cls(metadata.get(UNCHECKED, "null"))

    @property
    def record(self) -> Any:
        return json.loads(self.text)


def _header(path: Path) -> _Header:
    """A file's header, read without any tensor. Raises: UserError as read_record."""
    try:
        with safe_open(path, framework="np") as file:
            header = _Header.of(file.metadata() or {})
        plain = isinstance(header.record, dict)
    except (OSError, SafetensorError, ValueError, RecursionError) as error:
        raise UserError(f"cannot read the weights {path}: {error}. {CURE}") from error
    if not plain:
        raise UserError(f"cannot read the weights {path}: there is no record of this program in it. {CURE}")
    if header.of_record and header.of_record != _text_checksum(header.text):
        raise UserError(
            f"the record of the weights {path} is not what was written, its checksum does not match. {CURE}"
        )
    return header


def load_strictly(module: "nn.Module", tensors: dict[str, "torch.Tensor"], *, where: str) -> None:
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
    import torch

    buffer = io.BytesIO()  # on a full disk torch.save fails in its own words
    torch.save({**state, CHECKSUM: checksum(state)}, buffer)
    write_bytes(path, buffer.getbuffer())


def load_state(path: Path, names: Collection[str]) -> dict:
    """What save_state wrote, on the CPU. No code in the file runs.

    Args:
        names: of all its entries.

    Raises:
        UserError: the file is missing, truncated, not what was written, or holds anything else than plain values.
    """
    import torch

    cure = f"delete {path} to begin anew, or put a whole copy of it there"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file makes of PyTorch's instructions
        if holds_more(error):
            raise UserError(f"{path} holds more than tensors and plain values and was not read: {cure}") from error
        raise UserError(f"cannot read the checkpoint {path} ({type(error).__name__}: {error}): {cure}") from error
    if not isinstance(state, dict) or state.keys() - {CHECKSUM} != set(names):
        raise UserError(f"{path} is no checkpoint of this program: {cure}")
    if CHECKSUM not in state:
        _say_unchecked(path)
    elif state.pop(CHECKSUM) != checksum(state):
        raise UserError(f"the checkpoint {path} is not what was written, its checksum does not match: {cure}")
    return state


def holds_more(error: Exception) -> bool:
    """Whether torch.load refused a file for what it holds beside tensors, which could run.

    Its own words advise to load it all the same, with weights_only off, and are not for anybody to read.
    """
    return isinstance(error, pickle.UnpicklingError) or "weights_only" in str(error)


def _text_checksum(text: str) -> str:
    """xxh3 of a text: 32 hex digits."""
    return xxhash.xxh3_128_hexdigest(text.encode())


def checksum(value: Any) -> str:
    """xxh3 of nested dicts and lists of tensors and plain values, dicts in any order: 32 hex digits."""
    hasher = xxhash.xxh3_128()
    _feed(hasher, value)
    return hasher.hexdigest()


def _feed(hasher: xxhash.xxh3_128, value: Any) -> None:
    """Every part behind what it is, and how large: no two values are the same bytes."""
    import torch

    if isinstance(value, torch.Tensor):
        hasher.update(f"{value.dtype} {tuple(value.shape)};".encode())
        hasher.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    elif isinstance(value, dict):
        hasher.update(f"dict {len(value)};".encode())
        for name in sorted(value, key=repr):
            _feed(hasher, name)
            _feed(hasher, value[name])
    elif isinstance(value, list | tuple):
        hasher.update(f"list {len(value)};".encode())
        for each in value:
            _feed(hasher, each)
    else:
        text = repr(value)
        hasher.update(f"{type(value).__name__} {len(text)};{text}".encode(errors="surrogatepass"))


@cache
def _say_unchecked(path: Path) -> None:
    """Say that a file is opened unchecked, once however often it is opened."""
    print(f"note: {path} was written before weights had checksums, and is used unchecked", file=sys.stderr, flush=True)
