"""Frames as people have them: odd types and names, later rows that lack things, and what may not go wrong silently."""

import decimal
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from automl.budget import ExitCriteria
from automl.errors import DataError
from automl.guardrails import Report
from forecasting import explain
from forecasting import frame as door
from forecasting.config import Columns, Covariates, DataSettings, SearchSettings, Settings
from forecasting.forecaster import Forecaster
from forecasting.frequency import jittered
from forecasting.join import join
from forecasting.regularize import _covering

HORIZON = 3


def daily(ids=("a", "b"), rows=60, start="2024-01-01", freq="D"):
    """Series of a weekly season, ten apart."""
    parts = []
    for k, key in enumerate(ids):
        days = pd.date_range(start, periods=rows, freq=freq)
        parts.append(pd.DataFrame({"unique_id": key, "ds": days, "y": 10.0 * (k + 1) + np.arange(rows) % 7}))
    return pd.concat(parts, ignore_index=True)


def fitted(frame, horizon=HORIZON, columns=None, **data):
    """A model fitted in no time."""
    search = SearchSettings(
        allowed=["SeasonalNaive"], workers=0, vote=False, n_windows=1, limits=ExitCriteria(max_trials=1)
    )
    settings = Settings(data=DataSettings(**data), search=search)
    return Forecaster(horizon, columns=columns, settings=settings).fit(frame)


def prepared(frame, **settings):
    """Frame as panel and schema."""
    return door.prepare(frame, DataSettings(**settings), min_length=1, report=Report())


# -- values of covariates that are not there --------------------------------------------------------------------------


def test_a_number_missing_ahead_does_not_take_a_later_value():
    frame = daily(("a",)).assign(p=5.0)
    for fill, first in (({}, 5.0), ({"p": "ffill"}, 5.0), ({"p": "constant"}, 0.0)):
        got = prepared(frame, covariates=Covariates(known=["p"]), fill_numbers=fill)
        rows = pd.DataFrame({"unique_id": "a", "ds": pd.date_range("2024-03-01", periods=5), "p": np.nan})
        rows.loc[2, "p"] = 9.0
        ahead = door.future_block(rows, got.schema, got.panel, 5)
        assert ahead.known.values[:, 0].tolist() == [first, first, 9.0, *([0.0, 0.0] if not first else [9.0, 9.0])]
        assert ahead.known.observed[:, 0].tolist() == [False, False, True, False, False]


def test_a_constant_fills_what_aggregation_makes_of_a_number():
    frame = daily(("a",)).assign(p=5.0)
    frame.loc[31:, "p"] = np.nan
    got = prepared(
        frame, freq="MS", aggregate="sum", covariates=Covariates(known=["p"]), fill_numbers={"p": "constant"}
    )
    assert dict(zip(got.panel.known.names, got.panel.known.values[-1], strict=True))["p_mean"] == 0.0


def test_a_category_missing_ahead_stays_missing():
    frame = daily(("a",)).assign(p=["x", None, "y"] * 20)
    got = prepared(frame, covariates=Covariates(known=["p"]))
    rows = pd.DataFrame({"unique_id": "a", "ds": pd.date_range("2024-03-01", periods=3), "p": [None, "x", None]})
    assert door.future_block(rows, got.schema, got.panel, 3).known.values[:, 0].tolist() == [-1.0, 0.0, -1.0]


def test_a_number_missing_in_newer_rows_does_not_take_a_later_value():
    got = prepared(daily(("a",)).assign(p=5.0), covariates=Covariates(known=["p"]))
    newer = pd.DataFrame({"unique_id": "a", "ds": pd.date_range("2024-03-01", periods=3), "p": [np.nan, np.nan, 9.0]})
    both = join(got.panel, door.prepare_history(newer.assign(y=1.0), got.schema, got.panel.grid))
    assert both.known.values[-4:, 0].tolist() == [5.0, 5.0, 5.0, 9.0]
    other = newer.assign(y=1.0, unique_id="new")
    both = join(got.panel, door.prepare_history(other, got.schema, got.panel.grid))
    assert both.known.values[-3:, 0].tolist() == [9.0, 9.0, 9.0]  # nothing was before


# -- ids --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dtype", ["object", "category", "str", pd.ArrowDtype(pa.string()), pd.ArrowDtype(pa.large_string())]
)
def test_text_ids_are_found_by_numbers(dtype):
    frame = daily(("1", "2"))
    frame["unique_id"] = frame["unique_id"].astype(dtype)
    model = fitted(frame)
    rows = pd.DataFrame({"unique_id": [2, 2], "ds": pd.date_range("2024-03-01", periods=2)})
    fractions = rows.astype({"unique_id": float})
    for asked in (rows, fractions, rows.astype({"unique_id": object}), fractions.astype({"unique_id": "category"})):
        out = model.predict(asked)
        assert "cold_start" not in out
        assert (out["yhat"] >= 20).all()
    out = model.predict(history=rows.assign(y=25.0))
    assert len(out) == 2 * HORIZON
    assert set(out["unique_id"]) == {"1", "2"}


