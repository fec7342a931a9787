"""What runs on a cluster's workers: one task, its answer as bytes, so that every engine carries it unchanged."""

from __future__ import annotations

import pickle
import threading
import traceback
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from automl.worker import call, describe, limit_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


@dataclass(frozen=True, slots=True)
class Setup:
    """What a worker must be before a task runs.

    Parameters
    ----------
    owner : the executor the task comes from. threads : threads the task may use.
    initializer : run once per process and owner.
    """

    owner: str
    threads: int
    initializer: tuple[str, Mapping[str, Any]] | None


def pack(setup: Setup, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
    """Work as `perform` takes it; raises what pickle raises."""
    return pickle.dumps((setup, fn, args, kwargs))


def perform(work: bytes) -> bytes:
    """Run a task. An error of its own is part of the answer: engines would run it again, or change its type."""
    try:
        setup, fn, args, kwargs = pickle.loads(work)  # noqa: S301 - sent by our own executor
        with _turn(setup.owner):
            _limit(setup)
            return pickle.dumps((call(setup.initializer, fn, args, kwargs, setup.owner), None, ""))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a task may raise anything
        return pickle.dumps((None, _sendable(error), traceback.format_exc()))


def unpack(answer: bytes) -> Any:
    """Return what a task returned, or raise what it raised, with the worker's traceback as a note."""
    value, error, trace = pickle.loads(answer)  # noqa: S301 - sent by the workers the user named
    if error is None:
        return value
    error.add_note(f"raised on a worker:\n{trace}")
    raise error


def _sendable(error: BaseException) -> BaseException:
    try:
        again: BaseException = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    except Exception:  # noqa: BLE001 - such an error's own code runs here
        return RuntimeError(describe(error))
    return again


# -- several owners in one process: a Dask worker outlives executors and may run several threads ----------------------

_limited = threading.local()
_turns = threading.Condition()
_running: list[str] = []


def _limit(setup: Setup) -> None:
    """Limit threads, once a thread and owner, since OpenMP counts by thread."""
    if getattr(_limited, "owner", None) != setup.owner:
        limit_threads(setup.threads)
        _limited.owner = setup.owner


@contextmanager
def _turn(owner: str) -> Iterator[None]:
    """Keep tasks of two executors apart, because initializers leave their work in the process."""
    with _turns:
        _turns.wait_for(lambda: not _running or _running[0] == owner)
        _running.append(owner)
    try:
        yield
    finally:
        with _turns:
            _running.remove(owner)
            _turns.notify_all()
