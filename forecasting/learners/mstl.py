"""Several seasons taken out by LOESS, the rest forecast by exponential smoothing or ARIMA."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from automl.errors import ConfigError
from forecasting.learners.base import LEARNERS, FitContext, NewHistory, Unseen, check_quantiles
from forecasting.panel import Forecast

if TYPE_CHECKING:
    from automl.trial import State
    from forecasting.panel import Future, Key, Panel

_INNER: dict[str, tuple[str, dict[str, Any]]] = {
    "ETS": ("ExponentialSmoothing", {"season": "none"}),
    "AutoArima": ("AutoArima", {"seasonal": False}),
}
_LONGER = {24: 168, 48: 336, 96: 672, 7: 365}
"""Season within a day or week -> the next longer one."""

_ROUNDS = 2
_LEAST_ROWS, _LEAST_SEASONS = 2_000, 10


@dataclass(kw_only=True)
class MSTL:
    """MSTL (Bandara, Hyndman & Bergmeir 2021): seasons by repeated STL, each going on as its last cycle was.

    Without any season it is the trend learner alone. Quantiles are those of the trend learner. Newer rows change the
    decomposition, so the trend learner is fitted anew where there are any.

    Parameters
    ----------
    seasons : steps, joined by commas, or "auto": the season of the data and the next longer one (hours: day and week;
        days: week and year) where the typical series shows two of it. trend_learner : "ETS" or "AutoArima".

    Examples
    --------
    >>> from forecasting.panel import Future, Panel
    >>> from forecasting.timegrid import TimeGrid
    >>> y = np.tile([1.0, 5.0, 3.0, 3.0], 10)
    >>> panel = Panel.from_arrays([y], TimeGrid.steps())
    >>> learner = MSTL().fit(panel, FitContext(horizon=4, season=4))
    >>> learner.forecast(panel, Future.bare(panel, 4), ()).point.round(3).tolist()
    [[1.0, 5.0, 3.0, 3.0]]
    """

    seasons: str = "auto"
    trend_learner: str = "ETS"

    _used: tuple[int, ...] = field(default=(), init=False, repr=False, compare=False)
    _last: dict[Key, int] = field(default_factory=dict, init=False, repr=False, compare=False)
    _inner: Any = field(default=None, init=False, repr=False, compare=False)

    name: ClassVar[str] = "MSTL"
    new_history: ClassVar[NewHistory] = "refit"
    unseen: ClassVar[Unseen] = "fit_on_the_fly"
    native_quantiles: ClassVar[bool] = False
    uses_covariates: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.trend_learner not in _INNER:
            raise ConfigError(f"trend_learner of MSTL must be 'ETS' or 'AutoArima', got {self.trend_learner!r}.")
        if self.seasons != "auto":
            try:
                good = all(int(m) >= 2 for m in self.seasons.split(","))
            except (ValueError, AttributeError):
                good = False
            if not good:
                raise ConfigError(f"seasons of MSTL must be 'auto' or numbers such as '24,168', got {self.seasons!r}.")

    def fit(self, panel: Panel, context: FitContext) -> Self:
        """Take the seasons out of every series and fit the trend learner on the rest.

        Raises
        ------
        DeadlineExceededError : time is over, or the first series show that it will not do.
        """
        context.deadline.check(f"fitting {self.name}")
        self._used = self._seasons(panel, context.season)
        recent = self._recent(panel)
        adjusted, _ = self._adjusted(recent, context)
        self._inner = self._trend().fit(adjusted, replace(context, season=1))
        self._last = dict(zip(panel.ids, panel.last.tolist(), strict=True))
        return self

    def forecast(self, panel: Panel, future: Future, quantiles: tuple[float, ...]) -> Forecast:
        """Forecast the steps after each series' last row: values of shape [n_series, horizon, 1 + n_quantiles]."""
        recent = self._recent(panel)
        adjusted, cycles = self._adjusted(recent, None)
        trend = self._inner
        if any(self._last.get(key, last) != last for key, last in zip(panel.ids, panel.last.tolist(), strict=True)):
            trend = self._trend().fit(adjusted, FitContext(horizon=future.horizon))
        inner = trend.forecast(adjusted, future, check_quantiles(quantiles))
        ahead, total, at = np.arange(future.horizon), np.zeros((panel.n_series, future.horizon)), 0
        for m in self._used:
            total += cycles[:, at + ahead % m]
            at += m
        np.add(inner.values, total[:, :, None], out=inner.values)
        return Forecast(inner.values, inner.quantiles, inner.fallback)

    def inputs(self, panel: Panel) -> tuple[str, ...]:
        """Return what the trend learner reads, which is the series' own history."""
        return tuple(self._inner.inputs(panel))

    @property
    def fallbacks(self) -> dict[str, int]:
        """Reason -> number of series that could not be fitted."""
        return dict(self._inner.fallbacks)

    def state(self) -> State:
        """Settings, the seasons used, and the trend learner's state."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.init}
        inner, blobs = self._inner.state()
        last = [[list(key), step] for key, step in self._last.items()]
        return {"params": own, "used": list(self._used), "last": last, "inner": inner}, blobs

    @classmethod
    def from_state(cls, settings: dict[str, Any], blobs: dict[str, Any]) -> Self:
        """Build the fitted learner back."""
        learner = cls(**settings["params"])
        learner._used = tuple(settings["used"])
        learner._last = {tuple(key): step for key, step in settings["last"]}
        learner._inner = LEARNERS.load(_INNER[learner.trend_learner][0]).from_state(settings["inner"], blobs)
        return learner

    # -- inside -------------------------------------------------------------------------------------------------------

    def _trend(self) -> Any:
        name, params = _INNER[self.trend_learner]
        return LEARNERS.load(name)(**params)

    def _seasons(self, panel: Panel, season: int) -> tuple[int, ...]:
        if self.seasons != "auto":
            wanted = {int(m) for m in self.seasons.split(",")}
        else:
            wanted = {season, _LONGER.get(season, season)} - {0, 1}
        typical = float(np.median(panel.lengths)) if panel.n_series else 0.0
        return tuple(sorted(m for m in wanted if typical >= 2 * m))

    def _recent(self, panel: Panel) -> Panel:
        return panel.tail(max(_LEAST_ROWS, _LEAST_SEASONS * max(self._used, default=1)))

    def _adjusted(self, panel: Panel, context: FitContext | None) -> tuple[Panel, np.ndarray]:
        """The panel without its seasons, and the last cycle of each, shape [n, sum of seasons]."""
        from forecasting.kernels.batch import over_slices
        from forecasting.kernels.stl import mstl

        cycles = np.zeros((panel.n_series, sum(self._used)))
        if not self._used or not panel.n_series:
            return panel, cycles
        y, indptr, _ = panel.flat()
        used, adjusted = np.array(self._used, dtype=np.int64), np.empty(panel.n_rows)

        def run(first: int, end: int) -> None:
            mstl(y, indptr, first, end, used, _ROUNDS, adjusted, cycles)

        threads, deadline = (context.threads, context.deadline) if context else (1, None)
        fits = context.fits if context else 1
        over_slices(
            run, panel.lengths, threads=threads, deadline=deadline, what=f"decomposing for {self.name}", fits=fits
        )
        return replace(panel, y=adjusted), cycles
