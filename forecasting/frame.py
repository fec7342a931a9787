"""The door: the user's frame becomes a Panel on the way in, a Forecast becomes a frame on the way out."""

from __future__ import annotations

import sys
import warnings
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from automl.errors import DataError, UnknownNameError
from forecasting.intervals import at_levels
from forecasting.panel import Future, Panel
from forecasting.regularize import Table, make_regular
from forecasting.season import period_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from automl.guardrails import Report
    from forecasting.config import Columns, DataSettings
    from forecasting.panel import Forecast, Key
    from forecasting.timegrid import TimeGrid

_SHOW = 3
_MOST_IDS, _LEAST_ROWS_A_SERIES = 10, 4
_DAY_SECONDS = 86_400
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
    columns : names. id_dtypes : pandas dtype of each id column. time_dtype, time_zone : of the time column; times given
        as text come back as dates. known, past, static : covariate names. vocabulary : categories by column.
    aggregate : rows of one period are put together this way, None = no row may repeat.
    """

    columns: Names
    id_dtypes: tuple[str, ...]
    time_dtype: str
    time_zone: str | None
    known: tuple[str, ...]
    past: tuple[str, ...]
    static: tuple[str, ...]
    vocabulary: tuple[tuple[str, tuple[str, ...]], ...]
    weight: str | None
    aggregate: str | None

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
        for name in ("id_dtypes", "known", "past", "static"):
            values[name] = tuple(raw[name])
        values["vocabulary"] = tuple((n, tuple(c)) for n, c in raw["vocabulary"])
        return cls(**values)

    def time_labels(self, grid: TimeGrid, steps: np.ndarray) -> Any:
        """Time column at some steps, in the user's dtype and time zone."""
        labels = grid.labels(steps)
        if grid.is_integer:
            return pd.Series(labels).astype(pd.api.types.pandas_dtype(self.time_dtype)).array
        stamps = pd.DatetimeIndex(labels)
        if self.time_zone:
            fine = period_seconds(grid.freq) < _DAY_SECONDS
            stamps = (
                stamps.tz_localize("UTC").tz_convert(self.time_zone) if fine else stamps.tz_localize(self.time_zone)
            )
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


# -- in ---------------------------------------------------------------------------------------------------------------


def to_pandas(frame: Any) -> pd.DataFrame:
    """Return a pandas frame; polars and pyarrow tables are converted, nothing is changed in place.

    Raises
    ------
    DataError : it is no frame, or has no rows.
    """
    if isinstance(frame, pd.DataFrame):
        out = frame
    elif "polars" in sys.modules and isinstance(frame, sys.modules["polars"].DataFrame):
        out = pd.DataFrame({name: frame[name].to_numpy() for name in frame.columns})
    elif "pyarrow" in sys.modules and isinstance(frame, sys.modules["pyarrow"].Table):
        out = frame.to_pandas()
    else:
        raise DataError(f"data must be a pandas or polars frame or a pyarrow table, got {type(frame).__name__}.")
    if not len(out):
        raise DataError("the data has no rows.")
    twice = out.columns[out.columns.duplicated()].tolist()
    if twice:
        raise DataError(f"the data has more than one column named {twice[0]!r}.")
    return out.reset_index() if _named_index(out) else out


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


