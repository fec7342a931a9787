"""AutoGluon-Tabular, medium_quality (or the preset named as variant), the metric and the time limit given."""

from __future__ import annotations

import tempfile

import pandas as pd
from autogluon.tabular import TabularPredictor, __version__
from tabular_job import by_class, main

METRICS = {"roc_auc": "roc_auc", "log_loss": "log_loss", "rmse": "root_mean_squared_error"}


def fit(train, job):
    predictor = TabularPredictor(
        label=job["target"], problem_type=job["task"], eval_metric=METRICS[job["metric"]], path=tempfile.mkdtemp(),
        verbosity=1,
    )  # fmt: skip
    predictor.fit(train, presets=job["variant"] or "medium_quality", time_limit=job["time_limit"])
    return predictor, None


def predict(model, test, job):
    if job["task"] == "regression":
        return pd.DataFrame({"value": model.predict(test).to_numpy()})
    answer = model.predict_proba(test)
    return by_class(answer.to_numpy(), answer.columns)


if __name__ == "__main__":
    main(fit, predict, __version__)
