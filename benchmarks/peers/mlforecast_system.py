"""mlforecast with LightGBM: lags, rolling means, calendar, scaled differences, covariates, conformal intervals."""

from __future__ import annotations

import mlforecast
from forecast_job import interval, laid, main, regular, steps_ahead
from lightgbm import LGBMRegressor
from mlforecast import MLForecast
from mlforecast.lag_transforms import RollingMean
from mlforecast.target_transforms import Differences, LocalStandardScaler
from mlforecast.utils import PredictionIntervals

DATE = {
    "h": ["hour", "dayofweek"],
    "D": ["dayofweek", "day", "month"],
    "7D": ["month"],
    "MS": ["month"],
    "QS": ["quarter"],
}


def fit(train, job):
    data, season = regular(train, job), job["season"]
    for name in data.select_dtypes(["object", "string"]).columns.difference(["unique_id"]):
        data[name] = data[name].astype("category")
    data = data.drop(columns=job["past"])
    # every series must keep rows behind its longest lag and the windows of the intervals
    shortest = int(data.groupby("unique_id").size().min())
    lags = [lag for lag in sorted({1, 2, 3, season, 2 * season}) if lag <= max(1, (shortest - 2 * job["horizon"]) // 3)]
    windows = {lag: [RollingMean(window_size=max(2, season))] for lag in lags if lag == 1 and season < shortest // 4}
    model = MLForecast(
        models={"mean": LGBMRegressor(verbosity=-1, n_jobs=2)}, freq=job["freq"], lags=lags, lag_transforms=windows,
        date_features=DATE.get(job["freq"], []), target_transforms=[Differences([1]), LocalStandardScaler()],
        num_threads=2,
    )  # fmt: skip
    room = (shortest - max(lags) - 3) // job["horizon"] - 1
    intervals = PredictionIntervals(n_windows=2, h=job["horizon"]) if room >= 2 else None
    model.fit(data, static_features=job["static"], prediction_intervals=intervals)
    return model, intervals is not None, data


def predict(model, train, future, job):
    forecaster, intervals, data = model
    rows = steps_ahead(train, future, job)
    h = int(rows.groupby("unique_id").size().max()) if not intervals else job["horizon"]
    ahead = None
    if job["known"]:
        ahead = forecaster.make_future_dataframe(h).merge(
            future[["unique_id", "ds", *job["known"]]], how="left", on=["unique_id", "ds"]
        )
        for name in job["known"]:
            ahead[name] = ahead.groupby("unique_id")[name].ffill().bfill().astype(data[name].dtype)
    widths = sorted({interval(q)[1] for q in job["levels"]} - {0})
    out = forecaster.predict(h, X_df=ahead, level=widths if intervals else None)
    answer = out[["unique_id", "ds", "mean"]].copy()
    for q in job["levels"]:
        side, width = interval(q)
        answer[f"{q:g}"] = out[f"mean-{side}-{width}"] if intervals and width else out["mean"]
    return laid(rows, answer)


if __name__ == "__main__":
    main(fit, predict, mlforecast.__version__)
