"""What is searched around the first configuration of each learner."""

from __future__ import annotations

from automl.candidates import Choice, Dimension, Float, Int, JsonScalar

_COMMON: dict[str, Dimension] = {
    "transform": Choice(("none", "log")),
    "base": Choice(("last", "level", "seasonal")),
    "weighting": Choice(("equal", "volume")),
}
SPACES: dict[str, dict[str, Dimension]] = {
    "LightGBM": {
        **_COMMON,
        "strategy": Choice(("direct", "recursive")),
        "objective": Choice(("regression_l1", "regression", "huber")),
        "n_estimators": Int(50, 600, log=True),
        "learning_rate": Float(0.02, 0.15, log=True),
        "num_leaves": Int(7, 95, log=True),
        "min_child_samples": Int(5, 80, log=True),
        "colsample": Float(0.15, 0.9, log=True),
        "reg_lambda": Float(0.01, 10.0, log=True),
        "series_code": Choice((True, False)),
    },
    "QuantileLightGBM": {
        **_COMMON,
        "n_estimators": Int(40, 250, log=True),
        "learning_rate": Float(0.03, 0.15, log=True),
        "num_leaves": Int(7, 47, log=True),
        "min_child_samples": Int(15, 150, log=True),
        "colsample": Float(0.15, 0.9, log=True),
    },
    "QuantileForest": {
        **_COMMON,
        "min_samples_leaf": Int(3, 40, log=True),
        "max_features": Float(0.15, 0.9),
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
    "Prophet": {
        "seasonality_mode": Choice(("additive", "multiplicative")),
        "changepoint_prior_scale": Float(0.001, 0.5, log=True),
        "seasonality_prior_scale": Float(0.01, 10.0, log=True),
    },
    "TCNForecaster": {
        "channels": Choice((16, 24, 32, 48, 64)),
        "blocks": Int(1, 2),
        "cells": Choice(("auto", 3, 4, 5, 6)),
        "dropout": Float(0.05, 0.5),
        "learning_rate": Float(0.0005, 0.01, log=True),
        "transform": Choice(("auto", "none")),
        "series_code": Choice((False, True)),
    },
}
"""Learner -> what is searched around its first configuration."""

TCN_FIRST: tuple[dict[str, JsonScalar], ...] = (
    {},
    {"channels": 48, "dropout": 0.2},
    {"transform": "none"},
    {"blocks": 2, "cells": 3},
    {"channels": 16, "learning_rate": 0.006},
    {"series_code": True, "dropout": 0.4},
    {"cells": 5, "learning_rate": 0.0015},
    {"channels": 64, "dropout": 0.5, "learning_rate": 0.0015},
    {"cells": 3, "dropout": 0.1},
    {"blocks": 2, "channels": 32, "learning_rate": 0.001},
    {"channels": 32, "transform": "none", "series_code": True},
    {"channels": 48, "cells": 6, "dropout": 0.3, "learning_rate": 0.002},
)
"""The 12 configurations of the network that are tried before any is drawn (as the described service does)."""
