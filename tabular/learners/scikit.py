"""Learners of scikit-learn behind one face: each says which estimator it is, and with which arguments."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from scipy.special import softmax

from automl.bundle import sklearn_from_bytes, sklearn_to_bytes
from automl.candidates import import_object
from automl.errors import LearnerError
from tabular.learners.boosting import balanced

if TYPE_CHECKING:
    from automl.trial import State
    from tabular.learners.base import FitContext


@dataclass(kw_only=True)
class Scikit:
    """What they share: fitting with weights, probabilities of all classes, state by skops."""

    _estimator: Any = field(default=None, init=False, repr=False, compare=False)
    _classes: int = field(default=0, init=False, repr=False, compare=False)
    _centre: float = field(default=0.0, init=False, repr=False, compare=False)
    _unit: float = field(default=1.0, init=False, repr=False, compare=False)

    flavour: ClassVar[str] = "dense"
    takes_sparse: ClassVar[bool] = True
    takes_weight: ClassVar[bool] = True
    takes_seed: ClassVar[bool] = False
    takes_threads: ClassVar[bool] = False
    positive: ClassVar[bool] = False
    """Whether features must not be negative: those that are, are cut off at 0."""

    standard_target: ClassVar[bool] = False
    """Whether numbers are learned on their standardised scale (penalties and steps depend on it)."""

    classifier: ClassVar[str] = ""
    regressor: ClassVar[str] = ""

    def arguments(self, context: FitContext) -> dict[str, Any]:  # noqa: ARG002 - shared form
        """Return the estimator's arguments; here the parameters by their own names."""
        return self.params()

    def params(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.init}

    def fit(self, x: Any, y: np.ndarray, weight: np.ndarray, context: FitContext) -> Self:
        """Fit the estimator."""
        context.deadline.check(f"fitting {type(self).__name__}")
        self._classes = context.n_classes
        target = self.classifier if context.n_classes else self.regressor
        if not target:
            kind = "classes" if context.n_classes else "numbers"
            raise LearnerError(f"{type(self).__name__} does not learn {kind}.")
        extra: dict[str, Any] = {"random_state": context.seed} if self.takes_seed else {}
        extra |= {"n_jobs": context.threads} if self.takes_threads else {}
        estimator = import_object(target)(**self.arguments(context), **extra)
        if context.balanced and context.n_classes:
            weight = balanced(y, weight, context.n_classes)
        if self.standard_target and not context.n_classes:
            self._centre = float(np.average(y, weights=weight))
            self._unit = float(np.sqrt(np.average(np.square(y - self._centre), weights=weight))) or 1.0
            y = (y - self._centre) / self._unit
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a search meets many configurations that do not converge
            given = {"sample_weight": weight} if self.takes_weight else {}
            self._estimator = estimator.fit(self._features(x), y, **given)
        return self

    def _features(self, x: Any) -> Any:
        if not hasattr(x, "tocsr"):
            x = np.nan_to_num(x, nan=0.0 if self.flavour == "dense" else -1.0, posinf=1e30, neginf=-1e30)
            return np.maximum(x, 0) if self.positive else x
        return x.maximum(0) if self.positive else x

    def predict(self, x: Any) -> np.ndarray:
        """Ask the estimator; classes that training did not have get probability 0."""
        x = self._features(x)
        if not self._classes:
            return np.asarray(self._estimator.predict(x), dtype=float) * self._unit + self._centre
        if hasattr(self._estimator, "predict_proba"):
            found = np.asarray(self._estimator.predict_proba(x), dtype=float)
        else:
            margin = np.asarray(self._estimator.decision_function(x), dtype=float)
            found = softmax(np.stack([-margin, margin], axis=1) if margin.ndim == 1 else margin, axis=1)
        if found.shape[1] == self._classes:
            return found
        out = np.zeros((len(found), self._classes))
        out[:, self._estimator.classes_.astype(int)] = found
        return out

    @property
    def estimator(self) -> Any:
        """Scikit-learn's own model."""
        return self._estimator

    def state(self) -> State:
        """Parameters and the estimator."""
        own = {"params": self.params(), "classes": self._classes, "centre": self._centre, "unit": self._unit}
        return own, {"estimator": sklearn_to_bytes(self._estimator)}

    @classmethod
    def from_state(cls, settings: dict[str, Any], blobs: dict[str, Any]) -> Self:
        """Read what `state` gave."""
        self = cls(**settings["params"])
        self._classes, self._centre, self._unit = settings["classes"], settings["centre"], settings["unit"]
        self._estimator = sklearn_from_bytes(blobs["estimator"])
        return self


# -- linear -----------------------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class LogisticRegression(Scikit):
    """Logistic regression. C : inverse of the penalty."""

    C: float = 1.0
    max_iter: int = 300

    classifier: ClassVar[str] = "sklearn.linear_model:LogisticRegression"


@dataclass(kw_only=True)
class LinearSVM(Scikit):
    """Linear support vector machine; its margins become probabilities by the logistic curve."""

    C: float = 0.5

    takes_seed: ClassVar[bool] = True
    classifier: ClassVar[str] = "sklearn.svm:LinearSVC"

    def arguments(self, context: FitContext) -> dict[str, Any]:  # noqa: ARG002 - shared form
        """Fewer steps than usual: a search need not see the last digit."""
        return {"C": self.C, "max_iter": 500, "tol": 1e-3}


