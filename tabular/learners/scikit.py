"""Learners of scikit-learn behind one face: each says which estimator it is, and with which arguments."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, fields
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from scipy.special import softmax

from automl.bundle import sklearn_from_bytes, sklearn_to_bytes
from automl.candidates import import_object
from automl.errors import LearnerError
from automl.explain import tree_shap
from tabular.learners.base import Margins
from tabular.learners.boosting import balanced
from tabular.onnx.trees import Nodes, add_trees, of_margins, sigmoid_pair

if TYPE_CHECKING:
    from automl.trial import State
    from tabular.learners.base import FitContext, Pieces
    from tabular.onnx.graph import Graph


_STEPS = 1_000_000
_NEVER = -30.0
"""Margin of a class that training did not have."""


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

    shap_of_margins: ClassVar[bool] = False
    one_against_rest: ClassVar[bool] = False
    """Whether probabilities of several classes are those of each against the rest, over their sum."""

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
        if self.flavour == "dense":  # margins can be large: what float32 leaves of them would depend on the platform
            x = x.astype(np.float64)
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

    def onnx(self, graph: Graph, x: str) -> str:
        """Ask the estimator in an ONNX graph; float64 [rows, classes or 1]."""
        gap = graph.constant(0.0 if self.flavour == "dense" else -1.0, "float32")
        x = graph.cast(graph.where_nan(x, gap), "float64")
        if self.positive:
            x = graph.op("Max", x, graph.constant(0.0))
        out = self._onnx(graph, x)
        if not self._classes:
            return str(graph.op("Add", graph.op("Mul", out, graph.constant(self._unit)), graph.constant(self._centre)))
        return self._onnx_of_all(graph, out)

    def _onnx_of_all(self, graph: Graph, out: str) -> str:
        """Probabilities of all classes; those that training did not have get 0."""
        seen = self._estimator.classes_.astype(int)
        if len(seen) == self._classes:
            return out
        return str(graph.op("MatMul", out, graph.constant(np.eye(self._classes)[seen])))

    def _onnx(self, graph: Graph, x: str) -> str:
        """Values [rows, 1], or probabilities of the classes that training had; here of a linear model."""
        coef = np.atleast_2d(np.asarray(self._estimator.coef_, dtype=float))
        margin = graph.linear(x, coef, np.asarray(self._estimator.intercept_, dtype=float))
        return self._onnx_of_margin(graph, margin, len(coef)) if self._classes else margin

    def _onnx_of_margin(self, graph: Graph, margin: str, columns: int) -> str:
        """Probabilities of margins as `predict` makes them."""
        if not hasattr(self._estimator, "predict_proba"):
            if columns == 1:
                margin = graph.concat([graph.op("Neg", margin), margin])
            return str(graph.op("Softmax", margin, axis=1))
        if columns == 1:
            return sigmoid_pair(graph, margin)
        if not self.one_against_rest:
            return str(graph.op("Softmax", margin, axis=1))
        each = graph.sigmoid(margin)
        return str(graph.op("Div", each, graph.total(each)))

    def _shap_of_trees(self, x: np.ndarray) -> Margins:
        """SHAP values by the package `shap`: probabilities of trees that hold them, margins of others."""
        values, expected = tree_shap(self._estimator, self._features(x))
        if not self._classes:
            return Margins.of(values * self._unit, expected * self._unit + self._centre, "value", "tree SHAP")
        seen = self._estimator.classes_.astype(int)
        if values.shape[2] == len(seen) < self._classes:
            whole = np.zeros((*values.shape[:2], self._classes))
            whole[:, :, seen] = values
            values, expected = whole, np.bincount(seen, weights=expected, minlength=self._classes)
        return Margins.of(values, expected, "softmax" if self.shap_of_margins else "value", "tree SHAP")

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
class _Online(Scikit):
    """What learners share that take rows a piece after the other."""

    one_pass: ClassVar[bool] = False
    """Whether one look at each row teaches all; others take about a million steps, where the time allows it."""

    def fit_pieces(self, pieces: Pieces, context: FitContext) -> Self:
        """Fit the estimator piece by piece."""
        self._classes = context.n_classes
        if self.standard_target and not context.n_classes:
            self._centre, self._unit = pieces.mean, pieces.spread
        estimator = import_object(self.classifier if context.n_classes else self.regressor)
        own = {k: v for k, v in self.arguments(context).items() if k != "max_iter"}
        extra: dict[str, Any] = {"random_state": context.seed} if self.takes_seed else {}
        self._estimator = estimator(**own, **extra)
        some: dict[str, Any] = {"classes": np.arange(context.n_classes)} if context.n_classes else {}
        passes = 1 if self.one_pass else int(np.clip(np.ceil(_STEPS / pieces.rows), 2, 50))
        for number in range(passes):
            start = perf_counter()
            for x, y, weight in pieces.read():
                context.deadline.check(f"fitting {type(self).__name__} in pieces")
                target = y if context.n_classes else (y - self._centre) / self._unit
                rows = self._features(x)
                self._estimator.partial_fit(rows, target, sample_weight=weight, **some)
                if number == 0:
                    self._saw(rows, len(y))
            if context.deadline.left() < 2 * (perf_counter() - start):
                break
        return self

    def _saw(self, rows: Any, count: int) -> None:
        """Look at a piece once."""


@dataclass(kw_only=True)
class _Linear(Scikit):
    """What linear models share: SHAP values need the mean of the rows they learned from."""

    _mean: np.ndarray = field(default_factory=lambda: np.empty(0), init=False, repr=False, compare=False)
    _seen: int = field(default=0, init=False, repr=False, compare=False)

    def fit(self, x: Any, y: np.ndarray, weight: np.ndarray, context: FitContext) -> Self:
        """Fit the estimator."""
        self._mean = np.asarray(self._features(x).mean(axis=0, dtype=np.float64)).ravel()
        return super().fit(x, y, weight, context)

    def _saw(self, rows: Any, count: int) -> None:
        """Keep the mean up."""
        mean = np.asarray(rows.mean(axis=0, dtype=np.float64)).ravel()
        self._seen += count
        before = self._mean if len(self._mean) else np.zeros(len(mean))
        self._mean = before + (mean - before) * count / self._seen

    def margins(self, x: np.ndarray) -> Margins:
        """SHAP values of rows, features taken as independent."""
        coef = np.atleast_2d(np.asarray(self._estimator.coef_, dtype=float)).T
        start = np.ravel(self._estimator.intercept_) + self._mean @ coef
        values = (self._features(x).astype(float) - self._mean)[:, :, None] * coef
        if not self._classes:
            return Margins.of(values * self._unit, start * self._unit + self._centre, "value", "linear SHAP")
        if not hasattr(self._estimator, "predict_proba") and len(start) == 1:
            values, start = 2 * values, 2 * start  # both margins move
        link = "each" if self.one_against_rest and len(start) > 1 else "softmax"
        seen = self._estimator.classes_.astype(int)
        if len(seen) == self._classes:
            return Margins.of(values, start, link, "linear SHAP")
        pair = Margins.of(values, start, link, "linear SHAP")
        whole = np.zeros((*values.shape[:2], self._classes))
        whole[:, :, seen] = pair.values
        expected = np.full(self._classes, _NEVER)
        expected[seen] = pair.expected
        return Margins(whole, expected, link, "linear SHAP")

    def margin_work(self) -> float:
        """Operations a row."""
        return float(len(self._mean))

    def state(self) -> State:
        """Parameters, the estimator and the mean."""
        own, blobs = super().state()
        return own, {**blobs, "mean": self._mean}

    @classmethod
    def from_state(cls, settings: dict[str, Any], blobs: dict[str, Any]) -> Self:
        """Read what `state` gave."""
        self = super().from_state(settings, blobs)
        self._mean = np.asarray(blobs["mean"])
        return self


@dataclass(kw_only=True)
class LogisticRegression(_Linear):
    """Logistic regression. C : inverse of the penalty."""

    C: float = 1.0
    max_iter: int = 300

    classifier: ClassVar[str] = "sklearn.linear_model:LogisticRegression"


@dataclass(kw_only=True)
class LinearSVM(_Linear):
    """Linear support vector machine; its margins become probabilities by the logistic curve."""

    C: float = 0.5

    takes_seed: ClassVar[bool] = True
    classifier: ClassVar[str] = "sklearn.svm:LinearSVC"

    def arguments(self, context: FitContext) -> dict[str, Any]:  # noqa: ARG002 - shared form
        """Fewer steps than usual: a search need not see the last digit."""
        return {"C": self.C, "max_iter": 500, "tol": 1e-3}


@dataclass(kw_only=True)
class SGD(_Linear, _Online):
    """Linear model by stochastic gradient descent."""

    alpha: float = 0.0001
    l1_ratio: float = 0.15

    takes_seed: ClassVar[bool] = True
    standard_target: ClassVar[bool] = True
    one_against_rest: ClassVar[bool] = True
    classifier: ClassVar[str] = "sklearn.linear_model:SGDClassifier"
    regressor: ClassVar[str] = "sklearn.linear_model:SGDRegressor"

    def arguments(self, context: FitContext) -> dict[str, Any]:
        """Probabilities need the logistic loss."""
        loss = {"loss": "log_loss"} if context.n_classes else {"loss": "huber"}
        return {**self.params(), **loss, "penalty": "elasticnet", "average": True, "max_iter": 200}


@dataclass(kw_only=True)
class AveragedPerceptron(_Linear, _Online):
    """Averaged perceptron (Freund & Schapire 1999, Machine Learning 37)."""

    eta0: float = 1.0

    takes_seed: ClassVar[bool] = True
    classifier: ClassVar[str] = "sklearn.linear_model:SGDClassifier"

    def arguments(self, context: FitContext) -> dict[str, Any]:  # noqa: ARG002 - shared form
        """Perceptron loss, averaged."""
        return {"loss": "perceptron", "learning_rate": "constant", "eta0": self.eta0, "average": True, "penalty": None}


@dataclass(kw_only=True)
class ElasticNet(_Linear):
    """Linear model with both penalties, on the standardised target."""

    alpha: float = 0.001
    l1_ratio: float = 0.5

    standard_target: ClassVar[bool] = True
    regressor: ClassVar[str] = "sklearn.linear_model:ElasticNet"


@dataclass(kw_only=True)
class LassoLars(_Linear):
    """Lasso by least angle regression, on the standardised target."""

    alpha: float = 0.0005

    takes_weight: ClassVar[bool] = False
    takes_sparse: ClassVar[bool] = False
    standard_target: ClassVar[bool] = True
    regressor: ClassVar[str] = "sklearn.linear_model:LassoLars"


@dataclass(kw_only=True)
class OnlineGradientDescent(_Linear, _Online):
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
class FastLinear(_Linear):
    """Linear model with a squared penalty, fitted by conjugate gradients."""

    alpha: float = 1.0

    standard_target: ClassVar[bool] = True
    regressor: ClassVar[str] = "sklearn.linear_model:Ridge"

    def arguments(self, context: FitContext) -> dict[str, Any]:  # noqa: ARG002 - shared form
        """A solver for arrays and sparse matrices alike."""
        return {"alpha": self.alpha, "solver": "lsqr"}


# -- machines, Bayes ---------------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class SVM(Scikit):
    """Support vector machine with a radial kernel; probabilities by the logistic curve of its margins."""

    C: float = 1.0

    takes_seed: ClassVar[bool] = True
    classifier: ClassVar[str] = "sklearn.svm:SVC"

    def arguments(self, context: FitContext) -> dict[str, Any]:  # noqa: ARG002 - shared form
        """Bounded steps."""
        return {"C": self.C, "cache_size": 500, "max_iter": 20_000}

    def _onnx(self, graph: Graph, x: str) -> str:
        machine = self._estimator
        rows = machine.support_vectors_
        rows = np.asarray(rows.toarray() if hasattr(rows, "toarray") else rows, dtype=float)
        squares = graph.op("Add", graph.total(graph.op("Mul", x, x)), graph.constant(np.square(rows).sum(axis=1)))
        far = graph.op("Sub", squares, graph.op("MatMul", x, graph.constant(2 * rows.T)))
        far = graph.op("Max", far, graph.constant(0.0))
        near = graph.op("Exp", graph.op("Mul", far, graph.constant(-float(machine._gamma))))  # noqa: SLF001 - the width in use
        dual = machine.dual_coef_
        dual = np.asarray(dual.toarray() if hasattr(dual, "toarray") else dual, dtype=float)
        if len(machine.classes_) == 2:
            return self._onnx_of_margin(graph, graph.linear(near, dual, machine.intercept_), 1)
        pairs = graph.linear(near, _pairs(dual, machine.n_support_), machine.intercept_)
        return self._onnx_of_margin(graph, _votes(graph, pairs, len(machine.classes_)), len(machine.classes_))


def _pairs(dual: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Coefficients of the machines of each pair of classes. Shape [pairs, rows]."""
    ends = np.cumsum(size)
    of = [slice(end - n, end) for end, n in zip(ends, size, strict=True)]
    out = []
    for a in range(len(size)):
        for b in range(a + 1, len(size)):
            own = np.zeros(dual.shape[1])
            own[of[a]], own[of[b]] = dual[b - 1, of[a]], dual[a, of[b]]
            out.append(own)
    return np.stack(out)


