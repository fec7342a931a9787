"""How often to difference a series: KPSS for the level, seasonal strength for the season."""

from __future__ import annotations

import math

from forecasting.kernels.compiled import kernel
from forecasting.kernels.stl import strength

KPSS_5 = 0.463
"""Critical value of the level test at 5 % (Kwiatkowski, Phillips, Schmidt & Shin 1992, table 1)."""

STRONG = 0.64
"""Seasonal strength from which a seasonal difference is taken (Wang, Smith & Hyndman 2006; R's forecast package)."""


@kernel
def kpss(x):
    """KPSS statistic for level stationarity of x [n], Bartlett window of 3 sqrt(n) / 13 lags."""
    n = len(x)
    mean = x.mean()
    squares, total, power = 0.0, 0.0, 0.0
    for t in range(n):
        e = x[t] - mean
        total += e
        squares += total * total
        power += e * e
    lags = int(3 * math.sqrt(n) / 13)
    variance = power / n
    for lag in range(1, lags + 1):
        cross = 0.0
        for t in range(lag, n):
            cross += (x[t] - mean) * (x[t - lag] - mean)
        variance += 2 * (1 - lag / (lags + 1)) * cross / n
    if not variance > 0:
        return 0.0
    return squares / (n * n * variance)


@kernel
def is_constant(x):
    """Whether all values are equal, up to rounding."""
    low, high = x[0], x[0]
    for value in x:
        low, high = min(low, value), max(high, value)
    return high - low <= 1e-10 * max(abs(low), abs(high))


@kernel
def differences(x, most):
    """How many first differences make x [n] level stationary, by successive KPSS tests at 5 %."""
    count = 0
    while count < most and len(x) > 3 and not is_constant(x) and kpss(x) > KPSS_5:
        x = x[1:] - x[:-1]
        count += 1
    return count


@kernel
def seasonal_differences(x, m, most):
    """Whether a seasonal difference is due, 0 or 1."""
    if most < 1 or m < 2 or len(x) < 2 * m + 3 or is_constant(x):
        return 0
    return 1 if strength(x, m) > STRONG else 0
