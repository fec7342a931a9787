"""torchvision's detectors on a feature pyramid over any backbone, with heads slim enough for a processor."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torchvision.models import detection
from torchvision.models.detection import faster_rcnn, mask_rcnn
from torchvision.models.detection import fcos as tv_fcos
from torchvision.models.detection import retinanet as tv_retinanet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import MultiScaleRoIAlign, batched_nms
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool

from automl.errors import ConfigError
from vision.models.detectors import ANCHORS, RATIOS, strides_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vision.models.backbones import Backbone

_CHANNELS, _CONVOLUTIONS = 128, 2
_GROUPS = 32
"""Of channels, in normalisation."""


def maps_of(module: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """Feature maps of each resolution of a backbone, finest first.

    Raises
    ------
    ConfigError : the backbone has none, as transformers.
    """
    if hasattr(module, "maps"):
        return list(module.maps(x))
    if hasattr(module, "layer4"):
        x = module.relu(module.bn1(module.conv1(x)))
        out = [x]
        x = module.maxpool(x)
        for layer in (module.layer1, module.layer2, module.layer3, module.layer4):
            x = layer(x)
            out.append(x)
        return out
    if not isinstance(getattr(module, "features", None), nn.Sequential):
        raise ConfigError(f"{type(module).__name__} has no feature maps. Fix: a convolutional backbone.")
    out = []
    y = x
    for k, layer in enumerate(module.features):
        z = layer(y)
        if z.shape[-1] < y.shape[-1] and k:
            out.append(y)
        y = z
    return [*out, y]


class Pyramid(nn.Module):  # type: ignore[misc]
    """Feature pyramid: maps of some strides, all with as many channels.

    Parameters
    ----------
    strides : of the levels, powers of two. extra : whether one more level is pooled from the last.
    normed : whether levels are normalised (in groups of channels); features of some backbones differ tenfold in size
        from level to level, which heads without normalisation of their own learn slowly from.
    """

    def __init__(
        self, backbone: Backbone, strides: Sequence[int], channels: int, *, extra: bool, normed: bool = False
    ) -> None:
        super().__init__()
        self.body = backbone.module
        self.body.eval()
        with torch.no_grad():
            side = 128
            found = maps_of(self.body, torch.zeros(1, 3, side, side))
        known = {side // m.shape[-1]: k for k, m in enumerate(found)}
        missing = [s for s in strides if s not in known]
        if missing:
            raise ConfigError(
                f"{backbone.name} has no maps of stride {missing[0]}. It has {', '.join(map(str, known))}."
            )
        self.levels = [known[s] for s in strides]
        widths = [found[k].shape[1] for k in self.levels]
        last = LastLevelMaxPool() if extra else None
        self.pyramid = FeaturePyramidNetwork(widths, channels, last, _level_norm if normed else None)
        self.out_channels = channels

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Maps by level."""
        found = maps_of(self.body, x.contiguous(memory_format=torch.channels_last))
        maps: dict[str, torch.Tensor] = self.pyramid(OrderedDict((str(n), found[k]) for n, k in enumerate(self.levels)))
        return maps


def _channels(params: Mapping[str, Any]) -> int:
    channels = int(params.get("channels") or _CHANNELS)
    if channels < _GROUPS or channels % _GROUPS:
        raise ConfigError(f"channels must be a multiple of {_GROUPS}, got {channels}. Fix: such as 64, 96 or 128.")
    return channels


def _common(backbone: Backbone, params: Mapping[str, Any]) -> dict[str, Any]:
    """What all detectors are told of pixels."""
    return {
        "min_size": int(params["min_size"]),
        "max_size": int(params["max_size"]),
        "image_mean": list(backbone.mean),
        "image_std": list(backbone.std),
    }


