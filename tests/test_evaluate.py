"""What figures mean: every metric against scikit-learn or by hand, what validation fixes, intervals that cover."""

import io
from dataclasses import astuple, replace
from pathlib import Path
from threading import Event

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.stats import binom, norm
from sklearn import metrics as theirs

from analysis.found.comparisons import against_the_first, auc_gain
from analysis.found.models import Model
from analysis.found.other_data import Other
from analysis.judge.bootstrap import RESAMPLES, Draws, Units, bootstrap, resamples
from analysis.judge.calibrate import Calibration, calibrate
from analysis.judge.differences import Pair, accuracy_lead, auc_lead
from analysis.judge.evaluate import BESIDE, METRIC, auc_intervals, evaluate, figures, roc
from analysis.judge.intervals import Interval, auc_inflation
from analysis.judge.metrics import interval_of
from analysis.judge.ranking import Pairs, Ranking, Verdicts
from analysis.judge.rules import RULES
from analysis.judge.score_parts import Coarse, Parts
from analysis.judge.slices import Slice, jpeg_quality, slices
from analysis.judge.weighed import BINS, Judged
from analysis.page.tables import Table
from cache.errors import UserError
from cache.runs import write_table
from data.manifest import Manifest
from heads.elsewhere import OtherResult
from heads.predictions import Predictions

RANKED = ("auc", "ap", "ap_real", "eer", "tpr_at_fpr_1", "tpr_at_fpr_5")


def scores_of(count: int, seed: int = 0, gap: float = 1.2) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    fake = rng.random(count) < 0.45
    return np.round(rng.standard_normal(count) + gap * fake, 1), fake  # rounding makes ties


def fixed(threshold: float, *, temperature: float = 1.0, band: tuple[float, float] | None = None) -> Calibration:
    """All rules at one threshold; an empty band unless one is given."""
    return Calibration(dict.fromkeys(RULES, threshold), temperature, band or (threshold, threshold), 1)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))


def calibration_error(probability: np.ndarray, fake: np.ndarray, weights: np.ndarray) -> float:
    """Bin by bin, as it is defined."""
    total = 0.0
    for number in range(BINS):
        inside = (probability >= number / BINS) & (probability < (number + 1) / BINS)
        if weights[inside].sum():
            apart = np.average(probability[inside], weights=weights[inside]) - np.average(
                fake[inside], weights=weights[inside]
            )
            total += weights[inside].sum() / weights.sum() * abs(apart)
    return total


def expected(scores, fake, calibration, weights=None) -> dict[str, float]:
    weights = np.ones(len(scores)) if weights is None else weights
    options = {"sample_weight": weights}
    called = scores >= calibration.threshold
    decided = ~calibration.uncertain(scores)
    fpr, tpr, _ = theirs.roc_curve(fake, scores, drop_intermediate=False, **options)
    found = {
        "auc": theirs.roc_auc_score(fake, scores, **options),
        "ap": theirs.average_precision_score(fake, scores, **options),
        "ap_real": theirs.average_precision_score(~fake, -scores, **options),
        "tpr_at_fpr_1": tpr[fpr <= 0.01].max(),
        "tpr_at_fpr_5": tpr[fpr <= 0.05].max(),
        "accuracy": theirs.accuracy_score(fake, called, **options),
        "balanced_accuracy": theirs.balanced_accuracy_score(fake, called, **options),
        "precision": theirs.precision_score(fake, called, zero_division=0, **options),
        "recall": theirs.recall_score(fake, called, **options),
        "f1": theirs.f1_score(fake, called, **options),
        "precision_real": theirs.precision_score(~fake, ~called, zero_division=0, **options),
        "f1_real": theirs.f1_score(~fake, ~called, **options),
        "accuracy_real": theirs.recall_score(~fake, ~called, **options),
        "accuracy_fake": theirs.recall_score(fake, called, **options),
        "coverage": np.average(decided, weights=weights),
        "accuracy_decided": theirs.accuracy_score(fake[decided], called[decided], sample_weight=weights[decided]),
    }
    for suffix, logits in {"": scores / calibration.temperature, "_before": scores}.items():
        probability = sigmoid(logits)
        found |= {
            f"log_loss{suffix}": theirs.log_loss(fake, probability, **options),
            f"brier{suffix}": theirs.brier_score_loss(fake, probability, **options),
            f"ece{suffix}": calibration_error(probability, fake, weights),
        }
    return found


FIXED = fixed(0.6, temperature=0.7, band=(-0.2, 1.1))


@pytest.mark.parametrize("seed", range(3))
def test_metrics_agree_with_scikit_learn(seed):
    scores, fake = scores_of(150, seed)
    found = evaluate(scores, fake, np.arange(150).astype(str), calibration=FIXED)
    wanted = expected(scores, fake, FIXED)
    assert found.metrics.keys() == wanted.keys() | {"eer"}
    for name, value in wanted.items():
        assert found.metrics[name].value == pytest.approx(value, abs=1e-12), name
        if not name.startswith("ece"):
            assert found.metrics[name].low <= value <= found.metrics[name].high, name
    assert (found.images, found.threshold) == (150, 0.6)
    np.testing.assert_array_equal(found.confusion, theirs.confusion_matrix(fake, scores >= 0.6))


def test_weighted_metrics_agree_with_scikit_learn():
    """What the bootstrap computes for each resample."""
    scores, fake = scores_of(80)
    weights = np.random.default_rng(1).integers(0, 4, (5, 80)).astype(float)
    found = figures(Judged(scores, fake, np.arange(len(fake)), FIXED), weights)
    for number, each in enumerate(weights):
        for name, value in expected(scores, fake, FIXED, each).items():
            assert found[METRIC, name][number] == pytest.approx(value, abs=1e-12), name
    np.testing.assert_array_equal(Pairs(scores, fake).auc(weights), found[METRIC, "auc"])


