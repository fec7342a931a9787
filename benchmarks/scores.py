"""Scores of forecasts, written apart from the toolkit, so that every system is judged by the same neutral code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd


def scores(
    train: pd.DataFrame, test: pd.DataFrame, answer: pd.DataFrame, *, season: int, levels: Sequence[float]
) -> dict[str, float]:
    """MASE, sMAPE, WQL, coverage of the 80 % interval and, where many values are zero, calibration of each quantile.

    Parameters
    ----------
    train : unique_id, ds, y. test : rows that are scored. answer : unique_id, ds, mean and a column a level ("0.1").
    season : steps; MASE is over each series' mean absolute change at this lag, lag 1 where that is zero.

    Raises
    ------
    ValueError : a scored row has no forecast, or one that is not finite.
    """
    names = [f"{level:g}" for level in levels]
    rows = test[["unique_id", "ds", "y"]].merge(answer, on=["unique_id", "ds"], how="left", validate="one_to_one")
    rows = rows[rows["y"].notna()]
    values = rows[["mean", *names]].to_numpy(float)
    if not np.isfinite(values).all():
        raise ValueError(f"{int((~np.isfinite(values)).any(axis=1).sum())} of {len(rows)} forecasts are missing")
    y, point, quantiles = rows["y"].to_numpy(float), values[:, 0], values[:, 1:]
    error = np.abs(y - point)
    scale = train.groupby("unique_id")["y"].agg(lambda past: naive_error(past.to_numpy(float), season))
    by_series = rows.assign(error=error).groupby("unique_id")["error"].mean()
    scaled = by_series / scale.reindex(by_series.index)
    size = np.abs(y) + np.abs(point)
    tau = np.array(levels)
    missed = y[:, None] - quantiles
    pinball = np.maximum(tau * missed, (tau - 1) * missed)
    inside = (y >= quantiles[:, 0]) & (y <= quantiles[:, -1])
    found = {
        "MASE": float(scaled[np.isfinite(scaled)].mean()),
        "sMAPE": float(np.mean(np.divide(2 * error, size, out=np.zeros_like(error), where=size > 0))),
        "WQL": float(np.mean(2 * pinball.sum(axis=0) / np.abs(y).sum())),
        "coverage80": float(inside.mean()),
    }
    found["zeros"] = float((train["y"] == 0).mean())
    slack = [max(np.mean(missed[:, k] < 0) - t, t - np.mean(missed[:, k] <= 0)) for k, t in enumerate(levels)]
    found["worst_quantile_miss"] = float(max(0.0, *slack))
    return found


def naive_error(past: np.ndarray, season: int) -> float:
    """Mean absolute change over a season, over one step where that is zero, NaN where both are."""
    past = past[np.isfinite(past)]
    for lag in (season, 1):
        if len(past) > lag:
            change = float(np.abs(past[lag:] - past[:-lag]).mean())
            if change > 0:
                return change
    return float("nan")
