"""Data larger than memory: a sample to choose models on, and all rows in pieces to fit them."""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from automl.errors import ConfigError, DataError
from automl.guardrails import Guardrail
from automl.memory import MB, free_mb
from automl.parquet import SUFFIXES, Parquet
from tabular.learners.base import Pieces
from tabular.reading import Schema, read_new

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from tabular.config import DataSettings
    from tabular.featurize.featurizer import Featurizer

_COPIES = 4
"""Times a table lies in memory while it is fitted: frame, table, features, learner's own."""

_SAMPLE_ROWS, _SAMPLE_SHARE = 200_000, 0.03
_SPREAD = 8
"""Row groups that are looked at hold so many times the rows that are drawn."""

_SEED = 0
_RARE = 20
"""Rows of each class that the sample holds, where there are so many."""

_PROCESS_MB, _WORKER_MB, _USED = 400.0, 2_000.0, 0.7
"""Of a process that holds no data; what each worker needs to fit in pieces; share of the rest that rows may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Where all rows lie, and what is known of them without holding them.

    Parameters
    ----------
    path, target : data and column of labels. weight : column of weights or None. schema : of the features, as JSON.
    classes : labels, None for numbers. sizes : rows (weights) of each class. rows : with a label. mean, spread : of a
    target of numbers. weight_mean : of the weights. memory_mb : that a fit may take.
    """

    path: str
    target: str
    weight: str | None
    schema: dict[str, Any]
    classes: list[Any] | None
    sizes: list[float]
    rows: int
    mean: float
    spread: float
    weight_mean: float
    memory_mb: float

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Self:
        """Read what `to_json` gave."""
        return cls(**raw)

    def pieces(self, featurizer: Featurizer, width: int, folder: Path, *, balanced: bool) -> Pieces:
        """All rows as features, again and again."""
        schema = Schema.from_json(self.schema)
        code = None if self.classes is None else {c: k for k, c in enumerate(self.classes)}
        sizes = np.array(self.sizes)
        factor = sizes.sum() / (np.count_nonzero(sizes) * np.maximum(sizes, 1e-12)) if balanced and len(sizes) else None

        def read() -> Iterator[tuple[Any, np.ndarray, np.ndarray]]:
            for frame in self._frames():
                y, weight = self._labels(frame, code)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # columns that are not used were told of once
                    x = featurizer.transform(read_new(frame, schema))
                yield x, y, weight if factor is None else weight * factor[y]

        return Pieces(
            rows=self.rows,
            features=width,
            memory_mb=self.memory_mb,
            folder=folder,
            read=read,
            mean=self.mean,
            spread=self.spread,
        )

    def _frames(self) -> Iterator[pd.DataFrame]:
        columns = [*Schema.from_json(self.schema).names, self.target, *([self.weight] if self.weight else [])]
        for table in Parquet(Path(self.path)).shuffled(columns, _SEED):
            frame = table.to_pandas()
            frame = frame[frame[self.target].notna()]
            if len(frame):
                yield frame.reset_index(drop=True)

    def _labels(self, frame: pd.DataFrame, code: dict[Any, int] | None) -> tuple[np.ndarray, np.ndarray]:
        weight = np.ones(len(frame))
        if self.weight:
            weight = frame[self.weight].to_numpy(dtype=float) / self.weight_mean
        if code is None:
            return frame[self.target].to_numpy(dtype=float), weight
        return np.array([code[v] for v in frame[self.target].tolist()], dtype=np.int32), weight


def source_of(data: Any, target: Any, settings: DataSettings) -> Parquet | None:
    """Parquet data that would take more memory than it may; None for everything else.

    Raises
    ------
    ConfigError : the memory is limited and the data is no Parquet file or folder on disk, or has fold columns.
    """
    if not isinstance(data, str | Path):
        return None
    path = Path(data)
    if not (path.is_dir() or path.suffix.lower() in SUFFIXES) or not path.exists():
        return None
    source = Parquet(path)
    limit = memory_limit(settings)
    if limit is None or table_mb(source) * _COPIES <= limit:
        return None
    if not isinstance(target, str):
        raise ConfigError(f"{path} is read in pieces, so its labels must be a column of it. Fix: y='its name'.")
    if settings.folds:
        raise ConfigError(f"{path} is read in pieces, and folds={list(settings.folds)} needs all of it. Fix: no folds.")
    return source


def memory_limit(settings: DataSettings) -> float | None:
    """Memory that a fit may take, in MB; None where it is neither given nor to be found out."""
    if settings.memory_mb is not None:
        return settings.memory_mb
    free = free_mb()
    return None if free is None else free / 2


def table_mb(source: Parquet) -> float:
    """Memory that the whole table takes as a frame, in MB, by what its files say."""
    rows = sum(count for _, count in source.groups())
    return max(rows * len(source.dataset().schema.names) * 8, _uncompressed(source)) / MB


def _uncompressed(source: Parquet) -> float:
    from pyarrow.parquet import ParquetFile

    total = 0
    for file in source.files():
        about = ParquetFile(file).metadata
        total += sum(about.row_group(k).total_byte_size for k in range(about.num_row_groups))
    return float(total)


def workers_within(limit: float, workers: int) -> int:
    """Processes that may fit in pieces at a time."""
    return max(1, min(workers, int(limit / _WORKER_MB))) if workers else 0


def share_of(limit: float, workers: int) -> float:
    """Memory that rows may take in each process, in MB."""
    own = max(workers, 1)
    return max(100.0, _USED * (limit - _PROCESS_MB * (own + (1 if workers else 0))) / own)


