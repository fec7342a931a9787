"""Choice among forms of exponential smoothing: each estimated by maximum likelihood, the best by AICc.

Likelihoods of seasonal forms have several peaks, so each form starts from slow and fast levels and from
the form before.
"""
# ruff: noqa: PLR1714 - numba builds a tuple for `in`

from __future__ import annotations

import numpy as np

from forecasting.kernels.compiled import kernel
from forecasting.kernels.ets import ALPHA, LEVEL, PHI, SEASON, SHARE, SLOPE, TREND, new_work, run
from forecasting.kernels.ets_fit import FLOOR, MOST_FREE, bounds, copy, fit_form
from forecasting.kernels.ets_start import mean_of_head, start_for, start_states

SCALE, SIGMA, AICC = 0, 1, 2
"""Columns of `numbers`."""

ERROR, TREND_CODE, SEASON_CODE, REASON, REJECTED, STEPS = 0, 1, 2, 3, 4, 5
"""Columns of `codes`."""

_FITTED, _INADMISSIBLE, _EXPLODED = 0, 2, 3
_BAND = 3.0
_LEAST_SEASONAL = 10
_PROBE = 15
_REPAIRS, _LESS = 6, 0.6
_TRIAL_STEPS, _MOST_STEPS = 4, 60
_GAINS = ((0.05, 0.2, 0.08, 0.2), (0.5, 0.8, 0.5, 0.95))
_SLOPES = ((0.1, 0.02, 0.95, 0.5), (0.1, 0.02, 0.5, 0.95))


@kernel
def count_parameters(trend, season, m):
    """Gains, first states and variance: what an information criterion counts."""
    k = 3
    if trend > 0:
        k += 2
    if trend == 2 or trend == 4:
        k += 1
    return k + (m if season > 0 else 0)


@kernel
def corrected_criterion(fit, n, k):
    """AICc, infinite where there are too few rows."""
    if n - k - 1 <= 0:
        return np.inf
    return n * np.log(max(fit, FLOOR * n)) + 2 * k + 2 * k * (k + 1) / (n - k - 1)


@kernel
def steady(trend, season, m, x, state, horizon, low, high, start):
    """Whether the forecast from these states over the horizon stays inside low..high. `start`: rows seen."""
    level, slope = state[0], state[1]
    phi = x[PHI] if trend == 2 or trend == 4 else 1.0
    for h in range(horizon):
        if trend > 2:
            slope = slope**phi
            level *= slope
        elif trend > 0:
            slope *= phi
            level += slope
        point = level
        if season == 1:
            point += state[2 + (start + h) % m]
        elif season == 2:
            point *= state[2 + (start + h) % m]
        if not low <= point <= high:
            return False
    return True


@kernel
def forgets(trend, season, m, x, probe, state):
    """Whether a seasonal form with a trend forgets its first states, as in the admissible region (book, chapter 10).

    The usual region is not quite inside it. `probe` [6 + m] is scratch. A filter of zeros from states other than zero
    shows it: its errors do not grow.
    """
    if season == 0 or trend == 0 or trend > 2:
        return True
    copy(x, probe)
    probe[LEVEL], probe[TREND] = 1.0, 0.3
    for i in range(m):
        probe[SEASON + i] = 1.0 if i == 0 else 0.0
    rows = _PROBE * m
    zeros, seen = np.zeros(2 * rows), np.ones(2 * rows, dtype=np.bool_)
    _, early = run(zeros[:rows], seen[:rows], 0, trend, 1, m, probe, state)
    _, whole = run(zeros, seen, 0, trend, 1, m, probe, state)
    return whole <= 2 * early


@kernel
def _first_gains(y, seen, error, trend, season, m, x, speed, best, w):
    """Try gains from the states in x, speed 0 slow ones or 1 fast ones; the parameters that fit best end in `best`."""
    fit = np.inf
    for i in range(8 if season > 0 else 4):
        x[ALPHA] = _GAINS[speed][i % 4]
        x[SLOPE] = _SLOPES[speed][i % 4] if trend > 0 else 0.0
        x[SHARE] = (0.05 if i < 4 else 0.5) if season > 0 else 0.0
        x[PHI] = 0.95 if trend == 2 or trend == 4 else 1.0
        new, _ = run(y, seen, error, trend, season, m, x, w.state)
        if new < fit or i == 0:
            fit = new
            copy(x, best)


