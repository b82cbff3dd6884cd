"""Files mapped into memory without a descriptor: a cache of many thousand shards is open at once, files are not.

`mmap.mmap`, and np.memmap with it, keeps a copy of the file's descriptor as long as the mapping lives, of which a
process may have 1 024 (256 on macOS). The system needs none: a mapping outlives the descriptor that it was made from.
"""

import ctypes
import mmap
import os
import weakref
from pathlib import Path

import numpy as np

FAILED = ctypes.c_void_p(-1).value

_system = ctypes.CDLL(None, use_errno=True)
_system.mmap.restype = ctypes.c_void_p
_system.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_longlong]
_system.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


def mapped(path: Path) -> np.ndarray:
    """The bytes of a file, (size,) uint8, read-only; unmapped when the last array on them is gone.

    Raises:
        OSError: it cannot be opened or mapped.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        size = os.fstat(descriptor).st_size
        if not size:  # the system maps nothing of no length
            return np.empty(0, np.uint8)
        start = _system.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, 0)
    finally:
        os.close(descriptor)
    if start == FAILED:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(path))
    memory = (ctypes.c_ubyte * size).from_address(start)
    # Not at exit, when threads may still read: the system unmaps what a process leaves.
    weakref.finalize(memory, _system.munmap, start, size).atexit = False
    array = np.frombuffer(memory, np.uint8)
    array.flags.writeable = False
    return array
