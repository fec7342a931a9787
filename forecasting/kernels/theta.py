"""Theta models of many series: standard, optimised, dynamic, dynamic optimised.

Assimakopoulos & Nikolopoulos (2000), The theta model, IJF 16; Hyndman & Billah (2003), Unmasking the theta method, IJF
19; Fiorucci, Pellegrini, Louzada, Petropoulos & Koehler (2016), Models for optimising the theta method, IJF 32, whose
state-space form this is. The line of the static models is a least-squares fit through all rows, that of the dynamic
ones is updated with every row.
"""

from __future__ import annotations

import math

import numpy as np

from forecasting.kernels.compiled import kernel
from forecasting.kernels.seasonal import ADDITIVE, MULTIPLICATIVE, NONE, decompose, is_seasonal
from forecasting.kernels.simplex import ask, begin, new_simplex, tell

STANDARD, OPTIMIZED, DYNAMIC, DYNAMIC_OPTIMIZED, AUTO = 0, 1, 2, 3, 4
AUTO_DECOMPOSITION = 3

LOW_ALPHA, HIGH_ALPHA, MOST_THETA = 0.01, 0.99, 50.0
_MOST_EVALUATIONS = 250
_TOLERANCE = 1e-7
_HUGE = 1e300


@kernel
def line(x):
    """Intercept and slope of the least-squares line through x [n] over 1..n."""
    n = len(x)
    middle = (n + 1) / 2
    mean, top = 0.0, 0.0
    for t in range(n):
        mean += x[t]
        top += x[t] * (t + 1 - middle)
    mean /= n
    slope = 12 * top / (n * (n * n - 1.0)) if n > 1 else 0.0
    return mean - slope * middle, slope


@kernel
def run(x, alpha, level, theta, dynamic, a, b, ahead):
    """Filter x [n] and forecast: sum of squared one-step errors from the second row on.

    Parameters
    ----------
    alpha, level, theta : smoothing parameter, level before row 0, theta >= 1. dynamic : whether the line is updated.
    a, b : intercept and slope of the static line. ahead : shape [h], written.
    """
    n = len(x)
    share = 1 - 1 / theta
    rest = 1 - alpha
    decay = 1.0  # (1 - alpha) ** t
    mean, total = 0.0, 0.0
    if dynamic:
        a, b = x[0], 0.0
    for t in range(n + len(ahead)):
        after = decay * rest
        mu = level + share * (decay * a + (1 - after) / alpha * b)
        if t < n:
            value = x[t]
            if t > 0:
                error = value - mu
                total += error * error
        else:
            value = mu
            ahead[t - n] = mu
        level += alpha * (value - level)
        decay = after
        if dynamic:
            k = t + 1.0
            if t == 0:
                mean = value
            else:
                b = ((k - 2) * b + 6 * (value - mean) / k) / (k + 1)
                mean += (value - mean) / k
                a = mean - b * (k + 1) / 2
    return total


@kernel
def _estimate(x, method, search, bounds, nothing, out):
    """Estimate one model on x [n]; writes alpha, level, theta to out [3] and returns the sum of squares.

    Standard: alpha and level with theta 2. Optimised: theta too.
    """
    free_theta = method == OPTIMIZED or method == DYNAMIC_OPTIMIZED  # noqa: PLR1714 - numba
    dynamic = method >= DYNAMIC
    a, b = line(x)
    begin(search, bounds[2], bounds[3], bounds[0], bounds[1])
    while ask(search, bounds[0], bounds[1], _TOLERANCE * len(x), _MOST_EVALUATIONS):
        theta = search.trial[2] if free_theta else 2.0
        tell(search, run(x, search.trial[0], search.trial[1], theta, dynamic, a, b, nothing))
    out[0], out[1] = search.points[0, 0], search.points[0, 1]
    out[2] = search.points[0, 2] if free_theta else 2.0
    return search.values[0]


