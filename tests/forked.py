"""Commands in processes of their own that need not import the libraries again, which takes ten seconds of a core.

    call = forked.python("-m", "data", "--data=faces")

One process a session, `python -m tests.forked`, imports the libraries, but nothing of the project, and forks for each
command. What it forks has its own working directory, environment and output, begins as `python -m` does, and fails,
ends and is killed as that does. Not for what is about imports, memory or the command line of Python itself.
"""

import atexit
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import traceback
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

from cache.paths import ROOT

LIBRARIES = (
    "torch.distributed", "torchvision", "timm", "pandas", "h5py", "PIL.Image", "sklearn.linear_model", "scipy.stats",
    "matplotlib.pyplot", "jinja2", "fire", "optuna", "torch.utils.tensorboard", "safetensors.torch", "pytorch_grad_cam",
)  # fmt: skip

TORCHRUN = """
import runpy, sys
from torch.distributed.launcher.api import elastic_launch
from torch.distributed.run import config_from_args, parse_args

def begin():
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)

place = ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0"]
config = config_from_args(parse_args([*place, "--nproc_per_node", sys.argv[1], "-m", sys.argv[2]]))[0]
config.start_method = "fork"
elastic_launch(config, begin)()
"""


@dataclass(frozen=True)
class Begun:
    """A command that runs; out, err: the files of what it says."""

    pid: int
    out: Path
    err: Path

    def ended(self) -> subprocess.CompletedProcess:
        """What it said, once it has ended; returncode is minus the signal that killed it, as subprocess has it."""
        code = _asked(wait=self.pid)
        said = [path.read_text() for path in (self.out, self.err)]
        for path in (self.out, self.err):
            path.unlink()
        return subprocess.CompletedProcess(["python"], code, *said)


def python(*arguments: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess:
    """`python -m module ...`, `python -c code ...` or `python file ...` to its end."""
    return begin(*arguments, cwd=cwd, **environment).ended()


def begin(*arguments: str, cwd: Path = ROOT, **environment: str) -> Begun:
    """The same, which leads a process group of its own and goes on while the test does."""
    handles = [tempfile.mkstemp(suffix=f".{name}") for name in ("out", "err")]
    for handle, _ in handles:
        os.close(handle)
    out, err = (path for _, path in handles)
    given = {"arguments": list(map(str, arguments)), "cwd": str(cwd), "environment": os.environ | environment}
    return Begun(_asked(**given, out=out, err=err), Path(out), Path(err))


def torchrun(count: int, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """`torchrun --nproc_per_node=count -m module ...`, whose processes are forks too."""
    return python("-c", TORCHRUN, str(count), *arguments, **environment)


@cache
def _parent(process: int) -> subprocess.Popen:
    """Of this process: a fork of it, as xdist makes none, would otherwise talk into the same pipe."""
    started = subprocess.Popen([sys.executable, "-m", "tests.forked"], cwd=ROOT, stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)  # fmt: skip
    atexit.register(started.communicate)
    return started


def _asked(**request: object) -> int:
    parent = _parent(os.getpid())
    print(json.dumps(request), file=parent.stdin, flush=True)
    return int(parent.stdout.readline())


def _serve() -> dict:
    """Answer requests, until one of them is what this process was forked for."""
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            answer = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
        elif not (answer := os.fork()):
            return request
        print(answer, flush=True)
    sys.exit()


def _become(request: dict) -> None:
    """A Python that has just begun with these arguments."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs ignore
    for number, path in enumerate((os.devnull, request["out"], request["err"])):
        os.dup2(os.open(path, os.O_RDWR), number)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["cwd"])
    there = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:] = ["", *filter(None, there), *(path for path in sys.path if path not in ("", str(ROOT)))]
    for name in [name for name in sys.modules if name.split(".")[0] in ("cache", "tests")]:
        del sys.modules[name]


def _run(kind: str, left: list[str]) -> int:
    """The exit status of what was asked for, told as Python tells it."""
    sys.argv = {"-m": left, "-c": ["-c", *left[1:]]}.get(kind, [kind, *left])
    try:
        if kind == "-m":
            runpy.run_module(left[0], run_name="__main__", alter_sys=True)
        elif kind == "-c":
            exec(compile(left[0], "<string>", "exec"), {"__name__": "__main__"})
        else:
            runpy.run_path(kind, run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001, the process ends here
        traceback.print_exc()
        return 1
    return 0


def _leave() -> None:
    """Last of all, and at once: taking apart what was never used takes longer than most commands."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status[0])


if __name__ == "__main__":
    status = [0]
    atexit.register(_leave)  # before those of the libraries, hence behind them
    for library in LIBRARIES:
        import_module(library)
    own = _serve()
    _become(own)
    status[0] = _run(own["arguments"][0], own["arguments"][1:])
