"""Prophet, a model a series, with its defaults; quantiles are those of its own samples."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import prophet
from forecast_job import main, steps_ahead
from joblib import Parallel, delayed
from prophet import Prophet

NUMBERS = "number"


def one(key, past, rows, job):
    logging.disable(logging.WARNING)
    known = list(past[job["known"]].select_dtypes(NUMBERS))
    model = Prophet(uncertainty_samples=300)
    for name in known:
        model.add_regressor(name)
    usual = past[known].median().fillna(0)
    model.fit(past[["ds", "y", *known]].fillna(usual))
    rows = rows[["ds", *[c for c in known if c in rows]]].reindex(columns=["ds", *known]).fillna(usual)
    np.random.seed(0)  # noqa: NPY002 - what prophet draws from
    samples = model.predictive_samples(rows)["yhat"]
    levels = {f"{q:g}": np.quantile(samples, q, axis=1) for q in job["levels"]}
    return pd.DataFrame({"unique_id": key, "ds": rows["ds"].to_numpy(), "mean": np.median(samples, axis=1), **levels})


def fit(train, job):
    return dict(list(train.groupby("unique_id")))


def predict(model, train, future, job):
    rows = steps_ahead(train, future, job).merge(future, how="left", on=["unique_id", "ds"])
    parts = Parallel(n_jobs=2)(
        delayed(one)(key, model[key], part, job) for key, part in rows.groupby("unique_id", sort=False)
    )
    return pd.concat(parts, ignore_index=True)


if __name__ == "__main__":
    main(fit, predict, prophet.__version__)
