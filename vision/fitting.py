"""The way from checked images to a model: search, then combine. Resumable at any instant."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from automl.budget import ExitCriteria
from automl.ensemble import bagged_weights, combine
from automl.errors import AutoMLError, ConfigError, LearnerError
from automl.files import settings_values
from automl.memory import cores
from automl.policies import policy_of, policy_to_json
from automl.runs import model_names
from automl.search import BEFORE_ITS_TURN, Search
from vision.data.records import OBJECTS
from vision.learners.base import LEARNERS
from vision.model import VOTING, VisionModel
from vision.portfolio import Machine, choose
from vision.task import MODEL, OPEN, PRELOAD, VisionTask, class_scores, member_in, open_task, save_task

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from automl.budget import Deadline
    from automl.runs import Run, TrialRecord
    from automl.search import Event, SearchOutcome
    from vision.config import SearchSettings, Settings
    from vision.data.records import ImageSet

LOG = logging.getLogger("vision")
_RESERVE_LEAST, _RESERVE_SHARE = 2.0, 0.01
_BAGS, _ROUNDS, _MOST_MEMBERS = 16, 15, 4
_CLEARLY = 0.9
"""Share of random halves of the held-out images on which a single model must beat the vote to be preferred."""

_FEW = 200
"""Of fewer held-out images the vote is always preferred: what is best on few of one kind is often luck, and a vote that
is a little worse there is better on images from elsewhere (the combination puzzle, see `automl.ensemble.evened`)."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a search came to.

    Parameters
    ----------
    model : the best entry and the members kept. stopped : why the search ended. rows : of the leaderboard for the
        vote. skipped : learners without a trial -> why.
    """

    model: VisionModel
    stopped: str
    rows: list[dict[str, Any]]
    skipped: dict[str, str]


def machine_of(device: str, images: ImageSet | None = None) -> Machine:
    """What trainings may run on, and how large the images are."""
    import torch

    sides = [min(i.width, i.height) for i in images.images] if images is not None else []
    gpus = torch.cuda.device_count() if device != "cpu" and torch.cuda.is_available() else 0
    return Machine(gpus, int(np.median(sides)) if sides else 0)


def workers_of(search: SearchSettings) -> tuple[int, int]:
    """Trials at a time, and threads of each."""
    gpus = machine_of(search.device).gpus
    workers = max(1, gpus) if search.workers is None else search.workers
    threads = max(1, cores() // max(workers, 1)) if search.threads is None else search.threads
    return workers, threads


class Fitting:
    """One run's way through search and combination.

    Parameters
    ----------
    run : the run directory. settings : of the user. on_event : told of every trial.
    """

    def __init__(self, run: Run, settings: Settings, on_event: Callable[[Event], None] | None = None) -> None:
        self.run = run
        self.settings = settings
        self.on_event = on_event
        self.directory = run.path / "task"

    def start(self, task: VisionTask) -> None:
        """Write the task's files; after this the run can be resumed."""
        save_task(task)

    def finish(self, deadline: Deadline, limits: ExitCriteria | None = None) -> Outcome:
        """Search and combine."""
        task = open_task(str(self.directory))
        search = self._search(task, limits or self.settings.search.limits)
        with search:
            outcome = search.run(deadline)
        LOG.info("search ended: %s", outcome.stopped_because)
        return self._combine(task, outcome)

    def _search(self, task: VisionTask, limits: ExitCriteria) -> Search:
        s, own = self.settings.search, task.settings
        workers, threads = workers_of(s)
        seconds = limits.time_limit
        reserve = 0.0 if seconds is None else _RESERVE_LEAST + _RESERVE_SHARE * seconds
        return Search(
            self.run,
            task=(OPEN, {"directory": str(self.directory)}),
            candidates=choose(own.kind, replace(s, limits=limits), machine_of(s.device, task.train)),
            metric_name=own.metric,
            direction=task.metric.direction,
            criteria=limits,
            seed=own.seed,
            workers=workers,
            threads=threads,
            window=max(1, workers),
            reserve=lambda _records: reserve,
            on_event=self.on_event,
            preload=PRELOAD,
            sampling=s.sampling,
            policy=policy_of(s.policy),
        )

    def _combine(self, task: VisionTask, outcome: SearchOutcome) -> Outcome:
        metric, kind = task.metric, task.settings.kind
        good = [r for r in outcome.records if r.usable and np.isfinite(r.scores.get(metric.name, np.nan))]
        records = sorted(good, key=lambda r: (metric.loss(r.scores[metric.name]), r.number))
        if not records:
            reasons = sorted({f"{r.learner}: {r.reason or r.status}" for r in outcome.records})
            raise LearnerError(
                f"no model could be trained ({len(outcome.records)} trials). "
                f"{'; '.join(reasons[:5]) or 'The time limit was over before the first trial ended.'}"
            )
        names = model_names(outcome.records)
        entries: dict[str, tuple[tuple[str, float], ...]] = {}
        rows: list[dict[str, Any]] = []
        best = names[records[0].number]
        used = [records[0]]
        if self.settings.search.vote and kind not in OBJECTS and len(records) > 1:
            weights, blended, single_wins = _vote(task, records)
            entries[VOTING] = tuple((names[r.number], w) for r, w in weights)
            used = [r for r, _ in weights] + [r for r in used if r not in [x for x, _ in weights]]
            rows.append({"model": VOTING, "learner": VOTING, **class_scores(kind, task.truth(), blended)})
            best = best if single_wins else VOTING
        members = {}
        for record in [*used, *records[: _MOST_MEMBERS - 1]]:
            name = names[record.number]
            if name not in members:
                members[name] = member_in(record.path)
                entries[name] = ((name, 1.0),)
        for record in records:  # networks of trials that nothing uses are large
            if names[record.number] not in members:
                _forget(record)
        model = VisionModel(kind, task.settings.classes, members, entries, best)
        tried = {r.learner for r in outcome.records}
        why = BEFORE_ITS_TURN[outcome.stopped_because]
        fitting = {"Detector"} if kind in OBJECTS else {"LinearProbe", "FineTuning"}
        skipped = {n: why if n in fitting else f"does not suit {kind}" for n in LEARNERS if n not in tried}
        return Outcome(model, outcome.stopped_because, rows, skipped)


