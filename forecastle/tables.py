"""Tables in and out of files: CSV and Parquet, told apart by the suffix."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from automl.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pandas import DataFrame

_CSV = (".csv", ".csv.gz")
_PARQUET = (".parquet", ".pq")


def table_kind(path: str | Path) -> str:
    """Return "csv" or "parquet".

    Raises
    ------
    DataError : the suffix is another one.

    Examples
    --------
    >>> table_kind("sales.CSV"), table_kind("sales.parquet")
    ('csv', 'parquet')
    """
    name = Path(path).name.lower()
    if name.endswith(_CSV):
        return "csv"
    if name.endswith(_PARQUET):
        return "parquet"
    raise DataError(f"{str(path)!r} is neither CSV nor Parquet. Fix: a name that ends in .csv, .csv.gz or .parquet.")


def column_names(path: str | Path) -> list[str]:
    """Names of a table's columns, without reading its rows.

    Raises
    ------
    DataError, OSError : as `read_table`.
    """
    if table_kind(path) == "csv":
        return [str(name) for name in _read(path, nrows=0).columns]
    from pyarrow.parquet import ParquetFile

    with _readable(path), ParquetFile(path) as file:
        return list(file.schema_arrow.names)


def read_table(path: str | Path, *, text: Sequence[str] = ()) -> DataFrame:
    """Read a table.

    Parameters
    ----------
    path : .csv, .csv.gz (UTF-8, comma) or .parquet file.
    text : CSV columns kept as they are written, such as ids with leading zeros.

    Raises
    ------
    DataError : the content is no such table, or it has no row.
    OSError : the file cannot be read.
    """
    if table_kind(path) == "csv" and text:
        from forecasting.many.source import csv_words

        frame = _read(path, **csv_words(column_names(path), text))
    else:
        frame = _read(path)
    if frame.empty:
        raise DataError(f"{path} holds no row.")
    return frame


def _read(path: str | Path, **csv_options: Any) -> DataFrame:
    import pandas as pd

    with _readable(path):
        if table_kind(path) == "csv":
            return cast("DataFrame", pd.read_csv(path, encoding="utf-8-sig", **csv_options))
        return pd.read_parquet(path)


@contextmanager
def _readable(path: str | Path) -> Iterator[None]:
    """Turn what the readers raise on broken content into an error that names the file."""
    from pandas.errors import EmptyDataError, ParserError
    from pyarrow import ArrowException

    try:
        yield
    except (ParserError, EmptyDataError, UnicodeDecodeError, ArrowException) as error:
        kind = table_kind(path).upper()
        raise DataError(f"{path} cannot be read as {kind}: {' '.join(str(error).split())}") from error


def write_table(frame: DataFrame, path: str | Path) -> Path:
    """Write a table without its index; folders above the file are made.

    Raises
    ------
    DataError : the suffix is neither CSV nor Parquet. OSError : the file cannot be written.
    """
    path = Path(path)
    kind = table_kind(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path, index=False)
    return path
