"""Explanations: a known driver is found by every learner that can use covariates; contributions add up."""

from functools import cache

import numpy as np
import pytest

from automl.errors import ConfigError, MissingPackageError
from forecasting.explain import BASE, importance, local_contributions
from forecasting.learners.base import LEARNERS, FitContext
from forecasting.model import Entry, ForecastModel, Member
from forecasting.panel import Block, Future, Panel
from forecasting.task import ForecastTask, TaskSettings
from forecasting.timegrid import TimeGrid
from forecasting.whatif import without
from tests.forecasting.panels import future_of, small_panel

HORIZON = 4
SMALL = {
    "LightGBM": {"n_estimators": 60, "min_child_samples": 5},
    "RandomForest": {"n_estimators": 20},
    "ExtremeRandomTrees": {"n_estimators": 20},
    "GradientBoosting": {"n_estimators": 40},
    "XGBoost": {"n_estimators": 60},
    "TCNForecaster": {"max_epochs": 15, "cells": 2},
    "PmdArima": {"max_p": 1, "max_q": 1, "max_order": 2, "maxiter": 3},
}
TREES = ["LightGBM", "XGBoost", "DecisionTree", "RandomForest", "ExtremeRandomTrees", "GradientBoosting"]
LINEAR = ["ElasticNet", "LassoLars", "SGD"]
COVARIATES = ("driver", "noise", "visits", "size")


@cache
def driven_panel(n_series=6, rows=80, seed=0):
    """Level plus a strong known driver that is drawn anew in each row, so history and calendar say nothing."""
    rng = np.random.default_rng(seed)
    total = n_series * rows
    known = rng.standard_normal((total, 2))
    y = np.repeat(50 + 5 * np.arange(n_series), rows) + 4 * known[:, 0] + 0.4 * rng.standard_normal(total)
    seen = np.ones((total, 2), dtype=bool)
    return Panel.from_arrays(
        list(y.reshape(n_series, rows)),
        TimeGrid("W-MON", "2021-01-04"),
        ids=[(f"s{i}",) for i in range(n_series)],
        known=Block(("driver", "noise"), known, seen),
        past=Block(("visits",), rng.standard_normal((total, 1)), seen[:, :1]),
        static=Block(("size",), rng.standard_normal((n_series, 1)), np.ones((n_series, 1), dtype=bool)),
    )


def model_of(members, panel, *, weights=None, season=1, country=None, horizon=HORIZON):
    """A model of some learners as the search would leave it: name -> (learner, params)."""
    settings = TaskSettings(horizon=horizon, season=season, levels=(0.5,), metric="mase", country=country)
    task = ForecastTask(panel, [panel.lengths - horizon, panel.lengths - 2 * horizon], settings)
    parts = {
        name: Member(name, learner, tuple(sorted(params.items())), None) for name, (learner, params) in members.items()
    }
    entries = {name: Entry(name, ((name, 1.0),), np.ones(1)) for name in parts}
    if weights:
        entries["Voting"] = Entry("Voting", tuple(weights.items()), np.ones(1))
    return ForecastModel(task, parts, entries, next(iter(entries)))


@cache
def driven(name, scaler=None):
    params = {**SMALL.get(name, {}), **({"scaler": scaler} if scaler else {})}
    model = model_of({name: (name, params)}, driven_panel())
    try:
        model.learner(name)
    except MissingPackageError as error:
        if "torch" not in str(error) and "xgboost" not in str(error):
            raise
        pytest.skip(str(error))
    return model


def table(model, name=None, **options):
    asked = {"raw": True, "method": "auto", "by_horizon": False, "repeats": 3, "seed": 0, **options}
    return importance(model, name, **asked)


def by_feature(rows):
    return {row["feature"]: row["importance"] for row in rows}


USERS = [n for n in LEARNERS if LEARNERS.load(n).uses_covariates]
OTHERS = [n for n in LEARNERS if n not in USERS]


@pytest.mark.parametrize("name", USERS)
def test_the_driver_comes_first(name):
    rows = table(driven(name))
    assert rows[0]["feature"] == "driver", rows
    assert {row["feature"] for row in rows} >= {"target", "time", *COVARIATES}
    assert rows[0]["method"] == ("tree SHAP" if name in TREES else "linear SHAP" if name in LINEAR else "permutation")


