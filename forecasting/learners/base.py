"""The learner protocol. Learners know nothing of search, files or progress bars."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, Self

import numpy as np

from automl.budget import Deadline
from automl.candidates import Registry
from automl.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from automl.trial import State
    from forecasting.panel import Forecast, Future, Panel

NewHistory = Literal["refilter", "refit", "ignored"]
"""What `forecast` does with values that came after `fit`: update the state, estimate anew, or nothing."""

Unseen = Literal["fit_on_the_fly", "global", "none"]
"""What `forecast` does with a series `fit` never saw."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitContext:
    """What a learner is told besides the data.

    Parameters
    ----------
    horizon : steps ahead it will be asked for (it must also answer longer requests).
    season : steps a season, 1 = none.
    seed, threads : random seed; how many threads the fit may use.
    deadline : the fit raises DeadlineExceededError instead of going on past it.
    country : ISO 3166 code for holidays, None = none.
    fits : how many fits like this one have to be done by the deadline (a trial has one a window).
    """

    horizon: int
    season: int = 1
    seed: int = 0
    threads: int = 1
    deadline: Deadline = field(default_factory=Deadline)
    country: str | None = None
    fits: int = 1


class Learner(Protocol):
    """One trainable forecaster; parameters are its constructor's keyword arguments (JSON scalars)."""

    name: ClassVar[str]
    new_history: ClassVar[NewHistory]
    unseen: ClassVar[Unseen]
    native_quantiles: ClassVar[bool]
    uses_covariates: ClassVar[bool]

    def fit(self, panel: Panel, context: FitContext) -> Self:
        """Learn from every row of the panel; only rows with `observed` are truth."""
        ...

    def forecast(self, panel: Panel, future: Future, quantiles: tuple[float, ...]) -> Forecast:
        """Forecast the steps after each series' last row. Pure: same arguments, same answer, no state change.

        `panel` may hold other series and later rows than the one `fit` saw; see `new_history` and `unseen`.
        """
        ...

    def inputs(self, panel: Panel) -> tuple[str, ...]:
        """Names of what a forecast of this fitted learner reads; nothing else has any influence.

        They are "target" (the history), "time", "holidays", "series" (which one it is), and covariates of `panel`.
        """
        ...

    def state(self) -> State:
        """The fitted learner as (JSON, arrays or native bytes)."""
        ...

    @classmethod
    def from_state(cls, settings: dict, blobs: dict[str, np.ndarray | bytes]) -> Self:
        """Build the fitted learner back."""
        ...


LEARNERS = Registry(
    "learner",
    {
        "Naive": "forecasting.learners.naive:Naive",
        "SeasonalNaive": "forecasting.learners.naive:SeasonalNaive",
        "Average": "forecasting.learners.naive:Average",
        "SeasonalAverage": "forecasting.learners.naive:SeasonalAverage",
        "SeasonalWindowAverage": "forecasting.learners.naive:SeasonalWindowAverage",
        "ExponentialSmoothing": "forecasting.learners.ets:ExponentialSmoothing",
        "Theta": "forecasting.learners.theta:Theta",
        "ComplexSmoothing": "forecasting.learners.ces:ComplexSmoothing",
        "Croston": "forecasting.learners.intermittent:Croston",
        "TSB": "forecasting.learners.intermittent:TSB",
        "ADIDA": "forecasting.learners.intermittent:ADIDA",
        "IMAPA": "forecasting.learners.intermittent:IMAPA",
        "MSTL": "forecasting.learners.mstl:MSTL",
        "AutoArima": "forecasting.learners.autoarima:AutoArima",
        "Arimax": "forecasting.learners.autoarima:Arimax",
        "StatsmodelsETS": "forecasting.learners.smoothing:StatsmodelsETS",
        "PmdArima": "forecasting.learners.arima:PmdArima",
        "Prophet": "forecasting.learners.prophet:Prophet",
        "LightGBM": "forecasting.learners.regression:LightGBM",
        "QuantileLightGBM": "forecasting.learners.quantile:QuantileLightGBM",
        "QuantileForest": "forecasting.learners.forest:QuantileForest",
        "ElasticNet": "forecasting.learners.scikit:ElasticNet",
        "RandomForest": "forecasting.learners.scikit:RandomForest",
        "ExtremeRandomTrees": "forecasting.learners.scikit:ExtremeRandomTrees",
        "KNN": "forecasting.learners.scikit:KNN",
        "LassoLars": "forecasting.learners.scikit:LassoLars",
        "SGD": "forecasting.learners.scikit:SGD",
        "DecisionTree": "forecasting.learners.scikit:DecisionTree",
        "GradientBoosting": "forecasting.learners.scikit:GradientBoosting",
        "XGBoost": "forecasting.learners.regression:XGBoost",
        "TCNForecaster": "forecasting.learners.tcn:TCNForecaster",
    },
    aliases={
        "ETS": "ExponentialSmoothing",
        "CES": "ComplexSmoothing",
        "ExtraTrees": "ExtremeRandomTrees",
        "XGBoostRegressor": "XGBoost",
        "ForecastTCN": "TCNForecaster",
        "TCN": "TCNForecaster",
        "ARIMA": "AutoArima",
    },
)


def gaussian_channels(point: np.ndarray, spread: np.ndarray, quantiles: tuple[float, ...]) -> np.ndarray:
    """Stack point forecasts with normal quantiles around them.

    Parameters
    ----------
    point, spread : shape [n, h]; spread is the standard deviation of the forecast error, target units.
    quantiles : ascending levels.

    Returns
    -------
    shape [n, h, 1 + len(quantiles)].

    Examples
    --------
    >>> gaussian_channels(np.zeros((1, 1)), np.ones((1, 1)), (0.1, 0.9)).round(2).tolist()
    [[[0.0, -1.28, 1.28]]]
    """
    from scipy.special import ndtri

    channels = np.empty((*point.shape, 1 + len(quantiles)))
    channels[:, :, 0] = point
    for k, q in enumerate(quantiles, 1):
        np.multiply(spread, ndtri(q), out=channels[:, :, k])
        channels[:, :, k] += point
    return channels


def inputs_of(learner: Learner, panel: Panel) -> tuple[str, ...]:
    """What a learner reads; one of the user's own that does not say is taken to read all that it may."""
    if hasattr(learner, "inputs"):
        return learner.inputs(panel)
    covariates = (*panel.known.names, *panel.past.names, *panel.static.names) if learner.uses_covariates else ()
    return ("target", "time", "series", *covariates)


def check_choices(learner: Learner, options: Mapping[str, Sequence[object]]) -> None:
    """Check settings that are one of a few values, by name.

    Raises
    ------
    ConfigError : one is none of them.
    """
    for name, known in options.items():
        value = getattr(learner, name)
        if value not in known:
            raise ConfigError(f"{name} of {learner.name} must be one of {tuple(known)}, got {value!r}.")


def check_quantiles(quantiles: tuple[float, ...]) -> tuple[float, ...]:
    """Return the levels sorted and without repeats.

    Raises
    ------
    ConfigError : a level lies outside (0, 1).
    """
    levels = tuple(sorted({float(q) for q in quantiles}))
    bad = [q for q in levels if not 0 < q < 1]
    if bad:
        raise ConfigError(f"quantiles must lie strictly between 0 and 1, got {bad}.")
    return levels
