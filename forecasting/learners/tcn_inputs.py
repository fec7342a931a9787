"""Inputs of the TCN: what a window of rows looks like on the network's scale, and the way back.

A window is scaled by its own history up to its (first) origin and by nothing else, so no later value can leak in.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from automl.errors import DataError
from forecasting.features.calendar import fourier
from forecasting.features.holidays import holiday_features
from forecasting.season import period_seconds

if TYPE_CHECKING:
    from forecasting.learners.base import FitContext
    from forecasting.panel import Block, Future, Key, Panel
    from forecasting.timegrid import TimeGrid

_DAY, _HOUR = 86_400.0, 3_600.0
_HOLIDAY_WINDOW = 3
_LONGEST_LAG_SEASON = 1_000
_MOST_ZEROS = 0.1
_INPUT_LIMIT, _TARGET_LIMIT, _COVARIATE_REACH = 10.0, 30.0, 1.5
_FLAT = 1e-9


@dataclass(frozen=True, slots=True)
class Column:
    """A covariate: a number with its mean, spread over all rows and spread inside series, or a category."""

    name: str
    mean: float = 0.0
    spread: float = 1.0
    within: float = 1.0
    categories: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What is fitted about the inputs; JSON-able.

    Parameters
    ----------
    horizon, season : as in the context. reach : rows the network reads. lags : seasonal lags per step ahead.
    log : whether windows without negative values are modelled on the log scale. country : for holidays.
    known, past, static : the covariates. ids : series with an embedding of their own.
    """

    horizon: int
    season: int
    reach: int
    lags: int
    log: bool
    country: str | None
    known: tuple[Column, ...]
    past: tuple[Column, ...]
    static: tuple[Column, ...]
    ids: tuple[Key, ...] = ()

    @property
    def back(self) -> int:
        """Rows of history in a window."""
        return max(self.reach, self.lags * self.season)

    @classmethod
    def fit(cls, panel: Panel, context: FitContext, *, reach: int, transform: str, series_code: bool) -> Layout:
        """Learn scales and categories from a training panel."""
        y = panel.y[panel.observed]
        positive = bool(len(y)) and float(y.min()) >= 0
        few_zeros = positive and float((y == 0).mean()) < _MOST_ZEROS
        season = context.season if context.season <= _LONGEST_LAG_SEASON else 1
        return cls(
            horizon=context.horizon,
            season=season,
            reach=reach,
            lags=2 if season > 1 else 1,
            log=few_zeros if transform == "auto" else positive and transform == "log",
            country=context.country,
            known=_columns(panel.known, panel.series_of_rows()),
            past=_columns(panel.past, panel.series_of_rows()),
            static=_columns(panel.static, np.zeros(panel.n_series, dtype=np.int64)),
            ids=panel.ids if series_code else (),
        )

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Layout:
        """Read what `to_json` wrote, possibly after a trip through JSON."""
        columns = {
            kind: tuple(
                Column(**{**c, "categories": None if c["categories"] is None else tuple(c["categories"])})
                for c in raw[kind]
            )
            for kind in ("known", "past", "static")
        }
        return cls(**{**raw, **columns, "ids": tuple(tuple(key) for key in raw["ids"])})


