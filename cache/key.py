"""From a record to its key: frozen dataclass -> canonical JSON -> 12 hex digits of its sha256."""

import hashlib
import json
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any


def plain(record: Any) -> Any:
    """A dataclass as nested dicts; anything else unchanged."""
    return asdict(record) if is_dataclass(record) and not isinstance(record, type) else record


def canonical(record: Any) -> str:
    """The one JSON text of a record: sorted names, no spaces, no NaN."""
    return json.dumps(plain(record), sort_keys=True, separators=(",", ":"), allow_nan=False)


def key(record: Any) -> str:
    """12 hex digits that change whenever any field of `record` changes."""
    return hashlib.sha256(canonical(record).encode()).hexdigest()[:12]


def file_digest(path: Path) -> str:
    """sha256 of a file's bytes, 64 hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def differences(expected: Any, found: Any) -> list[str]:
    """The fields in which two records differ, one line each: `preprocess.crop: expected 224, found 256`."""
    left, right = _leaves(plain(expected)), _leaves(plain(found))
    return [
        f"{name}: expected {left.get(name, 'nothing')}, found {right.get(name, 'nothing')}"
        for name in sorted(left.keys() | right.keys())
        if left.get(name) != right.get(name)
    ]


def _leaves(value: Any, prefix: str = "") -> dict[str, str]:
    if not isinstance(value, dict):
        return {prefix: json.dumps(value)}
    leaves: dict[str, str] = {}
    for name, inner in value.items():
        leaves |= _leaves(inner, f"{prefix}.{name}" if prefix else str(name))
    return leaves
