"""`make finetune`: manifest, features and heads as far as they are missing, then a detector trained end to end.

    python -m finetune --data=path --recipe=two-phase
    torchrun --nproc_per_node=2 -m finetune --data=path

runs/finetune/<dataset>-<recipe>-<key>/ gets config.json, environment.json, log.txt, metrics.csv, tb/, last.pt,
best.safetensors, predictions-{val,test}.csv, and result.json last. Killed anywhere and run again, it goes on from
last.pt and ends with the same bits (on a CPU).
"""

from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from cache import paths, runs
from cache.errors import UserError
from cache.key import key
from data.build import run as build_manifest
from data.manifest import Manifest
from extract.computing.machine import compute_of, training_device
from extract.networks.catalogue import entry
from extract.options import DEFAULT, RANDOM
from finetune.detectors.detector_record import DetectorRecord, NetworkRecord
from finetune.left_out import judge_apart, left_out
from finetune.options import FinetuneConfig
from finetune.recipes import Asked, Recipe
from finetune.registry import register
from finetune.start import Start, from_head, from_network, starting_head, with_network
from finetune.training.job import Job
from finetune.training.team import Team, team
from finetune.training_result import STAGE, VERSION, FinetuneResult

SMOKE_IMAGES = {"train": 8, "val": 4, "test": 4}  # of each class
SMOKE_SIZE = 64  # pixels, or a little less for a network that reads patches
SMOKE_SUFFIX = "-smoke"  # of the name of the data set of those few


def run(config: FinetuneConfig) -> Path:
    """Train, choose the epoch, score validation and test; the run folder. Does nothing when it is complete.

    With UNSEEN there is one training more for each generator, without it: see finetune.left_out.

    Raises:
        UserError: an unknown recipe; fewer than two generators for UNSEEN; a head or checkpoint that does not belong
            here; a device that is not there; no pretrained weights; a diverging loss; out of memory.
    """
    asked = config.asked
    if asked.varied:
        raise UserError(f"RECIPE gives several values of {', '.join(asked.varied)}: `make tune` searches among them")
    with team(training_device(config.heads.extract.device)) as here:
        without = left_out(config, here) if config.unseen else {}
        folder = _complete(config, asked, here)
        if here.leads:
            register(folder)
        apart = {generator: _complete(each, asked, here) for generator, each in without.items()}
        if apart and here.leads:
            judge_apart(folder, apart, config.heads.folds)
        here.wait()
    return folder


def reached(folder: Path) -> str:
    """What a complete training reached."""
    found = runs.result(folder).into(FinetuneResult)
    doubt = f"\n  {found.doubt}" if found.doubt else ""
    return f"finetune {found.recipe} ({found.network}): complete: {found.chosen} -> {folder}{doubt}"


def comes_next(config: FinetuneConfig) -> str:
    """The command that goes on from a complete training; behind a smoke run the training itself."""
    if config.smoke:
        return f"make finetune {config.but(smoke=False).given()}".strip()
    return f"make report {config.heads.given()}".strip()


def _complete(config: FinetuneConfig, asked: Asked, here: Team) -> Path:
    """One training, from its start or from where it was stopped; its folder. Does nothing when it is complete."""
    job, start = stages_before(config, asked, here)
    folder = job.folder
    if not here.agreed(runs.is_complete(folder)):  # a finished one may be where nobody can write
        with runs.alone(folder, "finetune") if here.leads else nullcontext():  # started twice: one waits
            if not here.agreed(runs.is_complete(folder)):
                from finetune.train import train  # a complete training imports no network

                train(config, job, start, here)
    return folder


def stages_before(config: FinetuneConfig, asked: Asked, here: Team, *, stage: str = STAGE) -> tuple[Job, Start]:
    """Data, features and heads, made as far as they are missing; then it is known what is to be trained, and where.

    Raises:
        UserError: as `run`.
    """
    recipe = asked.recipe
    config = replace(config, heads=with_network(config.heads, recipe))
    if config.smoke:
        config, recipe = _smoke(config, recipe, here)
    if config.head and recipe.start != "head":
        raise UserError(f"HEAD={config.head}: this recipe trains a {recipe.start} network and takes no head")
    if recipe.start == "head":
        head = starting_head(config.heads, config.head, here.wait)
        start = from_head(config.heads, head, given=bool(config.head))
    else:
        start = from_network(config.heads.extract, recipe)
    return _job(config, asked.name, recipe, start, stage=stage), start


def _job(config: FinetuneConfig, name: str, recipe: Recipe, start: Start, *, stage: str) -> Job:
    """name: of the recipe. stage: in whose folder of runs/ it is kept."""
    extraction = config.heads.extract
    if start.one_size and 0 < recipe.augmentation.window < 1:
        recipe = replace(recipe, augmentation=replace(recipe.augmentation, window=1.0))
    compute = compute_of(extraction.compute, training_device(extraction.device))
    made_from = {
        "manifest": start.manifest.key, "recipe": recipe.to_json(), "seed": config.seed, "start": start.identity,
        "input": _input(start.record), "compute": compute, "version": VERSION,
    }  # fmt: skip
    folder = paths.run_dir(stage, f"{start.manifest.dataset}-{name}-{key(made_from)}")
    made = {
        "dataset": start.manifest.dataset, "manifest_key": start.manifest.key, "synthetic": start.manifest.synthetic,
        "recipe": name, "run": folder.name, "random_weights": start.random_weights,
    }  # fmt: skip
    return Job(
        folder, start.manifest, recipe, replace(start.record, made=made), made_from, seed=config.seed,
        save_every=config.save_every, keep_every=config.keep_every, log_images=config.log_images,
        auto_accumulate=config.auto_accumulate,
        workers=extraction.workers, batch=extraction.batch,
    )  # fmt: skip


def _input(record: DetectorRecord) -> dict:
    """What the detector looks at; of a cached head its identity says it."""
    return asdict(record.built_from.preprocess) if isinstance(record.built_from, NetworkRecord) else {}


def _smoke(config: FinetuneConfig, recipe: Recipe, here: Team) -> tuple[FinetuneConfig, Recipe]:
    """The same in seconds: few images of a manifest of their own, small ones, one epoch, weights that are at hand."""
    manifest = Manifest.load(build_manifest(config.heads.extract.data)).usable
    name = manifest.dataset + SMOKE_SUFFIX
    few = [rows[manifest.fake[rows] == fake][:count] for split, count in SMOKE_IMAGES.items()
           for rows in [manifest.where(split)] for fake in (False, True)]  # fmt: skip
    chosen = manifest.rows.iloc[np.sort(np.concatenate(few))].reset_index(drop=True)
    path = paths.manifest_file(name)
    if here.leads:
        replace(manifest, dataset=name, rows=chosen, part_of=manifest.dataset).save(path)
    here.wait()
    extraction = config.heads.extract
    weights = extraction.weights or ("" if extraction.backbone == DEFAULT else RANDOM)
    size = SMOKE_SIZE - SMOKE_SIZE % entry(extraction.backbone).patch
    config = config.but(
        data=str(path), name=name, root="", train_csv="", valid_csv="", test_csv="", group="",
        weights=weights, size=size, seeds=1, head_epochs=1, epochs=0, workers=0, views=0,
    )  # fmt: skip
    few_epochs = {"head_epochs": min(recipe.head_epochs, 1), "epochs": 1, "unfreeze_every": 0, "best_after": 0.0}
    return config, replace(recipe, batch=8, **few_epochs)