@dataclass(frozen=True, slots=True)
class Scale:
    """The scale of windows, each array [b, 1]: `log(y + shift)` or y, minus `centre`, over `spread`.

    `spread` is 0 where the history is flat; such a window is forecast as its centre. `low`, `high` : what is believed.
    """

    log: np.ndarray
    shift: np.ndarray
    least: np.ndarray
    centre: np.ndarray
    spread: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, y: np.ndarray, seen: np.ndarray, *, log: bool, recent: int) -> Scale:
        """Scale of histories [b, rows], of which only the entries `seen` count. recent : rows the centre is over."""
        count = np.maximum(seen.sum(axis=1, keepdims=True), 1)
        low = np.where(seen, y, np.inf).min(axis=1, keepdims=True)
        mean = np.where(seen, y, 0.0).sum(axis=1, keepdims=True) / count
        use_log = np.logical_and(log, (low >= 0) & np.isfinite(low) & (mean > 0))
        # zeros would give minus infinity: series that come near them are lifted by their mean
        shift = np.where(use_log & (low < 0.01 * mean), mean, 0.0)
        least = np.where(use_log & (shift == 0), 1e-3 * mean, 0.0)
        bare = cls(use_log, shift, least, *(np.zeros_like(mean) for _ in range(4)))
        z = np.where(seen, bare._transform(y), 0.0)
        middle = z.sum(axis=1, keepdims=True) / count
        spread = np.sqrt(np.where(seen, np.square(z - middle), 0.0).sum(axis=1, keepdims=True) / count)
        spread = np.where(spread > _FLAT * np.abs(z).max(axis=1, keepdims=True), spread, 0.0)
        late = seen[:, -recent:].sum(axis=1, keepdims=True)
        centre = np.where(late > 0, z[:, -recent:].sum(axis=1, keepdims=True) / np.maximum(late, 1), middle)
        unit = np.where(spread > 0, spread, 1.0)
        scaled = np.where(seen, (z - centre) / unit, 0.0)
        bottom, top = scaled.min(axis=1, keepdims=True), scaled.max(axis=1, keepdims=True)
        room = np.maximum(top - bottom, 4.0) * np.where(use_log, 0.25, 1.0)
        return cls(use_log, shift, least, centre, spread, bottom - room, top + room)

    def apply(self, y: np.ndarray) -> np.ndarray:
        """To the network's scale, [b, rows]."""
        return (self._transform(y) - self.centre) / np.where(self.spread > 0, self.spread, 1.0)

    def invert(self, z: np.ndarray) -> np.ndarray:
        """Back to target units, [b, ...]; what lies beyond belief is cut."""
        expand = [a.reshape(-1, *[1] * (z.ndim - 1)) for a in (self.log, self.shift, self.centre, self.spread)]
        log, shift, centre, spread = expand
        low, high = (a.reshape(centre.shape) for a in (self.low, self.high))
        t = centre + spread * np.clip(z, low, high)
        return np.where(log, np.maximum(np.exp(np.where(log, t, 0.0)) - shift, 0.0), t)

    def _transform(self, y: np.ndarray) -> np.ndarray:
        lifted = np.maximum(y, self.least) + self.shift
        return np.where(self.log, np.log(np.where(self.log, lifted, 1.0)), y)


@dataclass(frozen=True, slots=True)
class Windows:
    """Some windows ready for the network (see `tcn_network.quantile_heads` for `inputs`).

    Parameters
    ----------
    target, weight : [b, f, h], the truth on the network's scale and how much it counts (0 = not at all).
    scale : the way back.
    """

    inputs: dict[str, np.ndarray]
    target: np.ndarray
    weight: np.ndarray
    scale: Scale


