"""The way from a prepared panel to a model: windows, search, ensemble, refit. Resumable at any instant."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from automl.budget import Deadline, ExitCriteria
from automl.errors import AutoMLError, ConfigError, DataError, LearnerError
from automl.files import settings_values
from automl.guardrails import Guardrail, affected
from automl.memory import cores, free_mb
from automl.metrics import UserMetric
from automl.search import BEFORE_ITS_TURN, Search
from automl.worker import describe
from forecasting import backtest
from forecasting.assemble import STACKING, VOTING, Assembly, Weights, build_model, usable
from forecasting.checks import structural_break
from forecasting.features.holidays import check_country
from forecasting.features.orders import look_back
from forecasting.features.settings import MAX_ROWS
from forecasting.intervals import DEFAULT_LEVELS
from forecasting.learners.base import LEARNERS
from forecasting.memory import matrix_mb, rows_within
from forecasting.metrics import CORRELATIONS, SCALED, find_metric, level_of, own_metric, own_ranges
from forecasting.portfolio import choose
from forecasting.season import detect_season, gap_season
from forecasting.stationarity import panel_is_stationary
from forecasting.task import OPEN, PRELOAD, ForecastTask, TaskSettings, open_task, panel_state, save_task

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from automl.candidates import Candidate
    from automl.metrics import Metric
    from automl.runs import Run, TrialRecord
    from automl.search import Event, SearchOutcome
    from automl.trial import State
    from forecasting.config import FeatureSettings, SearchSettings, Settings
    from forecasting.model import ForecastModel
    from forecasting.panel import Panel

LOG = logging.getLogger("forecasting")
_RESERVE_LEAST, _RESERVE_SHARE, _RESERVE_MOST = 3.0, 0.03, 0.5
_RESERVE_A_VALUE = 2e-5
"""Seconds for each value of the windows: weights and widths are chosen on them, and large panels are written."""

_GRACE, _GRACE_SHARE = 1.0, 0.05
"""Seconds, and share of the limit, that refits may take beyond it where the machine was slower than foreseen: what is
not fitted again by then is lost to the forecast."""

_TRIAL_SHARE = 0.35
_SLOWER = 1.5
"""A refit sees more rows than the fits it is predicted from, on a machine that may be busier."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a search needs that was decided from data.

    Parameters
    ----------
    task : with its windows. notes : guardrails.
    """

    task: ForecastTask
    notes: tuple[Guardrail, ...]


def plan_task(panel: Panel, horizon: int, settings: Settings, seed: int, cuts: list[np.ndarray] | None = None) -> Plan:
    """Choose windows and season and put the task together.

    Parameters
    ----------
    cuts : training lengths of each window where the user gave validation data, else chosen here.
    """
    search, features = settings.search, settings.features
    _check_history(panel)
    season = 1 if features.season is None else features.season
    season = season if isinstance(season, int) else 0
    if cuts is None:
        cuts, note = _windows(panel, horizon, search, season)
    else:
        note = Guardrail("Cross validation", "passed", f"{len(cuts)} window(s) in the validation data given")
    notes = [note]
    earliest = panel.head(np.maximum(cuts[-1], 1))
    if not season:
        season = detect_season(earliest)
        season = season if season > 1 else _long_season(panel, earliest)
        notes.append(Guardrail("Season detection", "done", f"season of {season} steps" if season > 1 else "no season"))
    stationary, calm, tested = panel_is_stationary(earliest)
    text = f"{calm} of {tested} series tested are stationary"
    text += "" if stationary else "; where there is no season, regressors start from differences to the last value"
    notes.append(Guardrail("Non-stationarity", "passed" if stationary else "done", text))
    notes.append(structural_break(panel, season))
    notes += _look_back_note(earliest, features, season)
    if features.use_stl:
        notes.append(_stl_note(earliest, season))
    _check_log(panel, features)
    memory_mb, note = _memory(panel, horizon, features, max(_workers(search), 1))
    notes.append(note)
    fill_season = gap_season(earliest, season)
    if fill_season > 1 and not panel.observed.all():
        text = f"gaps of the target are filled by the value {season} steps before, not by the last one"
        notes.append(Guardrail("Seasonal filling of gaps", "done", text))
    own = _task_settings(
        settings, horizon=horizon, season=season, seed=seed, memory_mb=memory_mb, stationary=stationary
    )
    own = replace(own, fill_season=fill_season)
    task = ForecastTask(panel, cuts, own)
    truth = task.truth()
    if not truth.mask.any():
        raise DataError(
            f"no target value was observed in the {len(cuts)} window(s) that models are chosen on. "
            "Fix: give more observed history."
        )
    task, alerts = _scorable(task)
    notes += alerts
    task, alert = _choosable(task)
    notes += [alert] if alert else []
    if task.settings.own_metric:
        _try_own(chosen_metric(settings), task)
    return Plan(task, tuple(notes))


def _long_season(panel: Panel, earliest: Panel) -> int:
    """A season that all rows show where those before the oldest cutoff are too few to tell; else 1."""
    found = detect_season(panel)
    return found if np.median(earliest.lengths) < 2 * found + 2 else 1


def _workers(search: SearchSettings) -> int:
    """Processes of a search, 0 = none but this one."""
    return cores() if search.workers is None else search.workers


def _check_history(panel: Panel) -> None:
    seen = np.add.reduceat(panel.observed, panel.indptr[:-1], dtype=np.int64)
    if seen.max() < backtest.LEAST_TRAINING_ROWS:
        best = "/".join(map(str, panel.ids[int(seen.argmax())]))
        raise DataError(
            f"no series has {backtest.LEAST_TRAINING_ROWS} rows with a target; the longest, {best}, has {seen.max()}. "
            "Fix: give more history."
        )


def _windows(panel: Panel, horizon: int, search: SearchSettings, season: int) -> tuple[list[np.ndarray], Guardrail]:
    """Training lengths of each rolling-origin window, and what there is to say of them. season : 0 = not known yet."""
    guess = season or max(1, detect_season(panel.head(np.maximum(panel.lengths - horizon, 1))))
    auto_n, auto_step = backtest.choose_windows(panel.lengths, horizon, guess)
    chosen = search.n_windows == "auto"
    n = auto_n if chosen else int(search.n_windows)
    step = auto_step if chosen else min(horizon, auto_step)
    step = step if search.window_step == "auto" else int(search.window_step)
    cuts = backtest.cutoffs(panel, horizon, n, step)
    if cuts[-1].max() < 1:
        raise DataError(
            f"{n} windows of {horizon} steps, {step} apart, need {horizon + (n - 1) * step + 1} rows; the longest "
            f"series has {int(panel.lengths.max())}. Fix: fewer windows, a shorter horizon or more history."
        )
    sitting = cuts[-1] < backtest.LEAST_TRAINING_ROWS
    short = int(sitting.sum())
    message = f"{n} rolling-origin window(s) of {horizon} steps, {step} steps apart"
    message += f"; {short} of {panel.n_series} series are too short for the oldest" if short else ""
    example = "/".join(map(str, panel.ids[int(sitting.argmax())]))
    details = affected(short, f"{example} sits the oldest out") if short else ()
    return cuts, Guardrail("Cross validation", "done" if chosen else "passed", message, details)


def _task_settings(
    settings: Settings, *, horizon: int, season: int, seed: int, memory_mb: float, stationary: bool
) -> TaskSettings:
    search, features = settings.search, settings.features
    metric = chosen_metric(settings)
    level = level_of(metric.name)
    levels = tuple(sorted({*DEFAULT_LEVELS, *settings.quantiles, *([] if level is None else [level])}))
    return TaskSettings(
        horizon=horizon,
        season=season,
        levels=levels,
        metric=metric.name,
        own_metric=isinstance(search.metric, UserMetric),
        country=check_country(features.country) if features.country else None,
        features={**features.for_learners(), "memory_mb": memory_mb},
        seed=seed,
        threads=search.threads,
        stationary=stationary,
        transform=features.target_transform,
        integer=settings.integer,
        non_negative=settings.non_negative,
        own_learners=dict(search.own_learners),
    )


def _look_back_note(panel: Panel, features: FeatureSettings, season: int) -> list[Guardrail]:
    """What "auto" finds on the rows before the oldest cutoff; every cutoff looks anew."""
    if "auto" not in {features.lags, features.windows}:
        return []
    lag, window = look_back(panel, season)
    found = [f"lags up to {lag}"] if features.lags == "auto" and lag else []
    found += [f"a window of {window}"] if features.windows == "auto" and window > 1 else []
    text = " and ".join(found) or "partial autocorrelation speaks for no look-back features"
    return [Guardrail("Look-back features", "done", text)]


def _stl_note(panel: Panel, season: int) -> Guardrail:
    short = int((panel.lengths < 2 * season).sum())
    if season == 1:
        return Guardrail("STL features", "alerted", "there is no season, so use_stl adds nothing")
    if not short:
        return Guardrail("STL features", "passed", f"every series shows two seasons of {season} steps")
    text = f"{short} of {panel.n_series} series show fewer than two seasons of {season} steps before the oldest cutoff"
    return Guardrail("STL features", "done", text + "; their STL features are 0 until they do")


def _check_log(panel: Panel, features: FeatureSettings) -> None:
    low = np.minimum.reduceat(np.where(panel.observed, panel.y, np.inf), panel.indptr[:-1])
    if features.target_transform == "log" and low.min() < 0:
        worst = "/".join(map(str, panel.ids[int(low.argmin())]))
        raise DataError(
            f"target_transform='log' needs values >= 0; {int((low < 0).sum())} of {panel.n_series} series have "
            f"negative ones, the lowest {low.min():g} in {worst}. Fix: target_transform='auto'."
        )


def _memory(panel: Panel, horizon: int, features: FeatureSettings, workers: int) -> tuple[float, Guardrail]:
    """MB that each fit's design matrix may take, 0 where nothing binds, and what that means: lags never have to go."""
    columns = 60 + 4 * len(panel.known.names) + len(panel.static.names) + 2 * len(panel.past.names)
    whole = panel.n_rows * horizon
    kept = min(whole, MAX_ROWS)
    limit = features.memory_limit_mb
    if limit is None:
        free = free_mb()
        # a power of two, so that a run repeated a little later is the same run
        limit = 2.0 ** np.floor(np.log2(max(free / 2, 1.0))) if free is not None else np.inf
    each = limit / workers
    binds = matrix_mb(kept, columns) > each
    kept = min(kept, rows_within(each, columns)) if binds else kept
    size = f"about {matrix_mb(kept, columns):.0f} MB each"
    if kept == whole:
        return 0.0, Guardrail("Memory issues detection", "passed", f"{whole} training rows, {size}")
    text = f"{whole} rows x steps ahead are thinned evenly to at most {kept} a model, {size}; lags and windows stay on"
    if binds:
        text += f"; {limit:.0f} MB for {workers} fits at a time"
    return float(each) if binds else 0.0, Guardrail("Memory issues detection", "done", text)


