"""Explanation maps of classifiers: what in an image speaks for a label. By captum.

Sources: Selvaraju et al. (2017), Grad-CAM, ICCV; Sundararajan, Taly & Yan (2017), Axiomatic attribution, ICML.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from automl.errors import ConfigError, MissingPackageError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vision.learners.classes import ClassMember

METHODS = ("grad_cam", "integrated_gradients")
_STEPS = 24


def maps(member: ClassMember, paths: Sequence[str], label: str | None, method: str = "grad_cam") -> np.ndarray:
    """Maps of images, shape [images, crop, crop], 0..1, on the part of each image that the network looks at.

    Parameters
    ----------
    label : to explain; None = the most probable of each image.

    Raises
    ------
    ConfigError, UnknownNameError : no such method or label. MissingPackageError : captum is not installed.
    """
    if method not in METHODS:
        raise ConfigError(f"method must be one of {', '.join(METHODS)}, got {method!r}.")
    if label is not None and label not in member.classes:
        raise UnknownNameError("label", label, member.classes)
    try:
        from captum.attr import IntegratedGradients, LayerGradCam
    except ImportError as error:
        raise MissingPackageError("captum", "vision", "explaining images") from error
    import torch

    from vision.learners.classes import as_tensor

    network = member.network()
    with torch.no_grad():
        network.head.weight.requires_grad_(requires_grad=True)
    explain: Any
    if method == "grad_cam":
        explain = LayerGradCam(network, last_maps(network.backbone))
    else:
        explain = IntegratedGradients(network)
    out = [np.zeros((0, member.crop, member.crop))]
    for block in member.pixels(paths):
        images = as_tensor(block, torch.device("cpu"))
        with torch.no_grad():
            best = network(images).argmax(dim=1)
        target = best if label is None else torch.full_like(best, member.classes.index(label))
        if method == "grad_cam":
            found = explain.attribute(images, target=target, relu_attributions=True)
            found = torch.nn.functional.interpolate(found, images.shape[2:], mode="bilinear")
        else:
            grey = network.mean.expand_as(images)
            found = explain.attribute(images, grey, target=target, n_steps=_STEPS, internal_batch_size=len(images))
            found = found.abs().sum(dim=1, keepdim=True)
        out.append(_scaled(found[:, 0].detach().numpy()))
    return np.concatenate(out)


def last_maps(backbone: Any) -> Any:
    """Layer whose output still has places: the last convolution.

    Raises
    ------
    ConfigError : the backbone ends without one, as transformers do.
    """
    from torch import nn

    layers = [m for m in backbone.modules() if isinstance(m, nn.Conv2d)]
    first_only = len(layers) <= 1  # the convolution that cuts patches
    if first_only:
        raise ConfigError("grad_cam needs a convolutional backbone. Fix: method='integrated_gradients'.")
    return layers[-1]


def _scaled(values: np.ndarray) -> np.ndarray:
    """Each map from 0 to 1."""
    low = values.min(axis=(1, 2), keepdims=True)
    high = values.max(axis=(1, 2), keepdims=True)
    return np.asarray((values - low) / np.where(high > low, high - low, 1))
