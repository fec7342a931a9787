"""A line on stderr while a search runs, only when a person watches; and the run's log file."""

from __future__ import annotations

import logging
import math
import sys
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from automl.search import Event


@contextmanager
def progress(time_limit: float | None) -> Iterator[Callable[[Event], None] | None]:
    """Give a function that shows what it is told of trials and the best score; None where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.status import Status

    until = f" of {time_limit:.0f} s" if time_limit else ""
    start = monotonic()
    with Status("preparing", console=Console(stderr=True)) as status:

        def show(event: Event) -> None:
            best = f"best {event.best:.4g}" if math.isfinite(event.best) else "no score yet"
            what = f"{event.learner} {event.kind}" if event.number < 0 else f"trial {event.number} {event.learner}"
            status.update(f"{what} · {best} · {monotonic() - start:.0f} s{until}")

        yield show


@contextmanager
def log_file(path: Path, verbosity: str, *packages: str) -> Iterator[None]:
    """Send what packages (and the engine) log into a file."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    loggers = [logging.getLogger(name) for name in (*packages, "automl")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(verbosity.upper())
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
        handler.close()
