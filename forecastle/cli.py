"""The command line. Messages go to stderr, asked data to files or stdout; bad input ends with code 2 and a reason."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from automl.errors import AutoMLError, ConfigError, RunError
from forecastle.cli_many import many
from forecastle.cli_tabular import tabular
from forecastle.cli_vision import vision
from forecastle.talk import check_writable, numbers, print_table, reason, say, show, write, write_metrics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pandas import DataFrame

    from automl.runs import Verb
    from forecasting.forecaster import Forecaster

BAD_INPUT, INTERRUPTED = 2, 130
_ROOMS = {"tabular": "forecastle.cli_tabular", "vision": "forecastle.cli_vision"}
"""Kinds of runs besides forecasts -> the module that takes them up."""

_LEVELS = (0.1, 0.5, 0.9)
"""Quantile columns of a forecast file where neither the job nor the command asks for others."""

app = typer.Typer(
    help="Forecast many series from one command. Tables are CSV or Parquet, told apart by their suffix.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
control = typer.Typer(help="Steer a run from another terminal, or take up one that was stopped.", no_args_is_help=True)
app.add_typer(control, name="run")
app.add_typer(many, name="many")
app.add_typer(tabular, name="tabular")
app.add_typer(vision, name="vision")

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, as given to fit --out.")]
OutFile = Annotated[Path, typer.Option("--out", metavar="FILE", help="File to write (.csv or .parquet).")]
Model = Annotated[str | None, typer.Option("--model", help="Any entry of the leaderboard; default the best.")]
Quantiles = Annotated[str | None, typer.Option("--quantiles", metavar="0.1,0.9", help="Levels of quantile columns.")]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code (0 done, 2 bad input, 130 interrupted)."""
    command = typer.main.get_command(app)
    try:
        command.main(args=None if argv is None else list(argv), prog_name="forecastle")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except (AutoMLError, OSError) as error:
        say(f"forecastle: {reason(error)}", style="bold red")
        return BAD_INPUT
    return 0


# -- learn -----------------------------------------------------------------------------------------------------------


@app.command()
def fit(
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="Run folder to make.")],
    data: Annotated[
        Path | None, typer.Argument(metavar="DATA", help="Training table, one row a series and time.")
    ] = None,
    job: Annotated[
        Path | None, typer.Option("--job", metavar="JOB.yml", help="Settings; see docs/settings.md.")
    ] = None,
    horizon: Annotated[int | None, typer.Option("--horizon", help="Steps ahead; wins over the job file.")] = None,
) -> None:
    """Search models for DATA, combine the best and keep everything in the run folder."""
    from forecasting.forecaster import Forecaster
    from forecastle.jobs import Job, load_job
    from forecastle.tables import column_names, read_table

    spec = Job() if job is None else load_job(job)
    if spec.many is not None or spec.compute != "local":
        asked = "many models" if spec.many else f"compute: {spec.compute}"
        raise ConfigError(f"{job} asks for {asked}, which `fit` does not do. Fix: forecastle many fit --job {job}")
    if horizon is not None:
        spec = replace(spec, forecasting=replace(spec.forecasting, forecast_horizon=horizon))
    source = spec.data.training_data if data is None else data
    if source is None:
        raise ConfigError("no training data. Fix: forecastle fit DATA ..., or data.training_data in the job file.")
    names = column_names(source)
    ids, settings = spec.roles(names).id, spec.settings(names)
    forecaster = Forecaster(spec.forecasting.forecast_horizon, seed=spec.forecasting.seed, settings=settings)
    check_writable(out)
    frame = read_table(source, text=ids)
    held_out = {name: read_table(path, text=ids) for name, path in spec.held_out().items()}
    forecaster.fit(frame, validation=held_out.get("validation_data"), path=out)
    if job is not None and job.resolve() != (out / "job.yml").resolve():
        shutil.copyfile(job, out / "job.yml")
    _finish(forecaster, out, frame)
    if spec.training.enable_model_explainability:
        importances = forecaster.explain()
        write(importances, out / "explanation.csv", "importance of the inputs")
        _draw(importances, out / "explanation.html")
    if "test_data" in held_out:
        _evaluate(forecaster, out, held_out["test_data"], out / "test")
    _end(forecaster, out)


