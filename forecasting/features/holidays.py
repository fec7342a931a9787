"""Holiday features: flags, distances and names on daily and finer data, counts of holiday days on coarser data."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from pandas.tseries.frequencies import to_offset

from automl.errors import UnknownNameError
from forecasting.season import period_seconds

if TYPE_CHECKING:
    from forecasting.timegrid import TimeGrid

_NEVER = 2**40
"""Days, either way, that lie outside every calendar."""

_DAY_SECONDS = 86_400.0
_OBSERVANCES = ("optional", "unofficial", "bank", "government", "half_day", "de_facto")
"""Categories of days that have a name but on which most people work."""

_LEAST_DAYS = 365
"""Days of training before names of holidays say anything: until then each was seen once at most, and not everywhere."""


def check_country(country: str) -> str:
    """Return the ISO 3166 code of a country, with its subdivision behind a hyphen where one is given.

    Raises
    ------
    UnknownNameError : the holiday tables know no such country, or no such subdivision of it.

    Examples
    --------
    >>> check_country("us"), check_country("de-Bayern"), check_country("US-ca")
    ('US', 'DE-BY', 'US-CA')
    """
    import holidays

    code, _, part = str(country).strip().partition("-")
    known = holidays.list_supported_countries()
    code = code.upper()
    if code not in known:
        raise UnknownNameError("country for holidays", country, known)
    if not part:
        return code
    names = {name.lower(): name for name in known[code]}
    aliases = getattr(holidays.country_holidays(code), "subdivisions_aliases", {})
    names |= {alias.lower(): name for alias, name in aliases.items()}
    if part.lower() not in names:
        raise UnknownNameError(f"subdivision of {code} for holidays", part, sorted(known[code]))
    return f"{code}-{names[part.lower()]}"


@lru_cache(maxsize=16)
def holiday_days(
    country: str, first_year: int, last_year: int, *, observances: bool = False
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Public holidays in some years, or the observances instead: (sorted days as int64 since 1970, names).

    Parameters
    ----------
    country : as `check_country` returns it. Names are English where the tables have them, whatever the machine's
        language, so that a saved model knows them anywhere.
    """
    import holidays

    code, _, part = country.partition("-")
    bare = holidays.country_holidays(code)
    categories = tuple(c for c in _OBSERVANCES if c in bare.supported_categories) if observances else ("public",)
    if not categories:
        return np.zeros(0, dtype=np.int64), ()
    english = "en_US" if "en_US" in bare.supported_languages else bare.default_language
    years = range(first_year, last_year + 1)
    table = holidays.country_holidays(code, subdiv=part or None, years=years, categories=categories, language=english)
    days = sorted(table)
    return np.array(days, dtype="datetime64[D]").astype(np.int64), tuple(table[d].split(";")[0].strip() for d in days)


def is_fine(grid: TimeGrid) -> bool:
    """Whether a step is a day or less, or a business day, so that it may lie on a holiday."""
    if grid.is_integer:
        return False
    offset = to_offset(grid.freq)
    return period_seconds(grid.freq) <= _DAY_SECONDS or (offset.n == 1 and offset.rule_code in {"B", "C"})


def holiday_names(grid: TimeGrid, before: int, after: int) -> tuple[str, ...]:
    """Names of the features `holiday_features` returns at this frequency; none on an integer grid."""
    if grid.is_integer:
        return ()
    if not is_fine(grid):
        return ("holiday_days_ahead", "holiday_days_back")
    distances = (("days_to_holiday", before), ("days_since_holiday", after))
    return ("holiday", "paid_time_off", *(name for name, width in distances if width))


