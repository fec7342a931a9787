"""What is tried for objects: a short training for an answer in minutes, and one from there that fills the time.

Two trainings of half the time each are worth less than one of all of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from automl.candidates import Candidate, Choice, Float
from automl.errors import ConfigError
from vision.learners.objects import LEAST_SIZE
from vision.models.backbones import ONE_SIZE
from vision.models.detectors import WHOLE, check_kind, parse

if TYPE_CHECKING:
    from vision.config import SearchSettings
    from vision.data.records import Kind
    from vision.portfolio import Machine

_SLIM: dict[str, Any] = {
    "optimizer": "adamw",
    "weight_decay": 0.05,
    "training_batch_size": 4,
    "number_of_epochs": 100,
    "early_stopping_patience": 20,
    "average": 0.998,
    "warmup_cosine_lr_warmup_epochs": 1.0,
    "warmup_cosine_lr_cycles": 0.5,
    "box_detections_per_img": 300,
    "box_nms_thresh": 0.0,
    "layers_to_freeze": 5,
}
"""What trainings of the automatic mode share."""

_KNOWING, _ANEW = 1e-4, 5e-4
"""Learning rates of networks that know objects already, and of those with new heads."""

_QUICK: dict[str, Any] = {"image_size": LEAST_SIZE, "mirrored": False, "head_start": "give"}
"""What the short training has of its own: nothing is chosen after it."""

_LONG, _SHARE, _ENOUGH = 240.0, 0.1, 120.0
"""Seconds from which a short training comes first, its share of them, and seconds that are enough for it."""


def choose_objects(kind: Kind, search: SearchSettings, machine: Machine) -> list[Candidate]:
    """Candidates in the order to try them."""
    from vision.portfolio import backbones, dimensions, starting

    heads = ["maskrcnn"] if kind == "segmentation" else ["fcos", "fasterrcnn"]
    bodies = [b for b in backbones(machine, search.weights) if b not in ONE_SIZE]
    pairs = [(head, body) for head in heads for body in bodies[:1]]
    if machine.gpus:
        pairs.insert(0, ("maskrcnn_resnet50_fpn_v2" if kind == "segmentation" else "fasterrcnn_resnet50_fpn_v2", ""))
    if search.models:
        pairs = []
        for model in search.models:
            head, body = parse(model)
            check_kind(head, kind)
            pairs.append((head, bodies[0] if body is None else body))
            if WHOLE.get(head) and {"min_size", "max_size"} & {*search.space, *search.fixed}:
                raise ConfigError(f"{head} is made for images of {WHOLE[head]} pixels. Fix: no min_size and max_size.")
    if search.space or search.fixed:
        space = dimensions(search.space)
        return [
            Candidate.of(
                "Detector",
                {"detector": h, "backbone": b, **starting(kind, b, space), **search.fixed},
                space=space,
                cost=10,
            )
            for h, b in pairs
        ]
    shared = {**_SLIM, **({} if machine.gpus else {"image_size": 0}), **_SHAPE[kind]}
    if search.weights == "none":
        shared["layers_to_freeze"] = 0  # random features do not help
    limit = search.limits.time_limit
    quick = []
    if limit is not None and limit >= _LONG:
        first = {**shared, **_own(*next((p for p in pairs if p[1]), pairs[0])), **_QUICK}
        quick = [Candidate.of("Detector", {**first, "time_share": min(_SHARE, _ENOUGH / limit)}, cost=1)]
        shared["head_start"] = "take"
    long = []
    for own in (_own(*pair) for pair in pairs):
        rate = own["learning_rate"]
        space = {
            "learning_rate": Float(0.3 * rate, 3 * rate, log=True),
            "training_batch_size": Choice((2, 4, 8)),
        }
        long.append(Candidate.of("Detector", {**shared, **own}, space=space, cost=10))
    return [*quick, *long]


def _own(detector: str, backbone: str) -> dict[str, Any]:
    """What trainings of a detector have of their own."""
    rate = _KNOWING if detector in WHOLE else _ANEW
    return {"learning_rate": rate, "detector": detector, "backbone": backbone}


_SHAPE: dict[str, dict[str, Any]] = {
    "detection": {"strides": "8,16,32"},
    "segmentation": {"strides": "4,8,16,32", "channels": 96},
}
