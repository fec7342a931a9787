"""`forecastle vision`: classes, objects and outlines of images from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from automl.errors import ConfigError, RunError
from forecastle.talk import check_writable, say, show, write, write_metrics

if TYPE_CHECKING:
    from vision.estimators import _AutoVision

vision = typer.Typer(help="Classes, objects and outlines of images.", no_args_is_help=True)

_TASKS = {
    "multiclass": "ImageClassifier",
    "multilabel": "MultiLabelImageClassifier",
    "detection": "ObjectDetector",
    "segmentation": "InstanceSegmenter",
}

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")]
Images = Annotated[Path, typer.Argument(metavar="IMAGES", help="JSON lines, COCO .json, CSV, or a folder.")]
Model = Annotated[str | None, typer.Option("--model", help="A model of the leaderboard; default the best.")]
Where = Annotated[
    str | None, typer.Option("--where", metavar="COLUMN=VALUE", help="Rows of a CSV file that are meant.")
]


@vision.command("fit")
def fit(
    *,
    images: Images,
    task: Annotated[str, typer.Option("--task", metavar="|".join(_TASKS), help="What is asked of images.")],
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="New or empty run folder.")],
    validation: Annotated[
        Path | None, typer.Option("--validation", help="Images to choose on; default a share.")
    ] = None,
    where: Where = None,
    metric: Annotated[str | None, typer.Option("--metric", help="To choose by; default the task's own.")] = None,
    time_limit: Annotated[float, typer.Option("--time-limit", metavar="SECONDS", help="For everything.")] = 600.0,
    max_trials: Annotated[int | None, typer.Option("--max-trials", help="Trainings at most.")] = None,
    use: Annotated[list[str] | None, typer.Option("--use", help="Backbone or detector, several times.")] = None,
    weights: Annotated[str, typer.Option("--weights", help="auto, default, none or a file of weights.")] = "auto",
    skip_unreadable: Annotated[bool, typer.Option("--skip-unreadable", help="Leave out what cannot be read.")] = False,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, images and trials: same model.")] = 0,
) -> None:
    """Search, combine and keep the best: the run folder holds model, leaderboard and guardrails."""
    from vision.config import DataSettings, Settings

    if task not in _TASKS:
        raise ConfigError(f"--task must be one of {', '.join(_TASKS)}, got {task!r}.")
    check_writable(out.parent)
    model = _estimator(task)(
        metric=metric,
        time_limit=time_limit,
        max_trials=max_trials,
        models=use or None,
        weights=weights,
        seed=seed,
        settings=Settings(data=DataSettings(skip_unreadable=skip_unreadable)),
        path=out,
    )
    model.fit(images, validation, where=_where(where))
    report(model, out)


def report(model: _AutoVision, out: Path) -> None:
    """Write what a run came to beside its model, and say the most of it."""
    board = model.leaderboard()
    write(board, out / "leaderboard.csv", "leaderboard")
    rails = model.guardrails()
    for row in rails[rails["status"] != "passed"].itertuples():
        say(f"{row.name}: {row.message}", style="yellow" if row.status == "alerted" else None)
    score = board.set_index("model").loc[model.best(), "score"]
    say(f"best: {model.best()} ({score:.4g}); model: {out}")


@vision.command("predict")
def predict(
    *,
    run: RunFolder,
    images: Annotated[Path, typer.Argument(metavar="IMAGES", help="An image, or a folder of them.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="JSON lines to write.")],
    model: Model = None,
    pictures: Annotated[Path | None, typer.Option("--pictures", help="Folder for images with objects drawn.")] = None,
) -> None:
    """Predict images: a JSON object a line, with labels and probabilities, or boxes and outlines."""
    check_writable(out.parent)
    fitted = opened(run)
    if pictures is not None:
        _finds_objects(fitted, "--pictures")
    found = fitted.answers(images, model=model)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("".join(json.dumps(one) + "\n" for one in found), encoding="utf-8")
    say(f"predictions: {out} ({len(found)} images)")
    if pictures is not None:
        fitted.draw(pictures, images, model=model)
        say(f"pictures: {pictures}")


@vision.command("evaluate")
def evaluate(
    *,
    run: RunFolder,
    images: Images,
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Folder for metrics, tables and pictures.")],
    where: Where = None,
    model: Model = None,
    coco: Annotated[bool, typer.Option("--coco", help="The twelve numbers of COCO too (objects).")] = False,
) -> None:
    """Score labelled images: metrics.json, by_label.csv, by_image.csv and a gallery of the worst cases."""
    check_writable(out)
    fitted = opened(run)
    rows = _where(where)
    more = {}
    if coco:
        _finds_objects(fitted, "--coco")
        more = {"coco": True}
    scores = fitted.evaluate(images, where=rows, model=model, **more)
    out.mkdir(parents=True, exist_ok=True)
    write_metrics(out / "metrics.json", scores)
    write(fitted.by_label(images, where=rows, model=model), out / "by_label.csv", "by label")
    write(fitted.by_image(images, where=rows, model=model), out / "by_image.csv", "by image")
    fitted.gallery(out / "worst.html", images, where=rows, model=model)
    say(", ".join(f"{name} {value:.4g}" for name, value in list(scores.items())[:3]))
    say(f"metrics: {out / 'metrics.json'}; worst cases: {out / 'worst.html'}")


@vision.command("onnx")
def write_onnx(
    *,
    run: RunFolder,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="ONNX file to write; labels.json lies beside it.")],
    images: Annotated[Path | None, typer.Option("--images", help="To compare on; default some of the run's.")] = None,
    model: Model = None,
) -> None:
    """Write a model as ONNX, once onnxruntime gives the same answers."""
    check_writable(out.parent)
    found = opened(run).to_onnx(out, images=images, model=model)
    say(f"onnx: {out} ({found.images} images compared, scores within {found.largest:.0e})")


@vision.command("leaderboard")
def leaderboard(
    run: RunFolder,
    metric: Annotated[str | None, typer.Option("--metric", help="To rank by; default the run's own.")] = None,
) -> None:
    """Print all models, best first."""
    show(opened(run).leaderboard(metric), str(run))


def take_up(run: Path, *, more_trials: int | None = None, more_time: float | None = None) -> None:
    """Search on in a run, and tell."""
    report(_class_of(run).resume(run, more_trials=more_trials, more_time=more_time), run)


def opened(run: Path) -> Any:
    """Open the model of a run."""
    return _class_of(run).load(run)


def _estimator(task: str) -> Any:
    from vision import estimators

    return getattr(estimators, _TASKS[task])


def _class_of(run: Path) -> Any:
    from automl.runs import Run

    task = Run.open(run).task
    if task.removeprefix("vision.") not in _TASKS or not task.startswith("vision."):
        raise RunError(f"{run} is a run of {task}. Fix: forecastle predict {run}")
    return _estimator(task.removeprefix("vision."))


def _finds_objects(fitted: _AutoVision, option: str) -> None:
    from vision.answers import ObjectAnswers

    if not isinstance(fitted, ObjectAnswers):
        raise ConfigError(f"{option} is about objects, and this model finds classes.")


def _where(text: str | None) -> dict[str, str] | None:
    if text is None:
        return None
    column, sign, value = text.partition("=")
    if not sign:
        raise ConfigError(f"--where must be COLUMN=VALUE, got {text!r}.")
    return {column: value}
