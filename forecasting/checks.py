"""Checks of a regular panel that change nothing: what deserves a look, and what was looked at without a finding."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from automl.errors import DataError
from automl.guardrails import Guardrail, affected
from forecasting.metrics import METRICS, REPORTED
from forecasting.whatif import HOLIDAYS, SERIES, TARGET, TIME

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from forecasting.panel import Panel

ALWAYS = (
    "Time series ID detection", "Frequency detection", "Time series aggregation", "Missing target imputation",
    "Missing feature values imputation", "High cardinality feature detection", "Undeclared columns",
    "Features unknown at forecast time", "Short series handling", "Constant series", "Structural break",
    "Cross validation", "Non-stationarity", "Memory issues detection", "Leakage suspicion",
)  # fmt: skip
"""Guardrails every fitted model has, with or without a finding."""

OUR_COLUMNS = ("yhat", "cutoff", "cold_start", "feature", "contribution")
"""Columns of forecasts, scores and explanations beside the user's."""

INPUTS = (TARGET, TIME, HOLIDAYS, SERIES)
"""Inputs that are no covariates."""

MANY_CATEGORIES, SHARE_OF_ROWS = 50, 0.2
"""A categorical covariate has many values from here on, or when so many of its rows have a value of their own."""

BREAK, LEAST_WIDTH, LEAST_WINDOWS, MOST_SERIES = 8.0, 8, 6, 200
"""Robust z-value of a shift that counts as a break; rows of a window; windows a series needs; series looked at."""

_MOST_ROWS = 200_000
"""Rows of all series together in which a jump of the level is looked for."""


def check_names(roles: Mapping[str, str], covariates: Sequence[str]) -> None:
    """Columns named like those of an answer would be overwritten in it, covariates like other inputs taken for them.

    Parameters
    ----------
    roles : id, time and target columns -> which of them they are.

    Raises
    ------
    DataError : one is; the message says what to rename.
    """
    for name, role in roles.items():
        if name in OUR_COLUMNS or name in METRICS or name in REPORTED or name.startswith("yhat-"):
            raise DataError(
                f"the {role} column is named {name!r}, as a column of forecasts and scores is. "
                f"Fix: frame.rename(columns={{{name!r}: {name + '_'!r}}})."
            )
    for name in covariates:
        if name in INPUTS:
            raise DataError(
                f"covariate {name!r} is named like an input that every model has ({', '.join(INPUTS)}). "
                f"Fix: frame.rename(columns={{{name!r}: {name + '_'!r}}})."
            )


def high_cardinality(vocabulary: Mapping[str, Sequence[str]], rows: int) -> Guardrail:
    """Categorical covariates with so many values that few rows speak for each."""
    name = "High cardinality feature detection"
    many = {c: len(words) for c, words in vocabulary.items() if len(words) > min(MANY_CATEGORIES, SHARE_OF_ROWS * rows)}
    if not many:
        text = (
            f"{len(vocabulary)} categorical covariates, none with many values" if vocabulary else "none is categorical"
        )
        return Guardrail(name, "passed", text)
    told = ", ".join(f"{c} ({n} values)" for c, n in many.items())
    text = f"few rows speak for each value of {told}; kept as codes, and a value never seen counts as unknown"
    worst = max(many, key=lambda c: many[c])
    return Guardrail(name, "alerted", text, affected(0, f"{worst}: {', '.join(list(vocabulary[worst])[:3])}, ..."))


def structural_break(panel: Panel, season: int) -> Guardrail:
    """Series whose level jumps once as it never does else.

    Medians of the w rows after and before each point (w = a season, at least 8) are compared. The largest such shift is
    a break when it lies 8 robust standard deviations (1.4826 times the median absolute deviation) of all shifts of the
    series away from their median. Trends, random walks and seasons shift alike everywhere and do not count. At most 200
    series are looked at, of long ones the last rows.
    """
    name = "Structural break"
    width = max(season, LEAST_WIDTH)
    pick = np.unique(np.linspace(0, panel.n_series - 1, min(panel.n_series, MOST_SERIES)).astype(int))
    long = [i for i in pick if panel.lengths[i] >= LEAST_WINDOWS * width]
    if not long:
        return Guardrail(name, "passed", f"no series has the {LEAST_WINDOWS * width} rows that the check needs")
    most = max(_MOST_ROWS // len(long), 2 * LEAST_WINDOWS * width)
    found = {}
    for i in long:
        y = panel.series(i)
        at = break_at(y[-most:], width)
        if at is not None:
            found[int(i)] = at + max(len(y) - most, 0)
    if not found:
        return Guardrail(name, "passed", f"{len(long)} series looked at, none jumps to another level")
    first = next(iter(found))
    when = panel.grid.labels(np.array([panel.start[first] + found[first]]))[0]
    text = (
        f"{len(found)} of {len(long)} series looked at jump to another level; where what came before no longer holds, "
        "leave it out or tell the model by a covariate"
    )
    example = f"{'/'.join(map(str, panel.ids[first]))} at {str(when)[:19]}"
    return Guardrail(name, "alerted", text, affected(len(found), example))


def break_at(y: np.ndarray, width: int) -> int | None:
    """Row at which a series [rows] jumps to another level, None where it does not.

    Examples
    --------
    >>> noise = np.random.default_rng(0).standard_normal(200)
    >>> break_at(noise, 12), break_at(noise + 20 * (np.arange(200) >= 90), 12)
    (None, 90)
    """
    medians = np.median(np.lib.stride_tricks.sliding_window_view(y, width), axis=1)
    shifts = medians[width:] - medians[:-width]
    middle = np.median(shifts)
    spread = 1.4826 * np.median(np.abs(shifts - middle))
    # a series that hardly ever moves has no spread to judge a move by
    spread = max(spread, 0.05 * float(np.std(y)))
    away = np.abs(shifts - middle)
    if spread == 0 or away.max() <= BREAK * spread:
        return None
    near = int(away.argmax()) + width
    # medians tell whether, means tell where
    points = np.arange(max(width, near - width // 2), min(len(y) - width, near + width // 2) + 1)
    total = np.concatenate([[0.0], np.cumsum(y)])
    jump = np.abs(total[points + width] - 2 * total[points] + total[points - width])
    return int(points[jump.argmax()])


def unknown_ahead(past: Sequence[str]) -> Guardrail:
    """Covariates that are known up to the origin only."""
    name = "Features unknown at forecast time"
    if not past:
        return Guardrail(name, "passed", "every covariate is known for the future or constant in a series")
    return Guardrail(name, "done", f"read up to the origin of a forecast only: {', '.join(past)}", affected(0, past[0]))
