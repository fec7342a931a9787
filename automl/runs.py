"""Run: one directory a run, readable and resumable after kill -9 at any instant.

run.json      format, task, state, seed, settings, history, and what the search said about its metric
journal.log   the Optuna journal            trials/<n>/  trial.json and one .npy file a prediction array
refits/<key>/ fitted models                 commands/    requests of other processes
owner.lock    held (flock) by the process that works on the run; freed by the system when it dies
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import time
import uuid
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from automl.candidates import Candidate, JsonScalar
from automl.errors import ConfigError, RunError, UnknownNameError
from automl.files import publish, remove, write_json
from automl.locks import is_owned, take
from automl.worker import RECORD

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np

LOG = logging.getLogger("automl")

FORMAT = 1
State = Literal["created", "running", "paused", "cancelled", "failed", "completed"]
Status = Literal["completed", "pruned", "failed", "timeout", "cancelled"]
Direction = Literal["min", "max"]
Verb = Literal["pause", "resume", "cancel", "cancel-trial"]

_LOCK = "owner.lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRecord:
    """One trial as it lies on disk.

    Parameters
    ----------
    number : position in the search, from 0. learner, candidate, params : what was evaluated.
    status : `completed` is the only one with usable predictions. reason : why it is not completed, readable.
    scores : metric name -> value, natural sign.
    seconds : wall time; peak_mb : peak memory of its process, MB (1e6 bytes); NaN where not known.
    info : what the task said (windows, fit_s, predict_s, fallbacks, ...). A text under `degraded` marks the trial as
        degraded in the leaderboard. reported : rung -> intermediate loss.
    path : its folder.
    """

    number: int
    learner: str
    candidate: Candidate
    params: Mapping[str, JsonScalar]
    status: Status
    reason: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)
    seconds: float = math.nan
    peak_mb: float = math.nan
    info: Mapping[str, Any] = field(default_factory=dict)
    reported: Mapping[int, float] = field(default_factory=dict)
    path: Path

    @property
    def usable(self) -> bool:
        """Whether it ran to its end and left predictions."""
        return self.status == "completed"

    def predictions(self) -> dict[str, np.ndarray]:
        """Out-of-sample predictions, mapped from disk read-only; empty unless the trial ran to its end."""
        import numpy as np

        arrays = _read_json(self.path / RECORD)["arrays"]
        return {name: np.load(self.path / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in arrays}

    @classmethod
    def read(cls, path: Path) -> TrialRecord:
        """Read a trial's folder.

        Raises
        ------
        RunError : its record was damaged after it was written.
        """
        try:
            raw = _read_json(path / RECORD)
            candidate = Candidate.from_json(json.dumps(raw["candidate"]))
            return cls(
                number=raw["number"],
                learner=candidate.learner,
                candidate=candidate,
                params=raw["params"],
                status=raw["status"],
                reason=raw["reason"],
                scores=raw["scores"],
                seconds=raw["seconds"],
                peak_mb=raw["peak_mb"],
                info=raw["info"],
                reported={int(step): loss for step, loss in raw["reported"].items()},
                path=path,
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"the trial in {path} cannot be read ({error!r}). Fix: delete that folder; the trial is then run again."
            ) from error

    def rewrite(self) -> None:
        """Make this the record of its folder; the predictions there stay."""
        write_json(self.path / RECORD, self._raw(arrays=_read_json(self.path / RECORD)["arrays"]))

    def strike(self) -> None:
        """Make this the record of an existing folder, whose predictions count no more and are removed."""
        write_json(self.path / RECORD, self._raw(arrays=[]))
        for array in self.path.glob("*.npy"):
            array.unlink()

    def publish(self) -> None:
        """Write the folder of a trial that left nothing but its record."""
        temporary = self.path.with_name(f".{self.number}.record")
        remove(temporary)
        temporary.mkdir()
        write_json(temporary / RECORD, self._raw(arrays=[]))
        publish(temporary, self.path)

    def _raw(self, arrays: list[str]) -> dict[str, Any]:
        return {
            "number": self.number,
            "candidate": json.loads(self.candidate.to_json()),
            "params": dict(self.params),
            "status": self.status,
            "reason": self.reason,
            "scores": dict(self.scores),
            "seconds": self.seconds,
            "peak_mb": self.peak_mb,
            "info": dict(self.info),
            "reported": {str(step): loss for step, loss in self.reported.items()},
            "arrays": arrays,
        }


@dataclass(frozen=True, slots=True)
class Command:
    """A request of another process: `number` is that of the trial for `cancel-trial`."""

    verb: Verb
    number: int | None = None


class Run:
    """A run directory. Many processes may read it; one at a time works on it (`claim`)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None
        self._depth = 0

    # -- making and opening -------------------------------------------------------------------------------------------

    @classmethod
    def create(cls, path: str | os.PathLike[str], *, task: str, settings: Mapping[str, Any], seed: int) -> Run:
        """Make a new run directory.

        Parameters
        ----------
        task : what kind of task this is, for readers. settings : JSON-able. seed : of the whole run.

        Raises
        ------
        RunError : there is a run already, or the folder cannot be written.
        """
        run = cls(Path(path).resolve())
        if (run.path / "run.json").exists():
            raise RunError(f"{run.path} already holds a run. Fix: continue that run, or choose another folder.")
        try:
            for folder in (run.path, run.trials_path, run.refits_path, run.path / "commands"):
                folder.mkdir(parents=True, exist_ok=True)
            run._write(
                {
                    "format": FORMAT,
                    "task": task,
                    "state": "created",
                    "seed": int(seed),
                    "settings": dict(settings),
                    "history": [{"at": time.time(), "state": "created", "reason": ""}],
                }
            )
        except OSError as error:
            raise RunError(f"the run folder {run.path} cannot be written: {error}. Fix: choose another one.") from error
        return run

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Run:
        """Open an existing run directory.

        Raises
        ------
        RunError : it holds no run, or one of a newer format.
        """
        run = cls(Path(path).resolve())
        if not (run.path / "run.json").is_file():
            raise RunError(f"{run.path} is no run directory: it has no run.json. Fix: give the folder a run wrote.")
        found = run.read().get("format")
        if found != FORMAT:
            raise RunError(f"the run in {run.path} has format {found!r}, this version reads {FORMAT}. Fix: upgrade.")
        return run

    @property
    def trials_path(self) -> Path:
        """Folder of the trials."""
        return self.path / "trials"

    @property
    def refits_path(self) -> Path:
        """Folder of the refitted models."""
        return self.path / "refits"

    # -- run.json -----------------------------------------------------------------------------------------------------

    def read(self) -> dict[str, Any]:
        """Content of run.json as it is now."""
        try:
            raw = _read_json(self.path / "run.json")
        except (OSError, ValueError) as error:
            raise RunError(f"{self.path / 'run.json'} cannot be read: {error}.") from error
        if not isinstance(raw, dict):
            raise RunError(f"{self.path / 'run.json'} holds a {type(raw).__name__}, not the description of a run.")
        return raw

    @property
    def state(self) -> State:
        """State on disk; `running` or `paused` of a run that is not live means that its process was killed."""
        state: State = self.read()["state"]
        return state

    @property
    def task(self) -> str:
        """Kind of task."""
        return str(self.read()["task"])

    @property
    def seed(self) -> int:
        """Random seed of the run."""
        return int(self.read()["seed"])

    @property
    def settings(self) -> dict[str, Any]:
        """Settings the run was made (or last continued) with."""
        return dict(self.read()["settings"])

    def set_state(self, state: State, reason: str = "") -> None:
        """Change the state and note when and why."""
        if state not in get_args(State):
            raise ConfigError(f"unknown run state {state!r}; known: {', '.join(get_args(State))}.")
        raw = self.read()
        raw["state"] = state
        raw["history"].append({"at": time.time(), "state": state, "reason": reason})
        self._write(raw)

    def note(self, event: str, **values: Any) -> None:
        """Add an event that is no change of state to the history."""
        raw = self.read()
        raw["history"].append({"at": time.time(), "event": event, **values})
        self._write(raw)

    def amend(self, **entries: Any) -> None:
        """Replace top-level entries of run.json, for example `settings` when a run is continued."""
        self._write(self.read() | entries)

    def _write(self, raw: Mapping[str, Any]) -> None:
        write_json(self.path / "run.json", raw)

    # -- ownership ----------------------------------------------------------------------------------------------------

    @contextmanager
    def claim(self) -> Iterator[Run]:
        """Own the run while inside; may be nested. The lock vanishes with the process.

        Raises
        ------
        RunError : another live process owns it.
        """
        if self._depth == 0:
            self._lock = self._take_lock()
            for stale in self._command_files():  # nobody was there to hear these
                stale.unlink(missing_ok=True)
        self._depth += 1
        try:
            yield self
        finally:
            self._depth -= 1
            if self._depth == 0 and self._lock is not None:
                os.close(self._lock)
                self._lock = None

    def is_live(self) -> bool:
        """Whether a process (this one included) owns the run now."""
        return is_owned(self.path / _LOCK)

    def _take_lock(self) -> int:
        handle = take(self.path / _LOCK, f"the run folder {self.path}")
        if handle is None:
            raise RunError(
                f"another live process works on the run in {self.path}. Fix: wait for it, or send it the command "
                "cancel."
            )
        return handle

    # -- commands -----------------------------------------------------------------------------------------------------

    def send(self, verb: Verb, number: int | None = None) -> None:
        """Ask the process that owns the run to pause, resume, cancel or cancel one trial.

        Raises
        ------
        RunError : no process works on the run.
        """
        if verb not in get_args(Verb):
            raise UnknownNameError("run command", verb, get_args(Verb))
        if (verb == "cancel-trial") != (number is not None):
            raise ConfigError("cancel-trial needs the number of a trial; the other commands take none.")
        if not self.is_live():
            raise RunError(
                f"no process works on the run in {self.path} (its state is {self.state!r}), so nobody would hear "
                f"{verb!r}. Fix: continue the run first."
            )
        name = f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}.json"
        write_json(self.path / "commands" / name, {"verb": verb, "number": number})

    def take_commands(self) -> list[Command]:
        """Read and remove waiting commands, oldest first (for the owner)."""
        commands = []
        for path in self._command_files():
            try:
                raw = _read_json(path)
                commands.append(Command(raw["verb"], raw["number"]))
            except (ValueError, KeyError, TypeError) as error:
                LOG.warning("ignored the unreadable command %s: %s", path, error)
            path.unlink(missing_ok=True)
        return commands

    def _command_files(self) -> list[Path]:
        try:
            return sorted(p for p in (self.path / "commands").iterdir() if re.fullmatch(r"\d+-\w+\.json", p.name))
        except FileNotFoundError:
            return []

    # -- results ------------------------------------------------------------------------------------------------------

    def trials(self) -> list[TrialRecord]:
        """All trials that ended in whatever way, by number."""
        try:
            names = [p.name for p in self.trials_path.iterdir() if p.name.isdigit()]
        except FileNotFoundError:
            return []
        return [TrialRecord.read(self.trials_path / name) for name in sorted(names, key=int)]

    def trial_list(self) -> list[tuple[Candidate, dict[str, JsonScalar]]]:
        """Candidates and parameters of all completed trials, for `Search(replay=...)`."""
        return [(t.candidate, dict(t.params)) for t in self.trials() if t.usable]

    def metric(self) -> tuple[str, Direction]:
        """Name and direction of the metric the search chose by.

        Raises
        ------
        RunError : no search has started yet.
        """
        raw = self.read()
        if "metric" not in raw:
            raise RunError(f"the run in {self.path} has no leaderboard yet: its search has not started.")
        return raw["metric"], raw["direction"]

    def summary(self) -> list[dict[str, Any]]:
        """One row an algorithm: learner, trials, completed, best (natural sign, NaN = none), seconds; best first."""
        trials = self.trials()
        if not trials:
            return []
        name, direction = self.metric()
        rows: list[dict[str, Any]] = []
        for learner in dict.fromkeys(t.learner for t in trials):
            own = [t for t in trials if t.learner == learner]
            losses = [_loss(t, name, direction) for t in own]
            best = min(losses)
            rows.append(
                {
                    "learner": learner,
                    "trials": len(own),
                    "completed": sum(t.usable for t in own),
                    "best": math.nan if math.isinf(best) else best if direction == "min" else -best,
                    "seconds": sum(t.seconds for t in own if math.isfinite(t.seconds)),
                    "loss": best,
                }
            )
        rows.sort(key=lambda row: row["loss"])
        return [{k: v for k, v in row.items() if k != "loss"} for row in rows]

    def leaderboard(self, metric: str | None = None, direction: Direction | None = None) -> list[dict[str, Any]]:
        """All trials, best first by a metric (the run's own unless told), those without a score last.

        Parameters
        ----------
        metric : any metric the trials have. direction : of that metric; the run's own unless told.

        Returns
        -------
        Rows with model, learner, params, `score` (natural sign), one entry a metric, windows, fit_s, predict_s,
        seconds, peak_mb, fallbacks, status, reason, number.
        """
        trials = self.trials()
        if not trials and metric is None:
            return []
        own, own_direction = self.metric()
        name, sense = metric or own, direction or own_direction
        known = {m for t in trials for m in t.scores}
        if metric is not None and metric not in known:
            raise UnknownNameError("metric", metric, known)
        names = model_names(trials)
        ranked = sorted(trials, key=lambda t: (_loss(t, name, sense), t.number))
        return [_row(t, names[t.number], name) for t in ranked]


