"""Settings: frozen dataclasses that check themselves, and the hyperparameters of training with their defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence  # noqa: TC003 - job files are checked against these types
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, Self

from automl.budget import ExitCriteria
from automl.errors import ConfigError, UnknownNameError, one_of
from vision.data.records import OBJECTS

if TYPE_CHECKING:
    from vision.data.records import Kind

METRICS: dict[str, str] = {
    "multiclass": "accuracy",
    "multilabel": "iou",
    "detection": "mean_average_precision",
    "segmentation": "mean_average_precision",
}
"""What each task chooses by unless told."""

OPTIMIZERS = ("sgd", "adam", "adamw")
SCHEDULES = ("warmup_cosine", "step", "none")


def _between(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise ConfigError(f"{name} must lie from {least:g} to {most:g}, got {value!r}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """Hyperparameters of one training, named as users of such services know them.

    Parameters
    ----------
    number_of_epochs, training_batch_size, validation_batch_size, grad_accumulation_step : of the loop; gradients of
        so many batches are added up before a step.
    early_stopping, early_stopping_patience, early_stopping_delay, evaluation_frequency : training ends once the metric
        has not risen for `patience` evaluations after `delay` epochs.
    learning_rate, optimizer, momentum, nesterov, weight_decay, beta1, beta2, amsgrad : sgd, adam or adamw.
    lr_scheduler : warmup_cosine (warmup epochs, then `cycles` of a cosine), step (times gamma every step_size), none.
    layers_to_freeze : so many first children of the backbone are not trained.
    weighted_loss : 0 = no, 1 = by the root of class weights, 2 = by class weights.
    valid_resize_size, valid_crop_size, train_crop_size : pixels of the sides of images (classification).
    min_size, max_size : of the shorter and longer side (detection, segmentation). box_score_thresh, box_nms_thresh,
        box_detections_per_img : which objects are given; a box_nms_thresh of 0 is chosen by held-out images.
    tile_grid_size : "(3, 2)" = columns and rows of tiles that images are cut into, "none" = whole;
        tile_overlap_ratio, tile_predictions_nms_thresh : of tiles.
    mask_pixel_score_threshold, max_number_of_polygon_points : of outlines.
    frozen_statistics : whether layers of batch normalisation keep the means and variances of their weights' origin.
    average : decay of the running mean of the weights, which is what predicts; 0 = the weights themselves.
    head_first : whether a linear head on frozen features is the start of the fine-tuning.
    smoothing : of labels, 0..1. mixing : strength of mixing pairs of images, 0 = none.
    time_share : share of the time left that training may take; epochs that do not fit are not begun.
    """

    number_of_epochs: int = 15
    training_batch_size: int = 78
    validation_batch_size: int = 78
    grad_accumulation_step: int = 1
    early_stopping: bool = True
    early_stopping_patience: int = 5
    early_stopping_delay: int = 5
    evaluation_frequency: int = 1
    learning_rate: float = 0.01
    optimizer: str = "sgd"
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 1e-4
    beta1: float = 0.9
    beta2: float = 0.999
    amsgrad: bool = False
    lr_scheduler: str = "warmup_cosine"
    step_lr_gamma: float = 0.5
    step_lr_step_size: int = 5
    warmup_cosine_lr_cycles: float = 0.45
    warmup_cosine_lr_warmup_epochs: float = 2.0
    layers_to_freeze: int = 0
    weighted_loss: int = 0
    valid_resize_size: int = 256
    valid_crop_size: int = 224
    train_crop_size: int = 224
    min_size: int = 600
    max_size: int = 1333
    box_score_thresh: float = 0.3
    box_nms_thresh: float = 0.5
    box_detections_per_img: int = 100
    tile_grid_size: str = "none"
    tile_overlap_ratio: float = 0.25
    tile_predictions_nms_thresh: float = 0.25
    mask_pixel_score_threshold: float = 0.5
    max_number_of_polygon_points: int = 100
    frozen_statistics: bool = False
    average: float = 0.0
    head_first: bool = False
    smoothing: float = 0.0
    mixing: float = 0.0
    time_share: float = 1.0

    def __post_init__(self) -> None:
        one_of("optimizer", self.optimizer, OPTIMIZERS)
        one_of("lr_scheduler", self.lr_scheduler, SCHEDULES)
        one_of("weighted_loss", self.weighted_loss, (0, 1, 2))
        for name in ("number_of_epochs", "training_batch_size", "validation_batch_size", "grad_accumulation_step"):
            _between(name, getattr(self, name), 1, 10**6)
        for name in ("early_stopping_patience", "evaluation_frequency", "step_lr_step_size"):
            _between(name, getattr(self, name), 1, 10**6)
        for name in ("valid_resize_size", "valid_crop_size", "train_crop_size", "min_size", "max_size"):
            _between(name, getattr(self, name), 16, 10_000)
        for name in ("average", "smoothing", "box_score_thresh", "box_nms_thresh", "time_share", "momentum"):
            _between(name, getattr(self, name), 0, 1)
        if not self.learning_rate > 0:
            raise ConfigError(f"learning_rate must be above 0, got {self.learning_rate!r}.")
        if self.valid_crop_size > self.valid_resize_size:
            raise ConfigError(
                f"valid_crop_size {self.valid_crop_size} is larger than valid_resize_size {self.valid_resize_size}."
            )
        tiles(self.tile_grid_size)

    @classmethod
    def of(cls, kind: Kind, backbone: str, given: Mapping[str, Any]) -> Self:
        """Defaults of a task and a backbone, with what is given on top; other keys are left aside.

        Examples
        --------
        >>> Training.of("multilabel", "vit_b_16", {"number_of_epochs": 3}).learning_rate
        0.025
        """
        known = {f.name for f in fields(cls)}
        return cls(**{**defaults(kind, backbone), **{k: v for k, v in given.items() if k in known}})


HYPERPARAMETERS = tuple(f.name for f in fields(Training))
"""Names of what can be set or searched."""


def defaults(kind: Kind, backbone: str) -> dict[str, Any]:
    """What differs by task and network; rates and batches of vision transformers are their own."""
    if kind in OBJECTS:
        return {"training_batch_size": 2, "validation_batch_size": 1, "learning_rate": 0.005}
    rates = {"vit_b_16": (0.0125, 0.025, 48), "vit_l_16": (0.001, 0.002, 10)}
    one, many, batch = rates.get(backbone, (0.01, 0.035, 78))
    rate = one if kind == "multiclass" else many
    return {"training_batch_size": batch, "validation_batch_size": batch, "learning_rate": rate}


def tiles(text: str | None) -> tuple[int, int]:
    """Columns and rows of tiles; (1, 1) = the whole image.

    Examples
    --------
    >>> tiles("(3, 2)"), tiles("none")
    ((3, 2), (1, 1))
    """
    if text is None or text == "none":
        return 1, 1
    parts = text.strip("() ").replace("x", ",").split(",")
    if len(parts) != 2 or not all(p.strip().isdigit() and int(p) > 0 for p in parts):
        raise ConfigError(f"tile_grid_size must be such as '(3, 2)' (columns, rows) or 'none', got {text!r}.")
    return int(parts[0]), int(parts[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSettings:
    """How images are read.

    Parameters
    ----------
    images : folder that names of images are relative to; None = that of the labels, or `images` beside them.
    skip_unreadable : whether images that cannot be read are left out (and named); else they are an error.
    validation_size : share held out where no validation set is given. memory_mb : most that decoded images may take
        on disk and in memory; beyond it they are decoded each time.
    """

    images: str | None = None
    skip_unreadable: bool = False
    validation_size: float = 0.2
    memory_mb: float = 4_000.0

    def __post_init__(self) -> None:
        if not 0 < self.validation_size < 1:
            raise ConfigError(f"validation_size must lie between 0 and 1, got {self.validation_size!r}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSettings:
    """How models are tried, chosen and combined.

    Parameters
    ----------
    metric : what to choose by; None = accuracy, iou (several labels) or mean_average_precision (objects).
    limits : when to stop. models : backbones or detectors that may be tried; None = what suits the machine.
    weights : of backbones: auto (of a package, else torchvision's), default, none, or the path of a file.
    space : hyperparameter -> what to search, `automl.candidates.Choice`, `Int` or `Float`, or a list of choices;
        empty = automatic. fixed : hyperparameter -> value for all trials.
    sampling : tpe, random or grid. policy : ends hopeless trials at their epochs (`automl.policies`); None = none.
    workers : trials at a time; None = one a GPU, or one on the processor; 0 = in this process.
    threads : of each trial; None = all cores shared by the workers. device : auto, cpu, cuda or mps.
    vote : whether models are combined. start : path of a saved model whose weights training begins with.
    verbosity : level of the log file.
    """

    metric: str | None = None
    limits: ExitCriteria = field(default_factory=ExitCriteria)
    models: Sequence[str] | None = None
    weights: str = "auto"
    space: Mapping[str, Any] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    sampling: Literal["tpe", "random", "grid"] = "tpe"
    policy: Mapping[str, Any] | None = None
    workers: int | None = None
    threads: int | None = None
    device: str = "auto"
    vote: bool = True
    start: str | None = None
    verbosity: str = "info"

    def __post_init__(self) -> None:
        one_of("sampling", self.sampling, ("tpe", "random", "grid"))
        one_of("verbosity", self.verbosity, ("debug", "info", "warning", "error"))
        for name in (*self.space, *self.fixed):
            if name not in HYPERPARAMETERS:
                raise UnknownNameError("hyperparameter", name, HYPERPARAMETERS)
        both = sorted(set(self.space) & set(self.fixed))
        if both:
            raise ConfigError(f"{both[0]} is fixed and searched. Fix: one of both.")
        Training(**self.fixed)
        for name in ("workers", "threads"):
            value = getattr(self, name)
            least = 0 if name == "workers" else 1
            if value is not None and (not isinstance(value, int) or value < least):
                raise ConfigError(f"{name} must be a whole number >= {least}, got {value!r}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything about a run."""

    data: DataSettings = field(default_factory=DataSettings)
    search: SearchSettings = field(default_factory=SearchSettings)


def with_limits(settings: Settings, time_limit: float | str | None, max_trials: int | None) -> Settings:
    """Settings with limits on top, where they are given."""
    limits = settings.search.limits.within(time_limit)
    if max_trials is not None:
        limits = replace(limits, max_trials=int(max_trials))
    return replace(settings, search=replace(settings.search, limits=limits))
