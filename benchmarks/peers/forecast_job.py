"""What the adapters of forecasting systems share: files in, a timed fit and forecast, files out. Needs pandas alone.

    python ADAPTER.py DIRECTORY

DIRECTORY holds train.parquet (unique_id, ds, y, covariates), future.parquet (unique_id, ds and known and static
covariates of the rows that are scored) and job.json (horizon, season, freq, known, past, static, levels, time_limit,
variant). An adapter gives `fit(train, job) -> model` and `predict(model, train, future, job) -> frame` with unique_id,
ds, mean and a column a level; forecast.parquet and facts.json are written.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import NormalDist
from time import perf_counter
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np


def main(
    fit: Callable[[pd.DataFrame, dict], Any],
    predict: Callable[[Any, pd.DataFrame, pd.DataFrame, dict], pd.DataFrame],
    about: str,
) -> None:
    """Run one job; `about` is the system's version."""
    place = Path(sys.argv[1])
    job = json.loads((place / "job.json").read_text())
    train, future = (pd.read_parquet(place / f"{part}.parquet") for part in ("train", "future"))
    start = perf_counter()
    model = fit(train, job)
    middle = perf_counter()
    answer = predict(model, train, future, job)
    end = perf_counter()
    answer.to_parquet(place / "forecast.parquet")
    facts = {"fit_s": round(middle - start, 3), "predict_s": round(end - middle, 3), "version": about}
    (place / "facts.json").write_text(json.dumps(facts))


def regular(train: pd.DataFrame, job: dict) -> pd.DataFrame:
    """Training rows with every period between each series' first and last, values carried forward."""
    parts = []
    for key, part in train.groupby("unique_id", sort=False):
        stamps = pd.date_range(part["ds"].min(), part["ds"].max(), freq=job["freq"])
        parts.append(part.set_index("ds").reindex(stamps).ffill().assign(unique_id=key).rename_axis("ds").reset_index())
    return pd.concat(parts, ignore_index=True)


def steps_ahead(train: pd.DataFrame, future: pd.DataFrame, job: dict) -> pd.DataFrame:
    """Every period from the end of each series' training to its last scored row: unique_id, ds."""
    last = train.groupby("unique_id")["ds"].max()
    parts = []
    for key, part in future.groupby("unique_id", sort=False):
        stamps = pd.date_range(last[key], part["ds"].max(), freq=job["freq"])[1:]
        parts.append(pd.DataFrame({"unique_id": key, "ds": stamps}))
    return pd.concat(parts, ignore_index=True)


def histories(train: pd.DataFrame, job: dict) -> dict:
    """Series -> its regular values, for systems with a model a series."""
    return {key: part["y"].to_numpy(float) for key, part in regular(train, job).groupby("unique_id")}


def normal(point: np.ndarray, spread: np.ndarray, levels: list[float]) -> dict:
    """Columns of normal quantiles around a point with a standard deviation."""
    return {f"{q:g}": point + NormalDist().inv_cdf(q) * spread for q in levels}


def interval(level: float) -> tuple[str, int]:
    """Side and width in percent of the central interval that a quantile bounds: 0.1 is ("lo", 80), 0.5 ("hi", 0)."""
    return "lo" if level < 0.5 else "hi", round(abs(1 - 2 * level) * 100)


def laid(rows: pd.DataFrame, answer: pd.DataFrame) -> pd.DataFrame:
    """An answer on the rows wanted; those past it, of series that end before the others, repeat the last step."""
    out = rows.merge(answer, how="left", on=["unique_id", "ds"])
    columns = out.columns.difference(["unique_id", "ds"])
    out[columns] = out.groupby("unique_id")[columns].ffill()
    return out
