"""The door: the user's frame becomes a Panel (what comes out of one is written by `forecasting.writing`)."""

from __future__ import annotations

import logging
import sys
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from automl.errors import DataError
from forecasting.checks import check_names, high_cardinality, unknown_ahead
from forecasting.panel import Future, Panel
from forecasting.reading import (
    Times,
    comparable,
    day_order,
    id_kinds,
    kind_of,
    levels_of,
    of_other_kind,
    one_after_the_other,
    read_covariate,
    read_ids,
    read_number,
    read_statics,
    read_time,
    read_weight,
    require,
    typed_as,
    without_arrow,
)
from forecasting.regularize import Table, make_regular
from forecasting.timegrid import OFF_GRID

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from automl.guardrails import Report
    from forecasting.config import Columns, DataSettings
    from forecasting.panel import Key
    from forecasting.reading import Kind
    from forecasting.timegrid import TimeGrid

LOG = logging.getLogger("forecasting")

_SHOW = 3
_MOST_IDS, _LEAST_ROWS_A_SERIES = 10, 4

_OTHERS = (("polars", "DataFrame"), ("pyarrow", "Table"))
_RECOGNISED = (("unique_id", "ds", "y"), ("item_id", "timestamp", "target"))


@dataclass(frozen=True, slots=True)
class Names:
    """Resolved column names: id columns (maybe none), time and target."""

    id: tuple[str, ...]
    time: str
    target: str


@dataclass(frozen=True, slots=True)
class Schema:
    """What is needed to read later frames and to write forecasts in the user's own form.

    Parameters
    ----------
    columns : names. id_dtypes : pandas dtype of each id column. id_kinds : what its values are; see `reading.id_kinds`.
    time_dtype, time_zone : of the time column; times given as text come back as dates. time_wall : zoned times stand on
        the grid as the clock of their zone shows them, else as UTC.
    day_first : text dates were read as day before month, None where no text told the order. day_orders : the same of
        covariates that are text dates and told it.
    known, past, static : covariate names. kinds : how each of them is read. vocabulary : categories by column.
    aggregate : rows of one period are put together this way, None = no row may repeat.
    fills, flagged : covariate -> how its gaps are filled; those whose gaps become features.
    ignored : columns that nothing reads -> how they would be read. fill_target, fill_value : see `DataSettings`.
    """

    columns: Names
    id_dtypes: tuple[str, ...]
    time_dtype: str
    time_zone: str | None
    time_wall: bool
    day_first: bool | None
    known: tuple[str, ...]
    past: tuple[str, ...]
    static: tuple[str, ...]
    kinds: tuple[tuple[str, Kind], ...]
    vocabulary: tuple[tuple[str, tuple[str, ...]], ...]
    weight: str | None
    aggregate: str | None
    fills: tuple[tuple[str, str], ...] = ()
    flagged: tuple[str, ...] = ()
    ignored: tuple[tuple[str, Kind], ...] = ()
    fill_target: str = "ffill"
    fill_value: float = 0.0
    id_kinds: tuple[str, ...] = ()
    day_orders: tuple[tuple[str, bool], ...] = ()

    @property
    def gap_value(self) -> float | None:
        """What a row that is not there means, None = nothing is known of it."""
        return self.fill_value if self.fill_target == "constant" else None

    @property
    def known_names(self) -> tuple[str, ...]:
        """Columns a future frame must hold."""
        return self.known

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Self:
        """Read what `to_json` gave."""
        values = dict(raw)
        names = raw["columns"]
        values["columns"] = Names(tuple(names["id"]), names["time"], names["target"])
        for name in ("id_dtypes", "known", "past", "static", "flagged", "id_kinds"):
            values[name] = tuple(raw.get(name, ()))
        for name in ("kinds", "fills", "ignored", "day_orders"):
            values[name] = tuple((column, value) for column, value in raw.get(name, ()))
        values["vocabulary"] = tuple((n, tuple(c)) for n, c in raw["vocabulary"])
        return cls(**values)

    def time_labels(self, grid: TimeGrid, steps: np.ndarray) -> Any:
        """Time column at some steps, in the user's dtype and time zone."""
        labels = grid.labels(steps)
        if grid.is_integer:
            kind = pd.api.types.pandas_dtype(self.time_dtype)
            limits: Any = np.dtype(getattr(kind, "numpy_dtype", str(kind)))
            if limits.kind in "iu" and len(labels):  # int8 ends at 127, the forecast need not
                low, high = np.iinfo(limits).min, np.iinfo(limits).max
                kind = kind if low <= labels.min() and labels.max() <= high else np.dtype(np.int64)
            return pd.Series(labels).astype(kind).array
        stamps = pd.DatetimeIndex(labels)
        if self.time_zone and self.time_wall:
            # an hour the clock skips is the next one; of an hour it shows twice, the first is meant
            first = np.ones(len(stamps), dtype=bool)
            stamps = stamps.tz_localize(self.time_zone, ambiguous=first, nonexistent="shift_forward")
        elif self.time_zone:
            stamps = stamps.tz_localize("UTC").tz_convert(self.time_zone)
        unit: Any = self.time_dtype.partition("[")[2].partition(",")[0].rstrip("]") or "ns"
        return stamps.as_unit(unit).array


