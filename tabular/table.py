"""Table: columns as flat arrays that map from disk: numbers, dates, and texts as codes and what they stand for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from automl.trial import State

Stored = Literal["number", "date", "text"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Parameters
    ----------
    name : of the column. stored : number (float64, NaN = missing), date (float64 seconds since 1970, NaN = missing) or
        text (int32 codes, -1 = missing). words : what codes stand for, shape [distinct] of str; empty for the others.
    """

    name: str
    stored: Stored
    values: np.ndarray
    words: np.ndarray

    @property
    def missing(self) -> np.ndarray:
        """Which rows hold nothing. Shape [rows]."""
        return self.values < 0 if self.stored == "text" else np.isnan(self.values)

    def take(self, rows: np.ndarray) -> Self:
        """Some rows, in the order given."""
        return replace(self, values=self.values[rows])


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of one length, or one sparse matrix of nameless numbers.

    Parameters
    ----------
    columns : in order. n_rows : how many rows. matrix : scipy CSR, in place of columns.

    Examples
    --------
    >>> table = Table.of([numbers("size", [3.0, 1.0, 2.0]), texts("colour", ["red", None, "red"])])
    >>> table.names, table.take(np.array([2, 1])).columns[1].values.tolist()
    (('size', 'colour'), [0, -1])
    """

    columns: tuple[Column, ...]
    n_rows: int
    matrix: Any = None

    @classmethod
    def of(cls, columns: Sequence[Column]) -> Self:
        """Put columns together."""
        return cls(tuple(columns), len(columns[0].values) if columns else 0)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns; those of a matrix are x0, x1, ..."""
        if self.matrix is not None:
            return tuple(f"x{j}" for j in range(self.matrix.shape[1]))
        return tuple(c.name for c in self.columns)

    def take(self, rows: np.ndarray) -> Self:
        """Some rows, in the order given."""
        matrix = None if self.matrix is None else self.matrix[rows]
        return replace(self, columns=tuple(c.take(rows) for c in self.columns), n_rows=len(rows), matrix=matrix)


def numbers(name: str, values: Sequence[float] | np.ndarray, stored: Stored = "number") -> Column:
    """Make a column of numbers or dates."""
    return Column(name, stored, np.asarray(values, dtype=float), np.empty(0, dtype=object))


def texts(name: str, values: Sequence[str | None]) -> Column:
    """Make a column of text; the words are sorted, so that codes do not depend on the order of rows.

    Examples
    --------
    >>> texts("x", ["b", None, "a", "b"]).values.tolist()
    [1, -1, 0, 1]
    """
    import pandas as pd

    cells = np.empty(len(values), dtype=object)
    cells[:] = values
    codes, words = pd.factorize(cells)
    return coded(name, codes, words)


def coded(name: str, codes: np.ndarray, words: Sequence[str] | np.ndarray) -> Column:
    """Make a column of text from codes and what they stand for, in any order and with words that stand twice.

    Examples
    --------
    >>> column = coded("x", np.array([0, 1, -1, 2]), ["b", "a", "b"])
    >>> column.values.tolist(), column.words.tolist()
    ([1, 0, -1, 1], ['a', 'b'])
    """
    if not len(words):
        return Column(name, "text", np.full(len(codes), -1, dtype=np.int32), np.empty(0, dtype=object))
    cells = np.empty(len(words), dtype=object)
    cells[:] = words
    distinct, place = np.unique(cells, return_inverse=True)
    return Column(name, "text", np.where(codes < 0, -1, place[codes]).astype(np.int32), distinct)


# -- files ------------------------------------------------------------------------------------------------------------


def table_state(table: Table) -> State:
    """Return a table as (JSON, arrays); words as one buffer and the places where each ends."""
    blobs: dict[str, Any] = {}
    listed = []
    for k, column in enumerate(table.columns):
        blobs[f"values-{k}"] = column.values
        if column.stored == "text":
            blobs |= words_blobs(column.words, str(k))
        listed.append([column.name, column.stored])
    if table.matrix is not None:
        matrix = table.matrix.tocsr()
        blobs |= {"data": matrix.data, "indices": matrix.indices, "indptr": matrix.indptr}
    shape = None if table.matrix is None else list(table.matrix.shape)
    return {"columns": listed, "n_rows": table.n_rows, "shape": shape}, blobs


def table_from_state(state: State) -> Table:
    """Read what `table_state` gave."""
    settings, blobs = state
    columns = []
    for k, (name, stored) in enumerate(settings["columns"]):
        words = words_from_blobs(blobs, str(k)) if stored == "text" else np.empty(0, dtype=object)
        columns.append(Column(name, stored, blobs[f"values-{k}"], words))  # type: ignore[arg-type]
    matrix = None
    if settings["shape"] is not None:
        from scipy import sparse

        parts = (blobs["data"], blobs["indices"], blobs["indptr"])
        matrix = sparse.csr_matrix(parts, shape=tuple(settings["shape"]))
    return Table(tuple(columns), settings["n_rows"], matrix)


def words_blobs(words: np.ndarray, name: str) -> dict[str, np.ndarray]:
    """Words as bytes one behind the other and where each ends."""
    encoded = [w.encode("utf-8", "surrogatepass") for w in words]
    ends = np.cumsum([len(e) for e in encoded], dtype=np.int64) if encoded else np.empty(0, dtype=np.int64)
    return {f"words-{name}": np.frombuffer(b"".join(encoded), dtype=np.uint8), f"ends-{name}": ends}


def words_from_blobs(blobs: dict[str, Any], name: str) -> np.ndarray:
    """Read what `words_blobs` gave. Shape [words] of str."""
    buffer, ends = blobs[f"words-{name}"].tobytes(), blobs[f"ends-{name}"]
    starts = [0, *ends.tolist()][:-1]
    out = np.empty(len(ends), dtype=object)
    out[:] = [buffer[a:b].decode("utf-8", "surrogatepass") for a, b in zip(starts, ends.tolist(), strict=True)]
    return out
