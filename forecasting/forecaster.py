"""Forecaster: the one class most users need."""

from __future__ import annotations

import logging
import shutil
import tempfile
import weakref
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from automl.budget import Deadline
from automl.errors import ConfigError, DataError, RunError
from automl.guardrails import Guardrail, Report
from automl.runs import Run
from forecasting import backtest as bt
from forecasting import frame as door
from forecasting.config import Columns, Covariates, Settings
from forecasting.fitting import Fitting, metric_name, plan_task, settings_from_json, settings_to_json
from forecasting.horizon import auto_horizon
from forecasting.join import join
from forecasting.learners.base import LEARNERS, check_quantiles
from forecasting.metrics import METRICS, find_metric
from forecasting.model import ForecastModel
from forecasting.panel import Forecast
from forecasting.portfolio import skipped, wanted
from forecasting.progress import progress
from forecasting.request import COLD, Request, answer, steps_ahead
from forecasting.scoring import Evaluation, evaluation, origins, scored_frame

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


LOG = logging.getLogger("forecasting")
_KIND = "forecasting"


class Forecaster:
    """Forecasts many series at once: tries models, combines the best, gives intervals.

    Parameters
    ----------
    horizon : steps ahead, in units of the series' frequency; "auto" = what is usual at it, at most a fifth of the
        typical series (the attribute `horizon` is 0 until `fit` has found the number).
    freq : pandas offset alias ("D", "W-THU", "MS", ...); None = detected.
    columns : names of id, time and target columns; None = recognised (unique_id, ds, y or item_id, timestamp, target).
    known, past, static : covariates known for the future, known up to the origin only, constant in a series.
    quantiles : levels to be good at; makes WQL the metric to choose by unless another is set.
    time_limit : seconds for everything: search, refit, intervals.
    seed : same seed, same data, same trial limit: same forecasts, whatever the number of workers.
    settings : everything else; the arguments above win over it.

    Examples
    --------
    >>> from forecasting import datasets
    >>> from forecasting.config import SearchSettings, Settings
    >>> from automl.budget import ExitCriteria
    >>> quick = Settings(search=SearchSettings(allowed=["Naive", "SeasonalNaive"], limits=ExitCriteria(max_trials=2)))
    >>> sales = datasets.shipped_monthly()
    >>> model = Forecaster(horizon=6, settings=quick).fit(sales)
    >>> model.predict(level=[80]).columns.tolist()
    ['unique_id', 'ds', 'yhat', 'yhat-lo-80', 'yhat-hi-80']
    """

    def __init__(
        self,
        horizon: int | str,
        *,
        freq: str | None = None,
        columns: Columns | None = None,
        known: Sequence[str] = (),
        past: Sequence[str] = (),
        static: Sequence[str] = (),
        quantiles: Sequence[float] = (),
        time_limit: float | None = None,
        seed: int = 0,
        settings: Settings | None = None,
    ) -> None:
        self._auto_horizon = isinstance(horizon, str) and horizon == "auto"
        self.horizon = 0 if self._auto_horizon else _steps(horizon)
        self.seed = int(seed)
        self.settings = _merge(settings or Settings(), freq, columns, (known, past, static), quantiles, time_limit)
        for name in (*(self.settings.search.allowed or ()), *self.settings.search.blocked):
            LEARNERS.resolve(name)
        if self.settings.features.country:
            from forecasting.features.holidays import check_country

            check_country(self.settings.features.country)
        self.run: Run | None = None
        self._model: ForecastModel | None = None
        self._schema: door.Schema | None = None
        self._report = Report()
        self._rows: list[dict[str, Any]] = []
        self._dropped: dict[Any, str] = {}
        self._stopped = ""
        self._metric = metric_name(self.settings)

    # -- learning --------------------------------------------------------------------------------------------------

    def fit(
        self,
        frame: Any,
        *,
        validation: Any = None,
        path: str | Path | None = None,
        replay: str | Path | None = None,
    ) -> Self:
        """Search, combine, refit.

        Parameters
        ----------
        frame : long frame (pandas, polars or pyarrow), one row a series and time.
        validation : rows that directly follow; then models are chosen on them instead of on rolling windows.
        path : run directory, kept and resumable; None = a temporary one.
        replay : an earlier run's directory whose completed trials are evaluated again, and nothing else.

        Raises
        ------
        DataError, ConfigError : the data or a setting cannot be used; the message says what to do.
        """
        limits = self.settings.search.limits
        deadline = Deadline.after(limits.time_limit)
        self._report = Report()
        together = frame if validation is None else _stacked(frame, validation)
        if self._auto_horizon:
            # how long a series must be depends on the horizon, so the frame is read twice
            first = door.prepare(together, self.settings.data, min_length=1 + bt.LEAST_TRAINING_ROWS, report=Report())
            self.horizon, note = auto_horizon(first.panel)
            self._report.append(note)
        least = self.horizon + bt.LEAST_TRAINING_ROWS
        prepared = door.prepare(together, self.settings.data, min_length=least, report=self._report)
        self._schema, self._dropped = prepared.schema, dict(prepared.dropped)
        cuts = None
        if validation is not None:
            cuts = self._validation_cuts(prepared, frame)
        plan = plan_task(prepared.panel, self.horizon, self.settings, self.seed, cuts)
        for note in plan.notes:
            self._report.append(note)
        self._metric = plan.task.settings.metric
        if path is None:
            folder = tempfile.mkdtemp(prefix="forecastle-")
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            path = Path(folder) / "run"
        self.run = Run.create(Path(path), task=_KIND, settings=self._run_settings(), seed=self.seed)
        fitting = Fitting(self.run, self.settings)
        fitting.start(plan.task)
        return self._finish(fitting, deadline, replay=None if replay is None else Run.open(replay))

    @classmethod
    def resume(cls, path: str | Path, *, more_trials: int | None = None, more_time: float | None = None) -> Forecaster:
        """Take up a run that was killed, cancelled or completed; finished trials are not run again.

        Parameters
        ----------
        more_trials : trials on top of those the run has. more_time : seconds for this session; None = the run's limit.
        """
        run = Run.open(Path(path))
        saved = run.settings
        self = cls(int(saved["horizon"]), seed=int(saved["seed"]), settings=settings_from_json(saved["settings"]))
        self._schema = door.Schema.from_json(saved["schema"])
        self._dropped = {tuple(key): reason for key, reason in saved["dropped"]}
        self._report = Report.from_json(saved["guardrails"])
        self._metric = saved["metric"]
        self.run = run
        limits = self.settings.search.limits
        if more_trials is not None:
            limits = replace(limits, max_trials=len(run.trials()) + more_trials)
        seconds = more_time if more_time is not None else limits.time_limit
        limits = replace(limits, time_limit=seconds)
        return self._finish(Fitting(run, self.settings), Deadline.after(seconds), limits=limits)

    def _finish(self, fitting: Fitting, deadline: Deadline, **options: Any) -> Self:
        run = fitting.run
        with run.claim(), _log_file(run.path / "log.txt", self.settings.search.verbosity):
            try:
                with progress(self.settings, fitting):
                    self._model, self._stopped = fitting.finish(deadline, **options)
                self._rows = self._leaderboard_rows(run)
                self._alerts()
                self._save_into(run.path / "model")
            except BaseException as error:
                run.set_state("failed", str(error))
                LOG.exception("run failed")
                raise
            run.set_state("cancelled" if self._stopped in {"cancelled", "interrupted"} else "completed")
        return self

    # -- forecasting -----------------------------------------------------------------------------------------------

    def predict(
        self,
        future: Any = None,
        *,
        history: Any = None,
        horizon: int | None = None,
        until: Any = None,
        quantiles: Sequence[float] = (),
        level: Sequence[float] = (),
        model: str | None = None,
    ) -> pd.DataFrame:
        """Forecast the steps after the end of each series, or the rows asked for.

        Parameters
        ----------
        future : rows to forecast (ids, time, known covariates), in any order. Needed where known covariates are
            declared: every step from a series' end up to the last one asked for must be given then. Its target
            column, if any, is not read. None = `horizon` steps after the end of every series.
        history : newer actual rows, joined to those seen in training; the origin of a series is its last row with a
            target. Nothing is estimated anew. Rows of `future` that it answers keep their actual value.
        horizon : steps ahead, default the trained one without `future`, all rows with it; beyond the trained one
            forecasts feed on forecasts.
        until : last time to forecast, in place of `horizon` (whole series or `future` rows up to it).
        quantiles, level : columns `yhat-q-0.1` for quantiles=[0.1], `yhat-lo-80` and `yhat-hi-80` for level=[80].
        model : any entry of the leaderboard; None = the best.

        Returns
        -------
        The id and time columns, yhat and the asked columns: for `future` its rows in its order, with a column
        `cold_start` where a series had no history at all. Series dropped in training have missing values.
        """
        fitted, schema = self._fitted()
        panel = fitted.task.panel
        if history is not None:
            ends = dict(zip(panel.ids, panel.last.tolist(), strict=True))
            panel = join(panel, door.prepare_history(history, schema, panel.grid))
            panel = panel.at_last_target(
                np.array([ends.get(k, s - 1) - s + 1 for k, s in zip(panel.ids, panel.start, strict=True)])
            )
        steps = steps_ahead(panel, schema, horizon=horizon, until=until, usual=self.horizon)
        quantiles = check_quantiles(tuple(quantiles) if quantiles or level else self.settings.quantiles)
        levels = _levels(quantiles, level)
        if future is not None and schema.aggregate is None:
            request = Request.read(future, schema, panel)
            if horizon is not None or until is not None:
                request = request.within(panel, steps)
            values, cold = answer(fitted, schema, panel, request, levels=levels, name=model, dropped=self._dropped)
            out = door.request_frame(request.frame, values, levels, schema, quantiles=quantiles, level=tuple(level))
            return out.assign(**{COLD: cold}) if cold.any() else out
        ahead = door.future_block(future, schema, panel, int(steps.max()), until=steps)
        forecast = fitted.forecast(panel, ahead, levels, model=model)
        return door.forecast_frame(
            forecast, panel, schema, quantiles=quantiles, level=tuple(level), dropped=self._dropped, steps=steps
        )

    def fitted_values(self, steps: int | None = None, *, model: str | None = None) -> pd.DataFrame:
        """One-step forecasts of the last rows the model was fitted on, to look for over-fitting.

        They are in-sample: the models have seen these rows. `backtest` gives honest errors.

        Parameters
        ----------
        steps : how many of the last rows of each series, default two horizons. model : as in `predict`.

        Returns
        -------
        ids, time, the target, yhat.
        """
        fitted, schema = self._fitted()
        panel = fitted.task.panel
        count = 2 * self.horizon if steps is None else steps
        if count < 1:
            raise ConfigError(f"steps must be at least 1, got {steps!r}.")
        parts = []
        for back in range(count, 0, -1):
            some = np.flatnonzero(panel.lengths > back)
            if not len(some):
                continue
            window = bt.window(panel.select(some), panel.lengths[some] - back, 1, fitted.settings.season, (), 0)
            forecast = fitted.forecast(window.train, window.future, (), model=model)
            parts.append(scored_frame(forecast, window.train, window.truth, schema).drop(columns="cutoff"))
        if not parts:
            raise DataError("no series has more than one row, so nothing can be forecast from what came before.")
        order = [*schema.columns.id, schema.columns.time]
        return pd.concat(parts, ignore_index=True).sort_values(order, kind="stable", ignore_index=True)

    def rolling_forecast(
        self, test: Any, *, step: int = 1, quantiles: Sequence[float] = (), model: str | None = None
    ) -> pd.DataFrame:
        """Forecast through a test period from origins `step` apart, each with the actual values up to it.

        Models are not estimated anew. The last origins whose horizon would pass the end of the test are left out,
        unless the test is shorter than the horizon (then one shorter window is made).

        Parameters
        ----------
        test : rows after training, with the target and known covariates. step : steps between origins, 1..horizon.

        Returns
        -------
        ids, time, cutoff (the origin's time), the target, yhat and quantile columns.
        """
        if not 1 <= step <= self.horizon:
            raise ConfigError(f"step must be 1..{self.horizon} (the horizon), got {step!r}.")
        levels = check_quantiles(tuple(quantiles) or self.settings.quantiles)
        fitted, schema = self._fitted()
        walked = origins(fitted, schema, test, step=step, levels=levels, model_name=model, short_too=False)
        return pd.concat([origin.frame for origin in walked], ignore_index=True)

    def evaluate(self, test: Any, *, quantiles: Sequence[float] = (), model: str | None = None) -> Evaluation:
        """Score on rows after training: one forecast of each, from origins a horizon apart.

        Parameters
        ----------
        test : rows after training, with the target; a test longer than the horizon is walked through with actual
            values becoming known every `horizon` steps.
        """
        fitted, schema = self._fitted()
        levels = check_quantiles(tuple(quantiles) or self.settings.quantiles or (0.1, 0.5, 0.9))
        walked = origins(fitted, schema, test, step=self.horizon, levels=levels, model_name=model, short_too=True)
        return evaluation(list(walked), schema)

    def backtest(
        self,
        *,
        windows: int | None = None,
        step: int | None = None,
        quantiles: Sequence[float] = (),
        model: str | None = None,
    ) -> pd.DataFrame:
        """Refit the chosen model at earlier origins and forecast what came next.

        Parameters
        ----------
        windows, step : how many origins and how many steps apart; default those of the search.

        Returns
        -------
        ids, time, cutoff, the target, yhat and quantile columns. Interval widths come from the search's own windows.
        """
        fitted, schema = self._fitted()
        levels = check_quantiles(tuple(quantiles) or self.settings.quantiles)
        panel = fitted.task.panel
        count = windows or len(fitted.task.cuts)
        apart = step or (
            int((fitted.task.cuts[0] - fitted.task.cuts[1])[0]) if len(fitted.task.cuts) > 1 else self.horizon
        )
        cuts = bt.cutoffs(panel, self.horizon, count, apart)
        frames = []
        for window in bt.windows(panel, cuts, self.horizon, fitted.settings.season, levels):
            forecast = fitted.refitted(window.train, model).forecast(window.train, window.future, levels, model=model)
            frames.append(scored_frame(forecast, window.train, window.truth, schema))
        return pd.concat(frames, ignore_index=True)

    # -- looking -----------------------------------------------------------------------------------------------------

    def leaderboard(self, metric: str | None = None) -> pd.DataFrame:
        """All models, best first, by the metric chosen by or another one; natural sign, and why a model failed."""
        self._fitted()
        name = find_metric(metric).name if metric else self._metric
        frame = pd.DataFrame(self._rows)
        other = [c for c in (*METRICS, "bias", "coverage_80") if c in frame.columns and c != name]
        frame = frame.assign(metric=name, score=frame.get(name, np.nan))
        ascending = METRICS[name].direction == "min"
        frame = frame.sort_values("score", ascending=ascending, na_position="last", kind="stable")
        first = [
            "model",
            "score",
            "metric",
            "status",
            "windows",
            "fit_s",
            "predict_s",
            "peak_mb",
            "fallbacks",
            "reason",
        ]
        return frame[[*first, "learner", "params", *other]].reset_index(drop=True)

    def best(self, metric: str | None = None) -> str:
        """Name of the best model by any metric, among those that can forecast."""
        fitted, _ = self._fitted()
        if metric is None:
            return fitted.best
        board = self.leaderboard(metric)
        board = board[board["model"].isin(list(fitted.entries)) & board["score"].notna()]
        if board.empty:
            raise ConfigError(f"no model has a value of {metric!r}.")
        return str(board["model"].iloc[0])

    def guardrails(self) -> pd.DataFrame:
        """What was checked and changed in the data, alerts first."""
        return pd.DataFrame(self._report.rows(), columns=["name", "status", "message", "details"])

    def feature_names(self, model: str | None = None) -> list[str]:
        """Engineered features of a model's pooled members, in order; empty where it has none."""
        fitted, _ = self._fitted()
        names: dict[str, None] = {}
        for member, weight in fitted.entry(model).weights:
            learner = fitted.learner(member) if weight else None
            names |= dict.fromkeys(getattr(learner, "feature_names", ()))
        return list(names)

    def explain(self, model: str | None = None, *, raw: bool = True, repeats: int = 3) -> pd.DataFrame:
        """How much worse the newest window's forecasts get when one input is shuffled, best model by default.

        Parameters
        ----------
        raw : by column of the user's data ("target" = its own history, "time" = calendar), or by engineered feature.

        Returns
        -------
        feature, importance (increase of the scaled absolute error), std; largest first.
        """
        from forecasting.explain import importance

        fitted, _ = self._fitted()
        return pd.DataFrame(importance(fitted, model, raw=raw, repeats=repeats, seed=self.seed))

    def make_future_frame(self, horizon: int | None = None) -> pd.DataFrame:
        """Ids and times of the steps ahead, to be filled with the known covariates."""
        fitted, schema = self._fitted()
        panel = fitted.task.panel
        empty = Forecast(np.full((panel.n_series, horizon or self.horizon, 1), np.nan))
        frame = door.forecast_frame(empty, panel, schema, quantiles=(), level=(), dropped={})
        frame = frame.drop(columns="yhat")
        for name in schema.known_names:
            frame[name] = np.nan
        return frame

    def history(self) -> pd.DataFrame:
        """Rows the model was fitted on, made regular: ids, time, target (missing where it was not observed)."""
        fitted, schema = self._fitted()
        panel = fitted.task.panel
        return door.history_frame(panel, schema)

    @property
    def columns(self) -> door.Names:
        """Names of the id, time and target columns."""
        return self._fitted()[1].columns

    @property
    def stopped_because(self) -> str:
        """Why the search ended."""
        return self._stopped

    # -- files ---------------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write the fitted forecaster into a directory: JSON, arrays and native formats, no pickle."""
        self._save_into(Path(path))

    @classmethod
    def load(cls, path: str | Path) -> Forecaster:
        """Read a saved forecaster, or the one in a run directory.

        Raises
        ------
        ModelFileError : a file is missing, truncated, changed or of a newer format.
        """
        path = Path(path)
        if (path / "model").is_dir():
            path = path / "model"
        elif (path / "run.json").is_file():
            state = Run.open(path).state
            raise RunError(f"run {path} is {state} and holds no model yet. Fix: forecastle run resume {path}")
        model, manifest = ForecastModel.load(path)
        own = manifest["forecaster"]
        self = cls(int(own["horizon"]), seed=int(own["seed"]), settings=settings_from_json(own["settings"]))
        self._model = model
        self._schema = door.Schema.from_json(own["schema"])
        self._report = Report.from_json(own["guardrails"])
        self._dropped = {tuple(key): reason for key, reason in own["dropped"]}
        self._rows = own["leaderboard"]
        self._stopped, self._metric = own["stopped"], own["metric"]
        return self

    # -- inner ---------------------------------------------------------------------------------------------------------

    def _run_settings(self) -> dict[str, Any]:
        return {
            "horizon": self.horizon,
            "seed": self.seed,
            "settings": settings_to_json(self.settings),
            "schema": self._schema.to_json() if self._schema else None,
            "dropped": [[list(key), reason] for key, reason in self._dropped.items()],
            "guardrails": self._report.to_json(),
            "metric": self._metric,
            "direction": find_metric(self._metric).direction,
        }

    def _save_into(self, path: Path) -> None:
        fitted, _ = self._fitted()
        own = {**self._run_settings(), "leaderboard": self._rows, "stopped": self._stopped}
        fitted.save(path, {"kind": _KIND, "forecaster": own})

    def _fitted(self) -> tuple[ForecastModel, door.Schema]:
        if self._model is None or self._schema is None:
            raise RunError("this Forecaster is not fitted yet. Fix: call fit(frame) first.")
        return self._model, self._schema

    def _leaderboard_rows(self, run: Run) -> list[dict[str, Any]]:
        fitted, _ = self._fitted()
        rows = [
            _row(name, scores, "completed", windows=len(fitted.task.cuts))
            for name, scores in fitted.extra.get("ensemble_scores", {}).items()
        ]
        for row in rows:
            row["params"] = dict(fitted.entries[row["model"]].weights)
        rows += [{k: v for k, v in row.items() if k != "score"} for row in run.leaderboard()]
        search = self.settings.search
        missing = skipped(wanted(search.allowed, search.blocked, deep=search.deep))
        return rows + [_row(name, {}, "skipped", reason=why) for name, why in missing.items()]

    def _alerts(self) -> None:
        """Alert on members lost in the refit and on a near-perfect score (a covariate only known afterwards?)."""
        fitted, _ = self._fitted()
        if "alert" in fitted.extra:
            self._report.append(Guardrail("Refit", "alerted", fitted.extra["alert"]))
        row = next(r for r in self._rows if r["model"] == fitted.best)
        if row.get("wape", 1.0) < 1e-3 and row.get("mase", 1.0) < 0.05:
            text = f"{fitted.best} is nearly perfect (WAPE {row['wape']:.2g}): is a known covariate really known ahead?"
            self._report.append(Guardrail("Leakage suspicion", "alerted", text))

    def _validation_cuts(self, prepared: door.Prepared, frame: Any) -> list[np.ndarray]:
        panel = prepared.panel
        train = door.prepare_history(frame, prepared.schema, panel.grid)
        last = dict(zip(train.ids, train.last, strict=True))
        unseen = [key for key in panel.ids if key not in last]
        if unseen:
            raise DataError(f"validation data has {len(unseen)} series without training rows, first: {unseen[0]}.")
        base = np.array([last[key] for key in panel.ids]) - panel.start + 1
        room = panel.lengths - base
        if room.min() < self.horizon:
            worst = int(room.argmin())
            raise DataError(
                f"validation data must hold {self.horizon} steps (the horizon) after each series' training end; "
                f"series {panel.ids[worst]} has {int(room[worst])}. Fix: longer validation data or a shorter horizon."
            )
        follow = panel.indptr[:-1] + base
        gap = [i for i in range(panel.n_series) if not panel.observed[follow[i]]]
        if gap:
            raise DataError(
                f"validation data must directly follow training: {len(gap)} series have nothing at the first step, "
                f"first: {panel.ids[gap[0]]}."
            )
        count = min(5, int(room.min()) // self.horizon)
        return [base + (count - 1 - k) * self.horizon for k in range(count)]


def _steps(horizon: object) -> int:
    if isinstance(horizon, bool) or not isinstance(horizon, int | np.integer) or horizon < 1:
        raise ConfigError(f"horizon must be a whole number of steps, at least 1, or 'auto', got {horizon!r}.")
    return int(horizon)


def _merge(
    settings: Settings,
    freq: str | None,
    columns: Columns | None,
    covariates: tuple[Sequence[str], Sequence[str], Sequence[str]],
    quantiles: Sequence[float],
    time_limit: float | None,
) -> Settings:
    data, search = settings.data, settings.search
    if freq is not None:
        data = replace(data, freq=freq)
    if columns is not None:
        data = replace(data, columns=columns)
    if any(len(c) for c in covariates):
        known, past, static = (tuple([c] if isinstance(c, str) else c) for c in covariates)
        data = replace(data, covariates=Covariates(known=known, past=past, static=static))
    if time_limit is not None:
        search = replace(search, limits=replace(search.limits, time_limit=time_limit))
    levels = check_quantiles(tuple(quantiles) or settings.quantiles)
    return replace(settings, data=data, search=search, quantiles=levels)


def _levels(quantiles: Sequence[float], level: Sequence[float]) -> tuple[float, ...]:
    """All quantile levels needed for quantile and interval columns."""
    bad = [v for v in level if not 0 < v < 100]
    if bad:
        raise ConfigError(f"level must lie between 0 and 100 percent, got {bad}.")
    sides = [round(0.5 + sign * v / 200, 6) for v in level for sign in (-1, 1)]
    return check_quantiles((*quantiles, *sides))


def _stacked(frame: Any, validation: Any) -> pd.DataFrame:
    return pd.concat([door.to_pandas(frame), door.to_pandas(validation)], ignore_index=True)


def _row(
    name: str, scores: Mapping[str, float], status: str, *, windows: int | None = None, reason: str = ""
) -> dict[str, Any]:
    """Row of the leaderboard for what is no trial."""
    timing = dict.fromkeys(("fit_s", "predict_s", "peak_mb"))
    own: dict[str, Any] = {
        "model": name,
        "learner": name,
        "params": {},
        "status": status,
        "reason": reason,
        "windows": windows,
    }
    return {**own, **timing, "fallbacks": 0, **scores}


@contextmanager
def _log_file(path: Path, verbosity: str) -> Iterator[None]:
    """Send the packages' loggers into the run's log file."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    loggers = [logging.getLogger(name) for name in ("forecasting", "automl")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(verbosity.upper())
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
        handler.close()
