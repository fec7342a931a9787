"""Classifier: a backbone and a linear head; and the head alone, fitted on features that do not change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vision.models.backbones import Backbone

_STEPS = 50


class Classifier(nn.Module):  # type: ignore[misc]
    """Images [n, 3, h, w], colours 0..1, to scores [n, outputs] before softmax or sigmoid.

    Parameters
    ----------
    backbone : without its own classifier; pixels are normalised here as it wants them.
    """

    def __init__(self, backbone: Backbone, outputs: int) -> None:
        super().__init__()
        self.backbone = backbone.module
        self.head = nn.Linear(backbone.width, outputs)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.register_buffer("mean", torch.tensor(backbone.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(backbone.std).view(1, 3, 1, 1))

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """What the backbone sees, shape [n, width]."""
        found: torch.Tensor = self.backbone((x - self.mean) / self.std)
        return found

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Score images."""
        scores: torch.Tensor = self.head(self.features(x))
        return scores


class Vote(nn.Module):  # type: ignore[misc]
    """Weighted mean of classifiers' probabilities; images are resized for those that want smaller ones.

    Parameters
    ----------
    views : network, pixels an image is squeezed to and of its middle that is looked at, whether the mean with the
        mirror image is taken, and its weight; a tuple each. kind : multiclass (softmax) or multilabel (sigmoid).
    """

    def __init__(self, views: Sequence[tuple[Classifier, int, int, bool, float]], kind: str) -> None:
        super().__init__()
        self.networks = nn.ModuleList([view[0] for view in views])
        self.views = [view[1:] for view in views]
        self.softmax = kind == "multiclass"

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Probabilities of images [n, 3, size, size], colours 0..1. Shape [n, classes]."""
        total = []
        for network, (resize, crop, mirrored, share) in zip(self.networks, self.views, strict=True):
            x = images
            if x.shape[-1] != resize:
                x = functional.interpolate(x, (resize, resize), mode="bilinear", antialias=True)
            edge = (resize - crop) // 2
            x = x[:, :, edge : edge + crop, edge : edge + crop]
            scores = network(x)
            if mirrored:
                scores = (scores + network(torch.flip(x, [3]))) / 2
            total.append(share * (scores.softmax(dim=1) if self.softmax else scores.sigmoid()))
        found: torch.Tensor = sum(total[1:], total[0])
        return found


def entropy(
    scores: torch.Tensor, y: torch.Tensor, *, weight: torch.Tensor | None = None, smoothing: float = 0.0
) -> torch.Tensor:
    """Mean cross-entropy of one label each.

    Parameters
    ----------
    y : int64 codes [n], or float shares [n, classes] that add up to 1. weight : of classes. smoothing : 0..1.
    """
    return functional.cross_entropy(scores.float(), y, weight=weight, label_smoothing=smoothing)


def binary_entropy(
    scores: torch.Tensor, y: torch.Tensor, *, weight: torch.Tensor | None = None, smoothing: float = 0.0
) -> torch.Tensor:
    """Mean cross-entropy of several yes-or-no labels, y [n, classes] of 0..1; weight : of the yes of each label."""
    y = y * (1 - smoothing) + smoothing / 2
    return functional.binary_cross_entropy_with_logits(scores.float(), y, pos_weight=weight)


def linear_head(
    x: torch.Tensor,
    y: torch.Tensor,
    outputs: int,
    l2: float,
    *,
    weight: torch.Tensor | None = None,
    start: tuple[torch.Tensor, torch.Tensor] | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logistic regression by L-BFGS (Liu & Nocedal 1989), on features scaled to variance 1.

    Parameters
    ----------
    x : features [n, width]. y : int64 codes [n], or float 0/1 [n, outputs]. l2 : penalty of squared weights.
    weight : of classes. start : weights and bias to begin with.

    Returns
    -------
    weight [outputs, width] and bias [outputs], for features as they were given.
    """
    x = x.float()
    mean, spread = x.mean(dim=0), x.std(dim=0, correction=0).clamp_min(1e-6)
    z = (x - mean) / spread
    w = torch.zeros(outputs, x.shape[1]) if start is None else start[0] * spread
    b = torch.zeros(outputs) if start is None else start[1] + start[0] @ mean
    w, b = w.clone().requires_grad_(), b.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([w, b], max_iter=_STEPS, line_search_fn="strong_wolfe", history_size=10)
    loss_of = binary_entropy if y.is_floating_point() else entropy

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = loss_of(z @ w.T + b, y, weight=weight) + l2 / 2 * w.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    with torch.no_grad():
        out = w / spread
        return out.detach(), (b - out @ mean).detach()
