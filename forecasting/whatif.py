"""Panels in which one input has lost its information, to see how much worse the forecasts get.

What else there is stays as it was, and so do the typical values of the input itself: rows change places.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from forecasting.panel import Future
from forecasting.season import period_seconds

if TYPE_CHECKING:
    from forecasting.panel import Block, Panel

TARGET, TIME, HOLIDAYS, SERIES = "target", "time", "holidays", "series"
"""Inputs that are no covariates: own history, calendar, public holidays, which series it is."""

_YEAR = 365.25 * 86_400.0
_LEVEL_MOVE = 0.5
"""Standard deviations by which a history is moved, so that models of the mean alone show that they read it."""


def without(name: str, panel: Panel, future: Future, season: int, rng: np.random.Generator) -> tuple[Panel, Future]:
    """Take the information out of one input.

    * "target": each history's rows in random order, the whole moved up or down by half a standard deviation.
    * "time": all series stand some steps (up to a year) earlier in the calendar, holidays stay where they were.
    * "holidays": those of another part of the year.
    * "series": the series' names change places.
    * a covariate: its rows, history and future together, change places inside each series; one that never changes
      inside a series changes places between series.

    Parameters
    ----------
    panel, future : history and known covariates ahead. season : steps.

    Raises
    ------
    KeyError : no such input.
    """
    if name == TARGET:
        return _target(panel, rng), future
    if name == TIME:
        back = _steps(panel, season, rng)
        grid = replace(panel.grid, holiday_shift=panel.grid.holiday_shift + back)
        return replace(panel, start=panel.start - back, grid=grid), future
    if name == HOLIDAYS:
        return replace(panel, grid=replace(panel.grid, holiday_shift=_steps(panel, season, rng))), future
    if name == SERIES:
        return replace(panel, ids=tuple(panel.ids[i] for i in _others(panel.n_series, rng))), future
    if name in panel.known.names:
        return _known(panel, future, panel.known.names.index(name), rng)
    if name in panel.past.names:
        order = _order(panel.past.values[:, panel.past.names.index(name)], panel.series_of_rows(), rng)
        return replace(panel, past=_moved(panel.past, name, order)), future
    if name in panel.static.names:
        return replace(panel, static=_moved(panel.static, name, _others(panel.n_series, rng))), future
    raise KeyError(name)


def _target(panel: Panel, rng: np.random.Generator) -> Panel:
    """Rows in random order inside each series, then moved: by a factor where nothing is negative (zeros stay)."""
    series = panel.series_of_rows()
    order = _inside(series, rng)
    y = panel.y[order]
    mean = np.bincount(series, weights=y) / panel.lengths
    spread = np.sqrt(np.bincount(series, weights=np.square(y - mean[series])) / panel.lengths)
    up = np.where(rng.random(panel.n_series) < 0.5, -1.0, 1.0)
    low = np.minimum.reduceat(y, panel.indptr[:-1])
    share = _LEVEL_MOVE * spread / np.where(mean > 0, mean, 1.0)
    factor = np.where(up > 0, 1 + share, 1 / (1 + share))
    moved = np.where((low >= 0)[series], y * factor[series], y + (_LEVEL_MOVE * up * spread)[series])
    return replace(panel, y=moved, observed=panel.observed[order])


def _steps(panel: Panel, season: int, rng: np.random.Generator) -> int:
    """Steps to another place of the calendar, no whole number of seasons."""
    year = 2 * season if panel.grid.is_integer else round(_YEAR / period_seconds(panel.grid.freq))
    steps = int(rng.integers(1, max(year, season, 2)))
    return steps + (season > 1 and steps % season == 0)


def _known(panel: Panel, future: Future, column: int, rng: np.random.Generator) -> tuple[Panel, Future]:
    name = panel.known.names[column]
    series = np.concatenate([panel.series_of_rows(), np.repeat(np.arange(panel.n_series), future.horizon)])
    both = replace(
        panel.known,
        values=np.concatenate([panel.known.values, future.known.values]),
        observed=np.concatenate([panel.known.observed, future.known.observed]),
    )
    moved = _moved(both, name, _order(both.values[:, column], series, rng))
    rows = np.arange(len(series))
    return (
        replace(panel, known=moved.take(rows[: panel.n_rows])),
        Future(future.horizon, moved.take(rows[panel.n_rows :])),
    )


def _order(values: np.ndarray, series: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Row that each row's value comes from: of the same series, or of another where no series ever changes."""
    first = np.zeros(int(series.max()) + 1, dtype=np.int64)
    first[series[::-1]] = np.arange(len(series))[::-1]
    changes = np.nan_to_num(values) != np.nan_to_num(values)[first[series]]
    if changes.any():
        return _inside(series, rng)
    return first[_others(len(first), rng)][series]


def _others(n: int, rng: np.random.Generator) -> np.ndarray:
    """For each of n series another one, in a random ring."""
    ring = rng.permutation(n)
    out = np.empty(n, dtype=np.int64)
    out[ring] = np.roll(ring, 1)
    return out


def _inside(series: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Random order of rows inside each series."""
    drawn = rng.permutation(len(series))
    out = np.empty(len(series), dtype=np.int64)
    out[np.argsort(series, kind="stable")] = drawn[np.argsort(series[drawn], kind="stable")]
    return out


def _moved(block: Block, name: str, order: np.ndarray) -> Block:
    column = block.names.index(name)
    values, observed = block.values.copy(), block.observed.copy()
    values[:, column], observed[:, column] = values[order, column], observed[order, column]
    return replace(block, values=values, observed=observed)
