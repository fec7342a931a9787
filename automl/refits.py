"""Fitting chosen configurations on all data, resumable like the search."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

from automl.errors import AutoMLError, ConfigError
from automl.files import remove, write_json
from automl.worker import Report, refit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from automl.candidates import Candidate, JsonScalar
    from automl.control import Control
    from automl.crew import Crew, Ending
    from automl.runs import Run
    from automl.trial import State

Job = tuple[Any, "Candidate", "Mapping[str, JsonScalar]"]
_STATE, _DONE = "state", "job.json"


def refit_all(
    run: Run, crew: Crew, control: Control, jobs: Sequence[Job], on_done: Callable[[Candidate], None]
) -> dict[Any, State | str]:
    """Return for each key the fitted state, or a text that says why there is none.

    After a cancel or Ctrl-C (`control.stop`, which is then the text) what was fitted until then is returned too.
    """
    from automl.bundle import read_state

    results: dict[Any, State | str] = {}
    waiting: list[Job] = []
    for job in jobs:
        known = _stored(_folder(run, job[0]), job)
        if known is None:
            waiting.append(job)
        else:
            results[job[0]] = known
    running: list[tuple[Future[Report], Job]] = []
    try:
        while waiting or running:
            control.poll()
            left = control.deadline.left()
            if control.stop or (left <= 0 and not control.paused):
                reason = control.stop or "not fitted on all data: the time was over"
                results.update({job[0]: reason for job in [*waiting, *(job for _, job in running)]})
                break
            while waiting and len(running) < crew.workers and not control.paused:
                job = waiting.pop(0)
                running.append((_submit(run, crew, control, job), job))
            crew.rest(future for future, _ in running)
            for future, job in [pair for pair in running if pair[0].done()]:
                running.remove((future, job))
                ending = crew.ending(future)
                folder = _folder(run, job[0])
                if ending.status == "stored":
                    write_json(folder / _DONE, _description(job))
                    results[job[0]] = read_state(folder / _STATE)
                    on_done(job[1])
                else:
                    results[job[0]] = _reason(ending)
    finally:
        control.finish()
        if running:
            crew.kill()
    return {job[0]: results[job[0]] for job in jobs}


def _submit(run: Run, crew: Crew, control: Control, job: Job) -> Future[Report]:
    key, candidate, params = job
    folder = _folder(run, key)
    remove(folder)
    folder.mkdir(parents=True)
    left = control.deadline.left()
    timeout = None if math.isinf(left) else left
    return crew.submit(refit, folder / _STATE, candidate, dict(params), control.deadline, timeout=timeout)


def _reason(ending: Ending) -> str:
    if ending.status == "storage":
        raise OSError(ending.reason)
    if ending.status == "timeout":
        return ending.reason or "killed while fitted on all data: the time was over"
    return ending.reason or ending.status


def _folder(run: Run, key: Any) -> Path:
    name = str(key)
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.#-]*", name):
        raise ConfigError(f"the key {key!r} of a refit must be a plain name: letters, digits, '_', '.', '#' or '-'.")
    return run.refits_path / name


def _description(job: Job) -> dict[str, Any]:
    return {"candidate": json.loads(job[1].to_json()), "params": dict(job[2])}


def _stored(folder: Path, job: Job) -> State | None:
    """Return the state fitted before for the same configuration; an unreadable one is fitted anew."""
    from automl.bundle import read_state

    try:
        if json.loads((folder / _DONE).read_text(encoding="utf-8")) != _description(job):
            return None
        return read_state(folder / _STATE)
    except (OSError, ValueError, AutoMLError):
        return None
