"""Quantiles from out-of-sample residuals (split conformal prediction), and the last calibration of an ensemble.

Sources: Vovk, Gammerman & Shafer (2005); Romano, Patterson & Candes (2019) for calibrating given quantiles; Barber,
Candes, Ramdas & Tibshirani (2023) for weights that fade with age where data drift. Residuals are made alike before they
are pooled: over the series' scale, over the series' own share of error (shrunk to 1 where little is known), over the
growth of error with the step ahead. Errors of one window of one series go together, so that they count as fewer values
than they are (`independent`), and the finite-sample margin of the conformal rank is that of so many.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from automl.trial import State
    from forecasting.grain import Grain
    from forecasting.panel import Key, Panel

DEFAULT_LEVELS = (0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.975)
_ENOUGH_A_STEP = 200
_SHRINK_WINDOWS = 2.0
"""How many windows of its own errors a series needs to be believed half. Errors of one window go together."""

_LEAST_TO_CALIBRATE = 30
_POWERS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Powers tried by which errors grow with the forecast's size."""

_ENOUGH_TO_TELL = 200_000
"""Errors that tell a power well enough."""

_WINDOWS_THAT_TELL, _ERRORS_BEFORE = 3, 20.0
"""Windows from which they tell whether series err together; independent errors that factors are held back by."""

_FACTORS = tuple(sorted(np.geomspace(0.2, 5.0, 33).tolist(), key=lambda f: abs(np.log(f))))
"""Factors tried where values are mostly zero, nearest to 1 first."""

_NO_BETTER = 0.002
"""Shares nearer to a level by less than this are no reason for a factor further from 1."""

_USUAL, _FEW_SERIES = 24, 10
"""How many horizons back usual times reach; how many series average calm times half out."""

_FADE_FEW, _FADE_MANY, _MANY = 0.5, 0.2, 500
"""Weight of a window's residuals against those of the next newer one: less where the newest alone has many values."""


@dataclass(frozen=True, slots=True)
class Conformal:
    """Residual quantiles of one model.

    Parameters
    ----------
    levels : quantile levels. table : shape [h, len(levels)], quantiles of scaled residuals by step ahead.
    share : series key -> how large its errors are against the others', on top of its scale.
    typical : mean absolute scaled residual. usual : scale of a series that shows none; NaN = that of the others.
    power : by which errors grow with the forecast's size within a series, 0 = not at all, 1 = they are shares of it.
    """

    levels: tuple[float, ...]
    table: np.ndarray
    share: dict[Key, float]
    typical: float = math.nan
    usual: float = math.nan
    power: float = 0.0

    @classmethod
    def fit(
        cls,
        residual: np.ndarray,
        point: np.ndarray,
        scale: np.ndarray,
        ids: tuple[Key, ...],
        levels: tuple[float, ...],
    ) -> Self:
        """Learn from residuals.

        Parameters
        ----------
        residual : shape [w, n, h], actual - forecast, NaN where there is none. point : the forecasts, same shape.
        scale : shape [w, n] > 0 or NaN. ids : n keys. levels : quantile levels.
        """
        newest = int(np.count_nonzero(np.isfinite(residual[0])))
        weight = np.broadcast_to(fading(len(residual), newest)[:, None, None], residual.shape)
        power = growing(residual, point, scale)
        e = residual / error_unit(point, scale, power)
        good = np.isfinite(e)
        horizon = e.shape[2]
        if not good.any():
            return cls(levels, np.zeros((horizon, len(levels))), {})
        size = np.abs(np.where(good, e, 0.0))
        typical = size.sum() / good.sum()
        share = _shares(e, float(typical))
        e = e / share[None, :, None]
        part = independent(e)
        by_step = e.transpose(2, 0, 1).reshape(horizon, -1)
        weights = weight.transpose(2, 0, 1).reshape(horizon, -1)
        if np.isfinite(by_step).sum(axis=1).min() >= _ENOUGH_A_STEP:
            # one value of each window and series a step: nothing in a row goes together
            table = np.stack([_quantiles(row, w, levels, 1.0) for row, w in zip(by_step, weights, strict=True)])
        else:
            growth = _growth(by_step)[:, None]
            table = growth * _quantiles((by_step / growth).ravel(), weights.ravel(), levels, part)[None, :]
        shares = {key: float(s) for key, s in zip(ids, share, strict=True)}
        return cls(levels, table, shares, float(typical), power=power)

    def for_series(
        self, residual: np.ndarray, point: np.ndarray, scale: np.ndarray, ids: tuple[Key, ...], usual: float
    ) -> Self:
        """Return the same table with the shares of other series, each by its own residuals alone.

        Parameters
        ----------
        residual, point, scale, ids : as for `fit`. usual : scale of a series that shows none.
        """
        e = residual / error_unit(point, scale, self.power)
        share = _shares(e, self.typical)
        return replace(self, share={key: float(s) for key, s in zip(ids, share, strict=True)}, usual=usual)

    def channels(self, point: np.ndarray, scale: np.ndarray, ids: tuple[Key, ...]) -> np.ndarray:
        """Point forecasts with quantiles around them.

        Parameters
        ----------
        point : shape [n, h]; steps beyond the learned horizon widen with the square root of time.
        scale : shape [n], the series' scale now (NaN = none known: the median of the others).

        Returns
        -------
        shape [n, h, 1 + len(levels)]; quantiles never cross.
        """
        horizon = point.shape[1]
        known = len(self.table)
        steps = np.minimum(np.arange(horizon), known - 1)
        stretch = np.sqrt(np.maximum(np.arange(1, horizon + 1), known) / known)
        finite = scale[np.isfinite(scale)]
        usual = self.usual if math.isfinite(self.usual) else np.median(finite) if len(finite) else 0.0
        scale = np.where(np.isfinite(scale), scale, usual)
        width = _grown(point, scale[:, None], self.power) * np.array([self.share.get(key, 1.0) for key in ids])[:, None]
        offsets = (self.table[steps] * stretch[:, None])[None] * width[:, :, None]
        quantiles = np.sort(point[:, :, None] + offsets, axis=2)
        return np.concatenate([point[:, :, None], quantiles], axis=2)

    def state(self) -> State:
        """As (JSON, arrays)."""
        share = [[list(key), value] for key, value in self.share.items()]
        numbers = {name: getattr(self, name) for name in ("typical", "usual", "power")}
        return {"levels": list(self.levels), "share": share, **numbers}, {"table": self.table}

    @classmethod
    def from_state(cls, settings: dict[str, Any], blobs: dict[str, Any]) -> Self:
        """Read what `state` gave."""
        share = {tuple(key): float(value) for key, value in settings["share"]}
        table = np.asarray(blobs["table"], dtype=float)
        # models of earlier versions say none of these
        typical, usual = (float(settings.get(name, math.nan)) for name in ("typical", "usual"))
        return cls(tuple(settings["levels"]), table, share, typical, usual, float(settings.get("power", 0.0)))


