"""Estimation of one form of exponential smoothing: maximum likelihood over gains and first states.

Both likelihoods are sums of squares (`ets.run`), so a form is estimated by damped Gauss-Newton steps with exact
derivatives inside the box of parameters (Marquardt 1963; bounds by an active set): some ten steps where a simplex
search over as many first states needs thousands of evaluations.
"""
# ruff: noqa: PLR1714 - numba builds a tuple for `in`

from __future__ import annotations

import numpy as np

from forecasting.kernels.compiled import kernel
from forecasting.kernels.ets import ALPHA, LEVEL, PHI, SEASON, SHARE, SLOPE, TINY, TREND, normal_equations, run

MOST_FREE = 24
"""Longest season whose first states are estimated; those of longer ones stay where the decomposition put them."""

FLOOR = 1e-24
"""Fits a row below this are rounding."""

_MOST_TRIES = 8
_TOLERANCE = 2e-3


@kernel
def copy(source, target):
    """Copy an array element by element (slice assignment takes long to compile: its error message is built there)."""
    for i in range(len(target)):
        target[i] = source[i]


@kernel
def bounds(trend, season, m, lower, upper):
    """Fill the box of a form: gains in the usual region, phi in 0.8..0.98, positive states where they multiply."""
    for i in range(len(lower)):
        lower[i], upper[i] = -np.inf, np.inf
    for i in (ALPHA, SLOPE, SHARE):
        lower[i], upper[i] = 1e-4, 0.9999
    lower[PHI], upper[PHI] = 0.8, 0.98
    if season == 2 or trend > 2:
        lower[LEVEL] = 10 * TINY
    if trend > 2:
        lower[TREND] = 10 * TINY
    if season == 2:
        for i in range(m):
            lower[SEASON + i] = 10 * TINY
    if trend == 0:
        lower[SLOPE], upper[SLOPE] = 0.0, 0.0
        lower[TREND], upper[TREND] = 0.0, 0.0
    if season == 0:
        lower[SHARE], upper[SHARE] = 0.0, 0.0
    if trend != 2 and trend != 4:
        lower[PHI], upper[PHI] = 1.0, 1.0


@kernel
def solve(w, p, damping, x, lower, upper, fixed):
    """Write the damped Gauss-Newton step inside the box into `w.step`; whether it could be done.

    A parameter whose step leaves the box stops at the bound, and the others are solved for again.
    """
    a, g, f, d = w.matrix, w.gradient, w.factor, w.step
    for i in range(p):
        # at a bound and pushed against it, or nothing to learn
        fixed[i] = (x[i] <= lower[i] and g[i] > 0) or (x[i] >= upper[i] and g[i] < 0) or not a[i, i] > 0
        d[i] = 0.0
    for _ in range(4):
        for i in range(p):
            if fixed[i]:
                continue
            for j in range(i + 1):
                if fixed[j]:
                    continue
                value = a[i, j] if j < i else a[i, i] * (1 + damping)
                for k in range(j):
                    if not fixed[k]:
                        value -= f[i, k] * f[j, k]
                if i == j:
                    if not value > 1e-14 * a[i, i]:
                        return False
                    f[i, i] = np.sqrt(value)
                else:
                    f[i, j] = value / f[j, j]
        for i in range(p):
            if fixed[i]:
                continue
            value = -g[i]
            for k in range(p):
                if fixed[k]:
                    value -= a[i, k] * d[k]
                elif k < i:
                    value -= f[i, k] * w.trial[k]
            w.trial[i] = value / f[i, i]
        for i in range(p - 1, -1, -1):
            if fixed[i]:
                continue
            value = w.trial[i]
            for k in range(i + 1, p):
                if not fixed[k]:
                    value -= f[k, i] * d[k]
            d[i] = value / f[i, i]
        clipped = False
        for i in range(p):
            if not fixed[i]:
                if x[i] + d[i] < lower[i]:
                    d[i], fixed[i], clipped = lower[i] - x[i], True, True
                elif x[i] + d[i] > upper[i]:
                    d[i], fixed[i], clipped = upper[i] - x[i], True, True
        if not clipped:
            return True
    return True


@kernel
def fit_form(y, seen, n, error, trend, season, m, x, lower, upper, fixed, w, most):
    """Improve x from where it stands to the most likely parameters of a form.

    Returns
    -------
    fit, steps : see `ets.run`; derivative passes done.
    """
    p = SEASON + (m if 0 < m <= MOST_FREE else 0)
    fit, _ = run(y, seen, error, trend, season, m, x, w.state)
    damping, steps, calm = 1e-3, 0, 0
    while steps < most and fit > FLOOR * n and np.isfinite(fit):
        normal_equations(y, seen, error, trend, season, m, p, x, w)
        steps += 1
        better = False
        for _ in range(_MOST_TRIES):
            if solve(w, p, damping, x, lower, upper, fixed):
                for i in range(p):
                    w.trial[i] = min(max(x[i] + w.step[i], lower[i]), upper[i])
                for i in range(p, SEASON + m):
                    w.trial[i] = x[i]
                new, _ = run(y, seen, error, trend, season, m, w.trial, w.state)
                if new < fit:
                    better = True
                    break
            damping = max(4 * damping, 1e-4)
        if not better:
            break
        gain = n * np.log(fit / max(new, 1e-300))
        for i in range(SEASON + m):
            x[i] = w.trial[i]
        fit = new
        # a small gain under strong damping says little
        calm = calm + 1 if gain < _TOLERANCE else 0
        if calm >= (1 if damping < 0.1 else 3):
            break
        damping = max(damping * 0.2, 1e-9)
    return fit, steps
