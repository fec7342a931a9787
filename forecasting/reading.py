"""Reading columns of the user's frame: times, ids, numbers, covariates, weights. Rows in messages count from 0."""

from __future__ import annotations

import re
import warnings
from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from automl.errors import DataError, UnknownNameError
from forecasting.panel import run_starts
from forecasting.season import period_seconds
from forecasting.timegrid import INTEGER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from forecasting.panel import Key

Kind = Literal["number", "date", "category"]

_SHOW = 3
_LONG_RUNS = 8
"""Rows a run of equal ids, from which ids are looked up once a run."""

_OFFSET = re.compile(r"(?:Z|[+-]\d\d:?\d\d)$")
_YEARS = (1678, 2261)
_LEAST_MONTHS = 4
_DAY_SECONDS = 86_400
_NUMBERS = {"integer", "floating", "mixed-integer-float", "decimal", "boolean", "empty"}
_DATES = {"date", "datetime", "datetime64"}
_FRACTIONS = {"floating", "mixed-integer-float"}
_ALL_NUMBERS = {"integer", *_FRACTIONS}
_LOOK_AT = 1_000
"""Rows that tell whether a column of ids holds numbers."""


def require(frame: pd.DataFrame, name: str, role: str) -> None:
    """Raise a DataError with the closest match when a column is missing."""
    if name not in frame.columns:
        hint = str(UnknownNameError(f"{role} column", name, [str(c) for c in frame.columns]))
        raise DataError(f"the data has no {role} column {name!r}: {hint}")


def without_arrow(frame: pd.DataFrame) -> pd.DataFrame:
    """Columns of Arrow types that pandas hardly works with as its own: dictionaries, decimals, dates."""
    odd = {c: str(t) for c, t in frame.dtypes.items() if isinstance(t, pd.ArrowDtype)}
    odd = {c: kind for c, kind in odd.items() if kind.startswith(("dictionary", "decimal", "date"))}
    out = frame.copy(deep=False) if odd else frame
    for name, kind in odd.items():
        if kind.startswith("date"):
            out[name] = frame[name].astype("datetime64[us]")
        else:
            plain = frame[name].astype(object).where(frame[name].notna(), None)
            out[name] = plain.astype("category") if kind.startswith("dictionary") else plain
    return out


def comparable(values: pd.Series) -> bool:
    """Whether values can be told apart; lists and the like cannot."""
    return values.dtype != object or all(isinstance(v, Hashable) for v in values)


def sample(values: pd.Series, mask: np.ndarray) -> str:
    """Return the first few values a mask points at, with their rows."""
    return ", ".join(f"{values.iloc[i]!r} (row {i})" for i in np.flatnonzero(mask)[:_SHOW])


# -- time -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Times:
    """A time column as read.

    Parameters
    ----------
    values : whole numbers, or naive timestamps [ns]. dtype : pandas dtype of the user's column once parsed.
    zone : its time zone. wall : with a zone, whether the naive timestamps are its wall time; else they are UTC.
    day_first : whether text was read as day before month, None where it was no text or both orders say the same.
    """

    values: np.ndarray | pd.DatetimeIndex
    dtype: str
    zone: str | None = None
    wall: bool = False
    day_first: bool | None = None


