"""Charts show what they are given: the right points in the right panels, whatever the size, the names and the gaps."""

import re

import numpy as np
import pandas as pd
import pytest

from automl.errors import DataError
from forecasting.charts.agreement import AgreementChart
from forecasting.charts.folds import folds_of
from forecasting.charts.gallery import Charts
from forecasting.charts.page import tick_texts
from forecasting.charts.residuals import ResidualChart
from forecasting.forecaster import Forecaster
from tests.forecasting.frames import monthly, quick

NAMES = {"ids": ("unique_id",), "time": "ds", "target": "y"}


def frames(ids=("a", "b"), origins=2, horizon=3, rows=40):
    """Predictions from `origins` origins, a horizon apart, and the history of all."""
    parts, past = [], []
    for k, name in enumerate(ids):
        t = pd.date_range("2024-01-01", periods=rows, freq="D")
        y = np.arange(rows, dtype=float) + 100 * k
        past.append(pd.DataFrame({"unique_id": name, "ds": t, "y": y}))
        for o in range(origins):
            cut = rows - 1 - horizon * (o + 1)
            ahead = slice(cut + 1, cut + 1 + horizon)
            band = {"yhat": y[ahead] + 1, "yhat-q-0.1": y[ahead] - 5, "yhat-q-0.9": y[ahead] + 5}
            parts.append(pd.DataFrame({"unique_id": name, "ds": t[ahead], "cutoff": t[cut], "y": y[ahead], **band}))
    return pd.concat(parts, ignore_index=True), pd.concat(past, ignore_index=True)


def test_a_fold_holds_a_little_before_and_more_after_its_origin():
    predictions, history = frames(horizon=90, origins=1, rows=150)
    fold = folds_of(predictions, history, **NAMES).by_series[1][0]
    assert (fold.series, str(fold.origin)[:10]) == ("b", "2024-02-29")
    assert fold.past_y.tolist() == list(np.arange(40.0, 60.0) + 100)
    assert (len(fold.yhat), fold.yhat[0], fold.y[0]) == (80, 161.0, 160.0)
    x, yhat, low, high = fold.fan()
    assert (yhat[0], low[0], high[0]) == (159.0, 159.0, 159.0), "the fan opens at the last actual value"
    assert x[0] == fold.origin
    unknown = folds_of(predictions, history[history["ds"] < "2024-02-20"], **NAMES).by_series[0][0]
    assert len(unknown.fan()[1]) == 80, "with no actual value at the origin it starts after it"


def test_newest_origins_and_first_series_are_shown_and_the_rest_counted():
    predictions, history = frames(ids=tuple("abcdefghijklmnopqrstuvwxy"), origins=7)
    folds = folds_of(predictions, history, **NAMES)
    assert (len(folds.by_series), folds.widest, folds.label) == (20, 5, "quantiles 0.1 to 0.9")
    assert folds.note == "20 of 25 series, the newest 5 of 7 origins"
    shown = [f.origin for f in folds.by_series[0]]
    assert shown == sorted(predictions["cutoff"].unique())[-5:]


def test_a_missing_actual_value_is_a_gap_and_zoned_or_whole_times_work():
    predictions, history = frames(ids=("a",), origins=1)
    predictions.loc[1, "y"] = np.nan
    history.loc[36, "y"] = np.nan
    fold = folds_of(predictions, history.head(37), **NAMES).by_series[0][0]
    assert np.isnan(fold.y[1])
    assert np.isnan(fold.past_y[-1])
    for change in (lambda t: t.dt.tz_localize("Europe/Berlin"), lambda t: (t - pd.Timestamp("2024-01-01")).dt.days):
        p, h = (f.assign(**{c: change(f[c]) for c in f if c in {"ds", "cutoff"}}) for f in (predictions, history))
        charts = Charts.of(p, h, **NAMES)
        assert len(charts.horizon.figure().data) == 4
        charts.horizon.picture()


def test_the_page_has_a_list_of_series_and_lines_at_their_origins():
    chart = Charts.of(*frames(), **NAMES).horizon
    figure = chart.figure()
    assert [t.visible for t in figure.data] == [True] * 8 + [False] * 8
    first, second = figure.layout.updatemenus[0].buttons
    assert (first.label, second.label) == ("a", "b")
    assert list(second.args[0]["visible"]) == [False] * 8 + [True] * 8
    assert [shape["x0"][:10] for shape in second.args[1]["shapes"]] == ["2024-02-03", "2024-02-06"]
    named = {t.name: t for t in figure.data[4:8]}
    assert list(named["forecast"].y) == [36.0, 38.0, 39.0, 40.0]
    assert list(named["actual"].y) == list(np.arange(17.0, 40.0))
    assert list(named["quantiles 0.1 to 0.9"].y) == [36.0, 32.0, 33.0, 34.0]


def test_pictures_draw_a_panel_a_series_and_origin():
    figure = Charts.of(*frames(), **NAMES).horizon.picture()
    panels = [axis for axis in figure.axes if axis.lines]
    assert [axis.get_title(loc="left") for axis in panels] == [f"{s}, from 2024-02-0{d}" for s in "ab" for d in (3, 6)]
    forecast = next(line for line in panels[1].lines if line.get_label() == "forecast")
    assert list(forecast.get_ydata()) == [36.0, 38.0, 39.0, 40.0]


