"""What is told where there is no cluster; and the tests of tests/on_ray.py, in a process of their own.

Ray ends a process some time after the machine died that it was connected through, whatever the process does by then.
"""

import os

import pytest
import ray

from cache.errors import UserError
from extract import cluster as ours
from extract.options import ExtractConfig
from extract.run import run
from finetune.tune.options import TuneConfig
from tests import forked


def test_parts_run_on_a_real_cluster(monkeypatch):
    for name in [name for name in os.environ if name.startswith("PYTEST_")]:
        monkeypatch.delenv(name)
    done = forked.python("-m", "pytest", "-p", "no:xdist", "-p", "no:cacheprovider", "tests/on_ray.py")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_cluster_that_is_not_there_and_a_package_that_is_not_are_told(faces, monkeypatch):
    def absent(*_, **__) -> None:
        raise ConnectionError("Could not find any running Ray instance.\nSee the manual")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", absent)
    with pytest.raises(UserError, match=r"CLUSTER=auto: no cluster can be joined \(Could not find .* instance\.\)"):
        run(ExtractConfig.of(data=str(faces), cluster="auto"))
    monkeypatch.setattr(ours, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"the package ray is not installed.*pip install ray"):
        run(ExtractConfig.of(data=str(faces), cluster="local"))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ExtractConfig.of(cluster="auto", part="0/2"), "leave out PART and torchrun"),
        (lambda: ExtractConfig.of(cluster="atuo"), r"unknown CLUSTER.*'atuo'; did you mean auto"),
        (lambda: ExtractConfig.of(cluster="auto", parts=0), "PARTS must be at least 1"),
        (
            lambda: TuneConfig.of(data="few", trials=2, cluster="auto"),
            "need a database that all of them reach: STORAGE=",
        ),
    ],
)
def test_what_does_not_go_with_a_cluster_is_told(make, words):
    with pytest.raises(UserError, match=words):
        make()
