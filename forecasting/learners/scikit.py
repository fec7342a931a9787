"""Pooled regressors by scikit-learn: linear models, trees, forests and neighbours on the design matrix."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from forecasting.features.plan import HOLIDAY_CODE
from forecasting.learners.regression import Pooled

if TYPE_CHECKING:
    from automl.explain import Contributions
    from automl.trial import State
    from forecasting.features.plan import Design
    from forecasting.learners.base import FitContext


@dataclass(kw_only=True)
class Sklearn(Pooled):
    """What the scikit-learn regressors share: gaps filled with medians, codes as numbers or dummies, a scaler."""

    scaler: str = "none"

    _estimator: Any = field(default=None, init=False, repr=False, compare=False)
    _scaler: Any = field(default=None, init=False, repr=False, compare=False)
    _fill: Any = field(default=None, init=False, repr=False, compare=False)
    _levels: dict[int, int] = field(default_factory=dict, init=False, repr=False, compare=False)
    _mean: Any = field(default=None, init=False, repr=False, compare=False)

    dummies: ClassVar[bool] = False
    unseen_columns: ClassVar[tuple[str, ...]] = ()
    """Columns left out."""

    def _fit(self, design: Design, weight: np.ndarray, context: FitContext) -> None:
        from sklearn.exceptions import ConvergenceWarning

        from automl.preprocess import fit_scaler

        with np.errstate(all="ignore"):
            fill = np.array([np.median(c[np.isfinite(c)]) if np.isfinite(c).any() else 0.0 for c in design.x.T])
        self._fill = fill.astype(np.float32)
        self._levels = {i: int(design.x[:, i].max()) + 1 for i in self._plan.categorical} if self.dummies else {}
        x = self._clean(design.x)
        self._mean = x.mean(axis=0, dtype=float)
        self._scaler = fit_scaler(self.scaler, x)
        self._estimator = self._build(context, len(x))
        x = self._scaler.transform(x)
        # a path divides by next to nothing on its way past columns that explain no more; it ignores the infinity
        with warnings.catch_warnings(), np.errstate(over="ignore", divide="ignore"):
            # descent cut at its cap, or a path cut at equal columns, is a little more regularised, not wrong
            warnings.simplefilter("ignore", ConvergenceWarning)
            if self._weighted:
                self._estimator.fit(x, design.y, sample_weight=weight)
            else:
                self._estimator.fit(x, design.y)

    _weighted: ClassVar[bool] = True

    def _clean(self, x: np.ndarray) -> np.ndarray:
        x = np.where(np.isfinite(x), x, self._fill)
        for i, name in enumerate(self._plan.feature_names if self.unseen_columns else ()):
            if name in self.unseen_columns:
                x[:, i] = 0.0
        if not self._levels:
            return x
        plain = self._plain(x.shape[1])
        hot = [(x[:, i : i + 1] == np.arange(n)).astype(np.float32) for i, n in self._levels.items()]
        return np.concatenate([x[:, plain], *hot], axis=1)

    def _plain(self, columns: int) -> list[int]:
        """Columns that are no codes; those come first, dummies after them."""
        return [i for i in range(columns) if i not in self._levels]

    def contributions(self, x: np.ndarray) -> Contributions | None:
        """SHAP values of linear models and trees; None for neighbours, and behind scalers that mix columns of trees."""
        from automl.explain import linear_contributions, tree_contributions

        clean = self._clean(x)
        if self.explained_as == "linear" and self._scaler.is_linear:
            slope, intercept = self._scaler.before(
                self._estimator.coef_, float(np.ravel(self._estimator.intercept_)[0])
            )
            found = linear_contributions(slope, intercept, clean, self._mean)
        elif self.explained_as == "tree" and not self._scaler.mixes:
            found = tree_contributions(self._estimator, self._scaler.transform(clean))
        else:
            return None
        owner = [*self._plain(x.shape[1]), *(i for i, n in self._levels.items() for _ in range(n))]
        return found.summed(owner, x.shape[1]) if self._levels else found

    def contribution_work(self) -> float:
        """Operations of the SHAP values of one row; forests of deep trees take long."""
        from automl.explain import tree_work

        return tree_work(self._estimator) if self.explained_as == "tree" else 0.0

    explained_as: ClassVar[str] = "tree"

    @abstractmethod
    def _build(self, context: FitContext, rows: int) -> Any: ...

    def _predict(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self._estimator.predict(self._scaler.transform(self._clean(x))), dtype=float)

    def _regressor_state(self) -> State:
        from automl.bundle import sklearn_to_bytes

        scaler, arrays = self._scaler.state()
        blobs: dict[str, Any] = {f"scaler_{k}": v for k, v in arrays.items()}
        levels = {str(k): v for k, v in self._levels.items()}
        return {"scaler": scaler, "levels": levels}, {
            **blobs,
            "fill": self._fill,
            "mean": self._mean,
            "estimator": sklearn_to_bytes(self._estimator),
        }

    def _restore_regressor(self, settings: dict[str, Any], blobs: dict[str, Any]) -> None:
        from automl.bundle import sklearn_from_bytes
        from automl.preprocess import Scaler

        arrays = {k.removeprefix("scaler_"): v for k, v in blobs.items() if k.startswith("scaler_")}
        self._scaler = Scaler.from_state(settings["scaler"], arrays)
        self._levels = {int(k): v for k, v in settings["levels"].items()}
        self._fill, self._mean = blobs["fill"], blobs["mean"]
        self._estimator = sklearn_from_bytes(blobs["estimator"])


@dataclass(kw_only=True)
class ElasticNet(Sklearn):
    """Linear regression with L1 and L2 penalties (Zou & Hastie 2005) by coordinate descent."""

    max_rows: int = 100_000
    base: str = "seasonal"
    scaler: str = "StandardScaleWrapper"
    alpha: float = 0.003
    l1_ratio: float = 0.5

    name: ClassVar[str] = "ElasticNet"
    dummies: ClassVar[bool] = True
    explained_as: ClassVar[str] = "linear"

    def _build(self, context: FitContext, rows: int) -> Any:
        from sklearn.linear_model import ElasticNet as Estimator

        return Estimator(
            alpha=self.alpha,
            l1_ratio=self.l1_ratio,
            max_iter=300,
            tol=1e-3,
            precompute=rows > 1000,
            random_state=context.seed,
        )


@dataclass(kw_only=True)
class _Forest(Sklearn):
    max_rows: int = 20_000
    n_estimators: int = 80
    min_samples_leaf: int = 4
    max_features: float = 0.4

    def _arguments(self, context: FitContext) -> dict[str, Any]:
        return {
            "n_estimators": self.n_estimators,
            "min_samples_leaf": self.min_samples_leaf,
            "max_features": self.max_features,
            "random_state": context.seed,
            "n_jobs": context.threads,
        }


@dataclass(kw_only=True)
class RandomForest(_Forest):
    """Random forest (Breiman 2001)."""

    name: ClassVar[str] = "RandomForest"

    def _build(self, context: FitContext, rows: int) -> Any:
        from sklearn.ensemble import RandomForestRegressor

        return RandomForestRegressor(**self._arguments(context), max_samples=None if rows < 1000 else 0.7)


@dataclass(kw_only=True)
class ExtremeRandomTrees(_Forest):
    """Extremely randomised trees (Geurts et al. 2006)."""

    name: ClassVar[str] = "ExtremeRandomTrees"

    def _build(self, context: FitContext, rows: int) -> Any:  # noqa: ARG002 - shared form
        from sklearn.ensemble import ExtraTreesRegressor

        return ExtraTreesRegressor(**self._arguments(context))


@dataclass(kw_only=True)
class KNN(Sklearn):
    """Nearest neighbours in the space of the design matrix."""

    max_rows: int = 20_000
    base: str = "level"
    scaler: str = "StandardScaleWrapper"
    n_neighbors: int = 15
    weights: str = "distance"

    name: ClassVar[str] = "KNN"
    explained_as: ClassVar[str] = "permutation"
    unseen_columns: ClassVar[tuple[str, ...]] = (HOLIDAY_CODE,)
    """Numbers of names are no distances; flags and days to a holiday are."""
    _weighted: ClassVar[bool] = False

    def _build(self, context: FitContext, rows: int) -> Any:
        from sklearn.neighbors import KNeighborsRegressor

        return KNeighborsRegressor(
            n_neighbors=min(self.n_neighbors, rows), weights=self.weights, algorithm="brute", n_jobs=context.threads
        )


@dataclass(kw_only=True)
class LassoLars(Sklearn):
    """Linear regression with an L1 penalty by least angle regression (Efron et al. 2004). Rows count alike."""

    max_rows: int = 100_000
    base: str = "seasonal"
    scaler: str = "StandardScaleWrapper"
    alpha: float = 0.001

    name: ClassVar[str] = "LassoLars"
    dummies: ClassVar[bool] = True
    explained_as: ClassVar[str] = "linear"
    _weighted: ClassVar[bool] = False

    def _build(self, context: FitContext, rows: int) -> Any:  # noqa: ARG002 - shared form
        from sklearn.linear_model import LassoLars as Estimator

        # a hair of noise keeps the path from stumbling over columns that are equal
        return Estimator(alpha=self.alpha, max_iter=500, jitter=1e-6, random_state=context.seed)


@dataclass(kw_only=True)
class SGD(Sklearn):
    """Linear regression by stochastic gradient descent, robust to outliers by Huber's loss (Bottou 2010)."""

    max_rows: int = 100_000
    base: str = "seasonal"
    scaler: str = "StandardScaleWrapper"
    loss: str = "huber"
    alpha: float = 0.001
    l1_ratio: float = 0.15
    eta0: float = 0.001

    name: ClassVar[str] = "SGD"
    dummies: ClassVar[bool] = True
    explained_as: ClassVar[str] = "linear"

    def _build(self, context: FitContext, rows: int) -> Any:  # noqa: ARG002 - shared form
        from sklearn.linear_model import SGDRegressor

        return SGDRegressor(
            loss=self.loss,
            penalty="elasticnet",
            alpha=self.alpha,
            l1_ratio=self.l1_ratio,
            epsilon=0.5,
            learning_rate="invscaling",
            eta0=self.eta0,
            max_iter=40,
            tol=1e-4,
            average=True,
            random_state=context.seed,
        )


