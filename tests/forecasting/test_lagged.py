"""`forecasting.pivot`: lagged features of all rows, against pandas and against the models' own design matrix."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from automl.errors import ConfigError, DataError
from forecasting import Columns, DataSettings, Panel, TimeGrid, pivot
from forecasting.features.plan import FeaturePlan
from forecasting.features.settings import PlanSettings
from forecasting.learners.base import FitContext

LENGTHS = (1, 2, 3, 7, 8, 30, 200, 61)
LAGS, WINDOWS, STATISTICS = (1, 2, 7), (1, 2, 3, 7, 28), ("mean", "min", "max", "std", "sum")


def series_of(seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=n).cumsum() * 10.0 ** rng.integers(-3, 6) for n in LENGTHS]


def panel_of(series: list[np.ndarray]) -> Panel:
    return Panel.from_arrays(series, TimeGrid("D", "2020-01-01"), start=[0, 5, 3, 1, 2, 0, 9, 4])


@pytest.mark.parametrize("ahead", [1, 3, 40])
def test_columns_are_those_of_pandas(ahead):
    series = series_of()
    table = pivot(
        panel_of(series), lags=LAGS, windows=WINDOWS, statistics=STATISTICS, calendar=["wday", "month"], ahead=ahead
    )
    for i, rows in table.to_frame().groupby("series"):
        seen = pd.Series(series[i]).shift(ahead)
        for k in LAGS:
            np.testing.assert_allclose(rows[f"lag{k}"], seen.shift(k - 1), rtol=1e-6)
        for width in WINDOWS:
            rolled = seen.rolling(width)
            theirs = {s: rolled.std(ddof=0) if s == "std" else getattr(rolled, s)() for s in STATISTICS}
            for s, values in theirs.items():
                np.testing.assert_allclose(
                    rows[f"{s}_window{width}"], values, rtol=1e-4, atol=1e-6 * np.abs(series[i]).max()
                )
        assert rows["wday"].tolist() == pd.DatetimeIndex(rows["time"]).day_of_week.tolist()


def test_columns_are_those_of_the_design_matrix():
    panel = panel_of(series_of())
    settings = PlanSettings(
        strategy="recursive", lags="1,2,7", windows="2,7,28", transform="none", base="none", further_seasons=False,
        series_code=False,
    )  # fmt: skip
    plan = FeaturePlan.fit(panel, settings, FitContext(horizon=1, season=1))
    scaled = plan.scale(panel)
    scaled = replace(scaled, scale=np.ones_like(scaled.scale))
    rows, of = plan.training_rows(scaled, 0)
    design = plan.design(scaled, rows, of).x
    table = pivot(panel, lags=LAGS, windows=(2, 7, 28), statistics=("mean", "min", "max", "std"))
    for name in table.names:
        ours = table.x[rows.target, table.names.index(name)]
        np.testing.assert_allclose(ours, design[:, plan.feature_names.index(name)], rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("ahead", [1, 5])
def test_no_row_reads_what_its_origin_does_not_know(ahead):
    series = series_of()
    x = pivot(panel_of(series), lags=LAGS, windows=WINDOWS, statistics=STATISTICS, ahead=ahead).x
    at = 100
    series[6][at:] = 1e30
    shocked = pivot(panel_of(series), lags=LAGS, windows=WINDOWS, statistics=STATISTICS, ahead=ahead).x
    begin = sum(LENGTHS[:6])
    np.testing.assert_array_equal(shocked[: begin + at + ahead], x[: begin + at + ahead])
    np.testing.assert_array_equal(shocked[begin + 200 :], x[begin + 200 :])
    assert (shocked[begin + at + ahead, 0] != x[begin + at + ahead, 0]).all()


def test_nothing_that_left_a_window_lingers():
    values = np.ones(200)
    values[50] = 1e30
    table = pivot(Panel.from_arrays([values], TimeGrid.steps()), windows=[7], statistics=STATISTICS)
    after = dict(zip(table.names, table.x[60], strict=True))
    assert after == {"mean_window7": 1, "min_window7": 1, "max_window7": 1, "std_window7": 0, "sum_window7": 7}


def test_a_frame_in_any_order_keeps_its_names_and_its_gaps():
    days = pd.date_range("2024-01-01", periods=20)
    frame = pd.DataFrame({"shop": np.repeat(["b", "a"], 20), "day": [*days, *days], "sales": np.arange(40.0)})
    shuffled = frame.drop(index=[7]).sample(frac=1, random_state=0)
    settings = DataSettings(columns=Columns(id="shop", time="day", target="sales"))
    found = pivot(shuffled, lags=[1], calendar=["wday"], settings=settings, threads=3).to_frame()
    assert found.columns.tolist() == ["shop", "day", "sales", "lag1", "wday"]
    assert found["shop"].tolist() == ["a"] * 20 + ["b"] * 20
    assert found["lag1"][:20].tolist()[1:] == list(range(20, 39))
    assert np.isnan(found["sales"][27]), "a gap is a row without a target"
    assert found["lag1"][28] == 6, "and its value is filled for the rows after it"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"lags": [0]}, "lags must be whole numbers from 1 on"),
        ({"windows": [2.5]}, "windows must be"),
        ({"ahead": 0}, "ahead must be"),
        ({"windows": [2], "statistics": ["median"]}, "unknown statistic 'median'"),
        ({"calendar": ["weekday"]}, "did you mean 'wday'|unknown calendar feature"),
        ({"lags": [1, 1]}, "asked for twice: lag1"),
    ],
)
def test_what_cannot_be_is_named(wrong, words):
    with pytest.raises(ConfigError, match=words):
        pivot(panel_of(series_of()), **wrong)


def test_values_and_times_that_features_cannot_hold_are_named():
    with pytest.raises(DataError, match=r"beyond 3\.4e38"):
        pivot(Panel.from_arrays([np.array([1.0, -1e39])], TimeGrid.steps()), lags=[1])
    with pytest.raises(ConfigError, match="calendar features need dates"):
        pivot(Panel.from_arrays([np.ones(3)], TimeGrid.steps()), calendar=["month"])
