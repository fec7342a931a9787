"""scikit-learn's logistic regression on frozen features of the same backbone: penalty by the images to choose on."""

from __future__ import annotations

from time import perf_counter

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from vision_job import main, rows_of

from vision.data.pictures import load_picture
from vision.models.backbones import build

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)


def features(paths, size):
    made = build("efficientnet_lite0", "auto")
    network = made.module.eval()
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (made.mean, made.std))
    out = []
    with torch.inference_mode():
        for k in range(0, len(paths), 64):
            block = [np.array(load_picture(p).resize((size, size))) for p in paths[k : k + 64]]
            x = torch.from_numpy(np.stack(block)).permute(0, 3, 1, 2).float() / 255
            out.append(network(((x - mean) / std).contiguous(memory_format=torch.channels_last)).numpy())
    return np.concatenate(out)


def fit(job):
    begun = perf_counter()
    torch.set_num_threads(job["cores"])
    size, one = job["image_size"], job["task"] == "multiclass"
    train, held = rows_of(job, "train"), rows_of(job, "val")
    rows = train + held
    x = features([p for p, _ in rows], size)
    if one:
        y = np.array([labels[0] for _, labels in rows])
    else:
        y = np.array([[n in labels for n in job["classes"]] for _, labels in rows])
    chosen = np.arange(len(rows)) >= len(train)
    if not held:
        chosen[np.random.default_rng(0).permutation(len(train))[: len(train) // 5]] = True

    def fitted(c, some):
        logistic = LogisticRegression(C=c, max_iter=1000)
        return make_pipeline(StandardScaler(), logistic if one else OneVsRestClassifier(logistic)).fit(x[some], y[some])

    scores = [fitted(c, ~chosen).score(x[chosen], y[chosen]) for c in PENALTIES]
    best = fitted(PENALTIES[int(np.argmax(scores))], np.ones(len(rows), dtype=bool))
    return (best, size, one), round(perf_counter() - begun, 2), {"image_size": size}


def predict(model, paths, job):
    fitted, size, one = model
    prob = fitted.predict_proba(features(paths, size))
    if not one:
        return prob
    return prob[:, [list(fitted.classes_).index(name) for name in job["classes"]]]


if __name__ == "__main__":
    main(fit, predict, torch.__version__)
