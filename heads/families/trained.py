"""What families have in common whose heads are trained by gradient on minibatches."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import ClassVar

from cache.settings import setting
from heads.families.base import Family, Source, norm_setting
from heads.families.member import Fitted, Member, Report

MOST_EPOCHS = 100_000  # of any training; what would take longer is a slip of the pen
MOST_SHARE = 1e6  # of a rate, of another; their product stays within float32
STACKED_NUMBERS = 64_000_000  # parameters of the heads stacked together; training holds five copies


@dataclass(frozen=True)
class Trained(Family):
    """Trained by gradient on minibatches.

    lr: peak learning rate. weight_decay: decoupled (AdamW). l1: factor of the sum of absolute weights in the loss.
    label_smoothing: share of every target that is spread over both classes (Szegedy et al. 2016, arXiv:1512.00567).
    class_balance: 0 = every image counts the same, 1 = both classes do; in between the power of the inverse count.
    generator_balance: the same of the generators among the fake images, which together keep their weight; images whose
    generator is not known are one of their own.
    schedule: of the learning rate over `epochs`. patience: epochs without a better validation AUC until it is
    stopped, 0 = never. batch: rows a step.
    """

    by_gradient: ClassVar[bool] = True
    lr: float = setting(above=0, most=1e37)  # beyond, float32 ends
    weight_decay: float = setting(0.0, least=0)
    l1: float = setting(0.0, least=0)
    dropout: float = setting(0.0, least=0, most=0.99)
    label_smoothing: float = setting(0.0, least=0, most=0.99)
    class_balance: float = setting(0.0, least=0, most=1)
    generator_balance: float = setting(0.0, least=0, most=1, later=True)
    schedule: str = setting("cosine", choices=("cosine", "linear", "constant"))
    epochs: int = setting(30, least=1, most=MOST_EPOCHS)
    patience: int = setting(0, least=0)
    batch: int = setting(256, least=1)

    @property
    def seeded(self) -> bool:
        """Of the initialisation and of dropout."""
        return True

    @property
    def reads_generators(self) -> bool:
        return self.generator_balance > 0

    @property
    def work(self) -> int:
        return self.epochs

    @property
    def strength(self) -> float:
        return self.weight_decay


@dataclass(frozen=True)
class Stacked(Trained):
    """Trained many at once: heads of one shape are one module, and every hyperparameter a vector along them.

    norm: of each vector before its columns are standardised: none, l2 (its length becomes one), unit (the same, and all
    columns share one deviation), or layer (its numbers get mean 0 and variance 1).
    """

    streams: ClassVar[bool] = True
    from_options: ClassVar[tuple[str, ...]] = ("epochs", "batch")
    norm: str = norm_setting()

    def shared(self, columns: int) -> Hashable:
        return self.shape(columns), self.batch, self.norm

    def together(self, columns: int) -> int:
        return max(1, STACKED_NUMBERS // self.shape(columns).parameters)

    @classmethod
    def fit(cls, members: list[Member], source: Source, *, report: Report | None = None) -> list[Fitted]:
        from heads.fitting.stacked import fit

        return fit(members, source.task(), report=report, unfinished=source.unfinished)

    @classmethod
    def seconds(cls, members: list[Member], source: Source) -> float:
        """An epoch is that of all of them; the longest training counts."""
        from heads.fitting.stacked import seconds_an_epoch

        return max(member.config.epochs for member in members) * seconds_an_epoch(members, source.task())