def require(frame: pd.DataFrame, name: str, role: str) -> None:
    """Raise a DataError with the closest match when a column is missing."""
    if name not in frame.columns:
        hint = str(UnknownNameError(f"{role} column", name, [str(c) for c in frame.columns]))
        raise DataError(f"the data has no {role} column {name!r}: {hint}")


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
    times, dtype, zone = _read_time(data[names.time], names.time)
    if settings.aggregate is None:
        names = _with_found_ids(data, names, settings, report)
    _check_roles(data, names, settings, report)
    keys, codes = _read_ids(data, names.id)
    target = _read_number(data[names.target], names.target, "target")
    cov = settings.covariates
    vocabulary: dict[str, tuple[str, ...]] = {}
    columns = {c: _read_covariate(data[c], c, vocabulary) for c in cov.all}
    weight = _read_weight(data, settings.weight)
    table = Table(keys, codes, times, target, weight, columns, vocabulary)
    regular = make_regular(table, settings, min_length, report, others=_other_columns(data, names, cov.all))
    keys_dtype = tuple(str(data[c].dtype) for c in names.id)
    panel = regular.panel(known=regular.expanded(cov.known), past=regular.expanded(cov.past), static=cov.static)
    schema = Schema(
        names, keys_dtype, dtype, zone, tuple(cov.known), tuple(cov.past), tuple(cov.static),
        tuple(sorted(vocabulary.items())), settings.weight, settings.aggregate if regular.aggregated else None,
    )  # fmt: skip
    return Prepared(panel, schema, regular.dropped)


def _check_roles(data: pd.DataFrame, names: Names, settings: DataSettings, report: Report) -> None:
    from automl.guardrails import Guardrail

    roles = {names.time: "time", names.target: "target", **dict.fromkeys(names.id, "id")}
    for name in settings.covariates.all:
        require(data, name, "covariate")
        if name in roles:
            raise DataError(f"covariate {name!r} is the {roles[name]} column. Fix: leave it out of the covariates.")
    used = {*roles, *settings.covariates.all, settings.weight}
    ignored = [str(c) for c in data.columns if c not in used]
    if ignored:
        text = f"not declared as covariates and ignored: {', '.join(ignored)}"
        report.append(Guardrail("Undeclared columns", "done", text))


def _with_found_ids(data: pd.DataFrame, names: Names, settings: DataSettings, report: Report) -> Names:
    """Add the fewest text columns that make timestamps unique within series, where the id columns given do not."""
    from automl.guardrails import Guardrail

    given = [*names.id, names.time]
    if not data.duplicated(given).any():
        return names
    used = {*given, names.target, settings.weight, *settings.covariates.all}
    text = [c for c in data.columns if c not in used and _is_text(data[c]) and data[c].notna().all()][:_MOST_IDS]
    for size in (1, 2, 3):
        for extra in combinations(text, size):
            together = [*names.id, *extra]
            few_series = data.groupby(together, observed=True).ngroups * _LEAST_ROWS_A_SERIES <= len(data)
            if few_series and not data.duplicated([*together, names.time]).any():
                message = f"timestamps repeat within {list(names.id)}: series are told apart by {list(extra)} too"
                report.append(Guardrail("Time series ID detection", "done", message))
                return Names((*names.id, *extra), names.time, names.target)
    return names


def _is_text(values: pd.Series) -> bool:
    return not (
        pd.api.types.is_numeric_dtype(values)
        or pd.api.types.is_bool_dtype(values)
        or pd.api.types.is_datetime64_any_dtype(values)
    )


def _other_columns(data: pd.DataFrame, names: Names, used: Sequence[str]) -> dict[str, pd.Series]:
    """Columns that might tell series apart."""
    taken = {*names.id, names.time, names.target, *used}
    return {str(c): data[c] for c in data.columns if c not in taken}


def _sample(values: pd.Series, mask: np.ndarray) -> str:
    where = np.flatnonzero(mask)[:_SHOW]
    return ", ".join(f"{values.iloc[i]!r} (row {i})" for i in where)


