"""Rows brought together by group: pieces on disk, each with all rows of its groups, none larger than memory.

A group's piece follows from a hash of its key, so it is the same whatever the order of rows and files. Pieces hold
ranges of the hash: the groups with the lowest hashes, which stand for all, lie in the first pieces.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from automl.errors import DataError, ModelFileError
from automl.files import publish, sync_file, write_json
from forecasting.reading import text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from forecasting.many.source import Source

_HASH_BITS = 64
_BUFFER_ROWS = 1_000_000
"""Rows held in memory before they go to their pieces."""

Group = tuple[str, ...]
"""Key of a group: the values of its columns as text."""


@dataclass(slots=True)
class Known:
    """What is known of a group before anything is fitted.

    Parameters
    ----------
    key : values of the group columns as text. rows : how many it has. spoiled : rows whose target is no number.
    example : the first such value.
    """

    key: Group
    rows: int = 0
    spoiled: int = 0
    example: str = ""

    def complaint(self, target: str) -> str:
        """What is amiss with its rows, empty where nothing is."""
        if not self.spoiled:
            return ""
        return f"the target {target!r} is no number in {self.spoiled} of {self.rows} rows, first {self.example!r}"


def hash_of(key: Sequence[str]) -> int:
    """Hash of a group's key, 64 bits; the same on every machine.

    Examples
    --------
    >>> hash_of(("1042", "tropicana")) == hash_of(["1042", "tropicana"]) != hash_of(("104", "2tropicana"))
    True
    """
    return int.from_bytes(hashlib.blake2b(json.dumps(list(key)).encode(), digest_size=_HASH_BITS // 8).digest(), "big")


def piece_of(place: int, pieces: int) -> int:
    """Piece that holds a hash."""
    return (place * pieces) >> _HASH_BITS


@dataclass(slots=True)
class Shuffle:
    """Sends rows to the pieces of their groups.

    Parameters
    ----------
    folder : made here; it is there only once it is whole. by, ids : columns of groups and of series.
    target : column whose text is noted and becomes missing, None = none. pieces : how many.
    """

    folder: Path
    by: tuple[str, ...]
    ids: tuple[str, ...]
    target: str | None
    pieces: int
    groups: dict[int, Known] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    _of_series: dict[int, int] = field(default_factory=dict)
    _buffer: dict[int, list[pd.DataFrame]] = field(default_factory=dict)
    _held: int = 0

    def run(self, source: Source, columns: Sequence[str]) -> dict[int, Known]:
        """Read everything once; returns what is known of each group, by hash.

        Raises
        ------
        DataError : a series lies in two groups, a key is missing, there are no rows, a file cannot be read.
        """
        partial = self.folder.with_name(f".{self.folder.name}.tmp")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for batch in source.batches(columns):
            self._take(batch, partial)
        self._flush(partial)
        if not self.groups:
            raise DataError("the data has no rows.")
        for file in partial.iterdir():
            sync_file(file)
        raw = [[f"{place:016x}", list(g.key), g.rows, g.spoiled, g.example] for place, g in sorted(self.groups.items())]
        write_json(partial / "groups.json", {"pieces": self.pieces, "types": self.types, "groups": raw})
        publish(partial, self.folder)
        return self.groups

    def _take(self, batch: pd.DataFrame, folder: Path) -> None:
        keys = [text_of(batch[c]) for c in self.by]
        self.types = self.types or {c: str(batch[c].dtype) for c in self.by}
        numbers, firsts = _numbered(keys)
        places = [hash_of([k[i] for k in keys]) for i in firsts]
        for place, i in zip(places, firsts, strict=True):
            self.groups.setdefault(place, Known(tuple(k[i] for k in keys)))
        if not set(self.by) <= set(self.ids):
            self._check_whole(batch, numbers, places)
        if self.target is not None:
            batch = self._numeric(batch, numbers, places)
        for place, rows in zip(places, np.bincount(numbers, minlength=len(places)), strict=True):
            self.groups[place].rows += int(rows)
        piece = np.array([piece_of(place, self.pieces) for place in places])[numbers]
        order = np.argsort(piece, kind="stable")
        batch, piece = batch.iloc[order], piece[order]
        for k, first, last in _runs(piece):
            self._buffer.setdefault(k, []).append(batch.iloc[first:last])
        self._held += len(batch)
        if self._held >= _BUFFER_ROWS:
            self._flush(folder)

    def _check_whole(self, batch: pd.DataFrame, numbers: np.ndarray, places: list[int]) -> None:
        """A group holds whole series."""
        keys = [text_of(batch[c]) for c in self.ids]
        _, firsts = _numbered([*keys, numbers])
        for i in firsts:
            key = tuple(k[i] for k in keys)
            group = places[int(numbers[i])]
            if self._of_series.setdefault(hash_of(key), group) != group:
                both = " and ".join("/".join(self.groups[g].key) for g in (self._of_series[hash_of(key)], group))
                raise DataError(
                    f"series {'/'.join(key)} lies in two groups ({both}): the group columns {list(self.by)} split it. "
                    f"Fix: group by columns that do not change within a series, such as {list(self.ids)}."
                )

    def _numeric(self, batch: pd.DataFrame, numbers: np.ndarray, places: list[int]) -> pd.DataFrame:
        """Target as numbers; text becomes missing, and its group is told."""
        given = batch[self.target]
        if pd.api.types.is_numeric_dtype(given) or pd.api.types.is_bool_dtype(given):
            return batch
        values = pd.to_numeric(given, errors="coerce").astype(float)
        bad = np.flatnonzero((values.isna() & given.notna()).to_numpy())
        for i in bad:
            group = self.groups[places[int(numbers[i])]]
            group.example = group.example or str(given.iloc[i])[:40]
            group.spoiled += 1
        return batch.assign(**{str(self.target): values})

    def _storable(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Columns that mix numbers and text as text; an id of both kinds is an error."""
        import pyarrow as pa

        mixed = {}
        for name in frame.columns:
            if not pd.api.types.is_object_dtype(frame[name]):
                continue
            try:
                pa.Array.from_pandas(frame[name])
            except (pa.ArrowException, TypeError) as error:
                if name in self.by or name in self.ids:
                    kinds = sorted({type(value).__name__ for value in frame[name]})
                    raise DataError(
                        f"column {name!r} tells groups or series apart and holds values of several types "
                        f"({', '.join(kinds)}). Fix: one type, such as frame[{name!r}].astype(str)."
                    ) from error
                mixed[str(name)] = frame[name].map(str, na_action="ignore")
        return frame.assign(**mixed)

    def _flush(self, folder: Path) -> None:
        """Append what is held to the pieces' files."""
        import pyarrow as pa

        for k, parts in self._buffer.items():
            table = pa.Table.from_pandas(self._storable(pd.concat(parts)), preserve_index=False)
            with (folder / _name(k)).open("ab") as file, pa.ipc.new_stream(file, table.schema) as stream:
                stream.write_table(table)
        self._buffer.clear()
        self._held = 0


