"""Season and trend of a series by STL, as far as they could be known at each origin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from forecasting.features.history import Rows

_SEASONS_A_FIT = 8


@dataclass(frozen=True, slots=True)
class Parts:
    """Decompositions of every series, fitted on blocks of rows that end half a season apart.

    Parameters
    ----------
    season : shape [blocks, m], seasonal value of each phase. level : shape [blocks], trend at the block's end.
    block : shape [rows], the last block that ends at or before a row; -1 = the series has not shown two seasons yet.
    """

    season: np.ndarray
    level: np.ndarray
    block: np.ndarray

    def season_at(self, rows: Rows) -> np.ndarray:
        """Seasonal value in the target's phase as known at the origin, 0 where none is. Shape [r]."""
        block = self.block[rows.origin]
        if not len(self.level):
            return np.zeros(len(block))
        phase = (rows.target - rows.begin) % self.season.shape[1]
        return np.where(block >= 0, self.season[block, phase], 0.0)

    def level_at(self, rows: Rows) -> np.ndarray:
        """Latest trend value known at the origin, NaN where none is. Shape [r]."""
        block = self.block[rows.origin]
        if not len(self.level):
            return np.full(len(block), np.nan)
        return np.where(block >= 0, self.level[block], np.nan)


def decompose(z: np.ndarray, indptr: np.ndarray, season: int, ahead: int = 0) -> Parts:
    """Fit STL on blocks of each series: the first of two seasons, then one every half season, 8 seasons long at most.

    A block's end depends on its distance from the series' first row alone, so that later rows move nothing.

    Parameters
    ----------
    z : shape [rows], history. indptr : of the history. season : > 1. ahead : future rows each series has in the layout
        that `Parts.block` is for; they see the last block.

    Examples
    --------
    >>> z = np.tile([1.0, 2.0, 3.0, 2.0], 4)
    >>> parts = decompose(z, np.array([0, 16]), season=4)
    >>> parts.block.tolist()
    [-1, -1, -1, -1, -1, -1, -1, 0, 0, 1, 1, 2, 2, 3, 3, 4]
    >>> np.abs(parts.season[-1]).round(2).tolist(), parts.level.round(2).tolist()
    ([1.0, 0.0, 1.0, 0.0], [2.0, 2.0, 2.0, 2.0, 2.0])
    """
    from forecasting.kernels.blocks import decompose_blocks

    sizes = np.diff(indptr)
    step = max(1, season // 2)
    count = np.where(sizes >= 2 * season, (sizes - 2 * season) // step + 1, 0)
    blocks = np.concatenate([[0], np.cumsum(count)]).astype(np.int64)
    pattern, level = np.zeros((int(blocks[-1]), season)), np.zeros(int(blocks[-1]))
    values, starts = np.ascontiguousarray(z, dtype=float), np.ascontiguousarray(indptr, dtype=np.int64)
    decompose_blocks(values, starts, 0, len(sizes), season, step, _SEASONS_A_FIT * season, blocks, pattern, level)
    rows = np.concatenate([np.arange(size + ahead) for size in sizes]) if len(sizes) else np.zeros(0, dtype=np.int64)
    own = np.repeat(count, sizes + ahead)
    number = np.minimum((rows + 1 - 2 * season) // step, own - 1)
    block = np.where((rows + 1 >= 2 * season) & (own > 0), np.repeat(blocks[:-1], sizes + ahead) + number, -1)
    return Parts(pattern, level, block)
