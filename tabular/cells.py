"""Columns as they come become columns of a table: what they look like, and read again as training did."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from automl.errors import DataError
from automl.guardrails import Guardrail
from tabular.table import Column, coded, numbers

if TYPE_CHECKING:
    import pandas as pd

    from tabular.table import Stored

_DATE = re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}([T ]\d.*)?|(\d{1,2})[-/.](\d{1,2})[-/.]\d{4}([T ]\d.*)?")
_LOOK = 200
"""Values that are looked at before a column of text is tried as dates or numbers."""

_GAPS = frozenset({"", "?", "-", "na", "n/a", "nan", "null", "none"})
"""Words that stand for a missing number, in small letters."""

_CODE = re.compile(r"[+-]?0\d.*|.*inf.*|.*_.*", re.IGNORECASE)
"""Words that some would read as a number and that are none: codes with zeros in front, infinity, digits in groups."""

_FEW_NUMBERS, _MOST_NUMBERS = 20, 0.95
"""Whole numbers written as text are categories up to so many, and ids from this share of the rows on."""


# -- training ---------------------------------------------------------------------------------------------------------


def column_of(series: pd.Series, kind: str | None, notes: list[Guardrail], dayfirst: list[str]) -> Column:
    """One column as what it looks like, or as what the user says."""
    import pandas as pd

    name, dtype = str(series.name), series.dtype
    if kind == "ignore":
        return unread(name, "number", len(series))
    if pd.api.types.is_datetime64_any_dtype(dtype):
        if kind in _AS_TEXT:
            raise DataError(
                f"column {name!r} holds dates and is meant as {kind}. Fix: make text of it, say by .astype(str)."
            )
        return numbers(name, _seconds(series), "date")
    if kind in _AS_TEXT:
        return _words(series)
    if isinstance(dtype, pd.CategoricalDtype):
        return _words(series) if kind != "numeric" else numbers(name, floats(series.astype(object)))
    if pd.api.types.is_timedelta64_dtype(dtype):
        return numbers(name, series.dt.total_seconds().to_numpy())
    if pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_bool_dtype(dtype):
        if kind == "datetime":
            raise DataError(
                f"column {name!r} holds numbers and is meant as dates. Fix: convert it, say by pandas.to_datetime."
            )
        return numbers(name, floats(series))
    return _of_objects(series, kind, notes, dayfirst)


_AS_TEXT = frozenset({"categorical", "categorical_hash", "text"})


def unread(name: str, stored: Stored, rows: int) -> Column:
    """Column that is not used, so that nothing in it can be wrong: every row is missing."""
    return coded(name, np.full(rows, -1), []) if stored == "text" else numbers(name, np.full(rows, np.nan), stored)


def _of_objects(series: pd.Series, kind: str | None, notes: list[Guardrail], dayfirst: list[str]) -> Column:
    """Make a column of Python objects: text, or dates and numbers in disguise."""
    import pandas as pd

    name, values = str(series.name), series.to_numpy(dtype=object)
    given = ~np.asarray(pd.isna(values))
    types = set(map(type, values[given]))
    if types and all(issubclass(t, dt.date | np.datetime64) for t in types):  # also datetime and Timestamp
        return numbers(name, _seconds(pd.to_datetime(pd.Series(values), utc=True)), "date")
    if any(issubclass(t, list | tuple | dict | set | np.ndarray) for t in types):
        row = next(k for k, v in enumerate(values) if isinstance(v, list | tuple | dict | set | np.ndarray))
        raise DataError(
            f"column {name!r}, row {row}: {values[row]!r} is no value of a cell; argument must be a string or a number."
        )
    if kind == "numeric" or (types and not any(issubclass(t, str) for t in types)):
        return numbers(name, floats(series))
    codes, words = pd.factorize(values)
    if kind is None and (read := _disguised(words, given.sum())) is not None:
        notes.append(Guardrail("Numbers as text", "done", f"column {name!r} holds numbers as text: read as numbers"))
        return numbers(name, np.append(read, np.nan)[codes])
    if len(types) > 1:
        notes.append(
            Guardrail("Mixed types", "alerted", f"column {name!r} holds text and numbers: all is read as text")
        )
    told = [v for v in words[:_LOOK] if not _blank(v)]
    if kind == "datetime" or (told and all(isinstance(v, str) and _DATE.fullmatch(v.strip()) for v in told)):
        first = _day_first(words)
        read_dates = _dates(words, dayfirst=first)
        odd = [k for k in np.flatnonzero(np.isnan(read_dates)) if not _blank(words[k])]
        if not odd:
            if first:
                dayfirst.append(name)
            return numbers(name, np.append(read_dates, np.nan)[codes], "date")
        if kind == "datetime":
            row = int(np.isin(codes, odd).argmax())
            raise DataError(f"column {name!r}, row {row}: {values[row]!r} is no date.")
    return _words(series)


def _blank(value: Any) -> bool:
    """Whether a value is text of no letters, which stands for a missing one among dates."""
    return isinstance(value, str) and not value.strip()


def _disguised(words: np.ndarray, rows: int) -> np.ndarray | None:
    """Numbers that distinct values stand for where all are numbers written as text, gaps aside; else None."""
    read = np.full(len(words), np.nan)
    whole = True
    for k, word in enumerate(words):
        text = word.strip() if isinstance(word, str) else str(word)
        if text.lower() in _GAPS:
            continue
        try:
            read[k] = float(text)
        except ValueError:
            return None
        if _CODE.fullmatch(text) or isinstance(word, bool):
            return None
        whole = whole and text.lstrip("+-").isdigit()
    distinct = len(words) - int(np.isnan(read).sum())
    few = whole and (distinct <= _FEW_NUMBERS or distinct > _MOST_NUMBERS * rows)
    return None if few or not distinct else read


def _day_first(words: np.ndarray) -> bool:
    """Whether dates as text can only be meant with the day before the month."""
    pairs = [
        m.group(2, 3) for m in (_DATE.fullmatch(w.strip()) for w in words if isinstance(w, str)) if m and m.group(2)
    ]
    return any(int(a) > 12 for a, _ in pairs) and not any(int(b) > 12 for _, b in pairs)


def _dates(words: np.ndarray, *, dayfirst: bool) -> np.ndarray:
    """Seconds since 1970 of distinct dates as text, NaN = none."""
    import pandas as pd

    read = pd.to_datetime(pd.Series(words, dtype=object), errors="coerce", format="mixed", utc=True, dayfirst=dayfirst)
    return _seconds(read)


def floats(series: pd.Series) -> np.ndarray:
    """Numbers of a column, NaN = missing; words that are no number, and infinities, are errors."""
    import pandas as pd

    try:
        values = series.to_numpy(dtype=float, na_value=np.nan)
    except (TypeError, ValueError):
        raw = series.to_numpy(dtype=object)
        read = pd.to_numeric(pd.Series(raw), errors="coerce").to_numpy(dtype=float)
        bad = np.isnan(read) & ~np.asarray(pd.isna(raw))
        bad[bad] = [not (isinstance(v, str) and v.strip().lower() in _GAPS) for v in raw[bad]]
        if bad.any():
            row = int(bad.argmax())
            raise DataError(
                f"column {series.name!r}, row {row}: {raw[row]!r} is no number; argument must be a string or a number."
            ) from None
        values = read
    infinite = np.isinf(values)
    if infinite.any():
        raise DataError(
            f"column {series.name!r}, row {int(infinite.argmax())}: Input X contains infinity. Fix: remove it or leave "
            "the value empty."
        )
    return values


def _seconds(series: pd.Series) -> np.ndarray:
    """Seconds since 1970, NaN = missing; times of a zone as UTC."""
    import pandas as pd

    if str(series.dtype).startswith(("date32", "date64")):  # no zone can be asked for
        series = pd.to_datetime(series.astype(object), utc=True)
    stamps = series.dt.tz_convert("UTC").dt.tz_localize(None) if series.dt.tz is not None else series
    micro = stamps.astype("datetime64[us]").to_numpy().astype(np.int64)
    return np.where(np.asarray(pd.isna(series)), np.nan, micro / 1e6)


def _words(series: pd.Series) -> Column:
    """Values as text; 3.0 and 3 are the same, so that integers with gaps keep their names."""
    import pandas as pd

    name, values = str(series.name), series
    if isinstance(series.dtype, pd.CategoricalDtype):
        return _empty_gone(coded(name, series.cat.codes.to_numpy(), [_word(w) for w in series.cat.categories]))
    if series.dtype == object:
        raw = series.to_numpy(dtype=object)
        gone = np.asarray(pd.isna(raw))
        if any(t is not str for t in set(map(type, raw[~gone]))):  # 1 and True are equal and not the same word
            values = pd.Series([None if miss else _word(v) for v, miss in zip(raw, gone, strict=True)], dtype=object)
    codes, words = pd.factorize(values)
    return _empty_gone(coded(name, codes, [_word(w) for w in words]))


def _empty_gone(column: Column) -> Column:
    """Column in which the empty text is missing, as it is in files."""
    if not len(column.words) or column.words[0] != "":
        return column
    return replace(
        column, values=np.where(column.values > 0, column.values - 1, -1).astype(np.int32), words=column.words[1:]
    )


def _word(value: Any) -> str:
    if isinstance(value, str):
        return str(value)
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


# -- new rows ---------------------------------------------------------------------------------------------------------


def as_before(series: pd.Series, stored: Stored, *, dayfirst: bool) -> Column:
    """Read a column as training did."""
    import pandas as pd

    name, dated = str(series.name), pd.api.types.is_datetime64_any_dtype(series.dtype)
    if stored == "date":
        return numbers(name, _seconds(series) if dated else _dates_as_before(series, dayfirst=dayfirst), "date")
    if dated:
        raise DataError(f"column {name!r} holds dates, and {'text' if stored == 'text' else 'numbers'} in training.")
    if stored == "text":
        return _words(series)
    if pd.api.types.is_timedelta64_dtype(series.dtype):
        return numbers(name, series.dt.total_seconds().to_numpy())
    return numbers(name, floats(series.astype(object) if isinstance(series.dtype, pd.CategoricalDtype) else series))


def _dates_as_before(series: pd.Series, *, dayfirst: bool) -> np.ndarray:
    """Dates that come as text or Python objects."""
    import pandas as pd

    values = series.to_numpy(dtype=object)
    codes, words = pd.factorize(values)
    read = _dates(words, dayfirst=dayfirst)
    odd = [
        isinstance(w, int | float | np.number) or (np.isnan(t) and not _blank(w))
        for w, t in zip(words, read, strict=True)
    ]
    bad = np.isin(codes, np.flatnonzero(odd))
    if bad.any():
        row = int(bad.argmax())
        raise DataError(f"column {series.name!r}, row {row}: {values[row]!r} is no date, as training had.")
    return np.append(read, np.nan)[codes]
