"""Augmentation with torchvision.transforms.v2: what is drawn anew each epoch; boxes and masks move along."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from automl.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vision.objects import Objects

_ASPECT = (0.85, 1.18)
_EVEN = 0.1
"""Largest distance between the distributions of places and their mirror image that counts as none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """What may happen to an image that is learned from.

    Parameters
    ----------
    flip : left and right change. turns : quarter turns and upside down too, None = where objects lie as if up were
        not up (detection and segmentation; never for classes).
    crop : least share of the area that a crop keeps, 1 = no crops (classes). zoom : objects: chance that the image is
        zoomed out (up to 1.5 times) or a part is cut out. colour : strength of changes of brightness, contrast and
        saturation, 0 = none.
    """

    flip: bool = True
    turns: bool | None = None
    crop: float = 0.6
    zoom: float = 0.5
    colour: float = 0.2

    def __post_init__(self) -> None:
        for name, least in (("crop", 0.01), ("zoom", 0.0), ("colour", 0.0)):
            value = getattr(self, name)
            if not least <= value <= 1:
                raise ConfigError(f"{name} must lie from {least:g} to 1, got {value!r}.")


def train_transform(kind: str, size: int, augmentation: Augmentation, *, turns: bool = False) -> Any:
    """Transform of what is learned from.

    Parameters
    ----------
    kind : of the task. size : pixels of the sides (classes: uint8 [3, h, w] becomes uint8 [3, size, size]; 0 for
        objects, which keep their size until the network resizes them).
    turns : whether images of objects may be turned.

    Returns
    -------
    Of classes a function of an image; of objects one of (image, {"boxes", "labels", "masks"}) as tv_tensors.
    """
    from torchvision import tv_tensors
    from torchvision.transforms import v2

    colour = [v2.ColorJitter(*(augmentation.colour,) * 3)] if augmentation.colour else []
    flip = [v2.RandomHorizontalFlip()] if augmentation.flip else []
    if kind in {"multiclass", "multilabel"}:
        crop = v2.RandomResizedCrop(size, scale=(augmentation.crop, 1.0), ratio=_ASPECT, antialias=True)
        return v2.Compose([crop, *flip, *colour])
    steps: list[Any] = [*colour]
    if augmentation.zoom:
        fill = {tv_tensors.Image: 114, "others": 0}
        out = v2.RandomApply([v2.RandomZoomOut(side_range=(1.0, 1.5), p=1.0, fill=fill)], p=0.5)
        part = v2.RandomIoUCrop(min_scale=0.4, min_aspect_ratio=0.6, max_aspect_ratio=1.7, sampler_options=[0.0, 1.0])
        steps.append(v2.RandomApply([v2.RandomChoice([out, part])], p=augmentation.zoom))
    steps += flip
    if turns:
        quarter = v2.RandomApply([v2.RandomRotation((90, 90), expand=True)], p=0.5)
        steps += [v2.RandomVerticalFlip(), quarter]
    return v2.Compose([*steps, v2.SanitizeBoundingBoxes(min_size=2)])


def no_upside(objects: Sequence[Objects]) -> bool:
    """Whether objects lie as if up were not up: centres as often high as low, boxes as often tall as wide.

    Microscopes and satellites see so; then turned images are as likely as those that are given.

    Examples
    --------
    >>> from vision.objects import Objects
    >>> def at(y): return Objects(np.array([[0.4, y, 0.6, y + 0.2]]), np.zeros(1, dtype=np.int64), np.ones(1))
    >>> no_upside([at(0.1 * k) for k in range(9)] * 5), no_upside([at(0.7)] * 45)
    (True, False)
    """
    boxes = np.concatenate([np.zeros((0, 4)), *(o.boxes for o in objects)])
    if len(boxes) < 30:
        return False
    labels = np.concatenate([o.labels for o in objects])
    sizes = np.concatenate([np.tile(o.size if all(o.size) else (1, 1), (len(o), 1)) for o in objects])
    height = (boxes[:, 1] + boxes[:, 3]) / 2
    aspect = np.log((boxes[:, 2] - boxes[:, 0]) * sizes[:, 0]) - np.log((boxes[:, 3] - boxes[:, 1]) * sizes[:, 1])
    far = 0.0
    for code in np.unique(labels):
        own = labels == code
        share, slack = own.mean(), 1.0 / np.sqrt(own.sum())
        for values, mirrored in ((height[own], 1 - height[own]), (aspect[own], -aspect[own])):
            far += share * max(_distance(values.round(6), mirrored.round(6)) - slack, 0) / 2  # equal ones are equal
    return bool(far < _EVEN)


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    """Kolmogorov and Smirnov's distance of two samples."""
    from scipy.stats import ks_2samp

    return float(ks_2samp(a, b).statistic)
