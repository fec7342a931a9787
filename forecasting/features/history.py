"""Features that look back: lags, windows and same-season values, as seen from a forecast origin.

A row is a target position and the number of steps h its origin lies before it. Only values at or before the origin
are ever read: positions are gathered relative to the origin, and no function here gets anything but positions.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence


STATISTICS = {"mean": 0, "min": 1, "max": 2, "sum": 3, "std": 4}
"""Name -> number in `kernels.pivot`."""

_ROWS_A_SLICE = 65_536


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
    from forecasting.kernels import pivot

    out = np.empty(len(rows.target))
    pivot.window_at(np.ascontiguousarray(z), rows.origin, rows.begin, width, STATISTICS[statistic], out)
    return out


def level(z: np.ndarray, rows: Rows, width: int) -> np.ndarray:
    """Mean of the last `width` values up to the origin, the last one alone in a shorter series. Shape [r]."""
    mean = window(z, rows, width, "mean")
    return np.where(np.isfinite(mean), mean, gather(z, rows.origin, rows.begin))


def look_back(
    z: np.ndarray,
    rows: Rows,
    base: np.ndarray,
    scale: np.ndarray,
    *,
    fixed: np.ndarray,
    lags: Sequence[int] = (),
    windows: Sequence[int] = (),
    statistics: Sequence[str] = (),
    season: int = 1,
    spans: Sequence[int] = (),
    longer: Sequence[int] = (),
    out: np.ndarray,
    threads: int = 1,
) -> int:
    """Write all that looks back (see `kernels.pivot.look_back`) to the first columns of a matrix; how many these are.

    Parameters
    ----------
    out : shape [r, columns] float32. threads : slices of rows written at a time. Others: as in the kernel.

    Examples
    --------
    >>> rows = Rows(np.array([3, 4]), np.array([1, 2]), np.zeros(2, dtype=int))
    >>> x = np.zeros((2, 3), dtype=np.float32)
    >>> z, ones = np.array([1.0, 2.0, 6.0, 9.0, 7.0]), np.ones(2)
    >>> fixed = np.zeros((5, 0), dtype=np.float32)
    >>> look_back(z, rows, 0 * ones, ones, fixed=fixed, lags=[1], windows=[2], statistics=["mean"], out=x)
    3
    >>> x.tolist()
    [[1.0, 6.0, 4.0], [2.0, 6.0, 4.0]]
    """
    from forecasting.kernels import pivot

    of_windows = [STATISTICS[s] for s in statistics]
    whole = [np.array(part, dtype=np.int64) for part in (lags, windows, of_windows, spans, longer)]
    edges = [*range(0, len(rows.target), _ROWS_A_SLICE), len(rows.target)]

    def run(first: int, end: int) -> None:
        pivot.look_back(
            z, rows.target, rows.ahead, rows.begin, base, scale, fixed, *whole[:3], season, *whole[3:], out, first, end
        )

    if threads <= 1 or len(edges) <= 2:
        run(0, len(rows.target))
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(run, edges[:-1], edges[1:]))
    seasonal = 4 + len(spans) if season > 1 else 0
    return fixed.shape[1] + 1 + len(lags) + len(windows) * len(statistics) + seasonal + 2 * len(longer)
