"""Exact Gaussian likelihood of seasonal ARMA models in a number of operations linear in the length of their memory.

The Kalman filter of the state-space form of Harvey (1989, section 3.3), with the gain and the innovation variance
updated by Chandrasekhar recursions (Morf, Sidhu & Kailath 1974; Melard 1984 for ARMA models): for a stationary start
the state covariance changes by a matrix of rank one a step, so the matrix itself is never needed. Regression
coefficients are concentrated out: series and regressors run through the same filter, and generalised least squares on
the innovations gives the coefficients. Polynomials: (1 - phi_1 B - ...) y = (1 + theta_1 B + ...) e.
"""

from __future__ import annotations

import math

from forecasting.kernels.compiled import kernel
from forecasting.kernels.vectors import fill

HUGE = 1e300
MOST_U = 7.0
"""Bound of the unconstrained parameters: partial autocorrelations stay below tanh(7) = 0.999998."""

_STEADY, _EVERY = 1e-10, 4
"""Change of the state's variance from which on it stands still, and after how many steps that is looked at."""

_TINY = 1e-280


@kernel
def from_partial(u, k, coefficients, work):
    """Coefficients of a stationary polynomial of degree k from unconstrained parameters (Monahan 1984).

    tanh maps each to a partial autocorrelation, Durbin-Levinson to coefficients. `work` [>= k] is scratch.
    """
    for i in range(k):
        r = math.tanh(min(max(u[i], -MOST_U), MOST_U))
        for j in range(i):
            work[j] = coefficients[j] - r * coefficients[i - 1 - j]
        for j in range(i):
            coefficients[j] = work[j]
        coefficients[i] = r


