"""AutoGluon-TimeSeries without pretrained models; the variant is its preset (medium_quality, high_quality).

With the metric to choose by behind it ("high_quality-MASE"); without one AutoGluon's own, WQL.
"""

from __future__ import annotations

import tempfile

import autogluon.timeseries
import pandas as pd
from autogluon.timeseries import TimeSeriesDataFrame, TimeSeriesPredictor
from forecast_job import laid, main, steps_ahead

PRETRAINED = ["Chronos", "Chronos2", "Toto", "Toto2"]
"""Models that download weights."""


def long(frame, job, static):
    data = TimeSeriesDataFrame.from_data_frame(
        frame, "unique_id", "ds", static_features_df=static if job["static"] else None
    )
    data = data.convert_frequency(job["freq"])
    flags = [c for c in data.columns if not pd.api.types.is_numeric_dtype(data[c])]
    data[flags] = data[flags].astype(object).fillna("none").astype("category")
    return data


def fit(train, job):
    static = train.groupby("unique_id")[job["static"]].first().reset_index()
    # a covariate that stands still is static; the rest are rows
    data = long(train.drop(columns=job["static"]), job, static)
    preset, _, metric = job["variant"].partition("-")
    predictor = TimeSeriesPredictor(
        prediction_length=job["horizon"],
        target="y",
        freq=job["freq"],
        known_covariates_names=job["known"],
        eval_metric=metric or "WQL",
        quantile_levels=job["levels"],
        path=tempfile.mkdtemp(),
    )
    predictor.fit(
        data,
        presets=preset or "medium_quality",
        time_limit=job["time_limit"],
        excluded_model_types=PRETRAINED,
        random_seed=0,
    )
    return predictor, data


def predict(model, train, future, job):
    predictor, data = model
    known = None
    if job["known"]:
        rows = predictor.make_future_data_frame(data).rename(columns={"item_id": "unique_id", "timestamp": "ds"})
        rows = rows.merge(future[["unique_id", "ds", *job["known"]]], how="left", on=["unique_id", "ds"])
        numbers = [c for c in job["known"] if pd.api.types.is_numeric_dtype(train[c])]
        rows[numbers] = rows.groupby("unique_id")[numbers].transform(lambda x: x.ffill().bfill())
        known = long(rows, job | {"static": []}, None)
    answer = predictor.predict(data, known_covariates=known).reset_index()
    answer = answer.rename(columns={"item_id": "unique_id", "timestamp": "ds"})
    return laid(steps_ahead(train, future, job), answer)


if __name__ == "__main__":
    main(fit, predict, autogluon.timeseries.__version__)
