"""What learners on compiled kernels share: one pass over all series, arrays instead of objects, falling back openly."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from forecasting.learners.base import FitContext, NewHistory, Unseen, check_quantiles, gaussian_channels
from forecasting.learners.local import LEAST_ROWS, bands, last_season
from forecasting.panel import Forecast

if TYPE_CHECKING:
    from automl.trial import State
    from forecasting.panel import Future, Key, Panel

_MOST_ROWS, _MOST_SEASONS = 2_000, 10

Model = dict[str, np.ndarray]
"""Fitted parameters: name -> array whose first axis is the series. `reason` [n] int64 is always among them."""

FITTED, TOO_SHORT, INADMISSIBLE, EXPLODED = 0, 1, 2, 3
"""Values of `reason`. A learner may add its own from 10 on, told in `reasons`."""


@dataclass(kw_only=True)
class Batch(ABC):
    """One model a series, all of them fitted and forecast by kernels in one pass.

    A series that cannot be estimated, or whose forecast leaves the band of 3 ranges beyond what was seen, is forecast
    by its last season (or last value) instead: `Forecast.fallback` marks it, `fallbacks` counts the reasons met in
    `fit`. Quantiles are held inside the band. Only the last `most_rows(season)` rows of a series are used.
    """

    _season: int = field(default=1, init=False, repr=False, compare=False)
    _seed: int = field(default=0, init=False, repr=False, compare=False)
    _ids: dict[Key, int] = field(default_factory=dict, init=False, repr=False, compare=False)
    _model: Model = field(default_factory=dict, init=False, repr=False, compare=False)

    name: ClassVar[str]
    new_history: ClassVar[NewHistory] = "refilter"
    unseen: ClassVar[Unseen] = "fit_on_the_fly"
    native_quantiles: ClassVar[bool] = True
    uses_covariates: ClassVar[bool] = False
    reasons: ClassVar[dict[int, str]] = {
        TOO_SHORT: f"fewer than {LEAST_ROWS} rows",
        INADMISSIBLE: "no form is admissible",
        EXPLODED: "the forecasts of all choices explode",
    }

    # -- for subclasses -----------------------------------------------------------------------------------------------

    def most_rows(self, season: int) -> int:
        """How many of the latest rows of a series are used: 10 seasons, at least 2,000."""
        return max(_MOST_ROWS, _MOST_SEASONS * season)

    @abstractmethod
    def _fit(self, panel: Panel, context: FitContext) -> Model:
        """Estimate every series of a panel, all of which have at least 4 rows."""
        ...

    @abstractmethod
    def _forecast(self, model: Model, panel: Panel, future: Future, levels: tuple[float, ...]) -> np.ndarray:
        """Channels [n_series, horizon, 1 + levels] from the parameters of the same series, NaN where it cannot."""
        ...

    # -- protocol -----------------------------------------------------------------------------------------------------

    def fit(self, panel: Panel, context: FitContext) -> Self:
        """Fit every series.

        Raises
        ------
        DeadlineExceededError : time is over, or the first series show that it will not do.
        """
        context.deadline.check(f"fitting {self.name}")
        self._season, self._seed, self._model = max(1, context.season), context.seed, {}
        self._model = self._estimate(panel.tail(self.most_rows(self._season)), context)
        self._ids = {key: i for i, key in enumerate(panel.ids)}
        return self

    def forecast(self, panel: Panel, future: Future, quantiles: tuple[float, ...]) -> Forecast:
        """Forecast the steps after each series' last row: values of shape [n_series, horizon, 1 + n_quantiles]."""
        levels = check_quantiles(quantiles)
        recent = panel.tail(self.most_rows(self._season))
        model = self._for(recent, future.horizon)
        ready = np.flatnonzero((model["reason"] == FITTED) & (recent.lengths >= LEAST_ROWS))
        if 0 < len(ready) == panel.n_series:
            values = within_band(self._forecast(model, recent, future, levels), recent)
        else:
            values = np.full((panel.n_series, future.horizon, 1 + len(levels)), np.nan)
        if 0 < len(ready) < panel.n_series:
            part = recent.select(ready)
            channels = self._forecast(_rows(model, ready), part, future.select(ready), levels)
            values[ready] = within_band(channels, part)
        fallback = ~np.isfinite(values).all(axis=(1, 2))
        if fallback.any():
            point, spread, _ = last_season(
                recent.select(np.flatnonzero(fallback)), np.arange(future.horizon), self._season
            )
            values[fallback] = gaussian_channels(point, spread, levels)
        return Forecast(values, levels, fallback)

    def inputs(self, panel: Panel) -> tuple[str, ...]:  # noqa: ARG002 - the protocol's form
        """Return "target": a forecast reads the series' own history alone."""
        return ("target",)

    @property
    def fallbacks(self) -> dict[str, int]:
        """Reason -> number of series that could not be fitted."""
        codes, counts = np.unique(self._model.get("reason", np.empty(0, dtype=np.int64)), return_counts=True)
        return {self.reasons[int(c)]: int(n) for c, n in zip(codes, counts, strict=True) if c != FITTED}

    @property
    def rejected(self) -> int:
        """Choices that `fit` rejected for the next best, because their forecasts left the band."""
        return int(self._model["rejected"].sum()) if "rejected" in self._model else 0

    def state(self) -> State:
        """Settings, and one array a parameter."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.init}
        context = {"season": self._season, "seed": self._seed}
        return {"params": own, "context": context, "ids": [list(key) for key in self._ids]}, dict(self._model)

    @classmethod
    def from_state(cls, settings: dict[str, Any], blobs: dict[str, Any]) -> Self:
        """Build the fitted learner back."""
        learner = cls(**settings["params"])
        learner._season, learner._seed = int(settings["context"]["season"]), int(settings["context"]["seed"])
        learner._ids = {tuple(key): i for i, key in enumerate(settings["ids"])}
        learner._model = dict(blobs)
        return learner

    # -- inside -------------------------------------------------------------------------------------------------------

    def _estimate(self, recent: Panel, context: FitContext) -> Model:
        """Fit the series that are long enough; the others are marked."""
        long = recent.lengths >= LEAST_ROWS
        if long.all():
            return self._fit(recent, context)
        fitted = self._fit(recent.select(np.flatnonzero(long)), context)
        whole = {k: np.zeros((recent.n_series, *v.shape[1:]), dtype=v.dtype) for k, v in fitted.items()}
        for name, values in fitted.items():
            whole[name][long] = values
        whole["reason"][~long] = TOO_SHORT
        return whole

    def _for(self, recent: Panel, horizon: int) -> Model:
        """Parameters of the series of a panel; those that `fit` never saw, or saw with too few rows, are fitted now."""
        at = np.array([self._ids.get(key, -1) for key in recent.ids], dtype=np.int64)
        grown = (self._model["reason"][at] == TOO_SHORT) & (recent.lengths >= LEAST_ROWS)
        at[grown] = -1
        new = np.flatnonzero(at < 0)
        if not len(new):
            return self._model if np.array_equal(at, np.arange(len(self._ids))) else _rows(self._model, at)
        fresh = self._estimate(recent.select(new), FitContext(horizon=horizon, season=self._season, seed=self._seed))
        model = {}
        for name, values in fresh.items():
            out = np.zeros((len(at), *values.shape[1:]), dtype=values.dtype)
            out[new] = values
            # shapes differ only where `fit` could fit no series at all
            if name in self._model and self._model[name].shape[1:] == values.shape[1:]:
                out[at >= 0] = self._model[name][at[at >= 0]]
            model[name] = out
        return model


def _rows(model: Model, at: np.ndarray) -> Model:
    return {name: values[at] for name, values in model.items()}


def within_band(channels: np.ndarray, panel: Panel) -> np.ndarray:
    """Hold channels [n, h, 1 + q] inside each series' band, in place; a series whose point leaves it is all NaN."""
    low, high = (side[:, None] for side in bands(panel.y, panel.indptr))
    point = channels[:, :, 0]
    sane = (np.isfinite(point) & (point >= low) & (point <= high)).all(axis=1)
    np.clip(channels, low[:, :, None], high[:, :, None], out=channels)
    channels[~sane] = np.nan
    return channels
