"""`forecastle tabular`: classification and regression of tables from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from automl.errors import ConfigError, DataError, RunError
from forecastle.talk import check_writable, say, show, write, write_metrics

if TYPE_CHECKING:
    from pandas import DataFrame

    from tabular.estimators import AutoClassifier, AutoRegressor

tabular = typer.Typer(help="Classes or numbers from a table, CSV or Parquet.", no_args_is_help=True)

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")]
Data = Annotated[Path, typer.Argument(metavar="DATA", help="CSV or Parquet file.")]
Model = Annotated[str | None, typer.Option("--model", help="A model of the leaderboard; default the best.")]


@tabular.command("fit")
def fit(
    *,
    data: Data,
    target: Annotated[str, typer.Option("--target", help="Column to learn.")],
    task: Annotated[str, typer.Option("--task", metavar="classification|regression", help="What it holds.")],
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="New or empty run folder.")],
    metric: Annotated[str | None, typer.Option("--metric", help="To choose by; default log_loss or NRMSE.")] = None,
    time_limit: Annotated[float, typer.Option("--time-limit", metavar="SECONDS", help="For everything.")] = 600.0,
    max_trials: Annotated[int | None, typer.Option("--max-trials", help="Configurations to try at most.")] = None,
    allow: Annotated[list[str] | None, typer.Option("--allow", help="Learner to try, several times.")] = None,
    block: Annotated[list[str] | None, typer.Option("--block", help="Learner to leave out, several times.")] = None,
    workers: Annotated[int | None, typer.Option("--workers", help="Processes; default one a core.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same data, same trials: same model.")] = 0,
    onnx: Annotated[bool, typer.Option("--onnx", help="Only what can be written as ONNX.")] = False,
) -> None:
    """Search, combine and keep the best: the run folder holds model, leaderboard and guardrails."""
    from tabular.config import SearchSettings, Settings
    from tabular.estimators import AutoClassifier, AutoRegressor

    classes = {"classification": AutoClassifier, "regression": AutoRegressor}
    if task not in classes:
        raise ConfigError(f"--task must be {' or '.join(classes)}, got {task!r}.")
    check_writable(out.parent)
    model = classes[task](
        metric=metric,
        time_limit=time_limit,
        max_trials=max_trials,
        allowed=allow or None,
        blocked=block or (),
        workers=workers,
        seed=seed,
        settings=Settings(search=SearchSettings(onnx=onnx)),
        path=out,
    )
    report(model.fit(data, target), out)


def report(model: AutoClassifier | AutoRegressor, out: Path) -> None:
    """Write what a run came to beside its model, and say the most of it."""
    write(model.leaderboard(), out / "leaderboard.csv", "leaderboard")
    write(model.featurization_summary(), out / "featurization_summary.csv", "features")
    rails = model.guardrails()
    for row in rails[rails["status"] == "alerted"].itertuples():
        say(f"{row.name}: {row.message}", style="yellow")
    board = model.leaderboard().set_index("model")
    say(f"best: {model.best()} ({board.loc[model.best(), 'score']:.4g}); model: {out}")


@tabular.command("predict")
def predict(
    *,
    run: RunFolder,
    data: Data,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="CSV or Parquet file to write.")],
    model: Model = None,
) -> None:
    """Predict rows: a column `prediction`, and for classes the probability of each."""
    from forecastle.tables import table_kind

    table_kind(out)
    check_writable(out.parent)
    write(predictions(opened(run), data, model), out, "predictions")


@tabular.command("test")
def score_rows(
    *,
    run: RunFolder,
    data: Data,
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Folder for predictions and metrics.")],
    model: Model = None,
) -> None:
    """Predict test rows and, where they hold the target, score them: predictions.csv, metrics.json, report.html."""
    from forecastle.tables import column_names

    fitted = opened(run)
    check_writable(out)
    write(predictions(fitted, data, model), out / "predictions.csv", "predictions")
    target = fitted.target_
    if target not in column_names(data):
        say(f"{data} has no column {target!r}: there are no metrics.")
        return
    scores = fitted.evaluate(data, target, model=model)
    write_metrics(out / "metrics.json", scores)
    fitted.report(out / "report.html", data, target, model=model)
    say(f"metrics: {out / 'metrics.json'}; charts: {out / 'report.html'}")


@tabular.command("explain")
def explain(
    *,
    run: RunFolder,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="CSV or Parquet file to write.")],
    data: Annotated[Path | None, typer.Option("--data", help="Rows to explain; default some of the run's own.")] = None,
    model: Model = None,
    local: Annotated[bool, typer.Option("--local", help="Each row by itself.")] = False,
    engineered: Annotated[bool, typer.Option("--engineered", help="By engineered feature, not by column.")] = False,
) -> None:
    """Say which columns predictions depend on: SHAP values, or what is lost without a column."""
    from forecastle.tables import read_table, table_kind

    table_kind(out)
    check_writable(out.parent)
    fitted = opened(run)
    rows = labels = None
    if data is not None:
        rows = read_table(data)
        if fitted.target_ in rows:
            rows, labels = rows.drop(columns=fitted.target_), rows[fitted.target_]
    write(fitted.explain(rows, labels, model=model, raw=not engineered, local=local), out, "explanation")


@tabular.command("onnx")
def write_onnx(
    *,
    run: RunFolder,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="ONNX file to write.")],
    model: Model = None,
) -> None:
    """Write a model as one ONNX file, once onnxruntime gives the same answers on rows of the run."""
    check_writable(out.parent)
    found = opened(run).to_onnx(out, model=model)
    say(f"onnx: {out} ({found.rows} rows compared: labels {found.labels:.2%}, values within {found.difference:.0e})")


@tabular.command("leaderboard")
def leaderboard(
    run: RunFolder,
    metric: Annotated[str | None, typer.Option("--metric", help="To rank by; default the run's own.")] = None,
) -> None:
    """Print all models, best first."""
    show(opened(run).leaderboard(metric), str(run))


def take_up(run: Path, *, more_trials: int | None = None, more_time: float | None = None) -> None:
    """Search on in a run, and tell."""
    report(_class_of(run).resume(run, more_trials=more_trials, more_time=more_time), run)


def opened(run: Path) -> AutoClassifier | AutoRegressor:
    """Open the model of a run."""
    return _class_of(run).load(run)


def _class_of(run: Path) -> type[AutoClassifier | AutoRegressor]:
    from automl.runs import Run
    from tabular.estimators import AutoClassifier, AutoRegressor

    known: dict[str, type[AutoClassifier | AutoRegressor]] = {
        "tabular.classification": AutoClassifier,
        "tabular.regression": AutoRegressor,
    }
    task = Run.open(run).task
    if task not in known:
        raise RunError(f"{run} is a run of {task}. Fix: forecastle predict {run}")
    return known[task]


def predictions(model: AutoClassifier | AutoRegressor, data: Path, name: str | None) -> DataFrame:
    """Rows of a file with what a model says of each."""
    import pandas as pd

    from forecastle.tables import read_table

    rows = read_table(data)
    features = rows.drop(columns=model.target_, errors="ignore") if model.target_ else rows
    if hasattr(model, "classes_"):
        probabilities = model.predict_proba(features, model=name)
        found = model.classes_[probabilities.argmax(axis=1)]
        columns = {f"probability_{c}": probabilities[:, k] for k, c in enumerate(model.classes_)}
    else:
        found, columns = model.predict(features, model=name), {}
    taken = {"prediction", *columns} & set(rows)
    if taken:
        raise DataError(f"{data} has a column {min(taken)!r}, which the answer needs. Fix: rename it.")
    return pd.concat([rows, pd.DataFrame({"prediction": found, **columns}, index=rows.index)], axis=1)