@dataclass(frozen=True, slots=True)
class Prepared:
    """A panel ready for work.

    Parameters
    ----------
    panel, schema : see there. dropped : series left out -> why.
    """

    panel: Panel
    schema: Schema
    dropped: dict[Key, str]


def to_pandas(frame: Any) -> pd.DataFrame:
    """Return a pandas frame; polars and pyarrow tables are converted, nothing is changed in place.

    Raises
    ------
    DataError : it is no frame, or has no rows.
    """
    if isinstance(frame, pd.DataFrame):
        out = frame
    elif any(name in sys.modules and isinstance(frame, getattr(sys.modules[name], kind)) for name, kind in _OTHERS):
        out = frame.to_pandas()
    else:
        raise DataError(f"data must be a pandas or polars frame or a pyarrow table, got {type(frame).__name__}.")
    if not len(out):
        raise DataError("the data has no rows.")
    twice = out.columns[out.columns.duplicated()].tolist()
    if twice:
        raise DataError(f"the data has more than one column named {twice[0]!r}.")
    return without_arrow(out.reset_index() if _named_index(out) else out)


def _named_index(frame: pd.DataFrame) -> bool:
    """Whether the index carries columns (unique_id as index is a habit of some)."""
    names = [n for n in frame.index.names if n is not None]
    return bool(names) and not set(names) & set(frame.columns)


def resolve(frame: pd.DataFrame, columns: Columns, *, need_target: bool = True) -> Names:
    """Find the id, time and target columns.

    Raises
    ------
    DataError : a named column is missing (with the closest match), or nothing is recognised.
    """
    have = [str(c) for c in frame.columns]
    for ids, time, target in _RECOGNISED:
        if {columns.time or time, columns.target or target} <= set(have) and (columns.time, columns.target) in {
            (None, None),
            (time, target),
            (time, None),
            (None, target),
        }:
            own = columns.id if columns.id is not None else ((ids,) if ids in have else ())
            names = Names(tuple(own), columns.time or time, columns.target or target)
            break
    else:
        if columns.time is None or columns.target is None:
            missing = "time" if columns.time is None else "target"
            raise DataError(
                f"the {missing} column is not named and neither unique_id/ds/y nor item_id/timestamp/target are there. "
                f"Columns found: {', '.join(have)}. Fix: columns=Columns(id=..., time=..., target=...)."
            )
        names = Names(tuple(columns.id or ()), columns.time, columns.target)
    wanted = [("time", names.time), *(("id", c) for c in names.id)]
    wanted += [("target", names.target)] if need_target else []
    for role, name in wanted:
        require(frame, name, role)
    return names


