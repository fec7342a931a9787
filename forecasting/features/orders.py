"""Which lags and which window "auto" takes: read off the partial autocorrelation, season removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from forecasting.season import period_seconds

if TYPE_CHECKING:
    from forecasting.panel import Panel
    from forecasting.timegrid import TimeGrid

_MOST_SERIES, _MOST_ROWS = 50, 2_000
_LONGEST = 120
_DAY = 86_400.0
_UNITS = (60.0, 3_600.0, _DAY, 7 * _DAY, 365.25 / 12 * _DAY, 365.25 * _DAY, 3_652.5 * _DAY)
"""Calendar units in seconds, minute to decade."""


def longest_order(grid: TimeGrid, season: int) -> int:
    """Highest lag looked at: twice the steps of the next coarser calendar unit; two seasons of an integer grid.

    Examples
    --------
    >>> from forecasting.timegrid import TimeGrid
    >>> [longest_order(TimeGrid(f, "2001-01-01"), 1) for f in ("min", "h", "D", "B", "W-MON", "MS", "QE-DEC", "YS")]
    [120, 48, 14, 10, 8, 24, 8, 20]
    """
    if grid.is_integer:
        return min(2 * season if season > 1 else 10, _LONGEST)
    seconds = period_seconds(grid.freq)
    steps = next((n for unit in _UNITS if (n := int(unit / seconds + 0.05)) >= 2), 2)
    return min(2 * steps, _LONGEST)


def partial_autocorrelation(x: np.ndarray, most: int) -> np.ndarray:
    """Partial autocorrelation of lags 0..most by the Durbin-Levinson recursion (Durbin 1960), shape [most + 1].

    Parameters
    ----------
    x : shape [n > most]. A series that never changes gives 1 at lag 0 and 0 after it.

    Examples
    --------
    >>> partial_autocorrelation(np.array([1.0, 2.0, 1.0, 2.0, 1.0, 2.0]), 2).round(3).tolist()
    [1.0, -0.833, -0.091]
    """
    centred = x - x.mean()
    n = len(x)
    cov = np.array([centred[k:] @ centred[: n - k] for k in range(most + 1)])
    out = np.zeros(most + 1)
    out[0] = 1.0
    if not cov[0] > 0:
        return out
    phi, rest = np.zeros(0), cov[0]
    for k in range(1, most + 1):
        if not rest > 1e-12 * cov[0]:
            break
        out[k] = (cov[k] - phi @ cov[k - 1 : 0 : -1]) / rest if k > 1 else cov[1] / rest
        phi = np.append(phi - out[k] * phi[::-1], out[k])
        rest *= 1 - out[k] ** 2
    return out


def orders_of(partial: np.ndarray) -> tuple[int, int]:
    """Lag and window that a partial autocorrelation speaks for, (0, 0) = no look-back features.

    A value is significant beyond 1.96 / sqrt(highest lag). The lag is the last one before the first insignificant
    value, the window the last significant one at all. Where every lag is significant (a season that was not removed,
    a trend) or none follows lag 0, looking back is left out.

    Examples
    --------
    >>> orders_of(np.array([1, 0.9, -0.9, 0.1, 0.9, 0.0])), orders_of(np.array([1, 0.1, 0.9])), orders_of(np.ones(5))
    ((2, 4), (0, 0), (0, 0))
    """
    significant = np.abs(partial[1:]) > 1.96 / np.sqrt(len(partial) - 1)
    if significant.all() or not significant[0]:
        return 0, 0
    return int(np.argmin(significant)), int(np.flatnonzero(significant)[-1]) + 1


def look_back(panel: Panel, season: int) -> tuple[int, int]:
    """Lag and window for a panel: the (lower) medians over at most 50 series, spread evenly.

    The season is taken out by STL where a series shows two, so that what is left tells of the recent past. Series of
    fewer than three times three rows say nothing; only the last 2,000 rows of a series are looked at.

    Examples
    --------
    >>> from forecasting.timegrid import TimeGrid
    >>> from forecasting.panel import Panel
    >>> rng, y = np.random.default_rng(0), np.zeros(500)
    >>> for t in range(1, 500):
    ...     y[t] = 0.8 * y[t - 1] + rng.standard_normal()
    >>> look_back(Panel.from_arrays([y], TimeGrid.steps()), 1)
    (1, 1)
    """
    most = longest_order(panel.grid, season)
    pick = np.unique(np.linspace(0, panel.n_series - 1, min(panel.n_series, _MOST_SERIES)).astype(int))
    found = []
    for i in pick:
        y = panel.series(i)[-_MOST_ROWS:]
        highest = min(most, len(y) // 3)
        if highest >= 3:
            found.append(orders_of(partial_autocorrelation(without_season(y, season), highest)))
    if not found:
        return 0, 0
    lag, window = np.sort(np.array(found), axis=0)[(len(found) - 1) // 2]
    return int(lag), int(window)


def without_season(y: np.ndarray, season: int) -> np.ndarray:
    """Trend and remainder of a series by STL; the series itself where it does not show two seasons."""
    if season < 2 or len(y) < 2 * season:
        return y
    from forecasting.kernels.stl import stl, trend_window

    n = len(y)
    part, trend, work = np.empty(n), np.empty(n), np.empty((3, n + 2 * season))
    stl(np.ascontiguousarray(y, dtype=float), season, 11, 0, trend_window(season, 11), 2, part, trend, work)
    return y - part
