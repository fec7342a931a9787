"""Difficult time stamps: each kind works, or gets an error that names the series, the stamps and the setting to use."""

from dataclasses import dataclass, field

import holidays
import numpy as np
import pandas as pd
import pytest

from automl.errors import DataError
from automl.guardrails import Report
from forecasting import frame as door
from forecasting.config import DataSettings
from forecasting.forecaster import Forecaster
from forecasting.timegrid import TimeGrid
from tests.forecasting.frames import quick

RNG = np.random.default_rng(0)
TICKS = pd.date_range("2024-01-01", periods=240, freq="20min")
MONTH_ENDS = pd.date_range("2020-01-31", periods=40, freq="ME")
DAYS = pd.date_range("2024-01-01", periods=120, freq="D")
CLOSED = holidays.country_holidays("GB", years=[2020, 2021])
WORKDAYS = pd.DatetimeIndex([d for d in pd.bdate_range("2020-01-01", periods=300) if d.date() not in CLOSED])
SPRING = pd.date_range("2024-03-25", periods=300, freq="h", tz="Europe/Berlin")
AUTUMN = pd.date_range("2024-10-20", periods=300, freq="h", tz="Europe/Berlin")
QUARTERS = pd.date_range("2010-03-31", periods=40, freq="QE")


def noise(low, high):
    return pd.to_timedelta(RNG.integers(low, high, len(TICKS)), unit="s")


def rows(stamps, key="a"):
    return pd.DataFrame({"unique_id": key, "ds": stamps, "y": np.arange(len(stamps)) % 7 + 1.0})


@dataclass(frozen=True)
class Case:
    """Stamps, settings, and either (frequency, rows, observed) or what the error must say."""

    stamps: object
    freq: str = ""
    rows: int = 0
    observed: int = 0
    said: tuple = ()
    settings: dict = field(default_factory=dict)


