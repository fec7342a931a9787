"""Forecasts of an ARIMA process: differencing, integrating back, psi weights."""

from __future__ import annotations

import math

from forecasting.kernels.arima_fit import CROSS, DELTA, PART, PHI, PSI, SCRATCH, STATE, SYSTEM, THETA
from forecasting.kernels.arma import innovations
from forecasting.kernels.compiled import kernel
from forecasting.kernels.vectors import fill


@kernel
def difference(x, d, big_d, m, out):
    """Write (1 - B)^d (1 - B^m)^D x to `out`; returns the length, len(x) - d - m D. x [n] is left as it is."""
    n = len(x)
    for t in range(n):
        out[t] = x[t]
    for _ in range(big_d):
        n -= m
        for t in range(n):
            out[t] = out[t + m] - out[t]
    for _ in range(d):
        n -= 1
        for t in range(n):
            out[t] = out[t + 1] - out[t]
    return n


@kernel
def trend_at(t, d, big_d, m):
    """What differences to a constant 1: 1, the time or the time in seasons."""
    if d + big_d == 0:
        return 1.0
    return (t + 1.0) / m if big_d == 1 else t + 1.0


@kernel
def integrating(d, big_d, m, out):
    """Coefficients of past values in 1 - (1 - B)^d (1 - B^m)^D; returns their number."""
    size = d + m * big_d
    fill(out[: size + 1], 0.0)
    out[0] = 1.0
    top = 0
    for _ in range(big_d):
        for i in range(top, -1, -1):
            out[i + m] -= out[i]
        top += m
    for _ in range(d):
        for i in range(top, -1, -1):
            out[i + 1] -= out[i]
        top += 1
    for i in range(size):
        out[i] = -out[i + 1]
    return size


@kernel
def project(z, n, d, big_d, m, room, a, b, sigma, point, spread):
    """Forecast z[:n] (without regression part) from its last value on.

    Parameters
    ----------
    z : shape [>= n + h], values after n are scratch. room : with the expanded polynomials of degrees a, b; its state is
        computed anew. sigma : standard deviation of the innovations. point, spread : shape [h], written.
    """
    h = len(point)
    last = room.columns.shape[1] - 1
    w = room.columns[:, last:]
    length = difference(z[:n], d, big_d, m, w[:, 0])
    r = max(a, b + 1)
    state = room.matrices[STATE, :1, : r + 1]
    innovations(
        w[:length],
        room.vectors[PHI],
        a,
        room.vectors[THETA],
        b,
        room.matrices[CROSS, :1, :1],
        state,
        room.vectors[SCRATCH:],
        room.matrices[SYSTEM],
    )
    delta, psi = room.vectors[DELTA], room.vectors[PSI]
    size = integrating(d, big_d, m, delta)
    row = state[0]
    for step in range(h):
        ahead = row[0]
        for i in range(r):
            row[i] = row[i + 1] + room.vectors[PHI][i] * ahead
        for j in range(size):
            ahead += delta[j] * z[n + step - 1 - j]
        z[n + step] = ahead
        point[step] = ahead
    # psi weights of the whole process: phi(B) (1 - delta(B)) psi(B) = theta(B)
    power = 0.0
    for k in range(h):
        value = 1.0 if k == 0 else room.vectors[THETA][k - 1] if k <= b else 0.0
        for j in range(1, min(k, a) + 1):
            value += room.vectors[PHI][j - 1] * room.vectors[PART][k - j]
        room.vectors[PART][k] = value  # of the stationary part
        for j in range(1, min(k, size) + 1):
            value += delta[j - 1] * psi[k - j]
        psi[k] = value
        power += value * value
        spread[k] = sigma * math.sqrt(power)