@kernel
def fit(values, indptr, start, first, end, m, method, decomposition, par, kind, chosen, index, sigma):
    """Fit series first..end.

    Parameters
    ----------
    values, indptr, start : flat series and their first grid steps. m : steps a season.
    method : `STANDARD` ... `AUTO`. decomposition : `NONE`, `ADDITIVE`, `MULTIPLICATIVE` or `AUTO_DECOMPOSITION`.
    par : shape [n, 4], written: alpha, level, theta, scale the series was divided by. kind, chosen : shape [n] int64,
        written: decomposition and method. index : shape [n, m], written: seasonal indices by grid step modulo m.
    sigma : shape [n], written: standard deviation of one-step errors of the scaled, adjusted series.
    """
    search = new_simplex(3)
    bounds = np.empty((4, 3))
    best, trial, nothing = np.empty(3), np.empty(3), np.empty(0)
    for i in range(first, end):
        y = values[indptr[i] : indptr[i + 1]]
        n = len(y)
        scale = 0.0
        for t in range(n):
            scale += abs(y[t]) / n
        if not scale > 0:
            scale = 1.0
        x = y / scale
        kind[i] = _deseasonalise(x, m, start[i], decomposition, index[i])
        low, high = x.min(), x.max()
        reach = max(high - low, 1e-9)
        bounds[0, 0], bounds[1, 0] = LOW_ALPHA, HIGH_ALPHA
        bounds[0, 1], bounds[1, 1] = low - reach, high + reach
        bounds[0, 2], bounds[1, 2] = 1.0, MOST_THETA
        bounds[2, 0], bounds[2, 1], bounds[2, 2] = 0.4, x[0] / 2 if method != STANDARD else x[0], 2.0
        bounds[3, 0], bounds[3, 1], bounds[3, 2] = 0.25, 0.25 * reach, 2.0
        chosen[i] = method
        power = _HUGE
        if method == AUTO:
            value = _HUGE
            for candidate in range(4):
                squares = _estimate(x, candidate, search, bounds, nothing, trial)
                k = 3.0 if candidate in (STANDARD, DYNAMIC) else 4.0
                score = n * math.log(max(squares, 1e-280)) + 2 * k
                if score < value:
                    value, power, chosen[i] = score, squares, candidate
                    best[:] = trial
        else:
            power = _estimate(x, method, search, bounds, nothing, best)
        par[i, 0], par[i, 1], par[i, 2], par[i, 3] = best[0], best[1], best[2], scale
        sigma[i] = math.sqrt(power / max(n - 3.0, 1.0))


@kernel
def _deseasonalise(x, m, phase, decomposition, index):
    """Take the season out of x [n] in place, where there is one; the kind of decomposition used."""
    index[:] = 0.0
    if decomposition == NONE or not is_seasonal(x, m):
        return NONE
    kind = decomposition
    if decomposition == AUTO_DECOMPOSITION:
        kind = MULTIPLICATIVE if x.min() >= 0 else ADDITIVE
    if not decompose(x, m, kind, phase, index):
        kind = ADDITIVE
        if not decompose(x, m, kind, phase, index):
            return NONE
    adjust(x, m, phase, kind, index)
    return kind


@kernel
def adjust(x, m, phase, kind, index):
    """Take seasonal indices [m] out of x [n], in place."""
    if kind == NONE:
        return
    for t in range(len(x)):
        s = index[(phase + t) % m]
        if kind == MULTIPLICATIVE:
            x[t] /= s
        else:
            x[t] -= s


@kernel
def forecast(values, indptr, start, first, end, m, par, kind, chosen, index, sigma, point, spread):
    """Forecast series first..end from their last rows: point and standard deviation, both [n, h], written.

    The variance of the error h steps ahead is that of simple exponential smoothing with drift, sigma^2 (1 + (h - 1)
    alpha^2) (Hyndman & Billah 2003), times the seasonal index where it multiplies.
    """
    h = point.shape[1]
    for i in range(first, end):
        scale = par[i, 3]
        x = values[indptr[i] : indptr[i + 1]] / scale
        adjust(x, m, start[i], kind[i], index[i])
        a, b = line(x)
        run(x, par[i, 0], par[i, 1], par[i, 2], chosen[i] >= DYNAMIC, a, b, point[i])
        n = len(x)
        for step in range(h):
            width = sigma[i] * math.sqrt(1 + step * par[i, 0] ** 2)
            if kind[i] != NONE:
                s = index[i, (start[i] + n + step) % m]
                if kind[i] == MULTIPLICATIVE:
                    point[i, step] *= s
                    width *= s
                else:
                    point[i, step] += s
            point[i, step] *= scale
            spread[i, step] = width * scale
