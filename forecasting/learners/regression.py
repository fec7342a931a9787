"""Pooled regressors on the design matrix: one model over all series and all horizons."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from automl.errors import LearnerError, MissingPackageError
from forecasting.features.plan import FeaturePlan, direct_forecast
from forecasting.features.scaling import scales, typical_level
from forecasting.features.settings import PlanSettings
from forecasting.learners.base import FitContext, NewHistory, Unseen, gaussian_channels
from forecasting.panel import Forecast

if TYPE_CHECKING:
    from automl.explain import Contributions
    from automl.trial import State
    from forecasting.features.plan import Design, Scaled
    from forecasting.panel import Future, Panel

_LEAST_ROWS = 8
_ROWS_OF_SPREAD = 10_000
_BINS = 127
"""Steps in which LightGBM reads a column: half its default lose nothing on noisy rows and take a fifth less time."""

_LEAST_COLUMNS = 10
"""Columns that every tree of LightGBM may look at, where there are as many."""

_PLAN_FIELDS = {f.name for f in fields(PlanSettings)}


@dataclass(kw_only=True)
class Pooled(ABC):
    """What the regressors share: the feature plan, weighting, fitting, forecasting and state.

    Parameters
    ----------
    strategy .. holidays_after : see PlanSettings.
    weighting : "equal" (every series counts alike on its own scale) or "volume" (rows count by the series' scale,
        for metrics that add up units).
    """

    strategy: str = "direct"
    lags: str = "default"
    windows: str = "default"
    window_statistics: str = "mean,min,max,std"
    feature_lags: str = ""
    stl: str = ""
    further_seasons: bool = True
    transform: str = "auto"
    base: str = "level"
    across_series: bool = True
    series_code: bool = True
    max_rows: int = 200_000
    memory_mb: float = 0.0
    holidays_before: int = 3
    holidays_after: int = 3
    weighting: str = "equal"

    _plan: Any = field(default=None, init=False, repr=False, compare=False)
    _spread: float = field(default=0.0, init=False, repr=False, compare=False)

    name: ClassVar[str]
    new_history: ClassVar[NewHistory] = "refilter"
    unseen: ClassVar[Unseen] = "global"
    native_quantiles: ClassVar[bool] = False
    uses_covariates: ClassVar[bool] = True

    def fit(self, panel: Panel, context: FitContext) -> Self:
        """Fit plan and regressor on all rows of the panel."""
        context.deadline.check(f"building features for {self.name}")
        values = {k: v for k, v in self._params().items() if k in _PLAN_FIELDS}
        plan = FeaturePlan.fit(panel, PlanSettings(**values), context)
        panel = plan.lately(panel)
        scaled = plan.scale(panel)
        rows, series = plan.training_rows(scaled, context.seed)
        if len(rows.target) < _LEAST_ROWS:
            raise LearnerError(
                f"{self.name} has {len(rows.target)} training rows in {panel.n_series} series, at least {_LEAST_ROWS} "
                "are needed. Fix: give longer series or use the per-series learners."
            )
        design = plan.design(scaled, rows, series, plan.past_block(panel), context.threads)
        context.deadline.check(f"fitting {self.name}")
        weight = design.weight
        if self.weighting == "volume":
            weight = weight * _volume(scaled, panel)[series]
        self._plan = replace(plan, unit=float(np.median(scaled.scale)), level=typical_level(panel))
        self._fit(design, weight / weight.mean(), context)
        self._spread = self._residual_spread(design, weight)
        return self

    def forecast(self, panel: Panel, future: Future, quantiles: tuple[float, ...]) -> Forecast:
        """Forecast every series of the panel, known to `fit` or not."""
        point = direct_forecast(self._plan, self._predict, panel, future)
        width = self._spread * _error_unit(panel, self._plan)[:, None]
        growth = np.sqrt(1 + np.arange(future.horizon) / max(self._plan.season, 1))
        return Forecast(gaussian_channels(point, width * growth, quantiles), quantiles)

    def _residual_spread(self, design: Design, weight: np.ndarray) -> float:
        """Root mean square of in-sample residuals on the model's scale, of evenly spaced rows where there are many."""
        some = slice(None, None, max(1, len(design.y) // _ROWS_OF_SPREAD))
        residual = design.y[some] - self._predict(design.x[some])
        return float(np.sqrt(np.average(np.square(residual), weights=weight[some])))

    @property
    def plan(self) -> FeaturePlan:
        """The fitted feature plan."""
        return self._plan

    def predict_scaled(self, x: np.ndarray) -> np.ndarray:
        """Predictions on the model's scale for rows of the plan's design matrix. Shape [r]."""
        return self._predict(x)

    def contributions(self, x: np.ndarray) -> Contributions | None:  # noqa: ARG002 - shared form
        """What each column adds to the predictions on the model's scale; None where only permutation can tell."""
        return None

    def contribution_work(self) -> float:
        """Operations that the contributions of one row take, about; 0 = next to none."""
        return 0.0

    def inputs(self, panel: Panel) -> tuple[str, ...]:  # noqa: ARG002 - the protocol's form
        """Raw inputs of the engineered features."""
        return tuple(dict.fromkeys(source for _, source in self._plan.columns))

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the engineered features."""
        return self._plan.feature_names

    @property
    def feature_map(self) -> dict[str, str]:
        """Engineered feature -> raw column it comes from."""
        return self._plan.feature_map

    def state(self) -> State:
        """Parameters, plan and the regressor in its own format."""
        settings = {"params": self._params(), "plan": self._plan.to_json(), "spread": self._spread}
        extra, blobs = self._regressor_state()
        return {**settings, **extra}, blobs

    @classmethod
    def from_state(cls, settings: dict[str, Any], blobs: dict[str, Any]) -> Self:
        """Build the fitted learner back."""
        learner = cls(**settings["params"])
        learner._plan = FeaturePlan.from_json(settings["plan"])
        learner._spread = settings["spread"]
        learner._restore_regressor(settings, blobs)
        return learner

    def _params(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.init}

    @abstractmethod
    def _fit(self, design: Design, weight: np.ndarray, context: FitContext) -> None: ...

    @abstractmethod
    def _predict(self, x: np.ndarray) -> np.ndarray: ...

    @abstractmethod
    def _regressor_state(self) -> State: ...

    @abstractmethod
    def _restore_regressor(self, settings: dict[str, Any], blobs: dict[str, Any]) -> None: ...


def _error_unit(panel: Panel, plan: FeaturePlan) -> np.ndarray:
    """Mean absolute (seasonal) change of each series in target units; of series of zeros what is usual in training."""
    return scales(panel.y, panel.indptr, plan.season, plan.level)[0]


def _volume(scaled: Scaled, panel: Panel) -> np.ndarray:
    """Weight of a series' rows where units are to count: one scaled unit of error in target units. Shape [n]."""
    level = np.add.reduceat(np.abs(panel.y), panel.indptr[:-1]) / panel.lengths
    volume = np.where(np.isnan(scaled.shift), 1.0, level) * scaled.scale
    return np.maximum(volume / max(float(volume.mean()), np.finfo(float).tiny), 1e-6)


@dataclass(kw_only=True)
class LightGBM(Pooled):
    """Gradient boosted trees (Ke et al. 2017, NeurIPS). Codes are handled as categories, gaps as they are.

    Parameters
    ----------
    objective : "regression_l1", "regression" (l2), "huber" or "tweedie".
    n_estimators, learning_rate, num_leaves, min_child_samples, subsample, colsample, reg_lambda : as in LightGBM. A
        third of the columns a tree: there are many lags and windows that say alike, and trees that see fewer of them
        differ more, so that their sum errs less, in half the time (never fewer than ten columns).
    """

    objective: str = "regression_l1"
    n_estimators: int = 200
    learning_rate: float = 0.05
    num_leaves: int = 31
    min_child_samples: int = 20
    subsample: float = 0.9
    colsample: float = 0.3
    reg_lambda: float = 0.1
    linear_tree: bool = False

    _booster: Any = field(default=None, init=False, repr=False, compare=False)

    name: ClassVar[str] = "LightGBM"

    def _fit(self, design: Design, weight: np.ndarray, context: FitContext) -> None:
        import lightgbm

        data = self._dataset(design, weight)
        params = self._boosting(design, context)
        stop = StopAtDeadline(context)
        self._booster = lightgbm.train(params, data, num_boost_round=self.n_estimators, callbacks=[stop])

    def _dataset(self, design: Design, weight: np.ndarray) -> Any:
        """Rows as LightGBM bins them."""
        import lightgbm

        categories = [i for i in self._plan.categorical if np.ptp(design.x[:, i]) > 0]
        return lightgbm.Dataset(
            design.x,
            design.y,
            weight=weight,
            categorical_feature=categories,
            free_raw_data=True,
            params={"verbose": -1, "max_bin": _BINS},
        )

    def _boosting(self, design: Design, context: FitContext) -> dict[str, Any]:
        """Parameters as LightGBM calls them."""
        rows, columns = design.x.shape
        return {
            "objective": self.objective,
            "learning_rate": self.learning_rate,
            "num_leaves": self.num_leaves,
            "min_data_in_leaf": max(2, min(self.min_child_samples, rows // 8)),
            "bagging_fraction": self.subsample,
            "bagging_freq": 1 if self.subsample < 1 else 0,
            "feature_fraction": min(1.0, max(self.colsample, _LEAST_COLUMNS / columns)),
            "lambda_l2": self.reg_lambda,
            "min_data_per_group": 20,
            "cat_smooth": 5,
            "max_bin": _BINS,
            "seed": context.seed,
            "num_threads": context.threads,
            "deterministic": True,
            "force_row_wise": True,
            "verbose": -1,
        }

    def _predict(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self._booster.predict(x, num_threads=1), dtype=float)

    def contributions(self, x: np.ndarray) -> Contributions | None:
        """Tree SHAP by LightGBM; None for linear leaves and for objectives on a log scale."""
        from automl.explain import stacked_contributions

        if self.linear_tree or self.objective in {"tweedie", "poisson", "gamma"}:
            return None
        return stacked_contributions(self._booster.predict(x, pred_contrib=True, num_threads=1))

    def _regressor_state(self) -> State:
        return {}, {"booster": self._booster.model_to_string().encode()}

    def _restore_regressor(self, settings: dict[str, Any], blobs: dict[str, Any]) -> None:  # noqa: ARG002 - shared form
        import lightgbm

        self._booster = lightgbm.Booster(model_str=blobs["booster"].decode())


class StopAtDeadline:
    """LightGBM callback that gives up when time is over, checked every tree."""

    before_iteration = True
    order = 0

    def __init__(self, context: FitContext) -> None:
        self._deadline = context.deadline

    def __call__(self, env: Any) -> None:
        """Look at the clock."""
        self._deadline.check(f"growing tree {env.iteration + 1} of LightGBM")


@dataclass(kw_only=True)
class XGBoost(Pooled):
    """Gradient boosted trees by XGBoost (Chen & Guestrin 2016, KDD), of histograms; gaps are handled as they are.

    Parameters
    ----------
    objective : "reg:absoluteerror", "reg:squarederror", "reg:pseudohubererror" or "reg:tweedie".
    n_estimators, learning_rate, max_depth, min_child_weight, subsample, colsample, reg_lambda : as in XGBoost.
    """

    objective: str = "reg:absoluteerror"
    n_estimators: int = 200
    learning_rate: float = 0.07
    max_depth: int = 5
    min_child_weight: float = 5.0
    subsample: float = 0.9
    colsample: float = 0.8
    reg_lambda: float = 1.0

    _booster: Any = field(default=None, init=False, repr=False, compare=False)

    name: ClassVar[str] = "XGBoost"

    def _fit(self, design: Design, weight: np.ndarray, context: FitContext) -> None:
        xgboost = _xgboost()
        params = {
            "objective": self.objective,
            "learning_rate": self.learning_rate,
            "max_depth": self.max_depth,
            "min_child_weight": min(self.min_child_weight, len(design.y) / 8),
            "subsample": self.subsample,
            "colsample_bytree": self.colsample,
            "lambda": self.reg_lambda,
            "tree_method": "hist",
            "seed": context.seed,
            "nthread": context.threads,
            "verbosity": 0,
        }
        data = xgboost.DMatrix(design.x, design.y, weight=weight)
        self._booster = xgboost.Booster(params, [data])
        for tree in range(self.n_estimators):
            context.deadline.check(f"growing tree {tree + 1} of XGBoost")
            self._booster.update(data, tree)

    def _predict(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self._booster.inplace_predict(x), dtype=float)

    def contributions(self, x: np.ndarray) -> Contributions | None:
        """Tree SHAP by XGBoost; None for objectives on a log scale."""
        from automl.explain import stacked_contributions

        if self.objective in {"reg:tweedie", "reg:gamma", "count:poisson"}:
            return None
        return stacked_contributions(self._booster.predict(_xgboost().DMatrix(x), pred_contribs=True))

    def _regressor_state(self) -> State:
        return {}, {"booster": bytes(self._booster.save_raw("json"))}

    def _restore_regressor(self, settings: dict[str, Any], blobs: dict[str, Any]) -> None:  # noqa: ARG002 - shared form
        self._booster = _xgboost().Booster({"nthread": 1, "verbosity": 0})
        self._booster.load_model(bytearray(blobs["booster"]))


def _xgboost() -> Any:
    try:
        import xgboost
    except ImportError as error:
        raise MissingPackageError("xgboost", "boost", "XGBoost") from error
    return xgboost
