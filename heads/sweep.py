"""Train every head of a grid on one backbone's cached features, choose one on validation data, score the test once.

    python -m heads --data=path --backbone=name --grid=grid.json --seeds=3

The run folder gets leaderboard.csv (validation only, every head), head.safetensors, predictions-{train,val,test}.csv.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from cache import paths, runs
from cache.atomic import replacing
from cache.errors import UserError
from cache.features import FeatureSpec
from cache.key import key
from cache.progress import Progress
from data.manifest import SPLITS, Manifest
from heads import metrics
from heads.convex import logistic_path, ridge_path, to_logits
from heads.fit import Split, fit
from heads.grid import TRAINED, read_grid
from heads.inputs import Choice, Inputs, load_inputs
from heads.models import Head, HeadConfig, HeadRecord, save_head

HEAD_FILE = "head.safetensors"
VERSION = 1  # of result.json; in the key, so that a run of another version is made anew
BUCKET = 64  # heads trained together at most, so that memory stays bounded


@dataclass(frozen=True)
class SweepConfig:
    """manifest: the CSV. specs: the cached features. grid: a JSON file, '' = the default. batch: rows a step."""

    manifest: Path
    specs: list[FeatureSpec]
    grid: str = ""
    seeds: int = 3
    epochs: int = 30
    batch: int = 256
    device: str = "cpu"


@dataclass(frozen=True)
class SweepResult:
    """result.json of runs/heads/*. offered: all features; features: those that the chosen head reads."""

    dataset: str
    manifest_key: str
    synthetic: bool
    backbone: str
    random_weights: bool
    offered: list[str]
    features: list[str]
    head: str
    family: str
    heads: int
    seconds: float
    val_auc: float
    floor_auc: float
    version: int = VERSION


@dataclass(frozen=True)
class Candidate:
    """A trained head as the choice sees it; parameters as Stack names them, on standardised features."""

    inputs: str
    config: HeadConfig
    epoch: int
    val_auc: float
    val_loss: float
    parameters: dict[str, torch.Tensor]


def run(config: SweepConfig) -> Path:
    """Train, choose, save; the run folder. Does nothing when it is complete.

    Raises:
        UserError: a bad grid, features missing, a split without both classes.
    """
    manifest = Manifest.load(config.manifest).usable
    configs = read_grid(config.grid, seeds=config.seeds)
    backbone = config.specs[0].backbone
    folder = paths.run_dir("heads", f"{manifest.dataset}-{backbone}-{_identity(config, manifest, configs)}")
    if runs.is_complete(folder):
        return folder
    _refuse_empty_splits(manifest)
    runs.begin(folder, {**asdict(config), "manifest": str(config.manifest)})
    inputs = load_inputs(manifest, config.specs)
    with Progress(f"heads {backbone}", _heads(inputs, configs), unit="heads") as progress:
        candidates = _train_all(config, configs, inputs, manifest, progress)
        seconds = progress.seconds
    _save(folder, config, inputs, manifest, candidates, seconds)
    return folder


def choose(candidates: list[Candidate]) -> Candidate:
    """The best setting by validation AUC, averaged over its seeds, ties by loss; of it the best seed.

    Raises:
        UserError: every head diverged.
    """
    finite = [c for c in candidates if np.isfinite(c.val_auc) and np.isfinite(c.val_loss)]
    if not finite:
        raise UserError("not one head has a finite validation loss; lower the learning rates in GRID")
    groups: dict[tuple, list[Candidate]] = {}
    for c in finite:
        groups.setdefault((c.inputs, HeadConfig(**{**asdict(c.config), "seed": 0})), []).append(c)
    best = max(groups.values(), key=lambda g: (np.mean([c.val_auc for c in g]), -np.mean([c.val_loss for c in g])))
    return max(best, key=lambda c: (c.val_auc, -c.val_loss))


def _train_all(config: SweepConfig, configs: list[HeadConfig], inputs: Inputs, manifest: Manifest,
               progress: Progress) -> list[Candidate]:  # fmt: skip
    """Convex heads on every choice of inputs, since they need no learning rate; trained ones on the choice that won."""
    convex = [each for each in configs if each.family not in TRAINED]
    trained = [each for each in configs if each.family in TRAINED]
    choices = inputs.choices()
    candidates: list[Candidate] = []
    for choice in choices if convex else []:
        candidates += _train_on(choice, convex, config, inputs, manifest, progress)
        progress.note = f"best val AUC {max(c.val_auc for c in candidates):.4f}"
    winner = choose(candidates).inputs if candidates else choices[0].name
    chosen = next(choice for choice in choices if choice.name == winner)
    return candidates + (_train_on(chosen, trained, config, inputs, manifest, progress) if trained else [])


def _train_on(choice: Choice, configs: list[HeadConfig], config: SweepConfig, inputs: Inputs, manifest: Manifest,
              progress: Progress) -> list[Candidate]:  # fmt: skip
    X, _, _ = _standardised(inputs.X[:, choice.columns], manifest)
    train, val = (_split(X, manifest, split, config.device) for split in ("train", "val"))
    candidates = []
    for bucket in _buckets(configs):
        candidates += _train(bucket, choice.name, train, val, config)
        progress.advance(len(bucket))
    return candidates


def _train(bucket: list[HeadConfig], name: str, train: Split, val: Split, config: SweepConfig) -> list[Candidate]:
    if bucket[0].family in TRAINED:
        fitted = fit(bucket, train, val, epochs=config.epochs, batch=config.batch)
        return [
            Candidate(name, each, int(fitted.epoch[i]), float(fitted.val_auc[i]), float(fitted.val_loss[i]),
                      {k: v.cpu() for k, v in fitted.head(i).items()})
            for i, each in enumerate(bucket)
        ]  # fmt: skip
    path = ridge_path if bucket[0].family == "ridge" else logistic_path
    X, fake, val_X, val_fake = (t.cpu().numpy() for t in (train.X, train.fake, val.X, val.fake))
    weights, intercepts = path(X, fake, [each.penalty for each in bucket])
    if bucket[0].family == "ridge":
        weights, intercepts = _as_logits(weights, intercepts, val_X, val_fake)
    scores = torch.from_numpy(val_X @ weights.T + intercepts)
    auc, loss = metrics.auc(scores, torch.from_numpy(val_fake)), metrics.log_loss(scores, torch.from_numpy(val_fake))
    return [
        Candidate(name, each, 0, float(auc[i]), float(loss[i]),
                  {"weight": torch.tensor(weights[i]).float(), "bias": torch.tensor(intercepts[i]).float()})
        for i, each in enumerate(bucket)
    ]  # fmt: skip


def _as_logits(weights: np.ndarray, intercepts: np.ndarray, X: np.ndarray, fake: np.ndarray) -> tuple:
    """Ridge scores scaled into logits on validation data, so that every head's score means the same."""
    lines = [to_logits(X @ w + b, fake) for w, b in zip(weights, intercepts, strict=True)]
    slopes, offsets = np.array(lines).T
    return weights * slopes[:, None], intercepts * slopes + offsets


def _buckets(configs: list[HeadConfig]) -> list[list[HeadConfig]]:
    """Heads that can be computed together: one family and one shape, at most BUCKET of them."""
    shapes: dict[tuple, list[HeadConfig]] = {}
    for config in configs:
        shapes.setdefault((config.family, config.hidden), []).append(config)
    return [group[i : i + BUCKET] for group in shapes.values() for i in range(0, len(group), BUCKET)]


def _heads(inputs: Inputs, configs: list[HeadConfig]) -> int:
    convex = sum(config.family not in TRAINED for config in configs)
    return len(configs) + convex * (len(inputs.choices()) - 1)


def _standardised(X: np.ndarray, manifest: Manifest) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """X with training mean 0 and deviation 1 in every column, and both (D,); constant columns stay constant."""
    train = X[manifest.where("train")]
    mean, std = train.mean(axis=0, dtype=np.float64), train.std(axis=0, dtype=np.float64)
    std = np.where(std > 1e-6 * (np.abs(mean) + 1e-6), std, 1.0)
    return ((X - mean) / std).astype(np.float32), mean.astype(np.float32), std.astype(np.float32)


def _split(X: np.ndarray, manifest: Manifest, split: str, device: str) -> Split:
    rows = manifest.where(split)
    return Split(torch.from_numpy(X[rows]).to(device), torch.from_numpy(manifest.fake[rows]).to(device))


def _save(folder: Path, config: SweepConfig, inputs: Inputs, manifest: Manifest, candidates: list[Candidate],
          seconds: float) -> None:  # fmt: skip
    chosen = choose(candidates)
    floor = choose([c for c in candidates if c.config.family not in TRAINED] or candidates)
    choice = next(choice for choice in inputs.choices() if choice.name == chosen.inputs)
    specs, X = choice.specs, inputs.X[:, choice.columns]
    _, mean, std = _standardised(X, manifest)
    head = Head.of(chosen.parameters, torch.from_numpy(mean), torch.from_numpy(std))
    with replacing(folder / "leaderboard.csv") as temporary:
        _leaderboard(candidates).to_csv(temporary, index=False)
    save_head(folder / HEAD_FILE, head, HeadRecord(chosen.config, specs, X.shape[1]))
    _predict(folder, head, X, manifest)
    found = SweepResult(
        dataset=manifest.dataset,
        manifest_key=manifest.key,
        synthetic=manifest.synthetic,
        backbone=specs[0].backbone,
        random_weights=specs[0].random_weights,
        offered=[spec.feature for spec in inputs.specs],
        features=[spec.feature for spec in specs],
        head=chosen.config.name,
        family=chosen.config.family,
        heads=len(candidates),
        seconds=round(seconds, 2),
        val_auc=chosen.val_auc,
        floor_auc=floor.val_auc,
    )
    runs.finish(folder, found)
    runs.log(folder, f"heads {found.backbone}: chose {found.head} on {chosen.inputs} among {found.heads}, "
                     f"val AUC {found.val_auc:.4f} (best convex {found.floor_auc:.4f})")  # fmt: skip


def _leaderboard(candidates: list[Candidate]) -> pd.DataFrame:
    rows = [
        {"inputs": c.inputs, **asdict(c.config), "epoch": c.epoch, "val_auc": c.val_auc, "val_loss": c.val_loss}
        for c in candidates
    ]
    return pd.DataFrame(rows).sort_values(["val_auc", "val_loss"], ascending=[False, True])


def _predict(folder: Path, head: Head, X: np.ndarray, manifest: Manifest) -> None:
    """predictions-<split>.csv: path, digest, label, score (logit of fake). The test's is counted in the ledger."""
    for split in SPLITS:
        rows = manifest.where(split)
        if not len(rows):
            continue
        scores = head(torch.from_numpy(X[rows])).double().numpy()
        table = manifest.rows.iloc[rows][["path", "digest", "label", "group"]].assign(score=scores)
        if split == "test":
            runs.count_test_scoring(manifest.dataset, folder.name)
        with replacing(folder / f"predictions-{split}.csv") as temporary:
            table.to_csv(temporary, index=False)


def _refuse_empty_splits(manifest: Manifest) -> None:
    for split in ("train", "val"):
        fake = manifest.fake[manifest.where(split)]
        if not 0 < fake.sum() < len(fake):
            raise UserError(
                f"{manifest.dataset}: the {split} split holds {int((~fake).sum())} real and {int(fake.sum())} fake "
                "images; both are needed. Give more images, or another split in the CSVs or folders."
            )


def _identity(config: SweepConfig, manifest: Manifest, configs: list[HeadConfig]) -> str:
    return key({
        "manifest": manifest.key, "specs": [spec.key for spec in config.specs], "heads": [asdict(c) for c in configs],
        "epochs": config.epochs, "batch": config.batch, "version": VERSION,
    })  # fmt: skip
