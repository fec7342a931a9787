"""ONNX: a network with all it does to pixels inside, and labels.json beside it; compared before it is kept.

Input `images`: float32 [n, 3, size, size], colours 0..1, the image squeezed to `size` (classifiers), or [3, h, w] of
one image (detectors). Outputs: `probabilities` [n, classes]; or `boxes` in pixels, `labels`, `scores`, and `masks`.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from automl.errors import ConfigError, LearnerError, MissingPackageError
from automl.files import write_atomic
from vision.data.records import OBJECTS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from vision.learners.classes import ClassMember
    from vision.model import VisionModel

_NEAR = 1e-4
"""Largest difference of probabilities."""

LABELS = "labels.json"


@dataclass(frozen=True, slots=True)
class Parity:
    """How far onnxruntime's answers are from ours.

    Parameters
    ----------
    images : compared. largest : difference of probabilities or scores. pixels : of boxes, NaN for classifiers.
    path : file written. predicted : difference of probabilities from what `predict` says of the files, NaN for
        detectors. Members of a vote that look at images of other sizes get them made smaller inside the graph, not from
        the file, which changes a little.
    """

    images: int
    largest: float
    pixels: float
    path: str
    predicted: float = float("nan")


def write_onnx(model: VisionModel, path: Path, images: Sequence[str], name: str | None) -> Parity:
    """Write an entry of a model as ONNX, once onnxruntime gives the same answers on some images.

    Raises
    ------
    MissingPackageError : onnx or onnxruntime is not installed. ConfigError : members look at images of
        different sizes. LearnerError : the answers differ; then nothing is written.
    """
    for package in ("onnx", "onnxruntime"):
        try:
            __import__(package)
        except ImportError as error:
            raise MissingPackageError(package, "onnx", "writing ONNX") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    if model.kind in OBJECTS:
        from vision.onnx_objects import write_objects

        return write_objects(model, path, images, name)
    return _write_classes(model, path, images, name)


def _write_classes(model: VisionModel, path: Path, images: Sequence[str], name: str | None) -> Parity:
    import torch

    from vision.learners.classes import as_tensor
    from vision.networks.classifier import Vote
    from vision.pixels import square

    pairs = model.entry(name)
    members: list[ClassMember] = [model.members[m] for m, _ in pairs]  # type: ignore[misc]
    sizes = sorted({m.resize for m in members})
    if any(m.crop != m.resize for m in members) and len(members) > 1:
        raise ConfigError(
            "members that look at the middle of images cannot be joined. Fix: to_onnx(model=a single one)."
        )
    views = [(m.network(), m.resize, m.crop, m.mirrored, float(w)) for m, (_, w) in zip(members, pairs, strict=True)]
    graph = Vote(views, model.kind).eval()
    first = sizes[-1]
    sample = torch.rand(2, 3, first, first)
    content = exported(graph, (sample,), ["images"], ["probabilities"], {"images": {0: "n"}, "probabilities": {0: "n"}})
    shown = [str(p) for p in images][:16]
    tensor = as_tensor(np.stack([square(p, first) for p in shown]), torch.device("cpu")).contiguous()
    with torch.inference_mode():
        ours = graph(tensor).numpy()
    theirs = session(content).run(None, {"images": tensor.numpy()})[0]
    largest = float(np.abs(ours - theirs).max())
    if not largest <= _NEAR:
        raise LearnerError(f"onnxruntime's probabilities differ by {largest:.2g}; nothing was written.")
    write_atomic(path, content)
    labels = {"labels": list(model.classes), "size": first, "kind": model.kind, "colours": "RGB 0..1"}
    write_atomic(path.parent / LABELS, (json.dumps(labels, indent=1) + "\n").encode())
    predicted = float(np.abs(np.asarray(model.predict(shown, name, "cpu")) - theirs).max())
    return Parity(len(shown), largest, float("nan"), str(path), predicted)


def exported(graph: Any, inputs: tuple[Any, ...], names: list[str], outputs: list[str], axes: dict[str, Any]) -> bytes:
    """One file of a network, as torch writes it."""
    import tempfile
    from pathlib import Path as FilePath

    import torch

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        target = FilePath(folder) / "graph.onnx"
        torch.onnx.export(
            graph,
            inputs,
            str(target),
            input_names=names,
            output_names=outputs,
            dynamic_axes=axes,
            opset_version=18,
            dynamo=False,
        )
        return target.read_bytes()


def session(content: bytes) -> Any:
    """Onnxruntime's reading of a file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
