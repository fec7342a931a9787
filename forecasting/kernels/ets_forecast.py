"""Forecasts of fitted exponential smoothing: the states moved on over new rows, point forecasts, quantiles.

Variances are those of Hyndman, Koehler, Ord & Snyder (2008), chapter 6: class 1 (additive), class 2 (multiplicative
error, additive season or none) and class 3 (multiplicative error and season). The other forms are simulated.
"""
# ruff: noqa: PLR1714 - numba builds a tuple for `in`

from __future__ import annotations

import numpy as np

from forecasting.kernels.compiled import kernel
from forecasting.kernels.ets import ALPHA, LEVEL, PHI, SEASON, SHARE, SLOPE, TINY, TREND, run
from forecasting.kernels.ets_fit import copy
from forecasting.kernels.ets_search import ERROR, SCALE, SEASON_CODE, SIGMA, TREND_CODE
from forecasting.kernels.ets_start import mean_of_head, start_for, start_states

FROM_START, FROM_END, AFRESH = 0, 1, 2
"""Where a series' states come from: estimated ones before its first row, those after the last row of the fit (rows
before are skipped), or the heuristic on its own rows."""


@kernel
def simulated(error, trend, season):
    """Whether a form's variance has no formula here."""
    return trend > 2 or (error == 0 and season == 2)


@kernel
def points(trend, season, m, x, state, begin, out):
    """Forecasts without errors [horizon]; `begin` is the place in the season of the first step ahead."""
    level, slope = state[0], state[1]
    phi = x[PHI] if trend == 2 or trend == 4 else 1.0
    for h in range(len(out)):
        if trend > 2:
            slope = slope**phi
            level *= slope
        elif trend > 0:
            slope *= phi
            level += slope
        out[h] = level
        if season == 1:
            out[h] += state[2 + (begin + h) % m]
        elif season == 2:
            out[h] *= state[2 + (begin + h) % m]


