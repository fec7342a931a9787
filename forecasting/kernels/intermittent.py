"""Intermittent demand: Croston's method and its kin, TSB, and aggregation over time.

Croston (1972), Forecasting and stock control for intermittent demands; Syntetos & Boylan (2005), The accuracy of
intermittent demand estimates, IJF 21; Teunter, Syntetos & Babai (2011), Intermittent demand: linking forecasting to
inventory obsolescence, EJOR 214; Nikolopoulos et al. (2011), An aggregate-disaggregate intermittent demand approach
(ADIDA), JORS 62; Petropoulos & Kourentzes (2015), Forecast combinations for intermittent demand (IMAPA), JORS 66.
"""

from __future__ import annotations

import numpy as np

from forecasting.kernels.compiled import kernel

CLASSIC, SBA, OPTIMIZED, TSB, ADIDA, IMAPA = 0, 1, 2, 3, 4, 5

_GRID = 20
_MOST_LEVEL = 24


@kernel
def smooth(x, alpha):
    """Simple exponential smoothing of x [n] from its first value: the last level and the sum of squared errors."""
    level, total = x[0], 0.0
    for t in range(1, len(x)):
        error = x[t] - level
        total += error * error
        level += alpha * error
    return level, total


@kernel
def smooth_best(x):
    """Simple exponential smoothing with the best of 20 smoothing parameters; the last level."""
    if len(x) == 1:
        return x[0]
    best, kept = np.inf, x[0]
    for i in range(1, _GRID + 1):
        level, total = smooth(x, i / (_GRID + 1.0))
        if total < best:
            best, kept = total, level
    return kept


@kernel
def croston(y, seen, alpha, factor):
    """Croston's rate after the last row, and the sum of squared errors of the rates before each row.

    Parameters
    ----------
    y, seen : shape [n]; rows not seen count as time passing. factor : the rate is multiplied by it (SBA:
    1 - alpha / 2).
    """
    size, interval, since = 0.0, 0.0, 0
    total, rate = 0.0, 0.0
    started = False
    for t in range(len(y)):
        if started and seen[t]:
            error = y[t] - rate
            total += error * error
        since += 1
        if seen[t] and y[t] > 0:
            if started:
                size += alpha * (y[t] - size)
                interval += alpha * (since - interval)
            else:
                size, interval, started = y[t], float(since), True
            rate = factor * size / interval
            since = 0
    return rate, total


@kernel
def tsb(y, seen, alpha_size, alpha_chance):
    """TSB's rate (size x chance of demand) after the last row, and the sum of squared errors of the rates before."""
    size, chance, count, first = 0.0, 0.0, 0, -1
    rows = 0
    for t in range(len(y)):
        if seen[t]:
            rows += 1
            if y[t] > 0:
                count += 1
                if first < 0:
                    first = t
    if count == 0:
        return 0.0, 0.0
    size, chance = y[first], count / rows
    total = 0.0
    for t in range(len(y)):
        if not seen[t]:
            continue
        error = y[t] - size * chance
        total += error * error
        if y[t] > 0:
            chance += alpha_chance * (1 - chance)
            size += alpha_size * (y[t] - size)
        else:
            chance -= alpha_chance * chance
    return size * chance, total


@kernel
def aggregated(y, level, buckets):
    """Rate by smoothing sums over `level` rows, the last bucket ending with the series. buckets [>= n] is scratch."""
    count = len(y) // level
    start = len(y) - count * level
    for b in range(count):
        total = 0.0
        for t in range(level):
            total += y[start + b * level + t]
        buckets[b] = total
    return smooth_best(buckets[:count]) / level


@kernel
def mean_interval(y):
    """Mean number of rows from one demand to the next, rounded; 1 where there are fewer than two."""
    last, total, count = -1, 0, 0
    for t in range(len(y)):
        if y[t] > 0:
            if last >= 0:
                total += t - last
                count += 1
            last = t
    return max(1, round(total / count)) if count else 1


@kernel
def rates(values, seen, indptr, first, end, method, alpha, out, reason):
    """Expected demand a step of series first..end after their last rows.

    Parameters
    ----------
    values, seen, indptr : flat series; rows not seen are skipped. method : `CLASSIC` ... `IMAPA`. alpha : smoothing
    parameter, 0 = the best on a grid (by squared errors of the rates). out : shape [n], written. reason : shape [n]
    int64, written: 2 where a value is negative.
    """
    longest = 0
    for i in range(first, end):
        longest = max(longest, indptr[i + 1] - indptr[i])
    buckets = np.empty(longest)
    for i in range(first, end):
        y, s = values[indptr[i] : indptr[i + 1]], seen[indptr[i] : indptr[i + 1]]
        reason[i], out[i] = 0, 0.0
        if y.min() < 0:
            reason[i] = 2
            continue
        if method <= OPTIMIZED:
            factor = 1.0 if method != SBA else 1 - alpha / 2
            if alpha > 0 and method != OPTIMIZED:
                out[i] = croston(y, s, alpha, factor)[0]
                continue
            best = np.inf
            for k in range(1, _GRID + 1):
                own = 0.5 * k / _GRID
                rate, total = croston(y, s, own, 1 - own / 2 if method == SBA else 1.0)
                if total < best:
                    best, out[i] = total, rate
        elif method == TSB:
            if alpha > 0:
                out[i] = tsb(y, s, alpha, alpha)[0]
                continue
            best = np.inf
            for k in range(1, _GRID + 1):
                for j in range(1, _GRID // 2 + 1):
                    rate, total = tsb(y, s, 0.5 * j / (_GRID // 2), 0.5 * k / _GRID)
                    if total < best:
                        best, out[i] = total, rate
        else:
            y = y[s]  # what nobody saw is no demand
            level = min(mean_interval(y), max(1, len(y) // 2), _MOST_LEVEL)
            if method == ADIDA:
                out[i] = aggregated(y, level, buckets)
            else:
                for k in range(1, level + 1):
                    out[i] += aggregated(y, k, buckets) / level


@kernel
def count_quantiles(values, seen, indptr, first, end, rate, levels, out):
    """Quantiles of the demand of one step: nothing with the chance the past shows, else a size of the past.

    The sizes are scaled so that the mean of the mixture is the rate forecast (a compound of Bernoulli occurrence and
    empirical sizes, as in the bootstrap of Willemain, Smart & Schwarz 2004, IJF 20).

    Parameters
    ----------
    rate : shape [n]. levels : shape [q]. out : shape [n, q], written.
    """
    for i in range(first, end):
        y, s = values[indptr[i] : indptr[i + 1]], seen[indptr[i] : indptr[i + 1]]
        sizes = np.sort(y[(y > 0) & s])
        rows = np.count_nonzero(s)
        for k in range(len(levels)):
            out[i, k] = 0.0
        if not len(sizes):
            continue
        chance = len(sizes) / rows
        scale = rate[i] / (chance * sizes.mean())
        for k in range(len(levels)):
            share = (levels[k] - (1 - chance)) / chance
            if share > 0:
                at = min(int(share * len(sizes)), len(sizes) - 1)
                out[i, k] = scale * sizes[at]
