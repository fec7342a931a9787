"""Which rows are learned from and which are held out: k folds, random splits, the user's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from automl.errors import ConfigError, DataError
from automl.guardrails import Guardrail

if TYPE_CHECKING:
    from tabular.config import SearchSettings
    from tabular.table import Table

_FEW, _MANY = 1_000, 20_000
_FEW_FOLDS, _SOME_FOLDS, _HELD = 10, 3, 0.1
_LEAST_ROWS = 2


@dataclass(frozen=True, slots=True)
class Split:
    """Rows to learn from, and rows held out; both shape [rows] of positions."""

    train: np.ndarray
    held: np.ndarray


def splits(
    table: Table,
    y: np.ndarray,
    settings: SearchSettings,
    *,
    n_classes: int,
    seed: int,
    given: np.ndarray | None = None,
    held: int = 0,
) -> tuple[list[Split], Guardrail]:
    """Choose what models are scored on. Equal rows lie in one part, classes are spread evenly.

    Parameters
    ----------
    given : user's columns of 1 (training) and 0, shape [rows, folds]. held : the last so many rows are the user's
        validation data.

    Returns
    -------
    The splits, and what there is to say of them.
    """
    n = table.n_rows
    if given is not None:
        out = [Split(np.flatnonzero(column == 1), np.flatnonzero(column == 0)) for column in given.T]
        return out, Guardrail("Cross validation", "passed", f"{len(out)} folds by the columns given")
    if held:
        out = [Split(np.arange(n - held), np.arange(n - held, n))]
        return out, Guardrail("Train-Test data split", "passed", f"{held} rows of validation data given")
    share, folds = settings.validation_size, settings.n_folds
    if share is not None:
        count = 1 if folds == "auto" else int(folds)
        out = [_random(table, y, share, n_classes, seed + k) for k in range(count)]
        name = "Train-Test data split" if count == 1 else "Cross validation"
        return out, Guardrail(name, "passed", f"{count} random split(s), {share:.0%} held out")
    if folds == "auto" and n > _MANY:
        text = f"{_HELD:.0%} of {n} rows held out"
        return [_random(table, y, _HELD, n_classes, seed)], Guardrail("Train-Test data split", "done", text)
    count = int(folds) if folds != "auto" else _FEW_FOLDS if n < _FEW else _SOME_FOLDS
    if folds == "auto":
        count = max(2, min(count, n))
    if count > n or n < _LEAST_ROWS:
        raise ConfigError(
            f"{count} folds need as many rows, and there is n_samples={n}. Fix: more rows or fewer folds."
        )
    out = _folds(_dealt(equal_rows(table), y, n_classes, seed, count), y, n_classes)
    if not out:  # so few rows differ that a class would be held out whole
        out = _folds(_dealt(np.arange(n), y, n_classes, seed, count), y, n_classes)
    if not out:
        raise DataError("no row can be held out: every class has one row. Fix: more rows.")
    status = "done" if folds == "auto" else "passed"
    return out, Guardrail("Cross validation", status, f"{len(out)} folds of {n} rows")


def _folds(part: np.ndarray, y: np.ndarray, n_classes: int) -> list[Split]:
    """Splits by part; none where nothing is left to learn from."""
    named = range(int(part.max()) + 1)
    found = [Split(np.flatnonzero(part != k), np.flatnonzero(part == k)) for k in named]
    found = [_with_all_classes(p, y, n_classes) for p in found if len(p.held) and len(p.train)]
    return [p for p in found if len(p.held)]


def _random(table: Table, y: np.ndarray, share: float, n_classes: int, seed: int) -> Split:
    parts = max(2, round(1 / share)) if share <= 0.5 else 100
    part = _dealt(equal_rows(table), y, n_classes, seed, parts)
    held = part < max(1, round(share * parts)) if share > 0.5 else part == 0
    if not held.any() or held.all():
        held = np.arange(table.n_rows) == table.n_rows - 1
    return _with_all_classes(Split(np.flatnonzero(~held), np.flatnonzero(held)), y, n_classes)


def _with_all_classes(part: Split, y: np.ndarray, n_classes: int) -> Split:
    """Learn from rows held out whose class is nowhere else: a class of one row is never held out."""
    if not n_classes:
        return part
    lonely = ~np.isin(y[part.held], y[part.train])
    return Split(np.sort(np.concatenate([part.train, part.held[lonely]])), part.held[~lonely])


def _dealt(group: np.ndarray, y: np.ndarray, n_classes: int, seed: int, parts: int) -> np.ndarray:
    """Deal rows into parts: shuffled, class by class (tenths of numbers), rows of a group together. Shape [rows]."""
    rng = np.random.default_rng(seed)
    first = np.full(group.max() + 1, -1)
    first[group[::-1]] = np.arange(len(group))[::-1]
    stratum = y[first] if n_classes else _tenths(y)[first]
    order = rng.permutation(len(first))
    order = order[np.argsort(stratum[order], kind="stable")]
    of_group = np.empty(len(first), dtype=np.int64)
    of_group[order] = np.arange(len(first)) % parts
    return of_group[group]


def _tenths(y: np.ndarray) -> np.ndarray:
    """Which tenth of all values each lies in, so that parts have alike targets."""
    return np.searchsorted(np.quantile(y, np.arange(1, 10) / 10), y)


def equal_rows(table: Table) -> np.ndarray:
    """Number of each row among distinct ones. Shape [rows].

    Examples
    --------
    >>> from tabular.table import Table, numbers
    >>> equal_rows(Table.of([numbers("a", [2.0, 1.0, 2.0, np.nan, np.nan])])).tolist()
    [1, 0, 1, 2, 2]
    """
    if table.matrix is not None:
        return np.arange(table.n_rows)
    whole = np.zeros(table.n_rows, dtype=np.int64)
    for column in table.columns:
        _, codes = np.unique(column.values, return_inverse=True)
        # numbered anew after every column, so that the product never overflows
        _, whole = np.unique(whole * (codes.max() + 1) + codes, return_inverse=True)
    return whole


def check_classes(parts: list[Split], y: np.ndarray, classes: np.ndarray) -> None:
    """Raise DataError where a fold's training rows lack a class that is held out nowhere else."""
    for k, part in enumerate(parts):
        if len(np.unique(y[part.train])) < 2:
            only = str(classes[y[part.train][0]])
            raise DataError(
                f"fold {k} is left with one class to learn, {only!r}. Fix: fewer folds or more rows of the rare class."
            )
