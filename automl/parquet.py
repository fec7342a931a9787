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
        import pyarrow
        import pyarrow.dataset

        base = str(self.path) if self.path.is_dir() else None
        files = [str(f) for f in self.files()]
        partitioning = "hive" if base else None
        options: dict[str, Any] = {"format": "parquet", "partitioning": partitioning}
        options |= {"partition_base_dir": base} if base else {}
        found = pyarrow.dataset.dataset(files, **options)
        schemas = [schema for _, schema in self.schemas()] if len(files) > 1 else []
        if all(schema.equals(schemas[0]) for schema in schemas):
            return found
        # found looks at the first file alone: whole numbers there may be fractions elsewhere, categories text
        try:
            try:
                whole = pyarrow.unify_schemas([found.schema, *schemas], promote_options="permissive")
            except pyarrow.ArrowException:
                several = [_decoded(schema) for schema in (found.schema, *schemas)]
                whole = pyarrow.unify_schemas(several, promote_options="permissive")
        except pyarrow.ArrowException as error:
            raise DataError(f"files in {self.path} do not fit together: {' '.join(str(error).split())}") from error
        return pyarrow.dataset.dataset(files, schema=whole, **options)

    def schemas(self) -> list[tuple[Path, Any]]:
        """Files and what each holds."""
        import pyarrow.parquet

        return [(f, pyarrow.parquet.read_schema(f).remove_metadata()) for f in self.files()]

    def lacking(self, columns: Sequence[str]) -> tuple[Path, str] | None:
        """First file without one of some columns that others have, and that column."""
        schemas = self.schemas()
        inside = {name for _, schema in schemas for name in schema.names}  # the others are told by folders
        wanted = [name for name in columns if name in inside]
        return next(((f, name) for f, schema in schemas for name in wanted if name not in schema.names), None)

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


def _decoded(schema: Any) -> Any:
    """A schema whose categories are what they stand for."""
    import pyarrow

    kinds = [f.type.value_type if pyarrow.types.is_dictionary(f.type) else f.type for f in schema]
    return pyarrow.schema([f.with_type(kind) for f, kind in zip(schema, kinds, strict=True)])


def hidden(file: Path, folder: Path) -> bool:
    """Whether a file, or a folder it lies in below the one given, is hidden."""
    return any(part.startswith((".", "_")) for part in file.relative_to(folder).parts)


def _mixed(table: Any, rng: Any) -> Any:
    return table.take(rng.permutation(table.num_rows))
