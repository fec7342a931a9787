"""Features of numbers and dates: imputed values, markers of gaps, parts of dates, distances to clusters."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from tabular.featurize.base import Goal, Transformer

if TYPE_CHECKING:
    from automl.trial import State
    from tabular.onnx.graph import Graph, Raw
    from tabular.table import Table

_WAYS = {
    "mean": "MeanImputer",
    "median": "MedianImputer",
    "most_frequent": "ModeImputer",
    "constant": "ConstantImputer",
}
_DAY = 86_400.0
_LARGEST = float(np.finfo(np.float32).max)
_FAR = 1e18  # distances of what is closer can be squared as float32


@dataclass(kw_only=True)
class Numbers(Transformer):
    """Numbers with their gaps filled, and a marker of gaps where training had some; trees keep the gaps.

    Parameters
    ----------
    ways : of imputing, one a column: mean, median, most_frequent, constant, or "" = gaps stay. fill : of "constant".
    """

    ways: tuple[str, ...]
    fill: float = 0.0
    _fills: np.ndarray = field(default_factory=lambda: np.empty(0), init=False, repr=False)
    _marked: tuple[int, ...] = field(default=(), init=False, repr=False)

    kind: ClassVar[str] = "Imputer"

    def fit(self, table: Table, goal: Goal) -> Self:
        """Learn what gaps are filled with."""
        columns = [table.columns[i] for i in self.columns]
        fills = [_typical(c.values, way, goal.weight, self.fill) for c, way in zip(columns, self.ways, strict=True)]
        self._fills = np.array(fills)
        self._marked = tuple(
            k for k, (c, way) in enumerate(zip(columns, self.ways, strict=True)) if way and c.missing.any()
        )
        self._name([c.name for c in columns])
        return self

    def _name(self, raw: list[str]) -> None:
        own = [f"{name}_{_WAYS[way]}" if way else name for name, way in zip(raw, self.ways, strict=True)]
        self.names = (*own, *(f"{raw[k]}_WASNULL" for k in self._marked))
        self.sources = (*((i,) for i in self.columns), *((self.columns[k],) for k in self._marked))

    def transform(self, table: Table) -> np.ndarray:
        """Fill and mark."""
        values = [table.columns[i].values for i in self.columns]
        out = np.empty((table.n_rows, len(self.names)), dtype=np.float32)
        for k, v in enumerate(values):
            filled = np.where(np.isnan(v), self._fills[k], v) if self.ways[k] else v
            out[:, k] = np.clip(filled, -_LARGEST, _LARGEST)
        for j, k in enumerate(self._marked, len(values)):
            out[:, j] = np.isnan(values[k])
        return out

    def onnx(self, graph: Graph, raw: Raw) -> list[str]:
        """Fill and mark."""
        x = raw.numbers(self.columns)
        gone = graph.op("IsNaN", x)
        fills = np.where([bool(way) for way in self.ways], np.clip(self._fills, -_LARGEST, _LARGEST), np.nan)
        filled = graph.op("Where", gone, graph.constant(fills[None, :]), graph.clip(x, -_LARGEST, _LARGEST, "float64"))
        marks = [graph.cast(graph.columns(gone, self._marked), "float32")] if self._marked else []
        return [graph.cast(filled, "float32"), *marks]

    def state(self) -> State:
        """As (JSON, arrays)."""
        own = {"columns": list(self.columns), "ways": list(self.ways), "fill": self.fill, "marked": list(self._marked)}
        return {**own, "names": list(self.names)}, {"fills": self._fills}

    @classmethod
    def from_state(cls, settings: dict[str, Any], blobs: dict[str, Any]) -> Self:
        """Read what `state` gave."""
        self = cls(columns=tuple(settings["columns"]), ways=tuple(settings["ways"]), fill=settings["fill"])
        self._fills, self._marked = np.asarray(blobs["fills"]), tuple(settings["marked"])
        self.names = tuple(settings["names"])
        self.sources = (*((i,) for i in self.columns), *((self.columns[k],) for k in self._marked))
        return self

    def told(self) -> dict[str, Any]:
        """Say what gaps are filled with."""
        return {**super().told(), "ways": list(self.ways), "markers": len(self._marked)}


def _typical(values: np.ndarray, way: str, weight: np.ndarray, fill: float) -> float:
    """What a gap is filled with."""
    there = ~np.isnan(values)
    if way in {"", "constant"} or not there.any():
        return fill
    if way == "mean":
        used = weight[there]
        return float(np.average(values[there], weights=used if used.sum() > 0 else None))
    if way == "median":
        return float(np.median(values[there]))
    found, often = np.unique(values[there], return_counts=True)
    return float(found[often.argmax()])


@dataclass(kw_only=True)
class Levels(Transformer):
    """A column of zeros and ones for each frequent value of numbers that take a few values only; others have none."""

    _values: tuple[np.ndarray, ...] = field(default=(), init=False, repr=False)

    kind: ClassVar[str] = "OneHotEncoder"

    def fit(self, table: Table, goal: Goal) -> Self:  # noqa: ARG002 - the protocol's form
        """Learn the values."""
        raw = [table.columns[i] for i in self.columns]
        self._values = tuple(_frequent(c.values) for c in raw)
        pairs = list(zip(raw, self._values, strict=True))
        self.names = tuple(f"{c.name}_OneHot_{v:g}" for c, values in pairs for v in values)
        self._trace()
        return self

    def _trace(self) -> None:
        self.sources = tuple((i,) for i, values in zip(self.columns, self._values, strict=True) for _ in values)

    def transform(self, table: Table) -> Any:
        """Zeros and ones as CSR."""
        from scipy import sparse

        rows, places, first = [], [], 0
        for i, values in zip(self.columns, self._values, strict=True):
            given = table.columns[i].values
            at = np.searchsorted(values, given)
            there = np.flatnonzero(np.append(values, np.nan)[at] == given)
            rows.append(there)
            places.append(at[there] + first)
            first += len(values)
        row, place = np.concatenate(rows), np.concatenate(places)
        return sparse.csr_matrix((np.ones(len(row), dtype=np.float32), (row, place)), shape=(table.n_rows, first))

    def onnx(self, graph: Graph, raw: Raw) -> list[str]:
        """Zeros and ones."""
        pairs = [(i, values) for i, values in zip(self.columns, self._values, strict=True) if len(values)]
        equal = [graph.op("Equal", raw.numbers((i,)), graph.constant(values[None, :])) for i, values in pairs]
        return [graph.cast(e, "float32") for e in equal]

    def state(self) -> State:
        """As (JSON, arrays)."""
        own = {"columns": list(self.columns), "names": list(self.names)}
        return own, {f"values-{k}": v for k, v in enumerate(self._values)}

    @classmethod
    def from_state(cls, settings: dict[str, Any], blobs: dict[str, Any]) -> Self:
        """Read what `state` gave."""
        self = cls(columns=tuple(settings["columns"]))
        self._values = tuple(np.asarray(blobs[f"values-{k}"]) for k in range(len(self.columns)))
        self.names = tuple(settings["names"])
        self._trace()
        return self


def _frequent(values: np.ndarray) -> np.ndarray:
    """Values that at least one row in a hundred holds, in order."""
    found, often = np.unique(values[~np.isnan(values)], return_counts=True)
    return found[often >= len(values) / 100]


@dataclass(kw_only=True)
class Dates(Transformer):
    """Parts of dates that change in training, and the time itself in days.

    Parameters
    ----------
    filled : whether missing dates get the parts' means, and a marker where training had some; else they stay missing.
    """

    filled: bool
    _kept: tuple[tuple[int, str], ...] = field(default=(), init=False, repr=False)
    _means: np.ndarray = field(default_factory=lambda: np.empty(0), init=False, repr=False)

    kind: ClassVar[str] = "DateTime"

    def fit(self, table: Table, goal: Goal) -> Self:  # noqa: ARG002 - the protocol's form
        """Learn which parts change."""
        kept, means = [], []
        for i in self.columns:
            for part, values in self._parts(table, i).items():
                there = values[~np.isnan(values)]
                if len(there) and np.ptp(there) > 0:
                    kept.append((i, part))
                    means.append(float(there.mean()))
        self._kept, self._means = tuple(kept), np.array(means)
        self.names = tuple(f"{table.columns[i].name}_{part}" for i, part in kept)
        self.sources = tuple((i,) for i, _ in kept)
        return self

    def _parts(self, table: Table, i: int) -> dict[str, np.ndarray]:
        seconds = table.columns[i].values
        marker = {"WASNULL": np.isnan(seconds).astype(float)} if self.filled else {}
        return date_parts(seconds) | marker

    def transform(self, table: Table) -> np.ndarray:
        """Take dates apart."""
        out = np.empty((table.n_rows, len(self._kept)), dtype=np.float32)
        parts: dict[int, dict[str, np.ndarray]] = {}
        for k, (i, part) in enumerate(self._kept):
            if i not in parts:
                parts[i] = self._parts(table, i)
            values = parts[i][part]
            out[:, k] = np.where(np.isnan(values), self._means[k], values) if self.filled else values
        return out

    def onnx(self, graph: Graph, raw: Raw) -> list[str]:
        """Take dates apart."""
        from tabular.onnx.dates import add_parts

        made = []
        for k, (i, part) in enumerate(self._kept):
            seconds = raw.numbers((i,))
            gone = graph.op("IsNaN", seconds)
            if part == "WASNULL":
                made.append(graph.cast(gone, "float32"))
                continue
            fill = graph.constant(self._means[k] if self.filled else np.nan)
            made.append(graph.cast(graph.op("Where", gone, fill, add_parts(graph, seconds)[part]), "float32"))
        return made

    def state(self) -> State:
        """As (JSON, arrays)."""
        own = {"columns": list(self.columns), "filled": self.filled, "kept": [list(p) for p in self._kept]}
        return {**own, "names": list(self.names)}, {"means": self._means}

    @classmethod
    def from_state(cls, settings: dict[str, Any], blobs: dict[str, Any]) -> Self:
        """Read what `state` gave."""
        self = cls(columns=tuple(settings["columns"]), filled=settings["filled"])
        self._kept = tuple((i, part) for i, part in settings["kept"])
        self._means, self.names = np.asarray(blobs["means"]), tuple(settings["names"])
        self.sources = tuple((i,) for i, _ in self._kept)
        return self


def date_parts(seconds: np.ndarray) -> dict[str, np.ndarray]:
    """Parts of dates, NaN where missing; each shape [rows].

    Examples
    --------
    >>> parts = date_parts(np.array([1293841830.0]))  # 2011-01-01 00:30:30
    >>> [int(parts[p][0]) for p in ("Year", "DayOfWeek", "WeekOfYear", "Minute")]
    [2011, 5, 52, 30]
    """
    import pandas as pd

    gone = np.isnan(seconds)
    stamps = pd.DatetimeIndex((np.where(gone, 0, seconds) * 1e6).astype(np.int64).astype("datetime64[us]"))
    named = {
        "Year": stamps.year,
        "Quarter": stamps.quarter,
        "Month": stamps.month,
        "Day": stamps.day,
        "DayOfWeek": stamps.day_of_week,
        "DayOfYear": stamps.day_of_year,
        "WeekOfYear": stamps.isocalendar().week.to_numpy(),
        "Hour": stamps.hour,
        "Minute": stamps.minute,
        "Second": stamps.second,
        "Days": np.where(gone, 0, seconds) / _DAY,
    }
    return {name: np.where(gone, np.nan, np.asarray(part, dtype=float)) for name, part in named.items()}


@dataclass(kw_only=True)
class Clusters(Transformer):
    """Distances to the centres of k-means on standardised numbers, gaps at the mean.

    Parameters
    ----------
    k : clusters, fewer on few rows.
    """

    k: int = 8
    _mean: np.ndarray = field(default_factory=lambda: np.empty(0), init=False, repr=False)
    _scale: np.ndarray = field(default_factory=lambda: np.empty(0), init=False, repr=False)
    _centres: np.ndarray = field(default_factory=lambda: np.empty((0, 0)), init=False, repr=False)

    kind: ClassVar[str] = "ClusterDistance"
    _MOST_ROWS: ClassVar[int] = 20_000

    def fit(self, table: Table, goal: Goal) -> Self:
        """Find the centres, on 20,000 rows drawn at random where there are more."""
        from sklearn.cluster import KMeans
        from sklearn.exceptions import ConvergenceWarning

        x = self._values(table)
        there = ~np.isnan(x)
        often = np.maximum(there.sum(axis=0), 1)
        self._mean = np.where(there, x, 0).sum(axis=0) / often
        spread = np.sqrt(np.square(np.where(there, x - self._mean, 0)).sum(axis=0) / often)
        self._scale = np.where(spread > 0, spread, 1.0)
        z = self._standard(x)
        if len(z) > self._MOST_ROWS:
            z = z[np.sort(np.random.default_rng(goal.seed).choice(len(z), self._MOST_ROWS, replace=False))]
        k = min(self.k, len(np.unique(z, axis=0)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # rows that differ by rounding alone share a centre
            self._centres = KMeans(k, n_init=3, random_state=goal.seed).fit(z).cluster_centers_
        self.names = tuple(f"ClusterDistance_{j}" for j in range(k))
        self.sources = (self.columns,) * k
        return self

    def _values(self, table: Table) -> np.ndarray:
        return np.clip(np.stack([table.columns[i].values for i in self.columns], axis=1), -_FAR, _FAR)

    def _standard(self, x: np.ndarray) -> np.ndarray:
        return np.nan_to_num((x - self._mean) / self._scale)

    def transform(self, table: Table) -> np.ndarray:
        """Distances."""
        z = self._standard(self._values(table))
        squares = np.square(z).sum(axis=1)[:, None] + np.square(self._centres).sum(axis=1) - 2 * z @ self._centres.T
        return np.sqrt(np.maximum(squares, 0)).astype(np.float32)

    def onnx(self, graph: Graph, raw: Raw) -> list[str]:
        """Distances."""
        x = graph.clip(raw.numbers(self.columns), -_FAR, _FAR, "float64")
        z = graph.op("Div", graph.op("Sub", x, graph.constant(self._mean)), graph.constant(self._scale))
        z = graph.op("Where", graph.op("IsNaN", raw.numbers(self.columns)), graph.constant(0.0), z)
        far = graph.op("Add", graph.total(graph.op("Mul", z, z)), graph.constant(np.square(self._centres).sum(axis=1)))
        squares = graph.op("Sub", far, graph.op("MatMul", z, graph.constant(2 * self._centres.T)))
        return [graph.cast(graph.op("Sqrt", graph.op("Max", squares, graph.constant(0.0))), "float32")]

    def state(self) -> State:
        """As (JSON, arrays)."""
        own = {"columns": list(self.columns), "k": self.k}
        return own, {"mean": self._mean, "scale": self._scale, "centres": self._centres}

    @classmethod
    def from_state(cls, settings: dict[str, Any], blobs: dict[str, Any]) -> Self:
        """Read what `state` gave."""
        self = cls(columns=tuple(settings["columns"]), k=settings["k"])
        self._mean, self._scale, self._centres = (np.asarray(blobs[n]) for n in ("mean", "scale", "centres"))
        self.names = tuple(f"ClusterDistance_{j}" for j in range(len(self._centres)))
        self.sources = (self.columns,) * len(self._centres)
        return self
