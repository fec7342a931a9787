"""Making data regular: repeats, stray rows, gaps, short and empty series. Each act leaves a guardrail."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from automl.errors import DataError
from automl.guardrails import Guardrail, affected
from forecasting import frequency
from forecasting.beginnings import from_first_target, without_empty
from forecasting.findings import first_of, label, listed, note_constant, note_gaps, sharing, way_of
from forecasting.panel import Block, Panel, fill_forward
from forecasting.reading import comparable
from forecasting.timegrid import INTEGER, OFF_GRID, TimeGrid, fixed_length

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from automl.guardrails import Report
    from forecasting.config import DataSettings
    from forecasting.frame import Schema
    from forecasting.panel import Key
    from forecasting.reading import Statics

_SHOW = 3
_DAY = 86_400 * 1_000_000_000
_NIGHT, _SUNDAY, _AUTUMNS = 4, 6, (3, 4, 9, 10, 11)
"""Clocks are set back before four o'clock on a Sunday of autumn, in either half of the world."""

_MOST_IDS = 10
_EXPANSION = ("sum", "mean", "min", "max")
_DATE_EXPANSION = ("min", "max", "mode")
EXPANSIONS = tuple(dict.fromkeys((*_EXPANSION, *_DATE_EXPANSION)))
"""What follows the name of a covariate in the columns that aggregation makes of it."""

_LEAST_MIXED = 4
_MOST_GROWTH, _FREE_ROWS = 50, 1_000_000
_APART = "Fix: forecast them apart, or bring all to the coarsest frequency: freq=... with aggregate='sum' (or 'mean')."


@dataclass(frozen=True, slots=True)
class Table:
    """Rows as read, in the user's order.

    Parameters
    ----------
    keys : n sorted series keys. series : shape [rows], which. time : timestamps (naive) or whole numbers.
    target, weight : shape [rows], NaN = missing target. columns : covariates, shape [rows] float, NaN = missing.
    statics : values by series. vocabulary : categories of the categorical ones. dates : names of those that are dates.
    """

    keys: list[Key]
    series: np.ndarray
    time: np.ndarray | pd.DatetimeIndex
    target: np.ndarray
    weight: np.ndarray
    columns: dict[str, np.ndarray]
    statics: Statics
    vocabulary: Mapping[str, tuple[str, ...]]
    dates: AbstractSet[str] = frozenset()

    def take(self, rows: np.ndarray) -> Table:
        """Only some rows, in the order given."""
        columns = {name: values[rows] for name, values in self.columns.items()}
        return replace(
            self, series=self.series[rows], time=self.time[rows], target=self.target[rows], weight=self.weight[rows],
            columns=columns,
        )  # fmt: skip


@dataclass(slots=True)
class Regular:
    """A regular table: one row a series and step, series by series, no gaps.

    Parameters
    ----------
    columns : covariate -> (values, observed), each shape [rows]. statics : values by series.
    dropped : series left out -> why. aggregated : whether rows were put together.
    expansion : covariate -> the columns aggregation made of it.
    """

    keys: list[Key]
    grid: TimeGrid
    indptr: np.ndarray
    start: np.ndarray
    y: np.ndarray
    observed: np.ndarray
    weight: np.ndarray
    columns: dict[str, tuple[np.ndarray, np.ndarray]]
    statics: Statics
    vocabulary: Mapping[str, tuple[str, ...]]
    dropped: dict[Key, str] = field(default_factory=dict)
    aggregated: bool = False
    expansion: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def expanded(self, names: Sequence[str]) -> tuple[str, ...]:
        """Names of covariates after aggregation."""
        return tuple(e for name in names for e in self.expansion.get(name, (name,)))

    def with_gaps(self, names: Sequence[str]) -> tuple[str, ...]:
        """Those of some covariates (before aggregation) that lack values; categories have a code for that already."""
        lacking = [n for n in names if n not in self.vocabulary]
        return tuple(n for n in lacking if not all(self.columns[e][1].all() for e in self.expanded((n,))))

    def panel(self, schema: Schema) -> Panel:
        """Build the panel with the schema's known, past and static covariates."""
        return Panel(
            ids=tuple(self.keys),
            indptr=self.indptr,
            start=self.start,
            y=self.y,
            observed=self.observed,
            weight=self.weight,
            known=self._block(schema.known, schema),
            past=self._block(schema.past, schema),
            static=self._static(schema.static),
            grid=self.grid,
        )

    def _block(self, names: Sequence[str], schema: Schema) -> Block:
        if not names:
            return Block.empty(int(self.indptr[-1]))
        wide = self.expanded(names)
        fills = {e: way for name, way in schema.fills for e in self.expanded((name,)) if name in names}
        return Block(
            wide,
            np.stack([self.columns[n][0] for n in wide], axis=1),
            np.stack([self.columns[n][1] for n in wide], axis=1),
            self._words(wide),
            tuple(sorted(fills.items())),
            tuple(e for name in schema.flagged if name in names for e in self.expanded((name,))),
        )

    def _static(self, names: Sequence[str]) -> Block:
        if not names:
            return Block.empty(len(self.keys))
        categorical = np.array([name in self.vocabulary for name in names])
        values = np.where(self.statics.observed | ~categorical, self.statics.values, -1.0)
        return Block(tuple(names), values, self.statics.observed, self._words(names))

    def _words(self, names: Sequence[str]) -> tuple[tuple[str, tuple[str, ...]], ...]:
        return tuple((n, tuple(self.vocabulary[n])) for n in names if n in self.vocabulary)


