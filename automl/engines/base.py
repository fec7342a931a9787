"""What the executors of all clusters share: a queue here, as many tasks there as it runs at a time, limits, an end."""

from __future__ import annotations

import logging
import threading
import uuid
from abc import abstractmethod
from collections import deque
from concurrent.futures import Future, InvalidStateError
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from automl.compute import TaskExecutor
from automl.engines.task import Setup, pack, unpack
from automl.errors import EngineError
from automl.worker import describe

if TYPE_CHECKING:
    from collections.abc import Callable

    from automl.compute import Initializer

T = TypeVar("T")
LOG = logging.getLogger("automl")

RETRIES = 3
"""Times a task is run again after its worker died."""

_REFRESH = 2.0
"""Seconds for which a cluster's size is believed."""


class EngineFuture(Future[T]):
    """A future that can be cancelled while its task runs, as those of the local executor can."""

    sent = False

    def running(self) -> bool:
        """Whether the cluster has the task; it may still wait there for a worker that others keep busy."""
        return self.sent and not self.done()


class _Job:
    """A task between its submission and its end."""

    def __init__(self, work: bytes, timeout: float | None) -> None:
        self.future: EngineFuture[Any] = EngineFuture()
        self.work = work
        self.timeout = timeout
        self.deadline = float("inf")
        self.handle: Any = None