def chosen_metric(settings: Settings) -> Metric:
    """Metric to choose by: MASE, or WQL where quantiles are asked for, unless the user named or gave another."""
    asked = settings.search.metric
    if isinstance(asked, UserMetric):
        return own_metric(asked)
    return find_metric(str(asked or ("wql" if settings.quantiles else "mase")))


def metric_beside(settings: Settings, metric: Metric) -> Metric | None:
    """What ensembles are chosen by besides the default: the user who named no metric may ask for quantiles later."""
    return find_metric("wql") if settings.search.metric is None and metric.name == "mase" else None


def _naive(window: backtest.Window, levels: int = 0) -> np.ndarray:
    """Last values as forecast of a window, alike in all channels, shape [n, h, 1 + levels]."""
    last = window.train.y[window.train.indptr[1:] - 1]
    return np.broadcast_to(last[:, None, None], (*window.truth.y.shape, 1 + levels))


def _try_own(metric: Metric, task: ForecastTask) -> None:
    """Ask the user's function for one value, before a search fails on every trial.

    Raises
    ------
    ConfigError : it raised something, or returned no number.
    """
    window = task.windows()[0]
    try:
        metric.function(window.truth, _naive(window))
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(
            f"metric {metric.name!r} failed on a naive forecast of {int(window.truth.mask.sum())} values: "
            f"{describe(error)}. Fix: a function of (actual, forecast), both arrays, that returns a number."
        ) from error


