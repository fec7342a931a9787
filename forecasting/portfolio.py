"""Which learners are tried, with which first configurations, and what is searched around them."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import numpy as np

from automl.candidates import Candidate, Choice, Dimension, Float, Int, JsonScalar
from automl.errors import ConfigError
from forecasting.learners.base import LEARNERS

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from forecasting.panel import Panel

_COMMON: dict[str, Dimension] = {
    "transform": Choice(("none", "log")),
    "base": Choice(("last", "level", "seasonal")),
    "weighting": Choice(("equal", "volume")),
}
_SPACES: dict[str, dict[str, Dimension]] = {
    "LightGBM": {
        **_COMMON,
        "strategy": Choice(("direct", "recursive")),
        "objective": Choice(("regression_l1", "regression", "huber")),
        "n_estimators": Int(50, 600, log=True),
        "learning_rate": Float(0.02, 0.15, log=True),
        "num_leaves": Int(7, 95, log=True),
        "min_child_samples": Int(5, 80, log=True),
        "colsample": Float(0.4, 1.0),
        "reg_lambda": Float(0.01, 10.0, log=True),
        "series_code": Choice((True, False)),
    },
    "ElasticNet": {
        **_COMMON,
        "strategy": Choice(("direct", "recursive")),
        "alpha": Float(0.0003, 0.1, log=True),
        "l1_ratio": Float(0.05, 1.0),
        "scaler": Choice(("StandardScaleWrapper", "MinMaxScaler", "MaxAbsScaler", "RobustScaler")),
    },
    "RandomForest": {
        **_COMMON,
        "min_samples_leaf": Int(1, 20, log=True),
        "max_features": Float(0.15, 0.9),
        "scaler": Choice(("none", "PCA")),
    },
    "ExtremeRandomTrees": {
        **_COMMON,
        "min_samples_leaf": Int(1, 20, log=True),
        "max_features": Float(0.15, 0.9),
        "scaler": Choice(("none", "PCA", "TruncatedSVDWrapper")),
    },
    "KNN": {
        **_COMMON,
        "n_neighbors": Int(3, 60, log=True),
        "weights": Choice(("distance", "uniform")),
        "scaler": Choice(("StandardScaleWrapper", "RobustScaler", "PCA", "SparseNormalizer")),
    },
    "LassoLars": {**_COMMON, "alpha": Float(0.0001, 0.03, log=True)},
    "SGD": {
        **_COMMON,
        "loss": Choice(("huber", "squared_error", "epsilon_insensitive")),
        "alpha": Float(0.00003, 0.03, log=True),
        "l1_ratio": Float(0.0, 1.0),
        "eta0": Float(0.0003, 0.01, log=True),
    },
    "DecisionTree": {**_COMMON, "max_depth": Int(3, 20), "min_samples_leaf": Int(3, 100, log=True)},
    "GradientBoosting": {
        **_COMMON,
        "loss": Choice(("huber", "squared_error", "absolute_error")),
        "n_estimators": Int(40, 300, log=True),
        "learning_rate": Float(0.03, 0.2, log=True),
        "max_depth": Int(2, 7),
        "min_samples_leaf": Int(3, 60, log=True),
        "max_features": Float(0.1, 0.8),
    },
    "XGBoost": {
        **_COMMON,
        "objective": Choice(("reg:absoluteerror", "reg:squarederror", "reg:pseudohubererror")),
        "n_estimators": Int(50, 600, log=True),
        "learning_rate": Float(0.02, 0.2, log=True),
        "max_depth": Int(2, 9),
        "min_child_weight": Float(1.0, 50.0, log=True),
        "colsample": Float(0.4, 1.0),
        "reg_lambda": Float(0.01, 10.0, log=True),
    },
}
_OWN_TRANSFORM = {"TCNForecaster"}
"""Learners that are no pooled regressors but may take logs."""

_PER_SERIES_SECONDS = {
    "Croston": 0.001, "TSB": 0.001, "ADIDA": 0.001, "IMAPA": 0.001, "Theta": 0.002, "ExponentialSmoothing": 0.005,
    "ComplexSmoothing": 0.003, "MSTL": 0.01,
    "AutoArima": 0.05, "Arimax": 0.1, "Prophet": 0.5, "StatsmodelsETS": 0.3, "PmdArima": 4.0,
}  # fmt: skip
_INTERMITTENT = 0.2
"""Share of zeros from which methods for intermittent demand are tried."""

_ONLY_WHEN_NAMED = {"StatsmodelsETS", "PmdArima"}
"""Learners by other libraries of what the kernels do; they serve as a second opinion."""


def candidates(
    panel: Panel,
    *,
    season: int,
    stationary: bool,
    allowed: Sequence[str] | None,
    blocked: Sequence[str],
    deep: bool,
    transform: str = "auto",
) -> list[Candidate]:
    """Return the candidates for a panel, cheap and safe ones first: the first answer comes at once.

    Parameters
    ----------
    transform : of the target, "auto" = as each candidate has it (see `FeatureSettings.target_transform`).

    Raises
    ------
    UnknownNameError : a name in `allowed` or `blocked` is no learner.
    ConfigError : nothing is left.
    """
    names = wanted(allowed, blocked, deep=deep)
    missing = skipped(names)
    out = [c for c in _portfolio(panel, season, stationary=stationary) if c.learner in names - missing.keys()]
    if not out:
        why = "".join(f" {name} is {reason}." for name, reason in missing.items())
        raise ConfigError(
            f"allowed={list(allowed) if allowed is not None else 'all'} without blocked={list(blocked)} leaves no "
            f"learner.{why} Known: {', '.join(LEARNERS)}."
        )
    return list(dict.fromkeys(_transformed(c, transform) for c in out))


def _transformed(candidate: Candidate, transform: str) -> Candidate:
    """Return the candidate with the target's transform settled, and no longer searched over."""
    pooled = candidate.learner in _SPACES
    if transform == "auto" or not (pooled or candidate.learner in _OWN_TRANSFORM):
        return candidate
    params, space = candidate.values(), dict(candidate.space)
    params["transform"] = "log" if transform == "log" else "none"
    space.pop("transform", None)
    if pooled and transform == "difference":
        params["base"] = "last"
        space.pop("base", None)
    elif pooled and transform == "none":
        params["base"] = "level" if params.get("base") == "last" else params.get("base", "level")
        space |= {"base": Choice(("level", "seasonal"))} if "base" in space else {}
    return Candidate.of(candidate.learner, params, space=space, cost=candidate.cost)