@pytest.mark.parametrize("name", USERS)
def test_the_driver_comes_first_by_permutation_at_every_step(name):
    if name == "TCNForecaster":
        pytest.skip("its automatic method is permutation already")
    rows = table(driven(name), method="permutation", by_horizon=True)
    steps = {(row["feature"], row["horizon"]): row["importance"] for row in rows}
    for h in range(1, HORIZON + 1):
        assert steps["driver", h] > max(v for (f, s), v in steps.items() if s == h and f != "driver")
    overall = by_feature(table(driven(name), method="permutation"))
    assert overall["driver"] == pytest.approx(np.mean([steps["driver", h] for h in range(1, HORIZON + 1)]))


@pytest.mark.parametrize("name", ["ElasticNet", "KNN", "Arimax", "Prophet"])
def test_the_driver_of_a_single_series_is_found(name):
    panel = driven_panel(n_series=1, rows=90, seed=3)
    model = model_of({name: (name, {})}, panel)
    assert table(model, method="permutation", repeats=5)[0]["feature"] == "driver"


@pytest.mark.parametrize("name", OTHERS)
def test_a_learner_without_covariates_depends_on_its_history_alone(name):
    model = model_of({name: (name, SMALL.get(name, {}))}, small_panel((48, 44), freq="QS-JAN", season=4), season=4)
    found = by_feature(table(model, repeats=2))
    assert all(found[c] == 0 for c in ("price", "kind", "visits", "size"))
    # seasons of these two are bound to the grid; to the others the calendar is nothing
    assert found["time"] == 0 or name in {"ExponentialSmoothing", "Theta"}
    assert found["target"] != 0


@pytest.mark.parametrize("name", TREES + LINEAR)
def test_contributions_and_expected_add_up_to_the_prediction(name):
    learner = driven(name).learner(name)
    plan = learner.plan
    scaled = plan.scale(driven_panel())
    rows, series = plan.training_rows(scaled, 0)
    x = plan.design(scaled, rows, series, plan.past_block(driven_panel())).x[::7]
    found = learner.contributions(x)
    assert found.values.shape == x.shape
    np.testing.assert_allclose(found.expected + found.values.sum(axis=1), learner.predict_scaled(x), atol=2e-5)


@pytest.mark.parametrize("scaler", ["PCA", "TruncatedSVDWrapper", "RobustScaler", "MinMaxScaler"])
def test_a_linear_model_behind_any_linear_scaler_is_mapped_back_exactly(scaler):
    panel = small_panel((60, 60, 50), freq="W-THU", season=4)
    learner = LEARNERS.load("ElasticNet")(scaler=scaler).fit(panel, FitContext(horizon=HORIZON, season=4))
    x = learner.plan.design(*_rows(learner, panel)).x
    found = learner.contributions(x)
    np.testing.assert_allclose(found.expected + found.values.sum(axis=1), learner.predict_scaled(x), atol=1e-4)
    # moving one feature moves its own contribution and no other
    k = learner.feature_names.index("price")
    moved = x.copy()
    moved[:, k] += 1
    change = learner.contributions(moved).values - found.values
    assert np.abs(change[:, k]).min() > 0
    assert np.abs(np.delete(change, k, axis=1)).max() == 0


def _rows(learner, panel):
    scaled = learner.plan.scale(panel)
    rows, series = learner.plan.training_rows(scaled, 0)
    return scaled, rows, series, learner.plan.past_block(panel)


# -- one forecast at a time -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transform", ["none", "log"])
@pytest.mark.parametrize("strategy", ["direct", "recursive"])
@pytest.mark.parametrize("name", ["LightGBM", "ElasticNet", "DecisionTree"])
def test_local_contributions_add_up_to_the_forecast_in_target_units(name, strategy, transform):
    params = {**SMALL.get(name, {}), "strategy": strategy, "transform": transform}
    panel = small_panel((40, 52, 61))
    model = model_of({name: (name, params)}, panel, season=12)
    future = future_of(panel, HORIZON)
    parts = local_contributions(model, None, panel, future, raw=True)
    want = model.learner(name).forecast(panel, future, ()).point
    np.testing.assert_allclose(sum(parts.values()), want, rtol=1e-5)
    assert next(iter(parts)) == BASE
    engineered = local_contributions(model, None, panel, future, raw=False)
    price = sum(v for k, v in engineered.items() if k.startswith("price"))
    np.testing.assert_allclose(price, parts["price"], rtol=1e-9, atol=1e-9)
    # the driver of small_panel lowers sales: a dear price takes away where a cheap one adds
    dear = future.known.values[:, 0].reshape(3, HORIZON)
    assert np.corrcoef(dear[2], parts["price"][2])[0, 1] < 0 or name == "DecisionTree"