def _scorable(task: ForecastTask) -> tuple[ForecastTask, list[Guardrail]]:
    """Return the task without windows that its metric is not defined on, where it is on others; and what is said."""
    name = task.settings.metric
    if task.settings.own_metric or name in CORRELATIONS:
        return task, []
    metric, levels = find_metric(name), len(task.settings.levels)
    good = [bool(np.isfinite(metric.function(w.truth, _naive(w, levels)))) for w in task.windows()]
    if all(good) or not any(good):
        return task, []
    text = (
        f"{good.count(False)} of {len(good)} windows are left out: {name} is not defined on them (nothing observed, "
        "all zero, or no change before)"
    )
    kept = [cut for cut, use in zip(task.cuts, good, strict=True) if use]
    return ForecastTask(task.panel, kept, task.settings), [Guardrail("Cross validation", "alerted", text)]


def _choosable(task: ForecastTask) -> tuple[ForecastTask, Guardrail | None]:
    """Return the task with a metric that is defined on its windows, and an alert where that is another one."""
    truth, name = task.truth(), task.settings.metric
    changes = bool(np.isfinite(truth.mae_scale[truth.mask.any(axis=1)]).any())
    other = ""
    if not changes and name in SCALED:
        other, why = "mean_absolute_error", "no series changes before its cutoff"
    elif name in CORRELATIONS:
        seen = [w.truth.y[w.truth.mask] for w in task.windows()]
        flat = sum(len(y) > 0 and bool(np.ptp(y) == 0) for y in seen)
        if flat:
            other = "normalized_root_mean_squared_error" if changes else "mean_absolute_error"
            why = f"all actual values are equal in {flat} of {len(seen)} window(s), where {name} is not defined"
        elif not np.isfinite(own_ranges(truth)).any() and task.panel.n_series > 1:
            text = f"every series is constant in every window: {name} measures only how series differ from each other. "
            return task, Guardrail("Metric", "alerted", text + "Fix: metric='normalized_root_mean_squared_error'.")
    if not other:
        return task, None
    text = f"{why}: chosen by {other}, not {name}"
    return ForecastTask(task.panel, task.cuts, replace(task.settings, metric=other)), Guardrail(
        "Metric", "alerted", text
    )


