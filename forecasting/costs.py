"""What learners with one model a series are expected to take, from the number and length of the series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from forecasting.panel import Panel


@dataclass(frozen=True, slots=True)
class Price:
    """Seconds of one fit: a constant, so much a row and so much a squared row; only the latest `most` rows are used."""

    series: float
    row: float
    square: float = 0.0
    most: int = 2_000


PRICES = {
    "Croston": Price(3e-5, 5e-8),
    "TSB": Price(3e-5, 5e-8),
    "ADIDA": Price(3e-5, 5e-8),
    "IMAPA": Price(3e-5, 5e-8),
    "Theta": Price(2e-4, 4e-7),
    "ComplexSmoothing": Price(3e-4, 9e-6),
    "ExponentialSmoothing": Price(2e-3, 3e-5),
    "MSTL": Price(1e-3, 2e-5),
    "AutoArima": Price(5e-3, 5e-5, 5e-7),
    "Arimax": Price(0.01, 1e-4, 1e-6),
    "Prophet": Price(0.03, 2.5e-4, most=5_000),
    "StatsmodelsETS": Price(0.02, 3e-5),
    "PmdArima": Price(0.2, 5e-3, 1.2e-4, most=240),
}
"""Measured on one core with one generated panel a frequency, monthly to hourly, code compiled; those of Arimax, TSB
and ADIDA are taken from their kin. Orders of magnitude: nothing is refused below twice its limit."""

_THREADED = PRICES.keys() - {"Prophet", "StatsmodelsETS", "PmdArima"}


def expected_seconds(learner: str, panel: Panel, *, windows: int = 1, threads: int = 1) -> float:
    """Seconds to fit a learner of `PRICES` on every series in every window; only the kernels use several threads.

    Examples
    --------
    >>> from forecasting.panel import Panel
    >>> from forecasting.timegrid import TimeGrid
    >>> panel = Panel.from_arrays([np.zeros(100)] * 50, TimeGrid.steps())
    >>> round(expected_seconds("Prophet", panel, windows=2), 3)
    5.5
    """
    price = PRICES[learner]
    if learner not in _THREADED:
        threads = 1
    rows = np.minimum(panel.lengths, price.most)
    return windows / threads * float((price.series + price.row * rows + price.square * rows**2).sum())