def test_a_member_that_cannot_be_split_is_one_part_of_the_sum():
    panel = small_panel((40, 52, 61))
    model = model_of({"ElasticNet": ("ElasticNet", {}), "Theta": ("Theta", {})}, panel, season=12,
                     weights={"ElasticNet": 0.75, "Theta": 0.25})  # fmt: skip
    future = future_of(panel, HORIZON)
    parts = local_contributions(model, "Voting", panel, future, raw=True)
    want = sum(
        w * model.learner(n).forecast(panel, future, ()).point for n, w in (("ElasticNet", 0.75), ("Theta", 0.25))
    )
    np.testing.assert_allclose(sum(parts.values()), want, rtol=1e-6)
    np.testing.assert_allclose(parts["(Theta)"], 0.25 * model.learner("Theta").forecast(panel, future, ()).point)
    with pytest.raises(ConfigError, match="Theta cannot be split"):
        local_contributions(model, "Theta", panel, future, raw=True)


# -- models of several members, and what cannot be asked --------------------------------------------------------------


def test_shares_of_an_ensemble_add_up_and_keep_the_weights():
    panel = driven_panel()
    model = model_of(
        {"DecisionTree": ("DecisionTree", {}), "Average": ("Average", {})},
        panel,
        weights={"DecisionTree": 0.6, "Average": 0.2},
    )
    rows = table(model, "Voting")
    found, alone = by_feature(rows), by_feature(table(model, "DecisionTree"))
    assert sum(found.values()) == pytest.approx(1.0)
    assert found["driver"] == pytest.approx(0.75 * alone["driver"] / sum(alone.values()))
    assert next(row["method"] for row in rows if row["feature"] == "target") == "tree SHAP + permutation"
    by_step = table(model, "Voting", by_horizon=True)
    mean = np.mean([row["importance"] for row in by_step if row["feature"] == "driver"])
    assert mean == pytest.approx(found["driver"])


@pytest.mark.parametrize(("name", "scaler"), [("RandomForest", "PCA"), ("KNN", None)])
def test_where_columns_are_mixed_permutation_says_so(name, scaler):
    model = driven(name, scaler)
    assert {row["method"] for row in table(model, repeats=1)} == {"permutation"}
    columns = table(model, raw=False, repeats=1)
    assert {row["feature"] for row in columns} == set(model.learner(name).feature_names)
    assert columns[0]["feature"].startswith("driver")
    with pytest.raises(ConfigError, match=f"{name} has no SHAP values"):
        table(model, method="shap")


def test_bad_arguments_are_named():
    with pytest.raises(ConfigError, match="method must be one of auto, shap, permutation, got 'lime'"):
        table(driven("DecisionTree"), method="lime")
    with pytest.raises(ConfigError, match="repeats must be at least 1"):
        table(driven("DecisionTree"), repeats=0)


def test_asking_twice_gives_the_same():
    for method in ("auto", "permutation"):
        assert table(driven("DecisionTree"), method=method) == table(driven("DecisionTree"), method=method)


# -- taking the information out ---------------------------------------------------------------------------------------


def _blocks(panel):
    names = ("target", "time", "holidays", "series", *panel.known.names, *panel.past.names, *panel.static.names)
    future = future_of(panel, HORIZON)
    return {name: without(name, panel, future, 12, np.random.default_rng(1)) for name in names}, future


def test_each_input_loses_its_order_and_nothing_else():
    panel = small_panel((40, 52, 61))
    made, future = _blocks(panel)
    for name, (other, ahead) in made.items():
        same = {
            "target": np.array_equal(other.y, panel.y),
            "time": np.array_equal(other.start, panel.start),
            "holidays": other.grid.holiday_shift + (other.start - panel.start)[0] == 0,
            "series": other.ids == panel.ids,
        }
        for block in ("known", "past", "static"):
            before, after = getattr(panel, block).values, getattr(other, block).values
            same |= {c: np.array_equal(before[:, k], after[:, k]) for k, c in enumerate(getattr(panel, block).names)}
        assert [k for k, equal in same.items() if not equal] == [name]
        if name not in panel.known.names:
            assert ahead is future


