"""Gradient boosted trees by LightGBM and XGBoost; the number of trees is found on the rows held out."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from automl.memory import MB
from tabular.learners.base import Margins
from tabular.onnx.trees import add_trees, of_margins

if TYPE_CHECKING:
    from automl.trial import State
    from tabular.learners.base import FitContext, Pieces
    from tabular.onnx.graph import Graph

_PATIENCE_FEWEST, _PATIENCE_SHARE = 20, 0.1
_CHECK_EVERY = 10
_LEAN = {"force_row_wise": False, "force_col_wise": True}
"""Parameters with which LightGBM holds each value once, not twice."""

_ROW_BYTES, _TRIED_TREES, _TIME_SHARE = 48, 3, 0.5
"""Bytes of a row besides its features: target, weight, gradients, score, place in the tree; trees that are timed first;
share of the time that is left for growing trees."""


def balanced(y: np.ndarray, weight: np.ndarray, n_classes: int) -> np.ndarray:
    """Weights with which every class counts alike. Shape [rows].

    Examples
    --------
    >>> balanced(np.array([0, 0, 0, 1]), np.ones(4), 2).tolist()
    [0.6666666666666666, 0.6666666666666666, 0.6666666666666666, 2.0]
    """
    size = np.bincount(y, weights=weight, minlength=n_classes)
    return weight * (weight.sum() / (np.count_nonzero(size) * np.maximum(size, np.finfo(float).tiny)))[y]


class _Clock:
    """LightGBM callback that looks at the clock: gives up at the deadline, keeps the best trees when it is enough."""

    before_iteration = False
    order = 5

    def __init__(self, context: FitContext) -> None:
        self._context = context
        self._best = math.inf
        self._at: tuple[int, list[Any]] = (0, [])

    def __call__(self, env: Any) -> None:
        self._context.deadline.check(f"growing tree {env.iteration + 1} of LightGBM")
        found = env.evaluation_result_list
        loss = found[0][2] if found else -env.iteration
        if loss < self._best:
            self._best, self._at = loss, (env.iteration, found)
        if self._context.enough.passed:
            from lightgbm.callback import EarlyStopException

            raise EarlyStopException(*self._at)


@dataclass(kw_only=True)
class LightGBM:
    """Gradient boosted trees (Ke et al. 2017, NeurIPS); categories and gaps are handled as they are.

    Parameters
    ----------
    n_estimators : at most; fewer where the loss on held-out rows no longer falls. Others : as in LightGBM.
    extra_trees : thresholds drawn at random. objective : of numbers: regression, regression_l1 or huber.
    """

    n_estimators: int = 1_000
    learning_rate: float = 0.05
    num_leaves: int = 31
    min_child_samples: int = 20
    subsample: float = 0.9
    colsample: float = 0.8
    reg_lambda: float = 0.1
    max_bin: int = 255
    extra_trees: bool = False
    objective: str = "regression"

    _booster: Any = field(default=None, init=False, repr=False, compare=False)

    flavour: ClassVar[str] = "codes"
    takes_sparse: ClassVar[bool] = True

    def fit(self, x: Any, y: np.ndarray, weight: np.ndarray, context: FitContext) -> Self:
        """Grow trees."""
        import lightgbm

        rows = len(y)
        weight = balanced(y, weight, context.n_classes) if context.balanced and context.n_classes else weight
        data = self._dataset(x, y, weight, context)
        calls: list[Any] = [_Clock(context)]
        valid = []
        if context.held is not None:
            patience = max(_PATIENCE_FEWEST, int(_PATIENCE_SHARE * self.n_estimators))
            calls.append(lightgbm.early_stopping(patience, first_metric_only=True, verbose=False))
            held_x, held_y, held_weight = context.held
            own = dict(data.params)
            valid = [lightgbm.Dataset(held_x, held_y, weight=held_weight, reference=data, params=own)]
        self._booster = lightgbm.train(
            self._params(rows, context), data, num_boost_round=self.n_estimators, valid_sets=valid, callbacks=calls
        )
        return self

    def fit_pieces(self, pieces: Pieces, context: FitContext) -> Self:
        """Grow trees on rows that lie on disk; on as many, drawn at random, as memory and time allow."""
        import lightgbm

        from tabular.learners.spool import Spool

        with Spool(pieces, context, rows=self._rows_within(pieces, context)) as spool:
            data = self._dataset(spool.sequence(), spool.y, spool.weight, context)
            params = self._params(spool.rows, context) | _LEAN
            data.construct()
            spool.close()  # from here on LightGBM holds the rows itself, a byte a value
            self._booster = lightgbm.train(
                params,
                data,
                num_boost_round=self.n_estimators,
                callbacks=[_Clock(context)],
                keep_training_booster=False,
            )
        return self

    def _rows_within(self, pieces: Pieces, context: FitContext) -> int:
        """Rows that memory holds, and whose trees can be grown in half of the time that is left."""
        fits = int(pieces.memory_mb * MB / (pieces.features + _ROW_BYTES))
        if not math.isfinite(context.deadline.left()):
            return min(pieces.rows, fits)
        import lightgbm

        x, y, weight = next(iter(pieces.read()))
        params = self._params(len(y), context) | _LEAN
        data = self._dataset(x, y, weight, context).construct()
        start = perf_counter()
        lightgbm.train(params, data, num_boost_round=_TRIED_TREES)
        a_row = (perf_counter() - start) / (_TRIED_TREES * len(y))
        timely = int(_TIME_SHARE * context.deadline.left() / (a_row * self.n_estimators))
        return max(min(pieces.rows, fits, timely), min(len(y), fits))

    def _dataset(self, x: Any, y: np.ndarray, weight: np.ndarray, context: FitContext) -> Any:
        import lightgbm

        return lightgbm.Dataset(
            x,
            y,
            weight=weight,
            categorical_feature=list(context.categorical),
            params={"verbose": -1, "max_bin": self.max_bin, "feature_pre_filter": False},
        )

    def _params(self, rows: int, context: FitContext) -> dict[str, Any]:
        task: dict[str, Any] = {"objective": self.objective, "metric": "l2" if self.objective == "regression" else "l1"}
        if context.n_classes == 2:
            task = {"objective": "binary", "metric": "binary_logloss"}
        elif context.n_classes:
            task = {"objective": "multiclass", "num_class": context.n_classes, "metric": "multi_logloss"}
        return {
            **task,
            "learning_rate": self.learning_rate,
            "num_leaves": self.num_leaves,
            "min_data_in_leaf": max(1, min(self.min_child_samples, rows // 8)),
            "min_sum_hessian_in_leaf": 1e-3,
            "bagging_fraction": self.subsample,
            "bagging_freq": 1 if self.subsample < 1 else 0,
            "feature_fraction": self.colsample,
            "lambda_l2": self.reg_lambda,
            "max_bin": self.max_bin,
            "extra_trees": self.extra_trees,
            "min_data_per_group": 10,
            "cat_smooth": 10,
            "seed": context.seed,
            "num_threads": context.threads,
            "deterministic": True,
            "force_row_wise": True,
            "verbose": -1,
        }

    def predict(self, x: Any) -> np.ndarray:
        """Ask the trees."""
        out = np.asarray(self._booster.predict(x, num_threads=1), dtype=float)
        return np.stack([1 - out, out], axis=1) if self._binary else out

    @property
    def _binary(self) -> bool:
        return self._booster.params.get("objective") == "binary"

    def onnx(self, graph: Graph, x: str) -> str:
        """Ask the trees in an ONNX graph; float64 [rows, classes or 1]."""
        from tabular.onnx.boosters import lightgbm_trees

        best = self._booster.best_iteration or None
        trees, outputs = lightgbm_trees(self._booster.model_to_string(num_iteration=best))
        out = add_trees(graph, graph.cast(x, "float64"), trees, outputs, np.zeros(outputs))
        return of_margins(graph, out, outputs, classes=self._binary or outputs > 1)

    def margins(self, x: np.ndarray) -> Margins:
        """SHAP values of rows."""
        found = self._booster.predict(x, pred_contrib=True, num_threads=1)
        return _margins(found, x.shape, classes=self._binary or self._booster.num_model_per_iteration() > 1)

    def margin_work(self) -> float:
        """Operations a row."""
        return float(self.trees * self.num_leaves * (2 * np.log2(self.num_leaves)) ** 2)

    @property
    def trees(self) -> int:
        """How many rounds were kept."""
        return int(self._booster.best_iteration or self._booster.current_iteration())

    @property
    def booster(self) -> Any:
        """LightGBM's own model."""
        return self._booster

    def state(self) -> State:
        """Parameters and LightGBM's text."""
        best = self._booster.best_iteration or None
        text = self._booster.model_to_string(num_iteration=best).encode()
        return {"params": _params_of(self), "binary": self._binary}, {"booster": text}

    @classmethod
    def from_state(cls, settings: dict[str, Any], blobs: dict[str, Any]) -> Self:
        """Read what `state` gave."""
        import lightgbm

        self = cls(**settings["params"])
        self._booster = lightgbm.Booster(model_str=blobs["booster"].decode())
        self._booster.params["objective"] = "binary" if settings["binary"] else ""
        return self


