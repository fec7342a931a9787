"""Detectors by name: which of torchvision's, on which backbone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from automl.candidates import Registry
from automl.errors import ConfigError
from vision.models.backbones import BACKBONES, need

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vision.data.records import Kind
    from vision.models.backbones import Backbone

DETECTORS = Registry(
    "detector",
    {
        "fcos": "vision.networks.detectors:fcos",
        "fasterrcnn": "vision.networks.detectors:fasterrcnn",
        "retinanet": "vision.networks.detectors:retinanet",
        "maskrcnn": "vision.networks.detectors:maskrcnn",
    },
)
"""Sources: Tian et al. (2019), FCOS; Ren et al. (2015), Faster R-CNN; Lin et al. (2017), RetinaNet and feature
pyramids; He et al. (2017), Mask R-CNN."""


def parse(name: str) -> tuple[str, str | None]:
    """Detector and backbone of a name such as `fasterrcnn`, `fcos_resnet18` or `maskrcnn_resnet50_fpn`.

    Raises
    ------
    UnknownNameError : there is no such detector or backbone.

    Examples
    --------
    >>> parse("maskrcnn_resnet50_fpn"), parse("fcos")
    (('maskrcnn', 'resnet50'), ('fcos', None))
    """
    head, _, rest = name.partition("_")
    detector = DETECTORS.resolve(head)
    rest = rest.removesuffix("_fpn").removesuffix("fpn")
    return detector, BACKBONES.resolve(rest) if rest else None


def check_kind(detector: str, kind: Kind) -> None:
    """Raise ConfigError where a detector does not suit a task."""
    if (detector == "maskrcnn") != (kind == "segmentation"):
        fits = "maskrcnn" if kind == "segmentation" else "fcos, fasterrcnn or retinanet"
        raise ConfigError(f"{detector} does not suit {kind}. Fix: {fits}.")


def build_detector(name: str, backbone: Backbone, n_classes: int, params: Mapping[str, Any]) -> Any:
    """Network of a detector: learns from (images, targets) and gives losses, or predicts images.

    Parameters
    ----------
    n_classes : without the background. params : min_size, max_size, strides ("8,16,32"), channels, convolutions,
        box_score_thresh, box_nms_thresh, box_detections_per_img, and what else the detector knows.
    """
    need("torchvision")
    return DETECTORS.load(name)(backbone, n_classes, params)