def prepare(frame: Any, settings: DataSettings, *, min_length: int, report: Report) -> Prepared:
    """Read, check and make regular.

    Parameters
    ----------
    frame : long frame, any row order; never changed. min_length : rows a series needs not to count as short.
    report : guardrails are appended to it.

    Raises
    ------
    DataError : see the message: it names what was found, where, and the fix.
    """
    data = to_pandas(frame)
    names = resolve(data, settings.columns)
    times = read_time(data[names.time], names.time, freq=settings.freq)
    if settings.aggregate is None:
        names = _with_found_ids(data, names, times, settings, report)
    _check_roles(data, names, settings, report)
    cov = settings.covariates
    kinds: tuple[tuple[str, Kind], ...] = tuple((c, settings.kinds.get(c, kind_of(data[c]))) for c in cov.all)
    vocabulary = tuple(sorted((c, levels_of(data[c])) for c, kind in kinds if kind == "category"))
    numbers = {c for c, kind in kinds if kind == "number"}
    odd = [c for c in settings.fill_numbers if c not in numbers]
    if odd:
        raise DataError(
            f"fill_numbers names {odd[0]!r}, which is no numeric covariate. Numeric are: {sorted(numbers)}."
        )
    schema = Schema(
        columns=names,
        id_dtypes=tuple(str(data[c].dtype) for c in names.id),
        time_dtype=times.dtype,
        time_zone=times.zone,
        time_wall=times.wall,
        day_first=times.day_first,
        known=tuple(cov.known),
        past=tuple(cov.past),
        static=tuple(cov.static),
        kinds=kinds,
        vocabulary=vocabulary,
        weight=settings.weight,
        aggregate=settings.aggregate,
        fills=tuple(sorted(settings.fill_numbers.items())),
        ignored=tuple((c, kind_of(data[c])) for c in _unused(data, names, settings)),
        fill_target=settings.fill_target,
        fill_value=settings.fill_value,
        day_orders=tuple((c, o) for c, kind in kinds if kind == "date" and (o := day_order(data[c], c)) is not None),
    )
    table = _table(data, schema, times, need_target=True)
    schema = replace(schema, id_kinds=id_kinds(table.keys, schema.id_dtypes))
    report.append(high_cardinality(dict(vocabulary), len(data)))
    regular = make_regular(table, settings, min_length, report, others=_other_columns(data, names, cov.all))
    # putting rows together later makes several columns of a numeric covariate, so training must have done so too
    one_each = all(kind == "category" for c, kind in kinds if c not in cov.static)
    schema = replace(
        schema,
        aggregate=settings.aggregate if regular.aggregated or one_each else None,
        flagged=regular.with_gaps((*cov.known, *cov.past)) if settings.missing_flags else (),
    )
    panel = regular.panel(schema)
    if times.zone and not times.wall:  # finer than days: steps stand in UTC, calendar and holidays go by the clock
        panel = replace(panel, grid=replace(panel.grid, zone=times.zone))
    return Prepared(panel, schema, regular.dropped)


def _table(data: pd.DataFrame, schema: Schema, times: Times, *, need_target: bool) -> Table:
    """Read all columns a schema names; without the target also without what is not known of the future."""
    names = schema.columns
    keys, codes = read_ids(_ids_like(data, schema), names.id)
    vocabulary, kinds, orders = dict(schema.vocabulary), dict(schema.kinds), dict(schema.day_orders)

    def read(columns: Sequence[str]) -> dict[str, np.ndarray]:
        return {c: read_covariate(data[c], c, kinds[c], vocabulary.get(c, ()), orders.get(c)) for c in columns}

    target = read_number(data[names.target], names.target, "target") if need_target else np.zeros(len(data))
    weight = read_weight(data, schema.weight)
    return Table(
        keys, codes, times.values, target, weight,
        read((*schema.known, *schema.past) if need_target else schema.known),
        read_statics(read(schema.static if need_target else ()), codes, keys),
        vocabulary, {c for c, kind in schema.kinds if kind == "date"},
    )  # fmt: skip


def _check_roles(data: pd.DataFrame, names: Names, settings: DataSettings, report: Report) -> None:
    from automl.guardrails import Guardrail, affected

    roles = {names.time: "time", names.target: "target", **dict.fromkeys(names.id, "id")}
    check_names(roles, settings.covariates.all)
    for name in settings.covariates.all:
        require(data, name, "covariate")
        if name in roles:
            raise DataError(f"covariate {name!r} is the {roles[name]} column. Fix: leave it out of the covariates.")
    ignored = _unused(data, names, settings)
    if ignored:
        text = f"not declared as covariates and ignored: {', '.join(ignored)}"
        report.append(Guardrail("Undeclared columns", "done", text, affected(0, ignored[0])))
    else:
        report.append(Guardrail("Undeclared columns", "passed", "every column has a role"))
    report.append(unknown_ahead(settings.covariates.past))


