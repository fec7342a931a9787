"""Maximum likelihood of one seasonal ARIMA order on a differenced series: quasi-Newton on partial autocorrelations.

The parameters of the four polynomials are unconstrained (tanh gives partial autocorrelations), so that every point is
stationary and invertible; regression coefficients and the innovation variance are concentrated out. A model with fewer
terms is the same point with zeros, so neighbours in a search start from each other's estimates.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from forecasting.kernels.arma import HUGE, MOST_U, expand, from_partial, innovations, solve
from forecasting.kernels.compiled import kernel, part
from forecasting.kernels.vectors import copy

MOST_ORDER, MOST_SEASONAL = 5, 2
PARAMETERS = 2 * (MOST_ORDER + MOST_SEASONAL)
"""Room for unconstrained parameters: AR 0..4, MA 5..9, seasonal AR 10..11, seasonal MA 12..13."""

ROOT = 1.01
"""In a search roots of all polynomials lie beyond this (of seasonal ones: beyond its m-th power): R's auto.arima
refuses models with nearer ones, here no point of the search has them."""

EDGE = 2.5
"""Estimates with a larger unconstrained parameter lie at the bound (partial autocorrelations above 0.987)."""

_STEP = 1e-5
_LOG_2_PI = math.log(2 * math.pi)


class Room(NamedTuple):
    """Scratch of one fit, made once a slice of series. Few arrays: compiling takes longer with each of them.

    Parameters
    ----------
    vectors : shape [24, room]: expanded polynomials (`PHI`, `THETA`), regression coefficients (`BETA`), the search
        (`GRADIENT`, `MOVED`, `DIRECTION`, `TRIAL`, `TRIED`, `BEFORE`), forecasts (`DELTA`, `PSI`, `PART`), single
        numbers (`FIGURES`: `SIGMA` and so on), coefficients of the four factors and work (`SHORT`, 5 rows), work of the
        filter (`SCRATCH`, 5 rows).
    matrices : shape [5, most, most]: `SYSTEM`, `STATE`, `CROSS` and `WORK` (see `arma`), `INVERSE`, the inverse
        Hessian.
    columns : shape [rows, 2 + regressors], the differenced series, its regressors, the differenced series without its
        regression part.
    """

    vectors: np.ndarray
    matrices: np.ndarray
    columns: np.ndarray


PHI, THETA, BETA, GRADIENT, MOVED, DIRECTION, TRIAL, TRIED, DELTA, PSI, PART, FIGURES, BEFORE, SHORT = range(14)
SCRATCH = SHORT + 5
SYSTEM, STATE, CROSS, WORK, INVERSE = range(5)
SIGMA, DONE, CAP, THOROUGH, ROOT_OF = range(5)
"""Places of `FIGURES`: standard deviation of the innovations, likelihoods computed, their cap, whether every model is
estimated from white noise too, and how near to zero roots may lie."""


@kernel
def new_room(m, regressors, rows, horizon, root):
    """Scratch for seasons of m steps, so many regressors (a constant among them), rows and steps ahead.

    root : no polynomial has roots nearer to zero, 1 or `ROOT`.
    """
    r = MOST_ORDER + MOST_SEASONAL * m + 3
    c = regressors + 1
    vectors = np.zeros((SCRATCH + 5, max(r, c, horizon + 1, PARAMETERS)))
    vectors[FIGURES, ROOT_OF] = root
    most = max(r + 1, c, PARAMETERS)
    return Room(vectors, np.zeros((5, most, most)), np.zeros((rows, c + 1)))


@kernel
def polynomials(u, order, m, room):
    """Expand the factors at u [14] into `room.vectors[PHI]` and `room.vectors[THETA]`; returns their degrees.

    `order` [4] int64 holds p, q, P, Q. The factors stay in `room.vectors` from `SHORT` on.
    """
    p, q, big_p, big_q = order[0], order[1], order[2], order[3]
    s = room.vectors[SHORT:SCRATCH]
    from_partial(u[0:5], p, s[0], s[4])
    from_partial(u[5:10], q, s[1], s[4])
    from_partial(u[10:12], big_p, s[2], s[4])
    from_partial(u[12:14], big_q, s[3], s[4])
    for k in range(4):
        # roots beyond ROOT; a moving average 1 + theta B is stable where 1 - (-theta) B is
        shrink = 1 / room.vectors[FIGURES, ROOT_OF] if k < 2 else math.pow(room.vectors[FIGURES, ROOT_OF], -m)
        factor = -1.0 if k in (1, 3) else 1.0
        for i in range(order[k]):
            factor *= shrink
            s[k, i] *= factor
    a = expand(s[0], p, s[2], big_p, m, -1.0, room.vectors[PHI])
    b = expand(s[1], q, s[3], big_q, m, 1.0, room.vectors[THETA])
    return a, b


@kernel
def minus_twice(w, u, order, m, k, room):
    """-2 log-likelihood with regression coefficients (to `room.vectors[BETA]`) and variance concentrated out.

    Parameters
    ----------
    w : shape [n, >= 1 + k], differenced series and regressors.
    """
    room.vectors[FIGURES, DONE] += 1
    a, b = polynomials(u, order, m, room)
    n = len(w)
    r = max(a, b + 1)
    cross, state = room.matrices[CROSS, : k + 1, : k + 1], room.matrices[STATE, : k + 1, : r + 1]
    phi, theta = room.vectors[PHI], room.vectors[THETA]
    logs = innovations(w[:, : k + 1], phi, a, theta, b, cross, state, room.vectors[SCRATCH:], room.matrices[SYSTEM])
    if logs >= HUGE:
        return HUGE
    power = solve(cross, k, room.vectors[BETA], room.matrices[WORK])
    value = n * (math.log(power / n) + 1 + _LOG_2_PI) + logs
    return value if math.isfinite(value) else HUGE


@part
def _used(order, where):
    """Places of the parameters an order uses, in `where`; their number."""
    count = 0
    for k in range(4):
        first = (0, 5, 10, 12)[k]
        for i in range(order[k]):
            where[count] = first + i
            count += 1
    return count


@kernel
def fit_order(w, u, order, m, k, tolerance, rounds, room, where):
    """Minimise `minus_twice` from u [14], which holds the estimate afterwards; returns its value.

    Parameters
    ----------
    tolerance : a round that gains less ends it. rounds : at most. where : shape [14] int64, scratch.
    """
    count = _used(order, where)
    for i in range(PARAMETERS):
        kept = False
        for j in range(count):
            kept = kept or where[j] == i
        u[i] = min(max(u[i], -MOST_U), MOST_U) if kept else 0.0
    best = minus_twice(w, u, order, m, k, room)
    if count == 0 or best >= HUGE:
        return best
    gradient, moved, direction = room.vectors[GRADIENT], room.vectors[MOVED], room.vectors[DIRECTION]
    trial, before = room.vectors[TRIAL, :PARAMETERS], room.vectors[BEFORE, :PARAMETERS]
    inverse = room.matrices[INVERSE]
    for number in range(rounds):
        if room.vectors[FIGURES, DONE] >= room.vectors[FIGURES, CAP]:
            break
        _slope(w, u, order, m, k, room, where, count, best, moved)
        if number == 0:
            _unlearned(inverse, count, len(w))
        else:
            _update(inverse, before, u, gradient, moved, where, count, direction)
        copy(moved, gradient)
        slope = 0.0
        for i in range(count):
            total = 0.0
            for j in range(count):
                total -= inverse[i, j] * gradient[j]
            # tanh is flat further out: longer steps would lose their way
            direction[i] = min(max(total, -1.0), 1.0)
            slope += direction[i] * gradient[i]
        if not slope < 0:
            _unlearned(inverse, count, len(w))
            for i in range(count):
                direction[i] = -gradient[i] / len(w)
        length, value = 1.0, HUGE
        for _ in range(8):
            copy(u, trial)
            for i in range(count):
                at = where[i]
                trial[at] = min(max(u[at] + length * direction[i], -MOST_U), MOST_U)
            value = minus_twice(w, trial, order, m, k, room)
            if value < best:
                break
            length *= 0.3
        if not value < best:
            break
        gain = best - value
        best = value
        copy(u, before)
        copy(trial, u)
        if gain < tolerance:
            break
    return best


@part
def _unlearned(inverse, count, n):
    """The inverse Hessian that nothing is known of: a likelihood of n rows has curvatures of about n."""
    for i in range(count):
        for j in range(count):
            inverse[i, j] = 0.0
        inverse[i, i] = 1.0 / n


@part
def _slope(w, u, order, m, k, room, where, count, value, out):
    """Forward differences of `minus_twice` at u."""
    for i in range(count):
        at = where[i]
        kept = u[at]
        step = -_STEP if kept > 0 else _STEP
        u[at] = kept + step
        ahead = minus_twice(w, u, order, m, k, room)
        u[at] = kept
        out[i] = (ahead - value) / step if ahead < HUGE else 0.0


@part
def _update(inverse, old, new, before, after, where, count, work):
    """BFGS update of the inverse Hessian."""
    sy = 0.0
    for i in range(count):
        sy += (new[where[i]] - old[where[i]]) * (after[i] - before[i])
    if not sy > 1e-12:
        return
    yhy = 0.0
    for i in range(count):
        total = 0.0
        for j in range(count):
            total += inverse[i, j] * (after[j] - before[j])
        work[i] = total
        yhy += total * (after[i] - before[i])
    for i in range(count):
        s_i = new[where[i]] - old[where[i]]
        for j in range(count):
            s_j = new[where[j]] - old[where[j]]
            inverse[i, j] += (1 + yhy / sy) * s_i * s_j / sy - (work[i] * s_j + s_i * work[j]) / sy


@kernel
def credible(u):
    """Whether neither the plain moving average nor the plain autoregression lies at the bound of the region.

    In short series the likelihood of a moving average piles up there though the root is none (Shephard & Harvey 1990),
    as after a difference too many; an autoregression there asks for one more difference than the tests took.
    """
    largest = 0.0
    for i in range(2 * MOST_ORDER):
        largest = max(largest, abs(u[i]))
    return largest <= EDGE