def test_a_weight_of_two_is_the_image_twice():
    scores, fake = scores_of(60, 3)
    times = np.random.default_rng(0).integers(0, 3, 60)
    once = figures(Judged(scores, fake, np.arange(len(fake)), FIXED), times[None].astype(float))
    copies = (np.repeat(each, times) for each in (scores, fake, np.arange(60)))
    twice = figures(Judged(*copies, FIXED), np.ones((1, times.sum())))
    assert once.keys() == twice.keys()
    for name, value in once.items():
        if (
            name[0] != BESIDE or "tpr" not in name[1]
        ):  # there it is the number of images that says how far a rate is known
            assert value == pytest.approx(twice[name], abs=1e-12), name


def test_a_score_at_the_threshold_is_called_fake():
    """In whole splits, in parts of them, and where two models are compared."""
    scores, fake, once = np.array([1.0, 1.0, 1.0, 0.0]), np.array([True, True, False, False]), np.ones((1, 4))
    parts = Verdicts(scores, fake, 1.0).figures(once)
    assert [parts[name] for name in ("accuracy", "accuracy_real", "accuracy_fake")] == [0.75, 0.5, 1]
    whole = figures(Judged(scores, fake, np.arange(4), fixed(1.0)), once)
    assert [whole[METRIC, name] for name in ("accuracy", "accuracy_decided", "coverage")] == [0.75, 0.75, 1]
    pair = Pair(np.stack([scores, np.full(4, 2.0)], axis=1), fake, np.arange(4))
    assert accuracy_lead(pair, np.array([1.0, 2.0])).difference.value == pytest.approx(0.25)  # three right against two


def test_certainty_is_in_the_last_bin():
    """A probability of one beside .95: one bin, in which half the images are fake."""
    scores, fake = np.array([800.0, np.log(19), -800.0]), np.array([False, True, False])
    found = figures(Judged(scores, fake, np.arange(3), fixed(0.0)), np.ones((1, 3)))
    assert found[METRIC, "ece"] == pytest.approx(2 / 3 * abs(0.975 - 0.5))


def test_the_roc_curve_by_hand():
    """Equal error between two thresholds; TPR at a limit without interpolation, at the limit itself too."""
    fake = np.array([False] * 20 + [True] * 4)
    scores = np.array([*range(20), 9.5, 18.5, 19.5, 20])
    found = evaluate(scores, fake, np.arange(24), calibration=fixed(0)).metrics
    assert found["tpr_at_fpr_1"].value == 0.5
    assert found["tpr_at_fpr_5"].value == 0.75  # one real image of twenty is 5 %, not more
    fake = np.array([False, False, False, False, True, True, True, True])
    scores = np.array([0.0, 1, 2, 5, 3, 4, 6, 7])
    assert evaluate(scores, fake, np.arange(8), calibration=fixed(0)).metrics["eer"].value == pytest.approx(0.25)
    perfect = evaluate(np.where(fake, 2.0, 1.0), fake, np.arange(8), calibration=fixed(1.5)).metrics
    assert [perfect[name].value for name in RANKED] == [1, 1, 1, 0, 1, 1]
    false, true = roc(scores, fake)
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)


def test_equal_scores_say_nothing():
    fake = np.arange(40) % 4 == 0
    found = evaluate(np.zeros(40), fake, np.arange(40), calibration=fixed(0.5)).metrics
    assert found["auc"].value == found["eer"].value == 0.5
    assert found["auc"].low < 0.4 < 0.6 < found["auc"].high  # nothing varies in the resamples, and nothing is known
    assert (found["ap"].value, found["ap_real"].value) == (0.25, 0.75)
    assert [found[name].value for name in ("tpr_at_fpr_5", "precision", "f1", "accuracy_real")] == [0, 0, 0, 1]
    assert found["log_loss"].value == pytest.approx(np.log(2))
    assert found["ece"].value == pytest.approx(0.25)


@pytest.mark.parametrize(("label", "own"), [(True, {"recall", "accuracy_fake"}), (False, {"accuracy_real"})])
def test_one_class_has_what_it_defines(label, own):
    scores, _ = scores_of(50)
    fake = np.full(50, label)
    found = evaluate(scores, fake, np.arange(50), calibration=FIXED)
    probabilities = {f"{name}{suffix}" for name in ("log_loss", "brier", "ece") for suffix in ("", "_before")}
    assert found.metrics.keys() == {"accuracy", "coverage", "accuracy_decided"} | own | probabilities
    right = ((scores >= 0.6) == label).mean()
    assert {found.metrics[name].value for name in {"accuracy"} | own} == {right}
    assert found.metrics["log_loss"].value == pytest.approx(theirs.log_loss(fake, sigmoid(scores / 0.7), labels=[0, 1]))
    point = found.operating["fpr_5"]
    assert (point.tpr is None, point.fpr is None, point.balanced_accuracy) == (not label, label, None)
    assert point.accuracy == found.metrics["accuracy"]


def test_a_band_that_holds_all_decides_nothing():
    scores, fake = scores_of(50)
    found = evaluate(scores, fake, np.arange(50), calibration=fixed(0.6, band=(-99, 99))).metrics
    assert found["coverage"].value == 0
    assert "accuracy_decided" not in found
    scores[0], fake[0] = 100, True
    found = evaluate(scores, fake, np.arange(50), calibration=fixed(0.6, band=(-99, 99))).metrics
    assert found["accuracy_decided"] == Interval(1.0, pytest.approx(0.05), 1.0)  # one image says next to nothing


def test_every_rule_is_judged_at_its_own_threshold():
    scores, fake = scores_of(200, 1)
    calibration = calibrate(*scores_of(200, 2))
    found = evaluate(scores, fake, np.arange(200), calibration=calibration)
    assert found.operating.keys() == RULES.keys()
    for rule, point in found.operating.items():
        called = scores >= calibration.thresholds[rule]
        assert point.threshold == calibration.thresholds[rule]
        assert point.tpr.value == called[fake].mean()
        assert point.fpr.value == called[~fake].mean()
        assert point.accuracy.value == (called == fake).mean()
        assert point.balanced_accuracy.value == pytest.approx(theirs.balanced_accuracy_score(fake, called))
        assert point.fpr.low <= point.fpr.value <= point.fpr.high
    assert found.operating["youden"].accuracy == found.metrics["accuracy"]


