"""Forecast-horizon chart: actual values before and after each origin, the forecast and its interval."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from forecasting.charts.page import (
    ACTUAL,
    BAND,
    FORECAST,
    GUIDE,
    Chart,
    bare,
    blank,
    laid_out,
    legend_below,
    number_axis,
    plain,
    shortened,
    time_axis,
    wrapped,
)

if TYPE_CHECKING:
    from forecasting.charts.folds import Fold, Folds

_TITLE = "Forecast horizon"
_WIDE, _NARROW, _HIGH = 10.0, 4.2, 2.2
"""Inches of a panel that has a row for itself, of one beside others, and the height of both."""


@dataclass(frozen=True, slots=True)
class HorizonChart(Chart):
    """A panel for each series and origin; in the page one series at a time, chosen from a list.

    Parameters
    ----------
    folds : what is drawn.
    """

    folds: Folds

    @property
    def title(self) -> str:
        """Name, and what was left out."""
        return f"{_TITLE} ({self.folds.note})" if self.folds.note else _TITLE

    def picture(self) -> Any:
        """Still figure: series below each other, their origins side by side; origins below each other for one."""
        series, widest = self.folds.by_series, self.folds.widest
        single = len(series) == 1 or widest == 1
        cells = [fold for folds in series for fold in folds] if single else []
        columns = widest if not single else 2 if len(cells) > 5 else 1
        rows = len(series) if not single else -(-len(cells) // columns)
        width = _WIDE if columns == 1 else columns * max(_NARROW, _WIDE / columns)
        figure = blank(width, 0.7 + _HIGH * rows, self.title)
        axes = figure.subplots(rows, columns, squeeze=False)
        placed = (
            {(k // columns, k % columns): fold for k, fold in enumerate(cells)}
            if single
            else {(r, k): fold for r, folds in enumerate(series) for k, fold in enumerate(folds)}
        )
        for (r, k), axis in np.ndenumerate(axes):
            if (r, k) in placed:
                draw(axis, placed[r, k], self.folds.label, width=100 if columns == 1 else 52)
            else:
                axis.set_axis_off()
        legend_below(figure, axes[0, 0])
        return figure

    def figure(self) -> Any:
        """Interactive figure with a list of the series."""
        from plotly.graph_objects import Scatter
        from plotly.subplots import make_subplots

        series, widest = self.folds.by_series, self.folds.widest
        figure = make_subplots(rows=widest, cols=1, vertical_spacing=min(0.3, 0.25 / widest))
        owner: list[int] = []
        for number, folds in enumerate(series):
            for row, fold in enumerate(folds, start=1):
                for trace in _traces(fold, self.folds.label):
                    trace.setdefault("legendgroup", trace.get("name"))
                    trace.setdefault("showlegend", row == 1)
                    figure.add_trace(Scatter(visible=number == 0, **trace), row=row, col=1)
                    owner.append(number)
        self._mark_origins(figure, 0)
        laid_out(figure, self.title, 160 + 260 * widest)
        figure.update_layout(hovermode="x unified")
        if len(series) > 1:
            buttons = [self._button(figure, owner, number) for number in range(len(series))]
            menu = {"buttons": buttons, "x": 0.0, "xanchor": "left", "y": 1.0, "yanchor": "bottom", "active": 0}
            figure.update_layout(updatemenus=[{**menu, "pad": {"b": 8}}])
        return figure

    def _mark_origins(self, figure: Any, number: int) -> None:
        figure.update_layout(**self._origins(number))

    def _origins(self, number: int) -> dict[str, Any]:
        """Vertical lines at the origins of one series, and what stands above its panels."""
        shapes, texts = [], []
        for row, fold in enumerate(self.folds.by_series[number], start=1):
            axis = "" if row == 1 else str(row)
            at = {"xref": f"x{axis}", "yref": f"y{axis} domain"}
            x = _plotly_time(fold.origin)
            line = {"color": GUIDE, "dash": "dash", "width": 1}
            shapes.append({"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "line": line, **at})
            text = html.escape(f"{fold.series}, origin {_day(fold.origin)}", quote=False)
            corner = {"x": 1, "xref": f"x{axis} domain", "y": 1, "yref": f"y{axis} domain"}
            texts.append(
                {**corner, "text": text, "xanchor": "right", "yanchor": "top", "showarrow": False, "bgcolor": "white"}
            )
        return {"shapes": shapes, "annotations": texts}

    def _button(self, figure: Any, owner: list[int], number: int) -> dict[str, Any]:
        label = html.escape(shortened(self.folds.by_series[number][0].series, 40), quote=False)
        seen = [who == number for who in owner]
        rescaled = {f"{axis.plotly_name}.autorange": True for axis in figure.select_xaxes()}
        rescaled |= {f"{axis.plotly_name}.autorange": True for axis in figure.select_yaxes()}
        return {"label": label, "method": "update", "args": [{"visible": seen}, {**self._origins(number), **rescaled}]}


def draw(axis: Any, fold: Fold, label: str, *, width: int) -> None:
    """Draw one fold on a matplotlib axis, the series' name in lines of `width` characters."""
    x, yhat, low, high = fold.fan()
    if low is not None and high is not None:
        axis.fill_between(x, low, high, color=FORECAST, alpha=0.18, linewidth=0, label=label)
    stamps = np.concatenate([fold.past_x, fold.x])
    actual = np.concatenate([fold.past_y, fold.y])
    dots = {"marker": "o", "markersize": 2.4}
    axis.plot(stamps, actual, color=ACTUAL, linewidth=1, label="actual", **dots)
    axis.plot(x, yhat, color=FORECAST, linewidth=1.6, label="forecast", **dots)
    axis.axvline(fold.origin, color=GUIDE, linestyle="--", linewidth=1, label="origin")
    axis.set_title(plain(wrapped(f"{fold.series}, from {_day(fold.origin)}", width)), fontsize=9, loc="left")
    bare(axis)
    number_axis(axis.yaxis)
    time_axis(axis.xaxis, stamps)


def _traces(fold: Fold, label: str) -> list[dict[str, Any]]:
    x, yhat, low, high = fold.fan()
    traces: list[dict[str, Any]] = []
    if low is not None and high is not None:
        edge: dict[str, Any] = {"x": x, "legendgroup": "interval", "mode": "lines", "line": {"width": 0}}
        traces += [
            {"y": high, "showlegend": False, "hoverinfo": "skip", **edge},
            {"y": low, "fill": "tonexty", "fillcolor": BAND, "name": label, "hoverinfo": "skip", **edge},
        ]
    stamps, actual = np.concatenate([fold.past_x, fold.x]), np.concatenate([fold.past_y, fold.y])
    dots = {"mode": "lines+markers", "marker": {"size": 4}}
    return [
        *traces,
        {"x": stamps, "y": actual, "name": "actual", "line": {"color": ACTUAL, "width": 1.2}, **dots},
        {"x": x, "y": yhat, "name": "forecast", "line": {"color": FORECAST, "width": 2}, **dots},
    ]


def _plotly_time(stamp: np.generic) -> Any:
    return str(stamp) if stamp.dtype.kind == "M" else stamp.item()


def _day(stamp: np.generic) -> str:
    """Origin in few characters: a date, with its time where that is not midnight."""
    text = str(stamp)[:19] if stamp.dtype.kind == "M" else str(stamp)
    return text.removesuffix("T00:00:00").replace("T", " ")
