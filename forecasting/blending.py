"""Weights of an ensemble by series: even over its members, tilted towards those that did well on the series.

Chosen weights owe a part of their score to luck, and equal ones often forecast better (the combination puzzle: Smith &
Wallis 2009, Oxford Bulletin of Economics and Statistics 71(3)); errors of the series itself then say which members suit
it (inverse errors: Bates & Granger 1969, Operational Research Quarterly 20(4)), held back by one window more in which
every member does as well as it does everywhere.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np

from automl.ensemble import combine, greedy_arrays

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forecasting.metrics import Truth


class Loss(Protocol):
    """Mean over some windows of what forecasts [those windows, n, horizon, channels] lose, lower is better."""

    def __call__(self, channels: np.ndarray, some: Sequence[int]) -> float:
        """See the class."""
        ...


POWERS = (0.0, 1.0, 2.0)
"""Tilts that are tried: weights go with errors to minus this power, 0 = even ones."""

_GAIN = 0.005
"""What weights other than the greedy ones must gain on windows they were not chosen on."""


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


def choose_power(arrays: Sequence[np.ndarray], errors: np.ndarray, loss: Loss, rounds: int) -> float | None:
    """Tilt that forecasts windows best from weights learned on the others; None = greedy weights do as well.

    Parameters
    ----------
    arrays : forecasts of models [windows, n, horizon, channels]. errors : theirs (see `series_errors`). rounds : greedy
        steps.
    """
    windows = range(len(arrays[0]))
    losses = np.zeros((len(windows), 1 + len(POWERS)))
    for held in windows:
        others = [w for w in windows if w != held]
        weights = greedy_arrays([a[others] for a in arrays], partial(loss, some=others), rounds=rounds)
        used = np.flatnonzero(weights).tolist()
        apart = [arrays[k][[held]] for k in used]
        losses[held, 0] = loss(combine(apart, weights[used]), [held])
        for column, power in enumerate(POWERS, 1):
            by_series = tilted(errors[used][:, others], power)
            blend = np.sum([by_series[:, k, None, None] * a for k, a in enumerate(apart)], axis=0)
            losses[held, column] = loss(blend, [held])
    mean = losses.mean(axis=0)
    best = int(np.nanargmin(mean[1:]))
    return POWERS[best] if mean[1 + best] < mean[0] - _GAIN * abs(mean[0]) else None