def read_time(values: pd.Series, name: str, *, freq: str | None = None, like: Times | None = None) -> Times:
    """Read a time column.

    Parameters
    ----------
    freq : frequency the user gave: it decides whether zoned times are read as wall time (days and longer).
    like : how the training data was read; later frames must be read the same way.

    Raises
    ------
    DataError : missing, unparsable, ambiguous or out-of-range times; mixed time zones.
    """
    missing = values.isna().to_numpy()
    if missing.any():
        raise DataError(f"time column {name!r} has {missing.sum()} missing values, first in row {missing.argmax()}.")
    if pd.api.types.is_bool_dtype(values):
        raise DataError(f"time column {name!r} holds true/false values.")
    if isinstance(values.dtype, pd.ArrowDtype):
        values = pd.Series(values.array.__arrow_array__().to_pandas())
    if isinstance(values.dtype, pd.PeriodDtype):
        values = values.dt.to_timestamp()
    if values.dtype == object and pd.api.types.infer_dtype(values, skipna=False) == "integer":
        values = values.astype(np.int64)
    if pd.api.types.is_numeric_dtype(values):
        return _whole_numbers(values, name, check=freq != INTEGER and like is None)
    day_first = None
    if not pd.api.types.is_datetime64_any_dtype(values):
        values, day_first = _parse(values, name, None if like is None else like.day_first)
    stamps = pd.DatetimeIndex(values)
    year = stamps.year
    outside = (year < _YEARS[0]) | (year > _YEARS[1])
    if outside.any():
        raise DataError(
            f"time column {name!r} has {int(outside.sum())} times outside the years 1678 to 2261: "
            f"{sample(values, np.asarray(outside))}. Fix: remove these rows."
        )
    stamps = stamps.as_unit("ns")
    if stamps.tz is None:
        return Times(stamps, str(values.dtype), day_first=day_first)
    if like is not None and like.zone is not None and like.wall:
        stamps = stamps.tz_convert(like.zone)
    wall = _is_wall(stamps, freq) if like is None else like.wall
    naive = stamps.tz_localize(None) if wall else stamps.tz_convert("UTC").tz_localize(None)
    return Times(naive, str(values.dtype), str(stamps.tz), wall, day_first)


def _is_wall(stamps: pd.DatetimeIndex, freq: str | None) -> bool:
    """Whether zoned times belong to days of their zone: the clock shows the same time in every row."""
    local = stamps.tz_localize(None)
    if freq not in {None, INTEGER} and period_seconds(str(freq)) < _DAY_SECONDS:
        return False
    clock = local - local.normalize()
    if (clock == clock[0]).all():
        return True
    utc = stamps.tz_convert("UTC").tz_localize(None)
    clock = utc - utc.normalize()
    # rows of many hours a day that are put together by day (or longer) go by the days people there live
    return freq is not None and not (clock == clock[0]).all()


def _whole_numbers(values: pd.Series, name: str, *, check: bool) -> Times:
    if not pd.api.types.is_integer_dtype(values):
        numbers = values.to_numpy(dtype=float)
        odd = ~np.isfinite(numbers) | (numbers % 1 != 0)
        if odd.any():
            raise DataError(f"time column {name!r} holds fractions: {sample(values, odd)}.")
    whole = values.to_numpy(dtype=np.int64)
    for digits, form in ((8, "%Y%m%d"), (6, "%Y%m")) if check else ():
        if _like_dates(whole, digits):
            raise DataError(
                f"time column {name!r} holds whole numbers that look like dates ({whole[0]}, ...). Fix: "
                f"pandas.to_datetime(frame[{name!r}], format={form!r}), or freq='step' if they are plain numbers."
            )
    return Times(whole, str(values.dtype))


def _like_dates(whole: np.ndarray, digits: int) -> bool:
    """Whether numbers read as yyyymmdd (yyyymm), over more than one month (year)."""
    unique = np.unique(whole)
    if len(unique) < 3 or unique[0] < 1900 * 10 ** (digits - 4) or unique[-1] >= 2200 * 10 ** (digits - 4):
        return False
    day = unique % 100 if digits == 8 else np.ones(len(unique), dtype=np.int64)
    month = unique // 100 % 100 if digits == 8 else unique % 100
    several = unique[0] // 100 != unique[-1] // 100
    return bool(several and (month >= 1).all() and (month <= 12).all() and (day >= 1).all() and (day <= 31).all())


