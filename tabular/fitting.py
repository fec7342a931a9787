"""The way from a prepared table to a model: search, combine, refit. Resumable at any instant."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from automl.budget import Deadline, ExitCriteria
from automl.bundle import read_state
from automl.errors import AutoMLError, LearnerError
from automl.files import settings_values
from automl.memory import cores
from automl.search import BEFORE_ITS_TURN, Search
from tabular.ensembles import STACKING, VOTING, Assembly, Stack
from tabular.learners.base import LEARNERS
from tabular.model import Entry, TabularModel
from tabular.pipeline import Pipeline
from tabular.portfolio import Portfolio, Shape, choose
from tabular.stream import memory_limit, workers_within
from tabular.task import FOLDS, OPEN, PRELOAD, TabularTask, open_task, save_task

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from automl.runs import Run, TrialRecord
    from automl.search import Event, SearchOutcome
    from tabular.config import SearchSettings, Settings
    from tabular.reading import Schema

LOG = logging.getLogger("tabular")
_TRIAL_SHARE, _RESERVE_LEAST, _RESERVE_SHARE, _RESERVE_MOST = 0.4, 1.5, 0.03, 0.4
_SLOWER = 1.3
_BAG_FROM = 3
"""Folds from which on a model is the mean of those fitted on them."""

_SKEWED = 0.5
"""Skewness (third moment) from which on logarithms are tried."""

_STACK_GAIN = 0.002
"""What a stack must gain on a vote, as a share of its loss: it has more to learn from the same rows."""

_MEMBERS_REFITTED = 8
_STREAM_SHARE, _STREAM_MEMBERS = 0.6, 2
"""Of data larger than memory: share of the time for fitting on all rows, and models that are."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a search came to.

    Parameters
    ----------
    model : the best entry and the members it needs. stopped : why the search ended. rows : of the leaderboard for
        ensembles. skipped : learners without a trial -> why. alert : what was lost on the way, empty = nothing.
    """

    model: TabularModel
    stopped: str
    rows: list[dict[str, Any]]
    skipped: dict[str, str]
    alert: str


def workers_of(search: SearchSettings) -> int:
    """Processes of a search, 0 = none but this one."""
    return cores() if search.workers is None else search.workers


def imbalanced(y: np.ndarray, n_classes: int) -> bool:
    """Whether the smallest class has at most a fifth of the rows of the largest."""
    if not n_classes:
        return False
    size = np.bincount(y, minlength=n_classes)
    return bool(size.min() <= 0.2 * size.max())


def skewed(y: np.ndarray, n_classes: int) -> bool:
    """Whether logarithms of a target of numbers may be learned: all are positive, with a long tail above.

    Examples
    --------
    >>> tail = np.exp(np.linspace(-3, 3, 50))
    >>> skewed(tail, 0), skewed(np.linspace(1, 2, 50), 0), skewed(tail - tail.min(), 0)
    (True, False, False)
    """
    if n_classes or not (y > 0).all():
        return False
    raw, logs = (float(np.mean(((v - v.mean()) / (v.std() or 1.0)) ** 3)) for v in (y, np.log(y)))
    return raw > _SKEWED and abs(logs) < raw


def portfolio_of(task: TabularTask, search: SearchSettings) -> Portfolio:
    """What is tried on a task.

    Raises
    ------
    UnknownNameError : a name in `allowed` or `blocked` is no learner. ConfigError : nothing is left.
    """
    own = task.settings
    shape = Shape(
        rows=len(task.parts[0].train),
        n_classes=own.n_classes,
        profiles=task.profiles,
        sparse=task.table.matrix is not None,
        imbalanced=imbalanced(task.y, own.n_classes),
        streams=own.stream is not None,
        skewed=own.stream is None and skewed(task.y, own.n_classes),
    )
    return choose(shape, search, task.features)


class Fitting:
    """One run's way through search, combination and refit; every step can be taken up again from the run directory.

    Parameters
    ----------
    run : the run directory. settings : of the user. on_event : told of every trial.
    """

    def __init__(self, run: Run, settings: Settings, on_event: Callable[[Event], None] | None = None) -> None:
        self.run = run
        self.settings = settings
        self.on_event = on_event
        self.directory = run.path / "task"
        self._skipped: Mapping[str, str] = {}

    def start(self, task: TabularTask) -> None:
        """Write the task's files; after this the run can be resumed."""
        save_task(task, self.directory)

    def finish(
        self, deadline: Deadline, schema: Schema, classes: np.ndarray | None, limits: ExitCriteria | None = None
    ) -> Outcome:
        """Search, combine and refit."""
        task = open_task(str(self.directory))
        search = self._search(task, limits or self.settings.search.limits)
        outcome = search.run(deadline)
        LOG.info("search ended: %s", outcome.stopped_because)
        with search:
            return self._combine(search, task, outcome, schema, classes)

    def _search(self, task: TabularTask, limits: ExitCriteria) -> Search:
        s, own = self.settings.search, task.settings
        portfolio = portfolio_of(task, s)
        if limits.time_limit and limits.trial_time_limit is None:
            limits = replace(limits, trial_time_limit=max(5.0, _TRIAL_SHARE * limits.time_limit))
        self._skipped = portfolio.skipped
        workers = workers_of(s)
        if own.stream is not None:
            workers = workers_within(memory_limit(self.settings.data) or own.stream["memory_mb"], workers)
        return Search(
            self.run,
            task=(OPEN, {"directory": str(self.directory)}),
            candidates=portfolio.candidates,
            metric_name=own.metric,
            direction=task.metric.direction,
            criteria=limits,
            seed=own.seed,
            workers=workers,
            threads=s.threads,
            reserve=lambda records: self._reserve(records, task, limits.time_limit, workers),
            on_event=self.on_event,
            preload=PRELOAD,
        )

    def _bags(self, task: TabularTask) -> bool:
        asked = self.settings.search.bag
        if task.settings.stream is not None:
            return False
        return len(task.parts) >= _BAG_FROM if asked is None else asked

    def _reserve(
        self, records: Sequence[TrialRecord], task: TabularTask, time_limit: float | None, workers: int
    ) -> float:
        """Seconds to keep back: for combining, and where there is no bag for fitting on all rows."""
        if time_limit is None:
            return 0.0
        floor, most = _RESERVE_LEAST + _RESERVE_SHARE * time_limit, _RESERVE_MOST * time_limit
        if self._bags(task):
            return min(floor, most)
        if task.settings.stream is not None:
            return _STREAM_SHARE * time_limit
        fits = sorted((r.info["fit_s"] for r in Assembly(task, records).records[:_MEMBERS_REFITTED]), reverse=True)
        refit = max([sum(fits) / max(workers, 1), *fits[:1]]) if fits else 0.0
        return min(floor + _SLOWER * refit, most)

    def _combine(
        self, search: Search, task: TabularTask, outcome: SearchOutcome, schema: Schema, classes: np.ndarray | None
    ) -> Outcome:
        assembly = Assembly(task, outcome.records)
        if not assembly.records:
            reasons = sorted({f"{r.learner}: {r.reason or r.status}" for r in outcome.records})
            raise LearnerError(
                f"no model could be evaluated ({len(outcome.records)} trials). "
                f"{'; '.join(reasons[:5]) or 'The time limit was over before the first trial ended.'}"
            )
        single = assembly.names[assembly.records[0].number]
        weights, held, stacks, no_stack = self._ensembles(assembly)
        losses = {n: task.loss(predicted) for n, predicted in held.items()}
        used = {k for w in weights.values() for k in w}
        share = {k: max(w.get(k, 0.0) for w in weights.values()) for k in used}
        pipelines, lost = self._pipelines(search, task, assembly, sorted(used, key=lambda k: -share[k]), outcome)
        weights, losses = _what_is_left(weights, losses, pipelines, assembly)
        sure = VOTING not in held or assembly.clearly_better(held[single], held[VOTING])
        name = _choose(losses, sure=sure)
        entries = {
            n: Entry(tuple((assembly.names[k], float(v)) for k, v in w.items()), stacks.get(n))
            for n, w in weights.items()
        }
        entries |= {assembly.names[k]: Entry(((assembly.names[k], 1.0),)) for k in pipelines}
        members = {assembly.names[k]: p for k, p in pipelines.items()}
        model = TabularModel(members, entries, name, schema, classes, {"y_range": task.settings.y_range})
        rows = [{"model": n, "learner": n, **task.scores(held[n])} for n in (VOTING, STACKING) if n in held]
        tried = {record.learner for record in outcome.records}
        why = BEFORE_ITS_TURN[outcome.stopped_because]
        skipped = {n: self._skipped.get(n, why) for n in LEARNERS if n not in tried}
        skipped |= {STACKING: no_stack} if no_stack else {}
        return Outcome(model, search.stopped or outcome.stopped_because, rows, skipped, lost)

    def _ensembles(
        self, assembly: Assembly
    ) -> tuple[dict[str, dict[int, float]], dict[str, np.ndarray], dict[str, Stack], str]:
        """Weights and held-out predictions of the best single model and of what is asked for of vote and stack.

        Returns
        -------
        Both by name; the stack by name; and why there is none where it was asked for.
        """
        s, best = self.settings.search, assembly.records[0].number
        single, streams = assembly.names[best], assembly.task.settings.stream is not None
        weights, held = {single: {best: 1.0}}, {single: assembly.held(best)}
        stacks: dict[str, Stack] = {}
        stacks_too = s.stack and not s.onnx and not streams
        if len(assembly.records) < 2 or not (s.vote or stacks_too):
            return weights, held, stacks, ""
        chosen = assembly.vote(s.ensemble_rounds)
        if streams:
            chosen = _strongest(chosen, _STREAM_MEMBERS)
        if s.vote:
            weights[VOTING], held[VOTING] = chosen, assembly.blended(chosen)
        if not stacks_too or len(chosen) < 2:
            return weights, held, stacks, ""
        made = assembly.stack(list(chosen), s.stack_meta_learner)
        if isinstance(made, str):
            LOG.info("no stack: %s", made)
            return weights, held, stacks, made
        stacks[STACKING], held[STACKING] = made
        weights[STACKING] = dict.fromkeys(chosen, 1.0)
        return weights, held, stacks, ""

    def _pipelines(
        self, search: Search, task: TabularTask, assembly: Assembly, numbers: Sequence[int], outcome: SearchOutcome
    ) -> tuple[dict[int, list[Pipeline]], str]:
        """Fitted pipelines of trials: those of the folds, or one fitted on all rows; and what could not be fitted."""
        records = {r.number: r for r in assembly.records}
        made: dict[int, list[Pipeline]] = {}
        lost = ""
        if not self._bags(task):
            jobs = [(k, records[k].candidate, _with_trees(records[k])) for k in numbers]
            results = search.refit(jobs, outcome.deadline)
            made = {k: [Pipeline.from_state(*v)] for k, v in results.items() if not isinstance(v, str)}
            failed = {k: v for k, v in results.items() if isinstance(v, str)}
            if failed:
                first = next(iter(failed))
                lost = (
                    f"{len(failed)} of {len(numbers)} models were not fitted on all rows ({assembly.names[first]}: "
                    f"{failed[first]}); those of the training rows stand in for them"
                )
        for k in numbers:
            try:
                if k not in made:
                    own, blobs = read_state(records[k].path / FOLDS)
                    made[k] = [Pipeline.unpacked(blobs[f"fold-{i}"]) for i in range(own["folds"])]
            except AutoMLError as error:
                LOG.exception("trial %d cannot be read", k)
                lost = f"{assembly.names[k]} cannot be read and is left out: {error}"
        return made, lost


