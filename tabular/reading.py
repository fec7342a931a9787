"""The door: pandas, polars, pyarrow, numpy and sparse input become a Table; what is wrong with it is said here."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sized
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from automl.errors import DataError
from automl.guardrails import Guardrail
from tabular.cells import as_before, column_of, floats, unread
from tabular.table import Table

if TYPE_CHECKING:
    import pandas as pd

    from tabular.config import DataSettings
    from tabular.table import Stored


@dataclass(frozen=True, slots=True)
class Schema:
    """What training saw.

    Parameters
    ----------
    names, stored : of the columns. matrix : columns of a sparse matrix, 0 = there was none.
    named : whether the columns had names of their own; without them only their number counts.
    dayfirst : columns of dates as text in which the day stands before the month.
    target : column of the labels, where they came as one; new rows may have it too.
    unused : columns that training left aside; what new rows hold there does not matter.
    """

    names: tuple[str, ...]
    stored: tuple[Stored, ...]
    matrix: int = 0
    named: bool = True
    dayfirst: tuple[str, ...] = ()
    target: str | None = None
    unused: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        own = {"names": list(self.names), "stored": list(self.stored), "matrix": self.matrix, "named": self.named}
        return {**own, "dayfirst": list(self.dayfirst), "target": self.target, "unused": list(self.unused)}

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Self:
        """Read what `to_json` gave."""
        own = tuple(raw["names"]), tuple(raw["stored"]), raw["matrix"], raw["named"], tuple(raw.get("dayfirst", ()))
        return cls(*own, raw.get("target"), tuple(raw.get("unused", ())))


@dataclass(frozen=True, slots=True)
class Prepared:
    """Training data as read.

    Parameters
    ----------
    table : features. y : numbers, shape [rows], or codes of `classes`. weight : shape [rows], mean 1.
    classes : sorted labels as they came, None for numbers. schema : of the features. notes : guardrails.
    folds : user's columns, shape [rows, folds] of 1 (training) and 0, or None.
    """

    table: Table
    y: np.ndarray
    weight: np.ndarray
    classes: np.ndarray | None
    schema: Schema
    notes: tuple[Guardrail, ...]
    folds: np.ndarray | None = None


def to_frame(data: Any, what: str = "X") -> tuple[pd.DataFrame, bool]:
    """Any dense table as a pandas frame, and whether its columns have names.

    Raises
    ------
    DataError : no table of two dimensions, or a column name twice.
    """
    import pandas as pd

    if isinstance(data, str | Path):
        return _file(Path(data)), True
    if hasattr(data, "collect") and not hasattr(data, "to_pandas"):  # lazy polars
        data = data.collect()
    if isinstance(data, pd.DataFrame):
        frame, named = data, True
    elif hasattr(data, "to_pandas"):
        frame, named = data.to_pandas(), True
    elif isinstance(data, dict):
        frame, named = pd.DataFrame(data), True
    else:
        array = np.asarray(data)
        if array.dtype.kind == "c":
            raise DataError(f"Complex data not supported: {what} holds complex numbers. Fix: give real ones.")
        if array.ndim != 2:
            raise DataError(
                f"{what} has shape {array.shape}, expected rows and columns. Reshape your data, say by "
                f"{what}.reshape(-1, 1)."
            )
        frame, named = pd.DataFrame(array).infer_objects(), False
        frame.columns = pd.Index([f"x{j}" for j in range(frame.shape[1])])
    columns = [str(c) for c in frame.columns]
    twice = sorted(c for c, often in Counter(columns).items() if often > 1)
    if twice:
        raise DataError(f"{what} has two columns named {twice[0]!r}. Fix: rename one of them.")
    return frame.set_axis(columns, axis=1), named


def _file(path: Path) -> pd.DataFrame:
    import pandas as pd

    if not path.exists():
        raise DataError(f"there is no file {str(path)!r}.")
    try:
        if path.is_dir() or path.suffix.lower() in {".parquet", ".pq"}:
            return pd.read_parquet(path)
        return pd.read_csv(path, encoding="utf-8-sig")
    except Exception as error:
        raise DataError(f"{path} cannot be read: {' '.join(str(error).split())}") from error


def is_sparse(data: Any) -> bool:
    """Whether the data is a scipy sparse matrix."""
    return hasattr(data, "tocsr") and hasattr(data, "nnz")


# -- training ---------------------------------------------------------------------------------------------------------


def read_training(data: Any, target: Any, settings: DataSettings, *, classes: bool, weight: Any = None) -> Prepared:
    """Read what is to be learned from.

    Parameters
    ----------
    data : features. target : labels, shape [rows], or a column of `data`. classes : whether labels are classes.
    weight : shape [rows] or None; a column named in the settings does as well.

    Raises
    ------
    DataError : the data cannot be used; the message names the column and the row.
    """
    if is_sparse(data):
        table, frame, named = _sparse(data), None, False
    else:
        frame, named = to_frame(data)
        table = None
    name = target if isinstance(target, str) else None
    if isinstance(target, str):
        if frame is None or target not in frame:
            have = "a sparse matrix has none" if frame is None else ", ".join(frame.columns[:20])
            raise DataError(f"the label column {target!r} is not there. Columns: {have}.")
        target, frame = frame[target], frame.drop(columns=target)
    elif frame is not None:
        _no_copy(frame, target)
    n = len(frame) if frame is not None else table.n_rows  # type: ignore[union-attr]
    if n == 1:
        raise DataError(
            "the data has one row (n_samples=1), and at least two are needed, one to learn from, one to score."
        )
    if n == 0:
        raise DataError("the data has no rows: 0 sample(s) (shape=(0, ...)) while a minimum of 1 is required.")
    folds = None
    if frame is not None:
        frame, weight, folds = _set_aside(frame, settings, weight)
        if frame.shape[1] == 0:
            raise DataError(f"the data has no columns: 0 feature(s) (shape=({n}, 0)) while a minimum of 1 is required.")
    labels, known, notes = _labels(target, n)
    weights = _weights(weight, n)
    if not known.all():
        frame = None if frame is None else frame[known]
        table = None if table is None else table.take(np.flatnonzero(known))
        labels, weights = labels[known], weights[known]
        folds = None if folds is None else folds[known]
    found: list[Guardrail] = []
    dayfirst: list[str] = []
    if table is None:
        assert frame is not None  # noqa: S101 - one of both
        table = Table.of([column_of(frame[name], settings.kinds.get(name), found, dayfirst) for name in frame.columns])
    schema = Schema(
        () if table.matrix is not None else table.names,
        tuple(c.stored for c in table.columns),
        0 if table.matrix is None else table.matrix.shape[1],
        named,
        tuple(dayfirst),
        name,
    )
    y, names = _classes(labels) if classes else (_numeric(labels), None)
    if not (weights > 0).any():
        raise DataError("all weights are zero. Fix: give at least one row a positive weight.")
    if names is not None and len(np.unique(y[weights > 0])) < 2:
        raise DataError("all rows of positive weight are of one class. Fix: weigh rows of at least two classes.")
    return Prepared(table, y, weights / weights.mean(), names, schema, (*notes, *found), folds)


def _no_copy(frame: pd.DataFrame, target: Any) -> None:
    """Raise where the labels stand among the features as well."""
    name = getattr(target, "name", None)
    if not isinstance(name, str) or name not in frame or len(target) != len(frame):
        return
    labels = target.to_pandas() if hasattr(target, "to_pandas") else target
    if frame[name].reset_index(drop=True).equals(labels.reset_index(drop=True)):
        raise DataError(
            f"the label {name!r} is a column of the features too. Fix: leave it out, or give y={name!r} alone."
        )


def _set_aside(frame: pd.DataFrame, settings: DataSettings, weight: Any) -> tuple[pd.DataFrame, Any, np.ndarray | None]:
    """Take away columns that are no features: weights, folds, dropped ones."""
    named = [*settings.drop, *settings.folds, *([settings.weight] if settings.weight else []), *settings.kinds]
    for name in named:
        if name not in frame:
            raise DataError(
                f"the settings name a column {name!r} that is not there. Columns: {', '.join(frame.columns[:20])}."
            )
    if settings.weight:
        if weight is not None:
            raise DataError(f"weights are given twice: as an argument and as column {settings.weight!r}.")
        weight = frame[settings.weight].to_numpy()
    folds = None
    if settings.folds:
        folds = np.stack([floats(frame[name]) for name in settings.folds], axis=1)
        for k, name in enumerate(settings.folds):
            odd = ~np.isin(folds[:, k], (0.0, 1.0))
            if odd.any():
                raise DataError(
                    f"fold column {name!r} holds {folds[odd][0, k]:g} in row {int(odd.argmax())}; 1 and 0 are meant."
                )
            if len(np.unique(folds[:, k])) < 2:
                raise DataError(f"fold column {name!r} holds one value only, so training or validation is empty.")
    gone = [*settings.drop, *settings.folds, *([settings.weight] if settings.weight else [])]
    return frame.drop(columns=gone), weight, folds


def label_array(target: Any) -> np.ndarray:
    """Labels as an array; in a list, text beside gaps or numbers stays text and the others stay what they are.

    Examples
    --------
    >>> label_array(["a", float("nan"), 1]).tolist()
    ['a', nan, 1]
    """
    import pandas as pd

    listed = isinstance(target, list | tuple)
    if (
        not listed
        or all(isinstance(v, str) for v in target)
        or any(isinstance(v, Sized) for v in target if not isinstance(v, str | bytes))
    ):
        return np.asarray(target)
    return np.asarray(pd.Series(target, dtype=object).infer_objects())


def _labels(target: Any, n: int) -> tuple[np.ndarray, np.ndarray, list[Guardrail]]:
    """Labels as they came, and which are there."""
    import pandas as pd

    if target is None:
        raise DataError("requires y to be passed, but the target y is None.")
    if hasattr(target, "to_pandas"):
        target = target.to_pandas()
    labels = target.to_numpy() if isinstance(target, pd.Series | pd.DataFrame) else label_array(target)
    if labels.ndim == 2 and labels.shape[1] == 1:
        from sklearn.exceptions import DataConversionWarning

        warnings.warn("A column-vector y was passed when a 1d array was expected.", DataConversionWarning, stacklevel=4)
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise DataError(f"y should be a 1d array, got an array of shape {labels.shape} instead.")
    if len(labels) != n:
        raise DataError(f"inconsistent numbers of samples: X has {n} rows and y has {len(labels)}.")
    if labels.dtype.kind == "c":
        raise DataError("Complex data not supported: y holds complex numbers.")
    known = ~np.asarray(pd.isna(labels))
    if not known.any():
        raise DataError(f"the label is missing in all {n} rows.")
    if known.all():
        return labels, known, []
    text = f"{int((~known).sum())} of {n} rows have no label and are left out, first row {int((~known).argmax())}"
    return labels, known, [Guardrail("Missing labels", "done", text)]


def _weights(weight: Any, n: int) -> np.ndarray:
    if weight is None:
        return np.ones(n)
    try:
        weights = np.asarray(weight, dtype=float)
    except (TypeError, ValueError) as error:
        raise DataError(f"weights are numbers >= 0: {error}.") from error
    if weights.ndim == 0:
        weights = np.full(n, float(weights))
    if weights.shape != (n,):
        raise DataError(f"weights have shape {weights.shape}, expected one for each of {n} rows.")
    bad = ~(np.isfinite(weights) & (weights >= 0))
    if bad.any():
        raise DataError(f"weight {weights[bad][0]:g} in row {int(bad.argmax())}: weights are numbers >= 0.")
    return weights


def _classes(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Codes, and the labels they stand for."""
    if labels.dtype.kind == "f" and (labels != np.floor(labels)).any():
        odd = labels[labels != np.floor(labels)][0]
        raise DataError(f"Unknown label type: continuous. The label {odd!r} is no class. Fix: use AutoRegressor.")
    try:
        classes, y = np.unique(labels, return_inverse=True)
    except TypeError as error:
        kinds = sorted({type(v).__name__ for v in labels})
        raise DataError(f"labels of types {', '.join(kinds)} cannot be told apart. Fix: one type.") from error
    _storable(classes)
    if len(classes) < 2:
        raise DataError(
            f"the data has one class only, {str(classes[0])!r}: Classifier can't train when only one class is present."
        )
    return y.astype(np.int32), classes