def _parse(
    values: pd.Series, name: str, day_first: bool | None, role: str = "time column"
) -> tuple[pd.Series, bool | None]:
    """Text and dates as timestamps, and whether the day stood before the month (None: nothing tells).

    Parameters
    ----------
    day_first : the order that other rows of the column told. role : what to call the column in messages.
    """
    text = values.astype(object)
    try:
        parsed = pd.to_datetime(text, errors="coerce", format="ISO8601")
        if not parsed.isna().any():
            return parsed, None
        with warnings.catch_warnings():
            # pandas warns that it reads each value by itself, or swaps day and month; both are judged below
            warnings.simplefilter("ignore", UserWarning)
            readings = {d: pd.to_datetime(text, errors="coerce", dayfirst=d) for d in (False, True)}
    except ValueError as error:
        raise DataError(_mixed_zones(text, name)) from error
    if any(r.isna().any() for r in readings.values()) and len(_zones(text)) > 1:
        raise DataError(_mixed_zones(text, name))
    if day_first is not None and not readings[day_first].isna().any():
        return readings[day_first], day_first
    whole = [d for d, r in readings.items() if not r.isna().any()]
    if not whole:
        bad = min((r.isna().to_numpy() for r in readings.values()), key=np.sum)
        raise DataError(
            f"{role} {name!r} has {bad.sum()} values that are no dates: {sample(values, bad)}. "
            "Fix: correct them, or parse the column with pandas.to_datetime first."
        )
    if len(whole) == 2 and not readings[False].equals(readings[True]):
        # two orders are possible: first-of-month data betrays itself, anything else would be a guess
        months = [d for d in whole if set(readings[d].dt.day) == {1}]
        days_in_a_row = any(_in_a_row(readings[d]) for d in whole if d not in months)
        whole = months if len(set(text)) >= _LEAST_MONTHS and not days_in_a_row else []
        if len(whole) != 1:
            differ = (readings[False] != readings[True]).to_numpy()
            raise DataError(
                f"{role} {name!r} can be read as day/month or as month/day: {sample(values, differ)}. "
                "Fix: parse it with pandas.to_datetime(..., format=...) first."
            )
    return readings[whole[0]], None if readings[False].equals(readings[True]) else whole[0]


def _in_a_row(stamps: pd.Series) -> bool:
    """Whether days follow one another without a gap."""
    days = np.unique(stamps.to_numpy().astype("datetime64[D]"))
    return bool((np.diff(days) == np.timedelta64(1, "D")).all())


def _zones(text: pd.Series) -> dict[str, int]:
    """Zones (or offsets from UTC) that values name -> first row; "none" where one names none."""
    found: dict[str, int] = {}
    for row, value in enumerate(text):
        if isinstance(value, str):
            match = _OFFSET.search(value.strip())
            zone = match.group(0) if match else "none"
        else:
            zone = str(getattr(value, "tzinfo", None) or "none")
        found.setdefault(zone, row)
    return found


def _mixed_zones(text: pd.Series, name: str) -> str:
    zones = _zones(text)
    shown = ", ".join(f"{zone} (row {row}: {str(text.iloc[row])!r})" for zone, row in list(zones.items())[:_SHOW])
    return (
        f"time column {name!r} mixes {len(zones)} time zones or offsets from UTC: {shown}. Fix: one zone for all rows: "
        f"pandas.to_datetime(frame[{name!r}], utc=True).dt.tz_convert('Europe/Berlin') say, or without zones."
    )


# -- ids --------------------------------------------------------------------------------------------------------------


TEXT = ("object", "str", "string")
"""Types of columns that hold text."""


def text_of(values: pd.Series) -> np.ndarray:
    """Values of a key column as text: 7, 7.0 and "7" are the same.

    Examples
    --------
    >>> text_of(pd.Series([7.0, 8.5])).tolist(), text_of(pd.Series(["07"])).tolist()
    (['7', '8.5'], ['07'])
    >>> text_of(pd.Series([7.0, 8], dtype=object)).tolist()
    ['7', '8']
    """
    if values.isna().any():
        raise DataError(
            f"column {values.name!r} holds {int(values.isna().sum())} missing values, and it tells groups or series "
            "apart. Fix: fill or remove these rows."
        )
    if values.dtype == object or isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(object)
        values = values.astype(float) if pd.api.types.infer_dtype(values) in _FRACTIONS else values
    if pd.api.types.is_float_dtype(values):
        return np.array([f"{v:.0f}" if float(v).is_integer() else repr(float(v)) for v in values], dtype=object)
    return values.astype(str).to_numpy(dtype=object)