def test_the_threshold_is_the_best_balanced_accuracy_and_parts_no_equals():
    scores, fake = scores_of(120, 4)
    threshold = calibrate(scores, fake).threshold
    best = max(theirs.balanced_accuracy_score(fake, scores >= t) for t in [*np.unique(scores), 99])
    assert theirs.balanced_accuracy_score(fake, scores >= threshold) == pytest.approx(best)
    assert threshold not in scores


def test_what_validation_fixes_by_hand():
    """Real 0..19, of which one of twenty, 5 %, may be called fake; fake 17.5, 18.5, 30, 31."""
    fake = np.array([False] * 20 + [True] * 4)
    found = calibrate(np.array([*range(20), 17.5, 18.5, 30, 31]), fake)
    assert found.thresholds == {"youden": 17.25, "eer": 17.25, "fpr_5": 18.25, "fpr_1": 24.5, "half": 0.0}
    assert found.band == (17.25, 18.25)  # none of four fake ones may be missed, one of twenty real ones called fake
    assert found.images == 24
    np.testing.assert_array_equal(found.uncertain(np.array([17.2, 17.25, 18.2, 18.25])), [False, True, True, False])


@pytest.mark.parametrize("real", [20, 40, 60, 100, 140, 300])
def test_a_share_of_real_images_is_exact(real):
    """1 - 19 / 20 is more than .05 to a computer."""
    scores, fake = np.arange(real + 7.0), np.arange(real + 7) >= real
    scores[fake] = -1.0
    found = calibrate(scores, fake).thresholds
    assert (scores[~fake] >= found["fpr_5"]).sum() == real // 20
    assert (scores[~fake] >= found["fpr_1"]).sum() == real // 100


def test_what_validation_fixes_where_there_is_little_to_fix_it_by():
    fake = np.arange(8) % 2 == 0
    parted = calibrate(np.where(fake, 1.0, -1.0), fake)
    assert set(parted.thresholds.values()) == {0.0}
    assert parted.band == (0.0, 0.0)
    assert sigmoid(1 / parted.temperature) == pytest.approx(5 / 6, abs=1e-3)  # Platt's target of four images
    equal = calibrate(np.full(8, 3.0), fake)
    assert equal.thresholds == {"youden": 2.0, "eer": 2.0, "fpr_5": 4.0, "fpr_1": 4.0, "half": 0.0}
    assert equal.uncertain(np.array([3.0])).all()
    assert equal.probability(np.array([3.0])) == pytest.approx(0.5, abs=1e-3)
    two = calibrate(np.array([1.0, 2.0]), np.array([False, True]))
    assert (two.threshold, two.band) == (1.5, (1.5, 1.5))
    turned = calibrate(np.array([2.0, 1.0]), np.array([False, True]))
    assert (turned.threshold, turned.thresholds["eer"], turned.band) == (0.0, 1.5, (0.0, 3.0))
    close = np.array([1.0, np.nextafter(1.0, 2.0)])
    assert (calibrate(close, np.array([False, True])).threshold <= close).tolist() == [False, True]
    with pytest.raises(UserError, match="one class"):
        calibrate(np.arange(3.0), np.ones(3, bool))


def test_the_band_leaves_few_of_each_class_on_the_wrong_side():
    for seed in range(20):
        scores, fake = scores_of(200, seed, gap=seed / 5)
        found = calibrate(scores, fake)
        assert found.band[0] <= found.threshold <= found.band[1]
        assert (scores[fake] < found.band[0]).mean() <= 0.05
        assert (scores[~fake] >= found.band[1]).mean() <= 0.05