@dataclass(kw_only=True)
class DecisionTree(Sklearn):
    """A single regression tree (Breiman et al. 1984)."""

    max_rows: int = 100_000
    max_depth: int = 10
    min_samples_leaf: int = 20

    name: ClassVar[str] = "DecisionTree"

    def _build(self, context: FitContext, rows: int) -> Any:
        from sklearn.tree import DecisionTreeRegressor

        leaf = max(1, min(self.min_samples_leaf, rows // 8))
        return DecisionTreeRegressor(max_depth=self.max_depth, min_samples_leaf=leaf, random_state=context.seed)


@dataclass(kw_only=True)
class GradientBoosting(Sklearn):
    """Gradient boosted trees (Friedman 2001) in scikit-learn's classical form."""

    max_rows: int = 20_000
    loss: str = "huber"
    n_estimators: int = 100
    learning_rate: float = 0.08
    max_depth: int = 4
    min_samples_leaf: int = 10
    subsample: float = 0.8
    max_features: float = 0.4

    name: ClassVar[str] = "GradientBoosting"

    def _build(self, context: FitContext, rows: int) -> Any:
        from sklearn.ensemble import GradientBoostingRegressor

        return GradientBoostingRegressor(
            loss=self.loss,
            n_estimators=self.n_estimators,
            learning_rate=self.learning_rate,
            max_depth=self.max_depth,
            min_samples_leaf=max(1, min(self.min_samples_leaf, rows // 8)),
            subsample=self.subsample,
            max_features=self.max_features,
            random_state=context.seed,
        )