def _strongest(weights: Mapping[int, float], most: int) -> dict[int, float]:
    """So many members of the largest weights; they add up to 1 again."""
    kept = sorted(weights, key=lambda k: -weights[k])[:most]
    total = sum(weights[k] for k in kept)
    return {k: weights[k] / total for k in kept}


def _what_is_left(
    weights: dict[str, dict[int, float]], losses: dict[str, float], made: Mapping[int, Any], assembly: Assembly
) -> tuple[dict[str, dict[int, float]], dict[str, float]]:
    """Entries without members that were lost: votes do with the others, stacks and single models fall away."""
    out = {n: w for n, w in weights.items() if all(k in made for k in w)}
    vote = {k: v for k, v in weights.get(VOTING, {}).items() if k in made}
    if vote and VOTING not in out:
        out[VOTING] = {k: v / sum(vote.values()) for k, v in vote.items()}
    if not out and made:
        out = {assembly.names[k]: {k: 1.0} for k in list(made)[:1]}
    if not out:
        raise LearnerError("none of the models that were chosen can be read; see the run's log.")
    return out, {n: losses.get(n, np.inf) for n in out}


def _with_trees(record: TrialRecord) -> dict[str, Any]:
    """Parameters for all rows: as many trees as the held-out rows allowed."""
    params = dict(record.params)
    trees = int(record.info.get("trees", 0))
    return {**params, "n_estimators": trees} if trees else params


