"""Where the series of a table begin to be observed: series without any target, and rows before the first one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from automl.errors import DataError
from automl.guardrails import Guardrail, affected
from forecasting.findings import label, listed

if TYPE_CHECKING:
    from automl.guardrails import Report
    from forecasting.panel import Key
    from forecasting.regularize import Table


def without_empty(table: Table, steps: np.ndarray, dropped: dict[Key, str], report: Report) -> tuple[Table, np.ndarray]:
    """Drop series without a single observed target."""
    has = np.zeros(len(table.keys), dtype=bool)
    has[table.series[np.isfinite(table.target)]] = True
    if not has.any():
        raise DataError("the target is missing in every row. Fix: check the target column.")
    if has.all():
        return table, steps
    lost = [table.keys[i] for i in np.flatnonzero(~has)]
    dropped.update(dict.fromkeys(lost, "no target value at all"))
    text = f"{len(lost)} series have no target and are left out: {listed(lost)}"
    report.append(Guardrail("Missing target imputation", "alerted", text, affected(len(lost), label(lost[0]))))
    keep = np.flatnonzero(has[table.series])
    renumber = np.cumsum(has) - 1
    out = table.take(keep)
    keys = [k for k, h in zip(table.keys, has, strict=True) if h]
    return replace(out, keys=keys, series=renumber[out.series], statics=table.statics.take(has)), steps[keep]


def from_first_target(table: Table, steps: np.ndarray, min_length: int, report: Report) -> tuple[Table, np.ndarray]:
    """Let series begin with their first observed target: what comes before could only be filled from the future.

    Series that would be too short then keep their rows, filled.
    """
    seen = np.isfinite(table.target)
    first = np.full(len(table.keys), len(seen))
    np.minimum.at(first, table.series[seen], np.flatnonzero(seen))
    last = np.searchsorted(table.series, np.arange(len(first)), side="right") - 1
    long = steps[last] - steps[first] + 1 >= min_length
    early = (np.arange(len(seen)) < first[table.series]) & long[table.series]
    if not early.any():
        return table, steps
    keys = [table.keys[i] for i in np.unique(table.series[early])]
    text = f"{int(early.sum())} rows before the first target of {len(keys)} series are left out: {listed(keys)}"
    details = affected(len(keys), label(keys[0]))
    report.append(Guardrail("Missing target imputation", "done", text, details))
    return table.take(np.flatnonzero(~early)), steps[~early]
