"""TimeGrid: integer step <-> timestamp, both ways, for every pandas offset and for plain integer time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset

from automl.errors import ConfigError, DataError

if TYPE_CHECKING:
    from pandas import DatetimeIndex

_OLD_ALIASES = {
    "M": "ME", "BM": "BME", "CBM": "CBME", "SM": "SME", "Q": "QE", "BQ": "BQE", "A": "YE", "Y": "YE", "BA": "BYE",
    "BY": "BYE", "AS": "YS", "BAS": "BYS", "H": "h", "BH": "bh", "CBH": "cbh", "T": "min", "S": "s", "L": "ms",
    "U": "us", "N": "ns",
}  # fmt: skip

INTEGER = "step"
"""The `freq` of a grid whose time column holds whole numbers."""


def normalise_freq(freq: str) -> str:
    """Return the pandas 3 spelling of an offset alias; old ones (M, H, Q, A, T, S, ...) are translated.

    Raises
    ------
    ConfigError : pandas knows no such offset.

    Examples
    --------
    >>> [normalise_freq(f) for f in ("M", "15T", "W-THU", "QS-OCT", "2H", "A-JUN")]
    ['ME', '15min', 'W-THU', 'QS-OCT', '2h', 'YE-JUN']
    """
    text = str(freq).strip()
    if text.lower() in {INTEGER, "integer", "int"}:
        return INTEGER
    match = re.fullmatch(r"(-?\d*)([A-Za-z]+)(-[A-Za-z0-9-]+)?", text)
    if match:
        count, base, anchor = match.groups()
        text = f"{count}{_OLD_ALIASES.get(base, base)}{(anchor or '').upper()}"
    try:
        offset = to_offset(text)
    except ValueError as error:
        raise ConfigError(
            f"freq={freq!r} is no frequency pandas knows. Known are 'D', 'h', '15min', 'W-THU', 'MS', 'B'."
        ) from error
    if offset.n < 1:
        raise ConfigError(f"freq={freq!r} must step forward in time.")
    return str(offset.freqstr)


@dataclass(frozen=True, slots=True)
class TimeGrid:
    """A regular grid of instants: step 0 is `origin`, step k is k offsets later (k may be negative).

    Parameters
    ----------
    freq : normalised pandas alias, or "step" for whole-number time.
    origin : the instant of step 0, naive, ISO text (for "step": a whole number as text).
    every : for "step" only, how far apart two steps are.
    holiday_shift : steps by which holidays are looked up too late; 0 but for asking what holidays matter.
    nearest : a timestamp between grid points belongs to the nearer one, not to the period it stands in.
    zone : time zone whose clock calendar and holidays go by, where the grid stands in UTC; "" = the grid's own.

    Examples
    --------
    >>> grid = TimeGrid("MS", "2001-01-01")
    >>> grid.stamps(np.array([0, 1, -1])).strftime("%Y-%m").tolist()
    ['2001-01', '2001-02', '2000-12']
    >>> grid.steps_of(pd.DatetimeIndex(["2001-03-01", "2001-03-02"])).tolist()
    [2, -9223372036854775808]
    """

    freq: str
    origin: str
    every: int = 1
    holiday_shift: int = 0
    nearest: bool = False
    zone: str = ""

    @classmethod
    def steps(cls, origin: int = 0, every: int = 1) -> TimeGrid:
        """Return a grid for whole-number time."""
        return cls(INTEGER, str(origin), every)

    @property
    def is_integer(self) -> bool:
        """Whether time is plain whole numbers."""
        return self.freq == INTEGER

    def stamps(self, steps: np.ndarray) -> DatetimeIndex:
        """Timestamps (naive, datetime64[ns]) of steps.

        Raises
        ------
        DataError : whole-number time has no timestamps; use `labels`.
        """
        steps = np.asarray(steps, dtype=np.int64)
        if not len(steps):
            return pd.DatetimeIndex([], dtype="datetime64[ns]")
        if self.is_integer:
            raise DataError("an integer time grid has no timestamps.")
        low, high = int(steps.min()), int(steps.max())
        return _range(self.freq, self.origin, min(low, 0), max(high, 0))[steps - min(low, 0)]

    def clock(self, steps: np.ndarray) -> DatetimeIndex:
        """What the clock of the grid's zone shows at steps, naive; the timestamps themselves without a zone.

        Examples
        --------
        >>> TimeGrid("h", "2024-07-01 07:00", zone="America/Los_Angeles").clock(np.array([0]))[0].isoformat()
        '2024-07-01T00:00:00'
        """
        stamps = self.stamps(steps)
        return stamps.tz_localize("UTC").tz_convert(self.zone).tz_localize(None) if self.zone else stamps

    def labels(self, steps: np.ndarray) -> np.ndarray:
        """What stands in the time column at these steps: datetime64[ns] or int64, shape of `steps`."""
        steps = np.asarray(steps, dtype=np.int64)
        if self.is_integer:
            return int(self.origin) + steps * self.every
        return self.stamps(steps.ravel()).to_numpy().reshape(steps.shape)

    def steps_of(self, labels: pd.DatetimeIndex | np.ndarray) -> np.ndarray:
        """Steps of timestamps (or whole numbers); `OFF_GRID` where one lies between two grid points."""
        if self.is_integer:
            distance = np.asarray(labels, dtype=np.int64) - int(self.origin)
            return np.where(distance % self.every == 0, distance // self.every, OFF_GRID)
        stamps = pd.DatetimeIndex(labels).as_unit("ns")
        if not len(stamps):
            return np.empty(0, dtype=np.int64)
        if step := fixed_length(self.freq):
            at, beyond = np.divmod(stamps.asi8 - pd.Timestamp(self.origin).as_unit("ns").value, step)
            at[beyond != 0] = OFF_GRID
            return np.asarray(at)
        grid, before = self._around(stamps)
        values = stamps.to_numpy()
        at = np.clip(np.searchsorted(grid, values), 0, len(grid) - 1)
        return np.where(grid[at] == values, at - before, OFF_GRID)

    def periods_of(self, labels: pd.DatetimeIndex | np.ndarray) -> np.ndarray:
        """Steps whose period holds each timestamp (or whole number).

        A period begins at its grid point (a W-THU week on Thursday); of month, quarter and year ends it ends there.
        On a grid of `nearest` it reaches half a step to both sides.

        Examples
        --------
        >>> stamps = pd.DatetimeIndex(["2001-01-01 07:00", "2001-01-31 07:00", "2000-12-31"])
        >>> TimeGrid("MS", "2001-01-01").periods_of(stamps).tolist()
        [0, 0, -1]
        >>> TimeGrid("ME", "2001-01-31").periods_of(stamps).tolist()
        [0, 0, -1]
        """
        if self.is_integer:
            return (np.asarray(labels, dtype=np.int64) - int(self.origin)) // self.every
        stamps = pd.DatetimeIndex(labels).as_unit("ns")
        if not len(stamps):
            return np.empty(0, dtype=np.int64)
        alias = self.freq.split("-")[0].lstrip("0123456789")
        at_end = alias.endswith("E") and len(alias) > 1
        values = stamps.normalize() if at_end else stamps
        if self.nearest:
            values += pd.Timedelta(to_offset(self.freq).nanos, unit="ns") / 2
        grid, before = self._around(values)
        at = np.searchsorted(grid, values.to_numpy(), side="left" if at_end else "right")
        return at - before - (0 if at_end else 1)

    def _around(self, stamps: DatetimeIndex) -> tuple[np.ndarray, int]:
        """Grid points from before the first timestamp to after the last, and how many stand before the origin."""
        origin = pd.Timestamp(self.origin)
        before = _count(self.freq, self.origin, stamps.min()) if stamps.min() < origin else 0
        after = _count(self.freq, self.origin, stamps.max()) if stamps.max() > origin else 0
        return _range(self.freq, self.origin, -before, after).to_numpy(), before


OFF_GRID = np.iinfo(np.int64).min
"""The step of a timestamp that lies on no grid point."""


@lru_cache(maxsize=32)
def fixed_length(freq: str) -> int:
    """Nanoseconds of a step where all are alike (days and finer), else 0."""
    offset = to_offset(freq)
    if isinstance(offset, pd.offsets.Day):
        return int(offset.n) * 86_400 * 1_000_000_000
    return int(offset.nanos) if isinstance(offset, pd.offsets.Tick) else 0


@lru_cache(maxsize=32)
def _range(freq: str, origin: str, low: int, high: int) -> DatetimeIndex:
    start = pd.Timestamp(origin)
    forward = pd.date_range(start, periods=high + 1, freq=freq, unit="ns")
    if low >= 0:
        return forward
    return pd.DatetimeIndex(pd.date_range(end=start, periods=-low + 1, freq=freq, unit="ns")[:-1].append(forward))


def _count(freq: str, origin: str, instant: pd.Timestamp) -> int:
    """At least as many steps as lie between the origin and an instant."""
    start = pd.Timestamp(origin)
    low, high = min(start, instant), max(start, instant)
    return len(pd.date_range(low, high, freq=freq)) + 1