def _choose(losses: Mapping[str, float], *, sure: bool) -> str:
    """Name of the entry that predicts: the least loss; a stack must be clearly better than the rest.

    Parameters
    ----------
    sure : whether the best single model is better than the vote by more than luck; else the vote is taken.
    """
    order = sorted((n for n in losses if n != STACKING), key=lambda n: (losses[n], n != VOTING))
    if not order:  # the other models were lost
        return STACKING
    best = VOTING if VOTING in losses and not sure else order[0]
    if STACKING in losses and losses[STACKING] < losses[best] - _STACK_GAIN * abs(losses[best]):
        return STACKING
    return best


def settings_to_json(settings: Settings) -> dict[str, Any]:
    """Settings as JSON values."""
    return settings_values(asdict(settings))


def settings_from_json(raw: dict[str, Any]) -> Settings:
    """Read what `settings_to_json` gave."""
    from tabular.config import META_LEARNERS, DataSettings, FeatureSettings, SearchSettings, Settings

    search = {**raw["search"], "limits": ExitCriteria(**raw["search"]["limits"])}
    if not any(search.get("stack_meta_learner") in names for names in META_LEARNERS.values()):
        search["stack_meta_learner"] = "auto"  # which it stood for in older files
    try:
        return Settings(
            data=DataSettings(**_tuples(raw["data"])),
            features=FeatureSettings(**_tuples(raw["features"])),
            search=SearchSettings(**_tuples(search)),
        )
    except TypeError as error:
        raise AutoMLError(f"the run was written by another version of forecastle: {error}.") from error


def _tuples(raw: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in raw.items()}