class EngineExecutor(TaskExecutor):
    """An executor over a cluster; one thread here hands over tasks, takes answers and watches the time.

    An engine says how a task is started and stopped. The future of a task whose workers died again and again raises
    `EngineError`, that of a task past its limit `TimeoutError`; time is counted from when the cluster gets the task.
    """

    def __init__(
        self,
        name: str,
        place: tuple[str, int] | None,
        *,
        workers: int | None = None,
        threads: int = 1,
        initializer: Initializer | None = None,
    ) -> None:
        self.name = name
        self._most = workers
        self._threads = threads
        self._setup = Setup(uuid.uuid4().hex, threads, initializer)
        self._size = (0, float("-inf"))
        self._closing = False
        self._door = threading.Lock()  # nothing comes in after the last look
        self._waiting: deque[_Job] = deque()
        self._sent: set[_Job] = set()
        self._events: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._open(place)
        self._thread = threading.Thread(target=self._serve, daemon=True, name=f"executor {name}")
        self._thread.start()

    # -- what an engine does ------------------------------------------------------------------------------------------

    @abstractmethod
    def _open(self, place: tuple[str, int] | None) -> None:
        """Connect, or raise EngineError."""

    @abstractmethod
    def _slots(self) -> int:
        """Tasks the cluster runs at a time."""

    @abstractmethod
    def _start(self, work: bytes, done: Callable[[bytes | BaseException], None]) -> Any:
        """Have `perform(work)` run; `done` gets the answer or the engine's error. Returns a handle for `_stop`."""

    @abstractmethod
    def _stop(self, handle: Any) -> None:
        """End a task, whether it runs or not."""

    @abstractmethod
    def _close(self) -> None:
        """Close our connection, and nothing of the user's."""

    # -- the executor -------------------------------------------------------------------------------------------------

    @property
    def workers(self) -> int:
        """Tasks that run at a time: what the cluster has now, at most what was asked for, at least one."""
        size, measured = self._size
        if monotonic() - measured > _REFRESH and not self._closing:
            size = self._slots()
            self._size = (size, monotonic())
        return max(1, size if self._most is None else min(size, self._most))

    def submit(  # type: ignore[override]
        self, fn: Callable[..., T], /, *args: Any, timeout: float | None = None, **kwargs: Any
    ) -> Future[T]:
        """Schedule `fn(*args, **kwargs)`; `fn` must be importable on the workers, arguments small.

        Raises
        ------
        BrokenProcessPool : the executor was shut down.
        """
        try:
            job = _Job(pack(self._setup, fn, args, kwargs), timeout)
        except Exception as error:  # noqa: BLE001 - whatever pickling an argument raises
            failed: Future[T] = Future()
            failed.set_exception(error)
            return failed
        job.future.add_done_callback(lambda f: self._events.put(partial(self._drop, job)) if f.cancelled() else None)
        with self._door:
            if self._closing:
                raise BrokenProcessPool(f"the executor of {self.name} was shut down")
            self._events.put(partial(self._waiting.append, job))
        return job.future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let all tasks finish, then close our connection; with `cancel_futures` stop them at once."""
        with self._door:
            self._closing = True
            self._events.put(self._cancel_all if cancel_futures else _nothing)
        if (wait or cancel_futures) and threading.current_thread() is not self._thread:
            self._thread.join()

    def kill(self) -> None:
        """Stop all tasks and close our connection; the cluster goes on."""
        self.shutdown(cancel_futures=True)

    # -- its thread ---------------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        while True:
            self._launch()
            if self._closing and not self._waiting and not self._sent and self._events.empty():
                break
            with suppress(Empty):
                self._events.get(timeout=self._patience())()
            self._expire()
        try:
            self._close()
        except Exception as error:  # noqa: BLE001 - the cluster may be gone already
            LOG.info("closing the connection to %s: %s", self.name, describe(error))

    def _patience(self) -> float | None:
        """Seconds until something is to be done unasked."""
        first = min((job.deadline for job in self._sent), default=float("inf"))
        wait = min(max(0.0, first - monotonic()), _REFRESH if self._waiting else float("inf"))
        return None if wait == float("inf") else wait

    def _launch(self) -> None:
        """Fill the cluster's free slots."""
        while self._waiting:
            job = self._waiting[0]
            try:
                if len(self._sent) >= self.workers:
                    return
                self._waiting.popleft()
                self._send(job)
            except Exception as error:  # noqa: BLE001 - whatever an engine raises when its cluster is gone
                if job in self._waiting:
                    self._waiting.remove(job)
                self._sent.discard(job)
                lost = BrokenProcessPool(f"{self.name} takes no more tasks: {describe(error)}")
                lost.__cause__ = error
                _settle(job, lost)

    def _send(self, job: _Job) -> None:
        if job.future.cancelled():
            return
        self._sent.add(job)
        job.handle = self._start(job.work, lambda answer: self._events.put(partial(self._finish, job, answer)))
        job.future.sent = True
        if job.timeout is not None:
            job.deadline = monotonic() + job.timeout

    def _finish(self, job: _Job, answer: bytes | BaseException) -> None:
        if job not in self._sent:  # stopped before
            return
        self._sent.remove(job)
        job.handle = None
        if isinstance(answer, BaseException):
            lost = EngineError(f"{self.name} gave up a task: {describe(answer)}")
            lost.__cause__ = answer
            _settle(job, lost)
            return
        try:
            value = unpack(answer)
        except BaseException as error:  # noqa: BLE001 - the task's own errors, SystemExit among them
            _settle(job, error)
            return
        with suppress(InvalidStateError):  # cancelled at the last moment
            job.future.set_result(value)

    def _expire(self) -> None:
        now = monotonic()
        for job in [job for job in self._sent if job.deadline <= now]:
            self._sent.remove(job)
            self._end(job)
            _settle(job, TimeoutError(f"not done within {job.timeout:g} s on {self.name}"))

    def _drop(self, job: _Job) -> None:
        """Forget a cancelled job, and tell those who wait for it."""
        job.future.set_running_or_notify_cancel()
        if job in self._waiting:
            self._waiting.remove(job)
        elif job in self._sent:
            self._sent.remove(job)
            self._end(job)

    def _cancel_all(self) -> None:
        for job in [*self._waiting, *self._sent]:
            job.future.cancel()

    def _end(self, job: _Job) -> None:
        try:
            self._stop(job.handle)
        except Exception as error:  # noqa: BLE001 - the cluster may be gone
            LOG.info("stopping a task on %s: %s", self.name, describe(error))


def _nothing() -> None:
    """Wake the thread."""


def _settle(job: _Job, error: BaseException) -> None:
    with suppress(InvalidStateError):  # cancelled at the last moment
        job.future.set_exception(error)
