"""Reconciled forecasts of a hierarchy: mean absolute error of every level by every way of reconciling.

    python -m benchmarks.hierarchy --data DIR [--time-limit 90] [--out FILE]

DIR holds `tasks.yaml`; every task with a `hierarchy` is forecast once at all nodes by the default search, reconciled in
each way, and scored on the test period. One JSON line a task and way; the table is printed.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.accuracy import Task, read_tasks
from forecasting.hierarchical import HierarchicalForecaster
from forecasting.hierarchy import METHODS, coherent


def rows_of(task: Task, directory: Path, time_limit: float) -> list[dict[str, object]]:
    frame = pd.read_parquet(directory / task.file)
    frame["ds"] = pd.to_datetime(frame["ds"])
    train, test = frame[frame["split"].astype(str) == "train"], frame[frame["split"].astype(str) != "train"]
    model = HierarchicalForecaster(task.horizon, levels=task.hierarchy, time="ds", target="y", time_limit=time_limit)
    model.fit(train)
    rows = []
    for method in METHODS:
        found = model.predict(method=method, quantiles=[0.1, 0.9])
        values = found["yhat"].to_numpy().reshape(-1, task.horizon)
        row: dict[str, object] = {"task": task.name, "method": method, "gap": coherent(model.tree, values)}
        for depth, name in enumerate(("total", *task.hierarchy)):
            keys = task.hierarchy[:depth]
            level = model.predict(level=keys[-1] if keys else None, method=method, quantiles=[0.1, 0.9])
            actual = test.groupby([*keys, "ds"], as_index=False, observed=True)["y"].sum()
            both = level.merge(actual, on=[*keys, "ds"])
            row[name] = round(float((both["yhat"] - both["y"]).abs().mean()), 4)
            inside = both["y"].between(both["yhat-q-0.1"], both["yhat-q-0.9"])
            row[f"{name}_coverage80"] = round(float(np.mean(inside)), 3)
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--time-limit", type=float, default=90.0)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "hierarchy.jsonl")
    asked = parser.parse_args()
    for task in read_tasks(asked.data / "tasks.yaml", []):
        if not task.hierarchy:
            continue
        rows = rows_of(task, asked.data, asked.time_limit)
        with asked.out.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
        print(pd.DataFrame(rows).to_markdown(index=False) if _tabulate() else pd.DataFrame(rows).to_string(index=False))


def _tabulate() -> bool:
    from importlib.util import find_spec

    return find_spec("tabulate") is not None


if __name__ == "__main__":
    main()
