"""How long it takes to cut images into five folds, just below and above the size from which they are cut at once.

    python -m tests.bench.folds [images ...]

Every image is its own group, as where no GROUP= was given.
"""

import sys
import time

import numpy as np

from heads.folds import MANY, stratified


def main() -> None:
    stratified(np.arange(10) % 2 == 0, np.arange(10), 5)  # scikit-learn is imported
    for images in [int(given) for given in sys.argv[1:]] or [MANY // 10, MANY + 1, 5 * MANY]:
        rng = np.random.default_rng(0)
        names = np.array([f"{number:064x}" for number in rng.permutation(images)], object)
        start = time.perf_counter()
        stratified(rng.random(images) < 0.5, names, 5)
        taken = time.perf_counter() - start
        print(f"{images:>9} images {taken:7.2f} s {taken / images * 1e6:7.1f} us an image", flush=True)


if __name__ == "__main__":
    main()