MEAN_20 = {"freq": "20min", "aggregate": "mean"}
TELL_20 = ("series a at 2024-01-01 0", "Nearest frequency: '20min'", "freq='20min' with aggregate='mean'")
TELL_ME = ("series a at 2020-", "freq='ME' with aggregate='sum' (or 'mean')")
CASES = {
    "20 minutes, jitter of seconds": Case(TICKS + noise(-90, 90), said=TELL_20),
    "20 minutes, jitter of minutes": Case(TICKS + noise(0, 300), said=TELL_20),
    "20 minutes, jitter, freq alone": Case(
        TICKS + noise(-90, 90), said=("series a at 2024-01-01", "aggregate='mean'"), settings={"freq": "20min"}
    ),
    "20 minutes, jitter of seconds, put together": Case(TICKS + noise(-90, 90), "20min", 240, 240, settings=MEAN_20),
    "20 minutes, jitter of minutes, put together": Case(TICKS + noise(-240, 240), "20min", 240, 240, settings=MEAN_20),
    "20 minutes, ten minutes late": Case(TICKS + pd.Timedelta("10min"), "20min", 240, 240, settings=MEAN_20),
    "month ends": Case(MONTH_ENDS, "ME", 40, 40),
    "month ends, some missing": Case(MONTH_ENDS.delete([3, 4, 17]), "ME", 40, 37),
    "never the 31st": Case(pd.DatetimeIndex([d.replace(day=min(d.day, 30)) for d in MONTH_ENDS]), said=TELL_ME),
    "28th or month end": Case(
        pd.DatetimeIndex([d.replace(day=28) if k % 3 else d for k, d in enumerate(MONTH_ENDS)]), said=TELL_ME
    ),
    "28th or month end, put together": Case(
        pd.DatetimeIndex([d.replace(day=28) if k % 3 else d for k, d in enumerate(MONTH_ENDS)]),
        "ME", 40, 40, settings={"freq": "ME", "aggregate": "sum"},
    ),
    "15th of the month": Case(
        pd.date_range("2020-01-01", periods=40, freq="MS") + pd.Timedelta(days=14),
        said=("series a at 2020-01-15", "freq='MS' with aggregate='sum'"),
    ),
    "last business day of the month": Case(pd.date_range("2020-01-31", periods=40, freq="BME"), "BME", 40, 40),
    "first business day of the quarter": Case(pd.date_range("2010-01-01", periods=40, freq="BQS"), "BQS-JAN", 40, 40),
    "business days without bank holidays": Case(WORKDAYS, "B", 299, 293),
    "quarter ends": Case(QUARTERS, "QE-DEC", 40, 40),
    "quarter starts, named otherwise": Case(
        pd.date_range("2010-10-01", periods=40, freq="QS-OCT"), "QS-OCT", 40, 40, settings={"freq": "QS-OCT"}
    ),
    "quarter ends of another year": Case(pd.date_range("2010-02-28", periods=40, freq="QE-FEB"), "QE-NOV", 40, 40),
    "quarter ends or the day before": Case(
        QUARTERS - pd.to_timedelta(np.arange(40) % 2, unit="D"), said=("series a at 2010-06-29", "freq='QE' with")
    ),
    "Thursdays": Case(pd.date_range("2010-10-07", periods=80, freq="W-THU").delete([3, 9, 10]), "W-THU", 80, 77),
    "Thursdays called Mondays": Case(
        pd.date_range("2010-10-07", periods=80, freq="W-THU"),
        said=("2010-10-07", "freq='W-THU'"), settings={"freq": "W-MON"},
    ),
    "whole numbers with gaps": Case(np.delete(np.arange(10, 400, 10), [4, 5, 9]), "step", 39, 36),
    "zoned, an hour missing": Case(SPRING, "h", 300, 300),
    "zoned, an hour twice": Case(AUTUMN, "h", 300, 300),
    "local clock, an hour missing": Case(SPRING.tz_localize(None), "h", 301, 300),
    "local clock, an hour twice": Case(
        AUTUMN.tz_localize(None),
        said=("(a), first 2024-10-27 02:00:00", "tz_localize", "aggregate='mean'"),
    ),
    "local clock, an hour twice, put together": Case(
        AUTUMN.tz_localize(None), "h", 299, 299, settings={"freq": "h", "aggregate": "mean"}
    ),
    "text of a zone with two offsets": Case(
        [t.isoformat() for t in SPRING], said=("+02:00 (row 146: '2024-03-31T03:00", "utc=True")
    ),
    "zones mixed": Case(
        pd.Series([t.tz_localize("UTC" if k % 2 else "Asia/Tokyo") for k, t in enumerate(DAYS)], dtype=object),
        said=("Asia/Tokyo (row 0", "UTC (row 1", "utc=True"),
    ),
    "two rows seconds apart in many": Case(DAYS.insert(51, DAYS[50] + pd.Timedelta(seconds=3)), "D", 120, 120),
    "two rows seconds apart in few": Case(
        DAYS[:12].insert(6, DAYS[5] + pd.Timedelta(seconds=3)),
        said=("series a at 2024-01-06 00:00:03", "freq='D' with aggregate='mean'"),
    ),
    "text, day first": Case(DAYS.strftime("%d/%m/%Y"), "D", 120, 120),
    "text, day first, with dots": Case(DAYS.strftime("%d.%m.%Y"), "D", 120, 120),
    "text, twelve days or twelve months": Case(
        DAYS[:12].strftime("%d/%m/%Y"), said=("'02/01/2024' (row 1)", "format=")
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_difficult_stamps_work_or_are_told(name):
    case, report = CASES[name], Report()
    settings = DataSettings(**case.settings)
    if case.said:
        with pytest.raises(DataError) as told:
            door.prepare(rows(case.stamps), settings, min_length=6, report=report)
        assert [part for part in case.said if part not in str(told.value)] == [], str(told.value)
        return
    panel = door.prepare(rows(case.stamps), settings, min_length=6, report=report).panel
    assert (panel.grid.freq, panel.n_rows, int(panel.observed.sum())) == (case.freq, case.rows, case.observed)


@pytest.mark.parametrize(
    ("stamps", "settings", "next_one"),
    [
        (TICKS + noise(-90, 90), MEAN_20, "2024-01-04 08:00"),
        (MONTH_ENDS, {}, "2023-05-31"),
        (WORKDAYS, {}, "2021-02-24"),
        (SPRING, {}, "2024-04-06 13:00+02:00"),
        (AUTUMN, {}, "2024-11-01 11:00+01:00"),
        (QUARTERS, {}, "2020-03-31"),
    ],
    ids=["jitter", "month ends", "business days", "spring", "autumn", "quarters"],
)
def test_forecasts_go_on_where_difficult_stamps_end(stamps, settings, next_one):
    model = Forecaster(3, settings=quick(1, allowed=["SeasonalNaive"]))
    model.settings = type(model.settings)(data=DataSettings(**settings), search=model.settings.search)
    out = model.fit(rows(stamps)).predict()
    assert out["ds"].iloc[0] == pd.Timestamp(next_one)
    assert out["yhat"].notna().all()


def test_rows_around_grid_points_are_read_alike_later():
    stamps = TICKS + noise(-90, 90)
    train, later = rows(stamps[:200]), rows(stamps[200:])
    model = Forecaster(6, freq="20min", settings=quick(1, allowed=["Naive"]))
    data = DataSettings(freq="20min", aggregate="mean")
    model.settings = type(model.settings)(data=data, search=model.settings.search)
    out = model.fit(train).predict(history=later)
    assert out["ds"].iloc[0] == TICKS[-1] + pd.Timedelta("20min")
    assert (out["yhat"] == later["y"].iloc[-1]).all()


def test_a_grid_of_nearest_points_reaches_half_a_step_to_both_sides():
    grid = TimeGrid("20min", "2024-01-01", nearest=True)
    stamps = pd.DatetimeIndex(["2023-12-31 23:51", "2024-01-01 00:09:59", "2024-01-01 00:10:01"])
    assert grid.periods_of(stamps).tolist() == [0, 0, 1]
    assert TimeGrid("20min", "2024-01-01").periods_of(stamps).tolist() == [-1, 0, 0]


@pytest.mark.parametrize(
    ("stamps", "steps"),
    [
        (pd.date_range("2024-01-01", periods=20, freq="W-MON"), 7),
        (pd.date_range("2024-01-01", periods=9, freq="MS"), 31),
    ],
)
def test_another_frequency_in_one_series_is_named(stamps, steps):
    frame = pd.concat([rows(DAYS), rows(stamps, "odd")])
    with pytest.raises(DataError, match=rf"1 of 2 series \(odd\) have a row every {steps} steps of 'D'"):
        door.prepare(frame, DataSettings(), min_length=6, report=Report())
