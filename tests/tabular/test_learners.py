"""One contract over the registry of learners: shape, determinism, weights, state, sparse rows."""

import numpy as np
import pytest
from scipy import sparse

from automl.budget import Deadline
from automl.errors import DeadlineExceededError, ModelFileError
from tabular.learners.base import LEARNERS, ONLY_CLASSES, ONLY_NUMBERS, FitContext
from tabular.spaces import DENSE, OPTIONS, space_of

N = 150
SMALL = {"n_estimators": 12}


def rows(n_classes, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N, 5)).astype(np.float32)
    x[:, 4] = rng.integers(0, 3, N)
    signal = x[:, 0] + 0.5 * x[:, 1] ** 2 + 0.2 * rng.normal(size=N)
    if not n_classes:
        return x, signal.astype(float)
    edges = np.quantile(signal, np.arange(1, n_classes) / n_classes)
    return x, np.searchsorted(edges, signal).astype(np.int32)


def build(name):
    cls = LEARNERS.load(name)
    return cls(**(SMALL if hasattr(cls, "n_estimators") else {}))


def cases():
    for name in LEARNERS:
        for n_classes in (0, 2, 3):
            if name not in (ONLY_NUMBERS if n_classes else ONLY_CLASSES):
                yield name, n_classes


@pytest.mark.parametrize(("name", "n_classes"), list(cases()))
def test_every_learner_keeps_the_contract(name, n_classes):
    pytest.importorskip("xgboost" if name == "XGBoost" else "sklearn")
    x, y = rows(n_classes)
    context = FitContext(n_classes=n_classes, rows=N, seed=1, categorical=(4,))
    fitted = build(name).fit(x, y, np.ones(N), context)
    out = fitted.predict(x)
    assert out.dtype == np.float64
    assert out.shape == ((N, n_classes) if n_classes else (N,))
    assert np.isfinite(out).all()
    if n_classes:
        np.testing.assert_allclose(out.sum(axis=1), 1, rtol=1e-5)
        assert (out.argmax(axis=1) == y).mean() > 0.4
    else:
        assert np.mean((out - y) ** 2) < np.var(y)
    again = type(fitted).from_state(*stored(fitted.state()))
    np.testing.assert_allclose(again.predict(x), out, rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(build(name).fit(x, y, np.ones(N), context).predict(x), out)


def stored(state):
    """As it comes back from a file: no array of Python objects, no shared memory."""
    import json

    own, blobs = state
    assert all(isinstance(b, bytes) or b.dtype.kind != "O" for b in blobs.values())
    return json.loads(json.dumps(own)), {k: b if isinstance(b, bytes) else b.copy() for k, b in blobs.items()}


@pytest.mark.parametrize("name", sorted(n for n in LEARNERS if n not in {"KNN", "LassoLars", "GradientBoosting"}))
def test_rows_of_no_weight_count_for_nothing(name):
    n_classes = 0 if name in ONLY_NUMBERS else 2
    x, y = rows(n_classes)
    spoiled = np.where(np.arange(N) < 60, 1 - y, y) if n_classes else np.where(np.arange(N) < 60, 100.0, y)
    weight = (np.arange(N) >= 60).astype(float)
    context = FitContext(n_classes=n_classes, rows=N, seed=1)
    fitted = build(name).fit(x, spoiled, weight, context)
    out = fitted.predict(x[60:])
    good = (out.argmax(axis=1) == y[60:]).mean() > 0.5 if n_classes else np.mean((out - y[60:]) ** 2) < 50
    assert good


@pytest.mark.parametrize("name", sorted(n for n in LEARNERS if n not in {"LassoLars", "GradientBoosting"}))
def test_sparse_rows_are_taken(name):
    n_classes = 0 if name in ONLY_NUMBERS else 2
    x, y = rows(n_classes)
    x = np.where(np.abs(x) < 0.5, 0, x)
    context = FitContext(n_classes=n_classes, rows=N, seed=1)
    fitted = build(name).fit(sparse.csr_matrix(x), y, np.ones(N), context)
    found = fitted.predict(sparse.csr_matrix(x[:7]))
    assert np.isfinite(found).all()
    again = type(fitted).from_state(*stored(fitted.state()))
    np.testing.assert_allclose(again.predict(sparse.csr_matrix(x[:7])), found, rtol=1e-6)


@pytest.mark.parametrize("name", ["LightGBM", "XGBoost"])
def test_boosting_stops_where_held_out_rows_no_longer_gain(name):
    x, y = rows(2)
    noise = np.random.default_rng(5).integers(0, 2, N).astype(np.int32)
    held = (x[:50], noise[:50], np.ones(50))
    context = FitContext(n_classes=2, rows=N - 50, held=held)
    fitted = LEARNERS.load(name)(n_estimators=400, learning_rate=0.2).fit(x[50:], noise[50:], np.ones(N - 50), context)
    assert 1 <= fitted.trees < 200
    learned = FitContext(n_classes=2, rows=N - 50, held=(x[:50], y[:50], np.ones(50)))
    better = LEARNERS.load(name)(n_estimators=400, learning_rate=0.05).fit(x[50:], y[50:], np.ones(N - 50), learned)
    assert better.trees > fitted.trees


@pytest.mark.parametrize("name", ["LightGBM", "XGBoost", "RandomForest", "LogisticRegression"])
def test_balanced_classes_count_alike(name):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 2)).astype(np.float32)
    y = (x[:, 0] + rng.normal(size=400) > 2.2).astype(np.int32)
    shares = []
    for balanced in (False, True):
        context = FitContext(n_classes=2, rows=400, balanced=balanced)
        own = {"n_estimators": 30} if name != "LogisticRegression" else {}
        own |= {"min_samples_leaf": 20} if name == "RandomForest" else {}
        shares.append(LEARNERS.load(name)(**own).fit(x, y, np.ones(400), context).predict(x)[:, 1].mean())
    assert shares[1] > 2 * shares[0]


