"""Complex exponential smoothing (CES) of many series: without a season, simple, partial and full seasonal forms.

Svetunkov, Kourentzes & Ord (2022), Complex exponential smoothing, Naval Research Logistics 69. A level and its
"information potential" are the two parts of one complex number, smoothed by a complex parameter a0 + i a1; as a linear
state-space model with one source of error e::

    y = l + e,  l' = l - (1 - a1) c + (a0 - a1) e,  c' = l + (1 - a0) c + (a0 + a1) e

The simple seasonal form keeps such a pair for each step of the season. The partial one adds to the pair real seasonal
states s' = s + b0 e, the full one a second complex pair for each step of the season, with b0 + i b1. First states come
from filtering the series forth and back (back-casting).
"""

from __future__ import annotations

import math

import numpy as np

from forecasting.kernels.compiled import kernel, part
from forecasting.kernels.seasonal import ADDITIVE, decompose
from forecasting.kernels.simplex import ask, begin, new_simplex, tell

NONE, SIMPLE, PARTIAL, FULL = 0, 1, 2, 3
"""Forms."""

A0, A1, B0, B1 = 0, 1, 2, 3
"""Columns of the parameters."""

LEVEL, POTENTIAL, SEASONAL, SHADOW = 0, 1, 2, 3
"""Rows of the states [4, m]; the column is the row of the series modulo m, or 0 for a pair without a season."""

FORM, REASON, REJECTED = 0, 1, 2
"""Columns of `codes`."""

SIGMA, AICC = 0, 1
"""Columns of `numbers`."""

_FITTED, _EXPLODED = 0, 3
_BAND = 3.0
_FLOOR = 1e-14
_LEAST_ESTIMATED, _BEYOND = 8, 3
_MOST_EVALUATIONS, _TOLERANCE = 400, 1e-6
_SLACK = 1 / 1.001
_HUGE = 1e300
_LOWER, _UPPER, _STEPS = (0.25, -0.75, 0.0, -0.75), (2.75, 1.75, 2.75, 1.75), (0.15, 0.005, 0.1, 0.02)
_PAIRS = ((1.1, 1.0), (1.4, 1.0), (1.9, 1.0))
_SEASONS = (0.03, 0.2, 0.5)


@kernel
def run(x, form, p, m, state, back):
    """Filter x [n] from its first row to its last, or back: sum of squared one-step errors.

    Parameters
    ----------
    form : `NONE` ... `FULL`. p : shape [4], parameters; unused ones do not matter. m : steps a season, >= 1.
    state : shape [4, m], states before the first row met, updated. back : whether rows are met from the last on.
    """
    n = len(x)
    total = 0.0
    t = n - 1 if back else 0
    j = t % m
    for _ in range(n):
        k = j if form == SIMPLE else 0
        level, potential = state[LEVEL, k], state[POTENTIAL, k]
        error = x[t] - level
        if form >= PARTIAL:
            s = state[SEASONAL, j]
            error -= s
            if form == PARTIAL:
                state[SEASONAL, j] = s + p[B0] * error
            else:
                shadow = state[SHADOW, j]
                state[SEASONAL, j] = s - (1 - p[B1]) * shadow + (p[B0] - p[B1]) * error
                state[SHADOW, j] = s + (1 - p[B0]) * shadow + (p[B0] + p[B1]) * error
        state[LEVEL, k] = level - (1 - p[A1]) * potential + (p[A0] - p[A1]) * error
        state[POTENTIAL, k] = level + (1 - p[A0]) * potential + (p[A0] + p[A1]) * error
        total += error * error
        if back:
            t -= 1
            j = j - 1 if j > 0 else m - 1
        else:
            t += 1
            j = j + 1 if j + 1 < m else 0
    return total


