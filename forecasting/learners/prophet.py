"""Prophet, one model a series, with country holidays and known covariates as regressors."""

from __future__ import annotations

import logging
import math
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from automl.errors import ConfigError, DeadlineExceededError, LearnerError
from forecasting.features.holidays import check_country, holiday_days, holiday_features, is_fine
from forecasting.learners.local import LEAST_ROWS, History, Local, Model
from forecasting.season import period_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pandas import DataFrame, DatetimeIndex

    from forecasting.learners.base import NewHistory
    from forecasting.panel import Block, Panel
    from forecasting.timegrid import TimeGrid

_PATHS = 1_000
_MOST_ITERATIONS = 2_000
_MOST_NEWTON_ROWS = 300
_MOST_HARMONICS = 10
_DAY_SECONDS = 86_400.0
_LEAST_TIMEOUT = 0.1
_CALENDAR = ((365.25, 10, 730.0, math.inf), (7.0, 3, 14.0, 7.0), (1.0, 4, 2.0, 1.0))
"""Prophet's own seasons: period, harmonics, shortest history, steps finer than this; all in days."""

_SAME = 0.02
"""Periods nearer than this, relatively, are one season."""

_YEARS_AHEAD = 10


@dataclass(kw_only=True)
class Prophet(Local):
    """Trend with change points, seasons, holidays and regressors (Taylor & Letham 2018, The American Statistician).

    A fitted model is a function of time: values that came after `fit` do not change it. Numeric known covariates are
    regressors, categorical ones one regressor a category. Holidays are days on daily and finer data, counts of holiday
    days on coarser data. Days, weeks and years are seasons where the history shows two of them, all at once on finer
    data; the run's season joins them where it is none of these and shows twice. Whole-number time is treated as days,
    with the run's season alone.
    Quantiles come from paths with future change points, as in the original, but with fixed random numbers.

    Parameters
    ----------
    seasonality_mode : "additive", "multiplicative", or "auto": multiplicative where all values are positive.
    changepoint_prior_scale : how freely the trend bends. seasonality_prior_scale : how strong seasons may be.
    holidays, covariates : whether to use them.
    max_rows : only so many of the latest rows are used; time grows faster than rows (2,000 rows 1 s, 20,000 25 s).
    """

    seasonality_mode: str = "auto"
    changepoint_prior_scale: float = 0.05
    seasonality_prior_scale: float = 10.0
    holidays: bool = True
    covariates: bool = True
    max_rows: int = 5_000

    name: ClassVar[str] = "Prophet"
    new_history: ClassVar[NewHistory] = "ignored"
    uses_covariates: ClassVar[bool] = True

    def __post_init__(self) -> None:
        modes = ("auto", "additive", "multiplicative")
        if self.seasonality_mode not in modes:
            raise ConfigError(f"seasonality_mode of {self.name} must be one of {modes}, got {self.seasonality_mode!r}.")
        for name in ("changepoint_prior_scale", "seasonality_prior_scale", "max_rows"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} of {self.name} must be positive, got {getattr(self, name)!r}.")

    def most_rows(self, season: int) -> int:  # noqa: ARG002 - the shared form
        """Return `max_rows`."""
        return self.max_rows

    def inputs(self, panel: Panel) -> tuple[str, ...]:
        """Return the time, holidays and known covariates: the history is only in the parameters."""
        days = ("holidays",) if self._country and self.holidays and not panel.grid.is_integer else ()
        return ("time", *days, *(panel.known.names if self.covariates else ()))

    def _prepare(self, panel: Panel) -> None:  # noqa: ARG002 - the shared form
        if self._country and self.holidays:
            self._country = check_country(self._country)

    def _estimate(self, history: History, horizon: int) -> Model:  # noqa: ARG002 - the shared form
        if history.observed.sum() < LEAST_ROWS:
            raise LearnerError(f"fewer than {LEAST_ROWS} observed rows")
        scale = float(np.abs(history.y).mean()) or 1.0
        steps = history.first + np.arange(len(history.y))
        columns = self._regressors(history.known, history.grid, steps)
        used = [name for name, values in columns.items() if np.ptp(values) > 0]
        frame = _frame(history.grid, steps, history.first, {name: columns[name] for name in used})
        frame["y"] = np.where(history.observed, history.y / scale, np.nan)
        with _silent():
            from prophet.serialize import model_to_json

            model = self._build(history)
            for name in used:
                model.add_regressor(name)
            # Newton, the default for short series, may take 20 s where L-BFGS takes none; on long ones it never ends
            model.stan_backend.set_options(newton_fallback=len(frame) <= _MOST_NEWTON_ROWS)
            self._stan(model, frame)
            # what a forecast does not read: the data and their fitted trend; two rows one step apart tell the step
            near = int(np.argmin(np.diff(model.history["t"].to_numpy())))
            kept = slice(near, near + 2)
            model.history, model.history_dates = model.history.iloc[kept], model.history_dates.iloc[kept]
            model.params.pop("trend", None)
            text = model_to_json(model)
        return {"prophet": text, "regressors": used, "first": int(history.first), "scale": scale}

    def _stan(self, model: Any, frame: DataFrame) -> None:
        """Fit a model; Stan, which looks at no clock of ours, is ended when the time of the whole fit is over.

        Raises
        ------
        DeadlineExceededError : time is over.
        """
        left = self._deadline.left()
        limit = {} if math.isinf(left) else {"timeout": max(left, _LEAST_TIMEOUT)}
        try:
            model.fit(frame, seed=self._seed, algorithm="LBFGS", iter=_MOST_ITERATIONS, **limit)
        except TimeoutError as error:
            raise DeadlineExceededError(
                f"out of time while fitting {self.name} to a series of {len(frame)} rows"
            ) from error

    def _build(self, history: History) -> Any:
        from prophet import Prophet as Estimator

        grid = history.grid
        mode = self.seasonality_mode
        if mode == "auto":
            mode = "multiplicative" if (history.y[history.observed] > 0).all() else "additive"
        calendar = False if grid.is_integer else "auto"
        model = Estimator(
            seasonality_mode=mode,
            changepoint_prior_scale=self.changepoint_prior_scale,
            seasonality_prior_scale=self.seasonality_prior_scale,
            yearly_seasonality=calendar,
            weekly_seasonality=calendar,
            daily_seasonality=calendar,
            uncertainty_samples=0,
        )
        step = 1.0 if grid.is_integer else period_seconds(grid.freq) / _DAY_SECONDS
        if self._season > 1 and (grid.is_integer or _is_new(self._season * step, step, len(history.y) * step)):
            harmonics = min(self._season // 2, _MOST_HARMONICS)
            model.add_seasonality("season", period=self._season * step, fourier_order=harmonics)
        if self._country and self.holidays and is_fine(grid):
            if "-" in self._country:
                model.holidays = _holidays(self._country, grid, history.first, history.first + len(history.y))
            else:
                model.add_country_holidays(self._country)
        return model

    def _predict(self, model: Model, history: History, ahead: Block, horizon: int, levels: tuple) -> np.ndarray:
        steps = history.first + len(history.y) + np.arange(horizon)
        columns = self._regressors(ahead, history.grid, steps)
        missing = [name for name in model["regressors"] if name not in columns]
        if missing:
            raise LearnerError(f"regressors are missing in the future: {', '.join(missing)}")
        frame = _frame(history.grid, steps, model["first"], {name: columns[name] for name in model["regressors"]})
        with _silent():
            from prophet.serialize import model_from_json

            fitted = model_from_json(model["prophet"])
            parts = _in_order(fitted.predict(frame), frame)
            if history.grid.holiday_shift and "holidays" in parts:
                moved = frame.assign(ds=history.grid.clock(steps + history.grid.holiday_shift))
                moved = _in_order(fitted.predict(moved), moved)
                part = "multiplicative_terms" if fitted.holidays_mode == "multiplicative" else "additive_terms"
                parts[part] += moved["holidays"] - parts["holidays"]
        trend, times, plus = (parts[k].to_numpy() for k in ("trend", "multiplicative_terms", "additive_terms"))
        point = trend * (1 + times) + plus
        if not levels:
            return model["scale"] * point[:, None]
        # the same random numbers for every series: its forecast does not depend on its place in the panel
        bends, noise = _paths(fitted, horizon, np.random.default_rng(self._seed))
        paths = point[:, None] + bends * (1 + times)[:, None] + noise
        return model["scale"] * np.concatenate([point[:, None], np.quantile(paths, levels, axis=1).T], axis=1)

    def _regressors(self, block: Block, grid: TimeGrid, steps: np.ndarray) -> dict[str, np.ndarray]:
        """Regressor name -> its values at some rows."""
        columns: dict[str, np.ndarray] = {}
        for k, name in enumerate(block.names if self.covariates else ()):
            categories = block.categories(name)
            if categories is None:
                columns[f"known_{k}"] = block.values[:, k]
            else:
                columns |= {f"known_{k}_{c}": (block.values[:, k] == c) * 1.0 for c in range(len(categories))}
        if self._country and self.holidays and not grid.is_integer and not is_fine(grid):
            counts = holiday_features(grid, steps, self._country, 0, 0)
            columns |= {f"holidays_{k}": counts[:, k].astype(float) for k in range(counts.shape[1])}
        return columns


def _holidays(country: str, grid: TimeGrid, first: int, end: int) -> DataFrame:
    """Public holidays of a subdivision, which Prophet's own tables do not have, from the history to years ahead."""
    import pandas as pd

    stamps = grid.clock(np.array([first, end]))
    days, names = holiday_days(country, stamps[0].year, stamps[1].year + _YEARS_AHEAD)
    return pd.DataFrame({"ds": pd.to_datetime(days, unit="D"), "holiday": names})


def _is_new(period: float, step: float, history: float) -> bool:
    """Whether a season (days) that the history (days) shows twice is none that Prophet makes by itself, or part of one.

    Examples
    --------
    >>> _is_new(365.25, 30.4, 3_000.0), _is_new(1.0, 1 / 24, 90.0), _is_new(10.0, 1.0, 90.0)
    (False, False, True)
    """
    if history < 2 * period:
        return False
    for own, order, least, coarsest in _CALENDAR:
        multiple = max(1, round(own / period))
        if history >= least and step < coarsest and multiple <= order and abs(own / multiple / period - 1) < _SAME:
            return False
    return True


def _frame(grid: TimeGrid, steps: np.ndarray, first: int, columns: dict[str, np.ndarray]) -> DataFrame:
    import pandas as pd

    days = pd.to_timedelta(steps - first, unit="D")
    ds: DatetimeIndex = pd.Timestamp("2000-01-01") + days if grid.is_integer else grid.clock(steps)
    return pd.DataFrame({"ds": ds, **columns})


def _in_order(parts: DataFrame, frame: DataFrame) -> DataFrame:
    """Predictions, which come sorted by time, in the order of the rows: clocks that are put back repeat an hour."""
    by_time = np.argsort(frame["ds"].to_numpy(), kind="stable")
    return parts.iloc[np.argsort(by_time)].reset_index(drop=True)


def _paths(model: Any, horizon: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Departures of future trends from the fitted one, and noise, both [horizon, paths] in the model's target units.

    Slopes change as often ahead, and by as much (Laplace), as they did in the fitted trend.
    """
    deltas = np.abs(np.asarray(model.params["delta"])[0])
    step = _step(model)
    shape = (horizon, _PATHS)
    bend = rng.uniform(size=shape) < len(model.changepoints_t) * step
    shift = np.where(bend, rng.laplace(0.0, deltas.mean() + 1e-8, size=shape), 0.0)
    bends = np.cumsum(np.cumsum(shift, axis=0), axis=0) * step
    noise = rng.standard_normal(shape) * float(np.asarray(model.params["sigma_obs"]).ravel()[0])
    return model.y_scale * bends, model.y_scale * noise


def _step(model: Any) -> float:
    """One step on the model's time axis, on which the history is 1 long."""
    return float(np.diff(model.history["t"].to_numpy()[:2])[0])


@contextmanager
def _silent() -> Iterator[None]:
    """Keep the loggers of Stan and Prophet quiet, and leave them as they were."""
    names = ("cmdstanpy", "prophet", "prophet.forecaster", "prophet.models", "prophet.plot")
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.disabled for logger in loggers]
    for logger in loggers:
        logger.disabled = True
    try:
        yield
    finally:
        for logger, state in zip(loggers, before, strict=True):
            logger.disabled = state
