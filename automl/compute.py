"""Where work is done: executors by name. `executor("local")` is a pool of processes whose stuck workers can be killed.

The local pool never runs the user's script again, forks no threads, gives each worker its own thread count, and its
workers end with the process that started them, however that one ends.
"""

from __future__ import annotations

from concurrent.futures import Executor
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any, TypeVar

from automl.errors import ConfigError, UnknownNameError
from automl.inline import InlineExecutor
from automl.processes import worker_context
from automl.worker import call, start_worker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Future
    from pathlib import Path

T = TypeVar("T")
Initializer = tuple[str, "Mapping[str, Any]"]
"""What a worker does once before its first task: (`"module:function"`, keyword arguments)."""


def executor(
    name: str = "local",
    *,
    workers: int = 1,
    threads: int = 1,
    initializer: Initializer | None = None,
    preload: Sequence[str] = (),
    output: Path | None = None,
) -> LocalExecutor | InlineExecutor:
    """Return the executor of that name.

    Parameters
    ----------
    name : `"local"`, or `"inline"`: in this very process, one task after the other.
    workers : processes. threads : threads each of them may use.
    initializer : run in each worker before its first task; its failure is the failure of that task.
    preload : modules imported once and shared by all workers, so that a restarted one is ready at once.
    output : file that takes what workers write to stdout and stderr; None = where ours goes.

    Raises
    ------
    ConfigError : unknown name, or a count below 1.
    """
    if name == "inline":
        return InlineExecutor(initializer)
    if name != "local":
        raise UnknownNameError("compute backend", name, ["local", "inline"])
    if workers < 1 or threads < 1:
        raise ConfigError(f"workers and threads must be at least 1, got {workers!r} and {threads!r}.")
    return LocalExecutor(workers, threads=threads, initializer=initializer, preload=preload, output=output)


class LocalExecutor(Executor):
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

        self.workers = workers
        self._initializer = initializer
        self._pool = ProcessPool(
            max_workers=workers,
            initializer=start_worker,
            initargs=(threads, None if output is None else str(output)),
            context=worker_context(threads, tuple(preload)),
        )

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
