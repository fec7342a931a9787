"""Input that is unlike the usual at the door: finer steps than an hour, rows that mean zero, rows that come again."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from automl.errors import DataError
from automl.guardrails import Report
from forecasting import Forecaster
from forecasting import frame as door
from forecasting.config import DataSettings
from forecasting.features.calendar import calendar
from forecasting.features.holidays import holiday_features, holiday_names
from forecasting.hierarchical import HierarchicalForecaster
from forecasting.hierarchy import Reconciliation, Tree, shrunk
from forecasting.join import join
from forecasting.panel import Panel
from forecasting.season import detect_season
from forecasting.task import panel_from_state, panel_state
from forecasting.timegrid import TimeGrid
from tests.forecasting.frames import quick

# -- seasons below an hour --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("freq", "day"), [("15min", 96), ("5min", 288), ("min", 1440)])
def test_the_day_of_fine_steps_is_found_in_noise(freq, day):
    rng = np.random.default_rng(0)
    t = np.arange(30 * day if day < 1000 else 10 * day)
    grid = TimeGrid(freq, "2024-01-01")
    counts = rng.poisson(np.exp(2 + np.sin(2 * np.pi * t / day))).astype(float)
    assert detect_season(Panel.from_arrays([counts], grid)) == day
    assert detect_season(Panel.from_arrays([10 * np.sin(2 * np.pi * t / day) + rng.normal(size=len(t))], grid)) == day


def test_an_hour_is_no_prior_and_needs_rows():
    rng = np.random.default_rng(1)
    grid = TimeGrid("15min", "2024-01-01")
    short = [rng.normal(size=90) for _ in range(10)]
    assert detect_season(Panel.from_arrays(short, grid)) == 1
    hourly = [np.tile([5.0, 0, 0, 0], 150) + 0.1 * rng.normal(size=600)]
    assert detect_season(Panel.from_arrays(hourly, grid)) in {4, 96}


# -- rows that are not there ------------------------------------------------------------------------------------------


def _sales():
    """One unit sold on every fifth day, without rows for the others."""
    days = pd.date_range("2024-01-01", periods=200)[::5]
    daily = pd.DataFrame(
        {"unique_id": "a", "ds": pd.date_range("2024-01-01", periods=200), "y": 3.0 + np.arange(200) % 2}
    )
    return pd.concat([daily, pd.DataFrame({"unique_id": "z", "ds": days, "y": 10.0})])


def _prepared(frame, **settings):
    return door.prepare(frame, DataSettings(**settings), min_length=1, report=Report())


def test_rows_that_are_not_there_count_as_the_value_they_mean():
    frame = _sales()
    frame.loc[(frame["unique_id"] == "z") & (frame["ds"] == "2024-01-11"), "y"] = np.nan
    prepared = _prepared(frame, fill_target="constant", freq="D")
    z = slice(*prepared.panel.indptr[1:3])
    assert prepared.panel.observed[z].sum() == len(prepared.panel.y[z]) - 1, "a row without a value stays missing"
    assert prepared.panel.y[z][1:5].tolist() == [0, 0, 0, 0]
    later = pd.DataFrame({"unique_id": "z", "ds": pd.to_datetime(["2024-08-01", "2024-08-05"]), "y": [10.0, 10.0]})
    again = door.prepare_history(later, prepared.schema, prepared.panel.grid)
    assert again.y.tolist() == [10, 0, 0, 0, 10]


def test_what_is_sold_on_one_day_in_five_is_not_forecast_at_its_size_every_day():
    settings = quick(4, allowed=["Average", "SeasonalAverage", "Croston"])
    settings = replace(settings, data=DataSettings(fill_target="constant", freq="D"))
    found = Forecaster(10, settings=settings).fit(_sales()).predict()
    assert found[found["unique_id"] == "z"]["yhat"].mean() < 5


def test_newer_rows_replace_values_by_values_alone():
    grid = TimeGrid("D", "2024-01-01")
    old = Panel.from_arrays([np.arange(10.0)], grid)
    new = Panel.from_arrays([np.array([20.0, *[np.nan] * 7, 50.0])], grid, start=[2])
    both = join(old, new)
    assert both.y.tolist() == [0, 1, 20, 3, 4, 5, 6, 7, 8, 9, 50]
    assert both.observed.all()


def test_rows_that_come_first_in_a_newer_panel_know_nothing_of_later_ones():
    grid = TimeGrid("D", "2024-01-01")
    new = Panel.from_arrays([np.array([np.nan, np.nan, 50.0])], grid, start=[3])
    both = join(Panel.from_arrays([np.array([7.0, 8.0, 9.0])], grid), new)
    assert both.y.tolist() == [7, 8, 9, 9, 9, 50]
    assert both.observed.tolist() == [True] * 3 + [False] * 2 + [True]


def test_whole_number_times_are_put_together_too():
    frame = pd.DataFrame({"ds": [1, 1, 2, 2, 3, 3, 4, 5, 6], "y": np.arange(1.0, 10)})
    prepared = _prepared(frame, freq="step", aggregate="sum")
    assert prepared.panel.y.tolist() == [3, 7, 11, 7, 8, 9]


def test_padding_is_as_large_as_the_series():
    days = pd.date_range("2024-01-01", periods=4)
    frame = pd.concat(
        pd.DataFrame({"unique_id": name, "ds": days, "y": size * np.array([1.0, 1.1, 0.9, 1.05])})
        for name, size in (("small", 0.03), ("large", 1e6))
    )
    panel = door.prepare(frame, DataSettings(freq="D"), min_length=20, report=Report()).panel
    for i, size in enumerate((1e6, 0.03)):
        padded = panel.series(i)[:-4]
        assert len(padded) >= 16
        assert 0.02 * size < padded.std() < 0.5 * size


# -- calendars of their own -------------------------------------------------------------------------------------------


def _first_mondays():
    return pd.date_range("2020-01-01", periods=48, freq="WOM-1MON")


@pytest.mark.parametrize(
    ("stamps", "alias"),
    [
        (_first_mondays(), "MS"),
        (pd.date_range("2020-01-01", periods=48, freq="SMS"), "MS"),
        (pd.date_range("2015-01-31", periods=13, freq="YE") + pd.offsets.Week(weekday=5), "YS"),
        (pd.DatetimeIndex([f"2024-{m:02d}-{d:02d}" for m in range(1, 13) for d in (1, 11, 21)]), "MS"),
    ],
    ids=["first Mondays", "half months", "retail years", "dekads"],
)
def test_calendars_of_their_own_are_told_and_not_laid_on_days(stamps, alias):
    frame = pd.DataFrame({"ds": stamps, "y": 1.0 + np.arange(len(stamps)) % 3})
    with pytest.raises(DataError, match=f"rows are about .* apart.*freq='{alias}' with aggregate"):
        _prepared(frame)
    assert _prepared(frame, freq=alias, aggregate="sum").panel.grid.freq.startswith(alias[:2])


@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Australia/Sydney"])
def test_calendar_and_holidays_of_zoned_hours_go_by_the_clock(zone):
    hours = pd.date_range("2023-06-25", periods=24 * 40, freq="h", tz=zone)
    frame = pd.DataFrame({"ds": hours, "y": np.arange(len(hours)) % 24 + 1.0})
    prepared = _prepared(frame)
    panel = prepared.panel
    code = {"America/Los_Angeles": "US", "Australia/Sydney": "AU"}[zone]
    steps = panel.step_of_rows()
    seen = calendar(panel.grid, steps, ("hour", "wday"))
    np.testing.assert_array_equal(seen[:, 0], hours.hour)
    np.testing.assert_array_equal(seen[:, 1], hours.day_of_week)
    public = holiday_features(panel.grid, steps, code, 0, 0)[:, holiday_names(panel.grid, 0, 0).index("paid_time_off")]
    assert {str(day) for day in hours[public > 0].date} == ({"2023-07-04"} if code == "US" else set())
    assert public.sum() == (24 if code == "US" else 0)
    labels = prepared.schema.time_labels(panel.grid, steps)
    assert pd.DatetimeIndex(labels).equals(hours)
    assert panel_from_state(panel_state(panel)).grid == panel.grid


# -- hierarchies ------------------------------------------------------------------------------------------------------


def _shops(rows=40, new=4):
    months = pd.date_range("2020-01-01", periods=rows, freq="MS")
    rng = np.random.default_rng(0)
    made = [
        pd.DataFrame({"shop": shop, "month": months[-n:], "units": level + rng.random(n)})
        for shop, level, n in (("a", 50.0, rows), ("b", 5.0, rows), ("new", 1.0, new))
    ]
    return pd.concat(made)


@pytest.mark.parametrize("method", ["mint_shrink", "wls_struct"])
def test_a_new_leaf_breaks_no_hierarchy(method, tmp_path):
    settings = quick(3, allowed=["Naive", "SeasonalNaive", "Average"])
    model = HierarchicalForecaster(
        6, levels=["shop"], time="month", target="units", method=method, settings=settings
    ).fit(_shops())
    found = model.predict(quantiles=[0.1, 0.9])
    assert np.isfinite(found[["yhat", "yhat-q-0.1", "yhat-q-0.9"]].to_numpy()).all()
    model.save(str(tmp_path / "model"))
    again = HierarchicalForecaster.load(str(tmp_path / "model")).predict(quantiles=[0.1, 0.9])
    np.testing.assert_allclose(again["yhat"], found["yhat"])


def test_errors_that_never_meet_count_as_independent():
    errors = np.array([[1.0, np.nan, 3.0, np.nan], [np.nan, 2.0, np.nan, 2.0], [np.nan] * 4])
    np.testing.assert_allclose(shrunk(errors), np.diag([5.0, 4.0, 4.5]))


def test_reconciled_forecasts_of_what_is_never_negative_are_not():
    months = pd.date_range("2020-01-01", periods=36, freq="MS")
    rng = np.random.default_rng(0)
    frame = pd.concat(
        pd.DataFrame({"shop": shop, "month": months, "units": np.maximum(level + size * rng.normal(size=36), 0)})
        for shop, level, size in (("a", 30.0, 20.0), ("b", 2.0, 3.0), ("c", 0.1, 0.3))
    )
    model = HierarchicalForecaster(
        4, levels=["shop"], time="month", target="units", method="ols", settings=quick(2, allowed=["Naive"])
    ).fit(frame)
    tree = Tree(("shop",), (("a",), ("b",), ("c",)))
    base = np.repeat(np.array([10.0, 12.0, 5.0, 0.0])[:, None, None], 3, axis=2)
    plain = Reconciliation(tree, "ols").points(base[:, :, 0][:, :1])
    assert plain.min() < 0, "the case is one"
    found = model._coherent(base, "ols", "average_historical_proportions")
    assert found.min() >= 0
    np.testing.assert_allclose(found[0, :, 0], found[1:, :, 0].sum(axis=0))
