"""The family `sklearn`: a classifier of scikit-learn's, by its import path or a short name."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from cache.errors import UserError, one_of
from cache.settings import setting
from heads.families.base import Family, Source, refuse_unlike, standardisation, written
from heads.families.member import Fitted, Member, Report

if TYPE_CHECKING:
    import torch

    from heads.fitting.estimators import EstimatorHead
    from heads.head_file import HeadRecord

SHORT_NAMES = {  # what a grid may call a classifier -> its import path, and parameters that come with the name
    "svm-rbf": ("sklearn.svm.SVC", {}),
    "svm-linear": ("sklearn.svm.LinearSVC", {}),
    "hist-gbm": ("sklearn.ensemble.HistGradientBoostingClassifier", {}),
    "random-forest": ("sklearn.ensemble.RandomForestClassifier", {"n_estimators": 300, "n_jobs": -1}),
    "knn": ("sklearn.neighbors.KNeighborsClassifier", {"n_neighbors": 15}),
    "lda": ("sklearn.discriminant_analysis.LinearDiscriminantAnalysis", {}),
}


@dataclass(frozen=True)
class Estimator(Family):
    """A scikit-learn classifier on standardised features. estimator: import path. params: (name, value) pairs."""

    family: ClassVar[str] = "sklearn"
    estimator: str = setting()
    params: tuple[tuple[str, Any], ...] = setting(())

    @property
    def name(self) -> str:
        given = [f"{name}={written(value)}" for name, value in self.params]
        return " ".join([self.estimator.removeprefix("sklearn."), *given])

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> "Estimator":
        params = tuple(_hashable(dict(settings.get("params", ()))).items())
        return cls(**{**settings, "params": params})

    def in_table(self) -> dict[str, Any]:
        """A column for each parameter of the classifier."""
        return {"family": self.family, "estimator": self.estimator, **dict(self.params)}

    @classmethod
    def words(cls) -> tuple[str, ...]:
        return tuple(SHORT_NAMES)

    @classmethod
    def answers_to(cls, word: str) -> bool:
        """To import paths too."""
        return word in SHORT_NAMES or "." in word

    @classmethod
    def refuse_settings(cls, word: str, settings: dict[str, Any]) -> None:
        """A setting is a parameter of the classifier; that it is a classifier which can be kept is looked at first."""
        from heads.fitting.estimators import parameters

        known = parameters(_path_and_params(word)[0])
        for name in settings:
            one_of(name, known, what=f"setting of {word}")

    @classmethod
    def from_grid(cls, word: str, values: dict[str, Any]) -> "Estimator":
        path, fixed = _path_and_params(word)
        return cls(path, tuple(sorted(_hashable({**fixed, **values}).items())))

    @property
    def seeded(self) -> bool:
        from heads.fitting.estimators import has_seed

        return has_seed(self)

    def shared(self, columns: int) -> Hashable:
        """The setting itself: classifiers are fitted one by one, and a kill costs no more than one setting's."""
        return self.family, self

    @classmethod
    def fit(cls, members: list[Member], source: Source, *, report: Report | None = None) -> list[Fitted]:
        from heads.fitting.estimators import fit_estimators

        return fit_estimators(members, source.task())

    def empty(self, record: "HeadRecord") -> "EstimatorHead":
        raise UserError("a classifier is made from what its file holds, and is not filled")

    def assembled(self, record: "HeadRecord", members: list[dict[str, "torch.Tensor"]]) -> "EstimatorHead":
        import torch

        from heads.fitting.estimators import EstimatorHead

        stacked = {name: torch.stack([each[name] for each in members]) for name in ("mean", "std", "line")}
        return EstimatorHead([each["model"] for each in members], stacked)

    def loaded(self, record: "HeadRecord", tensors: dict[str, "torch.Tensor"]) -> "EstimatorHead":
        from heads.fitting.estimators import EstimatorHead

        return EstimatorHead([tensors[f"model{number}"] for number in range(record.members)], tensors)

    def refuse_other_shapes(self, record: "HeadRecord", shapes: dict[str, tuple[int, ...]]) -> None:
        """A classifier is of any size: what is compared is how many there are, and what stands beside them."""
        models = {name for name in shapes if name.startswith("model")}
        expected = standardisation(record) | {"line": (record.members, 2), "members": record.members}
        found = {name: shape for name, shape in shapes.items() if name not in models}
        found |= {"members": sum(f"model{number}" in models for number in range(len(models)))}
        refuse_unlike(expected, found)


def _path_and_params(word: str) -> tuple[str, dict[str, Any]]:
    """Of a short name or an import path."""
    return SHORT_NAMES.get(word, (word, {}))


def _hashable(params: dict[str, Any]) -> dict[str, Any]:
    """A classifier's parameters with lists as tuples: JSON knows only lists."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in params.items()}