def _unused(data: pd.DataFrame, names: Names, settings: DataSettings) -> list[str]:
    """Columns that nothing reads."""
    used = {names.time, names.target, *names.id, *settings.covariates.all, settings.weight}
    return [str(c) for c in data.columns if c not in used]


def _with_found_ids(data: pd.DataFrame, names: Names, times: Times, settings: DataSettings, report: Report) -> Names:
    """Add the fewest text columns that make timestamps unique within series, where the id columns given do not."""
    from automl.guardrails import Guardrail, affected

    given = [*names.id, names.time]
    if one_after_the_other(data, names.id, times.values) or not data.duplicated(given).any():
        return names
    used = {*given, names.target, settings.weight, *settings.covariates.all}
    text = [c for c in data.columns if c not in used and _tells_apart(data[c])][:_MOST_IDS]
    for size in (1, 2, 3):
        for extra in combinations(text, size):
            together = [*names.id, *extra]
            few_series = data.groupby(together, observed=True).ngroups * _LEAST_ROWS_A_SERIES <= len(data)
            if few_series and not data.duplicated([*together, names.time]).any():
                message = f"timestamps repeat within {list(names.id)}: series are told apart by {list(extra)} too"
                series = data.groupby([*names.id, *extra], observed=True).ngroups
                example = "/".join(map(str, data[[*names.id, *extra]].iloc[0]))
                report.append(Guardrail("Time series ID detection", "done", message, affected(series, example)))
                return Names((*names.id, *extra), names.time, names.target)
    return names


def _tells_apart(values: pd.Series) -> bool:
    """Whether a column may be an id: text without gaps; lists and the like cannot be compared."""
    if (
        pd.api.types.is_numeric_dtype(values)
        or pd.api.types.is_bool_dtype(values)
        or pd.api.types.is_datetime64_any_dtype(values)
        or values.isna().any()
    ):
        return False
    return comparable(values)


def _other_columns(data: pd.DataFrame, names: Names, used: Sequence[str]) -> dict[str, pd.Series]:
    """Columns that might tell series apart."""
    taken = {*names.id, names.time, names.target, *used}
    return {str(c): data[c] for c in data.columns if c not in taken}


# -- later frames -----------------------------------------------------------------------------------------------------


def prepare_history(frame: Any, schema: Schema, grid: TimeGrid, like: DataSettings | None = None) -> Panel:
    """Read later (or other) rows onto the grid of a fitted model.

    Parameters
    ----------
    like : how gaps are filled, None = the target's as in training.

    Raises
    ------
    DataError : columns are missing, stamps repeat or lie off the grid.
    """
    return _later(to_pandas(frame), schema, grid, need_target=True, like=like)


def known_rows(frame: Any, schema: Schema, grid: TimeGrid) -> Panel | None:
    """Rows of a request whose target is known already, None where there is none.

    Past covariates and weights that a request does not hold count as missing.

    Raises
    ------
    DataError : all rows have one, so that nothing is asked for; see `prepare_history`.
    """
    data = to_pandas(frame)
    target = schema.columns.target
    if target not in data.columns or not data[target].notna().any():
        return None
    if schema.aggregate is not None:
        data = data.assign(**{target: data[target].mask(_in_part(data, schema, grid))})
        if not data[target].notna().any():
            return None
    if data[target].notna().all():
        raise DataError(
            f"every row of future holds a value of the target {target!r} already, so there is nothing to forecast. "
            f"Fix: to forecast all of them future.drop(columns={target!r}), or evaluate() to score them."
        )
    rows = data[_up_to_last_known(data, schema, grid)].reset_index(drop=True)
    lacking = [c for c in (*schema.past, *schema.static) if c not in rows.columns]
    rows = rows.assign(**dict.fromkeys(lacking, np.nan))
    if schema.weight in rows.columns:  # nobody knows it of rows to come, and it matters to no forecast
        rows[schema.weight] = rows[schema.weight].where(rows[schema.weight].notna(), 1.0)
    return prepare_history(rows, schema, grid)


def _in_part(data: pd.DataFrame, schema: Schema, grid: TimeGrid) -> np.ndarray:
    """Rows of periods that also hold rows without a target: what is there is not yet the period's value."""
    _, series, times = read_places(data, schema, grid)
    periods = grid.periods_of(times.values)
    lacking = data[schema.columns.target].isna().reset_index(drop=True)
    return lacking.groupby([series, periods]).transform("any").to_numpy()


