"""Scores of labels: metrics of images with several, and tables label by label. Definitions are scikit-learn's.

A mean of precision, recall, F1 or Jaccard index over labels counts 0 for a label that there is nothing to divide by
(zero_division=0), one over images counts 1 for an image without any label, true or given (zero_division=1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from automl.metrics import Metric, Metrics, area_under_roc

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

THRESHOLD = 0.5
"""Labels whose probability is at least this are given."""

_TINY = float(np.finfo(float).eps)
_NO_SUCH = float("nan")
_AVERAGES = ("macro", "micro", "weighted")

# -- counts: true positives, false positives, false negatives -> score ------------------------------------------------


def _ratio(over: np.ndarray, under: np.ndarray, nothing: float) -> np.ndarray:
    return np.asarray(np.where(under > 0, over / np.where(under > 0, under, 1), nothing))


_SCORES: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray, float], np.ndarray]] = {
    "precision": lambda tp, fp, fn, nothing: _ratio(tp, tp + fp, nothing),  # noqa: ARG005 - one signature
    "recall": lambda tp, fp, fn, nothing: _ratio(tp, tp + fn, nothing),  # noqa: ARG005
    "f1": lambda tp, fp, fn, nothing: _ratio(2 * tp, 2 * tp + fp + fn, nothing),
    "iou": lambda tp, fp, fn, nothing: _ratio(tp, tp + fp + fn, nothing),
}


def _averaged(name: str, truth: np.ndarray, given: np.ndarray, weight: np.ndarray | None, average: str) -> float:
    """Score of labels given, both bool [images, labels]."""
    score = _SCORES[name]
    parts = (truth & given, ~truth & given, truth & ~given)
    if average == "samples":
        tp, fp, fn = (part.sum(axis=1) for part in parts)
        each = score(tp, fp, fn, 1.0)
        return float(np.average(each, weights=weight))
    w = np.ones(len(truth)) if weight is None else np.asarray(weight, dtype=float)
    tp, fp, fn = (w @ part for part in parts)
    if average == "micro":
        return float(score(tp.sum(), fp.sum(), fn.sum(), 0.0))
    each, size = score(tp, fp, fn, 0.0), tp + fn
    if average == "weighted":
        return float(each @ size / size.sum()) if size.sum() > 0 else 0.0
    return float(each.mean())


def _of(name: str, average: str) -> Callable[..., float]:
    def metric(y: np.ndarray, prob: np.ndarray, weight: np.ndarray | None = None) -> float:
        return _averaged(name, _true(y), prob >= THRESHOLD, weight, average)

    return metric


def _true(y: np.ndarray) -> np.ndarray:
    return np.asarray(y) > 0.5


# -- several labels: y of 0 and 1, prob, both [images, labels], weight [images] or None -------------------------------


def iou(y: np.ndarray, prob: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Mean over images of labels that are both true and given over those that are either; 1 where there are none.

    Examples
    --------
    >>> iou(np.array([[1, 1, 0], [0, 0, 0]]), np.array([[0.9, 0.2, 0.8], [0.1, 0.1, 0.1]]))
    0.6666666666666666
    """
    return _averaged("iou", _true(y), prob >= THRESHOLD, weight, "samples")


