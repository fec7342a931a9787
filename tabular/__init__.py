"""Tabular: classes and numbers from tables. Names are imported when they are first used."""

from __future__ import annotations

import importlib
import logging
from typing import Any

_NAMES = {
    "AutoClassifier": "tabular.estimators",
    "AutoRegressor": "tabular.estimators",
    "DataSettings": "tabular.config",
    "FeatureSettings": "tabular.config",
    "OnnxModel": "tabular.onnx.export",
    "SearchSettings": "tabular.config",
    "Settings": "tabular.config",
}

__all__ = list(_NAMES)

logging.getLogger("tabular").addHandler(logging.NullHandler())  # silent unless the application says otherwise


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'tabular' has no attribute {name!r}; it has {', '.join(__all__)}.")
    return getattr(importlib.import_module(_NAMES[name]), name)


def __dir__() -> list[str]:
    return __all__
