"""What a fitted estimator tells: predictions, scores, tables by label, galleries, explanations, an ONNX file."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from automl.errors import ConfigError, DataError
from vision.data.reading import IMAGE_COLUMNS, SUFFIXES, read_images
from vision.data.records import OBJECTS, Image, ImageSet
from vision.task import class_scores, find_metric, metric_names, object_scores, truth_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from automl.guardrails import Report
    from automl.runs import Run
    from vision.config import Settings
    from vision.data.records import Kind
    from vision.model import VisionModel
    from vision.objects import Objects


class Answers:
    """Methods of a fitted estimator that all tasks have."""

    _kind: ClassVar[Kind]
    _model: VisionModel
    _rows: list[dict[str, Any]]
    _metric: str
    _report: Report
    _settings: Settings
    _stopped: str
    run_: Run
    seed: int
    classes_: np.ndarray
    _last: tuple[Any, Any, Any] | None = None

    def _fitted(self) -> VisionModel:
        from sklearn.exceptions import NotFittedError

        if not hasattr(self, "_model"):
            raise NotFittedError(f"this {type(self).__name__} is not fitted. Fix: call fit first, or load.")
        return self._model

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_model")

    def _predicted(self, paths: Sequence[str], model: str | None) -> Any:
        with all_named(paths):
            return self._fitted().predict(paths, model, self._settings.search.device)

    def _once(self, paths: Sequence[str], model: str | None, predict: Callable[[], Any], what: str = "") -> Any:
        """Predictions for scores, tables and pictures, which are often asked for one after the other: made but once.

        Parameters
        ----------
        what : of several that are made for the same images.
        """
        fitted = self._fitted()
        asked = what, model or fitted.best, [(p, Path(p).stat().st_mtime_ns) for p in paths]
        if self._last is None or self._last[0] is not fitted or self._last[1] != asked:
            self._last = fitted, asked, predict()
        return self._last[2]

    def _truth(self, images: Any, where: Mapping[str, str] | None) -> ImageSet:
        """Labelled images with the classes of training.

        Raises
        ------
        DataError : a class that training did not have; images that cannot be read, unless they are to be left out.
        """
        from dataclasses import replace

        from vision.data.pictures import check_images

        classes = self._fitted().classes
        found = read_images(images, self._kind, images=self._settings.data.images, where=where)
        strange = sorted(set(found.classes) - set(classes))
        if strange:
            raise DataError(f"{len(strange)} classes are none of training, first {strange[0]!r}.")
        skip = self._settings.data.skip_unreadable
        # sizes that labels note may not be those of the files
        if skip or self._kind in OBJECTS or not all(Path(i.path).is_file() for i in found.images):
            found, _ = check_images(found, skip=skip)
        return replace(found, classes=classes)

    def leaderboard(self, metric: str | None = None) -> pd.DataFrame:
        """All models, best first by a metric (the one to choose by unless told), and learners not tried with why."""
        self._fitted()
        name = metric or self._metric
        found = find_metric(name, self._kind)
        frame = pd.DataFrame(self._rows)
        frame["score"] = frame.get(name, np.nan)
        losses = frame["score"].map(found.loss).to_numpy(dtype=float)
        order = np.argsort(np.nan_to_num(losses, nan=np.inf), kind="stable")
        first = ["model", "learner", "score", "status", "reason", "fit_s", "seconds", "peak_mb", "params"]
        columns = [c for c in first if c in frame] + [c for c in frame if c in metric_names(self._kind)]
        return frame.iloc[order][columns].reset_index(drop=True)

    def best(self) -> str:
        """Name of the entry that predicts."""
        return self._fitted().best

    def weights(self, model: str | None = None) -> dict[str, float]:
        """Members of an entry, and what each counts for."""
        return dict(self._fitted().entry(model))

    def models(self) -> list[str]:
        """Entries that `predict(model=...)` takes."""
        return list(self._fitted().entries)

    def to_onnx(self, path: str | Path, *, images: Any = None, model: str | None = None) -> Any:
        """Write a model as ONNX, with labels.json beside it, once onnxruntime gives the same answers.

        Parameters
        ----------
        images : to compare on, as for `predict`; None = some of the run's. model : any of `models()`; None = the best.

        Raises
        ------
        MissingPackageError : the extra `onnx` is not installed. ConfigError : there are no images to compare on.
        LearnerError : the answers differ; then nothing is written.
        """
        from vision.onnx import write_onnx

        fitted = self._fitted()
        paths = self._some_of_run() if images is None else paths_of(images, self._settings.data.images)
        return write_onnx(fitted, Path(path), paths, model)

    def _some_of_run(self) -> list[str]:
        from vision.task import open_task

        run = getattr(self, "run_", None)
        if run is None or not (run.path / "task").is_dir():
            raise ConfigError("the run's images are not at hand. Fix: images=, files to compare on.")
        return [i.path for i in open_task(str(run.path / "task")).held.images[:16]]

    def history(self, model: str | None = None) -> pd.DataFrame:
        """How a model was trained: a row an epoch with loss, judged and reported loss, and learning rate.

        Parameters
        ----------
        model : any of `models()`, of a vote the member that counts most; None = the best. A linear head has no epochs.

        Raises
        ------
        ConfigError : the run's folder is not at hand.
        """
        import json

        from automl.runs import model_names

        name = self._fitted().heaviest(model)
        run = getattr(self, "run_", None)
        if run is None or not run.trials_path.is_dir():
            raise ConfigError("the run's folder is not at hand. Fix: load(the run's folder).")
        trials = run.trials()
        names = model_names(trials)
        path = next(t.path for t in trials if names.get(t.number) == name)
        columns = ["epoch", "loss", "judged", "reported", "learning_rate"]
        return pd.DataFrame(json.loads((path / "history.json").read_text(encoding="utf-8")), columns=columns)

    def guardrails(self) -> pd.DataFrame:
        """What was checked, changed, or deserves a look: name, status, message, details."""
        self._fitted()
        return pd.DataFrame(self._report.rows())[["name", "status", "message", "details"]]


def paths_of(images: Any, folder: str | None = None) -> list[str]:
    """Files to predict: of a path (image or folder), a list of paths, an ImageSet, or a frame with a column of them.

    Raises
    ------
    DataError : a file is not there, or nothing is.
    """
    if isinstance(images, ImageSet):
        return [i.path for i in images.images]
    if isinstance(images, str | Path):
        path = Path(images)
        if path.is_dir():
            found = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
            if not found:
                raise DataError(f"{path} holds no images.")
            return [str(p) for p in found]
        images = [path]
    elif hasattr(images, "columns"):
        column = next((c for c in IMAGE_COLUMNS if c in images.columns), None)
        if column is None:
            raise DataError(f"none of the columns {', '.join(map(str, images.columns))} is named image, file or path.")
        images = list(images[column])
    root = Path(folder) if folder is not None else Path()
    out = [Path(p) if Path(p).is_absolute() or Path(p).exists() else root / Path(p) for p in images]
    missing = [p for p in out if not p.is_file()]
    if missing:
        raise DataError(f"{len(missing)} of {len(out)} images are not there, first {missing[0]}.")
    return [str(p) for p in out]


def named(paths: Sequence[str]) -> list[str]:
    """Names of files as answers give them: without folders, unless two are then alike.

    Examples
    --------
    >>> named(["x/1.png", "x/2.png"]), named(["x/1.png", "y/1.png"])
    (['1.png', '2.png'], ['x/1.png', 'y/1.png'])
    """
    names = [Path(p).name for p in paths]
    return names if len({*names}) == len({*paths}) else list(paths)


@contextmanager
def all_named(paths: Sequence[str]) -> Iterator[None]:
    """Where an image cannot be read, raise one error that names and counts all such."""
    try:
        yield
    except DataError:
        from vision.data.pictures import check_images

        check_images(ImageSet("multilabel", tuple(Image(p) for p in paths), ()))
        raise


class ClassAnswers(Answers):
    """Of classifiers."""

    def _scored(self, images: Any, where: Mapping[str, str] | None, model: str | None) -> tuple[ImageSet, np.ndarray]:
        """Labelled images, and the probabilities of their classes."""
        truth = self._truth(images, where)
        paths = [i.path for i in truth.images]
        return truth, self._once(paths, model, lambda: np.asarray(self._predicted(paths, model)))

    def predict_proba(self, images: Any, *, model: str | None = None) -> np.ndarray:
        """Probabilities of the labels in the order of `classes_`, shape [images, classes].

        Parameters
        ----------
        images : a path (of an image or a folder), a list of paths, an ImageSet or a frame with a column image.
        model : any of `models()`; None = the best.
        """
        self._fitted()
        return np.asarray(self._predicted(paths_of(images, self._settings.data.images), model))

    def predict(self, images: Any, *, model: str | None = None) -> Any:
        """Most probable label of each image, shape [images]; of several labels a tuple of those above a half each."""
        prob = self.predict_proba(images, model=model)
        if self._kind == "multiclass":
            return self.classes_[prob.argmax(axis=1)]
        return self._said(prob)

    def evaluate(
        self, images: Any, *, where: Mapping[str, str] | None = None, model: str | None = None
    ) -> dict[str, float]:
        """All metrics on labelled images, which `fit` would take."""
        truth, prob = self._scored(images, where, model)
        return class_scores(self._kind, truth.codes(), prob)

    def by_label(
        self, images: Any, *, where: Mapping[str, str] | None = None, model: str | None = None
    ) -> pd.DataFrame:
        """Precision, recall, f1, support, AUC and average precision of each label, and their means."""
        from vision.labels import per_class, per_label

        truth, prob = self._scored(images, where, model)
        table = per_class if self._kind == "multiclass" else per_label
        return pd.DataFrame(table(truth.codes(), prob, truth.classes))

    def by_image(
        self, images: Any, *, where: Mapping[str, str] | None = None, model: str | None = None
    ) -> pd.DataFrame:
        """What each image is, what was said (several labels joined by bars) and the logarithmic loss, worst first."""
        from vision.galleries import losses

        truth, prob = self._scored(images, where, model)
        rows = [
            {"image": i.path, "true": "|".join(i.labels), "predicted": "|".join(said), "loss": loss}
            for i, said, loss in zip(truth.images, self._said(prob), losses(truth.codes(), prob), strict=True)
        ]
        return pd.DataFrame(rows).sort_values("loss", ascending=False, kind="stable", ignore_index=True)

    def _said(self, prob: np.ndarray) -> list[tuple[str, ...]]:
        """Labels of each image: the most probable one, or those above a half each."""
        if self._kind == "multiclass":
            return [(self.classes_[k],) for k in prob.argmax(axis=1)]
        return [tuple(self.classes_[row >= 0.5].tolist()) for row in prob]

    def charts(
        self, images: Any, *, where: Mapping[str, str] | None = None, model: str | None = None
    ) -> dict[str, Any]:
        """Charts of predictions against labels, as plotly figures by name.

        One label: confusion matrix, ROC, precision-recall, gains, lift, calibration. Several: ROC and precision-recall
        of each label.
        """
        from automl.charts import charts_of, precision_recall_curves, roc_curves

        truth, prob = self._scored(images, where, model)
        y = truth.codes()
        if self._kind == "multiclass":
            return charts_of(y, prob, self.classes_)
        out = {}
        for k, name in enumerate(truth.classes):
            if not 0 < y[:, k].sum() < len(y):
                continue  # all have it or none: there is no curve
            own, chance = y[:, k].astype(int), np.stack([1 - prob[:, k], prob[:, k]], axis=1)
            out[f"roc: {name}"] = roc_curves(own, chance, (f"not {name}", name))
            out[f"precision_recall: {name}"] = precision_recall_curves(own, chance, (f"not {name}", name))
        return out

    def answers(self, images: Any, *, model: str | None = None) -> list[dict[str, Any]]:
        """One JSON object an image, as services answer: filename, probs, labels."""
        paths = paths_of(images, self._settings.data.images)
        prob = np.asarray(self._predicted(paths, model))
        names = self.classes_.tolist()
        return [
            {"filename": p, "probs": [float(v) for v in row], "labels": names}
            for p, row in zip(named(paths), prob, strict=True)
        ]

    def explain(
        self, images: Any, *, label: str | None = None, method: str = "grad_cam", model: str | None = None
    ) -> np.ndarray:
        """What in each image speaks for a label, shape [images, h, w], 0..1.

        Parameters
        ----------
        label : of `classes_`; None = the most probable of each image. method : grad_cam (Selvaraju et al. 2017) or
            integrated_gradients (Sundararajan et al. 2017), both by captum.
        """
        from vision.explain import maps

        member: Any = self._fitted().single(model)
        return maps(member, paths_of(images, self._settings.data.images), label, method)

    def gallery(
        self,
        path: str | Path,
        images: Any,
        *,
        where: Mapping[str, str] | None = None,
        most: int = 24,
        model: str | None = None,
    ) -> Path:
        """Write one HTML file with the images the model is most wrong about."""
        from vision.galleries import worst_classes

        truth, prob = self._scored(images, where, model)
        return worst_classes(Path(path), truth, prob, self._said(prob), most)


class ObjectAnswers(Answers):
    """Of detectors and segmenters."""

    def draw(self, folder: str | Path, images: Any, *, model: str | None = None) -> list[Path]:
        """Write a PNG of each image with what was found on it, labelled or not; returns the files.

        Parameters
        ----------
        folder : for the files, named by the images. images : as for `predict`.
        """
        from vision.data.pictures import load_picture
        from vision.drawing import draw_objects

        paths = paths_of(images, self._settings.data.images)
        out = Path(folder)
        out.mkdir(parents=True, exist_ok=True)
        stems = [Path(p).stem for p in paths]
        files = [out / (f"{s}.png" if stems.count(s) == 1 else f"{k}-{s}.png") for k, s in enumerate(stems)]
        for path, file, found in zip(paths, files, self._shown(paths, model), strict=True):
            draw_objects(load_picture(path), found, None, self.classes_.tolist()).save(file)
        return files

    def predict(self, images: Any, *, model: str | None = None) -> list[Objects]:
        """Objects of each image, the most certain first; boxes are shares of the sides, labels codes of `classes_`.

        Parameters
        ----------
        images : a path (of an image or a folder), a list of paths, an ImageSet or a frame with a column image.
        model : any of `models()`; None = the best.
        """
        self._fitted()
        found: list[Objects] = self._predicted(paths_of(images, self._settings.data.images), model)
        return found

    def evaluate(
        self, images: Any, *, where: Mapping[str, str] | None = None, model: str | None = None, coco: bool = False
    ) -> dict[str, float]:
        """Mean average precision (Pascal VOC, overlap of a half), precision and recall.

        Parameters
        ----------
        coco : whether the twelve numbers of COCO come too.
        """
        truth = self._truth(images, where)
        found = self._everything([i.path for i in truth.images], model)
        true = truth_of(truth)
        out = object_scores(true, found, truth.classes, least=self._least(model))
        if coco:
            from vision.scores import coco_scores

            out |= coco_scores(true, found, truth.classes, masks=self._kind == "segmentation")
        return out

    def by_label(
        self, images: Any, *, where: Mapping[str, str] | None = None, model: str | None = None
    ) -> pd.DataFrame:
        """Average precision, precision, recall and counts of each label."""
        from vision.scores import average_precision

        truth = self._truth(images, where)
        found = self._everything([i.path for i in truth.images], model)
        masks, least = self._kind == "segmentation", self._least(model)
        scored = average_precision(truth_of(truth), found, truth.classes, masks=masks, least=least)
        return pd.DataFrame(scored.per_label)

    def by_image(
        self, images: Any, *, where: Mapping[str, str] | None = None, model: str | None = None
    ) -> pd.DataFrame:
        """How many objects of each image were found, missed, wrong (the class), false and duplicate; worst first."""
        from vision.galleries import tallies

        truth, found = self._given(images, where, model)
        counts = tallies(truth_of(truth), found)
        frame = pd.DataFrame([{"image": i.path, **own} for i, own in zip(truth.images, counts, strict=True)])
        bad = frame[["missed", "wrong", "false", "duplicate"]].sum(axis=1)
        return frame.iloc[np.argsort(-bad.to_numpy(), kind="stable")].reset_index(drop=True)

    def _shown(self, paths: Sequence[str], model: str | None) -> list[Objects]:
        """Objects that `predict` gives, for answers and pictures of the same images."""
        found: list[Objects] = self._once(paths, model, lambda: self._predicted(paths, model), "shown")
        return found

    def _given(self, images: Any, where: Mapping[str, str] | None, model: str | None) -> tuple[ImageSet, list[Objects]]:
        """Labelled images, and the objects that `predict` gives."""
        truth = self._truth(images, where)
        member: Any = self._fitted().single(model)
        return truth, [member.given(one) for one in self._everything([i.path for i in truth.images], model)]

    def _least(self, model: str | None) -> np.ndarray:
        """Score of each class from which on its objects are given."""
        member: Any = self._fitted().single(model)
        least: np.ndarray = member.least()
        return least

    def _everything(self, paths: Sequence[str], model: str | None) -> list[Objects]:
        """Objects down to low scores, which mean average precision looks at."""
        member: Any = self._fitted().single(model)
        device = self._settings.search.device
        with all_named(paths):
            found: list[Objects] = self._once(paths, model, lambda: member.predict(paths, device, everything=True))
        return found

    def everything(self, images: Any, *, model: str | None = None) -> list[Objects]:
        """Objects of each image down to low scores, which mean average precision looks at; else as `predict`."""
        return list(self._everything(paths_of(images, self._settings.data.images), model))

    def answers(self, images: Any, *, model: str | None = None) -> list[dict[str, Any]]:
        """One JSON object an image, as services answer: filename, boxes with label, score and outline."""
        from vision.objects import mask_outlines

        paths = paths_of(images, self._settings.data.images)
        names = self.classes_.tolist()
        member: Any = self._fitted().single(model)
        most = int(member.params["max_number_of_polygon_points"])
        out = []
        for path, found in zip(named(paths), self._shown(paths, model), strict=True):
            boxes = []
            for k in range(len(found)):
                box = dict(zip(("topX", "topY", "bottomX", "bottomY"), map(float, found.boxes[k]), strict=True))
                one: dict[str, Any] = {
                    "box": box,
                    "label": names[int(found.labels[k])],
                    "score": float(found.scores[k]),
                }
                if found.masks is not None:
                    outlines = mask_outlines(found.masks[k], found.size, most)
                    one["polygon"] = [list(map(float, part)) for part in outlines]
                boxes.append(one)
            out.append({"filename": path, "boxes": boxes})
        return out

    def gallery(
        self,
        path: str | Path,
        images: Any,
        *,
        where: Mapping[str, str] | None = None,
        most: int = 24,
        model: str | None = None,
    ) -> Path:
        """Write one HTML file with the images of the most missed and false objects."""
        from vision.galleries import worst_objects

        truth, found = self._given(images, where, model)
        return worst_objects(Path(path), truth, found, most)
