"""One sweep on its way: buckets of heads trained one after the other, the scouts first, until one head is chosen."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import groupby
from pathlib import Path

from cache import runs
from cache.atomic import locked
from cache.errors import UserError, counted, one_of
from cache.progress import Progress
from data.manifest import Manifest
from heads.families import Fitted
from heads.fitting.unfinished import Unfinished
from heads.folds import Folds, dates
from heads.inputs import ALL, Choice, load_inputs
from heads.sweep import DATE, SEARCH, VALIDATION, leaderboard
from heads.sweep.buckets import Bucket, buckets, load_trials, save_trials
from heads.sweep.conclusion import Outcome
from heads.sweep.leaderboard import Setting, Trial, choose, settings
from heads.sweep.sweep_config import BUCKETS, SweepConfig
from heads.sweep.trainer import Trainer

MINUTE = timedelta(minutes=1)  # below it what no estimate counts, such as writing each bucket, may be most of the time


class Sweep:
    """One sweep on its way. Trials of finished buckets are in `trials` and on disk."""

    def __init__(self, config: SweepConfig, folder: Path, manifest: Manifest, folds: Folds) -> None:
        self.config, self.folder, self.manifest, self.folds = config, folder, manifest, folds
        self.inputs = load_inputs(manifest, config.specs, memory=config.memory, device=config.device)
        self._refuse_what_cannot_be_streamed()
        self.choices = self._choices()
        self.trials: list[Trial] = []
        self.trainer = Trainer(
            manifest, self.inputs, self.choices, folds, config.weights, config.device, config.mean_views,
            config.memory,
        )  # fmt: skip

    def run(self) -> None:
        """Scouts first: convex heads need no learning rate, so they look for the best inputs; the others follow."""
        scouts = [bucket for choice in self.choices.values() for bucket in self._buckets(choice, scouts=True)]
        self._announce(scouts)
        self._go_through(scouts)
        others = self._others(self._winner())
        share, shares = self.config.part
        self._announce_others(others[share::shares])
        self._go_through(others[share::shares])
        with self._alone() as finished:  # parts may be through at the same time; one of them chooses
            if not finished:
                self._conclude(scouts + others)
        if runs.is_complete(self.folder):
            shutil.rmtree(self.folder / BUCKETS, ignore_errors=True)

    def _go_through(self, plan: list[Bucket]) -> None:
        """A line a family: an epoch of one takes many times what that of another does, and convex heads have none."""
        for name, group in groupby(plan, key=lambda each: "convex" if each.family.scouts else each.family.family):
            alike = list(group)
            unit = "head-epochs" if alike[0].family.by_gradient else "heads"
            with Progress(f"heads {self.config.backbone} {name}", _work(alike), unit=unit) as progress:
                for bucket in alike:
                    self._finish(bucket, progress)

    def _refuse_what_cannot_be_streamed(self) -> None:
        """Before anything is trained. Raises: UserError, a family that needs all rows at once, and no room for them."""
        if self.inputs.rows.in_memory:
            return
        print(f"heads: pooled features: {self.inputs.rows.mode}", flush=True)
        unable = {each.family for each in self.config.configs if not (each.streams or each.reads_maps)}
        if unable:
            raise UserError(
                f"{', '.join(sorted(unable))} heads need all rows in memory, and the pooled features are "
                f"{self.inputs.rows.mode}: leave them out of the GRID, give more MEMORY, or name fewer FEATURES"
            )

    def _conclude(self, plan: list[Bucket]) -> None:
        """Choose, unless buckets are left to other parts."""
        left = [bucket for bucket in plan if not self._file(bucket).exists()]
        if left:
            share, shares = self.config.part
            print(f"heads: part {share}/{shares} is done, {len(left)} buckets of heads are left to the other parts")
            return
        self.trials = []  # not twice in memory
        self.trials = [trial for bucket in plan for trial in load_trials(self._file(bucket))]
        self._outcome().save()

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """No other process writes to the folder inside; whether one has finished it."""
        with locked(self.folder / "lock"):
            yield runs.is_complete(self.folder)

    def _choices(self) -> dict[str, Choice]:
        windows = self.config.choose != VALIDATION or self.config.inputs not in (SEARCH, ALL)
        choices = {choice.name: choice for choice in self.inputs.choices(windows=windows)}
        if self.config.inputs == SEARCH:
            return choices
        everything = next(iter(choices))
        name = everything if self.config.inputs == ALL else one_of(self.config.inputs, choices, what="INPUTS")
        return {name: choices[name]}

    def _buckets(self, choice: Choice, *, scouts: bool) -> list[Bucket]:
        """Of heads on pooled features."""
        configs = [config for config in self.config.configs if config.scouts == scouts and not config.reads_maps]
        return buckets(configs, choice.name, columns=choice.width, folds=len(self.folds), seeds=self.config.seeds)

    def _winner(self) -> Choice:
        """The inputs that the scouts did best on; everything, where there are none."""
        if not self.trials:
            return next(iter(self.choices.values()))
        return self.choices[choose(self._settings(self.trials), by=self.config.choose).inputs]

    def _others(self, inputs: Choice) -> list[Bucket]:
        """Those that read pooled features on some of them, those that read maps on every map."""
        pooled = self._buckets(inputs, scouts=False)
        of_maps = [config for config in self.config.configs if config.reads_maps]
        return pooled + [
            bucket for name in self.inputs.maps
            for bucket in buckets(of_maps, name, columns=0, folds=len(self.folds), seeds=self.config.seeds)
        ]  # fmt: skip

    def _announce(self, scouts: list[Bucket]) -> None:
        """How many heads there will be, and about how long the convex ones take."""
        share, shares = self.config.part
        others = self._others(next(iter(self.choices.values())))[share::shares]  # as many on any inputs
        print(
            f"heads {self.config.backbone}: {counted(len(self.config.configs), 'setting')}, "
            f"{counted(len(self.folds), 'fold')}, {counted(self.config.seeds, 'seed')}: "
            f"{counted(_members(scouts), 'convex head')} on {counted(len(self.choices), 'input')}"
            f"{self._about(scouts)}" + (f", then {counted(_members(others), 'other')}" if others else ""),
            flush=True,
        )

    def _announce_others(self, others: list[Bucket]) -> None:
        """About how long they take: what an epoch costs is not known before the inputs are, which may be one or all."""
        if others:
            where = ", ".join(dict.fromkeys(bucket.inputs for bucket in others))
            heads = counted(_members(others), "other")
            print(f"heads {self.config.backbone}: {heads} on {where}{self._about(others)}", flush=True)

    def _about(self, plan: list[Bucket]) -> str:
        """The time of what is not finished, in words; '' where it is short, or nothing is known."""
        unfinished = [bucket for bucket in plan if not self._file(bucket).exists()]
        expected = [(bucket.family.family, self.trainer.expected_seconds(bucket)) for bucket in unfinished]
        known = [each for _, each in expected if each is not None]
        untimed = ", ".join(dict.fromkeys(family for family, each in expected if each is None))
        long = timedelta(seconds=round(sum(known)))
        said = [f"about {long}"] * (long >= MINUTE)
        said += [f"how long the {untimed} heads take is not known"] * bool(untimed)
        return f" ({', '.join(said)})" if said else ""

    def _finish(self, bucket: Bucket, progress: Progress) -> None:
        """Train a bucket, unless that has been done, and bring the leaderboard up to date."""
        path, before = self._file(bucket), progress.done
        if runs.is_complete(self.folder):  # another part has taken all that was left, and chosen
            return
        if not path.exists():
            started = progress.seconds
            unfinished = Unfinished(path.with_name(bucket.unfinished))
            fitted = self._train(bucket, progress, unfinished)
            seconds = (progress.seconds - started) / len(fitted)
            save_trials(path, [Trial(bucket.inputs, each, seconds) for each in fitted])
            unfinished.remove()
        with self._alone() as finished:
            if finished:  # while this one trained, another has chosen: its tables stay, and the buckets are gone
                return
            self.trials += load_trials(path)
            runs.write_table(self.folder / "leaderboard.csv", leaderboard.table(self._settings(self.trials)))
        progress.note = f"best val AUC {self._best_auc():.4f}"
        progress.advance(before + _work([bucket]) - progress.done)  # also what early stopping spared

    def _best_auc(self, unfinished: list[Trial] | None = None) -> float:
        """Of all settings so far, 0 when there is none."""
        found = self._settings(self.trials + (unfinished or []))
        return max((each.val_auc for each in found if each.usable), default=0.0)

    def _settings(self, trials: list[Trial]) -> list[Setting]:
        return settings(trials, self.folds.generators, by=self.config.choose)

    def _train(self, bucket: Bucket, progress: Progress, unfinished: Unfinished) -> list[Fitted]:
        def report(epoch: int, fitted: list[Fitted]) -> None:
            best = self._best_auc([Trial(bucket.inputs, each, 0.0) for each in fitted])
            progress.note = f"epoch {epoch}, best val AUC {best:.4f}"
            progress.advance(sum(each.member.config.work >= epoch for each in fitted))

        return self.trainer.train(bucket, report, unfinished)

    def _outcome(self) -> Outcome:
        return Outcome(
            folder=self.folder,
            backbone=self.config.backbone,
            manifest=self.manifest,
            folds=self.folds,
            inputs=self.inputs,
            choices=self.choices,
            trials=self.trials,
            views=self.inputs.rows.views if self.config.mean_views else 1,
            augmentation=self.config.specs[-1].augmentation,
            one_se=self.config.one_se,
            choose=self.config.choose,
            device=self.config.device,
            dates=dates(self.manifest) if self.config.folds == DATE else {},
        )

    def _file(self, bucket: Bucket) -> Path:
        return self.folder / BUCKETS / bucket.file


def _members(plan: list[Bucket]) -> int:
    return sum(len(bucket.members) for bucket in plan)


def _work(plan: list[Bucket]) -> int:
    """Heads times epochs, for the progress line."""
    return sum(member.config.work for bucket in plan for member in bucket.members)