@pytest.mark.parametrize("scale", [0.01, 0.3, 1.0, 25.0])
def test_the_temperature_undoes_a_scale(scale):
    rng = np.random.default_rng(0)
    logits = 2 * rng.standard_normal(6000)
    fake = rng.random(6000) < sigmoid(logits)
    found = calibrate(scale * logits, fake)
    assert found.temperature == pytest.approx(scale, rel=0.05)
    after = evaluate(scale * logits, fake, np.arange(6000) // 600, calibration=found).metrics
    assert after["ece"].value < 0.03  # about .017 by chance, in bins of 400
    assert after["log_loss"].value <= after["log_loss_before"].value + 1e-6


@pytest.mark.parametrize("seed", [0, 1])
def test_resamples_weigh_groups_of_each_kind(seed):
    """Images of a group alike; real, fake and mixed groups each keep their weight; a single group of its kind stays."""
    fake = np.array([False] * 6 + [True] * 4 + [False, True] * 3)
    groups = np.array([*"aabbcd", *"eefg", *"hhiijj"])
    weights = np.concatenate(list(resamples(fake, groups, seed)))
    assert weights.shape == (RESAMPLES, 16)
    assert (weights > 0).all()
    first = [0, 2, 4, 5, 6, 8, 9, 10, 12, 14]  # of each group
    for kind in ([0, 2, 4, 5], [6, 8, 9], [10, 12, 14]):
        assert weights[:, kind].mean(axis=1) == pytest.approx(1)
    np.testing.assert_array_equal(weights, weights[:, np.repeat(first, [2, 2, 1, 1, 2, 1, 1, 2, 2, 2])])
    assert weights.mean(axis=0) == pytest.approx(np.ones(16), abs=0.15)
    assert weights[:, 0].var() == pytest.approx(3 / 5, rel=0.2)  # (n - 1) / (n + 1) of four groups
    order = np.random.default_rng(1).permutation(16)
    np.testing.assert_array_equal(np.concatenate(list(resamples(fake[order], groups[order], seed))), weights[:, order])
    assert (np.concatenate(list(resamples(fake[:2], groups[:2], seed))) == 1).all()


@pytest.mark.parametrize("groups", [4000, 1500])
def test_parts_of_images_say_what_the_images_say(groups, monkeypatch):
    """Figures are of all images, intervals of the parts as wide as theirs: alone, and in groups that cross parts."""
    scores, fake = scores_of(4000, 1)
    scores[:2] = 60, -60  # far from all others: the log loss is known as badly as these two
    units = np.arange(4000) % groups
    images = evaluate(scores, fake, units, calibration=FIXED).metrics
    monkeypatch.setattr("analysis.judge.bootstrap.MANY", 3999)
    parts = evaluate(scores, fake, units, calibration=FIXED).metrics
    assert parts.keys() == images.keys()
    for name, found in parts.items():
        assert found.value == images[name].value, name
        width = images[name].high - images[name].low
        assert (found.low, found.high) == pytest.approx((images[name].low, images[name].high), abs=0.1 * width), name


@pytest.mark.parametrize("groups", [900, 300])
def test_parts_weigh_what_their_images_weigh(groups):
    """As many draws of a group as it has images in parts; of groups that lie in one part alone a single one."""
    rng = np.random.default_rng(0)
    columns, fake = rng.integers(0, 20, (2, 900)).astype(float), rng.random(900) < 0.4
    found = Coarse([Parts.by_rank(each, fake) for each in columns], dict)
    weights = np.concatenate(list(found.resamples(fake, np.arange(900) % groups, 0)))
    first, second = np.split(weights, [len(found.parts[0].scores)], axis=1)
    assert first.sum(axis=1) == pytest.approx(second.sum(axis=1))  # the same images, parted in two ways
    sizes = np.bincount(found.parts[0].member)
    assert first.mean(axis=0) == pytest.approx(sizes, rel=0.1)
    own = np.concatenate(list(resamples(fake, np.arange(900) % groups, 1)))
    expected = np.stack([own[:, found.parts[0].member == part].sum(axis=1) for part in range(len(sizes))])
    assert first.std(axis=0) == pytest.approx(expected.std(axis=1), rel=0.15)


def test_leads_of_parts_are_those_of_images(monkeypatch):
    scores, fake = scores_of(3000, 2)
    noise = np.random.default_rng(0).normal(size=3000)
    pair = Pair(np.stack([scores, scores + noise], axis=1), fake, np.arange(3000))
    images = [auc_lead(pair), accuracy_lead(pair, np.array([0.5, 0.6]))]
    monkeypatch.setattr("analysis.judge.bootstrap.MANY", 2999)
    parts = [auc_lead(pair), accuracy_lead(pair, np.array([0.5, 0.6]))]
    for found, wanted in zip(parts, images, strict=True):
        assert found.difference.value == wanted.difference.value
        width = wanted.difference.high - wanted.difference.low
        assert found.difference.low == pytest.approx(wanted.difference.low, abs=0.1 * width)


def test_blocks_are_no_part_of_what_is_drawn(monkeypatch):
    monkeypatch.setattr("analysis.judge.bootstrap.BLOCK", 70)  # seven resamples at a time
    fake = np.arange(10) < 5
    drawn = bootstrap(lambda weights: {"first": weights[:, 0]}, fake, np.arange(10))["first"]
    assert (len(drawn.samples), drawn.value) == (RESAMPLES, 1)


def test_resamples_in_threads_stay_in_their_order(monkeypatch):
    """Whichever block is through first: here each waits for the one behind it."""
    monkeypatch.setattr("analysis.judge.bootstrap.BLOCK", 7000)  # of ten images, so that there are two blocks
    monkeypatch.setattr("analysis.judge.bootstrap.cores", lambda: 2)
    fake, groups, second = np.arange(10) < 5, np.arange(10), Event()

    def first(weights: np.ndarray) -> dict[str, np.ndarray]:
        if len(weights) == 700:
            second.wait(60)
        elif len(weights) == 300:
            second.set()
        return {"first": weights[:, 0]}

    drawn = bootstrap(first, fake, groups)["first"]
    expected = np.concatenate(list(resamples(fake, groups, 0)))[:, 0]
    np.testing.assert_array_equal(drawn.samples, expected)


def draws(value: float, samples=(0.0,), images: int = 10) -> Draws:
    """Of as many images of each class, each its own group."""
    return Draws(
        value, np.array(samples, float), Units(images, images), Units(images, images), Units(2 * images, 2 * images)
    )


def test_ahead_counts_draws_half():
    assert draws(0.1, [-1, 0, 0, 2]).ahead == 0.5
    assert draws(0.1, [1, 0, 3, 2]).ahead == 0.875
    assert draws(0.3, [1, 1, 2]).minus(draws(0.1, [0, 1, 3])).samples.tolist() == [1, 0, -1]


@pytest.mark.parametrize(("right", "of"), [(0, 20), (1, 20), (13, 20), (149, 150), (150, 150)])
def test_a_proportion_has_the_mid_p_interval(right, of):
    """At each bound the images seen, and as many again or fewer, are as rare as a tail: by the binomial itself."""
    found = Interval.of_proportion(draws(right / of), Units(of, of))

    def tails(p: float) -> tuple[float, float]:
        as_seen = binom.pmf(right, of, p) / 2
        return binom.sf(right, of, p) + as_seen, binom.cdf(right - 1, of, p) + as_seen

    assert (found.low, found.high) == (0 if not right else found.low, 1 if right == of else found.high)
    assert not right or tails(found.low)[0] == pytest.approx(0.025, abs=1e-6)
    assert right == of or tails(found.high)[1] == pytest.approx(0.025, abs=1e-6)


def test_no_errors_seen_is_no_certainty():
    """Of 150 images .05 ** (1 / 150) is possible; groups that are right throughout are worth one image each."""
    fake = np.arange(300) % 2 == 0
    scores = np.where(fake, 1.0, -1.0) + np.linspace(0, 0.5, 300)
    alone = evaluate(scores, fake, np.arange(300), calibration=fixed(0)).metrics
    assert alone["accuracy_real"].low == pytest.approx(0.05 ** (1 / 150))
    assert alone["accuracy"].low == pytest.approx(0.05 ** (1 / 300))
    for name in (*RANKED, "balanced_accuracy", "precision", "f1"):
        assert alone[name].high - alone[name].low > 0.009, name
    assert alone["tpr_at_fpr_1"].low < 0.6  # of 150 real images one is nearly 1 %
    in_groups = evaluate(scores, fake, np.arange(300) // 10 * 2 + fake, calibration=fixed(0)).metrics
    assert in_groups["accuracy_real"].low == pytest.approx(0.05 ** (1 / 30))
    assert in_groups["auc"].low < alone["auc"].low


def test_images_of_a_group_are_worth_what_their_spread_says():
    """Copies are worth one image; unlike images of a group as many as there are, and never more."""
    right = np.array([True] * 30 + [False] * 10)
    copies = np.repeat(right, 5)
    apart = np.random.default_rng(0).permutation(copies)
    groups = np.repeat(np.arange(40), 5)
    single, together, spread, alternating = (
        quick(np.where(each, 1.0, -1.0), np.ones(len(each), bool), where, 0)["accuracy_fake"]
        for each, where in (
            (right, np.arange(40)),
            (copies, groups),
            (apart, groups),
            (np.tile(right, 5), np.arange(200) % 5),
        )
    )
    width = {each: each.high - each.low for each in (single, together, spread, alternating)}
    assert width[together] == pytest.approx(width[single], rel=0.08)  # Student's t of 40 groups is a little wider
    assert width[spread] == pytest.approx(width[single] / np.sqrt(5), rel=0.2)
    whole = Interval.of_proportion(draws(0.75), Units(200, 200))
    assert (alternating.low, alternating.high) == (whole.low, whole.high)


def test_an_auc_of_few_pairs_in_the_wrong_order_is_not_believed():
    """The resamples of one pair of a thousand vary less than two normals with this area, whose variance is known."""
    rng = np.random.default_rng(0)
    fake = np.arange(60) % 2 == 0
    gap = np.sqrt(2) * norm.ppf(0.95)
    areas = [Pairs(rng.standard_normal(60) + gap * fake, fake).auc(np.ones((1, 60)))[0] for _ in range(4000)]
    true = np.var(areas)
    for variance in (true / 4, 4 * true):
        spread = np.sqrt(variance * 29 / 31) * np.array([-1.0, 1.0])
        found = auc_inflation(draws(0.95, 0.95 + spread, images=30))
        assert found == pytest.approx(max(1, true / variance), rel=0.06)


def test_a_rate_between_two_images_by_hand():
    """Real at 3, 2, 1, 0, of a fifth of all images each; fake at 4, 2.5, 2.5, .5: T = 1/4, 3/4, 3/4, 1 beside them."""
    fake = np.array([False] * 4 + [True] * 4)
    counts = Ranking(np.array([3, 2, 1, 0, 4, 2.5, 2.5, 0.5]), fake).counts(np.ones((1, 8)))
    for limit, rate in ((0.1, 0.125), (0.2, 0.25), (0.3, 0.5), (0.4, 0.75), (0.5, 0.75), (0.7, 0.875), (0.9, 1.0)):
        assert counts.tpr_between(limit, 4)[0] == pytest.approx(rate), limit


def covered(hits: list[bool], least: float = 0.92, most: float = 0.985) -> bool:
    """A 95 % interval, allowing for chance in so few trials."""
    return least <= np.mean(hits) <= most


@pytest.mark.parametrize("size", [1, 4])
def test_intervals_cover_the_truth_as_often_as_they_say(size):
    """Two normals one unit apart, 120 groups of images that differ little: AUC Phi(1 / sqrt 2), accuracy Phi(1 / 2)."""
    hits: dict[str, list[bool]] = {"auc": [], "accuracy": []}
    for seed in range(200):
        rng = np.random.default_rng(seed)
        fake = np.repeat(np.arange(120) % 2 == 0, size)
        shared, own = np.repeat(rng.standard_normal(120), size), rng.standard_normal(120 * size)
        scores = np.sqrt(0.9) * shared + np.sqrt(0.1) * own + fake if size > 1 else own + fake
        verdicts = quick(scores, fake, np.repeat(np.arange(120), size), seed)
        for name, truth in (("auc", 0.76025), ("accuracy", 0.69146)):
            hits[name].append(verdicts[name].low <= truth <= verdicts[name].high)
    assert covered(hits["auc"])
    assert covered(hits["accuracy"])


@pytest.mark.parametrize(("images", "auc", "accuracy"), [(150, 0.9977, 0.99), (50, 0.95, 0.995)])
def test_intervals_cover_the_truth_near_the_edge(images, auc, accuracy):
    """Percentiles of resamples cover an accuracy of .99 in .73 of 150-image classes, an AUC of .9977 in .84."""
    fake = np.repeat([False, True], images)
    gap = np.sqrt(2) * norm.ppf(auc)
    hits: dict[str, list[bool]] = {"auc": [], "accuracy_fake": []}
    for seed in range(200):
        scores = np.random.default_rng(seed).standard_normal(2 * images) + gap * fake
        found = quick(scores, fake, np.arange(2 * images), seed, threshold=gap - norm.ppf(accuracy))
        for name, truth in (("auc", auc), ("accuracy_fake", accuracy)):
            hits[name].append(found[name].low <= truth <= found[name].high)
    assert covered(hits["auc"], most=1)
    assert covered(hits["accuracy_fake"], most=1)  # an interval for none of 150 holds more than it must


def test_intervals_cover_the_truth_over_few_groups():
    """Six groups of four images of a class, half of whose variance is shared."""
    fake, groups = np.repeat([False, True], 24), np.repeat(np.arange(12), 4)
    hits: dict[str, list[bool]] = {"auc": [], "accuracy_fake": []}
    for seed in range(200):
        rng = np.random.default_rng(seed)
        shared, own = rng.standard_normal(12)[groups], rng.standard_normal(48)
        found = quick(np.sqrt(0.5) * (shared + own) + fake, fake, groups, seed)
        for name, truth in (("auc", 0.76025), ("accuracy_fake", 0.69146)):
            hits[name].append(found[name].low <= truth <= found[name].high)
    assert covered(hits["auc"], most=1)
    assert covered(hits["accuracy_fake"], most=1)


def quick(scores, fake, groups, seed, threshold=0.5) -> dict:
    """Only what the test looks at, which takes a tenth of the time."""
    found = bootstrap(Verdicts(scores, fake, threshold).figures, fake, groups, seed=seed)
    return {name: interval_of(name, each) for name, each in found.items()}


def test_groups_widen_the_interval():
    scores, fake = scores_of(40, 2)
    copies = np.repeat(np.arange(40), 10)
    by_image = evaluate(scores[copies], fake[copies], np.arange(400), calibration=FIXED).metrics
    by_group = evaluate(scores[copies], fake[copies], copies.astype(str), calibration=FIXED).metrics
    for name in ("auc", "accuracy", "log_loss", "brier"):
        assert by_group[name].high - by_group[name].low > 2 * (by_image[name].high - by_image[name].low)


def test_auc_intervals_of_many_columns_are_those_of_each_alone():
    scores, fake = scores_of(90)
    columns = np.stack([scores, -scores, np.round(scores)], axis=1)
    groups = (np.arange(90) // 2).astype(str)
    for column, found in zip(columns.T, auc_intervals(columns, fake, groups), strict=True):
        for same in (
            evaluate(column, fake, groups, calibration=FIXED).metrics["auc"],
            quick(column, fake, groups, 0)["auc"],
        ):
            assert astuple(found) == pytest.approx(astuple(same), abs=1e-12)


def test_a_threshold_is_off_where_the_scores_allow_plainly_more():
    scores, fake = scores_of(400, gap=3.0)
    result = OtherResult("run", "", "faces", "0", False, 400, 0)

    def at(threshold: float, count: int = 400) -> Other:
        rows = slice(count)
        groups = np.arange(400).astype(str)[rows]
        return Other(result, evaluate(scores[rows], fake[rows], groups, calibration=fixed(threshold)))

    assert not at(1.5).is_off
    assert at(4.0).is_off
    assert at(4.0).within_reach == pytest.approx(at(1.5).evaluation.metrics["balanced_accuracy"].value, abs=0.02)
    assert not at(2.2, 10).is_off  # too few to tell
    alone = Other(result, evaluate(scores[fake], fake[fake], np.arange(fake.sum()), calibration=fixed(4.0)))
    assert alone.auc is None
    assert not alone.is_off


def model(folder: Path, threshold: float = 0.0, **splits: pd.DataFrame) -> Model:
    """A run with predictions of some splits, each a table of path, label and score."""
    evaluated = {}
    for split, table in splits.items():
        about = table.assign(group=table.group if "group" in table else table.path, digest=table.path)
        write_table(folder / f"predictions-{split}.csv", about)
        fake = (table.label == "fake").to_numpy()
        evaluated[split] = evaluate(table.score.to_numpy(), fake, about.group.to_numpy(), calibration=fixed(threshold))
    val, test = (evaluated.get(split) for split in ("val", "test"))
    return Model(folder, made=None, calibration=fixed(threshold), val=val, test=test, other={}, perturbed=None)


def faces_table(scores: list[float], fake: np.ndarray, start: int = 0) -> pd.DataFrame:
    paths = [f"{number:04d}.jpg" for number in range(start, start + len(fake))]
    return pd.DataFrame({"path": paths, "label": np.where(fake, "fake", "real"), "score": np.asarray(scores, float)})


def test_models_are_compared_on_what_both_scored_each_at_its_own_threshold(tmp_path):
    rng = np.random.default_rng(0)
    fake = np.arange(200) % 2 == 0
    noise = rng.standard_normal(200)
    first = faces_table(noise + 1.5 * fake, fake)
    weaker = faces_table(7 + noise + 1.2 * fake, fake)[::-1]  # in another order, and with the threshold elsewhere
    untested = faces_table(-noise, fake)
    models = [
        model(tmp_path / "first", 0.75, test=first, val=first[:90]),
        model(tmp_path / "weaker", 7.6, test=weaker.iloc[20:], val=first),
        model(tmp_path / "same", 0.75, test=first, val=first),
        model(tmp_path / "untested", 0.0, val=untested[50:]),
        model(tmp_path / "real", 0.75, test=first[~fake], val=first),
        model(tmp_path / "strange", 0.75, test=faces_table(noise, fake, start=500), val=first),
    ]
    found = {each.second: each for each in against_the_first(models)}
    assert [(name, each.split, each.images) for name, each in found.items()] == [
        ("weaker", "test", 180), ("same", "test", 200), ("untested", "val", 40), ("real", "test", 100),
    ]  # fmt: skip
    assert {each.first for each in found.values()} == {"first"}
    lead, rows = found["weaker"], slice(180)
    aucs = [theirs.roc_auc_score(fake[rows], noise[rows] + gap * fake[rows]) for gap in (1.5, 1.2)]
    right = [((noise + gap * fake >= at) == fake)[rows].mean() for gap, at in ((1.5, 0.75), (1.2, 0.6))]
    assert lead.auc.difference.value == pytest.approx(aucs[0] - aucs[1])
    assert lead.accuracy.difference.value == pytest.approx(right[0] - right[1])
    assert lead.auc.difference.low > 0
    assert lead.auc.ahead == 1  # by .04, far less than either interval is wide
    alone = models[0].test.metrics["auc"]
    assert lead.auc.difference.high - lead.auc.difference.low < (alone.high - alone.low) / 2
    assert lead.accuracy.difference.low <= lead.accuracy.difference.value <= lead.accuracy.difference.high
    same = found["same"]
    assert same.auc.difference.low < same.auc.difference.value == 0 < same.auc.difference.high
    assert same.accuracy.difference.value == 0
    assert (same.auc.ahead, same.accuracy.ahead) == (0.5, 0.5)
    assert found["real"].auc is None
    assert against_the_first(models[:1]) == []


def test_the_interval_of_a_difference_covers_the_truth():
    """The second blurs the first: AUC Phi(1 / sqrt 2) - Phi(1 / sqrt 3), accuracy Phi(1 / 2) - Phi(1 / sqrt 6)."""
    hits: dict[str, list[bool]] = {"auc": [], "accuracy": []}
    fake = np.arange(150) % 2 == 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        clear = rng.standard_normal(150) + fake
        blurred = clear + np.sqrt(0.5) * rng.standard_normal(150)
        pair = Pair(np.stack([clear, blurred], axis=1), fake, np.arange(150))
        auc, accuracy = auc_lead(pair).difference, accuracy_lead(pair, np.array([0.5, 0.5])).difference
        hits["auc"].append(auc.low <= 0.04210 <= auc.high)
        hits["accuracy"].append(accuracy.low <= 0.03301 <= accuracy.high)
    assert covered(hits["auc"])
    assert covered(hits["accuracy"])


def test_equal_models_are_rarely_called_better():
    """Near the edge, where few images tell them apart: percentiles of resamples call one in nine better."""
    fake, gap = np.repeat([False, True], 80), np.sqrt(2) * norm.ppf(0.9977)
    called = []
    for seed in range(150):
        one, other = np.random.default_rng(seed).standard_normal((2, 160))
        scores = np.stack([one, 0.9 * one + np.sqrt(0.19) * other], axis=1) + gap * fake[:, None]
        lead = auc_lead(Pair(scores, fake, np.arange(160))).difference
        assert lead.low < lead.high
        called.append(lead.low > 0 or lead.high < 0)
    assert np.mean(called) <= 0.05


def test_what_fine_tuning_brought_is_judged_on_the_same_images(tmp_path):
    """Both share their noise, so that the difference is known far better than either AUC."""
    fake = np.arange(300) % 2 == 0
    noise = np.random.default_rng(0).standard_normal(300)
    tables = {"before": faces_table(noise + fake, fake), "after": faces_table(noise + 1.3 * fake, fake)[::-1]}
    before, after = (model(tmp_path / name, test=table) for name, table in tables.items())
    gain = auc_gain(before, after)
    aucs = [theirs.roc_auc_score(table.label == "fake", table.score) for table in tables.values()]
    assert gain.value == pytest.approx(aucs[1] - aucs[0])
    assert 0 < gain.low < gain.value < gain.high
    alone = before.test.metrics["auc"]
    assert gain.high - gain.low < (alone.high - alone.low) / 2
    real = model(tmp_path / "real", test=tables["before"][~fake])
    assert auc_gain(real, after) is None


def album(count: int = 80, **columns) -> tuple[Predictions, Manifest]:
    """Images of both classes in turn, the first ten called wrongly at 0, alike but for what `columns` says."""
    fake = np.arange(count) % 2 == 0
    right = np.where(fake, 1.0, -1.0) + np.linspace(-0.5, 0.5, count)
    label = np.where(fake, "fake", "real")
    digests = [f"{number:064x}" for number in range(count)]
    rows = pd.DataFrame({
        "digest": digests, "path": [f"{each}/{n}.jpg" for n, each in enumerate(label)], "label": label, "split": "test",
        "group": digests, "status": "ok", "note": "", "width": 64, "height": 64, "bytes": 1000, "format": "JPEG",
        "quantisation": 11.5, "brightness": 1.0, "colour": 1.0, "sharpness": 1.0,
    })  # fmt: skip
    rows = rows.assign(**columns)
    scores = np.where(np.arange(count) < 10, -right, right)
    predictions = Predictions(rows.path.to_numpy(object), scores, fake, rows.group.to_numpy(object))
    return predictions, Manifest("faces", Path(), False, rows)


def parts(count: int = 80, **columns) -> dict[tuple[str, str], Slice]:
    return {(each.column, each.value): each for each in slices(*album(count, **columns), fixed(0)).found}


def test_slices_by_hand():
    """The ten that are called wrongly are grey, ten others are no JPEG, six have a note of their own."""
    notes = ["greyscale"] * 10 + [""] * 64 + ["palette"] * 6
    predictions, manifest = album(note=notes, quantisation=[11.5] * 60 + [0.0] * 20)
    shuffled = np.random.default_rng(0).permutation(80)  # the manifest's order, which holds more than was scored
    more = pd.concat([manifest.rows.iloc[shuffled], manifest.rows.assign(path="train/" + manifest.rows.path)])
    found = slices(predictions, replace(manifest, rows=more), fixed(0))
    assert found.too_small == 1
    assert [(each.column, each.value, each.images) for each in found.found] == [
        ("note", "greyscale", 10), ("JPEG quality", "90", 60), ("JPEG quality", "not JPEG", 20),
        ("note", "nothing", 64),
    ]  # fmt: skip
    grey, jpeg = found.found[:2]
    assert (grey.real, grey.fake) == (5, 5)
    assert [each.value for each in (grey.accuracy, grey.accuracy_real, grey.accuracy_fake, grey.auc)] == [0, 0, 0, 0]
    assert jpeg.accuracy.value == jpeg.accuracy_fake.value == pytest.approx(5 / 6)
    assert jpeg.accuracy.low < 5 / 6 < jpeg.accuracy.high < 1
    inside = slice(60)
    assert jpeg.auc.value == pytest.approx(theirs.roc_auc_score(predictions.fake[inside], predictions.scores[inside]))
    alone = evaluate(
        *(getattr(predictions, name)[inside] for name in ("scores", "fake", "groups")), calibration=fixed(0)
    )
    assert (jpeg.accuracy, jpeg.auc) == (alone.metrics["accuracy"], alone.metrics["auc"])


def test_a_slice_of_one_class_has_what_it_defines():
    kind = ["", "gan"] * 20 + ["", "diffusion"] * 20
    assert parts(generator=kind).keys() == {("generator", "gan"), ("generator", "diffusion")}
    one = parts(generator=kind)["generator", "gan"]
    assert (one.images, one.real, one.fake, one.accuracy_fake) == (20, 20, 0, None)
    assert one.auc.low < one.auc.value < one.auc.high  # against all images of the other class
    assert one.accuracy == one.accuracy_real


def test_folders_are_slices_if_they_say_more_than_the_class():
    assert parts() == {}
    paths = [f"all/{'test/' * (n % 4 == 0)}{('fake', 'real')[n % 2]}/{n}.jpg" for n in range(80)]
    found = parts(path=paths)
    assert found.keys() == {("source folder", name) for name in ("real", "fake", "test/fake")}
    assert found["source folder", "test/fake"].images == 20
    named = parts(path=paths, generator=[path.rpartition("/")[0] for path in paths])
    assert {column for column, _ in named} == {"generator"}  # the same images are not shown twice
    assert len(named) == len(found)


def test_groups_are_slices_where_they_hold_several_images():
    names = ["long"] * 12 + ["short"] * 3 + [f"{number:064x}" for number in range(15, 80)]
    predictions, manifest = album(group=names)
    found = slices(predictions, manifest, fixed(0))
    (one,) = found.found
    assert (one.column, one.value, one.images, found.too_small) == ("group", "long", 12, 1)
    assert one.accuracy.value == pytest.approx(2 / 12)
    assert one.accuracy.low < one.accuracy.value < one.accuracy.high  # over its images


def test_slices_have_the_intervals_of_their_groups():
    """Pairs of copies: as much as half the images."""
    names = [f"{number // 4}" for number in range(80)]
    found = parts(group=names, note=["a note"] * 40 + [""] * 40)["note", "a note"]
    predictions, _ = album(group=names)
    inside = slice(40)
    chosen = [getattr(predictions, name)[inside] for name in ("scores", "fake", "groups")]
    by_group, by_image = (
        evaluate(*chosen[:2], groups, calibration=fixed(0)).metrics for groups in (chosen[2], np.arange(40))
    )
    assert (found.accuracy, found.auc) == (by_group["accuracy"], by_group["auc"])
    assert found.accuracy != by_image["accuracy"]


def test_what_is_not_known_of_an_image_makes_no_slice():
    """Black images in the place of unreadable ones have no size and no format; copies are no group of their own."""
    black = np.arange(80) < 20
    found = parts(width=np.where(black, 0, np.where(np.arange(80) < 50, 64, 100)), format=np.where(black, "", "JPEG"),
                  bytes=np.arange(80) * 1000)  # fmt: skip
    assert {name: each.images for name, each in found.items()} == {
        ("size", "64 x 64"): 30, ("size", "100 x 64"): 30, ("bytes", "0 to 19000"): 20, ("bytes", "20000 to 39000"): 20,
        ("bytes", "40000 to 59000"): 20, ("bytes", "60000 to 79000"): 20,
    }  # fmt: skip
    copies = [f"{number // 20:064x}" for number in range(80)]
    assert parts(digest=copies, group=copies) == {}
    assert parts(group=copies).keys() == {("group", each) for each in copies}


def test_sizes_and_qualities_are_shown_as_they_are_or_in_ranges():
    sides = np.repeat([64, 100], 40)
    assert parts(width=sides).keys() == {("size", "64 x 64"), ("size", "100 x 64")}
    sides = np.repeat([100, 200], 40) + np.arange(80) % 20
    assert parts(width=sides, height=300).keys() == {
        ("size", "shorter side 64 to 127"),
        ("size", "shorter side 128 to 255"),
    }
    means = [tables_of(quality) for quality in range(88, 98)]
    found = parts(quantisation=np.repeat([*means, 0, tables_of(30)], 7)[:80])
    assert {value: each.images for (_, value), each in found.items()} == {
        "80 to 89": 14,
        "90 to 94": 35,
        "95 to 100": 21,
    }


def tables_of(quality: int) -> float:
    """The manifest's `quantisation` of a JPEG that Pillow writes with this quality."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as image:
        return round(float(np.mean(image.quantization[0])), 3)


def test_jpeg_quality_is_that_of_the_encoder():
    qualities = range(1, 101)
    assert jpeg_quality(np.array([tables_of(each) for each in qualities])).tolist() == [*qualities]


def test_numbers_are_cut_into_quarters_and_equal_ones_stay_together():
    found = parts(brightness=np.arange(80.0), sharpness=np.where(np.arange(80) < 70, 0.0, np.arange(80)))
    assert {name: each.images for name, each in found.items()} == {
        ("brightness", "0 to 19"): 20, ("brightness", "20 to 39"): 20, ("brightness", "40 to 59"): 20,
        ("brightness", "60 to 79"): 20, ("sharpness", "0"): 70, ("sharpness", "70 to 79"): 10,
    }  # fmt: skip
    unknown = np.where(np.arange(80) < 40, np.nan, np.arange(80))
    assert sum(each.images for each in parts(colour=unknown).values()) == 40


def test_further_columns_are_slices_if_they_are_kinds_of_images():
    numbers = np.arange(80)
    found = parts(
        age=numbers.astype(str), stars=(numbers % 2 + 1).astype(str), name=[f"p{n}" for n in numbers], empty="",
        sex=np.where(numbers < 30, "", np.where(numbers < 50, "f", "m")), is_indoor=numbers < 40,
    )  # fmt: skip
    assert {name: each.images for name, each in found.items()} == {
        **{("age", f"{low} to {low + 19}"): 20 for low in (0, 20, 40, 60)}, ("stars", "1"): 40, ("stars", "2"): 40,
        ("sex", "f"): 20, ("sex", "m"): 30, ("is_indoor", "True"): 40, ("is_indoor", "False"): 40,
    }  # fmt: skip


def test_predictions_of_images_that_the_manifest_lacks_are_refused():
    predictions, manifest = album()
    with pytest.raises(UserError, match="2 images with predictions are not in the manifest of faces"):
        slices(predictions, replace(manifest, rows=manifest.rows[2:]), fixed(0))


def test_tables_for_people_hold_no_formulas_and_exact_numbers(tmp_path):
    texts = ["=1+1", "+1-1", "-1+1", "@a", "\tb", "\nd", "＝e", "-", "-cmd|' /C calc'!A0"]
    rows = [{"group": text, "=auc": Interval(-0.1 - 0.2, -1.0, 1e-17), "count": -3} for text in texts]
    numbers = [
        {"group": text, "=auc": None, "count": 4}
        for text in ("-1.5", "+2", "-inf", "a=b", "-1e-3", "", "-1 to 2", "a\r=1")
    ]
    Table("parts", rows + numbers).save(tmp_path)
    found = pd.read_csv(tmp_path / "parts.csv", dtype={"group": str}, keep_default_na=False, na_values={"'=auc": ""})
    assert found.columns.tolist() == ["group", "'=auc", "'=auc low", "'=auc high", "count"]
    assert found.group.tolist() == [f"'{text}" for text in texts] + [
        "-1.5", "+2", "-inf", "a=b", "-1e-3", "", "'-1 to 2", "a\\r=1",
    ]  # fmt: skip
    assert found["'=auc"][0] == -0.1 - 0.2
    assert found["count"].tolist() == [-3] * len(texts) + [4] * len(numbers)
