"""Penalty paths agree with scikit-learn; estimators behind the same face."""

import json

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score

from cache.errors import UserError
from heads import families
from heads.families import Blend, Discriminant, Estimator, Logistic, Member
from heads.families.discriminant import discriminant_lines
from heads.families.logistic import logistic_path
from heads.families.ridge import left_out_scores, ridge_lines, ridge_path
from heads.fitting import training as training_rows
from heads.fitting.convex import fit_convex, to_logits
from heads.fitting.estimators import fit_estimator, fit_estimators, is_logit
from heads.fitting.task import Task
from heads.fitting.training import Training, Trainings
from heads.folds import Folds
from heads.head_file import HeadRecord, assemble
from heads.sweep.grid import read_grid
from tests.tables import features, folds, in_memory, raw, task

PENALTIES = [1e-3, 0.1, 1.0]


def table(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    X, fake = features(rows, columns)
    X = X[0] @ np.random.default_rng(1).standard_normal((columns, columns)).astype(np.float32)  # correlated columns
    return (X - X.mean(axis=0)) / X.std(axis=0), fake


def training(X: np.ndarray, fake: np.ndarray, groups: np.ndarray | None = None) -> Training:
    """Of all rows (N, D), which standardise by nothing."""
    groups = np.arange(len(X)) if groups is None else groups
    everything = Folds(np.ones((1, len(X)), bool), np.zeros((1, len(X)), bool), groups)
    zeros, ones = torch.zeros(X.shape[1]), torch.ones(X.shape[1])
    on = Task(in_memory(X[None]), torch.from_numpy(fake), everything, zeros, ones, zeros[None], ones[None])
    return Trainings(on, apart=True).of(0)


@pytest.mark.parametrize(("rows", "columns"), [(300, 7), (60, 90), (9000, 12)])
def test_ridge_path_agrees_with_scikit_learn(rows, columns):
    X, fake = table(rows, columns)
    weights, intercepts = (each.numpy() for each in ridge_path(training(X, fake), [0.1, 10.0, 1e3]))
    for number, penalty in enumerate((0.1, 10.0, 1e3)):
        theirs = Ridge(alpha=penalty).fit(X.astype(np.float64), np.where(fake, 1.0, -1.0))
        np.testing.assert_allclose(weights[number], theirs.coef_, atol=1e-6)
        np.testing.assert_allclose(intercepts[number], theirs.intercept_, atol=1e-6)
        assert roc_auc_score(fake, X @ weights[number]) == pytest.approx(
            roc_auc_score(fake, X @ theirs.coef_), abs=1e-6
        )


@pytest.mark.parametrize(("rows", "columns"), [(300, 7), (120, 200), (9000, 12)])
def test_logistic_path_agrees_with_scikit_learn(rows, columns):
    X, fake = table(rows, columns)
    weights, intercepts = (each.numpy() for each in logistic_path(training(X, fake), PENALTIES))
    for number, penalty in enumerate(PENALTIES):
        exact = LogisticRegression(C=1 / (penalty * len(X)), tol=1e-10, max_iter=1000, solver="newton-cholesky")
        theirs = exact.fit(X.astype(np.float64), fake)
        np.testing.assert_allclose(weights[number], theirs.coef_[0], atol=1e-4)
        np.testing.assert_allclose(intercepts[number], theirs.intercept_[0], atol=1e-4)
        ours, reference = (roc_auc_score(fake, X @ w) for w in (weights[number], theirs.coef_[0]))
        assert ours == pytest.approx(reference, abs=1e-6)


def test_classes_that_are_far_apart_and_hardly_penalised_stay_finite():
    X, fake = features(12, 40)
    X = X[0] - 5 * fake[:, None]
    weights, intercepts = (each.numpy() for each in logistic_path(training(X, fake), [1e-9, 1e-5, 1e-3]))
    assert np.isfinite(weights).all()
    assert np.isfinite(intercepts).all()
    assert (np.sign(X @ weights.T + intercepts) == np.where(fake, 1, -1)[:, None]).all()


def test_columns_that_say_the_same_or_nothing_do_no_harm():
    X, fake = table(80, 6)
    X = np.concatenate([X, X, np.zeros((80, 2), np.float32)], axis=1)
    for path in (ridge_path, logistic_path):
        weights = path(training(X, fake), [0.1])[0].numpy()
        assert np.isfinite(weights).all()
        assert (weights[0, 12:] == 0).all()
        np.testing.assert_allclose(weights[0, :6], weights[0, 6:12], atol=1e-6)


def test_convex_heads_are_fitted_fold_by_fold_and_judged_on_what_was_held_out():
    on = task(90, 8, count=3, views=2)
    fitted = fit_convex([Member(Logistic(penalty=p), fold, 0) for p in (0.01, 1.0) for fold in range(3)], on)
    for each in fitted:
        held = on.folds.held_out[each.member.fold]
        head = assemble([each], HeadRecord(each.member.config, [], (8,)))
        scores = head(raw(on)[torch.from_numpy(held)]).numpy()
        assert roc_auc_score(on.fake.numpy()[held], scores) == pytest.approx(each.val_auc, abs=1e-6)
    X, fake = on.training_rows(1)
    assert len(X) == 2 * 60  # every view of the rows that the fold trains on
    theirs = LogisticRegression(C=1 / (0.01 * 120), tol=1e-10, solver="newton-cholesky").fit(X.astype(np.float64), fake)
    np.testing.assert_allclose(fitted[1].parameters["weight"], theirs.coef_[0], atol=1e-4)


def test_scores_become_logits_without_turning_round():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, 4000)
    fake = rng.random(4000) < 1 / (1 + np.exp(-logits))
    slope, offset = to_logits(logits / 50 + 3, fake)
    assert slope == pytest.approx(50, rel=0.1)
    assert offset == pytest.approx(-150, rel=0.1)
    assert to_logits(-logits, fake)[0] == pytest.approx(1 / (logits.std() * np.sqrt(fake.sum() * (~fake).mean())))


