"""Where work is done: executors by name. `executor("local")` is a pool of processes whose stuck workers can be killed.

`executor("dask://host:port")`, `"ray://host:port"` and `"spark"` hand the same tasks to a cluster (`automl.engines`).

The local pool never runs the user's script again, forks no threads, gives each worker its own thread count, and its
workers end with the process that started them, however that one ends.
"""

from __future__ import annotations

from abc import abstractmethod
from concurrent.futures import Executor
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any, TypeVar

from automl.errors import ConfigError
from automl.processes import worker_context
from automl.worker import call, start_worker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Future
    from pathlib import Path

T = TypeVar("T")
Initializer = tuple[str, "Mapping[str, Any]"]
"""What a worker does once before its first task: (`"module:function"`, keyword arguments)."""


class TaskExecutor(Executor):
    """What all executors here can: tasks with a time limit, and an end at once."""

    @property
    @abstractmethod
    def workers(self) -> int:
        """How many tasks run at a time."""

    @abstractmethod
    def submit(  # type: ignore[override]
        self, fn: Callable[..., T], /, *args: Any, timeout: float | None = None, **kwargs: Any
    ) -> Future[T]:
        """Schedule `fn(*args, **kwargs)`, which may run for `timeout` seconds."""

    @abstractmethod
    def kill(self) -> None:
        """Stop all tasks and close, without waiting for any of them."""


def executor(
    name: str = "local",
    *,
    workers: int | None = None,
    threads: int = 1,
    initializer: Initializer | None = None,
    preload: Sequence[str] = (),
    output: Path | None = None,
) -> TaskExecutor:
    """Return the executor of that name.

    Parameters
    ----------
    name : `"local"`, `"dask://host:port"` (a scheduler), `"ray://host:port"` (a Ray Client server), `"spark"` (the
        session there is, else the configured master, else this machine) or `"spark://host:port"` (a standalone master);
        `"inline"` is this very process, one task after the other.
    workers : tasks at a time; None = 1 locally, and as many as the cluster runs elsewhere.
    threads : threads each task may use.
    initializer : run in each worker before its first task; its failure is the failure of that task.
    preload : modules imported once and shared by all workers, so that a restarted one is ready at once. Local only.
    output : file that takes what workers write to stdout and stderr; None = where ours goes. Local only: clusters
        have logs of their own.

    Raises
    ------
    ConfigError : unknown name, malformed address, or a count below 1.
    MissingPackageError : the engine's package is not installed.
    EngineError : the cluster cannot be reached.
    """
    if name == "inline":
        from automl.inline import InlineExecutor

        return InlineExecutor(initializer)
    if threads < 1 or (workers is not None and workers < 1):
        raise ConfigError(f"workers and threads must be at least 1, got {workers!r} and {threads!r}.")
    if name == "local":
        return LocalExecutor(workers or 1, threads=threads, initializer=initializer, preload=preload, output=output)
    from automl.engines import connect

    return connect(name, workers=workers, threads=threads, initializer=initializer)


class LocalExecutor(TaskExecutor):
    """Processes on this machine; a task past its time limit or cancelled while it runs is killed.

    A task's function and arguments must be importable in a fresh process: nothing of the user's script is.
    The future of a killed task raises `TimeoutError`, that of a dead worker `pebble.ProcessExpired` (with `exitcode`).
    """

    def __init__(
        self,
        workers: int,
        *,
        threads: int = 1,
        initializer: Initializer | None = None,
        preload: Sequence[str] = (),
        output: Path | None = None,
    ) -> None:
        from pebble import ProcessPool

        self._workers = workers
        self._initializer = initializer
        self._pool = ProcessPool(
            max_workers=workers,
            initializer=start_worker,
            initargs=(threads, None if output is None else str(output)),
            context=worker_context(threads, tuple(preload)),
        )

    @property
    def workers(self) -> int:
        """Processes of the pool."""
        return self._workers

    def submit(  # type: ignore[override]
        self, fn: Callable[..., T], /, *args: Any, timeout: float | None = None, **kwargs: Any
    ) -> Future[T]:
        """Schedule `fn(*args, **kwargs)`; after `timeout` seconds of running its worker is killed.

        Raises
        ------
        BrokenProcessPool : workers cannot be started, or the pool broke down or was shut down.
        """
        try:
            future: Future[T] = self._pool.schedule(call, args=(self._initializer, fn, args, kwargs), timeout=timeout)
        except (RuntimeError, OSError, EOFError) as error:
            raise BrokenProcessPool(f"no worker process can be started: {error}") from error
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let running tasks finish, then stop the workers; with `cancel_futures` kill them at once."""
        if cancel_futures:
            self.kill()
            return
        self._pool.close()
        if wait:
            self._pool.join()

    def kill(self) -> None:
        """Kill all workers, whatever they do; returns when they are gone."""
        self._pool.stop()
        self._pool.join()
