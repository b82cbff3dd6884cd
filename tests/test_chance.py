"""No label that a head is judged by reaches its parameters, and what means nothing is not found to mean something."""

import json

import numpy as np
import pytest
import torch

from heads.families import Fitted, Member
from heads.fitting.classifiers import from_bytes
from heads.fitting.estimators import raw_scores
from heads.fitting.task import Task
from heads.folds import Folds
from heads.sweep.grid import read_grid
from tests import chance
from tests.tables import features, folds, in_memory, source

SEEDS = 12
SURE = 4  # standard errors


def fitted(block: dict, X: np.ndarray, fake: np.ndarray, cut: Folds) -> list[Fitted]:
    """A setting's members, one a fold."""
    task = Task.of(in_memory(X), fake, cut)
    (config,) = read_grid(json.dumps([block]))
    members = [Member(config, fold, 0) for fold in range(len(cut))]
    return config.fit(members, source(task))


def said(name: str, tensor: torch.Tensor, X: np.ndarray) -> np.ndarray:
    """A tensor, but of a classifier, whose file names its objects anew each time, what it says."""
    return raw_scores(from_bytes(tensor.numpy()), X[0]) if name == "model" else tensor.numpy()


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("family", chance.FAMILIES)
def test_no_label_that_a_head_is_judged_by_reaches_its_parameters(family, count):
    X, fake = features(90, 6, views=2)
    cut = folds(90, count)
    turned = fake ^ cut.held_out[0]
    before, after = (fitted(chance.FAMILIES[family], X, labels, cut)[0] for labels in (fake, turned))
    assert before.val_auc == pytest.approx(1 - after.val_auc)
    assert before.parameters.keys() == after.parameters.keys()
    for name, tensor in before.parameters.items():
        assert np.array_equal(said(name, tensor, X), said(name, after.parameters[name], X)), name


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("family", chance.FAMILIES)
def test_a_sweep_over_noise_stays_within_chance(family, count):
    reached = [chance.swept(chance.FAMILIES[family], rows=100, folds=count, seed=seed) for seed in range(SEEDS)]
    for split in ("val", "test"):
        aucs = np.array([getattr(each, split) for each in reached])
        assert abs(aucs.mean() - 0.5) < SURE * aucs.std(ddof=1) / np.sqrt(SEEDS), (split, aucs)
