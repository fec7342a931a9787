"""The last season again; quantiles from the errors of the seasonal naive forecast in training, as if normal."""

from __future__ import annotations

import numpy as np
import pandas as pd
from forecast_job import histories, main, normal, steps_ahead


def fit(train, job):
    return histories(train, job)


def predict(model, train, future, job):
    season, parts = job["season"], []
    for key, part in steps_ahead(train, future, job).groupby("unique_id", sort=False):
        y, h = model[key], len(part)
        m = season if len(y) > season else 1
        point = np.resize(y[-m:], h)
        change = y[m:] - y[:-m] if len(y) > m else np.zeros(1)
        spread = np.sqrt(np.mean(change**2) * (np.arange(h) // m + 1))
        parts.append(part.assign(mean=point, **normal(point, spread, job["levels"])))
    return pd.concat(parts, ignore_index=True)


if __name__ == "__main__":
    main(fit, predict, "1")
