"""The families of heads: one frozen record of hyperparameters each, checked when it is made.

linear, mlp          trained by gradient, many at once (heads.fitting.stacked)
tail                 the rest of the backbone on cached maps (heads.fitting.tails)
ridge, logistic      convex, a whole penalty path at once (heads.fitting.convex)
sklearn              a scikit-learn classifier (heads.fitting.estimators) that can be kept (heads.fitting.classifiers)

A record's name is its identity: two different records never share one.
"""

from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

from cache.errors import UserError
from cache.settings import Settings, setting

MOST_EPOCHS = 100_000  # of any training; what would take longer is a slip of the pen
MOST_SHARE = 1e6  # of a rate, of another; their product stays within float32
WIDEST = 8192  # of a hidden layer; two such layers between three are half a gigabyte


@dataclass(frozen=True)
class HeadConfig(Settings):
    """What every head has: a family and settings."""

    family: ClassVar[str] = ""

    @property
    def name(self) -> str:
        """The family and every setting that is not at its default, unrounded."""
        given = [each for each in fields(self) if getattr(self, each.name) != each.default]
        return " ".join([self.family, *(f"{each.name}={_written(getattr(self, each.name))}" for each in given)])

    def to_json(self) -> dict:
        return {"family": self.family, **asdict(self)}


@dataclass(frozen=True)
class TrainedConfig(HeadConfig):
    """Trained by gradient on minibatches.

    lr: peak learning rate. weight_decay: decoupled (AdamW). l1: factor of the sum of absolute weights in the loss.
    label_smoothing: share of every target that is spread over both classes (Szegedy et al. 2016, arXiv:1512.00567).
    class_balance: 0 = every image counts the same, 1 = both classes do; in between the power of the inverse count.
    schedule: of the learning rate over `epochs`. patience: epochs without a better validation AUC until it is
    stopped, 0 = never. batch: rows a step.
    """

    lr: float = setting(above=0, most=1e37)  # beyond, float32 ends
    weight_decay: float = setting(0.0, least=0)
    l1: float = setting(0.0, least=0)
    dropout: float = setting(0.0, least=0, most=0.99)
    label_smoothing: float = setting(0.0, least=0, most=0.99)
    class_balance: float = setting(0.0, least=0, most=1)
    schedule: str = setting("cosine", choices=("cosine", "linear", "constant"))
    epochs: int = setting(30, least=1, most=MOST_EPOCHS)
    patience: int = setting(0, least=0)
    batch: int = setting(256, least=1)


@dataclass(frozen=True)
class Linear(TrainedConfig):
    """One linear layer on standardised pooled features; dropout on its inputs."""

    family: ClassVar[str] = "linear"


@dataclass(frozen=True)
class Mlp(TrainedConfig):
    """One to three hidden layers: linear, LayerNorm if asked for, activation, dropout."""

    family: ClassVar[str] = "mlp"
    hidden: tuple[int, ...] = setting((64,), least=1, most=WIDEST)
    activation: str = setting("gelu", choices=("gelu", "relu"))
    layer_norm: bool = setting(False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= len(self.hidden) <= 3:
            raise UserError(f"hidden = {list(self.hidden)}: expected one to three widths")


@dataclass(frozen=True)
class Tail(TrainedConfig):
    """The rest of the backbone from a cached map on, from its pretrained weights; then dropout and a linear layer.

    body_lr: learning rate of the backbone's part as a share of `lr`; l1 and weight_decay hold for both parts.
    optimiser: adamw, or adam whose weight decay is part of the gradient. loss: bce on one logit, or ce on two.
    frozen_norm: the statistics of BatchNorm do not move. curve_every: batches between two points of the training
    curve, 0 = an epoch.
    """

    family: ClassVar[str] = "tail"
    body_lr: float = setting(0.1, least=0, most=MOST_SHARE)
    optimiser: str = setting("adamw", choices=("adamw", "adam"))
    loss: str = setting("bce", choices=("bce", "ce"))
    frozen_norm: bool = setting(False)
    curve_every: int = setting(0, least=0)
    epochs: int = setting(5, least=1, most=MOST_EPOCHS)
    batch: int = setting(32, least=1)


@dataclass(frozen=True)
class Ridge(HeadConfig):
    """Ridge regression on targets -1 and 1; penalty on the squared weights against the sum over rows."""

    family: ClassVar[str] = "ridge"
    penalty: float = setting(above=0)


@dataclass(frozen=True)
class Logistic(HeadConfig):
    """L2-penalised logistic regression; penalty / 2 on the squared weights against the mean over rows."""

    family: ClassVar[str] = "logistic"
    penalty: float = setting(above=0)


@dataclass(frozen=True)
class Estimator(HeadConfig):
    """A scikit-learn classifier on standardised features. estimator: import path. params: (name, value) pairs."""

    family: ClassVar[str] = "sklearn"
    estimator: str = setting()
    params: tuple[tuple[str, Any], ...] = setting(())

    @property
    def name(self) -> str:
        given = [f"{name}={_written(value)}" for name, value in self.params]
        return " ".join([self.estimator.removeprefix("sklearn."), *given])


FAMILIES = {each.family: each for each in (Linear, Mlp, Tail, Ridge, Logistic, Estimator)}


def from_json(record: dict) -> HeadConfig:
    """The inverse of HeadConfig.to_json, also after a trip through JSON.

    Raises:
        UserError: it is no such record.
    """
    try:
        settings = {name: value for name, value in record.items() if name != "family"}
        if "params" in settings:
            settings["params"] = tuple(hashable(dict(settings["params"])).items())
        return FAMILIES[record["family"]](**settings)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise UserError(f"no setting of a head ({type(error).__name__}: {error})") from error


def hashable(params: dict[str, Any]) -> dict[str, Any]:
    """A classifier's parameters with lists as tuples: JSON knows only lists."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in params.items()}


def _written(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