@pytest.mark.parametrize(("rows", "columns", "size"), [(60, 7, 1), (40, 90, 1), (60, 7, 3), (40, 90, 4)])
def test_scores_of_rows_that_are_left_out_are_those_of_heads_fitted_without_their_group(rows, columns, size):
    X, fake = table(rows, columns)
    groups, penalties, targets = np.arange(rows) % (rows // size), [0.5, 20.0, 1e4], np.where(fake, 1.0, -1.0)
    found = left_out_scores(training(X, fake, groups), penalties)
    for group in range(rows // size):
        out = groups == group
        for number, penalty in enumerate(penalties):
            theirs = Ridge(alpha=penalty).fit(X[~out].astype(np.float64), targets[~out])
            level = targets.mean() - targets[~out].mean()  # the intercept stays that of all rows
            np.testing.assert_allclose(found[out, number], theirs.predict(X[out].astype(np.float64)) + level, atol=1e-8)


def test_rows_are_left_out_whatever_their_groups_and_penalties():
    """Groups of several sizes, one larger than what is left out together, one that holds all; hardly a penalty."""
    X, fake = table(600, 12)
    for groups in (np.arange(600) // 300, np.arange(600) ** 2 // 9000, np.zeros(600, int)):
        assert np.isfinite(left_out_scores(training(X, fake, groups), [1e-300, 1.0])).all()
    wide, fake = table(30, 50)
    hardly, little = left_out_scores(training(wide, fake), [1e-300, 1e-6]).T
    np.testing.assert_allclose(hardly, little, atol=1e-3)


@pytest.mark.parametrize(("rows", "columns"), [(300, 7), (40, 90)])
@pytest.mark.parametrize("reals", [1.0, 0.4])
def test_a_discriminant_is_the_difference_of_the_means_by_the_covariance(rows, columns, reals):
    X, fake = table(rows, columns)
    config, X = Discriminant(penalty=0.3, reals=reals), X.astype(np.float64)
    found = discriminant_lines(training(X, fake), [config])
    of_reals, of_fakes = (np.cov(X[rows].T, bias=True) for rows in (~fake, fake))
    both = fake.mean() * of_fakes + (~fake).mean() * of_reals
    C = reals * of_reals + (1 - reals) * both + 0.3 * np.eye(columns)
    expected = np.linalg.solve(C, X[fake].mean(axis=0) - X[~fake].mean(axis=0))
    np.testing.assert_allclose(found.weights[0], expected, atol=1e-6 * np.abs(expected).max())
    between = (X[fake].mean(axis=0) + X[~fake].mean(axis=0)) / 2
    assert float(found.intercepts[0]) == pytest.approx(-between @ expected, abs=1e-6)


def test_a_discriminant_of_both_classes_orders_images_as_ridge_regression_does():
    X, fake = table(300, 7)
    theirs = Ridge(alpha=0.3 * 300).fit(X, np.where(fake, 1.0, -1.0)).coef_
    config = Discriminant(penalty=0.3, reals=0.0)
    ours = discriminant_lines(training(X, fake), [config]).weights[0]
    np.testing.assert_allclose(ours / np.linalg.norm(ours), theirs / np.linalg.norm(theirs), atol=1e-6)


def test_of_many_rows_a_draw_of_their_groups_makes_scores_logits(monkeypatch):
    X, fake = table(900, 7)
    groups = np.arange(900) // 3
    every = training(X, fake, groups)
    assert len(every.fair) == 900
    monkeypatch.setattr(training_rows, "FAIR", 90)
    monkeypatch.setattr(training_rows, "FEWEST", 20)
    some = training(X, fake, groups)
    assert 90 <= len(some.fair) < 200
    assert set(np.bincount(groups[some.fair])) == {0, 3}
    for lines in (lambda on: ridge_lines(on, [1.0]), lambda on: discriminant_lines(on, [Discriminant(penalty=0.3)])):
        np.testing.assert_allclose(lines(some).fair, lines(every).fair[some.fair], atol=1e-9)
        (slope, offset), (of_all, offset_of_all) = (
            ((weights / lines(on).weights)[0, 0], intercept) for on in (some, every)
            for weights, intercept in [lines(on).logits(on)]
        )  # fmt: skip
        assert slope == pytest.approx(of_all, rel=0.5)
        assert float(offset) == pytest.approx(float(offset_of_all), abs=0.7)


@pytest.mark.parametrize("columns", [8, 120])
@pytest.mark.parametrize("head", [families.Ridge(penalty=10.0), Logistic(penalty=0.1), Discriminant(penalty=0.3)])
def test_a_head_of_many_folds_is_the_head_of_its_fold_alone(head, columns):
    """What folds share is added up once; one of these leaves out more than it trains on, one nothing."""
    X, fake = features(90, columns, views=2)
    left = np.stack([np.arange(90) % 3 == 0, np.arange(90) >= 25, np.arange(90) >= 75])
    every = Folds(~left, left, np.arange(90) // 2)
    together = fit_convex([Member(head, fold, 0) for fold in range(3)], Task.of(in_memory(X), fake, every))
    for fold, found in enumerate(together):
        one = Folds(~left[fold : fold + 1], left[fold : fold + 1], every.groups)
        (alone,) = fit_convex([Member(head, 0, 0)], Task.of(in_memory(X), fake, one))
        ours, theirs = (each.parameters["weight"] / each.parameters["weight"].norm() for each in (found, alone))
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
        assert found.val_auc == pytest.approx(alone.val_auc, abs=1e-6)
        # A discriminant becomes logits by fits on inner parts, which are cut of all folds together.
        assert found.val_loss == pytest.approx(alone.val_loss, abs=0.1 if head.apart else 1e-4)


def test_a_class_that_a_fold_has_in_one_part_alone_still_has_a_head():
    X, fake = features(60, 5)
    groups = np.where(fake, np.arange(60) % 3, 10 + np.arange(60))  # three groups of fakes, a part each
    left = np.stack([fake & (groups != 0), np.arange(60) % 5 == 0])
    on = Task.of(in_memory(X), fake, Folds(~left, left | (np.arange(60) % 7 == 0), groups))
    for found in fit_convex([Member(Discriminant(penalty=1.0), fold, 0) for fold in range(2)], on):
        assert np.isfinite(found.val_loss)
        assert torch.isfinite(found.parameters["weight"]).all()


def test_a_rare_class_is_drawn_too():
    fake = np.zeros(training_rows.FAIR * 3, bool)
    fake[:3] = True
    on = training(np.random.default_rng(0).standard_normal((len(fake), 2)).astype(np.float32), fake)
    assert on.fake[on.fair].sum() == 3


def test_a_discriminant_of_one_group_a_class_has_no_parts_and_still_a_head():
    X, fake = table(60, 7)
    found = discriminant_lines(training(X, fake, fake.astype(int)), [Discriminant(penalty=1.0)])
    assert roc_auc_score(fake, X @ found.weights[0].numpy()) > 0.6


def test_rows_of_a_part_are_scored_by_discriminants_that_were_fitted_without_it():
    X, fake = table(60, 7)
    groups, config = np.arange(60) // 2, Discriminant(penalty=0.5)
    on = training(X, fake, groups)
    found = discriminant_lines(on, [config])
    for part in on.inner:
        alone = discriminant_lines(training(X[~part], fake[~part], groups[~part]), [config])
        expected = X[part] @ alone.weights[0].numpy() + float(alone.intercepts[0])
        np.testing.assert_allclose(found.fair[part, 0], expected, atol=1e-5)


def test_a_blend_is_the_mean_of_ridge_and_discriminant_in_units_of_their_deviation():
    X, fake = table(300, 7)
    on = training(X, fake)
    configs = [Blend(penalty=penalty, whitening=each) for penalty in (1.0, 1e3) for each in (0.1, 3.0)]
    weights, _ = Blend.path(on, configs)
    parts = (
        ridge_lines(on, [1e3]),
        discriminant_lines(on, [Discriminant(penalty=0.1)]),
    )
    expected = sum(part.weights[0] / part.fair[:, 0].std() for part in parts)
    np.testing.assert_allclose(weights[2] / weights[2].norm(), expected / expected.norm(), atol=1e-9)


@pytest.mark.parametrize(
    "head", [families.Ridge(penalty=1.0), Discriminant(penalty=0.01), Blend(penalty=1.0, whitening=0.01)]
)
def test_scores_are_logits_also_of_several_views_of_the_same_images(head):
    """Rows of one image say nothing new: its label must not come back through another view."""
    rng = np.random.default_rng(0)
    fake = np.arange(400) % 4 == 0
    images = rng.standard_normal((400, 300)) + 0.1 * fake[:, None]
    X = (images + 0.1 * rng.standard_normal((4, 400, 300))).astype(np.float32)
    (found,) = fit_convex([Member(head, 0, 0)], Task.of(in_memory(X), fake, folds(400, 1)))
    assert found.val_loss < log_loss_of_the_share(fake)


def log_loss_of_the_share(fake: np.ndarray) -> float:
    """Of somebody who knows nothing but how many are fake."""
    share = fake.mean()
    return -share * np.log(share) - (1 - share) * np.log(1 - share)


@pytest.mark.parametrize(
    "block",
    [
        '{"family": "svm-rbf", "C": [1, 10]}',
        '{"family": "hist-gbm", "max_iter": 10}',
        '{"family": "knn"}',
        '{"family": "sklearn.naive_bayes.GaussianNB"}',
        '{"family": "random-forest", "n_estimators": 10}',
    ],
)
def test_scikit_learn_classifiers_are_heads_like_any_other(block):
    on = task(90, 6, count=2)
    configs = read_grid(f"[{block}]")
    fitted = fit_estimators([Member(config, fold, 0) for config in configs for fold in range(2)], on)
    for each in fitted:
        assert each.val_auc > 0.55
        head = assemble([each], HeadRecord(each.member.config, [], (6,)))
        held = torch.from_numpy(on.folds.held_out[each.member.fold])
        scores = head(raw(on)[held])
        assert scores.shape == (45,)
        assert roc_auc_score(on.fake[held], scores) == pytest.approx(each.val_auc, abs=1e-3)


@pytest.mark.parametrize(
    ("estimator", "params", "expected"),
    [
        ("svm.SVC", (), False),
        ("linear_model.RidgeClassifier", (), False),
        ("ensemble.GradientBoostingClassifier", (("loss", "exponential"),), False),  # twice its scores are logits
        ("linear_model.LogisticRegression", (), True),
        ("discriminant_analysis.LinearDiscriminantAnalysis", (), True),
        ("neighbors.KNeighborsClassifier", (), True),
    ],
)
def test_scores_that_are_logits_already_are_told_from_margins(estimator, params, expected):
    X, fake = table(80, 6)
    model = fit_estimator(Estimator(f"sklearn.{estimator}", params), X, fake, seed=0)
    assert is_logit(model, X) == expected


def test_margins_become_logits_on_the_training_rows_and_the_order_stays():
    on = task(300, 6, count=3)
    (fitted,) = fit_estimators([Member(Estimator("sklearn.svm.LinearSVC"), 1, 0)], on)
    slope, _ = fitted.parameters["line"].tolist()
    assert slope > 1  # margins are one apart, and here say more
    assert fitted.val_loss < 0.9 * np.log(2)


def test_a_class_of_one_group_leaves_margins_as_they_are():
    X, fake = features(60, 6)
    groups = np.where(fake, 0, np.arange(60) + 1)
    cut = Folds(np.arange(60)[None] < 40, np.arange(60)[None] >= 40, groups)
    (fitted,) = fit_estimators([Member(Estimator("sklearn.svm.LinearSVC"), 0, 0)], Task.of(in_memory(X), fake, cut))
    assert fitted.parameters["line"].tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ('{"family": "svm-rfb"}', "unknown family 'svm-rfb'; did you mean svm-rbf"),
        ('{"family": "xgboost.XGBClassifier"}', "only scikit-learn's own classifiers can be kept"),
        ('{"family": "sklearn.svm.SVX"}', "cannot import sklearn.svm.SVX"),
        ('{"family": "sklearn.svm.SVR"}', "sklearn.svm.SVR is no scikit-learn classifier"),
        ('{"family": "sklearn.dummy.DummyClassifier"}', "DummyClassifier cannot be kept.*GaussianNB"),
        ('{"family": "svm-rbf", "c": 1}', "unknown setting of svm-rbf 'c'"),
    ],
)
def test_estimators_that_cannot_be(block, words):
    with pytest.raises(UserError, match=words):
        read_grid(f"[{block}]")


def test_a_classifier_that_scikit_learn_refuses_is_told_and_the_others_go_on(capsys):
    bad, good = read_grid('[{"family": "svm-rbf", "C": [-1, 1]}]')
    refused, fitted = fit_estimators([Member(bad, 0, 0), Member(good, 0, 0)], task())
    assert "left out: svm.SVC C=-1: " in capsys.readouterr().out
    assert refused.diverged == 0
    assert np.isnan(refused.val_auc)
    assert fitted.val_auc > 0.5


def test_parameters_may_be_lists():
    block = '{"family": "sklearn.neural_network.MLPClassifier", "hidden_layer_sizes": [[5, 2], [3]], "max_iter": 20}'
    configs = read_grid(f"[{block}]")
    assert [dict(config.params)["hidden_layer_sizes"] for config in configs] == [(5, 2), (3,)]
    assert families.from_json(json.loads(json.dumps(configs[0].to_json()))) == configs[0]


def test_a_record_is_the_same_after_a_trip_through_json():
    for config in read_grid('[{"family": "svm-rbf", "C": 1}, {"family": "mlp", "lr": 1, "hidden": [[3, 2]]}]'):
        assert families.from_json(config.to_json()) == config