def _storable(classes: np.ndarray) -> None:
    """Raise where labels are neither text, numbers nor truth values: a model is kept without code of theirs."""
    if classes.dtype.kind in "biufU":
        return
    odd = next((v for v in classes if not isinstance(v, str | int | float | np.integer | np.floating | np.bool_)), None)
    if odd is not None:
        raise DataError(
            f"the label {odd!r} is of type {type(odd).__name__}, and labels must be text, numbers or truth values to "
            "be kept with the model. Fix: y.astype(str)."
        )


def _numeric(labels: np.ndarray) -> np.ndarray:
    if labels.dtype.kind in "mM":
        raise DataError(f"the target is no number: {labels[0]} is a time. Fix: take seconds or days since a day.")
    try:
        y = labels.astype(float)
    except (TypeError, ValueError) as error:
        raise DataError(f"the target is no number: {error}. Fix: use AutoClassifier for classes.") from error
    if not np.isfinite(y).all():
        raise DataError(f"the target is infinite in row {int((~np.isfinite(y)).argmax())}: Input y contains infinity.")
    return y


def _sparse(matrix: Any) -> Table:
    from scipy import sparse

    if matrix.dtype.kind == "c":
        raise DataError("Complex data not supported: X holds complex numbers. Fix: give real ones.")
    csr = sparse.csr_matrix(matrix, dtype=np.float32)
    if not csr.has_canonical_format:
        csr = csr.copy()
        csr.sum_duplicates()
    if not np.isfinite(csr.data).all():
        raise DataError("X contains infinity or NaN, which a sparse matrix must not. Fix: remove them.")
    if 0 in csr.shape:
        n, k = csr.shape
        raise DataError(
            f"the matrix is empty: {n} sample(s), {k} feature(s) (shape=({n}, {k})) while a minimum of 1 is required."
        )
    return Table((), csr.shape[0], csr)


