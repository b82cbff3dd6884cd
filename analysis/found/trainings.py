"""A training's run folder -> what was trained by which recipe, epoch by epoch."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import ClassVar

import pandas as pd

from cache import runs
from data.manifest import Manifest
from finetune.recipes import RECIPES, Recipe, changed
from finetune.training.epochs import Epoch
from finetune.training.job import EPOCHS_FILE
from finetune.training_result import STAGE, FinetuneResult, finished


@dataclass(frozen=True)
class Training:
    """A finished training. recipe: all its settings. epochs: metrics.csv."""

    result: FinetuneResult
    recipe: Recipe
    epochs: pd.DataFrame

    stage: ClassVar[str] = STAGE
    crosses: ClassVar[bool] = False  # as of a sweep

    @property
    def title(self) -> str:
        """The network."""
        return f"{self.result.network}{' (random weights)' if self.result.random_weights else ''}"

    @property
    def name(self) -> str:
        """What tells it from other detectors of the network."""
        return f"{self.result.recipe}{' with ' if self.changes else ''}{self.changes}"

    @property
    def changes(self) -> str:
        """Settings that are not those of the recipe that it is named after, and the seed if it is not 0."""
        named, mine = _settings(RECIPES.get(self.result.recipe, self.recipe)), _settings(self.recipe)
        found = [f"{each.replace('_', ' ')} {mine[each]}" for each in mine if mine[each] != named[each]]
        return ", ".join(found + ([f"seed {self.result.seed}"] if self.result.seed else []))

    @property
    def origin(self) -> str:
        """What it started from."""
        if self.result.started_from == "head":
            return "the chosen head on cached features"
        if self.result.random_weights:
            return "a network with random weights"
        return {"pretrained": "a pretrained network with a new last layer", "scratch": "scratch"}[
            self.result.started_from
        ]

    @property
    def detail(self) -> str:
        return f"fine-tuned from {self.origin}"

    @property
    def kept(self) -> str:
        return f"epoch {self.result.best_epoch} of {self.result.epochs}"

    @property
    def label(self) -> str:
        """In a legend."""
        return f"{self.title} {self.result.recipe}"

    @property
    def facts(self) -> dict:
        """What summary.json and models.csv say of it."""
        names = ("network", "random_weights", "recipe", "started_from", "head_run", "seed", "best_epoch", "epochs",
                 "train_accuracy", "val_accuracy", "images_per_second")  # fmt: skip
        return {name: getattr(self.result, name) for name in names} | {"changes": self.changes}


def trainings_on(manifest: Manifest) -> list[tuple[Path, FinetuneResult]]:
    """Finished trainings on the data as it is now; those of SMOKE, which only show that everything runs, are none."""
    return [
        (folder, result) for folder, result in finished()
        if (result.dataset, result.manifest_key) == (manifest.dataset, manifest.key) and not result.smoke
    ]  # fmt: skip


def best_trainings(manifest: Manifest) -> list[Path]:
    """Their folders, by validation AUC, the best first."""
    return [folder for folder, _ in sorted(trainings_on(manifest), key=lambda each: -each[1].val_auc)]


def read_training(folder: Path, result: FinetuneResult) -> Training:
    """The record and the table of a finished run folder."""
    recipe = changed(Recipe(), runs.read_json(folder / "config.json")["made_from"]["recipe"])
    return Training(result, recipe, runs.read_table(folder / EPOCHS_FILE, [each.name for each in fields(Epoch)]))


def _settings(recipe: Recipe) -> dict:
    """Those of the augmentation beside the others."""
    settings = asdict(recipe)
    augmentation = settings.pop("augmentation")
    return settings | augmentation
