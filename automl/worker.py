"""What runs inside worker processes: setting them up, evaluating a trial, refitting a model."""

from __future__ import annotations

import json
import logging
import math
import os
import re
import signal
import sys
import threading
import traceback
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from automl.candidates import import_object
from automl.errors import AutoMLError, DeadlineExceededError
from automl.files import sync_directory, sync_file, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from automl.budget import Deadline
    from automl.candidates import Candidate, JsonScalar
    from automl.trial import Evaluation, Task, Trial

T = TypeVar("T")
LOG = logging.getLogger("automl")

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)

RECORD = "trial.json"
_ARRAY_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True)
class Report:
    """What a worker answers: plain values, so that reading the answer cannot fail.

    Parameters
    ----------
    status : `stored` (the result lies in its folder) or why not; `storage` means that the disk refused it.
    reason : readable; empty when stored. details : traceback for the log.
    """

    status: Literal["stored", "failed", "timeout", "storage"]
    reason: str = ""
    details: str = ""
    seconds: float = math.nan
    peak_mb: float = math.nan


class InitializerError(RuntimeError):
    """A worker's initializer failed; the message says how."""


# -- the process ------------------------------------------------------------------------------------------------------


def start_worker(threads: int, output: str | None) -> None:
    """Set up this process: own session, as many threads as told, bound to its parent's life.

    Pebble has made it deaf to SIGINT before; the own session keeps a terminal's Ctrl-C from the programs it starts.
    """
    if os.name != "nt":
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.setsid()
    if output is not None:
        _redirect(output)
    limit_threads(threads)
    _follow_parent()


