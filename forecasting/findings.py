"""What making data regular found and did: guardrails with the number of series and an example."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from automl.guardrails import Guardrail, affected

if TYPE_CHECKING:
    from collections.abc import Sequence

    from automl.guardrails import Report
    from forecasting.config import DataSettings
    from forecasting.panel import Key
    from forecasting.regularize import Regular, Table
    from forecasting.timegrid import TimeGrid

_SHOW = 3


def label(key: Key) -> str:
    """Series key for messages."""
    return "/".join(map(str, key))


def listed(keys: Sequence[Key]) -> str:
    """Return the first few keys for messages."""
    names = ", ".join(label(k) for k in keys[:_SHOW])
    return f"{names}{' and others' if len(keys) > _SHOW else ''}"


def sharing(table: Table, steps: np.ndarray, grid: TimeGrid) -> tuple:
    """Details about series in which rows share a period."""
    again = np.flatnonzero((np.diff(table.series) == 0) & (np.diff(steps) == 0)) + 1
    series = np.unique(table.series[again])
    if not len(again):
        return affected(len(table.keys), f"{label(table.keys[0])}: a row a period, moved to its point of {grid.freq}")
    row = int(again[0])
    return affected(
        len(series), f"{label(table.keys[int(table.series[row])])}: {table.time[row - 1]} and {table.time[row]}"
    )


def way_of(name: str, settings: DataSettings, table: Table) -> str:
    """How gaps of a covariate are filled, in words."""
    if name in table.vocabulary:
        return "a category of their own"
    return settings.fill_numbers.get(name, "the usual way: median of known, last value of past covariates")


def first_of(lacking: np.ndarray, indptr: np.ndarray, start: np.ndarray, table: Table, grid: TimeGrid) -> tuple:
    """Details about rows of a regular table, by mask."""
    rows = np.flatnonzero(lacking)
    series = np.searchsorted(indptr, rows, side="right") - 1
    i = int(series[0])
    when = grid.labels(np.array([start[i] + rows[0] - indptr[i]]))[0]
    return affected(len(np.unique(series)), f"{label(table.keys[i])} at {str(when)[:19]}")


def note_gaps(
    inserted: int,
    observed: np.ndarray,
    indptr: np.ndarray,
    table: Table,
    settings: DataSettings,
    report: Report,
    *,
    start: np.ndarray,
    grid: TimeGrid,
) -> None:
    """What was missing of the target, in rows that were there and in rows that were not."""
    missing = int((~observed).sum())
    if settings.fill_target == "constant" and inserted:
        text = (
            f"{inserted} of {len(observed)} rows were not there and count as {settings.fill_value:g}, as was asked for"
        )
        report.append(Guardrail("Missing target imputation", "done", text))
        inserted = 0
        if not missing:
            return
    if not missing:
        report.append(Guardrail("Missing target imputation", "passed", "no target value is missing"))
        return
    how = "the last value" if settings.fill_target == "ffill" else f"{settings.fill_value:g}"
    text = (
        f"{missing} of {len(observed)} target values filled with {how}, {inserted} of them in rows that were not there"
    )
    details = first_of(~observed, indptr, start, table, grid)
    report.append(Guardrail("Missing target imputation", "done", f"{text}; they are never scored", details))


def note_constant(regular: Regular, report: Report) -> None:
    """Series whose observed values are all equal."""
    first = regular.indptr[:-1]
    low = np.minimum.reduceat(np.where(regular.observed, regular.y, np.inf), first)
    high = np.maximum.reduceat(np.where(regular.observed, regular.y, -np.inf), first)
    keys = [regular.keys[i] for i in np.flatnonzero(low == high)]
    if keys:
        text = (
            f"{len(keys)} series never change; models do not learn from them, their forecast is the constant, and they "
            f"are left out of scaled metrics: {listed(keys)}"
        )
        report.append(Guardrail("Constant series", "alerted", text, affected(len(keys), label(keys[0]))))
    else:
        report.append(Guardrail("Constant series", "passed", "every series changes"))
