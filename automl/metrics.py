"""Metrics on plain arrays: name, direction, function; a registry tasks add their own to. Definitions as in SPEC 5."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from automl.candidates import import_object
from automl.errors import ConfigError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Direction = Literal["min", "max"]
_NO_SUCH = float("nan")


@dataclass(frozen=True, slots=True)
class Metric:
    """A score.

    Parameters
    ----------
    name : shown. direction : whether the lowest ("min") or highest value is best. function : arrays -> float.
    doc : one line.
    """

    name: str
    direction: Direction
    function: Callable[..., float]
    doc: str = ""

    def loss(self, value: float) -> float:
        """Value turned so that lower is better."""
        return value if self.direction == "min" else -value


_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True)
class UserMetric:
    """A function of the user's to choose models by.

    It is called in the process that runs the search, never in a worker, and is not stored with a run or a model: these
    keep the name, the direction and, where there is one, the text by which it can be imported again.

    Parameters
    ----------
    name : shown in leaderboards. function : (actual, forecast), both shape [n] -> float; None = not at hand.
    direction : whether the lowest ("min") or highest value is best. target : `"package.module:function"`.

    Examples
    --------
    >>> UserMetric("worst_miss", lambda y, f: abs(y - f).max()).score(np.array([1.0, 2.0]), np.array([1.5, 4.0]))
    2.0
    >>> UserMetric.of("math:dist").name
    'dist'
    """

    name: str
    function: Callable[[np.ndarray, np.ndarray], float] | None = None
    direction: Direction = "min"
    target: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _PLAIN_NAME.fullmatch(self.name):
            raise ConfigError(
                f"a metric's name is letters, digits, '_', '-' or '.', got {self.name!r}. "
                "Fix: UserMetric('my_name', function)."
            )
        if self.direction not in {"min", "max"}:
            raise ConfigError(f"direction of metric {self.name!r} must be 'min' or 'max', got {self.direction!r}.")
        if self.function is not None and not callable(self.function):
            raise ConfigError(f"metric {self.name!r} needs a function of (actual, forecast), got {self.function!r}.")

    @classmethod
    def of(cls, spec: str | Callable[..., float] | UserMetric) -> UserMetric:
        """Read what a user may give: a metric, a function, or the text "package.module:name" of either.

        Raises
        ------
        ConfigError : it cannot be imported, or is no function.
        """
        if isinstance(spec, UserMetric):
            return spec
        if isinstance(spec, str):
            found = _imported(spec)
            made = found if isinstance(found, UserMetric) else cls(spec.rpartition(":")[2], found)
            return replace(made, target=spec)
        return cls(getattr(spec, "__name__", type(spec).__name__), spec)

    def at_hand(self) -> Callable[[np.ndarray, np.ndarray], float]:
        """Return the function itself, imported where that is needed.

        Raises
        ------
        ConfigError : it is not stored and cannot be imported.
        """
        if self.function is not None:
            return self.function
        if self.target is None:
            raise ConfigError(
                f"metric {self.name!r} is a function of yours, which is not stored with a run or a model. "
                f"Fix: give it again, metric={self.name}."
            )
        function = UserMetric.of(self.target).function
        if function is None:
            raise ConfigError(f"{self.target} holds no function.")
        return function

    def score(self, y: np.ndarray, f: np.ndarray) -> float:
        """Value on actual and forecast, both shape [n].

        Raises
        ------
        ConfigError : the function is not at hand, or returned something else than a number.
        """
        value = self.at_hand()(y, f)
        try:
            return float(value)
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"metric {self.name!r} must return one number, it returned {type(value).__name__}."
            ) from error

    def to_json(self) -> dict[str, str | None]:
        """All but the function."""
        return {"name": self.name, "direction": self.direction, "target": self.target}


def _imported(target: str) -> Any:
    """Import a function or metric named by text; says how where that fails."""
    fix = "Fix: install its package, or name its folder in PYTHONPATH."
    try:
        return import_object(target)
    except ImportError as error:
        raise ConfigError(f"metric {target!r} cannot be imported: {error}. {fix}") from error
    except AttributeError as error:
        raise ConfigError(f"metric {target!r} does not exist: {error}.") from error


class Metrics:
    """Metrics of one kind of task, by name.

    Examples
    --------
    >>> REGRESSION.load("r2_score").direction
    'max'
    """

    def __init__(self, kind: str, metrics: tuple[Metric, ...]) -> None:
        self._kind = kind
        self._metrics = {m.name: m for m in metrics}

    def __iter__(self) -> Iterator[str]:
        return iter(self._metrics)

    def load(self, name: str) -> Metric:
        """Metric by exact name.

        Raises
        ------
        UnknownNameError : no such metric (with the closest match).
        """
        if name not in self._metrics:
            raise UnknownNameError(f"{self._kind} metric", name, self._metrics)
        return self._metrics[name]

    def register(self, metric: Metric) -> None:
        """Add or replace one."""
        self._metrics[metric.name] = metric


# -- regression: y, prediction, both shape [n] ------------------------------------------------------------------------


def mean_absolute_error(y: np.ndarray, f: np.ndarray) -> float:
    """Mean of |y - f|."""
    return float(np.abs(y - f).mean())


def root_mean_squared_error(y: np.ndarray, f: np.ndarray) -> float:
    """Root of the mean squared error; safe for huge values."""
    error = np.abs(y - f)
    largest = float(error.max())
    return largest * float(np.sqrt(np.square(error / largest).mean())) if largest > 0 else 0.0


def median_absolute_error(y: np.ndarray, f: np.ndarray) -> float:
    """Median of |y - f|."""
    return float(np.median(np.abs(y - f)))


def mean_absolute_percentage_error(y: np.ndarray, f: np.ndarray) -> float:
    """Mean of |y - f| / |y| in percent, over rows where y is not 0 (to rounding); NaN where there is none."""
    some = np.abs(y) > np.finfo(float).eps * np.abs(y).max(initial=0.0)
    return float(100 * (np.abs(y - f)[some] / np.abs(y)[some]).mean()) if some.any() else _NO_SUCH


def root_mean_squared_log_error(y: np.ndarray, f: np.ndarray) -> float:
    """Root mean squared error of log(1 + value); negative predictions count as 0, NaN where y is negative."""
    if (y < 0).any():
        return _NO_SUCH
    return root_mean_squared_error(np.log1p(y), np.log1p(np.maximum(f, 0.0)))


def r2_score(y: np.ndarray, f: np.ndarray) -> float:
    """Share of variance explained, clipped to -1..1; NaN for a constant y."""
    unit = np.abs(y).max(initial=np.finfo(float).tiny)
    total = np.square((y - y.mean()) / unit).sum()
    return float(np.clip(1 - np.square((y - f) / unit).sum() / total, -1, 1)) if total > 0 else _NO_SUCH


def explained_variance(y: np.ndarray, f: np.ndarray) -> float:
    """1 - variance of the error over variance of y, at most 1; NaN for a constant y."""
    unit = np.abs(y).max(initial=np.finfo(float).tiny)
    total = np.var(y / unit)
    return float(1 - np.var((y - f) / unit) / total) if total > 0 else _NO_SUCH


def spearman_correlation(y: np.ndarray, f: np.ndarray) -> float:
    """Rank correlation, ties at their mean rank; NaN where one side is constant."""
    a, b = _ranks(y), _ranks(f)
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return _NO_SUCH
    return float(np.corrcoef(a, b)[0, 1])


def _ranks(x: np.ndarray) -> np.ndarray:
    _, where, count = np.unique(x, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[where]


def _over_range(metric: Callable[[np.ndarray, np.ndarray], float]) -> Callable[..., float]:
    """Metric over the range of y (or a given range, that of the training data); NaN where the range is 0."""

    def normalised(y: np.ndarray, f: np.ndarray, value_range: float | None = None) -> float:
        spread = float(np.ptp(y)) if value_range is None else value_range
        return metric(y, f) / spread if spread > 0 else _NO_SUCH

    return normalised


_PLAIN: Mapping[str, tuple[Direction, Callable[..., float]]] = {
    "mean_absolute_error": ("min", mean_absolute_error),
    "root_mean_squared_error": ("min", root_mean_squared_error),
    "median_absolute_error": ("min", median_absolute_error),
    "mean_absolute_percentage_error": ("min", mean_absolute_percentage_error),
    "root_mean_squared_log_error": ("min", root_mean_squared_log_error),
    "r2_score": ("max", r2_score),
    "explained_variance": ("max", explained_variance),
    "spearman_correlation": ("max", spearman_correlation),
}
_NORMALISED = (mean_absolute_error, median_absolute_error, root_mean_squared_error, root_mean_squared_log_error)

REGRESSION = Metrics(
    "regression",
    (
        *(Metric(name, direction, f, f.__doc__ or "") for name, (direction, f) in _PLAIN.items()),
        *(
            Metric(f"normalized_{f.__name__}", "min", _over_range(f), "over the range of the target")
            for f in _NORMALISED
        ),
    ),
)


# -- classification: y codes [n], prob [n, classes], weight [n] or None ----------------------------------------


def normalised(probabilities: np.ndarray) -> np.ndarray:
    """Probabilities that add up to 1 in each row."""
    clipped = np.clip(probabilities, 0, None)
    total = clipped.sum(axis=1, keepdims=True)
    return np.where(total > 0, clipped / np.where(total > 0, total, 1), 1 / probabilities.shape[1])


def accuracy(y: np.ndarray, prob: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Share of rows whose most probable class is right."""
    return float(np.average(prob.argmax(axis=1) == y, weights=weight))