def fcos(backbone: Backbone, n_classes: int, params: Mapping[str, Any]) -> nn.Module:
    """FCOS: no anchors, a centre and four distances at each place."""
    strides, channels = strides_of(params), _channels(params)
    body = Pyramid(backbone, strides, channels, extra=True)
    levels = (*strides, 2 * strides[-1])
    anchors = AnchorGenerator(tuple((s,) for s in levels), ((1.0,),) * len(levels))
    head = tv_fcos.FCOSHead(channels, 1, n_classes, int(params.get("convolutions") or _CONVOLUTIONS))
    return detection.FCOS(
        body,
        n_classes,
        anchor_generator=anchors,
        head=head,
        score_thresh=float(params["box_score_thresh"]),
        nms_thresh=float(params["box_nms_thresh"]),
        detections_per_img=int(params["box_detections_per_img"]),
        **_common(backbone, params),
    )


def retinanet(backbone: Backbone, n_classes: int, params: Mapping[str, Any]) -> nn.Module:
    """RetinaNet: anchors and the focal loss."""
    strides, channels = strides_of(params), _channels(params)
    body = Pyramid(backbone, strides, channels, extra=True)
    anchors = _anchors((*strides, 2 * strides[-1]), params)
    count = anchors.num_anchors_per_location()[0]
    head = tv_retinanet.RetinaNetHead(channels, count, n_classes, _norm)
    convolutions = int(params.get("convolutions") or _CONVOLUTIONS)
    for part in (head.classification_head, head.regression_head):
        part.conv = nn.Sequential(*list(part.conv.children())[:convolutions])
    return detection.RetinaNet(
        body,
        n_classes,
        anchor_generator=anchors,
        head=head,
        score_thresh=float(params["box_score_thresh"]),
        nms_thresh=float(params["box_nms_thresh"]),
        detections_per_img=int(params["box_detections_per_img"]),
        **_common(backbone, params),
    )


def _norm(channels: int) -> nn.Module:
    return nn.GroupNorm(_GROUPS, channels)


