"""Files that one live process owns at a time; the system frees them when it dies."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from automl.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_TRIES, _WAIT = 10, 0.02


def take(path: Path, what: str) -> int | None:
    """Own a file: a handle that frees it when it is closed, None where another live process owns it.

    Raises
    ------
    RunError : it cannot be written; the message names `what`.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise RunError(f"{what} cannot be written: {error}.") from error
    for attempt in range(_TRIES):  # somebody asking `is_owned` holds the lock for an instant
        if _try_lock(handle, shared=False):
            os.ftruncate(handle, 0)
            os.write(handle, f"{os.getpid()}\n".encode())
            return handle
        if attempt + 1 < _TRIES:
            time.sleep(_WAIT)
    os.close(handle)
    return None


def is_owned(path: Path) -> bool:
    """Whether a process (this one included) owns a file now."""
    try:
        handle = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        return not _try_lock(handle, shared=True)
    finally:
        os.close(handle)


@contextmanager
def owned(path: Path, what: str) -> Iterator[None]:
    """Own a file while inside.

    Raises
    ------
    RunError : another live process does, or it cannot be written; the message names `what`.
    """
    handle = take(path, what)
    if handle is None:
        raise RunError(f"another live process works on {what}. Fix: wait for it.")
    try:
        yield
    finally:
        os.close(handle)


def _try_lock(handle: int, *, shared: bool) -> bool:
    """Take the lock without waiting; it is freed when the handle is closed or the process dies."""
    if os.name == "nt":
        return _try_lock_windows(handle)
    import fcntl

    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _try_lock_windows(handle: int) -> bool:
    import msvcrt

    try:
        os.lseek(handle, 1 << 30, os.SEEK_SET)  # beyond the content, which others must be able to read
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        os.lseek(handle, 0, os.SEEK_SET)
    except OSError:
        return False
    return True
