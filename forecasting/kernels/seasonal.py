"""Is a series seasonal, and with which indices: an autocorrelation test and classical decomposition."""

from __future__ import annotations

import math

import numpy as np

from forecasting.kernels.compiled import kernel

NONE, ADDITIVE, MULTIPLICATIVE = 0, 1, 2

_TEST = 1.6448536269514722
_LEAST_INDEX = 0.01


@kernel
def is_seasonal(y, m):
    """Whether the autocorrelation at lag m is significant (90 %, two-sided), by Bartlett's formula.

    The test of the M competitions (Assimakopoulos & Nikolopoulos 2000; Fiorucci et al. 2016). Needs two seasons and
    a row; shorter series are not seasonal.

    Parameters
    ----------
    y : shape [n]. m : steps a season.
    """
    n = len(y)
    if m < 2 or n <= 2 * m:
        return False
    mean = y.mean()
    power = 0.0
    for t in range(n):
        power += (y[t] - mean) ** 2
    if power <= 1e-20 * max(mean * mean, 1e-280) * n:
        return False
    squares, last = 0.0, 0.0
    for lag in range(1, m + 1):
        total = 0.0
        for t in range(lag, n):
            total += (y[t] - mean) * (y[t - lag] - mean)
        last = total / power
        if lag < m:
            squares += last * last
    return abs(last) > _TEST * math.sqrt((1 + 2 * squares) / n)


@kernel
def decompose(y, m, kind, phase, index):
    """Classical decomposition: seasonal indices of all rows, by their place in the season. Whether it could be done.

    A centred moving average over a season is the trend; the indices are the mean deviations from it, made to add up to
    0 (additive) or to have mean 1 (multiplicative; refused where an index would be nearly 0).

    Parameters
    ----------
    y : shape [n], n >= 2 m. kind : `ADDITIVE` or `MULTIPLICATIVE`. phase : place of row 0 in the season.
    index : shape [m], written.
    """
    n = len(y)
    half = m // 2
    count = np.zeros(m)
    index[:m] = 0.0
    for t in range(half, n - half):
        if m % 2:
            trend = 0.0
            for k in range(t - half, t + half + 1):
                trend += y[k]
        else:
            trend = 0.5 * (y[t - half] + y[t + half])
            for k in range(t - half + 1, t + half):
                trend += y[k]
        trend /= m
        place = (phase + t) % m
        if kind == ADDITIVE:
            index[place] += y[t] - trend
        else:
            if trend <= 0:
                return False
            index[place] += y[t] / trend
        count[place] += 1
    mean = 0.0
    for j in range(m):
        if count[j] == 0:
            return False
        index[j] /= count[j]
        mean += index[j] / m
    for j in range(m):
        if kind == ADDITIVE:
            index[j] -= mean
        else:
            index[j] /= mean
            if not index[j] > _LEAST_INDEX:
                return False
    return True
