"""Forecasting: many series, one panel, honest backtests. Names are imported when they are first used."""

from __future__ import annotations

import importlib
import logging
from typing import Any

_NAMES = {
    "Forecaster": "forecasting.forecaster",
    "Columns": "forecasting.config",
    "Covariates": "forecasting.config",
    "DataSettings": "forecasting.config",
    "FeatureSettings": "forecasting.config",
    "SearchSettings": "forecasting.config",
    "Settings": "forecasting.config",
    "HierarchicalForecaster": "forecasting.hierarchical",
    "ManyModels": "forecasting.many.models",
    "Panel": "forecasting.panel",
    "TimeGrid": "forecasting.timegrid",
    "datasets": "forecasting.datasets",
    "pivot": "forecasting.lagged",
    "plots": "forecasting.plots",
    "register_learner": "forecasting.learners.own",
    "unregister_learner": "forecasting.learners.own",
}

__all__ = list(_NAMES)

logging.getLogger("forecasting").addHandler(logging.NullHandler())  # silent unless the application says otherwise


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'forecasting' has no attribute {name!r}; it has {', '.join(__all__)}.")
    module = importlib.import_module(_NAMES[name])
    return module if _NAMES[name].endswith(f".{name}") else getattr(module, name)


def __dir__() -> list[str]:
    return __all__
