"""What transformers share: raw columns in, named features out, state without code."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from automl.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from automl.trial import State
    from tabular.onnx.graph import Graph, Raw
    from tabular.table import Column, Table


@dataclass(frozen=True, slots=True)
class Goal:
    """What transformers that look at the target see of it, row by row.

    Parameters
    ----------
    y : numbers, or codes of classes. weight : shape [rows]. n_classes : 0 = numbers. seed : of everything random.
    """

    y: np.ndarray
    weight: np.ndarray
    n_classes: int
    seed: int = 0

    def take(self, rows: np.ndarray) -> Goal:
        """Some rows."""
        return Goal(self.y[rows], self.weight[rows], self.n_classes, self.seed)

    def columns(self) -> np.ndarray:
        """What a mean is taken of: the number, whether the second of two classes, or each of more. Shape [rows, k]."""
        if self.n_classes == 0:
            return self.y.astype(float)[:, None]
        if self.n_classes == 2:  # two classes: one says all
            return (self.y == 1).astype(float)[:, None]
        return (self.y[:, None] == np.arange(self.n_classes)).astype(float)


@dataclass(kw_only=True)
class Transformer(ABC):
    """One way to make features of some raw columns.

    Parameters
    ----------
    columns : positions of the raw columns in the table.
    """

    columns: tuple[int, ...]

    names: tuple[str, ...] = field(default=(), init=False)
    sources: tuple[tuple[int, ...], ...] = field(default=(), init=False)

    kind: ClassVar[str]
    """Name by which it can be blocked, and by which it is told in summaries."""

    supervised: ClassVar[bool] = False
    """Whether it looks at the target: then training rows get features made without their own part of the target."""

    @abstractmethod
    def fit(self, table: Table, goal: Goal) -> Self:
        """Learn from training rows; sets names and sources."""

    @abstractmethod
    def transform(self, table: Table) -> Any:
        """Features of rows: float32 array [rows, features], or scipy CSR of the same shape."""

    @abstractmethod
    def state(self) -> State:
        """As (JSON, arrays)."""

    @classmethod
    @abstractmethod
    def from_state(cls, settings: dict[str, Any], blobs: dict[str, Any]) -> Self:
        """Read what `state` gave."""

    def onnx(self, graph: Graph, raw: Raw) -> list[str]:  # noqa: ARG002 - the protocol's form
        """Add to an ONNX graph what `transform` does. Returns parts [rows, features] of float32, side by side.

        Raises
        ------
        ConfigError : it has no such form.
        """
        raise ConfigError(f"{self.kind} has no ONNX form. Fix: fit with onnx=True, or block {self.kind!r}.")

    def told(self) -> dict[str, Any]:
        """Return what the featurization summary says of it."""
        return {"transformer": self.kind, "features": len(self.names)}


def lookup(column: Column, known: Mapping[str, int]) -> np.ndarray:
    """Positions of a column's words among known ones: -1 = missing, -2 = unknown. Shape [rows] int64.

    Examples
    --------
    >>> from tabular.table import texts
    >>> lookup(texts("x", ["b", None, "z"]), {"a": 0, "b": 1}).tolist()
    [1, -1, -2]
    """
    places = np.array([known.get(w, -2) for w in column.words] or [-2], dtype=np.int64)
    return np.where(column.values < 0, -1, places[np.maximum(column.values, 0)])


def counts(column: Column) -> np.ndarray:
    """How many rows hold each word. Shape [words]."""
    return np.bincount(column.values[column.values >= 0], minlength=len(column.words))


def by_frequency(column: Column) -> np.ndarray:
    """Positions of the words that occur, most frequent first, equal ones in order of the alphabet."""
    often = counts(column)
    order = np.lexsort((np.arange(len(often)), -often))
    return order[often[order] > 0]


def dense(x: Any) -> np.ndarray:
    """Features as an array."""
    return np.asarray(x.toarray() if hasattr(x, "toarray") else x, dtype=np.float32)


def forget(known: dict[Any, Any], key: Any, _: Any) -> None:
    """Drop what is kept of an array that is gone (to be called by a weak reference to it)."""
    known.pop(key, None)