def make_regular(
    table: Table,
    settings: DataSettings,
    min_length: int,
    report: Report,
    *,
    others: Mapping[str, pd.Series] | None = None,
    grid: TimeGrid | None = None,
    again: bool = False,
) -> Regular:
    """Take a table through every step.

    Parameters
    ----------
    min_length : rows below which a series is short. others : columns that may tell series apart where stamps repeat.
    grid : a given grid, None = found here.
    again : a later frame: series without any target are kept, and rows are put together whenever `aggregate` is set.

    Raises
    ------
    DataError : repeated stamps, no common frequency, no target at all, ...
    """
    table = _ordered(table)
    _check_repeats(table, settings, others or {}, report)
    grid = grid or _grid(table, settings, report)
    table, steps, aggregated = _onto_grid(table, grid, settings, report, again=again)
    expansion: dict[str, tuple[str, ...]] = {}
    shared = sharing(table, steps, grid)
    if aggregated:
        table, steps, expansion = _aggregate(table, steps, settings.aggregate or "sum")
        ways = {e: way for c, way in settings.fill_numbers.items() for e in expansion.get(c, (c,))}
        settings = replace(settings, fill_numbers=ways)
        text = f"rows put together to {grid.freq} by {settings.aggregate}"
        text += ", each by the nearest point" if grid.nearest else ""
        report.append(Guardrail("Time series aggregation", "done", text, shared))
    else:
        report.append(Guardrail("Time series aggregation", "passed", f"rows match {grid.freq}"))
    if not again:
        _check_mixed(table, steps, grid, settings)
    dropped: dict[Key, str] = {}
    if not again:
        table, steps = without_empty(table, steps, dropped, report)
        table, steps = from_first_target(table, steps, min_length, report)
    regular = _filled(table, steps, grid, settings, report)
    regular.aggregated, regular.expansion = aggregated, expansion
    regular.dropped = dropped
    if again:
        return regular
    regular = _short(regular, settings, min_length, report)
    note_constant(regular, report)
    return regular


def _ordered(table: Table) -> Table:
    time = table.time.asi8 if isinstance(table.time, pd.DatetimeIndex) else table.time
    series, later = np.diff(table.series), np.diff(time) >= 0
    if ((series > 0) | ((series == 0) & later)).all():
        return table
    return table.take(np.lexsort((time, table.series)))


def _numbers(time: np.ndarray | pd.DatetimeIndex) -> np.ndarray:
    return time.asi8 if isinstance(time, pd.DatetimeIndex) else time


def _repeats(table: Table) -> np.ndarray:
    """Rows with the series and time of the row before."""
    time = _numbers(table.time)
    return np.flatnonzero((np.diff(table.series) == 0) & (np.diff(time) == 0)) + 1


