"""statsforecast on many series: its automatic models and the dynamic optimised Theta with defaults (see work.py)."""

from __future__ import annotations

import numpy as np
import pandas as pd
import statsforecast
from statsforecast import StatsForecast
from statsforecast.models import AutoARIMA, AutoCES, AutoETS, DynamicOptimizedTheta
from work import main

MODELS = {"ets": AutoETS, "arima": AutoARIMA, "theta": DynamicOptimizedTheta, "ces": AutoCES}


def ask(method: str, series: list[np.ndarray], horizon: int, season: int) -> np.ndarray:
    names = np.repeat(np.arange(len(series)), [len(y) for y in series])
    steps = np.concatenate([np.arange(len(y)) for y in series])
    frame = pd.DataFrame({"unique_id": names, "ds": steps, "y": np.concatenate(series)})
    model = MODELS[method](season_length=season, alias="m")
    ahead = StatsForecast(models=[model], freq=1, n_jobs=1).forecast(df=frame, h=horizon, level=[80])
    return ahead[["m", "m-lo-80", "m-hi-80"]].to_numpy(float).reshape(len(series), horizon, 3)


if __name__ == "__main__":
    main(ask, "statsforecast", statsforecast.__version__)