@kernel
def is_stable(coefficients, k, radius, work):
    """Whether all roots of 1 - c_1 z - ... - c_k z^k lie beyond `radius`, by stepping Durbin-Levinson down."""
    scale = 1.0
    for i in range(k):
        scale *= radius
        work[i] = coefficients[i] * scale
    for i in range(k - 1, -1, -1):
        r = work[i]
        if not abs(r) < 1:
            return False
        rest = 1 - r * r
        for j in range((i + 1) // 2):
            low, high = work[j], work[i - 1 - j]
            work[j] = (low + r * high) / rest
            work[i - 1 - j] = (high + r * low) / rest
    return True


@kernel
def expand(short, p, seasonal, big_p, m, sign, out):
    """Coefficients of a product of a plain and a seasonal polynomial; returns its degree.

    Parameters
    ----------
    short, seasonal : coefficients. sign : -1 for autoregressive factors, +1 for moving average ones.
    out : written up to p + m big_p.
    """
    degree = p + m * big_p
    fill(out[:degree], 0.0)
    for i in range(p):
        out[i] = short[i]
    for j in range(big_p):
        at = (j + 1) * m - 1
        out[at] += seasonal[j]
        for i in range(p):
            out[at + 1 + i] += sign * seasonal[j] * short[i]
    return degree


@kernel
def _start(phi, p, theta, q, r, gamma, psi, system, gain):
    """Stationary start: autocovariances to `gamma`, T P Z' to `gain` [r] (innovation variance 1). Whether it worked."""
    psi[0] = 1.0
    for k in range(1, r):
        value = theta[k - 1] if k <= q else 0.0
        for j in range(1, min(k, p) + 1):
            value += phi[j - 1] * psi[k - j]
        psi[k] = value
    for k in range(r):
        value = psi[k] if k == 0 else 0.0
        total = value if k == 0 else (theta[k - 1] if k <= q else 0.0)
        for j in range(k + 1, q + 1):
            total += theta[j - 1] * psi[j - k]
        gamma[k] = total
    if p > 0:
        size = p + 1
        for k in range(size):
            for j in range(size):
                system[k, j] = 0.0
            system[k, k] = 1.0
            system[k, size] = gamma[k] if k < r else 0.0
            for j in range(1, p + 1):
                system[k, abs(k - j)] -= phi[j - 1]
        for k in range(size):
            pivot = k
            for i in range(k + 1, size):
                if abs(system[i, k]) > abs(system[pivot, k]):
                    pivot = i
            if not abs(system[pivot, k]) > 1e-14:
                return False
            if pivot != k:
                for j in range(k, size + 1):
                    system[k, j], system[pivot, j] = system[pivot, j], system[k, j]
            inverse = 1 / system[k, k]
            for i in range(k + 1, size):
                factor = system[i, k] * inverse
                if factor != 0.0:
                    for j in range(k, size + 1):
                        system[i, j] -= factor * system[k, j]
        for k in range(size - 1, -1, -1):
            total = system[k, size]
            for j in range(k + 1, size):
                total -= system[k, j] * system[j, size]
            system[k, size] = total / system[k, k]
        for k in range(r):
            if k < size:
                gamma[k] = system[k, size]
            else:
                for j in range(1, p + 1):
                    gamma[k] += phi[j - 1] * gamma[k - j]
    for i in range(r):
        total = 0.0
        for j in range(i + 1, min(r, p) + 1):
            total += phi[j - 1] * gamma[j - i - 1]
        for j in range(i + 1, min(r - 1, q) + 1):
            total += theta[j - 1] * psi[j - i - 1]
        gain[i] = total
    return gamma[0] > 0 and math.isfinite(gamma[0])


@kernel
def innovations(w, phi, p, theta, q, cross, state, scratch, system):
    """Run columns through the filter: sum of log innovation variances; sums of products of innovations in `cross`.

    Parameters
    ----------
    w : shape [n, c], the differenced series and regressors. phi, theta : coefficients, room for r = max(p, q + 1).
    cross : shape [c, c], written: sum over time of v_i v_j / F. state : shape [c, r + 1], written: the states that
        forecast the first step after the end. scratch : shape [5, >= r + 1]. system : shape [p + 1, p + 2].
    """
    n, c = w.shape
    r = max(p, q + 1)
    gamma, psi, gain, change = scratch[0], scratch[1], scratch[2], scratch[3]
    for i in range(p, r):
        phi[i] = 0.0
    if not _start(phi, p, theta, q, r, gamma, psi, system, gain):
        return HUGE
    variance = gamma[0]
    for i in range(r):
        change[i] = gain[i]
        gain[i] /= variance
    change[r] = 0.0
    weight = -1 / variance
    for i in range(len(cross)):
        fill(cross[i], 0.0)
    for i in range(len(state)):
        fill(state[i], 0.0)
    logs = 0.0
    log_variance = math.log(variance)
    steady = False
    for t in range(n):
        logs += log_variance
        inverse = 1 / variance
        for a in range(c):
            row = state[a]
            v = w[t, a] - row[0]
            first = row[0]
            scratch[4, a] = v
            for i in range(r):
                row[i] = row[i + 1] + phi[i] * first + gain[i] * v
            for b in range(a + 1):
                cross[a, b] += v * scratch[4, b] * inverse
        if not steady:
            top = change[0]
            step = weight * top
            grown = variance + step * top
            if not grown > 0:
                return HUGE
            inverse = 1 / grown
            keep, take = variance * inverse, step * inverse
            for i in range(r):
                moved = phi[i] * top + change[i + 1]
                gain[i] = gain[i] * keep + moved * take
                change[i] = moved - gain[i] * top
            weight += step * step / variance
            if t % _EVERY == 0:
                # of the whole state: the variance of a seasonal model stands still between seasons
                size = 0.0
                for i in range(r):
                    size += change[i] * change[i]
                steady = size * abs(weight) < _STEADY * grown
            variance = grown
            log_variance = math.log(variance)
    return logs


@kernel
def solve(cross, k, beta, work):
    """Least squares of column 0 on columns 1..k from their products: coefficients to `beta` [k], residual sum."""
    for i in range(k):
        for j in range(i + 1):
            total = cross[i + 1, j + 1]
            for x in range(j):
                total -= work[i, x] * work[j, x]
            if i == j:
                work[i, i] = math.sqrt(max(total, _TINY)) if total > 1e-12 * cross[i + 1, i + 1] else 0.0
            else:
                work[i, j] = total / work[j, j] if work[j, j] > 0 else 0.0
    rest = cross[0, 0]
    for i in range(k):
        total = cross[i + 1, 0]
        for x in range(i):
            total -= work[i, x] * beta[x]
        beta[i] = total / work[i, i] if work[i, i] > 0 else 0.0
        rest -= beta[i] * beta[i]
    for i in range(k - 1, -1, -1):
        total = beta[i]
        for x in range(i + 1, k):
            total -= work[x, i] * beta[x]
        beta[i] = total / work[i, i] if work[i, i] > 0 else 0.0
    return max(rest, _TINY)