def _margins(found: Any, shape: tuple[int, ...], *, classes: bool) -> Margins:
    """What both boosters give: features and the start behind them, one block an output."""
    table = np.asarray(found, dtype=float).reshape(shape[0], -1, shape[1] + 1).transpose(0, 2, 1)
    return Margins.of(table[:, :-1], table[0, -1], "softmax" if classes else "value", "tree SHAP")


def _params_of(learner: Any) -> dict[str, Any]:
    names = {f.name for f in fields(learner) if f.init}
    return {k: v for k, v in asdict(learner).items() if k in names}


@dataclass(kw_only=True)
class XGBoost:
    """Gradient boosted trees by XGBoost (Chen & Guestrin 2016, KDD), of histograms; gaps are handled as they are.

    Parameters
    ----------
    n_estimators : at most; fewer where the loss on held-out rows no longer falls. Others : as in XGBoost.
    """

    n_estimators: int = 600
    learning_rate: float = 0.08
    max_depth: int = 6
    min_child_weight: float = 1.0
    subsample: float = 0.9
    colsample: float = 0.8
    reg_lambda: float = 1.0

    _booster: Any = field(default=None, init=False, repr=False, compare=False)
    _classes: int = field(default=0, init=False, repr=False, compare=False)
    _best: int = field(default=0, init=False, repr=False, compare=False)
    _sparse: bool = field(default=False, init=False, repr=False, compare=False)

    flavour: ClassVar[str] = "codes"
    takes_sparse: ClassVar[bool] = True

    def fit(self, x: Any, y: np.ndarray, weight: np.ndarray, context: FitContext) -> Self:
        """Grow trees, looking every ten whether the held-out loss still falls."""
        import xgboost

        self._classes, self._sparse = context.n_classes, hasattr(x, "tocsr")
        weight = balanced(y, weight, context.n_classes) if context.balanced and context.n_classes else weight
        data = xgboost.DMatrix(x, y, weight=weight)
        held = None
        if context.held is not None:
            held_x, held_y, held_weight = context.held
            held = xgboost.DMatrix(held_x, held_y, weight=held_weight)
        booster = xgboost.Booster(self._settings(y, weight, context), [data, *([held] if held is not None else [])])
        best, patience = np.inf, max(_PATIENCE_FEWEST, int(_PATIENCE_SHARE * self.n_estimators))
        for tree in range(self.n_estimators):
            context.deadline.check(f"growing tree {tree + 1} of XGBoost")
            if tree and context.enough.passed:
                break
            booster.update(data, tree)
            self._best = tree + 1 if held is None else self._best
            if held is not None and (tree % _CHECK_EVERY == 0 or tree + 1 == self.n_estimators):
                loss = float(booster.eval(held).rpartition(":")[2])
                if loss < best:
                    best, self._best = loss, tree + 1
                elif tree + 1 - self._best >= patience:
                    break
        self._booster = booster[: self._best]
        return self

    def _settings(self, y: np.ndarray, weight: np.ndarray, context: FitContext) -> dict[str, Any]:
        task: dict[str, Any] = {"objective": "reg:squarederror", "base_score": float(np.average(y, weights=weight))}
        if context.n_classes == 2:
            task = {"objective": "binary:logistic", "eval_metric": "logloss"}
        elif context.n_classes:
            task = {"objective": "multi:softprob", "num_class": context.n_classes, "eval_metric": "mlogloss"}
        return {
            **task,
            "learning_rate": self.learning_rate,
            "max_depth": self.max_depth,
            "min_child_weight": self.min_child_weight,
            "subsample": self.subsample,
            "colsample_bytree": self.colsample,
            "lambda": self.reg_lambda,
            "tree_method": "hist",
            "seed": context.seed,
            "nthread": context.threads,
            "verbosity": 0,
        }

    def predict(self, x: Any) -> np.ndarray:
        """Ask the trees."""
        import xgboost

        out = np.asarray(self._booster.predict(xgboost.DMatrix(x)), dtype=float)
        return np.stack([1 - out, out], axis=1) if self._classes == 2 else out

    def onnx(self, graph: Graph, x: str) -> str:
        """Ask the trees in an ONNX graph; float64 [rows, classes or 1]."""
        from tabular.onnx.boosters import xgboost_trees

        trees, base = xgboost_trees(bytes(self._booster.save_raw("json")), self._classes)
        if self._sparse:  # what a sparse matrix does not hold is a gap to XGBoost
            x = graph.op(
                "Where", graph.op("Equal", x, graph.constant(0.0, "float32")), graph.constant(np.nan, "float32"), x
            )
        out = add_trees(graph, graph.cast(x, "float64"), trees, len(base), base)
        return of_margins(graph, out, len(base), classes=self._classes > 0)

    def margins(self, x: np.ndarray) -> Margins:
        """SHAP values of rows."""
        import xgboost

        rows = np.where(x == 0, np.nan, x) if self._sparse else x
        found = self._booster.predict(xgboost.DMatrix(rows), pred_contribs=True)
        return _margins(found, x.shape, classes=self._classes > 0)

    def margin_work(self) -> float:
        """Operations a row."""
        return float(self._best * 2**self.max_depth * self.max_depth**2)

    @property
    def trees(self) -> int:
        """How many rounds were kept."""
        return self._best

    @property
    def booster(self) -> Any:
        """XGBoost's own model."""
        return self._booster

    def state(self) -> State:
        """Parameters and XGBoost's own format."""
        own = {"params": _params_of(self), "classes": self._classes, "best": self._best}
        own["sparse"] = self._sparse
        return own, {"booster": bytes(self._booster.save_raw("ubj"))}

    @classmethod
    def from_state(cls, settings: dict[str, Any], blobs: dict[str, Any]) -> Self:
        """Read what `state` gave."""
        import xgboost

        self = cls(**settings["params"])
        self._booster = xgboost.Booster(model_file=bytearray(blobs["booster"]))
        self._classes, self._best, self._sparse = settings["classes"], settings["best"], settings["sparse"]
        return self
