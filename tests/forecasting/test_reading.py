"""Columns are read in later frames as they were in training; what cannot be right is an error that names it."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from automl.errors import DataError
from automl.guardrails import Report
from forecasting.config import Covariates, DataSettings
from forecasting.features.plan import FeaturePlan
from forecasting.features.settings import PlanSettings
from forecasting.forecaster import Forecaster
from forecasting.frame import Schema, future_block, prepare, prepare_history
from forecasting.learners.base import FitContext
from forecasting.writing import history_frame
from tests.forecasting.frames import monthly, quick


def read(frame, *, least=1, **settings):
    report = Report()
    return prepare(frame, DataSettings(**settings), min_length=least, report=report), report


def regular(name, rows, freq, start="2020-01-01"):
    stamps = pd.date_range(start, periods=rows, freq=freq)
    return pd.DataFrame({"unique_id": name, "ds": stamps, "y": np.arange(rows) % 7 + 1.0})


# -- mixed frequencies -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("others", "odd"),
    [("D", "W-MON"), ("D", "MS"), ("D", "h"), ("W-MON", "D"), ("W-MON", "MS"), ("h", "D"), ("MS", "QS"), ("D", "2D")],
)
@pytest.mark.parametrize("said", [True, False])
def test_mixed_frequencies_are_an_error_that_names_the_series(others, odd, said):
    start = "2020-06-01" if odd != "QS" else "2020-01-01"
    frame = pd.concat([regular("a", 80, others, start), regular("b", 80, others, start), regular("z", 30, odd, start)])
    freq = others if said else None
    with pytest.raises(DataError) as error:
        read(frame, freq=freq)
    text = str(error.value)
    assert "frequenc" in text
    assert "z" in text
    assert "Fix:" in text


def test_rare_rows_are_gaps_and_not_another_frequency():
    rng = np.random.default_rng(0)
    for seed in range(50):
        rare = regular("z", 80, "D").iloc[np.sort(rng.choice(80, 5 + seed % 20, replace=False))]
        prepared, _ = read(pd.concat([regular("a", 80, "D"), rare]))
        assert prepared.panel.grid.freq == "D"


def test_a_series_of_sparse_sales_is_read_when_missing_rows_mean_zero():
    frame = pd.concat([regular("a", 80, "D"), regular("z", 10, "W-WED")])
    prepared, _ = read(frame, fill_target="constant", fill_value=0.0)
    z = prepared.panel.series(1)
    assert (np.count_nonzero(z), len(z)) == (10, 64)


def test_whole_number_time_with_mixed_steps_is_an_error():
    a = pd.DataFrame({"unique_id": "a", "ds": np.arange(50), "y": 1.0 + np.arange(50) % 3})
    z = pd.DataFrame({"unique_id": "z", "ds": np.arange(0, 50, 5), "y": 1.0 + np.arange(10) % 3})
    with pytest.raises(DataError, match="mixed frequencies: 1 of 2 series \\(z\\) have a row every 5 steps"):
        read(pd.concat([a, z]))


def test_a_grid_that_is_nearly_all_gaps_is_an_error():
    stamps = pd.date_range("2020-01-01", periods=2000, freq="s").append(pd.DatetimeIndex(["2021-09-01"]))
    frame = pd.DataFrame({"ds": stamps, "y": 1.0 + np.arange(2001) % 5})
    with pytest.raises(DataError, match=r"2001 rows would become 52\d+ on the grid of 's'.*Fix"):
        read(frame)


# -- time ------------------------------------------------------------------------------------------------------------


def test_a_lone_midnight_row_of_hourly_zoned_data_stays_where_it_is():
    stamps = pd.date_range("2021-01-04", periods=240, freq="h", tz="America/New_York")
    frame = pd.DataFrame({"ds": stamps, "y": np.arange(240.0)})
    prepared, _ = read(frame)
    midnight = pd.DataFrame({"ds": [pd.Timestamp("2021-01-14", tz="America/New_York")], "y": [240.0]})
    later = prepare_history(midnight, prepared.schema, prepared.panel.grid)
    assert later.start[0] == prepared.panel.last[0] + 1
    both = Schema.from_json(json.loads(json.dumps(prepared.schema.to_json())))
    pd.testing.assert_series_equal(history_frame(later, both)["ds"], midnight["ds"], check_dtype=False)


def test_days_of_a_zone_are_days_there_through_a_clock_change():
    stamps = pd.date_range("2021-03-01", periods=40, freq="D", tz="Europe/Berlin")
    prepared, _ = read(pd.DataFrame({"ds": stamps, "y": np.arange(40.0)}))
    assert prepared.panel.n_rows == 40
    assert history_frame(prepared.panel, prepared.schema)["ds"].tolist() == stamps.tolist()
    one = pd.DataFrame({"ds": [pd.Timestamp("2021-04-10", tz="Europe/Berlin").tz_convert("UTC")], "y": [1.0]})
    assert prepare_history(one, prepared.schema, prepared.panel.grid).start[0] == 40


def test_day_first_text_is_read_alike_later():
    days = pd.date_range("2021-01-10", periods=30, freq="D")
    frame = pd.DataFrame({"ds": days.strftime("%d.%m.%Y"), "y": np.arange(30.0)})
    prepared, _ = read(frame)
    later = pd.DataFrame({"ds": ["09.02.2021", "10.02.2021"], "y": [1.0, 2.0]})
    assert prepare_history(later, prepared.schema, prepared.panel.grid).start[0] == 30
    with pytest.raises(DataError, match="day/month or as month/day"):
        read(later)


@pytest.mark.parametrize("kind", [pa.timestamp("ns"), pa.timestamp("us"), pa.date32()])
def test_arrow_times_are_read(kind):
    days = pd.date_range("2021-01-10", periods=30, freq="D")
    frame = pd.DataFrame({"ds": pd.Series(days).astype(pd.ArrowDtype(kind)), "y": np.arange(30.0)})
    prepared, _ = read(frame)
    assert prepared.panel.grid.freq == "D"
    assert [str(t)[:10] for t in history_frame(prepared.panel, prepared.schema)["ds"]][:1] == ["2021-01-10"]


def test_out_of_range_dates_and_date_like_numbers_are_named():
    days = pd.Series([*pd.date_range("2021-01-10", periods=30, freq="D").astype(str), "9999-12-31"])
    with pytest.raises(DataError, match=r"1 times outside the years 1678 to 2261.*9999.*row 30"):
        read(pd.DataFrame({"ds": days, "y": np.arange(31.0)}))
    numbers = pd.date_range("2021-01-10", periods=60, freq="D").strftime("%Y%m%d").astype(int)
    with pytest.raises(DataError, match="look like dates"):
        read(pd.DataFrame({"ds": numbers, "y": np.arange(60.0)}))


def test_later_rows_off_the_grid_are_an_error_and_not_lost():
    prepared, _ = read(regular("a", 40, "W-MON", "2021-01-04"))
    later = pd.DataFrame({"unique_id": "a", "ds": pd.date_range("2021-10-11", periods=12, freq="W-MON"), "y": 1.0})
    later.loc[11, "ds"] += pd.Timedelta(days=2)
    with pytest.raises(DataError, match=r"series a at 2021-12-29.*Fix"):
        prepare_history(later, prepared.schema, prepared.panel.grid)


def test_later_rows_are_put_together_as_in_training_even_before_the_first_period():
    daily = regular("a", 140, "D", "2021-01-04")
    prepared, _ = read(daily, freq="W-MON", aggregate="sum")
    earlier = prepare_history(regular("a", 7, "D", "2020-12-28"), prepared.schema, prepared.panel.grid)
    assert (earlier.start[0], earlier.y.tolist()) == (-1, [28.0])


# -- covariates ------------------------------------------------------------------------------------------------------


def test_categories_given_as_numbers_later_are_the_same_categories():
    frame = regular("a", 40, "D")
    frame["kind"] = [("1", "2", "10")[i % 3] for i in range(40)]
    prepared, _ = read(frame, covariates=Covariates(known="kind"))
    assert dict(prepared.schema.vocabulary)["kind"] == ("1", "10", "2")
    future = regular("a", 3, "D", "2020-02-10").drop(columns="y")
    words = {"text": ["1", "2", "10"], "whole": [1, 2, 10], "float": [1.0, 2.0, 10.0]}
    codes = {
        form: future_block(future.assign(kind=v), prepared.schema, prepared.panel, 3).known.values[:, 0].tolist()
        for form, v in words.items()
    }
    assert codes == {form: [0.0, 2.0, 1.0] for form in words}
    stranger = future.assign(kind=["7", "1", "1"])
    assert future_block(stranger, prepared.schema, prepared.panel, 3).known.values[0, 0] == -1


def test_numbers_given_as_text_later_are_the_same_numbers_or_an_error():
    frame = regular("a", 40, "D").assign(price=np.arange(40.0))
    prepared, _ = read(frame, covariates=Covariates(known="price"))
    future = regular("a", 3, "D", "2020-02-10").drop(columns="y")
    block = future_block(future.assign(price=["1", "2.5", "3"]), prepared.schema, prepared.panel, 3)
    assert block.known.values[:, 0].tolist() == [1.0, 2.5, 3.0]
    with pytest.raises(
        DataError, match=r"covariate column 'price' holds 1 values that are no numbers: 'cheap' \(row 1\)"
    ):
        future_block(future.assign(price=["1", "cheap", "3"]), prepared.schema, prepared.panel, 3)


@pytest.mark.parametrize("way", ["aggregate", "pad", "plain"])
def test_static_columns_stand_beside_aggregation_and_padding(way):
    rows = 3 if way == "pad" else 60
    parts = [regular(n, rows, "D", "2021-01-04").assign(size=i + 1.0, kind=k) for i, (n, k) in enumerate(["ax", "by"])]
    frame = pd.concat(parts, ignore_index=True)
    frame["size"] = frame["size"].where(frame.groupby("unique_id").cumcount() == 1)  # one row of a series tells it
    settings = {"aggregate": {"freq": "W-MON", "aggregate": "sum"}, "pad": {"freq": "D"}, "plain": {}}[way]
    prepared, _ = read(frame, least=8, covariates=Covariates(static=["size", "kind"]), **settings)
    static = prepared.panel.static
    assert static.names == ("size", "kind")
    assert static.values.tolist() == [[1.0, 0.0], [2.0, 1.0]]
    with pytest.raises(DataError, match=r"static covariate 'size' changes in 1 series, first: a"):
        read(frame.assign(size=np.arange(len(frame)) % 60 * (frame["unique_id"] == "a")), **settings,
             covariates=Covariates(static=["size"]), least=1)  # fmt: skip


def test_dates_are_put_together_by_min_max_and_mode():
    frame = regular("a", 28, "D", "2021-01-04").assign(due=pd.date_range("2021-02-01", periods=28, freq="D"), n=2.0)
    prepared, _ = read(frame, freq="W-MON", aggregate="sum", covariates=Covariates(known=["due", "n"]))
    known = prepared.panel.known
    assert known.names == ("due_min", "due_max", "due_mode", "n_sum", "n_mean", "n_min", "n_max")
    first = (pd.Timestamp("2021-02-01") - pd.Timestamp("1970-01-01")).days
    assert known.values[0].tolist() == [first, first + 6, first, 14.0, 2.0, 2.0, 2.0]


def plan_values(fill, flags=False, upto=None):
    """Column `price` (and its flag) as the design matrix holds it for the rows of a panel with gaps."""
    frame = regular("a", 12, "D", "2021-01-04")
    frame["price"] = [np.nan, 1.0, 1.0, np.nan, 4.0, 10.0, np.nan, np.nan, 100.0, 7.0, 7.0, 8.0]
    settings = {"fill_numbers": {"price": fill}} if fill else {}
    prepared, _ = read(frame, covariates=Covariates(known="price"), fill_value=-5.0, missing_flags=flags, **settings)
    panel = prepared.panel if upto is None else prepared.panel.window(np.array([0]), np.array([upto]))
    plan = FeaturePlan.fit(panel, PlanSettings(), FitContext(horizon=1))
    assert FeaturePlan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    fixed = plan.scale(panel).fixed
    names = [n for n, _ in plan.columns][: fixed.shape[1]]
    return {n: fixed[:, names.index(n)].tolist() for n in ("price", "price_WASNULL") if n in names}


@pytest.mark.parametrize(
    ("fill", "gap"),
    [(None, 7.0), ("median", 7.0), ("mean", 17.25), ("most_frequent", 1.0), ("constant", -5.0)],
)
def test_gaps_of_numbers_are_filled_as_said(fill, gap):
    price = plan_values(fill)["price"]
    if fill == "most_frequent":
        gap = 1.0  # 1 and 7 stand twice each: the smaller one
    assert [price[i] for i in (0, 3, 6, 7)] == [gap] * 4
    assert price[8] == 100.0


def test_the_last_value_fills_forward_and_never_backward():
    assert plan_values("ffill")["price"][:8] == [7.0, 1.0, 1.0, 1.0, 4.0, 10.0, 10.0, 10.0]


def test_fills_are_learned_from_the_training_rows_alone():
    assert plan_values("mean", upto=5)["price"][0] == 2.0
    assert plan_values("median", upto=5)["price"][0] == 1.0


def test_gaps_become_flags_when_asked_for():
    assert plan_values(None, flags=True)["price_WASNULL"] == [1, 0, 0, 1, 0, 0, 1, 1, 0, 0, 0, 0]
    assert "price_WASNULL" not in plan_values(None)


def test_fill_numbers_of_a_column_that_is_no_number_is_an_error():
    frame = regular("a", 12, "D").assign(kind="x")
    with pytest.raises(DataError, match="fill_numbers names 'kind'"):
        read(frame, covariates=Covariates(known="kind"), fill_numbers={"kind": "mean"})


# -- constant series -------------------------------------------------------------------------------------------------


def test_constant_series_are_forecast_as_their_constant_and_teach_nothing():
    frame = monthly()
    flat = frame[frame["unique_id"] == "s0"].assign(unique_id="flat", y=7.25)
    model = Forecaster(6, settings=quick(6)).fit(pd.concat([frame, flat]))
    out = model.predict(level=[80])
    mine = out[out["unique_id"] == "flat"]
    assert (mine[["yhat", "yhat-lo-80", "yhat-hi-80"]] == 7.25).all().all()
    notes = model.guardrails().set_index("name")
    assert "flat" in notes.loc["Constant series", "message"]
    panel = model._model.task.panel
    plan = FeaturePlan.fit(panel, PlanSettings(), FitContext(horizon=6, season=12))
    _, series = plan.training_rows(plan.scale(panel), 0)
    assert set(series.tolist()) == {panel.ids.index((n,)) for n in ("s0", "s1", "s2")}
