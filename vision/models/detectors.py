"""Detectors by name: which of torchvision's, on which backbone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from automl.candidates import Registry
from automl.errors import ConfigError
from vision.models.backbones import BACKBONES, build, need

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import nn

    from vision.data.records import Kind

WHOLE = {
    **dict.fromkeys(
        (
            "fasterrcnn_resnet50_fpn",
            "fasterrcnn_resnet50_fpn_v2",
            "fasterrcnn_mobilenet_v3_large_fpn",
            "fasterrcnn_mobilenet_v3_large_320_fpn",
            "maskrcnn_resnet50_fpn",
            "maskrcnn_resnet50_fpn_v2",
            "retinanet_resnet50_fpn",
            "retinanet_resnet50_fpn_v2",
            "fcos_resnet50_fpn",
        ),
        0,
    ),
    "ssd300_vgg16": 300,
    "ssdlite320_mobilenet_v3_large": 320,
}
"""Networks of torchvision that come as a whole, with weights from COCO; the sides of images they are made for, 0 = any.

Sources: Liu et al. (2016), SSD; Howard et al. (2019), MobileNetV3 and SSDlite; those of `DETECTORS`."""

DETECTORS = Registry(
    "detector",
    {
        "fcos": "vision.networks.detectors:fcos",
        "fasterrcnn": "vision.networks.detectors:fasterrcnn",
        "retinanet": "vision.networks.detectors:retinanet",
        "maskrcnn": "vision.networks.detectors:maskrcnn",
        **dict.fromkeys(WHOLE, "vision.networks.whole:whole"),
    },
    {"ssdlite": "ssdlite320_mobilenet_v3_large", "ssd": "ssd300_vgg16"},
)
"""Sources: Tian et al. (2019), FCOS; Ren et al. (2015), Faster R-CNN; Lin et al. (2017), RetinaNet and feature
pyramids; He et al. (2017), Mask R-CNN."""


def parse(name: str) -> tuple[str, str | None]:
    """Detector and backbone of a name such as `fasterrcnn` or `fcos_resnet18`; a network that is a whole has "" there.

    Raises
    ------
    UnknownNameError : there is no such detector or backbone.

    Examples
    --------
    >>> parse("maskrcnn_resnet18_fpn"), parse("fcos"), parse("ssdlite")
    (('maskrcnn', 'resnet18'), ('fcos', None), ('ssdlite320_mobilenet_v3_large', ''))
    """
    if name in DETECTORS:
        detector = DETECTORS.resolve(name)
        return detector, "" if detector in WHOLE else None
    head, _, rest = name.partition("_")
    detector = DETECTORS.resolve(head)
    rest = rest.removesuffix("_fpn").removesuffix("fpn")
    return detector, BACKBONES.resolve(rest) if rest else None


STRIDES = (8, 16, 32)
RATIOS = (0.5, 1.0, 2.0)
"""Heights of anchors by their widths."""

ANCHORS = "4,5.6"
"""Sides of anchors, in strides of their level, where nothing is known of objects."""

_BASES = (1.4, 2.0, 2.8, 4.0, 5.6)


def strides_of(params: Mapping[str, Any]) -> tuple[int, ...]:
    """Strides of a pyramid's levels, given as "8,16,32".

    Examples
    --------
    >>> strides_of({"strides": "4,8"}), strides_of({})
    ((4, 8), (8, 16, 32))
    """
    given = str(params.get("strides") or "")
    return tuple(int(s) for s in given.split(",")) if given else STRIDES


def anchors_for(sides: np.ndarray, strides: Sequence[int]) -> str:
    """Sides of anchors, in strides of their level, that objects of these sizes overlap most.

    The smallest anchors decide whether small objects are proposed at all; a level more is pooled from the last.

    Parameters
    ----------
    sides : width and height of objects as the network sees them, pixels, shape [n, 2]. strides : of the levels.

    Examples
    --------
    >>> anchors_for(np.full((9, 2), 10.0), (4, 8)), anchors_for(np.full((9, 2), 200.0), (8, 16, 32))
    ('2.8,3.96', '5.6,7.92')
    """
    if not len(sides):
        return ANCHORS
    levels = np.array([*strides, 2 * strides[-1]], dtype=float)
    shapes = np.array([(r**-0.5, r**0.5) for r in RATIOS])
    best, chosen = -1.0, _BASES[-1]
    for base in reversed(_BASES):  # of equals the largest: large anchors look farther
        own = (levels[:, None, None, None] * np.array([base, base * 2**0.5])[:, None, None] * shapes).reshape(-1, 2)
        off = np.repeat(levels, 2 * len(shapes))[:, None] / 4  # anchors lie on a grid: a typical distance to it
        low = np.maximum(-sides[:, None] / 2, off - own / 2)
        shared = np.clip(np.minimum(sides[:, None] / 2, off + own / 2) - low, 0, None).prod(axis=2)
        overlap = shared / (sides.prod(axis=1)[:, None] + own.prod(axis=1) - shared)
        mean = float(np.minimum(overlap.max(axis=1), 0.7).mean())
        if mean > best + 1e-3:
            best, chosen = mean, base
    return f"{chosen:g},{chosen * 2**0.5:.3g}"


def check_kind(detector: str, kind: Kind) -> None:
    """Raise ConfigError where a detector does not suit a task."""
    if detector.startswith("maskrcnn") != (kind == "segmentation"):
        fits = "maskrcnn" if kind == "segmentation" else "fcos, fasterrcnn, retinanet or ssdlite"
        raise ConfigError(f"{detector} does not suit {kind}. Fix: {fits}.")


def has_anchors(detector: str) -> bool:
    """Whether a detector's anchors are set by the sizes of objects: those that are no whole, but for FCOS."""
    return detector not in WHOLE and detector != "fcos"


def build_detector(
    name: str, backbone: str, n_classes: int, params: Mapping[str, Any], weights: str = "none"
) -> nn.Module:
    """Network of a detector: learns from (images, targets) and gives losses, or predicts images.

    Parameters
    ----------
    backbone : by name; of no meaning where the network is a whole. n_classes : without the background.
    params : min_size, max_size, strides ("8,16,32"), channels, convolutions, box_score_thresh, box_nms_thresh,
        box_detections_per_img, and what else the detector knows.
    weights : of the backbone, or of a network that is a whole: "auto", "default", "none" or the path of a file.

    Raises
    ------
    ConfigError : the weights cannot be had; the message says what can. ModelFileError : a file holds others.
    """
    need("torchvision")
    made = DETECTORS.load(name)
    if name in WHOLE:
        whole: nn.Module = made(name, n_classes, params, weights)
        return whole
    network: nn.Module = made(build(backbone, weights), n_classes, params)
    return network
