"""A session of searching: the run's lock, its log file, the progress line, and the state it ends in."""

from __future__ import annotations

import logging
import math
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

from automl.progress import log_file, progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
        except BaseException as error:
            run.set_state("failed", str(error))
            logging.getLogger(package).exception("run failed")
            raise
        run.set_state("cancelled" if own.stopped in _ENDED else "completed")