def _forget(record: TrialRecord) -> None:
    from automl.files import remove

    remove(record.path / MODEL)


def _vote(task: VisionTask, records: Sequence[TrialRecord]) -> tuple[list[tuple[TrialRecord, float]], np.ndarray, bool]:
    """Members and weights of a vote, its held-out probabilities, and whether the best single model clearly beats it."""
    kept = [r for r in records if (r.path / MODEL).is_dir()]
    held = [np.asarray(r.predictions()["held"], dtype=float) for r in kept]
    truth, settings = task.truth(), task.settings
    rng = np.random.default_rng(settings.seed)
    n = len(truth)
    halves = [np.sort(rng.permutation(n)[: max(2, n // 2)]) for _ in range(_BAGS)]

    from vision.learners.classes import fine_loss

    def loss(prob: np.ndarray, rows: np.ndarray) -> float:
        return fine_loss(settings, truth[rows], prob)

    try:
        found = bagged_weights(held, loss, halves, rounds=_ROUNDS, most=_MOST_MEMBERS, seed=settings.seed)
    except ConfigError:  # no metric on any half
        found = np.eye(len(held))[0]
    chosen = [(r, float(w)) for r, w in zip(kept, found, strict=True) if w > 0]
    blended = combine(held, found)
    if n < _FEW:
        return chosen, blended, False
    wins = [loss(held[0][rows], rows) < loss(blended[rows], rows) for rows in halves]
    return chosen, blended, sum(wins) > _CLEARLY * len(wins)


def settings_to_json(settings: Settings) -> dict[str, Any]:
    """Settings as JSON values; what is searched is kept as text of its class."""
    policy = policy_to_json(policy_of(settings.search.policy))
    raw = asdict(replace(settings, search=replace(settings.search, space={}, policy=None)))
    raw["search"]["policy"] = policy
    raw["search"]["space"] = {name: _dimension_json(d) for name, d in settings.search.space.items()}
    return settings_values(raw)


def _dimension_json(given: Any) -> Any:
    if isinstance(given, list | tuple):
        return {"kind": "Choice", "options": list(given)}
    return {"kind": type(given).__name__, **asdict(given)}


def settings_from_json(raw: dict[str, Any]) -> Settings:
    """Read what `settings_to_json` gave."""
    from automl.candidates import Choice, Float, Int
    from vision.config import DataSettings, SearchSettings, Settings

    kinds: dict[str, Any] = {"Choice": Choice, "Int": Int, "Float": Float}
    space = {}
    for name, given in raw["search"]["space"].items():
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items() if k != "kind"}
        space[name] = kinds[given["kind"]](**values)
    search = {**raw["search"], "space": space, "limits": ExitCriteria(**raw["search"]["limits"])}
    search["models"] = None if search["models"] is None else tuple(search["models"])
    try:
        return Settings(data=DataSettings(**raw["data"]), search=SearchSettings(**search))
    except TypeError as error:
        raise AutoMLError(f"the run was written by another version of forecastle: {error}.") from error
