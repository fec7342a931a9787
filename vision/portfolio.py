"""What is tried: first answers in seconds, then trainings that fill the time, then the space around them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from automl.candidates import Candidate, Choice, Dimension, Float
from automl.errors import ConfigError
from vision.config import Training
from vision.data.records import OBJECTS
from vision.models.backbones import BACKBONES, ONE_SIZE, PACKAGES, package_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vision.config import SearchSettings
    from vision.data.records import Kind

_FINE: dict[str, Any] = {
    "optimizer": "adamw",
    "weight_decay": 0.05,
    "training_batch_size": 32,
    "validation_batch_size": 64,
    "number_of_epochs": 40,
    "early_stopping_patience": 10,
    "frozen_statistics": True,
    "average": 0.998,
    "warmup_cosine_lr_warmup_epochs": 1.0,
    "warmup_cosine_lr_cycles": 0.5,
    "head_first": True,
    "image_size": 0,
}
"""What trainings of the automatic mode share."""

_UNTAUGHT: dict[str, Any] = {"frozen_statistics": False, "head_first": False}
"""What is different where a backbone begins with random weights."""

_SMALL, _MIDDLE, _LARGE = 128, 160, 224
"""Sides of images that the first head looks at, beyond which a second one gains, and which it looks at at most."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What the search runs on. gpus : how many, 0 = none. side : the shorter one of a typical image, pixels."""

    gpus: int
    side: int = 0


def backbones(machine: Machine, weights: str = "auto") -> list[str]:
    """Backbones of the automatic mode: the smallest whose weights lie here, then torchvision's where there is a GPU.

    Parameters
    ----------
    weights : as `SearchSettings.weights`; torchvision's alone are those of torchvision's networks alone.
    """
    own = [name for name in PACKAGES if package_file(name) is not None and weights != "default"][:1]
    if machine.gpus:
        return [*own, "efficientnet_b0", "resnet50", "vit_b_16"]
    return own or ["mobilenet_v2"]


def choose(kind: Kind, search: SearchSettings, machine: Machine) -> list[Candidate]:
    """Candidates in the order to try them.

    Raises
    ------
    ConfigError, UnknownNameError : a model that is asked for does not exist or does not suit the task.
    """
    if kind in OBJECTS:
        from vision.portfolio_objects import choose_objects

        return choose_objects(kind, search, machine)
    names = [BACKBONES.resolve(m) for m in search.models] if search.models else backbones(machine, search.weights)
    if search.space or search.fixed:
        space = dimensions(search.space)
        return [
            Candidate.of(
                "FineTuning", {"backbone": n, **starting(kind, n, space), **search.fixed}, space=space, cost=10
            )
            for n in names
        ]
    timed = search.limits.time_limit is not None
    out = [Candidate.of("LinearProbe", _probe(name, _SMALL), cost=1) for name in names]
    if machine.side > _MIDDLE:
        share = 0.12 if timed else 1.0
        for name in names:
            if name not in ONE_SIZE:  # the first head looks at large images there
                params: dict[str, Any] = {"backbone": name, "largest": min(machine.side, _LARGE), "time_share": share}
                out.append(Candidate.of("LinearProbe", params, cost=2))
    rate = 3e-4
    space = {
        "learning_rate": Float(rate / 4, rate * 4, log=True),
        "weight_decay": Float(1e-3, 0.2, log=True),
        "smoothing": Choice((0.0, 0.1)),
        "mixing": Choice((0.0, 0.2)),
    }
    fine = {**_FINE, **(_UNTAUGHT if search.weights == "none" else {})}
    for name in names:
        first = {**fine, "backbone": name, "learning_rate": rate, "time_share": 0.55 if timed else 1.0}
        out.append(Candidate.of("FineTuning", first, space=space, cost=10))
    if timed:
        second = {**fine, "backbone": names[0], "learning_rate": rate * 2, "time_share": 0.95, "smoothing": 0.1}
        out.append(Candidate.of("FineTuning", second, cost=10))
    return out


def _probe(name: str, size: int) -> dict[str, Any]:
    size = ONE_SIZE.get(name, size)
    return {"backbone": name, "valid_resize_size": size, "valid_crop_size": size}


def dimensions(space: Mapping[str, Any]) -> dict[str, Dimension]:
    """Space as the engine takes it; a list is a choice.

    Examples
    --------
    >>> dimensions({"optimizer": ["sgd", "adamw"]})
    {'optimizer': Choice(options=('sgd', 'adamw'))}
    """
    out: dict[str, Dimension] = {}
    for name, given in space.items():
        made = Choice(tuple(given)) if isinstance(given, list | tuple) else given
        if not isinstance(made, Dimension):
            raise ConfigError(f"space[{name!r}] must be a Choice, Int, Float or a list of choices, got {given!r}.")
        out[name] = made
    return out


def starting(kind: Kind, backbone: str, space: Mapping[str, Dimension]) -> dict[str, Any]:
    """Values that a search begins with: the defaults, or what of the space is nearest to them.

    Examples
    --------
    >>> starting("multiclass", "resnet18", {"training_batch_size": Choice((4, 8)), "momentum": Float(0.5, 0.8)})
    {'training_batch_size': 4, 'momentum': 0.8}
    """
    usual = Training.of(kind, backbone, {})
    out: dict[str, Any] = {}
    for name, dimension in space.items():
        value = getattr(usual, name)
        if isinstance(dimension, Choice):
            out[name] = value if value in dimension.options else dimension.options[0]
        else:
            out[name] = min(max(value, dimension.low), dimension.high)
    return out