@pytest.mark.parametrize("dtype", ["int64", object, "category"])
def test_numbers_as_ids_are_found_by_text(dtype):
    frame = daily((1, 2))
    frame["unique_id"] = frame["unique_id"].astype(dtype)
    got = prepared(frame)
    schema = door.Schema.from_json(json.loads(json.dumps(got.schema.to_json())))
    assert schema == got.schema
    rows = pd.DataFrame({"unique_id": ["2", "2"], "ds": pd.date_range("2024-03-01", periods=2), "y": 1.0})
    assert door.prepare_history(rows, schema, got.panel.grid).ids == ((2,),)
    if dtype != "int64":  # a column of any kind may hold a new series named by a word
        rows["unique_id"] = "new"
        assert door.prepare_history(rows, schema, got.panel.grid).ids == (("new",),)


def test_ids_of_both_kinds_stay_as_they_are():
    frame = daily((1, "1"))
    got = prepared(frame.astype({"unique_id": object}))
    assert got.panel.n_series == 2
    rows = pd.DataFrame({"unique_id": [1], "ds": [pd.Timestamp("2024-03-01")], "y": 1.0})
    assert door.prepare_history(rows, got.schema, got.panel.grid).ids == ((1,),)


def test_a_schema_of_an_older_file_is_read():
    got = prepared(daily())
    old = got.schema.to_json()
    del old["id_kinds"], old["day_orders"]
    schema = door.Schema.from_json(old)
    assert door.prepare_history(daily(), schema, got.panel.grid).ids == got.panel.ids


def test_arrow_types_that_pandas_hardly_knows():
    words = pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string()))
    numbers = pd.ArrowDtype(pa.decimal128(5, 0))
    text = daily().astype({"unique_id": pd.ArrowDtype(pa.string())})
    assert fitted(text.assign(unique_id=text["unique_id"].astype(words))).predict()["unique_id"].iloc[0] == "a"
    ids = pd.array(np.repeat([decimal.Decimal(7), decimal.Decimal(8)], 60), dtype=numbers)
    model = fitted(daily().assign(unique_id=ids))
    assert model.predict()["unique_id"].tolist() == ["7"] * 3 + ["8"] * 3
    days = pd.array(daily()["ds"].dt.date, dtype=pd.ArrowDtype(pa.date32()))
    got = prepared(daily().assign(x=days), covariates=Covariates(known=["x"]))
    assert got.schema.kinds == (("x", "date"),)
    assert got.panel.known.values[:2, 0].tolist() == [19723.0, 19724.0]


def test_columns_that_cannot_be_compared_tell_no_series_apart():
    frame = daily(("a", "a")).drop(columns="unique_id").assign(tags=[["x"]] * 120)
    with pytest.raises(DataError, match="60 rows repeat a timestamp"):
        prepared(frame)


# -- rows of a request ------------------------------------------------------------------------------------------------


def test_nobody_knows_the_weight_of_rows_to_come():
    frame = daily().assign(w=1.0, p=1.0)
    model = fitted(frame, weight="w", covariates=Covariates(known=["p"]))
    rows = model.make_future_frame().assign(p=1.0, w=np.nan)
    assert len(model.predict(rows)) == 2 * HORIZON
    rows["y"] = [1.0, np.nan, np.nan] * 2
    assert model.predict(rows)["yhat"].tolist()[::3] == [1.0, 1.0]


def test_rows_asked_for_are_no_gaps_that_mean_zero():
    frame = daily(("a",))
    rows = pd.DataFrame({"unique_id": "a", "ds": pd.date_range("2024-03-01", periods=4), "y": [11, np.nan, 14, np.nan]})
    usual = fitted(frame).predict(rows)
    assert fitted(frame, fill_target="constant").predict(rows).iloc[:3].equals(usual.iloc[:3])


def test_rows_that_are_not_there_after_training_mean_the_constant():
    frame = daily(("a",))
    model = fitted(frame, fill_target="constant", fill_value=2.0)
    newer = pd.DataFrame({"unique_id": "a", "ds": [pd.Timestamp("2024-03-05")], "y": [7.0]})
    whole = fitted(pd.concat([frame, newer]), fill_target="constant", fill_value=2.0)
    assert model.predict(history=newer)["yhat"].tolist() == whole.predict()["yhat"].tolist()
    assert model.evaluate(newer).predictions["y"].tolist() == [2.0, 2.0, 2.0, 2.0, 7.0]


