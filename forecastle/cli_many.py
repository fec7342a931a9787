"""`forecastle many`: batch jobs that fit and forecast tens of thousands of groups."""

from __future__ import annotations

import logging
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from automl.errors import ConfigError
from forecastle.talk import check_writable, numbers, print_table, say, write

if TYPE_CHECKING:
    from forecasting.many.models import ManyModels
    from forecastle.jobs import Job

many = typer.Typer(
    help="A model for each of many groups of series, from data that may be larger than memory.", no_args_is_help=True
)

_LEVELS = (0.1, 0.5, 0.9)

JobFile = Annotated[Path | None, typer.Option("--job", metavar="JOB.yml", help="Settings; see docs/settings.md.")]
Data = Annotated[Path | None, typer.Option("--data", metavar="DATA", help="CSV or Parquet file, or a folder of them.")]
Out = Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Folder of the job, or of the answer.")]
RunOption = Annotated[
    Path | None, typer.Option("--run", metavar="JOB", help="Fitted job's folder; default --out itself.")
]
Compute = Annotated[
    str | None, typer.Option("--compute", metavar="local|dask://HOST:PORT|ray://HOST:PORT|spark", help="Where it runs.")
]
Workers = Annotated[int | None, typer.Option("--workers", help="Local processes; default one a core.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace another answer that lies there.")]
Quantiles = Annotated[str | None, typer.Option("--quantiles", metavar="0.1,0.9", help="Levels of quantile columns.")]


@many.command("fit")
def fit(*, job: JobFile = None, data: Data = None, out: Out, compute: Compute = None, workers: Workers = None) -> None:
    """Fit a model for every group; run again after a stop, it goes on where it was."""
    from forecasting.many.models import ManyModels
    from forecasting.many.source import Source

    spec = _job(job)
    source = data or spec.data.training_data
    if source is None:
        raise ConfigError("no training data. Fix: --data DIR, or data.training_data in the job file.")
    check_writable(out)
    wanted, limits = spec.many_block(), spec.limits
    names = Source(source).names()
    by = wanted.partition_column_names
    if spec.data.validation_data is not None:
        raise ConfigError(
            "data.validation_data is of `forecastle fit`: groups choose by rolling windows of their own rows. "
            "Fix: remove the key."
        )
    models = ManyModels(
        _horizon(spec),
        by=by,
        settings=spec.settings(names),
        seed=spec.forecasting.seed,
        search=wanted.search,
        compute=compute or spec.compute,
        workers=limits.max_concurrent_trials if workers is None else workers,
        piece_rows=wanted.piece_rows,
    )
    with _told():
        models.fit(source, path=out)
    if job is not None and job.resolve() != (out / "job.yml").resolve():
        shutil.copyfile(job, out / "job.yml")
    status = models.status()
    write(status.assign(weights=status["weights"].map("; ".join)), out / "groups.csv", "groups")
    counts = status["status"].value_counts()
    say(", ".join(f"{count} {name}" for name, count in counts.items()) + f" of {len(status)} groups")
    for row in status[status["error"] != ""].head(5).itertuples():
        key = "/".join(str(getattr(row, c, "")) for c in models.by or ())
        say(f"{key or row.Index}: {row.status}: {row.error}", style="yellow")
    if wanted.search == "shared":
        board = models.leaderboard()
        print_table(board[["model", "mase", "wape", "wql", "coverage_80"]], "Scores on the sample", stderr=True)
    say(f"models: {out}")


@many.command("predict")
def predict(
    *,
    job: JobFile = None,
    data: Data = None,
    out: Out,
    run: RunOption = None,
    history: Annotated[Path | None, typer.Option("--history", help="Newer actual rows, a file or folder.")] = None,
    horizon: Annotated[int | None, typer.Option("--horizon", help="Steps ahead; default the trained ones.")] = None,
    quantiles: Quantiles = None,
    mode: Annotated[
        str, typer.Option("--mode", metavar="recursive|rolling", help="From the end, or through rows with a target.")
    ] = "recursive",
    step: Annotated[int, typer.Option("--step", help="Steps between origins with --mode rolling.")] = 1,
    overwrite: Overwrite = False,
    compute: Compute = None,
    workers: Workers = None,
) -> None:
    """Forecast every group into one Parquet dataset: ids, time, yhat and quantiles. --data holds known covariates."""
    models, place = _open(run, out, "forecasts", compute, workers)
    if mode not in {"recursive", "rolling"}:
        raise ConfigError(f"--mode must be recursive or rolling, got {mode!r}.")
    spec = _job(job)
    levels = _levels(models, spec, quantiles)
    with _told():
        if mode == "rolling":
            source = data or spec.data.test_data
            if source is None:
                raise ConfigError("--mode rolling needs --data: rows after training, with the target.")
            rows = models.rolling_forecast_into(place, source, step=step, quantiles=levels, overwrite=overwrite)
        else:
            rows = models.predict_into(
                place, data, history=history, horizon=horizon, quantiles=levels, overwrite=overwrite
            )
    say(f"forecasts: {place} ({rows} rows)")


@many.command("backtest")
def backtest(
    *,
    job: JobFile = None,
    data: Data = None,
    out: Out,
    run: RunOption = None,
    quantiles: Quantiles = None,
    overwrite: Overwrite = False,
    compute: Compute = None,
    workers: Workers = None,
) -> None:
    """Forecasts of the rolling windows that the groups chose by, beside what came."""
    del data  # the same options as the other commands take; a backtest needs the fitted rows alone
    models, place = _open(run, out, "backtest", compute, workers)
    with _told():
        levels = _levels(models, _job(job), quantiles)
        rows = models.backtest_into(place, quantiles=levels, overwrite=overwrite)
    say(f"backtest: {place} ({rows} rows)")


def _job(path: Path | None) -> Job:
    from forecastle.jobs import Job, load_job

    return Job() if path is None else load_job(path)


def _horizon(spec: Job) -> int:
    horizon = spec.forecasting.forecast_horizon
    if not isinstance(horizon, int):
        raise ConfigError("forecasting.forecast_horizon must be a number for many models, got 'auto'.")
    return horizon


def _open(run: Path | None, out: Path, name: str, compute: str | None, workers: int | None) -> tuple[ManyModels, Path]:
    """The fitted models, and where the answer goes: --out, or a folder in it where --out is the job itself."""
    from forecasting.many.models import ManyModels

    models = ManyModels.load(run or out, compute=compute or "local", workers=workers)
    place = out if run is not None and run.resolve() != out.resolve() else out / name
    check_writable(place.parent)
    return models, place


def _levels(models: ManyModels, spec: Job, text: str | None) -> tuple[float, ...]:
    return numbers("--quantiles", text) or tuple(spec.forecasting.quantiles or models.settings.quantiles) or _LEVELS


class _told:  # noqa: N801 - reads as a sentence where it is used
    """Lines of the log on stderr where no person watches; a terminal has a line of progress."""

    def __enter__(self) -> None:
        self._handler: logging.Handler | None = None
        if not sys.stderr.isatty():
            self._handler = logging.StreamHandler(sys.stderr)
            self._handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
            logger = logging.getLogger("forecasting.many")
            logger.addHandler(self._handler)
            logger.setLevel(logging.INFO)

    def __exit__(self, *_: object) -> None:
        if self._handler is not None:
            logging.getLogger("forecasting.many").removeHandler(self._handler)
