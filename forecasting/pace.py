"""Foreseeing whether many series can be done in time."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from automl.errors import DeadlineExceededError

if TYPE_CHECKING:
    from automl.budget import Deadline


class Pace:
    """Foresees from the series done whether the rest can be done in time.

    What is done before `begin` is not timed: it compiles or loads libraries, which would spoil the estimate.

    Parameters
    ----------
    what : the work, for messages. work : shape [n_series], expected cost of each series in any unit.
    least : pieces timed before anything is foreseen. fits : how often all of it has to be done by the deadline.

    Examples
    --------
    >>> from automl.budget import Deadline
    >>> pace = Pace("fitting", np.ones(3), Deadline(), least=1)
    >>> pace.begin(1)
    >>> pace.done(1, 2)
    >>> pace.check()
    """

    def __init__(self, what: str, work: np.ndarray, deadline: Deadline | None, *, least: int, fits: int = 1) -> None:
        self._what, self._deadline, self._least, self._fits = what, deadline, least, fits
        self._total = np.concatenate([[0.0], np.cumsum(np.asarray(work, dtype=float) + 1e-9)])
        self._timed = self._left = self._start = 0.0
        self._series = self._pieces = 0

    def begin(self, end: int) -> None:
        """Start the clock with the first `end` series done."""
        self._series = end
        self._left = float(self._total[-1] - self._total[end])
        self._start = perf_counter()

    def done(self, first: int, end: int) -> None:
        """Count series first..end as one piece."""
        amount = float(self._total[end] - self._total[first])
        self._timed += amount
        self._left -= amount
        self._series += end - first
        self._pieces += 1

    def check(self) -> None:
        """Go on or give up.

        Raises
        ------
        DeadlineExceededError : time is over, or the rest will not be done in time.
        """
        if self._deadline is None:
            return
        n = len(self._total) - 1
        self._deadline.check(f"{self._what}: {self._series} of {n} series were done")
        if self._pieces < self._least:
            return
        seconds = perf_counter() - self._start
        pace = seconds / self._timed
        rest = pace * (self._left + (self._fits - 1) * float(self._total[-1]))
        left = self._deadline.left()
        # the fewer were timed, the wider the doubt
        if rest > left * (1 + 1 / self._pieces):
            times = f" in {self._fits} windows" if self._fits > 1 else ""
            raise DeadlineExceededError(
                f"{self._what} needs about {seconds + rest:.0f} s for {n} series{times}, {max(left, 0):.0f} s left "
                f"after {self._series}"
            )
