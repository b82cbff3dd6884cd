"""How long it takes to judge scores: every metric with its interval, and how far one model is ahead of another.

python -m tests.bench.evaluation 2000000             images; half of the rows have two of them in each group

Seconds of the clock, and of the processor in all threads: on a busy machine the second is the one to compare.
"""

import sys
import time
from collections.abc import Callable

import numpy as np

from analysis.judge.calibrate import calibrate
from analysis.judge.differences import Pair, accuracy_lead, auc_lead
from analysis.judge.evaluate import evaluate

IMAGES = 100_000


def main(count: int) -> None:
    rng = np.random.default_rng(0)
    fake = rng.random(count) < 0.5
    first = rng.standard_normal(count) + 1.5 * fake
    second = 0.8 * first + 0.3 * rng.standard_normal(count) + 0.5 * fake
    fixed = calibrate(first[:IMAGES], fake[:IMAGES])
    print(f"{count} images:")
    for of_each in (1, 2):
        groups = np.array([f"person {number}" for number in np.arange(count) % (count // of_each)], object)
        pair = Pair(np.stack([first, second], axis=1), fake, groups)
        where = f"{of_each} in a group"
        _timed(f"all metrics, {where}", lambda groups=groups: evaluate(first, fake, groups, calibration=fixed))
        _timed(f"lead in AUC, {where}", lambda pair=pair: auc_lead(pair))
        _timed(f"lead in accuracy, {where}", lambda pair=pair: accuracy_lead(pair, np.array([0.7, 0.9])))


def _timed(name: str, work: Callable[[], object]) -> None:
    wall, processor = time.perf_counter(), time.process_time()
    work()
    print(f"  {name:<32}{time.perf_counter() - wall:8.1f} s, of the processor {time.process_time() - processor:8.1f} s",
          flush=True)  # fmt: skip


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else IMAGES)
