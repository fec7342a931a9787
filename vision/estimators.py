"""ImageClassifier, MultiLabelImageClassifier, ObjectDetector and InstanceSegmenter: read, check, search, combine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from automl.budget import Deadline
from automl.errors import ConfigError, DataError, RunError
from automl.files import plain
from automl.guardrails import Guardrail, Report
from automl.runs import Run
from automl.session import board, more, run_folder, session
from vision.answers import Answers, ClassAnswers, ObjectAnswers
from vision.config import METRICS, Settings, with_limits
from vision.data.pictures import check_images
from vision.data.reading import read_images
from vision.data.records import OBJECTS, ImageSet, split
from vision.fitting import Fitting, Outcome, settings_from_json, settings_to_json, workers_of
from vision.learners.base import TaskSettings
from vision.model import VisionModel
from vision.models.backbones import need
from vision.task import VisionTask, find_metric

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vision.data.records import Kind

_FEW = 10
"""Images of a class below which a word is said."""

_LEAST = 2


class _AutoVision(Answers):
    """What the four tasks share.

    Parameters
    ----------
    metric : what to choose by; None = the usual one of the task. time_limit : seconds for everything; "auto" = that of
        the settings, 600 where they have none; None = theirs. max_trials : at most so many trainings.
    models : backbones or detectors; None = what suits the machine.
    weights : of backbones: auto, default, none or a file. augmentation : fields of `vision.augment.Augmentation`.
    seed : same seed, images and number of trials: same model (on a processor). settings : everything else.
    path : run directory, kept and resumable; None = a temporary one.
    """

    _kind: ClassVar[Kind]

    def __init__(
        self,
        *,
        metric: str | None = None,
        time_limit: float | str | None = "auto",
        max_trials: int | None = None,
        models: Sequence[str] | None = None,
        weights: str | None = None,
        augmentation: Mapping[str, Any] | None = None,
        seed: int = 0,
        settings: Settings | None = None,
        path: str | Path | None = None,
    ) -> None:
        self.metric = metric
        self.time_limit = time_limit
        self.max_trials = max_trials
        self.models_ = models
        self.weights_ = weights
        self.augmentation = augmentation
        self.seed = seed
        self.settings = settings
        self.path = path

    # -- learning -----------------------------------------------------------------------------------------------------

    def fit(
        self,
        images: Any,
        validation: Any = None,
        *,
        where: Mapping[str, str] | None = None,
        validation_where: Mapping[str, str] | None = None,
    ) -> Self:
        """Read, check, search and combine.

        Parameters
        ----------
        images : as `read_images` takes: JSON lines, COCO, Pascal VOC, folders, CSV, a frame, or an ImageSet.
        validation : images that models are chosen on; None = a share of `images`, classes alike.
        where, validation_where : column -> value of the rows of a CSV file that are meant.

        Raises
        ------
        DataError, ConfigError : images or a setting cannot be used; the message says what to do.
        MissingPackageError : the extra `vision` is not installed.
        """
        begun = monotonic()
        need("torch")
        need("torchvision")
        settings = self._merged()
        deadline = Deadline.after(settings.search.limits.time_limit)
        self._report = Report()
        train = self._read(images, settings, where, "")
        if validation is None and validation_where is not None:
            validation = images
        if validation is not None:
            held = self._read(validation, settings, validation_where, " of validation")
            held = self._same_classes(train, held)
        else:
            train, held = split(train, settings.data.validation_size, int(self.seed))
            share = f"{len(held)} of {len(train) + len(held)} images are held out to choose on"
            self._report.append(Guardrail("Validation split", "done", share))
        self._look(train, held)
        self._check_metric(settings.search.metric or METRICS[self._kind], held)
        _, threads = workers_of(settings.search)
        own = TaskSettings(
            kind=self._kind,
            metric=settings.search.metric or METRICS[self._kind],
            classes=train.classes,
            weights=settings.search.weights,
            start=settings.search.start,
            device=settings.search.device,
            seed=int(self.seed),
            threads=threads,
            memory_mb=settings.data.memory_mb,
            augmentation=None if self.augmentation is None else dict(self.augmentation),
        )
        run = Run.create(run_folder(self, self.path), task=f"vision.{self._kind}", settings={}, seed=int(self.seed))
        self.run_ = run
        run.amend(settings={"settings": settings_to_json(settings), "guardrails": self._report.to_json()})
        fitting = Fitting(run, settings)
        fitting.start(VisionTask(train, held, own, fitting.directory))
        return self._finish(fitting, deadline, begun)

    def _read(self, source: Any, settings: Settings, where: Mapping[str, str] | None, what: str) -> ImageSet:
        found = read_images(source, self._kind, images=settings.data.images, where=where)
        if found.kind != self._kind:
            raise DataError(f"the images are labelled for {found.kind}, and {type(self).__name__} does {self._kind}.")
        if not len(found):
            raise DataError(f"there are no images{what}.")
        checked, told = check_images(found, skip=settings.data.skip_unreadable)
        for note in told:
            self._report.append(replace(note, name=f"{note.name}{what}"))
        return checked

    def _same_classes(self, train: ImageSet, held: ImageSet) -> ImageSet:
        strange = sorted(set(held.classes) - set(train.classes))
        if strange:
            raise DataError(
                f"{len(strange)} classes of the validation images are not in those to learn from, first {strange[0]!r}."
            )
        return replace(held, classes=train.classes)

    def _look(self, train: ImageSet, held: ImageSet) -> None:
        """Say what deserves a look: rare classes, one class alone."""
        if len(train) < _LEAST or not train.classes:
            told = f"{len(train)} images with {len(train.classes)} classes"
            raise DataError(f"there are {told} to learn from, and {_LEAST} images and a class are needed.")
        codes = train.codes()
        count = np.bincount(codes, minlength=len(train.classes)) if codes.ndim == 1 else (codes > 0).sum(axis=0)
        there = [name for name, n in zip(train.classes, count, strict=True) if n]
        if self._kind == "multiclass" and len(there) < _LEAST:
            raise DataError(f"all images have the label {there[0]!r}; at least two labels are needed.")
        rare = [f"{name} ({int(n)})" for name, n in zip(train.classes, count, strict=True) if n < _FEW]
        text = f"{len(rare)} classes are in fewer than {_FEW} images: {', '.join(rare[:5])}"
        passed = f"each of {len(train.classes)} classes is in at least {_FEW} images"
        self._report.append(Guardrail("Rare classes", "alerted" if rare else "passed", text if rare else passed))
        shared = {i.path for i in train.images} & {i.path for i in held.images}
        if shared:
            self._report.append(
                Guardrail(
                    "Same images",
                    "alerted",
                    f"{len(shared)} images are learned from and chosen on, first {min(shared)}",
                )
            )

    def _check_metric(self, metric: str, held: ImageSet) -> None:
        """Raise DataError where the metric cannot be told on the images held out, before hours of training."""
        shown = f"of {len(held)} images to choose on"
        if self._kind in OBJECTS:
            if not any(not t.crowd for i in held.images for t in i.things):
                raise DataError(f"none {shown} holds an object. Fix: validation= images with objects.")
            return
        y, n = held.codes(), len(held.classes)
        sure = np.eye(n)[y] if self._kind == "multiclass" else y.astype(float)
        function = find_metric(metric, self._kind).function
        if np.isfinite([function(y, prob) for prob in (np.full((len(y), n), 1 / n), 0.1 / n + 0.9 * sure)]).any():
            return
        raise DataError(
            f"{metric} cannot be told: too few labels {shown} occur, or occur in some of them only. "
            "Fix: validation= images with all labels, or another metric."
        )

    @classmethod
    def resume(cls, path: str | Path, *, more_trials: int | None = None, more_time: float | None = None) -> Self:
        """Take up a run that was killed, cancelled or completed; a training goes on at its last checkpoint.

        Parameters
        ----------
        more_trials : on top of those the run has. more_time : seconds for this session; None = the run's limit.
        """
        begun = monotonic()
        run = Run.open(Path(path))
        if run.task != f"vision.{cls._kind}":
            raise RunError(f"{path} is a run of {run.task}, not of vision.{cls._kind}.")
        settings = settings_from_json(run.settings["settings"])
        limits = settings.search.limits
        self = cls(seed=run.seed, settings=settings, time_limit=limits.time_limit)
        limits = more(limits, run, more_trials, more_time)
        self._report = Report.from_json(run.settings["guardrails"])
        self.run_ = run
        return self._finish(Fitting(run, settings), Deadline.after(limits.time_limit), begun, limits=limits)

    def _finish(self, fitting: Fitting, deadline: Deadline, begun: float, **options: Any) -> Self:
        run, search = fitting.run, fitting.settings.search
        limit = search.limits.time_limit
        with session(run, "vision", verbosity=search.verbosity, time_limit=limit, begun=begun) as own:
            fitting.on_event = own.listen
            outcome = fitting.finish(deadline, **options)
            self._take(outcome, run, fitting.settings)
            self.first_model_seconds_ = own.first_model_seconds
            self._save_into(run.path / "model")
            own.stopped = outcome.stopped
        return self

    def _merged(self) -> Settings:
        """Settings with the arguments given beside them, which win."""
        given: Any = self.settings or Settings()
        if not isinstance(given, Settings):
            told = f"{type(given).__module__}.{type(given).__name__}"
            raise ConfigError(f"settings must be vision.Settings, got {told}. Fix: from vision import Settings.")
        settings = with_limits(given, self.time_limit, self.max_trials)
        asked: dict[str, Any] = {
            "metric": self.metric,
            "models": None if self.models_ is None else tuple(self.models_),
            "weights": None if self.weights_ is None else str(self.weights_),
        }
        search = replace(settings.search, **{k: v for k, v in asked.items() if v is not None})
        find_metric(search.metric or METRICS[self._kind], self._kind)
        return replace(settings, search=search)

    def _take(self, outcome: Outcome, run: Run, settings: Settings) -> None:
        """Become what was found."""
        self._settings = settings
        self._model = outcome.model
        self._stopped = outcome.stopped
        self._metric = settings.search.metric or METRICS[self._kind]
        self._rows = board(run, outcome.rows, outcome.skipped, self._metric)
        self.classes_ = np.array(outcome.model.classes, dtype=object)

    # -- files --------------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write the fitted estimator into a directory: JSON and arrays, no pickle."""
        self._fitted()
        self._save_into(Path(path))

    def _save_into(self, path: Path) -> None:
        own = {
            "settings": settings_to_json(self._settings),
            "seed": int(self.seed),
            "leaderboard": self._rows,
            "stopped": self._stopped,
            "guardrails": self._report.to_json(),
            "metric": self._metric,
        }
        self._model.save(path, {"kind": f"vision.{self._kind}", "estimator": plain(own)})

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a saved estimator, or the one in a run directory.

        Raises
        ------
        ModelFileError : a file is missing, truncated, changed or of a newer format.
        """
        path = Path(path)
        run = Run.open(path) if (path / "model").is_dir() else None
        model, manifest = VisionModel.load(path / "model" if run is not None else path)
        if manifest.get("kind") != f"vision.{cls._kind}":
            raise ConfigError(f"{path} holds {manifest.get('kind')}, not vision.{cls._kind}.")
        own = manifest["estimator"]
        settings = settings_from_json(own["settings"])
        self = cls(seed=own["seed"], settings=settings, time_limit=settings.search.limits.time_limit)
        self._settings, self._model, self._rows = settings, model, own["leaderboard"]
        self._stopped, self._metric = own["stopped"], own["metric"]
        self._report = Report.from_json(own["guardrails"])
        self.classes_ = np.array(model.classes, dtype=object)
        if run is not None:
            self.run_ = run
        return self


class ImageClassifier(ClassAnswers, _AutoVision):
    """Finds a classifier of images, one label each: a head on frozen features first, then fine-tuning.

    Parameters as of all tasks: metric (accuracy), time_limit, max_trials, models, weights, augmentation, seed,
    settings, path.
    """

    _kind = "multiclass"


class MultiLabelImageClassifier(ClassAnswers, _AutoVision):
    """Finds a classifier of images with any number of labels each. Parameters as of `ImageClassifier`; metric: iou."""

    _kind = "multilabel"


class ObjectDetector(ObjectAnswers, _AutoVision):
    """Finds a detector of objects. Parameters as of `ImageClassifier`; metric: mean_average_precision."""

    _kind = "detection"


class InstanceSegmenter(ObjectAnswers, _AutoVision):
    """Finds a network that outlines each object. Parameters as of `ObjectDetector`."""

    _kind = "segmentation"
