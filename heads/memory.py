"""How much memory this process may still take, as the system and the container tell it."""

import math
import os
from pathlib import Path

CONTROL_GROUP = Path("/sys/fs/cgroup")  # this process's, where it runs in a container


def free_memory() -> int:
    """Bytes that this process could use without swapping, as far as the system tells; torchrun's ranks share them."""
    try:
        with open("/proc/meminfo") as lines:
            known = dict(line.split(":") for line in lines)
        free = int(known["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return min(free, _free_of_container()) // int(os.environ.get("LOCAL_WORLD_SIZE", 1))


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
