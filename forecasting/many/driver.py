"""Pieces through an executor: in order, with retries, a line of progress, and nothing lost when one fails."""

from __future__ import annotations

import logging
import sys
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any

from automl.compute import executor
from automl.errors import EngineError, RunError
from automl.worker import describe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from automl.compute import TaskExecutor

LOG = logging.getLogger("forecasting.many")

PRELOAD = ("numpy", "pandas", "pyarrow", "scipy.special", "lightgbm", "forecasting.many.answers")
_TRIES = 3
_AHEAD = 2
"""Pieces handed out beyond those that workers are busy with."""
_EVERY = 10.0
"""Seconds between two lines of the log."""


@contextmanager
def crew(compute: str, workers: int | None) -> Iterator[TaskExecutor]:
    """Give workers of a compute backend; on the way out they are let go (at once after an error)."""
    hired = executor(compute, workers=workers, threads=1, preload=PRELOAD)
    try:
        yield hired
    except BaseException:
        hired.kill()
        raise
    hired.shutdown(wait=True)


@dataclass(slots=True)
class Progress:
    """How far a job is, in groups.

    Parameters
    ----------
    what : "fit", say. total : groups to do. done, failed : counted so far.
    """

    what: str
    total: int
    done: int = 0
    failed: int = 0
    _begun: float = field(default_factory=monotonic)
    _said: float = field(default_factory=monotonic)
    _live: Any = None

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Keep a line on a terminal up to date; elsewhere lines go to the log."""
        if not sys.stderr.isatty():
            yield
            return
        from rich.console import Console
        from rich.status import Status

        with Status(self.line(), console=Console(stderr=True)) as self._live:
            yield
        self._live = None

    def add(self, done: int, failed: int = 0) -> None:
        """Count groups and tell."""
        self.done, self.failed = self.done + done, self.failed + failed
        if self._live is not None:
            self._live.update(self.line())
        elif monotonic() - self._said >= _EVERY or self.done + self.failed >= self.total:
            self._said = monotonic()
            LOG.info("%s", self.line())

    def line(self) -> str:
        """One line: groups done, failed, left, time left."""
        ended = self.done + self.failed
        left = max(self.total - ended, 0)
        text = f"{self.what}: {self.done} groups done, {self.failed} failed, {left} left"
        if ended and left:
            seconds = (monotonic() - self._begun) / ended * left
            text += f", about {seconds / 60:.0f} min" if seconds >= 90 else f", about {seconds:.0f} s"
        return text


def run_pieces(
    hired: TaskExecutor,
    function: Callable[..., Any],
    jobs: Mapping[int, Sequence[Any]],
    on_done: Callable[[int, Any], None],
    *,
    what: str = "piece",
) -> None:
    """Run one job a piece; a worker that dies costs its piece another try.

    Parameters
    ----------
    function : importable. jobs : piece -> arguments. on_done : told of each piece that ended, with what it returned.
    what : a job is called in messages.

    Raises
    ------
    RunError : pieces failed; all others are done, and running the same again takes up these.
    """
    waiting = list(jobs)
    tries = dict.fromkeys(jobs, 0)
    running: dict[Future[Any], int] = {}
    failed: dict[int, str] = {}
    width = max(1, hired.workers) + _AHEAD
    while waiting or running:
        while waiting and len(running) < width:
            piece = waiting.pop(0)
            tries[piece] += 1
            running[_submitted(hired, function, jobs[piece])] = piece
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            piece = running.pop(future)
            try:
                result = future.result()
            except Exception as error:  # noqa: BLE001 - told below
                if lost_worker(error) and tries[piece] < _TRIES:
                    LOG.warning("%s %d is tried again: %s", what, piece, describe(error))
                    waiting.insert(0, piece)
                else:
                    failed[piece] = describe(error)
            else:
                on_done(piece, result)
    if failed:
        first = min(failed)
        raise RunError(
            f"{len(failed)} of {len(jobs)} {what}s failed, first {what} {first}: {failed[first]} What the others gave "
            "is kept: asked for the same once more, with the same data and settings, only these are tried."
        )


def lost_worker(error: BaseException) -> bool:
    """Whether a task failed because its worker died, which another try may mend; it cannot mend what a task raised."""
    from pebble import ProcessExpired

    return isinstance(error, ProcessExpired | EngineError | BrokenProcessPool)


def _submitted(hired: TaskExecutor, function: Callable[..., Any], arguments: Sequence[Any]) -> Future[Any]:
    """A task handed out; where no worker can be started that is what the task comes to."""
    try:
        return hired.submit(function, *arguments)
    except BrokenProcessPool as error:
        future: Future[Any] = Future()
        future.set_exception(error)
        return future
