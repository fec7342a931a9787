"""Nearest neighbours; neighbours that are equally far count alike, so that the order of rows does not matter."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

if TYPE_CHECKING:
    from automl.trial import State
    from tabular.learners.base import FitContext
    from tabular.onnx.graph import Graph

_SAME = 1e-12
"""Squared distances of at most this share of the squared lengths are rounding: the rows are the same."""

_EQUAL = 1 + 1e-9
"""Squared distances that differ by less are equally far."""

_CELLS, _LEAST, _BLOCK = 8_000_000, 256, 4_096
"""Distances held at a time, rows asked at least (each time all remembered rows become float64), and rows of a block."""


@dataclass(kw_only=True)
class KNN:
    """Mean of the nearest neighbours (Cover & Hart 1967), of all that are as near as the last of them.

    Parameters
    ----------
    n_neighbors : at most as many as there are rows. weights : "uniform", or "distance" = one over the distance; rows
        that are the same as training rows then follow these alone.
    """

    n_neighbors: int = 15
    weights: str = "distance"

    _x: Any = field(default=None, init=False, repr=False, compare=False)
    _y: np.ndarray = field(default_factory=lambda: np.empty(0), init=False, repr=False, compare=False)
    _classes: int = field(default=0, init=False, repr=False, compare=False)

    flavour: ClassVar[str] = "dense"
    takes_sparse: ClassVar[bool] = True
    _MOST_ROWS: ClassVar[int] = 50_000

    def fit(self, x: Any, y: np.ndarray, weight: np.ndarray, context: FitContext) -> Self:  # noqa: ARG002 - shared form
        """Remember rows: 50,000 drawn at random where there are more."""
        context.deadline.check("remembering the rows of KNN")
        if len(y) > self._MOST_ROWS:
            keep = np.sort(np.random.default_rng(context.seed).choice(len(y), self._MOST_ROWS, replace=False))
            x, y = x[keep], y[keep]
        self._x, self._y, self._classes = _finite(x), np.asarray(y), context.n_classes
        self.n_neighbors = min(self.n_neighbors, len(y))
        return self

    def _answers(self) -> np.ndarray:
        """What neighbours say, shape [rows, outputs]."""
        if not self._classes:
            return self._y.astype(float)[:, None]
        return (self._y[:, None] == np.arange(self._classes)).astype(float)

    def predict(self, x: Any) -> np.ndarray:
        """Ask the neighbours."""
        x, answers = _finite(x), self._answers()
        lengths = _squares(self._x)
        size = max(_LEAST, _CELLS // max(len(answers), 1))
        parts = [self._some(x[k : k + size], lengths, answers) for k in range(0, x.shape[0], size)]
        out = np.concatenate(parts) if parts else np.empty((0, answers.shape[1]))
        return out if self._classes else out[:, 0]

    def _some(self, x: Any, lengths: np.ndarray, answers: np.ndarray) -> np.ndarray:
        from scipy import sparse

        both = _squares(x)[:, None] + lengths
        far = both - 2 * _products(x, self._x)
        far[far <= _SAME * both] = 0
        last = np.partition(far, self.n_neighbors - 1, axis=1)[:, self.n_neighbors - 1]
        row, place = np.nonzero(far <= last[:, None] * _EQUAL)
        near = far[row, place]
        count = np.ones(len(near))
        if self.weights == "distance":
            same = np.zeros(len(last), dtype=bool)
            same[row[near == 0]] = True
            count = np.where(same[row], near == 0, 1 / np.sqrt(np.where(near > 0, near, 1)))
        total = np.bincount(row, weights=count, minlength=len(last))
        spread = sparse.csr_matrix((count / total[row], (row, place)), shape=far.shape)
        return np.asarray(spread @ answers)

    def onnx(self, graph: Graph, x: str) -> str:
        """Ask the neighbours in an ONNX graph; float64 [rows, classes or 1]."""
        rows = np.asarray(self._x.toarray() if hasattr(self._x, "toarray") else self._x, dtype=float)
        x = graph.cast(graph.where_nan(x, graph.constant(0.0, "float32")), "float64")
        zero = graph.constant(0.0)
        both = graph.op("Add", graph.total(graph.op("Mul", x, x)), graph.constant(_squares(rows)[None, :]))
        far = graph.op("Sub", both, graph.op("MatMul", x, graph.constant(2 * rows.T)))
        same = graph.op("LessOrEqual", far, graph.op("Mul", both, graph.constant(_SAME)))
        far = graph.op("Where", same, zero, far)
        nearest, _ = graph.op("TopK", far, graph.constant([self.n_neighbors], "int64"), outputs=2, axis=1, largest=0)
        last = graph.op("Mul", graph.columns(nearest, [self.n_neighbors - 1]), graph.constant(_EQUAL))
        near = graph.op("LessOrEqual", far, last)
        if self.weights == "distance":
            is_same = graph.cast(graph.op("Equal", far, zero), "float64")
            any_same = graph.op("Greater", graph.total(is_same), zero)
            over = graph.op("Reciprocal", graph.op("Sqrt", graph.op("Where", same, graph.constant(1.0), far)))
            count = graph.op("Where", any_same, is_same, over)
            count = graph.op("Where", near, count, zero)
        else:
            count = graph.cast(near, "float64")
        summed = graph.op("MatMul", count, graph.constant(self._answers()))
        return str(graph.op("Div", summed, graph.total(count)))

    def state(self) -> State:
        """Parameters and rows."""
        own: dict[str, Any] = {"params": {"n_neighbors": self.n_neighbors, "weights": self.weights}}
        own["classes"] = self._classes
        blobs: dict[str, Any] = {"y": self._y}
        if hasattr(self._x, "tocsr"):
            own["shape"] = list(self._x.shape)
            blobs |= {"data": self._x.data, "indices": self._x.indices, "indptr": self._x.indptr}
        else:
            blobs["x"] = self._x
        return own, blobs

    @classmethod
    def from_state(cls, settings: dict[str, Any], blobs: dict[str, Any]) -> Self:
        """Read what `state` gave."""
        from scipy import sparse

        self = cls(**settings["params"])
        self._classes, self._y = settings["classes"], np.asarray(blobs["y"])
        if "shape" in settings:
            parts = tuple(blobs[name] for name in ("data", "indices", "indptr"))
            self._x = sparse.csr_matrix(parts, shape=tuple(settings["shape"]))
        else:
            self._x = np.asarray(blobs["x"])
        return self


def _finite(x: Any) -> Any:
    return x.tocsr() if hasattr(x, "tocsr") else np.nan_to_num(x, nan=0.0, posinf=1e30, neginf=-1e30)


def _squares(x: Any) -> np.ndarray:
    """Squared length of each row, float64."""
    if hasattr(x, "tocsr"):
        wide = x.astype(np.float64)
        return np.asarray(wide.multiply(wide).sum(axis=1)).ravel()
    return np.einsum("ij,ij->i", x, x, dtype=np.float64)


def _products(x: Any, rows: Any) -> np.ndarray:
    """Products of each row with each remembered one, float64, a block at a time."""
    if hasattr(x, "tocsr") or hasattr(rows, "tocsr"):
        from scipy import sparse

        product = sparse.csr_matrix(x, dtype=np.float64) @ sparse.csr_matrix(rows, dtype=np.float64).T
        return np.asarray(product.toarray())
    wide = x.astype(np.float64)
    out = np.empty((len(x), len(rows)))
    for k in range(0, len(rows), _BLOCK):
        out[:, k : k + _BLOCK] = wide @ rows[k : k + _BLOCK].astype(np.float64).T
    return out
