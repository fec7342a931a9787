"""Joining a panel with rows that came later."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from forecasting.panel import Block, Panel, fill_forward

if TYPE_CHECKING:
    from collections.abc import Callable


def join(history: Panel, more: Panel) -> Panel:
    """Append later rows to each series; where both have a step, the later panel's row holds.

    Steps missing in between become unobserved rows (forward filled). Series that only one of the two has are kept.
    Both panels must stand on the same grid and have the same columns.

    Examples
    --------
    >>> from forecasting.timegrid import TimeGrid
    >>> old = Panel.from_arrays([np.array([1.0, 2.0])], TimeGrid.steps())
    >>> new = Panel.from_arrays([np.array([9.0])], TimeGrid.steps(), start=[3])
    >>> both = join(old, new)
    >>> both.y.tolist(), both.observed.tolist()
    ([1.0, 2.0, 2.0, 9.0], [True, True, False, True])
    """
    ids = tuple(sorted({*history.ids, *more.ids}, key=lambda key: tuple(map(str, key))))
    place = {key: i for i, key in enumerate(ids)}
    parts = [_Part(panel, np.array([place[key] for key in panel.ids])) for panel in (history, more)]
    n = len(ids)
    first, last = np.full(n, np.iinfo(np.int64).max), np.full(n, np.iinfo(np.int64).min)
    for part in parts:
        np.minimum.at(first, part.slot, part.panel.start)
        np.maximum.at(last, part.slot, part.panel.last)
    sizes = last - first + 1
    indptr = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    rows = [part.rows(indptr, first) for part in parts]
    total = int(indptr[-1])

    def lay(pick: Callable[[Panel], np.ndarray], empty: float | bool) -> np.ndarray:
        sample = pick(history)
        out = np.full((total, *sample.shape[1:]), empty, dtype=sample.dtype)
        for part, where in zip(parts, rows, strict=True):
            out[where] = pick(part.panel)
        return out

    observed = lay(lambda p: p.observed, empty=False)
    static = np.zeros((n, len(history.static.names)))
    seen = np.zeros_like(static, dtype=bool)
    for part in parts:
        given = part.panel.static.observed | ~seen[part.slot]  # what the later rows do not tell stays as it was
        static[part.slot] = np.where(given, part.panel.static.values, static[part.slot])
        seen[part.slot] |= part.panel.static.observed
    return Panel(
        ids=ids,
        indptr=indptr,
        start=first,
        y=fill_forward(lay(lambda p: p.y, np.nan), observed, indptr),
        observed=observed,
        weight=lay(lambda p: p.weight, 1.0),
        known=_block(history.known, lay, "known", indptr),
        past=_block(history.past, lay, "past", indptr),
        static=replace(history.static, values=static, observed=seen),
        grid=history.grid,
    )


class _Part:
    def __init__(self, panel: Panel, slot: np.ndarray) -> None:
        self.panel = panel
        self.slot = slot

    def rows(self, indptr: np.ndarray, first: np.ndarray) -> np.ndarray:
        """Positions of this panel's rows in the joined one."""
        series = self.slot[self.panel.series_of_rows()]
        return np.asarray(indptr[series] + self.panel.step_of_rows() - first[series])


def _block(block: Block, lay: Callable[..., np.ndarray], name: str, indptr: np.ndarray) -> Block:
    if not block.names:
        return Block.empty(int(indptr[-1]))
    observed = lay(lambda p: getattr(p, name).observed, empty=False)
    values = lay(lambda p: getattr(p, name).values, np.nan)
    for k, column in enumerate(block.names):
        if block.categories(column) is not None:
            values[:, k] = np.where(np.isnan(values[:, k]), -1, values[:, k])
        else:
            values[:, k] = fill_forward(values[:, k], np.isfinite(values[:, k]), indptr)
    return replace(block, values=values, observed=observed)
