"""How far ahead to forecast where the user does not say: what is usual at a frequency, as far as the data bear it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from automl.guardrails import Guardrail
from forecasting.season import detect_season, period_seconds

if TYPE_CHECKING:
    from forecasting.panel import Panel

_DAY = 86_400.0
_USUAL = (
    (3_600.0, 24),
    (_DAY, 14),
    (7 * _DAY, 8),
    (365.25 / 12 * _DAY, 12),
    (365.25 / 4 * _DAY, 4),
    (365.25 * _DAY, 2),
)
"""Length of a step in seconds, and the steps ahead that are usual: hours, days, weeks, months, quarters, years."""

_BUSINESS_DAYS = 10
_OTHER = 10
_SHARE = 5


def auto_horizon(panel: Panel) -> tuple[int, Guardrail]:
    """Steps ahead for a panel, and how they were found.

    Hours 24, days 14, business days 10, weeks 8, months 12, quarters 4, years 2, else one season or 10; at most a fifth
    of the typical series, at least 1.

    Examples
    --------
    >>> from forecasting.panel import Panel
    >>> from forecasting.timegrid import TimeGrid
    >>> monthly = TimeGrid("MS", "2001-01-01")
    >>> [auto_horizon(Panel.from_arrays([np.arange(n * 1.0)], monthly))[0] for n in (100, 40, 3)]
    [12, 8, 1]
    """
    usual, why = _usual(panel)
    typical = int(np.median(panel.lengths))
    horizon = max(1, min(usual, typical // _SHARE))
    text = f"{horizon} steps ahead: {why}"
    if horizon < usual:
        text += f" would be {usual}, cut to a fifth of the typical series of {typical} rows"
    return horizon, Guardrail("Horizon", "done", text)


def _usual(panel: Panel) -> tuple[int, str]:
    grid = panel.grid
    if not grid.is_integer:
        if grid.freq.split("-")[0] in {"B", "C"}:
            return _BUSINESS_DAYS, f"usual at frequency {grid.freq}"
        seconds = period_seconds(grid.freq)
        for step, ahead in _USUAL:
            if abs(seconds / step - 1) < 0.02:
                return ahead, f"usual at frequency {grid.freq}"
    season = detect_season(panel)
    return (season, "one season") if season > 1 else (_OTHER, "usual where there is no season")
