"""A fitted scikit-learn classifier as bytes and back, by skops; what it may be made of is listed here, class by class.

Unlike a pickle, such a file runs no code of its own when it is read, as long as what it may build is known: skops
imports whatever a file names. So anything but a few loaders and these classes, by the modules that define them, is
refused before skops sees it, and no function that somebody renamed is ever called.
"""

import importlib
import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

from cache.errors import UserError

CLASSIFIERS = {  # module -> classes that can be trained, because all that they are made of when fitted is known
    "sklearn.discriminant_analysis": "LinearDiscriminantAnalysis QuadraticDiscriminantAnalysis",
    "sklearn.ensemble._bagging": "BaggingClassifier",
    "sklearn.ensemble._forest": "ExtraTreesClassifier RandomForestClassifier",
    "sklearn.ensemble._gb": "GradientBoostingClassifier",
    "sklearn.ensemble._hist_gradient_boosting.gradient_boosting": "HistGradientBoostingClassifier",
    "sklearn.ensemble._weight_boosting": "AdaBoostClassifier",
    "sklearn.linear_model._logistic": "LogisticRegression LogisticRegressionCV",
    "sklearn.linear_model._perceptron": "Perceptron",
    "sklearn.linear_model._ridge": "RidgeClassifier RidgeClassifierCV",
    "sklearn.linear_model._stochastic_gradient": "SGDClassifier",
    "sklearn.naive_bayes": "BernoulliNB GaussianNB",
    "sklearn.neighbors._classification": "KNeighborsClassifier",
    "sklearn.neighbors._nearest_centroid": "NearestCentroid",
    "sklearn.neural_network._multilayer_perceptron": "MLPClassifier",
    "sklearn.svm._classes": "LinearSVC NuSVC SVC",
    "sklearn.tree._classes": "DecisionTreeClassifier ExtraTreeClassifier",
}
PARTS = {  # module -> classes that those hold
    "builtins": "bool dict float int list str tuple",
    "numpy": "bool bool_ float32 float64 int32 int64 ndarray uint64 uint8",
    "numpy.random._generator": "Generator",
    "numpy.random.mtrand": "RandomState",
    "sklearn._loss._loss": "CyExponentialLoss CyHalfBinomialLoss CyHalfSquaredError CyHuberLoss",
    "sklearn._loss.link": "HalfLogitLink Interval LogitLink",
    "sklearn._loss.loss": "ExponentialLoss HalfBinomialLoss",
    "sklearn.dummy": "DummyClassifier",
    "sklearn.ensemble._hist_gradient_boosting.binning": "_BinMapper",
    "sklearn.ensemble._hist_gradient_boosting.predictor": "TreePredictor",
    "sklearn.linear_model._sgd_fast": "EpsilonInsensitive Hinge ModifiedHuber SquaredEpsilonInsensitive SquaredHinge",
    "sklearn.metrics._dist_metrics": "ChebyshevDistance64 EuclideanDistance64 ManhattanDistance64 MinkowskiDistance64",
    "sklearn.neighbors._ball_tree": "BallTree",
    "sklearn.neighbors._kd_tree": "KDTree",
    "sklearn.neural_network._stochastic_optimizers": "AdamOptimizer SGDOptimizer",
    "sklearn.preprocessing._label": "LabelBinarizer LabelEncoder",
    "sklearn.tree._classes": "DecisionTreeRegressor",
    "sklearn.tree._tree": "Tree",
}
# Of skops; those that make functions, methods and partials are not among them.
LOADERS = "Cached Dict Json List Loss NdArray Object RandomGenerator RandomState Tree Tuple Type"


def refuse_unkept(kind: type) -> None:
    """Raises: UserError for a classifier that could be trained, but not be opened again."""
    if kind.__qualname__ not in CLASSIFIERS.get(kind.__module__, "").split():
        raise UserError(
            f"{kind.__name__} cannot be kept: what it is made of is not known to be safe to open. Known: "
            f"{', '.join(sorted(' '.join(CLASSIFIERS.values()).split()))}"
        )


def to_bytes(model: BaseEstimator) -> np.ndarray:
    """(n,) uint8, for a tensor in the head's file. Raises: UserError if it holds what could not be opened again."""
    from skops.io import dumps  # takes seconds to import

    content = dumps(model)
    _refuse_unknown(content)
    return np.frombuffer(content, np.uint8).copy()


def from_bytes(content: np.ndarray) -> ClassifierMixin:
    """The inverse of to_bytes. Raises: UserError if it holds what is not known; nothing of it has run then."""
    from skops.io import loads

    data = content.tobytes()
    try:
        return loads(data, trusted=_refuse_unknown(data))
    except UserError:
        raise
    except Exception as error:  # whatever a crafted file makes of zipfile, skops and scikit-learn
        raise UserError(f"this is no scikit-learn classifier ({type(error).__name__}: {error})") from error


def _refuse_unknown(data: bytes) -> list[str]:
    """The classes that a file of skops would build.

    Raises:
        UserError: one that is not listed, or is not what its name says; another loader; compressed parts, which may
            grow without end.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        if any(each.compress_type != zipfile.ZIP_STORED for each in file.infolist()):
            raise UserError("this classifier is compressed, as none of this program is: it is not loaded")
        nodes = list(_nodes(json.loads(file.read("schema.json"))))
    named = {(each["__module__"], each["__class__"], each["__loader__"]) for each in nodes}
    loaders = [f"{name}Node" for name in LOADERS.split()]
    strange = sorted(f"{at}.{name}" for at, name, by in named if by not in loaders or not _is_known(at, name))
    if strange:
        raise UserError(
            f"this head holds {', '.join(strange)}, which is no part of a known classifier: it is not loaded"
        )
    return sorted({f"{module}.{name}" for module, name, _ in named})


def _nodes(schema: Any) -> Iterator[dict]:
    """Everything in a file that says by which loader, and of which class, it is to be built."""
    left = [schema]
    while left:
        each = left.pop()
        if isinstance(each, dict):
            left += each.values()
            if {"__module__", "__class__", "__loader__"} & each.keys():
                yield each
        elif isinstance(each, list):
            left += each


def _is_known(module: str, name: str) -> bool:
    """Whether a class is listed, and its name leads to that very class and not to what a module only imported."""
    if not any(name in listed.get(module, "").split() for listed in (CLASSIFIERS, PARTS)):
        return False
    found = getattr(importlib.import_module(module), name, None)
    return isinstance(found, type) and (found.__module__, found.__qualname__) == (module, name)
