"""What the tests of clusters let their workers do; importable there, and free of pytest."""

from __future__ import annotations

import os
import signal
import time

from tests.automl import toy_task as toy


class OddError(Exception):
    """One that pickle cannot bring back."""

    def __init__(self, left, right):
        super().__init__(f"{left} is not {right}")


def note(log, number, seconds=0.0):
    """Leave a line "start number pid", work, answer."""
    toy._append(log, f"start {number} {os.getpid()}")
    time.sleep(seconds)
    return number * number


def die(log):
    toy._append(log, f"start 0 {os.getpid()}")
    os.kill(os.getpid(), signal.SIGKILL)


def odd():
    raise OddError(1, 2)


def look():
    """Process, what initializers left in it, threads it may use."""
    import numpy  # noqa: F401 - its libraries are asked
    from threadpoolctl import threadpool_info

    threads = {int(os.environ["OMP_NUM_THREADS"]), *(i["num_threads"] for i in threadpool_info())}
    return os.getpid(), toy.seen(), threads
