"""The temporal convolutional network as plain functions over named arrays, so that its weights need no pickle.

Layers (convolutions after Bai, Kolter & Koltun 2018, arXiv 1803.01271): a pre-mix layer, blocks of residual cells with
two causal convolutions of width 3 each, and heads that answer every step ahead at once. Cell j of a block looks back
in strides of 2**j, so a network of b blocks with c cells reaches back over 4 * b * (2**c - 1) + 1 rows. No row is
padded inside the network: `reach - 1 + forks` rows go in, states of the last `forks` rows come out, each a forecast
origin (training on several origins at once: Wen et al. 2017, arXiv 1711.11053).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)
"""Quantile levels of the heads; the middle one is the point forecast."""

_WIDTH = 3
_STEP_CONTEXT = 8
_MIDDLE = LEVELS.index(0.5)


def reach(blocks: int, cells: int) -> int:
    """Rows a network looks back over (its receptive field).

    Examples
    --------
    >>> reach(1, 4), reach(2, 3)
    (61, 57)
    """
    return 4 * blocks * (2**cells - 1) + 1


def embedding_width(categories: int) -> int:
    """Numbers that stand for a category: the fourth root of how many there are, 3 to 100.

    Examples
    --------
    >>> embedding_width(2), embedding_width(1_000)
    (3, 6)
    """
    return min(100, max(3, math.ceil(categories**0.25)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """Sizes of a network.

    Parameters
    ----------
    channels, blocks, cells : width and depth. horizon : steps ahead.
    history, ahead, traits : numbers per history row, per step ahead and per origin. lags : seasonal lags per step.
    row_tables, ahead_tables, static_tables : categories of each coded column; the columns ahead are the first ones of
        the history's.
    """

    channels: int
    blocks: int
    cells: int
    horizon: int
    history: int
    ahead: int
    traits: int
    lags: int
    row_tables: tuple[int, ...] = ()
    ahead_tables: tuple[int, ...] = ()
    static_tables: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Spec:
        """Read what `to_json` wrote, possibly after a trip through JSON."""
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in raw.items()}
        return cls(**values)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape of every weight."""
        c = self.channels
        out: dict[str, tuple[int, ...]] = {}
        widths = {
            kind: sum(embedding_width(n) for n in getattr(self, f"{kind}_tables"))
            for kind in ("row", "ahead", "static")
        }
        for kind in ("row", "static"):
            for k, n in enumerate(getattr(self, f"{kind}_tables")):
                out[f"{kind}_table.{k}"] = (n + 1, embedding_width(n))
        out |= _linear("mix", self.history + widths["row"], c)
        for cell in self._cells():
            for conv in ("first", "second"):
                out |= _linear(f"{cell}.{conv}", _WIDTH * c, c)
                out |= {f"{cell}.{conv}.gain": (c,), f"{cell}.{conv}.offset": (c,)}
        context = c + self.traits + widths["static"]
        out |= _linear("context", context, c)
        out |= _linear("step_context", context, self.horizon * _STEP_CONTEXT)
        out |= _linear("join", _STEP_CONTEXT + self.ahead + self.lags + widths["ahead"], c)
        out |= _linear("decode", c, c)
        out |= _linear("heads", c, len(LEVELS))
        out["skip.weight"] = (self.lags, 1)
        return out

    def _cells(self) -> Iterator[str]:
        for block in range(self.blocks):
            for cell in range(self.cells):
                yield f"block{block}.cell{cell}"


def _linear(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (inputs, outputs), f"{name}.bias": (outputs,)}


def initial_weights(spec: Spec, seed: int) -> dict[str, np.ndarray]:
    """Starting weights, float32. The median starts at the latest seasonal lag: as the seasonal naive forecast."""
    rng = np.random.default_rng(seed)
    out = {}
    for name, shape in spec.shapes().items():
        if name.endswith(".gain"):
            values = np.ones(shape)
        elif name == "skip.weight":
            values = np.eye(shape[0], shape[1])
        elif "_table" in name:
            # row 0 is the unknown category
            values = rng.standard_normal(shape) * (np.arange(shape[0]) > 0)[:, None]
        elif name.endswith(".weight"):
            size = 0.1 if name.startswith("heads") else 1.0
            values = rng.standard_normal(shape) * size / math.sqrt(max(shape[0], 1))
        else:
            values = np.zeros(shape)
        out[name] = values.astype(np.float32)
    out["heads.bias"][np.arange(len(LEVELS)) != _MIDDLE] = -0.7
    return out


