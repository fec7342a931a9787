"""forecastle: open AutoML with time-series forecasting at its core. Names are imported when they are first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from automl.budget import ExitCriteria
    from automl.errors import AutoMLError, ConfigError, DataError, MissingPackageError, ModelFileError, RunError
    from automl.metrics import UserMetric
    from automl.runs import Run
    from forecasting import datasets, plots
    from forecasting.config import Columns, Covariates, DataSettings, FeatureSettings, SearchSettings, Settings
    from forecasting.forecaster import Forecaster
    from forecasting.hierarchical import HierarchicalForecaster
    from forecasting.lagged import pivot
    from forecasting.learners.own import register_learner, unregister_learner
    from forecasting.many.models import ManyModels
    from tabular.estimators import AutoClassifier, AutoRegressor
    from vision.estimators import ImageClassifier, InstanceSegmenter, MultiLabelImageClassifier, ObjectDetector

__version__ = "0.1.0"

__all__ = [
    "AutoClassifier",
    "AutoMLError",
    "AutoRegressor",
    "Columns",
    "ConfigError",
    "Covariates",
    "DataError",
    "DataSettings",
    "ExitCriteria",
    "FeatureSettings",
    "Forecaster",
    "HierarchicalForecaster",
    "ImageClassifier",
    "InstanceSegmenter",
    "ManyModels",
    "MissingPackageError",
    "ModelFileError",
    "MultiLabelImageClassifier",
    "ObjectDetector",
    "Run",
    "RunError",
    "SearchSettings",
    "Settings",
    "UserMetric",
    "__version__",
    "datasets",
    "pivot",
    "plots",
    "register_learner",
    "unregister_learner",
]

_HOMES = {
    "automl.errors": ("AutoMLError", "ConfigError", "DataError", "MissingPackageError", "ModelFileError", "RunError"),
    "automl.budget": ("ExitCriteria",),
    "automl.metrics": ("UserMetric",),
    "automl.runs": ("Run",),
    "forecasting.forecaster": ("Forecaster",),
    "forecasting.hierarchical": ("HierarchicalForecaster",),
    "forecasting.lagged": ("pivot",),
    "forecasting.many.models": ("ManyModels",),
    "tabular.estimators": ("AutoClassifier", "AutoRegressor"),
    "vision.estimators": ("ImageClassifier", "InstanceSegmenter", "MultiLabelImageClassifier", "ObjectDetector"),
    "forecasting.config": (
        "Columns", "Covariates", "DataSettings", "FeatureSettings", "SearchSettings", "Settings",
    ),
    "forecasting.learners.own": ("register_learner", "unregister_learner"),
}  # fmt: skip
_NAMES = {name: module for module, names in _HOMES.items() for name in names}
_MODULES = ("datasets", "plots")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"forecasting.{name}")
    if name not in _NAMES:
        raise AttributeError(f"module 'forecastle' has no attribute {name!r}; it has {', '.join(__all__)}.")
    return getattr(importlib.import_module(_NAMES[name]), name)


def __dir__() -> list[str]:
    return __all__
