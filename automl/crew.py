"""The workers of one search: started when first needed, replaced when killed, gone when the search is."""

from __future__ import annotations

import logging
import weakref
from concurrent.futures import CancelledError, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from time import sleep
from typing import TYPE_CHECKING, Any, Literal

from automl.compute import TaskExecutor, executor
from automl.errors import RunError
from automl.worker import InitializerError, Report, describe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from concurrent.futures import Future
    from pathlib import Path

LOG = logging.getLogger("automl")

_LOOK_AROUND = 0.1
"""Seconds between looks at commands and the clock while nothing ends."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a piece of work ended: a worker's report, or what became of the worker.

    Parameters
    ----------
    status : as of `Report`, or `cancelled`, or `broken` (the pool broke down; not this work's fault).
    """

    status: Literal["stored", "failed", "timeout", "storage", "cancelled", "broken"]
    reason: str = ""


class Crew:
    """Local workers that have a task open.

    Parameters
    ----------
    task : (`"module:function"`, keyword arguments) that opens the task. output : file for what workers print.
    workers : processes, 0 = everything is done in this one, where nothing can be killed.
    """

    def __init__(
        self,
        task: tuple[str, Mapping[str, Any]],
        *,
        workers: int,
        threads: int,
        preload: Sequence[str],
        output: Path,
    ) -> None:
        self.workers = max(workers, 1)
        self._make: Callable[[], TaskExecutor] = lambda: executor(
            "local" if workers else "inline",
            workers=self.workers,
            threads=threads,
            initializer=("automl.worker:open_task", {"target": task[0], "values": dict(task[1])}),
            preload=preload,
            output=output,
        )
        self._held: list[TaskExecutor] = []
        weakref.finalize(self, _kill_all, self._held)

    def submit(self, function: Callable[..., Report], *args: Any, timeout: float | None) -> Future[Report]:
        """Hand work to a worker; a pool that broke down is replaced once."""
        try:
            return self._pool().submit(function, *args, timeout=timeout)
        except BrokenProcessPool as error:
            LOG.warning("the worker pool broke down and is replaced: %s", error)
            self.kill()
        try:
            return self._pool().submit(function, *args, timeout=timeout)
        except BrokenProcessPool as error:
            self.kill()
            raise RunError(f"worker processes cannot be started: {error}") from error

    def _pool(self) -> TaskExecutor:
        if not self._held:
            self._held.append(self._make())
        return self._held[0]

    def kill(self) -> None:
        """End all workers at once; the next `submit` starts new ones."""
        _kill_all(self._held)

    def rest(self, futures: Iterable[Future[Report]]) -> None:
        """Wait until one of these ends, at most until it is time to look around."""
        some = list(futures)
        if some:
            wait(some, timeout=_LOOK_AROUND, return_when="FIRST_COMPLETED")
        else:  # `wait` for nothing returns at once: a paused run would keep a core busy
            sleep(_LOOK_AROUND)

    def ending(self, future: Future[Report]) -> Ending:
        """How finished work ended.

        Raises
        ------
        RunError : workers cannot open the task, so no other work would fare better.
        """
        from pebble import ProcessExpired

        try:
            report = future.result(timeout=0)
        except CancelledError:
            return Ending("cancelled")
        except TimeoutError:
            return Ending("timeout")
        except InitializerError as error:
            raise RunError(f"workers cannot open the task: {error}") from error
        except ProcessExpired as error:
            return Ending("failed", _obituary(error.exitcode))
        except BrokenProcessPool as error:
            self.kill()
            return Ending("broken", f"its worker was lost: {error}")
        except Exception as error:  # noqa: BLE001 - e.g. arguments that cannot be sent; the reason is recorded
            return Ending("failed", describe(error))
        if report.details:
            LOG.info("%s\n%s", report.reason, report.details)
        return Ending(report.status, report.reason)


def _kill_all(held: list[TaskExecutor]) -> None:
    while held:
        held.pop().kill()


def _obituary(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        import signal

        try:
            name = signal.Signals(-exitcode).name
        except ValueError:
            name = str(-exitcode)
        return f"worker died: killed by signal {name} (e.g. out of memory, or a crash in native code)"
    code = 0 if exitcode == 256 else exitcode
    return f"worker died: it ended itself with exit code {code}"
