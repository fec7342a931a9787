"""Charts of history, forecast and interval, a panel a series: HTML that works offline, and PNG or PDF."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from automl.errors import DataError
from automl.pages import CHART
from forecasting.charts.page import ACTUAL, BAND, FORECAST, PICTURES, blank, picture_bytes, plain, write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pandas import DataFrame, Series

_QUANTILE = re.compile(r"yhat-q-(\d*\.\d+)")
_BOUND = re.compile(r"yhat-(lo|hi)-(\d+(?:\.\d+)?)")


@dataclass(frozen=True, slots=True)
class _Chart:
    """One series: its recent history, its forecast and the interval's columns."""

    name: str
    stamps: Series
    y: Series
    ahead: Series
    yhat: Series
    low: Series | None
    high: Series | None


def forecast_html(
    history: DataFrame,
    forecast: DataFrame,
    path: str | Path,
    *,
    ids: Sequence[str] = ("unique_id",),
    time: str = "ds",
    target: str = "y",
    title: str = "Forecast",
    max_series: int = 30,
    history_steps: int | None = None,
) -> Path:
    """Write one HTML file with an interactive chart a series; plotly.js lies inside, so no network is needed.

    Parameters
    ----------
    history : long frame with the id, time and target columns.
    forecast : long frame with the id and time columns and `yhat`; the widest pair of `yhat-q-*` or
        `yhat-lo-* / yhat-hi-*` columns becomes the interval.
    path : the file to write; folders above it are made.
    max_series : how many series are drawn, in the order of the forecast.
    history_steps : rows of history drawn; None = ten horizons, at least 120 rows.

    Raises
    ------
    DataError : a column is missing, or the forecast is empty.
    """
    charts, label = _charts(
        history, forecast, ids=tuple(ids), time=time, target=target, max_series=max_series, history_steps=history_steps
    )
    from plotly.graph_objects import Scatter
    from plotly.subplots import make_subplots

    rows = len(charts)
    titles = [html.escape(chart.name, quote=False) for chart in charts]
    figure = make_subplots(rows=rows, cols=1, subplot_titles=titles, vertical_spacing=min(0.3, 0.25 / rows))
    for row, chart in enumerate(charts, start=1):
        traces: list[dict[str, Any]] = []
        if chart.low is not None:
            edge: dict[str, Any] = {"x": chart.ahead, "legendgroup": "interval", "line": {"width": 0}}
            traces += [
                {"y": chart.high, "showlegend": False, "hoverinfo": "skip", **edge},
                {"y": chart.low, "fill": "tonexty", "fillcolor": BAND, "name": label, "hoverinfo": "skip", **edge},
            ]
        traces += [
            {
                "x": chart.stamps,
                "y": chart.y,
                "name": html.escape(target, quote=False),
                "line": {"color": ACTUAL, "width": 1.2},
            },
            {"x": chart.ahead, "y": chart.yhat, "name": "forecast", "line": {"color": FORECAST, "width": 2}},
        ]
        for trace in traces:
            trace.setdefault("legendgroup", trace.get("name"))
            trace.setdefault("showlegend", row == 1)
            figure.add_trace(Scatter(mode="lines", **trace), row=row, col=1)
    figure.update_layout(
        title=html.escape(title, quote=False),
        template="plotly_white",
        height=140 + 260 * rows,
        hovermode="x unified",
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 1.0, "xanchor": "right"},
    )
    return write(path, figure.to_html(include_plotlyjs=True, full_html=True, config=CHART).encode())


