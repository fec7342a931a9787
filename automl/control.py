"""Commands of other processes, Ctrl-C, and a clock that stands still while a run is paused."""

from __future__ import annotations

import logging
import signal
import threading
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal

from automl.budget import Deadline

if TYPE_CHECKING:
    from collections.abc import Iterator

    from automl.runs import Run

LOG = logging.getLogger("automl")


class Control:
    """What somebody outside wants of the work that goes on in a run.

    Parameters
    ----------
    run : a run this process owns. deadline : of the work; it moves by the time spent paused.
    """

    def __init__(self, run: Run, deadline: Deadline) -> None:
        self.stop: Literal["cancelled", "interrupted"] | None = None
        self._run = run
        self._given = deadline
        self._paused_at: float | None = None
        self._paused_for = 0.0
        self._unwanted: list[int] = []

    @property
    def paused(self) -> bool:
        """Whether no new work may start."""
        return self._paused_at is not None

    @property
    def deadline(self) -> Deadline:
        """The deadline as it stands now."""
        pause = 0.0 if self._paused_at is None else monotonic() - self._paused_at
        return Deadline(self._given.at + self._paused_for + pause)

    def poll(self) -> None:
        """Take what commands have come in."""
        for command in self._run.take_commands():
            if command.verb == "pause" and self._paused_at is None:
                self._paused_at = monotonic()
                self._run.set_state("paused", "told to pause")
            elif command.verb == "resume" and self._paused_at is not None:
                self._end_pause()
            elif command.verb == "cancel":
                self.stop = self.stop or "cancelled"
            elif command.verb == "cancel-trial" and command.number is not None:
                self._unwanted.append(command.number)
        if self.stop and self._paused_at is not None:
            self._end_pause()

    def unwanted(self) -> list[int]:
        """Return trials that were to be cancelled since the last call."""
        numbers, self._unwanted = self._unwanted, []
        return numbers

    def finish(self) -> None:
        """The work is over, paused or not."""
        if self._paused_at is not None:
            self._end_pause()

    def _end_pause(self) -> None:
        if self._paused_at is not None:
            self._paused_for += monotonic() - self._paused_at
            self._paused_at = None
            self._run.set_state("running", "goes on after a pause")

    @contextmanager
    def interrupts(self) -> Iterator[None]:
        """Take the first Ctrl-C as a wish to stop in good order; a second one is a KeyboardInterrupt as usual."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def on_interrupt(number: int, frame: Any) -> None:
            if self.stop == "interrupted":
                signal.default_int_handler(number, frame)
            self.stop = "interrupted"

        before = signal.signal(signal.SIGINT, on_interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
