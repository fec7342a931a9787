"""Forecast metrics on arrays of windows x series. Unobserved values never count."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from automl.candidates import Registry
from automl.errors import ConfigError
from automl.metrics import Direction, Metric

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from automl.metrics import UserMetric
    from forecasting.panel import Panel

LOG = logging.getLogger("forecasting")
TEST_RANGE = "_test_range"
_SAME_LEVEL = 1e-6


@dataclass(frozen=True, slots=True)
class Truth:
    """What forecasts are scored against; a row is one series in one window.

    Parameters
    ----------
    y : shape [r, h], target units. mask : shape [r, h] bool, True where y counts.
    mae_scale, rmse_scale : shape [r], in-sample error of the seasonal naive forecast (mean absolute, root mean square).
    value_range : shape [r], range of the training target.
    levels : quantile levels of the forecasts' channels 1...
    """

    y: np.ndarray
    mask: np.ndarray
    mae_scale: np.ndarray
    rmse_scale: np.ndarray
    value_range: np.ndarray
    levels: tuple[float, ...] = ()

    def rows(self, which: np.ndarray) -> Truth:
        """Only some rows."""
        return Truth(
            self.y[which],
            self.mask[which],
            self.mae_scale[which],
            self.rmse_scale[which],
            self.value_range[which],
            self.levels,
        )


def naive_scales(panel: Panel, season: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """In-sample scale of each series: mean absolute and root mean square seasonal change, and the range. Shapes [n].

    A series no longer than a season, or one that repeats its season exactly, is measured by one-step changes; pairs
    with an unobserved value do not count; NaN where nothing changes or nothing is observed (such a series cannot be
    scaled and is left out of scaled metrics). Source: Hyndman & Koehler (2006), IJF 22(4), section 3.
    """
    mae, rmse = changes(panel, np.where(panel.lengths > season, season, 1))
    if season > 1 and not (mae > 0).all():
        short = changes(panel, np.ones(panel.n_series, dtype=np.int64))
        mae, rmse = (np.where(mae > 0, long, step) for long, step in zip((mae, rmse), short, strict=True))
    series = panel.series_of_rows()
    high, low = np.full(panel.n_series, -np.inf), np.full(panel.n_series, np.inf)
    np.maximum.at(high, series[panel.observed], panel.y[panel.observed])
    np.minimum.at(low, series[panel.observed], panel.y[panel.observed])
    spread = high - low
    return tuple(np.where(np.isfinite(s) & (s > 0), s, np.nan) for s in (mae, rmse, spread))  # type: ignore[return-value]


def changes(panel: Panel, step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean absolute and root mean square change over `step` rows of each series, observed pairs only. Shapes [n]."""
    n, sizes = panel.n_series, panel.lengths
    rows = np.arange(panel.n_rows)
    back = rows - np.repeat(step, sizes)
    inside = (back >= np.repeat(panel.indptr[:-1], sizes)) & panel.observed & panel.observed[np.maximum(back, 0)]
    change = np.where(inside, panel.y - panel.y[np.maximum(back, 0)], 0.0)
    series = panel.series_of_rows()
    count = np.bincount(series, weights=inside, minlength=n)
    absolute = np.bincount(series, weights=np.abs(change), minlength=n)
    # squares of huge values may not overflow: scale by the largest change first
    largest = np.maximum(np.abs(change).max(initial=0.0), np.finfo(float).tiny)
    square = np.bincount(series, weights=np.square(change / largest), minlength=n)
    with np.errstate(divide="ignore", invalid="ignore"):
        return absolute / count, largest * np.sqrt(square / count)


