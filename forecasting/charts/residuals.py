"""Histogram of residuals, forecast minus actual value."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from automl.bins import residual_bins
from automl.errors import DataError
from forecasting.charts.page import ACTUAL, COUNT, FORECAST, Chart, bare, blank, laid_out, number_axis, short_number


@dataclass(frozen=True, slots=True)
class ResidualChart(Chart):
    """How often forecasts were too high or too low, and by how much.

    Parameters
    ----------
    edges, counts : bins. mean : of all residuals (the bias, in target units). outside : how many lie beyond the bins.
    """

    edges: np.ndarray
    counts: np.ndarray
    mean: float
    outside: int

    @classmethod
    def of(cls, y: np.ndarray, f: np.ndarray) -> Self:
        """Count residuals of pairs that are both there.

        Raises
        ------
        DataError : there is none.
        """
        error = (f - y)[np.isfinite(y) & np.isfinite(f)]
        if not len(error):
            raise DataError("there is nothing to draw: no forecast has an actual value beside it.")
        edges, counts = residual_bins(error)
        return cls(edges, counts, float(error.mean()), int(len(error) - counts.sum()))

    @property
    def title(self) -> str:
        """Name, and how many residuals are not drawn."""
        drawn = int(self.counts.sum())
        return f"Residuals ({self.outside} of {self.outside + drawn} beyond the axis)" if self.outside else "Residuals"

    @property
    def _mean_label(self) -> str:
        return f"mean {short_number(self.mean)}"

    def picture(self) -> Any:
        """Still figure."""
        figure = blank(8.0, 4.0, self.title)
        axis = figure.subplots()
        axis.stairs(self.counts, self.edges, fill=True, color=COUNT, alpha=0.75)
        axis.axvline(0, color=ACTUAL, linestyle="--", linewidth=1.2, label="no error")
        axis.axvline(self.mean, color=FORECAST, linewidth=1.6, label=self._mean_label)
        axis.set_xlabel("forecast - actual")
        axis.set_ylabel("forecasts")
        axis.legend(frameon=False, fontsize=9)
        bare(axis)
        number_axis(axis.xaxis)
        number_axis(axis.yaxis)
        return figure

    def figure(self) -> Any:
        """Interactive figure."""
        from plotly.graph_objects import Bar, Figure

        middle = (self.edges[1:] + self.edges[:-1]) / 2
        bars = Bar(x=middle, y=self.counts, width=np.diff(self.edges), marker={"color": COUNT}, name="forecasts")
        figure = Figure([bars])
        figure.add_vline(x=0, line={"color": ACTUAL, "dash": "dash"})
        text = html.escape(self._mean_label, quote=False)
        figure.add_vline(x=self.mean, line={"color": FORECAST}, annotation_text=text)
        figure.update_layout(xaxis_title="forecast - actual", yaxis_title="forecasts", bargap=0.02, showlegend=False)
        figure.update_xaxes(exponentformat="B")
        return laid_out(figure, self.title, 420)
