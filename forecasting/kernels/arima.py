"""Auto-ARIMA of many series: differences by tests, orders by a stepwise or full search, the best few estimated anew.

Hyndman & Khandakar (2008), Automatic time series forecasting: the forecast package for R, JSS 27(3). Every model of the
search is estimated by exact likelihood, starting from the estimates of its neighbour. Regressors enter as regression
with ARIMA errors.
"""

from __future__ import annotations

import math

import numpy as np

from forecasting.kernels.arima_fit import (
    BETA,
    CAP,
    CROSS,
    DONE,
    FIGURES,
    MOST_ORDER,
    MOST_SEASONAL,
    PARAMETERS,
    ROOT,
    SIGMA,
    THOROUGH,
    TRIED,
    credible,
    fit_order,
    minus_twice,
    new_room,
    polynomials,
)
from forecasting.kernels.arima_project import difference, project, trend_at
from forecasting.kernels.arma import HUGE
from forecasting.kernels.compiled import kernel, part
from forecasting.kernels.unitroot import is_constant
from forecasting.kernels.vectors import copy, fill

ORDER = 7
"""Length of an order: p, q, P, Q, constant, d, D."""

FIXED = 5
"""Length of an order without its differences."""

_KEPT = 6
_STARTS, _SEARCHED = 9, 4
_LOOSE, _TIGHT = 1e-3, 1e-3
_MOST_MODELS = 94
_BAND = 3.0


@kernel
def _criterion(value, n, order, k):
    """AICc as R counts it: terms, regressors and the variance."""
    size = order[0] + order[1] + order[2] + order[3] + k + 1
    if n - size - 1 <= 0 or value >= HUGE:
        return HUGE
    return value + 2 * size + 2.0 * size * (size + 1) / (n - size - 1)


@part
def _try(w, n, order, m, regressors, start, top_value, top_order, top_u, visited, room, where, u):
    """Estimate a model of the search and keep it if it is among the best; returns its AICc.

    From a start and from white noise: either may end at a lower peak, or where it must not; unless `THOROUGH`, from
    white noise only if the start ended there.
    """
    code = 0
    for i in range(5):
        code = code * 8 + order[i]
    for i in range(visited[0]):
        if visited[1 + i] == code:
            return HUGE
    if visited[0] >= _MOST_MODELS or room.vectors[FIGURES, DONE] >= room.vectors[FIGURES, CAP]:
        return HUGE
    visited[0] += 1
    visited[visited[0]] = code
    k = regressors + order[4]
    value = HUGE
    for number in range(2):
        tried_u = room.vectors[TRIED, :PARAMETERS]
        copy(start, tried_u)
        if number == 1:
            if value < HUGE and room.vectors[FIGURES, THOROUGH] == 0:
                break
            fill(tried_u, 0.0)
        tried = fit_order(w[:n], tried_u, order, m, k, _LOOSE, 40, room, where)
        if tried < value and credible(tried_u):
            value = tried
            copy(tried_u, u)
    aicc = _criterion(value, n, order, k)
    if aicc >= HUGE:
        return HUGE
    if aicc < top_value[_KEPT - 1]:
        at = _KEPT - 1
        while at > 0 and aicc < top_value[at - 1]:
            top_value[at] = top_value[at - 1]
            copy(top_order[at - 1], top_order[at])
            copy(top_u[at - 1], top_u[at])
            at -= 1
        top_value[at] = aicc
        copy(order, top_order[at])
        copy(u, top_u[at])
    return aicc


@kernel
def _neighbour(number, order, out):
    """Order `number` steps away from another, in the sequence of Hyndman & Khandakar; 17 of them."""
    copy(order, out)
    if number == 16:
        out[4] = 1 - order[4]
        return
    first = 2 if number < 8 else 0
    move = number % 8
    if move in (0, 4, 5):
        out[first] -= 1
    if move in (2, 6, 7):
        out[first] += 1
    if move in (1, 4, 6):
        out[first + 1] -= 1
    if move in (3, 5, 7):
        out[first + 1] += 1


@kernel
def _inside(order, limits):
    inside = True
    for i in range(5):
        inside = inside and 0 <= order[i] <= limits[i]
    return inside


@kernel
def _listed(number, limits, order):
    """Write order `number` of all there are within the limits, small ones first; whether the number is within the list.

    Some places of the list are no orders: those may lie beyond a limit, and too large ones get a negative p.
    """
    wide, tall, high, c = limits[0] + 1, limits[2] + 1, 2 * MOST_SEASONAL + 1, limits[4] + 1
    order[4] = number % c
    rest = number // c
    order[2] = rest % tall
    rest //= tall
    order[0] = rest % wide
    rest //= wide
    big, total = rest % high, rest // high
    order[1], order[3] = total - order[0], big - order[2]
    if total + big > MOST_ORDER:
        order[0] = -1
    return total <= MOST_ORDER