def _up_to_last_known(data: pd.DataFrame, schema: Schema, grid: TimeGrid) -> np.ndarray:
    """Rows up to the last one of their series that holds a target: those without one between them are no gaps."""
    keys, series, times = read_places(data, schema, grid)
    time = np.asarray(times.values).astype(np.int64)
    known = data[schema.columns.target].notna().to_numpy()
    last = np.full(len(keys), np.iinfo(np.int64).min)
    np.maximum.at(last, series[known], time[known])
    return np.asarray(time <= last[series])


def places(data: pd.DataFrame, schema: Schema, grid: TimeGrid) -> tuple[list[Key], np.ndarray, np.ndarray]:
    """Sorted keys of a frame's series, and which of them at which grid step each row is.

    Raises
    ------
    DataError : a column is missing, times are of another kind than in training or lie off the grid.
    """
    keys, series, times = read_places(data, schema, grid)
    steps = grid.steps_of(times.values)
    if (steps == OFF_GRID).any():
        row = int((steps == OFF_GRID).argmax())
        raise DataError(
            f"{int((steps == OFF_GRID).sum())} rows lie between two points of the model's time grid ({grid.freq} "
            f"through {grid.origin}), first: {data[schema.columns.time].iloc[row]} in row {row}. "
            "Fix: see make_future_frame()."
        )
    return keys, series, steps


def read_places(data: pd.DataFrame, schema: Schema, grid: TimeGrid) -> tuple[list[Key], np.ndarray, Times]:
    """Sorted keys of a frame's series, which of them each row is, and its time."""
    for role, columns in (("id", schema.columns.id), ("time", (schema.columns.time,))):
        for name in columns:
            require(data, name, role)
    times = _times_like(data, schema, grid)
    return *read_ids(_ids_like(data, schema), schema.columns.id), times


