"""What one-model-a-series learners share: the loop, the time it may take, and falling back in the open."""

from __future__ import annotations

import json
import warnings
from abc import ABC, abstractmethod
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from automl.budget import Deadline
from automl.errors import LearnerError
from forecasting.learners.base import FitContext, NewHistory, Unseen, check_quantiles, gaussian_channels
from forecasting.pace import Pace
from forecasting.panel import Forecast

if TYPE_CHECKING:
    from collections.abc import Iterator

    from automl.trial import State
    from forecasting.panel import Block, Future, Key, Panel
    from forecasting.timegrid import TimeGrid

Model = dict[str, Any]
"""A fitted series: JSON values only."""

_LEAST_TIMED = 3
LEAST_ROWS = 4
"""A series with fewer rows is not modelled but falls back."""

_TOO_SHORT = f"fewer than {LEAST_ROWS} rows"

BAND = 3.0
"""How many ranges beyond what was seen a forecast may go."""

_FAILURES = (ArithmeticError, LookupError, RuntimeError, ValueError, LearnerError)


@dataclass(frozen=True, slots=True)
class History:
    """The recent rows of one series.

    Parameters
    ----------
    y : shape [rows], target units, imputed. observed : shape [rows]. first : grid step of row 0.
    known : covariates of these rows. grid : the time grid.
    """

    y: np.ndarray
    observed: np.ndarray
    first: int
    known: Block
    grid: TimeGrid


def band(history: np.ndarray) -> tuple[float, float]:
    """Lowest and highest forecast that is still believed: 3 ranges beyond what `history` [rows] holds.

    Examples
    --------
    >>> band(np.array([10.0, 20.0]))
    (-20.0, 50.0)
    """
    low, high = bands(history, np.array([0, len(history)]))
    return float(low[0]), float(high[0])


