"""What each column is used as, and why."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from automl.errors import UnknownNameError

if TYPE_CHECKING:
    from tabular.config import DataSettings, FeatureSettings
    from tabular.table import Column, Table

_LOOK = 2_000
"""Words whose length is looked at."""

_FEWEST_TEXTS = 20


@dataclass(frozen=True, slots=True)
class Profile:
    """One raw column.

    Parameters
    ----------
    name, kind : numeric, categorical, categorical_hash, datetime, text or ignore. unique : distinct values.
    missing : rows without one. rows : of all. why : of the kind.
    """

    name: str
    kind: str
    unique: int
    missing: int
    rows: int
    why: str

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Self:
        """Read what `to_json` gave."""
        return cls(**raw)


def profile(table: Table, data: DataSettings, features: FeatureSettings) -> tuple[Profile, ...]:
    """Look at every column of a table.

    Raises
    ------
    UnknownNameError : the settings name a column that is not there. MissingPackageError, ConfigError : the transformer
        for sentence vectors cannot be loaded.

    Examples
    --------
    >>> from tabular.config import DataSettings, FeatureSettings
    >>> from tabular.table import Table, numbers, texts
    >>> table = Table.of([numbers("one", [1.0, 1.0, 1.0]), texts("colour", ["red", "blue", "red"])])
    >>> [(p.name, p.kind, p.why) for p in profile(table, DataSettings(), FeatureSettings())]
    [('one', 'ignore', 'constant'), ('colour', 'categorical', '2 categories')]
    """
    for name in features.imputers:
        if name not in table.names:
            raise UnknownNameError("column", name, table.names)
    profiles = tuple(_profile(c, data.kinds.get(c.name), features) for c in table.columns)
    if features.embeddings and any(p.kind == "text" for p in profiles):
        from tabular.featurize.embeddings import load_encoder

        load_encoder(features.embeddings)
    return profiles


def _profile(column: Column, asked: str | None, settings: FeatureSettings) -> Profile:
    missing = int(column.missing.sum())
    rows = len(column.values)
    present = column.values[~column.missing]
    unique = len(_distinct(column, present))
    if asked is not None:
        kind, why = asked, "as the settings say"
    elif unique == 0:
        kind, why = "ignore", "all missing"
    elif unique == 1 and not missing:
        kind, why = "ignore", "constant"
    elif column.stored == "date":
        kind, why = "datetime", "dates"
    elif column.stored == "number" and _numbers_rows(present, rows):
        kind, why = "ignore", "numbers the rows"
    elif column.stored == "number":
        kind, why = "numeric", "numbers"
    else:
        kind, why = _of_text(column, present, unique, settings)
    return Profile(column.name, kind, unique, missing, rows, why)


def _distinct(column: Column, present: np.ndarray) -> np.ndarray:
    """Different values, codes of text in order."""
    import pandas as pd

    if column.stored == "text":
        return np.flatnonzero(np.bincount(present, minlength=1))
    return np.asarray(pd.unique(present))  # by a hash, where sorting a million numbers takes ten times as long


def _numbers_rows(values: np.ndarray, rows: int) -> bool:
    """Whether values count up or down by one from row to row."""
    if len(values) < rows or rows <= _FEWEST_TEXTS:
        return False
    steps = np.diff(values)
    return abs(float(steps[0])) == 1.0 and bool((steps == steps[0]).all())


def _of_text(column: Column, present: np.ndarray, unique: int, settings: FeatureSettings) -> tuple[str, str]:
    share = unique / len(present)
    used = _distinct(column, present)[:: max(1, unique // _LOOK)]
    words = float(np.mean([len(column.words[i].split()) for i in used]))
    if words >= settings.text_words and share > settings.text_share and unique > _FEWEST_TEXTS:
        return "text", f"{words:.1f} words on average, {share:.0%} of the rows differ"
    if share > settings.id_share and unique > _FEWEST_TEXTS:
        if words > 1.5:
            return "text", f"{words:.1f} words on average, {share:.0%} of the rows differ"
        return "ignore", f"an id: {share:.0%} of the rows differ"
    if unique > settings.most_categories:
        return "categorical_hash", f"{unique} categories"
    return "categorical", f"{unique} categories"
