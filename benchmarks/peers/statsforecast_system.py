"""statsforecast: the median of AutoETS, DynamicOptimizedTheta and CES, or one of them as variant (ets, theta, ces)."""

from __future__ import annotations

import numpy as np
import statsforecast
from forecast_job import interval, main, regular, steps_ahead
from statsforecast import StatsForecast
from statsforecast.models import AutoCES, AutoETS, DynamicOptimizedTheta

MODELS = {"ets": AutoETS, "theta": DynamicOptimizedTheta, "ces": AutoCES}


def fit(train, job):
    names = [job["variant"]] if job["variant"] else list(MODELS)
    models = [MODELS[name](season_length=job["season"], alias=name) for name in names]
    return (
        names,
        StatsForecast(models=models, freq=job["freq"], n_jobs=2),
        regular(train, job)[["unique_id", "ds", "y"]],
    )


def predict(model, train, future, job):
    names, forecaster, data = model
    rows = steps_ahead(train, future, job)
    h = int(rows.groupby("unique_id").size().max())
    widths = sorted({interval(q)[1] for q in job["levels"]} - {0})
    ahead = forecaster.forecast(df=data, h=h, level=widths).reset_index()
    answer = ahead[["unique_id", "ds"]].copy()
    answer["mean"] = np.median(ahead[names].to_numpy(), axis=1)
    for q in job["levels"]:
        side, width = interval(q)
        columns = [f"{name}-{side}-{width}" if width else name for name in names]
        answer[f"{q:g}"] = np.median(ahead[columns].to_numpy(), axis=1)
    return rows.merge(answer, how="left", on=["unique_id", "ds"])


if __name__ == "__main__":
    main(fit, predict, statsforecast.__version__)
