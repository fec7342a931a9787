"""Small helpers of the feature plan for covariates and groups of series."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from forecasting.features.impute import TYPICAL, typical

if TYPE_CHECKING:
    from forecasting.panel import Block, Future, Panel


def joined(panel: Panel, future: Future | None, indptr: np.ndarray, rows: np.ndarray) -> Block:
    """Known covariates of a panel's rows (at `rows` of the layout `indptr`) and of the steps ahead."""
    if future is None:
        return panel.known
    k = len(panel.known.names)
    values = np.full((indptr[-1], k), np.nan)
    observed = np.zeros((indptr[-1], k), dtype=bool)
    values[rows], observed[rows] = panel.known.values, panel.known.observed
    ahead = np.ones(indptr[-1], dtype=bool)
    ahead[rows] = False
    values[ahead], observed[ahead] = future.known.values, future.known.observed
    return replace(panel.known, values=values, observed=observed)


def fills_of(block: Block, usual_way: str) -> tuple[tuple[str, float], ...]:
    """How gaps of each column are filled, and the value for series without any: typical over all series."""
    out = []
    said = dict(block.fills)
    for k, name in enumerate(block.names):
        way = said.get(name, usual_way)
        every = np.zeros(len(block.values), dtype=np.int64)
        out.append((way, float(typical(block.values[:, k], block.observed[:, k], every, 1, middle_way(way), 0.0)[0])))
    return tuple(out)


def middle_way(way: str) -> str:
    """How what is usual is found where gaps are filled in a way."""
    return way if way in TYPICAL else "median"


def positive_columns(panel: Panel) -> tuple[str, ...]:
    """Numeric known covariates whose observed values are all above zero."""
    known = panel.known
    low = np.where(known.observed, known.values, np.inf).min(axis=0, initial=np.inf)
    numeric = [known.categories(name) is None for name in known.names]
    return tuple(n for n, least, number in zip(known.names, low, numeric, strict=True) if number and 0 < least < np.inf)


def id_groups(panel: Panel) -> tuple[int, ...]:
    """Id columns by which series fall into groups of more than one: a store's products, a product's stores."""
    width = len(panel.ids[0])
    if width < 2:
        return ()
    return tuple(j for j in range(width) if 1 < len({key[j] for key in panel.ids}) < panel.n_series)


def codes_of(values: list[Any]) -> np.ndarray:
    """Numbers of values, equal where the values are."""
    place: dict[Any, int] = {}
    return np.array([place.setdefault(v, len(place)) for v in values])


def mean_by_step(values: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Mean over all series at the same time step, as seen by every row."""
    _, where, count = np.unique(steps, return_inverse=True, return_counts=True)
    return (np.bincount(where, weights=values) / count)[where]
