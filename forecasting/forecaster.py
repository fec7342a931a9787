"""Forecaster: the one class most users need."""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
import weakref
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from automl.budget import Deadline
from automl.errors import ConfigError, DataError, RunError
from automl.guardrails import Guardrail, Report, affected
from automl.metrics import UserMetric
from automl.runs import Run
from forecasting import backtest as bt
from forecasting import frame as door
from forecasting.backtesting import BacktestJob, BacktestReport, Searched, check_mode
from forecasting.config import Columns, Covariates, Settings
from forecasting.fitting import Fitting, chosen_metric, plan_task, settings_from_json, settings_to_json
from forecasting.horizon import auto_horizon
from forecasting.learners.base import check_quantiles
from forecasting.learners.own import adopt, check_learner, own_learners
from forecasting.metrics import METRICS, REPORTED, find_metric, forgiving, own_metric
from forecasting.model import ForecastModel
from forecasting.panel import Forecast
from forecasting.portfolio import unwanted
from forecasting.progress import progress
from forecasting.request import COLD, Request, answer, check_agreement, steps_ahead, with_newer
from forecasting.scoring import Evaluation, drawn_history, evaluation, origins, scored_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from automl.metrics import Metric
    from forecasting.charts.gallery import Charts
    from forecasting.fitting import Plan
    from forecasting.panel import Panel

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
        self.settings = _with_own_learners(self.settings)
        unwanted(self.settings.search)
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
        self._metric = chosen_metric(self.settings).name
        self._seconds = 0.0

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
        left_out = unwanted(self.settings.search)
        for name, target in self.settings.search.own_learners.items():
            if name not in left_out:
                check_learner(name, target)
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
        plan = self._plan(prepared.panel, cuts)
        if path is None:
            folder = tempfile.mkdtemp(prefix="forecastle-")
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            path = Path(folder) / "run"
        self.run = Run.create(Path(path), task=_KIND, settings=self._run_settings(), seed=self.seed)
        fitting = Fitting(self.run, self.settings)
        fitting.start(plan.task)
        return self._finish(fitting, deadline, replay=None if replay is None else Run.open(replay))

    def _plan(self, panel: Panel, cuts: list[np.ndarray] | None = None) -> Plan:
        plan = plan_task(panel, self.horizon, self.settings, self.seed, cuts)
        for note in plan.notes:
            self._report.append(note)
        self._metric = plan.task.settings.metric
        return plan

    def fit_panel(self, panel: Panel, schema: door.Schema, path: Path) -> Searched:
        """As `fit`, on a panel that another Forecaster has read; a run of the same that lies at `path` is taken up.

        Raises
        ------
        RunError : a run lies there that searched other data or with other settings.
        """
        deadline = Deadline.after(self.settings.search.limits.time_limit)
        self._schema, self._report = schema, Report()
        task = self._plan(panel).task
        settings = self._run_settings()
        old = (path / "run.json").is_file()
        self.run = Run.open(path) if old else Run.create(path, task=_KIND, settings=settings, seed=self.seed)
        fitting = Fitting(self.run, self.settings)
        if old and not fitting.is_for(task, settings):
            raise RunError(f"{path} holds a search of other data or settings. Fix: another folder, or remove this one.")
        if old and self.run.state == "completed":
            model, manifest = ForecastModel.load(path / "model")
            self._take(model, manifest["forecaster"])
        else:
            fitting.start(task)
            self._finish(fitting, deadline)
        fitted, _ = self._fitted()
        row = next(r for r in self._rows if r["model"] == fitted.best)
        return Searched(fitted, self._metric, float(row.get(self._metric, np.nan)), self._stopped)

    @classmethod
    def resume(
        cls,
        path: str | Path,
        *,
        more_trials: int | None = None,
        more_time: float | None = None,
        metric: UserMetric | Callable[..., float] | None = None,
    ) -> Forecaster:
        """Take up a run that was killed, cancelled or completed; finished trials are not run again.

        Parameters
        ----------
        more_trials : trials on top of those the run has. more_time : seconds for this session; None = the run's limit.
        metric : the function the run chooses by, where it is one of yours: functions are not stored.

        Raises
        ------
        ConfigError : the run chooses by a function of yours, and another or none is given.
        """
        run = Run.open(Path(path))
        saved = run.settings
        settings = _given_again(settings_from_json(saved["settings"]), metric)
        if isinstance(settings.search.metric, UserMetric):
            settings.search.metric.at_hand()
        self = cls(int(saved["horizon"]), seed=int(saved["seed"]), settings=settings)
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
        run, begun = fitting.run, time.perf_counter()
        with run.claim(), _log_file(run.path / "log.txt", self.settings.search.verbosity):
            try:
                with progress(self.settings, fitting):
                    self._model, self._stopped = fitting.finish(deadline, **options)
                self._rows = self._leaderboard_rows(run)
                self._alerts()
                self._seconds += time.perf_counter() - begun
                self._save_into(run.path / "model")
                self._write_features(run.path)
                self._write_report(run.path)
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
            declared: every step from a series' end up to the last one asked for must be given then. Rows that hold a
            value of the target are known: they keep it and count as `history`; missing values are what is asked for.
            None = `horizon` steps after the end of every series.
        history : newer actual rows, joined to those seen in training (a row of training that comes again holds the
            newer value); the origin of a series is its last row with a target. Nothing is estimated anew. Rows of
            `future` that it answers keep their actual value.
        horizon : steps ahead, default the trained one without `future`, all rows with it; beyond the trained one
            forecasts feed on forecasts.
        until : last time to forecast, in place of `horizon` (whole series or `future` rows up to it).
        quantiles, level : columns `yhat-q-0.1` for quantiles=[0.1], `yhat-lo-80` and `yhat-hi-80` for level=[80].
        model : any entry of the leaderboard; None = the best.

        Returns
        -------
        The id and time columns, yhat and the asked columns: for `future` its rows in its order, with a column
        `cold_start` where a series had no history at all. Series dropped in training have missing values.

        Raises
        ------
        DataError : known covariates are missing (the message lists the gaps); rows without a target lie inside the
            training period; `future` and `history` hold different values of one row.
        """
        fitted, schema = self._fitted()
        panel = fitted.task.panel
        newer = [] if history is None else [door.prepare_history(history, schema, panel.grid)]
        if future is not None and (known := door.known_rows(future, schema, panel.grid)) is not None:
            check_agreement(newer, known)
            newer.append(known)
        if newer:
            panel = with_newer(panel, newer)
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
        return evaluation(list(walked), schema, fitted.task.panel, self._also_scored())

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
        frames = []
        for window in self._earlier(windows, step, levels):
            forecast = fitted.refitted(window.train, model).forecast(window.train, window.future, levels, model=model)
            frames.append(scored_frame(forecast, window.train, window.truth, schema))
        return pd.concat(frames, ignore_index=True)

    def backtest_report(
        self,
        *,
        windows: int | None = None,
        step: int | None = None,
        mode: str = "model",
        path: str | Path | None = None,
        quantiles: Sequence[float] = (),
        model: str | None = None,
        time_limit: float | None = None,
    ) -> BacktestReport:
        """Forecast at earlier origins what came next, with scores by series and iteration, and pictures.

        Parameters
        ----------
        windows, step : how many origins and how many steps apart; default those of the search.
        mode : "model" fits the chosen model anew at each origin (its weights and interval widths, found on all data,
            stay); "automl" searches anew at each origin, with the same settings, and lets the winner forecast.
        path : folder for forecast.csv, scores.csv, models.csv and plots_fcst_vs_actual.pdf; with "automl" also for
            a run of each origin: a backtest that was stopped goes on where it was, finished searches are kept.
        quantiles : levels of quantile columns, 0.5 always among them; default those of the settings, or 0.1, 0.5, 0.9.
        model : entry of the leaderboard for mode "model"; None = the best.
        time_limit : seconds of each origin's search in mode "automl"; default that of the settings.

        Raises
        ------
        RunError : a search failed or was interrupted, or `path` holds one of other data or settings.
        """
        check_mode(mode, model)
        fitted, schema = self._fitted()
        levels = check_quantiles((*(tuple(quantiles) or self.settings.quantiles or (0.1, 0.9)), 0.5))
        earlier = list(self._earlier(windows, step, levels))
        job = BacktestJob(fitted, schema, earlier, levels, self._also_scored())
        if mode == "model":
            scores = {row["model"]: row.get(self._metric, np.nan) for row in self._rows}
            return job.refitted(fitted.entry(model).name, self._metric, scores, path)
        limits = self.settings.search.limits
        limits = replace(limits, time_limit=time_limit or limits.time_limit)
        settings = replace(self.settings, search=replace(self.settings.search, limits=limits))

        def search(panel: Panel, folder: Path) -> Searched:
            return Forecaster(self.horizon, seed=self.seed, settings=settings).fit_panel(panel, schema, folder)

        return job.searched(search, path)

    def _earlier(self, windows: int | None, step: int | None, levels: tuple[float, ...]) -> Iterator[bt.Window]:
        """Windows that end at earlier origins, newest first; default those of the search."""
        for name, value in (("windows", windows), ("step", step)):
            if value is not None and (isinstance(value, bool) or value < 1):
                raise ConfigError(f"{name} must be at least 1, got {value!r}.")
        fitted, _ = self._fitted()
        panel, own = fitted.task.panel, fitted.task.cuts
        apart = step or (int((own[0] - own[1])[0]) if len(own) > 1 else self.horizon)
        cuts = bt.cutoffs(panel, self.horizon, windows or len(own), apart)
        return bt.windows(panel, cuts, self.horizon, fitted.settings.season, levels)

    def charts(self, forecasts: pd.DataFrame) -> Charts:
        """Forecast-horizon, residual and predicted-vs-true charts of what `backtest` or `rolling_forecast` returned."""
        from forecasting.charts.gallery import Charts

        fitted, schema = self._fitted()
        own = schema.columns
        seen = drawn_history(fitted.task.panel, schema, forecasts)
        return Charts.of(forecasts, seen, ids=own.id, time=own.time, target=own.target)

    # -- looking -----------------------------------------------------------------------------------------------------

    def leaderboard(self, metric: str | None = None) -> pd.DataFrame:
        """All models, best first, by the metric chosen by or another one; natural sign, and why a model failed."""
        self._fitted()
        ranked = self._named(metric or self._metric)
        name, ascending = ranked.name, ranked.direction == "min"
        frame = pd.DataFrame(self._rows)
        known = dict.fromkeys((chosen_metric(self.settings).name, self._metric, *METRICS, *REPORTED))
        other = [c for c in known if c in frame.columns and c != name]
        frame = frame.assign(metric=name, score=frame.get(name, np.nan))
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
        """What was checked and changed in the data, alerts first.

        Returns
        -------
        name, status (alerted, done, passed), message, number of series it is about, one example, and all details.
        """
        columns = ["name", "status", "message", "series", "example", "details"]
        return pd.DataFrame(self._report.rows(), columns=columns)

    def report(self) -> pd.DataFrame:
        """Every choice in force: name, value, where it comes from (user, data, default) and the rule behind it."""
        fitted, schema = self._fitted()
        from forecasting.report import choices

        return pd.DataFrame(choices(fitted, schema, self.settings, self.seed))

    def feature_names(self, model: str | None = None) -> list[str]:
        """What a model works with: engineered features of its pooled members, raw inputs of the others, in order."""
        from forecasting.featurization import engineered

        return list(dict.fromkeys(feature for feature, _ in engineered(self._fitted()[0], model)))

    def featurization_summary(self, model: str | None = None) -> pd.DataFrame:
        """What became of each column of the data in a model.

        Returns
        -------
        RawFeatureName, TypeDetected, Dropped ("Yes" where the model does not read it), EngineeredFeatureCount,
        Transformations (list). The run directory holds the best model's as `featurization_summary.json`, and
        `engineered_feature_names.json` beside it.
        """
        from forecasting.featurization import summary

        return pd.DataFrame(summary(*self._fitted(), model))

    def explain(
        self,
        model: str | None = None,
        *,
        raw: bool = True,
        method: str = "auto",
        by_horizon: bool = False,
        local: bool = False,
        future: Any = None,
        repeats: int = 3,
    ) -> pd.DataFrame:
        """Say which inputs the forecasts depend on.

        Parameters
        ----------
        model : any entry of the leaderboard; None = the best.
        raw : by column of the user's data ("target" = the series' own history, "time" = calendar, "holidays", "series"
            = which one it is), or by engineered feature.
        method : "auto" (SHAP for trees and linear models on the design matrix, permutation for all others), "shap", or
            "permutation".
        by_horizon : a row for each step ahead instead of one over all of them.
        local : a row for each forecast and feature instead: what it adds to this forecast, in target units. Forests
            of deep trees take up to half a second a forecast.
        future : with `local`: rows to forecast with their known covariates. None = the steps after the end, or the
            newest window of the training data where there are known covariates.
        repeats : shuffles of permutation.

        Returns
        -------
        feature, importance, std, method (and horizon), largest first.

        * SHAP (Lundberg et al. 2020): mean absolute contribution to forecasts of the search's windows, in units of the
          model's scale (a series' typical seasonal change, after transforms and minus its base); std over these rows.
        * permutation: how much the absolute error over the typical seasonal change grows in the newest window, which
          the model is fitted without, where an input loses its information (`forecasting.whatif`, at most 100 series);
          std over the repeats. Inputs that a model does not read have 0.
        * ensembles: each member's importances are divided by their sum, then averaged by the members' weights: shares
          that add up to 1.

        With `local`: ids, time, feature, contribution. Those of one forecast add up to the model's value before limits
        and rounding; "(base)" is where it starts, and a member of an ensemble that cannot be split is one feature.

        Raises
        ------
        ConfigError : SHAP or `local` is asked of a model that has neither. MissingPackageError : `shap` is missing.
        """
        from forecasting.explain import importance

        fitted, _ = self._fitted()
        if local:
            if method == "permutation" or by_horizon:
                raise ConfigError("local=True gives SHAP contributions of single steps: leave method and by_horizon.")
            return self._explain_rows(model, future, raw=raw)
        if future is not None:
            raise ConfigError("explain reads future only with local=True.")
        rows = importance(fitted, model, raw=raw, method=method, by_horizon=by_horizon, repeats=repeats, seed=self.seed)
        return pd.DataFrame(rows)

    def _explain_rows(self, model: str | None, future: Any, *, raw: bool) -> pd.DataFrame:
        from forecasting.explain import local_contributions

        fitted, schema = self._fitted()
        panel = fitted.task.panel
        if future is not None or not schema.known:
            ahead = door.future_block(future, schema, panel, self.horizon)
        else:
            window = fitted.task.windows()[0]
            panel, ahead = window.train, window.future
        parts = local_contributions(fitted, model, panel, ahead, raw=raw)
        empty = Forecast(np.zeros((panel.n_series, ahead.horizon, 1)))
        frame = door.forecast_frame(empty, panel, schema, quantiles=(), level=(), dropped={}).drop(columns="yhat")
        rows = frame.loc[np.repeat(np.arange(len(frame)), len(parts))].reset_index(drop=True)
        values = np.stack([table.ravel() for table in parts.values()], axis=1).ravel()
        return rows.assign(feature=list(parts) * len(frame), contribution=values)

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
    def load(cls, path: str | Path, *, metric: UserMetric | Callable[..., float] | None = None) -> Forecaster:
        """Read a saved forecaster, or the one in a run directory.

        Parameters
        ----------
        metric : the function it was chosen by, where it is one of yours: functions are not stored. Without it all
            works, but `evaluate` and backtests leave its scores out.

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
        settings = _given_again(settings_from_json(own["settings"]), metric)
        self = cls(int(own["horizon"]), seed=int(own["seed"]), settings=settings)
        self._take(model, own)
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
            "direction": self._named(self._metric).direction,
        }

    def _take(self, model: ForecastModel, own: Mapping[str, Any]) -> None:
        """Become what was saved."""
        self._model = model
        self._schema = door.Schema.from_json(own["schema"])
        self._report = Report.from_json(own["guardrails"])
        self._dropped = {tuple(key): reason for key, reason in own["dropped"]}
        self._rows = own["leaderboard"]
        self._stopped, self._metric = own["stopped"], own["metric"]

    def _write_report(self, folder: Path) -> None:
        from forecasting import report

        fitted, schema = self._fitted()
        columns = ["model", "score", "metric", "status", "windows", "fit_s", "reason"]
        content = report.report(
            fitted,
            schema,
            self.settings,
            self.seed,
            guardrails=self._report.rows(),
            leaderboard=self.leaderboard()[columns].to_dict("records"),
            stopped=self._stopped,
            seconds=self._seconds,
        )
        report.write(content, folder)

    def _save_into(self, path: Path) -> None:
        fitted, _ = self._fitted()
        own = {**self._run_settings(), "leaderboard": self._rows, "stopped": self._stopped}
        fitted.save(path, {"kind": _KIND, "forecaster": own})

    def _write_features(self, folder: Path) -> None:
        from forecasting.featurization import write

        write(*self._fitted(), folder)

    def _fitted(self) -> tuple[ForecastModel, door.Schema]:
        if self._model is None or self._schema is None:
            raise RunError("this Forecaster is not fitted yet. Fix: call fit(frame) first.")
        return self._model, self._schema

    def _named(self, metric: str) -> Metric:
        """Metric by name, the user's own included."""
        own = self.settings.search.metric
        if isinstance(own, UserMetric) and metric in {own.name, own.target}:
            return own_metric(own)
        return find_metric(metric)

    def _also_scored(self) -> tuple[Metric, ...]:
        """The user's own metric where it is at hand, or the level's one that was chosen by."""
        chosen = chosen_metric(self.settings)
        own = self.settings.search.metric
        if isinstance(own, UserMetric):
            try:
                own.at_hand()
            except ConfigError as error:
                LOG.warning("%s is left out of the scores: %s", own.name, error)
                return ()
            return (forgiving(chosen),)
        return () if chosen.name in METRICS else (chosen,)

    def _leaderboard_rows(self, run: Run) -> list[dict[str, Any]]:
        fitted, _ = self._fitted()
        rows = [
            _row(name, scores, "completed", windows=len(fitted.task.cuts))
            for name, scores in fitted.extra.get("ensemble_scores", {}).items()
        ]
        for row in rows:
            row["params"] = dict(fitted.entries[row["model"]].weights)
        rows += [{k: v for k, v in row.items() if k != "score"} for row in run.leaderboard()]
        return rows + [_row(name, {}, "skipped", reason=why) for name, why in fitted.extra["skipped"].items()]

    def _alerts(self) -> None:
        """Alert on members lost in the refit and on a near-perfect score (a covariate only known afterwards?)."""
        fitted, _ = self._fitted()
        self._report.discard("Leakage suspicion", "Refit")  # of an earlier session of the run
        if "alert" in fitted.extra:
            self._report.append(Guardrail("Refit", "alerted", fitted.extra["alert"]))
        row = next(r for r in self._rows if r["model"] == fitted.best)
        if row.get("wape", 1.0) < 1e-3 and row.get("mase", 1.0) < 0.05:
            text = f"{fitted.best} is nearly perfect (WAPE {row['wape']:.2g}): is a known covariate really known ahead?"
            known = self.settings.data.covariates.known
            details = affected(fitted.task.panel.n_series, known[0] if known else "no covariate is declared")
            self._report.append(Guardrail("Leakage suspicion", "alerted", text, details))
        else:
            text = f"no model is nearly perfect (best: {fitted.best})"
            self._report.append(Guardrail("Leakage suspicion", "passed", text))

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


def _given_again(settings: Settings, metric: UserMetric | Callable[..., float] | None) -> Settings:
    """Settings with the function that was not stored with them.

    Raises
    ------
    ConfigError : they know no such metric, or one of another name or direction.
    """
    if metric is None:
        return settings
    stored, given = settings.search.metric, UserMetric.of(metric)
    if not isinstance(stored, UserMetric):
        raise ConfigError(f"metric={given.name} was given, but the models were chosen by {stored or 'the default'}.")
    if given.name != stored.name:
        raise ConfigError(f"the models were chosen by the metric {stored.name!r}, given is {given.name!r}.")
    # a plain function says nothing of the direction
    kept = replace(stored, function=given.at_hand())
    if isinstance(metric, UserMetric) and given.direction != stored.direction:
        raise ConfigError(f"{stored.name!r} was chosen by its {stored.direction}, given is its {given.direction}.")
    return replace(settings, search=replace(settings.search, metric=kept))


def _with_own_learners(settings: Settings) -> Settings:
    """Settings that name every learner of the user's own that is registered; those they name are registered too."""
    adopt(settings.search.own_learners)
    return replace(settings, search=replace(settings.search, own_learners=own_learners()))


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
