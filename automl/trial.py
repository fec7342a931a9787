"""What an evaluation gets and leaves behind: the protocol between a task and the engine."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np

    from automl.budget import Deadline
    from automl.candidates import Candidate, JsonScalar

State = tuple[dict[str, Any], dict[str, "np.ndarray | bytes"]]
"""A fitted model without code: a JSON part and named arrays or native byte strings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One evaluation to be done.

    Parameters
    ----------
    number : position in the search, from 0.
    candidate, params : what to evaluate; `params` are the candidate's values with the sampled ones on top.
    seed : random seed of this fit. The same for all trials of a run, so that params alone decide a result.
    threads : how many threads the fit may use.
    deadline : after it the worker is killed; a well-behaved learner gives up before.
    directory : the trial's own folder for checkpoints; what lies there is kept.
    thresholds : rung -> worst loss (lower is better) still worth going on with, fixed when the trial was asked.
    by_best : whether they are for the best loss reported so far; else for the one reported at the rung.
    fold : only this fold is to be evaluated; None = all.
    """

    number: int
    candidate: Candidate
    params: Mapping[str, JsonScalar]
    seed: int
    threads: int
    deadline: Deadline
    directory: Path
    thresholds: Mapping[int, float] = field(default_factory=dict)
    by_best: bool = False
    fold: int | None = None
    reported: dict[int, float] = field(default_factory=dict)

    def report(self, step: int, loss: float) -> bool:
        """Record an intermediate loss (lower is better) at a rung; True means: stop, this trial is hopeless.

        Folds, epochs and sample sizes are all rungs. The threshold is a snapshot, so the answer depends on the
        trials told before this one was asked and not on timing.
        """
        self.reported[step] = float(loss)
        if not math.isfinite(loss):
            return True
        judged = min(x for x in self.reported.values() if math.isfinite(x)) if self.by_best else loss
        return judged > self.thresholds.get(step, math.inf)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What one evaluation leaves behind.

    Parameters
    ----------
    scores : metric name -> value in the metric's natural sign; NaN where undefined.
    predictions : named arrays kept for the ensemble (out-of-sample only).
    seconds : wall time; peak_mb : peak memory of the process while it ran (the engine fills both when left NaN).
    info : anything JSON-able for the leaderboard (windows, fit_s, predict_s, fallbacks, ...).
    pruned : stopped early because `Trial.report` said so.
    """

    scores: Mapping[str, float]
    predictions: Mapping[str, np.ndarray] = field(default_factory=dict)
    seconds: float = math.nan
    peak_mb: float = math.nan
    info: Mapping[str, Any] = field(default_factory=dict)
    pruned: bool = False


class Task(Protocol):
    """What a task hands the engine. Lives in the workers, which open it from files rather than from a pickle."""

    def evaluate(self, trial: Trial) -> Evaluation:
        """Fit and score one configuration out of sample."""
        ...

    def refit(self, candidate: Candidate, params: Mapping[str, JsonScalar], deadline: Deadline) -> State:
        """Fit one configuration on all data and return it as state."""
        ...
