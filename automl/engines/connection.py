"""Connecting to clusters: in time or with an error that says what to do, and once where a process can have only one."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

from automl.errors import EngineError
from automl.worker import describe

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

CONNECT_SECONDS = 12.0
"""Time for a cluster to answer at all."""


def reach(name: str, place: tuple[str, int], fix: str) -> None:
    """Raise EngineError when nothing listens there: engines themselves may try for minutes."""
    try:
        socket.create_connection(place, timeout=CONNECT_SECONDS / 2).close()
    except OSError as error:
        raise EngineError(f"nothing answers at {name}: {error}. Fix: {fix}") from error


def within(name: str, function: Callable[[], T], fix: str, seconds: float | None = None) -> T:
    """Return what a function that connects returns, or raise EngineError, at the latest after `CONNECT_SECONDS`."""
    limit = CONNECT_SECONDS if seconds is None else seconds
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(function())
        except BaseException as error:  # noqa: BLE001 - whatever an engine raises, it is the caller's to see
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True, name=f"connect {name}").start()
    try:
        return outcome.result(limit)
    except TimeoutError as error:
        raise EngineError(f"no fitting answer from {name} within {limit:g} s. Fix: {fix}") from error
    except Exception as error:
        raise EngineError(f"cannot use {name}: {describe(error)}. Fix: {fix}") from error


class Shared:
    """A connection of which a process can have only one: opened for its first executor, closed after its last."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._name: str | None = None
        self._users = 0

    def take(self, name: str, is_open: Callable[[], bool], connect: Callable[[], None]) -> bool:
        """Use the connection. Returns whether it is ours; one that the program opened itself is used as it is."""
        with self._lock:
            if self._users and not is_open():  # closed behind our back
                self._users = 0
            if self._users and self._name != name:
                raise EngineError(f"{name} cannot be used while {self._name} is. Fix: shut that executor down first")
            if not self._users and is_open():
                return False
            if not self._users:
                connect()
                self._name = name
            self._users += 1
            return True

    def give_back(self, close: Callable[[], None]) -> None:
        """Close the connection when nobody else uses it."""
        with self._lock:
            self._users = max(0, self._users - 1)
            if not self._users:
                close()
