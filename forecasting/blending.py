"""Weights of an ensemble by series: even over its members, tilted towards those that did well on the series.

Chosen weights owe a part of their score to luck, and equal ones often forecast better (the combination puzzle: Smith &
Wallis 2009, Oxford Bulletin of Economics and Statistics 71(3)); errors of the series itself then say which members suit
it (inverse errors: Bates & Granger 1969, Operational Research Quarterly 20(4)), held back by one window more in which
every member does as well as it does everywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from forecasting.metrics import known_mean, row_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forecasting.metrics import Truth


_SEEN_BEFORE, _USUAL_DEVIATION = 4.0, 0.3
"""Differences between two models' errors that are taken to have been seen, and their size as a share of the error."""

_LEAST_LIKELY, _MOST_MEMBERS = 0.05, 16
"""Models less likely than this share of the best, or beyond so many, get no weight."""


def series_errors(points: Sequence[np.ndarray], truth: Truth) -> np.ndarray:
    """Mean absolute error of members in each window and series, over its scale. Shape [k, windows, n].

    Parameters
    ----------
    points : arrays [windows, n, horizon]. truth : rows of all windows, as of `ForecastTask.truth`. NaN where nothing
        was observed or the series has no scale.
    """
    windows, n, h = points[0].shape
    mask = truth.mask.reshape(-1, n, h)[:windows]
    y, scale = truth.y.reshape(-1, n, h)[:windows], truth.mae_scale.reshape(-1, n)[:windows]
    count = mask.sum(axis=2) * np.where(scale > 0, scale, np.nan)
    count[count == 0] = np.nan
    return np.stack([np.where(mask, np.abs(y - p), 0.0).sum(axis=2) / count for p in points])


def tilted(errors: np.ndarray, power: float) -> np.ndarray:
    """Weights of members for each series, rows of sum 1. Shape [n, k].

    Parameters
    ----------
    errors : shape [k, windows, n] (see `series_errors`). power : how far errors tilt the weights, 0 = even.

    Examples
    --------
    >>> errors = np.array([[[1.0, 2.0]], [[1.0, 1.0]]])
    >>> tilted(errors, 1.0).round(3).tolist()
    [[0.45, 0.55], [0.367, 0.633]]
    """
    seen = np.isfinite(errors)
    count = seen.sum(axis=1)
    total = np.where(seen, errors, 0.0).sum(axis=1)
    everywhere = total.sum(axis=1) / np.maximum(count.sum(axis=1), 1)
    typical = everywhere / everywhere.mean() if everywhere.mean() > 0 else np.ones(len(errors))
    level = total.sum(axis=0) / np.maximum(count.sum(axis=0), 1)
    expected = (total + typical[:, None] * level) / (count + 1)
    # a member without any error on a series has no limit to its weight but this
    floor = 0.05 * expected.mean(axis=0)
    raw = np.maximum(expected, np.where(floor > 0, floor, 1.0)) ** -power
    return (raw / raw.sum(axis=0)).T


def likely(losses: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Weights by how likely it is that a model is as good as the best one: exp(-z / 2). Shape [k], sum 1.

    z is what it loses more over the standard error of that, as differences of its errors from the best one's vary from
    series to series and window to window; a few such differences of the usual size are taken to have been seen before.

    Parameters
    ----------
    losses : shape [k], at least one finite. errors : shape [k, windows, n] (see `series_errors`).

    Examples
    --------
    >>> alike, worse = np.array([[[1.0, 2.0, 1.0, 2.0]], [[2.0, 1.0, 2.0, 1.0]]]), np.array([[[5.0, 6.0, 5.0, 6.0]]])
    >>> likely(np.array([1.5, 1.5, 5.5]), np.concatenate([alike, worse])).round(2).tolist()
    [0.5, 0.5, 0.0]
    """
    best = int(np.nanargmin(losses))
    flat = errors.reshape(len(errors), -1)
    apart = flat - flat[best]
    seen = np.isfinite(apart)
    usual = float(np.nan_to_num(known_mean(flat[best])))
    count = seen.sum(axis=1) + _SEEN_BEFORE
    square = np.square(np.where(seen, apart - row_mean(apart, seen)[:, None], 0.0)).sum(axis=1)
    deviation = np.sqrt((square + _SEEN_BEFORE * (_USUAL_DEVIATION * usual) ** 2) / count)
    unit = abs(float(losses[best])) or 1.0
    more = np.where(np.isfinite(losses), (losses - losses[best]) / unit, np.inf) * (usual or 1.0)
    z = more / np.maximum(deviation / np.sqrt(count), np.finfo(float).tiny)
    weights = np.exp(-z / 2)
    rank = np.argsort(np.argsort(-weights, kind="stable"), kind="stable")
    weights[(weights < _LEAST_LIKELY) | (rank >= _MOST_MEMBERS)] = 0.0
    return np.asarray(weights / weights.sum())
