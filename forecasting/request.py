"""A request for forecasts as rows of the user's frame: which series and steps, from which origin, in whose order."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from automl.errors import ConfigError, DataError
from forecasting import frame as door
from forecasting.join import join, note_replaced
from forecasting.panel import Block, Panel
from forecasting.reading import Times, read_time
from forecasting.timegrid import OFF_GRID

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from forecasting.frame import Schema
    from forecasting.model import ForecastModel
    from forecasting.panel import Key

COLD = "cold_start"
_SHOW = 3


@dataclass(frozen=True, slots=True)
class Request:
    """Rows to forecast, in the user's order.

    Parameters
    ----------
    frame : the user's rows. keys : series asked for. series, step : shape [rows], which of them at which grid step.
    """

    frame: pd.DataFrame
    keys: tuple[Key, ...]
    series: np.ndarray
    step: np.ndarray

    @classmethod
    def read(cls, frame: Any, schema: Schema, panel: Panel) -> Request:
        """Read ids and times of a frame.

        Raises
        ------
        DataError : a column is missing, times lie off the grid or repeat.
        """
        data = door.to_pandas(frame)
        keys, series, step = door.places(data, schema, panel.grid)
        order = np.lexsort((step, series))
        again = np.flatnonzero((np.diff(step[order]) == 0) & (np.diff(series[order]) == 0))
        if len(again):
            row = int(order[again[0] + 1])
            name = "/".join(map(str, keys[series[row]]))
            raise DataError(
                f"{len(again)} rows ask for a step of their series twice, first: {name} in row {row}. "
                "Fix: leave them out."
            )
        return cls(data, tuple(keys), series, step)

    def take(self, rows: np.ndarray) -> Request:
        """Only some rows, by mask."""
        used, series = np.unique(self.series[rows], return_inverse=True)
        return Request(self.frame[rows], tuple(self.keys[i] for i in used), series, self.step[rows])

    def within(self, panel: Panel, steps: np.ndarray) -> Request:
        """Only rows at most `steps` [n] after the end of their series in a panel (strangers: after the last end)."""
        ends = dict(zip(panel.ids, (panel.last + steps).tolist(), strict=True))
        furthest = max(ends.values())
        return self.take(self.step <= np.array([ends.get(key, furthest) for key in self.keys])[self.series])


def with_newer(panel: Panel, newer: Sequence[Panel], schema: Schema) -> Panel:
    """Training rows with newer ones; each series ends at its last row with a target, or where its training did."""
    ends = dict(zip(panel.ids, panel.last.tolist(), strict=True))
    for more in newer:
        if schema.aggregate is not None:
            note_replaced(panel, more)
        panel = join(panel, more, gap_value=schema.gap_value)
    least = [ends.get(key, start - 1) - start + 1 for key, start in zip(panel.ids, panel.start, strict=True)]
    return panel.at_last_target(np.array(least))


def check_agreement(newer: Sequence[Panel], known: Panel) -> None:
    """Rows that stand in the history given and in the request must hold the same value.

    Raises
    ------
    DataError : they do not; the message names the first.
    """
    for panel in newer:
        place = {key: i for i, key in enumerate(panel.ids)}
        for j, key in enumerate(known.ids):
            i = place.get(key)
            if i is None:
                continue
            low, high = max(panel.start[i], known.start[j]), min(panel.last[i], known.last[j])
            mine = slice(panel.indptr[i] + low - panel.start[i], panel.indptr[i] + high + 1 - panel.start[i])
            theirs = slice(known.indptr[j] + low - known.start[j], known.indptr[j] + high + 1 - known.start[j])
            differ = panel.observed[mine] & known.observed[theirs] & (panel.y[mine] != known.y[theirs])
            if differ.any():
                at = int(differ.argmax())
                when = panel.grid.labels(np.array([low + at]))[0]
                raise DataError(
                    f"history and future disagree about series {'/'.join(map(str, key))} at {str(when)[:19]}: "
                    f"{panel.y[mine][at]:g} against {known.y[theirs][at]:g} ({int(differ.sum())} such rows of it). "
                    "Fix: give each actual value once."
                )


def steps_ahead(panel: Panel, schema: Schema, *, horizon: int | None, until: Any, usual: int) -> np.ndarray:
    """Steps to forecast of each series: `horizon` (default `usual`), or as many as reach a time. Shape [n].

    Raises
    ------
    ConfigError : both are given, or nothing lies ahead. DataError : `until` lies off the grid.
    """
    if until is None:
        steps = usual if horizon is None else horizon
        if steps < 1:
            raise ConfigError(f"horizon must be at least 1 step, got {steps!r}.")
        return np.full(panel.n_series, steps)
    if horizon is not None:
        raise ConfigError(f"horizon={horizon!r} and until={until!r} say the same thing twice. Fix: give one.")
    ahead = _step_of(until, panel, schema) - panel.last
    if ahead.max() < 1:
        raise ConfigError(f"until={until!r} lies before the first step to forecast.")
    return np.maximum(ahead, 0)


def _step_of(until: Any, panel: Panel, schema: Schema) -> int:
    """Grid step of a time; one without a zone is of the zone of the data."""
    if schema.time_zone is not None:
        like = Times(np.empty(0), schema.time_dtype, day_first=schema.day_first)
        told = read_time(pd.Series([until]), schema.columns.time, like=like)
        if told.zone is None and isinstance(told.values, pd.DatetimeIndex):
            until = told.values[0].tz_localize(schema.time_zone, ambiguous=True, nonexistent="shift_forward")
    row = {schema.columns.time: [until], **{name: [panel.ids[0][k]] for k, name in enumerate(schema.columns.id)}}
    _, _, times = door.read_places(pd.DataFrame(row), schema, panel.grid)
    step = int(panel.grid.steps_of(times.values)[0])
    if step == OFF_GRID:
        period = panel.grid.periods_of(times.values)
        near = " or ".join(str(t)[:19] for t in panel.grid.labels(period[0] + np.arange(2)))
        raise DataError(
            f"until={str(until)!r} lies between two points of the model's time grid ({panel.grid.freq}). Fix: {near}."
        )
    return step


def answer(
    model: ForecastModel,
    schema: Schema,
    history: Panel,
    request: Request,
    *,
    levels: tuple[float, ...],
    name: str | None,
    dropped: Collection[Key],
) -> tuple[np.ndarray, np.ndarray]:
    """Forecast the rows of a request.

    The origin of a series is its last row in `history`. Rows after it are forecast from there, recursively past the
    trained horizon. Rows up to it keep their actual value; where that is missing, those after the end of training are
    forecast from there. A series without history starts cold, from the average of the others.

    Parameters
    ----------
    history : training rows and what came after. levels : quantiles. name : model. dropped : series left out in
        training that `history` does not hold either, which are answered by missing values.

    Returns
    -------
    values : shape [rows, 1 + levels]. cold : shape [rows] bool.

    Raises
    ------
    DataError : rows without a target lie inside the training period; known covariates are not given for every step up
        to them.
    """
    lost = np.array([key in dropped for key in request.keys], dtype=bool)
    if lost.any():
        keep = ~lost[request.series]
        values, cold = np.full((len(keep), 1 + len(levels)), np.nan), np.zeros(len(keep), dtype=bool)
        if keep.any():
            values[keep], cold[keep] = answer(
                model, schema, history, request.take(keep), levels=levels, name=name, dropped=()
            )
        return values, cold
    trained = model.task.panel
    place = {key: i for i, key in enumerate(history.ids)}
    cold = np.array([key not in place for key in request.keys], dtype=bool)
    if cold.any():
        history = with_strangers(history, [k for k, c in zip(request.keys, cold, strict=True) if c], request)
        place = {key: i for i, key in enumerate(history.ids)}
    at = np.array([place[key] for key in request.keys], dtype=np.int64)
    values = np.full((len(request.step), 1 + len(levels)), np.nan)
    ahead = request.step - history.last[at][request.series]
    later = ahead > 0
    if later.any():
        chosen = np.unique(request.series[later])
        values[later] = _from(model, schema, history, request, later, at, chosen, levels, name)
    inside = np.flatnonzero(~later)
    if len(inside):
        values[inside] = _between(model, schema, history, request, inside, at, levels, name, trained)
    return values, cold[request.series]


def _from(
    model: ForecastModel,
    schema: Schema,
    panel: Panel,
    request: Request,
    rows: np.ndarray,
    at: np.ndarray,
    chosen: np.ndarray,
    levels: tuple[float, ...],
    name: str | None,
) -> np.ndarray:
    """Channels of some rows, forecast from the end of their series in a panel."""
    part = panel.select(at[chosen])
    slot = np.full(len(request.keys), -1, dtype=np.int64)
    slot[chosen] = np.arange(len(chosen))
    series = slot[request.series[rows]]
    ahead = request.step[rows] - part.last[series]
    steps = int(ahead.max())
    future = door.future_block(request.frame, schema, part, steps, until=_furthest(series, ahead, part.n_series))
    forecast = model.forecast(part, future, levels, model=name)
    return forecast.values[series, ahead - 1]


def _furthest(series: np.ndarray, ahead: np.ndarray, n: int) -> np.ndarray:
    out = np.zeros(n, dtype=np.int64)
    np.maximum.at(out, series, ahead)
    return out


def _between(
    model: ForecastModel,
    schema: Schema,
    history: Panel,
    request: Request,
    rows: np.ndarray,
    at: np.ndarray,
    levels: tuple[float, ...],
    name: str | None,
    trained: Panel,
) -> np.ndarray:
    """Rows up to the origin: the actual value where there is one, a forecast from the end of training elsewhere."""
    ends = dict(zip(trained.ids, trained.last, strict=True))
    series = request.series[rows]
    end = np.array([ends.get(key, history.start[i] - 1) for key, i in zip(request.keys, at, strict=True)])
    target = schema.columns.target
    told = (
        request.frame[target].notna().to_numpy()[rows] if target in request.frame.columns else np.zeros(len(rows), bool)
    )
    past = (request.step[rows] <= end[series]) & ~told
    if past.any():
        row = int(rows[past.argmax()])
        label = "/".join(map(str, request.keys[request.series[row]]))
        raise DataError(
            f"{int(past.sum())} rows lie inside the training period, first: {label} in row {row}. Fix: ask for later "
            "rows, give their target too (as context), or use fitted_values() for forecasts of the past."
        )
    position = history.indptr[at[series]] + request.step[rows] - history.start[at[series]]
    given = history.observed[position]
    out = np.repeat(np.where(given, history.y[position], np.nan)[:, None], 1 + len(levels), axis=1)
    if not given.all():
        known = {key: i for i, key in enumerate(trained.ids)}
        base = np.array([known.get(key, -1) for key in request.keys], dtype=np.int64)
        todo = np.zeros(len(request.step), dtype=bool)
        todo[rows[~given & (base[series] >= 0)]] = True
        if todo.any():
            chosen = np.unique(request.series[todo])
            out[todo[rows]] = _from(model, schema, trained, request, todo, base, chosen, levels, name)
    return out


def with_strangers(panel: Panel, keys: list[Key], request: Request) -> Panel:
    """Return the panel with series that have no history: they get the mean of the others at each step.

    The mean is taken over the series that share most id values with the stranger (its own store, its own product).
    It ends before the first row asked for.
    """
    first = {request.keys[s]: request.step[request.series == s].min() for s in np.unique(request.series)}
    lows, highs = int(panel.start.min()), int(panel.last.max())
    series, step = panel.series_of_rows(), panel.step_of_rows()
    parts = [panel]
    for key in keys:
        alike = np.array([sum(a == b for a, b in zip(key, other, strict=True)) for other in panel.ids])
        mine = (alike == alike.max())[series] & panel.observed
        end = int(min(first[key] - 1, highs))
        if end < lows:
            raise DataError(f"series {'/'.join(map(str, key))} is asked for before any training row. Fix: later rows.")
        size = highs - lows + 1
        count = np.bincount(step[mine] - lows, minlength=size)
        total = np.bincount(step[mine] - lows, weights=panel.y[mine], minlength=size)
        known = np.flatnonzero(count)
        y = np.interp(np.arange(size), known, total[known] / count[known])
        begin = int(known[0])
        y = y[begin : end - lows + 1] if end - lows >= begin else y[begin : begin + 1]
        start = min(lows + begin, end)
        parts.append(_stranger(panel, key, y, start, alike == alike.max()))
    whole = parts[0]
    for part in parts[1:]:
        whole = join(whole, part)
    return whole


def _stranger(panel: Panel, key: Key, y: np.ndarray, start: int, alike: np.ndarray) -> Panel:
    rows = len(y)

    def blank(block: Block) -> Block:
        k = len(block.names)
        values = np.zeros((rows, k))
        for j, column in enumerate(block.names):
            seen = block.values[block.observed[:, j], j]
            values[:, j] = -1.0 if block.categories(column) is not None else np.median(seen) if len(seen) else 0.0
        return replace(block, values=values, observed=np.zeros((rows, k), dtype=bool))

    static = panel.static
    typical = np.median(static.values[alike], axis=0, keepdims=True) if static.names else np.empty((1, 0))
    return Panel(
        ids=(key,),
        indptr=np.array([0, rows], dtype=np.int64),
        start=np.array([start], dtype=np.int64),
        y=y,
        observed=np.ones(rows, dtype=bool),
        weight=np.ones(rows),
        known=blank(panel.known),
        past=blank(panel.past),
        static=replace(static, values=typical, observed=np.zeros((1, len(static.names)), dtype=bool)),
        grid=panel.grid,
    )
