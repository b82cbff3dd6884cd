"""Pretrained weights: found, hashed, read. Never random unless asked for by that word.

Looked for in this order: the file given, the pip package, the hub's local caches, the hub.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled
from safetensors import SafetensorError

from cache.checkpoint import holds_more
from cache.errors import UserError, shown
from cache.key import file_digest
from extract.options import RANDOM

if TYPE_CHECKING:
    import torch
    from torch import nn

RANDOM_SOURCE = "random weights"  # where they come from, in words
HUB_FILES = ("model.safetensors", "pytorch_model.bin")
HUB_TIMEOUT = 5.0  # seconds to wait for the hub's first answer


@dataclass(frozen=True)
class Origin:
    """Where a backbone's weights are published. package: pip package and the file's place in it."""

    hub_id: str = ""
    url: str = ""
    package: tuple[str, str] | None = None


@dataclass(frozen=True)
class Weights:
    """identity: what FeatureSpec.weights holds. source: for people. path: None when random."""

    identity: str
    source: str
    path: Path | None

    def read(self) -> "dict[str, torch.Tensor]":
        """All tensors of the file by name (safetensors, .pth, .bin).

        Raises:
            UserError: not a weight file.
        """
        import torch
        from safetensors.torch import load_file

        try:
            if self.path.suffix == ".safetensors":
                return load_file(self.path)
            content = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception as error:
            if holds_more(error):
                raise UserError(
                    f"{self.path} holds more than tensors and was not read, because such a file may run anything: "
                    "save the network's state_dict() alone, best as safetensors"
                ) from error
            if isinstance(error, SafetensorError | RuntimeError | EOFError | ValueError | OSError):
                raise UserError(f"cannot read the weights {self.path}: {error}") from error
            raise UserError(f"{self.path} is not a weight file (safetensors or .pth of tensors): {error}") from error
        if isinstance(content, dict):
            content = next((content[name] for name in ("state_dict", "model") if name in content), content)
        return _named_tensors(content, self.path)


def _named_tensors(content: object, path: Path) -> "dict[str, torch.Tensor]":
    """Raises: UserError if it is anything else, a list of tensors for example."""
    import torch

    named = isinstance(content, dict) and all(isinstance(name, str) for name in content)
    if not named or not all(isinstance(each, torch.Tensor) for each in content.values()):
        raise UserError(f"{path} is not a weight file: expected tensors by name, found {shown(content)}")
    return content


def find(backbone: str, origin: Origin, given: str) -> Weights:
    """The weight file of a backbone. `given`: '' (find it) or a path.

    Raises:
        UserError: none can be had, with everything that would help.
    """
    path = _given(given) if given else at_hand(origin) or _downloaded(origin)
    if path is None:
        places = " or ".join(filter(None, [f"{origin.hub_id} on the hub" if origin.hub_id else "", origin.url]))
        raise UserError(
            f"no weights for {backbone}: not in the hub's local cache ({constants.HF_HUB_CACHE}), and the hub cannot "
            "be reached.\n"
            f"Get the file from {places or 'its authors'} and give it as WEIGHTS=path; or, only to try the pipeline, "
            "WEIGHTS=random (every figure made from it then carries that word)."
        )
    return Weights(file_digest(path), str(path) if given else path.name, path)


def at_hand(origin: Origin) -> Path | None:
    """The weight file that is on this machine already, if one is."""
    return _packaged(origin) or _cached(origin)


def randomised(build: "Callable[[], nn.Module]") -> "tuple[nn.Module, Weights]":
    """A module built from seed 0 and the identity of what came out: an initialisation may change with torch."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = build()
    hasher = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        hasher.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return module, Weights(f"{RANDOM}:{hasher.hexdigest()}", RANDOM_SOURCE, None)


def _given(given: str) -> Path:
    path = Path(given).expanduser()
    if not path.is_file():
        raise UserError(f"WEIGHTS={given}: no such file (looked for {path.resolve()})")
    return path


def _packaged(origin: Origin) -> Path | None:
    if origin.package is None:
        return None
    module = find_spec(origin.package[0])
    path = Path(module.submodule_search_locations[0]) / origin.package[1] if module else None
    return path if path and path.exists() else None


def _cached(origin: Origin) -> Path | None:
    """In the Hugging Face cache, or under the published file's name in torch's own."""
    for name in HUB_FILES if origin.hub_id else ():
        found = try_to_load_from_cache(origin.hub_id, name)
        if isinstance(found, str):
            return Path(found)
    if not origin.url:
        return None
    import torch

    path = Path(torch.hub.get_dir()) / "checkpoints" / origin.url.rsplit("/", 1)[-1]
    return path if path.is_file() else None


def _downloaded(origin: Origin) -> Path | None:
    for name in HUB_FILES if origin.hub_id and _hub_answers() else ():
        try:
            return Path(hf_hub_download(origin.hub_id, name, etag_timeout=HUB_TIMEOUT))
        except (LocalEntryNotFoundError, OfflineModeIsEnabled, HFValidationError):
            return None  # no network, or no such hub name: the caller says what to do
        except HfHubHTTPError:
            continue  # this repository has the other file
    return None


def _hub_answers() -> bool:
    """One quick question first: without a network the hub's client would go on trying for half a minute."""
    if constants.HF_HUB_OFFLINE:
        return False
    try:
        urlopen(Request(constants.ENDPOINT, method="HEAD"), timeout=HUB_TIMEOUT).close()
    except HTTPError:
        return True  # it answers, if not to this
    except OSError:
        return False
    return True
