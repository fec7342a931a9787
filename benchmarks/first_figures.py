"""Accuracy, time and memory on four real data sets, one JSON line a run, and the Markdown table of the README.

    python benchmarks/first_figures.py --data DIR [--only orange_juice] [--table]

DIR holds the public files named in TASKS (see benchmarks/README.md for where they come from). Each run happens in a
fresh process, so that peak memory is its own. Peers (seasonal naive and the like) are scored in the same run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from forecastle import Columns, ExitCriteria, FeatureSettings, Forecaster, SearchSettings, Settings

if TYPE_CHECKING:
    from collections.abc import Callable

RESULTS = Path(__file__).with_name("first_figures.jsonl")


def wape(y: np.ndarray, f: np.ndarray) -> float:
    return float(np.abs(y - f).sum() / np.abs(y).sum())


def _settings(limit: float, **features: Any) -> Settings:
    return Settings(features=FeatureSettings(**features), search=SearchSettings(limits=ExitCriteria(time_limit=limit)))


def orange_juice(data: Path, limit: float, run: Path) -> dict[str, Any]:
    train, test = (
        pd.read_csv(data / f"azureml/oj-sales-{part}.csv", parse_dates=["WeekStarting"]) for part in ("train", "test")
    )
    columns = Columns(id=("Store", "Brand"), time="WeekStarting", target="Quantity")
    model = Forecaster(20, freq="W-THU", columns=columns, known=["Price", "Advert"], settings=_settings(limit)).fit(
        train, path=run
    )
    result = model.evaluate(test)
    keys = ["Store", "Brand"]
    median = train.groupby(keys)["Quantity"].median().rename("median")
    truth = test.join(median, on=keys)
    return {
        **_common(model, result.metrics),
        "peers": {"constant median WAPE": wape(truth["Quantity"].to_numpy(), truth["median"].to_numpy())},
    }


def tourism_monthly(data: Path, limit: float, run: Path) -> dict[str, Any]:
    frame = pd.read_parquet(data / "tourism_monthly.parquet", columns=["unique_id", "ds", "y", "split"])
    train, test = (frame[frame["split"] == part].drop(columns="split") for part in ("train", "test"))
    model = Forecaster(24, settings=_settings(limit, season=12)).fit(train, path=run)
    result = model.evaluate(test)
    naive = []
    for key, past in train.groupby("unique_id", observed=True)["y"]:
        y = past.to_numpy()
        ahead = test.loc[test["unique_id"] == key, "y"].to_numpy()
        error = np.abs(ahead - np.tile(y[-12:], 2)).mean()
        naive.append(error / np.abs(y[12:] - y[:-12]).mean())
    return {**_common(model, result.metrics), "peers": {"seasonal naive MASE": float(np.mean(naive))}}


def nyc_energy(data: Path, limit: float, run: Path) -> dict[str, Any]:
    frame = pd.read_csv(data / "azureml/nyc_energy.csv", parse_dates=["timeStamp"])[["timeStamp", "demand"]]
    return _rolling(frame, "timeStamp", "demand", 48, 10, (24, 168), limit, run, freq="h")


def bike_sharing(data: Path, limit: float, run: Path) -> dict[str, Any]:
    frame = pd.read_csv(data / "azureml/bike-no.csv")[["date", "cnt"]]
    frame["date"] = pd.to_datetime(frame["date"])
    return _rolling(frame, "date", "cnt", 14, 8, (7,), limit, run, freq="D", holidays="US")


def _rolling(
    frame: pd.DataFrame,
    time_column: str,
    target: str,
    horizon: int,
    origins: int,
    seasons: tuple[int, ...],
    limit: float,
    run: Path,
    *,
    freq: str,
    **features: Any,
) -> dict[str, Any]:
    """Train once before the first origin, then forecast from each of `origins` origins a horizon apart."""
    frame = frame.dropna().sort_values(time_column)
    stamps = pd.date_range(end=frame[time_column].max(), periods=origins * horizon, freq=freq)
    train, test = frame[frame[time_column] < stamps[0]], frame[frame[time_column] >= stamps[0]]
    columns = Columns(id=(), time=time_column, target=target)
    model = Forecaster(horizon, freq=freq, columns=columns, settings=_settings(limit, **features)).fit(train, path=run)
    result = model.evaluate(test)
    series = frame.set_index(time_column)[target].asfreq(freq)
    series = series.ffill()
    peers = {}
    for season in seasons:
        errors = []
        for k in range(origins):
            first = len(series) - (origins - k) * horizon
            past, ahead = series.to_numpy()[:first], series.to_numpy()[first : first + horizon]
            errors.append(np.abs(ahead - np.resize(past[-season:], horizon)))
        peers[f"seasonal naive {season} MAE"] = float(np.mean(errors))
    return {**_common(model, result.metrics), "peers": peers}


def _common(model: Forecaster, metrics: dict[str, float]) -> dict[str, Any]:
    board = model.leaderboard()
    chosen = ("mase", "wape", "mean_absolute_error", "coverage_80", "wql")
    return {
        "scores": {name: metrics[name] for name in chosen},
        "best": model.best(),
        "trials": int(board["status"].isin(["completed", "degraded"]).sum()),
        "stopped": model.stopped_because,
    }


TASKS: dict[str, tuple[Callable[[Path, float, Path], dict[str, Any]], float]] = {
    "orange_juice": (orange_juice, 120.0),
    "tourism_monthly": (tourism_monthly, 180.0),
    "nyc_energy": (nyc_energy, 180.0),
    "bike_sharing": (bike_sharing, 90.0),
}


def measure(name: str, data: Path, limit: float, run: Path) -> dict[str, Any]:
    task, _ = TASKS[name]
    start = time.perf_counter()
    row = task(data, limit, run)
    seconds = time.perf_counter() - start
    usage = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return {
        "dataset": name,
        "system": f"forecastle {version('forecastle') if _installed() else 'source'}",
        "limit_s": limit,
        "seed": 0,
        **row,
        "seconds": seconds,
        "peak_mb": max(usage) / 1024,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "versions": {p: version(p) for p in ("numpy", "pandas", "scikit-learn", "lightgbm", "statsmodels")},
    }


def _installed() -> bool:
    from importlib.metadata import PackageNotFoundError

    try:
        version("forecastle")
    except PackageNotFoundError:
        return False
    return True


def table(rows: list[dict[str, Any]]) -> str:
    """Newest row of each data set."""
    newest = {row["dataset"]: row for row in rows}
    lines = [
        "| data | limit s | seconds | peak MB | MASE | WAPE | MAE | 80 % coverage | compared with |",
        "|---|" + "--:|" * 7 + "---|",
    ]
    for row in newest.values():
        s = row["scores"]
        peers = ", ".join(f"{k} {v:.3g}" for k, v in row["peers"].items())
        cells = [
            row["dataset"], f"{row['limit_s']:.0f}", f"{row['seconds']:.0f}", f"{row['peak_mb']:.0f}",
            f"{s['mase']:.3f}", f"{s['wape']:.3f}", f"{s['mean_absolute_error']:.4g}", f"{s['coverage_80']:.0%}", peers,
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("FORECASTLE_DATA", "data")))
    parser.add_argument("--only", choices=sorted(TASKS), action="append")
    parser.add_argument("--limit", type=float, help="seconds, in place of the task's own")
    parser.add_argument("--table", action="store_true", help="only print the table of the stored rows")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            limit = arguments.limit or TASKS[arguments.one][1]
            print(json.dumps(measure(arguments.one, arguments.data, limit, Path(folder) / "run")))
        return
    for name in [] if arguments.table else arguments.only or list(TASKS):
        command = [sys.executable, __file__, "--data", str(arguments.data), "--one", name]
        command += ["--limit", str(arguments.limit)] if arguments.limit else []
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(done.stdout.strip().splitlines()[-1] + "\n")
    rows = [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()]
    print(table(rows))


if __name__ == "__main__":
    main()