def balanced_accuracy(y: np.ndarray, prob: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Mean recall of the classes that occur in rows of positive weight."""
    right = (prob.argmax(axis=1) == y).astype(float)
    there = np.unique(y if weight is None else y[weight > 0])
    return float(
        np.mean([np.average(right[y == c], weights=None if weight is None else weight[y == c]) for c in there])
    )


def weighted_accuracy(y: np.ndarray, prob: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Accuracy with each row weighted by the size of its class, so that large classes count more.

    Examples
    --------
    >>> weighted_accuracy(np.array([0, 0, 0, 1]), np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]))
    0.9
    """
    size = np.bincount(y, weights=weight, minlength=prob.shape[1])[y]
    return float(np.average(prob.argmax(axis=1) == y, weights=size if weight is None else size * weight))


def norm_macro_recall(y: np.ndarray, prob: np.ndarray, weight: np.ndarray | None = None) -> float:
    """(macro recall - R) / (1 - R) with R = 1 / classes, what guessing reaches."""
    guess = 1 / max(2, prob.shape[1])
    return (balanced_accuracy(y, prob, weight) - guess) / (1 - guess)


def log_loss(y: np.ndarray, prob: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Mean negative log probability of the true class."""
    tiny = np.finfo(float).eps
    return float(-np.average(np.log(np.clip(prob[np.arange(len(y)), y], tiny, 1.0)), weights=weight))


def _scikit(name: str, average: str | None) -> Callable[..., float]:
    """A threshold metric of scikit-learn on the most probable class."""

    def metric(y: np.ndarray, prob: np.ndarray, weight: np.ndarray | None = None) -> float:
        from sklearn import metrics

        extra: dict[str, Any] = {} if average is None else {"average": average, "zero_division": 0}
        if average is not None:
            extra["labels"] = np.arange(prob.shape[1])
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="A single label was found")  # then its value is 0, as it says
            return float(getattr(metrics, name)(y, prob.argmax(axis=1), sample_weight=weight, **extra))

    return metric


def area_under_roc(hot: np.ndarray, score: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Chance that a row with the class scores above one without it, ties counted half (Hanley & McNeil 1982).

    Examples
    --------
    >>> area_under_roc(np.array([1, 0, 1, 0]), np.array([0.9, 0.1, 0.4, 0.4]))
    0.875
    """
    w = np.ones(len(hot)) if weight is None else weight
    order = np.argsort(score, kind="stable")
    ranked = score[order]
    first = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
    with_, without = (np.add.reduceat(part[order], first) for part in (w * hot, w * (1 - hot)))
    below = np.cumsum(without) - without
    whole = with_.sum() * without.sum()
    return float((with_ * (below + without / 2)).sum() / whole) if whole > 0 else _NO_SUCH


def _precision(hot: np.ndarray, score: np.ndarray, weight: np.ndarray | None = None) -> float:
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(hot, score, sample_weight=weight))


def _ranking(name: str, average: str) -> Callable[..., float]:
    """Area under ROC or precision-recall, one class against the rest; classes that do not occur are left out."""
    function = area_under_roc if name == "roc_auc_score" else _precision

    def metric(y: np.ndarray, prob: np.ndarray, weight: np.ndarray | None = None) -> float:
        hot = (y[:, None] == np.arange(prob.shape[1])).astype(int)
        if name == "roc_auc_score" and average != "micro" and prob.shape[1] == 2:
            return function(hot[:, 1], prob[:, 1], weight)  # both classes have the same
        if average == "micro":
            repeated = None if weight is None else np.repeat(weight, prob.shape[1])
            return function(hot.ravel(), prob.ravel(), repeated)
        counted = hot if weight is None else hot[weight > 0]
        there = [c for c in range(prob.shape[1]) if 0 < counted[:, c].sum() < len(counted)]
        if not there:
            return _NO_SUCH
        scores = [function(hot[:, c], prob[:, c], weight) for c in there]
        size = hot[:, there].sum(axis=0) if weight is None else weight @ hot[:, there]
        return float(np.average(scores, weights=size if average == "weighted" else None))

    return metric


_AVERAGES = ("macro", "micro", "weighted")
CLASSIFICATION = Metrics(
    "classification",
    (
        Metric("accuracy", "max", accuracy, accuracy.__doc__ or ""),
        Metric("balanced_accuracy", "max", balanced_accuracy, balanced_accuracy.__doc__ or ""),
        Metric("weighted_accuracy", "max", weighted_accuracy, weighted_accuracy.__doc__ or ""),
        Metric("norm_macro_recall", "max", norm_macro_recall, norm_macro_recall.__doc__ or ""),
        Metric("log_loss", "min", log_loss, log_loss.__doc__ or ""),
        Metric("matthews_correlation", "max", _scikit("matthews_corrcoef", None), "-1..1"),
        *(
            Metric(f"{short}_{average}", "max", make(name, average), f"{average} average over classes")
            for short, name, make in (
                ("AUC", "roc_auc_score", _ranking),
                ("average_precision_score", "average_precision_score", _ranking),
                ("precision_score", "precision_score", _scikit),
                ("recall_score", "recall_score", _scikit),
                ("f1_score", "f1_score", _scikit),
            )
            for average in _AVERAGES
        ),
    ),
)