def _redirect(output: str) -> None:
    """Append what this process and its libraries print to a file."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)


def limit_threads(threads: int) -> None:
    """Limit the threads of numerical libraries: those to come by the environment, those loaded before directly."""
    for name in THREAD_VARIABLES:
        os.environ[name] = str(threads)
    if "numpy" not in sys.modules:
        return
    with suppress(ImportError):  # comes with scikit-learn; without it the environment has to do
        import_object("threadpoolctl:threadpool_limits")(threads)


def _follow_parent() -> None:
    """End this process, and what it started, when the process that ordered it is gone, however it went."""
    from multiprocessing import parent_process

    parent = parent_process()
    if parent is None or os.name == "nt":
        return
    sentinel = int(parent.sentinel)
    with suppress(ImportError, AttributeError, OSError):
        # the kernel itself kills us when the pipe closes: works even inside C code that holds the interpreter lock
        import fcntl

        fcntl.fcntl(sentinel, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(sentinel, fcntl.F_SETFL, fcntl.fcntl(sentinel, fcntl.F_GETFL) | os.O_ASYNC)
    threading.Thread(target=_die_with, args=(sentinel,), daemon=True, name="follow-parent").start()


def _die_with(sentinel: int) -> None:
    from multiprocessing.connection import wait

    wait([sentinel])
    os.killpg(os.getpgrp(), signal.SIGKILL)


_initialized: str | None = None
_initializing = threading.Lock()


def call(
    initializer: tuple[str, Mapping[str, Any]] | None,
    fn: Callable[..., T],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    owner: str = "",
) -> T:
    """Run a task; before the first one of its owner in this process the initializer, inside the task's own time limit.

    Parameters
    ----------
    owner : the executor the task comes from; a process of a cluster may serve several, one after the other.
    """
    if initializer is not None:
        _initialize(initializer, owner)
    return fn(*args, **kwargs)


def _initialize(initializer: tuple[str, Mapping[str, Any]], owner: str) -> None:
    global _initialized  # noqa: PLW0603 - one process, one initializer at a time
    with _initializing:  # a cluster's worker may run tasks in several threads
        if _initialized == owner:
            return
        target, values = initializer
        try:
            import_object(target)(**values)
        except Exception as error:
            raise InitializerError(f"{target} failed: {describe(error)}") from error
        _here.__dict__.clear()  # several threads of a cluster's worker share the one task
        _initialized = owner


# -- peak memory ------------------------------------------------------------------------------------------------------


def reset_peak() -> bool:
    """Start a new peak-memory measurement; False where the system cannot (then the peak is that of the process)."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def peak_mb() -> float:
    """Peak resident memory since `reset_peak`, in MB (1e6 bytes)."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        status = ""
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, flags=re.MULTILINE)
    if found:
        return int(found[1]) * 1024 / 1e6
    if os.name == "nt":
        return math.nan
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / 1e6 if sys.platform == "darwin" else used * 1024 / 1e6


# -- the task ---------------------------------------------------------------------------------------------------------

_task: Task | None = None
_here = threading.local()
"""The task of this thread: without workers, several threads of one process may search at a time."""


def open_task(target: str, values: Mapping[str, Any]) -> None:
    """Initializer: open the task once for this process, or for this thread of it."""
    global _task  # noqa: PLW0603 - one process, one task
    _task = _here.task = import_object(target)(**values)


def _opened() -> Task:
    task: Task | None = getattr(_here, "task", _task)
    if task is None:
        raise InitializerError("this worker has no task; start it with the initializer automl.worker:open_task.")
    return task


def evaluate(trial: Trial) -> Report:
    """Evaluate a trial and leave scores and predictions, synced, in its folder."""
    task = _opened()
    reset_peak()
    start = perf_counter()
    try:
        evaluation = task.evaluate(trial)
        check_array_names(evaluation.predictions)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a learner may raise anything; its reason is recorded
        return _failure(error, perf_counter() - start)
    seconds = perf_counter() - start
    peak = peak_mb()
    try:
        _store(trial, evaluation, seconds, peak)
    except OSError as error:
        return Report("storage", describe(error), traceback.format_exc(), seconds, peak)
    except (TypeError, ValueError) as error:  # scores or info that are no JSON, object arrays
        return Report("failed", f"its results cannot be stored: {error}", traceback.format_exc(), seconds, peak)
    return Report("stored", seconds=seconds, peak_mb=peak)


def refit(path: Path, candidate: Candidate, params: Mapping[str, JsonScalar], deadline: Deadline) -> Report:
    """Fit a configuration on all data and store its state at `path`."""
    from automl.bundle import write_state

    task = _opened()
    reset_peak()
    start = perf_counter()
    try:
        state = task.refit(candidate, params, deadline)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a learner may raise anything; its reason is recorded
        return _failure(error, perf_counter() - start)
    try:
        write_state(path, state)
    except OSError as error:
        return Report("storage", describe(error), traceback.format_exc())
    return Report("stored", seconds=perf_counter() - start, peak_mb=peak_mb())


def describe(error: BaseException) -> str:
    """One line on an error: our own messages speak for themselves, others get their type and place."""
    if isinstance(error, AutoMLError):
        return str(error)
    if isinstance(error, SystemExit):
        return f"the learner called exit({error.code!r})"
    if isinstance(error, MemoryError):
        return f"out of memory ({error})" if str(error) else "out of memory"
    frames = traceback.extract_tb(error.__traceback__)
    place = f" (at {Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}{place}" if text else f"{type(error).__name__}{place}"


def check_array_names(arrays: Mapping[str, Any]) -> None:
    """Raise ValueError for a name that is no plain file name."""
    for name in arrays:
        if not _ARRAY_NAME.fullmatch(name):
            raise ValueError(f"prediction name {name!r} must be letters, digits, '_', '-' or '.'")


def _failure(error: BaseException, seconds: float) -> Report:
    status: Literal["failed", "timeout"] = "timeout" if isinstance(error, DeadlineExceededError) else "failed"
    return Report(status, describe(error), traceback.format_exc(), seconds, peak_mb())


def _hopeless(trial: Trial) -> str:
    """Why a trial was ended at a rung."""
    rung, loss = next(reversed(trial.reported.items()), (0, 0.0))
    if not math.isfinite(loss):
        return f"stopped early: its loss at rung {rung} is no finite number ({loss})"
    rule = "its policy allows" if trial.by_best else "the median"
    return f"stopped early: its losses were worse than {rule}"


def _store(trial: Trial, evaluation: Evaluation, seconds: float, peak: float) -> None:
    import numpy as np

    for name, array in evaluation.predictions.items():
        path = trial.directory / f"{name}.npy"
        np.save(path, np.asarray(array), allow_pickle=False)
        sync_file(path)
    record = {
        "number": trial.number,
        "candidate": json.loads(trial.candidate.to_json()),
        "params": dict(trial.params),
        "status": "pruned" if evaluation.pruned else "completed",
        "reason": _hopeless(trial) if evaluation.pruned else "",
        "scores": {name: float(value) for name, value in evaluation.scores.items()},
        "seconds": seconds if math.isnan(evaluation.seconds) else evaluation.seconds,
        "peak_mb": peak if math.isnan(evaluation.peak_mb) else evaluation.peak_mb,
        "info": dict(evaluation.info),
        "reported": {str(step): loss for step, loss in trial.reported.items()},
        "arrays": sorted(evaluation.predictions),
    }
    write_json(trial.directory / RECORD, record)
    sync_directory(trial.directory)
