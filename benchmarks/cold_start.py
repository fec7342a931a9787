"""A series the model never saw, with two seasons of its own history, against the same series when trained on.

    python benchmarks/cold_start.py --data DIR [--trials N] [--seed K]

DIR holds `tourism_monthly.parquet` (see benchmarks/README.md). Sixty series are left out by a seeded choice. Their
test period is forecast by a model trained with them (whole history), by one trained without them that gets their last
24 rows as `history=`, by one trained on those 24 rows only, and by seasonal naive. All errors are over the same scale:
the seasonal naive error of each series' whole training part. Prints the table of the newest row and appends the row to
`cold_start.jsonl`. With `--inside` the same is measured one horizon earlier, without a look at the test period.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from forecastle import ExitCriteria, FeatureSettings, Forecaster, SearchSettings, Settings

RESULTS = Path(__file__).with_name("cold_start.jsonl")
HORIZON, SEASON, OWN_ROWS, LEFT_OUT = 24, 12, 24, 60
WAYS = ("trained with them", "history of 24 rows", "trained on 24 rows", "seasonal naive")


def split(data: Path, *, inside: bool) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training and test rows; `inside` cuts the last horizon off the training part and makes that the test."""
    frame = pd.read_parquet(data / "tourism_monthly.parquet", columns=["unique_id", "ds", "y", "split"])
    frame["unique_id"] = frame["unique_id"].astype(str)
    train, test = (frame[frame["split"] == part].drop(columns="split") for part in ("train", "test"))
    if inside:
        back = train.groupby("unique_id").cumcount(ascending=False)
        train, test = train[back >= HORIZON], train[back < HORIZON]
    return train, test


def fit(frame: pd.DataFrame, trials: int) -> Forecaster:
    settings = Settings(
        features=FeatureSettings(season=SEASON),
        search=SearchSettings(limits=ExitCriteria(max_trials=trials)),
    )
    with tempfile.TemporaryDirectory() as folder:
        return Forecaster(HORIZON, settings=settings).fit(frame, path=Path(folder) / "run")


def errors(forecast: pd.DataFrame, test: pd.DataFrame, scale: pd.Series) -> pd.Series:
    """MASE of each series."""
    both = test.merge(forecast[["unique_id", "ds", "yhat"]], on=["unique_id", "ds"], how="left")
    assert both["yhat"].notna().all()
    mae = (both["y"] - both["yhat"]).abs().groupby(both["unique_id"]).mean()
    return mae / scale.loc[mae.index]


def measure(data: Path, trials: int, seed: int, *, inside: bool) -> dict:
    train, test = split(data, inside=inside)
    length = train.groupby("unique_id").size()
    names = length.index[length >= OWN_ROWS + SEASON].to_numpy()
    left = np.sort(np.random.default_rng(seed).choice(names, LEFT_OUT, replace=False))
    mine, ahead = train[train["unique_id"].isin(left)], test[test["unique_id"].isin(left)]
    own = mine.groupby("unique_id").tail(OWN_ROWS)
    scale = mine.groupby("unique_id")["y"].agg(lambda y: np.abs(y.to_numpy()[SEASON:] - y.to_numpy()[:-SEASON]).mean())
    rows, seconds, best = {}, {}, {}
    for way in WAYS[:3]:
        start = time.perf_counter()
        if way == WAYS[0]:
            model = fit(train, trials)
            out = model.predict(ahead[["unique_id", "ds"]])
        elif way == WAYS[1]:
            model = fit(train[~train["unique_id"].isin(left)], trials)
            out = model.predict(ahead[["unique_id", "ds"]], history=own)
        else:
            model = fit(own, trials)
            out = model.predict(ahead[["unique_id", "ds"]])
        rows[way] = errors(out, ahead, scale)
        seconds[way], best[way] = time.perf_counter() - start, model.best()
    naive = own.groupby("unique_id").tail(SEASON)
    out = ahead.assign(yhat=np.concatenate([np.tile(y, HORIZON // SEASON) for _, y in naive.groupby("unique_id")["y"]]))
    rows[WAYS[3]] = errors(out, ahead, scale)
    return {
        "dataset": "tourism_monthly",
        "part": "before the test period" if inside else "test period",
        "series_left_out": LEFT_OUT,
        "rows_of_history": OWN_ROWS,
        "trials": trials,
        "seed": seed,
        "mase": {way: float(values.mean()) for way, values in rows.items()},
        "against_trained": float(rows[WAYS[1]].mean() / rows[WAYS[0]].mean() - 1),
        "best": best,
        "seconds": seconds,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "versions": {p: version(p) for p in ("numpy", "pandas", "scikit-learn", "lightgbm")},
    }


def table(row: dict) -> str:
    lines = ["| forecast of 60 series | MASE | against trained |", "|---|--:|--:|"]
    base = row["mase"][WAYS[0]]
    lines += [f"| {way} | {value:.3f} | {value / base - 1:+.1%} |" for way, value in row["mase"].items()]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("FORECASTLE_DATA", "data")))
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--inside", action="store_true", help="measure one horizon before the test period")
    parser.add_argument("--dry", action="store_true", help="do not append the row to the results")
    arguments = parser.parse_args()
    row = measure(arguments.data, arguments.trials, arguments.seed, inside=arguments.inside)
    if not arguments.dry:
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
    print(json.dumps(row))
    print(table(row))


if __name__ == "__main__":
    main()
