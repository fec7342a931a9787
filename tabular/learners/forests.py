"""Trees and forests of scikit-learn, saved as the arrays of their nodes: hundreds of trees in three arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from automl.candidates import import_object
from automl.errors import ModelFileError
from automl.explain import tree_work
from tabular.learners.scikit import Scikit
from tabular.onnx.trees import Nodes, add_trees

if TYPE_CHECKING:
    from automl.trial import State
    from tabular.learners.base import FitContext, Margins
    from tabular.onnx.graph import Graph

_MANY_ROWS = 10_000


@dataclass(kw_only=True)
class _Trees(Scikit):
    """What one tree and many share."""

    flavour: ClassVar[str] = "codes"
    takes_seed: ClassVar[bool] = True

    def state(self) -> State:
        """Parameters and nodes."""
        trees = getattr(self._estimator, "estimators_", [self._estimator])
        states = [tree.tree_.__getstate__() for tree in trees]
        own = {
            "params": self.params(),
            "classes": self._classes,
            "seen": [int(c) for c in self._estimator.classes_] if self._classes else [],
            "features": int(self._estimator.n_features_in_),
            "depths": [int(s["max_depth"]) for s in states],
        }
        blobs: dict[str, Any] = {
            "counts": np.array([s["node_count"] for s in states], dtype=np.int64),
            "nodes": np.concatenate([s["nodes"] for s in states]),
            "values": np.concatenate([s["values"] for s in states]),
        }
        return own, blobs

    @classmethod
    def from_state(cls, settings: dict[str, Any], blobs: dict[str, Any]) -> Self:
        """Read what `state` gave.

        Raises
        ------
        ModelFileError : the nodes are not those of trees.
        """
        self = cls(**settings["params"])
        self._classes = settings["classes"]
        ends = np.cumsum(blobs["counts"])
        trees = [
            _tree(settings, depth, blobs["nodes"][end - count : end], blobs["values"][end - count : end])
            for depth, count, end in zip(settings["depths"], blobs["counts"], ends, strict=True)
        ]
        target = import_object(cls.classifier if self._classes else cls.regressor)
        self._estimator = self._restored(target, trees, settings)
        return self

    def margins(self, x: np.ndarray) -> Margins:
        """SHAP values of rows."""
        return self._shap_of_trees(x)

    def margin_work(self) -> float:
        """Operations a row."""
        return tree_work(self._estimator)

    def _onnx(self, graph: Graph, x: str) -> str:
        trees = getattr(self._estimator, "estimators_", [self._estimator])
        made = [_nodes_of(tree.tree_.__getstate__(), len(trees), classes=bool(self._classes)) for tree in trees]
        outputs = len(made[0].targets)
        return add_trees(graph, x, made, outputs, np.zeros(outputs))

    def _restored(self, target: Any, trees: list[Any], settings: dict[str, Any]) -> Any:  # noqa: ARG002 - shared form
        return trees[0]


def _tree(settings: dict[str, Any], depth: int, nodes: np.ndarray, values: np.ndarray) -> Any:
    """Build a tree estimator of scikit-learn around nodes."""
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
    from sklearn.tree._tree import Tree

    features, seen = settings["features"], np.array(settings["seen"])
    estimator: Any = DecisionTreeClassifier() if settings["classes"] else DecisionTreeRegressor()
    count = max(len(seen), 1)
    inner = (nodes["left_child"] >= 0) & (nodes["left_child"] < len(nodes)) & (nodes["right_child"] < len(nodes))
    leaf = nodes["left_child"] < 0
    if not (inner | leaf).all() or (nodes["feature"][~leaf] >= features).any():
        raise ModelFileError("a saved forest is damaged: its nodes point nowhere.")
    tree = Tree(features, np.array([count], dtype=np.intp), 1)
    tree.__setstate__(
        {
            "max_depth": depth,
            "node_count": len(nodes),
            "nodes": np.ascontiguousarray(nodes),
            "values": np.ascontiguousarray(values),
        }
    )
    estimator.tree_ = tree
    _dress(estimator, settings)
    return estimator


def _nodes_of(state: dict[str, Any], trees: int, *, classes: bool) -> Nodes:
    """Nodes of a tree that is one of many."""
    nodes, values = state["nodes"], state["values"][:, 0, :]
    if classes:
        values = values / values.sum(axis=1, keepdims=True)
    return Nodes(
        feature=nodes["feature"],
        threshold=nodes["threshold"],
        mode=np.where(nodes["left_child"] < 0, "LEAF", "BRANCH_LEQ"),
        left=nodes["left_child"],
        right=nodes["right_child"],
        missing_left=nodes["missing_go_to_left"],
        leaves=values / trees,
        targets=tuple(range(values.shape[1])),
    )


def _dress(estimator: Any, settings: dict[str, Any]) -> None:
    """Give an estimator what fitting would have."""
    estimator.n_features_in_, estimator.n_outputs_ = settings["features"], 1
    if settings["classes"]:
        estimator.classes_ = np.array(settings["seen"])
        estimator.n_classes_ = len(settings["seen"])


@dataclass(kw_only=True)
class DecisionTree(_Trees):
    """One tree."""

    max_depth: int = 8
    min_samples_leaf: int = 5

    classifier: ClassVar[str] = "sklearn.tree:DecisionTreeClassifier"
    regressor: ClassVar[str] = "sklearn.tree:DecisionTreeRegressor"


@dataclass(kw_only=True)
class _Forest(_Trees):
    """Many trees.

    Parameters
    ----------
    n_estimators : trees; a third of them above 10,000 rows, where each is dear and they agree.
    """

    n_estimators: int = 150
    min_samples_leaf: int = 1
    max_features: float = 0.4

    takes_threads: ClassVar[bool] = True

    def arguments(self, context: FitContext) -> dict[str, Any]:
        """Arguments by their own names."""
        trees = max(1, self.n_estimators // 3) if context.rows > _MANY_ROWS else self.n_estimators
        return {**self.params(), "n_estimators": trees}

    def _restored(self, target: Any, trees: list[Any], settings: dict[str, Any]) -> Any:
        forest = target(**self.params())
        forest.estimators_ = trees
        _dress(forest, settings)
        return forest


@dataclass(kw_only=True)
class RandomForest(_Forest):
    """Random forest (Breiman 2001)."""

    classifier: ClassVar[str] = "sklearn.ensemble:RandomForestClassifier"
    regressor: ClassVar[str] = "sklearn.ensemble:RandomForestRegressor"


@dataclass(kw_only=True)
class ExtremeRandomTrees(_Forest):
    """Extremely randomised trees (Geurts, Ernst & Wehenkel 2006)."""

    classifier: ClassVar[str] = "sklearn.ensemble:ExtraTreesClassifier"
    regressor: ClassVar[str] = "sklearn.ensemble:ExtraTreesRegressor"
