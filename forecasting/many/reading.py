"""Reading the rows of many groups so that one bad group spoils no other."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

from automl.worker import describe
from forecasting.reading import read_ids

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from forecasting.frame import Prepared
    from forecasting.panel import Key

T = TypeVar("T")


def isolated(
    frame: pd.DataFrame, places: np.ndarray, read: Callable[[pd.DataFrame], T]
) -> tuple[T | None, dict[int, str]]:
    """Read a frame without the groups that cannot be read, found by halving it.

    Parameters
    ----------
    places : shape [rows], hash of each row's group. read : raises where some rows cannot be read.

    Returns
    -------
    What was read, None where nothing can be; and why, for each group left out.
    """
    try:
        return read(frame), {}
    except Exception as error:  # noqa: BLE001 - whatever is wrong with a group, the others go on
        unique = np.unique(places)
        if len(unique) == 1:
            return None, {int(unique[0]): describe(error)}
        together = describe(error)
    errors: dict[int, str] = {}
    for half in np.array_split(unique, 2):
        rows = np.isin(places, half)
        errors |= isolated(frame[rows].reset_index(drop=True), places[rows], read)[1]
    keep = ~np.isin(places, np.array(list(errors), dtype=np.uint64))
    if not keep.any():
        return None, errors
    if not errors:  # each half alone can be read: what is wrong lies between them
        return None, {int(place): together for place in unique}
    good, more = isolated(frame[keep].reset_index(drop=True), places[keep], read)
    return good, errors | more


def group_of_series(frame: pd.DataFrame, places: np.ndarray, ids: tuple[str, ...]) -> dict[Key, int]:
    """Series key -> hash of its group."""
    keys, codes = read_ids(frame, ids)
    _, firsts = np.unique(codes, return_index=True)
    return {key: int(places[i]) for key, i in zip(keys, firsts, strict=True)}


def groups_of(prepared: Prepared, frame: pd.DataFrame, places: np.ndarray) -> np.ndarray:
    """Number of the group of each series of a prepared panel, 0.. without gaps. Shape [n]."""
    place = group_of_series(frame, places, prepared.schema.columns.id)
    of = np.array([place[key] for key in prepared.panel.ids], dtype=np.uint64)
    return np.unique(of, return_inverse=True)[1]
