"""What the page of a data set is made of, read from its finished runs."""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

from analysis.found.changed_images import Perturbed
from analysis.found.comparisons import Comparison, against_the_first
from analysis.found.models import Model, find_models, of_stage
from analysis.found.sweep_seconds import extractions_on
from analysis.found.sweeps import Sweep
from analysis.found.trainings import Training
from analysis.found.unseen import Unseen, UnseenByHeads, detector_on_generators, on_generators
from analysis.gradcam.findings import HeatMaps, find_heat_maps
from analysis.judge.slices import Slices, slices
from cache import paths
from data.audit.examined import Audit, audit_of
from data.manifest import Manifest
from extract.extraction import ExtractResult


@dataclass(frozen=True)
class ReportConfig:
    """dataset: the name of a data set with finished runs. faces: whether images of the data set are shown.

    heat_maps: whether those of the best model are shown; no_heat_maps: why there are none, if there are none.
    """

    dataset: str
    faces: bool = True
    heat_maps: bool = True
    no_heat_maps: str = "Not tried: make gradcam."


@dataclass(frozen=True)
class Contents:
    """models: the best first. slices: of the split that the best one is shown on. heat: None where none are shown."""

    manifest: Manifest
    audit: Audit
    models: list[Model]
    slices: Slices
    heat: HeatMaps | None
    config: ReportConfig

    @property
    def best(self) -> Model:
        return self.models[0]

    @property
    def sweeps(self) -> list[Model]:
        return of_stage(self.models, Sweep.stage)

    @property
    def trainings(self) -> list[Model]:
        return of_stage(self.models, Training.stage)

    @cached_property
    def extractions(self) -> list[ExtractResult]:
        """What extraction did for the data set and for perturbed copies of it."""
        return extractions_on(self.manifest.dataset)

    @cached_property
    def comparisons(self) -> list[Comparison]:
        """The best model with each other one."""
        return against_the_first(self.models)

    @cached_property
    def unseen(self) -> UnseenByHeads | None:
        """Of the best sweep that left generators out."""
        return next(filter(None, map(on_generators, self.sweeps)), None)

    @cached_property
    def unseen_by_detector(self) -> Unseen | None:
        """Of the best detector that was also trained without each generator."""
        return next(filter(None, map(detector_on_generators, self.trainings)), None)

    @property
    def on_generators(self) -> list[Unseen]:
        """Both, as far as there are any."""
        return [each for each in (self.unseen, self.unseen_by_detector) if each]

    @property
    def carries_over(self) -> Unseen | None:
        """What is known of generators never seen: of the best model, else of another."""
        return min(self.on_generators, key=lambda each: each.run != self.best.run, default=None)

    @cached_property
    def perturbed(self) -> dict[str, Perturbed]:
        """Models on perturbed images, by a name that no other has, the best first.

        Those that were tried on other images than the best one are left out.
        """
        tried = [model for model in self.models if model.perturbed]
        same = [model for model in tried if model.perturbed.result.images == tried[0].perturbed.result.images]
        titles = Counter(model.title for model in same)
        named = {model.run: f" ({model.run.rpartition('-')[2]})" if titles[model.title] > 1 else "" for model in same}
        return {model.title + named[model.run]: model.perturbed for model in same}


def read_contents(config: ReportConfig) -> Contents:
    """Everything that is known of a data set as it is now.

    Raises:
        UserError: no manifest, or no finished run on the data as it is now.
    """
    manifest = Manifest.load(paths.manifest_file(config.dataset))
    models = find_models(manifest)
    best = models[0]
    parts = slices(best.predictions(best.split), manifest, best.calibration)
    heat = find_heat_maps(best.folder, best.split) if config.faces and config.heat_maps else None
    return Contents(manifest, audit_of(manifest), models, parts, heat, config)
