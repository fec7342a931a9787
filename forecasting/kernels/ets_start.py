"""Where the estimation of exponential smoothing starts: states before the first row.

Hyndman, Koehler, Ord & Snyder (2008), section 2.6.1: seasonal states from a classical decomposition of the first
seasons, level and trend from a line through the first rows without their season.
"""

from __future__ import annotations

import numpy as np

from forecasting.kernels.compiled import kernel
from forecasting.kernels.ets import LEVEL, SEASON, TREND

_SEASONS, _HEAD, _LEAST = 5, 10, 1e-2
_STEEPEST = 2.0


@kernel
def start_states(y, season, m, x):
    """Write level, slope and m seasonal states (entry t % m is row t's) of a scaled series [n] into x [6 + m].

    The level is the line's value before the first row. `season`: 0 none, 1 additive, 2 multiplicative.
    """
    n = len(y)
    if season > 0:
        _seasonal_means(y[: min(_SEASONS, n // m) * m], season, m, x)
    head = min(n, max(_HEAD, m))
    mean_t, mean_y = (head + 1) / 2, 0.0
    for t in range(head):
        mean_y += _adjusted(y, t, season, m, x) / head
    top, bottom = 0.0, 0.0
    for t in range(head):
        top += (t + 1 - mean_t) * (_adjusted(y, t, season, m, x) - mean_y)
        bottom += (t + 1 - mean_t) ** 2
    slope = top / bottom if bottom > 0 else 0.0
    x[LEVEL], x[TREND] = mean_y - slope * mean_t, slope


@kernel
def start_for(trend, mean, x):
    """Turn level and slope of `start_states` into those of a form; `mean` is the level without a trend."""
    if trend == 0:
        x[LEVEL], x[TREND] = mean, 0.0
    elif trend > 2:
        level = max(x[LEVEL], 0.1 * mean)
        x[TREND] = min(max(1 + x[TREND] / level, 1 / _STEEPEST), _STEEPEST)
        x[LEVEL] = level


@kernel
def mean_of_head(y, season, m, x):
    """Mean of the first rows without their season."""
    head = min(len(y), max(_HEAD, m))
    total = 0.0
    for t in range(head):
        total += _adjusted(y, t, season, m, x)
    return total / head


@kernel
def _adjusted(y, t, season, m, x):
    if season == 1:
        return y[t] - x[SEASON + t % m]
    return y[t] / x[SEASON + t % m] if season == 2 else y[t]


@kernel
def _centred(y, t, m):
    """Centred moving average over a season."""
    half = m // 2
    total = 0.0
    for i in range(t - half, t + half + 1):
        total += y[i]
    if m % 2 == 0:
        total -= (y[t - half] + y[t + half]) / 2
    return total / m


@kernel
def _seasonal_means(y, season, m, x):
    n, half = len(y), m // 2
    count = np.zeros(m)
    for i in range(m):
        x[SEASON + i] = 0.0
    for t in range(half, n - half):
        middle = _centred(y, t, m)
        if season == 2:
            x[SEASON + t % m] += y[t] / middle
        else:
            x[SEASON + t % m] += y[t] - middle
        count[t % m] += 1
    mean, neutral = 0.0, 1.0 if season == 2 else 0.0
    for i in range(m):
        x[SEASON + i] = x[SEASON + i] / count[i] if count[i] > 0 else neutral
        mean += x[SEASON + i] / m
    for i in range(m):
        if season == 2:
            x[SEASON + i] = max(x[SEASON + i] / mean, _LEAST)
        else:
            x[SEASON + i] -= mean
