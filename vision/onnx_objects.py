"""ONNX of detectors: an image of any size in, objects out; compared with ours on real images before it is kept."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from automl.errors import ConfigError, LearnerError
from automl.files import write_atomic
from vision.config import tiles
from vision.data.pictures import load_picture
from vision.learners.objects import fitted_size, picture_tensor, set_views
from vision.onnx import LABELS, Parity, exported, session

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from vision.learners.objects import ObjectMember
    from vision.model import VisionModel

_SCORES, _PIXELS = 1e-3, 0.5
"""Largest differences of scores and of chances in masks, and of boxes in pixels."""


def write_objects(model: VisionModel, path: Path, images: Sequence[str], name: str | None) -> Parity:
    """Write a detector; input `image` [3, h, w] is resized inside as the network was trained.

    Raises
    ------
    ConfigError : it looks at images by tiles, which a graph does not. LearnerError : onnxruntime finds other objects;
        then nothing is written.
    """
    import torch

    from vision.networks.detectors import OneImage

    member: ObjectMember = model.single(name)  # type: ignore[assignment]
    if tiles(str(member.params.get("tile_grid_size", "none"))) != (1, 1):
        raise ConfigError("a detector with tile_grid_size cannot be written. Fix: train one that sees whole images.")
    network = member.network()
    masks = member.kind == "segmentation"
    set_views(network, member.params, everything=False)
    graph = OneImage(network, member.params, member.least().tolist(), masks=masks).eval()
    shown = [str(p) for p in images][:8]
    tensors = []
    for file in shown:
        picture = load_picture(file)
        tensors.append(picture_tensor(picture, fitted_size(picture.size, member.params), torch.device("cpu")))
    outputs = ["boxes", "labels", "scores", *(["masks"] if masks else [])]
    axes: dict[str, Any] = {"image": {1: "height", 2: "width"}, **{o: {0: "objects"} for o in outputs}}
    if masks:
        axes["masks"] = {0: "objects", 1: "height", 2: "width"}
    with torch.no_grad():
        content = exported(graph, (tensors[0],), ["image"], outputs, axes)
    run = session(content)
    scores = pixels = 0.0
    for tensor in tensors:
        with torch.no_grad():
            ours = [part.numpy() for part in graph(tensor)]
        theirs = run.run(None, {"image": tensor.numpy()})
        if len(ours[2]) != len(theirs[2]) or not np.array_equal(ours[1], theirs[1]):
            raise LearnerError(f"onnxruntime finds {len(theirs[2])} objects, we {len(ours[2])}; nothing was written.")
        if len(ours[2]):
            scores = max(scores, float(np.abs(ours[2] - theirs[2]).max()))
            pixels = max(pixels, float(np.abs(ours[0] - theirs[0]).max()))
            if masks:
                scores = max(scores, float(np.abs(ours[3] - theirs[3]).max()))
    if scores > _SCORES or pixels > _PIXELS:
        raise LearnerError(f"scores differ by {scores:.2g} and boxes by {pixels:.2g} pixels; nothing was written.")
    write_atomic(path, content)
    own = {"min_size": member.params["min_size"], "max_size": member.params["max_size"]}
    least = dict(zip(model.classes, member.least().tolist(), strict=True))
    labels = {"labels": list(model.classes), "kind": model.kind, "colours": "RGB 0..1", **own, "least_scores": least}
    write_atomic(path.parent / LABELS, (json.dumps(labels, indent=1) + "\n").encode())
    return Parity(len(shown), scores, pixels, str(path))