def test_until_without_a_zone_is_of_the_zone_of_the_data():
    frame = daily(("a",))
    model = fitted(frame.assign(ds=frame["ds"].dt.tz_localize("Europe/Berlin")))
    assert len(model.predict(until="2024-03-10")) == 10
    assert len(model.predict(until=pd.Timestamp("2024-03-10", tz="Europe/Berlin"))) == 10
    with pytest.raises(DataError, match="day/month or as month/day"):
        model.predict(until="04/03/2024")
    with pytest.raises(DataError, match="lies between two points"):
        fitted(frame).predict(until=pd.Timestamp("2024-03-10 07:00"))


# -- dates as text ----------------------------------------------------------------------------------------------------


def test_text_that_may_be_read_two_ways_is_no_silent_guess():
    later = pd.DataFrame({"unique_id": "a", "ds": ["01/03/2024", "02/03/2024"], "y": 1.0})
    frame = daily(("a",))
    for dates in (frame, frame.assign(ds=frame["ds"].dt.strftime("%Y-%m-%d"))):
        got = prepared(dates)
        with pytest.raises(DataError, match="day/month or as month/day"):
            door.prepare_history(later, got.schema, got.panel.grid)
    for order in ("%d/%m/%Y", "%m/%d/%Y"):
        got = prepared(frame.assign(ds=frame["ds"].dt.strftime(order)))
        rows = pd.DataFrame({"unique_id": "a", "ds": pd.date_range("2024-03-01", periods=2).strftime(order), "y": 1.0})
        assert door.prepare_history(rows, got.schema, got.panel.grid).start[0] == 60


def test_text_dates_of_a_covariate_are_read_as_in_training():
    frame = daily(("a",))
    frame["x"] = frame["ds"].dt.strftime("%d/%m/%Y")
    got = prepared(frame, covariates=Covariates(known=["x"]), kinds={"x": "date"})
    rows = pd.DataFrame({"unique_id": "a", "ds": pd.date_range("2024-03-01", periods=2), "x": ["01/03/2024"] * 2})
    assert door.future_block(rows, got.schema, got.panel, 2).known.values[:, 0].tolist() == [19783.0, 19783.0]


# -- grids ------------------------------------------------------------------------------------------------------------


def test_days_with_jitter_around_midnight_belong_to_the_nearest():
    noise = pd.to_timedelta(np.random.default_rng(0).normal(0, 600, 60), unit="s")
    frame = daily(("a",))
    frame["ds"] += noise
    alone = np.arange(60) == 0
    assert jittered(pd.DatetimeIndex(frame["ds"]), alone, "D")
    panel = prepared(frame, freq="D", aggregate="sum").panel
    assert panel.observed.all()
    assert panel.n_rows == 60


def test_grids_of_several_days_begin_with_the_first():
    time = pd.DatetimeIndex(["2024-01-02 05:30", "2024-01-20"])
    for freq, origin in (("7D", "2024-01-02"), ("D", "2024-01-02"), ("2h", "2024-01-02 04:00"), ("MS", "2024-01-01")):
        assert pd.Timestamp(_covering(time, freq).origin) == pd.Timestamp(origin)


def test_whole_numbers_of_time_may_outgrow_their_type():
    frame = pd.DataFrame({"unique_id": "a", "ds": np.arange(126, dtype=np.int8), "y": np.arange(126) % 4 + 1.0})
    for dtype in ("int8", "Int8"):
        model = fitted(frame.astype({"ds": dtype}))
        assert model.predict()["ds"].tolist() == [126, 127, 128]
        assert str(model.history()["ds"].dtype) == dtype


def test_whole_numbers_of_time_are_put_together_later_too():
    frame = pd.DataFrame({"unique_id": "a", "ds": np.repeat(np.arange(40), 2), "y": 1.5, "p": 3.0})
    model = fitted(frame, freq="step", aggregate="sum", covariates=Covariates(known=["p"]))
    rows = model.make_future_frame().assign(p=3.0)
    assert model.predict(rows)["ds"].tolist() == [40, 41, 42]
    model = fitted(frame, freq="step", aggregate="sum")
    newer = pd.DataFrame({"unique_id": "a", "ds": [40, 40, 41], "y": [1.0, 2.0, 3.0]})
    assert model.predict(history=newer)["ds"].tolist() == [42, 43, 44]
    assert model.evaluate(newer).predictions["y"].tolist() == [3.0, 3.0]


def test_later_rows_are_put_together_where_none_of_training_shared_a_period():
    frame = daily(("a",), freq="MS", start="2019-01-01")
    twice = pd.DataFrame({"unique_id": "a", "ds": pd.to_datetime(["2024-01-03", "2024-01-20"]), "y": [1.0, 2.0]})
    got = prepared(frame, freq="MS", aggregate="sum")
    assert door.prepare_history(twice, got.schema, got.panel.grid).y.tolist() == [3.0]
    got = prepared(frame.assign(p=1.0), freq="MS", aggregate="sum", covariates=Covariates(known=["p"]))
    assert got.schema.aggregate is None  # it has one column of p, not four