def typed_as(frame: pd.DataFrame, types: Mapping[str, str]) -> pd.DataFrame:
    """Rows with ids of some types, by column: 7 and "7" are the same.

    Raises
    ------
    DataError : an id is none of that type.
    """
    for name, kind in types.items():
        if str(frame[name].dtype) == kind:
            continue
        if kind in TEXT:
            values: Any = text_of(frame[name])
        else:
            try:
                values = frame[name].astype(pd.api.types.pandas_dtype(kind))
            except (ValueError, TypeError) as error:
                odd = frame[name].iloc[int(pd.to_numeric(frame[name], errors="coerce").isna().argmax())]
                raise DataError(
                    f"id column {name!r} holds {str(odd)!r}, and in training it held {kind}. Fix: the ids of training."
                ) from error
        frame = frame.assign(**{name: values})
    return frame


def id_kinds(keys: Sequence[Key], dtypes: Sequence[str]) -> tuple[str, ...]:
    """Type of the values of each id column, whatever the type of the column: "str", one of numbers, "" = several.

    Examples
    --------
    >>> id_kinds([("a", 1, 7), ("b", 2, "7")], ["category", "object", "object"])
    ('str', 'int64', '')
    """
    out = []
    for k, dtype in enumerate(dtypes):
        types = {type(key[k]) for key in keys}
        if types == {str}:
            out.append("str")
        elif not types <= {int, float}:
            out.append("")
        elif dtype in {"category", *TEXT}:
            out.append("int64" if types == {int} else "float64")
        else:
            out.append(dtype)
    return tuple(out)


def of_other_kind(values: pd.Series, kind: str, *, of_any: bool) -> bool:
    """Whether ids are numbers where training had text (or some of them are), or the other way round.

    Parameters
    ----------
    kind : of the values in training. of_any : the column may hold others too, so that text no number reads stays text.
    """
    found = pd.api.types.infer_dtype(values.iloc[:_LOOK_AT].astype(object), skipna=True)
    if kind in TEXT:
        return found in _ALL_NUMBERS or found == "mixed-integer"
    if not kind or not pd.api.types.is_numeric_dtype(pd.api.types.pandas_dtype(kind)) or found in _ALL_NUMBERS:
        return False
    return not of_any or bool(pd.to_numeric(values.astype(object), errors="coerce").notna().all())


def read_ids(data: pd.DataFrame, ids: tuple[str, ...]) -> tuple[list[Key], np.ndarray]:
    """Sorted keys and the key number of each row.

    Raises
    ------
    DataError : an id is missing.
    """
    if not ids:
        return [("series",)], np.zeros(len(data), dtype=np.int64)
    for name in ids:
        missing = data[name].isna().to_numpy()
        if missing.any():
            raise DataError(f"id column {name!r} has {missing.sum()} missing values, first in row {missing.argmax()}.")
    parts = [_by_runs(data[c]) for c in ids]
    row = parts[0][0]
    level_of = np.arange(len(parts[0][1]))[None, :]
    for codes, levels in parts[1:]:
        # numbered anew after every column, so that many columns with many values cannot overflow
        unique, row = np.unique(row * len(levels) + codes, return_inverse=True)
        before, own = np.divmod(unique, len(levels))
        level_of = np.vstack([level_of[:, before], own])
    columns = [[_plain(levels[at]) for at in level_of[k]] for k, (_, levels) in enumerate(parts)]
    return list(zip(*columns, strict=True)), row