def exact(y: np.ndarray, prob: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Share of images all of whose labels are right."""
    return float(np.average(((prob >= THRESHOLD) == _true(y)).all(axis=1), weights=weight))


def label_accuracy(y: np.ndarray, prob: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Share of all yes-or-no answers that are right (1 - Hamming loss)."""
    return float(np.average(((prob >= THRESHOLD) == _true(y)).mean(axis=1), weights=weight))


def log_loss(y: np.ndarray, prob: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Mean over labels of the logarithmic loss of each yes or no."""
    p = np.clip(np.asarray(prob, dtype=float), _TINY, 1 - _TINY)
    return float(np.average(-np.log(np.where(_true(y), p, 1 - p)).mean(axis=1), weights=weight))


def auc(hot: np.ndarray, score: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Area under the ROC curve of one label, NaN where all images have it or none has."""
    some = _true(hot)
    return area_under_roc(some.astype(int), score, weight) if some.any() and not some.all() else _NO_SUCH


def precision_area(hot: np.ndarray, score: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Average precision of one label, NaN where all images have it or none has."""
    from sklearn.metrics import average_precision_score

    some = _true(hot)
    if some.all() or not some.any():
        return _NO_SUCH
    return float(average_precision_score(some, score, sample_weight=weight))


def _mean_of(function: Callable[..., float], average: str) -> Callable[..., float]:
    """Mean of a ranking score over the labels that some images have and some have not; NaN where there is none."""

    def metric(y: np.ndarray, prob: np.ndarray, weight: np.ndarray | None = None) -> float:
        truth = _true(y)
        if average == "micro":
            repeated = None if weight is None else np.repeat(weight, truth.shape[1])
            return function(truth.ravel(), prob.ravel(), repeated)
        each = np.array([function(truth[:, k], prob[:, k], weight) for k in range(truth.shape[1])])
        size = truth.sum(axis=0) if weight is None else weight @ truth
        known = ~np.isnan(each)
        if not known.any():
            return _NO_SUCH
        return float(np.average(each[known], weights=size[known] if average == "weighted" else None))

    return metric


MULTILABEL = Metrics(
    "multilabel",
    (
        *(Metric(f.__name__, "max", f, (f.__doc__ or "").partition("\n")[0]) for f in (iou, label_accuracy)),
        Metric(
            "mean_average_precision",
            "max",
            _mean_of(precision_area, "macro"),
            "mean of the average precision of the labels that some images have and some have not",
        ),
        Metric("accuracy", "max", exact, exact.__doc__ or ""),
        Metric("log_loss", "min", log_loss, log_loss.__doc__ or ""),
        *(Metric(f"AUC_{a}", "max", _mean_of(auc, a), f"area under the ROC curve, {a} mean") for a in _AVERAGES),
        *(
            Metric(f"{name}_score_{average}", "max", _of(name, average), f"{name}, {average} mean")
            for name in ("f1", "precision", "recall")
            for average in _AVERAGES
        ),
        Metric("f1_score_samples", "max", _of("f1", "samples"), "f1, mean over images"),
        *(Metric(f"iou_{a}", "max", _of("iou", a), f"Jaccard index, {a} mean") for a in _AVERAGES),
    ),
)
"""Metrics of several labels: y of 0 and 1, probabilities, both [images, classes]."""


# -- tables -----------------------------------------------------------------------------------------------------------


def per_label(
    y: np.ndarray, prob: np.ndarray, classes: Sequence[str], threshold: float = THRESHOLD
) -> list[dict[str, Any]]:
    """One row a label of several: precision, recall, f1, support, auc, average_precision; then their means.

    AUC and average precision are NaN where all images have a label or none has; their micro mean is that of all
    answers together.

    Parameters
    ----------
    y : 0 and 1, prob : probabilities, both [images, classes]. threshold : least probability of a label given.
    """
    return _table(_true(y), prob >= threshold, prob, classes)


def per_class(y: np.ndarray, prob: np.ndarray, classes: Sequence[str]) -> list[dict[str, Any]]:
    """One row a class, where each image has one: as `per_label`. y : codes [images]."""
    codes = np.arange(len(classes))
    return _table(np.asarray(y)[:, None] == codes, prob.argmax(axis=1)[:, None] == codes, prob, classes)


def _table(truth: np.ndarray, given: np.ndarray, prob: np.ndarray, classes: Sequence[str]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for k, name in enumerate(classes):
        one = slice(k, k + 1)
        row = {s: _averaged(s, truth[:, one], given[:, one], None, "macro") for s in ("precision", "recall", "f1")}
        rows.append(
            {
                "label": name,
                **row,
                "support": int(truth[:, k].sum()),
                "auc": auc(truth[:, k], prob[:, k]),
                "average_precision": precision_area(truth[:, k], prob[:, k]),
            }
        )
    for average in _AVERAGES:
        row = {s: _averaged(s, truth, given, None, average) for s in ("precision", "recall", "f1")}
        rows.append(
            {
                "label": f"{average} mean",
                **row,
                "support": int(truth.sum()),
                "auc": _mean_of(auc, average)(truth, prob),
                "average_precision": _mean_of(precision_area, average)(truth, prob),
            }
        )
    return rows
