"""The door: reading, checking and making regular; and forecasts on the way out."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from automl.errors import ConfigError, DataError
from automl.guardrails import Report
from forecasting.config import Columns, Covariates, DataSettings
from forecasting.frame import Schema, future_block, prepare, prepare_history, to_pandas
from forecasting.panel import Forecast
from forecasting.timegrid import TimeGrid, normalise_freq
from forecasting.writing import forecast_frame, history_frame
from tests.forecasting.frames import monthly

DATA = Path(os.environ.get("FORECASTLE_DATA", Path(__file__).resolve().parents[3] / "shared" / "data" / "timeseries"))
real = pytest.mark.skipif(not DATA.is_dir(), reason=f"real data not found in {DATA}")


def read(frame, *, least=5, **settings):
    report = Report()
    prepared = prepare(frame, DataSettings(**settings), min_length=least, report=report)
    return prepared, {g.name: g for g in report}


def daily(values, start="2020-01-01", freq="D", name="a"):
    return pd.DataFrame({"unique_id": name, "ds": pd.date_range(start, periods=len(values), freq=freq), "y": values})


@pytest.mark.parametrize(
    "freq",
    [
        "D",
        "h",
        "15min",
        "20min",
        "W-THU",
        "W-SUN",
        "MS",
        "ME",
        "QS-JAN",
        "QE-DEC",
        "YS-JAN",
        "YE-JUN",
        "B",
        "s",
        "2h",
        "2W-MON",
    ],
)
@pytest.mark.parametrize("gaps", [False, True])
def test_frequency_is_found_in_shuffled_rows_with_gaps(freq, gaps):
    frame = daily(np.arange(60.0), freq=freq)
    kept = frame.drop(index=[7, 8, 20, 33]) if gaps else frame
    prepared, _ = read(kept.sample(frac=1, random_state=0))
    assert prepared.panel.grid.freq == freq
    assert prepared.panel.lengths.tolist() == [60]
    assert prepared.panel.observed.sum() == len(kept)
    labels = prepared.panel.grid.labels(prepared.panel.step_of_rows())
    np.testing.assert_array_equal(labels, frame["ds"].to_numpy().astype("datetime64[ns]"))


@pytest.mark.parametrize(("old", "new"), [("M", "ME"), ("H", "h"), ("Q", "QE-DEC"), ("T", "min"), ("A-JUN", "YE-JUN")])
def test_old_aliases_are_understood(old, new):
    assert normalise_freq(old) == new


@pytest.mark.parametrize("freq", ["W-THU", "ME", "QS-OCT", "B", "15min", "YE-JUN", "2W-MON", "bh"])
def test_steps_and_stamps_are_inverse(freq):
    grid = TimeGrid(normalise_freq(freq), str(pd.date_range("2019-01-01 10:00", periods=1, freq=freq)[0]))
    steps = np.arange(-20, 40)
    np.testing.assert_array_equal(grid.steps_of(grid.stamps(steps)), steps)


def test_gaps_are_filled_and_marked():
    frame = daily([1.0, np.nan, 3.0, 4.0]).drop(index=2)
    prepared, notes = read(frame, least=1, freq="D")
    assert prepared.panel.y.tolist() == [1, 1, 1, 4]
    assert prepared.panel.observed.tolist() == [True, False, False, True]
    assert notes["Missing target imputation"].status == "done"
    prepared, _ = read(frame, least=1, freq="D", fill_target="constant", fill_value=-1.0)
    assert prepared.panel.y.tolist() == [1, -1, -1, 4]


def test_leading_missing_values_take_the_first_one():
    prepared, _ = read(daily([np.nan, np.nan, 5.0, 6.0, 7.0, 8.0]))
    assert prepared.panel.y[:3].tolist() == [5, 5, 5]
    assert prepared.panel.observed[:2].tolist() == [False, False]


def test_long_series_begin_with_their_first_target():
    prepared, notes = read(daily([np.nan, np.nan, *range(30), np.nan, 31]))
    assert prepared.panel.y[:2].tolist() == [0, 1]
    assert prepared.panel.observed.sum() == prepared.panel.n_rows - 1
    assert "Missing target imputation" in notes


def test_stray_rows_are_dropped_when_few_and_an_error_when_many():
    frame = daily(np.arange(40.0))
    stray = pd.concat([frame, frame.iloc[[3]].assign(ds=pd.Timestamp("2020-01-04 07:30"))])
    prepared, notes = read(stray, freq="D")
    assert prepared.panel.lengths.tolist() == [40]
    assert "2020-01-04 07:30" in notes["Frequency detection"].message
    many = pd.concat([frame, frame.iloc[:9].assign(ds=frame["ds"].iloc[:9] + pd.Timedelta("7h"))])
    with pytest.raises(DataError, match=r"only 82% of the rows lie on freq='D'.*aggregate"):
        read(many, freq="D")


def test_jitter_gives_a_readable_message():
    rng = np.random.default_rng(0)
    frame = daily(np.arange(50.0), freq="20min")
    frame["ds"] = frame["ds"] + pd.to_timedelta(rng.integers(0, 200, 50), unit="s")
    with pytest.raises(DataError, match=r"no common frequency: steps between rows are 1\d min .*aggregate"):
        read(frame)


def test_aggregation_by_period():
    frame = pd.DataFrame(
        {
            "unique_id": "a",
            "ds": pd.date_range("2020-01-01", periods=48 * 4, freq="30min"),
            "y": 1.0,
            "price": np.tile(np.arange(48.0), 4),
            "kind": np.tile(["u", "v", "v"], 64),
        }
    )
    covariates = Covariates(known=["price", "kind"])
    prepared, notes = read(frame, least=1, freq="D", aggregate="sum", covariates=covariates)
    assert prepared.panel.y.tolist() == [48, 48, 48, 48]
    assert prepared.panel.known.names == ("price_sum", "price_mean", "price_min", "price_max", "kind")
    assert prepared.panel.known.values[0].tolist() == [1128, 23.5, 0, 47, 1]
    assert notes["Time series aggregation"].status == "done"
    again = prepare_history(frame.iloc[:48], prepared.schema, prepared.panel.grid)
    np.testing.assert_array_equal(again.known.values, prepared.panel.known.values[:1])


def test_weekly_aggregation_keeps_the_anchor():
    frame = daily(np.ones(28), start="2020-01-02")  # a Thursday
    prepared, _ = read(frame, least=1, freq="W-THU", aggregate="sum")
    assert prepared.panel.grid.labels(np.array([0]))[0] == np.datetime64("2020-01-02")
    assert prepared.panel.y.tolist() == [7, 7, 7, 7]


def test_a_frequency_finer_than_the_data_is_an_error():
    with pytest.raises(DataError, match="finer than the data: rows are at least 24 steps apart"):
        read(daily(np.arange(20.0)), freq="h")


def test_short_series_are_dropped_padded_or_kept():
    frame = pd.concat([daily(np.arange(20.0)), daily([1.0, 2.0, 3.0], name="b")])
    prepared, notes = read(frame, least=8)
    assert prepared.dropped == {("b",): "short: 3 rows, 8 are needed"}
    assert notes["Short series handling"].status == "done"
    padded, _ = read(frame, least=8, short_series="pad")
    assert padded.panel.lengths.tolist() == [20, 8]
    assert padded.panel.observed[20:25].tolist() == [False] * 5
    np.testing.assert_array_equal(padded.panel.y[25:], [1, 2, 3])
    same, _ = read(frame, least=8, short_series="pad")
    np.testing.assert_array_equal(same.panel.y, padded.panel.y)
    kept, notes = read(frame, least=8, short_series=None)
    assert kept.panel.lengths.tolist() == [20, 3]
    assert notes["Short series handling"].status == "alerted"
    only, _ = read(daily([1.0, 2.0]), least=8, freq="D")
    assert only.panel.lengths.tolist() == [8]
    with pytest.raises(DataError, match="leaves nothing"):
        read(daily([1.0, 2.0]), least=8, freq="D", short_series="drop")


def test_covariates_become_numbers_codes_and_days():
    frame = daily(np.arange(10.0)).assign(
        promo=[True, False] * 5,
        kind=pd.Categorical(["x", "y", None, "x", "y"] * 2),
        launch=pd.Timestamp("1970-01-11"),
        shelf=3,
    )
    covariates = Covariates(known=["promo", "kind", "launch"], static=["shelf"])
    prepared, notes = read(frame, covariates=covariates)
    assert prepared.panel.known.values[:3].tolist() == [[1, 0, 10], [0, 1, 10], [1, -1, 10]]
    assert prepared.panel.known.categories("kind") == ("x", "y")
    assert prepared.panel.static.values.tolist() == [[3]]
    assert "kind (2 rows, a category of their own)" in notes["Missing feature values imputation"].message
    later = daily([1.0, 2.0], start="2020-01-11").assign(promo=False, kind="new", launch=pd.Timestamp("1970-01-11"))
    future = future_block(later, prepared.schema, prepared.panel, 2)
    assert future.known.values.tolist() == [[0, -1, 10], [0, -1, 10]]
    with pytest.raises(DataError, match="static covariate 'shelf' changes in 1 series, first: a"):
        read(frame.assign(shelf=np.arange(10)), covariates=covariates)


def test_undeclared_columns_are_named():
    _, notes = read(daily(np.arange(10.0)).assign(revenue=1.0))
    assert "revenue" in notes["Undeclared columns"].message


def test_the_users_frame_is_never_changed():
    frame = monthly(extra=True).sample(frac=1, random_state=3)
    copy = frame.copy(deep=True)
    read(frame, covariates=Covariates(known=["price"]))
    pd.testing.assert_frame_equal(frame, copy)


def test_other_libraries_frames_are_accepted():
    import pyarrow as pa

    frame = monthly()
    want, _ = read(frame)
    got, _ = read(pa.Table.from_pandas(frame))
    np.testing.assert_array_equal(got.panel.y, want.panel.y)
    assert len(to_pandas(frame.set_index(["unique_id", "ds"])).columns) == 3


def test_polars_frames_keep_zones_gaps_and_categories():
    polars = pytest.importorskip("polars")
    frame = monthly()
    frame["ds"] = frame["ds"].dt.tz_localize("Europe/Paris")
    frame["kind"] = pd.Categorical(np.where(np.arange(len(frame)) % 3, "a", "b"))
    frame.loc[7, "y"] = np.nan
    settings = {"covariates": Covariates(known="kind")}
    want, _ = read(frame, **settings)
    got, _ = read(polars.from_pandas(frame), **settings)
    np.testing.assert_array_equal(got.panel.y, want.panel.y)
    np.testing.assert_array_equal(got.panel.observed, want.panel.observed)
    np.testing.assert_array_equal(got.panel.known.values, want.panel.known.values)
    assert (got.schema.time_zone, got.schema.time_wall) == ("Europe/Paris", True)


def test_names_of_other_libraries_are_recognised():
    frame = monthly().rename(columns={"unique_id": "item_id", "ds": "timestamp", "y": "target"})
    prepared, _ = read(frame)
    assert prepared.schema.columns.time == "timestamp"
    with pytest.raises(DataError, match=r"time column is not named.*Columns found: a, b"):
        read(pd.DataFrame({"a": [1], "b": [2]}))
    with pytest.raises(DataError, match="did you mean 'ds'"):
        read(monthly(), columns=Columns(id="unique_id", time="dss", target="y"))


def test_bad_weights_roles_and_times_are_named():
    frame = daily(np.arange(10.0)).assign(w=[1.0] * 9 + [-1.0])
    with pytest.raises(DataError, match=r"weight column 'w' has 1 negative or missing values, first in row 9"):
        read(frame, weight="w")
    with pytest.raises(DataError, match="covariate 'y' is the target column"):
        read(frame, covariates=Covariates(known=["y"]))
    with pytest.raises(ConfigError, match="must be different columns"):
        Columns(id="a", time="a", target="y")
    with pytest.raises(ConfigError, match="named twice: p"):
        Covariates(known=["p"], past=["p"])
    with pytest.raises(DataError, match="3 missing values, first in row 2"):
        read(frame.assign(ds=frame["ds"].where(~frame.index.isin([2, 4, 5]))))
    mixed = frame.assign(ds=["2020-01-01T00:00:00+01:00", *["2020-01-02T00:00:00-05:00"] * 9])
    with pytest.raises(DataError, match="time zone"):
        read(mixed)
    doubled = pd.concat([frame, frame]).assign(shop=[1] * 10 + [2] * 10)
    with pytest.raises(DataError, match=r"10 rows repeat.*Columns\(id=\[..., 'shop'\]\)"):
        read(doubled)


def test_missing_id_columns_are_found_where_text_tells_series_apart():
    frame = pd.concat([daily(np.arange(10.0)).assign(shop=s, item=i) for s in ("north", "south") for i in ("x", "y")])
    prepared, notes = read(frame)
    assert prepared.schema.columns.id == ("unique_id", "shop", "item")
    assert prepared.panel.n_series == 4
    assert notes["Time series ID detection"].status == "done"
    out = history_frame(prepared.panel, prepared.schema)
    assert out.columns.tolist() == ["unique_id", "shop", "item", "ds", "y"]
    copied = pd.concat([frame, frame.iloc[[3]]])
    with pytest.raises(DataError, match="1 rows repeat"):
        read(copied)


def test_hourly_time_zone_survives_clock_change():
    stamps = pd.date_range("2021-10-30", periods=72, freq="h", tz="Europe/Berlin")
    frame = pd.DataFrame({"unique_id": "a", "ds": stamps, "y": np.arange(72.0)})
    prepared, _ = read(frame)
    assert prepared.panel.lengths.tolist() == [72]
    back = history_frame(prepared.panel, prepared.schema)
    assert (back["ds"].to_numpy() == stamps.to_numpy()).all()
    assert back["ds"].dtype == frame["ds"].dtype


def test_forecast_frame_names_quantiles_and_levels():
    prepared, _ = read(daily(np.arange(10.0)))
    values = np.array([[[5.0, 1.0, 5.0, 9.0]]])
    out = forecast_frame(
        Forecast(values, (0.1, 0.5, 0.9)),
        prepared.panel,
        prepared.schema,
        quantiles=(0.5,),
        level=(80,),
        dropped={("z",): "short"},
    )
    assert out.columns.tolist() == ["unique_id", "ds", "yhat", "yhat-q-0.5", "yhat-lo-80", "yhat-hi-80"]
    assert out.iloc[0, 2:].tolist() == [5, 5, 1, 9]
    assert out["unique_id"].tolist() == ["a", "z"]
    assert np.isnan(out["yhat"].iloc[1])
    assert out["ds"].iloc[0] == pd.Timestamp("2020-01-11")


def test_schema_round_trips():
    import json

    prepared, _ = read(monthly(extra=True), covariates=Covariates(known=["price"]))
    assert Schema.from_json(json.loads(json.dumps(prepared.schema.to_json()))) == prepared.schema


REAL = {
    "azureml/oj-sales-train.csv": (Columns(id=("Store", "Brand"), time="WeekStarting", target="Quantity"), "W-THU", 9),
    "azureml/nyc_energy.csv": (Columns(id=(), time="timeStamp", target="demand"), "h", 1),
    "azureml/bike-no.csv": (Columns(id=(), time="date", target="cnt"), "D", 1),
    "azureml/S4248SM144SCEN.csv": (Columns(id=(), time="observation_date", target="S4248SM144SCEN"), "MS", 1),
    "favorita_transactions_daily.parquet": (Columns(), "D", 54),
    "dominicks_oj_weekly.parquet": (Columns(), "W-THU", 913),
    "australian_tourism_quarterly.parquet": (Columns(), "QS-JAN", 304),
    "tourism_monthly.parquet": (Columns(), "step", 366),
}


@real
@pytest.mark.parametrize("file", REAL)
def test_real_files_are_read(file):
    columns, freq, n = REAL[file]
    frame = pd.read_csv(DATA / file) if file.endswith("csv") else pd.read_parquet(DATA / file)
    prepared, _ = read(frame, columns=columns)
    assert prepared.panel.grid.freq == freq
    assert prepared.panel.n_series == n
    # nothing is lost: every given target value stands in the panel
    target = prepared.schema.columns.target
    assert prepared.panel.y[prepared.panel.observed].sum() == pytest.approx(frame[target].sum())
    assert prepared.panel.observed.sum() == frame[target].notna().sum()
