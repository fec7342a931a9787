"""Forecasts and histories in the user's own columns: ids, time, target, `yhat` and its quantiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from forecasting.intervals import at_levels
from forecasting.panel import Forecast, Panel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from forecasting.frame import Schema
    from forecasting.panel import Key


def request_frame(
    rows: pd.DataFrame,
    values: np.ndarray,
    known: Sequence[float],
    schema: Schema,
    *,
    quantiles: Sequence[float],
    level: Sequence[float],
) -> pd.DataFrame:
    """Id and time columns of the user's rows, in their order, with forecasts beside them.

    Parameters
    ----------
    values : shape [rows, 1 + len(known)], point forecast and quantiles at the levels `known`.
    """
    out = rows[[*schema.columns.id, schema.columns.time]].reset_index(drop=True).copy()
    one = Forecast(values[:, None, :], tuple(known))
    return out.assign(**_forecast_columns(one, quantiles, level))


def forecast_frame(
    forecast: Forecast,
    panel: Panel,
    schema: Schema,
    *,
    quantiles: Sequence[float],
    level: Sequence[float],
    dropped: Mapping[Key, str],
    steps: np.ndarray | None = None,
) -> pd.DataFrame:
    """Forecasts in the user's columns: ids, time, yhat, `yhat-q-0.1`, `yhat-lo-80`, `yhat-hi-80`.

    Only the first `steps` [n] of each series are written, None = all. Series dropped in training come last with
    missing values, so that none is silently absent.
    """
    n, horizon = forecast.values.shape[:2]
    where = (panel.last[:, None] + 1 + np.arange(horizon)).ravel()
    out: dict[str, Any] = _id_columns(panel.ids, horizon, schema)
    out[schema.columns.time] = schema.time_labels(panel.grid, where)
    frame = pd.DataFrame({**out, **_forecast_columns(forecast, quantiles, level)})
    if steps is not None and (steps < horizon).any():
        frame = frame[(np.arange(horizon) < steps[:, None]).ravel()].reset_index(drop=True)
    if not dropped or not n:
        return frame
    ends = np.full(len(dropped), panel.last.max())
    where = (ends[:, None] + 1 + np.arange(horizon)).ravel()
    lost = _id_columns(list(dropped), horizon, schema)
    lost[schema.columns.time] = schema.time_labels(panel.grid, where)
    return pd.concat([frame, pd.DataFrame(lost)], ignore_index=True)


def history_frame(panel: Panel, schema: Schema) -> pd.DataFrame:
    """Panel rows in the user's columns: ids, time, target; missing where it was not observed."""
    out = _id_columns(panel.ids, panel.lengths, schema)
    out[schema.columns.time] = schema.time_labels(panel.grid, panel.step_of_rows())
    out[schema.columns.target] = np.where(panel.observed, panel.y, np.nan)
    return pd.DataFrame(out)


def _forecast_columns(forecast: Forecast, quantiles: Sequence[float], level: Sequence[float]) -> dict[str, np.ndarray]:
    out = {"yhat": forecast.values[:, :, 0].ravel()}
    out |= {f"yhat-q-{q:g}": _channel(forecast, q) for q in quantiles}
    for width in level:
        out[f"yhat-lo-{width:g}"] = _channel(forecast, 0.5 - width / 200)
        out[f"yhat-hi-{width:g}"] = _channel(forecast, 0.5 + width / 200)
    return out


def _channel(forecast: Forecast, q: float) -> np.ndarray:
    near = [k for k, level in enumerate(forecast.quantiles) if abs(level - q) < 1e-6]
    if near:
        return forecast.values[:, :, 1 + near[0]].ravel()
    return at_levels(forecast.values, forecast.quantiles, (q,))[:, :, 1].ravel()


def _id_columns(keys: Sequence[Key], counts: int | np.ndarray, schema: Schema) -> dict[str, Any]:
    """Id columns in which every key stands `counts` times, or each as often as its own count says."""
    out: dict[str, Any] = {}
    at = np.repeat(np.arange(len(keys)), counts)
    for k, (name, dtype) in enumerate(zip(schema.columns.id, schema.id_dtypes, strict=True)):
        values = pd.Series([key[k] for key in keys]).iloc[at].reset_index(drop=True)
        out[name] = values.astype(pd.api.types.pandas_dtype(dtype)) if dtype not in {"object", "str"} else values
    return out