def _ids_like(data: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Rows with numbers as ids where training had numbers, and text where it had text: 7 and "7" are the same."""
    # of older files only the type of the column is known; these three may hold both
    kinds = schema.id_kinds or ["" if t in {"category", "object", "bool"} else t for t in schema.id_dtypes]
    other = {
        name: kind
        for name, kind, dtype in zip(schema.columns.id, kinds, schema.id_dtypes, strict=True)
        if of_other_kind(data[name], kind, of_any=dtype in {"category", "object"})
    }
    return typed_as(data, other) if other else data


def _times_like(data: pd.DataFrame, schema: Schema, grid: TimeGrid) -> Times:
    """Read the time column as in training."""
    name = schema.columns.time
    like = Times(np.empty(0), schema.time_dtype, schema.time_zone, schema.time_wall, schema.day_first)
    times = read_time(data[name], name, freq=grid.freq, like=like)
    if grid.is_integer == isinstance(times.values, pd.DatetimeIndex):
        raise DataError(f"time column {name!r} holds another kind of time than in training (dates or whole numbers).")
    if (times.zone is None) != (schema.time_zone is None):
        raise DataError(f"time column {name!r} has time zone {times.zone}, in training it had {schema.time_zone}.")
    return times


def _later(
    data: pd.DataFrame, schema: Schema, grid: TimeGrid, *, need_target: bool, like: DataSettings | None = None
) -> Panel:
    from automl.guardrails import Report
    from forecasting.config import DataSettings

    names = schema.columns
    for role, columns in (
        ("id", names.id),
        ("time", (names.time,)),
        ("target", (names.target,) if need_target else ()),
    ):
        for name in columns:
            require(data, name, role)
    covariates = (*schema.known, *((*schema.past, *schema.static) if need_target else ()))
    for name in covariates:
        require(data, name, "covariate")
    times = _times_like(data, schema, grid)
    known = schema if need_target and schema.weight in data.columns else replace(schema, weight=None)
    table = _table(data, known, times, need_target=need_target)
    settings = replace(
        like
        or DataSettings(fill_target=schema.fill_target, fill_value=schema.fill_value, fill_numbers=dict(schema.fills)),
        freq=grid.freq,
        aggregate=schema.aggregate,
        short_series=None,
    )
    regular = make_regular(table, settings, 1, Report(), grid=grid, again=True)
    return regular.panel(schema if need_target else replace(schema, past=(), static=()))


def future_block(frame: Any, schema: Schema, panel: Panel, horizon: int, *, until: np.ndarray | None = None) -> Future:
    """Known covariates of the steps after each series' last row.

    Values missing among them are filled as gaps of training are, and a warning lists them.

    Parameters
    ----------
    until : shape [n], steps of each series that are asked for; later ones repeat the last. None = all of them.

    Raises
    ------
    DataError : nothing at all is given of a series, or of a covariate; the message lists series, first gap and how
        many.
    """
    if not schema.known:
        return Future.bare(panel, horizon)
    if frame is None:
        raise DataError(
            f"known covariates were declared ({', '.join(schema.known)}), so predict needs their future values. "
            "Fix: predict(future=...), see make_future_frame()."
        )
    later = _later(to_pandas(frame), schema, panel.grid, need_target=False)
    k = len(panel.known.names)
    values = np.full((panel.n_series, horizon, k), np.nan)
    given = np.zeros((panel.n_series, horizon, k), dtype=bool)
    fills = dict(panel.known.fills)
    place = {key: i for i, key in enumerate(panel.ids)}
    target = np.array([place.get(key, -1) for key in later.ids])
    series = target[later.series_of_rows()]
    ahead = later.step_of_rows() - panel.last[np.maximum(series, 0)] - 1
    use = (series >= 0) & (ahead >= 0) & (ahead < horizon)
    # a number that no row gives must not come from a later row; categories and constants have a value of their own
    own = np.array([later.known.categories(n) is not None or fills.get(n) == "constant" for n in later.known.names])
    values[series[use], ahead[use]] = np.where(later.known.observed | own, later.known.values, np.nan)[use]
    given[series[use], ahead[use]] = later.known.observed[use]
    asked = np.arange(horizon) < (np.full(panel.n_series, horizon) if until is None else until)[:, None]
    _check_given(given & asked[:, :, None], asked, schema, panel)
    # what no row of the frame says stays as it was, till a later row says something else
    before = panel.known.values[panel.indptr[1:] - 1]
    for h in range(horizon):
        lacking = np.isnan(values[:, h])
        values[:, h][lacking] = (values[:, h - 1] if h else before)[lacking]
    given |= ~asked[:, :, None]
    rows = panel.n_series * horizon
    return Future(horizon, replace(panel.known, values=values.reshape(rows, k), observed=given.reshape(rows, k)))


def _check_given(given: np.ndarray, asked: np.ndarray, schema: Schema, panel: Panel) -> None:
    """Warn of values missing of the steps asked for; refuse where nothing is given of a series or a covariate.

    Parameters
    ----------
    given : shape [n, horizon, k], which values of the steps asked for there are. asked : shape [n, horizon].
    """
    known = panel.known
    whole = known.observed.all(axis=0)
    # a category that is missing is a category too, if training knew it
    needed = asked[:, :, None] & ~(np.array([known.categories(n) is not None for n in known.names]) & ~whole)
    lacking = (needed & ~given).any(axis=2)
    nothing = needed.any(axis=(1, 2)) & ~given.any(axis=(1, 2)) & known.observed.any()
    never = whole & ~given.any(axis=(0, 1)) & asked.any()
    if nothing.any() or never.any():
        raise DataError(f"{_gaps(lacking, schema, panel)} Fix: fill all rows of make_future_frame().")
    if lacking.any():
        text = _gaps(lacking, schema, panel)
        LOG.warning("%s They are filled as gaps in training are (settings.fill_numbers).", text)


def _gaps(lacking: np.ndarray, schema: Schema, panel: Panel) -> str:
    gappy = np.flatnonzero(lacking.any(axis=1))
    lines = []
    for i in gappy[:_SHOW]:
        label = panel.grid.labels(np.array([panel.last[i] + 1 + int(lacking[i].argmax())]))[0]
        name = "/".join(map(str, panel.ids[i]))
        lines.append(f"{name} lacks {int(lacking[i].sum())} of {lacking.shape[1]} steps, first {str(label)[:19]}")
    return (
        f"known covariates ({', '.join(schema.known)}) are not given for every future step: {len(gappy)} of "
        f"{panel.n_series} series have gaps; {'; '.join(lines)}."
    )
