"""Forecaster: the one class most users need."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from automl.budget import Deadline
from automl.errors import ConfigError, DataError, RunError
from automl.files import settings_values
from automl.guardrails import Guardrail, Report, affected
from automl.metrics import UserMetric
from automl.runs import Run
from automl.session import more, run_folder, session
from forecasting import backtest as bt
from forecasting import frame as door
from forecasting.backtesting import BacktestJob, BacktestReport, Searched, check_mode
from forecasting.config import Columns, Covariates, Settings
from forecasting.fitted import Fitted
from forecasting.fitting import Fitting, plan_task, settings_from_json, settings_to_json
from forecasting.horizon import auto_horizon
from forecasting.learners.base import check_quantiles
from forecasting.learners.own import adopt, check_learner, own_learners
from forecasting.model import ForecastModel
from forecasting.portfolio import unwanted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from automl.budget import ExitCriteria
    from forecasting.fitting import Plan
    from forecasting.panel import Panel

_KIND = "forecasting"


class Forecaster(Fitted):
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
        merged = merged_settings(settings or Settings(), freq, columns, (known, past, static), quantiles, time_limit)
        steps = 0 if self._auto_horizon else steps_of(horizon)
        super().__init__(steps, int(seed), _with_own_learners(merged))
        unwanted(self.settings.search)
        if self.settings.features.country:
            from forecasting.features.holidays import check_country

            check_country(self.settings.features.country)
        self.run: Run | None = None
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
        replay : an earlier run's directory whose completed trials are evaluated again, and nothing else, for as long
            as that takes: a time limit would lose some of them on a slower machine.

        Raises
        ------
        DataError, ConfigError : the data or a setting cannot be used; the message says what to do.
        """
        limits = self.settings.search.limits
        deadline = Deadline.after(limits.time_limit if replay is None else None)
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
        self.run = Run.create(run_folder(self, path), task=_KIND, settings=self._run_settings(), seed=self.seed)
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
            Both become limits of the run, so that a session that was killed is taken up with them.
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
        limits = more(self.settings.search.limits, run, more_trials, more_time)
        return self._finish(Fitting(run, self.settings), Deadline.after(limits.time_limit), limits=limits)

    def _finish(
        self, fitting: Fitting, deadline: Deadline, *, limits: ExitCriteria | None = None, replay: Run | None = None
    ) -> Self:
        """Search, combine, refit, write all down. limits : of this session, where a run is taken up."""
        run, begun, search = fitting.run, monotonic(), self.settings.search
        limit = (limits or search.limits).time_limit
        with session(run, "forecasting", verbosity=search.verbosity, time_limit=limit, begun=begun) as own:
            if limits is not None:  # whoever takes the run up after a kill goes on to the same end
                stored = run.settings
                stored["settings"]["search"]["limits"] = settings_values(asdict(limits))
                run.amend(settings=stored)
            fitting.on_event = own.listen
            self._model, self._stopped = fitting.finish(deadline, limits=limits, replay=replay)
            self._rows = self._leaderboard_rows(run)
            self._alerts()
            self._seconds += monotonic() - begun
            self._save_into(run.path / "model")
            self._write_features(run.path)
            self._write_report(run.path)
            own.stopped = self._stopped
        return self

    # -- backtests -------------------------------------------------------------------------------------------------

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


def steps_of(horizon: object) -> int:
    """Return a horizon as a whole number of steps.

    Raises
    ------
    ConfigError : it is none.
    """
    if isinstance(horizon, bool) or not isinstance(horizon, int | np.integer) or horizon < 1:
        raise ConfigError(f"horizon must be a whole number of steps, at least 1, or 'auto', got {horizon!r}.")
    return int(horizon)


def merged_settings(
    settings: Settings,
    freq: str | None,
    columns: Columns | None,
    covariates: tuple[Sequence[str], Sequence[str], Sequence[str]],
    quantiles: Sequence[float],
    time_limit: float | None,
) -> Settings:
    """Return the settings with the arguments given beside them, which win."""
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
