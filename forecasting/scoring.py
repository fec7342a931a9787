"""Walking a fitted model through later data: origins, forecasts beside actual values, scores."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from automl.errors import DataError
from forecasting import frame as door
from forecasting.join import join
from forecasting.metrics import Truth, all_scores, naive_scales
from forecasting.panel import Forecast, Future

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forecasting.model import ForecastModel
    from forecasting.panel import Panel

LOG = logging.getLogger("forecasting")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Scores on data that came after training.

    Parameters
    ----------
    metrics : metric name -> value over all series and origins.
    predictions : a row a forecast: ids, time, cutoff, actual (under the target's name), yhat and quantiles.
    by_series : metrics of each series.
    """

    metrics: dict[str, float]
    predictions: pd.DataFrame
    by_series: pd.DataFrame


@dataclass(frozen=True, slots=True)
class Origin:
    """Forecasts of some series from one cutoff.

    Parameters
    ----------
    panel : history up to the cutoff. forecast, truth : what was said and what came. frame : both in the user's columns.
    """

    panel: Panel
    forecast: Forecast
    truth: Truth
    frame: pd.DataFrame


def origins(
    model: ForecastModel,
    schema: door.Schema,
    test: Any,
    *,
    step: int,
    levels: tuple[float, ...],
    model_name: str | None = None,
    short_too: bool,
) -> Iterator[Origin]:
    """Forecast from the end of training and every `step` later, actual values becoming known on the way.

    Parameters
    ----------
    test : later rows in the user's columns. levels : quantiles. model_name : entry of the leaderboard, None = best.
    short_too : also from origins after which fewer steps than the horizon are left (always from the first one).

    Raises
    ------
    DataError : the test holds no series of the training data, or nothing after it.
    """
    history, horizon = model.task.panel, model.settings.horizon
    later = door.prepare_history(test, schema, history.grid)
    known = dict(zip(history.ids, history.last, strict=True))
    keys = [key for key in later.ids if key in known]
    if not keys:
        raise DataError("the test data has no series that training saw. Fix: check the id columns.")
    whole = join(history, later)
    place = {key: i for i, key in enumerate(whole.ids)}
    panel = whole.select(np.array([place[key] for key in keys]))
    base = np.array([known[key] for key in keys]) - panel.start + 1
    room = panel.lengths - base
    if room.max() < 1:
        raise DataError("the test data holds nothing after the training period. Fix: give later rows.")
    for first in range(0, int(room.max()), step):
        left = np.minimum(room - first, horizon)
        sizes = np.unique(left[left > 0]) if short_too or first == 0 else [horizon]
        for size in sizes[::-1]:
            some = np.flatnonzero(left == size)
            if len(some):
                yield _origin(model, schema, panel.select(some), (base + first)[some], int(size), levels, model_name)


def _origin(
    model: ForecastModel,
    schema: door.Schema,
    panel: Panel,
    lengths: np.ndarray,
    steps: int,
    levels: tuple[float, ...],
    model_name: str | None,
) -> Origin:
    past, rest = panel.head(lengths), panel.window(lengths, lengths + steps)
    gaps = int((~rest.known.observed).any(axis=1).sum()) if rest.known.names else 0
    if gaps:
        LOG.warning("%s of %s test rows lack a known covariate; filled from before", gaps, rest.n_rows)
    forecast = model.forecast(past, Future(steps, rest.known), levels, model=model_name)
    train = model.task.panel
    place = {key: i for i, key in enumerate(train.ids)}
    scales = naive_scales(train.select(np.array([place[key] for key in panel.ids])), model.settings.season)
    truth = Truth(rest.y.reshape(-1, steps), rest.observed.reshape(-1, steps), *scales, levels)
    return Origin(past, forecast, truth, scored_frame(forecast, past, truth, schema))


def scored_frame(forecast: Forecast, past: Panel, truth: Truth, schema: door.Schema) -> pd.DataFrame:
    """Forecasts with the cutoff and what came: ids, time, cutoff, target, yhat, quantiles."""
    frame = door.forecast_frame(forecast, past, schema, quantiles=forecast.quantiles, level=(), dropped={})
    at = list(frame.columns).index("yhat")
    frame.insert(at, "cutoff", np.repeat(schema.time_labels(past.grid, past.last), truth.y.shape[1]))
    frame.insert(at + 1, schema.columns.target, np.where(truth.mask, truth.y, np.nan).ravel())
    return frame


def evaluation(walked: list[Origin], schema: door.Schema) -> Evaluation:
    """Scores over all origins, and by series."""
    width = max(o.truth.y.shape[1] for o in walked)
    truth = _stacked([o.truth for o in walked], width)
    values = np.concatenate([_padded(o.forecast.values, width) for o in walked])
    places: dict[Any, list[int]] = {}
    for i, key in enumerate(key for o in walked for key in o.panel.ids):
        places.setdefault(key, []).append(i)
    by_series = [
        {**dict(zip(schema.columns.id, key, strict=False)), **all_scores(truth.rows(np.array(rows)), values[rows])}
        for key, rows in places.items()
    ]
    predictions = pd.concat([o.frame for o in walked], ignore_index=True)
    return Evaluation(all_scores(truth, values), predictions, pd.DataFrame(by_series))


def _padded(values: np.ndarray, width: int) -> np.ndarray:
    """Values [r, h, ...] with steps up to `width` added as zeros (False)."""
    return np.pad(values, ((0, 0), (0, width - values.shape[1]), *((0, 0),) * (values.ndim - 2)))


def _stacked(truths: list[Truth], width: int) -> Truth:
    y = np.concatenate([_padded(t.y, width) for t in truths])
    mask = np.concatenate([_padded(t.mask, width) for t in truths])
    mae_scale = np.concatenate([t.mae_scale for t in truths])
    rmse_scale = np.concatenate([t.rmse_scale for t in truths])
    value_range = np.concatenate([t.value_range for t in truths])
    return Truth(y, mask, mae_scale, rmse_scale, value_range, truths[0].levels)
