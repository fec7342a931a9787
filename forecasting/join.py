"""Joining a panel with rows that came later."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from forecasting.panel import Block, Panel, fill_forward

if TYPE_CHECKING:
    from collections.abc import Callable

    Pick = Callable[[Panel], np.ndarray]

LOG = logging.getLogger("forecasting")


def join(history: Panel, more: Panel, *, gap_value: float | None = None) -> Panel:
    """Append later rows to each series; where both have a value of a step, the later panel's holds.

    Steps missing in between become unobserved rows (forward filled), and what the later panel has no value of stays as
    it was. Series that only one of the two has are kept.
    Both panels must stand on the same grid and have the same columns.

    Parameters
    ----------
    gap_value : what a step that neither panel has means: a value like any other. None = nothing.

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

    before, after = rows
    new = np.ones(total, dtype=bool)
    new[before] = False
    nowhere = new.copy()
    nowhere[after] = False
    begun = np.isin(parts[1].slot, parts[0].slot)[more.series_of_rows()]

    def lay(pick: Pick, given: Pick, empty: float | bool) -> np.ndarray:
        old, fresh = pick(history), pick(more)
        out = np.full((total, *old.shape[1:]), empty, dtype=old.dtype)
        out[before] = old
        first_here = new[after].reshape(-1, *[1] * (old.ndim - 1))
        out[after] = np.where(given(more) | first_here, fresh, out[after])
        return out

    def target(panel: Panel) -> np.ndarray:
        # what a later panel filled knows nothing of the rows before it, unless it filled with a constant
        return panel.y if panel is history or gap_value is not None else np.where(panel.observed, panel.y, np.nan)

    def was_observed(panel: Panel) -> np.ndarray:
        return panel.observed

    y = lay(target, was_observed, np.nan)
    observed = lay(was_observed, was_observed, empty=False)
    if gap_value is not None:
        y[nowhere], observed[nowhere] = gap_value, True
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
        y=fill_forward(y, np.isfinite(y), indptr),
        observed=observed,
        weight=lay(lambda p: p.weight, was_observed, 1.0),
        known=_block(history.known, lay, "known", indptr, begun),
        past=_block(history.past, lay, "past", indptr, begun),
        static=replace(history.static, values=static, observed=seen),
        grid=history.grid,
    )


def note_replaced(history: Panel, more: Panel) -> None:
    """Warn of periods whose value later rows replace by another one: with some of its rows that is a wrong one."""
    place = {key: i for i, key in enumerate(history.ids)}
    series = np.array([place.get(key, -1) for key in more.ids])[more.series_of_rows()]
    at = more.step_of_rows() - history.start[series]
    both = np.flatnonzero((series >= 0) & (at >= 0) & (at < history.lengths[series]) & more.observed)
    rows = history.indptr[series[both]] + at[both]
    differ = history.observed[rows] & ~np.isclose(history.y[rows], more.y[both])
    if differ.any():
        k = int(differ.argmax())
        name = "/".join(map(str, history.ids[series[both[k]]]))
        when = str(more.grid.labels(more.step_of_rows()[both[[k]]])[0])[:19]
        LOG.warning(
            "%d periods that were known already get another value from later rows, first: series %s at %s, %g instead "
            "of %g. Give all rows of such a period, or none.",
            int(differ.sum()), name, when, more.y[both[k]], history.y[rows[k]],
        )  # fmt: skip


class _Part:
    def __init__(self, panel: Panel, slot: np.ndarray) -> None:
        self.panel = panel
        self.slot = slot

    def rows(self, indptr: np.ndarray, first: np.ndarray) -> np.ndarray:
        """Positions of this panel's rows in the joined one."""
        series = self.slot[self.panel.series_of_rows()]
        return np.asarray(indptr[series] + self.panel.step_of_rows() - first[series])


def _block(block: Block, lay: Callable[..., np.ndarray], name: str, indptr: np.ndarray, begun: np.ndarray) -> Block:
    """Covariates of both panels; begun : shape [rows of the later one] bool, whether the series has earlier rows."""
    if not block.names:
        return Block.empty(int(indptr[-1]))

    def given(panel: Panel) -> np.ndarray:
        return np.asarray(getattr(panel, name).observed)

    observed = lay(given, given, empty=False)
    own = np.array([block.categories(n) is not None or dict(block.fills).get(n) == "constant" for n in block.names])

    def value(panel: Panel) -> np.ndarray:
        at_hand = getattr(panel, name)
        if at_hand is block:
            return np.asarray(at_hand.values)
        # a number that a later panel filled in front came from later rows still; what was before tells more
        return np.where(at_hand.observed | own | ~begun[:, None], at_hand.values, np.nan)

    values = lay(value, given, np.nan)
    for k, column in enumerate(block.names):
        if block.categories(column) is not None:
            values[:, k] = np.where(np.isnan(values[:, k]), -1, values[:, k])
        else:
            values[:, k] = fill_forward(values[:, k], np.isfinite(values[:, k]), indptr)
    return replace(block, values=values, observed=observed)
