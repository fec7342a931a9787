"""Series in a tree: sums, shares and the reconciliation of forecasts of all its nodes.

Arrays over nodes, level by level from the total down to the leaves; a node's value is the sum of its leaves'. Hyndman,
Ahmed, Athanasopoulos & Shang (2011), Optimal combination forecasts for hierarchical time series, CSDA 55(9);
Wickramasuriya, Athanasopoulos & Hyndman (2019), Optimal forecast reconciliation through trace minimization, JASA
114(526); Gross & Sohl (1990), Disaggregation methods to expedite product line forecasting, J. Forecasting 9(3).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from automl.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

METHODS = ("bottom_up", "ols", "wls_struct", "wls_var", "mint_shrink")
"""Ways to make forecasts of all nodes add up."""

ALLOCATIONS = ("average_historical_proportions", "proportions_of_historical_average")
"""Ways to share a node's forecast among its leaves."""

_MOST_DENSE = 4_000
"""Nodes up to which a full covariance matrix of errors is handled."""

Path = tuple[Any, ...]


@dataclass(frozen=True)
class Tree:
    """Leaves, and the nodes above them.

    Parameters
    ----------
    levels : names of the levels below the total, top first. leaves : path of each leaf, one entry a level, sorted.

    Examples
    --------
    >>> tree = Tree(("state", "store"), (("CA", 1), ("CA", 2), ("TX", 3)))
    >>> tree.nodes
    ((), ('CA',), ('TX',), ('CA', 1), ('CA', 2), ('TX', 3))
    >>> tree.sums(np.array([1.0, 2.0, 4.0])).tolist()
    [7.0, 3.0, 4.0, 1.0, 2.0, 4.0]
    """

    levels: tuple[str, ...]
    leaves: tuple[Path, ...]

    def __post_init__(self) -> None:
        wrong = [leaf for leaf in self.leaves if len(leaf) != len(self.levels)]
        if wrong or not self.levels or not self.leaves:
            raise DataError(f"a hierarchy needs levels and leaves with one entry a level; got {wrong[:3] or self}.")
        if len(set(self.leaves)) < len(self.leaves):
            raise DataError("a hierarchy names a leaf twice.")

    @cached_property
    def nodes(self) -> tuple[Path, ...]:
        """Paths of all nodes: the total, then level by level, each level in the order of its leaves."""
        return tuple(
            node
            for depth in range(len(self.levels) + 1)
            for node in dict.fromkeys(leaf[:depth] for leaf in self.leaves)
        )

    @cached_property
    def of_leaves(self) -> np.ndarray:
        """Node of every leaf at every depth, total first. Shape [levels + 1, leaves]."""
        place = {node: i for i, node in enumerate(self.nodes)}
        depths = range(len(self.levels) + 1)
        return np.array([[place[leaf[:depth]] for leaf in self.leaves] for depth in depths], dtype=np.int64)

    def at(self, depth: int) -> np.ndarray:
        """Positions of the nodes of a depth, 0 = the total. Shape [nodes there]."""
        return np.unique(self.of_leaves[depth])

    def depth(self, level: str | None) -> int:
        """Depth of a level by name, None = the total.

        Raises
        ------
        ConfigError : there is no such level.
        """
        if level is None:
            return 0
        if level not in self.levels:
            raise ConfigError(
                f"the hierarchy has no level {level!r}. Levels: None (the total), {', '.join(self.levels)}."
            )
        return 1 + self.levels.index(level)

    def sums(self, leaves: np.ndarray) -> np.ndarray:
        """Values of all nodes from those of the leaves, shape [leaves, ...] -> [nodes, ...]."""
        out = np.zeros((len(self.nodes), *leaves.shape[1:]))
        for row in self.of_leaves:
            np.add.at(out, row, leaves)
        return out

    @cached_property
    def summing(self) -> Any:
        """The summing matrix, sparse, shape [nodes, leaves]."""
        from scipy.sparse import csr_array

        depths, leaves = self.of_leaves.shape
        columns = np.tile(np.arange(leaves), depths)
        return csr_array((np.ones(depths * leaves), (self.of_leaves.ravel(), columns)), shape=(len(self.nodes), leaves))


