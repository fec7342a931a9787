"""Exponential smoothing in state-space form: one series run through one form, with and without derivatives.

A form is three codes: error (0 additive, 1 multiplicative), trend (0 none, 1 additive, 2 additive damped,
3 multiplicative, 4 multiplicative damped), season (0 none, 1 additive, 2 multiplicative). Its parameters stand in one
array x [6 + m]: alpha, beta / alpha, gamma / (1 - alpha), phi, first level, first trend, then the m seasonal states,
entry t % m being the one of row t. Fractions instead of beta and gamma make the usual region a box. Equations:
Hyndman, Koehler, Ord & Snyder (2008), table 2.3; both kinds of error move the states alike.
"""
# ruff: noqa: PLR1714 - numba builds a tuple for `in`

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from forecasting.kernels.compiled import kernel

ALPHA, SLOPE, SHARE, PHI, LEVEL, TREND, SEASON = 0, 1, 2, 3, 4, 5, 6
"""Places in x; seasonal states from the last one on."""

TINY = 1e-8
"""States and forecasts of multiplicative forms stay above this (series are scaled to a mean of about 1)."""

_BLOCK = 4


class Work(NamedTuple):
    """Scratch of one thread for seasons up to m and p free parameters.

    Parameters
    ----------
    matrix, factor : shape [p, p], normal equations and their factor. gradient, step : shape [p].
    trial : shape [6 + m], parameters to try.
    level, trend, moved, base, mean, total, drift : shape [p], derivatives of the parts of one step, and sums.
    season : shape [m, p], derivatives of the seasonal states. block : shape [4, p], rows waiting to be added.
    state : shape [2 + m], states after the last row.
    """

    matrix: np.ndarray
    factor: np.ndarray
    gradient: np.ndarray
    step: np.ndarray
    trial: np.ndarray
    level: np.ndarray
    trend: np.ndarray
    moved: np.ndarray
    base: np.ndarray
    mean: np.ndarray
    total: np.ndarray
    drift: np.ndarray
    season: np.ndarray
    block: np.ndarray
    state: np.ndarray


@kernel
def new_work(m, p):
    """Scratch for forms with up to m seasonal states and p free parameters."""
    return Work(
        np.zeros((p, p)),
        np.zeros((p, p)),
        np.zeros(p),
        np.zeros(p),
        np.zeros(SEASON + m),
        np.zeros(p),
        np.zeros(p),
        np.zeros(p),
        np.zeros(p),
        np.zeros(p),
        np.zeros(p),
        np.zeros(p),
        np.zeros((m, p)),
        np.zeros((_BLOCK, p)),
        np.zeros(2 + m),
    )


@kernel
def run(y, seen, error, trend, season, m, x, state):
    """Filter a series and measure the fit.

    Parameters
    ----------
    y, seen : shape [n]; where not seen, the states move on without an error.
    x : the parameters. state : shape [2 + m], written: level, trend and seasonal states after the last row.

    Returns
    -------
    fit : what maximum likelihood makes small: the sum of squared errors, of multiplicative ones times the squared
        geometric mean of the one-step forecasts. n log(fit) is -2 log-likelihood up to a constant. Infinite where a
        multiplicative form leaves the positive numbers.
    power : plain sum of squared errors.
    """
    alpha = x[ALPHA]
    beta = alpha * x[SLOPE] if trend > 0 else 0.0
    gamma = (1 - alpha) * x[SHARE] if season > 0 else 0.0
    phi = x[PHI] if trend == 2 or trend == 4 else 1.0
    level = x[LEVEL]
    slope = x[TREND] if trend > 0 else 0.0
    for i in range(m):
        state[2 + i] = x[SEASON + i]
    power, logs, product, count, k = 0.0, 0.0, 1.0, 0, 0
    for t in range(len(y)):
        if trend <= 2:
            step = phi * slope
            base = level + step
        else:
            step = slope**phi if trend == 4 else slope
            base = level * step
        s = state[2 + k] if season > 0 else 0.0
        if season == 2:
            mean = base * s
            if not (base > TINY and s > TINY):
                return np.inf, np.inf
        else:
            mean = base + s
        if error == 1 and not mean > TINY:
            return np.inf, np.inf
        if seen[t]:
            e = y[t] - mean
            if error == 1:
                r = e / mean
                power += r * r
                # one logarithm for many factors
                product *= mean
                if product > 1e100 or product < 1e-100:
                    logs += np.log(product)
                    product = 1.0
            else:
                power += e * e
            count += 1
            if season == 2:
                state[2 + k] = s + gamma * e / base
                e = e / s
            elif season == 1:
                state[2 + k] = s + gamma * e
            if trend > 2:
                slope = step + beta * e / level
                level = base + alpha * e
                if not (slope > TINY and level > TINY):
                    return np.inf, np.inf
            else:
                slope = step + beta * e
                level = base + alpha * e
        else:
            slope, level = step, base
        k += 1
        if k == m:
            k = 0
    state[0], state[1] = level, slope
    if error == 1 and count > 0:
        logs += np.log(product)
        return power * np.exp(2 * logs / count), power
    return power, power


