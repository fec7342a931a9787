"""Walking a fitted model through later data: origins, forecasts beside actual values, scores."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from automl.errors import DataError
from forecasting import frame as door
from forecasting.join import join, note_replaced
from forecasting.metrics import Truth, later_scores, naive_scales, own_ranges
from forecasting.panel import Forecast, Future
from forecasting.writing import forecast_frame, history_frame

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from automl.metrics import Metric
    from forecasting.charts.gallery import Charts
    from forecasting.model import ForecastModel
    from forecasting.panel import Key, Panel

LOG = logging.getLogger("forecasting")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Scores on data that came after training.

    Parameters
    ----------
    metrics : metric name -> value over all series and origins. Normalised errors come over the range of the training
        data under their own names, and over the range of the rows scored here as `..._test_range`.
    predictions : a row a forecast: ids, time, cutoff, actual (under the target's name), yhat and quantiles.
    by_series : metrics of each series.
    counts : how many series were scored, and how many of them normalised errors leave out because they do not change
        in training, or here.
    columns : names of the user's columns. history : rows before the first origin, of the series that charts show.
    """

    metrics: dict[str, float]
    predictions: pd.DataFrame
    by_series: pd.DataFrame
    counts: dict[str, int]
    columns: door.Names
    history: pd.DataFrame

    def charts(self) -> Charts:
        """Forecast-horizon, residual and predicted-vs-true charts."""
        from forecasting.charts.gallery import Charts

        own = self.columns
        return Charts.of(self.predictions, self.history, ids=own.id, time=own.time, target=own.target)


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
    if strange := [key for key in later.ids if key not in known]:
        name = "/".join(map(str, strange[0]))
        LOG.warning("%d series of the test data that training did not have are left out, first: %s", len(strange), name)
    if schema.aggregate is not None:
        note_replaced(history, later)
    whole = join(history, later, gap_value=schema.gap_value)
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
    frame = forecast_frame(forecast, past, schema, quantiles=forecast.quantiles, level=(), dropped={})
    at = list(frame.columns).index("yhat")
    frame.insert(at, "cutoff", np.repeat(schema.time_labels(past.grid, past.last), truth.y.shape[1]))
    frame.insert(at + 1, schema.columns.target, np.where(truth.mask, truth.y, np.nan).ravel())
    return frame


def evaluation(walked: list[Origin], schema: door.Schema, train: Panel, also: Sequence[Metric] = ()) -> Evaluation:
    """Scores over all origins, and by series: all that was forecast of a series is one row of the scores."""
    keys, truth, values = _together(walked)
    by_series = [
        {
            **dict(zip(schema.columns.id, key, strict=False)),
            **later_scores(truth.rows(np.array([i])), values[i : i + 1], also),
        }
        for i, key in enumerate(keys)
    ]
    predictions = pd.concat([o.frame for o in walked], ignore_index=True)
    seen = truth.mask.any(axis=1)
    counts = {
        "series": int(seen.sum()),
        "series_without_training_range": int((seen & ~np.isfinite(truth.value_range)).sum()),
        "series_without_test_range": int((seen & ~np.isfinite(own_ranges(truth))).sum()),
    }
    scores, own = later_scores(truth, values, also), schema.columns
    return Evaluation(
        scores, predictions, pd.DataFrame(by_series), counts, own, drawn_history(train, schema, predictions)
    )


def drawn_history(panel: Panel, schema: door.Schema, forecasts: pd.DataFrame) -> pd.DataFrame:
    """Rows of the first series of the forecasts, as many as charts may show: ids, time, target."""
    from forecasting.charts.gallery import MAX_PAGES

    ids = list(schema.columns.id)
    first = forecasts[ids].drop_duplicates().head(MAX_PAGES) if ids else pd.DataFrame()
    wanted = {tuple(map(str, row)) for row in first.itertuples(index=False)}
    which = [i for i, key in enumerate(panel.ids) if not ids or tuple(map(str, key)) in wanted]
    return history_frame(panel.select(np.array(which, dtype=np.int64)), schema)


def _together(walked: list[Origin]) -> tuple[list[Key], Truth, np.ndarray]:
    """Series, and what was said and came of each from all origins, one after another in one row; the rest masked."""
    place = {key: i for i, key in enumerate(dict.fromkeys(key for o in walked for key in o.panel.ids))}
    n = len(place)
    rows = [np.array([place[key] for key in o.panel.ids]) for o in walked]
    ends = np.zeros(n, dtype=np.int64)
    for some, o in zip(rows, walked, strict=True):
        ends[some] += o.truth.y.shape[1]
    width = int(ends.max())
    y, mask = np.zeros((n, width)), np.zeros((n, width), dtype=bool)
    values = np.zeros((n, width, walked[0].forecast.values.shape[2]))
    scales = np.full((3, n), np.nan)
    ends[:] = 0
    for some, o in zip(rows, walked, strict=True):
        at = some[:, None], ends[some, None] + np.arange(o.truth.y.shape[1])
        y[at], mask[at], values[at] = np.nan_to_num(o.truth.y), o.truth.mask, o.forecast.values
        scales[:, some] = o.truth.mae_scale, o.truth.rmse_scale, o.truth.value_range
        ends[some] += o.truth.y.shape[1]
    return list(place), Truth(y, mask, scales[0], scales[1], scales[2], walked[0].truth.levels), values
