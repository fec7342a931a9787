"""Rolling-origin windows: every series cut at its own end, trained on what lies before, scored on what comes next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from automl.errors import DataError
from forecasting.metrics import Truth, naive_scales
from forecasting.panel import Forecast, Future

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forecasting.panel import Panel

LEAST_TRAINING_ROWS = 3
_MANY_SERIES = 100


@dataclass(frozen=True, slots=True)
class Window:
    """One origin.

    Parameters
    ----------
    number : 0 = newest. series : positions (in the whole panel) of the series long enough to take part.
    train : their rows up to the cutoff. future : known covariates of the next `horizon` steps. truth : what came.
    """

    number: int
    series: np.ndarray
    train: Panel
    future: Future
    truth: Truth


def minimum_length(horizon: int, n_windows: int, step: int, lookback: int) -> int:
    """Rows a series needs: 2 H + (n - 1) step + look-back + 1 (SPEC of the described service, 2022 form)."""
    return 2 * horizon + (n_windows - 1) * step + lookback + 1


def choose_windows(lengths: np.ndarray, horizon: int, season: int) -> tuple[int, int]:
    """Number of windows and step that the typical series affords; fewer windows where there are many series.

    Few series need several windows for a stable choice; many series vote among themselves. The step is the horizon
    (windows do not overlap) or as much of it as fits. The oldest window leaves half of the typical series to train on:
    models with far less history than the final one are wrong in other ways and by more, which spoils choice and
    intervals. Where no second window fits, many series have one alone, few ones a second with less to train on.

    Examples
    --------
    >>> choose_windows(np.array([120] * 9), horizon=20, season=52), choose_windows(np.array([30]), 12, 12)
    ((5, 10), (2, 5))
    """
    wanted = 5 if len(lengths) < 20 else 3 if len(lengths) < _MANY_SERIES else 2
    typical = int(np.median(lengths))
    least = max(horizon, min(season + 1, 2 * horizon), LEAST_TRAINING_ROWS)
    for n in range(wanted, 1, -1):
        step = min(horizon, (typical - max(least, typical // 2) - horizon) // (n - 1))
        if step >= max(1, horizon // 2):
            return n, step
    step = min(horizon, typical - least - horizon)
    if len(lengths) < _MANY_SERIES and step >= 1:
        return 2, step
    return 1, horizon


def cutoffs(panel: Panel, horizon: int, n_windows: int, step: int) -> list[np.ndarray]:
    """Training rows of each series in each window, newest first. Each shape [n]; <= 0 where a series is short."""
    return [panel.lengths - horizon - k * step for k in range(n_windows)]


def window(
    panel: Panel, lengths: np.ndarray, horizon: int, season: int, levels: tuple[float, ...], number: int
) -> Window:
    """Cut the panel at `lengths[i]` rows of series i; series without `LEAST_TRAINING_ROWS` of them sit this one out.

    Raises
    ------
    DataError : no series is long enough.
    """
    series = np.flatnonzero((lengths >= min(LEAST_TRAINING_ROWS, lengths.max())) & (lengths >= 1))
    if not len(series):
        raise DataError(
            f"no series is long enough to keep {horizon} steps back for window {number + 1}: the longest has "
            f"{int(panel.lengths.max())} rows. Fix: a shorter horizon, fewer windows or more history."
        )
    chosen = panel.select(series)
    cut = lengths[series]
    train = chosen.head(cut)
    rest = chosen.window(cut, cut + horizon)
    if (rest.lengths != horizon).any():
        raise DataError(f"window {number + 1} ends outside the data: {horizon} steps after the cutoff are needed.")
    mae_scale, rmse_scale, value_range = naive_scales(train, season)
    truth = Truth(
        rest.y.reshape(-1, horizon), rest.observed.reshape(-1, horizon), mae_scale, rmse_scale, value_range, levels
    )
    return Window(number, series, train, Future(horizon, rest.known), truth)


def windows(
    panel: Panel, cuts: list[np.ndarray], horizon: int, season: int, levels: tuple[float, ...] = ()
) -> Iterator[Window]:
    """Every window in turn, newest first."""
    for number, lengths in enumerate(cuts):
        yield window(panel, lengths, horizon, season, levels, number)


def scatter(forecast: Forecast | np.ndarray, series: np.ndarray, n_series: int) -> np.ndarray:
    """Forecast values of some series laid into an array for all of them, NaN elsewhere."""
    values = forecast.values if isinstance(forecast, Forecast) else forecast
    out = np.full((n_series, *values.shape[1:]), np.nan)
    out[series] = values
    return out