def _level_norm(channels: int) -> nn.Module:
    return nn.GroupNorm(_GROUPS // 2, channels)


def _anchors(levels: Sequence[int], params: Mapping[str, Any]) -> AnchorGenerator:
    given = str(params.get("anchors") or ANCHORS)
    try:
        sides = [float(v) for v in given.split(",")]
    except ValueError:
        sides = []
    if not sides or min(sides) <= 0:
        raise ConfigError(f"anchors must be sides in strides of their level, such as {ANCHORS!r}, got {given!r}.")
    sizes = tuple(tuple(round(k * s) for k in sides) for s in levels)
    return AnchorGenerator(sizes, (RATIOS,) * len(levels))


def _two_stage(backbone: Backbone, n_classes: int, params: Mapping[str, Any]) -> dict[str, Any]:
    """What Faster and Mask R-CNN share."""
    strides, channels = strides_of(params), _channels(params)
    body = Pyramid(backbone, strides, channels, extra=True, normed=True)
    names = [str(k) for k in range(len(strides))]
    width = int(params.get("box_width") or 256)
    most = int(params["box_detections_per_img"])
    return {
        "backbone": body,
        "rpn_anchor_generator": _anchors((*strides, 2 * strides[-1]), params),
        "rpn_pre_nms_top_n_train": 1000,
        "rpn_post_nms_top_n_train": 500,
        "rpn_pre_nms_top_n_test": 1000,
        "rpn_post_nms_top_n_test": max(300, 2 * most),
        "box_roi_pool": MultiScaleRoIAlign(names, 7, 1),
        "box_head": faster_rcnn.TwoMLPHead(channels * 49, width),
        "box_predictor": faster_rcnn.FastRCNNPredictor(width, n_classes + 1),
        "box_score_thresh": float(params["box_score_thresh"]),
        "box_nms_thresh": float(params["box_nms_thresh"]),
        "box_detections_per_img": most,
        "box_batch_size_per_image": int(params.get("box_samples") or 128),
        "box_positive_fraction": 0.5,
        **_common(backbone, params),
    }


def fasterrcnn(backbone: Backbone, n_classes: int, params: Mapping[str, Any]) -> nn.Module:
    """Faster R-CNN: proposals, then their classes."""
    return detection.FasterRCNN(**_two_stage(backbone, n_classes, params))


def maskrcnn(backbone: Backbone, n_classes: int, params: Mapping[str, Any]) -> nn.Module:
    """Mask R-CNN: Faster R-CNN with a mask for each object."""
    own = _two_stage(backbone, n_classes, params)
    body, width = own["backbone"], int(params.get("mask_width") or 64)
    names = [str(k) for k in range(len(strides_of(params)))]
    convolutions = int(params.get("convolutions") or _CONVOLUTIONS)
    predictor = mask_rcnn.MaskRCNNPredictor(width, width, n_classes + 1)
    nn.init.normal_(predictor.mask_fcn_logits.weight, std=1e-3)  # all chances begin near a half
    return detection.MaskRCNN(
        **own,
        mask_roi_pool=MultiScaleRoIAlign(names, 14, 1),
        mask_head=mask_rcnn.MaskRCNNHeads(body.out_channels, (width,) * convolutions, 1),
        mask_predictor=predictor,
    )


def set_thresholds(network: nn.Module, *, score: float, nms: float, most: int) -> None:
    """Set which objects a detector gives: at least `score`, overlapping by at most `nms`, at most so many."""
    target: Any = network
    if hasattr(network, "roi_heads"):
        target = network.roi_heads
        network.rpn._post_nms_top_n["testing"] = max(300, 2 * most)  # noqa: SLF001 - torchvision has no setter
    target.score_thresh, target.nms_thresh, target.detections_per_img = score, nms, most


def background(detector: str) -> int:
    """Number of the first class: 1 where the background is class 0 (two stages, SSD), else 0.

    Examples
    --------
    >>> [background(name) for name in ("maskrcnn", "ssd300_vgg16", "fcos_resnet50_fpn")]
    [1, 1, 0]
    """
    return int(not detector.startswith(("fcos", "retinanet")))


def first_class(network: nn.Module) -> int:
    """As `background`, of a network: torchvision's classes bear the names of their detectors."""
    return background(type(network).__name__.lower())


def body_of(network: nn.Module) -> nn.Module:
    """Backbone of a detector, with its layers as children."""
    body: nn.Module = network.backbone
    return getattr(body, "body", getattr(body, "features", body))


def learning_mode(network: nn.Module, *, known: bool = True) -> None:
    """Learn, with the means and variances of batch normalisation as the weights have them, if they are `known`."""
    network.train()
    for layer in network.modules():
        if known and isinstance(layer, nn.BatchNorm2d):
            layer.eval()


class OneImage(nn.Module):  # type: ignore[misc]
    """A detector of one image [3, h, w]: boxes, labels from 0, scores, and masks where there are some.

    Parameters
    ----------
    params : mirrored (whether the mirror image is looked at too), box_nms_thresh (overlap beyond which the less certain
        of two objects of a class is left out), box_detections_per_img (objects given at most). least : score of each
        class from which on its objects are given. masks : whether there are masks.
    """

    def __init__(self, network: nn.Module, params: Mapping[str, Any], least: Sequence[float], *, masks: bool) -> None:
        super().__init__()
        self.network = network
        self.names = ("boxes", "labels", "scores", *(("masks",) if masks else ()))
        self.mirrored, self.nms = bool(params.get("mirrored")), float(params["box_nms_thresh"])
        self.most = int(params["box_detections_per_img"])
        self.first = first_class(network)
        self.register_buffer("least", torch.tensor(least, dtype=torch.float32), persistent=False)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Find objects, the most certain first."""
        found = self.network([image])[0]
        if self.mirrored:
            other = self.network([image.flip(2)])[0]
            left, top, right, bottom = other["boxes"].unbind(1)
            other["boxes"] = torch.stack([image.shape[2] - right, top, image.shape[2] - left, bottom], dim=1)
            if "masks" in other:
                other["masks"] = other["masks"].flip(3)
            found = {name: torch.cat([found[name], other[name]]) for name in self.names}
        kept = batched_nms(found["boxes"], found["scores"], found["labels"], self.nms)
        sure = found["scores"][kept] >= self.least[found["labels"][kept] - self.first]
        kept = kept[sure][: self.most]
        out = {name: found[name][kept] for name in self.names}
        out["labels"] = out["labels"] - self.first
        if "masks" in out:
            out["masks"] = out["masks"][:, 0]
        return tuple(out[name] for name in self.names)