def wanted(allowed: Sequence[str] | None, blocked: Sequence[str], *, deep: bool) -> set[str]:
    """Names of the learners that settings ask for."""
    names = set(LEARNERS) - _ONLY_WHEN_NAMED if allowed is None else {LEARNERS.resolve(n) for n in allowed}
    names -= {LEARNERS.resolve(n) for n in blocked}
    if allowed is None and not deep:
        names.discard("TCNForecaster")
    return names


def skipped(names: Collection[str]) -> dict[str, str]:
    """Learners whose package is missing, with the command that installs it."""
    needs = {"TCNForecaster": ("torch", "deep"), "XGBoost": ("xgboost", "boost")}
    return {
        name: f"skipped: pip install 'forecastle[{extra}]'"
        for name, (package, extra) in needs.items()
        if name in names and importlib.util.find_spec(package) is None
    }


def _portfolio(panel: Panel, season: int, *, stationary: bool) -> list[Candidate]:
    """Fixed order: naive, two strong pooled models, then by rising cost. A space is searched once a learner."""
    of, n = Candidate.of, panel.n_series
    direct: dict[str, JsonScalar] = {
        "strategy": "direct",
        "base": "seasonal" if season > 1 else "level" if stationary else "last",
        "transform": "auto",
    }
    light: dict[str, JsonScalar] = {
        **direct,
        "num_leaves": 15,
        "learning_rate": 0.07,
        "n_estimators": 150,
        "max_rows": 60_000,
    }
    space = _SPACES

    def local(name: str, **params: JsonScalar) -> Candidate:
        return of(name, params, cost=_PER_SERIES_SECONDS[name] * n)

    zeros = float(np.mean(panel.y[panel.observed] == 0)) if panel.observed.any() else 0.0
    sparse = ("Croston", "TSB", "IMAPA", "ADIDA") if zeros > _INTERMITTENT else ()
    regressors = any(panel.known.categories(name) is None for name in panel.known.names)
    return [
        of("SeasonalNaive", cost=0.01),
        of("LightGBM", light, space=space["LightGBM"], cost=1),
        of("ElasticNet", {**direct, "max_rows": 60_000}, space=space["ElasticNet"], cost=1),
        of("LightGBM", {**light, "base": "level", "weighting": "volume"}, cost=1),
        of("Naive", cost=0.01),
        of("Average", cost=0.01),
        of("SeasonalAverage", cost=0.01),
        of("SeasonalWindowAverage", cost=0.01),
        of("LightGBM", {**light, "strategy": "recursive"}, cost=1),
        of("ExtremeRandomTrees", {"base": "level", "weighting": "volume"}, space=space["ExtremeRandomTrees"], cost=2),
        local("ExponentialSmoothing"),
        *(local(name) for name in sparse),
        local("Theta", method="dynamic"),
        *([local("MSTL")] if season > 1 else []),
        local("AutoArima"),
        *([local("Arimax")] if regressors else []),
        of(
            "LightGBM",
            {
                **light,
                "base": "level",
                "transform": "none",
                "weighting": "volume",
                "objective": "regression",
                "n_estimators": 300,
                "learning_rate": 0.03,
            },
            cost=2,
        ),
        of("KNN", direct, space=space["KNN"], cost=1),
        of("RandomForest", direct, space=space["RandomForest"], cost=3),
        of("XGBoost", {**direct, "n_estimators": 150}, space=space["XGBoost"], cost=2),
        of("LassoLars", {**direct, "max_rows": 60_000}, space=space["LassoLars"], cost=1),
        of("SGD", {**direct, "max_rows": 60_000}, space=space["SGD"], cost=1),
        of("DecisionTree", direct, space=space["DecisionTree"], cost=1),
        of("GradientBoosting", {**direct, "base": "level"}, space=space["GradientBoosting"], cost=4),
        of("TCNForecaster", cost=30),
        local("Theta", method="optimized"),
        local("ComplexSmoothing"),
        local("Prophet"),
        local("StatsmodelsETS"),
        local("PmdArima"),
        of("LightGBM", {**direct, "num_leaves": 31, "n_estimators": 400, "learning_rate": 0.03}, cost=6),
    ]