# -- use -------------------------------------------------------------------------------------------------------------


@app.command()
def predict(
    run: RunFolder,
    *,
    out: OutFile,
    future: Annotated[Path | None, typer.Option("--future", help="Known covariates of the steps ahead.")] = None,
    history: Annotated[
        Path | None, typer.Option("--history", help="Newer actual rows; nothing is fitted anew.")
    ] = None,
    horizon: Annotated[int | None, typer.Option("--horizon", help="Steps ahead; default the trained ones.")] = None,
    until: Annotated[str | None, typer.Option("--until", help="Last time to forecast, in place of --horizon.")] = None,
    quantiles: Quantiles = None,
    level: Annotated[str | None, typer.Option("--level", metavar="80,95", help="Central intervals, percent.")] = None,
    model: Model = None,
) -> None:
    """Forecast the steps after the end of each series."""
    forecaster = _load(run, out)
    frame = forecaster.predict(
        _table(future, forecaster),
        history=_table(history, forecaster),
        horizon=horizon,
        until=_time(until, forecaster),
        quantiles=_asked_quantiles(forecaster, quantiles, level),
        level=numbers("--level", level),
        model=model,
    )
    write(frame, out, "forecast")


@app.command()
def evaluate(
    run: RunFolder,
    test: Annotated[
        Path, typer.Argument(metavar="TEST", help="Rows after training; without the target they are only forecast.")
    ],
    *,
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Folder for predictions and metrics.")],
    quantiles: Quantiles = None,
    model: Model = None,
) -> None:
    """Score on rows that came after training."""
    forecaster = _load(run)
    check_writable(out)
    frame = _table(test, forecaster)
    _evaluate(forecaster, run, frame, out, model=model, quantiles=numbers("--quantiles", quantiles))


@app.command()
def backtest(
    run: RunFolder,
    *,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="FOLDER|FILE",
            help="Folder for forecasts, scores and pictures; or a .csv or .parquet file for the forecasts alone.",
        ),
    ],
    mode: Annotated[
        str, typer.Option("--mode", metavar="model|automl", help="Fit the chosen model anew, or search anew.")
    ] = "model",
    windows: Annotated[
        int | None, typer.Option("--windows", help="How many origins; default those of the search.")
    ] = None,
    step: Annotated[int | None, typer.Option("--step", help="Steps between two origins.")] = None,
    quantiles: Quantiles = None,
    model: Model = None,
    time_limit: Annotated[
        float | None, typer.Option("--time-limit", help="Seconds of each search; default those of the run.")
    ] = None,
) -> None:
    """Forecast at earlier origins what came next: by the chosen model fitted anew, or by a whole search at each."""
    if out.suffix and not out.suffix[1:].isdigit() and not out.is_dir():
        if mode != "model":
            raise ConfigError(f"--mode {mode} writes several files. Fix: give --out a folder, not {str(out)!r}.")
        forecaster = _load(run, out)
        levels = _asked_quantiles(forecaster, quantiles, None)
        write(forecaster.backtest(windows=windows, step=step, quantiles=levels, model=model), out, "backtest")
        return
    forecaster = _load(run)
    check_writable(out)
    report = forecaster.backtest_report(
        windows=windows,
        step=step,
        mode=mode,
        path=out,
        quantiles=numbers("--quantiles", quantiles),
        model=model,
        time_limit=time_limit,
    )
    print_table(report.models.drop(columns="run"), "Iterations", stderr=True)
    overall = report.scores[report.scores["time_series_id"] == "all_sets"].set_index("metric_name")["metric"]
    shown = ", ".join(f"{name} {overall[name]:.4g}" for name in ("mase", "wape", "wql"))
    say(f"backtest: {out} (forecast.csv, scores.csv, models.csv, plots_fcst_vs_actual.pdf; {shown})")