def shares(tree: Tree, history: np.ndarray, depth: int, method: str) -> np.ndarray:
    """Share of each leaf in its node of a depth; they sum to 1 in each node. Shape [leaves].

    Parameters
    ----------
    history : shape [leaves, rows], NaN where a leaf has no value. method : of `ALLOCATIONS`: the mean over time of a
        leaf's share, times without anything in the node left out; or a leaf's mean over its node's. A node without any
        history is shared evenly.
    """
    if method not in ALLOCATIONS:
        raise ConfigError(f"allocation must be one of {', '.join(ALLOCATIONS)}, got {method!r}.")
    values = np.nan_to_num(history)
    _, of = np.unique(tree.of_leaves[depth], return_inverse=True)
    count = np.bincount(of)
    if method == ALLOCATIONS[0]:
        total = np.zeros((len(count), values.shape[1]))
        np.add.at(total, of, values)
        known = np.where(total != 0, total, np.nan)[of]
        share = np.nan_to_num(values / known).sum(axis=1) / np.maximum(np.isfinite(known).sum(axis=1), 1)
    else:
        share = values.sum(axis=1)
    whole = np.bincount(of, weights=share)
    even = 1 / count[of]
    return np.where(whole[of] != 0, share / np.where(whole[of] != 0, whole[of], 1.0), even)


def shrunk(residuals: np.ndarray) -> np.ndarray:
    """Covariance of errors [nodes, rows] shrunk to its diagonal (Schaefer & Strimmer 2005). Shape [nodes, nodes].

    Rows where some node has no error (NaN) are left out; means are not taken off, as forecasts are meant to have none.
    Where fewer than two rows are left, errors count as independent: a node's variance is that of the errors it has, the
    median of all nodes' where it has none.
    """
    errors = residuals[:, np.isfinite(residuals).all(axis=0)]
    n = errors.shape[1]
    if n < 2:
        return np.diag(_floored(_mean_squares(residuals)))
    covariance = errors @ errors.T / n
    spread = np.sqrt(np.diag(covariance))
    unit = np.where(spread > 0, spread, 1.0)
    z = errors / unit[:, None]
    correlation = z @ z.T / n
    variance = (np.square(z) @ np.square(z).T / n - np.square(correlation)) / (n - 1)
    off = ~np.eye(len(z), dtype=bool)
    below = np.square(correlation)[off].sum()
    shrink = float(np.clip(variance[off].sum() / below, 0.0, 1.0)) if below > 0 else 1.0
    mixed = (1 - shrink) * covariance
    np.fill_diagonal(mixed, _floored(np.diag(covariance)))
    return mixed


def _floored(variances: np.ndarray) -> np.ndarray:
    """Variances none of which is nothing: such a node would get all the trust there is, and a singular matrix."""
    return np.maximum(variances, 1e-8 * float(variances.max()) or 1.0)


