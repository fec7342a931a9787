"""Calendar features, computed once per unique time step and gathered to rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from forecasting.season import period_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from forecasting.timegrid import TimeGrid

_DAY, _HOUR, _MINUTE = 86_400.0, 3_600.0, 60.0

# name -> (how, finest frequency in seconds at which it still says something)
_FIELDS: dict[str, tuple[Callable[[pd.DatetimeIndex], Any], float]] = {
    "year": (lambda t: t.year, np.inf),
    "year_iso": (lambda t: t.isocalendar().year.to_numpy(), 8 * _DAY),
    "half": (lambda t: (t.month > 6) + 1, 182 * _DAY + 1),
    "quarter": (lambda t: t.quarter, 92 * _DAY + 1),
    "month": (lambda t: t.month, 31 * _DAY + 1),
    "day": (lambda t: t.day, 30 * _DAY),
    "wday": (lambda t: t.day_of_week, 6 * _DAY),
    "qday": (lambda t: (t - t.to_period("Q").start_time).days + 1, 30 * _DAY),
    "yday": (lambda t: t.day_of_year, 30 * _DAY),
    "week": (lambda t: t.isocalendar().week.to_numpy(dtype=float), 8 * _DAY),
    "hour": (lambda t: t.hour, 23 * _HOUR),
    "am_pm": (lambda t: (t.hour >= 12).astype(int), 11 * _HOUR),
    "hour12": (lambda t: t.hour % 12, 11 * _HOUR),
    "minute": (lambda t: t.minute, 59 * _MINUTE),
    "second": (lambda t: t.second, 59.0),
}

CALENDAR_NAMES = tuple(_FIELDS)


def calendar_names(grid: TimeGrid) -> tuple[str, ...]:
    """Names of the calendar features that say something at this grid's frequency; none on an integer grid."""
    if grid.is_integer:
        return ()
    seconds = period_seconds(grid.freq)
    return tuple(name for name, (_, coarsest) in _FIELDS.items() if seconds <= coarsest)


def calendar(grid: TimeGrid, steps: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """Calendar features of time steps.

    Parameters
    ----------
    steps : shape [rows], grid steps.
    names : which features (see `calendar_names`).

    Returns
    -------
    shape [rows, len(names)] float32. wday 0 = Monday, week and year_iso by ISO 8601, hour12 0..11.

    Examples
    --------
    >>> from forecasting.timegrid import TimeGrid
    >>> grid = TimeGrid("s", "2011-01-01 00:25:30")
    >>> calendar(grid, np.array([0]), ("year", "year_iso", "quarter", "wday", "week", "hour12", "am_pm")).tolist()
    [[2011.0, 2010.0, 1.0, 5.0, 52.0, 0.0, 0.0]]
    """
    if not names:
        return np.empty((len(steps), 0), dtype=np.float32)
    unique, where = _distinct(steps)
    stamps = grid.clock(unique)
    columns = [np.asarray(_FIELDS[name][0](stamps), dtype=np.float32) for name in names]
    return np.stack(columns, axis=1)[where]


def _distinct(steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Steps, ascending, and where each row has its own in them: all of their range, where that is no longer."""
    low, high = (int(steps.min()), int(steps.max())) if len(steps) else (0, 0)
    if high - low < len(steps):
        return np.arange(low, high + 1), steps - low
    return np.unique(steps, return_inverse=True)


def fourier(position: np.ndarray, season: int, order: int) -> np.ndarray:
    """Sine and cosine pairs of a season.

    Parameters
    ----------
    position : shape [rows], time steps. season : steps a season, > 1. order : number of harmonics.

    Returns
    -------
    shape [rows, 2 * order] float32.
    """
    angle = 2 * np.pi * np.outer(position / season, np.arange(1, order + 1))
    return np.concatenate([np.sin(angle), np.cos(angle)], axis=1).astype(np.float32)