@app.command()
def explain(
    run: RunFolder,
    *,
    out: OutFile,
    model: Model = None,
    raw: Annotated[
        bool, typer.Option("--raw/--engineered", help="By column of the data, or by engineered feature.")
    ] = True,
    local: Annotated[bool, typer.Option("--local", help="What each input adds to each single forecast.")] = False,
    by_horizon: Annotated[bool, typer.Option("--by-horizon", help="A row for each step ahead.")] = False,
    method: Annotated[str, typer.Option("--method", help="auto, shap or permutation.")] = "auto",
    future: Annotated[
        Path | None, typer.Option("--future", help="With --local: known covariates of the steps ahead.")
    ] = None,
    chart: Annotated[
        Path | None, typer.Option("--chart", metavar="FILE", help="Draw it too (.html, .png, .pdf or .svg).")
    ] = None,
) -> None:
    """Tell which inputs the forecasts depend on."""
    forecaster = _load(run, out)
    if chart is not None:
        if local:
            raise ConfigError("--chart draws importances, not single forecasts. Fix: leave --local or --chart.")
        if chart.suffix.lower() not in {".html", ".png", ".pdf", ".svg"}:
            raise ConfigError(f"--chart is written as .html, .png, .pdf or .svg, got {chart.name!r}.")
        check_writable(chart.parent)
    found = forecaster.explain(
        model, raw=raw, method=method, by_horizon=by_horizon, local=local, future=_table(future, forecaster)
    )
    write(found, out, "contributions to each forecast" if local else "importance of the inputs")
    if chart is not None:
        _draw(found, chart)


@app.command()
def leaderboard(
    run: RunFolder,
    metric: Annotated[str | None, typer.Option("--metric", help="Rank by another metric, such as wape.")] = None,
) -> None:
    """Print all models, best first: a table for a person, CSV into a pipe. Works while the run searches, too."""
    show(_board(run, metric), "leaderboard")


@app.command()
def guardrails(run: RunFolder) -> None:
    """Print what was checked and changed in the data, alerts first: a table for a person, CSV into a pipe."""
    from forecasting.forecaster import Forecaster

    show(Forecaster.load(run).guardrails().drop(columns="details"), "guardrails")


@app.command()
def report(run: RunFolder) -> None:
    """Print the run report: data, guardrails, every choice in force and where it comes from, leaderboard, versions."""
    from automl.runs import Run

    path = run / "report.md"
    if not path.is_file():
        raise RunError(f"run {run} is {Run.open(run).state} and has no report yet. Fix: forecastle run resume {run}")
    sys.stdout.write(path.read_text(encoding="utf-8"))


@app.command()
def summary(run: RunFolder) -> None:
    """Print a row an algorithm: how many trials and the best score."""
    import pandas as pd

    from automl.runs import Run

    show(pd.DataFrame(Run.open(run).summary()), "summary")


@app.command()
def warm() -> None:
    """Compile the forecasting kernels now, so that no later run has to wait for it (for containers)."""
    from forecasting.warm import warm as compile_all

    seconds = compile_all()
    say(f"{len(seconds)} learners are ready after {sum(seconds.values()):.1f} s.")


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Folder for everything the demo makes.")],
    time_limit: Annotated[float, typer.Option("--time-limit", help="Seconds for the whole search.")] = 30.0,
) -> None:
    """Forecast four real monthly series that installed packages ship."""
    from forecasting.datasets import shipped_monthly
    from forecasting.forecaster import Forecaster
    from forecastle.tables import write_table

    check_writable(out)
    run = out / "run"
    if (run / "run.json").is_file():
        shutil.rmtree(run)
    frame = shipped_monthly()
    data = write_table(frame, out / "data.csv")
    say(f"Data: {data} ({frame['unique_id'].nunique()} monthly series, {len(frame)} rows).")
    say(f"Forecasting 12 months, at most {time_limit:g} s ...")
    forecaster = Forecaster(horizon=12, freq="MS", time_limit=time_limit).fit(frame, path=run)
    _finish(forecaster, run, frame)
    _end(forecaster, run)


# -- steer -----------------------------------------------------------------------------------------------------------


@control.command()
def pause(run: RunFolder) -> None:
    """Let the trials at work end and start no other until `run resume`."""
    _send(run, "pause")


@control.command()
def resume(run: RunFolder) -> None:
    """Go on with a paused run; one whose process is gone goes on in this one."""
    from automl.runs import Run

    if Run.open(run).is_live():
        _send(run, "resume")
    else:
        _take_up(run)


