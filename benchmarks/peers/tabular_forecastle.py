"""forecastle with its defaults."""

from __future__ import annotations

import pandas as pd
from tabular_job import by_class, main

from forecastle import AutoClassifier, AutoRegressor, __version__

METRICS = {"roc_auc": "AUC_weighted", "log_loss": "log_loss", "rmse": "root_mean_squared_error"}


def fit(train, job):
    cls = AutoRegressor if job["task"] == "regression" else AutoClassifier
    model = cls(metric=METRICS[job["metric"]], time_limit=job["time_limit"])
    model.fit(train, job["target"])
    return model, round(model.first_model_seconds_, 2)


def predict(model, test, job):
    if job["task"] == "regression":
        return pd.DataFrame({"value": model.predict(test)})
    return by_class(model.predict_proba(test), model.classes_)


if __name__ == "__main__":
    main(fit, predict, __version__)