def forecast_image(
    history: DataFrame,
    forecast: DataFrame,
    path: str | Path,
    *,
    ids: Sequence[str] = ("unique_id",),
    time: str = "ds",
    target: str = "y",
    title: str = "Forecast",
    max_series: int = 12,
    history_steps: int | None = None,
) -> Path:
    """Write the charts of `forecast_html` as one picture; the suffix of `path` says which kind (.png, .pdf, .svg).

    Raises
    ------
    DataError : a column is missing, the forecast is empty, or the suffix names no kind of picture.
    """
    path = Path(path)
    if path.suffix.lower() not in PICTURES:
        raise DataError(f"a picture is written as .png, .pdf or .svg, got {path.name!r}.")
    charts, label = _charts(
        history, forecast, ids=tuple(ids), time=time, target=target, max_series=max_series, history_steps=history_steps
    )
    figure = blank(10, 0.6 + 2.4 * len(charts), title)
    for axis, chart in zip(figure.subplots(len(charts), squeeze=False)[:, 0], charts, strict=True):
        if chart.low is not None and chart.high is not None:
            axis.fill_between(chart.ahead, chart.low, chart.high, color=FORECAST, alpha=0.18, linewidth=0, label=label)
        axis.plot(chart.stamps, chart.y, color=ACTUAL, linewidth=1, label=plain(target))
        axis.plot(chart.ahead, chart.yhat, color=FORECAST, linewidth=1.6, label="forecast")
        axis.set_title(plain(chart.name), fontsize=10, loc="left")
        axis.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(frameon=False, ncols=3, fontsize=9)
    return write(path, picture_bytes(figure, path.suffix))


def interval_columns(forecast: DataFrame) -> tuple[str, str, str] | None:
    """Find the widest interval of a forecast frame: lower column, upper column, a label; None when there is none.

    Examples
    --------
    >>> interval_columns(pd.DataFrame(columns=["yhat", "yhat-q-0.05", "yhat-q-0.5", "yhat-q-0.9"]))
    ('yhat-q-0.05', 'yhat-q-0.9', 'quantiles 0.05 to 0.9')
    >>> interval_columns(pd.DataFrame(columns=["yhat", "yhat-lo-80", "yhat-hi-80"]))
    ('yhat-lo-80', 'yhat-hi-80', '80 % interval')
    """
    names = [str(c) for c in forecast.columns]
    quantiles = sorted((float(m[1]), m[0]) for c in names if (m := _QUANTILE.fullmatch(c)))
    if quantiles and quantiles[0][0] < 0.5 < quantiles[-1][0]:
        (low, low_column), (high, high_column) = quantiles[0], quantiles[-1]
        return low_column, high_column, f"quantiles {low:g} to {high:g}"
    levels = [(float(m[2]), m[2]) for c in names if (m := _BOUND.fullmatch(c)) and m[1] == "lo"]
    levels = [(value, text) for value, text in levels if f"yhat-hi-{text}" in names]
    if not levels:
        return None
    text = max(levels)[1]
    return f"yhat-lo-{text}", f"yhat-hi-{text}", f"{text} % interval"


def _charts(
    history: DataFrame,
    forecast: DataFrame,
    *,
    ids: tuple[str, ...],
    time: str,
    target: str,
    max_series: int,
    history_steps: int | None,
) -> tuple[list[_Chart], str]:
    _check("history", history, (*ids, time, target))
    _check("forecast", forecast, (*ids, time, "yhat"))
    if forecast.empty:
        raise DataError("there is nothing to draw: the forecast has no row.")
    low, high, label = interval_columns(forecast) or (None, None, "")
    keys = list(dict.fromkeys(keys_of(forecast, ids)))[:max_series]
    past = dict(tuple(history.groupby(keys_of(history, ids), sort=False)))
    charts = []
    for key, rows in forecast.groupby(keys_of(forecast, ids), sort=False):
        if key not in keys:
            continue
        part = rows.sort_values(time)
        steps = history_steps if history_steps is not None else max(120, 10 * len(part))
        known = past[key].sort_values(time).tail(steps) if key in past else history.iloc[:0]
        charts.append(
            _Chart(
                name=" / ".join(str(v) for v in part[list(ids)].iloc[0]) if ids else target,
                stamps=known[time],
                y=known[target],
                ahead=part[time],
                yhat=part["yhat"],
                low=part[low] if low else None,
                high=part[high] if high else None,
            )
        )
    return charts, label


def keys_of(frame: DataFrame, ids: tuple[str, ...]) -> Series:
    """One text a row that names its series; texts, so that 1 in a file and 1 in memory are the same series."""
    if not ids:
        return pd.Series("", index=frame.index)
    key = frame[ids[0]].astype(str)
    for name in ids[1:]:
        key = key + "\x1f" + frame[name].astype(str)
    return key


def _check(what: str, frame: DataFrame, columns: tuple[str, ...]) -> None:
    missing = [c for c in columns if c not in frame.columns]
    if missing:
        raise DataError(f"the {what} has no column {', '.join(map(repr, missing))}; it has {list(frame.columns)}.")