@control.command()
def cancel(run: RunFolder) -> None:
    """End the search; the best so far becomes the model."""
    _send(run, "cancel")


@control.command("cancel-trial")
def cancel_trial(
    number: Annotated[int, typer.Argument(metavar="N", help="Number of the trial, as in the leaderboard.")],
    run: RunFolder,
) -> None:
    """Kill one trial; the search goes on."""
    _send(run, "cancel-trial", number)


@control.command("continue")
def continue_(
    run: RunFolder,
    more_trials: Annotated[int | None, typer.Option("--more-trials", help="Trials on top of those it has.")] = None,
    more_time: Annotated[float | None, typer.Option("--more-time", metavar="MINUTES", help="Minutes to go on.")] = None,
) -> None:
    """Search on in a run that has ended; its trials are kept."""
    if more_trials is None and more_time is None:
        raise ConfigError("say how much longer: --more-trials N, --more-time MINUTES, or both.")
    _take_up(run, more_trials=more_trials, more_time=None if more_time is None else 60 * more_time)


def _send(run: Path, command: Verb, number: int | None = None) -> None:
    from automl.runs import Run

    opened = Run.open(run)
    if not opened.is_live():
        raise RunError(
            f"{run} is {opened.state} and no process works on it. Fix: `forecastle run resume {run}` to go on with it, "
            f"`forecastle run continue {run} --more-trials N` to search on."
        )
    opened.send(command, number)
    say(f"{command} sent to {run}.")


def _take_up(run: Path, **more: Any) -> None:
    from automl.runs import Run
    from forecasting.forecaster import Forecaster

    room = Run.open(run).task.partition(".")[0]
    if room in _ROOMS:
        import_module(_ROOMS[room]).take_up(run, **more)
        return
    forecaster = Forecaster.resume(run, **more)
    _finish(forecaster, run, None)
    _end(forecaster, run)


# -- what commands share ---------------------------------------------------------------------------------------------


def _load(run: Path, *files: Path) -> Forecaster:
    """Open the model of a run, after a look at whether the answers can be written."""
    from forecasting.forecaster import Forecaster
    from forecastle.tables import table_kind

    for file in files:
        table_kind(file)
        check_writable(file.parent)
    return Forecaster.load(run)


def _table(path: Path | None, forecaster: Forecaster) -> DataFrame | None:
    """Read rows for a model; ids are of the types they had in training, so that 007 is found again, and 7 is "7"."""
    from forecasting.reading import TEXT, typed_as
    from forecastle.tables import read_table

    if path is None:
        return None
    known = forecaster.make_future_frame(1)
    types = {}
    for name in forecaster.columns.id:
        kind = known[name].dtype
        types[name] = str(kind.categories.dtype if str(kind) == "category" else kind)
    frame = read_table(path, text=[name for name, kind in types.items() if kind in TEXT])
    return typed_as(frame, {name: kind for name, kind in types.items() if name in frame.columns})


def _time(text: str | None, forecaster: Forecaster) -> Any:
    """A time as it was written: a whole number where the time column holds such, else a date."""
    from pandas.api.types import is_numeric_dtype, pandas_dtype

    whole = is_numeric_dtype(pandas_dtype(forecaster.schema.time_dtype))
    return int(text) if text is not None and whole and text.lstrip("-").isdigit() else text


def _asked_quantiles(forecaster: Forecaster, quantiles: str | None, level: str | None) -> tuple[float, ...]:
    """Levels of the quantile columns: those asked for here, else those of the job, else three usual ones."""
    if quantiles or level:
        return numbers("--quantiles", quantiles)
    return tuple(forecaster.settings.quantiles) or _LEVELS


