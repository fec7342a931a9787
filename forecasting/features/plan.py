"""FeaturePlan: the one place where anything learned from data for a design matrix is fitted, once per cutoff.

The way of a value: transform (log where it helps) -> minus a base known at the origin -> over the series' scale.
Lags, windows and the target all take it, so one pooled model serves series of any size.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from forecasting.features import calendar as cal
from forecasting.features import history as hist
from forecasting.features import holidays as hol
from forecasting.features.covariates import (
    codes_of,
    fills_of,
    id_groups,
    joined,
    mean_by_step,
    middle_way,
    positive_columns,
)
from forecasting.features.decompose import Parts, decompose
from forecasting.features.granger import lags_that_help
from forecasting.features.history import Rows
from forecasting.features.impute import filled, typical
from forecasting.features.orders import look_back
from forecasting.features.scaling import log_shifts, scales, wants_log
from forecasting.features.settings import PlanSettings, default_lags, default_windows, numbers, season_spans
from forecasting.memory import rows_within
from forecasting.season import further_seasons

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from forecasting.learners.base import FitContext
    from forecasting.panel import Block, Future, Panel

HOLIDAY_CODE = "holiday_name_code"
_MAX_SERIES_CODES = 500
_LEAST_SHARE = 1e-6
"""Share of what is usual that a covariate read by its logarithm counts as, at least."""

_ENOUGH_ROWS = 1_000_000
"""Rows of all series together beyond which only the last ones of each are looked at: no model learns from so many."""

_FURTHER_ORDER = 3
"""Harmonics of a longer season, below those of the shorter one."""


@dataclass(frozen=True, slots=True)
class Scaled:
    """A panel's history with its future rows appended, on the scale the model works in.

    Parameters
    ----------
    z : shape [rows] transformed target, NaN in future rows.
    indptr, lengths : flat layout including `horizon` future rows a series; rows of history alone.
    scale : shape [n], typical change of z per series, > 0.
    shift : shape [n], what is added before the log: 0, or the mean of a series that comes near zero; NaN where there is
        no log.
    bounds : shape [n, 2], lowest and highest z of the history.
    fixed : shape [rows, k] float32, features that do not depend on the target.
    weight : shape [rows], 0 where nothing is to be learned. parts : STL decompositions of z, where asked for.
    """

    z: np.ndarray
    indptr: np.ndarray
    lengths: np.ndarray
    scale: np.ndarray
    shift: np.ndarray
    bounds: np.ndarray
    fixed: np.ndarray
    weight: np.ndarray
    parts: Parts | None = None


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
    for series without any), flagged ones get a column of their own. `positive` : known covariates that are read by
    their logarithm; None = as the rows at hand say (plans of earlier versions). `recent` : rows of each series that are
    looked at, the last ones; 0 = all. `unit`, `level` : scale and mean that series of zeros alone are taken to have.
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
    feature_lags: tuple[tuple[str, tuple[int, ...]], ...] = field(default=())
    further: tuple[int, ...] = field(default=())
    holiday_labels: tuple[str, ...] = field(default=())
    spans: tuple[int, ...] = field(default=())
    positive: tuple[str, ...] | None = None
    recent: int = 0
    unit: float = 0.0
    level: float = 0.0

    @classmethod
    def fit(cls, panel: Panel, settings: PlanSettings, context: FitContext) -> Self:
        """Learn everything the matrix needs from the training panel alone."""
        season = context.season
        lags, windows, spans = _look_back(panel, settings, season)
        plan = cls(
            settings=settings,
            season=season,
            horizon=context.horizon,
            country=context.country,
            log=wants_log(panel, settings.transform, season),
            lags=lags,
            windows=windows,
            calendar=cal.calendar_names(panel.grid),
            series_codes=panel.ids if settings.series_code and 1 < panel.n_series <= _MAX_SERIES_CODES else (),
            fills=fills_of(panel.known, "median"),
            past_fills=fills_of(panel.past, "ffill"),
            id_groups=id_groups(panel) if settings.across_series else (),
            further=_further_seasons(panel, settings, season),
            holiday_labels=_holiday_labels(panel, settings, context.country),
            spans=spans,
            positive=positive_columns(panel),
        )
        plan = plan._with_feature_lags(panel)
        return replace(plan, columns=tuple(plan.columns_for(panel)), recent=plan.recent_rows(panel))

    def _with_feature_lags(self, panel: Panel) -> Self:
        """Settle the lags of numeric covariates: those asked for, or the target's where they help."""
        asked = self.settings.feature_lags
        if not asked or not self.lags:
            return self
        columns: dict[str, np.ndarray] = {}
        for k, name in enumerate(panel.known.names):
            if panel.known.categories(name) is None:
                columns[name] = self._without_gaps(panel.known, panel, panel.indptr, k)[0]
        past = self.past_block(panel)
        for k, name in enumerate(panel.past.names):
            if past is not None and past.categories(name) is None:
                columns[name] = past.values[:, k]
        given = numbers("feature_lags", asked, 1)
        found = [(n, given or lags_that_help(panel, x, self.season, self.lags)) for n, x in columns.items()]
        return replace(self, feature_lags=tuple((name, lags) for name, lags in found if lags))

    def recent_rows(self, panel: Panel) -> int:
        """Rows of each series that are enough, where there are more than can be learned from; 0 = all."""
        if panel.n_rows <= _ENOUGH_ROWS:
            return 0
        furthest = max([*self.lags, *self.windows, *(n * self.season for n in (3, *self.spans)), *self.further])
        return max(2 * furthest + 2 * self.horizon, _ENOUGH_ROWS // panel.n_series)

    def lately(self, panel: Panel) -> Panel:
        """The rows of a panel that are looked at."""
        return panel.tail(self.recent) if self.recent else panel

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
        """Positions of columns that hold codes; a number may well have such a name of its own."""
        return tuple(i for i, (name, raw) in enumerate(self.columns) if name.endswith("_code") and name != raw)

    def columns_for(self, panel: Panel) -> list[tuple[str, str]]:
        """Names of the matrix' columns in order, each with the raw column it comes from."""
        out = [(name, "time") for name in self.calendar]
        if panel.grid.is_integer and self.season > 1:
            out.append(("phase", "time"))
        if self.season > 2:
            order = self._fourier_order
            out += [(f"{f}{k}", "time") for f in ("sin", "cos") for k in range(1, order + 1)]
        for m in self.further:
            out += [(f"{f}{k}_season{m}", "time") for f in ("sin", "cos") for k in range(1, _FURTHER_ORDER + 1)]
        if self.country:
            out += [(n, "holidays") for n in hol.holiday_names(panel.grid, *self._holiday_window)]
            out += [(HOLIDAY_CODE, "holidays")] if self.holiday_labels else []
        for name in panel.known.names:
            if panel.known.categories(name) is not None:
                out.append((f"{name}_code", name))
            else:
                deviation = ("_deviation",) if self.settings.across_series else ()
                out += [(f"{name}{suffix}", name) for suffix in ("", "_relative", *deviation, "_change")]
                out += [(f"{name}_against_id{j + 1}", name) for j in self.id_groups]
                out += [(f"{name}_lag{k}", name) for k in self._lags_of(name)]
                out += [(f"{name}_WASNULL", name)] if name in panel.known.flagged else []
        out += [(f"{n}_code" if panel.static.categories(n) is not None else n, n) for n in panel.static.names]
        if self.series_codes:
            out.append(("series_code", "series"))
        out.append(("horizon_origin", "time"))
        out += [(f"lag{k}", "target") for k in self.lags]
        out += [(f"{s}_window{w}", "target") for w in self.windows for s in self.settings.statistics]
        if self.season > 1:
            out += [(f"season_lag{k}", "target") for k in (1, 2, 3)]
            out.append(("season_lag_mean", "target"))
            out += [(f"season_lag_median{n}", "target") for n in self.spans]
        out += [(f"season{m}_lag{k}", "target") for m in self._further_lagged for k in (1, 2)]
        out += [("base_level", "target"), ("log_scale", "target")]
        if self._stl:
            out.append(("stl_season", "target"))
            out += [("stl_trend", "target")] if self._stl == "season_trend" else []
        for name in panel.past.names:
            flag = ("WASNULL",) if name in panel.past.flagged else ()
            out += [(f"{name}_{suffix}", name) for suffix in ("last", "mean", *flag)]
            out += [(f"{name}_lag{k}", name) for k in self._lags_of(name) if k > 1]
        return out

    def _lags_of(self, covariate: str) -> tuple[int, ...]:
        return dict(self.feature_lags).get(covariate, ())

    @property
    def _stl(self) -> str:
        return self.settings.stl if self.season > 1 else ""

    @property
    def _further_lagged(self) -> tuple[int, ...]:
        """Longer seasons of whole shorter ones: a value a year back stands on another day of the week."""
        return tuple(m for m in self.further if m % self.season == 0)

    @property
    def _level_width(self) -> int:
        return self.season if self.season > 1 else min(max(self.horizon, 4), 52)

    @property
    def _fourier_order(self) -> int:
        return min(self.season // 2, 6)

    @property
    def most_rows(self) -> int:
        """Training rows, at most: the settings' cap, or what their memory holds."""
        s = self.settings
        return min(s.max_rows, rows_within(s.memory_mb, len(self.columns))) if s.memory_mb else s.max_rows

    # -- rows -------------------------------------------------------------------------------------------------------

    def scale(self, panel: Panel, future: Future | None = None) -> Scaled:
        """Bring a panel (and the steps after it) onto the model's scale."""
        horizon = future.horizon if future else 0
        sizes = panel.lengths + horizon
        indptr = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        shift = log_shifts(panel, self.level) if self.log else np.full(panel.n_series, np.nan)
        z_history = _transformed(panel.y, np.repeat(shift, panel.lengths))
        rows = np.arange(panel.n_rows) + np.repeat(indptr[:-1] - panel.indptr[:-1], panel.lengths)
        z = np.full(indptr[-1], np.nan)
        z[rows] = z_history
        weight = np.zeros(indptr[-1])
        weight[rows] = np.where(_worth_learning(panel, self.season), panel.weight, 0.0)
        scale, bounds = scales(z_history, panel.indptr, self.season, self.unit)
        steps = np.arange(indptr[-1]) + np.repeat(panel.start - indptr[:-1], sizes)
        fixed = self._fixed(panel, future, indptr, rows, steps)
        parts = decompose(z_history, panel.indptr, self.season, horizon) if self._stl else None
        return Scaled(z, indptr, panel.lengths, scale, shift, bounds, fixed, weight, parts)

    def training_rows(self, scaled: Scaled, seed: int) -> tuple[Rows, np.ndarray]:
        """Rows to learn from: every target with every h in 1..horizon, thinned to `most_rows`; series of each."""
        most = self.most_rows
        horizons = 1 if self.settings.strategy == "recursive" else self.horizon
        sizes = np.diff(scaled.indptr)
        series = np.repeat(np.arange(len(sizes)), sizes)
        begin = scaled.indptr[:-1][series]
        target = np.flatnonzero((np.arange(len(series)) > begin) & (scaled.weight > 0))
        per_target = min(horizons, max(1, -(-most // max(1, len(target)))))
        rng = np.random.default_rng(seed)
        offset = rng.integers(0, horizons, size=len(target))
        ahead = (offset[:, None] + np.arange(per_target) * horizons // per_target) % horizons + 1
        target = np.repeat(target, per_target)
        ahead = ahead.ravel()
        keep = np.flatnonzero(target - ahead >= begin[target])
        if len(keep) > most:
            keep = np.sort(rng.choice(keep, most, replace=False))
        target, ahead = target[keep], ahead[keep]
        return Rows(target, ahead, begin[target]), series[target]

    def future_rows(self, scaled: Scaled, horizon: int) -> tuple[Rows, np.ndarray]:
        """Rows of the next `horizon` steps of every series, all seen from the last row of history; series of each."""
        n = len(scaled.lengths)
        begin = np.repeat(scaled.indptr[:-1], horizon)
        ahead = np.tile(np.arange(1, horizon + 1), n)
        target = begin + np.repeat(scaled.lengths, horizon) + ahead - 1
        return Rows(target, ahead, begin), np.repeat(np.arange(n), horizon)

    def design(
        self, scaled: Scaled, rows: Rows, series: np.ndarray, past: Block | None = None, threads: int = 1
    ) -> Design:
        """Design matrix of some rows."""
        scale = scaled.scale[series]
        level = hist.level(scaled.z, rows, self._level_width)
        base = self._base(scaled.z, rows, level)
        x = np.empty((len(rows.target), len(self.columns)), dtype=np.float32)
        at = hist.look_back(
            scaled.z, rows, base, scale, fixed=scaled.fixed, lags=self.lags, windows=self.windows,
            statistics=self.settings.statistics, season=self.season, spans=self.spans, longer=self._further_lagged,
            out=x, threads=threads,
        )  # fmt: skip
        for column in self._other(scaled, rows, series, base, level, past):
            x[:, at] = column
            at += 1
        y = (scaled.z[rows.target] - base) / scale
        return Design(x, y, base, scale, series, scaled.weight[rows.target])

    def _other(
        self, scaled: Scaled, rows: Rows, series: np.ndarray, base: np.ndarray, level: np.ndarray, past: Block | None
    ) -> Iterator[np.ndarray]:
        """The last columns, one after the other: level and scale, parts of a decomposition, past covariates."""
        scale = scaled.scale[series]
        yield (base if self.settings.base == "none" else level - scaled.bounds[series, 0]) / scale
        yield np.log(scale)
        if scaled.parts is not None:
            yield scaled.parts.season_at(rows) / scale
            if self._stl == "season_trend":
                yield np.nan_to_num((scaled.parts.level_at(rows) - base) / scale)
        if past is not None and past.names:
            yield from self._past(past, scaled, rows, series)

    def past_block(self, panel: Panel) -> Block | None:
        """Past covariates with their gaps filled, where there are any."""
        past = panel.past
        if not past.names:
            return None
        values = past.values.copy()
        for k, (way, other) in enumerate(self.past_fills):
            if past.categories(past.names[k]) is None:
                given = past.values[:, k], past.observed[:, k]
                usual = typical(*given, panel.series_of_rows(), panel.n_series, middle_way(way), other)
                values[:, k] = filled(*given, panel.indptr, way, usual)
        return replace(past, values=values)

    def _past(self, past: Block, scaled: Scaled, rows: Rows, series: np.ndarray) -> list[np.ndarray]:
        """Last value, short mean and lags of past covariates at the origin; history rows alone, so positions shift."""
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
            out += [hist.lag(column, here, order) for order in self._lags_of(past.names[k]) if order > 1]
        return out

    def bounded(self, z: np.ndarray, series: np.ndarray, scaled: Scaled) -> np.ndarray:
        """Clip z to two ranges beyond what the series has shown (half a range on a log scale)."""
        low, high = scaled.bounds[series, 0], scaled.bounds[series, 1]
        room = np.maximum(high - low, 4 * scaled.scale[series]) * np.where(np.isnan(scaled.shift[series]), 2.0, 0.5)
        return np.clip(z, low - room, high + room)

    def inverse(self, z: np.ndarray, shift: np.ndarray) -> np.ndarray:
        """Undo the transform."""
        if not self.log:
            return z
        plain = np.isnan(shift)
        return np.where(plain, z, np.maximum(np.exp(np.where(plain, 0.0, z)) - shift, 0.0))

    def _base(self, z: np.ndarray, rows: Rows, level: np.ndarray) -> np.ndarray:
        if self.settings.base == "none":
            return np.zeros(len(level))
        if self.settings.base == "last":
            return hist.gather(z, rows.origin, rows.begin)
        if self.settings.base == "level" or self.season == 1:
            return level
        seasonal = hist.same_season(z, rows, self.season, 1)
        return np.where(np.isfinite(seasonal), seasonal, level)

    # -- features that do not depend on the target --------------------------------------------------------------------

    def _fixed(
        self, panel: Panel, future: Future | None, indptr: np.ndarray, rows: np.ndarray, steps: np.ndarray
    ) -> np.ndarray:
        parts = [cal.calendar(panel.grid, steps, self.calendar)]
        if panel.grid.is_integer and self.season > 1:
            parts.append((steps % self.season).astype(np.float32)[:, None])
        if self.season > 2:
            parts.append(cal.fourier(steps % self.season, self.season, self._fourier_order))
        parts += [cal.fourier(steps % m, m, _FURTHER_ORDER) for m in self.further]
        if self.country:
            parts.append(hol.holiday_features(panel.grid, steps, self.country, *self._holiday_window))
            if self.holiday_labels:
                parts.append(self._holiday_codes(panel, steps))
        known = joined(panel, future, indptr, rows)
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
            x, usual = self._without_gaps(known, panel, indptr, k)
            positive = usual.min() > 0 and np.nanmin(x) > 0 if self.positive is None else name in self.positive
            if positive:  # a later value, or a new series, may be zero although none was before
                share = x / np.where(usual > 0, usual, 1.0)[series]
                relative = np.log(np.maximum(share, _LEAST_SHARE))
            else:
                relative = x - usual[series]
            change = np.where(np.arange(len(x)) > begin, x - np.concatenate([x[:1], x[:-1]]), 0.0)
            deviation = [relative - mean_by_step(relative, steps)] if self.settings.across_series else []
            columns += [x, relative, *deviation, change]
            for j in self.id_groups:
                group = codes_of([key[j] for key in panel.ids])[series]
                since = steps - steps.min()
                columns.append(relative - mean_by_step(relative, since + (since.max() + 1) * group))
            columns += [hist.gather(x, np.arange(len(x)) - order, begin) for order in self._lags_of(name)]
            if name in known.flagged:
                columns.append((~known.observed[:, k]).astype(float))
        return np.stack(columns, axis=1).astype(np.float32) if columns else np.empty((len(series), 0), np.float32)

    def _without_gaps(self, known: Block, panel: Panel, indptr: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Values of known covariate k [rows of indptr] with its gaps filled, and what is usual in each series [n]."""
        way, other = self.fills[k]
        history = panel.known.values[:, k], panel.known.observed[:, k]
        usual = typical(*history, panel.series_of_rows(), panel.n_series, middle_way(way), other)
        return filled(known.values[:, k], known.observed[:, k], indptr, way, usual), usual

    def _holiday_codes(self, panel: Panel, steps: np.ndarray) -> np.ndarray:
        """0 on ordinary days, else the number of the day's name; -1 = a name that training did not have."""
        code = {name: i + 1 for i, name in enumerate(self.holiday_labels)} | {"": 0}
        unique, where = np.unique(steps, return_inverse=True)
        labels = hol.holiday_labels(panel.grid, unique, self.country or "", *self._holiday_window)
        return np.array([code.get(label, -1) for label in labels], dtype=np.float32)[where][:, None]

    @property
    def _holiday_window(self) -> tuple[int, int]:
        return self.settings.holidays_before, self.settings.holidays_after

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
        values["feature_lags"] = tuple((name, tuple(lags)) for name, lags in raw["feature_lags"])
        for name in ("lags", "windows", "calendar", "id_groups", "further", "holiday_labels", "spans"):
            values[name] = tuple(raw.get(name, ()))  # plans of earlier versions have no spans
        positive = raw.get("positive")
        values["positive"] = None if positive is None else tuple(positive)
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Round:
    """Some steps of a forecast: the rows predicted and what became of them, each array [r], series by series.

    Parameters
    ----------
    design : what was read. ahead : steps after the end of the history. predicted : on the model's scale.
    z : transformed target, held in bounds. value : target units. shift : of the transform.
    scaled : the panel it was forecast from.
    """

    design: Design
    ahead: np.ndarray
    predicted: np.ndarray
    z: np.ndarray
    value: np.ndarray
    shift: np.ndarray
    scaled: Scaled


def forecast_rounds(
    plan: FeaturePlan, predict: Callable[[np.ndarray], np.ndarray], panel: Panel, future: Future
) -> Iterator[Round]:
    """Forecast with a one-model-for-every-h predictor, as many steps at a time as it was fitted for.

    Past the trained horizon (one step for recursive models) forecasts are fed back as history.
    """
    panel = plan.lately(panel)
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
        yield Round(design, ahead[pick], predicted, z_hat, plan.inverse(z_hat, shift), shift, scaled)


def direct_forecast(
    plan: FeaturePlan, predict: Callable[[np.ndarray], np.ndarray], panel: Panel, future: Future
) -> np.ndarray:
    """Point forecasts of a one-model-for-every-h predictor (see `forecast_rounds`). Shape [n, horizon]."""
    rounds = forecast_rounds(plan, predict, panel, future)
    return np.concatenate([r.value.reshape(panel.n_series, -1) for r in rounds], axis=1)


def _transformed(y: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Logs of values and what is added to them, values as they are where that is NaN."""
    plain = np.isnan(shift)
    if plain.all():
        return y
    return np.where(plain, y, np.log(np.maximum(np.where(plain, 1.0, y + shift), np.finfo(float).tiny)))


def _look_back(
    panel: Panel, settings: PlanSettings, season: int
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Lags and window widths, as asked for or found, and numbers of seasons."""
    lags, windows = numbers("lags", settings.lags, 1), numbers("windows", settings.windows, 2)
    typical_length = int(np.median(panel.lengths))
    if settings.lags == "default":
        lags = default_lags(season, typical_length)
    if settings.windows == "default":
        windows = default_windows(season, typical_length)
    if "auto" in {settings.lags, settings.windows}:
        lag, width = look_back(panel, season)
        lags = tuple(range(1, lag + 1)) if settings.lags == "auto" else lags
        windows = ((width,) if width > 1 else ()) if settings.windows == "auto" else windows
    return lags, windows, season_spans(season, typical_length)


def _further_seasons(panel: Panel, settings: PlanSettings, season: int) -> tuple[int, ...]:
    """Longer seasons that get features: with the base that repeats the shorter one, which is where they pay."""
    return further_seasons(panel, season) if settings.further_seasons and settings.base == "seasonal" else ()


def _holiday_labels(panel: Panel, settings: PlanSettings, country: str | None) -> tuple[str, ...]:
    """Names of days that the panel's rows can teach."""
    if not country or not panel.n_rows:
        return ()
    ends = int(panel.start.min()), int(panel.last.max())
    return hol.learnable_labels(panel.grid, *ends, country, settings.holidays_before, settings.holidays_after)


def _worth_learning(panel: Panel, season: int) -> np.ndarray:
    """Rows that were observed, in series that ever change (in all, where none does). Shape [rows] bool."""
    moving = ~panel.constant(season)
    return panel.observed & np.repeat(moving, panel.lengths) if moving.any() else panel.observed
