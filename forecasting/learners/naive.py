"""Naive and average forecasts: the yardsticks every other learner has to beat. Vectorised over series."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from automl.errors import ConfigError
from forecasting.learners.base import FitContext, NewHistory, Unseen, check_quantiles, gaussian_channels
from forecasting.learners.local import last_season, root_mean_square
from forecasting.panel import Forecast

if TYPE_CHECKING:
    from automl.trial import State
    from forecasting.panel import Future, Panel


@dataclass(kw_only=True)
class Flat(ABC):
    """What the four share: nothing is learned but the season, so every series of any panel can be forecast.

    Quantiles are normal, with the root mean square of in-sample errors as spread, growing with the step ahead as the
    method's model says (Hyndman & Athanasopoulos, Forecasting: Principles and Practice, 3rd ed., section 5.5). A
    series too short to have an in-sample error gets quantiles equal to its point forecast.

    Parameters
    ----------
    season : steps, such as the week of hourly data; 0 = the season of the run.
    """

    season: int = 0

    _season: int = field(default=1, init=False, repr=False, compare=False)

    name: ClassVar[str]
    new_history: ClassVar[NewHistory] = "refilter"
    unseen: ClassVar[Unseen] = "fit_on_the_fly"
    native_quantiles: ClassVar[bool] = False
    uses_covariates: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not (isinstance(self.season, int) and self.season >= 0):
            raise ConfigError(f"season of {self.name} must be a whole number >= 0, got {self.season!r}.")

    def fit(self, panel: Panel, context: FitContext) -> Self:  # noqa: ARG002 - the protocol's form
        """Remember the season.

        Raises
        ------
        DeadlineExceededError : time is already over.
        """
        context.deadline.check(f"fitting {self.name}")
        self._season = max(1, self.season or context.season)
        return self

    def forecast(self, panel: Panel, future: Future, quantiles: tuple[float, ...]) -> Forecast:
        """Forecast the steps after each series' last row: values of shape [n_series, horizon, 1 + n_quantiles]."""
        levels = check_quantiles(quantiles)
        point, spread, short = self._rule(panel, np.arange(future.horizon))
        return Forecast(gaussian_channels(point, spread, levels), levels, short)

    def inputs(self, panel: Panel) -> tuple[str, ...]:  # noqa: ARG002 - the protocol's form
        """Return "target": a forecast reads the series' own history alone."""
        return ("target",)

    def state(self) -> State:
        """Return the season; there is nothing else."""
        return {"season": self._season}, {}

    @classmethod
    def from_state(cls, settings: dict[str, Any], blobs: dict[str, Any]) -> Self:  # noqa: ARG003 - the protocol's form
        """Build the learner back."""
        learner = cls()
        learner._season = int(settings["season"])
        return learner

    @abstractmethod
    def _rule(self, panel: Panel, ahead: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Point [n, h], spread [n, h], and which series [n] are too short for the method; `ahead` counts from 0."""
        ...


@dataclass(kw_only=True)
class Naive(Flat):
    """The last value, for ever.

    Examples
    --------
    >>> from forecasting.panel import Future, Panel
    >>> from forecasting.timegrid import TimeGrid
    >>> panel = Panel.from_arrays([np.array([1.0, 5.0, 3.0])], TimeGrid.steps())
    >>> Naive().fit(panel, FitContext(horizon=2)).forecast(panel, Future.bare(panel, 2), ()).point.tolist()
    [[3.0, 3.0]]
    """

    name: ClassVar[str] = "Naive"

    def _rule(self, panel: Panel, ahead: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return last_season(panel, ahead, 1)


@dataclass(kw_only=True)
class SeasonalNaive(Flat):
    """The last season, repeated. A series shorter than a season repeats its last value and is marked as fallback."""

    name: ClassVar[str] = "SeasonalNaive"

    def _rule(self, panel: Panel, ahead: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return last_season(panel, ahead, self._season)


@dataclass(kw_only=True)
class Average(Flat):
    """The mean of all observed values."""

    name: ClassVar[str] = "Average"

    def _rule(self, panel: Panel, ahead: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        mean, count = _mean(panel, panel.observed)
        rows = np.flatnonzero(panel.observed)
        series = panel.series_of_rows()[rows]
        error = root_mean_square(panel.y[rows] - mean[series], series, panel.n_series)
        # one degree of freedom went into the mean, whose own error is added
        spread = error * np.sqrt(count / np.maximum(count - 1, 1) * (1 + 1 / np.maximum(count, 1)))
        shape = (panel.n_series, len(ahead))
        none = np.zeros(panel.n_series, dtype=bool)
        return np.broadcast_to(mean[:, None], shape), np.broadcast_to(spread[:, None], shape), none


@dataclass(kw_only=True)
class SeasonalAverage(Flat):
    """The mean of the latest season's observed values. A series shorter than a season is marked as fallback."""

    name: ClassVar[str] = "SeasonalAverage"

    def _rule(self, panel: Panel, ahead: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        m = self._season
        position = np.arange(panel.n_rows) - np.repeat(panel.indptr[:-1], panel.lengths)
        latest = position >= np.repeat(panel.lengths - m, panel.lengths)
        mean, _ = _mean(panel, latest & panel.observed)
        # error of the same rule one step ahead, at every observed row that has a whole season behind it
        rows = np.flatnonzero((position >= m) & panel.observed)
        behind = np.zeros(len(rows))
        for lag in range(1, m + 1):
            behind += panel.y[rows - lag]
        spread = root_mean_square(panel.y[rows] - behind / m, panel.series_of_rows()[rows], panel.n_series)
        growth = np.sqrt(1 + ahead / m)
        return np.repeat(mean[:, None], len(ahead), axis=1), spread[:, None] * growth, panel.lengths < m


@dataclass(kw_only=True)
class SeasonalWindowAverage(Flat):
    """At each place of the season the mean of its last few observed values (without a season: a window average).

    A series shorter than a season is marked as fallback.

    Parameters
    ----------
    window : how many seasons the mean reaches back.

    Examples
    --------
    >>> from forecasting.panel import Future, Panel
    >>> from forecasting.timegrid import TimeGrid
    >>> panel = Panel.from_arrays([np.array([9.0, 9, 1, 5, 3, 7])], TimeGrid.steps())
    >>> learner = SeasonalWindowAverage(window=2).fit(panel, FitContext(horizon=3, season=2))
    >>> learner.forecast(panel, Future.bare(panel, 3), ()).point.tolist()
    [[2.0, 6.0, 2.0]]
    """

    window: int = 3

    name: ClassVar[str] = "SeasonalWindowAverage"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (isinstance(self.window, int) and self.window >= 1):
            raise ConfigError(f"window of {self.name} must be a whole number >= 1, got {self.window!r}.")

    def _rule(self, panel: Panel, ahead: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        short = panel.lengths < self._season
        m = np.where(short, 1, self._season)
        end = panel.indptr[1:][:, None]
        rows = end - m[:, None] + ahead % m[:, None]
        base = panel.y[rows]
        total, count = np.zeros(rows.shape), np.zeros(rows.shape)
        for back in range(self.window):
            at = rows - back * m[:, None]
            inside = at >= panel.indptr[:-1][:, None]
            at = np.where(inside, at, rows)
            good = inside & panel.observed[at]
            # distances from the latest value: sums of large, nearly equal values would lose digits
            total += np.where(good, panel.y[at] - base, 0.0)
            count += good
        _, spread, _ = last_season(panel, ahead, self._season)
        # changes over a season have twice the variance of errors, to which that of the mean is added
        factor = np.sqrt(0.5 * (1 + 1 / np.maximum(count, 1)))
        return base + total / np.maximum(count, 1), spread * factor, short

    def state(self) -> State:
        """Return season and window."""
        return {"season": self._season, "window": self.window}, {}

    @classmethod
    def from_state(cls, settings: dict[str, Any], blobs: dict[str, Any]) -> Self:  # noqa: ARG003 - the protocol's form
        """Build the learner back."""
        learner = cls(window=int(settings["window"]))
        learner._season = int(settings["season"])
        return learner


def _mean(panel: Panel, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over the masked rows of each series (its last value where none is masked) and how many they are."""
    series = panel.series_of_rows()
    count = np.bincount(series, weights=mask, minlength=panel.n_series)
    # distances from the last value: sums of large, nearly equal values would lose digits
    last = panel.y[panel.indptr[1:] - 1]
    total = np.bincount(series, weights=np.where(mask, panel.y - last[series], 0.0), minlength=panel.n_series)
    return last + total / np.maximum(count, 1), count
