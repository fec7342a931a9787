"""Exponential smoothing in state-space form (ETS), one model a series, estimated by statsmodels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from automl.errors import LearnerError
from forecasting.learners.base import check_choices, gaussian_channels
from forecasting.learners.local import History, Local, Model, sane

if TYPE_CHECKING:
    from forecasting.panel import Block

_LEAST_ROWS, _LEAST_SEASONS = 2_000, 10
_LONGEST_SEASON = 366
_MAX_ITERATIONS = 100
_PATHS = 1_000
_TINY = 1e-9
_STRONG = 0.64
"""Seasonal strength from which a seasonal form is a must (Hyndman & Athanasopoulos, section 9.1, from M3 data)."""


@dataclass(frozen=True, slots=True)
class Form:
    """Which of the forms of Hyndman et al. (2008): error "A" / "M", trend "N" / "A" / "Ad", season "N" / "A" / "M"."""

    error: str
    trend: str
    season: str

    @classmethod
    def parse(cls, text: str) -> Form:
        """Read what `str` gives.

        Examples
        --------
        >>> str(Form.parse("MAdM"))
        'MAdM'
        """
        return cls(text[0], text[1:-1], text[-1])

    def __str__(self) -> str:
        return self.error + self.trend + self.season

    @property
    def multiplicative(self) -> bool:
        """Whether it needs strictly positive data."""
        return "M" in (self.error, self.season)

    def parameters(self, season: int) -> int:
        """Smoothing parameters, initial states and variance: what an information criterion counts."""
        trend = {"N": 0, "A": 2, "Ad": 3}[self.trend]
        return 3 + trend + (0 if self.season == "N" else season)


@dataclass(frozen=True, slots=True)
class Smoother:
    """A form with its parameters; steps its states through a series. Works on floats and on arrays of paths alike.

    Parameters
    ----------
    alpha, beta, gamma : gains of level, trend and season (gamma as in the error-correction form). phi : damping.
    """

    form: Form
    season: int
    alpha: float
    beta: float = 0.0
    gamma: float = 0.0
    phi: float = 1.0

    def run(self, y: np.ndarray) -> tuple[list[float], list[Any]]:
        """Filter a series [n]: one-step forecasts, and the states [level, trend, season ...] after the last row.

        The seasonal states come oldest first: the one for the next step leads.
        """
        level, trend, seasonal = initial_states(y, self.form, self.season)
        states: list[Any] = [level, trend, *seasonal]
        fitted = []
        for value in y.tolist():
            expected, states = self.step(states, value)
            fitted.append(expected)
        return fitted, states

    def step(self, states: list[Any], value: Any) -> tuple[Any, list[Any]]:
        """One-step forecast from these states, and the states after `value` was seen (the same list, moved on)."""
        level, trend, first = states[0], self.phi * states[1], states[2]
        base = level + trend
        share = self.gamma / (1 - self.alpha)
        slope = self.beta / self.alpha
        if self.form.season == "M":
            expected = base * first
            now = self.alpha * (value / first) + (1 - self.alpha) * base
            season = share * (value / now) + (1 - share) * first
        else:
            expected = base + first
            now = self.alpha * (value - first) + (1 - self.alpha) * base
            season = share * (value - now) + (1 - share) * first
        after = slope * (now - level) + (1 - slope) * trend
        del states[2]
        states.append(season)
        states[0], states[1] = now, after
        return expected, states

    def ahead(self, states: list[Any], horizon: int) -> np.ndarray:
        """Forecast without errors, shape [horizon]."""
        growth = np.cumsum(self.phi ** np.arange(1, horizon + 1))
        base = states[0] + growth * states[1]
        seasonal = np.asarray(states[2:])[np.arange(horizon) % (len(states) - 2)]
        return base * seasonal if self.form.season == "M" else base + seasonal

    def deviation(self, horizon: int) -> np.ndarray:
        """Standard deviation of the forecast error for errors of 1, additive forms only. Shape [horizon]."""
        j = np.arange(1, horizon)
        weights = self.alpha + self.beta * np.cumsum(self.phi**j)
        weights = weights + np.where(j % self.season == 0, self.gamma, 0.0)
        return np.sqrt(1 + np.concatenate([[0.0], np.cumsum(np.square(weights))]))

    def simulate(self, states: list[Any], errors: np.ndarray) -> np.ndarray:
        """Paths under errors [horizon, paths]; same shape."""
        paths = [np.full(errors.shape[1], s) for s in states]
        out = np.empty_like(errors)
        for h, error in enumerate(errors):
            base = paths[0] + self.phi * paths[1]
            expected = base * paths[2] if self.form.season == "M" else base + paths[2]
            # a multiplicative model lives on positive values
            value = np.maximum(expected * (1 + error) if self.form.error == "M" else expected + error, _TINY)
            out[h] = value
            _, paths = self.step(paths, value)
        return out


@dataclass(kw_only=True)
class StatsmodelsETS(Local):
    """ETS (Hyndman, Koehler, Ord & Snyder 2008), the form chosen by AICc among those admissible for the series.

    Multiplicative forms are admissible for strictly positive series only, seasonal ones from two seasons (and 10
    rows) on. Initial states follow a heuristic (there, section 2.6), the rest maximises the likelihood. Of a series,
    the last 10 seasons are used, but at least its last 2,000 rows. Quantiles: the form's own variance where errors
    and season are additive, else 1,000 simulated paths with fixed errors.

    Parameters
    ----------
    error : "auto", "add" or "mul". trend : "auto", "none" or "add". damped : "auto", True or False.
    season : "auto", "none", "add" or "mul".

    Examples
    --------
    >>> from forecasting.learners.base import FitContext
    >>> from forecasting.panel import Future, Panel
    >>> from forecasting.timegrid import TimeGrid
    >>> panel = Panel.from_arrays([np.arange(30.0)], TimeGrid.steps())
    >>> ets = StatsmodelsETS(trend="add", damped=False).fit(panel, FitContext(horizon=2))
    >>> ets.forecast(panel, Future.bare(panel, 2), ()).point.round(3).tolist()
    [[30.0, 31.0]]
    """

    error: str = "auto"
    trend: str = "auto"
    damped: str | bool = "auto"
    season: str = "auto"

    name: ClassVar[str] = "StatsmodelsETS"

    def __post_init__(self) -> None:
        options = {
            "error": ("auto", "add", "mul"),
            "trend": ("auto", "none", "add"),
            "damped": ("auto", True, False),
            "season": ("auto", "none", "add", "mul"),
        }
        check_choices(self, options)

    def most_rows(self, season: int) -> int:
        """Return 10 seasons, at least 2,000 rows."""
        return max(_LEAST_ROWS, _LEAST_SEASONS * season) if season <= _LONGEST_SEASON else _LEAST_ROWS

    def forms(self, y: np.ndarray, season: int) -> list[Form]:
        """Forms that the settings allow and a series [n] admits, simplest first."""
        errors = {"auto": "AM", "add": "A", "mul": "M"}[self.error]
        damped = {"auto": ["Ad"], True: ["Ad"], False: ["A"]}[self.damped]
        trends = {"auto": ["N", *damped], "none": ["N"], "add": damped}[self.trend]
        seasons = {"auto": "NAM", "none": "N", "add": "A", "mul": "M"}[self.season]
        cyclic = 1 < season <= _LONGEST_SEASON and len(y) >= max(2 * season, 10)
        # an information criterion looks one step ahead: on fine data it takes a damped trend for a strong season
        if cyclic and self.season == "auto" and seasonal_strength(y, season) > _STRONG:
            seasons = "AM"
        positive = bool((y > 0).all())
        everything = (Form(e, t, s) for t, s, e in product(trends, seasons if cyclic else "N", errors))
        # errors left to choose go with the season: mixed forms cost time and, on M3 and tourism data, gain nothing
        matched = (f for f in everything if self.error != "auto" or f.season in ("N", f.error))
        return [f for f in matched if positive or not f.multiplicative]

    def _estimate(self, history: History, horizon: int) -> Model:
        scale = float(np.abs(history.y).mean()) or 1.0
        y = history.y / scale
        if np.ptp(y) < _TINY:
            return {"form": "ANN", "alpha": 1.0 - 1e-4, "sigma": 0.0, "scale": scale, "season": 1}
        best: Model | None = None
        best_value = math.inf
        forms = self.forms(y, self._season)
        if not forms:
            raise LearnerError("no form is admissible: multiplicative ones need strictly positive values")
        for form in forms:
            value, model, point = _fit_form(y, form, self._season if form.season != "N" else 1, horizon)
            if value < best_value and sane(point, y):
                best, best_value = model, value
        if best is None:
            raise LearnerError("the forecasts of all admissible forms explode")
        return {**best, "scale": scale}

    def _predict(self, model: Model, history: History, ahead: Block, horizon: int, levels: tuple) -> np.ndarray:  # noqa: ARG002 - the shared form
        smoother = _smoother(model)
        y = history.y / model["scale"]
        if smoother.form.multiplicative and not (y > 0).all():
            raise LearnerError(f"form {smoother.form} needs strictly positive values")
        if len(y) < 2 * smoother.season:
            raise LearnerError(f"form {smoother.form} needs two seasons of history")
        _, states = smoother.run(y)
        point = smoother.ahead(states, horizon)
        if not smoother.form.multiplicative or not levels:
            spread = model["sigma"] * smoother.deviation(horizon)
            return model["scale"] * gaussian_channels(point[None], spread[None], levels)[0]
        # the same errors for every series: its forecast does not depend on its place in the panel
        errors = model["sigma"] * np.random.default_rng(self._seed).standard_normal((horizon, _PATHS))
        paths = smoother.simulate(states, errors)
        return model["scale"] * np.concatenate([point[:, None], np.quantile(paths, levels, axis=1).T], axis=1)


def initial_states(y: np.ndarray, form: Form, season: int) -> tuple[float, float, list[float]]:
    """Level, trend and seasonal states (oldest first) before the first row, by the heuristic of the book.

    Seasonal states are the mean deviations from a centred moving average over the first five seasons; level and trend
    a line through the first rows after they are taken out.
    """
    seasonal = _seasonal_start(y, form, season)
    head = y[: max(10, season)]
    cycle = np.resize(seasonal, len(head))
    adjusted = head / cycle if form.season == "M" else head - cycle
    if form.trend == "N":
        return float(adjusted.mean()), 0.0, seasonal.tolist()
    slope, level = np.polyfit(np.arange(1, len(adjusted) + 1), adjusted, 1)
    return float(level), float(slope), seasonal.tolist()


def seasonal_strength(y: np.ndarray, season: int) -> float:
    """Share of the detrended variance that a fixed season explains, 0..1 (Wang, Smith & Hyndman 2006).

    Examples
    --------
    >>> seasonal_strength(np.tile([1.0, 5.0, 3.0, 3.0], 5) + 0.1 * np.arange(20), 4) > 0.99
    True
    """
    deviation = _detrended(y[len(y) % season :], season, ratio=False).reshape(-1, season)
    rest = deviation - np.nanmean(deviation, axis=0)
    whole = float(np.nanvar(deviation))
    return max(0.0, 1 - float(np.nanvar(rest)) / whole) if whole > 0 else 0.0


def _seasonal_start(y: np.ndarray, form: Form, season: int) -> np.ndarray:
    if form.season == "N":
        return np.zeros(1)
    ratio = form.season == "M"
    deviation = _detrended(y[: min(5, len(y) // season) * season], season, ratio=ratio)
    mean = np.nanmean(deviation.reshape(-1, season), axis=0)
    return np.maximum(mean / mean.mean(), _TINY) if ratio else mean - mean.mean()


def _detrended(y: np.ndarray, season: int, *, ratio: bool) -> np.ndarray:
    """Difference from (or ratio to) a centred moving average over a season, NaN at both ends. Shape of y."""
    kernel = np.ones(season) if season % 2 else np.concatenate([[0.5], np.ones(season - 1), [0.5]])
    trend = np.convolve(y, kernel / season, mode="valid")
    out = np.full(len(y), np.nan)
    skip = (len(kernel) - 1) // 2
    part = slice(skip, skip + len(trend))
    out[part] = y[part] / trend if ratio else y[part] - trend
    return out


def _fit_form(y: np.ndarray, form: Form, season: int, horizon: int) -> tuple[float, Model, np.ndarray]:
    """AICc, model and forecast of one form; infinite AICc where it cannot be estimated."""
    from statsmodels.tsa.exponential_smoothing.ets import ETSModel

    long = {"N": None, "A": "add", "M": "mul"}
    level, trend, seasonal = initial_states(y, form, season)
    estimator = ETSModel(
        y,
        error=long[form.error],
        trend="add" if form.trend != "N" else None,
        damped_trend=form.trend == "Ad",
        seasonal=long[form.season],
        seasonal_periods=season if form.season != "N" else None,
        initialization_method="known",
        initial_level=level,
        initial_trend=trend if form.trend != "N" else None,
        initial_seasonal=np.array(seasonal) if form.season != "N" else None,
    )
    values = dict(
        zip(estimator.param_names, estimator.fit(disp=0, maxiter=_MAX_ITERATIONS, return_params=True), strict=False)
    )
    model: Model = {
        "form": str(form),
        "season": season,
        "alpha": float(values["smoothing_level"]),
        "beta": float(values.get("smoothing_trend", 0.0)),
        "gamma": float(values.get("smoothing_seasonal", 0.0)),
        "phi": float(values.get("damping_trend", 1.0)),
    }
    smoother = _smoother(model)
    fitted, states = smoother.run(y)
    expected = np.array(fitted)
    error = (y - expected) / (expected if form.error == "M" else 1.0)
    power = float(np.square(error).sum())
    n, k = len(y), form.parameters(season)
    model["sigma"] = math.sqrt(power / max(n - k, 1)) if power > 0 else 0.0
    spare = n - k - 1
    value = n * math.log(max(power / n, 1e-300)) + 2 * k + (2 * k * (k + 1) / spare if spare > 0 else math.inf)
    if form.error == "M":
        value += 2 * float(np.log(np.abs(expected)).sum())
    return (value if math.isfinite(power) else math.inf), model, smoother.ahead(states, horizon)


def _smoother(model: Model) -> Smoother:
    gains = {name: model[name] for name in ("alpha", "beta", "gamma", "phi") if name in model}
    return Smoother(Form.parse(model["form"]), int(model["season"]), **gains)
