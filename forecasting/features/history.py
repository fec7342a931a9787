"""Features that look back: lags, windows and same-season values, as seen from a forecast origin.

A row is a target position and the number of steps h its origin lies before it. Only values at or before the origin
are ever read: positions are gathered relative to the origin, and no function here gets anything but positions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a design matrix.

    Parameters
    ----------
    target : shape [r] int64, position of the value to forecast in the flat row arrays.
    ahead : shape [r] int64 >= 1, steps from the origin to the target.
    begin : shape [r] int64, position of the first row of the same series.
    """

    target: np.ndarray
    ahead: np.ndarray
    begin: np.ndarray

    @property
    def origin(self) -> np.ndarray:
        """Position of the last value that may be read, shape [r]."""
        return self.target - self.ahead


def gather(z: np.ndarray, position: np.ndarray, begin: np.ndarray) -> np.ndarray:
    """Values at positions, NaN before the series begins. Shape of `position`."""
    return np.where(position >= begin, z[np.maximum(position, 0)], np.nan)


def lag(z: np.ndarray, rows: Rows, order: int) -> np.ndarray:
    """Lag `order` counted from the origin: the value at origin - (order - 1). Shape [r].

    Examples
    --------
    >>> y = np.array([0.0, 10, 20, 30, 40, 50])
    >>> rows = Rows(np.array([3, 3, 3]), np.array([1, 2, 3]), np.zeros(3, dtype=int))
    >>> lag(y, rows, 1).tolist()
    [20.0, 10.0, 0.0]
    """
    return gather(z, rows.origin - (order - 1), rows.begin)


def same_season(z: np.ndarray, rows: Rows, season: int, back: int) -> np.ndarray:
    """Value in the target's phase, `back` seasons (1 = the latest known) before it. Shape [r].

    Examples
    --------
    >>> y = np.arange(8.0)
    >>> rows = Rows(np.array([7, 7]), np.array([1, 5]), np.zeros(2, dtype=int))
    >>> same_season(y, rows, season=4, back=1).tolist()
    [3.0, nan]
    """
    seasons = -(-rows.ahead // season) + back - 1
    return gather(z, rows.target - season * seasons, rows.begin)


def window(z: np.ndarray, rows: Rows, width: int, statistic: str) -> np.ndarray:
    """Statistic (mean, min, max, sum or std) of the `width` values that end at the origin. Shape [r].

    NaN where the series is shorter than the window. Computed from the window's own values alone, so that not even
    rounding depends on anything outside it.

    Examples
    --------
    >>> rows = Rows(np.array([3]), np.array([1]), np.array([0]))
    >>> [window(np.array([1.0, 2.0, 6.0, 9.0]), rows, 2, s).tolist() for s in ("mean", "min", "max", "sum")]
    [[4.0], [2.0], [6.0], [8.0]]
    """
    if len(z) < width:
        return np.full(len(rows.target), np.nan)
    view = np.lib.stride_tricks.sliding_window_view(z, width)
    if statistic == "std":
        centre = view.mean(axis=1)
        values = np.sqrt(np.maximum(np.mean(np.square(view - centre[:, None]), axis=1), 0.0))
    else:
        values = getattr(view, statistic)(axis=1)
    first = rows.origin - width + 1
    return np.where(first >= rows.begin, values[np.clip(first, 0, len(values) - 1)], np.nan)


def level(z: np.ndarray, rows: Rows, width: int) -> np.ndarray:
    """Mean of the last `width` values up to the origin, the last one alone in a shorter series. Shape [r]."""
    mean = window(z, rows, width, "mean")
    return np.where(np.isfinite(mean), mean, gather(z, rows.origin, rows.begin))
