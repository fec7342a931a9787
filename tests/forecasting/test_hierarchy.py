"""Trees of series: sums, shares, reconciliation against an independent library, and forecasts that add up."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from automl.errors import ConfigError, DataError
from forecasting.hierarchical import HierarchicalForecaster
from forecasting.hierarchy import METHODS, Reconciliation, Tree, between, coherent, paths, shares, shrunk
from tests.forecasting.frames import quick

TREE = Tree(("state", "store"), (("A", 1), ("A", 2), ("B", 1)))
BASE = np.array([[31.0, 30.0], [18.0, 20.0], [11.0, 12.0], [9.0, 8.0], [10.0, 11.0], [12.0, 12.5]])

# hierarchicalforecast 1.5.3, MinTrace(method).fit_predict, with the errors of `errors`
OF_LIBRARY = {
    "ols": [[30.461538, 30.884615], [18.692308, 19.076923], [11.769231, 11.807692], [8.846154, 8.038462],
            [9.846154, 11.038462], [11.769231, 11.807692]],
    "wls_struct": [[30.333333, 31.166667], [18.722222, 19.111111], [11.611111, 12.055556], [8.861111, 8.055556],
                   [9.861111, 11.055556], [11.611111, 12.055556]],
    "wls_var": [[30.162935, 31.427811], [18.621743, 19.309218], [11.541192, 12.118593], [8.908048, 8.075169],
                [9.713694, 11.234049], [11.541192, 12.118593]],
    "mint_shrink": [[30.162292, 31.434582], [18.621694, 19.309669], [11.540598, 12.124912], [8.915007, 8.069573],
                    [9.706687, 11.240097], [11.540598, 12.124912]],
}  # fmt: skip


def errors():
    rng = np.random.default_rng(7)
    rng.normal(size=(6, 20))
    out = rng.normal(size=(6, 20)) * np.array([3, 2, 1.5, 1, 1.2, 1.5])[:, None]
    out[0] += out[3]
    return out


@pytest.mark.parametrize("method", OF_LIBRARY)
def test_reconciled_points_are_those_of_an_independent_library(method):
    found = Reconciliation(TREE, method, shrunk(errors())).points(BASE)
    # that library shrinks covariances around the errors' means
    np.testing.assert_allclose(found, OF_LIBRARY[method], rtol=2e-3 if method == "mint_shrink" else 1e-6)


@given(seed=st.integers(0, 500), method=st.sampled_from(METHODS))
@settings(max_examples=40, deadline=None)
def test_forecasts_add_up_and_coherent_ones_stay(seed, method):
    rng = np.random.default_rng(seed)
    leaves = tuple((a, b, c) for a in range(2) for b in range(rng.integers(1, 4)) for c in range(rng.integers(1, 3)))
    tree = Tree(("a", "b", "c"), leaves)
    way = Reconciliation(tree, method, shrunk(rng.normal(size=(len(tree.nodes), 30))))
    base = rng.normal(10, 3, (len(tree.nodes), 4))
    assert coherent(tree, way.points(base)) < 1e-9
    summed = tree.sums(rng.normal(10, 3, (len(leaves), 4)))
    np.testing.assert_allclose(way.points(summed), summed, atol=1e-7)
    assert (way.widths() >= 0).all()


def test_mint_is_generalised_least_squares_and_no_wider_than_any_other():
    rng = np.random.default_rng(1)
    covariance = shrunk(rng.normal(size=(6, 50)))
    s = TREE.summing.toarray()
    inverse = np.linalg.inv(covariance)
    want = s @ np.linalg.solve(s.T @ inverse @ s, s.T @ inverse @ BASE)
    np.testing.assert_allclose(Reconciliation(TREE, "mint_shrink", covariance).points(BASE), want)
    best = Reconciliation(TREE, "mint_shrink", covariance).widths()
    for method in METHODS:
        assert (best <= Reconciliation(TREE, method, covariance).widths() + 1e-9).all()


def test_shares_by_hand():
    history = np.array([[1.0, 0.0, 3.0], [1.0, 0.0, 1.0], [np.nan, 2.0, 2.0]])
    ratio = shares(TREE, history, 1, "average_historical_proportions")
    np.testing.assert_allclose(ratio, [(0.5 + 0.75) / 2, (0.5 + 0.25) / 2, 1.0])
    np.testing.assert_allclose(shares(TREE, history, 1, "proportions_of_historical_average"), [4 / 6, 2 / 6, 1.0])
    np.testing.assert_allclose(shares(TREE, history, 0, "proportions_of_historical_average"), [0.4, 0.2, 0.4])
    np.testing.assert_allclose(shares(TREE, np.zeros((3, 2)), 0, "average_historical_proportions"), 1 / 3)
    values = between(TREE, np.array([[10.0], [5.0]]), 1, np.array([0.75, 0.25, 1.0]))
    np.testing.assert_allclose(values[:, 0], [15, 10, 5, 7.5, 2.5, 5])
    with pytest.raises(ConfigError, match="allocation"):
        shares(TREE, history, 1, "evenly")


def test_a_tree_says_what_is_wrong_with_it():
    with pytest.raises(DataError, match="twice"):
        Tree(("a",), (("x",), ("x",)))
    with pytest.raises(DataError, match="one entry a level"):
        Tree(("a", "b"), (("x",),))
    with pytest.raises(ConfigError, match="no level 'shop'"):
        TREE.depth("shop")
    with pytest.raises(ConfigError, match="method"):
        Reconciliation(TREE, "mint")
    with pytest.raises(ConfigError, match="weighs nodes by their errors"):
        Reconciliation(TREE, "wls_var")
    np.testing.assert_array_equal(shrunk(np.zeros((3, 4))), np.eye(3))
    assert paths([["b", None, "a"], [1, 2, np.nan]]) == (("(none)", 2), ("a", "(none)"), ("b", 1))


# -- frames -----------------------------------------------------------------------------------------------------------


def leaves(rows=48):
    rng = np.random.default_rng(0)
    parts = []
    for i, (state, store) in enumerate([("CA", "s1"), ("CA", "s2"), ("TX", "s3"), (None, "s4")]):
        t = np.arange(rows)
        price = 1 + rng.random(rows)
        y = 10 * (i + 1) + 3 * np.sin(2 * np.pi * t / 12) - 2 * price + 0.2 * rng.standard_normal(rows)
        month = pd.date_range("2019-01-01", periods=rows, freq="MS")
        parts.append(pd.DataFrame({"state": state, "store": store, "month": month, "units": y, "price": price}))
    return pd.concat(parts, ignore_index=True).sample(frac=1, random_state=1)


def forecaster(**more):
    given = {"levels": ["state", "store"], "time": "month", "target": "units", "settings": quick(3), **more}
    return HierarchicalForecaster(6, **given)


@pytest.fixture(scope="module")
def fitted():
    return forecaster().fit(leaves())


@pytest.mark.parametrize("method", METHODS)
def test_every_level_adds_up(fitted, method):
    out = fitted.predict(method=method, quantiles=[0.1, 0.9])
    assert list(out) == ["state", "store", "month", "yhat", "yhat-q-0.1", "yhat-q-0.9"]
    nodes = out.pivot_table(values="yhat", index=["state", "store"], columns="month")
    stores = nodes[nodes.index.get_level_values("store") != "(total)"]
    np.testing.assert_allclose(stores.sum(), nodes.loc[("(total)", "(total)")], rtol=1e-9)
    np.testing.assert_allclose(stores.loc["CA"].sum(), nodes.loc[("CA", "(total)")], rtol=1e-9)
    assert ("(none)", "s4") in nodes.index
    assert (out["yhat-q-0.1"] < out["yhat-q-0.9"]).all()
    assert out["month"].min() == pd.Timestamp("2023-01-01")


def test_reconciling_narrows_no_interval(fitted):
    own = fitted.forecaster.predict(quantiles=[0.1, 0.9])
    width = (own["yhat-q-0.9"] - own["yhat-q-0.1"]).to_numpy()
    for method in METHODS:
        out = fitted.predict(method=method, quantiles=[0.1, 0.9])
        assert (out["yhat-q-0.9"] - out["yhat-q-0.1"]).sum() >= width.sum() - 1e-6


def test_one_level_at_a_time(fitted):
    whole = fitted.predict()
    state = fitted.predict(level="state")
    assert list(state) == ["state", "month", "yhat"]
    assert len(state) == 3 * 6
    top = fitted.predict(level=None)
    assert list(top) == ["month", "yhat"]
    np.testing.assert_allclose(top["yhat"], whole["yhat"].iloc[:6])


@pytest.mark.parametrize("level", [None, "state", "store"])
def test_training_on_one_level_shares_out_and_sums(level):
    model = forecaster(training_level=level, allocation="average_historical_proportions").fit(leaves())
    out = model.predict(level="store")
    assert out["yhat"].notna().all()
    np.testing.assert_allclose(out.groupby("month")["yhat"].sum(), model.predict(level=None)["yhat"])
    typical = out.groupby("store")["yhat"].mean()
    assert typical.to_numpy() == pytest.approx([7, 17, 27, 37], abs=4)


def test_one_branch_covariates_and_files(tmp_path):
    data = leaves()
    model = forecaster(known=["price"]).fit(data, only={"state": "CA"})
    assert model.tree.leaves == (("CA", "s1"), ("CA", "s2"))
    ahead = leaves(54).query("month >= '2023-01-01'").drop(columns="units")
    out = model.predict(ahead, quantiles=[0.9])
    dear = model.predict(ahead.assign(price=ahead["price"] + 1), quantiles=[0.9])
    assert (dear.groupby("month")["yhat"].sum() < out.groupby("month")["yhat"].sum()).all()
    model.save(tmp_path / "model")
    again = HierarchicalForecaster.load(tmp_path / "model")
    pd.testing.assert_frame_equal(again.predict(ahead, quantiles=[0.9]), out, check_exact=True)
    with pytest.raises(DataError, match="future is needed"):
        model.predict()


def test_what_cannot_be_used_is_named():
    data = leaves()
    with pytest.raises(ConfigError, match="training_level"):
        forecaster(training_level="shop")
    with pytest.raises(ConfigError, match="method"):
        forecaster(method="middle")
    with pytest.raises(DataError, match="store"):
        forecaster().fit(data.drop(columns="store"))
    with pytest.raises(DataError, match="'units' must hold numbers"):
        forecaster().fit(data.assign(units="many"))
    with pytest.raises(DataError, match="no such branch"):
        forecaster().fit(data, only={"state": "NY"})
    with pytest.raises(ConfigError, match="which is no level"):
        forecaster().fit(data, only={"city": "NY"})
