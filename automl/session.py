"""A session of searching: folder, limits, the run's lock, its log file, the progress line, and the state it ends in."""

from __future__ import annotations

import logging
import math
import shutil
import tempfile
import weakref
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from automl.progress import log_file, progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from automl.budget import ExitCriteria
    from automl.runs import Run
    from automl.search import Event

_ENDED = {"cancelled", "interrupted"}


class Session:
    """What is known of a session while it goes.

    Attributes
    ----------
    stopped : why the search stopped; whoever ran it says so.
    first_model_seconds : from the session's begin to the first score, NaN before there is one.
    """

    def __init__(self, begun: float, show: Callable[[Event], None] | None) -> None:
        self.stopped = ""
        self.first_model_seconds = math.nan
        self._begun = begun
        self._show = show

    def listen(self, event: Event) -> None:
        """Take what the search tells."""
        if math.isnan(self.first_model_seconds) and math.isfinite(event.best):
            self.first_model_seconds = monotonic() - self._begun
        if self._show is not None:
            self._show(event)


@contextmanager
def session(run: Run, package: str, *, verbosity: str, time_limit: float | None, begun: float) -> Iterator[Session]:
    """Hold a run while it is searched; it ends as completed, cancelled or failed.

    Parameters
    ----------
    package : whose log goes into the run's log file. verbosity : of that. time_limit : seconds, for the progress line.
    begun : when the caller's call began, by `time.monotonic`.

    Raises
    ------
    RunError : another process holds the run.
    """
    with (
        run.claim(),
        log_file(run.path / "log.txt", verbosity, package),
        progress(time_limit) as show,
    ):
        own = Session(begun, show)
        try:
            yield own
        except KeyboardInterrupt:
            run.set_state("cancelled", "interrupted")
            raise
        except BaseException as error:
            run.set_state("failed", str(error))
            logging.getLogger(package).exception("run failed")
            raise
        # the state is "cancelled" already where a refit was stopped, whatever ended the search before it
        stopped = own.stopped in _ENDED or run.state == "cancelled"
        run.set_state("cancelled" if stopped else "completed")


def run_folder(owner: object, path: str | Path | None) -> Path:
    """Folder of a run: the one that is given, or a temporary one that goes with its owner."""
    if path is not None:
        return Path(path)
    folder = tempfile.mkdtemp(prefix="forecastle-")
    weakref.finalize(owner, shutil.rmtree, folder, ignore_errors=True)
    return Path(folder) / "run"


def more(limits: ExitCriteria, run: Run, more_trials: int | None, more_time: float | None) -> ExitCriteria:
    """Limits of a session that takes a run up.

    Parameters
    ----------
    more_trials : on top of those the run has. more_time : seconds for this session; None = the run's limit.
    """
    if more_trials is not None:
        limits = replace(limits, max_trials=len(run.trials()) + more_trials)
    return limits if more_time is None else replace(limits, time_limit=more_time)


def board(
    run: Run, combined: Sequence[Mapping[str, Any]], skipped: Mapping[str, str], metric: str
) -> list[dict[str, Any]]:
    """Rows of a leaderboard: what was combined, the run's trials, and learners that were not tried with why."""
    rows = [{"status": "completed", "reason": "", **row, "score": row[metric]} for row in combined]
    rows += run.leaderboard()
    return rows + [{"model": n, "learner": n, "status": "skipped", "reason": why} for n, why in skipped.items()]