def holiday_features(grid: TimeGrid, steps: np.ndarray, country: str, before: int, after: int) -> np.ndarray:
    """Holiday features of time steps; known for ever ahead, so no leakage.

    Parameters
    ----------
    steps : shape [rows], grid steps. country : see `check_country`. before, after : days around a public holiday that
        still count.

    Returns
    -------
    shape [rows, k] float32, columns as in `holiday_names`. Daily and finer: whether the day has a name, whether it is a
    public holiday, days to the next public holiday and since the last one, capped at before + 1 and after + 1.
    Coarser: public holidays in the period that starts at the stamp and in the one that ends there (a stamp may name
    either end of its period).
    """
    names = holiday_names(grid, before, after)
    if not names:
        return np.empty((len(steps), 0), dtype=np.float32)
    unique, where = np.unique(np.asarray(steps) + grid.holiday_shift, return_inverse=True)
    if not is_fine(grid):
        earlier, today, later = (_days(grid, unique + k) for k in (-1, 0, 1))
        table, _ = _around(country, earlier, later)
        ahead = np.searchsorted(table, later) - np.searchsorted(table, today)
        back = np.searchsorted(table, today, side="right") - np.searchsorted(table, earlier, side="right")
        return np.stack([ahead, back], axis=1).astype(np.float32)[where]
    today = _days(grid, unique)
    table, _ = _around(country, today, today)
    others, _ = _around(country, today, today, observances=True)
    at = np.searchsorted(table, today)
    # tables begin and end: beyond them no holiday is near
    ends = np.concatenate([[-_NEVER], table, [_NEVER]])
    to_next = ends[at + 1] - today
    since = today - ends[np.searchsorted(table, today, side="right")]
    public = to_next == 0
    columns = {
        "holiday": public | np.isin(today, others),
        "paid_time_off": public,
        "days_to_holiday": np.clip(to_next, 0, before + 1),
        "days_since_holiday": np.clip(since, 0, after + 1),
    }
    return np.stack([columns[name] for name in names], axis=1).astype(np.float32)[where]


def holiday_labels(grid: TimeGrid, steps: np.ndarray, country: str, before: int, after: int) -> np.ndarray:
    """Name of the day of each step of daily and finer data, "" for an ordinary one. Shape [rows] of texts.

    A public holiday comes before an observance, both before "2 days before Christmas Day" inside the window around
    public holidays; of two windows the nearer holiday's, of equally near ones the coming one's.

    Examples
    --------
    >>> from forecasting.timegrid import TimeGrid
    >>> holiday_labels(TimeGrid("D", "2020-07-01"), np.arange(6), "US", 1, 1).tolist()
    ['', '1 day before Independence Day (observed)', 'Independence Day (observed)', 'Independence Day', \
'1 day after Independence Day', '']
    """
    unique, where = np.unique(np.asarray(steps) + grid.holiday_shift, return_inverse=True)
    days = _days(grid, unique)
    labels = _labels(country, days, before, after)
    return np.array([labels.get(int(day), "") for day in days], dtype=object)[where]


def _labels(country: str, days: np.ndarray, before: int, after: int) -> dict[int, str]:
    """Day since 1970 -> its name, for the days (ascending) that have one and some around them."""
    labels: dict[int, str] = {}
    public = list(zip(*_around(country, days, days), strict=True))
    for distance in range(max(before, after), 0, -1):
        text = f"{distance} day{'s' if distance > 1 else ''}"
        if distance <= after:
            labels |= {int(day) + distance: f"{text} after {name}" for day, name in public}
        if distance <= before:
            labels |= {int(day) - distance: f"{text} before {name}" for day, name in public}
    for observances in (True, False):
        table = zip(*_around(country, days, days, observances=observances), strict=True)
        labels |= {int(day): name for day, name in table}
    return labels


def learnable_labels(grid: TimeGrid, first: int, last: int, country: str, before: int, after: int) -> tuple[str, ...]:
    """Names that steps `first` to `last` of daily and finer data can teach, sorted; none in less than a year.

    A holiday itself is learned from its first year on; a day near one moves less, so its name must have come twice.
    """
    if not is_fine(grid):
        return ()
    ends = _days(grid, np.array([first, last]))
    if ends[1] - ends[0] + 1 < _LEAST_DAYS:
        return ()
    every = _labels(country, np.arange(ends[0], ends[1] + 1), before, after)
    named = set(_labels(country, np.arange(ends[0], ends[1] + 1), 0, 0).values())
    seen = Counter(label for day, label in every.items() if ends[0] <= day <= ends[1])
    return tuple(sorted(label for label, count in seen.items() if label in named or count > 1))


def _days(grid: TimeGrid, steps: np.ndarray) -> np.ndarray:
    """Days of steps by the grid's clock, as int64 since 1970."""
    return grid.clock(steps).to_numpy().astype("datetime64[D]").astype(np.int64)


def _around(
    country: str, first: np.ndarray, last: np.ndarray, *, observances: bool = False
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Holidays of the years that some days (both ascending) lie in, and of a year around them."""
    ends = np.array([first[0], last[-1]]).astype("datetime64[D]").astype("datetime64[Y]").astype(int) + 1970
    return holiday_days(country, int(ends[0]) - 1, int(ends[1]) + 1, observances=observances)
