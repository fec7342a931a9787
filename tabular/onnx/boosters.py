"""Trees of LightGBM and XGBoost as flat nodes, from the formats they save themselves in."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from automl.errors import ModelFileError
from tabular.onnx.trees import Nodes

_CATEGORY, _DEFAULT_LEFT, _MISSING = 1, 2, 12
_NONE, _NAN = 0, 8
"""Bits of LightGBM's decision types: a set of categories; gaps go left; what counts as a gap: nothing, or NaN."""


def lightgbm_trees(text: str) -> tuple[list[Nodes], int]:
    """Trees of a LightGBM model in its text format, and how many outputs they count for.

    Raises
    ------
    ModelFileError : zeros count as gaps, which no model of this project does.
    """
    head, *blocks = text.partition("\nend of trees")[0].split("\nTree=")
    outputs = int(_fields(head)["num_tree_per_iteration"])
    return [_lightgbm_nodes(_fields(block), k % outputs) for k, block in enumerate(blocks)], outputs


def _fields(block: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in block.splitlines() if "=" in line)


def _lightgbm_nodes(fields: dict[str, str], output: int) -> Nodes:
    def numbers(name: str, kind: type = float) -> np.ndarray:
        return np.array(fields[name].split(), dtype=kind) if fields.get(name) else np.empty(0, dtype=kind)

    leaves = numbers("leaf_value")
    inner = len(leaves) - 1
    left, right = (np.where(c < 0, inner - c - 1, c) for c in (numbers(n, int) for n in ("left_child", "right_child")))
    feature, threshold, kind = numbers("split_feature", int), numbers("threshold"), numbers("decision_type", int)
    missing = kind & _MISSING
    if not np.isin(missing[(kind & _CATEGORY) == 0], (_NONE, _NAN)).all():
        raise ModelFileError("a LightGBM model takes zeros for gaps, which cannot be written as ONNX.")
    # where training saw no gap, LightGBM takes one for zero
    gaps_left = np.where(missing == _NAN, (kind & _DEFAULT_LEFT) > 0, threshold >= 0)
    mode = np.full(inner, "BRANCH_LEQ", dtype="<U10")
    parts: list[list[Any]] = [list(a) for a in (feature, threshold, mode, left, right, gaps_left)]
    leaf = [0, 0.0, "LEAF", 0, 0, False]
    parts = [part + [value] * len(leaves) for part, value in zip(parts, leaf, strict=True)]
    bounds, words = numbers("cat_boundaries", int), numbers("cat_threshold", np.int64)
    for node in np.flatnonzero(kind & _CATEGORY):
        own = int(threshold[node])
        _one_of(parts, int(node), _members(words[bounds[own] : bounds[own + 1]]))
    columns = [np.array(part) for part in parts]
    values = np.zeros((len(parts[0]), 1))
    values[inner : inner + len(leaves), 0] = leaves
    feature, threshold, mode, left, right, gaps_left = columns
    return Nodes(feature, threshold, mode, left, right, gaps_left, values, (output,))


def _members(words: np.ndarray) -> list[int]:
    """Categories of a set of bits."""
    return [32 * k + bit for k, word in enumerate(words) for bit in range(32) if word >> bit & 1]


def _one_of(parts: list[list[Any]], node: int, members: list[int]) -> None:
    """Write "is one of these" as a chain of nodes, each of which asks for one."""
    feature, _, _, left, right, _ = (part[node] for part in parts)
    for k, category in enumerate(members or [-1]):
        otherwise = right if k + 1 >= len(members) else len(parts[0]) + (1 if k else 0)
        row = [feature, float(category), "BRANCH_EQ", left, otherwise, False]
        for part, value in zip(parts, row, strict=True):
            if k:
                part.append(value)
            else:
                part[node] = value


def xgboost_trees(content: bytes, n_classes: int) -> tuple[list[Nodes], np.ndarray]:
    """Trees of an XGBoost model in its JSON format, and the margins [outputs] they start from."""
    learner = json.loads(content)["learner"]
    model = learner["gradient_booster"]["model"]
    outputs = n_classes if n_classes > 2 else 1
    start = np.array(learner["learner_model_param"]["base_score"].strip("[]").split(","), dtype=float)
    if n_classes == 2:
        start = np.log(start / (1 - start))
    base = np.broadcast_to(start, (outputs,)).astype(float)
    pairs = zip(model["trees"], model["tree_info"], strict=True)
    return [_xgboost_nodes(tree, int(output)) for tree, output in pairs], base


def _xgboost_nodes(tree: dict[str, Any], output: int) -> Nodes:
    left, right = np.array(tree["left_children"]), np.array(tree["right_children"])
    condition = np.array(tree["split_conditions"], dtype=np.float32)
    below = np.nextafter(condition, np.float32(-np.inf))  # of float32, "less than" is "at most the number before"
    return Nodes(
        feature=np.array(tree["split_indices"]),
        threshold=below.astype(float),
        mode=np.where(left < 0, "LEAF", "BRANCH_LEQ"),
        left=left,
        right=right,
        missing_left=np.array(tree["default_left"]),
        leaves=condition.astype(float)[:, None],
        targets=(output,),
    )
