"""Scalers of a sparse matrix: nothing is centred that would fill it; the two that project give a few dense columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from automl.errors import DataError, UnknownNameError
from automl.preprocess import SCALERS

if TYPE_CHECKING:
    from automl.trial import State
    from tabular.onnx.graph import Graph

_DIRECTIONS = 50


@dataclass(frozen=True, slots=True)
class MatrixScaler:
    """A fitted scaler of CSR rows: x / scale, then onto `axes` and less `centre`, or each row over its length.

    Parameters
    ----------
    name : one of automl.preprocess.SCALERS. scale : shape [k]. axes : shape [m, k], [0, k] = no projection.
    centre : of what is projected, shape [m].
    """

    name: str
    scale: np.ndarray
    axes: np.ndarray
    centre: np.ndarray

    @classmethod
    def fit(cls, name: str, matrix: Any, seed: int) -> Self:
        """Fit a scaler.

        Parameters
        ----------
        name : StandardScaleWrapper divides by the spread, MinMaxScaler by the range, RobustScaler by the distance of
            the quartiles (the largest size where that is 0), MaxAbsScaler and none by the largest size; PCA and
            TruncatedSVDWrapper project what is standardised, or over its largest size, onto at most 50 directions;
            SparseNormalizer makes rows of length 1.

        Examples
        --------
        >>> from scipy import sparse
        >>> x = sparse.csr_matrix([[4.0, 0.0], [0.0, 3.0], [2.0, 0.0]])
        >>> MatrixScaler.fit("MaxAbsScaler", x, 0).transform(x).toarray().tolist()
        [[1.0, 0.0], [0.0, 1.0], [0.5, 0.0]]
        """
        if name not in SCALERS:
            raise UnknownNameError("scaler", name, SCALERS)
        scale = _sizes(name, matrix)
        scale = np.where(scale > 0, scale, 1.0).astype(np.float32)
        axes, centre = np.empty((0, matrix.shape[1]), np.float32), np.empty(0, np.float32)
        if name in {"PCA", "TruncatedSVDWrapper"}:
            axes, centre = _axes(_over(matrix, scale), centred=name == "PCA", seed=seed)
        return cls(name, scale, axes, centre)

    def transform(self, matrix: Any) -> Any:
        """Scale rows. CSR of the same shape, or an array [rows, m] where there is a projection.

        Raises
        ------
        DataError : the matrix has another number of columns.
        """
        if matrix.shape[1] != len(self.scale):
            raise DataError(f"the scaler was fitted on {len(self.scale)} columns, got {matrix.shape[1]}.")
        if self.name == "SparseNormalizer":
            from sklearn.preprocessing import normalize

            return normalize(matrix).astype(np.float32)
        scaled = _over(matrix, self.scale)
        return np.asarray(scaled @ self.axes.T - self.centre, dtype=np.float32) if len(self.axes) else scaled

    def onnx(self, graph: Graph, x: str) -> str:
        """Scale float32 rows in an ONNX graph."""
        if self.name == "SparseNormalizer":
            return graph.unit_rows(x)
        scaled = graph.op("Div", x, graph.constant(self.scale, "float32"))
        if not len(self.axes):
            return str(scaled)
        product = graph.op("MatMul", scaled, graph.constant(np.ascontiguousarray(self.axes.T), "float32"))
        return str(graph.op("Sub", product, graph.constant(self.centre, "float32")))

    def names(self, raw: tuple[str, ...]) -> tuple[str, ...]:
        """Names of what comes out."""
        return tuple(f"{self.name}_{j}" for j in range(len(self.axes))) or raw

    def state(self) -> State:
        """As (JSON, arrays)."""
        return {"name": self.name}, {"scale": self.scale, "axes": self.axes, "centre": self.centre}

    @classmethod
    def from_state(cls, settings: dict[str, Any], blobs: dict[str, Any]) -> Self:
        """Read what `state` gave."""
        return cls(settings["name"], *(np.asarray(blobs[n]) for n in ("scale", "axes", "centre")))


def _over(matrix: Any, scale: np.ndarray) -> Any:
    out = matrix.tocsr().astype(np.float32, copy=True)
    out.data /= scale[out.indices]
    return out


def _sizes(name: str, matrix: Any) -> np.ndarray:
    """What each column is divided by; 0 where there is nothing to divide. Shape [columns]."""
    largest = np.asarray(abs(matrix).max(axis=0).todense(), dtype=float).ravel()
    if name == "SparseNormalizer":
        return np.ones_like(largest)
    if name == "MinMaxScaler":
        low, high = matrix.min(axis=0), matrix.max(axis=0)
        return np.asarray((high - low).todense(), dtype=float).ravel()
    if name in {"StandardScaleWrapper", "PCA"}:
        wide = matrix.astype(np.float64)
        mean = np.asarray(wide.mean(axis=0)).ravel()
        square = np.asarray(wide.multiply(wide).mean(axis=0)).ravel()
        spread = np.sqrt(np.maximum(square - mean**2, 0))
        return np.where(spread > 1e-6 * largest, spread, 0)
    if name == "RobustScaler":
        quartiles = _quartiles(matrix)
        return np.where(quartiles > 0, quartiles, largest)
    return largest


def _quartiles(matrix: Any) -> np.ndarray:
    """Distances of the quartiles; 0 without a look where at most a quarter of the rows hold something."""
    columns, rows = matrix.tocsc(), matrix.shape[0]
    out = np.zeros(matrix.shape[1])
    for j in np.flatnonzero(np.diff(columns.indptr) > rows // 4):
        values = np.zeros(rows)
        held = columns.data[columns.indptr[j] : columns.indptr[j + 1]]
        values[: len(held)] = held
        low, high = np.quantile(values, (0.25, 0.75))
        out[j] = high - low
    return out


def _axes(matrix: Any, *, centred: bool, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Strongest directions [m, columns], and the place of the mean along them [m] (0 where nothing is centred)."""
    from sklearn.decomposition import PCA, TruncatedSVD

    k = min(_DIRECTIONS, min(matrix.shape) - 1)
    if k < 1:  # one row or one column: it is its own direction
        axes = np.eye(1, matrix.shape[1])
    elif centred:
        axes = PCA(k, svd_solver="arpack", random_state=seed).fit(matrix.astype(np.float64)).components_
    else:
        axes = TruncatedSVD(k, n_iter=4, random_state=seed).fit(matrix).components_
    mean = np.asarray(matrix.mean(axis=0)).ravel()
    centre = axes @ mean if centred else np.zeros(len(axes))
    return axes.astype(np.float32), centre.astype(np.float32)
