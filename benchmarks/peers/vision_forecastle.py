"""forecastle with its defaults."""

from __future__ import annotations

from pathlib import Path

from vision_job import has_val, main

from forecastle import __version__
from vision import ImageClassifier, InstanceSegmenter, MultiLabelImageClassifier, ObjectDetector

CLASSES = {
    "multiclass": ImageClassifier,
    "multilabel": MultiLabelImageClassifier,
    "detection": ObjectDetector,
    "instance_segmentation": InstanceSegmenter,
}
METRICS = {"multilabel": "mean_average_precision"}


def fit(job):
    folder = Path(job["folder"])
    model = CLASSES[job["task"]](metric=METRICS.get(job["task"]), time_limit=job["time_limit"], path=job.get("run"))
    if "labels" in job:
        held = {"split": "val"} if has_val(job) else None
        model.fit(folder / job["labels"], where={"split": "train"}, validation_where=held)
    else:
        model.fit(folder / job["train"], folder / job["val"] if "val" in job else None)
    board = model.leaderboard()
    board = board[board["status"] == "completed"]
    print(board.to_string())
    trainings = [t for t in model.run_.trials() if t.usable and "image_size" in t.info]
    last = max(trainings, key=lambda t: t.seconds, default=None)
    facts = {"best": model.best(), "trials": len(board)}
    if last is not None:
        facts |= {"image_size": last.info["image_size"], "batch": last.info.get("batch")}
    return model, round(model.first_model_seconds_, 2), facts


def predict(model, paths, job):
    if job["task"] in {"multiclass", "multilabel"}:
        prob = model.predict_proba(paths)
        order = [list(model.classes_).index(name) for name in job["classes"]]
        return prob[:, order]
    out = []
    place = {name: job["classes"].index(name) for name in model.classes_}
    for found in model.everything(paths):
        width, height = found.size
        masks = None
        if found.masks is not None:
            import numpy as np

            masks = np.zeros((len(found), height, width), dtype=bool)
            for k, m in enumerate(found.masks):
                h, w = m.bits.shape
                masks[k, m.top : m.top + h, m.left : m.left + w] = m.bits
        labels = [place[model.classes_[k]] for k in found.labels]
        boxes = found.boxes * [width, height, width, height]
        out.append({"boxes": boxes, "scores": found.scores, "labels": labels, "masks": masks})
    return out


if __name__ == "__main__":
    main(fit, predict, __version__)
