"""Time as one object passed down, and the rules that end a search."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from time import monotonic
from typing import TYPE_CHECKING

from automl.errors import ConfigError, DeadlineExceededError

if TYPE_CHECKING:
    from collections.abc import Sequence

_USUAL = 600.0
"""Seconds of a search of tables or images that nobody gave a time."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """An instant on the system's monotonic clock, which all processes of one machine share.

    Examples
    --------
    >>> Deadline.after(None).left()
    inf
    >>> Deadline.after(60).sooner(Deadline.after(5)).left() <= 5
    True
    """

    at: float = math.inf

    @classmethod
    def after(cls, seconds: float | None) -> Deadline:
        """Deadline `seconds` from now; None means never."""
        return cls(math.inf if seconds is None else monotonic() + seconds)

    def left(self) -> float:
        """Seconds left; negative once it has passed."""
        return self.at - monotonic()

    @property
    def passed(self) -> bool:
        """Whether the instant lies behind us."""
        return self.left() <= 0

    def sooner(self, other: Deadline) -> Deadline:
        """Return the earlier of two deadlines."""
        return self if self.at <= other.at else other

    def earlier(self, seconds: float) -> Deadline:
        """Return a deadline `seconds` before this one."""
        return Deadline(self.at - seconds)

    def later(self, seconds: float) -> Deadline:
        """Return a deadline `seconds` after this one."""
        return Deadline(self.at + seconds)

    def check(self, doing: str) -> None:
        """Raise DeadlineExceededError naming what was going on when time ran out."""
        if self.passed:
            raise DeadlineExceededError(f"out of time while {doing}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitCriteria:
    """When a search stops. Times in seconds, counts in trials.

    Early stopping follows the described service: the first `landmarks` trials are never stopped; after them the
    search stops when the best score has not improved within the last `patience` trials.

    Parameters
    ----------
    time_limit : whole run, search + refit + intervals; None = no limit.
    max_trials : number of trials to start in all.
    trial_time_limit : one trial is killed after so long; None = only the run's limit.
    exit_score : stop once the best primary score is at least as good as this, in the metric's natural sign.
    early_stopping, patience, landmarks : see above.
    """

    time_limit: float | None = None
    max_trials: int | None = None
    trial_time_limit: float | None = None
    exit_score: float | None = None
    early_stopping: bool = True
    patience: int = 10
    landmarks: int = 20

    def __post_init__(self) -> None:
        for name in ("time_limit", "trial_time_limit"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"{name} must be a positive number of seconds, got {value!r}.")
        if self.max_trials is not None and self.max_trials < 1:
            raise ConfigError(f"max_trials must be at least 1, got {self.max_trials!r}.")
        if self.patience < 1 or self.landmarks < 0:
            raise ConfigError(
                f"patience must be >= 1 and landmarks >= 0, got {self.patience!r} and {self.landmarks!r}."
            )

    def within(self, asked: float | str | None) -> ExitCriteria:
        """The same with the time limit asked for: "auto" = its own, 600 seconds where it has none; None = its own.

        Raises
        ------
        ConfigError : it is another text.

        Examples
        --------
        >>> [ExitCriteria(time_limit=own).within("auto").time_limit for own in (None, 7200)]
        [600.0, 7200]
        """
        if isinstance(asked, str):
            if asked != "auto":
                raise ConfigError(f"time_limit must be seconds, None or 'auto', got {asked!r}.")
            return self if self.time_limit is not None else replace(self, time_limit=_USUAL)
        return self if asked is None else replace(self, time_limit=float(asked))

    def no_progress(self, losses: Sequence[float]) -> bool:
        """Whether early stopping applies after trials with these losses (lower is better, told order, NaN = failed).

        Examples
        --------
        >>> rule = ExitCriteria()
        >>> [rule.no_progress([1.0] * n) for n in (30, 31)]
        [False, True]
        """
        if not self.early_stopping or len(losses) <= self.landmarks + self.patience:
            return False
        best, best_at = math.inf, -1
        for i, loss in enumerate(losses):
            if loss < best:
                best, best_at = loss, i
        return len(losses) - 1 - max(best_at, self.landmarks) >= self.patience
