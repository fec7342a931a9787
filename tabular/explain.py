"""What columns and features add to predictions: SHAP where a learner allows it, else what is lost without a column.

Sources: Lundberg & Lee (2017), A unified approach to interpreting model predictions, NeurIPS; Lundberg et al. (2020),
From local explanations to global understanding with explainable AI for trees, Nature Machine Intelligence 2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit, softmax

from automl.errors import ConfigError
from tabular.featurize.base import dense

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tabular.learners.base import Margins
    from tabular.model import TabularModel
    from tabular.pipeline import Pipeline
    from tabular.table import Column, Table

METHODS = ("auto", "shap", "permutation")
BASE = "(base)"
"""What a prediction starts from before any column is looked at."""

_STILL = 1e-9
MOST_SHARE = 0.5
"""Share of an entry that must have SHAP values for them to explain it."""

_MOST_WORK = 3e9
"""Operations of tree SHAP for one pipeline, about five seconds."""

_FEWEST_ROWS = 20


@dataclass(frozen=True, slots=True)
class Explanation:
    """What each feature adds to each prediction, in units of the prediction (probability, or the target's).

    Parameters
    ----------
    names : of the k features; BASE is not among them. values : shape [rows, k, outputs]. base : shape [rows, outputs];
        base plus the sum over features is the prediction. methods : by feature.
    """

    names: tuple[str, ...]
    values: np.ndarray
    base: np.ndarray
    methods: tuple[str, ...]


def local(model: TabularModel, name: str | None, table: Table, *, raw: bool) -> Explanation:
    """Explain each row of a table.

    Members without SHAP values stand as one feature each, named "(member)". Of a stack, members count as much as the
    size of their coefficients says.

    Raises
    ------
    ConfigError : no member has SHAP values.
    """
    shares = member_shares(model, name)
    parts: dict[str, np.ndarray] = {}
    methods: dict[str, dict[str, None]] = {}
    whole = _outputs(model, model.predict(table, name))
    base = np.zeros_like(whole)
    split = 0.0
    for member, share in shares.items():
        pipelines = model.members[member]
        for pipeline in pipelines:
            weight = share / len(pipelines)
            found = _of_pipeline(pipeline, table, model, raw=raw)
            if found is None:
                found = Explanation(
                    (f"({member})",),
                    _outputs(model, pipeline.predict(table))[:, None, :],
                    np.zeros_like(whole),
                    ("whole",),
                )
            else:
                split += weight
            base += weight * found.base
            for k, feature in enumerate(found.names):
                parts[feature] = parts.get(feature, np.zeros_like(whole)) + weight * found.values[:, k, :]
                methods.setdefault(feature, {})[found.methods[k]] = None
    if not split:
        raise ConfigError(
            f"no member of {name or model.best} has SHAP values; only trees and linear models have. Fix: "
            f"method='permutation', or model= one of {', '.join(able(model)) or '(none of this run)'}."
        )
    values = np.stack(list(parts.values()), axis=1)
    values *= _factor(whole - base, values.sum(axis=1))[:, None, :]
    base = whole - values.sum(axis=1)
    return Explanation(tuple(parts), values, base, tuple(" + ".join(m) for m in methods.values()))


def able(model: TabularModel) -> list[str]:
    """Entries of one member that has SHAP values."""
    return [n for n, e in model.entries.items() if len(e.weights) == 1 and _explains(model.members[e.weights[0][0]][0])]


def _explains(pipeline: Pipeline) -> bool:
    return hasattr(pipeline.learner, "margins")


def explained_share(model: TabularModel, name: str | None) -> float:
    """Share of an entry whose members have SHAP values."""
    shares = member_shares(model, name)
    return sum(share for member, share in shares.items() if _explains(model.members[member][0]))


def member_shares(model: TabularModel, name: str | None) -> dict[str, float]:
    """How much each member counts for; the shares add up to 1."""
    entry = model.entry(name)
    weights = {m: w for m, w in entry.weights if w or entry.stack is not None}
    if entry.stack is not None:
        size = np.abs(entry.stack.coef).sum(axis=0).reshape(len(weights), -1).sum(axis=1)
        weights = dict(zip(weights, size.tolist(), strict=True))
    total = sum(weights.values())
    return {m: w / total if total else 1 / len(weights) for m, w in weights.items()}


def _outputs(model: TabularModel, predicted: np.ndarray) -> np.ndarray:
    """Predictions as [rows, outputs]."""
    return predicted if model.classes is not None else predicted[:, None]


def _of_pipeline(pipeline: Pipeline, table: Table, model: TabularModel, *, raw: bool) -> Explanation | None:
    learner: Any = pipeline.learner
    if not _explains(pipeline):
        return None
    x = pipeline.featurizer.transform(table)
    margins: Margins = learner.margins(dense(x))
    predicted = _outputs(model, pipeline.of_features(x))
    start = np.broadcast_to(pipeline.unlogged(_link(margins.expected[None, :], margins.link)), predicted.shape)
    values = margins.values
    if margins.link != "value":  # a probability moves with its own margin against the others'
        middle = (predicted + start) / 2
        values = values - np.einsum("rkc,rc->rk", values, middle)[:, :, None]
    values = values * _factor(predicted - start, values.sum(axis=1))[:, None, :]
    base = predicted - values.sum(axis=1)
    names: tuple[str, ...] = pipeline.featurizer.names
    if raw:
        names, values = _by_column(pipeline, table, values)
    return Explanation(names, values, base, (margins.method,) * len(names))


def _factor(distance: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """What contributions are multiplied by to add up to a distance; 1 where they add up to nothing."""
    still = np.abs(moved) < _STILL
    factor = distance / np.where(still, 1.0, moved)
    return np.where(still | (np.abs(factor) > 1e3), 1.0, factor)


def _link(margins: np.ndarray, link: str) -> np.ndarray:
    """Predictions of margins [rows, outputs]."""
    if link == "softmax":
        return np.asarray(softmax(margins, axis=1))
    if link == "each":
        each = expit(margins)
        return np.asarray(each / each.sum(axis=1, keepdims=True))
    return margins


def _by_column(pipeline: Pipeline, table: Table, values: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """Contributions by raw column; what is made of several columns is shared out among them."""
    raw = table.names
    sources = pipeline.featurizer.sources
    used = sorted({i for source in sources for i in source})
    place = {i: k for k, i in enumerate(used)}
    out = np.zeros((values.shape[0], len(used), values.shape[2]))
    for j, source in enumerate(sources):
        for i in source:
            out[:, place[i], :] += values[:, j, :] / len(source)
    return tuple(raw[i] for i in used), out


# -- of all rows ------------------------------------------------------------------------------------------------------


def by_shap(explanation: Explanation) -> list[dict[str, Any]]:
    """Mean absolute contribution of each feature over rows and classes, largest first; whole members are left out."""
    size = np.abs(explanation.values).mean(axis=2)
    rows = [
        {"feature": n, "importance": float(size[:, k].mean()), "std": float(size[:, k].std()), "method": m}
        for k, (n, m) in enumerate(zip(explanation.names, explanation.methods, strict=True))
        if m != "whole"
    ]
    return sorted(rows, key=lambda r: -float(r["importance"]))


def by_permutation(
    predict: Callable[[Table], np.ndarray],
    loss: Callable[[np.ndarray], float],
    table: Table,
    *,
    repeats: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Increase of the loss where a raw column is shuffled, largest first.

    Raises
    ------
    ConfigError : repeats is below 1, or the columns have no names (a sparse matrix).
    """
    if repeats < 1:
        raise ConfigError(f"repeats must be at least 1, got {repeats!r}.")
    if table.matrix is not None:
        raise ConfigError("columns of a sparse matrix are not shuffled one by one. Fix: method='shap'.")
    base, out = loss(predict(table)), []
    for k, column in enumerate(table.columns):
        rng = np.random.default_rng(seed)  # the same shuffles for every column: differences are not luck
        worse = []
        for _ in range(repeats):
            other = _with(table, k, column.take(rng.permutation(table.n_rows)))
            worse.append(loss(predict(other)) - base)
        row = {"feature": column.name, "importance": float(np.mean(worse)), "std": float(np.std(worse))}
        out.append({**row, "method": "permutation"})
    return sorted(out, key=lambda r: -float(r["importance"]))


def _with(table: Table, place: int, column: Column) -> Table:
    columns: Sequence[Column] = (*table.columns[:place], column, *table.columns[place + 1 :])
    return replace(table, columns=tuple(columns))


def rows_for(model: TabularModel, name: str | None, most: int) -> int:
    """How many rows SHAP is reckoned on, so that it takes seconds."""
    work = max(
        (float(p.learner.margin_work()) for m in member_shares(model, name) for p in model.members[m] if _explains(p)),  # type: ignore[attr-defined]
        default=1.0,
    )
    folds = sum(len(model.members[m]) for m in member_shares(model, name))
    return int(max(_FEWEST_ROWS, min(most, _MOST_WORK / max(work * folds / 4, 1.0))))