def error_unit(point: np.ndarray, scale: np.ndarray, power: float) -> np.ndarray:
    """Unit of the errors of forecasts [w, n, h] of series with a scale [w, n]; NaN where the scale is not above 0."""
    return _grown(point, np.where(np.isfinite(scale) & (scale > 0), scale, np.nan)[:, :, None], power)


def _grown(point: np.ndarray, scale: np.ndarray, power: float) -> np.ndarray:
    """The scale, and the more of it the larger the forecast; a series that never changes stays without width."""
    if power == 0:
        return scale
    return np.where(scale == 0, 0.0, scale ** (1 - power) * (np.abs(point) + scale) ** power)


def growing(residual: np.ndarray, point: np.ndarray, scale: np.ndarray) -> float:
    """Power by which errors grow with the size of the forecast: the likeliest of `_POWERS`, 0 if it is not by much.

    Errors are taken for Laplace's with a width that goes with unit and series; another power than 0 must be worth its
    parameter (Akaike 1974), errors of one window and series counting as `independent` says.

    Parameters
    ----------
    residual, point, scale : as for `Conformal.fit`; of many series some are looked at.
    """
    some = slice(None, None, max(1, residual.size // _ENOUGH_TO_TELL))
    residual, point, scale = residual[:, some], point[:, some], scale[:, some]
    lost, alike = [], []
    for power in _POWERS:
        unit = error_unit(point, scale, power)
        e = residual / unit
        good = np.isfinite(e)
        size = np.abs(np.where(good, e, 0.0))
        if not size.any():
            return 0.0
        share = _shares(e, float(size.sum() / good.sum()))[None, :, None]
        width = np.broadcast_to(unit * share, e.shape)[good]
        lost.append(float(np.log(width).mean() + math.log((size / share)[good].mean())))
        alike.append(e / share)
    best = int(np.argmin(lost))
    worth = independent(alike[best]) * np.isfinite(alike[best]).sum()
    return _POWERS[best] if (lost[0] - lost[best]) * worth > 1 else 0.0


def _shares(e: np.ndarray, typical: float) -> np.ndarray:
    """How large the scaled residuals [w, n, h] of each series are against `typical`, 1 where little is known. [n]."""
    if not typical > 0:
        return np.ones(e.shape[1])
    good = np.isfinite(e)
    count = good.sum(axis=(0, 2))
    # window after window: a sum over both axes adds up in another order where there is one series alone
    total = sum(np.abs(np.where(good, e, 0.0)).sum(axis=2), start=np.zeros(e.shape[1]))
    prior = _SHRINK_WINDOWS * e.shape[2]
    return np.asarray((total + prior * typical) / ((count + prior) * typical))


def _growth(by_step: np.ndarray) -> np.ndarray:
    """Smoothed mean absolute residual by step ahead, relative to its mean. Shape [h]."""
    good = np.isfinite(by_step)
    size = np.where(good, np.abs(by_step), 0.0).sum(axis=1)
    count = good.sum(axis=1)
    width = max(1, len(size) // 4) | 1
    pad = width // 2
    kernel = np.ones(width)
    smooth = np.convolve(np.pad(size, pad), kernel, mode="valid") / np.maximum(
        np.convolve(np.pad(count, pad), kernel, mode="valid"), 1
    )
    mean = smooth.mean()
    return np.maximum(smooth / mean, 0.1) if mean > 0 else np.ones(len(size))


def fading(windows: int, size: int) -> np.ndarray:
    """Weights of windows, newest first, where the newest holds `size` values. Shape [windows].

    Examples
    --------
    >>> fading(3, 48).tolist(), fading(2, 9000).tolist()
    ([1.0, 0.5, 0.25], [1.0, 0.2])
    """
    return (_FADE_MANY if size >= _MANY else _FADE_FEW) ** np.arange(windows)


def independent(e: np.ndarray) -> float:
    """Which part of so many values residuals that go together are worth, 0..1: 1 over the design effect (Kish 1965).

    Parameters
    ----------
    e : shape [w, n, h], NaN where there is none. Those of one window and series go together, in sign or in size; by
        how much is the intraclass correlation of a one-way analysis of variance, the larger of both.

    Examples
    --------
    >>> together = np.repeat([[[1.0], [5.0], [-3.0]]], 4, axis=2)
    >>> independent(together)
    0.25
    """
    groups = e.reshape(-1, e.shape[2])
    good = np.isfinite(groups)
    groups, good = groups[good.any(axis=1)], good[good.any(axis=1)]
    size = good.sum(axis=1)
    if size.sum() == 0:
        return 1.0
    mean_size = size.sum() / len(size)
    if len(groups) < 2 or mean_size <= 1:
        return float(1 / mean_size)
    filled = np.where(good, groups, 0.0)
    together = max(_intraclass(filled, good, size), _intraclass(np.abs(filled), good, size))
    return float(1 / (1 + (mean_size - 1) * together))


def _intraclass(values: np.ndarray, good: np.ndarray, size: np.ndarray) -> float:
    """Share of the variance that lies between groups. Arrays [groups, values], 0 where not good."""
    k, total = len(size), size.sum()
    mean = values.sum(axis=1) / size
    within = np.where(good, np.square(values - mean[:, None]), 0.0).sum() / max(total - k, 1)
    between = float((size * np.square(mean - values.sum() / total)).sum()) / (k - 1)
    typical = (total - np.square(size).sum() / total) / (k - 1)
    spread = between + (typical - 1) * within
    return float(np.clip((between - within) / spread, 0.0, 1.0)) if spread > 0 else 0.0


def _quantiles(values: np.ndarray, weights: np.ndarray, levels: tuple[float, ...], part: float) -> np.ndarray:
    """Weighted quantiles with the conformal rank: outer ones lie further out, the fewer independent values there are.

    NaN are ignored. part : see `independent`.
    """
    good = np.isfinite(values)
    values, weights = values[good], weights[good]
    if not len(values):
        return np.zeros(len(levels))
    return weighted_quantile(values, weights, _ranks(weights, levels, part))


def _ranks(weights: np.ndarray, levels: tuple[float, ...], part: float) -> np.ndarray:
    """Levels moved outwards as the conformal rank (n + 1) q / n says, n independent values."""
    n = part * weights.sum() ** 2 / np.square(weights).sum()  # as many values of equal weight would say as much
    rank = np.array([(n + 1) * q / n if q > 0.5 else 1 - (n + 1) * (1 - q) / n if q < 0.5 else q for q in levels])
    return np.clip(rank, 0.0, 1.0)


def weighted_quantile(values: np.ndarray, weights: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Quantiles of weighted values, straight lines between the middles of their steps. Shape of `levels`.

    Examples
    --------
    >>> weighted_quantile(np.array([3.0, 1.0, 2.0]), np.ones(3), np.array([0.5, 1.0])).tolist()
    [2.0, 3.0]
    """
    order = np.argsort(values, kind="stable")
    values, weights = values[order], weights[order]
    middle = (np.cumsum(weights) - weights / 2) / weights.sum()
    return np.interp(levels, middle, values)


def leave_one_window_out(
    residual: np.ndarray, point: np.ndarray, scale: np.ndarray, ids: tuple[Key, ...], levels: tuple[float, ...]
) -> np.ndarray:
    """Quantile channels of every window, each learned from the other windows.

    With one window alone, each half of the series is learned from the other half; with one series too, from itself.

    Parameters
    ----------
    residual, point : shape [w, n, h]. scale : shape [w, n].

    Returns
    -------
    shape [w, n, h, 1 + len(levels)].
    """
    w, n, _ = point.shape
    out = np.empty((*point.shape, 1 + len(levels)))
    if w > 1:
        for k in range(w):
            others = np.arange(w) != k
            fitted = Conformal.fit(residual[others], point[others], scale[others], ids, levels)
            out[k] = fitted.channels(point[k], scale[k], ids)
        return out
    side = np.arange(n) % 2
    pairs = [(side == 0, side == 1), (side == 1, side == 0)] if n > 3 else [(side >= 0, side >= 0)]
    for source, target in pairs:
        fitted = Conformal.fit(residual[:, source], point[:, source], scale[:, source], _pick(ids, source), levels)
        out[0, target] = fitted.channels(point[0, target], scale[0, target], _pick(ids, target))
    return out


def _pick(ids: tuple[Key, ...], mask: np.ndarray) -> tuple[Key, ...]:
    return tuple(ids[i] for i in np.flatnonzero(mask))


def fit_stretch(
    y: np.ndarray,
    channels: np.ndarray,
    levels: tuple[float, ...],
    weights: np.ndarray | None = None,
    part: float = 1.0,
    grain: Grain | None = None,
) -> np.ndarray:
    """Factor by level that makes out-of-sample coverage right: quantile = point + factor * (given - point).

    Parameters
    ----------
    y : shape [r, h], NaN where unobserved. channels : shape [r, h, 1 + len(levels)]. weights : shape [r], of rows.
    part : what the rows are worth, see `independent`. grain : values that occur, where many are zero: a quantile may
        then have too few values below it and too many at it, and the factor nearest to 1 that is right is taken.

    Returns
    -------
    shape [len(levels)], each in 0.2..5; 1 for the median and where nothing can be learned.
    """
    point = channels[:, :, 0]
    out = np.ones(len(levels))
    row_weights = np.broadcast_to((np.ones(len(y)) if weights is None else weights)[:, None], y.shape)
    for k, q in enumerate(levels):
        width = channels[:, :, 1 + k] - point
        if grain is not None:
            out[k] = 1.0 if q == 0.5 else _settled_factor(y, point, width, q, row_weights, part, grain)
            continue
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = (y - point) / width
        side = width > 0 if q > 0.5 else width < 0
        good = np.isfinite(ratio) & side
        if q == 0.5 or good.sum() < _LEAST_TO_CALIBRATE:
            continue
        rank = _ranks(row_weights[good], (max(q, 1 - q),), part)
        factor = weighted_quantile(ratio[good], row_weights[good], rank)
        out[k] = np.clip(factor[0], 0.2, 5.0)
    return out


def held_back(factors: np.ndarray, errors: np.ndarray, part: float) -> np.ndarray:
    """Factors of `fit_stretch` held back to 1 where the errors they were learned from say little.

    Series that move together err together: the errors of a window may be worth no more than those of one series.

    Parameters
    ----------
    factors : shape [levels]. errors : scaled, shape [w, n, h], NaN where there is none. part : what they are worth, see
        `independent`.
    """
    worth = part
    if len(errors) >= _WINDOWS_THAT_TELL:
        worth = min(part, independent(errors.reshape(len(errors), 1, -1)))
    size = worth * np.isfinite(errors).sum()
    return np.asarray(factors ** (size / (size + _ERRORS_BEFORE)))


def _settled_factor(
    y: np.ndarray,
    point: np.ndarray,
    width: np.ndarray,
    level: float,
    weights: np.ndarray,
    part: float,
    grain: Grain,
) -> float:
    """Factor nearest to 1 with the level between the shares of values below the quantile and at or below it.

    Where no factor has it there, the one that misses by least.
    """
    good = np.isfinite(y)
    if good.sum() < _LEAST_TO_CALIBRATE:
        return 1.0
    y, point, width, weights = y[good], point[good], width[good], weights[good]
    (wanted,) = _ranks(weights, (level,), part)
    best, least = 1.0, np.inf
    for factor in _FACTORS:
        quantile = grain.settle(np.maximum(point + factor * width, 0.0))
        below, upto = (float(np.average(hit, weights=weights)) for hit in (y < quantile, y <= quantile))
        miss = max(below - wanted, wanted - upto, 0.0)
        if miss < least - _NO_BETTER:
            best, least = factor, miss
        if miss == 0:
            break
    return best


def calmness(panel: Panel, cuts: list[np.ndarray], horizon: int, season: int, fade: np.ndarray) -> float:
    """How much harder to forecast usual times were than the windows that intervals are learned from, 1..2.

    The yardstick is the error of the seasonal naive forecast over the last 24 horizons. A few windows of one series may
    happen to be calm ones; many series average that out, so that the factor shrinks to 1 as they become more.

    Parameters
    ----------
    cuts : training rows of each window, newest first. fade : weights of these windows.
    """

    def difficulty(cut: np.ndarray) -> np.ndarray:
        ahead = np.arange(horizon)
        back = season * (ahead // season + 1)
        rows = cut[:, None] + ahead
        inside = (rows < panel.lengths[:, None]) & (rows - back >= 0)
        rows = panel.indptr[:-1, None] + np.where(inside, rows, 0)
        last = np.where(inside, rows - back, rows)
        good = inside & panel.observed[rows] & panel.observed[last]
        count = good.sum(axis=1)
        total = np.where(good, np.abs(panel.y[rows] - panel.y[last]), 0.0).sum(axis=1)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    usual = np.stack([difficulty(panel.lengths - horizon * (k + 1)) for k in range(_USUAL)])
    lately = np.stack([difficulty(cut) for cut in cuts])
    weight = np.where(np.isfinite(lately), fade[: len(cuts), None], 0.0)
    late = (weight * np.nan_to_num(lately)).sum(axis=0) / np.maximum(weight.sum(axis=0), 1e-12)
    count = np.isfinite(usual).sum(axis=0)
    often = np.nan_to_num(usual).sum(axis=0) / np.maximum(count, 1)
    ready = (late > 0) & (often > 0) & (count > len(cuts))
    if not ready.any():
        return 1.0
    ratio = float(np.exp(np.log(often[ready] / late[ready]).mean()))
    believed = _FEW_SERIES / (_FEW_SERIES + np.count_nonzero(ready) - 1)
    return float(np.clip(ratio, 1.0, 2.0) ** believed)


def stretch(channels: np.ndarray, factors: np.ndarray, floor: np.ndarray | None = None) -> np.ndarray:
    """Apply `fit_stretch`; quantiles are put in order and kept above `floor` (shape [n], -inf = none)."""
    point = channels[:, :, :1]
    quantiles = np.sort(point + (channels[:, :, 1:] - point) * factors, axis=2)
    if floor is not None:
        quantiles = np.maximum(quantiles, floor[:, None, None])
    return np.concatenate([point, quantiles], axis=2)


def at_levels(channels: np.ndarray, known: tuple[float, ...], wanted: tuple[float, ...]) -> np.ndarray:
    """Quantile channels at other levels: straight lines between known ones on the scale of normal scores.

    Returns
    -------
    shape [n, h, 1 + len(wanted)]; beyond the outermost known level the line goes on.

    Examples
    --------
    >>> at_levels(np.array([[[0.0, -1.28155, 1.28155]]]), (0.1, 0.9), (0.5, 0.9)).round(3).tolist()
    [[[0.0, 0.0, 1.282]]]
    """
    if wanted == known:
        return channels
    from scipy.special import ndtri

    x, points = ndtri(np.array(known)), ndtri(np.array(wanted))
    quantiles = channels[:, :, 1:]
    at = np.clip(np.searchsorted(x, points) - 1, 0, len(x) - 2)
    share = (points - x[at]) / (x[at + 1] - x[at])
    out = quantiles[:, :, at] * (1 - share) + quantiles[:, :, at + 1] * share
    return np.concatenate([channels[:, :, :1], np.sort(out, axis=2)], axis=2)
