"""A forest that keeps the targets of its leaves, so that it forecasts their distribution."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from forecasting.learners.quantile import LearnsQuantiles
from forecasting.learners.scikit import ExtremeRandomTrees
from forecasting.panel import run_starts

if TYPE_CHECKING:
    from automl.trial import State
    from forecasting.features.plan import Design
    from forecasting.learners.base import FitContext

_DRAWN = 6
"""Targets kept of every leaf."""

_TAIL = 0.005
"""Share of targets at either end that splits see no further out than the next ones; leaves keep them as they are."""

_ROWS_A_PIECE = 4_096


@dataclass(kw_only=True)
class QuantileForest(LearnsQuantiles, ExtremeRandomTrees):
    """Extremely randomised trees whose forecast is the distribution of the targets that share its leaves.

    Every leaf keeps six of its targets, one from each sixth of its weight; a row's quantiles are those of the kept
    targets of all its leaves. Source: Meinshausen (2006), Journal of Machine Learning Research 7, on trees by Geurts et
    al. (2006).
    """

    max_rows: int = 30_000
    min_samples_leaf: int = 10

    _kept: Any = field(default=None, init=False, repr=False, compare=False)

    name: ClassVar[str] = "QuantileForest"
    levels: ClassVar[tuple[float, ...]] = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)

    def _fit(self, design: Design, weight: np.ndarray, context: FitContext) -> None:
        inner = np.clip(design.y, *np.quantile(design.y, (_TAIL, 1 - _TAIL)))
        super()._fit(replace(design, y=inner), weight, context)
        context.deadline.check(f"keeping the targets of leaves of {self.name}")
        rng = np.random.default_rng(context.seed)
        leaf = self._estimator.apply(self._scaler.transform(self._clean(design.x)))
        kept = [kept_targets(leaf[:, t], design.y, weight, n, rng) for t, n in enumerate(self._nodes())]
        self._kept = np.concatenate(kept)

    def _nodes(self) -> list[int]:
        """Nodes of each tree."""
        return [tree.tree_.node_count for tree in self._estimator.estimators_]

    def _predict_levels(self, x: np.ndarray) -> np.ndarray:
        begin = np.concatenate([[0], np.cumsum(self._nodes())[:-1]])
        out = np.empty((len(x), len(self.levels)))
        for first in range(0, len(x), _ROWS_A_PIECE):
            piece = self._scaler.transform(self._clean(x[first : first + _ROWS_A_PIECE]))
            targets = self._kept[self._estimator.apply(piece) + begin].reshape(len(piece), -1)
            out[first : first + len(piece)] = np.quantile(targets, self.levels, axis=1).T
        return out

    def _regressor_state(self) -> State:
        settings, blobs = super()._regressor_state()
        return settings, {**blobs, "kept": self._kept}

    def _restore_regressor(self, settings: dict[str, Any], blobs: dict[str, Any]) -> None:
        super()._restore_regressor(settings, blobs)
        self._kept = blobs["kept"]


def kept_targets(
    leaf: np.ndarray, y: np.ndarray, weight: np.ndarray, nodes: int, rng: np.random.Generator
) -> np.ndarray:
    """Targets that stand for those of each leaf of a tree: one from every equal share of its weight, smallest first.

    Parameters
    ----------
    leaf : shape [r] int, node that each row ends in. y, weight : shape [r]; weight >= 0. nodes : of the tree.

    Returns
    -------
    shape [nodes, 6] float32, zeros for nodes that are no leaf.

    Examples
    --------
    >>> y = np.arange(12.0)
    >>> kept_targets(np.repeat([1, 2], 6), y, np.ones(12), 3, np.random.default_rng(0)).tolist()[1:]
    [[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], [6.0, 7.0, 8.0, 9.0, 10.0, 11.0]]
    """
    order = np.lexsort((y, leaf))
    node = leaf[order]
    first = run_starts(node)
    end = np.concatenate([first[1:], [len(node)]])
    until = np.cumsum(weight[order])
    before = np.concatenate([[0.0], until])[first]
    out = np.zeros((nodes, _DRAWN), dtype=np.float32)
    for k in range(_DRAWN):
        share = (k + rng.random(len(first))) / _DRAWN
        at = np.searchsorted(until, before + share * (until[end - 1] - before), side="right")
        out[node[first], k] = y[order][np.clip(at, first, end - 1)]
    return out
