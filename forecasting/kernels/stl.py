"""Seasonal-trend decomposition by LOESS (Cleveland, Cleveland, McRae & Terpenning 1990), not robust, without jumps."""

from __future__ import annotations

import math

import numpy as np

from forecasting.kernels.compiled import kernel
from forecasting.kernels.vectors import copy, fill


@kernel
def loess_at(y, first, stride, n, at, width, degree):
    """Local regression of y[first], y[first + stride], ... (n values at places 0..n-1) at place `at`.

    Tricube weights over the `width` nearest places (wider than the data: flatter weights), degree 0 or 1.
    """
    if n == 1:
        return y[first]
    if width >= n:
        left, right = 0, n - 1
    else:
        left = int(min(max(math.floor(at + 0.5) - (width - 1) // 2, 0), n - width))
        right = left + width - 1
    reach = max(at - left, right - at)
    if width > n:
        reach += (width - n) // 2
    if reach <= 0:
        return y[first + stride * left]
    total, middle, square = 0.0, 0.0, 0.0
    value, slope = 0.0, 0.0
    for i in range(left, right + 1):
        gap = abs(i - at)
        if gap > 0.999 * reach:
            continue
        weight = 1.0
        if gap > 0.001 * reach:
            share = gap / reach
            cube = 1 - share * share * share
            weight = cube * cube * cube
        own = y[first + stride * i]
        total += weight
        middle += weight * i
        square += weight * i * i
        value += weight * own
        slope += weight * own * i
    mean = value / total
    if degree == 0:
        return mean
    center = middle / total
    spread = square / total - center * center
    span = n - 1.0
    if not math.sqrt(max(spread, 0.0)) > 0.001 * span:
        return mean
    return mean + (at - center) * (slope / total - center * mean) / spread


@kernel
def _moving_mean(x, n, width, out):
    """Means of `width` values; returns how many."""
    total = 0.0
    for i in range(width):
        total += x[i]
    out[0] = total / width
    for i in range(width, n):
        total += x[i] - x[i - width]
        out[i - width + 1] = total / width
    return n - width + 1


@kernel
def stl(y, m, season_width, season_degree, trend_width, rounds, season, trend, work):
    """Decompose y [n] with a season of m steps, n >= 2 m; writes `season` and `trend` [n].

    Parameters
    ----------
    season_width, trend_width : LOESS windows, odd. season_degree : 0 or 1. rounds : inner loops.
    work : shape [3, n + 2 m] scratch.
    """
    n = len(y)
    low_width = m + 1 if m % 2 == 0 else m
    trend[:] = 0.0
    cycle, first, second = work[0], work[1], work[2]
    size = n + 2 * m
    for _ in range(rounds):
        for t in range(n):
            first[t] = y[t] - trend[t]
        for j in range(m):
            count = (n - j - 1) // m + 1
            for i in range(-1, count + 1):
                cycle[j + (i + 1) * m] = loess_at(first, j, m, count, float(i), season_width, season_degree)
        length = _moving_mean(cycle, size, m, first)
        length = _moving_mean(first, length, m, second)
        length = _moving_mean(second, length, 3, first)
        for t in range(n):
            season[t] = cycle[m + t] - loess_at(first, 0, 1, length, float(t), low_width, 1)
        for t in range(n):
            second[t] = y[t] - season[t]
        for t in range(n):
            trend[t] = loess_at(second, 0, 1, n, float(t), trend_width, 1)


@kernel
def trend_window(m, season_width):
    """Trend window of `stl` for a season, as its authors advise: odd, about 1.5 seasons."""
    width = math.ceil(1.5 * m / (1 - 1.5 / season_width))
    return width + 1 - width % 2


@kernel
def strength(y, m):
    """Strength of a season, 0..1: the share of the detrended variance it explains (Wang, Smith & Hyndman 2006)."""
    n = len(y)
    if m < 2 or n < 2 * m:
        return 0.0
    season, trend, work = np.empty(n), np.empty(n), np.empty((3, n + 2 * m))
    stl(y, m, 11, 0, trend_window(m, 11), 2, season, trend, work)
    rest = y - season - trend
    detrended = y - trend
    whole = detrended.var()
    return max(0.0, 1 - rest.var() / whole) if whole > 0 else 0.0


@kernel
def mstl(values, indptr, first, end, seasons, rounds, adjusted, cycles):
    """Take several seasons out of series first..end, each found by STL on what the others leave.

    Bandara, Hyndman & Bergmeir (2021), MSTL: a seasonal-trend decomposition algorithm for time series with multiple
    seasonal patterns, arXiv:2107.13462. A season of which a series does not show two is left out for it.

    Parameters
    ----------
    seasons : shape [k] int64, ascending. rounds : passes over all seasons. adjusted : shape [rows], written: the values
    without their seasons. cycles : shape [n, sum of seasons], written: the last cycle of each season, one after the
    other, zeros for one left out.
    """
    longest = 0
    for i in range(first, end):
        longest = max(longest, indptr[i + 1] - indptr[i])
    work, trend = np.empty((3, longest + 2 * seasons.max())), np.empty(longest)
    season = np.empty((len(seasons), longest))
    for i in range(first, end):
        begin, stop = indptr[i], indptr[i + 1]
        n = stop - begin
        rest = adjusted[begin:stop]
        copy(values[begin:stop], rest)
        for turn in range(rounds if len(seasons) > 1 else 1):
            for k in range(len(seasons)):
                m = seasons[k]
                if m < 2 or n < 2 * m:
                    continue
                part = season[k, :n]
                if turn > 0:
                    for t in range(n):
                        rest[t] += part[t]
                width = 11 + 4 * k
                stl(rest, m, width, 0, trend_window(m, width), 2, part, trend[:n], work[:, : n + 2 * m])
                for t in range(n):
                    rest[t] -= part[t]
        at = 0
        for k in range(len(seasons)):
            m = seasons[k]
            cycle = cycles[i, at : at + m]
            if m < 2 or n < 2 * m:
                fill(cycle, 0.0)
            else:
                copy(season[k, n - m : n], cycle)
            at += m