@part
def _begin(number, seasonal, limits, order):
    """Order `number` of the five that a stepwise search starts with."""
    fill(order, 0)
    order[4] = limits[4] if number < 4 else 0
    if number == 0:
        order[0], order[1], order[2], order[3] = 2, 2, 1, 1
    elif number == 2:
        order[0], order[2] = 1, 1
    elif number == 3:
        order[1], order[3] = 1, 1
    if not seasonal:
        order[2], order[3] = 0, 0
    for i in range(4):
        order[i] = min(order[i], limits[i])


@part
def _search(w, n, m, regressors, limits, stepwise, top_value, top_order, top_u, visited, room, where, u, order, zero):
    """Fill the list of the best models: all there are, or from five on to better neighbours while there are any."""
    fill(top_value, HUGE)
    visited[0] = 0
    room.vectors[FIGURES, THOROUGH] = 0
    base, start = order.copy(), zero.copy()
    value = HUGE
    number = 0
    while True:
        if not stepwise:
            if not _listed(number, limits, order):
                break
            visited[0] = 0
            copy(top_u[0] if top_value[0] < HUGE else zero, start)
        elif number < 5:
            _begin(number, m > 1, limits, order)
        elif number < 5 + 17 and top_value[0] < HUGE:
            if number == 5:
                room.vectors[FIGURES, THOROUGH] = 1
                copy(top_order[0], base)
                copy(top_u[0], start)
                value = top_value[0]
            _neighbour(number - 5, base, order)
        else:
            break
        number += 1
        if not _inside(order, limits):
            continue
        found = _try(w, n, order, m, regressors, start, top_value, top_order, top_u, visited, room, where, u)
        if stepwise and number > 5 and found < value:
            number = 5


@kernel
def _starts(number, best, u):
    """Point to start a final estimate from: likelihoods of ARMA models have several peaks.

    0: the estimate so far, 1: white noise, then mixed signs, over-differenced, slow level and slow season,
    cycles of either sign.
    """
    if number == 0:
        copy(best, u)
        return
    fill(u, 0.0)
    if number == 2:
        u[0], u[5], u[10], u[12] = 0.8, -0.5, 0.2, 0.6
    elif number == 3:
        u[0], u[5], u[12] = -0.8, 0.5, 0.6
    elif number == 4:
        u[5], u[12] = 1.5, 1.5
    elif number == 5:
        u[0], u[5], u[10], u[12] = 2.2, 1.6, 2.0, 1.5
    elif number == 6:
        u[0], u[5], u[12] = 4.0, 2.2, 1.6
    elif number >= 7:
        sign = 1.0 if number == 7 else -1.0
        u[0], u[1], u[5], u[6] = sign * 0.5, -0.6, -sign * 0.3, 0.2


@part
def _refine(w, n, order, m, k, best, picky, starts, room, where, held):
    """Estimate a chosen model again from so many starts; the value, and the estimate in `best`.

    A peak of the likelihood at a unit root does not count while there is one away from it. held : shape [2, 14], work.
    """
    value = HUGE
    copy(best, held[0])
    for number in range(starts):
        _starts(number, held[0], held[1])
        tried = fit_order(w[:n], held[1], order, m, k, _TIGHT, 40, room, where)
        if tried < value and (not picky or credible(held[1])):
            value = tried
            copy(held[1], best)
    return value


