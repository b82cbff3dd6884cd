"""How much memory this process may still take, as the user, the system, the container and the GPU tell it."""

import math
import os
import re
from pathlib import Path

from cache.errors import UserError, shown

CONTROL_GROUP = Path("/sys/fs/cgroup")  # this process's, where it runs in a container

UNITS = {"MB": 10**6, "GB": 10**9, "TB": 10**12}


def bytes_of(text: str) -> int | None:
    """What MEMORY says, `8GB` or `500MB`, in bytes; None where it says nothing.

    Raises:
        UserError: it says something else.
    """
    if not text:
        return None
    found = re.fullmatch(rf"(\d+(?:\.\d+)?) ?({'|'.join(UNITS)})", text.strip(), re.IGNORECASE)
    if not found:
        raise UserError(f"MEMORY={shown(text)}: expected a size in {', '.join(UNITS)}, such as 8GB or 500MB")
    return int(float(found[1]) * UNITS[found[2].upper()])


def free_memory() -> int:
    """Bytes that this process could use without swapping, as far as the system tells; torchrun's ranks share them."""
    try:
        with open("/proc/meminfo") as lines:
            known = dict(line.split(":") for line in lines)
        free = int(known["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return min(free, _free_of_container()) // int(os.environ.get("LOCAL_WORLD_SIZE", 1))


def free_on(device: str) -> float:
    """Bytes that are free on a GPU; infinite for the CPU, of which free_memory tells."""
    if not device.startswith("cuda"):
        return math.inf
    import torch  # whoever reads options alone does without

    return torch.cuda.mem_get_info(device)[0]


def _free_of_container() -> float:
    """What the control group leaves, as versions 2 and 1 of them tell it; infinite where it sets no limit."""
    return min(
        _left(CONTROL_GROUP, "memory.max", "memory.current", "inactive_file"),
        _left(CONTROL_GROUP / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    )


def _left(group: Path, limit: str, used: str, files: str) -> float:
    """files: what of the used bytes holds files that nobody reads any more; the system gives it away when asked."""
    try:
        left = int((group / limit).read_text()) - int((group / used).read_text())
        counts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return left + int(counts.get(files, 0))
    except (OSError, ValueError):  # no such group, or the word max
        return math.inf
