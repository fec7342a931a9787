"""Features of categories: one column each, hashed columns, codes for trees, means of the target."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self
from zlib import crc32

import numpy as np

from tabular.featurize.base import Goal, Transformer, by_frequency, counts, lookup
from tabular.table import words_blobs, words_from_blobs

if TYPE_CHECKING:
    from automl.trial import State
    from tabular.onnx.graph import Graph, Raw
    from tabular.table import Table

RARE, MISSING = "_rare_", "_missing_"


@dataclass(kw_only=True)
class OneHot(Transformer):
    """A column of zeros and ones for each frequent category, one for rare ones, one for none (where training had it).

    Parameters
    ----------
    most : categories with a column of their own. Categories of one row are rare where there are more than ten.
    """

    most: int = 100
    _known: tuple[tuple[str, ...], ...] = field(default=(), init=False, repr=False)
    _own: tuple[int, ...] = field(default=(), init=False, repr=False)  # how many of them are words, not marks

    kind: ClassVar[str] = "OneHotEncoder"
    _FEW: ClassVar[int] = 10

    def fit(self, table: Table, goal: Goal) -> Self:  # noqa: ARG002 - the protocol's form
        """Learn the categories."""
        known, size = [], []
        for i in self.columns:
            column = table.columns[i]
            often, order = counts(column), by_frequency(column)
            kept = [j for j in order[: self.most] if often[j] > 1 or len(order) <= self._FEW]
            own = [str(column.words[j]) for j in kept]
            size.append(len(own))
            own += [RARE] if len(kept) < len(order) else []
            own += [MISSING] if column.missing.any() else []
            known.append(tuple(own))
        self._known, self._own = tuple(known), tuple(size)
        self._name([table.columns[i].name for i in self.columns])
        return self

    def _name(self, raw: list[str]) -> None:
        self.names = tuple(f"{name}_OneHot_{w}" for name, words in zip(raw, self._known, strict=True) for w in words)
        self.sources = tuple((i,) for i, words in zip(self.columns, self._known, strict=True) for _ in words)

    def transform(self, table: Table) -> Any:
        """Zeros and ones as CSR."""
        from scipy import sparse

        rows, places, first = [], [], 0
        for i, words, own in zip(self.columns, self._known, self._own, strict=True):
            at = lookup(table.columns[i], {w: k for k, w in enumerate(words[:own])})
            mark = {w: k for k, w in enumerate(words[own:], own)}
            at = np.where(at == -1, mark.get(MISSING, -1), np.where(at == -2, mark.get(RARE, -1), at))
            there = np.flatnonzero(at >= 0)
            rows.append(there)
            places.append(at[there] + first)
            first += len(words)
        row, place = np.concatenate(rows), np.concatenate(places)
        ones = np.ones(len(row), dtype=np.float32)
        return sparse.csr_matrix((ones, (row, place)), shape=(table.n_rows, len(self.names)))

    def onnx(self, graph: Graph, raw: Raw) -> list[str]:
        """Zeros and ones."""
        made = []
        for i, words, own in zip(self.columns, self._known, self._own, strict=True):
            mark = {w: k for k, w in enumerate(words[own:], own)}
            known = {w: k for k, w in enumerate(words[:own])} | {"": mark.get(MISSING, -1)}
            if words:
                made.append(graph.among(graph.place(raw.words(i), known, mark.get(RARE, -1)), len(words)))
        return made

    def state(self) -> State:
        """As (JSON, arrays)."""
        own = {"columns": list(self.columns), "most": self.most, "known": [list(w) for w in self._known]}
        return {**own, "own": list(self._own), "names": list(self.names)}, {}

    @classmethod
    def from_state(cls, settings: dict[str, Any], blobs: dict[str, Any]) -> Self:  # noqa: ARG003 - the protocol's form
        """Read what `state` gave."""
        self = cls(columns=tuple(settings["columns"]), most=settings["most"])
        self._known, self._own = tuple(tuple(w) for w in settings["known"]), tuple(settings["own"])
        self.names = tuple(settings["names"])
        self.sources = tuple((i,) for i, words in zip(self.columns, self._known, strict=True) for _ in words)
        return self


@dataclass(kw_only=True)
class Hashed(Transformer):
    """Categories by a hash (CRC-32) among 2 ** bits columns; any number of categories takes the same room.

    Parameters
    ----------
    bits : of the hash, one a column. closed : whether categories that training did not hold have no column, as in ONNX,
        where nothing can be hashed; those of training are then kept as a list.
    """

    bits: int = 8
    closed: bool = False
    _known: tuple[np.ndarray, ...] = field(default=(), init=False, repr=False)

    kind: ClassVar[str] = "HashOneHotEncoder"

    def fit(self, table: Table, goal: Goal) -> Self:  # noqa: ARG002 - the protocol's form
        """Learn nothing but the categories where they are closed: the hash is the same everywhere."""
        columns = [table.columns[i] for i in self.columns]
        self._known = tuple(c.words[counts(c) > 0] for c in columns) if self.closed else ()
        self.names = tuple(f"{c.name}_Hash_{k}" for c in columns for k in range(2**self.bits))
        self._trace()
        return self

    def _trace(self) -> None:
        self.sources = tuple((i,) for i in self.columns for _ in range(2**self.bits))

    def transform(self, table: Table) -> Any:
        """Zeros and ones as CSR."""
        from scipy import sparse

        size = 2**self.bits
        rows, places = [], []
        for k, i in enumerate(self.columns):
            column = table.columns[i]
            hashed = np.array([_bucket(w, size) for w in column.words] or [0])
            if self.closed:
                hashed[~np.isin(column.words, self._known[k])] = -1
            there = np.flatnonzero(column.values >= 0)
            at = hashed[column.values[there]]
            rows.append(there[at >= 0])
            places.append(at[at >= 0] + k * size)
        row, place = np.concatenate(rows), np.concatenate(places)
        ones = np.ones(len(row), dtype=np.float32)
        return sparse.csr_matrix((ones, (row, place)), shape=(table.n_rows, len(self.names)))

    def onnx(self, graph: Graph, raw: Raw) -> list[str]:
        """Zeros and ones."""
        if not self.closed:
            return super().onnx(graph, raw)
        size, made = 2**self.bits, []
        for i, words in zip(self.columns, self._known, strict=True):
            known = {str(w): _bucket(w, size) for w in words} | {"": -1}
            made.append(graph.among(graph.place(raw.words(i), known, -1), size))
        return made

    def state(self) -> State:
        """As (JSON, arrays)."""
        own = {"columns": list(self.columns), "bits": self.bits, "closed": self.closed, "names": list(self.names)}
        blobs: dict[str, Any] = {}
        for k, words in enumerate(self._known):
            blobs |= words_blobs(words, str(k))
        return own, blobs

    @classmethod
    def from_state(cls, settings: dict[str, Any], blobs: dict[str, Any]) -> Self:
        """Read what `state` gave."""
        closed = bool(settings.get("closed"))
        self = cls(columns=tuple(settings["columns"]), bits=settings["bits"], closed=closed)
        self._known = tuple(words_from_blobs(blobs, str(k)) for k in range(len(self.columns))) if closed else ()
        self.names = tuple(settings["names"])
        self._trace()
        return self


def _bucket(word: str, size: int) -> int:
    return crc32(word.encode("utf-8", "surrogatepass")) % size


@dataclass(kw_only=True)
class Codes(Transformer):
    """Numbers of categories, the most frequent first; rare and new ones share the last number, missing ones have none.

    Parameters
    ----------
    most : categories with a number of their own.
    """

    most: int = 200
    _known: tuple[tuple[str, ...], ...] = field(default=(), init=False, repr=False)

    kind: ClassVar[str] = "LabelEncoder"

    def fit(self, table: Table, goal: Goal) -> Self:  # noqa: ARG002 - the protocol's form
        """Learn the categories."""
        columns = [table.columns[i] for i in self.columns]
        self._known = tuple(tuple(str(c.words[j]) for j in by_frequency(c)[: self.most]) for c in columns)
        self.names = tuple(f"{c.name}_Code" for c in columns)
        self.sources = tuple((i,) for i in self.columns)
        return self

    def transform(self, table: Table) -> np.ndarray:
        """Numbers, NaN = missing."""
        out = np.empty((table.n_rows, len(self.columns)), dtype=np.float32)
        for k, (i, words) in enumerate(zip(self.columns, self._known, strict=True)):
            at = lookup(table.columns[i], {w: j for j, w in enumerate(words)})
            out[:, k] = np.where(at == -2, len(words), np.where(at == -1, np.nan, at))
        return out

    def onnx(self, graph: Graph, raw: Raw) -> list[str]:
        """Numbers, NaN = missing."""
        made = []
        for i, words in zip(self.columns, self._known, strict=True):
            at = graph.place(raw.words(i), {w: j for j, w in enumerate(words)} | {"": -1}, len(words))
            gone = graph.op("Equal", at, graph.constant(-1, "int64"))
            made.append(graph.op("Where", gone, graph.constant(np.nan, "float32"), graph.cast(at, "float32")))
        return made

    def state(self) -> State:
        """As (JSON, arrays)."""
        own = {"columns": list(self.columns), "most": self.most, "known": [list(w) for w in self._known]}
        return {**own, "names": list(self.names)}, {}

    @classmethod
    def from_state(cls, settings: dict[str, Any], blobs: dict[str, Any]) -> Self:  # noqa: ARG003 - the protocol's form
        """Read what `state` gave."""
        self = cls(columns=tuple(settings["columns"]), most=settings["most"])
        self._known = tuple(tuple(w) for w in settings["known"])
        self.names = tuple(settings["names"])
        self.sources = tuple((i,) for i in self.columns)
        return self


@dataclass(kw_only=True)
class TargetMeans(Transformer):
    """Mean of the target by category, drawn to the mean of all where there are few rows, and how frequent it is.

    Source: Micci-Barreca (2001), SIGKDD Explorations 3(1). With `odds` the logarithm of the odds against those of all
    rows (weight of evidence) in place of a class's share.

    Parameters
    ----------
    prior : rows that the mean of all counts for. odds : weight of evidence, for classes.
    """

    prior: float = 10.0
    odds: bool = False
    _known: tuple[np.ndarray, ...] = field(default=(), init=False, repr=False)
    _means: tuple[np.ndarray, ...] = field(default=(), init=False, repr=False)
    _all: np.ndarray = field(default_factory=lambda: np.empty(0), init=False, repr=False)

    kind: ClassVar[str] = "CatTargetEncoder"
    supervised: ClassVar[bool] = True

    def fit(self, table: Table, goal: Goal) -> Self:
        """Learn the means."""
        values = goal.columns() * goal.weight[:, None]
        self._all = values.sum(axis=0) / max(float(goal.weight.sum()), np.finfo(float).tiny)
        known, means = [], []
        for i in self.columns:
            column = table.columns[i]
            at = np.where(column.values < 0, len(column.words), column.values)
            size = len(column.words) + 1
            weight = np.bincount(at, weights=goal.weight, minlength=size)
            sums = np.stack([np.bincount(at, weights=v, minlength=size) for v in values.T], axis=1)
            mean = (sums + self.prior * self._all) / (weight[:, None] + self.prior)
            known.append(column.words)
            means.append(np.concatenate([mean, np.log1p(weight)[:, None]], axis=1))
        self._known, self._means = tuple(known), tuple(means)
        label = "WoE" if self.odds else "TargetMean"
        parts = [label] if len(self._all) == 1 else [f"{label}_{c}" for c in range(len(self._all))]
        self.names = tuple(f"{table.columns[i].name}_{part}" for i in self.columns for part in (*parts, "LogCount"))
        self._trace()
        return self

    def _trace(self) -> None:
        self.sources = tuple((i,) for i in self.columns for _ in range(len(self._all) + 1))

    def transform(self, table: Table) -> np.ndarray:
        """Means, those of all for new categories."""
        out = []
        for i, words, means in zip(self.columns, self._known, self._means, strict=True):
            at = lookup(table.columns[i], {w: k for k, w in enumerate(words)})
            out.append(self._values(means)[np.where(at == -1, len(words), np.where(at == -2, len(words) + 1, at))])
        return np.concatenate(out, axis=1)

    def _values(self, means: np.ndarray) -> np.ndarray:
        """Features of each category of a column, of none and of a new one. Shape [words + 2, parts]."""
        values = np.concatenate([means, [[*self._all, 0.0]]])
        if self.odds:
            p = np.clip(values[:, :-1], 1e-6, 1 - 1e-6)
            base = np.clip(self._all, 1e-6, 1 - 1e-6)
            values = np.column_stack([np.log(p / (1 - p)) - np.log(base / (1 - base)), values[:, -1]])
        return values.astype(np.float32)

    def onnx(self, graph: Graph, raw: Raw) -> list[str]:
        """Means, those of all for new categories."""
        made = []
        for i, words, means in zip(self.columns, self._known, self._means, strict=True):
            known = {str(w): k for k, w in enumerate(words)} | {"": len(words)}
            at = graph.op("Squeeze", graph.place(raw.words(i), known, len(words) + 1), graph.constant([1], "int64"))
            made.append(graph.op("Gather", graph.constant(self._values(means), "float32"), at, axis=0))
        return made

    def state(self) -> State:
        """As (JSON, arrays)."""
        own = {"columns": list(self.columns), "prior": self.prior, "odds": self.odds, "names": list(self.names)}
        blobs: dict[str, Any] = {"all": self._all}
        for k, (words, means) in enumerate(zip(self._known, self._means, strict=True)):
            blobs |= {**words_blobs(words, str(k)), f"means-{k}": means}
        return own, blobs

    @classmethod
    def from_state(cls, settings: dict[str, Any], blobs: dict[str, Any]) -> Self:
        """Read what `state` gave."""
        self = cls(columns=tuple(settings["columns"]), prior=settings["prior"], odds=settings["odds"])
        places = range(len(self.columns))
        self._known = tuple(words_from_blobs(blobs, str(k)) for k in places)
        self._means = tuple(np.asarray(blobs[f"means-{k}"]) for k in places)
        self._all, self.names = np.asarray(blobs["all"]), tuple(settings["names"])
        self._trace()
        return self

    def told(self) -> dict[str, Any]:
        """Say which form the means have."""
        return {**super().told(), "transformer": "WoETargetEncoder" if self.odds else self.kind}
