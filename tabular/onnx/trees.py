"""Trees as one ONNX node: flat arrays of nodes in, sums of leaves out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tabular.onnx.graph import ML

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tabular.onnx.graph import Graph


@dataclass(slots=True)
class Nodes:
    """All nodes of one tree; node 0 is the root.

    Parameters
    ----------
    feature : that a node looks at, shape [nodes]. threshold : it compares with. mode : BRANCH_LEQ, BRANCH_EQ or
        LEAF. left, right : where rows go for which the comparison holds or does not. missing_left : whether rows
        without a value go left. leaves : values of the leaves (of other nodes whatever), shape [nodes, outputs].
    targets : outputs that the columns of `leaves` count for.
    """

    feature: np.ndarray
    threshold: np.ndarray
    mode: np.ndarray
    left: np.ndarray
    right: np.ndarray
    missing_left: np.ndarray
    leaves: np.ndarray
    targets: tuple[int, ...]


def add_trees(graph: Graph, x: str, trees: Sequence[Nodes], outputs: int, base: np.ndarray) -> str:
    """Sum of the leaves that each row of x (float64) falls into, plus a base, shape [rows, outputs] float64.

    Thresholds and leaves are float64, as the features are: what Python compares and what ONNX compares is the same.
    """
    from onnx import numpy_helper

    if not trees:
        zero = graph.op("Mul", graph.columns(x, [0]), graph.constant(0.0))
        return str(graph.op("Add", graph.where_nan(zero, graph.constant(0.0)), graph.constant(base[None, :])))
    size = np.array([len(t.feature) for t in trees])
    tree = np.repeat(np.arange(len(trees)), size)
    node = np.concatenate([np.arange(n) for n in size])
    mode = np.concatenate([t.mode for t in trees])
    leaf = mode == "LEAF"
    parts: dict[str, list[np.ndarray]] = {"tree": [], "node": [], "output": [], "value": []}
    for k, own in enumerate(trees):
        at = np.flatnonzero(own.mode == "LEAF")
        for column, target in enumerate(own.targets):
            parts["tree"].append(np.full(len(at), k))
            parts["node"].append(at)
            parts["output"].append(np.full(len(at), target))
            parts["value"].append(own.leaves[at, column])
    joined = {name: np.concatenate(arrays) for name, arrays in parts.items()}
    order = np.lexsort((joined["output"], joined["node"], joined["tree"]))
    joined = {name: array[order] for name, array in joined.items()}

    def whole(name: str) -> list[int]:
        values = np.concatenate([np.asarray(getattr(t, name)) for t in trees]).astype(np.int64)
        return list(np.where(leaf, 0, values).tolist())

    def tensor(values: Any) -> Any:
        return numpy_helper.from_array(np.asarray(values, dtype=np.float64))

    threshold = np.where(leaf, 0.0, np.concatenate([t.threshold for t in trees]))
    out = graph.op(
        "TreeEnsembleRegressor",
        x,
        domain=ML,
        n_targets=outputs,
        nodes_treeids=tree.tolist(),
        nodes_nodeids=node.tolist(),
        nodes_featureids=whole("feature"),
        nodes_values_as_tensor=tensor(threshold),
        nodes_modes=mode.tolist(),
        nodes_truenodeids=whole("left"),
        nodes_falsenodeids=whole("right"),
        nodes_missing_value_tracks_true=whole("missing_left"),
        target_treeids=joined["tree"].tolist(),
        target_nodeids=joined["node"].tolist(),
        target_ids=joined["output"].tolist(),
        target_weights_as_tensor=tensor(joined["value"]),
    )
    return str(graph.op("Add", graph.cast(out, "float64"), graph.constant(base[None, :])))


def of_margins(graph: Graph, margins: str, columns: int, *, classes: bool) -> str:
    """Predictions of what boosted trees add up to: numbers as they are, probabilities of one margin or of several."""
    if not classes:
        return margins
    return sigmoid_pair(graph, margins) if columns == 1 else str(graph.op("Softmax", margins, axis=1))


def sigmoid_pair(graph: Graph, margin: str) -> str:
    """Probabilities [rows, 2] of a margin [rows, 1]."""
    p = graph.sigmoid(margin)
    return graph.concat([graph.op("Sub", graph.constant(1.0), p), p])
