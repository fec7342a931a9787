"""Seasonal-trend decompositions at many ends of a series: what was known of season and trend at each of them."""

from __future__ import annotations

import numpy as np

from forecasting.kernels.compiled import kernel
from forecasting.kernels.stl import stl, trend_window


@kernel
def decompose_blocks(values, indptr, first, end, m, step, keep, blocks, pattern, level):
    """Fit STL on the rows before each block's end, for series first..end.

    Block b of series i ends after 2 m + b * step rows and reads at most the last `keep` of them.

    Parameters
    ----------
    blocks : shape [n + 1], block numbers begin here for each series. pattern : shape [blocks, m], written: latest
        seasonal value of each phase (row in the series modulo m). level : shape [blocks], written: last trend value.
    """
    season, trend, work = np.empty(keep), np.empty(keep), np.empty((3, keep + 2 * m))
    width = trend_window(m, 11)
    for i in range(first, end):
        begin = indptr[i]
        for b in range(blocks[i + 1] - blocks[i]):
            stop = 2 * m + b * step
            start = max(0, stop - keep)
            n = stop - start
            y = values[begin + start : begin + stop]
            stl(y, m, 11, 0, width, 2, season[:n], trend[:n], work[:, : n + 2 * m])
            at = blocks[i] + b
            level[at] = trend[n - 1]
            for t in range(n - m, n):
                pattern[at, (start + t) % m] = season[t]
