"""pmdarima's auto_arima, a model a series, stepwise; a series that it fails on gets the last season again."""

from __future__ import annotations

import warnings
from statistics import NormalDist

import numpy as np
import pandas as pd
import pmdarima
from forecast_job import histories, main, normal, steps_ahead
from joblib import Parallel, delayed


def one(y, rows, job):
    warnings.simplefilter("ignore")
    h, season = len(rows), job["season"] if job["season"] <= 24 else 1
    season = season if len(y) > 2 * season else 1
    try:
        model = pmdarima.auto_arima(y, m=season, suppress_warnings=True, error_action="ignore")
        point, ends = model.predict(h, return_conf_int=True, alpha=0.2)
        spread = (ends[:, 1] - ends[:, 0]) / 2 / NormalDist().inv_cdf(0.9)
    except Exception:  # noqa: BLE001 - whatever it is, the series is owed a forecast
        point, spread = np.resize(y[-season:], h), np.full(h, np.std(y))
    return rows.assign(mean=point, **normal(point, spread, job["levels"]))


def fit(train, job):
    return histories(train, job)


def predict(model, train, future, job):
    groups = steps_ahead(train, future, job).groupby("unique_id", sort=False)
    return pd.concat(Parallel(n_jobs=2)(delayed(one)(model[key], part, job) for key, part in groups))


if __name__ == "__main__":
    main(fit, predict, pmdarima.__version__)