def test_rows_of_a_covariate_stay_in_their_series_and_move_between_history_and_future():
    panel = small_panel((40, 52, 61))
    future = future_of(panel, HORIZON)
    other, ahead = without("price", panel, future, 12, np.random.default_rng(0))
    moved = 0
    for i in range(3):
        rows, steps = slice(panel.indptr[i], panel.indptr[i + 1]), slice(i * HORIZON, (i + 1) * HORIZON)
        both = np.concatenate([panel.known.values[rows, 0], future.known.values[steps, 0]])
        now = np.concatenate([other.known.values[rows, 0], ahead.known.values[steps, 0]])
        np.testing.assert_array_equal(np.sort(now), np.sort(both))
        moved += np.isin(ahead.known.values[steps, 0], panel.known.values[rows, 0]).sum()
    assert moved > HORIZON


def test_a_covariate_that_never_changes_in_a_series_changes_places_between_them():
    panel = small_panel((30, 30, 30, 30))
    level = np.repeat([1.0, 2.0, 3.0, 4.0], 30)
    known = Block(("price",), level[:, None], np.ones((120, 1), dtype=bool))
    panel = Panel.from_arrays([panel.series(i) for i in range(4)], panel.grid, known=known)
    ahead = Block(("price",), np.repeat([1.0, 2.0, 3.0, 4.0], 2)[:, None], np.ones((8, 1), dtype=bool))
    other, future = without("price", panel, Future(2, ahead), 1, np.random.default_rng(1))
    values = other.known.values[:, 0].reshape(4, 30)
    assert (np.ptp(values, axis=1) == 0).all()
    assert sorted(values[:, 0]) == [1, 2, 3, 4]
    assert not np.array_equal(values[:, 0], [1, 2, 3, 4])
    np.testing.assert_array_equal(future.known.values[:, 0].reshape(4, 2), np.repeat(values[:, :1], 2, axis=1))


@pytest.mark.parametrize("name", [n for n in LEARNERS if n not in {"PmdArima", "StatsmodelsETS"}])
def test_what_a_learner_does_not_read_has_no_influence(name):
    panel = small_panel((48, 44), freq="QS-JAN", season=4)
    made, future = _blocks(panel)
    params = {**SMALL.get(name, {}), **({"max_epochs": 2} if name == "TCNForecaster" else {})}
    try:
        learner = LEARNERS.load(name)(**params).fit(panel, FitContext(horizon=HORIZON, season=4, country="US"))
    except MissingPackageError as error:
        pytest.skip(str(error))
    read = learner.inputs(panel)
    assert set(read) <= {"target", "time", "holidays", "series", "price", "kind", "visits", "size"}
    want = learner.forecast(panel, future, ()).point
    for block, (other, ahead) in made.items():
        if block == "series" and learner.unseen == "fit_on_the_fly":
            continue  # there the names pick the fitted model; they are no input
        equal = np.array_equal(learner.forecast(other, ahead, ()).point, want)
        assert equal or block in read, f"{name} reads {block} and does not say so"


@pytest.mark.parametrize("name", ["LightGBM", "ElasticNet", "Prophet"])
def test_holidays_that_lift_demand_are_found(name):
    rng = np.random.default_rng(0)
    grid = TimeGrid("D", "2021-01-01")
    import holidays

    table_of = holidays.country_holidays("US", years=[2021, 2022, 2023])
    days = np.array([day.date() in table_of for day in grid.stamps(np.arange(731))])
    y = 100 + 60 * days + rng.standard_normal((4, 731))
    panel = Panel.from_arrays(list(y), grid, ids=[(f"s{i}",) for i in range(4)])
    # the window holds Christmas and New Year
    model = model_of({name: (name, {})}, panel.head(np.full(4, 731)), season=7, country="US", horizon=14)
    found = by_feature(table(model, method="permutation", repeats=5))
    assert found["holidays"] > 2 * max(v for k, v in found.items() if k != "holidays")