def _votes(graph: Graph, pairs: str, classes: int) -> str:
    """Margins of classes from those of pairs: votes, and sums of margins to part equal ones, as scikit-learn does."""
    names = [(a, b) for a in range(classes) for b in range(a + 1, classes)]
    first, second = (np.array([[c == pair[k] for c in range(classes)] for pair in names], float) for k in (0, 1))
    wins = graph.cast(graph.op("GreaterOrEqual", pairs, graph.constant(0.0)), "float64")
    lost = graph.op("Sub", graph.constant(1.0), wins)
    votes = graph.op(
        "Add",
        graph.op("MatMul", wins, graph.constant(first)),
        graph.op("MatMul", lost, graph.constant(second)),
    )
    sums = graph.op("MatMul", pairs, graph.constant(first - second))
    size = graph.op("Mul", graph.op("Add", graph.op("Abs", sums), graph.constant(1.0)), graph.constant(3.0))
    return str(graph.op("Add", votes, graph.op("Div", sums, size)))


@dataclass(kw_only=True)
class BernoulliNaiveBayes(_Online):
    """Naive Bayes on which features are there."""

    alpha: float = 1.0

    one_pass: ClassVar[bool] = True
    classifier: ClassVar[str] = "sklearn.naive_bayes:BernoulliNB"

    def _onnx(self, graph: Graph, x: str) -> str:
        there = graph.cast(graph.op("Greater", x, graph.constant(0.0)), "float64")
        odds = self._estimator.feature_log_prob_
        absent = np.log1p(-np.exp(odds))
        logs = graph.linear(there, odds - absent, self._estimator.class_log_prior_ + absent.sum(axis=1))
        return str(graph.op("Softmax", logs, axis=1))


