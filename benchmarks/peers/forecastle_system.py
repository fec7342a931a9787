"""forecastle with its defaults; variant "deep" adds the network."""

from __future__ import annotations

from pathlib import Path

from forecast_job import main

from forecastle import ExitCriteria, Forecaster, SearchSettings, Settings, __version__


def fit(train, job):
    search = SearchSettings(limits=ExitCriteria(time_limit=job["time_limit"]), deep=job["variant"] == "deep")
    covariates = {name: job[name] for name in ("known", "past", "static")}
    model = Forecaster(job["horizon"], freq=job["freq"], **covariates, settings=Settings(search=search))
    return model.fit(train, path=Path(job["keep"]) if job["keep"] else None)


def predict(model, train, future, job):
    answer = model.predict(future, quantiles=job["levels"])
    short = answer.loc[answer["yhat"].isna(), "unique_id"].unique()
    if len(short):  # left out of training; forecast as new series, from the rows that they have
        history = train[train["unique_id"].isin(short)]
        answer = model.predict(future, history=history, quantiles=job["levels"])
    names = {f"yhat-q-{level:g}": f"{level:g}" for level in job["levels"]}
    return answer.rename(columns={"yhat": "mean", **names})[["unique_id", "ds", "mean", *names.values()]]


if __name__ == "__main__":
    main(fit, predict, __version__)