def row_mean(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Mean of each row over its valid entries, NaN where there is none."""
    count = mask.sum(axis=1)
    return np.where(count > 0, np.where(mask, values, 0.0).sum(axis=1) / np.maximum(count, 1), np.nan)


def known_mean(values: np.ndarray) -> float:
    """Mean of what is finite, NaN where nothing is."""
    good = values[np.isfinite(values)]
    return float(good.mean()) if len(good) else float("nan")


def _ratio(top: float, bottom: float) -> float:
    return float(top / bottom) if bottom > 0 else float("nan")


def mase(truth: Truth, forecast: np.ndarray) -> float:
    """Mean absolute scaled error, mean over rows; 1 = as good as the seasonal naive forecast in sample."""
    return known_mean(row_mean(np.abs(truth.y - forecast[:, :, 0]), truth.mask) / truth.mae_scale)


def rmsse(truth: Truth, forecast: np.ndarray) -> float:
    """Root mean squared scaled error, mean over rows."""
    error = (truth.y - forecast[:, :, 0]) / truth.rmse_scale[:, None]
    return known_mean(np.sqrt(row_mean(np.square(error), truth.mask)))


def wape(truth: Truth, forecast: np.ndarray) -> float:
    """Weighted absolute percentage error: sum of absolute errors over sum of absolute actuals."""
    error = np.abs(truth.y - forecast[:, :, 0])[truth.mask].sum()
    return _ratio(error, np.abs(truth.y)[truth.mask].sum())


def bias(truth: Truth, forecast: np.ndarray) -> float:
    """Sum of (forecast - actual) over sum of absolute actuals; 0 is best, positive = too high."""
    error = (forecast[:, :, 0] - truth.y)[truth.mask].sum()
    return _ratio(error, np.abs(truth.y)[truth.mask].sum())


def smape(truth: Truth, forecast: np.ndarray) -> float:
    """Symmetric mean absolute percentage error in percent, 0..200; a 0 forecast of a 0 counts as no error."""
    size = np.abs(truth.y) + np.abs(forecast[:, :, 0])
    error = np.abs(truth.y - forecast[:, :, 0])
    return known_mean(row_mean(200 * np.where(size > 0, error / np.where(size > 0, size, 1), 0.0), truth.mask))


def wql(truth: Truth, forecast: np.ndarray) -> float:
    """Weighted quantile loss: 2 x pinball loss, summed, mean over levels, over the sum of absolute actuals.

    Without quantile levels the point forecast is scored as the median.
    """
    total = np.mean([2 * _pinball_losses(truth, forecast, k).sum() for k in range(max(1, len(truth.levels)))])
    return _ratio(float(total), np.abs(truth.y)[truth.mask].sum())


def pinball(truth: Truth, forecast: np.ndarray) -> float:
    """Pinball loss, mean over values and levels, in target units; the point forecast is the median without levels."""
    if not truth.mask.any():
        return float("nan")
    return float(np.mean([_pinball_losses(truth, forecast, k).mean() for k in range(max(1, len(truth.levels)))]))


def _pinball_losses(truth: Truth, forecast: np.ndarray, k: int) -> np.ndarray:
    """Pinball loss of level number k at every observed value. Source: Koenker & Bassett (1978), Econometrica 46(1)."""
    q, channel = (truth.levels[k], 1 + k) if truth.levels else (0.5, 0)
    error = (truth.y - forecast[:, :, channel])[truth.mask]
    return np.maximum(q * error, (q - 1) * error)


def _at_level(level: float) -> Callable[[Truth, np.ndarray], float]:
    """Mean pinball loss of one level; NaN where the forecast has no such level."""

    def metric(truth: Truth, forecast: np.ndarray) -> float:
        k = _place(truth.levels, level)
        return float("nan") if k is None or not truth.mask.any() else float(_pinball_losses(truth, forecast, k).mean())

    return metric


def _place(levels: tuple[float, ...], level: float) -> int | None:
    near = [k for k, q in enumerate(levels) if abs(q - level) < _SAME_LEVEL]
    return near[0] if near else None


def coverage(truth: Truth, forecast: np.ndarray, width: float) -> float:
    """Share of actuals inside the central interval of `width` percent; width / 100 is best; NaN without its levels."""
    low, high = (_place(truth.levels, 0.5 + sign * width / 200) for sign in (-1, 1))
    if low is None or high is None or not truth.mask.any():
        return float("nan")
    inside = (truth.y >= forecast[:, :, 1 + low]) & (truth.y <= forecast[:, :, 1 + high])
    return float(inside[truth.mask].mean())


def _pooled(name: str) -> Callable[[Truth, np.ndarray], float]:
    """A regression metric over all values of all series together."""

    def metric(truth: Truth, forecast: np.ndarray) -> float:
        from automl.metrics import REGRESSION

        y, y_hat = truth.y[truth.mask], forecast[:, :, 0][truth.mask]
        return float(REGRESSION.load(name).function(y, y_hat)) if len(y) > 1 else float("nan")

    return metric


def _normalised(kind: str) -> Callable[[Truth, np.ndarray], float]:
    """Error of each series over the range of its training target, then the plain mean over series."""

    def metric(truth: Truth, forecast: np.ndarray) -> float:
        y, y_hat = truth.y, forecast[:, :, 0]
        if kind == "mae":
            error = row_mean(np.abs(y - y_hat), truth.mask)
        elif kind == "rmse":
            error = np.sqrt(row_mean(np.square(y - y_hat), truth.mask))
        elif kind == "median":
            error = np.array(
                [np.median(e[m]) if m.any() else np.nan for e, m in zip(np.abs(y - y_hat), truth.mask, strict=True)]
            )
        else:
            logs = np.log1p(np.maximum(y, 0)) - np.log1p(np.maximum(y_hat, 0))
            negative = ((y < 0) & truth.mask).any(axis=1)
            error = np.where(negative, np.nan, np.sqrt(row_mean(np.square(logs), truth.mask)))
        return known_mean(error / truth.value_range)

    return metric


_POOLED: tuple[tuple[str, Direction], ...] = (
    ("mean_absolute_error", "min"),
    ("root_mean_squared_error", "min"),
    ("median_absolute_error", "min"),
    ("mean_absolute_percentage_error", "min"),
    ("root_mean_squared_log_error", "min"),
    ("r2_score", "max"),
    ("explained_variance", "max"),
    ("spearman_correlation", "max"),
)
_ALL = (
    Metric("mase", "min", mase, "mean absolute scaled error"),
    Metric("rmsse", "min", rmsse, "root mean squared scaled error"),
    Metric("wape", "min", wape, "sum of absolute errors over sum of absolute actuals"),
    Metric("smape", "min", smape, "symmetric mean absolute percentage error, percent"),
    Metric("wql", "min", wql, "weighted quantile loss"),
    Metric("pinball", "min", pinball, "pinball loss, mean over values and levels"),
    Metric("normalized_root_mean_squared_error", "min", _normalised("rmse"), "per series, over its training range"),
    Metric("normalized_mean_absolute_error", "min", _normalised("mae"), "per series, over its training range"),
    Metric("normalized_median_absolute_error", "min", _normalised("median"), "per series, over its training range"),
    Metric(
        "normalized_root_mean_squared_log_error", "min", _normalised("rmsle"), "per series, over its training range"
    ),
    *(Metric(name, direction, _pooled(name), "over all values together") for name, direction in _POOLED),
)
REPORTED: dict[str, Callable[[Truth, np.ndarray], float]] = {"bias": bias, "coverage_80": partial(coverage, width=80.0)}
"""Shown beside the metrics, not to choose by: their best value is neither the lowest nor the highest."""

METRICS = {m.name: m for m in _ALL}
SCALED = frozenset(n for n in METRICS if n in {"mase", "rmsse"} or n.startswith("normalized_"))
"""Undefined for series that never change."""
CORRELATIONS = frozenset({"r2_score", "explained_variance", "spearman_correlation"})
"""Undefined where the actual values are all equal."""

_ALIASES = {
    "mae": "mean_absolute_error",
    "rmse": "root_mean_squared_error",
    "mape": "mean_absolute_percentage_error",
    "nrmse": "normalized_root_mean_squared_error",
    "nmae": "normalized_mean_absolute_error",
    "r2": "r2_score",
}
_NAMES = Registry("metric", {m.name: m.name for m in _ALL}, aliases=_ALIASES)
_PINBALL = re.compile(r"pinball_(0?\.\d+)", re.IGNORECASE)
_TAKEN = frozenset(
    {
        "model", "learner", "params", "score", "metric", "windows", "fit_s", "predict_s", "seconds", "peak_mb",
        "fallbacks", "status", "reason", "number",
    }
)  # fmt: skip
"""Columns of a leaderboard that are no metrics."""


def find_metric(name: str) -> Metric:
    """Metric by name; case and short names (`MAE`, `nrmse`) are understood, `pinball_0.1` is that of one level.

    Examples
    --------
    >>> find_metric("MASE").name, find_metric("rmse").name, find_metric("pinball_.10").name
    ('mase', 'root_mean_squared_error', 'pinball_0.1')
    """
    level = level_of(name)
    if level is None:
        return METRICS[_NAMES.resolve(name)]
    return Metric(f"pinball_{level:g}", "min", _at_level(level), f"pinball loss at level {level:g}")


def level_of(name: str) -> float | None:
    """Quantile level of a metric such as `pinball_0.1`, None for any other name."""
    found = _PINBALL.fullmatch(str(name))
    return float(found[1]) if found and 0 < float(found[1]) < 1 else None


def needs_quantiles(name: str) -> bool:
    """Whether a metric looks at more than the point forecast."""
    return name in {"wql", "pinball"} or level_of(name) is not None


def own_metric(user: UserMetric) -> Metric:
    """Metric of a function of the user's: it gets all observed values of all series of a window together.

    Raises
    ------
    ConfigError : its name is taken.
    """
    if user.name in _NAMES or user.name in {*REPORTED, *_TAKEN} or level_of(user.name) is not None:
        raise ConfigError(
            f"a metric of yours is named {user.name!r}, which means something else here. "
            f"Fix: UserMetric('my_{user.name}', function)."
        )

    def score(truth: Truth, forecast: np.ndarray) -> float:
        y, y_hat = truth.y[truth.mask], forecast[:, :, 0][truth.mask]
        return user.score(y, y_hat) if len(y) else float("nan")

    return Metric(user.name, user.direction, score, "a function of the user's, over all values together")


def forgiving(metric: Metric) -> Metric:
    """Metric that is NaN, with a warning, where a function of the user's fails: on one value, say, or on equal ones."""

    def score(truth: Truth, forecast: np.ndarray) -> float:
        try:
            return float(metric.function(truth, forecast))
        except Exception as error:  # noqa: BLE001 - whatever the user's function raises
            LOG.warning("%s is missing for %d values: %r", metric.name, int(truth.mask.sum()), error)
            return float("nan")

    return replace(metric, function=score)


def all_scores(truth: Truth, forecast: np.ndarray, also: Sequence[Metric] = ()) -> dict[str, float]:
    """Every metric of one set of rows, and others besides."""
    metrics = METRICS | {m.name: m for m in also}
    out = {name: float(metric.function(truth, forecast)) for name, metric in metrics.items()}
    return {**out, **{name: float(function(truth, forecast)) for name, function in REPORTED.items()}}


def later_scores(truth: Truth, forecast: np.ndarray, also: Sequence[Metric] = ()) -> dict[str, float]:
    """Every metric on data after training: each level's pinball loss and each interval's coverage too.

    Normalised errors come twice: over the range of each series in training under their own names, and over its range
    in the rows scored here as `..._test_range`.
    """
    levels = truth.levels
    out = all_scores(truth, forecast, also)
    out |= {f"pinball_{q:g}": _at_level(q)(truth, forecast) for q in levels}
    widths = [round(200 * (q - 0.5), 6) for q in levels if q > 0.5 and _place(levels, 1 - q) is not None]
    out |= {f"coverage_{width:g}": coverage(truth, forecast, width) for width in widths}
    here = replace(truth, value_range=own_ranges(truth))
    normalised = [m for name, m in METRICS.items() if name.startswith("normalized_")]
    return out | {f"{m.name}{TEST_RANGE}": float(m.function(here, forecast)) for m in normalised}


def own_ranges(truth: Truth) -> np.ndarray:
    """Range of each row's observed actual values, NaN where it is 0. Shape [r]."""
    high = np.where(truth.mask, truth.y, -np.inf).max(axis=1)
    spread = high - np.where(truth.mask, truth.y, np.inf).min(axis=1)
    return np.where(np.isfinite(spread) & (spread > 0), spread, np.nan)
