"""Benchmarks: never part of the tests. Each compares its rivals in turn within one run and prints median and range.

make bench
"""

import statistics
from collections.abc import Callable


def rounds(rivals: dict[str, Callable[[], float]], *, count: int, unit: str) -> dict[str, float]:
    """Call every rival `count` times in turn; print and return the median of the rates that they return."""
    rates: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(count):
        for name, rival in rivals.items():
            rates[name].append(rival())
    width = max(map(len, rates))
    for name, values in rates.items():
        print(f"  {name:<{width}}  {statistics.median(values):10.1f} {unit}  [{min(values):.1f}, {max(values):.1f}]")
    return {name: statistics.median(values) for name, values in rates.items()}
