"""Lags, windows and calendar of every row of a panel, column by column.

Where all rows are wanted (see `kernels.pivot` for some of them) a window slides: its rows lie in two neighbouring
blocks of its width, and the statistic of the part in each of them is known from one pass over the block (van Herk,
1992; Gil and Werman, 1993). So a window costs the same at any width, and still tells of its own values alone: nothing
that left it lingers in a running sum.
"""

from __future__ import annotations

import math

import numpy as np

from forecasting.kernels.compiled import kernel, part
from forecasting.kernels.pivot import MAX, MEAN, MIN, STD, SUM


@part
def _slide_total(y, ahead, width, divisor, behind, out):
    """Sums of windows over a divisor; to out [n], missing where the series is shorter."""
    n = len(y)
    over = 1 / divisor
    for q in range(0, n - ahead, width):
        most = min(width, n - ahead - q)
        within = 0.0
        if q == 0:
            for r in range(most):
                within += y[r]
                out[r + ahead] = within * over if r == width - 1 else np.nan
            continue
        before = 0.0
        for r in range(width - 1, 0, -1):
            before += y[q - width + r]
            behind[r] = before
        behind[width] = 0.0
        for r in range(most):
            within += y[q + r]
            out[q + r + ahead] = (within + behind[r + 1]) * over


@part
def _slide_least(y, ahead, width, sign, behind, out):
    """Least of sign * values of windows, times sign again; to out [n]."""
    n = len(y)
    for q in range(0, n - ahead, width):
        most = min(width, n - ahead - q)
        within = np.inf
        if q == 0:
            for r in range(most):
                within = min(within, sign * y[r])
                out[r + ahead] = sign * within if r == width - 1 else np.nan
            continue
        before = np.inf
        for r in range(width - 1, 0, -1):
            before = min(before, sign * y[q - width + r])
            behind[r] = before
        behind[width] = np.inf
        for r in range(most):
            within = min(within, sign * y[q + r])
            out[q + r + ahead] = sign * min(within, behind[r + 1])


@part
def _slide_deviation(y, ahead, width, behind, squares, out):
    """Standard deviations of windows, from means and squares of both parts (Chan, Golub and LeVeque, 1983); to out."""
    n = len(y)
    for q in range(0, n - ahead, width):
        most = min(width, n - ahead - q)
        mean, square = 0.0, 0.0
        if q > 0:
            for r in range(width - 1, 0, -1):
                value = y[q - width + r]
                apart = value - mean
                mean += apart / (width - r)
                square += apart * (value - mean)
                behind[r], squares[r] = mean, square
            mean, square = 0.0, 0.0
            behind[width], squares[width] = 0.0, 0.0
        for r in range(most):
            value = y[q + r]
            apart = value - mean
            mean += apart / (r + 1)
            square += apart * (value - mean)
            if q > 0:
                gap = mean - behind[r + 1]
                whole = square + squares[r + 1] + gap * gap * (r + 1) * (width - 1 - r) / width
                out[q + r + ahead] = math.sqrt(whole / width)
            else:
                out[r + ahead] = math.sqrt(square / width) if r == width - 1 else np.nan


@kernel
def lag_columns(z, indptr, first, end, ahead, lags, widths, statistics, calendar, step, out):
    """Write the columns of series first..end.

    Parameters
    ----------
    z : shape [rows]. indptr : shape [n + 1] int64. ahead : steps from the origin to the row's own time, >= 1.
    lags, widths, statistics : int64 arrays, counted from the origin (lag 1 = its value), statistics as in
        `kernels.pivot`. calendar : shape [c, steps] float32, by step. step : shape [n] int64, each series' first one.
    out : shape [columns, rows] float32, written: lags, every width's statistics, calendar; NaN before a series begins.
    """
    widest = 1
    for j in range(len(widths)):
        widest = max(widest, widths[j])
    behind, squares = np.empty(widest + 1), np.empty(widest + 1)
    for i in range(first, end):
        begin, stop = indptr[i], indptr[i + 1]
        y = z[begin:stop]
        n = stop - begin
        k = 0
        for j in range(len(lags)):
            back = min(lags[j] + ahead - 1, n)
            column = out[k, begin:stop]
            for t in range(back):
                column[t] = np.nan
            for t in range(back, n):
                column[t] = y[t - back]
            k += 1
        for j in range(len(widths)):
            width = widths[j]
            for s in range(len(statistics)):
                column = out[k, begin:stop]
                for t in range(min(ahead, n)):
                    column[t] = np.nan
                if statistics[s] == MEAN:
                    _slide_total(y, ahead, width, width, behind, column)
                elif statistics[s] == SUM:
                    _slide_total(y, ahead, width, 1, behind, column)
                elif statistics[s] == STD:
                    _slide_deviation(y, ahead, width, behind, squares, column)
                elif statistics[s] == MIN:
                    _slide_least(y, ahead, width, 1.0, behind, column)
                elif statistics[s] == MAX:
                    _slide_least(y, ahead, width, -1.0, behind, column)
                k += 1
        for j in range(len(calendar)):
            column = out[k, begin:stop]
            source = calendar[j, step[i] : step[i] + n]
            for t in range(n):
                column[t] = source[t]
            k += 1
