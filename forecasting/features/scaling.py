"""The scale pooled models work on: log or not, and the typical change of each series."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from forecasting.panel import Panel


_NEARLY_ALL = 0.95
"""Share of series without negative values from which logarithms are considered."""


def wants_log(panel: Panel, transform: str, season: int) -> bool:
    """Whether the target is learned on a log scale; series with negative values never are, and have no say.

    "auto" takes logs where swings grow with the level, and nearly all series may have them: those that do not are
    another kind of rows in the same model.
    """
    if transform == "none" or not panel.observed.any():
        return False
    may = np.flatnonzero(_lowest(panel) >= 0)
    if transform == "log":
        return len(may) > 0
    return len(may) >= _NEARLY_ALL * panel.n_series and _multiplicative(panel, may, season)


def _lowest(panel: Panel) -> np.ndarray:
    """Lowest value of each series, shape [n]."""
    return np.minimum.reduceat(panel.y, panel.indptr[:-1])


def _multiplicative(panel: Panel, may: np.ndarray, season: int) -> bool:
    """Whether changes grow with the level within series: median rank correlation of |change| and level over some."""
    votes = []
    for i in may[np.unique(np.linspace(0, len(may) - 1, min(len(may), 100)).astype(int))]:
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


def log_shifts(panel: Panel, level: float = 0.0) -> np.ndarray:
    """What keeps the log of each series tame: 0, or its mean where it comes nearer to zero than a hundredth of that.

    NaN for a series with negative values, which is read as it is.
    """
    mean = _means(panel)
    low = _lowest(panel)
    tame = np.where(low > 0.01 * mean, 0.0, np.where(mean > 0, mean, level or typical_level(panel)))
    return np.where(low < 0, np.nan, tame)


def typical_level(panel: Panel) -> float:
    """Median of the means of the series that have one above 0, else 1."""
    mean = _means(panel)
    return float(np.median(mean[mean > 0])) if (mean > 0).any() else 1.0


def _means(panel: Panel) -> np.ndarray:
    """Mean of each series, negative values counting as 0. Shape [n]."""
    return np.add.reduceat(np.maximum(panel.y, 0.0), panel.indptr[:-1]) / panel.lengths


def scales(z: np.ndarray, indptr: np.ndarray, season: int, unit: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Per series: mean absolute seasonal change of z, and its lowest and highest value.

    Parameters
    ----------
    unit : scale of series of zeros alone; 0 = the median of the others, 1 where there is none.
    """
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
    good = typical > 0
    usual = unit or (float(np.median(typical[good])) if good.any() else 1.0)
    return np.where(good, typical, usual), bounds
