"""How often to difference a series: KPSS for the level, seasonal strength or the OCSB test for the season."""

from __future__ import annotations

import math

import numpy as np

from forecasting.kernels.arima_project import difference
from forecasting.kernels.arma import solve
from forecasting.kernels.compiled import kernel, part
from forecasting.kernels.stl import strength

KPSS_5 = 0.463
"""Critical value of the level test at 5 % (Kwiatkowski, Phillips, Schmidt & Shin 1992, table 1)."""

STRONG = 0.64
"""Seasonal strength from which a seasonal difference is taken (Wang, Smith & Hyndman 2006; R's forecast package)."""

_MOST_LAGS = 3


@kernel
def kpss(x):
    """KPSS statistic for level stationarity of x [n], Bartlett window of 3 sqrt(n) / 13 lags."""
    n = len(x)
    mean = 0.0
    for value in x:
        mean += value / n
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
    """How many first differences make x [n] level stationary, by successive KPSS tests at 5 %; x is written over."""
    count, n = 0, len(x)
    while count < most and n > 3 and not is_constant(x[:n]) and kpss(x[:n]) > KPSS_5:
        count, n = count + 1, n - 1
        for t in range(n):
            x[t] = x[t + 1] - x[t]
    return count


@kernel
def ocsb(x, m, lags, first):
    """Test of Osborn, Chui, Smith & Birchenhall (1988) that x [n] has a seasonal unit root; t statistic and AIC.

    The doubly differenced series is regressed on its own lags, on the seasonal difference of the step before and on the
    first difference of a season before, both filtered by the lags' autoregression; the last one's t is the statistic.

    Parameters
    ----------
    m : steps a season. lags : autoregressive lags. first : first row used, >= m + 1 + lags; of lags to be compared by
    AIC the same.
    """
    rows, k = len(x) - first, lags + 2
    cross, work = np.zeros((k + 1, k + 1)), np.zeros((k + 1, k + 1))
    beta, column, phi = np.zeros(k), np.zeros(k + 1), np.zeros(lags + 1)
    for stage in range(2):
        # the autoregression first: it filters the other two columns
        cross[:, :] = 0.0
        for t in range(first, len(x)):
            for lag in range(lags + 1):
                s = t - lag
                column[lag] = x[s] - x[s - 1] - x[s - m] + x[s - m - 1]
            column[k - 1] = x[t - 1] - x[t - 1 - m]
            column[k] = x[t - m] - x[t - m - 1]
            for lag in range(1, lags + 1):
                column[k - 1] -= phi[lag] * (x[t - 1 - lag] - x[t - 1 - lag - m])
                column[k] -= phi[lag] * (x[t - m - lag] - x[t - m - lag - 1])
            for i in range(k + 1):
                for j in range(i + 1):
                    cross[i, j] += column[i] * column[j]
        if stage == 0:
            solve(cross, lags, beta, work)
            for lag in range(lags):
                phi[lag + 1] = beta[lag]
    without = solve(cross, k - 1, beta, work)
    rest = solve(cross, k, beta, work)
    if not rest > 1e-12 * cross[0, 0]:
        return 0.0, -math.inf
    gain = max(without - rest, 0.0) * (rows - k) / rest
    return math.copysign(math.sqrt(gain), beta[k - 1]), rows * math.log(rest / rows) + 2 * k


@kernel
def ocsb_critical(m):
    """5 % critical value for seasons of m steps: the smooth curve through simulated values that R's forecast uses."""
    log_m = math.log(m) - 0.7656451
    return -0.2937411 * math.exp(-0.2850853 * log_m - 0.05983644 * log_m**2) - 1.652202


@part
def _needless(x, m):
    """Whether there is no season, or too little of it, to test."""
    return m < 2 or len(x) < 2 * m + 3 or is_constant(x)


@kernel
def by_strength(values, indptr, first, end, m, most, out):
    """Seasonal differences of series first..end, 0 or 1, where the season's strength exceeds `STRONG`.

    Parameters
    ----------
    values, indptr : flat series. m : steps a season. most : differences at most. out : shape [n] int64, written.
    """
    for i in range(first, end):
        x = values[indptr[i] : indptr[i + 1]]
        out[i] = 0 if most < 1 or _needless(x, m) else strength(x, m) > STRONG


@kernel
def by_ocsb(values, indptr, first, end, m, most, out):
    """Seasonal differences of series first..end, 0 or 1, by `ocsb` with the lags 0..3 that AIC takes."""
    for i in range(first, end):
        x = values[indptr[i] : indptr[i + 1]]
        out[i] = 0
        if most < 1 or _needless(x, m):
            continue
        most_lags = min(_MOST_LAGS, max(0, (len(x) - m - 6) // 3))
        best, statistic = math.inf, 0.0
        for lags in range(most_lags + 1):
            t, aic = ocsb(x, m, lags, m + 1 + most_lags)
            if aic < best:
                best, statistic = aic, t
        out[i] = statistic > ocsb_critical(m)


@kernel
def by_kpss(values, indptr, first, end, m, most, seasonal, out):
    """First differences of series first..end after their `seasonal` [n] ones, by successive KPSS tests at 5 %.

    Parameters
    ----------
    values, indptr, m, most, out : as of `by_strength`.
    """
    for i in range(first, end):
        y = values[indptr[i] : indptr[i + 1]]
        out[i] = 0
        if len(y) > m * seasonal[i] + 3:
            x = np.empty(len(y))
            n = difference(y, 0, seasonal[i], m, x)
            out[i] = differences(x[:n], most)