def _finish(forecaster: Forecaster, run: Path, frame: DataFrame | None) -> None:
    """Leave the readable results beside the model: leaderboard, guardrails, forecast and picture."""
    from forecasting.plots import forecast_html

    board = forecaster.leaderboard()
    skipped = board["status"] == "skipped"
    print_table(_short(board[~skipped]), f"Leaderboard ({board['metric'].iloc[0]})", stderr=True)
    if skipped.any():
        say(f"{skipped.sum()} learners were not tried; the leaderboard file says why.")
    checks = forecaster.guardrails()
    for row in checks[checks["status"] != "passed"].itertuples():
        say(f"{row.name}: {row.message}", style="yellow" if row.status == "alerted" else "")
    write(board, run / "leaderboard.csv", "leaderboard")
    write(checks.drop(columns="details"), run / "guardrails.csv", "guardrails")
    say(f"report: {run / 'report.md'}")
    plan = forecaster.make_future_frame()
    known = forecaster.settings.data.covariates.known
    if known:
        write(plan, run / "future.csv", f"times to forecast, to be filled with {', '.join(known)}")
        say(f"Then: forecastle predict {run} --future {run / 'future.csv'} --out forecast.csv")
        return
    forecast = forecaster.predict(quantiles=_asked_quantiles(forecaster, None, None))
    write(forecast, run / "forecast.csv", "forecast")
    if frame is not None:
        say(f"picture: {forecast_html(frame, forecast, run / 'forecast.html', **_roles(run))}")


def _draw(importances: DataFrame, path: Path) -> None:
    from forecasting.plots_explain import importance_html, importance_image

    drawn = importance_html if path.suffix.lower() == ".html" else importance_image
    say(f"picture: {drawn(importances, path)}")


def _roles(run: Path) -> dict[str, Any]:
    """Names of the id, time and target columns as charts take them."""
    from automl.runs import Run

    columns = Run.open(run).settings["schema"]["columns"]
    return {"ids": tuple(columns["id"]), "time": columns["time"], "target": columns["target"]}


def _end(forecaster: Forecaster, run: Path) -> None:
    say(f"model: {run} (best: {forecaster.best()}; the search ended: {forecaster.stopped_because})")
    if forecaster.stopped_because == "interrupted":
        say("Interrupted: the model is the best so far. `forecastle run resume` goes on with the search.")
        raise typer.Exit(INTERRUPTED)


def _evaluate(
    forecaster: Forecaster,
    run: Path,
    test: DataFrame | None,
    out: Path,
    *,
    model: str | None = None,
    quantiles: tuple[float, ...] = (),
) -> None:

    from forecasting.plots import forecast_html

    target = forecaster.columns.target
    if test is not None and target not in test.columns:
        forecast = forecaster.predict(
            test, quantiles=quantiles or _asked_quantiles(forecaster, None, None), model=model
        )
        write(forecast, out / "predictions.csv", f"predictions (no metrics, because there is no column {target!r})")
        return
    result = forecaster.evaluate(test, quantiles=quantiles, model=model)
    write(result.predictions, out / "predictions.csv", "predictions")
    write(result.by_series, out / "metrics_by_series.csv", "metrics of each series")
    path = out / "metrics.json"
    numbers = {**result.metrics, **result.counts}
    write_metrics(path, numbers)
    shown = ", ".join(f"{name} {result.metrics[name]:.4g}" for name in ("mase", "wape", "wql") if name in numbers)
    say(f"metrics: {path} ({shown})")
    drawn = forecast_html(result.predictions, result.predictions, out / "predictions.html", **_roles(run))
    say(f"picture: {drawn}")
    charts = result.charts().write(out)
    say(f"charts: {', '.join(str(path) for path in charts)}")


def _board(run: Path, metric: str | None) -> DataFrame:
    """The leaderboard of the model, or of the trials so far where there is no model yet."""
    import pandas as pd

    from automl.runs import Run
    from forecasting.forecaster import Forecaster
    from forecasting.metrics import find_metric

    opened = Run.open(run)
    if (run / "model").is_dir() and not opened.is_live():
        return _short(Forecaster.load(run).leaderboard(metric))
    own = bool(opened.trials()) and metric == opened.metric()[0]  # perhaps a function of the user's
    asked = find_metric(metric) if metric and not own else None
    rows = opened.leaderboard(asked.name, asked.direction) if asked else opened.leaderboard()
    return _short(pd.DataFrame(rows))


def _short(board: DataFrame) -> DataFrame:
    wanted = ["model", "score", "status", "windows", "fit_s", "predict_s", "peak_mb", "fallbacks", "reason"]
    return board[[c for c in wanted if c in board.columns]]
