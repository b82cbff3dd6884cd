"""How long a command takes that has nothing to do: its help, and a stage that is complete.

    python -m tests.bench.start

Each command is a process of its own, on the built-in sample at 64 pixels. Beside the seconds stand the heavy modules
that it imports, which are what a start costs.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from statistics import median

from cache import paths

ROUNDS = 5
HEAVY = ("torch", "timm", "torchvision", "sklearn", "scipy", "matplotlib", "optuna", "pandas")
HELPED = (
    "data", "extract", "heads", "finetune", "finetune.tune", "analysis", "analysis.gradcam", "analysis.predict",
    "analysis.export", "cache",
)  # fmt: skip
SMALL = ("--size=64", "--features=blocks.2:avgstd blocks.3:avgstd", "--head_epochs=3")
RECIPE = '--recipe={"recipe": "two-phase", "epochs": 1, "unfreeze_every": 0}'
FINISHED = {
    "data": (),
    "extract": SMALL[:2],
    "heads": SMALL,
    "finetune": (*SMALL, RECIPE),
    "analysis": (*SMALL, "--perturb=8", "--num_samples=3"),
    "analysis.gradcam": ("--num_samples=3",),
    "analysis.predict": (f"--images={paths.ROOT}/tests/earlier/few",),
    "analysis.export": (),
}


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        for name in ("CACHE_DIR", "DATA_DIR", "RUNS_DIR"):
            os.environ[name] = f"{home}/{name.lower()}"
        for command, given in FINISHED.items():  # everything is made once
            seconds(command, *given)
        print(f"{'':<28} median    from      to   imports      ({ROUNDS} rounds, {os.cpu_count()} cores)")
        for command in HELPED:
            measure(command, "--help")
        for command, given in FINISHED.items():
            measure(command, *given)


def measure(command: str, *given: str) -> None:
    """One line of the table."""
    taken = sorted(seconds(command, *given) for _ in range(ROUNDS))
    name = f"{command} --help" if given == ("--help",) else f"{command}, complete"
    heavy = ", ".join(imported(command, *given))
    print(f"{name:<28} {median(taken):5.2f} s {taken[0]:6.2f} {taken[-1]:7.2f}   {heavy or '-'}", flush=True)


def seconds(command: str, *given: str) -> float:
    """Of one process from its start to its end."""
    start = time.perf_counter()
    started(sys.executable, "-m", command, *given)
    return time.perf_counter() - start


def imported(command: str, *given: str) -> list[str]:
    """Which of the heavy modules it imports."""
    log = started(sys.executable, "-X", "importtime", "-m", command, *given)
    return [name for name in HEAVY if re.search(rf"\| +{name}$", log, re.MULTILINE)]


def started(*command: str) -> str:
    """What it writes to standard error; a failure ends the benchmark."""
    call = subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True, check=False)
    if call.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{call.stderr}")
    return call.stderr


if __name__ == "__main__":
    main()
