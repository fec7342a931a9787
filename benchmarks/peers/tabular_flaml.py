"""FLAML with its defaults, the metric and the time limit given. It says nothing of its first model."""

from __future__ import annotations

import flaml
import pandas as pd
from flaml import AutoML
from tabular_job import by_class, main


def fit(train, job):
    search = AutoML()
    data = train.drop(columns=job["target"])
    text = data.select_dtypes(exclude=["number", "bool"]).columns
    data[text] = data[text].astype(str)
    search.fit(
        X_train=data,
        y_train=train[job["target"]],
        task="regression" if job["task"] == "regression" else "classification",
        metric=job["metric"],
        time_budget=job["time_limit"],
        seed=0,
        verbose=0,
    )
    return search, None


def predict(model, test, job):
    data = test.copy()
    text = data.select_dtypes(exclude=["number", "bool"]).columns
    data[text] = data[text].astype(str)
    if job["task"] == "regression":
        return pd.DataFrame({"value": model.predict(data)})
    return by_class(model.predict_proba(data), model.classes_)


if __name__ == "__main__":
    main(fit, predict, flaml.__version__)