@kernel
def normal_equations(y, seen, error, trend, season, m, p, x, w):
    """Fill `w.matrix` with J'J and `w.gradient` with J'r, J the derivatives of the residuals r by the first p of x.

    The residuals are those whose squares `run` sums; of multiplicative errors the common factor (the geometric mean
    of the forecasts) is left out of both after it was differentiated. x must be one for which `run` gives a finite
    fit.
    """
    alpha = x[ALPHA]
    beta = alpha * x[SLOPE] if trend > 0 else 0.0
    gamma = (1 - alpha) * x[SHARE] if season > 0 else 0.0
    damped = trend == 2 or trend == 4
    phi = x[PHI] if damped else 1.0
    level = x[LEVEL]
    slope = x[TREND] if trend > 0 else 0.0
    state, dl, db, ds, dstep, dbase, dmean = w.state, w.level, w.trend, w.season, w.moved, w.base, w.mean
    total, drift, block = w.total, w.drift, w.block
    for i in range(p):
        for j in range(p):
            w.matrix[i, j] = 0.0
    for j in range(p):
        dl[j], db[j], dstep[j], total[j], drift[j] = 0.0, 0.0, 0.0, 0.0, 0.0
    dl[LEVEL] = 1.0
    if trend > 0:
        db[TREND] = 1.0
    for i in range(m):
        state[2 + i] = x[SEASON + i]
        for j in range(p):
            ds[i, j] = 0.0
        if p > SEASON:
            ds[i, SEASON + i] = 1.0
    power, count, rows, k = 0.0, 0, 0, 0
    for t in range(len(y)):
        s = state[2 + k] if season > 0 else 0.0
        if trend <= 2:
            step = phi * slope
            base = level + step
            if trend > 0:
                for j in range(p):
                    dstep[j] = phi * db[j]
                if damped:
                    dstep[PHI] += slope
            for j in range(p):
                dbase[j] = dl[j] + dstep[j]
        else:
            step = slope**phi if damped else slope
            base = level * step
            rate = phi * step / slope
            for j in range(p):
                dstep[j] = rate * db[j]
            if damped:
                dstep[PHI] += step * np.log(slope)
            for j in range(p):
                dbase[j] = step * dl[j] + level * dstep[j]
        mean = base
        if season == 0:
            for j in range(p):
                dmean[j] = dbase[j]
        elif season == 1:
            mean = base + s
            for j in range(p):
                dmean[j] = dbase[j] + ds[k, j]
        else:
            mean = base * s
            for j in range(p):
                dmean[j] = s * dbase[j] + base * ds[k, j]
        if not seen[t]:
            slope, level = step, base
            for j in range(p):
                db[j] = dstep[j]
                dl[j] = dbase[j]
            k = k + 1 if k + 1 < m else 0
            continue
        e = y[t] - mean
        r, factor = e, -1.0
        if error == 1:
            r = e / mean
            factor = -y[t] / (mean * mean)
            inverse = 1 / mean
            for j in range(p):
                drift[j] += inverse * dmean[j]
        for j in range(p):
            one = factor * dmean[j]
            block[rows, j] = one
            total[j] += r * one
        power += r * r
        count += 1
        rows += 1
        if rows == _BLOCK:
            _add_block(w.matrix, block, p)
            rows = 0
        # from here on e is the error as level and trend see it, and dmean minus its derivative
        seasonal = e
        if season == 1:
            for j in range(p):
                ds[k, j] -= gamma * dmean[j]
            state[2 + k] = s + gamma * e
        elif season == 2:
            seasonal = e / base
            e = e / s
            over_s, over_base = 1 / s, gamma / base
            for j in range(p):
                d = ds[k, j]
                ds[k, j] = d - over_base * (dmean[j] + seasonal * dbase[j])
                dmean[j] = over_s * (dmean[j] + e * d)
            state[2 + k] = s + gamma * seasonal
        if season > 0:
            ds[k, ALPHA] -= x[SHARE] * seasonal
            ds[k, SHARE] += (1 - alpha) * seasonal
        if trend > 2:
            gain, ratio = beta / level, e / level
            for j in range(p):
                db[j] = dstep[j] - gain * (dmean[j] + ratio * dl[j])
            db[ALPHA] += x[SLOPE] * ratio
            db[SLOPE] += alpha * ratio
            slope = step + beta * ratio
        elif trend > 0:
            for j in range(p):
                db[j] = dstep[j] - beta * dmean[j]
            db[ALPHA] += x[SLOPE] * e
            db[SLOPE] += alpha * e
            slope = step + beta * e
        for j in range(p):
            dl[j] = dbase[j] - alpha * dmean[j]
        dl[ALPHA] += e
        level = base + alpha * e
        k = k + 1 if k + 1 < m else 0
    if rows > 0:
        for i in range(rows, _BLOCK):
            for j in range(p):
                block[i, j] = 0.0
        _add_block(w.matrix, block, p)
    for i in range(p):
        w.gradient[i] = total[i]
    if error == 1 and count > 0:
        for i in range(p):
            drift[i] /= count
        for i in range(p):
            for j in range(p):
                w.matrix[i, j] += total[i] * drift[j] + drift[i] * total[j] + power * drift[i] * drift[j]
            w.gradient[i] += power * drift[i]


@kernel
def _add_block(matrix, block, p):
    """Add the outer products of the rows of a block."""
    for i in range(p):
        a, b, c, d = block[0, i], block[1, i], block[2, i], block[3, i]
        for j in range(p):
            matrix[i, j] += a * block[0, j] + b * block[1, j] + c * block[2, j] + d * block[3, j]