def read_groups(folder: Path) -> tuple[int, dict[int, Known]]:
    """Number of pieces, and what `Shuffle.run` found."""
    raw = _groups_file(folder)
    rows = [(int(place, 16), Known(tuple(key), n, bad, text)) for place, key, n, bad, text in raw["groups"]]
    return int(raw["pieces"]), dict(rows)


def key_types(folder: Path) -> dict[str, str]:
    """Type of each group column in the data."""
    return dict(_groups_file(folder)["types"])


def _groups_file(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / "groups.json").read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ModelFileError(f"the groups in {folder} cannot be read: {error}") from error


def read_piece(folder: Path, number: int) -> pd.DataFrame | None:
    """All rows of a piece in the order they came, None where it has none."""
    import pyarrow as pa

    path = folder / _name(number)
    if not path.is_file():
        return None
    tables = list(_streams(path))
    try:
        return pa.concat_tables(tables, promote_options="permissive").to_pandas()
    except pa.ArrowException:
        # text in one batch, numbers in another: as text, which the reader of the column then names
        frames = [t.to_pandas() for t in tables]
        mixed = [c for c in frames[0] if len({str(f[c].dtype) for f in frames}) > 1]
        return pd.concat([f.astype(dict.fromkeys(mixed, object)) for f in frames], ignore_index=True)


def _streams(path: Path) -> Iterator[Any]:
    import pyarrow as pa

    size = path.stat().st_size
    with path.open("rb") as file:
        while file.tell() < size:
            with pa.ipc.open_stream(file) as stream:
                yield stream.read_all()


def _name(number: int) -> str:
    return f"piece-{number:05d}.arrow"


def _numbered(keys: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Number of each row's key (by first appearance), and the first row of each key."""
    index = pd.MultiIndex.from_arrays(keys) if len(keys) > 1 else pd.Index(keys[0])
    numbers, _ = pd.factorize(index)
    _, firsts = np.unique(numbers, return_index=True)
    return numbers, firsts


def series_of_rows(frame: pd.DataFrame, ids: Sequence[str]) -> tuple[list[Group], np.ndarray]:
    """Keys of a frame's series as text, and which of them each row belongs to."""
    keys = [text_of(frame[c]) for c in ids]
    numbers, firsts = _numbered(keys)
    return [tuple(k[i] for k in keys) for i in firsts], numbers


def key_texts(keys: Iterable[tuple[Any, ...]], ids: Sequence[str]) -> set[Group]:
    """Keys of series as text, as `series_of_rows` gives them."""
    frame = pd.DataFrame(list(keys), columns=list(ids))
    return set(series_of_rows(frame, ids)[0]) if len(frame) else set()


def _runs(sorted_values: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """Value, first and end of each run of equal values."""
    edges = np.flatnonzero(np.diff(sorted_values)) + 1
    for first, end in zip([0, *edges], [*edges, len(sorted_values)], strict=True):
        yield int(sorted_values[first]), int(first), int(end)


def row_places(frame: pd.DataFrame, by: Sequence[str]) -> np.ndarray:
    """Hash of the group of each row. Shape [rows] uint64."""
    keys = [text_of(frame[c]) for c in by]
    numbers, firsts = _numbered(keys)
    return np.array([hash_of([k[i] for k in keys]) for i in firsts], dtype=np.uint64)[numbers]
