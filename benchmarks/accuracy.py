"""Accuracy, calibration, time and memory of forecasting systems on many data sets, all with their defaults.

    python -m benchmarks.accuracy --tasks DIR/tasks.yaml [--only a,b] [--peer autogluon] --time-limit 120 --out FILE

`tasks.yaml` lists data sets (see README.md beside this file for its keys). forecastle runs on each of them, and so does
every `--peer`, in a process of its own and in its own environment where it needs one. Each run appends one JSON line;
at the end the table of all lines of FILE is printed, with geometric means of the ratios to the other systems.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from benchmarks.scores import scores
from benchmarks.watch import watched

PEERS = Path(__file__).parent / "peers"
LEVELS = tuple(k / 10 for k in range(1, 10))
KEYS = ("MASE", "sMAPE", "WQL", "coverage80", "fit_s", "predict_s", "peak_mb")


@dataclass(frozen=True, slots=True)
class Task:
    """One data set, as `tasks.yaml` describes it.

    Parameters
    ----------
    horizon : rows after training that are scored in each series. season : steps, for the scale of MASE.
    freq : of the times. nominal_freq : of dates from 1970 on that stand for times which are whole numbers.
    known, past, static : covariates. gaps : periods may be missing. hierarchy : not used here.
    """

    name: str
    file: str
    horizon: int
    season: int
    freq: str | None = None
    nominal_freq: str | None = None
    known: list[str] = field(default_factory=list)
    past: list[str] = field(default_factory=list)
    static: list[str] = field(default_factory=list)
    gaps: bool = False
    hierarchy: list[str] = field(default_factory=list)

    def frames(self, directory: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Training rows and the scored ones, times as dates."""
        own = ["unique_id", "ds", "y"]
        frame = pd.read_parquet(directory / self.file)
        frame["unique_id"] = frame["unique_id"].astype(str)
        for name in frame.select_dtypes("category"):
            frame[name] = frame[name].astype(str if frame[name].cat.categories.dtype.kind not in "iuf" else float)
        if pd.api.types.is_integer_dtype(frame["ds"]):
            assert self.nominal_freq, f"{self.name}: times are numbers, and nominal_freq is missing"
            first, last = int(frame["ds"].min()), int(frame["ds"].max())
            dates = pd.date_range("1970-01-01", periods=last - first + 1, freq=self.nominal_freq)
            frame["ds"] = dates[frame["ds"] - first]
        frame = frame.sort_values(["unique_id", "ds"], ignore_index=True)
        columns = [*own, *self.known, *self.past, *self.static]
        train = frame.loc[frame["split"].astype(str) == "train", columns]
        later = frame.loc[frame["split"].astype(str) != "train", columns]
        return train, later.groupby("unique_id").head(self.horizon)


def read_tasks(path: Path, only: list[str]) -> list[Task]:
    tasks = [Task(**raw) for raw in yaml.safe_load(path.read_text(encoding="utf-8"))]
    unknown = sorted(set(only) - {task.name for task in tasks})
    if unknown:
        raise SystemExit(f"{path} has no task {', '.join(unknown)}. Tasks: {', '.join(t.name for t in tasks)}.")
    return [task for task in tasks if not only or task.name in only]


def systems() -> dict[str, Path]:
    """Name -> adapter."""
    return {path.stem.removesuffix("_system"): path for path in sorted(PEERS.glob("*_system.py"))}


def _python(system: str) -> str:
    """Interpreter of a system: its own environment where there is one."""
    own = PEERS / f".venv-{system.partition('-')[0]}" / "bin" / "python"
    return str(own) if own.exists() else sys.executable