class Fitting:
    """One run's way through search, ensemble and refit; every step can be taken up again from the run directory.

    Parameters
    ----------
    run : the run directory. settings : of the user. on_event : told of every trial.
    """

    def __init__(self, run: Run, settings: Settings, on_event: Callable[[Event], None] | None = None) -> None:
        self.run = run
        self.settings = settings
        self.on_event = on_event
        self.directory = run.path / "task"
        self._lost: frozenset[int] = frozenset()
        self._skipped: Mapping[str, str] = {}

    def _metric(self, task: ForecastTask) -> Metric:
        """Metric to choose by."""
        return chosen_metric(self.settings) if task.settings.own_metric else find_metric(task.settings.metric)

    def _own_scores(self, task: ForecastTask, record: TrialRecord) -> dict[str, float]:
        """What the user's function says of a trial."""
        metric = self._metric(task)
        return {metric.name: task.score_by(metric, record.predictions()["channels"])}

    def start(self, task: ForecastTask) -> None:
        """Write the task's files; after this the run can be resumed."""
        save_task(task, self.directory)

    def is_for(self, task: ForecastTask, settings: dict[str, Any]) -> bool:
        """Whether the run was started for this very task; the limits of its search may be others now."""

        def essence(raw: dict[str, Any]) -> dict[str, Any]:
            own = json.loads(json.dumps(raw))
            del own["settings"]["search"]["limits"]
            return dict(own)

        if essence(self.run.settings) != essence(settings):
            return False
        if not self.directory.is_dir():
            return True
        old = open_task(str(self.directory))
        (words, arrays), (own_words, own_arrays) = panel_state(old.panel), panel_state(task.panel)
        same = json.dumps(words, default=str) == json.dumps(own_words, default=str) and len(old.cuts) == len(task.cuts)
        pairs = [*((arrays[k], own_arrays[k]) for k in own_arrays), *zip(old.cuts, task.cuts, strict=False)]
        return same and all(np.array_equal(a, b, equal_nan=True) for a, b in pairs)

    def finish(
        self,
        deadline: Deadline,
        *,
        limits: ExitCriteria | None = None,
        replay: Run | None = None,
    ) -> tuple[ForecastModel, str]:
        """Search, combine and refit. Returns the model and why the search, or the refit before its end, stopped.

        Parameters
        ----------
        replay : an earlier run; its completed trials are evaluated, and what its refit lost is lost again.
        """
        task = open_task(str(self.directory))
        self._lost = frozenset(replay.read().get("lost", ())) if replay else frozenset()
        listed = replay.trial_list() if replay else None
        limits = limits or self.settings.search.limits
        search = self._search(task, limits, listed)
        outcome = search.run(deadline)
        LOG.info("search ended: %s", outcome.stopped_because)
        late = refit_deadline(outcome, limits.time_limit)
        with search:
            model = self._combine(search, task, outcome.records, late)
        model.extra["skipped"] = self._not_tried(outcome)
        return model, search.stopped or outcome.stopped_because

    def _search(
        self, task: ForecastTask, limits: ExitCriteria, replay: Sequence[tuple[Candidate, dict[str, Any]]] | None
    ) -> Search:
        s = self.settings.search
        if limits.time_limit and limits.trial_time_limit is None:
            limits = replace(limits, trial_time_limit=max(5.0, _TRIAL_SHARE * limits.time_limit))
        portfolio = choose(
            task.panel,
            s,
            season=task.settings.season,
            stationary=task.settings.stationary,
            transform=task.settings.transform,
            windows=len(task.cuts),
            trial_limit=limits.trial_time_limit,
        )
        self._skipped = portfolio.skipped
        workers = _workers(s)
        return Search(
            self.run,
            task=(OPEN, {"directory": str(self.directory)}),
            candidates=portfolio.candidates,
            metric_name=task.settings.metric,
            direction=self._metric(task).direction,
            criteria=limits,
            seed=task.settings.seed,
            workers=workers,
            threads=s.threads,
            reserve=lambda records: self._reserve(records, task, limits.time_limit, workers),
            on_event=self.on_event,
            score=partial(self._own_scores, task) if task.settings.own_metric else None,
            replay=replay,
            preload=PRELOAD,
        )

    def _not_tried(self, outcome: SearchOutcome) -> dict[str, str]:
        """Every registered learner without a trial -> why."""
        tried = {record.learner for record in outcome.records}
        return {
            name: self._skipped.get(name, BEFORE_ITS_TURN[outcome.stopped_because])
            for name in LEARNERS
            if name not in tried
        }

    def _reserve(
        self, records: Sequence[TrialRecord], task: ForecastTask, time_limit: float | None, workers: int
    ) -> float:
        """Seconds to keep back for ensemble and refit: measured fits of those likely to be used, and a little more."""
        if time_limit is None:
            return 0.0
        top = usable(records, self._metric(task))[:12]
        fits = sorted((r.info["fit_s"] for r in top), reverse=True)
        # the longest fit bounds the wall time from below, the sum over workers too
        refit = max([sum(fits) / max(workers, 1), *fits[:1]]) if fits else 0.0
        values = len(task.cuts) * task.panel.n_series * task.settings.horizon
        floor = _RESERVE_LEAST + _RESERVE_SHARE * time_limit + _RESERVE_A_VALUE * values
        return min(floor + _SLOWER * refit, _RESERVE_MOST * time_limit)

    def _combine(
        self, search: Search, task: ForecastTask, records: Sequence[TrialRecord], deadline: Deadline
    ) -> ForecastModel:
        s = self.settings.search
        metric = self._metric(task)
        assembly = Assembly(task, records, metric, metric_beside(self.settings, metric))
        if not assembly.records:
            reasons = sorted({f"{r.learner}: {r.reason or r.status}" for r in records})
            raise LearnerError(
                f"no model could be evaluated ({len(records)} trials). "
                f"{'; '.join(reasons[:5]) or 'The time limit was over before the first trial ended.'}"
            )
        entries: dict[str, Weights] = {}
        complete = [r for r in assembly.records if r.info["windows"] == len(task.cuts)]
        if s.vote and len(complete) > 1:
            entries[VOTING] = assembly.vote(s.ensemble_rounds)
        if s.stack and len(complete) > 1:
            entries[STACKING] = assembly.stack()
        best = assembly.records[0]
        wanted = {best.number, *(k for weights in entries.values() for k in weights)}
        share = {k: float(np.mean(w)) for weights in entries.values() for k, w in weights.items()}
        order = sorted((r for r in assembly.records if r.number in wanted), key=lambda r: -share.get(r.number, 0.0))
        states, failed = self._refit(search, [r for r in order if r.number not in self._lost], deadline)
        failed |= {r.number: "lost in the replayed run" for r in order if r.number in self._lost}
        place = {r.number: i for i, r in enumerate(r for r in records if r.usable)}
        self.run.amend(lost=sorted(place[k] for k in failed))
        if best.number not in states:
            best, state = self._first_that_refits(search, assembly.records, states)
            states[best.number] = state
        for name in list(entries):
            entries[name] = {k: w for k, w in entries[name].items() if k in states}
            total = sum(entries[name].values())
            if not np.any(total):
                del entries[name]
            elif failed:
                entries[name] = {k: w / total for k, w in entries[name].items()}
        name = self._choose(assembly, entries, best)
        model = build_model(assembly, entries, states, name)
        failed = {k: reason for k, reason in failed.items() if k not in states}
        if failed:
            lost = ", ".join(f"{assembly.names[k]} ({reason})" for k, reason in failed.items())
            model.extra["alert"] = f"chosen but not fitted on all data, so the forecast does without: {lost}"
        model.extra["ensemble_scores"] = {e: assembly.scores(w) for e, w in entries.items()}
        return model

    def _choose(self, assembly: Assembly, entries: dict[str, Weights], best: TrialRecord) -> str:
        scored = {assembly.names[best.number]: assembly.loss(assembly.scores({best.number: 1.0}))}
        scored |= {name: assembly.loss(assembly.scores(weights)) for name, weights in entries.items()}
        order = [VOTING, STACKING, assembly.names[best.number]]
        return min((n for n in order if n in scored), key=lambda n: (scored[n], order.index(n)))

    def _refit(
        self, search: Search, records: Sequence[TrialRecord], deadline: Deadline
    ) -> tuple[dict[int, State], dict[int, str]]:
        jobs = [(r.number, r.candidate, r.params) for r in records]
        results = search.refit(jobs, deadline)
        states = {k: v for k, v in results.items() if not isinstance(v, str)}
        failed = {k: v for k, v in results.items() if isinstance(v, str)}
        for number, reason in failed.items():
            LOG.warning("refit of trial %s failed: %s", number, reason)
        return states, failed

    def _first_that_refits(
        self, search: Search, records: Sequence[TrialRecord], states: dict[int, State]
    ) -> tuple[TrialRecord, State]:
        """Best trial that can be fitted on all data, without a time limit: some model is owed."""
        for record in records:
            if record.number in states:
                return record, states[record.number]
        for record in sorted(records[:5], key=lambda r: r.info["fit_s"]):  # the time is over: a quick one
            got, failed = self._refit(search, [record], Deadline())
            if got:
                return record, got[record.number]
            if failed[record.number] == "interrupted":
                raise KeyboardInterrupt
        raise LearnerError("none of the evaluated models could be fitted on all data; see the run's log.")