def sample(source: Parquet, target: str, settings: DataSettings, *, classes: bool, seed: int) -> pd.DataFrame:
    """Rows to choose models on: drawn from row groups all over the data, with some of each class.

    Raises
    ------
    DataError : the label column is missing, or no row has a label.
    """
    import pandas as pd

    names = list(source.dataset().schema.names)
    if target not in names:
        raise DataError(f"the label column {target!r} is not there. Columns: {', '.join(names[:20])}.")
    limit = memory_limit(settings) or table_mb(source)
    groups = source.groups()
    rows = sum(count for _, count in groups)
    fits = int(_SAMPLE_SHARE * limit / table_mb(source) * rows)
    wanted = max(1_000, min(_SAMPLE_ROWS, fits, rows))
    rng = np.random.default_rng(seed)
    count = int(np.ceil(len(groups) * min(1.0, _SPREAD * wanted / rows)))
    some = [
        groups[k] for k in np.unique(np.linspace(0, len(groups) - 1, max(count, min(len(groups), _SPREAD))).astype(int))
    ]
    share = min(1.0, wanted / sum(n for _, n in some))
    schema = source.dataset().schema
    parts = []
    for group, _ in some:
        for batch in group.to_batches(schema):
            drawn = np.flatnonzero(rng.random(batch.num_rows) < share)
            parts.append(batch.take(_places(drawn)).to_pandas())
    frame = pd.concat(parts, ignore_index=True)
    frame = frame[frame[target].notna()]
    if classes:
        frame = _with_rare(source, target, frame)
    if frame.empty:
        raise DataError(f"the label {target!r} is missing in all rows.")
    return frame.reset_index(drop=True)


def _places(rows: np.ndarray) -> Any:
    import pyarrow

    return pyarrow.array(rows)


def _with_rare(source: Parquet, target: str, frame: pd.DataFrame) -> pd.DataFrame:
    """The sample and rows of classes that it holds few of."""
    import pandas as pd

    have = frame[target].value_counts()
    every = _counts(source, target)
    rare = {c: min(n, _RARE) - int(have.get(c, 0)) for c, n in every.items()}
    rare = {c: n for c, n in rare.items() if n > 0}
    if not rare:
        return frame
    found = [frame]
    seen = {c: int(have.get(c, 0)) for c in rare}
    for batch in source.batches():
        piece = batch.to_pandas()
        for label in [c for c, n in rare.items() if n > 0]:
            # rows that the sample has already stand among the first: as many are passed over
            own = piece[piece[target] == label]
            skipped = min(seen[label], len(own))
            seen[label] -= skipped
            taken = own.iloc[skipped : skipped + rare[label]]
            rare[label] -= len(taken)
            found.append(taken)
        if not any(n > 0 for n in rare.values()):
            break
    return pd.concat(found, ignore_index=True)


def _counts(source: Parquet, target: str) -> dict[Any, int]:
    out: dict[Any, int] = {}
    for batch in source.batches([target]):
        values = batch.column(0).to_pandas()
        for label, count in values.value_counts().items():  # leaves missing ones out
            out[label] = out.get(label, 0) + int(count)
    return out


def measured(
    source: Parquet, target: str, settings: DataSettings, schema: Schema, classes: np.ndarray | None, memory_mb: float
) -> Stream:
    """Look at all labels and weights.

    Raises
    ------
    DataError : a label or a weight cannot be used.
    """
    labels = None if classes is None else [c.item() if hasattr(c, "item") else c for c in classes]
    place = {} if labels is None else {c: k for k, c in enumerate(labels)}
    sizes = np.zeros(len(place))
    rows, total, square, weights = 0, 0.0, 0.0, 0.0
    columns = [target, *([settings.weight] if settings.weight else [])]
    for batch in source.batches(columns):
        frame = batch.to_pandas()
        frame = frame[frame[target].notna()]
        weight = np.ones(len(frame)) if not settings.weight else frame[settings.weight].to_numpy(dtype=float)
        if not (np.isfinite(weight) & (weight >= 0)).all():
            raise DataError(f"column {settings.weight!r} holds weights that are no numbers >= 0.")
        rows += len(frame)
        weights += float(weight.sum())
        if labels is not None:
            codes = np.array([place.get(v, -1) for v in frame[target].tolist()], dtype=int)
            if (codes < 0).any():
                odd = frame[target].tolist()[int((codes < 0).argmax())]
                raise DataError(f"the label {odd!r} is of another type than the others.")
            sizes += np.bincount(codes, weights=weight, minlength=len(sizes))
            continue
        y = frame[target].to_numpy(dtype=float)
        if not np.isfinite(y).all():
            raise DataError(f"the target {target!r} is infinite in some rows: Input y contains infinity.")
        total += float((weight * y).sum())
        square += float((weight * y**2).sum())
    if weights <= 0:
        raise DataError("all weights are zero. Fix: give at least one row a positive weight.")
    mean = total / weights
    spread = float(np.sqrt(max(square / weights - mean**2, 0.0))) or 1.0
    return Stream(
        path=str(source.path.resolve()),
        target=target,
        weight=settings.weight,
        schema=schema.to_json(),
        classes=labels,
        sizes=sizes.tolist(),
        rows=rows,
        mean=mean,
        spread=spread,
        weight_mean=weights / rows,
        memory_mb=memory_mb,
    )


def note(stream: Stream, sampled: int) -> Guardrail:
    """What is told of data that is read in pieces."""
    text = f"{stream.rows} rows would take more memory than there is: models are chosen on {sampled} of them and then "
    return Guardrail(
        "Large data handling", "done", text + "fitted on all in pieces, or on as many as their memory holds"
    )
