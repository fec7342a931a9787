"""Making data regular: repeats, stray rows, gaps, short and empty series. Each act leaves a guardrail."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from automl.errors import DataError
from automl.guardrails import Guardrail
from forecasting import frequency
from forecasting.panel import Block, Panel, fill_forward
from forecasting.timegrid import INTEGER, OFF_GRID, TimeGrid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from automl.guardrails import Report
    from forecasting.config import DataSettings
    from forecasting.panel import Key

_SHOW = 3
_MOST_IDS = 10
_EXPANSION = ("sum", "mean", "min", "max")


@dataclass(frozen=True, slots=True)
class Table:
    """Rows as read, in the user's order.

    Parameters
    ----------
    keys : n sorted series keys. series : shape [rows], which. time : timestamps (naive) or whole numbers.
    target, weight : shape [rows], NaN = missing target. columns : covariates, shape [rows] float, NaN = missing.
    vocabulary : categories of the categorical ones.
    """

    keys: list[Key]
    series: np.ndarray
    time: np.ndarray | pd.DatetimeIndex
    target: np.ndarray
    weight: np.ndarray
    columns: dict[str, np.ndarray]
    vocabulary: Mapping[str, tuple[str, ...]]

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
    vocabulary: Mapping[str, tuple[str, ...]]
    dropped: dict[Key, str] = field(default_factory=dict)
    aggregated: bool = False
    expansion: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def expanded(self, names: Sequence[str]) -> tuple[str, ...]:
        """Names of covariates after aggregation."""
        return tuple(e for name in names for e in self.expansion.get(name, (name,)))

    def panel(self, *, known: Sequence[str], past: Sequence[str], static: Sequence[str]) -> Panel:
        """Build the panel with these columns as known, past and static covariates."""
        first = self.indptr[:-1]
        for name in static:
            self._check_static(name)
        block = self._block(static)
        return Panel(
            ids=tuple(self.keys),
            indptr=self.indptr,
            start=self.start,
            y=self.y,
            observed=self.observed,
            weight=self.weight,
            known=self._block(known),
            past=self._block(past),
            static=Block.empty(len(first)) if not static else block.take(first),
            grid=self.grid,
        )

    def _block(self, names: Sequence[str]) -> Block:
        if not names:
            return Block.empty(int(self.indptr[-1]))
        values = np.stack([self.columns[n][0] for n in names], axis=1)
        observed = np.stack([self.columns[n][1] for n in names], axis=1)
        return Block(
            tuple(names), values, observed, tuple((n, tuple(self.vocabulary[n])) for n in names if n in self.vocabulary)
        )

    def _check_static(self, name: str) -> None:
        values, observed = self.columns[name]
        series = np.repeat(np.arange(len(self.keys)), np.diff(self.indptr))
        low, high = np.full(len(self.keys), np.inf), np.full(len(self.keys), -np.inf)
        np.minimum.at(low, series[observed], values[observed])
        np.maximum.at(high, series[observed], values[observed])
        changing = np.flatnonzero(high > low)
        if len(changing):
            raise DataError(
                f"static covariate {name!r} changes in {len(changing)} series, first: {label(self.keys[changing[0]])}. "
                "Fix: declare it as known or past."
            )


def label(key: Key) -> str:
    """Series key for messages."""
    return "/".join(map(str, key))


def listed(keys: Sequence[Key]) -> str:
    """Return the first few keys for messages."""
    names = ", ".join(label(k) for k in keys[:_SHOW])
    return f"{names}{' and others' if len(keys) > _SHOW else ''}"


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
    table, steps, aggregated = _onto_grid(table, grid, settings, report, always=again)
    expansion: dict[str, tuple[str, ...]] = {}
    if aggregated:
        table, steps, expansion = _aggregate(table, steps, settings.aggregate or "sum")
        report.append(
            Guardrail("Time series aggregation", "done", f"rows put together to {grid.freq} by {settings.aggregate}")
        )
    else:
        report.append(Guardrail("Time series aggregation", "passed", f"rows match {grid.freq}"))
    dropped: dict[Key, str] = {}
    if not again:
        table, steps = _without_empty(table, steps, dropped, report)
    regular = _filled(table, steps, grid, settings, report)
    regular.aggregated, regular.expansion = aggregated, expansion
    regular.dropped = dropped
    if again:
        return regular
    regular = _short(regular, settings, min_length, report)
    _note_constant(regular, report)
    return regular


def _ordered(table: Table) -> Table:
    time = table.time.asi8 if isinstance(table.time, pd.DatetimeIndex) else table.time
    order = np.lexsort((time, table.series))
    return table.take(order) if (np.diff(order) != 1).any() else table


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
        return
    row = int(repeats[0])
    bad = [table.keys[i] for i in np.unique(table.series[repeats])]
    when = table.time[row]
    hint = _telling(others)
    fix = f"columns=Columns(id=[..., {hint}])" if hint else "freq=... with aggregate='sum' (or mean)"
    raise DataError(
        f"{len(repeats)} rows repeat a timestamp of their series, in {len(bad)} series ({listed(bad)}), first {when}. "
        f"Fix: {fix}, or remove the repeated rows."
    )


def _telling(others: Mapping[str, pd.Series]) -> str:
    """Columns with few enough values to be names of series."""
    names = [
        name
        for name, values in others.items()
        if not pd.api.types.is_float_dtype(values) and 1 < values.nunique() < max(2, len(values) // 2)
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
        return _covering(table.time, freq)
    return frequency.anchor(table.time, freq)


def _covering(time: pd.DatetimeIndex, freq: str) -> TimeGrid:
    """Grid whose first period holds the first timestamp."""
    offset = pd.tseries.frequencies.to_offset(freq)
    first = time.min()
    if isinstance(offset, pd.offsets.Tick):
        return TimeGrid(freq, str(first.floor(freq)))
    day = first.normalize()
    if freq.startswith(("M", "Q", "Y", "B")) and "E" in freq.split("-", maxsplit=1)[0]:
        return TimeGrid(freq, str(offset.rollforward(day)))
    return TimeGrid(freq, str(offset.rollback(day)))


def _onto_grid(
    table: Table, grid: TimeGrid, settings: DataSettings, report: Report, *, always: bool
) -> tuple[Table, np.ndarray, bool]:
    """Steps of all rows; stray rows are dropped when few, put together when asked for, an error else."""
    steps = grid.steps_of(table.time)
    stray = steps == OFF_GRID
    if settings.aggregate and isinstance(table.time, pd.DatetimeIndex):
        if not always and not stray.any() and not len(_repeats(table)):
            _check_not_finer(table, steps, grid)
            return table, steps, False
        return table, _periods(table.time, grid), True
    if not stray.any():
        _check_not_finer(table, steps, grid)
        return table, steps, False
    share = 1 - stray.mean()
    row = int(stray.argmax())
    where = f"series {label(table.keys[int(table.series[row])])} at {table.time[row]}"
    if share < frequency.ENOUGH_ON_GRID:
        raise DataError(
            f"only {share:.0%} of the rows lie on freq={grid.freq!r}, first off it: {where}. "
            f"Fix: another freq, or aggregate='sum' (or mean) to put rows of one period together."
        )
    text = f"{int(stray.sum())} rows between two points of {grid.freq} were removed, first: {where}"
    report.append(Guardrail("Frequency detection", "done", text))
    keep = np.flatnonzero(~stray)
    return table.take(keep), steps[keep], False


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


def _periods(time: pd.DatetimeIndex, grid: TimeGrid) -> np.ndarray:
    """Period of each timestamp: the grid point at or before it, for end-anchored ones at or after it."""
    span = pd.date_range(pd.Timestamp(grid.origin), time.max() + 2 * _offset(grid), freq=grid.freq, unit="ns")
    values = span.to_numpy()
    alias = grid.freq.split("-")[0].lstrip("0123456789")
    if alias.endswith("E") and len(alias) > 1:
        return np.searchsorted(values, time.normalize().to_numpy(), side="left")
    return np.searchsorted(values, time.to_numpy(), side="right") - 1


def _offset(grid: TimeGrid) -> Any:
    return pd.tseries.frequencies.to_offset(grid.freq)


def _aggregate(table: Table, steps: np.ndarray, how: str) -> tuple[Table, np.ndarray, dict[str, tuple[str, ...]]]:
    """One row a series and step: target by `how`, numbers by sum, mean, min and max, categories by mode."""
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
        expansion[name] = tuple(f"{name}_{f}" for f in _EXPANSION)
        for f in _EXPANSION:
            columns[f"{name}_{f}"] = (grouped.sum(min_count=1) if f == "sum" else grouped.agg(f)).to_numpy(dtype=float)
    series = target.index.get_level_values(0).to_numpy()
    out = Table(
        table.keys, series, target.index.get_level_values(1).to_numpy(), target.to_numpy(dtype=float),
        groups["weight"].mean().to_numpy(dtype=float), columns, table.vocabulary,
    )  # fmt: skip
    return out, target.index.get_level_values(1).to_numpy(), expansion


def _mode(values: pd.Series) -> float:
    counted = values.value_counts(sort=False).sort_index()
    return float(counted.index[int(counted.to_numpy().argmax())]) if len(counted) else float("nan")


def _without_empty(
    table: Table, steps: np.ndarray, dropped: dict[Key, str], report: Report
) -> tuple[Table, np.ndarray]:
    """Drop series without a single observed target."""
    has = np.zeros(len(table.keys), dtype=bool)
    has[table.series[np.isfinite(table.target)]] = True
    if not has.any():
        raise DataError("the target is missing in every row. Fix: check the target column.")
    if has.all():
        return table, steps
    lost = [table.keys[i] for i in np.flatnonzero(~has)]
    dropped.update(dict.fromkeys(lost, "no target value at all"))
    report.append(
        Guardrail("Missing target imputation", "alerted", f"{len(lost)} series have no target: {listed(lost)}")
    )
    keep = np.flatnonzero(has[table.series])
    renumber = np.cumsum(has) - 1
    out = table.take(keep)
    keys = [k for k, h in zip(table.keys, has, strict=True) if h]
    return replace(out, keys=keys, series=renumber[out.series]), steps[keep]


def _filled(table: Table, steps: np.ndarray, grid: TimeGrid, settings: DataSettings, report: Report) -> Regular:
    """Lay rows on the grid, fill what is missing, remember what was."""
    n = len(table.keys)
    first = np.searchsorted(table.series, np.arange(n))
    last = np.searchsorted(table.series, np.arange(n), side="right") - 1
    start, end = steps[first], steps[last]
    indptr = np.concatenate([[0], np.cumsum(end - start + 1)]).astype(np.int64)
    rows = indptr[:-1][table.series] + steps - start[table.series]
    total = int(indptr[-1])
    y = np.full(total, np.nan)
    y[rows] = table.target
    observed = np.isfinite(y)
    if settings.fill_target == "constant":
        filled = np.where(observed, y, settings.fill_value)
    else:
        filled = fill_forward(y, observed, indptr)
    weight = np.ones(total)
    weight[rows] = table.weight
    _note_gaps(total - len(rows), int((~observed).sum()), total, settings, report)
    columns, missing = {}, []
    for name, values in table.columns.items():
        laid = np.full(total, np.nan)
        laid[rows] = values
        given = np.isfinite(laid)
        if not given.all():
            missing.append((name, int((~given).sum())))
        columns[name] = (_fill_column(laid, given, indptr, settings, name, table.vocabulary), given)
    if missing:
        text = ", ".join(f"{name} ({count} rows)" for name, count in missing)
        report.append(Guardrail("Missing feature values imputation", "done", f"filled: {text}", tuple(missing)))
    elif table.columns:
        report.append(Guardrail("Missing feature values imputation", "passed", "no covariate value is missing"))
    return Regular(list(table.keys), grid, indptr, start, filled, observed, weight, columns, table.vocabulary)


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


def _note_gaps(inserted: int, missing: int, total: int, settings: DataSettings, report: Report) -> None:
    if not missing:
        report.append(Guardrail("Missing target imputation", "passed", "no target value is missing"))
        return
    how = "the last value" if settings.fill_target == "ffill" else f"{settings.fill_value:g}"
    text = f"{missing} of {total} target values filled with {how}, {inserted} of them in rows that were not there"
    report.append(Guardrail("Missing target imputation", "done", f"{text}; they are never scored"))


def _short(regular: Regular, settings: DataSettings, min_length: int, report: Report) -> Regular:
    """Short series: padded or dropped, as the settings say."""
    lengths = np.diff(regular.indptr)
    short = lengths < min_length
    name = "Short series handling"
    if not short.any():
        report.append(Guardrail(name, "passed", f"every series has at least {min_length} rows"))
        return regular
    keys = [regular.keys[i] for i in np.flatnonzero(short)]
    way = settings.short_series
    if way == "auto":
        way = "pad" if short.all() else "drop"
    if way is None:
        text = f"{len(keys)} series have fewer than {min_length} rows and are kept: {listed(keys)}"
        report.append(Guardrail(name, "alerted", text))
        return regular
    if way == "drop":
        if short.all():
            raise DataError(
                f"every series has fewer than {min_length} rows (longest: {int(lengths.max())}), so dropping them "
                "leaves nothing. Fix: a shorter horizon, more history or short_series='pad'."
            )
        text = (
            f"{len(keys)} series with fewer than {min_length} rows dropped, their forecasts are missing: {listed(keys)}"
        )
        report.append(
            Guardrail(
                name,
                "done",
                text,
                tuple((label(k), int(lengths[i])) for i, k in zip(np.flatnonzero(short), keys, strict=True)),
            )
        )
        return _drop(regular, short, min_length)
    text = f"{len(keys)} series padded in front with noise to {min_length} rows; accuracy suffers: {listed(keys)}"
    report.append(Guardrail(name, "done", text))
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
        columns={k: (v[rows], g[rows]) for k, (v, g) in regular.columns.items()},
    )


def _pad(regular: Regular, extra: np.ndarray, seed: int) -> Regular:
    """Rows in front: noise around the series' median (never below zero where the median is not), covariates zero."""
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
        noise = middle + rng.standard_normal(int(extra[i]))
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


def _note_constant(regular: Regular, report: Report) -> None:
    first = regular.indptr[:-1]
    flat = np.minimum.reduceat(regular.y, first) == np.maximum.reduceat(regular.y, first)
    keys = [regular.keys[i] for i in np.flatnonzero(flat)]
    if keys:
        text = f"{len(keys)} series never change; they are left out of scaled metrics: {listed(keys)}"
        report.append(Guardrail("Constant series", "alerted", text))
