"""Predicted against true values: the mean forecast for each bin of actual values, its spread, and the ideal line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from automl.bins import agreement
from automl.errors import DataError
from forecasting.charts.page import ACTUAL, BAND, COUNT, FORECAST, GUIDE, Chart, bare, blank, laid_out, number_axis


@dataclass(frozen=True, slots=True)
class AgreementChart(Chart):
    """Predicted against true.

    Parameters
    ----------
    edges, counts : bins of the actual values and how many fall into each.
    x, mean, spread : of each bin that is not empty: its mean actual value, mean forecast and standard deviation.
    logarithmic : both axes are.
    """

    edges: np.ndarray
    counts: np.ndarray
    x: np.ndarray
    mean: np.ndarray
    spread: np.ndarray
    logarithmic: bool

    @classmethod
    def of(cls, y: np.ndarray, f: np.ndarray) -> Self:
        """Bin pairs that are both there.

        Raises
        ------
        DataError : there is none.
        """
        good = np.isfinite(y) & np.isfinite(f)
        y, f = y[good], f[good]
        if not len(y):
            raise DataError("there is nothing to draw: no forecast has an actual value beside it.")
        found = agreement(y, f)
        return cls(found.edges, found.counts, found.x, found.mean, found.spread, found.logarithmic)

    @property
    def title(self) -> str:
        """Name."""
        return "Predicted against true"

    @property
    def _band(self) -> tuple[np.ndarray, np.ndarray]:
        low, high = self.mean - self.spread, self.mean + self.spread
        return (np.maximum(low, self.mean / 10), high) if self.logarithmic else (low, high)

    @property
    def _ideal(self) -> np.ndarray:
        return np.array([self.x.min(), self.x.max()] if len(self.x) > 1 else [self.edges[0], self.edges[-1]])

    def picture(self) -> Any:
        """Still figure, with the histogram of actual values below."""
        figure = blank(7.0, 6.0, self.title)
        top, below = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
        low, high = self._band
        top.fill_between(self.x, low, high, color=FORECAST, alpha=0.18, linewidth=0, label="± 1 standard deviation")
        top.plot(self.x, self.mean, color=FORECAST, marker="o", markersize=3.5, linewidth=1.6, label="mean forecast")
        top.plot(self._ideal, self._ideal, color=GUIDE, linestyle="--", linewidth=1.2, label="ideal")
        below.stairs(self.counts, self.edges, fill=True, color=COUNT, alpha=0.75)
        top.set_ylabel("forecast")
        below.set_ylabel("rows")
        below.set_xlabel("actual")
        top.legend(frameon=False, fontsize=9)
        for axis in (top, below):
            bare(axis)
            number_axis(axis.yaxis)
            number_axis(axis.xaxis)
        if self.logarithmic:
            top.set_xscale("log")
            top.set_yscale("log")
        return figure

    def figure(self) -> Any:
        """Interactive figure."""
        from plotly.graph_objects import Bar, Scatter
        from plotly.subplots import make_subplots

        figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.8, 0.2], vertical_spacing=0.05)
        low, high = self._band
        edge: dict[str, Any] = {"x": self.x, "mode": "lines", "line": {"width": 0}, "legendgroup": "band"}
        line = {"color": GUIDE, "dash": "dash"}
        traces = [
            Scatter(y=high, showlegend=False, hoverinfo="skip", **edge),
            Scatter(y=low, fill="tonexty", fillcolor=BAND, name="± 1 standard deviation", hoverinfo="skip", **edge),
            Scatter(x=self.x, y=self.mean, mode="lines+markers", name="mean forecast", line={"color": FORECAST}),
            Scatter(x=self._ideal, y=self._ideal, mode="lines", name="ideal", line=line),
        ]
        for trace in traces:
            figure.add_trace(trace, row=1, col=1)
        middle = (self.edges[1:] + self.edges[:-1]) / 2
        bars = Bar(
            x=middle,
            y=self.counts,
            width=np.diff(self.edges),
            marker={"color": COUNT, "line": {"color": ACTUAL, "width": 0}},
            showlegend=False,
            name="rows",
        )
        figure.add_trace(bars, row=2, col=1)
        laid_out(figure, self.title, 620)
        if self.logarithmic:
            figure.update_xaxes(type="log")
            figure.update_yaxes(type="log", row=1, col=1)
        figure.update_yaxes(title_text="forecast", row=1, col=1)
        figure.update_yaxes(title_text="rows", row=2, col=1)
        figure.update_xaxes(exponentformat="B")
        figure.update_xaxes(title_text="actual", row=2, col=1)
        return figure