def _read_time(values: pd.Series, name: str) -> tuple[np.ndarray | pd.DatetimeIndex, str, str | None]:
    """Times as whole numbers or naive timestamps, the user's dtype, the user's time zone."""
    missing = values.isna().to_numpy()
    if missing.any():
        raise DataError(f"time column {name!r} has {missing.sum()} missing values, first in row {missing.argmax()}.")
    if pd.api.types.is_bool_dtype(values):
        raise DataError(f"time column {name!r} holds true/false values.")
    if pd.api.types.is_integer_dtype(values):
        return values.to_numpy(dtype=np.int64), str(values.dtype), None
    if pd.api.types.is_float_dtype(values):
        numbers = values.to_numpy(dtype=float)
        if (numbers % 1 != 0).any():
            raise DataError(f"time column {name!r} holds fractions: {_sample(values, numbers % 1 != 0)}.")
        return numbers.astype(np.int64), str(values.dtype), None
    if not pd.api.types.is_datetime64_any_dtype(values):
        values = _parse(values, name)
    zone = getattr(values.dt, "tz", None)
    stamps = pd.DatetimeIndex(values)
    dtype = str(values.dtype)
    if zone is not None:
        local = stamps.tz_localize(None)
        stamps = local if (local == local.normalize()).all() else stamps.tz_convert("UTC").tz_localize(None)
    return stamps.as_unit("ns"), dtype, None if zone is None else str(zone)


def _parse(values: pd.Series, name: str) -> pd.Series:
    text = values.astype(object)
    try:
        parsed = pd.to_datetime(text, errors="coerce", format="ISO8601")
        if parsed.isna().any():
            with warnings.catch_warnings():
                # pandas warns that it reads each value by itself; what it cannot read is an error below
                warnings.filterwarnings("ignore", message="Could not infer format")
                parsed = pd.to_datetime(text, errors="coerce")
    except ValueError as error:
        raise DataError(
            f"time column {name!r} mixes time zones or cannot be read: {error}. Fix: give all rows one time zone."
        ) from error
    bad = parsed.isna().to_numpy()
    if bad.any():
        raise DataError(
            f"time column {name!r} has {bad.sum()} values that are no dates: {_sample(values, bad)}. "
            "Fix: correct them, or parse the column with pandas.to_datetime first."
        )
    return parsed


def _read_ids(data: pd.DataFrame, ids: tuple[str, ...]) -> tuple[list[Key], np.ndarray]:
    """Sorted keys and the key number of each row."""
    if not ids:
        return [("series",)], np.zeros(len(data), dtype=np.int64)
    for name in ids:
        missing = data[name].isna().to_numpy()
        if missing.any():
            raise DataError(f"id column {name!r} has {missing.sum()} missing values, first in row {missing.argmax()}.")
    parts = [pd.factorize(data[c].astype(object) if data[c].dtype == "category" else data[c], sort=True) for c in ids]
    combined = np.zeros(len(data), dtype=np.int64)
    for codes, levels in parts:
        combined = combined * len(levels) + codes
    unique, row = np.unique(combined, return_inverse=True)
    keys: list[Key] = []
    for value in unique:
        key: list[Any] = []
        for _, levels in reversed(parts):
            value, at = divmod(int(value), len(levels))  # noqa: PLW2901 - digits are taken off one by one
            key.append(_plain(levels[at]))
        keys.append(tuple(reversed(key)))
    return keys, row