def refit_deadline(outcome: SearchOutcome, time_limit: float | None) -> Deadline:
    """When the refit has to end, its grace included. time_limit : seconds of this session; None = no limit."""
    left = outcome.deadline
    if left.left() <= _RESERVE_LEAST:
        # whoever stops a search past its time still wants a model of it: the refit takes what it takes
        stopped = outcome.stopped_because in {"cancelled", "interrupted"}
        left = Deadline() if stopped else Deadline.after(_RESERVE_LEAST)
    return left.later(_GRACE + _GRACE_SHARE * (time_limit or 0.0))


def settings_to_json(settings: Settings) -> dict[str, Any]:
    """Settings as JSON values; of a user's metric all but the function."""
    asked = settings.search.metric
    raw = asdict(replace(settings, search=replace(settings.search, metric=None)))
    raw["search"]["metric"] = asked.to_json() if isinstance(asked, UserMetric) else asked
    return settings_values(raw)


def settings_from_json(raw: dict[str, Any]) -> Settings:
    """Read what `settings_to_json` gave."""
    from forecasting.config import Columns, Covariates, DataSettings, FeatureSettings, SearchSettings, Settings

    data = dict(raw["data"])
    data["columns"] = Columns(**_tuples(data["columns"]))
    data["covariates"] = Covariates(**_tuples(data["covariates"]))
    search = dict(raw["search"])
    search["limits"] = ExitCriteria(**search["limits"])
    if isinstance(search["metric"], dict):
        search["metric"] = UserMetric(**search["metric"])
    try:
        return Settings(
            data=DataSettings(**_tuples(data)),
            features=FeatureSettings(**_tuples(raw["features"])),
            search=SearchSettings(**_tuples(search)),
            quantiles=tuple(raw["quantiles"]),
            integer=raw["integer"],
            non_negative=raw["non_negative"],
        )
    except TypeError as error:
        raise AutoMLError(f"the run was written by another version of forecastle: {error}.") from error


def _tuples(raw: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in raw.items()}
