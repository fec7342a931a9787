"""The learner protocol. Learners know nothing of tables, search or files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

import numpy as np

from automl.budget import Deadline
from automl.candidates import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from automl.trial import State


@dataclass(frozen=True, slots=True, kw_only=True)
class FitContext:
    """What a learner is told besides the rows.

    Parameters
    ----------
    n_classes : 0 = numbers. rows : that are learned from. seed, threads : random seed; threads the fit may use.
    deadline : the fit raises DeadlineExceededError instead of going on past it, where it can look at the clock.
    enough : when boosted trees stop growing and keep what they have.
    categorical : positions of features that are numbers of categories.
    held : (features, target, weight) of rows held out, by which a learner may stop early; None = there are none.
    balanced : whether classes count alike however many rows they have.
    """

    n_classes: int
    rows: int = 0
    seed: int = 0
    threads: int = 1
    deadline: Deadline = field(default_factory=Deadline)
    enough: Deadline = field(default_factory=Deadline)
    categorical: tuple[int, ...] = ()
    held: tuple[Any, np.ndarray, np.ndarray] | None = None
    balanced: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pieces:
    """All rows of data larger than memory, as features, a piece after the other.

    Parameters
    ----------
    rows, features : how many. memory_mb : that what is kept of them may take. folder : for what is spooled to disk.
    read : starts from the first row: features, target (numbers, or codes of classes) and weights of each piece.
    mean, spread : of a target of numbers.
    """

    rows: int
    features: int
    memory_mb: float
    folder: Path
    read: Callable[[], Iterator[tuple[Any, np.ndarray, np.ndarray]]]
    mean: float
    spread: float


@dataclass(frozen=True, slots=True)
class Margins:
    """SHAP values of margins: what each feature adds; a margin is `expected` plus the sum over features.

    Parameters
    ----------
    values : shape [rows, features, outputs]. expected : shape [outputs]. method : "tree SHAP" or "linear SHAP".
    link : from margins to predictions: value (they are the same), softmax, or each (logistic curves over their sum).
    """

    values: np.ndarray
    expected: np.ndarray
    link: str
    method: str

    @classmethod
    def of(cls, values: np.ndarray, expected: np.ndarray, link: str, method: str) -> Self:
        """Make them; the one margin of two classes becomes those of both, 0 for the first."""
        expected = np.ravel(np.asarray(expected, dtype=float))
        if link != "value" and len(expected) == 1:
            expected = np.append(0.0, expected)
            values = np.concatenate([np.zeros_like(values), values], axis=2)
        return cls(values, expected, link, method)


class Learner(Protocol):
    """One trainable model; parameters are its constructor's keyword arguments (JSON scalars).

    One that can be written as ONNX has a method `onnx(graph, x)` as well: x names its features, float32, and what it
    returns its predictions, float64 [rows, classes], or [rows, 1] for numbers. One that has SHAP values has a method
    `margins(x)` that gives them (Margins), and `margin_work()`, operations a row. One that learns from data larger than
    memory has a method `fit_pieces(pieces, context)`.
    """

    flavour: ClassVar[str]
    takes_sparse: ClassVar[bool]

    def fit(self, x: Any, y: np.ndarray, weight: np.ndarray, context: FitContext) -> Self:
        """Fit. x : float32 array or CSR [rows, features]. y : numbers, or codes of classes."""
        ...

    def predict(self, x: Any) -> np.ndarray:
        """Numbers, shape [rows], or probabilities of classes, shape [rows, classes]; float64."""
        ...

    def state(self) -> State:
        """As (JSON, arrays or native bytes)."""
        ...

    @classmethod
    def from_state(cls, settings: dict[str, Any], blobs: dict[str, Any]) -> Self:
        """Read what `state` gave."""
        ...


_SCIKIT = "tabular.learners.scikit:"
LEARNERS = Registry(
    "learner",
    {
        "LightGBM": "tabular.learners.boosting:LightGBM",
        "XGBoost": "tabular.learners.boosting:XGBoost",
        **{
            name: _SCIKIT + name
            for name in (
                "LogisticRegression", "SGD", "LinearSVM", "SVM", "GradientBoosting", "BernoulliNaiveBayes",
                "MultinomialNaiveBayes", "AveragedPerceptron", "ElasticNet", "LassoLars", "OnlineGradientDescent",
                "FastLinear",
            )
        },
        "KNN": "tabular.learners.neighbours:KNN",
        "DecisionTree": "tabular.learners.forests:DecisionTree",
        "RandomForest": "tabular.learners.forests:RandomForest",
        "ExtremeRandomTrees": "tabular.learners.forests:ExtremeRandomTrees",
    },
    {
        "XGBoostClassifier": "XGBoost",
        "XGBoostRegressor": "XGBoost",
        "AveragedPerceptronClassifier": "AveragedPerceptron",
        "OnlineGradientDescentRegressor": "OnlineGradientDescent",
        "FastLinearRegressor": "FastLinear",
    },
)  # fmt: skip

ONLY_CLASSES = frozenset(
    {"LogisticRegression", "LinearSVM", "SVM", "BernoulliNaiveBayes", "MultinomialNaiveBayes", "AveragedPerceptron"}
)
ONLY_NUMBERS = frozenset({"ElasticNet", "LassoLars", "OnlineGradientDescent", "FastLinear"})
NEEDS = {"XGBoost": ("xgboost", "boost")}
"""Learner -> (package, extra)."""
