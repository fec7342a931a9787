"""Filling gaps of numeric covariates with what the training rows show."""

from __future__ import annotations

import numpy as np

TYPICAL = ("median", "mean", "most_frequent")
"""Ways that take one value for all gaps of a series; the others are "ffill" and "constant"."""


def typical(values: np.ndarray, observed: np.ndarray, series: np.ndarray, n: int, way: str, other: float) -> np.ndarray:
    """One value a series, from its observed rows. Shape [n].

    Parameters
    ----------
    values, observed, series : shape [rows]. way : see `TYPICAL`. other : for series without any observed row.

    Examples
    --------
    >>> x, which = np.array([1.0, 1.0, 4.0, 9.0]), np.array([0, 0, 0, 2])
    >>> [typical(x, np.ones(4, dtype=bool), which, 3, way, -1.0).tolist() for way in TYPICAL]
    [[1.0, -1.0, 9.0], [2.0, -1.0, 9.0], [1.0, -1.0, 9.0]]
    """
    x, of = values[observed], series[observed]
    count = np.bincount(of, minlength=n)
    some = count > 0
    out = np.full(n, other)
    if way == "mean":
        out[some] = (np.bincount(of, weights=x, minlength=n) / np.maximum(count, 1))[some]
        return out
    order = np.lexsort((x, of))
    x, of = x[order], of[order]
    first = np.cumsum(count) - count
    if way == "median":
        low, high = (first + (count - 1) // 2)[some], (first + count // 2)[some]
        # halved before they are added, so that huge values do not overflow
        out[some] = np.where(x[low] == x[high], x[low], x[low] / 2 + x[high] / 2)
        return out
    if len(x):
        begins = np.flatnonzero(np.concatenate([[True], (np.diff(x) != 0) | (np.diff(of) != 0)]))
        length = np.diff(np.append(begins, len(x)))
        best = np.lexsort((-length, of[begins]))  # by series the longest run first, of equal ones the smallest value
        _, at = np.unique(of[begins][best], return_index=True)
        out[some] = x[begins[best[at]]]
    return out


def filled(values: np.ndarray, observed: np.ndarray, indptr: np.ndarray, way: str, usual: np.ndarray) -> np.ndarray:
    """Values with every gap filled. Shape [rows].

    Parameters
    ----------
    values : shape [rows]; where not observed, the last observed value ("constant": the constant) stands already.
    usual : shape [n], a typical value of each series; "ffill" takes it before the first observed row, where the value
        that stands there came later.

    Examples
    --------
    >>> x, seen = np.array([5.0, 5.0, 5.0, 7.0]), np.array([False, True, False, True])
    >>> [filled(x, seen, np.array([0, 4]), way, np.array([6.0])).tolist() for way in ("ffill", "mean")]
    [[6.0, 5.0, 5.0, 7.0], [6.0, 5.0, 6.0, 7.0]]
    """
    if way == "constant" or observed.all():
        return values
    series = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    if way != "ffill":
        return np.where(observed, values, usual[series])
    begin = indptr[:-1][series]
    latest = np.maximum.accumulate(np.where(observed, np.arange(len(values)), -1))
    return np.where(latest >= begin, values, usual[series])
