"""An executor that works in the calling process: for workers that may not start processes of their own."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from automl.candidates import import_object
from automl.compute import TaskExecutor
from automl.worker import InitializerError, describe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")


class InlineExecutor(TaskExecutor):
    """Runs each task when it is handed in; its future is done when `submit` returns.

    Nothing can be killed here: a task ends by itself or when it looks at its deadline, and a crash in native code is
    ours.
    """

    def __init__(self, initializer: tuple[str, Mapping[str, Any]] | None = None) -> None:
        self._initializer = initializer

    @property
    def workers(self) -> int:
        """Return 1."""
        return 1

    def submit(  # type: ignore[override]
        self, fn: Callable[..., T], /, *args: Any, timeout: float | None = None, **kwargs: Any
    ) -> Future[T]:
        """Run `fn(*args, **kwargs)` now; `timeout` is not enforced."""
        del timeout
        future: Future[T] = Future()
        try:
            self._initialize()
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - it is the task's, and whoever asks for the result gets it
            future.set_exception(error)
        return future

    def _initialize(self) -> None:
        if self._initializer is None:
            return
        target, values = self._initializer
        self._initializer = None
        try:
            import_object(target)(**values)
        except Exception as error:
            self._initializer = (target, values)
            raise InitializerError(f"{target} failed: {describe(error)}") from error

    def kill(self) -> None:
        """There is nothing to kill."""
