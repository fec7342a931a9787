"""The scale pooled models work on: log or not, and the typical change of each series."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from forecasting.panel import Panel


def wants_log(panel: Panel, transform: str, season: int) -> bool:
    """Whether the target is learned on a log scale; never where negative values occur."""
    if transform == "none":
        return False
    y = panel.y[panel.observed]
    return bool(len(y)) and y.min() >= 0 and (transform == "log" or _multiplicative(panel, season))


def _multiplicative(panel: Panel, season: int) -> bool:
    """Whether changes grow with the level within series: median rank correlation of |change| and level over series."""
    votes = []
    for i in np.unique(np.linspace(0, panel.n_series - 1, min(panel.n_series, 100)).astype(int)):
        y = panel.series(i)
        width = max(season, 4)
        blocks = len(y) // width
        if blocks < 4:
            continue
        table = y[-blocks * width :].reshape(blocks, width)
        level, spread = table.mean(axis=1), table.std(axis=1)
        if np.ptp(level) <= 0:
            continue
        votes.append(np.corrcoef(level.argsort().argsort(), spread.argsort().argsort())[0, 1])
    return bool(votes) and float(np.median(votes)) > 0.3


def log_shifts(panel: Panel) -> np.ndarray:
    """What keeps the log of each series tame: 0, or its mean where it comes nearer to zero than a hundredth of that."""
    first = panel.indptr[:-1]
    mean = np.add.reduceat(np.maximum(panel.y, 0.0), first) / panel.lengths
    low = np.minimum.reduceat(panel.y, first)
    return np.where(low > 0.01 * mean, 0.0, np.where(mean > 0, mean, 1.0))


def scales(z: np.ndarray, indptr: np.ndarray, season: int) -> tuple[np.ndarray, np.ndarray]:
    """Per series: mean absolute seasonal change of z (1 where there is none), and its lowest and highest value."""
    first, sizes = indptr[:-1], np.diff(indptr)
    step = np.where(sizes > season, season, 1)
    rows = np.arange(len(z))
    back = rows - np.repeat(step, sizes)
    inside = back >= np.repeat(first, sizes)
    jump = np.where(inside, np.abs(z - z[np.maximum(back, 0)]), 0.0)
    change = np.add.reduceat(jump, first) / np.maximum(sizes - step, 1)
    centre = np.repeat(np.add.reduceat(z, first) / sizes, sizes)
    spread = np.sqrt(np.add.reduceat(np.square(z - centre), first) / sizes)
    bounds = np.stack([np.minimum.reduceat(z, first), np.maximum.reduceat(z, first)], axis=1)
    typical = np.maximum(np.maximum(change, 0.1 * spread), 1e-9 * np.abs(bounds).max(axis=1))
    return np.where(typical > 0, typical, 1.0), bounds
