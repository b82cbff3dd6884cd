"""A scikit-learn classifier as a head: fitted on standardised features, its scores turned into logits.

Those that `classifiers` can keep. One that gives probabilities is taken at its word: its score is their logit.
Margins, which a support vector machine gives, are turned into logits by a line through those of training rows that
INNER further fits each left out, groups kept together; each of them sees fewer rows, so that all together take about
one to two times as long as the fit itself.
"""

import importlib
import inspect
import math

import numpy as np
import torch
from scipy.special import expit
from sklearn.base import ClassifierMixin

from cache.errors import UserError
from heads.families import Estimator, Fitted, Member
from heads.families.estimator import SHORT_NAMES
from heads.fitting.classifiers import from_bytes, refuse_unkept, to_bytes
from heads.fitting.convex import to_logits
from heads.fitting.stack import Committee
from heads.fitting.task import Task, judge
from heads.folds import stratified

INNER = 3  # fits that give fair margins
PROBED = 64  # rows that tell whether scores are logits
SMALLEST_SHARE = 1e-4  # probabilities are clipped to this and its complement, so that their logits stay finite


def parameters(path: str) -> list[str]:
    """The names of a classifier's parameters, by its import path.

    Raises:
        UserError: nothing to import there, or no classifier that can be kept.
    """
    if not path.startswith("sklearn."):
        raise UserError(
            f"{path}: only scikit-learn's own classifiers can be kept. Short names: {', '.join(SHORT_NAMES)}"
        )
    refuse_unkept(_class(path))
    return list(inspect.signature(_class(path)).parameters)


def fit_estimator(config: Estimator, X: np.ndarray, fake: np.ndarray, *, seed: int) -> ClassifierMixin:
    """Fit on standardised rows.

    Args:
        X: (N, D) float32. fake: (N,) bool. seed: becomes random_state where there is one.

    Raises:
        UserError: scikit-learn refuses a parameter's value.
    """
    params = dict(config.params)
    kind = _class(config.estimator)
    if has_seed(config):
        params.setdefault("random_state", seed)
    try:
        return kind(**params).fit(X, fake)
    except (ValueError, TypeError, OverflowError) as error:
        raise UserError(f"{config.name}: {error}") from error


def has_seed(config: Estimator) -> bool:
    """Whether another seed can give another result."""
    return "random_state" in inspect.signature(_class(config.estimator)).parameters


def raw_scores(model: ClassifierMixin, X: np.ndarray) -> np.ndarray:
    """decision_function, or the logit of predict_proba, higher for fake: (N,) float64."""
    if hasattr(model, "decision_function"):
        return np.asarray(model.decision_function(X), np.float64)
    share = np.clip(model.predict_proba(X)[:, list(model.classes_).index(True)], SMALLEST_SHARE, 1 - SMALLEST_SHARE)
    return np.log(share / (1 - share))


def _class(path: str) -> type:
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"cannot import {path}: {error}. Short names are {', '.join(SHORT_NAMES)}") from error
    if not (isinstance(found, type) and issubclass(found, ClassifierMixin)):
        raise UserError(f"{path} is no scikit-learn classifier")
    return found


class EstimatorHead(Committee):
    """Fitted classifiers on raw pooled features (N, D).

    Args:
        models: (n,) uint8 each, what skops wrote. tensors: mean and std (M, D), the standardisation; line (M, 2), slope
            and offset from a classifier's score to a logit.
    """

    differentiable = False

    def __init__(self, models: list[torch.Tensor], tensors: dict[str, torch.Tensor]) -> None:
        super().__init__(len(models))
        for number, content in enumerate(models):
            self.register_buffer(f"model{number}", content)
        for name in ("mean", "std", "line"):
            self.register_buffer(name, tensors[name])
        self.models = [from_bytes(content.byte().numpy()) for content in models]

    def member(self, inputs: torch.Tensor, number: int) -> torch.Tensor:
        X = ((inputs.detach().float() - self.mean[number]) / self.std[number]).cpu().numpy()
        slope, offset = self.line[number].tolist()
        logits = raw_scores(self.models[number], X) * slope + offset
        return torch.from_numpy(logits).float().to(inputs.device)[:, None]


def fit_estimators(members: list[Member], task: Task) -> list[Fitted]:
    """One classifier for each member, and the line to its logits, on its fold's training rows; judged on the others."""
    return [_fitted(member, task) for member in members]


def _fitted(member: Member, task: Task) -> Fitted:
    """One that scikit-learn refuses, or whose scores are not finite, is marked like a head that diverged."""
    X, fake = task.training_rows(member.fold)
    views, held_out = task.judged_rows(member.fold)
    try:
        model = fit_estimator(member.config, X, fake, seed=member.seed)
        slope, offset = _line(model, member, X, fake, task.training_groups(member.fold))
        scores = np.stack([raw_scores(model, view) for view in views]).mean(axis=0) * slope + offset
        if not np.isfinite(scores).all():
            raise UserError(f"{member.config.name}: scores that are not finite")
        content = to_bytes(model)
    except UserError as error:
        print(f"heads: left out: {error}", flush=True)
        return Fitted(member, {}, math.nan, math.inf, diverged=0)
    auc, loss = judge(scores[:, None], held_out)
    line = torch.tensor([slope, offset], dtype=torch.float64)
    tensors = {"model": torch.from_numpy(content), "line": line}
    return Fitted(member, tensors | task.standardisation(member.fold), float(auc[0]), float(loss[0]))


def _line(model: ClassifierMixin, member: Member, X: np.ndarray, fake: np.ndarray,
          groups: np.ndarray) -> tuple[float, float]:  # fmt: skip
    """Slope and offset from a classifier's scores to logits, from its training rows (n, D) alone."""
    fits = min(INNER, *(len(np.unique(groups[label])) for label in (fake, ~fake)))
    if is_logit(model, X[:PROBED]) or fits < 2:  # where a class is one group, margins stay as they are
        return 1.0, 0.0
    fair = np.full(len(X), np.nan)
    for held in stratified(fake, groups, fits):
        again = fit_estimator(member.config, X[~held], fake[~held], seed=member.seed)
        fair[held] = raw_scores(again, X[held])
    return to_logits(fair, fake)


def is_logit(model: ClassifierMixin, X: np.ndarray) -> bool:
    """Whether the scores of a fitted classifier are the logits of probabilities that it gives itself."""
    if not hasattr(model, "decision_function"):
        return True
    if not hasattr(model, "predict_proba"):
        return False
    share = model.predict_proba(X)[:, list(model.classes_).index(True)]
    return np.allclose(expit(raw_scores(model, X)), share, atol=1e-4)
