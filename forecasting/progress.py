"""A line on stderr while a search runs, only when a person watches."""

from __future__ import annotations

import math
import sys
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from automl.search import Event
    from forecasting.config import Settings
    from forecasting.fitting import Fitting


@contextmanager
def progress(settings: Settings, fitting: Fitting) -> Iterator[None]:
    """Show trials and the best score so far; nothing at all where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.status import Status

    limit = settings.search.limits.time_limit
    until = f" of {limit:.0f} s" if limit else ""
    start = monotonic()
    with Status("preparing", console=Console(stderr=True)) as status:

        def show(event: Event) -> None:
            best = f"best {event.best:.4g}" if math.isfinite(event.best) else "no score yet"
            what = f"{event.learner} {event.kind}" if event.number < 0 else f"trial {event.number} {event.learner}"
            status.update(f"{what} · {best} · {monotonic() - start:.0f} s{until}")

        fitting.on_event = show
        yield
