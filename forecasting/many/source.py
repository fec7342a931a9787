"""Where the rows of many groups come from: a frame, a file or a folder of files, read batch by batch."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from automl.errors import DataError
from automl.parquet import BATCH, Parquet, hidden
from forecasting import frame as door

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_BYTES_A_ROW = 40
"""Of a CSV file, about; only the number of pieces depends on it."""

_CSV = (".csv", ".csv.gz")
_SUFFIXES = (".parquet", ".pq", *_CSV)
_MISSING = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "None", "n/a", "nan", "null",
)  # fmt: skip
"""What stands for a missing value in CSV files, as pandas has it."""


@dataclass(frozen=True, slots=True)
class Source:
    """Rows in a frame (pandas, polars, pyarrow), a CSV or Parquet file, or a folder of either (hive partitions too).

    Parameters
    ----------
    data : the frame or path. text : columns of CSV files kept as they are written, such as ids with leading zeros.
    whole : columns of CSV files whose whole numbers stay such.
    """

    data: Any
    text: tuple[str, ...] = ()
    whole: tuple[str, ...] = ()

    @property
    def path(self) -> Path | None:
        """Where it lies on disk, None for a frame."""
        return Path(self.data) if isinstance(self.data, str | Path) else None

    def names(self) -> list[str]:
        """Names of its columns.

        Raises
        ------
        DataError : there is no such file, or none that is CSV or Parquet.
        """
        if self.path is None:
            return [str(c) for c in door.to_pandas(self.data).columns]
        kind = self._kind()
        with _readable(self.path):
            if kind == "csv":
                return [str(c) for c in pd.read_csv(self._files()[0], nrows=0, encoding="utf-8-sig").columns]
            return list(Parquet(self.path).dataset().schema.names)

    def rows(self) -> int:
        """Number of rows; of CSV files a guess from their size."""
        if self.path is None:
            return len(self.data)
        if self._kind() == "csv":
            return max(1, sum(f.stat().st_size for f in self._files()) // _BYTES_A_ROW)
        with _readable(self.path):
            return int(Parquet(self.path).dataset().count_rows())

    def print(self) -> list[Any]:
        """What tells it from other sources: files with size and time of change, or the size and content of a frame."""
        if self.path is None:
            frame = door.to_pandas(self.data)
            content = int(pd.util.hash_pandas_object(frame, index=False).sum()) if len(frame) else 0
            return [len(frame), [str(c) for c in frame.columns], content]
        return [[str(f.resolve()), f.stat().st_size, f.stat().st_mtime_ns] for f in self._files()]

    def batches(self, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
        """Rows in turn, only these columns.

        Raises
        ------
        DataError : a column is missing, or a file cannot be read.
        """
        have = self.names()
        for name in columns:
            if name not in have:
                raise DataError(f"the data has no column {name!r}. Columns found: {', '.join(have)}.")
        if self.path is None:
            frame = door.to_pandas(self.data)[list(columns)]
            for first in range(0, len(frame), BATCH):
                yield _plain(frame.iloc[first : first + BATCH])
            return
        with _readable(self.path):
            if self._kind() == "csv":
                yield from self._csv(columns)
            else:
                if lacking := Parquet(self.path).lacking(columns):
                    raise DataError(_lacks(*lacking))
                for batch in Parquet(self.path).batches(columns):
                    if batch.num_rows:
                        yield _plain(batch.to_pandas())

    def _csv(self, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
        words = csv_words(columns, [name for name in self.text if name in columns])
        for file in self._files():
            have = pd.read_csv(file, nrows=0, encoding="utf-8-sig").columns
            if lacking := [name for name in columns if name not in have]:
                raise DataError(_lacks(file, lacking[0]))
            for chunk in pd.read_csv(file, usecols=list(columns), chunksize=BATCH, encoding="utf-8-sig", **words):
                # whole numbers of one chunk are fractions in the next
                whole = [c for c in chunk.select_dtypes("integer") if c not in {*self.text, *self.whole}]
                yield chunk.astype(dict.fromkeys(whole, float))[list(columns)]

    def _files(self) -> list[Path]:
        path = self.path
        if path is None or not path.exists():
            raise DataError(f"there is no file or folder {str(path)!r}.")
        if path.is_file():
            return [path]
        found = sorted(f for f in path.rglob("*") if f.name.lower().endswith(_SUFFIXES) and not hidden(f, path))
        if not found:
            raise DataError(f"{path} holds no file that ends in {', '.join(_SUFFIXES)}.")
        return found

    def _kind(self) -> str:
        kinds = {"csv" if f.name.lower().endswith(_CSV) else "parquet" for f in self._files()}
        if len(kinds) > 1:
            raise DataError(f"{self.path} holds CSV and Parquet files. Fix: a folder with one of both.")
        if not self._files()[0].name.lower().endswith(_SUFFIXES):
            raise DataError(f"{self.path} is neither CSV nor Parquet. Fix: a name that ends in {', '.join(_SUFFIXES)}.")
        return kinds.pop()


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Categories as what they stand for: batches need not have the same."""
    types: dict[str, Any] = {}
    for name in frame.select_dtypes("category"):
        kind = frame[name].cat.categories.dtype
        gap = frame[name].isna().any() and isinstance(kind, np.dtype)
        types[str(name)] = float if gap and kind.kind in "iu" else object if gap and kind.kind == "b" else kind
    return frame.astype(types)


def _lacks(file: Path, column: str) -> str:
    return f"{file} has no column {column!r}, which other files have. Fix: add it there, empty where it is not known."


def csv_words(columns: Sequence[str], text: Sequence[str]) -> dict[str, Any]:
    """Options of pandas.read_csv that keep some columns as they are written: an id may be NA, only "" is missing.

    Parameters
    ----------
    columns : all that are read. text : those of them to be kept.
    """
    missing = {name: [""] if name in text else list(_MISSING) for name in columns}
    return {"dtype": dict.fromkeys(text, str), "keep_default_na": False, "na_values": missing}


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn what readers raise on broken files into an error that names them."""
    from pandas.errors import EmptyDataError, ParserError
    from pyarrow import ArrowException

    try:
        yield
    except (ParserError, EmptyDataError, UnicodeDecodeError, ArrowException) as error:
        raise DataError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
