"""Lags, windows and calendar as a matrix: `forecasting.pivot` against mlforecast's `preprocess`.

    python -m benchmarks.features [--rows 2000000,10000000] [--repeats 3] [--out FILE]

Daily series of 1,000 rows each; 7 lags, 5 rolling means, 4 calendar features, two threads. Each side runs in a process
of its own (mlforecast in `peers/.venv-mlforecast`). Ours is timed from the panel (the arrays that every fit starts
from) and, apart, from the frame; mlforecast from the frame, which is what it takes. The design matrix of our own
models, which holds more and any rows, is timed too. Memory is the peak of resident memory above what stood before,
the input not counted. Prints the table and appends one JSON line a run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[1]
LENGTH = 1_000
LAGS = (1, 2, 3, 7, 14, 21, 28)
WINDOWS = (3, 7, 14, 28, 56)
CALENDAR = {"dayofweek": "wday", "day": "day", "month": "month", "quarter": "quarter"}
"""Names in mlforecast and in forecastle."""

THREADS = 2
SIDES = ("ours", "ours from the frame", "ours for models", "mlforecast")


def frame_of(rows: int) -> pd.DataFrame:
    """Long frame of daily series."""
    n = rows // LENGTH
    rng = np.random.default_rng(0)
    days = pd.date_range("2020-01-01", periods=LENGTH, freq="D").to_numpy()
    week = np.tile(np.sin(2 * np.pi * np.arange(LENGTH) / 7), n)
    return pd.DataFrame(
        {"unique_id": np.repeat(np.arange(n), LENGTH), "ds": np.tile(days, n), "y": 10 + week + rng.random(n * LENGTH)}
    )


def ours(frame: pd.DataFrame, *, from_frame: bool) -> Callable[[], tuple[int, int]]:
    """What is timed: rows and columns of `forecasting.pivot`, and of the ids, times and targets beside them."""
    from automl.guardrails import Report
    from forecasting import pivot
    from forecasting.config import DataSettings
    from forecasting.frame import prepare

    settings = DataSettings(freq="D", short_series=None)
    data = frame if from_frame else prepare(frame, settings, min_length=1, report=Report()).panel

    def run() -> tuple[int, int]:
        table = pivot(
            data, lags=LAGS, windows=WINDOWS, calendar=tuple(CALENDAR.values()), settings=settings, threads=THREADS
        )
        return table.x.shape

    return run


def ours_for_models(frame: pd.DataFrame) -> Callable[[], tuple[int, int]]:
    """The design matrix of the pooled models with the same lags and windows: scaled, of any rows and steps ahead."""
    from automl.guardrails import Report
    from forecasting.config import DataSettings
    from forecasting.features.plan import FeaturePlan
    from forecasting.features.settings import PlanSettings
    from forecasting.frame import prepare
    from forecasting.learners.base import FitContext

    panel = prepare(frame, DataSettings(freq="D"), min_length=1, report=Report()).panel
    settings = PlanSettings(
        strategy="recursive", lags=",".join(map(str, LAGS)), windows=",".join(map(str, WINDOWS)),
        window_statistics="mean", transform="none", base="none", further_seasons=False, series_code=False,
        max_rows=2**40,
    )  # fmt: skip
    context = FitContext(horizon=1, season=1, threads=THREADS)

    def run() -> tuple[int, int]:
        plan = replace(FeaturePlan.fit(panel, settings, context), calendar=tuple(CALENDAR.values()))
        scaled = plan.scale(panel)
        rows, series = plan.training_rows(scaled, 0)
        return plan.design(scaled, rows, series, threads=THREADS).x.shape

    return run


def theirs(frame: pd.DataFrame) -> Callable[[], tuple[int, int]]:
    """The same of mlforecast."""
    from mlforecast import MLForecast
    from mlforecast.lag_transforms import RollingMean

    def run() -> tuple[int, int]:
        maker = MLForecast(
            models=[], freq="D", lags=list(LAGS), lag_transforms={1: [RollingMean(w) for w in WINDOWS]},
            date_features=list(CALENDAR), num_threads=THREADS,
        )  # fmt: skip
        return maker.preprocess(frame, static_features=[], dropna=False).shape

    return run


def resident() -> float:
    """Resident memory of this process, MB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def measure(side: str, rows: int, repeats: int) -> dict[str, Any]:
    """Seconds (the least of some runs) and memory of one side, in this process."""
    make = {
        "ours": lambda f: ours(f, from_frame=False),
        "ours from the frame": lambda f: ours(f, from_frame=True),
        "ours for models": ours_for_models,
        "mlforecast": theirs,
    }
    make[side](frame_of(10 * LENGTH))()  # compiles and imports
    run = make[side](frame_of(rows))
    over, peak = threading.Event(), [resident()]
    before = peak[0]

    def watch() -> None:
        while not over.wait(0.002):
            peak[0] = max(peak[0], resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    seconds = []
    for _ in range(repeats):
        start = perf_counter()
        shape = run()
        seconds.append(perf_counter() - start)
    over.set()
    watcher.join()
    best = min(seconds)
    return {
        "side": side, "rows": rows, "matrix": list(shape), "seconds": best, "million rows/s": rows / best / 1e6,
        "extra MB": peak[0] - before, "python": platform.python_version(), "cores": os.cpu_count(),
    }  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    lines = ["| rows | side | seconds | million rows/s | extra MB | against mlforecast |", "|--:|---|--:|--:|--:|---|"]
    for row in rows:
        peer = [r for r in rows if r["rows"] == row["rows"] and r["side"] == "mlforecast"]
        ratio = ""
        if peer and row["side"] != "mlforecast":
            faster, less = peer[0]["seconds"] / row["seconds"], row["extra MB"] / peer[0]["extra MB"]
            ratio = f"{faster:.1f} x as fast, {less:.2f} x the memory"
        lines.append(
            f"| {row['rows']:,} | {row['side']} | {row['seconds']:.3f} | {row['million rows/s']:.2f} | "
            f"{row['extra MB']:.0f} | {ratio} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="2000000,10000000", help="sizes, joined by commas")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--side", choices=SIDES, help="measure one side in this process and print its line")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("features.jsonl"))
    options = parser.parse_args()
    sizes = [int(size) for size in options.rows.split(",")]
    if options.side:
        print(json.dumps(measure(options.side, sizes[0], options.repeats)))
        return
    own = Path(__file__).parent / "peers" / ".venv-mlforecast" / "bin" / "python"
    found = []
    for size in sizes:
        for side in SIDES:
            python = own if side == "mlforecast" else Path(sys.executable)
            if not python.exists():
                print(f"{side} is left out: there is no {python}", file=sys.stderr)
                continue
            command = [str(python), __file__, "--side", side, "--rows", str(size), "--repeats", str(options.repeats)]
            environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(THREADS)}
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
            if done.returncode:
                raise SystemExit(f"{side} failed:\n{done.stderr[-2000:]}")
            found.append(json.loads(done.stdout.strip().splitlines()[-1]))
            print(found[-1], file=sys.stderr)
    with options.out.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in found)
    print(table(found))


if __name__ == "__main__":
    main()
