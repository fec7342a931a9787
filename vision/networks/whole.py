"""torchvision's detectors as they are: weights from COCO, heads for one's own classes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchvision import models

from vision.models.backbones import downloaded, no_weights, read_state
from vision.models.detectors import WHOLE
from vision.networks.detectors import background
from vision.networks.training import fill

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

_HEADS = ("box_predictor.", "mask_predictor.", "classification_head.")
"""What knows classes: weights of another number of classes are left aside there."""

_COUNTS = "num_batches_tracked"
"""Of batch normalisation; weights of frozen layers have none."""


def whole(name: str, n_classes: int, params: Mapping[str, Any], weights: str) -> nn.Module:
    """Network by torchvision's name of it.

    Parameters
    ----------
    n_classes, params, weights : see `vision.models.detectors.build_detector`; "auto" is torchvision's too.
    """
    size = {} if WHOLE[name] else {side: int(params[side]) for side in ("min_size", "max_size")}
    columns = n_classes + background(name)
    made: nn.Module = models.get_model(name, weights=None, weights_backbone=None, num_classes=columns, **size)
    if weights == "none":
        return made
    online = weights in {"auto", "default"}
    given = downloaded(name, "'fcos' or 'maskrcnn' on a backbone") if online else read_state(Path(weights), name)
    left = fill(made, given, strict=False)
    lost = [k for k in left if not k.endswith(_COUNTS) and not any(h in k for h in _HEADS)]
    if lost:
        raise no_weights(Path(name if online else weights), name, f"{lost[0]} is missing or of another shape")
    return made
