"""The forecasting task as the engine sees it: opened by each worker from files, evaluated window by window."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from automl.bundle import read_state, write_state
from automl.trial import Evaluation
from forecasting import backtest
from forecasting.intervals import leave_one_window_out
from forecasting.learners.base import LEARNERS, FitContext
from forecasting.learners.own import adopt
from forecasting.metrics import Truth, all_scores, find_metric
from forecasting.panel import Block, Panel
from forecasting.timegrid import TimeGrid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from automl.budget import Deadline
    from automl.candidates import Candidate, JsonScalar
    from automl.metrics import Metric
    from automl.trial import State, Trial
    from forecasting.learners.base import Learner

DEGRADED_ABOVE = 0.02
"""A learner that fell back on more than this share of series is marked degraded and left out of ensembles."""

OPEN = "forecasting.task:open_task"
"""What the engine's workers import and call with the task's directory."""

_SLOW_TO_IMPORT = ["numpy", "pandas", "scipy.special", "sklearn.linear_model", "lightgbm", "forecasting.task"]
PRELOAD = (*_SLOW_TO_IMPORT, "forecasting.learners.regression", "forecasting.learners.scikit")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSettings:
    """What an evaluation needs besides panel and candidate.

    Parameters
    ----------
    horizon, season : in steps. fill_season : gaps of the target are filled by values so many steps back (see
        `Panel.in_season`), 1 = by the last value. levels : quantile levels kept for every forecast.
    metric : name of the one to choose by. own_metric : it is a function of the user's, which workers do not know:
        nothing is pruned, and the parent process scores.
    country : for holidays. features : settings of learners that have them (see `FeatureSettings.for_learners`).
    seed, threads : of each fit. stationary : by vote of the series. transform : of the target, as the user wants it.
    integer, non_negative : see `forecasting.config.Settings`. own_learners : name -> import path.
    """

    horizon: int
    season: int
    levels: tuple[float, ...]
    metric: str
    own_metric: bool = False
    country: str | None = None
    features: Mapping[str, JsonScalar] = field(default_factory=dict)
    seed: int = 0
    threads: int = 1
    stationary: bool = True
    transform: str = "auto"
    integer: bool = False
    non_negative: bool | None = None
    own_learners: Mapping[str, str] = field(default_factory=dict)
    fill_season: int = 1


class ForecastTask:
    """Evaluates and refits candidates on one panel.

    Parameters
    ----------
    panel : everything known. cuts : training lengths of each window, newest first, each shape [n].
    """

    def __init__(self, panel: Panel, cuts: list[np.ndarray], settings: TaskSettings) -> None:
        self.panel = panel.in_season(settings.fill_season)
        self.cuts = cuts
        self.settings = settings
        self._windows: list[backtest.Window] | None = None

    # -- engine protocol ------------------------------------------------------------------------------------------

    def evaluate(self, trial: Trial) -> Evaluation:
        """Fit and forecast every window; scores are means over windows of all metrics."""
        s = self.settings
        metric = None if s.own_metric else find_metric(s.metric)
        points: list[np.ndarray] = []
        fit_s = predict_s = 0.0
        fallbacks = rejected = 0
        pruned = False
        native = LEARNERS.load(trial.candidate.learner).native_quantiles
        for window in self.windows():
            learner, fit_seconds, values, predict_seconds, fell = self._forecast(window, trial)
            fit_s += fit_seconds
            predict_s += predict_seconds
            fallbacks += fell
            rejected += int(getattr(learner, "rejected", 0))
            points.append(backtest.scatter(values, window.series, self.panel.n_series))
            del learner
            if metric is None:
                continue
            score = metric.function(window.truth, _with_levels(values, len(s.levels)))
            if trial.report(window.number, metric.loss(score)) and window.number + 1 < len(self.cuts):
                pruned = True
                break
        channels = self._channels(points, native=native)
        scores = self.score(channels, () if metric is None else (metric,))
        scored = sum(len(w.series) for w in self.windows()[: len(points)])
        info: dict[str, Any] = {
            "windows": len(points),
            "fit_s": fit_s / len(points),
            "predict_s": predict_s / len(points),
            "fallbacks": fallbacks,
        }
        if rejected:
            info["rejected"] = rejected
        if fallbacks > DEGRADED_ABOVE * scored:
            info["degraded"] = f"fell back on {fallbacks / scored:.0%} of the series"
        # part of the windows is no score to rank by
        return Evaluation(scores={} if pruned else scores, predictions={"channels": channels}, info=info, pruned=pruned)

    def refit(self, candidate: Candidate, params: Mapping[str, JsonScalar], deadline: Deadline) -> State:
        """Fit on all data."""
        learner = self.build(candidate.learner, params).fit(self.panel, self.context(deadline))
        return learner.state()

    # -- helpers shared with the parent process ---------------------------------------------------------------------

    def windows(self) -> list[backtest.Window]:
        """All windows, newest first; cut once per process."""
        if self._windows is None:
            s = self.settings
            self._windows = list(backtest.windows(self.panel, self.cuts, s.horizon, s.season, s.levels))
        return self._windows

    def build(self, learner: str, params: Mapping[str, JsonScalar]) -> Learner:
        """Make an unfitted learner; the run's feature settings apply where it knows them."""
        cls = LEARNERS.load(learner)
        known = getattr(cls, "__dataclass_fields__", {})
        return cls(**{k: v for k, v in self.settings.features.items() if k in known} | dict(params))

    def context(self, deadline: Deadline, fits: int = 1) -> FitContext:
        """What a fit is told; `fits` of them have to be done by the deadline."""
        s = self.settings
        return FitContext(
            horizon=s.horizon,
            season=s.season,
            seed=s.seed,
            threads=s.threads,
            deadline=deadline,
            country=s.country,
            fits=fits,
        )

    def truth(self) -> Truth:
        """What all windows are scored against, a row for each window and series, absent ones masked."""
        n, h = self.panel.n_series, self.settings.horizon
        parts: list[list[np.ndarray]] = [[] for _ in range(5)]
        for w in self.windows():
            t = w.truth
            mask = np.zeros((n, h), dtype=bool)
            mask[w.series] = t.mask
            parts[0].append(np.nan_to_num(backtest.scatter(t.y, w.series, n)))
            parts[1].append(mask)
            for k, scale in enumerate((t.mae_scale, t.rmse_scale, t.value_range)):
                parts[2 + k].append(backtest.scatter(scale, w.series, n))
        y, mask, mae, rmse, spread = (np.concatenate(p) for p in parts)
        return Truth(y, mask, mae, rmse, spread, self.settings.levels)

    def residuals(self, point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What forecasts of the newest windows [w, n, h] miss, NaN where nothing was observed; scales [w, n]."""
        truth = self.truth()
        w, n, h = point.shape
        y = np.where(truth.mask, truth.y, np.nan).reshape(-1, n, h)[:w]
        return y - point, truth.mae_scale.reshape(-1, n)[:w]

    def score(self, channels: np.ndarray, also: Sequence[Metric] = ()) -> dict[str, float]:
        """All metrics of forecasts shaped [windows, n, h, 1 + levels], mean over the windows that were forecast."""
        rows = []
        for window, values in zip(self.windows(), channels, strict=False):
            rows.append(all_scores(window.truth, values[window.series], also))
        return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}

    def score_by(self, metric: Metric, channels: np.ndarray, some: Sequence[int] | None = None) -> float:
        """Mean over windows (all, or `some`) of one metric, natural sign; forecasts of them shaped as in `score`."""
        windows = self.windows() if some is None else [self.windows()[k] for k in some]
        values = [metric.function(w.truth, c[w.series]) for w, c in zip(windows, channels, strict=True)]
        return float(np.mean(values))

    def _forecast(self, window: backtest.Window, trial: Trial) -> tuple[Learner, float, np.ndarray, float, int]:
        learner = self.build(trial.candidate.learner, trial.params)
        levels = self.settings.levels if learner.native_quantiles else ()
        start = perf_counter()
        learner.fit(window.train, self.context(trial.deadline, len(self.cuts) - window.number))
        middle = perf_counter()
        forecast = learner.forecast(window.train, window.future, levels)
        forecast = forecast.held_constant(window.train, self.settings.season)
        end = perf_counter()
        return learner, middle - start, forecast.values, end - middle, int(forecast.fallback.sum())

    def _channels(self, values: list[np.ndarray], *, native: bool) -> np.ndarray:
        stacked = np.stack(values)
        if native:
            return stacked
        point = stacked[..., 0]
        residual, scale = self.residuals(point)
        return leave_one_window_out(residual, point, scale, self.panel.ids, self.settings.levels)


def _with_levels(values: np.ndarray, levels: int) -> np.ndarray:
    """Point forecasts standing in for quantiles that are learned later."""
    return values if values.shape[2] == 1 + levels else np.repeat(values[:, :, :1], 1 + levels, axis=2)


# -- files ------------------------------------------------------------------------------------------------------------

_ROWS = ("indptr", "start", "y", "observed", "weight")


def panel_state(panel: Panel) -> State:
    """Return a panel as (JSON, arrays)."""
    blobs: dict[str, Any] = {name: getattr(panel, name) for name in _ROWS}
    blocks = {}
    for name in ("known", "past", "static"):
        block: Block = getattr(panel, name)
        blobs[f"{name}_values"], blobs[f"{name}_observed"] = block.values, block.observed
        blocks[name] = {
            "names": list(block.names),
            "vocabulary": [[n, list(c)] for n, c in block.vocabulary],
            "fills": [list(pair) for pair in block.fills],
            "flagged": list(block.flagged),
        }
    grid = {
        "freq": panel.grid.freq,
        "origin": panel.grid.origin,
        "every": panel.grid.every,
        "nearest": panel.grid.nearest,
        "zone": panel.grid.zone,
    }
    return {"ids": [list(key) for key in panel.ids], "blocks": blocks, "grid": grid}, blobs


def panel_from_state(state: State) -> Panel:
    """Read what `panel_state` gave."""
    settings, blobs = state
    blocks = {
        name: Block(
            tuple(raw["names"]),
            blobs[f"{name}_values"],  # type: ignore[arg-type]
            blobs[f"{name}_observed"],  # type: ignore[arg-type]
            tuple((n, tuple(c)) for n, c in raw["vocabulary"]),
            tuple((n, way) for n, way in raw["fills"]),
            tuple(raw["flagged"]),
        )
        for name, raw in settings["blocks"].items()
    }
    rows = {name: blobs[name] for name in _ROWS}
    return Panel(ids=tuple(tuple(key) for key in settings["ids"]), grid=TimeGrid(**settings["grid"]), **rows, **blocks)  # type: ignore[arg-type]


def save_task(task: ForecastTask, directory: Path) -> None:
    """Write what workers need to open the task."""
    settings, blobs = panel_state(task.panel)
    blobs = {**blobs, "cuts": np.stack(task.cuts)}
    own = {name: getattr(task.settings, name) for name in task.settings.__slots__}
    write_state(directory, ({"panel": settings, "settings": json.loads(json.dumps(own))}, blobs))


def open_task(directory: str) -> ForecastTask:
    """Open a saved task; arrays are mapped from disk, so workers share them."""
    settings, blobs = read_state(Path(directory), mapped=True)
    cuts = list(np.asarray(blobs.pop("cuts")))
    own = dict(settings["settings"])
    own["levels"] = tuple(own["levels"])
    adopt(own["own_learners"])
    return ForecastTask(panel_from_state((settings["panel"], blobs)), cuts, TaskSettings(**own))