def bands(y: np.ndarray, indptr: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest forecast that is believed of each series of a flat array. Shapes [n]."""
    low, high = np.minimum.reduceat(y, indptr[:-1]), np.maximum.reduceat(y, indptr[:-1])
    # a hair of width for constant series, whose forecast is the constant up to rounding
    reach = np.maximum(BAND * (high - low), 1e-6 * np.maximum(np.abs(low), np.abs(high)))
    return low - reach, high + reach


def sane(forecast: np.ndarray, history: np.ndarray) -> bool:
    """Whether point forecasts [h] are finite and inside the `band` of the series' recent history [rows].

    Examples
    --------
    >>> y = np.array([10.0, 20.0])
    >>> [sane(np.array([f]), y) for f in (15.0, 51.0, np.nan)]
    [True, False, False]
    """
    low, high = band(history)
    return bool(np.isfinite(forecast).all() and (forecast >= low).all() and (forecast <= high).all())


def last_season(panel: Panel, ahead: np.ndarray, season: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Repeat each series' last season (season 1: last value); a series shorter than that repeats its last value.

    Parameters
    ----------
    ahead : shape [h], steps after the origin counted from 0. season : steps, >= 1.

    Returns
    -------
    point, spread : shape [n, h], target units; spread is the root mean square change over a season, growing with the
        root of the seasons ahead. short : shape [n], series shorter than a season.
    """
    short = panel.lengths < season
    cycle = np.where(short, 1, season)
    end = panel.indptr[1:]
    point = panel.y[(end - cycle)[:, None] + ahead % cycle[:, None]]
    position = np.arange(panel.n_rows) - np.repeat(panel.indptr[:-1], panel.lengths)
    lag = np.repeat(cycle, panel.lengths)
    rows = np.flatnonzero(position >= lag)
    # an imputed value repeats its neighbour: counted, it would make the method look better than it is
    rows = rows[panel.observed[rows] & panel.observed[rows - lag[rows]]]
    change = panel.y[rows] - panel.y[rows - lag[rows]]
    spread = root_mean_square(change, panel.series_of_rows()[rows], panel.n_series)
    return point, spread[:, None] * np.sqrt(ahead // cycle[:, None] + 1.0), short


def root_mean_square(error: np.ndarray, series: np.ndarray, n_series: int) -> np.ndarray:
    """Root mean square of errors by series number, 0 where there are none. Shape [n_series]."""
    count = np.bincount(series, minlength=n_series)
    power = np.bincount(series, weights=np.square(error), minlength=n_series)
    return np.sqrt(power / np.maximum(count, 1))


@dataclass(kw_only=True)
class Local(ABC):
    """One model a series; subclasses estimate and forecast a single one.

    A series that cannot be estimated, or whose forecast leaves the `band`, is forecast by its last season (or last
    value) instead: `Forecast.fallback` marks it, `fallbacks` counts the reasons met in `fit`. Quantiles are held
    inside the band. Only the last `most_rows(season)` rows of a series are used.
    """

    _season: int = field(default=1, init=False, repr=False, compare=False)
    _seed: int = field(default=0, init=False, repr=False, compare=False)
    _country: str | None = field(default=None, init=False, repr=False, compare=False)
    _deadline: Deadline = field(default_factory=Deadline, init=False, repr=False, compare=False)
    _models: dict[Key, Model] = field(default_factory=dict, init=False, repr=False, compare=False)
    _failed: dict[Key, str] = field(default_factory=dict, init=False, repr=False, compare=False)

    name: ClassVar[str]
    new_history: ClassVar[NewHistory] = "refilter"
    unseen: ClassVar[Unseen] = "fit_on_the_fly"
    native_quantiles: ClassVar[bool] = True
    uses_covariates: ClassVar[bool] = False

    # -- for subclasses -----------------------------------------------------------------------------------------------

    @abstractmethod
    def most_rows(self, season: int) -> int:
        """How many of the latest rows of a series are used."""
        ...

    @abstractmethod
    def _estimate(self, history: History, horizon: int) -> Model:
        """Fit one series; raises LearnerError (or what the library raises) when it cannot."""
        ...

    @abstractmethod
    def _predict(self, model: Model, history: History, ahead: Block, horizon: int, levels: tuple) -> np.ndarray:
        """Channels [horizon, 1 + levels] of one series; `ahead` holds its covariates."""
        ...

    def _prepare(self, panel: Panel) -> None:  # noqa: B027 - most learners have nothing to check
        """Check settings against the panel before the loop, outside of what falls back."""

    # -- protocol -----------------------------------------------------------------------------------------------------

    def fit(self, panel: Panel, context: FitContext) -> Self:
        """Fit every series.

        Raises
        ------
        DeadlineExceededError : time is over, or the first series show that it will not do.
        """
        context.deadline.check(f"fitting {self.name}")
        self._season, self._seed, self._country = max(1, context.season), context.seed, context.country
        self._deadline = context.deadline
        self._models, self._failed = {}, {}
        self._prepare(panel)
        recent = panel.tail(self.most_rows(self._season))
        pace = Pace(f"fitting {self.name}", recent.lengths + 1, context.deadline, least=_LEAST_TIMED, fits=context.fits)
        with _quiet():
            for i, history in enumerate(_histories(recent)):
                model, reason = self._try(history, context.horizon)
                if model is None:
                    self._failed[panel.ids[i]] = reason
                else:
                    self._models[panel.ids[i]] = model
                # the first one loads libraries
                pace.begin(1) if i == 0 else pace.done(i, i + 1)
                if i + 1 < panel.n_series:
                    pace.check()
        self._deadline = Deadline()
        return self

    def forecast(self, panel: Panel, future: Future, quantiles: tuple[float, ...]) -> Forecast:
        """Forecast the steps after each series' last row: values of shape [n_series, horizon, 1 + n_quantiles]."""
        levels = check_quantiles(quantiles)
        recent = panel.tail(self.most_rows(self._season))
        values = np.full((panel.n_series, future.horizon, 1 + len(levels)), np.nan)
        with _quiet():
            for i, history in enumerate(_histories(recent)):
                ahead = future.known.take(np.arange(i * future.horizon, (i + 1) * future.horizon))
                channels = self._one(panel.ids[i], history, ahead, future.horizon, levels)
                if channels is not None:
                    values[i] = channels
        fallback = np.isnan(values[:, 0, 0])
        if fallback.any():
            rest = recent.select(np.flatnonzero(fallback))
            point, spread, _ = last_season(rest, np.arange(future.horizon), self._season)
            values[fallback] = gaussian_channels(point, spread, levels)
        return Forecast(values, levels, fallback)

    def inputs(self, panel: Panel) -> tuple[str, ...]:  # noqa: ARG002 - the protocol's form
        """Return "target": a forecast reads the series' own history alone."""
        return ("target",)

    @property
    def fallbacks(self) -> dict[str, int]:
        """Reason -> number of series that could not be fitted."""
        return dict(Counter(self._failed.values()))

    def state(self) -> State:
        """Settings, and one JSON line a fitted series."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.init}
        context = {"season": self._season, "seed": self._seed, "country": self._country}
        lines = [json.dumps([list(key), model]) for key, model in self._models.items()]
        failed = [[list(key), reason] for key, reason in self._failed.items()]
        return {"params": own, "context": context, "failed": failed}, {"models": "\n".join(lines).encode()}

    @classmethod
    def from_state(cls, settings: dict[str, Any], blobs: dict[str, Any]) -> Self:
        """Build the fitted learner back."""
        learner = cls(**settings["params"])
        context = settings["context"]
        learner._season, learner._seed = int(context["season"]), int(context["seed"])
        learner._country = context["country"]
        rows = [json.loads(line) for line in bytes(blobs["models"]).decode().splitlines()]
        learner._models = {tuple(key): model for key, model in rows}
        learner._failed = {tuple(key): reason for key, reason in settings["failed"]}
        return learner

    # -- one series ---------------------------------------------------------------------------------------------------

    def _try(self, history: History, horizon: int) -> tuple[Model | None, str]:
        """Model of a series, or None and why not."""
        if len(history.y) < LEAST_ROWS:
            return None, _TOO_SHORT
        try:
            return self._estimate(history, horizon), ""
        except _FAILURES as error:
            text = str(error).strip().splitlines()
            return None, f"{type(error).__name__}: {text[0][:120] if text else 'no message'}"

    def _one(
        self, key: Key, history: History, ahead: Block, horizon: int, levels: tuple[float, ...]
    ) -> np.ndarray | None:
        """Channels of a series, None where it has to fall back."""
        if key in self._failed and not (self._failed[key] == _TOO_SHORT and len(history.y) >= LEAST_ROWS):
            return None
        model = self._models.get(key)
        if model is None:
            model, _ = self._try(history, horizon)
        if model is None:
            return None
        try:
            channels = self._predict(model, history, ahead, horizon, levels)
        except _FAILURES:
            return None
        if not (sane(channels[:, 0], history.y) and np.isfinite(channels).all()):
            return None
        return np.clip(channels, *band(history.y))


def _histories(panel: Panel) -> Iterator[History]:
    for i in range(panel.n_series):
        rows = np.arange(panel.indptr[i], panel.indptr[i + 1])
        y = np.ascontiguousarray(panel.y[rows])
        yield History(y, panel.observed[rows], int(panel.start[i]), panel.known.take(rows), panel.grid)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence numerical warnings of estimation: a fit that fails shows as a fallback."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield
