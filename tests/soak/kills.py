"""Kill every stage with SIGKILL at random moments, run it again, and compare what it leaves with an undisturbed run.

    python -m tests.soak.kills 10                  ten kills of each stage
    python -m tests.soak.kills 20 extract heads

One to three kills in a row, then the stage is run to its end: features, leaderboards (but for the clock), heads,
predictions, tables and pictures must be the same bytes, and the ledger must count as many. Prints a line a stage;
exits 1 if anything differs.
"""

import os
import random
import signal
import sys
import time

from tests.soak.stages import STAGES, World, in_turn


def killed(made: World, stage: str, times: int) -> str:
    """Kill a stage so often; how it went."""
    rng, done, finished, problems = random.Random(stage), 0, 0, []
    while done < times and finished < 5 * times:
        made.restore(stage)
        lives = rng.randint(1, min(3, times - done))
        dead = sum(_killed(made, stage, rng.uniform(0.02, 1.0)) for _ in range(lives))
        done, finished = done + dead, finished + lives - dead
        status = made.finish(stage)
        if status:
            problems.append(f"the rerun ended with {status}: {made.said.read_text().splitlines()[-1:]}")
        problems += made.differences(stage)
    of = f"{stage}: {done} kills within {made.seconds[stage]:.1f} s, {len(made.whole[stage])} files or features"
    return f"{of}: {'equal' if not problems else 'DIFFERENT: ' + ', '.join(sorted(set(problems)))}"


def _killed(made: World, stage: str, moment: float) -> bool:
    """Whether it was still running at that share of its time."""
    pid = made.start(stage)
    time.sleep(moment * made.seconds[stage])
    if os.waitpid(pid, os.WNOHANG)[0]:
        return False
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return True


def main(times: int, wanted: list[str]) -> int:
    """The number of stages that did not do as they should."""
    return in_turn(wanted, lambda made, stage: killed(made, stage, times))


if __name__ == "__main__":
    sys.exit(bool(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10, sys.argv[2:] or list(STAGES))))
