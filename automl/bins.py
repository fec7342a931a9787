"""Bins of errors and of pairs of truth and prediction, which charts of all tasks draw; on arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


def _constant(low: float, high: float) -> bool:
    """Whether values between two differ by rounding alone."""
    return bool(high - low <= 1e-12 * max(abs(low), abs(high)))


def residual_bins(error: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Edges and counts of errors; far ones that would stretch the axis lie outside and are not counted.

    Examples
    --------
    >>> edges, counts = residual_bins(np.array([-1.0, 0.0, 0.0, 1.0]))
    >>> float(edges[0]), float(edges[-1]), int(counts.sum())
    (-1.0, 1.0, 4)
    """
    low, high = error.min(), error.max()
    near_low, near_high = np.percentile(error, (1, 99))
    if near_high > near_low and high - low > 2 * (near_high - near_low):
        low, high = near_low, near_high
    if _constant(low, high):
        half = max(1.0, abs(low)) / 2
        low, high = low - half, high + half
    bins = int(np.clip(np.ceil(1.5 * len(error) ** 0.5), 10, 60))
    counts, edges = np.histogram(error, bins=bins, range=(low, high))
    return edges, counts


@dataclass(frozen=True, slots=True)
class Agreement:
    """Predictions by bins of true values.

    Parameters
    ----------
    edges, counts : bins of the true values. x, mean, spread : of each bin that is not empty: its mean true value, mean
        prediction and standard deviation. logarithmic : the bins, and so both axes, are.
    """

    edges: np.ndarray
    counts: np.ndarray
    x: np.ndarray
    mean: np.ndarray
    spread: np.ndarray
    logarithmic: bool


def agreement(y: np.ndarray, predicted: np.ndarray) -> Agreement:
    """Bin predictions by true value.

    Examples
    --------
    >>> found = agreement(np.array([0.0, 0.0, 10.0]), np.array([1.0, 3.0, 9.0]))
    >>> found.x.tolist(), found.mean.tolist(), found.spread.tolist()
    ([0.0, 10.0], [2.0, 9.0], [1.0, 0.0])
    """
    low, high = np.percentile(y, (1, 99))
    logarithmic = bool(y.min() > 0 and predicted.min() > 0 and high > 1000 * low)
    bins = int(np.clip(np.ceil(2 * len(y) ** (1 / 3)), 5, 30))
    if _constant(y.min(), y.max()):
        half = max(1.0, abs(y[0])) / 2
        edges = np.array([y[0] - half, y[0] + half])
    else:
        edges = (np.geomspace if logarithmic else np.linspace)(y.min(), y.max(), bins + 1)
    place = np.clip(np.searchsorted(edges, y, side="right") - 1, 0, len(edges) - 2)
    counts = np.bincount(place, minlength=len(edges) - 1)
    some = counts > 0
    x, mean = (np.bincount(place, weights=v, minlength=len(counts))[some] / counts[some] for v in (y, predicted))
    centre = np.zeros(len(counts))
    centre[some] = mean
    away = predicted - centre[place]
    unit = np.abs(away).max() or 1.0  # squares of huge numbers would overflow
    square = np.bincount(place, weights=np.square(away / unit), minlength=len(counts))[some] / counts[some]
    return Agreement(edges, counts, x, mean, unit * np.sqrt(square), logarithmic)