def test_residuals_are_forecast_minus_actual_and_far_ones_are_counted():
    y = np.zeros(1000)
    f = np.linspace(-1, 3, 1000)
    chart = ResidualChart.of(y, f)
    assert chart.mean == pytest.approx(1)
    assert (chart.edges[0], chart.edges[-1], chart.counts.sum(), chart.outside) == (-1, 3, 1000, 0)
    f[:3] = 1e9
    far = ResidualChart.of(y, f)
    assert far.outside >= 3
    assert far.outside + far.counts.sum() == 1000
    assert f"({far.outside} of 1000 beyond the axis)" in far.title
    assert far.edges[-1] < 4
    same = ResidualChart.of(np.array([1.0, np.nan, 2.0]), np.array([1.0, 5.0, 2.0]))
    assert same.counts.sum() == 2
    with pytest.raises(DataError, match="no forecast has an actual value"):
        ResidualChart.of(np.array([np.nan]), np.array([1.0]))


def test_predicted_against_true_gives_mean_and_spread_of_each_bin():
    y = np.repeat([0.0, 10.0], 50)
    f = np.concatenate([np.tile([1.0, 3.0], 25), np.full(50, 9.0)])
    chart = AgreementChart.of(y, f)
    assert (chart.x.tolist(), chart.mean.tolist(), chart.spread.tolist()) == ([0, 10], [2, 9], [1, 0])
    assert (chart.counts.sum(), chart.counts[0], chart.counts[-1], chart.logarithmic) == (100, 50, 50, False)
    wide = AgreementChart.of(np.geomspace(1, 1e9, 300), np.geomspace(2, 2e9, 300))
    assert wide.logarithmic
    np.testing.assert_allclose(wide.mean / wide.x, 2)
    assert AgreementChart.of(np.full(4, 7.0), np.arange(4.0)).mean.tolist() == [1.5]


def test_all_charts_are_written_and_ask_for_nothing_outside(tmp_path):
    nasty = "</script><script>alert(1)</script>"
    written = Charts.of(*frames(ids=(nasty, "$5 a $piece" * 9)), **NAMES).write(tmp_path / "deep")
    assert [p.name for p in written] == ["charts.html", "horizon.png", "residuals.png", "predicted_vs_true.png"]
    page = written[0].read_text()
    assert not re.search(r"<(script|link|img)[^>]+(src|href)\s*=", page)
    assert "<script>alert" not in page
    assert page.count("Plotly.newPlot(") >= 3
    assert len(page) < 8e6, "plotly.js lies inside once"
    for path in written[1:]:
        assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("suffix", "magic"), [(".html", b"<!DOCTYPE"), (".pdf", b"%PDF"), (".svg", b"<?xml")])
def test_one_chart_is_written_as_its_suffix_says(tmp_path, suffix, magic):
    chart = ResidualChart.of(np.zeros(9), np.arange(9.0))
    assert chart.save(tmp_path / f"c{suffix}").read_bytes().startswith(magic)
    with pytest.raises(DataError, match=r"\.html, \.png, \.pdf, \.svg"):
        chart.save(tmp_path / "c.gif")


def test_charts_without_actual_values_are_the_horizon_alone():
    predictions, history = frames()
    charts = Charts.of(predictions.assign(y=np.nan), history, **NAMES)
    assert [name for name, _ in charts] == ["horizon"]
    with pytest.raises(DataError, match="no column 'cutoff'"):
        Charts.of(predictions.drop(columns="cutoff"), history, **NAMES)
    with pytest.raises(DataError, match="no row"):
        Charts.of(predictions.head(0), history, **NAMES)


@pytest.mark.parametrize(
    "ticks", [[0, 1, 2], [0.0018, 0.0019], [1e9, 1.5e9], [1e12, 1e12 + 1], [-5e5, 0, 5e5], [2.5, 5]]
)
def test_ticks_are_told_apart(ticks):
    assert len(set(tick_texts(ticks))) == len(ticks)


def test_a_fitted_model_and_its_evaluation_give_charts(tmp_path):
    frame = monthly(2, rows=48)
    train, test = frame.groupby("unique_id").head(40), frame.groupby("unique_id").tail(8)
    model = Forecaster(4, settings=quick(1, allowed=["SeasonalNaive"])).fit(train)
    result = model.evaluate(test)
    fold = result.charts().horizon.folds.by_series[1]
    assert [len(f.past_y) for f in fold] == [20, 20]
    np.testing.assert_allclose(np.concatenate([f.y for f in fold]), test[test["unique_id"] == "s1"]["y"])
    assert fold[1].past_y[-1] == test[test["unique_id"] == "s1"]["y"].iloc[3], "test rows are history of later origins"
    assert model.charts(model.backtest(windows=2)).horizon.folds.widest == 2
    assert model.charts(model.rolling_forecast(test, step=2)).horizon.folds.widest == 3
    assert [n for n, _ in model.backtest_report(windows=2).charts()] == ["horizon", "residuals", "predicted_vs_true"]
