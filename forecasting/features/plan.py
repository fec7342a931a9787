"""FeaturePlan: the one place where anything learned from data for a design matrix is fitted, once per cutoff.

The way of a value: transform (log where it helps) -> minus a base known at the origin -> over the series' scale.
Lags, windows and the target all take it, so one pooled model serves series of any size.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from automl.errors import ConfigError
from forecasting.features import calendar as cal
from forecasting.features import history as hist
from forecasting.features import holidays as hol
from forecasting.features.history import Rows
from forecasting.features.impute import TYPICAL, filled, typical

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from forecasting.learners.base import FitContext
    from forecasting.panel import Block, Future, Panel

MAX_ROWS = 200_000
"""Training rows of a design matrix, at most."""

_MAX_SERIES_CODES = 500
_BASES = ("none", "last", "level", "seasonal")
_TRANSFORMS = ("none", "log", "auto")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSettings:
    """What the design matrix holds. All lengths in time steps.

    Parameters
    ----------
    strategy : "direct" (one row per target and horizon, lags counted from the origin, one model for every h) or
        "recursive" (a one-step model fed with its own forecasts).
    lags, windows : "auto", "" (none) or numbers joined by commas, such as "1,2,12".
    transform : "none", "log" (of y plus the series' mean where it comes near zero; none where negative values occur)
        or "auto" (log where swings grow with the level).
    base : what is subtracted before learning: "none", "last", "level" (mean of the last season, or of as many steps
        as are forecast where there is none) or "seasonal" (the latest known value of the same season).
    series_code : whether the series itself is a (categorical) feature, for at most 500 series.
    max_rows : cap on training rows; horizons and old rows are thinned evenly beyond it.
    holiday_window : days around a holiday that still count, on daily data.
    """

    strategy: str = "direct"
    lags: str = "auto"
    windows: str = "auto"
    transform: str = "auto"
    base: str = "level"
    series_code: bool = True
    max_rows: int = MAX_ROWS
    holiday_window: int = 3

    def __post_init__(self) -> None:
        for name, allowed in (
            ("strategy", ("direct", "recursive")),
            ("transform", _TRANSFORMS),
            ("base", _BASES),
        ):
            if getattr(self, name) not in allowed:
                raise ConfigError(f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}.")
        _numbers("lags", self.lags, 1)
        _numbers("windows", self.windows, 2)


def _numbers(name: str, text: str, least: int) -> tuple[int, ...]:
    if text in {"auto", ""}:
        return ()
    try:
        values = tuple(sorted({int(v) for v in str(text).split(",")}))
    except ValueError:
        raise ConfigError(f"{name} must be 'auto', '' or whole numbers joined by commas, got {text!r}.") from None
    if values[0] < least:
        raise ConfigError(f"{name} must be at least {least}, got {values[0]}: a smaller one would read the answer.")
    return values


def auto_lags(season: int, shortest: int) -> tuple[int, ...]:
    """Lags worth having at a season length: the first few, then around one and two seasons.

    Examples
    --------
    >>> auto_lags(12, 100), auto_lags(1, 20)
    ((1, 2, 3, 4, 5, 6, 11, 12, 13, 24), (1, 2, 3, 4, 5, 6))
    """
    lags = set(range(1, 7))
    if season > 1:
        lags |= {season - 1, season, season + 1, 2 * season}
    if season == 24:
        lags |= {48, 72, 168}
    if season == 7:
        lags |= {21, 28}
    return tuple(sorted(k for k in lags if 1 <= k <= max(1, shortest // 2)))


def auto_windows(season: int, shortest: int) -> tuple[int, ...]:
    """Window widths worth having at a season length.

    Examples
    --------
    >>> auto_windows(12, 100), auto_windows(1, 9)
    ((3, 12, 24), (3,))
    """
    widths = {3, season, 2 * season} if season > 1 else {3, 6, 12}
    if season == 24:
        widths |= {168}
    if season == 7:
        widths |= {28}
    return tuple(sorted(w for w in widths if 2 <= w <= max(3, shortest // 2)))


@dataclass(frozen=True, slots=True)
class Scaled:
    """A panel's history with its future rows appended, on the scale the model works in.

    Parameters
    ----------
    z : shape [rows] transformed target, NaN in future rows.
    indptr, lengths : flat layout including `horizon` future rows a series; rows of history alone.
    scale : shape [n], typical change of z per series, > 0.
    shift : shape [n], what is added before the log: 0, or the mean of a series that comes near zero.
    bounds : shape [n, 2], lowest and highest z of the history.
    fixed : shape [rows, k] float32, features that do not depend on the target.
    """

    z: np.ndarray
    indptr: np.ndarray
    lengths: np.ndarray
    scale: np.ndarray
    shift: np.ndarray
    bounds: np.ndarray
    fixed: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True, slots=True)
class Design:
    """A design matrix.

    Parameters
    ----------
    x : shape [r, k] float32, NaN where there is no history. y : shape [r] scaled target.
    base, scale : shape [r], to undo the scaling. series : shape [r] int. weight : shape [r].
    """

    x: np.ndarray
    y: np.ndarray
    base: np.ndarray
    scale: np.ndarray
    series: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True, slots=True)
class FeaturePlan:
    """Fitted on one training panel; turns any panel with the same columns into rows of the same design matrix.

    Gaps of numeric covariates are filled in each series by the column's way (`fills`, `past_fills`: way, and the value
    for series without any), flagged ones get a column of their own.
    """

    settings: PlanSettings
    season: int
    horizon: int
    country: str | None
    log: bool
    lags: tuple[int, ...]
    windows: tuple[int, ...]
    calendar: tuple[str, ...]
    series_codes: tuple[tuple[Any, ...], ...]
    fills: tuple[tuple[str, float], ...]
    past_fills: tuple[tuple[str, float], ...]
    columns: tuple[tuple[str, str], ...] = field(default=())
    id_groups: tuple[int, ...] = field(default=())

    @classmethod
    def fit(cls, panel: Panel, settings: PlanSettings, context: FitContext) -> Self:
        """Learn everything the matrix needs from the training panel alone."""
        season = context.season
        shortest = int(np.median(panel.lengths))
        explicit = _numbers("lags", settings.lags, 1)
        widths = _numbers("windows", settings.windows, 2)
        names = cal.calendar_names(panel.grid)
        plan = cls(
            settings=settings,
            season=season,
            horizon=context.horizon,
            country=context.country,
            log=_wants_log(panel, settings.transform, season),
            lags=explicit or (auto_lags(season, shortest) if settings.lags == "auto" else ()),
            windows=widths or (auto_windows(season, shortest) if settings.windows == "auto" else ()),
            calendar=names,
            series_codes=panel.ids if settings.series_code and 1 < panel.n_series <= _MAX_SERIES_CODES else (),
            fills=_fills(panel.known, "median"),
            past_fills=_fills(panel.past, "ffill"),
            id_groups=_id_groups(panel),
        )
        return replace(plan, columns=tuple(plan._columns(panel)))

    # -- names ------------------------------------------------------------------------------------------------------

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the design matrix' columns."""
        return tuple(name for name, _ in self.columns)

    @property
    def feature_map(self) -> dict[str, str]:
        """Engineered feature -> the raw column (or "target", "time", "series") it comes from."""
        return dict(self.columns)

    @property
    def categorical(self) -> tuple[int, ...]:
        """Positions of columns that hold codes."""
        return tuple(i for i, name in enumerate(self.feature_names) if name.endswith("_code"))

    @property
    def lookback(self) -> int:
        """Rows of history one forecast reads at most."""
        return max((*self.lags, *self.windows, 3 * self.season + self.horizon, self._level_width)) + self.season + 1

    def _columns(self, panel: Panel) -> list[tuple[str, str]]:
        out = [(name, "time") for name in self.calendar]
        if panel.grid.is_integer and self.season > 1:
            out.append(("phase", "time"))
        if self.season > 2:
            order = self._fourier_order
            out += [(f"{f}{k}", "time") for f in ("sin", "cos") for k in range(1, order + 1)]
        if self.country:
            out += [(n, "holidays") for n in hol.holiday_names(panel.grid, self.settings.holiday_window)]
        for name in panel.known.names:
            if panel.known.categories(name) is not None:
                out.append((f"{name}_code", name))
            else:
                out += [(f"{name}{suffix}", name) for suffix in ("", "_relative", "_deviation", "_change")]
                out += [(f"{name}_against_id{j + 1}", name) for j in self.id_groups]
                out += [(f"{name}_WASNULL", name)] if name in panel.known.flagged else []
        out += [(f"{n}_code" if panel.static.categories(n) is not None else n, n) for n in panel.static.names]
        if self.series_codes:
            out.append(("series_code", "series"))
        out.append(("horizon_origin", "time"))
        out += [(f"lag{k}", "target") for k in self.lags]
        out += [(f"{s}_window{w}", "target") for w in self.windows for s in ("mean", "min", "max", "std")]
        if self.season > 1:
            out += [(f"season_lag{k}", "target") for k in (1, 2, 3)]
            out.append(("season_lag_mean", "target"))
        out += [("base_level", "target"), ("log_scale", "target")]
        for name in panel.past.names:
            flag = ("WASNULL",) if name in panel.past.flagged else ()
            out += [(f"{name}_{suffix}", name) for suffix in ("last", "mean", *flag)]
        return out

    @property
    def _level_width(self) -> int:
        return self.season if self.season > 1 else min(max(self.horizon, 4), 52)

    @property
    def _fourier_order(self) -> int:
        return min(self.season // 2, 6)

    # -- rows -------------------------------------------------------------------------------------------------------

    def scale(self, panel: Panel, future: Future | None = None) -> Scaled:
        """Bring a panel (and the steps after it) onto the model's scale."""
        horizon = future.horizon if future else 0
        sizes = panel.lengths + horizon
        indptr = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        shift = _shifts(panel) if self.log else np.zeros(panel.n_series)
        z_history = self._transform(panel.y, np.repeat(shift, panel.lengths))
        rows = np.arange(panel.n_rows) + np.repeat(indptr[:-1] - panel.indptr[:-1], panel.lengths)
        z = np.full(indptr[-1], np.nan)
        z[rows] = z_history
        weight = np.zeros(indptr[-1])
        weight[rows] = np.where(_worth_learning(panel, self.season), panel.weight, 0.0)
        scale, bounds = scales(z_history, panel.indptr, self.season)
        steps = np.arange(indptr[-1]) + np.repeat(panel.start - indptr[:-1], sizes)
        fixed = self._fixed(panel, future, indptr, rows, steps)
        return Scaled(z, indptr, panel.lengths, scale, shift, bounds, fixed, weight)

    def training_rows(self, scaled: Scaled, seed: int) -> tuple[Rows, np.ndarray]:
        """Rows to learn from: every target with every h in 1..horizon, thinned evenly to `max_rows`; series of each."""
        horizons = 1 if self.settings.strategy == "recursive" else self.horizon
        sizes = np.diff(scaled.indptr)
        series = np.repeat(np.arange(len(sizes)), sizes)
        begin = scaled.indptr[:-1][series]
        target = np.flatnonzero((np.arange(len(series)) > begin) & (scaled.weight > 0))
        per_target = min(horizons, max(1, -(-self.settings.max_rows // max(1, len(target)))))
        rng = np.random.default_rng(seed)
        offset = rng.integers(0, horizons, size=len(target))
        ahead = (offset[:, None] + np.arange(per_target) * horizons // per_target) % horizons + 1
        target = np.repeat(target, per_target)
        ahead = ahead.ravel()
        keep = np.flatnonzero(target - ahead >= begin[target])
        if len(keep) > self.settings.max_rows:
            keep = np.sort(rng.choice(keep, self.settings.max_rows, replace=False))
        target, ahead = target[keep], ahead[keep]
        return Rows(target, ahead, begin[target]), series[target]

    def future_rows(self, scaled: Scaled, horizon: int) -> tuple[Rows, np.ndarray]:
        """Rows of the next `horizon` steps of every series, all seen from the last row of history; series of each."""
        n = len(scaled.lengths)
        begin = np.repeat(scaled.indptr[:-1], horizon)
        ahead = np.tile(np.arange(1, horizon + 1), n)
        target = begin + np.repeat(scaled.lengths, horizon) + ahead - 1
        return Rows(target, ahead, begin), np.repeat(np.arange(n), horizon)

    def design(self, scaled: Scaled, rows: Rows, series: np.ndarray, past: Block | None = None) -> Design:
        """Design matrix of some rows."""
        scale = scaled.scale[series]
        base = self._base(scaled.z, rows)
        columns = self._history(scaled.z, rows, base, scale)
        level = hist.level(scaled.z, rows, self._level_width)
        columns += [(base if self.settings.base == "none" else level - scaled.bounds[series, 0]) / scale, np.log(scale)]
        if past is not None and past.names:
            columns += self._past(past, scaled, rows, series)
        dynamic = np.stack(columns, axis=1).astype(np.float32)
        x = np.concatenate([scaled.fixed[rows.target], rows.ahead[:, None].astype(np.float32), dynamic], axis=1)
        y = (scaled.z[rows.target] - base) / scale
        return Design(x, y, base, scale, series, scaled.weight[rows.target])

    def past_block(self, panel: Panel) -> Block | None:
        """Past covariates with their gaps filled, where there are any."""
        past = panel.past
        if not past.names:
            return None
        values = past.values.copy()
        for k, (way, other) in enumerate(self.past_fills):
            if past.categories(past.names[k]) is None:
                given = past.values[:, k], past.observed[:, k]
                usual = typical(*given, panel.series_of_rows(), panel.n_series, _middle(way), other)
                values[:, k] = filled(*given, panel.indptr, way, usual)
        return replace(past, values=values)

    def _past(self, past: Block, scaled: Scaled, rows: Rows, series: np.ndarray) -> list[np.ndarray]:
        """Last value and short mean of past covariates at the origin; history rows only, so positions are shifted."""
        starts = np.concatenate([[0], np.cumsum(scaled.lengths)[:-1]])
        shift = (scaled.indptr[:-1] - starts)[series]
        last = (starts + scaled.lengths - 1)[series]  # past the horizon the origin moves on, these columns do not
        target = rows.target - shift
        here = Rows(target, np.maximum(rows.ahead, target - last), rows.begin - shift)
        out = []
        for k in range(len(past.names)):
            column = past.values[:, k]
            out += [hist.lag(column, here, 1), hist.level(column, here, max(2, min(self.season, 28)))]
            if past.names[k] in past.flagged:
                out.append(hist.lag((~past.observed[:, k]).astype(float), here, 1))
        return out

    def bounded(self, z: np.ndarray, series: np.ndarray, scaled: Scaled) -> np.ndarray:
        """Clip z to two ranges beyond what the series has shown (half a range on a log scale)."""
        low, high = scaled.bounds[series, 0], scaled.bounds[series, 1]
        room = np.maximum(high - low, 4 * scaled.scale[series]) * (0.5 if self.log else 2.0)
        return np.clip(z, low - room, high + room)

    def inverse(self, z: np.ndarray, shift: np.ndarray) -> np.ndarray:
        """Undo the transform."""
        return np.maximum(np.exp(z) - shift, 0.0) if self.log else z

    def _transform(self, y: np.ndarray, shift: np.ndarray) -> np.ndarray:
        # a later history may touch zero or go below although the training one did not
        return np.log(np.maximum(np.maximum(y, 0.0) + shift, np.finfo(float).tiny)) if self.log else y

    def _base(self, z: np.ndarray, rows: Rows) -> np.ndarray:
        last = hist.gather(z, rows.origin, rows.begin)
        if self.settings.base == "none":
            return np.zeros(len(last))
        if self.settings.base == "last":
            return last
        level = hist.level(z, rows, self._level_width)
        if self.settings.base == "level" or self.season == 1:
            return level
        seasonal = hist.same_season(z, rows, self.season, 1)
        return np.where(np.isfinite(seasonal), seasonal, level)

    def _history(self, z: np.ndarray, rows: Rows, base: np.ndarray, scale: np.ndarray) -> list[np.ndarray]:
        columns = [(hist.lag(z, rows, k) - base) / scale for k in self.lags]
        for width in self.windows:
            columns += [(hist.window(z, rows, width, s) - base) / scale for s in ("mean", "min", "max")]
            columns.append(hist.window(z, rows, width, "std") / scale)
        if self.season > 1:
            seasonal = [(hist.same_season(z, rows, self.season, k) - base) / scale for k in (1, 2, 3)]
            stacked = np.stack(seasonal)
            known = np.isfinite(stacked)
            total = np.where(known, stacked, 0.0).sum(axis=0)
            count = known.sum(axis=0)
            columns += [*seasonal, np.where(count > 0, total / np.maximum(count, 1), np.nan)]
        return columns

    # -- features that do not depend on the target --------------------------------------------------------------------

    def _fixed(
        self, panel: Panel, future: Future | None, indptr: np.ndarray, rows: np.ndarray, steps: np.ndarray
    ) -> np.ndarray:
        parts = [cal.calendar(panel.grid, steps, self.calendar)]
        if panel.grid.is_integer and self.season > 1:
            parts.append((steps % self.season).astype(np.float32)[:, None])
        if self.season > 2:
            parts.append(cal.fourier(steps % self.season, self.season, self._fourier_order))
        if self.country:
            parts.append(hol.holiday_features(panel.grid, steps, self.country, self.settings.holiday_window))
        known = _joined(panel, future, indptr, rows)
        parts.append(self._known(known, panel, indptr, steps))
        sizes = np.diff(indptr)
        categorical = np.array([panel.static.categories(n) is not None for n in panel.static.names], dtype=bool)
        static = np.where(panel.static.observed | categorical, panel.static.values, np.nan)
        parts.append(np.repeat(static, sizes, axis=0).astype(np.float32))
        if self.series_codes:
            code = {key: i for i, key in enumerate(self.series_codes)}
            codes = np.array([code.get(key, -1) for key in panel.ids], dtype=np.float32)
            parts.append(np.repeat(codes, sizes)[:, None])
        return np.concatenate(parts, axis=1)

    def _known(self, known: Block, panel: Panel, indptr: np.ndarray, steps: np.ndarray) -> np.ndarray:
        columns: list[np.ndarray] = []
        sizes = np.diff(indptr)
        series = np.repeat(np.arange(len(sizes)), sizes)
        begin = indptr[:-1][series]
        for k, name in enumerate(known.names):
            x = known.values[:, k]
            if known.categories(name) is not None:
                columns.append(x)
                continue
            way, other = self.fills[k]
            history = panel.known.values[:, k], panel.known.observed[:, k]
            usual = typical(*history, panel.series_of_rows(), panel.n_series, _middle(way), other)
            x = filled(x, known.observed[:, k], indptr, way, usual)
            positive = usual.min() > 0 and np.nanmin(x) > 0
            relative = np.log(x / usual[series]) if positive else x - usual[series]
            change = np.where(np.arange(len(x)) > begin, x - np.concatenate([x[:1], x[:-1]]), 0.0)
            columns += [x, relative, relative - _mean_by_step(relative, steps), change]
            for j in self.id_groups:
                group = _codes([key[j] for key in panel.ids])[series]
                columns.append(relative - _mean_by_step(relative, steps + (steps.max() + 1) * group))
            if name in known.flagged:
                columns.append((~known.observed[:, k]).astype(float))
        return np.stack(columns, axis=1).astype(np.float32) if columns else np.empty((len(series), 0), np.float32)

    # -- state --------------------------------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """Everything fitted, as JSON values."""
        raw = asdict(self)
        raw["series_codes"] = [list(key) for key in self.series_codes]
        return raw

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Self:
        """Read what `to_json` gave."""
        values = dict(raw)
        values["settings"] = PlanSettings(**raw["settings"])
        values["series_codes"] = tuple(tuple(key) for key in raw["series_codes"])
        values["columns"] = tuple((name, source) for name, source in raw["columns"])
        for name in ("fills", "past_fills"):
            values[name] = tuple((way, other) for way, other in raw[name])
        for name in ("lags", "windows", "calendar", "id_groups"):
            values[name] = tuple(raw[name])
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Round:
    """Some steps of a forecast: the rows predicted and what became of them, each array [r], series by series.

    Parameters
    ----------
    design : what was read. ahead : steps after the end of the history. predicted : on the model's scale.
    z : transformed target, held in bounds. value : target units. shift : of the transform.
    """

    design: Design
    ahead: np.ndarray
    predicted: np.ndarray
    z: np.ndarray
    value: np.ndarray
    shift: np.ndarray


def forecast_rounds(
    plan: FeaturePlan, predict: Callable[[np.ndarray], np.ndarray], panel: Panel, future: Future
) -> Iterator[Round]:
    """Forecast with a one-model-for-every-h predictor, as many steps at a time as it was fitted for.

    Past the trained horizon (one step for recursive models) forecasts are fed back as history.
    """
    scaled = plan.scale(panel, future)
    past = plan.past_block(panel)
    z = scaled.z
    rows, series = plan.future_rows(scaled, future.horizon)
    ahead = rows.ahead.copy()
    step = 1 if plan.settings.strategy == "recursive" else plan.horizon
    for first in range(1, future.horizon + 1, step):
        pick = (ahead >= first) & (ahead < first + step)
        block = Rows(rows.target[pick], ahead[pick] - first + 1, rows.begin[pick])
        design = plan.design(replace(scaled, z=z), block, series[pick], past)
        predicted = predict(design.x)
        z_hat = plan.bounded(predicted * design.scale + design.base, design.series, scaled)
        z = z.copy()
        z[block.target] = z_hat
        shift = scaled.shift[series[pick]]
        yield Round(design, ahead[pick], predicted, z_hat, plan.inverse(z_hat, shift), shift)


def direct_forecast(
    plan: FeaturePlan, predict: Callable[[np.ndarray], np.ndarray], panel: Panel, future: Future
) -> np.ndarray:
    """Point forecasts of a one-model-for-every-h predictor (see `forecast_rounds`). Shape [n, horizon]."""
    rounds = forecast_rounds(plan, predict, panel, future)
    return np.concatenate([r.value.reshape(panel.n_series, -1) for r in rounds], axis=1)


def _joined(panel: Panel, future: Future | None, indptr: np.ndarray, rows: np.ndarray) -> Block:
    if future is None:
        return panel.known
    k = len(panel.known.names)
    values = np.full((indptr[-1], k), np.nan)
    observed = np.zeros((indptr[-1], k), dtype=bool)
    values[rows], observed[rows] = panel.known.values, panel.known.observed
    ahead = np.ones(indptr[-1], dtype=bool)
    ahead[rows] = False
    values[ahead], observed[ahead] = future.known.values, future.known.observed
    return replace(panel.known, values=values, observed=observed)


def _wants_log(panel: Panel, transform: str, season: int) -> bool:
    if transform == "none":
        return False
    y = panel.y[panel.observed]
    return bool(len(y)) and y.min() >= 0 and (transform == "log" or _multiplicative(panel, season))


def _multiplicative(panel: Panel, season: int) -> bool:
    """Whether changes grow with the level within series: median rank correlation of |change| and level over series."""
    votes = []
    for i in np.unique(np.linspace(0, panel.n_series - 1, min(panel.n_series, 100)).astype(int)):
        y = panel.series(i)
        width = max(season, 4)
        blocks = len(y) // width
        if blocks < 4:
            continue
        table = y[-blocks * width :].reshape(blocks, width)
        level, spread = table.mean(axis=1), table.std(axis=1)
        if np.ptp(level) <= 0:
            continue
        votes.append(np.corrcoef(level.argsort().argsort(), spread.argsort().argsort())[0, 1])
    return bool(votes) and float(np.median(votes)) > 0.3


def _shifts(panel: Panel) -> np.ndarray:
    """What keeps the log of each series tame: 0, or its mean where it comes nearer to zero than a hundredth of that."""
    first = panel.indptr[:-1]
    mean = np.add.reduceat(np.maximum(panel.y, 0.0), first) / panel.lengths
    low = np.minimum.reduceat(panel.y, first)
    return np.where(low > 0.01 * mean, 0.0, np.where(mean > 0, mean, 1.0))


def scales(z: np.ndarray, indptr: np.ndarray, season: int) -> tuple[np.ndarray, np.ndarray]:
    """Per series: mean absolute seasonal change of z (1 where there is none), and its lowest and highest value."""
    first, sizes = indptr[:-1], np.diff(indptr)
    step = np.where(sizes > season, season, 1)
    rows = np.arange(len(z))
    back = rows - np.repeat(step, sizes)
    inside = back >= np.repeat(first, sizes)
    jump = np.where(inside, np.abs(z - z[np.maximum(back, 0)]), 0.0)
    change = np.add.reduceat(jump, first) / np.maximum(sizes - step, 1)
    centre = np.repeat(np.add.reduceat(z, first) / sizes, sizes)
    spread = np.sqrt(np.add.reduceat(np.square(z - centre), first) / sizes)
    bounds = np.stack([np.minimum.reduceat(z, first), np.maximum.reduceat(z, first)], axis=1)
    typical = np.maximum(np.maximum(change, 0.1 * spread), 1e-9 * np.abs(bounds).max(axis=1))
    return np.where(typical > 0, typical, 1.0), bounds


def _worth_learning(panel: Panel, season: int) -> np.ndarray:
    """Rows that were observed, in series that ever change (in all, where none does). Shape [rows] bool."""
    moving = ~panel.constant(season)
    return panel.observed & np.repeat(moving, panel.lengths) if moving.any() else panel.observed


def _middle(way: str) -> str:
    return way if way in TYPICAL else "median"


def _fills(block: Block, usual_way: str) -> tuple[tuple[str, float], ...]:
    """How gaps of each column are filled, and the value for series without any: typical over all series."""
    out = []
    said = dict(block.fills)
    for k, name in enumerate(block.names):
        way = said.get(name, usual_way)
        every = np.zeros(len(block.values), dtype=np.int64)
        out.append((way, float(typical(block.values[:, k], block.observed[:, k], every, 1, _middle(way), 0.0)[0])))
    return tuple(out)


def _id_groups(panel: Panel) -> tuple[int, ...]:
    """Id columns by which series fall into groups of more than one: a store's products, a product's stores."""
    width = len(panel.ids[0])
    if width < 2:
        return ()
    return tuple(j for j in range(width) if 1 < len({key[j] for key in panel.ids}) < panel.n_series)


def _codes(values: list[Any]) -> np.ndarray:
    """Numbers of values, equal where the values are."""
    place: dict[Any, int] = {}
    return np.array([place.setdefault(v, len(place)) for v in values])


def _mean_by_step(values: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Mean over all series at the same time step, as seen by every row."""
    _, where, count = np.unique(steps, return_inverse=True, return_counts=True)
    return (np.bincount(where, weights=values) / count)[where]
