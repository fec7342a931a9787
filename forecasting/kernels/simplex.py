"""Nelder-Mead minimisation inside kernels, by asking and telling: numba keeps no kernel on disk that takes a function.

The loop of a caller, whose objective is its own code::

    search = new_simplex(n)
    begin(search, start, steps, lower, upper)
    while ask(search, lower, upper, tolerance, most):
        tell(search, objective(search.trial))
    search.points[0], search.values[0]  # the best point and its value

Coefficients adapt to the dimension (Gao & Han 2012). Values that are not finite count as very large. Deterministic:
caps are counted in evaluations.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from forecasting.kernels.compiled import kernel, part

_HUGE = 1e300
_FIRST, _REFLECT, _EXPAND, _OUTSIDE, _INSIDE, _SHRINK = 0, 1, 2, 3, 4, 5


class Simplex(NamedTuple):
    """The state of one minimisation over n parameters.

    Parameters
    ----------
    points : shape [n + 1, n], best first once every vertex is known. values : shape [n + 1].
    center, reflected, trial : shape [n]; trial is what to evaluate next.
    at : shape [3]: phase, vertex, evaluations done. memo : shape [1], value of the reflected point.
    """

    points: np.ndarray
    values: np.ndarray
    center: np.ndarray
    reflected: np.ndarray
    trial: np.ndarray
    at: np.ndarray
    memo: np.ndarray


@kernel
def new_simplex(n):
    """Room for a minimisation over n parameters."""
    return Simplex(
        np.zeros((n + 1, n)),
        np.full(n + 1, _HUGE),
        np.zeros(n),
        np.zeros(n),
        np.zeros(n),
        np.zeros(3, dtype=np.int64),
        np.zeros(1),
    )


@part
def _copy(source, target):
    """Copy n numbers one by one: numba compiles a slice that takes an array's values far more slowly."""
    for j in range(len(target)):
        target[j] = source[j]


@kernel
def begin(s, start, steps, lower, upper):
    """Place the first simplex: `start` [n] and one vertex a parameter, `steps` [n] away (inwards at a bound)."""
    n = len(start)
    for i in range(n + 1):
        s.values[i] = _HUGE
        for j in range(n):
            s.points[i, j] = min(max(start[j], lower[j]), upper[j])
        if i > 0:
            j = i - 1
            moved = s.points[i, j] + steps[j]
            s.points[i, j] = moved if lower[j] <= moved <= upper[j] else s.points[i, j] - steps[j]
            s.points[i, j] = min(max(s.points[i, j], lower[j]), upper[j])
    s.at[0], s.at[1], s.at[2] = _FIRST, 0, 0
    _copy(s.points[0], s.trial)


@kernel
def ask(s, lower, upper, tolerance, most):
    """Whether another evaluation is wanted: not once values differ by less than `tolerance`, or after `most`."""
    n = len(s.trial)
    if s.at[2] >= most:
        _sort(s)
        return False
    if s.at[0] == _REFLECT and s.values[n] - s.values[0] <= tolerance:
        return False
    for j in range(n):
        s.trial[j] = min(max(s.trial[j], lower[j]), upper[j])
    return True


@kernel
def tell(s, value):
    """Take the value of `trial` and move on."""
    n = len(s.trial)
    s.at[2] += 1
    if not np.isfinite(value):
        value = _HUGE
    phase = s.at[0]
    if phase == _FIRST or phase == _SHRINK:  # noqa: PLR1714, SIM109 - numba compares integers faster one by one
        i = s.at[1]
        s.values[i] = value
        _copy(s.trial, s.points[i])
        if i < n:
            s.at[1] = i + 1
            _copy(s.points[i + 1], s.trial)
        else:
            _next(s)
        return
    if phase == _REFLECT:
        if s.values[0] <= value < s.values[n - 1]:
            _accept(s, value)
            return
        s.memo[0] = value
        _copy(s.trial, s.reflected)
        if value < s.values[0]:
            factor, s.at[0] = (1 + 2 / n if n > 1 else 2.0), _EXPAND
        else:
            factor, s.at[0] = (0.75 - 0.5 / n if n > 1 else 0.5), _OUTSIDE
            if value >= s.values[n]:
                factor, s.at[0] = -factor, _INSIDE
        for j in range(n):
            s.trial[j] = s.center[j] + factor * (s.center[j] - s.points[n, j])
        return
    if phase == _EXPAND:
        if value >= s.memo[0]:
            _copy(s.reflected, s.trial)
            value = s.memo[0]
        _accept(s, value)
        return
    if value <= (s.memo[0] if phase == _OUTSIDE else s.values[n]):
        _accept(s, value)
        return
    shrink = 1 - 1 / n if n > 1 else 0.5
    for i in range(1, n + 1):
        for j in range(n):
            s.points[i, j] = s.points[0, j] + shrink * (s.points[i, j] - s.points[0, j])
    s.at[0], s.at[1] = _SHRINK, 1
    _copy(s.points[1], s.trial)


@kernel
def _accept(s, value):
    n = len(s.trial)
    _copy(s.trial, s.points[n])
    s.values[n] = value
    _next(s)


@kernel
def _next(s):
    """Sort, and reflect the worst vertex."""
    _sort(s)
    n = len(s.trial)
    for j in range(n):
        total = 0.0
        for i in range(n):
            total += s.points[i, j]
        s.center[j] = total / n
        s.trial[j] = 2 * s.center[j] - s.points[n, j]
    s.at[0] = _REFLECT


@kernel
def _sort(s):
    n = len(s.trial)
    for i in range(1, n + 1):
        k = i
        while k > 0 and s.values[k] < s.values[k - 1]:
            s.values[k], s.values[k - 1] = s.values[k - 1], s.values[k]
            for j in range(n):
                s.points[k, j], s.points[k - 1, j] = s.points[k - 1, j], s.points[k, j]
            k -= 1
