"""Calibration of the intervals of a default search: share of test values inside, over all steps and at each.

    python benchmarks/calibration.py --data DIR [--only tourism_monthly] [--limit 120] [--out FILE]

DIR holds Parquet files with unique_id, ds, y, split (see README.md beside this file); the first 300 sorted ids of each
set are forecast once from the end of training. Appends one JSON line a set and prints a Markdown table, its last row
over all sets together.
"""

from __future__ import annotations

import argparse
import json
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd

from forecastle import ExitCriteria, FeatureSettings, Forecaster, SearchSettings, Settings

SETS = {"tourism_monthly": (24, 12), "m3_monthly": (18, 12)}
"""Horizon and season (times are plain steps)."""

SERIES = 300
LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)


def inside(data: Path, name: str, limit: float) -> tuple[pd.DataFrame, dict[str, Any]]:
    """A row a test value: step ahead, inside 80 and 50 %, quantiles in order; and what the run was."""
    horizon, season = SETS[name]
    frame = pd.read_parquet(data / f"{name}.parquet", columns=["unique_id", "ds", "y", "split"])
    frame = frame[frame["unique_id"].isin(sorted(frame["unique_id"].astype(str).unique())[:SERIES])]
    train, test = (frame[frame["split"] == part].drop(columns="split") for part in ("train", "test"))
    search = SearchSettings(limits=ExitCriteria(time_limit=limit))
    start = perf_counter()
    settings = Settings(features=FeatureSettings(season=season), search=search)
    model = Forecaster(horizon, settings=settings).fit(train)
    seconds = perf_counter() - start
    result = model.evaluate(test, quantiles=LEVELS)
    rows = result.predictions
    columns = [f"yhat-q-{q:g}" for q in LEVELS]
    quantiles = rows[columns].to_numpy()
    y = rows["y"].to_numpy()
    out = pd.DataFrame({
        "step": rows.groupby("unique_id", observed=True).cumcount() + 1,
        "in 80": (y >= quantiles[:, 0]) & (y <= quantiles[:, -1]),
        "in 50": (y >= quantiles[:, 1]) & (y <= quantiles[:, -2]),
        "crossed": (np.diff(quantiles, axis=1) < 0).any(axis=1),
    })  # fmt: skip
    return out, {"seconds": seconds, "best": model.best(), "MASE": result.metrics["mase"], "WQL": result.metrics["wql"]}


def row(name: str, values: pd.DataFrame, facts: dict[str, Any]) -> dict[str, Any]:
    by_step = values.groupby("step")["in 80"].mean()
    return {
        "data": name, "values": len(values), "coverage 80": float(values["in 80"].mean()),
        "lowest at a step": float(by_step.min()), "highest at a step": float(by_step.max()),
        "coverage 50": float(values["in 50"].mean()), "crossed": int(values["crossed"].sum()), **facts,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", choices=list(SETS), action="append")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds a set")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".jsonl"))
    options = parser.parse_args()
    rows, parts = [], []
    for name in options.only or SETS:
        values, facts = inside(options.data, name, options.limit)
        parts.append(values)
        rows.append(row(name, values, facts))
    if len(parts) > 1:
        rows.append(row("all", pd.concat(parts), {}))
    with options.out.open("a", encoding="utf-8") as file:
        for line in rows:
            about = {"limit": options.limit, "forecastle": version("forecastle")}
            file.write(json.dumps({**line, **about}) + "\n")
    names = list(rows[0])
    print("| " + " | ".join(names) + " |\n|" + "---|" * len(names))
    for line in rows:
        cells = [line.get(name, "") for name in names]
        print("| " + " | ".join(f"{c:.4g}" if isinstance(c, float) else str(c) for c in cells) + " |")


if __name__ == "__main__":
    main()