# -- new rows ---------------------------------------------------------------------------------------------------------


def read_new(data: Any, schema: Schema) -> Table:
    """Read rows to predict: the columns of training by name, in any order; others are left aside with a warning.

    Raises
    ------
    DataError : a column is missing, or holds what training did not.
    """
    if is_sparse(data):
        if not schema.matrix:
            raise DataError("a sparse matrix is given, and training saw columns. Fix: give a table.")
        table = _sparse(data)
        if table.matrix.shape[1] != schema.matrix:
            raise DataError(
                f"X has {table.matrix.shape[1]} features, but it is expecting {schema.matrix} features as input."
            )
        return table
    frame, named = to_frame(data)
    if schema.matrix:
        if frame.shape[1] != schema.matrix:
            raise DataError(f"X has {frame.shape[1]} features, but it is expecting {schema.matrix} features as input.")
        return _sparse(frame.to_numpy(dtype=float))
    if not named or not schema.named:
        if frame.shape[1] != len(schema.names):
            raise DataError(
                f"X has {frame.shape[1]} features, but it is expecting {len(schema.names)} features as input."
            )
        frame = frame.set_axis(list(schema.names), axis=1)
    gone = [c for c in schema.names if c not in frame]
    if gone:
        raise DataError(f"{len(gone)} columns of training are missing, first {gone[0]!r}.")
    extra = [str(c) for c in frame if c not in schema.names and c != schema.target]
    if extra:
        warnings.warn(
            f"{len(extra)} columns that training did not have are not used: {', '.join(extra[:5])}", stacklevel=3
        )
    if len(frame) == 0:
        raise DataError("there are no rows: 0 sample(s) (shape=(0, ...)) while a minimum of 1 is required.")
    unused = set(schema.unused)
    return Table.of(
        [
            unread(c, s, len(frame)) if c in unused else as_before(frame[c], s, dayfirst=c in schema.dayfirst)
            for c, s in zip(schema.names, schema.stored, strict=True)
        ]
    )
