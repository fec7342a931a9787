"""Tables larger than memory: seconds, peak memory of all processes, and what the model is worth.

    python -m benchmarks.large --gb 8 --memory 2000 --time-limit 600 --out FILE [--keep FOLDER] [--categories 500]

The table is made up: 24 numbers, four whole numbers, two columns of categories, a target that depends on ten. It
lies in a folder of Parquet files. The fit runs in a process of its own that starts cold; its peak memory counts all
processes it starts. Each run appends one JSON line. The noise of the target has a root mean square of 1.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.watch import watched

COLUMNS = 30
_FILE_ROWS, _GROUP_ROWS, _TEST_ROWS = 1_000_000, 131_072, 100_000


def generated(rows: int, seed: int, categories: int = 500) -> pd.DataFrame:
    """Rows of the made-up table."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({f"number_{j}": rng.normal(size=rows) for j in range(24)})
    for j in range(4):
        frame[f"count_{j}"] = rng.poisson(2 + j, rows)
    shop, kind = rng.integers(0, categories, rows), rng.integers(0, 6, rows)
    frame["shop"] = pd.Categorical.from_codes(shop, [f"shop {k}" for k in range(categories)]).astype(str)
    frame["kind"] = pd.Categorical.from_codes(kind, list("abcdef")).astype(str)
    x = frame.to_numpy()[:, :6].astype(float)
    effect = x[:, 0] + np.sin(2 * x[:, 1]) + x[:, 2] * x[:, 3] + np.maximum(x[:, 4], 0) * (kind == 2) + 0.5 * x[:, 5]
    effect += 0.2 * frame["count_0"] + np.random.default_rng(0).normal(size=categories)[shop] + 0.3 * (kind % 3)
    frame["target"] = effect + rng.normal(size=rows)
    return frame


def write(folder: Path, gb: float, categories: int) -> int:
    """Write a table of so many GB in memory; its rows."""
    rows = int(gb * 1e9 / (8 * COLUMNS))
    for k, first in enumerate(range(0, rows, _FILE_ROWS)):
        count = min(_FILE_ROWS, rows - first)
        frame = generated(count, 1000 + k, categories)
        frame.to_parquet(folder / f"part-{k:04d}.parquet", row_group_size=_GROUP_ROWS, index=False)
    return rows


def job(folder: str, memory: float, limit: float, categories: int, out: str) -> None:
    """Fit, and score new rows."""
    from tabular import AutoRegressor, DataSettings, Settings

    start = time.perf_counter()
    settings = Settings(data=DataSettings(memory_mb=memory))
    model = AutoRegressor(metric="root_mean_squared_error", time_limit=limit, settings=settings).fit(folder, "target")
    fit_s = time.perf_counter() - start
    test = generated(_TEST_ROWS, 1, categories)
    scores = model.evaluate(test, "target")
    rails = model.guardrails().set_index("name")["message"]
    answer = {
        "fit_s": round(fit_s, 1),
        "rmse": scores["root_mean_squared_error"],
        "r2": scores["r2_score"],
        "models": model.weights(),
        "note": rails.get("Large data handling"),
        "alert": rails.get("Refit"),
    }
    Path(out).write_text(json.dumps(answer), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gb", type=float, default=8.0)
    parser.add_argument("--memory", type=float, default=2000.0)
    parser.add_argument("--time-limit", type=float, default=600.0)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--keep", type=Path, help="folder of the table, written if it is empty")
    parser.add_argument("--categories", type=int, default=500, help="of one column")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.job:
        job(str(given.keep), given.memory, given.time_limit, given.categories, given.job)
        return
    with tempfile.TemporaryDirectory() as place:
        folder = given.keep or Path(place) / "table"
        folder.mkdir(parents=True, exist_ok=True)
        rows = int(given.gb * 1e9 / (8 * COLUMNS))
        if not any(folder.iterdir()):
            rows = write(folder, given.gb, given.categories)
        answer = Path(place) / "answer.json"
        command = [sys.executable, "-m", "benchmarks.large", "--job", str(answer), "--keep", str(folder)]
        command += ["--memory", str(given.memory), "--time-limit", str(given.time_limit), "--out", str(given.out)]
        command += ["--categories", str(given.categories)]
        log = Path(place) / "log.txt"
        code, peak = watched(command, log, 3 * given.time_limit + 600)
        row = {
            "rows": rows,
            "categories": given.categories,
            "gb": given.gb,
            "memory_mb": given.memory,
            "time_limit": given.time_limit,
            "peak_mb": round(peak),
        }
        if code == 0:
            row |= json.loads(answer.read_text(encoding="utf-8"))
        else:
            row["failure"] = log.read_text(encoding="utf-8")[-2000:]
        row |= {"cores": os.cpu_count(), "date": datetime.now(UTC).date().isoformat()}
        with given.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row, indent=1))


if __name__ == "__main__":
    main()
