"""A task that is not forecasting: polynomials through noisy points, and learners that misbehave.

Each evaluation appends a line to `log`, so that tests can count what was really run, in whatever process.
"""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from automl.candidates import Candidate, Choice, Float, Int
from automl.errors import LearnerError
from automl.trial import Evaluation

if TYPE_CHECKING:
    from automl.trial import State, Trial

TARGET = "tests.automl.toy_task:open_toy"

POLY = Candidate.of(
    "poly", {"degree": 1, "ridge": 1e-3}, space={"degree": Int(0, 9), "ridge": Float(1e-6, 10.0, log=True)}
)
MEAN = Candidate.of("mean")
WAVE = Candidate.of(
    "wave", {"period": 3.0, "phase": "sin"}, space={"period": Float(0.5, 9.0), "phase": Choice(("sin", "cos"))}
)
GOOD = [MEAN, POLY, WAVE]


def open_toy(log: str, n: int = 60, pause: float = 0.0) -> ToyTask:
    return ToyTask(Path(log), n, pause)


class ToyTask:
    def __init__(self, log: Path, n: int, pause: float) -> None:
        rng = np.random.default_rng(7)
        self.x = np.sort(rng.uniform(-3, 3, n))
        self.y = np.sin(1.7 * self.x) + 0.3 * self.x + rng.normal(0, 0.2, n)
        self.test = np.arange(n) % 3 == 0
        self.log = log
        self.pause = pause

    def evaluate(self, trial: Trial) -> Evaluation:
        _append(self.log, f"start {trial.number} {os.getpid()} {trial.candidate.learner}")
        pruned = MISBEHAVE.get(trial.candidate.learner, lambda *_: False)(self, trial)
        time.sleep(self.pause)
        x, y = self.x[~self.test], self.y[~self.test]
        coefficients = self._fit(trial.candidate.learner, dict(trial.params), x, y, trial.seed)
        predicted = _design(trial.candidate.learner, dict(trial.params), self.x[self.test]) @ coefficients
        truth = self.y[self.test]
        mse = float(np.mean((predicted - truth) ** 2))
        for rung, share in enumerate((0.5, 1.0)):
            k = int(len(truth) * share)
            if trial.report(rung, float(np.mean((predicted[:k] - truth[:k]) ** 2))) and rung == 0:
                pruned = True
                break
        _append(self.log, f"end {trial.number} {os.getpid()} {trial.candidate.learner}")
        scores = {"mse": mse, "r2": 1 - mse / float(np.var(truth)), "nothing": float("nan")}
        info = {"windows": 1, "fit_s": 0.0, "threads": os.environ["OMP_NUM_THREADS"]}
        return Evaluation(scores=scores, predictions={"y": predicted}, info=info, pruned=pruned)

    def refit(self, candidate: Candidate, params, deadline) -> State:
        _append(self.log, f"refit {candidate.learner} {os.getpid()}")
        if candidate.learner in MISBEHAVE:
            MISBEHAVE[candidate.learner](self, None)
        coefficients = self._fit(candidate.learner, dict(params), self.x, self.y, 0)
        return {"learner": candidate.learner}, {"coefficients": coefficients}

    def _fit(self, learner, params, x, y, seed):
        a = _design(learner, params, x)
        jitter = np.random.default_rng(seed).normal(0, 1e-3, a.shape[1])  # a fit that depends on its seed
        return np.linalg.solve(a.T @ a + params.get("ridge", 1e-6) * np.eye(a.shape[1]), a.T @ y) + jitter


def _design(learner: str, params: dict, x: np.ndarray) -> np.ndarray:
    if learner == "poly":
        return np.stack([(x / 3) ** k for k in range(int(params["degree"]) + 1)], axis=1)
    if learner == "wave":
        wave = np.sin if params["phase"] == "sin" else np.cos
        return np.stack([np.ones_like(x), x, wave(2 * np.pi * x / params["period"])], axis=1)
    return np.ones((len(x), 1))


def _append(path: Path, line: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(handle, f"{line}\n".encode())
    os.close(handle)


# -- learners that misbehave ------------------------------------------------------------------------------------------


def _sleep(_task, _trial):
    time.sleep(10_000)


def _stuck(_task, _trial):
    """Holds the interpreter lock in C code, deaf to anything but a kill."""
    re.match(r"(a*)*b", "a" * 40)


def _raise(_task, _trial):
    raise LearnerError("too few points for this learner: found 3, needs 10.")


def _crash(_task, _trial):
    return {}["missing"]


def _exit(code):
    def leave(_task, _trial):
        os._exit(code)

    return leave


def _killed(_task, _trial):
    os.kill(os.getpid(), signal.SIGKILL)


def _fill_disk(_task, trial):
    """Makes storing fail with an OSError: the trial's folder is no folder any more."""
    trial.directory.rmdir()
    trial.directory.write_text("in the way", encoding="utf-8")


def _slow(_task, _trial):
    time.sleep(1.0)


def _fat(_task, _trial):
    np.ones(40_000_000 // 8).sum()


def _quit(_task, _trial):
    raise SystemExit(3)


MISBEHAVE = {
    "sleep": _sleep,
    "stuck": _stuck,
    "raise": _raise,
    "crash": _crash,
    "exit0": _exit(0),
    "exit7": _exit(7),
    "killed": _killed,
    "quit": _quit,
    "disk": _fill_disk,
    "slow": _slow,
    "fat": _fat,
}


SEEN: list[int] = []


def see(value: int) -> None:
    """An initializer that leaves a mark in its process."""
    SEEN.append(value)


def seen() -> list[int]:
    return list(SEEN)


def lines(log: Path, word: str) -> list[str]:
    """The log's lines that begin with a word, without it."""
    if not log.exists():
        return []
    return [line.partition(" ")[2] for line in log.read_text(encoding="utf-8").splitlines() if line.startswith(word)]


def numbers(log: Path, word: str) -> list[int]:
    return [int(line.split()[0]) for line in lines(log, word)]
