"""The device and the number type that this machine computes with, as words, without torch where files tell them.

Importing torch takes seconds, and a stage with nothing left to do needs no more than these words.
"""

import os
from pathlib import Path

from cache.environment import may_accelerate
from cache.errors import UserError

CPUINFO = Path("/proc/cpuinfo")  # on Linux
CPU_BATCH, GPU_BATCH = 32, 256  # images in a forward pass
MULTIPLIES_BF16 = {"avx512_bf16", "amx_bf16"}  # flags of a CPU


def processes() -> int:
    """How many processes torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", 1))


def device_of(word: str) -> str:
    """cpu, cuda:0, ...: the device that a DEVICE word names; auto and cuda take torchrun's LOCAL_RANK into account.

    Raises:
        UserError: it cannot be used here.
    """
    if word == "cpu" or (word == "auto" and not may_accelerate()):
        return "cpu"
    import torch

    typed = word
    if word == "auto":
        word = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if ":" in word and processes() > 1:
        raise UserError(f"DEVICE={word} under torchrun would put all processes on one device: leave DEVICE out")
    word = f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if word == "cuda" else word
    try:
        torch.empty(1, device=word)
    except (RuntimeError, AssertionError) as error:
        why = str(error).splitlines()[0].partition(" on your system")[0]  # where a driver can be had is no news
        lacking = typed.startswith("cuda") and not torch.cuda.is_available()
        found = "no GPU is here" if lacking else "it cannot be used here"
        raise UserError(f"DEVICE={typed}: {found} ({why}); leave DEVICE out") from error
    return word


def training_device(word: str) -> str:
    """The device of a DEVICE word that trains and scores: CUDA or the CPU. Apple's GPUs, which only extract, have no
    float64 to sum in."""
    device = device_of(word)
    return device if device.startswith("cuda") else "cpu"


def compute_of(word: str, device: str) -> str:
    """The number type of a COMPUTE word on a device: auto = bf16 on GPUs and CPUs that multiply it natively, else fp32
    (on older GPUs fp16)."""
    if word != "auto":
        return word
    if device.startswith("cuda"):
        import torch

        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "bf16" if device == "cpu" and multiplies_bf16() else "fp32"


def batch_of(given: int, device: str) -> int:
    """Images in a forward pass: BATCH, or where it is 0 what suits the device."""
    return given or (CPU_BATCH if device == "cpu" else GPU_BATCH)


def multiplies_bf16() -> bool:
    """Whether the CPU does. Linux says it as torch does, from what the CPU says of itself; elsewhere torch is asked."""
    if CPUINFO.exists():
        flags = next((line for line in CPUINFO.read_text().splitlines() if line.startswith("flags")), "")
        return bool(MULTIPLIES_BF16 & set(flags.split()))
    import torch

    return any(torch.cpu.get_capabilities().get(flag) for flag in MULTIPLIES_BF16)
