"""What the adapters of vision systems share: a job in, a timed fit and prediction, files out.

    python ADAPTER.py DIRECTORY

DIRECTORY holds job.json: folder (of the set), task (multiclass, multilabel, detection, instance_segmentation), labels
or train, val, test (files), classes, time_limit, and what forecastle chose (image_size, batch), for scripts that are
to have the same. An adapter gives `fit(job) -> (model, seconds to the first model or None, facts)` and `predict(model,
paths, job)`: probabilities [images, classes], or a dict of boxes (pixels x1 y1 x2 y2), scores, labels (from 0) and
masks (bool [n, h, w]) an image. predictions.npz and facts.json are written.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable


def rows_of(job: dict[str, Any], split: str) -> list[tuple[str, Any]]:
    """Path and labels (a list) of the images of a part, of tasks with a CSV file of labels."""
    folder = Path(job["folder"])
    with (folder / job["labels"]).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    column = "labels" if "labels" in rows[0] else "label"
    return [(str(folder / "images" / r["file"]), r[column].split("|")) for r in rows if r["split"] == split]


def test_paths(job: dict[str, Any]) -> list[str]:
    """Images to predict."""
    if "labels" in job:
        return [path for path, _ in rows_of(job, "test")]
    folder = Path(job["folder"])
    told = json.loads((folder / job["test"]).read_text(encoding="utf-8"))
    return [str(folder / "images" / i["file_name"]) for i in told["images"]]


def has_val(job: dict[str, Any]) -> bool:
    """Whether the set has images to choose on."""
    return bool(rows_of(job, "val")) if "labels" in job else "val" in job


def write_answers(place: Path, found: Any) -> None:
    """Predictions as one file; masks as bits."""
    if isinstance(found, np.ndarray):
        np.savez(place / "predictions.npz", prob=found)
        return
    arrays: dict[str, np.ndarray] = {"count": np.array([len(f["scores"]) for f in found])}
    for key, width in (("boxes", 4), ("scores", 1), ("labels", 1)):  # an image may have none
        arrays[key] = np.concatenate([np.asarray(f[key], dtype=float).reshape(-1, width) for f in found])
    for k, f in enumerate(found):
        if f.get("masks") is not None:
            masks = np.asarray(f["masks"], dtype=bool)
            arrays[f"shape{k}"] = np.array(masks.shape)
            arrays[f"masks{k}"] = np.packbits(masks)
    np.savez(place / "predictions.npz", **arrays)


def main(
    fit: Callable[[dict[str, Any]], tuple[Any, float | None, dict[str, Any]]],
    predict: Callable[[Any, list[str], dict[str, Any]], Any],
    about: str,
) -> None:
    """Run one job; `about` is the system's version."""
    place = Path(sys.argv[1])
    job = json.loads((place / "job.json").read_text(encoding="utf-8"))
    start = perf_counter()
    model, first, facts = fit(job)
    middle = perf_counter()
    found = predict(model, test_paths(job), job)
    end = perf_counter()
    write_answers(place, found)
    told = {"fit_s": round(middle - start, 3), "first_model_s": first, "predict_s": round(end - middle, 3)}
    (place / "facts.json").write_text(json.dumps({**told, **facts, "version": about}), encoding="utf-8")
