"""Training recipes: one record each. The original projects' protocols are among them.

    make finetune RECIPE=two-phase
    make finetune RECIPE='{"recipe": "two-phase", "lr": 1e-4, "augmentation": {"flip": 0.5, "rotation": 10}}'
    make finetune RECIPE=mine.json

A recipe of one's own is JSON that names the one it changes. For `make tune` a setting may be a list to choose from or
a range, as in a grid of heads; what is not given there has the ranges of RANGES.
"""

from dataclasses import dataclass, field, fields, replace
from typing import Any

from cache.errors import UserError, one_of, shown
from cache.settings import LONGEST_SIDE, Settings, keyed, setting
from data.augment import Augmentation
from finetune.options import DEFAULT_RECIPE as DEFAULT
from heads.families import MOST_EPOCHS, MOST_SHARE
from heads.given import read_given
from heads.sweep.grid import Range

MOST_CHOICES = 100  # of a setting; a search keeps all of them with each trial, and none tries as many
UNCHANGED = Augmentation()
ALL, NORMS = "all", "norms"  # of a stage
BY_LOSS = {"best_by": "loss", "best_after": 0.5}  # the epoch of lowest validation loss in the second half


@dataclass(frozen=True)
class Recipe(Settings):
    """How a detector is trained end to end.

    start: `head` = from the chosen cached head; `pretrained` = a pretrained network and a new linear layer; `scratch` =
    a network without weights. network: a backbone as BACKBONE names it, or for `scratch` one of detectors.networks;
    '' = BACKBONE. size: side of the input in pixels where SIZE is not given, 0 = the network's own.

    Phase 1 trains the head alone for head_epochs at a constant rate; phase 2 trains for `epochs` what unfreezes.
    trained_from: the first stage that ever does ('' = all), named as the network names its modules. unfreeze_every:
    epochs between one stage and the next below it, 0 = all at once. frozen_norm: statistics of BatchNorm do not move.
    trained: what of a stage; `norms` = the weights and biases of its normalisation layers alone.

    lr: peak rate of the head. body_lr: that of the network as a share of it. layer_decay: factor from each stage to
    the one below (Howard and Ruder 2018, arXiv:1801.06146). warmup: share of phase 2 in which rates rise from 0.
    schedule: of phase 2. weight_decay: of matrices and kernels, not of biases and norms. l1: factor of the sum of
    absolute weights. momentum: of sgd. clip: largest norm of the gradient, 0 = off. ema: decay of the averaged weights
    that are judged and kept, 0 = off; it rises to that value as (1 + step) / (10 + step).

    loss: `bce` on one logit, `ce` on two, `ce-softmax` on two that went through a softmax before, as one of the
    originals does. unit: a new last layer sees vectors of length one, times a scale that is learned. alignment,
    uniformity: factors of what embeddings of that length add to the loss (training.hypersphere).

    label_smoothing, class_balance: as of heads. batch: images a step, over all processes; accumulate: in how many parts
    a step is computed. precision: auto, bf16, fp16 or fp32. channels_last: layout of the weights. compile: through
    torch.compile. best_by: auc, or loss; best_after: share of the epochs before which no epoch is kept.
    """

    start: str = setting("head", choices=("head", "pretrained", "scratch"))
    network: str = setting("")
    size: int = setting(0, least=0, most=LONGEST_SIDE)
    head_epochs: int = setting(0, least=0, most=MOST_EPOCHS)
    epochs: int = setting(5, least=1, most=MOST_EPOCHS)
    trained_from: str = setting("")
    unfreeze_every: int = setting(0, least=0)
    frozen_norm: bool = setting(False)
    optimiser: str = setting("adamw", choices=("adamw", "adam", "sgd"))
    lr: float = setting(1e-3, above=0, most=1e3)
    body_lr: float = setting(0.1, least=0, most=MOST_SHARE)
    layer_decay: float = setting(1.0, above=0, most=1)
    warmup: float = setting(0.1, least=0, most=1)
    schedule: str = setting("cosine", choices=("cosine", "linear", "constant"))
    weight_decay: float = setting(0.05, least=0)
    l1: float = setting(0.0, least=0)
    momentum: float = setting(0.9, least=0, most=0.999)
    clip: float = setting(0.0, least=0)
    ema: float = setting(0.0, least=0, most=0.99999)
    loss: str = setting("bce", choices=("bce", "ce", "ce-softmax"))
    dropout: float = setting(0.0, least=0, most=0.99)
    label_smoothing: float = setting(0.0, least=0, most=0.99)
    class_balance: float = setting(0.0, least=0, most=1)
    batch: int = setting(32, least=1)
    accumulate: int = setting(1, least=1)
    precision: str = setting("auto", choices=("auto", "bf16", "fp16", "fp32"))
    channels_last: bool = setting(True)
    compile: bool = setting(False)
    best_by: str = setting("auc", choices=("auc", "loss"))
    best_after: float = setting(0.0, least=0, most=0.99)
    augmentation: Augmentation = field(default=UNCHANGED)
    trained: str = setting(ALL, choices=(ALL, NORMS), later=True)
    unit: bool = setting(False, later=True)
    alignment: float = setting(0.0, least=0, later=True)
    uniformity: float = setting(0.0, least=0, later=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("dropout", "unit"):
            if self.start == "head" and getattr(self, name):
                raise UserError(f"{name} belongs to a new last layer; what starts from a cached head keeps the head's")

    @property
    def total_epochs(self) -> int:
        """Epochs with the head alone, and those with the network that follow."""
        return self.head_epochs + self.epochs

    @property
    def outputs(self) -> int:
        """Of a network that is not started from a cached head."""
        return 1 if self.loss == "bce" else 2

    @property
    def shapes_embeddings(self) -> bool:
        """Whether the loss looks at the embeddings, too."""
        return bool(self.alignment or self.uniformity)

    def to_json(self) -> dict:
        """For keys, logs and config.json."""
        return keyed(self) | {"augmentation": keyed(self.augmentation)}


# What an image goes through on its way over the networks, and a little movement.
HANDED_ON = Augmentation(
    flip=0.5, rotation=10, shift=0.1, scale=0.1, blur=0.1, jpeg=0.5, lowest_quality=40, highest_quality=100, chain=0.3,
)  # fmt: skip

# 300-pixel images without augmentation, Adam at a constant 1e-3, batches of 32, 30 epochs.
_FAKE_VS_REAL = Recipe(
    start="scratch", size=300, epochs=30, optimiser="adam", lr=1e-3, body_lr=1.0, warmup=0.0, schedule="constant",
    weight_decay=0.0, loss="ce", **BY_LOSS,
)  # fmt: skip

RECIPES = {
    # The cached head is a wide linear layer on standardised columns: Adam moves all of them by the rate at once, and
    # what suits the network would undo it in an epoch. So its rate is the lower one, and the network's five times it.
    # Early epochs, with high rates and few stages, are not kept: on a small validation split they win by chance.
    DEFAULT: Recipe(
        epochs=10, lr=1e-4, body_lr=5.0, unfreeze_every=2, ema=0.995, clip=1.0, best_after=0.5,
        augmentation=Augmentation(flip=0.5, jpeg=0.3, blur=0.2, largest_blur=1.0, window=0.875),
    ),
    # So few numbers train that the network keeps what it knows of images that this data set lacks; after GenD
    # (Yermakov et al. 2025, arXiv:2508.06248).
    NORMS: Recipe(
        trained=NORMS, frozen_norm=True, epochs=10, lr=3e-4, body_lr=1.0, weight_decay=0.0, best_after=0.5,
        augmentation=HANDED_ON,
    ),
    # Three epochs of the head at 1e-3 are the sweep's; then five of everything at 1e-5, cosine with warm-up.
    "cvt13-two-phase": Recipe(
        network="cvt_13", size=256, epochs=5, lr=1e-4, body_lr=0.1, batch=64,
        augmentation=Augmentation(flip=0.5, rotation=10, zoom=0.8, colour=0.2, jpeg=0.3, blur=0.1),
    ),
    # The notebook: everything up to layer3 frozen, layer4 and a pair of logits behind a dropout of one half.
    "wrn50-2-layer4": Recipe(
        start="pretrained", network="wide_resnet50_2", trained_from="layer4", epochs=10, optimiser="adam", lr=1e-3,
        body_lr=1.0, warmup=0.0, schedule="constant", weight_decay=0.1, l1=0.001, dropout=0.5, loss="ce", batch=120,
    ),
    "resnet18-bce": Recipe(
        start="pretrained", network="resnet18", epochs=10, optimiser="adam", lr=1e-3, body_lr=0.1, weight_decay=0.0,
        augmentation=Augmentation(flip=0.5),
    ),
    "cnn-fc6": replace(_FAKE_VS_REAL, network="cnn-fc6", loss="ce-softmax"),
    "resnet18-scratch": replace(_FAKE_VS_REAL, network="resnet18"),
    "vgg19-scratch": replace(_FAKE_VS_REAL, network="vgg19", batch=8),  # what fitted that project's GPU
    "vgg19-bn-scratch": replace(_FAKE_VS_REAL, network="vgg19_bn", batch=8),
    "cnn-dropout-logsoftmax": Recipe(
        start="scratch", network="cnn-dropout", size=224, epochs=30, optimiser="adam", lr=1e-3, body_lr=1.0, warmup=0.0,
        schedule="constant", weight_decay=0.0, loss="ce", dropout=0.25, best_by="loss",
        augmentation=Augmentation(flip=0.5, rotation=10),
    ),
}  # fmt: skip

_COMMON = {"lr": {"low": 3e-5, "high": 3e-3, "log": True}, "weight_decay": {"low": 1e-3, "high": 0.3, "log": True}}
_UNFROZEN = {"body_lr": {"low": 0.03, "high": 10.0, "log": True}, "layer_decay": {"low": 0.6, "high": 1.0},
             "label_smoothing": [0.0, 0.05, 0.1]}  # fmt: skip
RANGES = {
    name: _COMMON | ({"batch": [16, 32, 64]} if recipe.start == "scratch" else _UNFROZEN)
    for name, recipe in RECIPES.items()
}


@dataclass(frozen=True)
class Asked:
    """What RECIPE asks for: the name of the recipe that it starts from, and its record.

    ranges: what `make tune` varies; varied: those of them that were asked for, which only it can do.
    """

    name: str
    recipe: Recipe
    ranges: dict[str, Any]
    varied: tuple[str, ...] = ()


def read_recipe(text: str, *, epochs: int = 0) -> Asked:
    """A recipe by name, from a JSON file, or from JSON beginning with '{'.

    Args:
        epochs: in place of the recipe's, for which it must not have any of its own; 0 = the recipe's.

    Raises:
        UserError: no such recipe or file, no JSON, an unknown setting, a value out of its limits.
    """
    where, given = (text, {"recipe": text}) if text in RECIPES else _given(text)
    if epochs > 0:
        if given.setdefault("epochs", epochs) != epochs:
            raise UserError(f"EPOCHS={epochs} and RECIPE, which says {shown(given['epochs'])}: leave one of them out")
    name = one_of(str(given.pop("recipe", DEFAULT)), RECIPES, what=f"recipe in {where}")
    known = [each.name for each in fields(Recipe)]
    for each in given:
        one_of(each, known, what=f"setting of recipe {name}")
    varied = {each: value for each, value in given.items() if _varies(each, value)}
    fixed = {each: value for each, value in given.items() if each not in varied}
    ranges = {each: value for each, value in RANGES[name].items() if each not in fixed} | varied
    return Asked(name, changed(RECIPES[name], fixed), ranges, tuple(varied))


def refuse_bad_ranges(asked: Asked) -> None:
    """Raises: UserError for an empty or endless list, a bad range, or values that the recipe refuses."""
    for name, value in asked.ranges.items():
        _check_range(asked, name, value)


def changed(recipe: Recipe, settings: dict[str, Any]) -> Recipe:
    """With other settings; those of the augmentation are a dict of their own.

    Raises:
        UserError: an unknown setting of the augmentation, or a value out of its limits.
    """
    settings = dict(settings)
    for each in settings.get("augmentation", {}):
        one_of(each, [known.name for known in fields(Augmentation)], what="setting of augmentation")
    if "augmentation" in settings:
        settings["augmentation"] = replace(recipe.augmentation, **settings["augmentation"])
    return replace(recipe, **settings)


def _given(text: str) -> tuple[str, dict]:
    if not text.lstrip().startswith("{") and not text.endswith(".json"):
        one_of(text, RECIPES, what="recipe")
    where, given = read_given(text, begins="{", option="RECIPE")
    if not isinstance(given, dict) or not isinstance(given.get("augmentation", {}), dict):
        raise UserError(f'{where}: expected an object like {{"recipe": "{DEFAULT}", "lr": 1e-4}}')
    return where, given


def _varies(name: str, value: Any) -> bool:
    return isinstance(value, list) or (isinstance(value, dict) and name != "augmentation")


def _check_range(asked: Asked, name: str, value: Any) -> None:
    if isinstance(value, list) and not 1 <= len(value) <= MOST_CHOICES:
        few = "nothing to choose from" if not value else f"more than {MOST_CHOICES} values to choose from"
        raise UserError(f"{name} = {shown(value)}: {few}")
    span = None if isinstance(value, list) else Range.of(name, value)
    if span and not span.whole and isinstance(getattr(asked.recipe, name), int):
        raise UserError(f"{name} = {shown(value)}: expected a range of whole numbers")
    for each in value if span is None else (span.low, span.high):
        changed(asked.recipe, {name: each})
