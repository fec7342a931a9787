"""Driving a kernel over many series: slices under a thread pool, the deadline checked between slices."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING

import numpy as np

from forecasting.kernels.compiled import compiling
from forecasting.pace import Pace

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
    fits: int = 1,
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
    what : the work, for the message. fits : how often all of it has to be done by the deadline.

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
    with compiling():
        run(*slices[0])
    pace = Pace(what, work, deadline, least=_LEAST_TIMED, fits=fits)
    pace.begin(slices[0][1])
    if threads <= 1:
        for first, end in slices[1:]:
            pace.check()
            run(first, end)
            pace.done(first, end)
        return
    with ThreadPoolExecutor(threads) as pool:
        futures = {pool.submit(run, first, end): (first, end) for first, end in slices[1:]}
        try:
            for count, future in enumerate(as_completed(futures), 1):
                future.result()
                pace.done(*futures[future])
                if count < len(futures):
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
