"""Accuracy, time and memory on sets of images: forecastle, a plain fine-tuning script, and a linear head.

    python -m benchmarks.vision --tasks DIR/tasks.yaml [--only a,b] [--peer plain] --time-limit 600 --out FILE

`tasks.yaml` lists sets (see README.md beside this file for its keys). forecastle runs on each with its defaults and, in
detection and segmentation, three times the time limit unless `--same-time` is given; `--peer plain` (the same minutes,
backbone, weights, image size and batch) and `--peer probe` (logistic regression on frozen features) follow. Each run
appends one JSON line; at the end the table of all lines of FILE is printed, with ratios of scores.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.peers.vision_job import rows_of, test_paths
from benchmarks.watch import watched

PEERS = Path(__file__).parent / "peers"
SYSTEMS = {"forecastle": "vision_forecastle.py", "plain": "vision_plain.py", "probe": "vision_probe.py"}
METRICS = {
    "multiclass": "accuracy",
    "multilabel": "mean_average_precision",
    "detection": "map_50",
    "instance_segmentation": "mask_map_50",
}
KEYS = ("score", "fit_s", "first_model_s", "predict_s", "peak_mb")
OBJECTS = ("detection", "instance_segmentation")
_LONGER = 3
_DEFAULT = {"image_size": 224, "batch": 32}
"""What peers are given where forecastle has not run before."""


def read_tasks(file: Path, only: list[str]) -> list[dict[str, Any]]:
    """Tasks of a file, some of them where names are given; folders as paths."""
    tasks = yaml.safe_load(file.read_text(encoding="utf-8"))
    unknown = sorted(set(only) - {task["name"] for task in tasks})
    if unknown:
        raise SystemExit(f"{file} has no task {', '.join(unknown)}. It has {', '.join(t['name'] for t in tasks)}.")
    return [{**task, "folder": str(file.parent / task["folder"])} for task in tasks if not only or task["name"] in only]


def classes_of(task: dict[str, Any]) -> list[str]:
    """Names of the classes, those of training."""
    if "labels" in task:
        return sorted({name for _, labels in rows_of(task, "train") for name in labels if name})
    told = json.loads((Path(task["folder"]) / task["train"]).read_text(encoding="utf-8"))
    return sorted(c["name"] for c in told["categories"])


def score_of(task: dict[str, Any], file: Path) -> dict[str, Any]:
    """Score of predictions, by scikit-learn and pycocotools; of several labels also of each."""
    found = np.load(file)
    if task["task"] == "multiclass":
        truth = np.array([task["classes"].index(labels[0]) for _, labels in rows_of(task, "test")])
        return {"score": float((found["prob"].argmax(axis=1) == truth).mean())}
    if task["task"] == "multilabel":
        from sklearn.metrics import average_precision_score

        y = np.array([[name in labels for name in task["classes"]] for _, labels in rows_of(task, "test")])
        each = {
            name: float(average_precision_score(y[:, k], found["prob"][:, k]))
            for k, name in enumerate(task["classes"])
            if 0 < y[:, k].sum() < len(y)
        }
        informative = [v for name, v in each.items() if 0.02 < y[:, task["classes"].index(name)].mean() < 0.98]
        own = {name: round(value, 4) for name, value in each.items()}
        return {"score": float(np.mean(list(each.values()))), "informative": float(np.mean(informative)), "labels": own}
    return _objects(task, found)


def _objects(task: dict[str, Any], found: Any) -> dict[str, float]:
    import contextlib
    import io

    from pycocotools import mask as codec
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(Path(task["folder"]) / task["test"]))
        by_name = {Path(i["file_name"]).name: i["id"] for i in truth.dataset["images"]}
        category = {c["name"]: c["id"] for c in truth.dataset["categories"]}
        answers, first = [], 0
        for k, path in enumerate(test_paths(task)):
            count = int(found["count"][k])
            masks = None
            if f"masks{k}" in found:
                shape = tuple(found[f"shape{k}"])
                masks = np.unpackbits(found[f"masks{k}"], count=int(np.prod(shape))).reshape(shape)
            for j in range(count):
                left, top, right, bottom = found["boxes"][first + j]
                one = {
                    "image_id": by_name[Path(path).name],
                    "category_id": category[task["classes"][int(found["labels"][first + j, 0])]],
                    "score": float(found["scores"][first + j, 0]),
                }
                if masks is None:
                    one["bbox"] = [float(left), float(top), float(right - left), float(bottom - top)]
                else:
                    one["segmentation"] = codec.encode(np.asfortranarray(masks[j]))
                answers.append(one)
            first += count
        if not answers:
            return {"score": 0.0, "map_50_95": 0.0}
        kind = "bbox" if task["task"] == "detection" else "segm"
        scored = COCOeval(truth, truth.loadRes(answers), kind)
        scored.params.maxDets = [1, 100, 1000]
        scored.evaluate()
        scored.accumulate()
    precision = scored.eval["precision"][:, :, :, 0, 2]  # thresholds, recalls, classes; all areas; most detections
    at_half = precision[0][precision[0] > -1]
    return {"score": float(at_half.mean()), "map_50_95": float(precision[precision > -1].mean())}


def run(system: str, task: dict[str, Any], options: argparse.Namespace, chosen: dict[str, Any]) -> dict[str, Any]:
    """One system on one task: its score, or the text that it ended with."""
    limit = options.time_limit * (_LONGER if task["task"] in OBJECTS and not options.same_time else 1)
    metric = METRICS[task["task"]]
    row = {"task": task["name"], "system": system, "metric": metric, **dict.fromkeys(KEYS), "time_limit": limit}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        job = {**task, "classes": classes_of(task), "time_limit": limit, "cores": os.cpu_count(), **_DEFAULT, **chosen}
        if options.keep is not None and system == "forecastle":
            job["run"] = str(options.keep.resolve() / task["name"])
        (place / "job.json").write_text(json.dumps(job), encoding="utf-8")
        command = [sys.executable, str(PEERS / SYSTEMS[system]), str(place)]
        code, peak = watched(command, place / "log.txt", 2 * limit + 300)
        log = (place / "log.txt").read_text(errors="replace").strip()
        if options.verbose:
            print(log, file=sys.stderr)
        if code:
            return row | {"failure": f"exit {code}: {log[-500:]}"}
        facts = json.loads((place / "facts.json").read_text())
        return row | facts | {"peak_mb": round(peak, 1)} | score_of(job, place / "predictions.npz") | {"failure": None}


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: a line a task and system (the newest of each), then ratios of scores."""
    newest = {(row["task"], row["system"]): row for row in rows}
    lines = [f"| task | system | metric | {' | '.join(KEYS)} |", "|---|---|---|" + "--:|" * len(KEYS)]
    for (task, system), row in sorted(newest.items()):
        cells = ["" if row.get(k) is None else f"{row[k]:.4g}" for k in KEYS]
        if row["failure"]:
            cells = [" ".join(row["failure"].split())[-80:]]
        lines.append(f"| {task} | {system} | {row['metric']} | {' | '.join(cells)} |")
    lines += ["", "| task | against | ratio | difference |", "|---|---|--:|--:|"]
    for (task, system), row in sorted(newest.items()):
        ours = newest.get((task, "forecastle"), {}).get("score")
        if system != "forecastle" and row["score"] and ours:
            lines.append(f"| {task} | {system} | {ours / row['score']:.3f} | {ours - row['score']:+.4f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=Path, help="tasks.yaml, beside the folders it names")
    parser.add_argument("--only", default="", help="names of tasks, comma between them")
    parser.add_argument("--peer", action="append", default=[], choices=["plain", "probe"], help="also run this one")
    parser.add_argument("--only-peers", action="store_true", help="leave forecastle itself out")
    parser.add_argument("--time-limit", type=float, default=600.0, help="seconds a task and system")
    parser.add_argument("--same-time", action="store_true", help="no more time for detection and segmentation")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".jsonl"))
    parser.add_argument("--keep", type=Path, help="folder for forecastle's runs, to look at their models afterwards")
    parser.add_argument("--table", action="store_true", help="only print the table of what stands in --out")
    parser.add_argument("--verbose", action="store_true", help="also print what the systems print")
    options = parser.parse_args()
    if not options.table:
        if options.tasks is None:
            parser.error("--tasks is needed")
        machine = {"cores": os.cpu_count(), "python": platform.python_version()}
        machine |= {"forecastle": version("forecastle"), "date": time.strftime("%Y-%m-%d")}
        for task in read_tasks(options.tasks, [name for name in options.only.split(",") if name]):
            peers = [p for p in options.peer if p != "probe" or task["task"] not in OBJECTS]
            for system in [*([] if options.only_peers else ["forecastle"]), *peers]:
                row = run(system, task, options, _chosen(options.out, task["name"])) | machine
                with options.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
                print(json.dumps(row), file=sys.stderr, flush=True)
    print(table([json.loads(line) for line in options.out.read_text(encoding="utf-8").splitlines()]))


def _chosen(out: Path, task: str) -> dict[str, Any]:
    """Image size and batch of forecastle's newest run of a task."""
    if not out.exists():
        return {}
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    ours = [r for r in rows if r["task"] == task and r["system"] == "forecastle" and not r["failure"]]
    return {k: ours[-1][k] for k in _DEFAULT if ours and ours[-1].get(k)}


if __name__ == "__main__":
    main()
