"""Season length: a table of candidates by frequency, and the autocorrelation that decides."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset

from forecasting.metrics import changes

if TYPE_CHECKING:
    from forecasting.panel import Panel
    from forecasting.timegrid import TimeGrid

_HOUR, _DAY, _YEAR = 3_600.0, 86_400.0, 365.25 * 86_400.0
_INTEGER_CANDIDATES = (4, 7, 12, 24, 52)
_MAX_SERIES, _MAX_SEASONS = 200, 20
_LEAST_OF_AN_HOUR = 500
"""Rows on which an hour may show below the day of finer data: on a few of them noise does as well."""

_ROUNDING = 1e-12
"""Changes that differ by no more than this part of the values differ by rounding."""

_LONG = 30
"""A season this many times the shorter one moves too little from day to day to show in differences."""


@lru_cache(maxsize=128)
def period_seconds(freq: str) -> float:
    """Mean length of one step in seconds, over 48 steps (four years of months)."""
    stamps = pd.date_range("2001-01-01", periods=49, freq=to_offset(freq), unit="ns")
    return float(stamps[-1].value - stamps[0].value) / 48e9


def season_candidates(grid: TimeGrid) -> tuple[int, ...]:
    """Season lengths (in steps) worth testing at a frequency, shortest first.

    Examples
    --------
    >>> from forecasting.timegrid import TimeGrid
    >>> freqs = ("min", "15min", "h", "D", "B", "W-MON", "MS", "QE-DEC", "YS")
    >>> [season_candidates(TimeGrid(f, "2001-01-01")) for f in freqs]
    [(60, 1440), (4, 96, 672), (24, 168), (7, 365), (5,), (52,), (12,), (4,), ()]
    """
    if grid.is_integer:
        return _INTEGER_CANDIDATES
    offset = to_offset(grid.freq)
    if offset.rule_code in {"B", "C"}:
        return (5,) if offset.n == 1 else ()
    if offset.rule_code in {"bh", "cbh"} and offset.n == 1:
        return (8, 40)
    seconds = period_seconds(grid.freq)
    cycles = {_HOUR: _HOUR / 4, _DAY: _DAY / 2, 7 * _DAY: _DAY, _YEAR: 92 * _DAY}  # cycle -> coarsest step
    finest = {7 * _DAY: 600.0, _YEAR: _DAY * 0.99}  # long cycles of fine data are left to the calendar
    steps = [
        int(cycle / seconds + 0.05)
        for cycle, coarsest in cycles.items()
        if finest.get(cycle, 0.0) <= seconds <= coarsest
    ]
    return tuple(sorted({m for m in steps if m > 1}))


def autocorrelation(x: np.ndarray, lag: int) -> float:
    """Sample autocorrelation at one lag; 0 for a constant series."""
    centred = x - x.mean()
    power = float(centred @ centred)
    return float(centred[lag:] @ centred[:-lag]) / power if power > 0 else 0.0


def detect_season(panel: Panel) -> int:
    """Steps a season: the shortest candidate that enough series show.

    A series shows a candidate m when it covers at least two cycles, the autocorrelation of its first differences at m
    is a local peak (not below its neighbours) and exceeds 1.645 / sqrt(n) (one-sided 5 %). First differences take
    the trend out. At most 200 series and their last 20 seasons are looked at. Three votes in ten are enough, for a
    season too many costs little and a season missed costs a lot. Where the frequency is known and no candidate wins,
    its first one is taken as a prior, if short (at most 24 steps) and covered twice by half of the series. Below an
    hour the day has the first say, and is the prior whatever its length; the hour needs 500 rows.

    Examples
    --------
    >>> from forecasting.panel import Panel
    >>> from forecasting.timegrid import TimeGrid
    >>> t = np.arange(96)
    >>> detect_season(Panel.from_arrays([0.3 * t + np.sin(t * np.pi / 6)], TimeGrid("MS", "2001-01-01")))
    12
    """
    pick = _some(panel)
    candidates = season_candidates(panel.grid)
    day = _day_of_fine_steps(panel.grid)
    for season in sorted(candidates, key=lambda m: (m < day, m)):
        least, rows = 2 * season + 2, _MAX_SEASONS * season
        if season < day:
            least, rows = max(least, _LEAST_OF_AN_HOUR), max(rows, _LEAST_OF_AN_HOUR)
        width = season // 8 if day and season >= day else 3
        votes = [_shows(panel.series(i)[-rows:], season, width) for i in pick if panel.lengths[i] >= least]
        if len(votes) >= max(1, len(pick) // 4) and np.mean(votes) >= 0.3:
            return season
    prior = [m for m in candidates if (m == day if day else m <= 24) and np.mean(panel.lengths >= 2 * m) >= 0.5]
    return prior[0] if prior and not panel.grid.is_integer else 1


def gap_season(panel: Panel, season: int) -> int:
    """Steps back from where gaps of the target are best filled: a season, or 1 = from the last value there is.

    The changes over a season are held against those over the typical distance from a gap to the last observed row.
    Most series must have the smaller ones over a season. At most 200 series and their last 20 seasons are looked at.

    Examples
    --------
    >>> from forecasting.panel import Panel
    >>> from forecasting.timegrid import TimeGrid
    >>> week, walk = np.tile([1.0, 2, 3, 4, 5, 9, 8], 20), np.cumsum(np.random.default_rng(0).standard_normal(140))
    >>> [gap_season(Panel.from_arrays([y], TimeGrid("D", "2024-01-01")), 7) for y in (week, walk)]
    [7, 1]
    """
    if season <= 1:
        return 1
    panel = panel.tail(_MAX_SEASONS * season)
    panel = panel.select(_some(panel)) if panel.n_series > _MAX_SERIES else panel
    rows = np.arange(panel.n_rows)
    last = np.maximum.accumulate(np.where(panel.observed, rows, -1))
    inside = ~panel.observed & (last >= np.repeat(panel.indptr[:-1], panel.lengths))
    distance = int(np.median((rows - last)[inside])) if inside.any() else 1
    by_season, by_last = (changes(panel, np.full(panel.n_series, step))[0] for step in (season, min(distance, season)))
    known = np.isfinite(by_season) & np.isfinite(by_last)
    return season if known.any() and np.mean(by_season[known] < by_last[known]) > 0.5 else 1


def _some(panel: Panel) -> np.ndarray:
    """Evenly spaced series, by position: all, or as many as are looked at."""
    return np.unique(np.linspace(0, panel.n_series - 1, min(panel.n_series, _MAX_SERIES)).astype(int))


def _day_of_fine_steps(grid: TimeGrid) -> int:
    """Steps a day where a step is shorter than an hour, else 0."""
    if grid.is_integer or (seconds := period_seconds(grid.freq)) >= _HOUR:
        return 0
    return int(_DAY / seconds + 0.05)


def further_seasons(panel: Panel, season: int) -> tuple[int, ...]:
    """Longer seasons beside the one of `season` steps: the week of hourly data, the year of daily data.

    A candidate counts where three series in ten that cover it twice still show it after the shorter season was
    averaged out. The year of daily data is drowned by its weeks and counts where half of the series cover it twice.

    Examples
    --------
    >>> from forecasting.panel import Panel
    >>> from forecasting.timegrid import TimeGrid
    >>> t, noise = np.arange(24 * 7 * 8), np.random.default_rng(0).standard_normal(24 * 7 * 8)
    >>> day, weekend = np.sin(2 * np.pi * t / 24), (t // 24 % 7 > 4) * 1.0
    >>> grid = TimeGrid("h", "2001-01-01")
    >>> [further_seasons(Panel.from_arrays([y], grid), 24) for y in (day + 0.1 * noise, day + weekend + 0.1 * noise)]
    [(), (168,)]
    """
    if season < 2 or panel.grid.is_integer:
        return ()
    pick = _some(panel)
    found = []
    for longer in season_candidates(panel.grid):
        if longer <= season:
            continue
        covered = [i for i in pick if panel.lengths[i] >= 2 * longer + season]
        if len(covered) < max(1, len(pick) // 2):
            continue
        if longer > _LONG * season:
            found.append(longer)
            continue
        votes = [_shows(_smooth(panel.series(i)[-_MAX_SEASONS * longer :], season), longer) for i in covered]
        if np.mean(votes) >= 0.3:
            found.append(longer)
    return tuple(found)


def _shows(y: np.ndarray, season: int, width: int = 3) -> bool:
    if season >= 20:
        y = _smooth(y, width)  # neighbours of a long season share its peak: noise must not decide between them
    x = np.diff(y)
    if np.ptp(x) <= _ROUNDING * np.abs(y).max():
        return False
    peak = autocorrelation(x, season)
    around = max(autocorrelation(x, max(1, season // 2)), autocorrelation(x, max(1, season - season // 4 - 1)))
    return peak > max(1.645 / np.sqrt(len(x)), around, 0.1)


def _smooth(y: np.ndarray, width: int) -> np.ndarray:
    return np.convolve(y, np.ones(width) / width, mode="valid")
