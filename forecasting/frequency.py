"""Frequency detection: which offset do all series follow, gaps allowed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from automl.errors import DataError
from forecasting.panel import run_starts
from forecasting.timegrid import INTEGER, TimeGrid, fixed_length

if TYPE_CHECKING:
    from pandas import DatetimeIndex

ENOUGH_ON_GRID = 0.9
"""Share of rows that must lie on a grid for the others to be dropped as stray ones."""

_CONCENTRATED = 0.5
"""Length of the mean direction of stamps on the circle of one period from which they stand around one point of it."""

_LEAST_EQUAL, _LEAST_MULTIPLES, _NEARLY = 4, 8, 0.15
_SECOND = 1_000_000_000
_MONTH_DAYS, _MONTH_SLACK, _LATE_DAY = 30.4375, 4.0, 25
"""Mean length of a month; how far steps of whole months may be from it; days of the month from which it is an end."""

_ALIKE = 0.25
"""Share of the usual step by which others may differ from it and be like it."""

_TICKS = (("D", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")


def detect(stamps: DatetimeIndex, first_of_series: np.ndarray, names: list[str]) -> str:
    """Frequency of timestamps that are sorted within series.

    Parameters
    ----------
    stamps : shape [rows], all series one after the other. first_of_series : shape [rows] bool, True where one begins.
    names : what to call each series in messages.

    Returns
    -------
    The coarsest offset whose grid holds every timestamp: of days and finer the commonest step, of longer steps
    calendar offsets (weeks by weekday, month, quarter and year starts or ends, business days).

    Raises
    ------
    DataError : no series has two rows, or no common offset fits; the message shows where.
    """
    values = stamps.as_unit("ns").asi8
    inside = ~first_of_series[1:]
    steps = np.diff(values)[inside]
    if not len(steps):
        raise DataError(
            f"no frequency can be detected: each of the {len(names)} series has a single row. Fix: set freq."
        )
    if (steps <= 0).any():
        raise DataError("timestamps must be sorted and unique within each series before the frequency is detected.")
    unique, counts = np.unique(steps, return_counts=True)
    common = int(unique[counts.argmax()])
    if common < 5 * 86_400 * _SECOND:
        found = _ticks(stamps, unique, counts)
    else:
        found = _calendar(stamps, unique)
        if found in {"D", "B"} and (months := _months_apart(unique, counts)):
            raise DataError(_no_fixed_day(stamps, first_of_series, names, months))
        if found is not None and (apart := _evenly_apart(unique, counts, found)):
            raise DataError(_mostly_gaps(stamps, apart, found))
    if found is None:
        raise DataError(_mixed(stamps, first_of_series, names, unique, counts))
    return found


def _ticks(stamps: DatetimeIndex, unique: np.ndarray, counts: np.ndarray) -> str | None:
    """A fixed step, or business days."""
    day = 86_400 * _SECOND
    common = int(unique[counts.argmax()])
    # daily data without any weekend, long enough for weekends to have passed by
    weekdays_only = (unique % day == 0).all() and not np.isin(stamps.day_of_week, (5, 6)).any()
    if common == day and weekdays_only and len(stamps) > 10 and (unique == 3 * day).any():
        return "B"
    on_grid = counts[unique % common == 0].sum() / counts.sum()
    if on_grid < ENOUGH_ON_GRID:
        return None
    for alias, seconds in _TICKS:
        if common % (seconds * _SECOND) == 0:
            count = common // (seconds * _SECOND)
            return alias if count == 1 else f"{count}{alias}"
    return None


def _calendar(stamps: DatetimeIndex, unique: np.ndarray) -> str | None:
    """Weeks, months, quarters or years, by what nine in ten timestamps share."""
    day = 86_400 * _SECOND
    weekdays = np.bincount(stamps.day_of_week, minlength=7)
    starts, ends = np.mean(stamps.day == 1), np.mean(stamps.is_month_end)
    shortest = int(np.quantile(unique, 0.0)) / day
    if max(starts, ends) >= ENOUGH_ON_GRID and shortest >= 28:
        return _by_month(stamps, "S" if starts >= ends else "E")
    if shortest >= 26:  # the first or last business day of a month wanders by a weekend
        for side, offset in (("S", pd.offsets.BMonthBegin()), ("E", pd.offsets.BMonthEnd())):
            if np.mean([offset.is_on_offset(stamp) for stamp in stamps]) >= ENOUGH_ON_GRID:
                return f"B{_by_month(stamps, side)}"
    if weekdays.max() >= ENOUGH_ON_GRID * len(stamps):
        weeks = int(np.gcd.reduce(np.maximum(unique // (7 * day), 1)))
        anchor = _DAYS[int(weekdays.argmax())]
        return f"W-{anchor}" if weeks == 1 else f"{weeks}W-{anchor}"
    whole = unique[unique % day == 0]
    if len(whole) == len(unique):
        days = int(np.gcd.reduce(whole // day))
        return "D" if days == 1 else f"{days}D"
    return None


def _months_apart(unique: np.ndarray, counts: np.ndarray) -> int:
    """Months between rows where nine in ten steps are nearly whole months, 0 where they are not."""
    days = unique / (86_400 * _SECOND)
    months = np.maximum(np.rint(days / _MONTH_DAYS), 1)
    near = np.abs(days - months * _MONTH_DAYS) <= _MONTH_SLACK
    if counts[near].sum() < ENOUGH_ON_GRID * counts.sum():
        return 0
    return int(months[near][counts[near].argmax()])


def _evenly_apart(unique: np.ndarray, counts: np.ndarray, found: str) -> int:
    """Usual step where nine in ten are like it and it is more than three steps of the grid that was found, else 0.

    Such rows follow a calendar of their own (first Mondays, retail months, dekads) and not a grid with gaps.
    """
    grid = {"D": 1, "B": 1}.get(found, 7 if found.startswith("W-") else 0) * 86_400 * _SECOND
    usual = int(unique[np.searchsorted(np.cumsum(counts), counts.sum() / 2)])
    alike = counts[np.abs(unique - usual) <= _ALIKE * usual].sum() / counts.sum()
    return usual if grid and usual > 3 * grid and alike >= ENOUGH_ON_GRID else 0


def _mostly_gaps(stamps: DatetimeIndex, apart: int, found: str) -> str:
    """Rows are alike apart, but on no grid: laid on the one that holds them all, nearly all would be gaps."""
    days = apart / (86_400 * _SECOND)
    alias = next((a for a, length in (("MS", 31), ("QS", 92)) if days <= 1.2 * length), "YS")
    return (
        f"rows are about {readable(apart)} apart, from {stamps[0].date()} on, but on no grid coarser than {found!r}, "
        f"where most rows would be gaps. Fix: freq={alias!r} with aggregate='sum' (or 'mean') puts them into such "
        f"periods; where the gaps are meant, freq={found!r}."
    )


def _no_fixed_day(stamps: DatetimeIndex, first: np.ndarray, names: list[str], months: int) -> str:
    """Rows are months apart, but stand on no day that a calendar offset has: laid on days, nearly all would be gaps."""
    side = "E" if np.median(stamps.day) >= _LATE_DAY else "S"
    alias = f"M{side}" if months < 3 else f"Q{side}" if months < 12 else f"Y{side}"
    word = {"M": "month", "Q": "quarter", "Y": "year"}[alias[0]]
    days = stamps.day.to_numpy()
    odd = stamps.is_month_end if side == "E" else days == 1
    where = int(np.flatnonzero(~np.asarray(odd))[0])
    series = names[int(np.cumsum(first)[where]) - 1]
    return (
        f"rows are a {word} apart, but neither all on its first nor all on its last day: first odd one in series "
        f"{series} at {stamps[where].date()}. Nearest frequency: {alias!r}. Fix: freq={alias!r} with aggregate='sum' "
        f"(or 'mean') puts each row into its {word}."
    )


def _by_month(stamps: DatetimeIndex, side: str) -> str:
    """Months apart decide between month, quarter and year."""
    months = np.unique(stamps.month)
    number = np.unique(stamps.year * 12 + stamps.month)
    apart = int(np.gcd.reduce(np.diff(number))) if len(number) > 1 else 12
    if apart % 12 == 0:
        years = apart // 12
        alias = f"Y{side}-{_MONTHS[int(months[0]) - 1]}"
        return alias if years == 1 else f"{years}{alias}"
    if apart == 3:
        anchor = int(months[0]) if side == "S" else int(months[-1])
        return f"Q{side}-{_MONTHS[anchor - 1]}"
    return f"M{side}" if apart == 1 else f"{apart}M{side}"


def readable(nanoseconds: int) -> str:
    """Length of time in words.

    Examples
    --------
    >>> [readable(s * 10**9) for s in (1168.306, 1200, 86400, 8 * 86400)]
    ['19 min 28 s', '20 min', '1 d', '8 d']
    """
    seconds = round(nanoseconds / 1e9)
    parts = []
    for alias, size in _TICKS:
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {alias.lower()}")
    return " ".join(parts[:2]) or "less than 1 s"


def _mixed(stamps: DatetimeIndex, first: np.ndarray, names: list[str], unique: np.ndarray, counts: np.ndarray) -> str:
    order = np.argsort(-counts, kind="stable")[:4]
    seen = ", ".join(f"{readable(int(unique[i]))} ({counts[i]} times)" for i in order)
    common = int(unique[order[0]])
    step = np.diff(stamps.asi8)
    step[first[1:]] = common
    where = int(np.flatnonzero(step != common)[0]) + 1
    series = names[int(np.cumsum(first)[where]) - 1]
    return (
        f"no common frequency: steps between rows are {seen}{' and others' if len(unique) > 4 else ''}; first odd one "
        f"in series {series} at {stamps[where]}. Nearest frequency: {_nearest(common)!r}. "
        f"Fix: freq={_nearest(common)!r} with aggregate='mean' (or 'sum') puts the rows of each period together."
    )


def _nearest(step: int) -> str:
    names = {
        "s": 1, "min": 60, "5min": 300, "10min": 600, "15min": 900, "20min": 1200, "30min": 1800, "h": 3600,
        "D": 86_400, "W": 604_800, "MS": 2_629_800, "QS": 7_889_400, "YS": 31_557_600,
    }  # fmt: skip
    return min(names, key=lambda n: abs(np.log(names[n] * _SECOND / step)))


def anchor(stamps: DatetimeIndex, freq: str) -> TimeGrid:
    """Grid of a frequency through the data: the first timestamp at which most of the others lie on it.

    A frequency without an anchor of its own (days, hours, 20 minutes, ...) takes its phase from the commonest
    remainder, so that one stray first row does not shift everything.
    """
    if freq == INTEGER:
        raise DataError("integer time has its own grid.")
    values = stamps.as_unit("ns")
    if step := fixed_length(freq):
        of_step = values.asi8 % step
        phase = int(of_step[0])
        if (of_step != phase).any():
            remainder, count = np.unique(of_step, return_counts=True)
            phase = int(remainder[count.argmax()])
        first = int(values.asi8.min())
        return TimeGrid(freq, str(pd.Timestamp(first + (phase - first) % step)))
    offset = pd.tseries.frequencies.to_offset(freq)
    for stamp in values.unique().sort_values():
        if offset.is_on_offset(stamp):
            return TimeGrid(freq, str(stamp))
    days = np.bincount(values.day_of_week, minlength=7)
    hint = f" All are on one weekday: freq='W-{_DAYS[int(days.argmax())]}'." if days.max() == len(values) else ""
    raise DataError(
        f"no timestamp lies on freq={freq!r}, the first is {values.min()}.{hint} Fix: another anchor, or "
        f"aggregate='sum' (or 'mean') to put rows into periods of {freq!r}."
    )


def jittered(stamps: DatetimeIndex, first_of_series: np.ndarray, freq: str) -> bool:
    """Whether stamps are those of a clock that ticks at `freq` with some noise: one a period, around the grid points.

    Cut at the grid points such rows would fall on either side by chance: two in one period, none in the next.

    Examples
    --------
    >>> ticks = pd.date_range("2024-01-01", periods=50, freq="20min")
    >>> noise = pd.to_timedelta(np.random.default_rng(0).normal(0, 90, 50), unit="s")
    >>> alone = np.arange(50) == 0
    >>> [jittered(t, alone, "20min") for t in (ticks + noise, ticks + pd.Timedelta("10min"), ticks)]
    [True, False, False]
    """
    step = fixed_length(freq)  # a day is no Tick to every pandas
    if not step:
        return False
    values = stamps.as_unit("ns").asi8
    apart = np.diff(values)[~first_of_series[1:]]
    if not len(apart) or not 0.5 * step < np.median(apart) < 1.5 * step:
        return False
    turn = np.exp(2j * np.pi * (values % step) / step).mean()
    off_grid = bool((values % step != 0).any())
    return off_grid and bool(abs(turn) > _CONCENTRATED and abs(np.angle(turn)) < np.pi / 2)


def coarser(steps: np.ndarray, series: np.ndarray, n_series: int) -> tuple[np.ndarray, int]:
    """Series that step evenly over several points of the grid, and how many points the first of them steps over.

    Even are steps that are (nearly) equal, as months are in days, or all multiples of one number. Rows that merely are
    rare do not count: their steps differ.

    Parameters
    ----------
    steps, series : shape [rows], sorted by series, then step.

    Examples
    --------
    >>> daily, weekly, rare = np.arange(50), np.arange(0, 70, 7), np.array([3, 10, 12, 30, 41])
    >>> coarser(np.concatenate([daily, weekly, rare]), np.repeat([0, 1, 2], [50, 10, 5]), 3)
    (array([1]), 7)
    """
    apart, of = np.diff(steps), series[1:]
    inside = (of == series[:-1]) & (apart > 0)
    apart, of = apart[inside], of[inside]
    if not len(apart):
        return np.empty(0, dtype=np.int64), 1
    first = run_starts(of)
    here, count = of[first], np.diff(first, append=len(of))
    low, high = np.minimum.reduceat(apart, first), np.maximum.reduceat(apart, first)
    common = np.gcd.reduceat(apart, first)
    equal = (count >= _LEAST_EQUAL) & (high - low <= _NEARLY * low)
    multiples = (count >= _LEAST_MULTIPLES) & (common > 1)
    odd = (low > 1) & (equal | multiples)
    if not odd.any() or (odd.all() and len(np.unique(common)) == 1 and len(here) == n_series):
        return np.empty(0, dtype=np.int64), 1
    at = int(np.flatnonzero(odd)[0])
    return here[odd], int(np.median(apart[first[at] : first[at] + count[at]]))