def _by_runs(values: pd.Series) -> tuple[np.ndarray, Any]:
    """Codes and sorted levels; numbers are looked up once a run of equal ones where these are long."""
    if not pd.api.types.is_numeric_dtype(values):
        return _factorized(values)
    first = run_starts(values.to_numpy())
    if len(first) * _LONG_RUNS > len(values):
        return _factorized(values)
    codes, levels = _factorized(values.iloc[first])
    return np.repeat(codes, np.diff(first, append=len(values))), levels


def one_after_the_other(data: pd.DataFrame, ids: tuple[str, ...], time: Any) -> bool:
    """Whether rows stand series after series and forward in time, so that none can repeat; False is no proof."""
    if len(ids) > 1:
        return False
    stamps = time.asi8 if isinstance(time, pd.DatetimeIndex) else np.asarray(time)
    forward = stamps[1:] > stamps[:-1]
    if not ids:
        return bool(forward.all())
    own = data[ids[0]]
    if own.isna().any():
        return False
    first = run_starts(own.to_numpy() if pd.api.types.is_numeric_dtype(own) else pd.factorize(own)[0])
    forward[first[1:] - 1] = True
    return bool(forward.all()) and own.iloc[first].is_unique


def _factorized(values: pd.Series) -> tuple[np.ndarray, Any]:
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(object)
    if values.dtype == object and pd.api.types.infer_dtype(values) not in {"string", "integer", "boolean"}:
        codes, levels = pd.factorize(values)
        order = sorted(range(len(levels)), key=lambda i: (type(levels[i]).__name__, str(levels[i])))
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(len(order))
        return rank[codes], [levels[i] for i in order]
    return pd.factorize(values, sort=True)


