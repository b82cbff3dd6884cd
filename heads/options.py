"""Which heads, and how they are trained and chosen."""

from collections.abc import Iterator
from dataclasses import dataclass

from cache.errors import UserError, one_of
from cache.options import Options, option, section
from extract.options import ExtractConfig
from heads.memory import bytes_of
from heads.sweep import CHOICES, DATE, GENERATOR, SEARCH, VALIDATION


@dataclass(frozen=True, kw_only=True)
class HeadsConfig(Options):
    """Train a grid of heads on cached features and choose one on validation data.

    BACKBONE may also join backbones whose features are read side by side: "resnet18+cvt_13".
    """

    extract: ExtractConfig = section(ExtractConfig)
    grid: str = option("", "default, convex, unseen, tail, wrn50-2-layer4, a JSON file, or JSON itself")
    folds: int | str = option(
        1, "cut train and val anew into k folds; generator: leave one out at a time, date: train on earlier"
    )
    choose: str = option(VALIDATION, "by AUC on validation, or by the mean or worst AUC on generators left out")
    seeds: int = option(3, "how often each trained head is initialised anew")
    head_epochs: int = option(0, "epochs of linear and mlp heads whose grid does not say (default 30)")
    head_batch: int = option(0, "rows a step of linear and mlp heads whose grid does not say (default 256)")
    inputs: str = option(SEARCH, "all, a feature, 'up to' a feature; search = let the convex heads find the best")
    one_se: bool = option(False, "choose the simplest head within one standard error of the best; needs FOLDS")
    mean_views: bool = option(False, "judge and score images by the mean over their cached views, not by view 0")
    memory: str = option("", "8GB: hold features in so much, stream larger ones (default: half of what is free)")

    def __post_init__(self) -> None:
        from heads.sweep.grid import read_grid

        super().__post_init__()
        one_of(self.choose, CHOICES, what="CHOOSE")
        if isinstance(self.folds, str):
            one_of(self.folds, (GENERATOR, DATE), what="FOLDS, which is no whole number:")
        elif self.choose != VALIDATION:
            raise UserError(
                f"CHOOSE={self.choose} needs generators that are left out: give FOLDS={GENERATOR} or FOLDS={DATE}"
            )
        least = self.folds if isinstance(self.folds, int) else 1
        if min(self.seeds, least) < 1 or min(self.head_epochs, self.head_batch) < 0:
            raise UserError("SEEDS and FOLDS must be at least 1, HEAD_EPOCHS and HEAD_BATCH must not be negative")
        if self.one_se and not self.crosses:
            raise UserError("ONE_SE needs the spread over folds: give FOLDS=5, for example")
        if self.mean_views and not self.extract.views:
            raise UserError("MEAN_VIEWS needs cached views: give VIEWS=4, for example")
        bytes_of(self.memory)
        read_grid(self.grid)  # a bad grid is known before the features are computed

    @property
    def crosses(self) -> bool:
        """Whether train and val are joined and cut anew, so that the chosen head's members saw validation images."""
        return isinstance(self.folds, int) and self.folds > 1

    def each_backbone(self) -> Iterator["HeadsConfig"]:
        """One config for each word of BACKBONE, joined backbones among them."""
        self.parts()  # one weight file for several is refused
        yield from (self.but(backbone=word) for word in self.extract.backbone.replace(",", " ").split())

    def parts(self) -> list[ExtractConfig]:
        """What to extract of each backbone, joined ones taken apart."""
        apart = self.extract.backbone.replace("+", " ")
        return list(self.extract.but(backbone=apart).each_backbone())
