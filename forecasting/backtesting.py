"""Backtests as a report: what would have been forecast at earlier dates, scores of it, and a picture of each cut.

Two questions, two modes. `model`: how good is the chosen model - its members are fitted anew on each cut, its weights
and interval widths stay. `automl`: how good is the whole procedure - each cut gets a search of its own with the same
settings, in a run directory of its own, and the winner forecasts. Neither sees a row after the cut.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from automl.errors import ConfigError, DataError, LearnerError, RunError
from forecasting.metrics import Truth, later_scores
from forecasting.scoring import drawn_history, scored_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from automl.metrics import Metric
    from forecasting.backtest import Window
    from forecasting.charts.gallery import Charts
    from forecasting.frame import Names, Schema
    from forecasting.model import ForecastModel
    from forecasting.panel import Forecast, Panel

MODES = ("model", "automl")
ITERATION, ACTUAL, PREDICTED = "backtest_iteration", "actual_level", "predicted_level"
ALL = "all_sets"


@dataclass(frozen=True, slots=True)
class BacktestReport:
    """What a backtest found.

    Parameters
    ----------
    forecast : a row a forecast: backtest_iteration (`iteration_` and the last date of training), ids, time, cutoff
        (the last date of training of that series), actual_level, predicted_level and quantile columns.
    scores : metric_name, metric, time_series_id. The latter is a series (`id`), a series in one iteration
        (`id|iteration`), an iteration, or `all_sets`; ids of several columns are joined by `/`.
    models : backtest_iteration, model (the winner that forecast), metric and score by which it had been chosen, run.
    columns : names of the user's columns. history : ids, time and target of the rows behind the charts.
    """

    forecast: pd.DataFrame
    scores: pd.DataFrame
    models: pd.DataFrame
    columns: Names
    history: pd.DataFrame

    @property
    def _predictions(self) -> pd.DataFrame:
        return self.forecast.rename(columns={ACTUAL: self.columns.target, PREDICTED: "yhat"})

    def charts(self) -> Charts:
        """Forecast-horizon, residual and predicted-vs-true charts."""
        from forecasting.charts.gallery import Charts

        return Charts.of(self._predictions, self.history, **_roles(self.columns))

    def write(self, folder: str | Path) -> list[Path]:
        """Write forecast.csv, scores.csv, models.csv and plots_fcst_vs_actual.pdf, a page a series and iteration."""
        from forecasting.charts.gallery import write_pages

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        written = []
        for name in ("forecast", "scores", "models"):
            written.append(folder / f"{name}.csv")
            getattr(self, name).to_csv(written[-1], index=False)
        pdf = folder / "plots_fcst_vs_actual.pdf"
        return [*written, write_pages(self._predictions, self.history, pdf, **_roles(self.columns))]


@dataclass(frozen=True, slots=True)
class Searched:
    """What a search at one origin came to.

    Parameters
    ----------
    model : with its winner as the best entry. metric, score : by which that was chosen. stopped : why the search ended.
    """

    model: ForecastModel
    metric: str
    score: float
    stopped: str


@dataclass(frozen=True, slots=True)
class BacktestJob:
    """Earlier origins of a fitted model, to be forecast in one mode or the other.

    Parameters
    ----------
    model, schema : of the fitted forecaster. windows : newest first. levels : quantiles. also : further metrics.
    """

    model: ForecastModel
    schema: Schema
    windows: Sequence[Window]
    levels: tuple[float, ...]
    also: Sequence[Metric] = ()

    def refitted(self, name: str, metric: str, scores: Mapping[str, float], path: str | Path | None) -> BacktestReport:
        """Fit one entry's members anew at each origin; weights and interval widths stay.

        Parameters
        ----------
        metric, scores : by which models had been chosen, by entry. path : folder for the report, None = not written.
        """
        names = self._names()
        own = {"model": name, "metric": metric, "score": scores.get(name, float("nan")), "run": ""}

        def forecasts() -> Iterator[tuple[Forecast, dict[str, Any]]]:
            for window in self.windows:
                again = self.model.refitted(window.train, name)
                yield again.forecast(window.train, window.future, self.levels, model=name), own

        return self._report(names, forecasts(), path)

    def searched(self, search: Callable[[Panel, Path], Searched], path: str | Path | None) -> BacktestReport:
        """Search at each origin on the rows up to it, and let the winner forecast.

        Parameters
        ----------
        search : told the rows and the run directory. path : folder for the runs and the report, None = a passing one.

        Raises
        ------
        RunError : a search failed or was interrupted.
        """
        names = self._names()

        def forecasts(folder: Path) -> Iterator[tuple[Forecast, dict[str, Any]]]:
            for window, name in zip(self.windows, names, strict=True):
                run = folder / "runs" / name.replace(":", "-")
                try:
                    found = search(window.train, run)
                except (DataError, LearnerError) as error:
                    raise RunError(f"{name}: {error}") from error
                if found.stopped in {"cancelled", "interrupted"}:
                    fix = "Fix: the same call goes on with it." if path else "Fix: give a path, to be able to go on."
                    raise RunError(f"the backtest was {found.stopped} at {name}. {fix}")
                values = found.model.forecast(window.train, window.future, self.levels)
                own = {"model": found.model.best, "metric": found.metric, "score": found.score}
                yield values, {**own, "run": str(run) if path else ""}

        if path is not None:
            return self._report(names, forecasts(Path(path)), path)
        with TemporaryDirectory(prefix="forecastle-") as folder:
            return self._report(names, forecasts(Path(folder)), None)

    def _names(self) -> list[str]:
        own = self.schema.columns
        taken = sorted({ITERATION, ACTUAL, PREDICTED, "cutoff"} & {*own.id, own.time})
        if taken:
            raise DataError(f"column {taken[0]!r} has a name that a backtest uses itself. Fix: rename it.")
        return iterations(self.windows, self.schema, self.model.task.panel)

    def _report(
        self, names: Sequence[str], forecasts: Iterator[tuple[Forecast, dict[str, Any]]], path: str | Path | None
    ) -> BacktestReport:
        own = self.schema.columns
        frames, models, values = [], [], []
        for window, name, (forecast, model) in zip(self.windows, names, forecasts, strict=True):
            frame = scored_frame(forecast, window.train, window.truth, self.schema)
            frame = frame.rename(columns={own.target: ACTUAL, "yhat": PREDICTED})
            frame.insert(0, ITERATION, name)
            frames.append(frame)
            models.append({ITERATION: name, **model})
            values.append(forecast.values)
        rows = [
            {"metric_name": metric, "metric": value, "time_series_id": name}
            for name, truth, part in _sets(self.windows, names, values, own)
            for metric, value in later_scores(truth, part, self.also).items()
        ]
        together = pd.concat(frames, ignore_index=True)
        history = drawn_history(self.model.task.panel, self.schema, together)
        report = BacktestReport(together, pd.DataFrame(rows), pd.DataFrame(models), own, history)
        if path is not None:
            report.write(path)
        return report


def iterations(windows: Sequence[Window], schema: Schema, panel: Panel) -> list[str]:
    """Names of the iterations: `iteration_` and the last date of training, with the time of day where that matters."""
    last = np.array([int(window.train.last.max()) for window in windows])
    labels = pd.Series(schema.time_labels(panel.grid, last))
    if panel.grid.is_integer:
        return [f"iteration_{label}" for label in labels]
    days = bool((labels.dt.normalize() == labels).all())
    return [f"iteration_{label.date() if days else label.isoformat()}" for label in labels]


def _sets(
    windows: Sequence[Window], names: Sequence[str], values: Sequence[np.ndarray], own: Names
) -> Iterator[tuple[str, Truth, np.ndarray]]:
    """Everything that is scored by itself: all, each iteration, each series, each series in each iteration."""
    keys = [key for w in windows for key in w.train.ids]
    name_of = _names_of(dict.fromkeys(keys), own)
    ids = [name_of[key] for key in keys]
    of = np.repeat(np.arange(len(windows)), [w.train.n_series for w in windows])
    truth, forecast = stacked([w.truth for w in windows]), np.concatenate(values)
    yield ALL, truth, forecast
    for k, name in enumerate(names):
        yield name, truth.rows(of == k), forecast[of == k]
    places: dict[str, list[int]] = {}
    for i, name in enumerate(ids):
        places.setdefault(name, []).append(i)
    for name, rows in places.items():
        yield name, truth.rows(np.array(rows)), forecast[rows]
    for i, name in enumerate(ids):
        yield f"{name}|{names[of[i]]}", truth.rows(np.array([i])), forecast[i : i + 1]


def stacked(truths: Sequence[Truth]) -> Truth:
    """Rows of several truths of one width below each other."""
    fields = ("y", "mask", "mae_scale", "rmse_scale", "value_range")
    y, mask, mae, rmse, spread = (np.concatenate([getattr(t, name) for t in truths]) for name in fields)
    return Truth(y, mask, mae, rmse, spread, truths[0].levels)


def _names_of(keys: Iterable[tuple[Any, ...]], own: Names) -> dict[tuple[Any, ...], str]:
    """Names of series; where two would have the same one, parts that hold a `/` stand in quotes."""
    names = {key: series_name(key, own) for key in keys}
    several = {name for name, count in Counter(names.values()).items() if count > 1}
    for key in [key for key, name in names.items() if name in several]:
        names[key] = "/".join(f'"{part}"' if "/" in str(part) else str(part) for part in key)
    return names


def series_name(key: tuple[Any, ...], own: Names) -> str:
    """Id of a series in one text; a single series without id columns goes by the target."""
    return "/".join(map(str, key)) if own.id else own.target


def check_mode(mode: str, model: str | None) -> None:
    """Raise ConfigError for a mode that does not exist, or a model named where every cut chooses its own."""
    if mode not in MODES:
        raise ConfigError(f"mode must be 'model' or 'automl', got {mode!r}.")
    if mode == "automl" and model is not None:
        raise ConfigError(
            f"mode='automl' chooses a model at every cut. Fix: leave out model={model!r}, or mode='model'."
        )


def _roles(own: Names) -> dict[str, Any]:
    return {"ids": own.id, "time": own.time, "target": own.target}