def test_a_part_of_a_period_is_not_its_value(caplog):
    days = pd.date_range("2024-01-01", "2024-07-15")
    frame = pd.DataFrame({"unique_id": "a", "ds": days, "y": 10.0})
    model = fitted(frame, horizon=2, freq="MS", aggregate="sum")
    usual = model.predict()["yhat"].tolist()
    rows = pd.DataFrame({"unique_id": "a", "ds": pd.date_range("2024-08-01", "2024-09-30"), "y": np.nan})
    rows.loc[:9, "y"] = 10.0
    assert model.predict(rows)["yhat"].tolist() == usual
    assert model.predict(history=frame)["yhat"].tolist() == usual
    assert "another value" not in caplog.text
    model.predict(history=frame.tail(7))
    assert "1 periods that were known already get another value from later rows" in caplog.text
    assert "series a at 2024-07-01T00:00:00, 70 instead of 150" in caplog.text
    caplog.clear()
    model.evaluate(pd.DataFrame({"unique_id": "a", "ds": pd.date_range("2024-07-16", "2024-09-30"), "y": 10.0}))
    assert "160 instead of 150" in caplog.text


# -- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["yhat", "cutoff", "cold_start", "feature", "contribution", "mase", "bias", "yhat-q-1"]
)
def test_columns_named_like_those_of_an_answer_are_refused(name):
    for own in ("unique_id", "ds", "y"):
        frame = daily().rename(columns={own: name})
        names = [name if c == own else c for c in ("unique_id", "ds", "y")]
        columns = Columns(id=names[0], time=names[1], target=names[2])
        with pytest.raises(DataError, match="rename"):
            prepared(frame, columns=columns)


@pytest.mark.parametrize("name", ["time", "target", "series", "holidays"])
def test_covariates_named_like_other_inputs_are_refused(name):
    with pytest.raises(DataError, match="rename"):
        prepared(daily().assign(**{name: 1.0}), covariates=Covariates(past=[name]))


# -- what is told -----------------------------------------------------------------------------------------------------


def test_shares_of_an_ensemble_add_up_to_one(monkeypatch):
    parts = {"A": [0.6, -0.2, 0.2], "B": [-0.1, -0.3, 0.0], "C": [0.0, 0.5, -0.5]}

    def of_member(model, member, **how):
        mean = np.array(parts[member])[:, None]
        return explain.Importances(("a", "b", "c"), mean, np.abs(mean), "permutation")

    monkeypatch.setattr(explain, "of_member", of_member)
    entry = SimpleNamespace(weights=tuple((n, 1 / 3) for n in parts))
    model = SimpleNamespace(entry=lambda name: entry, settings=SimpleNamespace(horizon=1))
    rows = explain.importance(model, None, raw=True, method="auto", by_horizon=False, repeats=1, seed=0)
    assert {r["feature"]: round(r["importance"], 6) for r in rows} == {"b": 0.5, "a": 0.375, "c": 0.125}


def test_series_that_training_did_not_have_are_left_out_aloud(caplog):
    model = fitted(daily())
    model.evaluate(pd.concat([daily(rows=63), daily(("new",), rows=63)]))
    assert "1 series of the test data that training did not have are left out, first: new" in caplog.text


def test_the_report_is_json_and_knows_who_chose_the_horizon():
    model = fitted(daily(), horizon="auto")
    text = (model.run.path / "report.json").read_text()
    content = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert [c["source"] for c in content["choices"] if c["name"] == "horizon"] == ["data"]
    found = fitted(daily()).report().set_index("name")["source"]
    assert found["horizon"] == "user"


def test_covariates_put_together_by_period_are_not_dropped():
    days = pd.date_range("2020-01-01", "2023-12-31")
    price = 10 + np.random.default_rng(0).normal(0, 1, len(days))
    frame = pd.DataFrame({"unique_id": "a", "ds": days, "y": 100 - 5 * price, "p": price})
    search = SearchSettings(
        allowed=["ElasticNet"], workers=0, vote=False, n_windows=1, limits=ExitCriteria(max_trials=1)
    )
    settings = Settings(data=DataSettings(freq="MS", aggregate="mean"), search=search)
    model = Forecaster(HORIZON, known=["p"], settings=settings).fit(frame)
    row = model.featurization_summary().set_index("RawFeatureName").loc["p"]
    assert row["Dropped"] == "No"
    assert row["EngineeredFeatureCount"] > 0
    assert "AsItIs" in row["Transformations"]
