"""Which lags of covariates are worth having: Granger's test (1969, Econometrica 37) over the series of a panel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from forecasting.panel import Panel

_MOST_SERIES, _MOST_ROWS, _LONGEST = 30, 1_000, 12
_LEVEL = 0.05


def residual_squares(x: np.ndarray, y: np.ndarray) -> tuple[float, int]:
    """Sum of squared residuals of least squares, and the rank of the regressors. x : [n, k]. y : [n]."""
    beta, _, rank, _ = np.linalg.lstsq(x, y, rcond=None)
    return float(np.square(y - x @ beta).sum()), int(rank)


def granger(pairs: Iterable[tuple[np.ndarray, np.ndarray]], order: int) -> float:
    """Find the p value of the F test that `order` lags of x say nothing on y beyond as many lags of y itself.

    Parameters
    ----------
    pairs : x and y of each series, both shape [n_i]. Each series has its own coefficients; their squared residuals are
        put over the series' unrestricted residual variance and added up. With one series this is the usual test.
        Series of fewer rows than 3 * order + 2, or whose x or y never changes, are left out; 1 where none is left.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal(100)
    >>> y = np.concatenate([[0.0], x[:-1]]) + rng.standard_normal(100)
    >>> granger([(x, y)], 1) < 0.001, granger([(y, x)], 1) > 0.05
    (True, True)
    """
    from scipy.special import fdtrc

    gain, used, left = 0.0, 0, 0
    for x, y in pairs:
        if len(y) < 3 * order + 2 or not (np.ptp(x) > 0 and np.ptp(y) > 0):
            continue
        x, y = (x - x.mean()) / x.std(), (y - y.mean()) / y.std()  # noqa: PLW2901 - on one scale, so that ranks are right
        own, other = (np.stack([v[order - k : len(v) - k] for k in range(1, order + 1)], axis=1) for v in (y, x))
        own = np.column_stack([np.ones(len(own)), own])
        restricted, few = residual_squares(own, y[order:])
        whole, many = residual_squares(np.column_stack([own, other]), y[order:])
        free = len(own) - many
        if many == few or free < 1:
            continue
        gain += (restricted - whole) / max(whole / free, np.finfo(float).tiny)
        used += many - few
        left += free
    return float(fdtrc(used, left, max(gain / used, 0.0))) if used else 1.0


def lags_that_help(panel: Panel, column: np.ndarray, season: int, lags: Sequence[int]) -> tuple[int, ...]:
    """Those of the target's lags that a covariate is given too: none unless Granger's test has p < 0.05.

    The order of the test is the largest of the lags up to 12; kept are the lags up to it. Seasonal differences (where
    there is a season and three of it) keep a season that both share from counting as a cause. At most 30 series and
    their last 1,000 rows are looked at.

    Parameters
    ----------
    column : shape [rows], the covariate with its gaps filled. lags : of the target, ascending.
    """
    short = [k for k in lags if k <= _LONGEST] or list(lags[:1])
    if not short:
        return ()
    pick = np.unique(np.linspace(0, panel.n_series - 1, min(panel.n_series, _MOST_SERIES)).astype(int))
    pairs = []
    for i in pick:
        rows = slice(max(int(panel.indptr[i]), int(panel.indptr[i + 1]) - _MOST_ROWS), int(panel.indptr[i + 1]))
        x, y = column[rows], panel.y[rows]
        if season > 1 and len(y) >= 3 * season + 3 * short[-1]:
            x, y = x[season:] - x[:-season], y[season:] - y[:-season]
        pairs.append((x, y))
    return tuple(short) if granger(pairs, short[-1]) < _LEVEL else ()