@kernel
def project(form, p, m, state, t, ahead):
    """Iterate the transition without errors from row t on; writes forecasts to `ahead` [h] and updates the states."""
    for step in range(len(ahead)):
        j = (t + step) % m
        k = j if form == SIMPLE else 0
        level, potential = state[LEVEL, k], state[POTENTIAL, k]
        ahead[step] = level
        if form >= PARTIAL:
            s, shadow = state[SEASONAL, j], state[SHADOW, j]
            ahead[step] += s
            if form == FULL:
                state[SEASONAL, j] = s - (1 - p[B1]) * shadow
                state[SHADOW, j] = s + (1 - p[B0]) * shadow
        state[LEVEL, k] = level - (1 - p[A1]) * potential
        state[POTENTIAL, k] = level + (1 - p[A0]) * potential


@kernel
def stable(form, p, m, poly):
    """Whether the filter forgets its first states: all eigenvalues of F - g w' inside the unit circle.

    Beside seasonal states, eigenvalues up to 1.001 are let pass: with a1 > 1, a growing level, one always lies a little
    outside, for the level and the mean of the seasonal states then drift apart.

    The characteristic polynomial is D_a P_s + P_a D_s - P_a P_s in the lag operator, P = det(I - F B) and
    D = det(I - (F - g w') B) of the pair of the level and of the season; the step-down recursion of Schur and Cohn
    tells where its roots lie.

    Parameters
    ----------
    poly : shape [2 m + 3], scratch.
    """
    a0, a1 = p[A0], p[A1]
    trace, det = 2 - 2 * a0 + a1, (1 - a0 + a1) * (1 - a0) - (a1 - 1) * (1 - a0 - a1)
    if form <= SIMPLE:
        return abs(det) < 1 and abs(trace) < 1 + det
    b0, b1 = p[B0], p[B1]
    size = m + 3 if form == PARTIAL else 2 * m + 3
    for i in range(size):
        poly[i] = 0.0
    # at lags 0, m, 2 m: P_s, and D_s - P_s
    p_1, p_2, d_1, d_2 = -1.0, 0.0, b0, 0.0
    if form == FULL:
        p_1, p_2 = b0 - 2, 2 - b0 - b1
        d_1 = -(2 - 2 * b0 + b1) - p_1
        d_2 = (1 - b0 + b1) * (1 - b0) - (b1 - 1) * (1 - b0 - b1) - p_2
    for i in range(3):
        d_a = 1.0 if i == 0 else -trace if i == 1 else det
        p_a = 1.0 if i == 0 else a0 - 2 if i == 1 else 2 - a0 - a1
        poly[i] += d_a
        poly[m + i] += d_a * p_1 + p_a * d_1
        if form == FULL:
            poly[2 * m + i] += d_a * p_2 + p_a * d_2
    shrink = 1.0
    for i in range(size):
        poly[i] *= shrink
        shrink *= _SLACK
    for degree in range(size - 1, 0, -1):
        share = poly[degree] / poly[0]
        if not abs(share) < 1:
            return False
        for i in range(degree // 2 + 1):
            head, tail = poly[i], poly[degree - i]
            poly[i], poly[degree - i] = head - share * tail, tail - share * head
    return True


@part
def _begin_states(x, form, p, m, index, state):
    """First guess of the states before row 0, linear in x [n]: means, seasonal indices [m], potentials at rest."""
    state[:] = 0.0
    if form == SIMPLE:
        for j in range(m):
            state[LEVEL, j] = x[j]
    else:
        head = min(len(x), max(m, 10) if form == NONE else m)
        for t in range(head):
            state[LEVEL, 0] += x[t] / head
    for j in range(m):
        state[POTENTIAL, j] = state[LEVEL, j] / p[A0]
        if form >= PARTIAL:
            state[SEASONAL, j] = index[j]
            if form == FULL:
                state[SHADOW, j] = index[j] / p[B0]


@kernel
def smooth(x, form, p, m, index, state):
    """Back-cast the first states and filter x [n]: sum of squared one-step errors; states after the last row."""
    _begin_states(x, form, p, m, index, state)
    total = 0.0
    for sweep in range(3):
        total = run(x, form, p, m, state, sweep == 1)
    return total


@part
def _copy(source, size, target):
    """Copy the first `size` numbers."""
    for j in range(size):
        target[j] = source[j]


@part
def _first(x, form, m, index, state, poly, p, best):
    """Try a coarse grid of parameters; the best stable ones end in best [4]. Its sum of squares, or infinity."""
    value = np.inf
    for i in range(9 if form >= PARTIAL else 3):
        p[A0], p[A1] = _PAIRS[i % 3]
        p[B0], p[B1] = _SEASONS[i // 3] + (1.0 if form == FULL else 0.0), 1.0
        if stable(form, p, m, poly):
            trial = smooth(x, form, p, m, index, state)
            if trial < value:
                value = trial
                _copy(p, 4, best)
    return value


@part
def _estimate(x, form, free, m, index, state, poly, p, best):
    """Estimate the first `free` parameters of a form on x [n]: written to best [4]; the sum of squares, or infinity.

    A coarse grid, then the simplex from its best point. index : shape [m], seasonal indices to start from. state :
    shape [4, m], poly : shape [2 m + 3], p : shape [4], scratch.
    """
    value = _first(x, form, m, index, state, poly, p, best)
    if not value < _HUGE or len(x) < _LEAST_ESTIMATED:
        return value
    lower, upper, steps = np.empty(free), np.empty(free), np.empty(free)
    for j in range(free):
        lower[j], upper[j], steps[j] = _LOWER[j], _UPPER[j], _STEPS[j]
    search = new_simplex(free)
    _copy(best, 4, p)
    begin(search, best[:free].copy(), steps, lower, upper)
    while ask(search, lower, upper, _TOLERANCE * value, _MOST_EVALUATIONS):
        _copy(search.trial, free, p)
        tell(search, smooth(x, form, p, m, index, state) if stable(form, p, m, poly) else _HUGE)
    _copy(search.points[0], free, best)
    return search.values[0]


@part
def _seasonal_indices(x, m, index):
    """Additive indices [m] of the rows of x [n] modulo m; whether they could be found."""
    return m > 1 and len(x) >= 2 * m + _BEYOND and decompose(x, m, ADDITIVE, 0, index)


@part
def _scale_of(y):
    """Mean absolute value of y [n], 1 where that is 0."""
    scale = 0.0
    for t in range(len(y)):
        scale += abs(y[t]) / len(y)
    return scale if scale > 0 else 1.0


@part
def _ends(x):
    """The least and the greatest of x [n]."""
    low, high = x[0], x[0]
    for t in range(len(x)):
        low, high = min(low, x[t]), max(high, x[t])
    return low, high


@part
def _inside(ahead, low, high):
    """Whether all of ahead [h] lie in low..high."""
    inside = True
    for step in range(len(ahead)):
        inside = inside and low <= ahead[step] <= high
    return inside


@kernel
def fit(values, indptr, first, end, m, forms, horizon, par, numbers, codes):
    """Fit series first..end in the forms asked for and keep the best by AICc whose forecast stays near what was seen.

    Seasonal forms are for series of two seasons and 3 rows. Where the forecasts of all forms leave the band of 3
    ranges, the one without a season and with a1 = 1 stays: its forecast is level.

    Parameters
    ----------
    values, indptr : flat series. m : steps a season. forms : shape [4] bool, forms to try.
    horizon : steps that the forecast must stay in the band.
    par : shape [n, 4], written: a0, a1, b0, b1. numbers : shape [n, 2], written: standard deviation of one-step errors
        in units of the series, AICc. codes : shape [n, 3] int64, written: form, reason (0, or 3 where even the level
        forecast explodes), forms of better AICc that were rejected.
    """
    index, state, poly = np.zeros(m), np.zeros((4, m)), np.zeros(2 * m + 3)
    p, best, ahead, criteria = np.zeros(4), np.zeros(4), np.zeros(horizon), np.zeros(4)
    sane = np.zeros(4, dtype=np.bool_)
    for i in range(first, end):
        scale = _scale_of(values[indptr[i] : indptr[i + 1]])
        x = values[indptr[i] : indptr[i + 1]] / scale
        n = len(x)
        low, high = _ends(x)
        codes[i, FORM], codes[i, REASON], codes[i, REJECTED] = NONE, _FITTED, 0
        numbers[i, SIGMA], numbers[i, AICC] = 0.0, 0.0
        par[i, A0], par[i, A1], par[i, B0], par[i, B1] = 1.4, 1.0, 0.0, 1.0
        if high - low <= 1e-9 * max(abs(low), abs(high)):
            continue
        reach = max(_BAND * (high - low), 1e-6 * max(abs(low), abs(high)))
        index[:] = 0.0
        cyclic = _seasonal_indices(x, m, index)
        least, sigma, chosen = np.inf, 0.0, -1
        for form in range(5):
            # the fifth is the form without drift, for series where the others explode
            kind = form if form < 4 else NONE
            if form < 4:
                criteria[form], sane[form] = np.inf, True
                if not (cyclic and forms[form]) and (cyclic or form != NONE):
                    continue
            elif chosen >= 0:
                break
            free = 1 if form > FULL else 2 if form <= SIMPLE else form + 1
            squares = _estimate(x, kind, free, m, index, state, poly, p, best)
            if not squares < _HUGE:
                continue
            k = free + 1 + (0 if kind == NONE else m)
            score = n * math.log(max(squares / n, _FLOOR)) + 2 * k
            score += 2 * k * (k + 1) / (n - k - 1) if n > k + 1 else _HUGE
            smooth(x, kind, best, m, index, state)
            project(kind, best, m, state, n, ahead)
            good = _inside(ahead, low - reach, high + reach)
            if form < 4:
                criteria[form], sane[form] = score, good
            if good and (score < least or chosen < 0):
                least, chosen, sigma = score, kind, math.sqrt(squares / max(n - k, 1.0))
                _copy(best, 4, par[i])
        if chosen < 0:
            codes[i, REASON] = _EXPLODED
            continue
        for form in range(4):
            codes[i, REJECTED] += not sane[form] and criteria[form] < least
        codes[i, FORM] = chosen
        numbers[i, SIGMA], numbers[i, AICC] = sigma * scale, least + 2 * n * math.log(scale)


@kernel
def forecast(values, indptr, first, end, m, par, numbers, codes, point, spread):
    """Forecast series first..end from their last rows: point and standard deviation, both [n, h], written.

    The states are found anew from the rows given. The variance of the error h steps ahead is sigma^2 (1 + c_1^2 + ... +
    c_(h-1)^2) with c_j = w' F^(j-1) g, the answer of the forecasts to an error of 1. NaN where a series has fewer rows
    than its form needs.
    """
    horizon = point.shape[1]
    index, state, answer = np.zeros(m), np.zeros((4, m)), np.zeros(horizon)
    one = np.ones(1)
    for i in range(first, end):
        form, p = codes[i, FORM], par[i]
        scale = _scale_of(values[indptr[i] : indptr[i + 1]])
        x = values[indptr[i] : indptr[i + 1]] / scale
        index[:] = 0.0
        if form != NONE and not _seasonal_indices(x, m, index):
            point[i], spread[i] = np.nan, np.nan
            continue
        smooth(x, form, p, m, index, state)
        project(form, p, m, state, len(x), point[i])
        state[:] = 0.0
        run(one, form, p, m, state, False)
        project(form, p, m, state, 1, answer)
        power = 1.0
        for step in range(horizon):
            point[i, step] *= scale
            spread[i, step] = numbers[i, SIGMA] * math.sqrt(min(power, _HUGE))
            power += answer[step] ** 2
