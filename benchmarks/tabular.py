"""Accuracy, time and memory of tabular systems on many data sets, all with their defaults.

    python -m benchmarks.tabular --tasks DIR/tasks.yaml [--only a,b] [--peer flaml] --time-limit 120 --out FILE

`tasks.yaml` lists data sets (see README.md beside this file for its keys). forecastle runs on each of them, and so does
every `--peer`, in a process of its own and in its own environment where it needs one. Each run appends one JSON line;
at the end the table of all lines of FILE is printed, with geometric means of the ratios of errors to the other systems.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
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

from benchmarks.watch import watched

PEERS = Path(__file__).parent / "peers"
KEYS = ("error", "fit_s", "first_model_s", "predict_s", "peak_mb")
_TEST_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Task:
    """One data set, as `tasks.yaml` describes it.

    Parameters
    ----------
    target : column. task : binary, multiclass or regression. metric : roc_auc, log_loss or rmse.
    split : whether a column `split` names train (or valid) and test rows; else a quarter is held out, seed 0.
    drop : columns left out.
    """

    name: str
    file: str
    target: str
    task: str
    metric: str
    split: bool = False
    drop: list[str] = field(default_factory=list)

    def frames(self, directory: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Rows of training and of test."""
        from sklearn.model_selection import train_test_split

        frame = pd.read_parquet(directory / self.file).drop(columns=self.drop)
        if self.split:
            late = frame["split"] == "test"
            parts = frame[~late].drop(columns="split"), frame[late].drop(columns="split")
        else:
            strata = None if self.task == "regression" else frame[self.target]
            parts = train_test_split(frame, test_size=_TEST_SHARE, random_state=0, stratify=strata)
        return parts[0].reset_index(drop=True), parts[1].reset_index(drop=True)


def read_tasks(file: Path, only: list[str]) -> list[Task]:
    """Tasks of a file, some of them where names are given."""
    tasks = [Task(**entry) for entry in yaml.safe_load(file.read_text(encoding="utf-8"))]
    unknown = sorted(set(only) - {task.name for task in tasks})
    if unknown:
        raise SystemExit(f"{file} has no task {', '.join(unknown)}. It has {', '.join(t.name for t in tasks)}.")
    return [task for task in tasks if not only or task.name in only]


def systems() -> dict[str, Path]:
    """Adapters by name."""
    names = {p.stem.removeprefix("tabular_"): p for p in sorted(PEERS.glob("tabular_*.py"))}
    return {name: path for name, path in names.items() if name != "job"}


def python_of(system: str) -> str:
    """Interpreter of a system: that of its own environment, or this one."""
    own = PEERS / f".venv-{system}" / "bin" / "python"
    return str(own) if own.exists() else sys.executable


def error_of(answer: pd.DataFrame, truth: pd.Series, metric: str) -> float:
    """1 - area under the ROC curve, logarithmic loss, or root mean squared error.

    Raises
    ------
    ValueError : predictions are missing or not finite.
    """
    from sklearn.metrics import log_loss, roc_auc_score

    values = answer.to_numpy(dtype=float)
    if len(values) != len(truth) or not np.isfinite(values).all():
        raise ValueError(
            f"{len(values)} predictions for {len(truth)} rows, {int((~np.isfinite(values)).sum())} not finite"
        )
    if metric == "rmse":
        return float(np.sqrt(np.mean(np.square(values[:, 0] - truth.to_numpy(dtype=float)))))
    labels = truth.astype(str)
    if metric == "roc_auc":
        positive = max(answer.columns)
        return 1 - float(roc_auc_score(labels == positive, answer[positive]))
    columns = sorted(answer.columns)
    probabilities = answer[columns].to_numpy(dtype=float)
    return float(log_loss(labels, probabilities / probabilities.sum(axis=1, keepdims=True), labels=columns))


def run(system: str, task: Task, directory: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One system on one task: its error, or the text that it ended with."""
    train, test = task.frames(directory)
    name, _, variant = system.partition("-")
    row: dict[str, Any] = {"task": task.name, "system": system, "metric": task.metric, **dict.fromkeys(KEYS)}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        train.to_parquet(place / "train.parquet")
        test.drop(columns=task.target).to_parquet(place / "test.parquet")
        job = {"target": task.target, "task": task.task, "metric": task.metric, "time_limit": options.time_limit}
        (place / "job.json").write_text(json.dumps({**job, "variant": variant}))
        command = [python_of(name), str(systems()[name]), str(place)]
        code, peak = watched(command, place / "log.txt", 3 * options.time_limit + 300)
        if code:
            return row | {"failure": f"exit {code}: " + (place / "log.txt").read_text(errors="replace").strip()[-500:]}
        row |= json.loads((place / "facts.json").read_text()) | {"peak_mb": round(peak, 1)}
        answer = pd.read_parquet(place / "predictions.parquet")
    try:
        return row | {"error": error_of(answer, test[task.target], task.metric), "failure": None}
    except ValueError as error:
        return row | {"failure": str(error)}


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: a line a task and system (the newest of each), then geometric mean ratios of errors."""
    newest = {(row["task"], row["system"]): row for row in rows}
    lines = [f"| task | system | metric | {' | '.join(KEYS)} |", "|---|---|---|" + "--:|" * len(KEYS)]
    for (task, system), row in sorted(newest.items()):
        cells = ["" if row.get(k) is None else f"{row[k]:.4g}" for k in KEYS]
        if row["failure"]:
            cells = [" ".join(row["failure"].split())[-80:]]
        lines.append(f"| {task} | {system} | {row['metric']} | {' | '.join(cells)} |")
    lines += ["", "| forecastle against | tasks | error |", "|---|--:|--:|"]
    for other in sorted({system for _, system in newest} - {"forecastle"}):
        ratios = [
            newest[task, "forecastle"]["error"] / row["error"]
            for (task, system), row in newest.items()
            if system == other and row["error"] and newest.get((task, "forecastle"), {}).get("error")
        ]
        if ratios:
            lines.append(f"| {other} | {len(ratios)} | {np.exp(np.mean(np.log(ratios))):.3f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=Path, help="tasks.yaml, beside the files it names")
    parser.add_argument("--only", default="", help="names of tasks, comma between them")
    parser.add_argument("--peer", action="append", default=[], help="also run this system (several times)")
    parser.add_argument("--only-peers", action="store_true", help="leave forecastle itself out")
    parser.add_argument("--time-limit", type=float, default=120.0, help="seconds a task and system")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".jsonl"))
    parser.add_argument("--table", action="store_true", help="only print the table of what stands in --out")
    options = parser.parse_args()
    names = [*([] if options.only_peers else ["forecastle"]), *options.peer]
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
    print(table([json.loads(line) for line in options.out.read_text(encoding="utf-8").splitlines()]))


if __name__ == "__main__":
    main()