def encode(spec: Spec, weights: dict[str, Any], rows: Any, drop: Any = None) -> Any:
    """States at the last rows of windows.

    Parameters
    ----------
    rows : tensor [windows, reach - 1 + forks, inputs]. drop : function tensor -> tensor with some entries zeroed.

    Returns
    -------
    tensor [windows, forks, channels]; fork f has seen rows up to `reach - 1 + f` only.
    """
    import torch
    from torch.nn.functional import layer_norm, relu

    def convolve(name: str, x: Any, stride: int) -> Any:
        n = x.shape[1] - (_WIDTH - 1) * stride
        stacked = torch.cat([x[:, k * stride : k * stride + n] for k in range(_WIDTH)], dim=-1)
        y = stacked @ weights[f"{name}.weight"] + weights[f"{name}.bias"]
        y = relu(layer_norm(y, (spec.channels,), weights[f"{name}.gain"], weights[f"{name}.offset"]))
        return drop(y) if drop is not None else y

    x = rows @ weights["mix.weight"] + weights["mix.bias"]
    for block in range(spec.blocks):
        for cell in range(spec.cells):
            stride, name = 2**cell, f"block{block}.cell{cell}"
            y = convolve(f"{name}.second", convolve(f"{name}.first", x, stride), stride)
            x = x[:, 2 * (_WIDTH - 1) * stride :] + y
    return x


def quantile_heads(spec: Spec, weights: dict[str, Any], inputs: dict[str, Any], drop: Any = None) -> Any:
    """Quantiles of every step ahead of every origin, on the window's scale; they cannot cross.

    Parameters
    ----------
    inputs : tensors rows [b, reach - 1 + f, history], row_codes [b, reach - 1 + f, k], ahead [b, f, h, ahead],
        ahead_codes [b, f, h, k], lags [b, f, h, lags], traits [b, f, traits], static_codes [b, k].
        Codes are 0 for unknown.

    Returns
    -------
    tensor [b, f, h, len(LEVELS)].
    """
    import torch
    from torch.nn.functional import embedding, relu, softplus

    def embed(kind: str, codes: Any) -> list[Any]:
        return [embedding(codes[..., k], weights[f"{kind}_table.{k}"]) for k in range(codes.shape[-1])]

    def linear(name: str, x: Any) -> Any:
        return x @ weights[f"{name}.weight"] + weights[f"{name}.bias"]

    states = encode(spec, weights, torch.cat([inputs["rows"], *embed("row", inputs["row_codes"])], dim=-1), drop)
    b, f = states.shape[:2]
    static = [e[:, None].expand(-1, f, -1) for e in embed("static", inputs["static_codes"])]
    context = torch.cat([states, inputs["traits"], *static], dim=-1)
    by_step = linear("step_context", context).reshape(b, f, spec.horizon, _STEP_CONTEXT)
    joined = torch.cat([by_step, inputs["ahead"], inputs["lags"], *embed("row", inputs["ahead_codes"])], dim=-1)
    hidden = relu(linear("join", joined) + linear("context", context)[:, :, None])
    hidden = hidden + relu(linear("decode", drop(hidden) if drop is not None else hidden))
    raw = linear("heads", hidden)
    median = raw[..., _MIDDLE : _MIDDLE + 1] + inputs["lags"] @ weights["skip.weight"]
    below = median - softplus(raw[..., :_MIDDLE]).flip(-1).cumsum(-1).flip(-1)
    above = median + softplus(raw[..., _MIDDLE + 1 :]).cumsum(-1)
    return torch.cat([below, median, above], dim=-1)
