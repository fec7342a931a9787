"""Is a series stationary? Five tests at 5 %, and the majority decides; over a panel, the majority of series.

Sources: Said & Dickey (1984), Kwiatkowski, Phillips, Schmidt & Shin (1992) with the lags of Hobijn, Franses & Ooms
(2004), Phillips & Perron (1988), Elliott, Rothenberg & Stock (1996), Zivot & Andrews (1992). Critical values are the
asymptotic ones of these papers, for a constant (Zivot-Andrews: a trend, and a break of the level).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from forecasting.panel import Panel

_UNIT_ROOT, _GLS, _KPSS, _BREAK = -2.862, -1.944, 0.463, -4.80
_LEAST = 20
_MOST_SERIES, _MOST_ROWS = 30, 200


def is_stationary(y: np.ndarray) -> bool:
    """Whether more than half of the tests call a series stationary. y : shape [n >= 20], finite, not constant.

    Examples
    --------
    >>> noise = np.random.default_rng(0).standard_normal(150)
    >>> is_stationary(noise), is_stationary(np.cumsum(noise))
    (True, False)
    """
    lags = best_lags(y)
    votes = (
        dickey_fuller(y, lags) < _UNIT_ROOT,
        kpss(y) < _KPSS,
        phillips_perron(y) < _UNIT_ROOT,
        dickey_fuller_gls(y) < _GLS,
        zivot_andrews(y, lags) < _BREAK,
    )
    return sum(votes) > len(votes) / 2


def panel_is_stationary(panel: Panel) -> tuple[bool, int, int]:
    """Majority over (at most 30) series of 20 rows and more: (verdict, stationary ones, looked at).

    Only the last 200 rows of a series are tested. A panel without any testable series counts as stationary.
    """
    pick = np.unique(np.linspace(0, panel.n_series - 1, min(panel.n_series, _MOST_SERIES)).astype(int))
    votes = [
        is_stationary(y / np.abs(y).max())
        for y in (panel.series(i)[-_MOST_ROWS:] for i in pick)
        if len(y) >= _LEAST and np.ptp(np.diff(y)) > 0
    ]
    return (sum(votes) * 2 >= len(votes), int(sum(votes)), len(votes))


def _fit(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    """Least squares: t value of the first column, its standard error, sum of squared residuals."""
    q, r = np.linalg.qr(x)
    if np.abs(np.diag(r)).min() < 1e-12 * np.abs(np.diag(r)).max():
        return 0.0, np.inf, float(np.square(y).sum())
    inverse = np.linalg.inv(r)
    beta = inverse @ (q.T @ y)
    rest = float(np.square(y - x @ beta).sum())
    error = np.sqrt(max(rest, 1e-300) / max(len(y) - x.shape[1], 1) * np.square(inverse[0]).sum())
    return float(beta[0] / error), float(error), rest


def _regressors(y: np.ndarray, lags: int, skip: int) -> tuple[np.ndarray, np.ndarray]:
    """Columns y[t-1] and lagged differences, and the differences they explain, from row `skip` of these on."""
    d = np.diff(y)
    columns = [y[skip:-1], *(d[skip - k : len(d) - k] for k in range(1, lags + 1))]
    return np.stack(columns, axis=1), d[skip:]


def best_lags(y: np.ndarray, *, constant: bool = True) -> int:
    """Lagged differences with the lowest AIC, up to 12 (n / 100)^(1/4)."""
    most = min(int(np.ceil(12 * (len(y) / 100) ** 0.25)), len(y) // 2 - 3)
    scores = []
    for lags in range(most + 1):
        x, d = _regressors(y, lags, most)
        x = np.column_stack([x, np.ones(len(d))]) if constant else x
        scores.append(len(d) * np.log(max(_fit(x, d)[2], 1e-300) / len(d)) + 2 * x.shape[1])
    return int(np.argmin(scores))


def dickey_fuller(y: np.ndarray, lags: int) -> float:
    """Augmented Dickey-Fuller t value with a constant."""
    x, d = _regressors(y, lags, lags)
    return _fit(np.column_stack([x, np.ones(len(d))]), d)[0]


def _long_run(e: np.ndarray, lags: int) -> float:
    """Variance of a sum of residuals, Bartlett weights."""
    total = float(e @ e)
    for k in range(1, lags + 1):
        total += 2 * (1 - k / (lags + 1)) * float(e[k:] @ e[:-k])
    return total / len(e)


def kpss(y: np.ndarray) -> float:
    """KPSS statistic around a level; large values speak against stationarity."""
    e = y - y.mean()
    n = len(e)
    first = int(n ** (2 / 9))
    products = [2 * float(e[k:] @ e[:-k]) / n for k in range(1, first + 1)]
    near = float(e @ e) / n + sum(products)
    slope = sum(k * p for k, p in enumerate(products, 1)) / near if near > 0 else 0.0
    lags = min(int(1.1447 * (slope**2) ** (1 / 3) * n ** (1 / 3)), n - 1)
    return float(np.square(np.cumsum(e)).sum() / n**2 / max(_long_run(e, lags), 1e-300))


def phillips_perron(y: np.ndarray) -> float:
    """Phillips-Perron Z(t) with a constant."""
    x = np.column_stack([y[:-1], np.ones(len(y) - 1)])
    d = np.diff(y)
    t, error, rest = _fit(x, d)
    n = len(d)
    e = d - x @ np.linalg.lstsq(x, d, rcond=None)[0]
    short, long = float(e @ e) / n, max(_long_run(e, int(4 * (n / 100) ** 0.25)), 1e-300)
    spread = np.sqrt(max(rest, 1e-300) / (n - 2))
    return float(np.sqrt(short / long) * t - 0.5 * (long - short) / np.sqrt(long) * n * error / spread)


def dickey_fuller_gls(y: np.ndarray) -> float:
    """Dickey-Fuller t value after the level was removed as if the root were 1 - 7 / n."""
    root = 1 - 7 / len(y)
    level = np.concatenate([[1.0], np.full(len(y) - 1, 1 - root)])
    moved = np.concatenate([y[:1], y[1:] - root * y[:-1]])
    detrended = y - float(level @ moved) / float(level @ level)
    lags = best_lags(detrended, constant=False)
    return _fit(*_regressors(detrended, lags, lags))[0]


def zivot_andrews(y: np.ndarray, lags: int) -> float:
    """Smallest Dickey-Fuller t value (with a trend) over all breaks of the level in the middle 70 %."""
    x, d = _regressors(y, lags, lags)
    t = np.arange(len(d), dtype=float)
    base = np.column_stack([x, np.ones(len(d)), t / len(d)])
    ends = int(0.15 * len(d)), int(0.85 * len(d))
    return min(_fit(np.column_stack([base, t > k]), d)[0] for k in range(*ends))
