"""The vision task as the engine sees it: opened by each worker from files; a trial is one training."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from automl.bundle import read_state, write_state
from automl.errors import LearnerError
from automl.files import settings_values, write_json
from automl.metrics import CLASSIFICATION, Metric
from automl.trial import Evaluation
from vision.data.records import OBJECTS, Image, ImageSet, Thing
from vision.learners.base import LEARNERS, TaskSettings, Work, member_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from automl.budget import Deadline
    from automl.candidates import Candidate, JsonScalar
    from automl.trial import State, Trial
    from vision.data.records import Kind
    from vision.learners.base import Fit, Member
    from vision.objects import Objects

OPEN = "vision.task:open_task"
"""What the engine's workers import and call with the task's directory."""

PRELOAD = ("numpy", "PIL.Image", "vision.task")
MODEL = "model"
"""Folder of a trial that holds its fitted network."""

CHECKPOINTS = "checkpoints"
OBJECT_METRICS = ("mean_average_precision", "precision", "recall")


class VisionTask:
    """Trains and scores configurations on one set of images.

    Parameters
    ----------
    train, held : images to learn from and to choose on. folder : of the task, for what is kept.
    """

    def __init__(self, train: ImageSet, held: ImageSet, settings: TaskSettings, folder: Path) -> None:
        self.train = train
        self.held = held
        self.settings = settings
        self.folder = folder
        self.work = Work(train, held, settings, folder / "kept")

    # -- engine protocol ----------------------------------------------------------------------------------------------

    def evaluate(self, trial: Trial) -> Evaluation:
        """Train; the fitted network stays in the trial's folder, predictions of the held-out images too."""
        checkpoint = self._checkpoint(trial)
        learner = LEARNERS.load(trial.candidate.learner)()
        fit: Fit = learner.fit(self.work, trial.params, trial, checkpoint)
        if fit.pruned:
            checkpoint.unlink(missing_ok=True)
            return Evaluation(scores={}, info=fit.info, pruned=True)
        scores = self.scores(fit.predictions)
        write_state(trial.directory / MODEL, fit.member.state())
        write_json(trial.directory / "history.json", fit.info.get("history", []))
        info = {k: v for k, v in fit.info.items() if k != "history"}
        checkpoint.unlink(missing_ok=True)
        return Evaluation(scores=scores, predictions=fit.predictions, info=info)

    def refit(self, candidate: Candidate, params: Mapping[str, JsonScalar], deadline: Deadline) -> State:
        """Networks are not trained twice: what predicts is what was scored."""
        del params, deadline
        raise LearnerError(f"{candidate.learner} is kept as it was trained.")

    def _checkpoint(self, trial: Trial) -> Path:
        """File of a configuration's training: the same when a killed run is taken up again."""
        what = [trial.candidate.to_json(), dict(trial.params), trial.seed, trial.number]
        key = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]
        return self.folder / CHECKPOINTS / f"{key}.pt"

    # -- scores -------------------------------------------------------------------------------------------------------

    @property
    def metric(self) -> Metric:
        """Metric to choose by."""
        return find_metric(self.settings.metric, self.settings.kind)

    def truth(self) -> Any:
        """Codes, zeros and ones, or the objects of the held-out images."""
        return truth_of(self.held)

    def scores(self, predictions: Mapping[str, np.ndarray]) -> dict[str, float]:
        """All metrics of predictions of the held-out images."""
        if self.settings.kind in OBJECTS:
            from vision.objects import from_arrays

            found = from_arrays(dict(predictions))
            return object_scores(self.truth(), found, self.settings.classes, least=np.asarray(predictions["least"]))
        return class_scores(self.settings.kind, self.truth(), np.asarray(predictions["held"]))

    def loss(self, prob: np.ndarray) -> float:
        """Metric to choose by as a loss, of probabilities of the held-out images; with a little of the fine one."""
        from vision.learners.classes import fine_loss

        return fine_loss(self.settings, self.truth(), prob)


def truth_of(images: ImageSet) -> Any:
    """Codes, zeros and ones, or objects of images."""
    if images.kind not in OBJECTS:
        return images.codes()
    from vision.objects import true_objects

    masks = images.kind == "segmentation"
    return [true_objects(image, images.classes, masks=masks) for image in images.images]


def metric_names(kind: Kind) -> list[str]:
    """Metrics of a task."""
    if kind == "multiclass":
        return list(CLASSIFICATION)
    if kind == "multilabel":
        from vision.labels import MULTILABEL

        return list(MULTILABEL)
    return list(OBJECT_METRICS)


def find_metric(name: str, kind: Kind) -> Metric:
    """Metric of a task by name.

    Raises
    ------
    UnknownNameError : the task has no such metric.
    """
    if kind == "multiclass":
        return CLASSIFICATION.load(name)
    if kind == "multilabel":
        from vision.labels import MULTILABEL

        return MULTILABEL.load(name)
    from automl.errors import UnknownNameError

    if name not in metric_names(kind):
        raise UnknownNameError(f"{kind} metric", name, metric_names(kind))
    return Metric(name, "max", lambda truth, found: float(object_scores(truth, found, ())[name]))


def class_scores(kind: Kind, y: np.ndarray, prob: np.ndarray) -> dict[str, float]:
    """All metrics of probabilities."""
    return {name: float(find_metric(name, kind).function(y, prob)) for name in metric_names(kind)}


def object_scores(
    truth: Sequence[Objects], found: Sequence[Objects], classes: Sequence[str], *, least: float | np.ndarray = 0.0
) -> dict[str, float]:
    """Mean average precision at an overlap of a half; precision and recall of the objects of at least a score.

    Parameters
    ----------
    least : that score, one or one a class.
    """
    from vision.scores import average_precision

    masks = bool(truth) and truth[0].masks is not None
    scored = average_precision(truth, found, classes, masks=masks, least=least)
    return {name: float(getattr(scored, name)) for name in OBJECT_METRICS}


# -- files ------------------------------------------------------------------------------------------------------------


def save_task(task: VisionTask) -> None:
    """Write what workers need to open the task into its folder."""
    own = {
        "settings": asdict(task.settings),
        "train": images_json(task.train),
        "held": images_json(task.held),
    }
    write_state(task.folder / "task", (settings_values(own), {}))


def open_task(directory: str) -> VisionTask:
    """Open a saved task."""
    folder = Path(directory)
    own, _ = read_state(folder / "task")
    settings = TaskSettings(**{**own["settings"], "classes": tuple(own["settings"]["classes"])})
    if settings.threads:
        _limit(settings.threads)
    return VisionTask(images_from_json(own["train"]), images_from_json(own["held"]), settings, folder)


def _limit(threads: int) -> None:
    """Let torch use so many threads in this process."""
    import torch

    torch.set_num_threads(threads)


def images_json(images: ImageSet) -> dict[str, Any]:
    """Images and labels as JSON values."""
    return {"kind": images.kind, "classes": list(images.classes), "images": [asdict(i) for i in images.images]}


def images_from_json(raw: Mapping[str, Any]) -> ImageSet:
    """Read what `images_json` gave."""
    images = [
        Image(
            i["path"],
            tuple(i["labels"]),
            tuple(
                Thing(t["label"], tuple(t["box"]), t["crowd"], tuple(tuple(p) for p in t["outline"]))
                for t in i["things"]
            ),
            i["width"],
            i["height"],
        )
        for i in raw["images"]
    ]
    return ImageSet(raw["kind"], tuple(images), tuple(raw["classes"]))


def member_in(folder: Path) -> Member:
    """Fitted network of a trial."""
    return member_of(read_state(folder / MODEL))