def _plain(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    return value if isinstance(value, str | int | float | bool) else str(value)


# -- numbers and covariates -------------------------------------------------------------------------------------------


def read_number(values: pd.Series, name: str, role: str) -> np.ndarray:
    """Floats, NaN = missing.

    Raises
    ------
    DataError : text that is no number, infinite values.
    """
    if pd.api.types.is_bool_dtype(values) or not pd.api.types.is_numeric_dtype(values):
        numbers = pd.to_numeric(values.astype(object), errors="coerce")
        bad = (numbers.isna() & values.notna()).to_numpy()
        if bad.any():
            raise DataError(
                f"{role} column {name!r} holds {bad.sum()} values that are no numbers: {sample(values, bad)}. "
                "Fix: correct them, or turn them into missing values."
            )
        values = numbers
    out = values.to_numpy(dtype=float, na_value=np.nan)
    if np.isinf(out).any():
        raise DataError(
            f"{role} column {name!r} has {int(np.isinf(out).sum())} infinite values, first in row "
            f"{np.isinf(out).argmax()}. Fix: turn them into missing values."
        )
    return out


def kind_of(values: pd.Series) -> Kind:
    """How a covariate is read: numbers (true/false, lengths of time too), dates, or categories."""
    if pd.api.types.is_numeric_dtype(values) or pd.api.types.is_timedelta64_dtype(values):
        return "number"
    if pd.api.types.is_datetime64_any_dtype(values):
        return "date"
    found = pd.api.types.infer_dtype(values, skipna=True) if values.dtype == object else "other"
    return "number" if found in _NUMBERS else "date" if found in _DATES else "category"


def read_covariate(
    values: pd.Series, name: str, kind: Kind, levels: Sequence[str] = (), day_first: bool | None = None
) -> np.ndarray:
    """Numbers as they are, dates as days since 1970, categories as codes of `levels`; NaN = missing, -1 = unknown.

    Parameters
    ----------
    kind : how the training data was read, so that a later frame with other dtypes means the same.
    day_first : the same of text dates.

    Raises
    ------
    DataError : the column cannot be read this way.
    """
    if kind == "number":
        if pd.api.types.is_timedelta64_dtype(values):
            values = values.dt.total_seconds() / _DAY_SECONDS
        return read_number(values, name, "covariate")
    if kind == "date":
        return _days(values, name, day_first)
    codes, unique = pd.factorize(values.astype(object))
    place = {word: i for i, word in enumerate(levels)}
    code_of = np.array([*(place.get(_word(u), -1) for u in unique), np.nan], dtype=float)
    return code_of[codes]  # a missing value has code -1, which is the NaN at the end


def levels_of(values: pd.Series) -> tuple[str, ...]:
    """Sorted categories of a column."""
    return tuple(sorted({_word(u) for u in pd.unique(values.dropna().astype(object))}))


def _word(value: Any) -> str:
    # 3 and 3.0 are one category: a gap turns a column of whole numbers into floats
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def day_order(values: pd.Series, name: str) -> bool | None:
    """Whether the dates of a covariate are text with the day before the month; None where nothing tells.

    Raises
    ------
    DataError : values are no dates.
    """
    if pd.api.types.is_datetime64_any_dtype(values) or pd.api.types.is_numeric_dtype(values) or values.isna().all():
        return None
    return _parse(values.dropna().reset_index(drop=True), name, None, "covariate")[1]


def _days(values: pd.Series, name: str, day_first: bool | None) -> np.ndarray:
    given = values.notna().to_numpy()
    out = np.full(len(values), np.nan)
    if not given.any():
        return out
    if not pd.api.types.is_datetime64_any_dtype(values):
        if pd.api.types.is_numeric_dtype(values):
            raise DataError(f"covariate {name!r} held dates in training and holds numbers now. Fix: give dates.")
        values, _ = _parse(values[given].reset_index(drop=True), name, day_first, "covariate")
    else:
        values = values[given]
    naive = values.dt.tz_localize(None) if getattr(values.dt, "tz", None) is not None else values
    out[given] = ((naive - pd.Timestamp("1970-01-01")) / pd.Timedelta(days=1)).to_numpy(dtype=float)
    return out


def read_weight(data: pd.DataFrame, name: str | None) -> np.ndarray:
    """Row weights, 1 where no column is named.

    Raises
    ------
    DataError : negative or missing weights.
    """
    if name is None:
        return np.ones(len(data))
    require(data, name, "weight")
    weight = read_number(data[name], name, "weight")
    bad = ~(weight >= 0)
    if bad.any():
        raise DataError(
            f"weight column {name!r} has {bad.sum()} negative or missing values, first in row {bad.argmax()}. "
            "Fix: weights must be numbers >= 0."
        )
    return weight


@dataclass(frozen=True, slots=True)
class Statics:
    """Values that are constant in a series.

    Parameters
    ----------
    values : shape [n_series, k]. observed : shape [n_series, k] bool, whether any row of the series gave one.
    """

    values: np.ndarray
    observed: np.ndarray

    def take(self, series: np.ndarray) -> Statics:
        """Only some series, by mask or position."""
        return Statics(self.values[series], self.observed[series])


def read_statics(columns: Mapping[str, np.ndarray], series: np.ndarray, keys: Sequence[Key]) -> Statics:
    """Take the one value each series has in its rows, whichever rows give it.

    Parameters
    ----------
    columns : name -> shape [rows], NaN = missing. series : shape [rows], which.

    Raises
    ------
    DataError : a value changes inside a series; the message names both.
    """
    n = len(keys)
    values = np.zeros((n, len(columns)))
    seen = np.zeros((n, len(columns)), dtype=bool)
    for k, (name, column) in enumerate(columns.items()):
        given = np.isfinite(column)
        low, high = np.full(n, np.inf), np.full(n, -np.inf)
        np.minimum.at(low, series[given], column[given])
        np.maximum.at(high, series[given], column[given])
        changing = np.flatnonzero(high > low)
        if len(changing):
            raise DataError(
                f"static covariate {name!r} changes in {len(changing)} series, first: "
                f"{'/'.join(map(str, keys[changing[0]]))}. Fix: declare it as known or past."
            )
        seen[:, k] = np.isfinite(low)
        values[:, k] = np.where(seen[:, k], low, 0.0)
    return Statics(values, seen)