@kernel
def deviations(error, trend, season, m, x, state, begin, sigma, point, power, out):
    """Standard deviation of the forecast error [horizon]; `power` is scratch [horizon]."""
    alpha = x[ALPHA]
    beta = alpha * x[SLOPE] if trend > 0 else 0.0
    gamma = (1 - alpha) * x[SHARE] if season > 0 else 0.0
    phi = x[PHI] if trend == 2 else 1.0
    variance = sigma * sigma
    growth, damping, total = 0.0, 1.0, 0.0
    horizon = len(point)
    # out holds the weights first: effect of an error on the forecast j steps later, without a season that multiplies
    for j in range(1, horizon):
        damping *= phi
        growth += damping
        out[j] = alpha + beta * growth
        if season == 1 and j % m == 0:
            out[j] += gamma
        out[j] *= out[j]
    if error == 0:
        for h in range(1, horizon):
            total += out[h]
            out[h] = np.sqrt(variance * (1 + total))
        out[0] = sigma
        return
    for h in range(horizon):
        s = state[2 + (begin + h) % m] if season == 2 else 1.0
        plain = point[h] / s
        power[h] = plain * plain
        for j in range(1, h + 1):
            power[h] += variance * out[j] * power[h - j]
    for h in range(horizon):
        s = state[2 + (begin + h) % m] if season == 2 else 1.0
        cycles = (1 + gamma * gamma * variance) ** (h // m) if season == 2 else 1.0
        out[h] = np.sqrt(max((1 + variance) * power[h] * cycles * s * s - point[h] ** 2, 0.0))


@kernel
def simulate(error, trend, season, m, x, state, begin, sigma, errors, seasonal, out):
    """Write paths [horizon, paths] under standard normal `errors` of the same shape; `seasonal` is scratch [m]."""
    alpha = x[ALPHA]
    beta = alpha * x[SLOPE] if trend > 0 else 0.0
    gamma = (1 - alpha) * x[SHARE] if season > 0 else 0.0
    phi = x[PHI] if trend == 2 or trend == 4 else 1.0
    for path in range(errors.shape[1]):
        level, slope = state[0], state[1]
        for i in range(m):
            seasonal[i] = state[2 + i]
        k = begin % max(m, 1)
        for h in range(errors.shape[0]):
            if trend > 2:
                step = max(slope, TINY) ** phi
                base = max(level * step, TINY)
            else:
                step = phi * slope
                base = max(level + step, TINY)
            s = seasonal[k] if season > 0 else 0.0
            mean = base * s if season == 2 else base + s
            value = mean + sigma * errors[h, path] * (mean if error == 1 else 1.0)
            # forms that multiply live on positive values
            value = max(value, TINY)
            out[h, path] = value
            e = value - mean
            if season == 2:
                seasonal[k] = max(s + gamma * e / base, TINY)
                e = e / s
            elif season == 1:
                seasonal[k] = s + gamma * e
            slope = step + beta * (e / max(level, TINY) if trend > 2 else e)
            level = base + alpha * e
            k = k + 1 if k + 1 < m else 0


@kernel
def _sort(a):
    """Sort in place (heap sort: numpy's own takes longer to compile than all of this file)."""
    n = len(a)
    for begin in range(n // 2 - 1, -1, -1):
        _sift(a, begin, n)
    for end in range(n - 1, 0, -1):
        a[0], a[end] = a[end], a[0]
        _sift(a, 0, end)


@kernel
def _sift(a, begin, end):
    """Let the value at `begin` sink to its place in the heap a[:end]."""
    value, parent = a[begin], begin
    while 2 * parent + 1 < end:
        child = 2 * parent + 1
        if child + 1 < end and a[child + 1] > a[child]:
            child += 1
        if a[child] <= value:
            break
        a[parent] = a[child]
        parent = child
    a[parent] = value


@kernel
def forecast_series(
    values,
    observed,
    indptr,
    first,
    end,
    season,
    origin,
    skip,
    params,
    finals,
    numbers,
    codes,
    errors,
    levels,
    scores,
    out,
):
    """Forecast series first..end; rows of `out` stay as they are where a form cannot go on (non-positive values).

    Parameters
    ----------
    values, observed, indptr : rows, as in `ets_search.fit_series`, which also made params, finals, numbers and codes.
    origin : shape [n] int64, see `FROM_START`. skip : shape [n] int64, rows to leave out at the beginning.
    errors : shape [horizon, paths], standard normal, the same for all series; may be empty if levels is.
    levels, scores : shape [q], quantile levels and their normal scores.
    out : shape [n, horizon, 1 + q], written in units of the series.
    """
    horizon = out.shape[1]
    state, x, seasonal = np.zeros(2 + season), np.zeros(SEASON + season), np.zeros(max(season, 1))
    point, spread, power = np.zeros(horizon), np.zeros(horizon), np.zeros(horizon)
    paths = np.zeros(errors.shape)
    for row in range(first, end):
        error, trend, kind = codes[row, ERROR], codes[row, TREND_CODE], codes[row, SEASON_CODE]
        m = season if kind > 0 else 0
        scale, sigma = numbers[row, SCALE], numbers[row, SIGMA]
        begin = indptr[row] + skip[row]
        y, seen = values[begin : indptr[row + 1]] / scale, observed[begin : indptr[row + 1]]
        size = len(y)
        copy(params[row], x)
        if error == 1 or trend > 2 or kind == 2:
            positive = True
            for t in range(size):
                positive = positive and (y[t] > 0 or not seen[t])
            if not positive:
                continue
        if origin[row] == AFRESH:
            if size < 2 * m:
                continue
            start_states(y, kind, season, x)
            start_for(trend, mean_of_head(y, kind, season, x), x)
        elif origin[row] == FROM_END:
            x[LEVEL], x[TREND] = finals[row, 0], finals[row, 1]
            for i in range(m):
                x[SEASON + i] = finals[row, 2 + i]
        fit, _ = run(y, seen, error, trend, kind, m, x, state)
        if not np.isfinite(fit):
            continue
        points(trend, kind, m, x, state, size, point)
        for h in range(horizon):
            out[row, h, 0] = scale * point[h]
        if len(levels) == 0:
            continue
        if simulated(error, trend, kind):
            simulate(error, trend, kind, m, x, state, size, sigma, errors, seasonal, paths)
            for h in range(horizon):
                ordered = paths[h]
                _sort(ordered)
                for q in range(len(levels)):
                    place = levels[q] * (len(ordered) - 1)
                    below = min(int(place), len(ordered) - 2)
                    part = place - below
                    out[row, h, 1 + q] = scale * (ordered[below] * (1 - part) + ordered[below + 1] * part)
        else:
            deviations(error, trend, kind, m, x, state, size, sigma, point, power, spread)
            for h in range(horizon):
                for q in range(len(levels)):
                    out[row, h, 1 + q] = scale * (point[h] + spread[h] * scores[q])