def _check_repeats(table: Table, settings: DataSettings, others: Mapping[str, pd.Series], report: Report) -> None:
    """Repeated stamps: aggregate later, or an error that names the columns which would tell the series apart."""
    repeats = _repeats(table)
    if not len(repeats):
        if not any(g.name == "Time series ID detection" for g in report):
            report.append(Guardrail("Time series ID detection", "passed", "no timestamp repeats within a series"))
        return
    if settings.aggregate:
        text = f"{len(repeats)} rows repeat a timestamp of their series and are put together"
        row = int(repeats[0])
        told = f"{label(table.keys[int(table.series[row])])} at {table.time[row]}"
        details = affected(len(np.unique(table.series[repeats])), told)
        report.append(Guardrail("Time series ID detection", "done", text, details))
        return
    row = int(repeats[0])
    bad = [table.keys[i] for i in np.unique(table.series[repeats])]
    when = table.time[row]
    hint = _telling(others)
    if isinstance(table.time, pd.DatetimeIndex) and _clock_set_back(table.time[repeats]):
        raise DataError(
            f"{len(repeats)} rows repeat a timestamp of their series, in {len(bad)} series ({listed(bad)}), first "
            f"{when}: all in the night of a clock change, where a local clock shows an hour twice. Fix: tell the zone, "
            "frame[...].dt.tz_localize('Europe/Berlin', ambiguous='infer') say, or freq='h' with aggregate='mean' (or "
            "'sum')."
        )
    fix = f"columns=Columns(id=[..., {hint}])" if hint else "freq=... with aggregate='sum' (or 'mean')"
    raise DataError(
        f"{len(repeats)} rows repeat a timestamp of their series, in {len(bad)} series ({listed(bad)}), first {when}. "
        f"Fix: {fix}, or remove the repeated rows."
    )


def _clock_set_back(repeated: pd.DatetimeIndex) -> bool:
    """Whether repeated stamps look like hours that a local clock shows twice: nights to Sunday, one hour of each."""
    night = (repeated.hour < _NIGHT) & (repeated.day_of_week == _SUNDAY) & repeated.month.isin(_AUTUMNS)
    hours = pd.DataFrame({"day": repeated.normalize(), "hour": repeated.hour}).drop_duplicates()
    return bool(night.all() and not hours["day"].duplicated().any() and hours["day"].dt.year.is_unique)