def model_names(trials: Sequence[TrialRecord]) -> dict[int, str]:
    """Trial number -> name shown: the learner's, with a running number from its second trial on."""
    seen: Counter[str] = Counter()
    names = {}
    for trial in trials:
        seen[trial.learner] += 1
        count = seen[trial.learner]
        names[trial.number] = trial.learner if count == 1 else f"{trial.learner}_{count}"
    return names


def _row(trial: TrialRecord, name: str, metric: str) -> dict[str, Any]:
    degraded = trial.usable and bool(trial.info.get("degraded"))
    info = trial.info
    return {
        "model": name,
        "learner": trial.learner,
        "params": dict(trial.params),
        "score": trial.scores.get(metric, math.nan),
        **trial.scores,
        "windows": info.get("windows"),
        "fit_s": info.get("fit_s", math.nan),
        "predict_s": info.get("predict_s", math.nan),
        "seconds": trial.seconds,
        "peak_mb": trial.peak_mb,
        "fallbacks": info.get("fallbacks", 0),
        "status": "degraded" if degraded else trial.status,
        "reason": str(info["degraded"]) if degraded else trial.reason,
        "number": trial.number,
    }


def _loss(trial: TrialRecord, metric: str, direction: Direction) -> float:
    score = trial.scores.get(metric, math.nan) if trial.usable else math.nan
    if math.isnan(score):
        return math.inf
    return score if direction == "min" else -score


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
