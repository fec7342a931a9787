"""Lags, windows and calendar features of all rows, for models of one's own: `forecasting.pivot`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from automl.errors import ConfigError, DataError, UnknownNameError
from automl.guardrails import Report
from automl.memory import cores
from forecasting.config import DataSettings
from forecasting.features.calendar import CALENDAR_NAMES
from forecasting.features.calendar import calendar as features_of
from forecasting.features.history import STATISTICS
from forecasting.frame import prepare
from forecasting.panel import Panel
from forecasting.writing import history_frame

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forecasting.frame import Schema

_PIECES = 4
"""Pieces a thread, so that none waits long for the others."""


@dataclass(frozen=True, slots=True)
class Pivot:
    """Lagged features of every row of a panel.

    Parameters
    ----------
    x : shape [rows, k] float32, column after column in memory; NaN where a series has no such history.
    names : of the columns, in order. panel : the rows: series by series, oldest first, gaps filled and marked.
    schema : the user's names; None where it was made of a panel.
    """

    x: np.ndarray
    names: tuple[str, ...]
    panel: Panel
    schema: Schema | None = None

    @property
    def y(self) -> np.ndarray:
        """Targets, shape [rows] float64."""
        return self.panel.y

    def to_frame(self) -> pd.DataFrame:
        """Ids, time and target (missing where it was not observed) and the features, without a copy of these."""
        features = pd.DataFrame(self.x, columns=list(self.names), copy=False)
        if self.schema is not None:
            return pd.concat([history_frame(self.panel, self.schema), features], axis=1)
        own = {
            "series": self.panel.series_of_rows(),
            "time": self.panel.grid.labels(self.panel.step_of_rows()),
            "target": np.where(self.panel.observed, self.panel.y, np.nan),
        }
        return pd.concat([pd.DataFrame(own), features], axis=1)


def pivot(
    data: Any,
    *,
    lags: Sequence[int] = (),
    windows: Sequence[int] = (),
    statistics: Sequence[str] = ("mean",),
    calendar: Sequence[str] = (),
    ahead: int = 1,
    settings: DataSettings | None = None,
    threads: int | None = None,
) -> Pivot:
    """Pivot past values of every row into columns beside it, in the target's own units.

    Every row is seen from `ahead` steps before it: lag 1 is the value there, and a window ends there.

    Parameters
    ----------
    data : long frame (pandas, polars or pyarrow), or a `Panel`. settings : how a frame is read.
    lags : each >= 1. windows : widths in steps, each >= 1, with every one of `statistics` (mean, min, max, std, sum).
    calendar : names such as "wday", "month" or "hour" (see `features.calendar`); dates only.
    ahead : steps from the origin to the row, >= 1. threads : None = all cores.

    Returns
    -------
    Columns `lag1` ..., `mean_window7` ..., then those of the calendar.

    Raises
    ------
    ConfigError : a lag, width, statistic or calendar feature that cannot be. DataError : see `DataSettings`, or
        values that float32 cannot hold.

    Examples
    --------
    >>> from forecasting import Panel, TimeGrid
    >>> table = pivot(Panel.from_arrays([np.array([1.0, 2.0, 6.0, 9.0])], TimeGrid.steps()), lags=[1], windows=[2])
    >>> table.names, table.x.tolist()
    (('lag1', 'mean_window2'), [[nan, nan], [1.0, nan], [2.0, 1.5], [6.0, 4.0]])
    """
    _at_least_one("lags", lags)
    _at_least_one("windows", windows)
    _at_least_one("ahead", [ahead])
    for statistic in statistics:
        if statistic not in STATISTICS:
            raise UnknownNameError("statistic", statistic, STATISTICS)
    for name in calendar:
        if name not in CALENDAR_NAMES:
            raise UnknownNameError("calendar feature", name, CALENDAR_NAMES)
    schema = None
    if not isinstance(data, Panel):
        asked = replace(settings or DataSettings(), short_series=None)
        prepared = prepare(data, asked, min_length=1, report=Report())
        data, schema = prepared.panel, prepared.schema
    if calendar and data.grid.is_integer:
        raise ConfigError("calendar features need dates in the time column; it holds whole numbers.")
    if data.n_rows and max(data.y.max(), -data.y.min()) > np.finfo(np.float32).max:
        raise DataError("the target has values beyond 3.4e38, which features (float32) cannot hold; divide it first.")
    names = (
        *(f"lag{k}" for k in lags),
        *(f"{s}_window{w}" for w in windows for s in statistics),
        *calendar,
    )
    if len(set(names)) < len(names):
        raise ConfigError(f"a feature is asked for twice: {', '.join(sorted(n for n in names if names.count(n) > 1))}.")
    return Pivot(_columns(data, lags, windows, statistics, calendar, ahead, threads or cores()).T, names, data, schema)


def _at_least_one(name: str, values: Sequence[int]) -> None:
    for value in values:
        if int(value) != value or value < 1:
            raise ConfigError(f"{name} must be whole numbers from 1 on, got {value!r}: a smaller one reads the answer.")


def _columns(
    panel: Panel,
    lags: Sequence[int],
    windows: Sequence[int],
    statistics: Sequence[str],
    calendar: Sequence[str],
    ahead: int,
    threads: int,
) -> np.ndarray:
    """All columns, shape [k, rows] float32."""
    from forecasting.kernels.dense import lag_columns

    y, indptr, start = panel.flat()
    out = np.empty((len(lags) + len(windows) * len(statistics) + len(calendar), panel.n_rows), dtype=np.float32)
    if not panel.n_rows:
        return out
    steps = np.arange(start.min(), panel.last.max() + 1 if calendar else start.min())
    table = np.ascontiguousarray(features_of(panel.grid, steps, tuple(calendar)).T)
    asked = [np.array(part, dtype=np.int64) for part in (lags, windows, [STATISTICS[s] for s in statistics])]
    edges = np.unique(np.searchsorted(indptr, np.linspace(0, panel.n_rows, threads * _PIECES + 1)))

    def run(first: int, end: int) -> None:
        lag_columns(y, indptr, first, end, ahead, *asked, table, start - start.min(), out)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(run, edges[:-1], edges[1:]))
    return out
