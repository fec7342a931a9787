"""Panel: many series as flat arrays, built once from the user's frame (see `forecasting.frame`).

Series i owns rows `indptr[i]:indptr[i + 1]` of every row array. Rows of a series are consecutive steps of the time
grid: row r of series i stands at step `start[i] + (r - indptr[i])`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from automl.errors import DataError
from forecasting.timegrid import TimeGrid  # noqa: TC001 - part of the class for its readers

if TYPE_CHECKING:
    from collections.abc import Sequence

_LEAST_CONSTANT, _MOST_CONSTANT = 5, 52

Key = tuple[str | int | float | bool, ...]
"""The identity of one series: the values of its id columns, in order."""


@dataclass(frozen=True, slots=True)
class Block:
    """Some covariate columns: numbers, with categories as codes.

    Parameters
    ----------
    names : k column names.
    values : shape [rows, k] float64; for a categorical column the code (0..), -1 = unknown or missing category.
        Numbers are imputed where `observed` is False.
    observed : shape [rows, k] bool; False where the value was missing in the user's data.
    vocabulary : categorical column name -> its categories, code order.
    fills : numeric column name -> how models fill its gaps, where the user said so (see `config.DataSettings`).
    flagged : columns whose gaps become a feature of their own.
    """

    names: tuple[str, ...] = ()
    values: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    observed: np.ndarray = field(default_factory=lambda: np.empty((0, 0), dtype=bool))
    vocabulary: tuple[tuple[str, tuple[str, ...]], ...] = ()
    fills: tuple[tuple[str, str], ...] = ()
    flagged: tuple[str, ...] = ()

    @classmethod
    def empty(cls, rows: int) -> Block:
        """Return a block of `rows` rows and no columns."""
        return cls((), np.empty((rows, 0)), np.empty((rows, 0), dtype=bool))

    def take(self, rows: np.ndarray) -> Block:
        """Return the block with only these rows (integer positions or a mask)."""
        return replace(self, values=self.values[rows], observed=self.observed[rows])

    def categories(self, name: str) -> tuple[str, ...] | None:
        """Return the categories of a column, None for a numeric one."""
        return dict(self.vocabulary).get(name)


@dataclass(frozen=True, slots=True)
class Panel:
    """Many series on one time grid: sorted, regular, no duplicates.

    Parameters
    ----------
    ids : n keys, sorted.
    indptr : shape [n + 1] int64.
    start : shape [n] int64, step of each series' first row on the grid.
    y : shape [rows] float64, target units; imputed where `observed` is False (finite everywhere).
    observed : shape [rows] bool, whether y was given by the user.
    weight : shape [rows] float64 >= 0, row weights (all 1 when none were given).
    known, past : covariates by row; known ones are also given for the future.
    static : covariates by series, shape [n, k].
    grid : the time grid.
    """

    ids: tuple[Key, ...]
    indptr: np.ndarray
    start: np.ndarray
    y: np.ndarray
    observed: np.ndarray
    weight: np.ndarray
    known: Block
    past: Block
    static: Block
    grid: TimeGrid

    def __post_init__(self) -> None:
        n, rows = len(self.ids), int(self.indptr[-1])
        shapes = {
            "indptr": (len(self.indptr), n + 1),
            "start": (len(self.start), n),
            "y": (len(self.y), rows),
            "observed": (len(self.observed), rows),
            "weight": (len(self.weight), rows),
            "known": (len(self.known.values), rows),
            "past": (len(self.past.values), rows),
            "static": (len(self.static.values), n),
        }
        wrong = [f"{name} has {got} entries, not {want}" for name, (got, want) in shapes.items() if got != want]
        if wrong:
            raise DataError(f"a panel of {n} series and {rows} rows is inconsistent: {'; '.join(wrong)}.")

    @classmethod
    def from_arrays(
        cls,
        series: Sequence[np.ndarray],
        grid: TimeGrid,
        *,
        ids: Sequence[Key] | None = None,
        start: Sequence[int] | None = None,
        known: Block | None = None,
        past: Block | None = None,
        static: Block | None = None,
    ) -> Panel:
        """Build a panel from plain arrays, one a series; NaN in a series means not observed (forward filled).

        Examples
        --------
        >>> from forecasting.timegrid import TimeGrid
        >>> panel = Panel.from_arrays([np.arange(3.0), np.arange(5.0)], TimeGrid.steps())
        >>> panel.lengths.tolist(), panel.last.tolist()
        ([3, 5], [2, 4])
        """
        n = len(series)
        lengths = np.array([len(s) for s in series], dtype=np.int64)
        y = np.concatenate([np.asarray(s, dtype=float) for s in series]) if n else np.empty(0)
        indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        observed = np.isfinite(y)
        rows = len(y)
        return cls(
            ids=tuple(ids) if ids is not None else tuple((i,) for i in range(n)),
            indptr=indptr,
            start=np.zeros(n, dtype=np.int64) if start is None else np.asarray(start, dtype=np.int64),
            y=fill_forward(y, observed, indptr),
            observed=observed,
            weight=np.ones(rows),
            known=known or Block.empty(rows),
            past=past or Block.empty(rows),
            static=static or Block.empty(n),
            grid=grid,
        )

    @property
    def n_series(self) -> int:
        """Number of series."""
        return len(self.ids)

    @property
    def n_rows(self) -> int:
        """Number of rows of all series together."""
        return int(self.indptr[-1])

    @property
    def lengths(self) -> np.ndarray:
        """Rows of each series, shape [n]."""
        return np.diff(self.indptr)

    @property
    def last(self) -> np.ndarray:
        """Step of each series' last row (its forecast origin), shape [n]."""
        return self.start + self.lengths - 1

    def series(self, i: int) -> np.ndarray:
        """Target of series i, oldest first (a view)."""
        return self.y[self.indptr[i] : self.indptr[i + 1]]

    def flat(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Values, indptr and start as kernels take them: contiguous, float64 and int64."""
        return (
            np.ascontiguousarray(self.y, dtype=np.float64),
            np.ascontiguousarray(self.indptr, dtype=np.int64),
            np.ascontiguousarray(self.start, dtype=np.int64),
        )

    def series_of_rows(self) -> np.ndarray:
        """Series number of each row, shape [rows]."""
        return np.repeat(np.arange(self.n_series), self.lengths)

    def step_of_rows(self) -> np.ndarray:
        """Grid step of each row, shape [rows]."""
        steps = np.arange(self.n_rows)
        steps -= np.repeat(self.indptr[:-1] - self.start, self.lengths)
        return steps

    def window(self, begin: np.ndarray, end: np.ndarray) -> Panel:
        """Return rows `begin[i]:end[i]` (positions inside each series, begin <= end) of every series."""
        begin = np.clip(np.broadcast_to(begin, self.n_series), 0, self.lengths)
        end = np.clip(np.broadcast_to(end, self.n_series), begin, self.lengths)
        return self._cut(np.arange(self.n_series), begin, end, self.ids)

    def pieces(self, size: int, step: int) -> Panel:
        """Cut every series into pieces of `size` rows as series of their own, from its end on back by `step` rows.

        A series that is no longer than that is one piece.

        Examples
        --------
        >>> from forecasting.timegrid import TimeGrid
        >>> pieces = Panel.from_arrays([np.arange(7.0), np.arange(2.0)], TimeGrid.steps()).pieces(4, 2)
        >>> pieces.lengths.tolist(), pieces.start.tolist(), pieces.y[:4].tolist()
        ([4, 4, 2], [3, 1, 0], [3.0, 4.0, 5.0, 6.0])
        """
        counts = np.maximum(1 + (self.lengths - size) // step, 1)
        of = np.repeat(np.arange(self.n_series), counts)
        number = np.arange(len(of)) - np.repeat(np.cumsum(counts) - counts, counts)
        end = self.lengths[of] - number * step
        ids = tuple((*self.ids[i][:-1], f"{self.ids[i][-1]} ({k})") for i, k in zip(of, number, strict=True))
        return self._cut(of, np.maximum(end - size, 0), end, ids)

    def _cut(self, of: np.ndarray, begin: np.ndarray, end: np.ndarray, ids: tuple[Key, ...]) -> Panel:
        """Rows `begin[k]:end[k]` of series `of[k]`, each a series."""
        sizes = end - begin
        indptr = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        rows = np.arange(indptr[-1]) + np.repeat(self.indptr[:-1][of] + begin - indptr[:-1], sizes)
        return Panel(
            ids=ids,
            indptr=indptr,
            start=self.start[of] + begin,
            y=self.y[rows],
            observed=self.observed[rows],
            weight=self.weight[rows],
            known=self.known.take(rows),
            past=self.past.take(rows),
            static=self.static.take(of),
            grid=self.grid,
        )

    def head(self, lengths: np.ndarray) -> Panel:
        """Return the first `lengths[i]` rows of every series."""
        return self.window(np.zeros(self.n_series, dtype=np.int64), lengths)

    def extended(self, y: np.ndarray, known: Block) -> Panel:
        """Return the panel with the same number of rows more in every series, as if they had been observed.

        Parameters
        ----------
        y : shape [n, h]. known : their known covariates, n * h rows. Past covariates keep their last value, unobserved.
        """
        n, h = y.shape
        indptr = self.indptr + h * np.arange(n + 1)
        old = np.arange(self.n_rows) + np.repeat(indptr[:-1] - self.indptr[:-1], self.lengths)
        new = (indptr[1:, None] - h + np.arange(h)).ravel()

        def lay(before: np.ndarray, after: np.ndarray) -> np.ndarray:
            out = np.empty((int(indptr[-1]), *before.shape[1:]), dtype=before.dtype)
            out[old], out[new] = before, after
            return out

        last = np.repeat(self.past.values[self.indptr[1:] - 1], h, axis=0)
        return replace(
            self,
            indptr=indptr,
            y=lay(self.y, y.ravel()),
            observed=lay(self.observed, np.ones(n * h, dtype=bool)),
            weight=lay(self.weight, np.ones(n * h)),
            known=replace(
                self.known,
                values=lay(self.known.values, known.values),
                observed=lay(self.known.observed, known.observed),
            ),
            past=replace(
                self.past,
                values=lay(self.past.values, last),
                observed=lay(self.past.observed, np.zeros(last.shape, dtype=bool)),
            ),
        )

    def at_last_target(self, least: np.ndarray) -> Panel:
        """Return the panel with every series cut after its last observed row, but not below `least` [n] rows."""
        rows = np.arange(self.n_rows) - np.repeat(self.indptr[:-1], self.lengths) + 1
        last = np.zeros(self.n_series, dtype=np.int64)
        np.maximum.at(last, self.series_of_rows(), np.where(self.observed, rows, 0))
        return self.head(np.maximum(np.maximum(last, least), 1))

    def constant(self, season: int = 1) -> np.ndarray:
        """Series all of whose observed values are equal, over five rows and a season (52 rows at most). Shape [n]."""
        first = self.indptr[:-1]
        low = np.minimum.reduceat(np.where(self.observed, self.y, np.inf), first)
        high = np.maximum.reduceat(np.where(self.observed, self.y, -np.inf), first)
        count = np.add.reduceat(self.observed.astype(np.int64), first)
        return (low == high) & (count >= max(_LEAST_CONSTANT, min(season, _MOST_CONSTANT)))

    def in_season(self, season: int) -> Panel:
        """Return the panel with gaps of the target filled by the latest observed value of the same phase of a season.

        Rows without one keep what they have. Only earlier rows are looked at; nothing that was observed changes.

        Parameters
        ----------
        season : steps; 1 = the panel itself.

        Examples
        --------
        >>> from forecasting.timegrid import TimeGrid
        >>> y = np.array([1.0, 5.0, 2.0, np.nan, np.nan, np.nan])
        >>> panel = Panel.from_arrays([y], TimeGrid("D", "2024-01-01"))
        >>> panel.y.tolist(), panel.in_season(2).y.tolist()
        ([1.0, 5.0, 2.0, 2.0, 2.0, 2.0], [1.0, 5.0, 2.0, 5.0, 2.0, 5.0])
        """
        if season <= 1 or self.observed.all():
            return self
        gaps = np.flatnonzero(~self.observed)
        first = self.indptr[np.searchsorted(self.indptr, gaps, side="right") - 1]
        y, source = self.y.copy(), gaps - season
        while (inside := source >= first).any():
            gaps, source, first = gaps[inside], source[inside], first[inside]
            seen = self.observed[source]
            y[gaps[seen]] = self.y[source[seen]]
            gaps, source, first = gaps[~seen], source[~seen] - season, first[~seen]
        return replace(self, y=y)

    def tail(self, lengths: np.ndarray | int) -> Panel:
        """Return the last `lengths` rows of every series; the panel itself where that is all of them."""
        if (self.lengths <= lengths).all():
            return self
        return self.window(np.maximum(self.lengths - lengths, 0), self.lengths)

    def select(self, which: np.ndarray) -> Panel:
        """Return only some series, by position, in the order given."""
        which = np.asarray(which, dtype=np.int64)
        sizes = self.lengths[which]
        return self._cut(which, np.zeros_like(sizes), sizes, tuple(self.ids[i] for i in which))


@dataclass(frozen=True, slots=True)
class Future:
    """What is known of the next `horizon` steps of every series of a panel, right after each series' last row.

    Parameters
    ----------
    horizon : steps ahead, >= 1.
    known : known covariates, `n_series * horizon` rows, series by series, step by step; same columns as the panel's.
    """

    horizon: int
    known: Block

    @classmethod
    def bare(cls, panel: Panel, horizon: int) -> Future:
        """Return a future without covariates."""
        return cls(horizon, Block.empty(panel.n_series * horizon))

    def head(self, horizon: int) -> Future:
        """Return only the first `horizon` steps of every series."""
        return self.between(0, horizon)

    def between(self, first: int, end: int) -> Future:
        """Return only steps first..end of every series, counted from 0."""
        rows = np.arange(len(self.known.values)).reshape(-1, self.horizon)[:, first:end].ravel()
        return Future(min(end, self.horizon) - first, self.known.take(rows))

    def select(self, which: np.ndarray) -> Future:
        """Return only some series, by position."""
        rows = (np.asarray(which)[:, None] * self.horizon + np.arange(self.horizon)).ravel()
        return Future(self.horizon, self.known.take(rows))


@dataclass(frozen=True, slots=True)
class Forecast:
    """Point forecasts and quantiles of every series of a panel.

    Parameters
    ----------
    values : shape [n_series, horizon, 1 + n_quantiles] float64, target units; channel 0 is the point forecast.
        Quantiles never cross. NaN only for a series said to be dropped.
    quantiles : levels of channels 1.., ascending, each in (0, 1).
    fallback : shape [n_series] bool; True where the learner could not do its own thing and says so.
    """

    values: np.ndarray
    quantiles: tuple[float, ...] = ()
    fallback: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=bool))

    def __post_init__(self) -> None:
        if self.values.ndim != 3 or self.values.shape[2] != 1 + len(self.quantiles):
            raise DataError(f"a forecast needs [series, horizon, {1 + len(self.quantiles)}], got {self.values.shape}.")
        if not len(self.fallback):
            object.__setattr__(self, "fallback", np.zeros(len(self.values), dtype=bool))

    def held_constant(self, panel: Panel, season: int) -> Forecast:
        """Return it with the constant series of the panel it starts from forecast as that constant."""
        flat = panel.constant(season)
        if not flat.any():
            return self
        values = self.values.copy()
        end = panel.indptr[1:][flat] - 1
        values[flat] = panel.y[end][:, None, None]
        return replace(self, values=values, fallback=self.fallback & ~flat)

    @property
    def point(self) -> np.ndarray:
        """Point forecasts, shape [n_series, horizon]."""
        return self.values[:, :, 0]


def run_starts(values: np.ndarray) -> np.ndarray:
    """Where runs of equal values begin, shape [runs].

    Examples
    --------
    >>> run_starts(np.array([4, 4, 7, 4])).tolist(), run_starts(np.empty(0)).tolist()
    ([0, 2, 3], [])
    """
    return np.flatnonzero(np.concatenate([np.ones(min(len(values), 1), dtype=bool), values[1:] != values[:-1]]))


def fill_forward(values: np.ndarray, observed: np.ndarray, indptr: np.ndarray) -> np.ndarray:
    """Return values with unobserved rows taking the last observed one of their series; leading ones the first observed.

    A series with nothing observed becomes 0.

    Examples
    --------
    >>> y = np.array([np.nan, 1.0, np.nan, 5.0])
    >>> fill_forward(y, np.isfinite(y), np.array([0, 3, 4])).tolist()
    [1.0, 1.0, 1.0, 5.0]
    """
    if observed.all():
        return np.array(values, dtype=float)
    rows = np.arange(len(values))
    begin = np.repeat(indptr[:-1], np.diff(indptr))
    end = np.repeat(indptr[1:], np.diff(indptr))
    before = np.maximum.accumulate(np.where(observed, rows, -1))
    after = np.minimum.accumulate(np.where(observed, rows, len(values))[::-1])[::-1]
    source = np.where(before >= begin, before, after)
    valid = source < end
    return np.where(valid, np.asarray(values, dtype=float)[np.where(valid, source, 0)], 0.0)