@dataclass(frozen=True, slots=True)
class Rows:
    """A panel with its future rows behind each series, ready to cut windows from.

    Parameters
    ----------
    begin, total : [n], first row of each series and rows with the future ones. lengths : [n], rows of history.
    y, observed, weight : [rows]. calendar : [unique steps, c]; when : [rows], which of them.
    known, past : [rows, k] scaled numbers, codes [rows, k] (0 = unknown); static [n, k].
    """

    layout: Layout
    begin: np.ndarray
    total: np.ndarray
    lengths: np.ndarray
    y: np.ndarray
    observed: np.ndarray
    weight: np.ndarray
    calendar: np.ndarray
    when: np.ndarray
    known: tuple[np.ndarray, np.ndarray]
    past: tuple[np.ndarray, np.ndarray]
    static: tuple[np.ndarray, np.ndarray]

    @classmethod
    def of(cls, panel: Panel, layout: Layout, future: Future | None = None) -> Rows:
        """Lay out a panel; `future` adds rows with y not observed and past covariates standing still."""
        ahead = future.horizon if future is not None else 0
        lengths = panel.lengths
        total = lengths + ahead
        begin = np.concatenate([[0], np.cumsum(total)[:-1]]).astype(np.int64)
        position = np.arange(int(total.sum())) - np.repeat(begin, total)
        is_ahead = position >= np.repeat(lengths, total)
        last = np.repeat(panel.indptr[1:] - 1, total)
        source = np.minimum(np.repeat(panel.indptr[:-1], total) + position, last)
        steps = np.repeat(panel.start, total) + position
        unique, when = np.unique(steps, return_inverse=True)
        numbers, codes = _encode(panel.known, layout.known, "known")
        known = numbers[source], codes[source]
        if future is not None:
            for own, later in zip(known, _encode(future.known, layout.known, "known"), strict=True):
                own[is_ahead] = later
        past = _encode(panel.past, layout.past, "past")
        static, static_codes = _encode(panel.static, layout.static, "static")
        if layout.ids:
            order = {key: k + 1 for k, key in enumerate(layout.ids)}
            own_codes = np.array([[order.get(key, 0)] for key in panel.ids], dtype=np.int64).reshape(-1, 1)
            static_codes = np.concatenate([static_codes, own_codes], axis=1)
        return cls(
            layout,
            begin,
            total,
            lengths,
            np.where(is_ahead, 0.0, panel.y[source]),
            panel.observed[source] & ~is_ahead,
            panel.weight[source],
            calendar_inputs(panel.grid, unique, layout.season, layout.country),
            when,
            known,
            (past[0][source], past[1][source]),
            (static, static_codes),
        )

    def cut(self, series: np.ndarray, origin: np.ndarray, forks: int, limit: np.ndarray) -> Windows:
        """Cut windows.

        Parameters
        ----------
        series : [b], which series. origin : [b], position of the last row that the first fork knows.
        forks : consecutive origins a window. limit : [b], targets from this position on do not count.
        """
        layout = self.layout
        back, h = layout.back, layout.horizon
        position = origin[:, None] + np.arange(1 - back, forks + h)
        valid = (position >= 0) & (position < self.total[series][:, None])
        rows = self.begin[series][:, None] + np.clip(position, 0, self.total[series][:, None] - 1)
        seen = valid & self.observed[rows]
        y = np.where(valid, self.y[rows], 0.0)
        scale = Scale.of(y[:, :back], seen[:, :back], log=layout.log, recent=max(layout.season, 4))
        z = np.where(valid, scale.apply(y), 0.0)
        window_z = np.clip(z, -_INPUT_LIMIT, _INPUT_LIMIT)
        origins, ahead = np.arange(forks)[:, None] + back - 1, np.arange(1, h + 1)
        target_at = origins + ahead
        counts = seen & (position < limit[:, None]) & (scale.spread > 0)
        weight = np.where(counts, self.weight[rows], 0.0)
        fixed = np.where(valid[:, :, None], self.calendar[self.when[rows]], 0.0)
        known = _two_views(self.known[0][rows], valid, back, layout.known)
        past = _two_views(self.past[0][rows], valid, back, layout.past)
        recent = slice(back - layout.reach, back - 1 + forks)
        parts = [window_z[:, :, None], seen[:, :, None], fixed, known, past]
        step = np.broadcast_to((ahead / h)[:, None], (len(series), forks, h, 1))
        known_codes = np.where(valid[:, :, None], self.known[1][rows], 0)
        past_codes = np.where(valid[:, :, None], self.past[1][rows], 0)
        lags, levels = self._lags(window_z, valid, origins, ahead)
        static = np.broadcast_to(self.static[0][series][:, None], (len(series), forks, self.static[0].shape[1]))
        inputs = {
            "rows": np.concatenate([p[:, recent] for p in parts], axis=2),
            "row_codes": np.concatenate([known_codes, past_codes], axis=2)[:, recent],
            "ahead": np.concatenate([fixed[:, target_at], known[:, target_at], step], axis=3),
            "ahead_codes": known_codes[:, target_at],
            "lags": lags,
            "traits": np.concatenate([levels, _traits(scale, seen[:, :back], forks), static], axis=2),
            "static_codes": self.static[1][series],
        }
        target = np.clip(z, -_TARGET_LIMIT, _TARGET_LIMIT)[:, target_at]
        return Windows(inputs, target, weight[:, target_at], scale)

    def extended(self, position: np.ndarray, y: np.ndarray) -> Rows:
        """Rows with values [n, h] taken as observed from `position` [n] on; what does not fit is left out."""
        at = position[:, None] + np.arange(y.shape[1])
        fits = at < self.total[:, None]
        rows = (self.begin[:, None] + at)[fits]
        values, observed = self.y.copy(), self.observed.copy()
        values[rows], observed[rows] = y[fits], True
        return replace(self, y=values, observed=observed, lengths=np.minimum(self.lengths + y.shape[1], self.total))

    def _lags(
        self, z: np.ndarray, valid: np.ndarray, origins: np.ndarray, ahead: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Latest values at the same place of the season, [b, f, h, lags], and the seasons' means, [b, f, lags]."""
        season, lags = self.layout.season, []
        levels = []
        for k in range(self.layout.lags):
            lag = ((ahead - 1) // season + 1 + k) * season
            lags.append(z[:, origins + ahead - lag])
            span = origins - np.arange(k * season, (k + 1) * season)
            levels.append(z[:, span].sum(axis=2) / np.maximum(valid[:, span].sum(axis=2), 1))
        return np.stack(lags, axis=3), np.stack(levels, axis=2)


def _traits(scale: Scale, seen: np.ndarray, forks: int) -> np.ndarray:
    """How much a window swings relative to its level, and how much of it is there. Shape [b, forks, 2]."""
    size = np.maximum(np.maximum(np.abs(scale.centre), scale.spread), np.finfo(float).tiny)
    relative = np.where(scale.log, scale.spread, scale.spread / size)
    swing = np.log(np.clip(relative, 1e-3, 20.0))
    own = np.concatenate([swing, seen.mean(axis=1, keepdims=True)], axis=1)
    return np.broadcast_to(own[:, None], (len(own), forks, 2))


def _two_views(values: np.ndarray, valid: np.ndarray, back: int, columns: tuple[Column, ...]) -> np.ndarray:
    """Scaled covariates [b, rows, k] as they are and against their mean over the window's history: [b, rows, 2 k]."""
    numbers = [c for c in columns if c.categories is None]
    ratio = np.array([c.spread / c.within for c in numbers])
    inside = valid[:, :back, None]
    mean = np.where(inside, values[:, :back], 0.0).sum(axis=1) / np.maximum(inside.sum(axis=1), 1)
    own = (values - mean[:, None]) * ratio
    # a network goes on in a straight line beyond what it has seen: far values are drawn in, or a price never seen
    # before would be answered with a demand never seen before
    both = np.concatenate([values, own], axis=2)
    return np.where(valid[:, :, None], _COVARIATE_REACH * np.tanh(both / _COVARIATE_REACH), 0.0)


def _columns(block: Block, group: np.ndarray) -> tuple[Column, ...]:
    """Scales of numeric columns over observed rows (group : [rows], which series), categories of the others."""
    out = []
    for k, name in enumerate(block.names):
        categories = block.categories(name)
        if categories is not None:
            out.append(Column(name, categories=categories))
            continue
        given = block.observed[:, k]
        x, of = block.values[given, k], group[given]
        if not len(x):
            out.append(Column(name))
            continue
        mean, spread = float(x.mean()), float(x.std())
        spread = spread if spread > _FLAT * abs(mean) else 1.0
        count = np.maximum(np.bincount(of), 1)
        middle = np.bincount(of, weights=x) / count
        within = float(np.sqrt(np.square(x - middle[of]).mean()))
        out.append(Column(name, mean, spread, within if within > _FLAT * spread else spread))
    return tuple(out)


def _encode(block: Block, columns: tuple[Column, ...], kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Scaled numbers and codes of a block's rows; categories are matched by name, new ones are unknown (0)."""
    if block.names != tuple(c.name for c in columns):
        raise DataError(
            f"the {kind} covariates are {list(block.names)}, but the model was fitted with "
            f"{[c.name for c in columns]}. Fix: give the same columns."
        )
    numbers, codes = [], []
    for k, column in enumerate(columns):
        values = block.values[:, k]
        if column.categories is None:
            numbers.append((values - column.mean) / column.spread)
            continue
        order = {c: i + 1 for i, c in enumerate(column.categories)}
        table = np.array([*(order.get(c, 0) for c in block.categories(column.name) or ()), 0], dtype=np.int64)
        # code -1, unknown, reads the last entry
        codes.append(table[values.astype(np.int64)])
    rows = len(block.values)
    return (
        np.stack(numbers, axis=1) if numbers else np.empty((rows, 0)),
        np.stack(codes, axis=1) if codes else np.empty((rows, 0), dtype=np.int64),
    )


def calendar_inputs(grid: TimeGrid, steps: np.ndarray, season: int, country: str | None) -> np.ndarray:
    """Sine and cosine pairs of the cycles a grid can show, and holidays; for an integer grid those of the season.

    Parameters
    ----------
    steps : shape [k], sorted and unique. season : steps a season. country : for holidays, None = none.

    Returns
    -------
    shape [k, c].

    Examples
    --------
    >>> from forecasting.timegrid import TimeGrid
    >>> calendar_inputs(TimeGrid("D", "2024-01-01"), np.arange(3), 7, None).shape
    (3, 14)
    """
    if grid.is_integer:
        if season < 2:
            return np.empty((len(steps), 0))
        return fourier((steps % season).astype(float), season, min(3, season // 2)).astype(float)
    seconds, stamps = period_seconds(grid.freq), grid.clock(steps)
    hour = np.asarray(stamps.hour + stamps.minute / 60 + stamps.second / 3_600, dtype=float)
    day_of_year = np.asarray(stamps.day_of_year, dtype=float) - 1
    cycles = [
        (day_of_year / 365.25, 3, 190 * _DAY),
        ((np.asarray(stamps.day, dtype=float) - 1) / 31, 0 if seconds > 27 * _DAY else 1, 27 * _DAY),
        ((np.asarray(stamps.day_of_week, dtype=float) + hour / 24) / 7, 3, 6 * _DAY),
        (hour / 24, 4, 23 * _HOUR),
        ((np.asarray(stamps.minute, dtype=float) + np.asarray(stamps.second, dtype=float) / 60) / 60, 2, 0.9 * _HOUR),
    ]
    parts = [fourier(at, 1, order) for at, order, coarsest in cycles if order and seconds <= coarsest]
    if country is not None:
        parts.append(holiday_features(grid, steps, country, _HOLIDAY_WINDOW, _HOLIDAY_WINDOW) / (_HOLIDAY_WINDOW + 1))
    return np.concatenate([np.empty((len(steps), 0)), *parts], axis=1)
