"""Points of curves, bins and counts of predictions beside the truth, on arrays."""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import pairwise

import numpy as np

MOST_POINTS = 300
"""Of a drawn line."""

GRID = np.linspace(0.0, 1.0, 1001)
"""Places where curves of several classes are averaged."""

_TOLERANCE = 2e-4
"""Share of the axis that a thinned line may lie beside the true one."""

_RUNS = 4_000


def ranked(hot: np.ndarray, score: np.ndarray, weight: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Rows with and without a class, counted from the highest score down, tied ones at once; 0 and 0 come first.

    Parameters
    ----------
    hot : whether a row has the class, score, weight : shape [n]. With weights, these are summed.

    Examples
    --------
    >>> with_, without = ranked(np.array([1, 0, 1, 0]), np.array([0.9, 0.1, 0.4, 0.4]))
    >>> with_.tolist(), without.tolist()
    ([0.0, 1.0, 2.0, 2.0], [0.0, 0.0, 1.0, 2.0])
    """
    order = np.argsort(-score)
    falling, hot = score[order], hot.astype(bool)[order]
    last = np.flatnonzero(np.concatenate([falling[1:] != falling[:-1], [True]]))
    if weight is None:
        with_ = np.cumsum(hot)[last].astype(float)
        without = last + 1 - with_
    else:
        w = weight[order]
        with_, without = (np.cumsum(np.where(part, w, 0.0))[last] for part in (hot, ~hot))
    return np.concatenate([[0.0], with_]), np.concatenate([[0.0], without])


def roc_points(with_: np.ndarray, without: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rate at every different score, from (0, 0) to (1, 1). Both arguments as `ranked` gives.

    Examples
    --------
    >>> x, y = roc_points(*ranked(np.array([1, 0, 1, 0]), np.array([0.9, 0.1, 0.4, 0.4])))
    >>> x.tolist(), y.tolist()
    ([0.0, 0.0, 0.5, 1.0], [0.0, 0.5, 1.0, 1.0])
    """
    return without / without[-1], with_ / with_[-1]


def precision_recall_points(with_: np.ndarray, without: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Recall and precision at every different score; a first point (0, 1) stands for no row at all.

    Examples
    --------
    >>> x, y = precision_recall_points(*ranked(np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.4, 0.2])))
    >>> x.tolist(), y.round(2).tolist()
    ([0.0, 0.5, 0.5, 1.0, 1.0], [1.0, 1.0, 0.5, 0.67, 0.5])
    """
    return with_ / with_[-1], np.concatenate([[1.0], with_[1:] / (with_ + without)[1:]])


def gains_points(with_: np.ndarray, without: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of the rows with the highest scores, and share of the class that is among them.

    Examples
    --------
    >>> x, y = gains_points(*ranked(np.array([1, 0, 1, 0]), np.array([0.9, 0.1, 0.4, 0.4])))
    >>> x.tolist(), y.tolist()
    ([0.0, 0.25, 0.75, 1.0], [0.0, 0.5, 1.0, 1.0])
    """
    return (with_ + without) / (with_[-1] + without[-1]), with_ / with_[-1]


def lift_points(with_: np.ndarray, without: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of the rows, and the gain there over that of as many random rows; points between tied scores too.

    Examples
    --------
    >>> x, y = lift_points(*ranked(np.array([1, 0, 1, 0]), np.array([0.9, 0.1, 0.4, 0.4])))
    >>> y[np.isin(x, [0.0, 0.25, 0.75, 1.0])].round(2).tolist()
    [2.0, 2.0, 1.33, 1.0]
    """
    share, gain = gains_points(with_, without)
    x = np.union1d(share[share > 0], GRID[1:])
    y = np.interp(x, share, gain) / x
    return np.concatenate([[0.0], x]), np.concatenate([y[:1], y])


def calibration_bins(
    hot: np.ndarray, score: np.ndarray, weight: np.ndarray | None = None, bins: int = 10
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean score, share of the class (both NaN where a bin is empty) and weight of equally wide bins. Shape [bins].

    Examples
    --------
    >>> mean, share, rows = calibration_bins(np.array([0, 1, 1]), np.array([0.25, 0.75, 1.0]), bins=2)
    >>> mean.tolist(), share.tolist(), rows.tolist()
    ([0.25, 0.875], [0.0, 1.0], [1.0, 2.0])
    """
    place = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], score)
    w = np.ones(len(hot)) if weight is None else weight
    rows, mean, share = (np.bincount(place, weights=w * v, minlength=bins) for v in (np.ones(len(hot)), score, hot))
    some = np.where(rows > 0, rows, np.nan)
    return mean / some, share / some, rows


def confusion_counts(
    y: np.ndarray, predicted: np.ndarray, n_classes: int, weight: np.ndarray | None = None
) -> np.ndarray:
    """Rows (or their weight) of each true class, a row each, by predicted class.

    Examples
    --------
    >>> confusion_counts(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist()
    [[1.0, 1.0], [0.0, 1.0]]
    """
    cell = y.astype(np.int64) * n_classes + predicted
    counts = np.bincount(cell, weights=weight, minlength=n_classes**2)
    return counts.astype(float).reshape(n_classes, n_classes)


def thinned(x: np.ndarray, y: np.ndarray, most: int = MOST_POINTS) -> tuple[np.ndarray, np.ndarray]:
    """At most so many points of a line: again and again the one farthest from the line through those kept.

    Source: Douglas & Peucker (1973), Algorithms for the reduction of the number of points required to represent a
    digitized line, Cartographica 10(2).

    Examples
    --------
    >>> bend = np.minimum(np.arange(1000.0), 400.0)
    >>> [v.tolist() for v in thinned(np.arange(1000.0), bend)]
    [[0.0, 400.0, 999.0], [0.0, 400.0, 400.0]]
    """
    if len(x) <= most:
        return x, y
    if len(x) > 4 * _RUNS:  # of runs of neighbours the ends, the lowest and the highest
        edges = np.linspace(0, len(x), _RUNS + 1).astype(int)
        some = {p for a, b in pairwise(edges) for p in (a, a + y[a:b].argmin(), a + y[a:b].argmax(), b - 1)}
        kept = np.array(sorted(some))
        x, y = x[kept], y[kept]
    points = np.stack([x / (np.ptp(x) or 1.0), y / (np.ptp(y) or 1.0)])
    waiting: list[tuple[float, int, int, int]] = []

    def look(a: int, b: int) -> None:
        """Note the point between two that lies farthest from the line through them."""
        if b - a < 2:
            return
        (dx, dy), (u, v) = points[:, b] - points[:, a], points[:, a + 1 : b] - points[:, a, None]
        length = float(np.hypot(dx, dy))
        away = np.abs(dx * v - dy * u) / length if length > 0 else np.hypot(u, v)
        k = int(away.argmax())
        heappush(waiting, (-float(away[k]), a, a + 1 + k, b))

    chosen = [0, len(x) - 1]
    look(*chosen)
    while waiting and len(chosen) < most and -waiting[0][0] > _TOLERANCE:
        _, a, k, b = heappop(waiting)
        chosen.append(k)
        look(a, k)
        look(k, b)
    chosen.sort()
    return x[chosen], y[chosen]
