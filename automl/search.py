"""Search: ask, evaluate, store, tell, until a rule or the deadline says stop. Knows no task.

The schedule is strict: trial n is asked once trials 0..n-window were told, results are told in the order asked, and
what is asked depends on those results alone. So the number of workers changes the time a search takes, not its outcome.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Self

from automl.budget import Deadline, ExitCriteria
from automl.control import Control
from automl.crew import Crew, Ending
from automl.errors import ConfigError, RunError
from automl.files import publish, remove
from automl.journal import Journal
from automl.policies import MedianAtRung, Policy
from automl.runs import Direction, Run, TrialRecord
from automl.sampling import Proposal, Sampler, Sampling, check_sampling, same_params
from automl.trial import Trial
from automl.worker import Report, describe, evaluate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from automl.candidates import Candidate, JsonScalar
    from automl.trial import State

LOG = logging.getLogger("automl")

Why = Literal["max_trials", "time", "early_stopping", "exit_score", "exhausted", "replayed", "cancelled", "interrupted"]
"""Why a search stopped; `exhausted` means that nothing is left to try."""

Kind = Literal["started", "finished", "refitted"]
_CLEARLY_LONGER = 1.25
_MEDIAN = MedianAtRung()
_COURTESY = 0.5
"""Seconds (at most a twentieth of its time) that a trial is told less than it gets, so that it can end by itself."""

BEFORE_ITS_TURN: dict[Why, str] = {
    "max_trials": "max_trials was reached before its turn",
    "time": "time was over before its turn",
    "early_stopping": "the search stopped for want of progress before its turn",
    "exit_score": "exit_score was reached before its turn",
    "exhausted": "nothing was left to try before its turn",
    "replayed": "not among the trials replayed",
    "cancelled": "the run was cancelled before its turn",
    "interrupted": "the run was interrupted before its turn",
}
"""Why a search ended -> why a learner was not tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Progress of a search.

    Parameters
    ----------
    kind : a trial `started` or `finished` (in the order told), or a model was `refitted`.
    number, learner : which trial; number is -1 for a refit. record : the finished trial.
    best : best score so far, natural sign, NaN = none. told : trials told so far.
    """

    kind: Kind
    number: int
    learner: str
    record: TrialRecord | None = None
    best: float = math.nan
    told: int = 0


@dataclass(frozen=True, slots=True)
class SearchOutcome:
    """What a search leaves.

    Parameters
    ----------
    records : all trials of the run, by number. stopped_because : the rule that ended it.
    deadline : the one given, moved by the time the run was paused.
    """

    records: list[TrialRecord]
    stopped_because: Why
    deadline: Deadline


@dataclass(slots=True)
class _Asked:
    """A trial between being asked and having ended."""

    proposal: Proposal
    thresholds: Mapping[int, float]
    future: Future[Report] | None = None
    started: float = math.nan
    limit: float = math.inf
    last_of_all: bool = False
    tries: int = 0


class Search:
    """Searches candidates for one task in one run directory.

    Parameters
    ----------
    run : where everything is kept; a run that was searched before is taken up (or, once ended, continued).
    task : (`"module:function"`, keyword arguments) with which each worker opens the task.
    candidates : the portfolio in the order to try it, with the spaces to search afterwards.
    metric_name, direction : what to choose by, and whether `min` or `max` of it is best.
    criteria : trial limits, exit score and early stopping; the time limit is the `deadline` given to `run`.
    seed : of asking and, the same for every trial, of fitting.
    workers, threads : processes (0 = all is done in this one, and nothing can be killed), and threads each may use.
    window : how many trials are asked ahead; more workers than that have nothing to do.
    reserve : seconds to keep back for what follows the search, given the trials so far.
    on_event : called in this process for each Event.
    score : further scores of a completed trial from its stored predictions, computed in this process before the trial
        is told: what cannot be sent to workers, such as a function of the user's.
    replay : exactly these are run, in this order, without early stopping or pruning (see `Run.trial_list`).
    preload : modules workers share from the start.
    sampling : what is asked after the portfolio. policy : ends hopeless trials of it; None = none is ended.
    """

    def __init__(
        self,
        run: Run,
        *,
        task: tuple[str, Mapping[str, Any]],
        candidates: Sequence[Candidate],
        metric_name: str,
        direction: Direction,
        criteria: ExitCriteria,
        seed: int,
        workers: int,
        threads: int = 1,
        window: int = 4,
        reserve: Callable[[list[TrialRecord]], float] | None = None,
        on_event: Callable[[Event], None] | None = None,
        score: Callable[[TrialRecord], Mapping[str, float]] | None = None,
        replay: Sequence[tuple[Candidate, Mapping[str, JsonScalar]]] | None = None,
        preload: Sequence[str] = (),
        sampling: Sampling = "tpe",
        policy: Policy | None = _MEDIAN,
    ) -> None:
        check_sampling(sampling, candidates)
        if not candidates and replay is None:
            raise ConfigError("a search needs at least one candidate; all learners are blocked or missing.")
        if direction not in {"min", "max"}:
            raise ConfigError(f"direction must be 'min' or 'max', got {direction!r}.")
        if window < 1:
            raise ConfigError(f"window must be at least 1, got {window!r}.")
        self.run_directory = run
        self._candidates = list(candidates)
        self._metric = metric_name
        self._direction: Direction = direction
        self._criteria = criteria
        self._sampling: Sampling = sampling
        self._policy = policy
        self._seed = seed
        self._threads = threads
        self._window = window
        self._reserve = reserve
        self._on_event = on_event or (lambda _event: None)
        self._score = score
        self._replay = None if replay is None else [(c, dict(p)) for c, p in replay]
        self._asked: dict[int, _Asked] = {}
        self._told: list[TrialRecord] = []
        self._losses: list[float] = []
        self.stopped: Why | None = None
        self._crew = Crew(task, workers=workers, threads=threads, preload=preload, output=run.path / "workers.log")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the workers; they also end with the last reference to the search."""
        self._crew.kill()

    # -- the search ---------------------------------------------------------------------------------------------------

    def run(self, deadline: Deadline) -> SearchOutcome:
        """Search until a rule or the deadline ends it; the time `reserve` asks for is kept free before the deadline.

        The run's state is then still `running` (the task goes on), or `cancelled` after a cancel or Ctrl-C.

        Raises
        ------
        RunError : another process owns the run, workers cannot open the task, or the disk refuses a result.
        """
        run = self.run_directory
        with run.claim():
            self._control = Control(run, deadline)
            with self._control.interrupts():
                try:
                    self._begin()
                    why = self._until_stopped()
                    self._wind_up(why)
                except OSError as error:
                    self._storage_failed(error)
                except RunError as error:
                    self._crew.kill()
                    run.set_state("failed", str(error))
                    raise
                finally:
                    if self._asked:  # an error is on its way out
                        self._crew.kill()
            return SearchOutcome(sorted(self._told, key=lambda r: r.number), why, self._control.deadline)

    def refit(
        self, jobs: Sequence[tuple[Any, Candidate, Mapping[str, JsonScalar]]], deadline: Deadline
    ) -> dict[Any, State | str]:
        """Fit (key, candidate, params) jobs on all data in the same workers.

        A job done before in this run is read back. Keys become folder names under `refits/`. A cancel or Ctrl-C ends it
        early; the attribute `stopped` then says which, and the run's state is `cancelled`.

        Returns
        -------
        For each key the fitted state, or a text that says why there is none.
        """
        from automl.refits import refit_all

        run = self.run_directory
        with run.claim():
            control = Control(run, deadline)
            with control.interrupts():
                try:
                    found = refit_all(run, self._crew, control, jobs, on_done=self._refitted)
                except OSError as error:
                    self._storage_failed(error)
            if control.stop:
                self.stopped = control.stop
                run.set_state("cancelled", control.stop)
            return found

    def _refitted(self, candidate: Candidate) -> None:
        self._say("refitted", -1, candidate.learner)

    def _say(self, kind: Kind, number: int, learner: str, record: TrialRecord | None = None) -> None:
        best, told = self._best(), len(self._told)
        self._on_event(Event(kind=kind, number=number, learner=learner, record=record, best=best, told=told))

    def _storage_failed(self, error: OSError) -> NoReturn:
        self._crew.kill()
        run = self.run_directory
        message = f"a result could not be stored in {run.path}: {error}. What was stored before is intact. "
        message += "Fix: make room (or the folder writable) and continue the run."
        try:
            run.set_state("failed", message)
        except OSError:
            LOG.exception("the run's state could not be stored either")
        raise RunError(message) from error

    def _begin(self) -> None:
        run = self.run_directory
        for partial in run.trials_path.glob(".*"):
            remove(partial)
        self._old = {r.number: r for r in run.trials()}
        self._first = self._first_number()
        run.amend(metric=self._metric, direction=self._direction)
        run.set_state("running")
        earlier = {n: r for n, r in self._old.items() if n < self._first}
        self._lost = {n for n, r in earlier.items() if r.status == "cancelled" or r.info.get("cut")}
        tried = {(r.candidate, same_params(r.params)) for n, r in earlier.items() if n not in self._lost}
        queue = [c for c in self._candidates if (c, same_params(c.values())) not in tried]
        self._sampler = Sampler(
            self._candidates, seed=self._seed, queue=queue, first=self._first, sampling=self._sampling
        )
        self._journal = Journal(run.path / "journal.log", self._direction, self._metric, self._old.values())
        self._asked.clear()
        self._done: dict[int, TrialRecord] = {}
        self._told.clear()
        self._losses.clear()
        self._fed = self._next_ask = self._next_tell = self._refused = 0
        self._closed: Why | None = None
        self._stop: Why | None = None
        self._update_reserve()

    def _first_number(self) -> int:
        """Return the number this search began at: 0, or behind the trials of a search that had come to its end."""
        run = self.run_directory
        first, ended = None, False
        for entry in run.read()["history"]:
            if entry.get("event") == "search":
                first, ended = int(entry["first"]), False
            elif entry.get("state") in {"completed", "cancelled", "failed"}:
                ended = True
        if first is None or ended:
            first = max(self._old, default=-1) + 1
            run.note("search", first=first)
        return first

    def _until_stopped(self) -> Why:
        try:
            while True:
                self._obey()
                self._advance()
                why = self._stop or self._control.stop
                if why:
                    return why
                if self._time_left() <= 0:
                    return "time"
                if self._gave_up and not any(a.future for a in self._asked.values()):
                    return "time"
                self._start_trials()
                if not self._asked and self._closed:
                    return self._closed
                self._crew.rest(a.future for a in self._asked.values() if a.future is not None)
                self._collect()
        except KeyboardInterrupt:
            return "interrupted"

    def _obey(self) -> None:
        self._control.poll()
        for number in self._control.unwanted():
            asked = self._asked.get(number)
            if asked is None:
                LOG.warning("trial %d does not run, so it cannot be cancelled", number)
            elif asked.future is None:
                self._record(number, "cancelled", "cancelled before it started")
            else:
                asked.future.cancel()

    # -- ask ----------------------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Ask what may be asked and tell what can be told, until neither is possible.

        Asking comes first: two results that came in together must not skip the ask between them.
        """
        progress = True
        while progress and self._stop is None:
            progress = self._ask_next() or self._tell_next(obey_rules=True)

    def _ask_next(self) -> bool:
        """Ask the next trial; False when it is not its turn yet, or there is none."""
        number = self._next_ask
        if self._next_tell <= number - self._window:
            return False
        while self._fed < len(self._told) and self._told[self._fed].number <= number - self._window:
            self._sampler.feed(self._told[self._fed], self._losses[self._fed])
            self._fed += 1
        if number in self._old:
            record = self._old[number]
            if self._sampling != "grid" or number not in self._lost:  # what was cut off is still to be done of a grid
                self._sampler.note(record.candidate, record.params)
            self._done[number] = record
        elif number >= self._first and not self._ask_new(number):
            return False
        self._next_ask += 1
        return True

    def _ask_new(self, number: int) -> bool:
        if self._closed or self._gave_up or self._control.paused or self._control.stop or self._time_left() <= 0:
            return False
        proposal: Proposal | None
        if self._replay is not None:
            pairs = self._replay[number : number + 1]
            proposal = Proposal(*pairs[0], portfolio=True) if pairs else None
        elif self._criteria.max_trials is not None and number >= self._criteria.max_trials:
            self._closed = "max_trials"
            return False
        else:
            proposal = self._sampler.ask(number)
        if proposal is None:
            self._closed = "exhausted" if self._replay is None else "replayed"
            return False
        self._sampler.note(proposal.candidate, proposal.params)
        self._journal.asked(number, proposal.candidate, proposal.params)
        hopeless: Mapping[int, float] = {}
        if self._policy is not None and not proposal.portfolio:
            hopeless = self._policy.thresholds([r for r in self._told if r.number <= number - self._window])
        self._asked[number] = _Asked(proposal, hopeless)
        return True

    # -- evaluate -----------------------------------------------------------------------------------------------------

    def _time_left(self) -> float:
        if self._control.paused:  # its clock stands still, and what runs has its own limit
            return math.inf
        return self._control.deadline.earlier(self._reserved).left()

    @property
    def _gave_up(self) -> bool:
        """Whether so many trials in a row were too slow for the time left that no more is asked."""
        return self._refused >= self._window

    def _start_trials(self) -> None:
        running = sum(a.future is not None for a in self._asked.values())
        for number in sorted(n for n, a in self._asked.items() if a.future is None):
            if running >= self._crew.workers or self._control.paused or self._gave_up:
                return
            left = self._time_left()
            if left <= 0:
                return
            slow = self._too_slow(self._asked[number].proposal.candidate.learner, left)
            if slow:
                self._refused += 1
                self._record(number, "cancelled", slow)
                continue
            self._start(number, left)
            running += 1

    def _start(self, number: int, left: float) -> None:
        self._refused = 0
        asked = self._asked[number]
        own = self._criteria.trial_time_limit or math.inf
        asked.limit, asked.last_of_all = min(own, left), left < own
        asked.started = monotonic()
        directory = self._partial(number)
        remove(directory)
        directory.mkdir(parents=True)
        trial = Trial(
            number=number,
            candidate=asked.proposal.candidate,
            params=dict(asked.proposal.params),
            seed=self._seed,
            threads=self._threads,
            deadline=Deadline.after(asked.limit - min(_COURTESY, asked.limit / 20)),
            directory=directory,
            thresholds=asked.thresholds,
            by_best=self._policy is not None and self._policy.by_best,
        )
        timeout = None if math.isinf(asked.limit) else asked.limit
        asked.tries += 1
        asked.future = self._crew.submit(evaluate, trial, timeout=timeout)
        self._say("started", number, trial.candidate.learner)

    def _too_slow(self, learner: str, left: float) -> str:
        """Why it makes no sense to start this learner now; empty when it does."""
        if math.isinf(left):
            return ""
        ended = [*self._told, *self._done.values()]
        took = [
            float(r.info.get("least_seconds", r.seconds))  # a task may say that its trials fit themselves into the time
            for r in ended
            if r.learner == learner and r.status in {"completed", "timeout"}
        ]
        if not took or min(took) <= left * _CLEARLY_LONGER:
            return ""
        return f"not started: {left:.1f} s were left, and {learner}'s quickest trial took {min(took):.1f} s"

    def _collect(self) -> None:
        """Store the results of trials that ended."""
        for number in sorted(self._asked):
            asked = self._asked[number]
            if asked.future is None or not asked.future.done():
                continue
            ending = self._crew.ending(asked.future)
            if ending.status == "broken" and asked.tries == 1:
                asked.future = None  # once more, in a new pool
            else:
                self._store(number, asked, ending)

    def _store(self, number: int, asked: _Asked, ending: Ending) -> None:
        if ending.status == "stored":
            self._keep(number)
        elif ending.status == "storage":
            raise OSError(ending.reason)
        elif ending.status == "cancelled":
            self._record(number, "cancelled", "cancelled while it ran")
        elif ending.status == "timeout":
            whose = "the time of the search was over" if asked.last_of_all else "the limit of one trial"
            reason = ending.reason or f"killed after {asked.limit:.3g} s: {whose}"
            self._record(number, "timeout", reason, cut=asked.last_of_all)
        else:
            self._record(number, "failed", ending.reason)

    def _keep(self, number: int) -> None:
        """Make a worker's stored result the trial's folder; from here on it survives everything."""
        partial, final = self._partial(number), self._final(number)
        record = self._scored(TrialRecord.read(partial))
        if record.usable and not math.isfinite(record.scores.get(self._metric, math.nan)):
            found = record.scores.get(self._metric, "missing")
            record = replace(record, status="failed", reason=f"its {self._metric} is {found}")
            record.strike()
        publish(partial, final)
        del self._asked[number]
        self._done[number] = replace(record, path=final)

    def _scored(self, record: TrialRecord) -> TrialRecord:
        """Add the scores that are computed here; a trial for which that fails has failed."""
        if self._score is None or not record.usable:
            return record
        try:
            record = replace(record, scores={**record.scores, **self._score(record)})
        except Exception as error:  # a function of the user's may raise anything; its reason is recorded
            LOG.info("%s of trial %d could not be computed", self._metric, record.number, exc_info=True)
            record = replace(record, status="failed", reason=f"its {self._metric} failed: {describe(error)}")
            record.strike()
            return record
        record.rewrite()
        return record

    def _record(
        self, number: int, status: Literal["failed", "timeout", "cancelled"], reason: str, *, cut: bool = False
    ) -> None:
        """Store a trial that left no result."""
        asked = self._asked.pop(number)
        record = TrialRecord(
            number=number,
            learner=asked.proposal.candidate.learner,
            candidate=asked.proposal.candidate,
            params=dict(asked.proposal.params),
            status=status,
            reason=reason,
            seconds=monotonic() - asked.started,
            info={"cut": True} if cut else {},
            path=self._final(number),
        )
        record.publish()
        self._done[number] = record

    def _partial(self, number: int) -> Path:
        return self.run_directory.trials_path / f".{number}.part"

    def _final(self, number: int) -> Path:
        return self.run_directory.trials_path / str(number)

    # -- tell ---------------------------------------------------------------------------------------------------------

    def _tell_next(self, *, obey_rules: bool) -> bool:
        """Tell the next trial in the order asked; False when it has not ended."""
        number = self._next_tell
        if number < self._first and number not in self._old and number < self._next_ask:
            self._next_tell += 1  # an earlier search failed before it could store this one
            return True
        if number not in self._done:
            return False
        record = self._done.pop(number)
        self._next_tell += 1
        self._told.append(record)
        self._losses.append(self._loss(record))
        self._journal.told(record)
        if number not in self._old:
            self._update_reserve()
            self._say("finished", number, record.learner, record)
        if obey_rules and self._replay is None and number + 1 >= self._first:
            self._stop = self._rule_that_stops()
        return True

    def _rule_that_stops(self) -> Why | None:
        goal = self._criteria.exit_score
        best = min((x for x in self._losses if not math.isnan(x)), default=math.inf)
        if goal is not None and best <= (goal if self._direction == "min" else -goal):
            return "exit_score"
        # a continued run gets its patience anew
        rule = replace(self._criteria, landmarks=max(self._criteria.landmarks, self._first))
        return "early_stopping" if rule.no_progress(self._losses) else None

    def _loss(self, record: TrialRecord) -> float:
        score = record.scores.get(self._metric, math.nan) if record.usable else math.nan
        return score if self._direction == "min" else -score

    def _best(self) -> float:
        losses = [x for x in self._losses if not math.isnan(x)]
        if not losses:
            return math.nan
        return min(losses) if self._direction == "min" else -min(losses)

    def _update_reserve(self) -> None:
        self._reserved = self._reserve(list(self._told)) if self._reserve else 0.0

    # -- the end ------------------------------------------------------------------------------------------------------

    def _wind_up(self, why: Why) -> None:
        """Give every asked trial an ending, and tell them all."""
        self._collect()
        if any(a.future is not None for a in self._asked.values()):
            self._crew.kill()
        for number in sorted(self._asked):
            started = self._asked[number].future is not None
            if why == "time" and started:
                self._record(number, "timeout", "killed: the time of the search was over", cut=True)
            else:
                when = "while it ran" if started else "before it started"
                self._record(number, "cancelled", f"the search ended {when} ({why})")
        if why in {"early_stopping", "exit_score"}:
            self._discard(why)
        while self._tell_next(obey_rules=False):
            pass
        self._control.finish()
        if why in {"cancelled", "interrupted"}:
            self.run_directory.set_state("cancelled", why)

    def _discard(self, why: Why) -> None:
        """Strike out results behind the trial that stopped the search: whether they ended in time is chance."""
        for number, record in self._done.items():
            if number >= self._first and record.status != "cancelled":
                reason = f"not counted: the search had ended before ({why})"
                struck = replace(record, status="cancelled", reason=reason, scores={}, info={}, reported={})
                struck.strike()
                self._done[number] = struck
