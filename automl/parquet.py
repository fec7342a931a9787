"""Rows of Parquet files in turn, a row group at a time, so that memory does not grow with the data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from automl.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

SUFFIXES = (".parquet", ".pq")
BATCH = 131_072


@dataclass(frozen=True, slots=True)
class Parquet:
    """A Parquet file, or a folder of them (hive partitions too).

    Parameters
    ----------
    path : of the file or folder.

    Raises
    ------
    DataError : there is no such file, or a folder holds none.
    """

    path: Path

    def files(self) -> list[Path]:
        """Files in order of their names; hidden ones are left out."""
        if not self.path.exists():
            raise DataError(f"there is no file or folder {str(self.path)!r}.")
        if self.path.is_file():
            return [self.path]
        found = sorted(f for f in self.path.rglob("*") if f.suffix.lower() in SUFFIXES and not hidden(f, self.path))
        if not found:
            raise DataError(f"{self.path} holds no file that ends in {', '.join(SUFFIXES)}.")
        return found

    def dataset(self) -> Any:
        """The files as Arrow's dataset."""
        import pyarrow.dataset

        base = str(self.path) if self.path.is_dir() else None
        files = [str(f) for f in self.files()]
        partitioning = "hive" if base else None
        return pyarrow.dataset.dataset(
            files, format="parquet", partitioning=partitioning, **({"partition_base_dir": base} if base else {})
        )

    def groups(self) -> list[tuple[Any, int]]:
        """Row groups in order, and the rows of each."""
        files = self.dataset().get_fragments()
        return [(g, sum(r.num_rows for r in g.row_groups)) for file in files for g in file.split_by_row_group()]

    def shuffled(self, columns: Sequence[str], seed: int, size: int = BATCH) -> Iterator[Any]:
        """Tables of about `size` rows: of row groups in random order, shuffled, for learners that mind the order."""
        import numpy as np
        import pyarrow

        rng = np.random.default_rng(seed)
        schema, groups = self.dataset().schema, self.groups()
        held: list[Any] = []
        for k in rng.permutation(len(groups)):
            for batch in groups[k][0].to_batches(schema, columns=list(columns), batch_size=size):
                held.append(batch)
                if sum(b.num_rows for b in held) >= size:
                    yield _mixed(pyarrow.Table.from_batches(held), rng)
                    held = []
        if held:
            yield _mixed(pyarrow.Table.from_batches(held), rng)

    def batches(self, columns: Sequence[str] | None = None, size: int = BATCH) -> Iterator[Any]:
        """Record batches in turn: Arrow's own scan of a dataset reads on ahead of a slow reader."""
        dataset = self.dataset()
        wanted = None if columns is None else list(columns)
        for file in dataset.get_fragments():
            for group in file.split_by_row_group():
                yield from group.to_batches(dataset.schema, columns=wanted, batch_size=size)


def hidden(file: Path, folder: Path) -> bool:
    """Whether a file, or a folder it lies in below the one given, is hidden."""
    return any(part.startswith((".", "_")) for part in file.relative_to(folder).parts)


def _mixed(table: Any, rng: Any) -> Any:
    return table.take(rng.permutation(table.num_rows))
