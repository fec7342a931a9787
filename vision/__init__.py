"""Vision: classes, objects and outlines of images. Names are imported when they are first used."""

from __future__ import annotations

import importlib
import logging
from typing import Any

_NAMES = {
    "DataSettings": "vision.config",
    "ImageClassifier": "vision.estimators",
    "InstanceSegmenter": "vision.estimators",
    "MultiLabelImageClassifier": "vision.estimators",
    "ObjectDetector": "vision.estimators",
    "SearchSettings": "vision.config",
    "Settings": "vision.config",
    "ImageSet": "vision.data.records",
    "read_images": "vision.data.reading",
    "write_images": "vision.data.writing",
}

__all__ = list(_NAMES)

logging.getLogger("vision").addHandler(logging.NullHandler())  # silent unless the application says otherwise


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'vision' has no attribute {name!r}; it has {', '.join(__all__)}.")
    return getattr(importlib.import_module(_NAMES[name]), name)


def __dir__() -> list[str]:
    return __all__
