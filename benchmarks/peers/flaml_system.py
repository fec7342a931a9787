"""FLAML, task ts_forecast: one search a series, so the limit is shared evenly among them. Points only.

Its quantiles are points: it has no intervals. Many series get less time each than a search needs; that is its design.
"""

from __future__ import annotations

import flaml
import pandas as pd
from flaml import AutoML
from forecast_job import main, regular, steps_ahead


def fit(train, job):
    data = regular(train, job)
    each = max(1.0, job["time_limit"] / data["unique_id"].nunique())
    models = {}
    for key, part in data.groupby("unique_id"):
        search = AutoML()
        search.fit(
            dataframe=part[["ds", "y"]].reset_index(drop=True), label="y", task="ts_forecast", metric="mae",
            period=job["horizon"], time_budget=each, eval_method="holdout", verbose=0,
            estimator_list=["lgbm", "rf", "extra_tree", "arima", "holt-winters"],
        )  # fmt: skip
        models[key] = search
    return models


def predict(model, train, future, job):
    parts = []
    for key, part in steps_ahead(train, future, job).groupby("unique_id", sort=False):
        point = pd.Series(model[key].predict(part[["ds"]].reset_index(drop=True))).to_numpy(float)
        parts.append(part.assign(mean=point, **{f"{q:g}": point for q in job["levels"]}))
    return pd.concat(parts)


if __name__ == "__main__":
    main(fit, predict, flaml.__version__)