def _telling(others: Mapping[str, pd.Series]) -> str:
    """Columns with few enough values to be names of series."""
    names = [
        name
        for name, values in others.items()
        if not pd.api.types.is_float_dtype(values)
        and comparable(values)
        and 1 < values.nunique() < max(2, len(values) // 2)
    ]
    return ", ".join(repr(n) for n in names[:_MOST_IDS])


def _grid(table: Table, settings: DataSettings, report: Report) -> TimeGrid:
    if not isinstance(table.time, pd.DatetimeIndex):
        if settings.freq not in {None, INTEGER}:
            raise DataError(
                f"freq={settings.freq!r} was given, but the time column holds whole numbers. "
                "Fix: leave freq out, or give dates."
            )
        inside = np.diff(table.series) == 0
        apart = np.diff(table.time)[inside]
        every = int(np.gcd.reduce(apart)) if len(apart) else 1
        report.append(Guardrail("Frequency detection", "passed", f"whole numbers, {max(every, 1)} apart"))
        return TimeGrid.steps(int(table.time.min()), max(every, 1))
    if settings.freq == INTEGER:
        raise DataError("freq='step' was given, but the time column holds dates.")
    freq = settings.freq
    if freq is None:
        first = np.concatenate([[True], np.diff(table.series) != 0])
        freq = frequency.detect(table.time, first, [label(k) for k in table.keys])
        grid = frequency.anchor(table.time, freq)
        report.append(Guardrail("Frequency detection", "passed", f"detected {grid.freq}"))
        return grid
    if settings.aggregate:
        first = np.concatenate([[True], np.diff(table.series) != 0])
        grid = _covering(table.time, freq)
        if frequency.jittered(table.time, first, freq):
            start = table.time.min() + pd.Timedelta(fixed_length(freq), unit="ns") / 2
            return TimeGrid(freq, str(start.floor(freq)), nearest=True)
        return grid
    return frequency.anchor(table.time, freq)


def _covering(time: pd.DatetimeIndex, freq: str) -> TimeGrid:
    """Grid whose first period holds the first timestamp."""
    offset = pd.tseries.frequencies.to_offset(freq)
    first = time.min()
    if fixed_length(freq) % _DAY:  # whole days, several too, begin with the first
        return TimeGrid(freq, str(first.floor(freq)))
    day = first.normalize()
    if freq.startswith(("M", "Q", "Y", "B")) and "E" in freq.split("-", maxsplit=1)[0]:
        return TimeGrid(freq, str(offset.rollforward(day)))
    return TimeGrid(freq, str(offset.rollback(day)))


def _onto_grid(
    table: Table, grid: TimeGrid, settings: DataSettings, report: Report, *, again: bool
) -> tuple[Table, np.ndarray, bool]:
    """Steps of all rows; stray rows are dropped when few, put together when asked for, an error else."""
    steps = grid.steps_of(table.time)
    stray = steps == OFF_GRID
    if settings.aggregate and not isinstance(table.time, pd.DatetimeIndex) and not stray.any():
        # later rows are put together even where none of them repeats a step
        return table, steps, again or len(_repeats(table)) > 0
    if settings.aggregate and isinstance(table.time, pd.DatetimeIndex):
        if not again and not stray.any() and not len(_repeats(table)):
            report.append(Guardrail("Frequency detection", "passed", f"every row lies on {grid.freq}, as given"))
            _check_not_finer(table, steps, grid)
            return table, steps, False
        text = f"{int(stray.sum())} of {len(stray)} rows stand between two points of {grid.freq}; see the aggregation"
        report.append(Guardrail("Frequency detection", "done" if stray.any() else "passed", text))
        return table, grid.periods_of(table.time), True
    if not stray.any():
        if settings.freq:
            report.append(Guardrail("Frequency detection", "passed", f"every row lies on {grid.freq}, as given"))
        if not again:  # of a few later rows nothing follows
            _check_not_finer(table, steps, grid)
        return table, steps, False
    share = 1 - stray.mean()
    row = int(stray.argmax())
    where = f"series {label(table.keys[int(table.series[row])])} at {table.time[row]}"
    if again:
        raise DataError(
            f"{int(stray.sum())} rows lie between two points of the model's time grid ({grid.freq} through "
            f"{grid.origin}), first: {where}. Fix: give rows on the grid the model was fitted on."
        )
    _check_strays(table, stray, grid)
    if share < frequency.ENOUGH_ON_GRID:
        raise DataError(
            f"only {share:.0%} of the rows lie on freq={grid.freq!r}, first off it: {where}. "
            f"Fix: another freq, or aggregate='mean' (or 'sum') to put the rows of each period together."
        )
    text = f"{int(stray.sum())} rows between two points of {grid.freq} were removed, first: {where}"
    series = np.unique(table.series[stray])
    report.append(Guardrail("Frequency detection", "done", text, affected(len(series), where)))
    keep = np.flatnonzero(~stray)
    return table.take(keep), steps[keep], False


def _check_strays(table: Table, stray: np.ndarray, grid: TimeGrid) -> None:
    """A series most of whose rows lie off the grid has another frequency than the others: an error."""
    n = len(table.keys)
    rows, off = np.bincount(table.series, minlength=n), np.bincount(table.series, weights=stray, minlength=n)
    odd = np.flatnonzero((rows >= _LEAST_MIXED) & (off > 0.5 * rows))
    if len(odd) and len(odd) < n:
        raise DataError(
            f"mixed frequencies: most rows of {len(odd)} of {n} series ({listed([table.keys[i] for i in odd])}) lie "
            f"between the points of {grid.freq!r}, which the other series follow. {_APART}"
        )


def _check_mixed(table: Table, steps: np.ndarray, grid: TimeGrid, settings: DataSettings) -> None:
    """Series that step evenly over several points of the grid have a coarser frequency than the others: an error."""
    if settings.fill_target == "constant":  # then missing rows have a meaning, such as: nothing was sold
        return
    odd, apart = frequency.coarser(steps, table.series, len(table.keys))
    if len(odd):
        raise DataError(
            f"mixed frequencies: {len(odd)} of {len(table.keys)} series ({listed([table.keys[i] for i in odd])}) have "
            f"a row every {apart} steps of {grid.freq!r}, the frequency of the others. {_APART} If rows that are not "
            "there mean zero, say so: fill_target='constant'."
        )


def _check_growth(rows: int, spans: np.ndarray, table: Table, grid: TimeGrid) -> None:
    """A grid that makes many rows out of few is a wrong one: an error."""
    total = int(spans.sum())
    if total <= max(_MOST_GROWTH * rows, _FREE_ROWS):
        return
    i = int(spans.argmax())
    raise DataError(
        f"{rows} rows would become {total} on the grid of {grid.freq!r}, most of them missing; series "
        f"{label(table.keys[i])} alone spans {int(spans[i])} steps. Fix: a coarser freq, with aggregate='sum' (or "
        "'mean') where rows share a period; or remove rows with wrong dates."
    )


def _check_not_finer(table: Table, steps: np.ndarray, grid: TimeGrid) -> None:
    """A grid much finer than the data would be mostly gaps: an error."""
    inside = np.diff(table.series) == 0
    apart = np.diff(steps)[inside]
    if len(apart) >= 3 and apart.min() > 1:
        common = int(np.gcd.reduce(apart))
        if common > 1:
            raise DataError(
                f"freq={grid.freq!r} is finer than the data: rows are at least {int(apart.min())} steps apart. "
                f"Fix: a frequency {common} times coarser, or leave freq out."
            )


def _aggregate(table: Table, steps: np.ndarray, how: str) -> tuple[Table, np.ndarray, dict[str, tuple[str, ...]]]:
    """One row a series and step: target by `how`, numbers by sum, mean, min, max, categories by mode, dates by both."""
    frame = pd.DataFrame({"series": table.series, "step": steps, "target": table.target, "weight": table.weight})
    groups = frame.groupby(["series", "step"], sort=True)
    target = groups["target"].sum(min_count=1) if how == "sum" else groups["target"].agg(how)
    columns: dict[str, np.ndarray] = {}
    expansion: dict[str, tuple[str, ...]] = {}
    for name, values in table.columns.items():
        grouped = frame.assign(value=values).groupby(["series", "step"], sort=True)["value"]
        if name in table.vocabulary:
            columns[name] = grouped.agg(_mode).to_numpy(dtype=float)
            continue
        ways = _DATE_EXPANSION if name in table.dates else _EXPANSION
        expansion[name] = tuple(f"{name}_{f}" for f in ways)
        for f in ways:
            one = grouped.sum(min_count=1) if f == "sum" else grouped.agg(_mode if f == "mode" else f)
            columns[f"{name}_{f}"] = one.to_numpy(dtype=float)
    series = target.index.get_level_values(0).to_numpy()
    at = target.index.get_level_values(1).to_numpy()
    out = replace(
        table, series=series, time=at, target=target.to_numpy(dtype=float), columns=columns,
        weight=groups["weight"].mean().to_numpy(dtype=float),
    )  # fmt: skip
    return out, at, expansion


def _mode(values: pd.Series) -> float:
    counted = values.value_counts(sort=False).sort_index()
    return float(counted.index[int(counted.to_numpy().argmax())]) if len(counted) else float("nan")


def _filled(table: Table, steps: np.ndarray, grid: TimeGrid, settings: DataSettings, report: Report) -> Regular:
    """Lay rows on the grid, fill what is missing, remember what was."""
    n = len(table.keys)
    first = np.searchsorted(table.series, np.arange(n))
    last = np.searchsorted(table.series, np.arange(n), side="right") - 1
    start, end = steps[first], steps[last]
    _check_growth(len(steps), end - start + 1, table, grid)
    indptr = np.concatenate([[0], np.cumsum(end - start + 1)]).astype(np.int64)
    rows = indptr[:-1][table.series] + steps - start[table.series]
    total = int(indptr[-1])
    y = np.full(total, np.nan)
    y[rows] = table.target
    observed = np.isfinite(y)
    if settings.fill_target == "constant":
        filled = np.where(observed, y, settings.fill_value)
        inserted = np.ones(total, dtype=bool)
        inserted[rows] = False
        observed |= inserted  # that no row means this value is what the user said: a value like any other
    else:
        filled = fill_forward(y, observed, indptr)
    weight = np.ones(total)
    weight[rows] = table.weight
    note_gaps(total - len(rows), observed, indptr, table, settings, report, start=start, grid=grid)
    columns, missing = {}, []
    lacking: np.ndarray = np.zeros(total, dtype=bool)
    for name, values in table.columns.items():
        laid = np.full(total, np.nan)
        laid[rows] = values
        given = np.isfinite(laid)
        if not given.all():
            missing.append((name, int((~given).sum())))
            lacking |= ~given
        columns[name] = (_fill_column(laid, given, indptr, settings, name, table.vocabulary), given)
    if missing:
        ways = ", ".join(f"{name} ({count} rows, {way_of(name, settings, table)})" for name, count in missing)
        details = (*first_of(lacking, indptr, start, table, grid), *missing)
        report.append(Guardrail("Missing feature values imputation", "done", f"filled: {ways}", details))
    else:
        text = "no covariate value is missing" if table.columns else "there are no covariates by row"
        report.append(Guardrail("Missing feature values imputation", "passed", text))
    return Regular(
        list(table.keys), grid, indptr, start, filled, observed, weight, columns, table.statics, table.vocabulary
    )


def _fill_column(
    values: np.ndarray,
    given: np.ndarray,
    indptr: np.ndarray,
    settings: DataSettings,
    name: str,
    vocabulary: Mapping[str, tuple[str, ...]],
) -> np.ndarray:
    """Categories get the missing code; numbers the last value (models may use training medians instead)."""
    if name in vocabulary:
        return np.where(given, values, -1.0)
    if settings.fill_numbers.get(name) == "constant":
        return np.where(given, values, settings.fill_value)
    return fill_forward(values, given, indptr)


def _short(regular: Regular, settings: DataSettings, min_length: int, report: Report) -> Regular:
    """Short series: padded or dropped, as the settings say."""
    lengths = np.diff(regular.indptr)
    short = lengths < min_length
    name = "Short series handling"
    if not short.any():
        report.append(Guardrail(name, "passed", f"every series has at least {min_length} rows"))
        return regular
    keys = [regular.keys[i] for i in np.flatnonzero(short)]
    told = affected(len(keys), f"{label(keys[0])}: {int(lengths[short][0])} rows")
    way = settings.short_series
    if way == "auto":
        way = "pad" if short.all() else "drop"
    if way is None:
        text = f"{len(keys)} series have fewer than {min_length} rows and are kept: {listed(keys)}"
        report.append(Guardrail(name, "alerted", text, told))
        return regular
    if way == "drop":
        if short.all():
            raise DataError(
                f"every series has fewer than {min_length} rows (longest: {int(lengths.max())}), so dropping them "
                "leaves nothing. Fix: a shorter horizon, more history or short_series='pad'."
            )
        text = (
            f"{len(keys)} series with fewer than {min_length} rows dropped, their forecasts are missing unless "
            f"`history` holds their rows: {listed(keys)}"
        )
        sizes = tuple((label(k), int(n)) for k, n in zip(keys, lengths[short], strict=True))
        report.append(Guardrail(name, "done", text, (*told, *sizes)))
        return _drop(regular, short, min_length)
    text = f"{len(keys)} series padded in front with noise to {min_length} rows; accuracy suffers: {listed(keys)}"
    report.append(Guardrail(name, "done", text, told))
    return _pad(regular, np.maximum(min_length - lengths, 0), settings.seed)


def _drop(regular: Regular, short: np.ndarray, min_length: int) -> Regular:
    lengths = np.diff(regular.indptr)
    for i in np.flatnonzero(short):
        regular.dropped[regular.keys[i]] = f"short: {int(lengths[i])} rows, {min_length} are needed"
    rows = np.repeat(~short, lengths)
    return replace(
        regular,
        keys=[k for k, s in zip(regular.keys, short, strict=True) if not s],
        indptr=np.concatenate([[0], np.cumsum(lengths[~short])]).astype(np.int64),
        start=regular.start[~short],
        y=regular.y[rows],
        observed=regular.observed[rows],
        weight=regular.weight[rows],
        statics=regular.statics.take(~short),
        columns={k: (v[rows], g[rows]) for k, (v, g) in regular.columns.items()},
    )


def _pad(regular: Regular, extra: np.ndarray, seed: int) -> Regular:
    """Rows in front, covariates zero: noise around the series' median, never below zero where the median is not.

    The noise is as large as what the series changes by from row to row, a twentieth of the median where it does not.
    """
    lengths = np.diff(regular.indptr)
    indptr = np.concatenate([[0], np.cumsum(lengths + extra)]).astype(np.int64)
    rows = np.arange(len(regular.y)) + np.repeat(indptr[:-1] + extra - regular.indptr[:-1], lengths)
    total = int(indptr[-1])
    y = np.zeros(total)
    y[rows] = regular.y
    rng = np.random.default_rng(seed)
    for i in np.flatnonzero(extra):
        own = regular.y[regular.indptr[i] : regular.indptr[i + 1]]
        middle = float(np.median(own))
        size = float(np.std(np.diff(own))) if len(own) > 2 else 0.0
        noise = middle + (size or 0.05 * abs(middle) or 1.0) * rng.standard_normal(int(extra[i]))
        y[indptr[i] : indptr[i] + extra[i]] = np.maximum(noise, 0.0) if middle >= 0 else noise

    def lay(values: np.ndarray, empty: float) -> np.ndarray:
        out = np.full(total, empty, dtype=values.dtype)
        out[rows] = values
        return out

    columns = {
        name: (lay(v, -1.0 if name in regular.vocabulary else 0.0), lay(g, empty=True))
        for name, (v, g) in regular.columns.items()
    }
    return replace(
        regular, indptr=indptr, start=regular.start - extra, y=y, observed=lay(regular.observed, empty=False),
        weight=lay(regular.weight, 1.0), columns=columns,
    )  # fmt: skip
