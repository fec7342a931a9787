"""The part of a design matrix that looks back: fixed features, lags, windows and same-season values in one pass.

A row is a target position, the steps its origin lies before it and the position its series begins at. Only values at or
before the origin are read, and a window's statistics are computed from its own values alone, in an order that depends
on nothing else, so that not even rounding tells what lies outside.
"""

from __future__ import annotations

import math

import numpy as np

from forecasting.kernels.compiled import kernel, part, reordering

MEAN, MIN, MAX, SUM, STD = 0, 1, 2, 3, 4
"""Statistics of a window."""


@reordering
def total(z, first, end):
    """Sum of z[first:end]."""
    out = 0.0
    for p in range(first, end):
        out += z[p]
    return out


@reordering
def squares(z, first, end, centre):
    """Sum of squared distances of z[first:end] from a centre."""
    out = 0.0
    for p in range(first, end):
        out += (z[p] - centre) * (z[p] - centre)
    return out


@part
def _of_window(z, first, end, statistic, whole, base):
    """One statistic of z[first:end] less a base, its sum being `whole`."""
    if statistic == MEAN:
        return whole / (end - first) - base
    if statistic == SUM:
        return whole - (end - first) * base
    if statistic == STD:
        return math.sqrt(squares(z, first, end, whole / (end - first)) / (end - first))
    sign = 1.0 if statistic == MIN else -1.0
    least = sign * z[first]
    for p in range(first + 1, end):
        least = min(least, sign * z[p])
    return sign * least - base


@part
def _insert(ordered, count, value):
    """Put a value in its place among `count` ascending ones."""
    place = count
    while place > 0 and ordered[place - 1] > value:
        ordered[place] = ordered[place - 1]
        place -= 1
    ordered[place] = value


@part
def _median(ordered, count):
    """Median of `count` ascending values, NaN of none."""
    return 0.5 * (ordered[(count - 1) // 2] + ordered[count // 2]) if count > 0 else np.nan


@kernel
def window_at(z, origin, begin, width, statistic, out):
    """Statistic of the `width` values that end at each origin, NaN where the series is shorter; to out [r]."""
    for r in range(len(origin)):
        first, end = origin[r] - width + 1, origin[r] + 1
        out[r] = np.nan
        if first >= begin[r]:
            out[r] = _of_window(z, first, end, statistic, total(z, first, end), 0.0)


@kernel
def look_back(
    z, target, ahead, begin, base, scale, fixed, lags, widths, statistics, season, spans, longer, x, first, end
):  # fmt: skip
    """Write the leading columns of rows first..end of a matrix.

    Parameters
    ----------
    z : shape [rows], values on the model's scale. target, ahead, begin : shape [r] int64 (see `features.history.Rows`).
    base, scale : shape [r]; subtracted from and divided out of every value, a standard deviation is only divided and a
        sum loses the base of each of its values. fixed : shape [rows, k] float32, features of the target's row.
    lags, widths, statistics, longer : int64 arrays, statistics as `MEAN` ... `STD`; longer are further seasons.
    season : steps; <= 1 = none. spans : int64 array, ascending, numbers of seasons.
    x : shape [r, columns] float32, written from its first column on: the fixed features, the steps ahead, the lags,
        every width's statistics, three same-season values and their mean, the median of the same-season values of
        every span (of those there are), two of each longer season; NaN where there is no history.
    """
    back_to = max(3, spans[-1]) if len(spans) > 0 else 3
    ordered = np.empty(back_to)
    for r in range(first, end):
        t, h, start, origin = target[r], ahead[r], begin[r], target[r] - ahead[r]
        own, over, row = base[r], 1 / scale[r], x[r]
        k = fixed.shape[1]
        for j in range(k):
            row[j] = fixed[t, j]
        row[k] = h
        k += 1
        for j in range(len(lags)):
            p = origin - lags[j] + 1
            row[k + j] = (z[p] - own) * over if p >= start else np.nan
        k += len(lags)
        whole, done = 0.0, origin + 1
        for j in range(len(widths)):
            # a wide window goes on from the narrower one before it
            p = origin - widths[j] + 1
            if p >= start:
                if p > done:
                    whole, done = 0.0, origin + 1
                whole += total(z, p, done)
                done = p
            for s in range(len(statistics)):
                row[k] = _of_window(z, p, origin + 1, statistics[s], whole, own) * over if p >= start else np.nan
                k += 1
        if season > 1:
            added, count, j = 0.0, 0, 0
            nearest = t - season * ((h + season - 1) // season)
            for back in range(back_to):
                p = nearest - season * back
                value = np.nan
                if p >= start and math.isfinite(z[p]):
                    value = (z[p] - own) * over
                    added += value
                    _insert(ordered, count, value)
                    count += 1
                if back < 3:
                    row[k + back] = value
                if back == 2:
                    row[k + 3] = added / count if count > 0 else np.nan
                if j < len(spans) and back + 1 == spans[j]:
                    row[k + 4 + j] = _median(ordered, count)
                    j += 1
            k += 4 + len(spans)
        for j in range(len(longer)):
            nearest = t - longer[j] * ((h + longer[j] - 1) // longer[j])
            for back in range(2):
                p = nearest - longer[j] * back
                row[k] = (z[p] - own) * over if p >= start else np.nan
                k += 1
