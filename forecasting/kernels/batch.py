"""Driving a kernel over many series: slices under a thread pool, the deadline checked between slices."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, as_completed
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from automl.errors import DeadlineExceededError

if TYPE_CHECKING:
    from collections.abc import Callable

    from automl.budget import Deadline

_SLICES_A_THREAD = 64
_LEAST_TIMED = 4


def over_slices(
    run: Callable[[int, int], None],
    work: np.ndarray,
    *,
    threads: int = 1,
    deadline: Deadline | None = None,
    what: str = "fitting",
) -> None:
    """Call `run(first, end)` for consecutive slices of series that together cover all of them once.

    What a series gets must not depend on its slice: then the result is the same for any number of threads.

    Parameters
    ----------
    run : a kernel bound to its arrays; it writes to rows first..end of arrays the caller made, and must let go of the
        interpreter lock.
    work : shape [n_series], expected cost of each series in any unit (its length, for one).
    threads : how many slices run at a time.
    deadline : checked between slices.
    what : the work, for the message.

    Raises
    ------
    DeadlineExceededError : time is over, or the first slices show that it will not do.

    Examples
    --------
    >>> squares = np.zeros(5)
    >>> def run(first, end):
    ...     squares[first:end] = np.arange(first, end) ** 2
    >>> over_slices(run, np.ones(5), threads=2)
    >>> squares.tolist()
    [0.0, 1.0, 4.0, 9.0, 16.0]
    """
    edges = cut(work, threads * _SLICES_A_THREAD)
    slices = list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))
    if not slices:
        return
    if deadline is not None:
        deadline.check(what)
    # the first slice runs alone: it compiles, or loads the compiled code, which would spoil the estimate of the pace
    run(*slices[0])
    pace = _Pace(what, work, edges, deadline)
    pace.begin()
    if threads <= 1:
        for first, end in slices[1:]:
            pace.check()
            run(first, end)
            pace.done(first, end)
        return
    with ThreadPoolExecutor(threads) as pool:
        futures = {pool.submit(run, first, end): (first, end) for first, end in slices[1:]}
        try:
            for future in as_completed(futures):
                future.result()
                pace.done(*futures[future])
                if len(futures) > pace.count:
                    pace.check()
        except BaseException:
            for future in futures:
                future.cancel()
            raise


def cut(work: np.ndarray, pieces: int) -> np.ndarray:
    """Edges of at most so many consecutive slices of about equal work. Shape [<= pieces + 1].

    Examples
    --------
    >>> cut(np.array([1.0, 1.0, 1.0, 3.0]), 2).tolist()
    [0, 3, 4]
    """
    total = np.concatenate([[0.0], np.cumsum(np.asarray(work, dtype=float) + 1e-9)])
    wanted = np.linspace(0.0, total[-1], max(1, pieces) + 1)
    edges = np.unique(np.searchsorted(total, wanted * (1 - 1e-12)))
    edges[0], edges[-1] = 0, len(work)
    return np.unique(edges)


class _Pace:
    """Foresees from the slices done whether the rest can be done in time."""

    def __init__(self, what: str, work: np.ndarray, edges: np.ndarray, deadline: Deadline | None) -> None:
        self._what, self._deadline = what, deadline
        self._total = np.concatenate([[0.0], np.cumsum(np.asarray(work, dtype=float) + 1e-9)])
        self._left = float(self._total[-1] - self._total[edges[1]])
        self._done = 0.0
        self._series = int(edges[1])
        self._start = 0.0
        self.count = 0

    def begin(self) -> None:
        self._start = perf_counter()

    def done(self, first: int, end: int) -> None:
        amount = float(self._total[end] - self._total[first])
        self._done += amount
        self._left -= amount
        self._series += end - first
        self.count += 1

    def check(self) -> None:
        if self._deadline is None:
            return
        n = len(self._total) - 1
        self._deadline.check(f"{self._what}: {self._series} of {n} series were done")
        if self.count < _LEAST_TIMED:
            return
        seconds = perf_counter() - self._start
        rest = seconds / self._done * self._left
        left = self._deadline.left()
        # the fewer were timed, the wider the doubt
        if rest > left * (1 + 1 / self.count):
            raise DeadlineExceededError(
                f"{self._what} needs about {seconds + rest:.0f} s for {n} series, {max(left, 0):.0f} s left after "
                f"{self._series}"
            )