def _mean_squares(residuals: np.ndarray) -> np.ndarray:
    """Mean square of each node's errors [nodes, rows], NaN = none; of a node without any the median. Shape [nodes]."""
    count = np.isfinite(residuals).sum(axis=1)
    square = np.nansum(np.square(residuals), axis=1) / np.maximum(count, 1)
    usual = float(np.median(square[count > 0])) if (count > 0).any() else 1.0
    return np.where(count > 0, square, usual)


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """Makes forecasts of all nodes add up.

    Parameters
    ----------
    tree : the hierarchy. method : of `METHODS`. covariance : of the errors, shape [nodes, nodes], or their variances
        [nodes]; "bottom_up", "ols" and "wls_struct" need none for points.
    """

    tree: Tree
    method: str
    covariance: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ConfigError(f"method must be one of {', '.join(METHODS)}, got {self.method!r}.")
        if self.method in {"wls_var", "mint_shrink"} and self.covariance is None:
            raise ConfigError(f"method {self.method!r} weighs nodes by their errors, and none are given.")
        if self.method == "mint_shrink" and len(self.tree.nodes) > _MOST_DENSE:
            raise ConfigError(
                f"'mint_shrink' handles up to {_MOST_DENSE} nodes, the hierarchy has {len(self.tree.nodes)}. "
                "Fix: method='wls_var'."
            )

    def points(self, base: np.ndarray) -> np.ndarray:
        """Coherent forecasts of all nodes from their own ones, both [nodes, horizon]."""
        return self.tree.sums(self._leaves(base))

    def _leaves(self, base: np.ndarray) -> np.ndarray:
        """Forecasts of the leaves that all nodes' base forecasts ask for. Shape [leaves, horizon]."""
        leaves = self.tree.of_leaves[-1]
        if self.method == "bottom_up":
            return base[leaves]
        s = self.tree.summing
        if self.method == "mint_shrink":
            weighted = np.linalg.solve(np.asarray(self.covariance), s.toarray())
            return np.linalg.solve(weighted.T @ s.toarray(), weighted.T @ base)
        from scipy.sparse import diags_array
        from scipy.sparse.linalg import splu

        weighted = diags_array(1 / self._variances()) @ s
        return splu((weighted.T @ s).tocsc()).solve(np.ascontiguousarray(weighted.T @ base))

    def _variances(self) -> np.ndarray:
        """Of the nodes' errors, as the method sees them. Shape [nodes]."""
        if self.method == "ols":
            return np.ones(len(self.tree.nodes))
        if self.method == "wls_struct":
            return np.asarray(self.tree.summing.sum(axis=1)).ravel()
        known = np.asarray(self.covariance)
        return known if known.ndim == 1 else np.diag(known)

    def widths(self) -> np.ndarray:
        """What the distances of a node's quantiles from its point are multiplied by. Shape [nodes].

        The ratio of the standard deviations of the reconciled and of the base errors; 1 where no covariance is known.
        """
        if self.covariance is None or self.covariance.ndim == 1 or len(self.tree.nodes) > _MOST_DENSE:
            return np.ones(len(self.tree.nodes))
        s = self.tree.summing
        onto = s @ self._leaves(np.eye(len(self.tree.nodes)))
        variance = np.einsum("ij,jk,ik->i", onto, self.covariance, onto, optimize=True)
        return np.sqrt(np.maximum(variance, 0.0) / np.diag(self.covariance))


def between(tree: Tree, base: np.ndarray, depth: int, share: np.ndarray) -> np.ndarray:
    """Forecasts of all nodes from those of one depth: shared out below it, summed above it.

    Parameters
    ----------
    base : shape [nodes of the depth, horizon]. share : shape [leaves] (see `shares`).
    """
    _, of = np.unique(tree.of_leaves[depth], return_inverse=True)
    return tree.sums(base[of] * share[:, None])


def coherent(tree: Tree, values: np.ndarray) -> float:
    """Largest gap between a node and the sum of its leaves, over the largest value. values : shape [nodes, horizon]."""
    gap = np.abs(values - tree.sums(values[tree.of_leaves[-1]])).max()
    return float(gap / max(np.abs(values).max(), np.finfo(float).tiny))


def paths(columns: Sequence[Sequence[Any]]) -> tuple[Path, ...]:
    """Sorted distinct paths from columns of values, one a level; what is missing is the node "(none)"."""
    found = {tuple("(none)" if _missing(v) else v for v in row) for row in zip(*columns, strict=True)}
    return tuple(sorted(found, key=lambda path: tuple((str(type(v)), v) for v in path)))


def _missing(value: Any) -> bool:
    return value is None or value != value  # noqa: PLR0124 - NaN