@kernel
def fit_series(values, observed, indptr, first, end, forms, season, horizon, insist, params, finals, numbers, codes):
    """Estimate series first..end in all forms that they admit and keep the best by AICc.

    Parameters
    ----------
    values : shape [rows] float64. observed : shape [rows] bool. indptr : shape [n + 1] int64.
    forms : shape [F, 3] int64, codes of error, trend and season to try, in an order where trends of the same season
        and error follow each other (each starts from the one before, too).
    season, horizon : steps. insist : 1 if forms without a season are for series that admit no seasonal one, else 0.
    params : shape [n, 6 + season], written: x as in `ets`, for the scaled series.
    finals : shape [n, 2 + season], written: level, trend and seasonal states after the last row, the next step's first.
    numbers : shape [n, 3], written: scale, standard deviation of the errors, AICc.
    codes : shape [n, 6] int64, written: error, trend, season, reason (0, or 2 no form admissible, 3 all explode), forms
        that had a better AICc but exploded, derivative passes done.
    """
    n_forms = len(forms)
    p = SEASON + (season if season <= MOST_FREE else 0)
    w = new_work(season, p)
    x = np.zeros(SEASON + season)
    tries = np.zeros((4, SEASON + season))
    starts = np.zeros((3, SEASON + season))
    means, probe_state = np.zeros(3), np.zeros(2 + season)
    lower, upper = np.zeros(SEASON + season), np.zeros(SEASON + season)
    fixed = np.zeros(p, dtype=np.bool_)
    criteria = np.zeros(n_forms)
    sane = np.zeros(n_forms, dtype=np.bool_)
    for row in range(first, end):
        raw, seen = values[indptr[row] : indptr[row + 1]], observed[indptr[row] : indptr[row + 1]]
        size = len(raw)
        scale, low, high, n = 0.0, np.inf, -np.inf, np.int64(0)
        for t in range(size):
            if seen[t]:
                scale += abs(raw[t])
                low, high = min(low, raw[t]), max(high, raw[t])
                n += 1
        if n == 0:
            low, high = raw[0], raw[0]
        scale = scale / n if n > 0 and scale > 0 else 1.0
        y = raw / scale
        low, high = low / scale, high / scale
        numbers[row, 0], numbers[row, 1], numbers[row, 2] = scale, 0.0, 0.0
        for i in range(codes.shape[1]):
            codes[row, i] = 0
        for i in range(SEASON + season):
            params[row, i] = 0.0
        for i in range(2 + season):
            finals[row, i] = 0.0
        params[row, ALPHA], params[row, PHI] = 0.9999, 1.0
        params[row, LEVEL], finals[row, 0] = low, low
        if high - low < 1e-9:
            continue
        cyclic = season > 1 and size >= max(2 * season, _LEAST_SEASONAL)
        must = False
        if cyclic and insist == 1:
            for f in range(n_forms):
                must = must or (forms[f, 2] > 0 and (low > 0 or (forms[f, 0] == 0 and forms[f, 2] == 1)))
        reach = max(_BAND * (high - low), 1e-6 * max(abs(low), abs(high)))
        for s in range(3):
            if s == 0 or (cyclic and (s == 1 or low > 0)):
                start_states(y, s, season, starts[s])
                means[s] = mean_of_head(y, s, season, starts[s])
        last = -1
        chosen, least, plain, passes = -1, np.inf, np.inf, 0
        for f in range(n_forms):
            error, trend, kind = forms[f, 0], forms[f, 1], forms[f, 2]
            criteria[f] = np.inf
            sane[f] = False
            if ((error == 1 or trend > 2 or kind == 2) and not low > 0) or (kind > 0 and not cyclic):
                continue
            if must and kind == 0:
                continue
            m = season if kind > 0 else 0
            copy(starts[kind], x)
            start_for(trend, means[kind], x)
            bounds(trend, kind, m, lower, upper)
            for i in range(2):
                _first_gains(y, seen, error, trend, kind, m, x, i, tries[i], w)
            n_tries = 2
            if last >= 0 and forms[last, 2] == kind and trend <= 2 and forms[last, 1] <= 2:
                n_tries = 3
                copy(tries[3], tries[2])
                if trend == 0:
                    tries[2, SLOPE], tries[2, TREND] = 0.0, 0.0
                elif forms[last, 1] == 0:
                    tries[2, SLOPE], tries[2, TREND] = 0.05, 0.0
                tries[2, PHI] = min(tries[2, PHI], 0.97) if trend == 2 else 1.0
            # a few steps from each start, then on from the best; where that left the admissible region, once more
            # with less of a trend
            fit, best = np.inf, 0
            for i in range(n_tries + 1 + _REPAIRS):
                at = i if i < n_tries else 3
                if i == n_tries:
                    copy(tries[best], tries[3])
                elif i > n_tries:
                    if forgets(trend, kind, m, tries[3], x, probe_state):
                        break
                    upper[SLOPE] = max(_LESS * tries[3, SLOPE], lower[SLOPE])
                    tries[3, SLOPE] = upper[SLOPE]
                most = _TRIAL_STEPS if i < n_tries else _MOST_STEPS
                new, steps = fit_form(y, seen, n, error, trend, kind, m, tries[at], lower, upper, fixed, w, most)
                passes += steps
                if new < fit or i > n_tries:
                    fit, best = new, i
            if not np.isfinite(fit):
                continue
            last = f
            k = count_parameters(trend, kind, m)
            criteria[f] = corrected_criterion(fit, n, k)
            _, power = run(y, seen, error, trend, kind, m, tries[3], w.state)
            sane[f] = steady(trend, kind, max(m, 1), tries[3], w.state, horizon, low - reach, high + reach, size)
            # where no form has enough rows for the criterion, the first one that can be fitted is kept
            if sane[f] and (criteria[f] < least or chosen < 0):
                chosen, least, plain = f, criteria[f], power
                finals[row, 0], finals[row, 1] = w.state[0], w.state[1]
                for i in range(SEASON):
                    params[row, i] = tries[3, i]
                for i in range(season):
                    params[row, SEASON + i] = tries[3, SEASON + i] if m > 0 else 0.0
                    finals[row, 2 + i] = w.state[2 + (size + i) % m] if m > 0 else 0.0
        codes[row, 5] = passes
        if chosen < 0:
            codes[row, 3] = _EXPLODED if last >= 0 else _INADMISSIBLE
            continue
        for f in range(n_forms):
            if criteria[f] < least and not sane[f]:
                codes[row, 4] += 1
        codes[row, 0], codes[row, 1], codes[row, 2] = forms[chosen, 0], forms[chosen, 1], forms[chosen, 2]
        # the variance itself is no parameter here
        k = count_parameters(forms[chosen, 1], forms[chosen, 2], season) - 1
        numbers[row, 1] = np.sqrt(plain / max(n - k, 1))
        # in the units of the series, as other programs give it
        numbers[row, 2] = least + 2 * n * np.log(scale)
