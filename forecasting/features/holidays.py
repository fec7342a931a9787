"""Holiday features: day flags with a window on daily and finer data, counts of holiday days on coarser data."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from automl.errors import UnknownNameError
from forecasting.season import period_seconds

if TYPE_CHECKING:
    from forecasting.timegrid import TimeGrid

_DAY_SECONDS = 86_400.0


def check_country(country: str) -> str:
    """Return the upper-case ISO 3166 code.

    Raises
    ------
    UnknownNameError : the holiday tables know no such country.
    """
    import holidays

    known = holidays.list_supported_countries()
    code = str(country).strip().upper()
    if code not in known:
        raise UnknownNameError("country for holidays", country, known)
    return code


@lru_cache(maxsize=8)
def holiday_days(country: str, first_year: int, last_year: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """Holidays of a country in some years: (sorted days as int64 since 1970, names), one entry a holiday day."""
    import holidays

    table = holidays.country_holidays(country, years=range(first_year, last_year + 1))
    days = sorted(table)
    return np.array(days, dtype="datetime64[D]").astype(np.int64), tuple(table[d].split(";")[0].strip() for d in days)


def holiday_names(grid: TimeGrid, window: int) -> tuple[str, ...]:
    """Names of the features `holiday_features` returns at this frequency; none on an integer grid."""
    if grid.is_integer:
        return ()
    if period_seconds(grid.freq) > _DAY_SECONDS:
        return ("holiday_days_ahead", "holiday_days_back")
    return ("holiday", "days_to_holiday", "days_since_holiday") if window else ("holiday",)


def holiday_features(grid: TimeGrid, steps: np.ndarray, country: str, window: int) -> np.ndarray:
    """Holiday features of time steps; known for ever ahead, so no leakage.

    Parameters
    ----------
    steps : shape [rows], grid steps. country : ISO 3166 code. window : days around a holiday that still count.

    Returns
    -------
    shape [rows, k] float32, columns as in `holiday_names`. Daily and finer: flag, days to the next holiday and since
    the last one, both capped at window + 1. Coarser: holiday days in the period that starts at the stamp and in the
    one that ends there (a stamp may name either end of its period).
    """
    names = holiday_names(grid, window)
    if not names:
        return np.empty((len(steps), 0), dtype=np.float32)
    unique, where = np.unique(np.asarray(steps) + grid.holiday_shift, return_inverse=True)
    around = np.concatenate([unique[:1] - 1, unique, unique[-1:] + 1])
    days = grid.stamps(around).to_numpy().astype("datetime64[D]").astype(np.int64)
    years = (days[[0, -1]].astype("datetime64[D]")).astype("datetime64[Y]").astype(int) + 1970
    table, _ = holiday_days(country, int(years[0]) - 1, int(years[1]) + 1)
    today = days[1:-1]
    if len(names) == 2:
        before = grid.stamps(unique - 1).to_numpy().astype("datetime64[D]").astype(np.int64)
        after = grid.stamps(unique + 1).to_numpy().astype("datetime64[D]").astype(np.int64)
        ahead = np.searchsorted(table, after) - np.searchsorted(table, today)
        back = np.searchsorted(table, today, side="right") - np.searchsorted(table, before, side="right")
        return np.stack([ahead, back], axis=1).astype(np.float32)[where]
    at = np.searchsorted(table, today)
    to_next = table[np.minimum(at, len(table) - 1)] - today
    last = np.searchsorted(table, today, side="right") - 1
    since = today - table[np.maximum(last, 0)]
    flag = to_next == 0
    if not window:
        return flag.astype(np.float32)[where][:, None]
    columns = [flag, np.clip(to_next, 0, window + 1), np.clip(since, 0, window + 1)]
    return np.stack(columns, axis=1).astype(np.float32)[where]