@kernel
def fit_series(
    values, indptr, design, first, end, m, stepwise, seasonal, limits, horizon, most, fixed, order, u, beta, figures,
    reason,
):  # fmt: skip
    """Choose and estimate a model for series first..end.

    Parameters
    ----------
    values, indptr : flat series. design : shape [rows, r], regressors. m : steps a season. seasonal : whether seasonal
    terms may be used. limits : shape [4] int64: most p, q, P, Q. horizon : steps whose forecast must stay within three
    ranges of the series. most : likelihoods computed at most. fixed : shape [5] int64, an order (without differences)
    to estimate instead of searching (fixed[0] < 0: search); its roots may lie anywhere outside the unit circle.
    order : shape [n, 7] int64: p, q, P, Q, constant, written; d, D, read. u : shape [n, 14], written. beta : shape
    [n, r + 1], written: regression coefficients, the constant last. figures : shape [n, 5], written: scale, innovation
    standard deviation on that scale, log-likelihood, AICc, rejected choices. reason : shape [n] int64, written.
    """
    regressors = design.shape[1]
    longest = 0
    for i in range(first, end):
        longest = max(longest, indptr[i + 1] - indptr[i])
    room = new_room(m, regressors + 1, longest + horizon, horizon, 1.0 if fixed[0] >= 0 else ROOT)
    where = np.zeros(PARAMETERS, dtype=np.int64)
    top_value, top_order = np.empty(_KEPT), np.zeros((_KEPT, ORDER), dtype=np.int64)
    top_u, zero, trial = np.zeros((_KEPT, PARAMETERS)), np.zeros(PARAMETERS), np.zeros(PARAMETERS)
    held = np.zeros((2, PARAMETERS))
    visited = np.zeros(_MOST_MODELS + 2, dtype=np.int64)
    now, bounds = np.zeros(ORDER, dtype=np.int64), np.zeros(5, dtype=np.int64)
    z, point, spread = np.empty(longest + horizon), np.empty(horizon), np.empty(horizon)
    for i in range(first, end):
        y = values[indptr[i] : indptr[i + 1]]
        x = design[indptr[i] : indptr[i + 1]]
        scale = 0.0
        for value in y:
            scale += abs(value) / len(y)
        if not scale > 0:
            scale = 1.0
        room.vectors[FIGURES, DONE], room.vectors[FIGURES, CAP] = 0, most
        figures[i, 0], figures[i, 4] = scale, 0.0
        d, big_d = order[i, 5], order[i, 6]
        for t in range(len(y)):
            z[t] = y[t] / scale
        n = _columns(z[: len(y)], x, d, big_d, m, room)
        period = m if seasonal else 1
        if is_constant(room.columns[:n, 0]):
            # nothing is left to explain: a constant, a line, a season that repeats
            _plain(room.columns[:n, 0], d, big_d, i, order, u, beta, figures, reason)
            continue
        bounds[0], bounds[1] = min(limits[0], (n - 1) // 3), min(limits[1], (n - 1) // 3)
        bounds[2] = min(limits[2], (n - 1) // (3 * m)) if seasonal else 0
        bounds[3] = min(limits[3], (n - 1) // (3 * m)) if seasonal else 0
        bounds[4] = 1 if d + big_d <= 1 else 0
        if fixed[0] >= 0:
            fill(top_value, HUGE)
            top_value[0] = 0.0
            copy(fixed, top_order[0])
            fill(top_u[0], 0.0)
        else:
            _search(
                room.columns, n, period, regressors, bounds, stepwise, top_value, top_order, top_u, visited, room,
                where, trial, now, zero,
            )  # fmt: skip
        room.vectors[FIGURES, CAP] = room.vectors[FIGURES, DONE] + most
        reason[i] = 3
        best = HUGE
        for rank in range(_KEPT + 2):
            # the plainest models of these differences come last: a random walk (of seasons), with a drift and without
            plain = rank >= _KEPT
            drift = bounds[4] + _KEPT - rank
            # a lower place is worth a look only if it may still come first, or if what came first was refused
            if reason[i] == 0 and (plain or top_value[rank] > best + 2 or rank > 1):
                break
            if (plain and drift < 0) or (not plain and top_value[rank] >= HUGE):
                continue
            if plain:
                fill(now, 0)
                now[4] = drift
                fill(trial, 0.0)
            else:
                copy(top_order[rank], now)
                copy(top_u[rank], trial)
            now[5], now[6] = d, big_d
            k = regressors + now[4]
            searched = fixed[0] < 0 and not plain
            starts = 1 if plain else _SEARCHED if searched else _STARTS
            value = _refine(room.columns, n, now, period, k, trial, searched, starts, room, where, held)
            aicc = _criterion(value, n, now, k)
            if searched and aicc >= best:
                continue
            picky = drift > 0 if plain else searched
            if _accept(y, x, n, m, period, now, trial, picky, room, z, point, spread):
                best = aicc
                _keep(i, n, value, aicc, now, trial, regressors, room, order, u, beta, figures, reason)
            else:
                figures[i, 4] += 1


@part
def _accept(y, x, n, m, period, order, u, picky, room, z, point, spread):
    """Forecast with a model just estimated on `room.columns`; whether that stays near what the series has shown."""
    regressors = x.shape[1]
    k = regressors + order[4]
    minus_twice(room.columns[:n], u, order, period, k, room)
    sigma = math.sqrt(_power(room, k) / n)
    room.vectors[FIGURES, SIGMA] = sigma
    a, b = polynomials(u, order, period, room)
    scale = 0.0
    low, high = y[0], y[0]
    for value in y:
        scale += abs(value) / len(y)
        low, high = min(low, value), max(high, value)
    scale = scale if scale > 0 else 1.0
    _without_regression(y, x, scale, order[4], order[5], order[6], m, room.vectors[BETA], z)
    project(z, len(y), order[5], order[6], m, room, a, b, sigma, point, spread)
    if not picky or regressors > 0:
        return True
    reach = max(_BAND * (high - low) / scale, 1e-6)
    sane = True
    for h in range(len(point)):
        ahead = point[h]
        if order[4]:
            ahead += room.vectors[BETA][regressors] * trend_at(len(y) + h, order[5], order[6], m)
        sane = sane and low / scale - reach <= ahead <= high / scale + reach
    return sane


@part
def _keep(i, n, value, aicc, chosen, chosen_u, regressors, room, order, u, beta, figures, reason):
    """Write an accepted model to row i."""
    scale = figures[i, 0]
    reason[i] = 0
    copy(chosen, order[i])
    copy(chosen_u, u[i])
    fill(beta[i], 0.0)
    copy(room.vectors[BETA][:regressors], beta[i])
    if chosen[4]:
        beta[i, regressors] = room.vectors[BETA][regressors]
    figures[i, 1] = room.vectors[FIGURES, SIGMA]
    figures[i, 2] = -0.5 * value - n * math.log(scale)
    figures[i, 3] = aicc + 2 * n * math.log(scale) if aicc < HUGE else np.nan


@part
def _columns(y, x, d, big_d, m, room):
    """Difference the series and its regressors into `room.columns`, a constant last; the rows that are left."""
    n = difference(y, d, big_d, m, room.columns[:, 0])
    for j in range(x.shape[1]):
        difference(x[:, j], d, big_d, m, room.columns[:, 1 + j])
    for t in range(n):
        room.columns[t, 1 + x.shape[1]] = 1.0
    return n


@part
def _plain(w, d, big_d, i, order, u, beta, figures, reason):
    """The model of a series whose differences are constant."""
    fill(order[i], 0)
    order[i, 4] = 1 if d + big_d <= 1 else 0
    order[i, 5], order[i, 6] = d, big_d
    fill(u[i], 0.0)
    fill(beta[i], 0.0)
    beta[i, beta.shape[1] - 1] = w[0] if d + big_d <= 1 else 0.0
    figures[i, 1], figures[i, 2], figures[i, 3] = 0.0, np.nan, np.nan
    reason[i] = 0


@kernel
def _power(room, k):
    """Residual sum of squares at the coefficients found."""
    cross = room.matrices[CROSS]
    rest = cross[0, 0]
    for j in range(k):
        rest -= room.vectors[BETA][j] * cross[j + 1, 0]
    return max(rest, 1e-280)


@kernel
def _without_regression(y, x, scale, constant, d, big_d, m, beta, z):
    """The series on its scale without what regressors and the constant explain, to z[:n]."""
    k = x.shape[1]
    for t in range(len(y)):
        value = y[t] / scale
        for j in range(k):
            value -= beta[j] * x[t, j]
        if constant:
            value -= beta[k] * trend_at(t, d, big_d, m)
        z[t] = value


@kernel
def forecast_series(values, indptr, design, ahead, first, end, m, seasonal, order, u, beta, figures, point, spread):
    """Forecast series first..end from their last rows.

    Parameters
    ----------
    ahead : shape [n * h, r], regressors of the steps ahead. order, u, beta, figures : as `fit_series` wrote them.
    point, spread : shape [n, h], written: forecast and its standard deviation. NaN where the history is too short.
    """
    regressors = design.shape[1]
    h = point.shape[1]
    longest = 0
    for i in range(first, end):
        longest = max(longest, indptr[i + 1] - indptr[i])
    room = new_room(m, regressors + 1, longest + h, h, ROOT)
    z = np.empty(longest + h)
    for i in range(first, end):
        y = values[indptr[i] : indptr[i + 1]]
        n = len(y)
        d, big_d = order[i, 5], order[i, 6]
        if n - d - m * big_d < 2:
            fill(point[i], np.nan)
            fill(spread[i], np.nan)
            continue
        x = design[indptr[i] : indptr[i + 1]]
        scale = figures[i, 0]
        a, b = polynomials(u[i], order[i], m if seasonal else 1, room)
        _without_regression(y, x, scale, order[i, 4], d, big_d, m, beta[i], z)
        project(z, n, d, big_d, m, room, a, b, figures[i, 1], point[i], spread[i])
        for step in range(h):
            value = point[i, step]
            for j in range(regressors):
                value += beta[i, j] * ahead[i * h + step, j]
            if order[i, 4]:
                value += beta[i, regressors] * trend_at(n + step, d, big_d, m)
            point[i, step] = value * scale
            spread[i, step] *= scale