def _plain(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    return value if isinstance(value, str | int | float | bool) else str(value)


def _read_number(values: pd.Series, name: str, role: str) -> np.ndarray:
    if pd.api.types.is_bool_dtype(values) or not pd.api.types.is_numeric_dtype(values):
        numbers = pd.to_numeric(values.astype(object), errors="coerce")
        bad = (numbers.isna() & values.notna()).to_numpy()
        if bad.any():
            raise DataError(
                f"{role} column {name!r} holds {bad.sum()} values that are no numbers: {_sample(values, bad)}."
            )
        values = numbers
    out = values.to_numpy(dtype=float, na_value=np.nan)
    if np.isinf(out).any():
        raise DataError(f"{role} column {name!r} has infinite values, first in row {np.isinf(out).argmax()}.")
    return out


def _read_covariate(values: pd.Series, name: str, vocabulary: dict[str, tuple[str, ...]]) -> np.ndarray:
    """Numbers as they are, dates as days since 1970, everything else as codes of a sorted vocabulary (-1 = missing)."""
    if pd.api.types.is_bool_dtype(values):
        return values.to_numpy(dtype=float, na_value=np.nan)
    if pd.api.types.is_numeric_dtype(values):
        return _read_number(values, name, "covariate")
    if pd.api.types.is_datetime64_any_dtype(values):
        naive = values.dt.tz_localize(None) if getattr(values.dt, "tz", None) is not None else values
        return ((naive - pd.Timestamp("1970-01-01")) / pd.Timedelta(days=1)).to_numpy(dtype=float)
    text = values.astype(object).where(values.notna(), None)
    words = [None if v is None else str(v) for v in text]
    levels = vocabulary.setdefault(name, tuple(sorted({w for w in words if w is not None})))
    place = {w: i for i, w in enumerate(levels)}
    return np.array([np.nan if w is None else place.get(w, -1) for w in words], dtype=float)


def _read_weight(data: pd.DataFrame, name: str | None) -> np.ndarray:
    if name is None:
        return np.ones(len(data))
    require(data, name, "weight")
    weight = _read_number(data[name], name, "weight")
    bad = ~(weight >= 0)
    if bad.any():
        raise DataError(
            f"weight column {name!r} has {bad.sum()} negative or missing values, first in row {bad.argmax()}."
        )
    return weight


# -- later frames -----------------------------------------------------------------------------------------------------


def prepare_history(frame: Any, schema: Schema, grid: TimeGrid) -> Panel:
    """Read later (or other) rows onto the grid of a fitted model.

    Raises
    ------
    DataError : columns are missing, stamps repeat or lie off the grid.
    """
    return _later(to_pandas(frame), schema, grid, need_target=True)


def _later(data: pd.DataFrame, schema: Schema, grid: TimeGrid, *, need_target: bool) -> Panel:
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
    times, _, zone = _read_time(data[names.time], names.time)
    if grid.is_integer == isinstance(times, pd.DatetimeIndex):
        raise DataError(
            f"time column {names.time!r} holds another kind of time than in training (dates or whole numbers)."
        )
    if (zone is None) != (schema.time_zone is None):
        raise DataError(f"time column {names.time!r} has time zone {zone}, in training it had {schema.time_zone}.")
    keys, codes = _read_ids(data, names.id)
    vocabulary = dict(schema.vocabulary)
    values = {c: _read_covariate(data[c], c, vocabulary) for c in covariates}
    target = _read_number(data[names.target], names.target, "target") if need_target else np.zeros(len(data))
    weight = _read_weight(data, schema.weight if schema.weight in data.columns else None)
    table = Table(keys, codes, times, target, weight, values, dict(schema.vocabulary))
    settings = DataSettings(
        freq=grid.freq if not grid.is_integer else None, aggregate=schema.aggregate, short_series=None
    )
    regular = make_regular(table, settings, 1, Report(), grid=grid, again=True)
    if need_target:
        return regular.panel(
            known=regular.expanded(schema.known), past=regular.expanded(schema.past), static=schema.static
        )
    return regular.panel(known=regular.expanded(schema.known), past=(), static=())


def future_block(frame: Any, schema: Schema, panel: Panel, horizon: int) -> Future:
    """Known covariates of the steps after each series' last row.

    Raises
    ------
    DataError : some are missing; the message lists series, first gap and how many.
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
    given = np.zeros((panel.n_series, horizon), dtype=bool)
    place = {key: i for i, key in enumerate(panel.ids)}
    target = np.array([place.get(key, -1) for key in later.ids])
    series = target[later.series_of_rows()]
    ahead = later.step_of_rows() - panel.last[np.maximum(series, 0)] - 1
    use = (series >= 0) & (ahead >= 0) & (ahead < horizon) & later.known.observed.all(axis=1)
    values[series[use], ahead[use]] = later.known.values[use]
    given[series[use], ahead[use]] = True
    if not given.all():
        raise DataError(_gaps(given, schema, panel))
    rows = panel.n_series * horizon
    return Future(
        horizon, replace(panel.known, values=values.reshape(rows, k), observed=np.ones((rows, k), dtype=bool))
    )


def _gaps(given: np.ndarray, schema: Schema, panel: Panel) -> str:
    lacking = np.flatnonzero(~given.all(axis=1))
    lines = []
    for i in lacking[:_SHOW]:
        first = int((~given[i]).argmax())
        label = panel.grid.labels(np.array([panel.last[i] + 1 + first]))[0]
        name = "/".join(map(str, panel.ids[i]))
        lines.append(f"{name} lacks {int((~given[i]).sum())} of {given.shape[1]} steps, first {str(label)[:19]}")
    return (
        f"known covariates ({', '.join(schema.known)}) are not given for every future step: {len(lacking)} of "
        f"{panel.n_series} series have gaps; {'; '.join(lines)}. Fix: fill all rows of make_future_frame()."
    )


# -- out --------------------------------------------------------------------------------------------------------------


def forecast_frame(
    forecast: Forecast,
    panel: Panel,
    schema: Schema,
    *,
    quantiles: Sequence[float],
    level: Sequence[float],
    dropped: Mapping[Key, str],
) -> pd.DataFrame:
    """Forecasts in the user's columns: ids, time, yhat, `yhat-q-0.1`, `yhat-lo-80`, `yhat-hi-80`.

    Series dropped in training come last with missing values, so that none is silently absent.
    """
    n, horizon = forecast.values.shape[:2]
    steps = (panel.last[:, None] + 1 + np.arange(horizon)).ravel()
    out: dict[str, Any] = _id_columns([key for key in panel.ids for _ in range(horizon)], schema)
    out[schema.columns.time] = schema.time_labels(panel.grid, steps)
    out["yhat"] = forecast.values[:, :, 0].ravel()
    for q in quantiles:
        out[f"yhat-q-{q:g}"] = _channel(forecast, q)
    for width in level:
        out[f"yhat-lo-{width:g}"] = _channel(forecast, 0.5 - width / 200)
        out[f"yhat-hi-{width:g}"] = _channel(forecast, 0.5 + width / 200)
    frame = pd.DataFrame(out)
    if not dropped or not n:
        return frame
    ends = np.full(len(dropped), panel.last.max())
    steps = (ends[:, None] + 1 + np.arange(horizon)).ravel()
    lost = _id_columns([key for key in dropped for _ in range(horizon)], schema)
    lost[schema.columns.time] = schema.time_labels(panel.grid, steps)
    return pd.concat([frame, pd.DataFrame(lost)], ignore_index=True)


def history_frame(panel: Panel, schema: Schema) -> pd.DataFrame:
    """Panel rows in the user's columns: ids, time, target; missing where it was not observed."""
    out = _id_columns([key for key, count in zip(panel.ids, panel.lengths, strict=True) for _ in range(count)], schema)
    out[schema.columns.time] = schema.time_labels(panel.grid, panel.step_of_rows())
    out[schema.columns.target] = np.where(panel.observed, panel.y, np.nan)
    return pd.DataFrame(out)


def _channel(forecast: Forecast, q: float) -> np.ndarray:
    near = [k for k, level in enumerate(forecast.quantiles) if abs(level - q) < 1e-6]
    if near:
        return forecast.values[:, :, 1 + near[0]].ravel()
    return at_levels(forecast.values, forecast.quantiles, (q,))[:, :, 1].ravel()


def _id_columns(keys: Sequence[Key], schema: Schema) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for k, (name, dtype) in enumerate(zip(schema.columns.id, schema.id_dtypes, strict=True)):
        values = pd.Series([key[k] for key in keys])
        out[name] = values.astype(pd.api.types.pandas_dtype(dtype)) if dtype not in {"object", "str"} else values
    return out