@dataclass(kw_only=True)
class SGD(Scikit):
    """Linear model by stochastic gradient descent."""

    alpha: float = 0.0001
    l1_ratio: float = 0.15

    takes_seed: ClassVar[bool] = True
    standard_target: ClassVar[bool] = True
    classifier: ClassVar[str] = "sklearn.linear_model:SGDClassifier"
    regressor: ClassVar[str] = "sklearn.linear_model:SGDRegressor"

    def arguments(self, context: FitContext) -> dict[str, Any]:
        """Probabilities need the logistic loss."""
        loss = {"loss": "log_loss"} if context.n_classes else {"loss": "huber"}
        return {**self.params(), **loss, "penalty": "elasticnet", "average": True, "max_iter": 200}


@dataclass(kw_only=True)
class AveragedPerceptron(Scikit):
    """Averaged perceptron (Freund & Schapire 1999, Machine Learning 37)."""

    eta0: float = 1.0

    takes_seed: ClassVar[bool] = True
    classifier: ClassVar[str] = "sklearn.linear_model:SGDClassifier"

    def arguments(self, context: FitContext) -> dict[str, Any]:  # noqa: ARG002 - shared form
        """Perceptron loss, averaged."""
        return {"loss": "perceptron", "learning_rate": "constant", "eta0": self.eta0, "average": True, "penalty": None}


@dataclass(kw_only=True)
class ElasticNet(Scikit):
    """Linear model with both penalties, on the standardised target."""

    alpha: float = 0.001
    l1_ratio: float = 0.5

    standard_target: ClassVar[bool] = True
    regressor: ClassVar[str] = "sklearn.linear_model:ElasticNet"


@dataclass(kw_only=True)
class LassoLars(Scikit):
    """Lasso by least angle regression, on the standardised target."""

    alpha: float = 0.0005

    takes_weight: ClassVar[bool] = False
    takes_sparse: ClassVar[bool] = False
    standard_target: ClassVar[bool] = True
    regressor: ClassVar[str] = "sklearn.linear_model:LassoLars"


@dataclass(kw_only=True)
class OnlineGradientDescent(Scikit):
    """Linear model by plain gradient steps on squared errors, averaged."""

    alpha: float = 0.0001
    eta0: float = 0.01

    takes_seed: ClassVar[bool] = True
    standard_target: ClassVar[bool] = True
    regressor: ClassVar[str] = "sklearn.linear_model:SGDRegressor"

    def arguments(self, context: FitContext) -> dict[str, Any]:  # noqa: ARG002 - shared form
        """Averaged."""
        return {**self.params(), "average": True, "max_iter": 200}


@dataclass(kw_only=True)
class FastLinear(Scikit):
    """Linear model with a squared penalty, fitted by conjugate gradients."""

    alpha: float = 1.0

    standard_target: ClassVar[bool] = True
    regressor: ClassVar[str] = "sklearn.linear_model:Ridge"

    def arguments(self, context: FitContext) -> dict[str, Any]:  # noqa: ARG002 - shared form
        """A solver for arrays and sparse matrices alike."""
        return {"alpha": self.alpha, "solver": "lsqr"}


# -- neighbours, machines, Bayes ---------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class KNN(Scikit):
    """Nearest neighbours."""

    n_neighbors: int = 15
    weights: str = "distance"

    takes_weight: ClassVar[bool] = False
    takes_threads: ClassVar[bool] = True
    classifier: ClassVar[str] = "sklearn.neighbors:KNeighborsClassifier"
    regressor: ClassVar[str] = "sklearn.neighbors:KNeighborsRegressor"
    _MOST_ROWS: ClassVar[int] = 50_000

    def fit(self, x: Any, y: np.ndarray, weight: np.ndarray, context: FitContext) -> Self:
        """Remember rows: 50,000 drawn at random where there are more, no more neighbours than rows."""
        if len(y) > self._MOST_ROWS:
            keep = np.sort(np.random.default_rng(context.seed).choice(len(y), self._MOST_ROWS, replace=False))
            x, y, weight = x[keep], y[keep], weight[keep]
        self.n_neighbors = min(self.n_neighbors, len(y))
        return super().fit(x, y, weight, context)


@dataclass(kw_only=True)
class SVM(Scikit):
    """Support vector machine with a radial kernel; probabilities by the logistic curve of its margins."""

    C: float = 1.0

    takes_seed: ClassVar[bool] = True
    classifier: ClassVar[str] = "sklearn.svm:SVC"

    def arguments(self, context: FitContext) -> dict[str, Any]:  # noqa: ARG002 - shared form
        """Bounded steps."""
        return {"C": self.C, "cache_size": 500, "max_iter": 20_000}


@dataclass(kw_only=True)
class BernoulliNaiveBayes(Scikit):
    """Naive Bayes on which features are there."""

    alpha: float = 1.0

    classifier: ClassVar[str] = "sklearn.naive_bayes:BernoulliNB"


@dataclass(kw_only=True)
class MultinomialNaiveBayes(Scikit):
    """Naive Bayes on how much of each feature there is."""

    alpha: float = 1.0

    positive: ClassVar[bool] = True
    classifier: ClassVar[str] = "sklearn.naive_bayes:MultinomialNB"


# -- trees ------------------------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class GradientBoosting(Scikit):
    """Gradient boosted trees by scikit-learn, of histograms."""

    max_iter: int = 150
    learning_rate: float = 0.08
    max_leaf_nodes: int = 31
    min_samples_leaf: int = 20
    l2_regularization: float = 0.1

    flavour: ClassVar[str] = "codes"
    takes_sparse: ClassVar[bool] = False
    takes_seed: ClassVar[bool] = True
    classifier: ClassVar[str] = "sklearn.ensemble:HistGradientBoostingClassifier"
    regressor: ClassVar[str] = "sklearn.ensemble:HistGradientBoostingRegressor"

    def arguments(self, context: FitContext) -> dict[str, Any]:  # noqa: ARG002 - shared form
        """Without holding out rows of its own."""
        return {**self.params(), "early_stopping": False}

    def _features(self, x: Any) -> Any:
        return x
