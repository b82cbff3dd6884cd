"""The tests of tests/on_ray.py in a process of their own.

Ray ends a process some time after the machine died that it was connected through, whatever the process does by then.
"""

import os
import subprocess
import sys

from cache.paths import ROOT


def test_parts_and_trials_run_on_a_real_cluster():
    command = [sys.executable, "-m", "pytest", "-p", "no:xdist", "-p", "no:cacheprovider", "tests/on_ray.py"]
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(command, cwd=ROOT, env=alone, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
