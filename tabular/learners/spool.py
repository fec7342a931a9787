"""Features of many rows on disk, read by LightGBM a few thousand at a time."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from tabular.featurize.base import dense

if TYPE_CHECKING:
    from tabular.learners.base import FitContext, Pieces

_BATCH = 16_384


class Spool:
    """Writes features to a file of float32 rows; target and weights stay in memory. The file goes when it is closed.

    Parameters
    ----------
    pieces : of all rows. rows : about how many are kept, drawn at random where there are more.
    """

    def __init__(self, pieces: Pieces, context: FitContext, *, rows: int) -> None:
        self._file = tempfile.TemporaryFile(dir=pieces.folder)  # noqa: SIM115 - closed by close()
        self._width = pieces.features
        rng = np.random.default_rng(context.seed)
        share = min(1.0, rows / max(pieces.rows, 1))
        targets, weights = [], []
        for x, y, weight in pieces.read():
            context.deadline.check("writing features to disk")
            kept = np.flatnonzero(rng.random(len(y)) < share) if share < 1 else np.arange(len(y))
            self._file.write(dense(x[kept]).tobytes())
            targets.append(y[kept].astype(np.float32))
            weights.append(weight[kept].astype(np.float32))
        self._file.flush()
        self.y, self.weight = np.concatenate(targets), np.concatenate(weights)

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.y)

    def sequence(self) -> Any:
        """Rows as LightGBM's Sequence."""
        import lightgbm

        class Rows(lightgbm.Sequence):  # type: ignore[misc]
            """Rows of the file, by number or slice."""

            batch_size = _BATCH

            def __init__(self, spool: Spool) -> None:
                self._spool = spool

            def __len__(self) -> int:
                return self._spool.rows

            def __getitem__(self, rows: int | slice | list[int]) -> np.ndarray:
                if isinstance(rows, slice):
                    first, end, _ = rows.indices(len(self))
                    return self._spool.read(first, end - first)
                if isinstance(rows, list):
                    return np.stack([self._spool.read(int(r), 1)[0] for r in rows])
                return self._spool.read(int(rows), 1)[0]

        return Rows(self)

    def read(self, first: int, count: int) -> np.ndarray:
        """Some rows, float64 as LightGBM wants them. Shape [count, features]."""
        size = 4 * self._width
        content = os.pread(self._file.fileno(), count * size, first * size)
        return np.frombuffer(content, dtype=np.float32).reshape(count, self._width).astype(np.float64)

    def close(self) -> None:
        """Remove the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