def run(system: str, task: Task, directory: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One system on one task: its scores, or the error that it ended with."""
    train, test = task.frames(directory)
    adapter = systems()[system.partition("-")[0]]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        train.to_parquet(place / "train.parquet")
        test.drop(columns=["y", *task.past]).to_parquet(place / "future.parquet")
        job = {
            "horizon": task.horizon, "season": task.season, "freq": task.freq or task.nominal_freq, "known": task.known,
            "past": task.past, "static": task.static, "levels": LEVELS, "time_limit": options.time_limit,
            "variant": system.partition("-")[2], "keep": str(options.keep / task.name) if options.keep else None,
        }  # fmt: skip
        (place / "job.json").write_text(json.dumps(job))
        command = [_python(system), str(adapter), str(place)]
        code, peak = watched(command, place / "log.txt", options.patience * options.time_limit + 600)
        row: dict[str, Any] = {"task": task.name, "system": system, **dict.fromkeys(KEYS), "error": None}
        if options.logs:
            options.logs.mkdir(parents=True, exist_ok=True)
            shutil.copy(place / "log.txt", options.logs / f"{task.name}-{system}.txt")
        if code:
            row["error"] = f"exit {code}: " + (place / "log.txt").read_text(errors="replace").strip()[-500:]
            return row
        facts = json.loads((place / "facts.json").read_text())
        answer = pd.read_parquet(place / "forecast.parquet")
    row |= facts | {"peak_mb": round(peak, 1)}
    try:
        return row | scores(train, test, answer, season=task.season, levels=LEVELS)
    except ValueError as error:  # forecasts that are missing are this system's failure, not the benchmark's
        return row | {"error": str(error)}


def table(rows: list[dict[str, Any]], reference: str) -> str:
    """Markdown: a line a task and system (the newest of each), then the geometric mean ratios of `reference`."""
    newest = {(row["task"], row["system"]): row for row in rows}
    lines = [f"| task | system | {' | '.join(KEYS)} |", "|---|---|" + "--:|" * len(KEYS)]
    for (task, system), row in sorted(newest.items()):
        figures = [row.get(k) for k in KEYS]
        cells = ["" if figure is None else f"{figure:.4g}" for figure in figures]
        if row["error"]:
            cells = [" ".join(row["error"].split())[-80:]]
        lines.append(f"| {task} | {system} | {' | '.join(cells)} |")
    lines += ["", f"| {reference} against | tasks | MASE | sMAPE | WQL |", "|---|--:|--:|--:|--:|"]
    for other in sorted({system for _, system in newest} - {reference}):
        pairs = [
            (newest[task, reference], row)
            for (task, system), row in newest.items()
            if system == other and not row["error"] and not newest.get((task, reference), {"error": "none"})["error"]
        ]
        if not pairs:
            continue
        ratios = [float(np.exp(np.mean([np.log(a[k] / b[k]) for a, b in pairs]))) for k in ("MASE", "sMAPE", "WQL")]
        lines.append(f"| {other} | {len(pairs)} | {' | '.join(f'{r:.3f}' for r in ratios)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=Path, help="tasks.yaml, beside the files it names")
    parser.add_argument("--only", default="", help="names of tasks, comma between them")
    parser.add_argument("--peer", action="append", default=[], help="also run this system (several times)")
    parser.add_argument("--only-peers", action="store_true", help="leave forecastle itself out")
    parser.add_argument("--variant", default="", help="of forecastle: deep")
    parser.add_argument("--time-limit", type=float, default=120.0, help="seconds a task and system")
    parser.add_argument("--patience", type=float, default=3.0, help="times the limit after which a system is killed")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".jsonl"))
    parser.add_argument("--keep", type=Path, help="folder for forecastle's run directories")
    parser.add_argument("--logs", type=Path, help="folder for what the systems print")
    parser.add_argument("--table", action="store_true", help="only print the table of what stands in --out")
    options = parser.parse_args()
    ours = "forecastle" + (f"-{options.variant}" if options.variant else "")
    names = [*([] if options.only_peers else [ours]), *options.peer]
    unknown = sorted({name for name in names if name.partition("-")[0] not in systems()})
    if unknown:
        raise SystemExit(f"unknown system {', '.join(unknown)}. Known: {', '.join(systems())}.")
    if not options.table:
        if options.tasks is None:
            parser.error("--tasks is needed")
        machine = {"time_limit": options.time_limit, "cores": os.cpu_count(), "python": platform.python_version()}
        machine |= {"forecastle": version("forecastle"), "date": time.strftime("%Y-%m-%d")}
        for task in read_tasks(options.tasks, [name for name in options.only.split(",") if name]):
            for system in names:
                row = run(system, task, options.tasks.parent, options) | machine
                with options.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
                print(json.dumps(row), file=sys.stderr, flush=True)
    print(table([json.loads(line) for line in options.out.read_text(encoding="utf-8").splitlines()], ours))


if __name__ == "__main__":
    main()