@pytest.mark.parametrize("name", ["LightGBM", "XGBoost", "ElasticNet"])
def test_time_that_is_over_ends_a_fit(name):
    x, y = rows(0)
    with pytest.raises(DeadlineExceededError):
        build(name).fit(x, y, np.ones(N), FitContext(n_classes=0, rows=N, deadline=Deadline.after(0)))


def test_a_damaged_forest_is_told():
    x, y = rows(2)
    own, blobs = build("RandomForest").fit(x, y, np.ones(N), FitContext(n_classes=2, rows=N)).state()
    nodes = blobs["nodes"].copy()
    nodes["left_child"][0] = 10**6
    with pytest.raises(ModelFileError, match="damaged"):
        LEARNERS.load("RandomForest").from_state(own, blobs | {"nodes": nodes})


@pytest.mark.parametrize("name", list(LEARNERS))
def test_spaces_name_what_learners_take(name):
    space = space_of(name, rows=50, numbers=True, encodes=True, text=True, scalers=["MinMaxScaler", "MaxAbsScaler"])
    own = {k for k in space if k not in OPTIONS}
    assert own <= set(LEARNERS.load(name).__dataclass_fields__)
    assert (name in DENSE) == (LEARNERS.load(name).flavour == "dense")


@pytest.mark.parametrize("name", ["LightGBM", "XGBoost"])
@pytest.mark.parametrize("n_classes", [0, 2])
def test_trees_that_have_grown_long_enough_are_kept(name, n_classes):
    pytest.importorskip("xgboost" if name == "XGBoost" else "sklearn")
    x, y = rows(n_classes)
    held = (x[:40], y[:40], np.ones(40))
    enough = Deadline.after(0.05)
    context = FitContext(n_classes=n_classes, rows=N, enough=enough, deadline=Deadline.after(60), held=held)
    fitted = LEARNERS.load(name)(n_estimators=200_000, learning_rate=0.0001).fit(x, y, np.ones(N), context)
    assert 0 < fitted.trees < 100_000
    assert np.isfinite(fitted.predict(x)).all()
    bare = FitContext(n_classes=n_classes, rows=N, enough=Deadline.after(0.05))
    assert (
        0 < LEARNERS.load(name)(n_estimators=200_000, learning_rate=0.0001).fit(x, y, np.ones(N), bare).trees < 100_000
    )