@dataclass(kw_only=True)
class MultinomialNaiveBayes(_Online):
    """Naive Bayes on how much of each feature there is."""

    alpha: float = 1.0

    one_pass: ClassVar[bool] = True
    positive: ClassVar[bool] = True
    classifier: ClassVar[str] = "sklearn.naive_bayes:MultinomialNB"

    def _onnx(self, graph: Graph, x: str) -> str:
        model = self._estimator
        return str(graph.op("Softmax", graph.linear(x, model.feature_log_prob_, model.class_log_prior_), axis=1))


# -- trees ------------------------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class GradientBoosting(Scikit):
    """Gradient boosted trees by scikit-learn, of histograms."""

    shap_of_margins: ClassVar[bool] = True

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

    def margins(self, x: np.ndarray) -> Margins:
        """SHAP values of rows."""
        return self._shap_of_trees(x)

    def margin_work(self) -> float:
        """Operations a row."""
        leaves, trees = self.max_leaf_nodes, sum(len(stage) for stage in self._estimator._predictors)  # noqa: SLF001 - as above
        return float(trees * leaves * (2 * np.log2(leaves)) ** 2)

    def onnx(self, graph: Graph, x: str) -> str:
        """Ask the trees in an ONNX graph; float64 [rows, classes or 1]."""
        stages = self._estimator._predictors  # noqa: SLF001 - scikit-learn shows them nowhere else
        trees = [_histogram_nodes(tree.nodes, k) for stage in stages for k, tree in enumerate(stage)]
        base = np.ravel(self._estimator._baseline_prediction)  # noqa: SLF001 - as above
        out = add_trees(graph, graph.cast(x, "float64"), trees, len(base), base)
        made = of_margins(graph, out, len(base), classes=self._classes > 0)
        return self._onnx_of_all(graph, made) if self._classes else made


def _histogram_nodes(nodes: np.ndarray, output: int) -> Nodes:
    return Nodes(
        feature=nodes["feature_idx"],
        threshold=nodes["num_threshold"],
        mode=np.where(nodes["is_leaf"], "LEAF", "BRANCH_LEQ"),
        left=nodes["left"],
        right=nodes["right"],
        missing_left=nodes["missing_go_to_left"],
        leaves=nodes["value"][:, None],
        targets=(output,),
    )
