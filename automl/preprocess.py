"""Scalers by name, on arrays, fitted and stored without code.

Each is a centring, a division and, for some, a projection; so one small class with arrays holds them all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from automl.errors import DataError, UnknownNameError

if TYPE_CHECKING:
    from automl.trial import State

SCALERS = (
    "none",
    "StandardScaleWrapper",
    "MinMaxScaler",
    "MaxAbsScaler",
    "RobustScaler",
    "PCA",
    "TruncatedSVDWrapper",
    "SparseNormalizer",
)
"""What a pipeline may scale with, by the names of the described service."""

_KEPT_VARIANCE = 0.99


@dataclass(frozen=True, slots=True)
class Scaler:
    """A fitted scaler: (x - centre) / scale, then onto `axes`; SparseNormalizer divides each row by its length.

    Parameters
    ----------
    name : one of SCALERS. centre, scale : shape [k]. axes : shape [m, k], [0, k] = no projection.
    """

    name: str
    centre: np.ndarray
    scale: np.ndarray
    axes: np.ndarray

    def transform(self, x: np.ndarray) -> np.ndarray:
        """Scale rows. Shape [r, k] to [r, k or m]; float32 stays float32.

        Raises
        ------
        DataError : x has another number of columns, or NaN.
        """
        _check(x, len(self.centre))
        if self.name == "none":
            return x
        out = (x - self.centre.astype(x.dtype)) / self.scale.astype(x.dtype)
        if self.name == "SparseNormalizer":
            length = np.sqrt(np.square(out).sum(axis=1, keepdims=True))
            return out / np.where(length > 0, length, 1).astype(x.dtype)
        return out @ self.axes.T.astype(x.dtype) if len(self.axes) else out

    @property
    def mixes(self) -> bool:
        """Whether a column that comes out is made of several that go in."""
        return bool(len(self.axes)) or self.name == "SparseNormalizer"

    @property
    def is_linear(self) -> bool:
        """Whether a linear model behind it is linear in what goes in."""
        return self.name != "SparseNormalizer"

    def before(self, coefficients: np.ndarray, intercept: float) -> tuple[np.ndarray, float]:
        """Coefficients [k] and intercept of a linear model behind a linear scaler, for rows before it.

        Examples
        --------
        >>> scaler = fit_scaler("MinMaxScaler", np.array([[1.0], [3.0]]))
        >>> slope, intercept = scaler.before(np.array([4.0]), 1.0)
        >>> slope.tolist(), float(intercept)
        ([2.0], -1.0)
        """
        slope = (coefficients @ self.axes if len(self.axes) else coefficients) / self.scale
        return slope, float(intercept - slope @ self.centre)

    def state(self) -> State:
        """As (JSON, arrays)."""
        return {"name": self.name}, {"centre": self.centre, "scale": self.scale, "axes": self.axes}

    @classmethod
    def from_state(cls, settings: dict[str, Any], blobs: dict[str, Any]) -> Self:
        """Read what `state` gave."""
        return cls(settings["name"], blobs["centre"], blobs["scale"], blobs["axes"])


def _check(x: np.ndarray, columns: int) -> None:
    if x.ndim != 2 or x.shape[1] != columns:
        raise DataError(f"the scaler was fitted on {columns} columns, got an array of shape {x.shape}.")
    if not np.isfinite(x).all():
        row, column = np.argwhere(~np.isfinite(x))[0]
        raise DataError(f"row {row}, column {column} is not finite; scalers need imputed values.")


def fit_scaler(name: str, x: np.ndarray) -> Scaler:
    """Fit a scaler by name.

    Parameters
    ----------
    name : StandardScaleWrapper (mean 0, variance 1), MinMaxScaler (0..1), MaxAbsScaler (-1..1), RobustScaler (median
        and quartiles), PCA (standardised, then 99 % of the variance), TruncatedSVDWrapper (the same without centring),
        SparseNormalizer (rows of length 1) or none.
    x : shape [rows, k], finite. Constant columns are only centred.

    Raises
    ------
    UnknownNameError : no such scaler. DataError : x is not finite.

    Examples
    --------
    >>> fit_scaler("MinMaxScaler", np.array([[1.0], [3.0]])).transform(np.array([[2.0]])).tolist()
    [[0.5]]
    """
    if name not in SCALERS:
        raise UnknownNameError("scaler", name, SCALERS)
    _check(x, x.shape[-1])
    values = x.astype(float)
    centre, scale = _affine(name, values)
    scale = np.where(scale > 0, scale, 1.0)
    axes = np.empty((0, x.shape[1]))
    if name in {"PCA", "TruncatedSVDWrapper"}:
        axes = _axes((values - centre) / scale)
    return Scaler(name, centre, scale, axes)


def _affine(name: str, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    zero, one = np.zeros(x.shape[1]), np.ones(x.shape[1])
    if name in {"StandardScaleWrapper", "PCA"}:
        return x.mean(axis=0), x.std(axis=0)
    if name == "MinMaxScaler":
        return x.min(axis=0), np.ptp(x, axis=0)
    if name in {"MaxAbsScaler", "TruncatedSVDWrapper"}:
        return zero, np.abs(x).max(axis=0)
    if name == "RobustScaler":
        low, middle, high = np.quantile(x, (0.25, 0.5, 0.75), axis=0)
        return middle, high - low
    return zero, one


def _axes(x: np.ndarray) -> np.ndarray:
    """Directions that hold 99 % of the sum of squares, strongest first, signs fixed. Shape [m, k]."""
    values, vectors = np.linalg.eigh(x.T @ x)
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    share = np.cumsum(values) / max(values.sum(), np.finfo(float).tiny)
    kept = int(np.searchsorted(share, _KEPT_VARIANCE)) + 1
    axes = vectors[:, :kept].T
    signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])
    return axes * np.where(signs == 0, 1, signs)[:, None]
