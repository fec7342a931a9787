"""How many training rows fit into some memory."""

from __future__ import annotations

from automl.memory import MB

_CELL_BYTES = 16
"""Of a design matrix while it is built: columns in double precision, then stacked in single precision, twice."""

_LEAST_ROWS = 1_000


def matrix_mb(rows: int, columns: int) -> float:
    """Memory that a design matrix takes while it is built, in MB."""
    return rows * columns * _CELL_BYTES / MB


def rows_within(limit_mb: float, columns: int) -> int:
    """Rows of a design matrix that fit into some memory; 1,000 whatever the limit, for fewer teach nothing.

    Examples
    --------
    >>> rows_within(16.0, 100), rows_within(0.1, 100)
    (10000, 1000)
    """
    return max(_LEAST_ROWS, int(limit_mb * MB / (_CELL_BYTES * columns)))
