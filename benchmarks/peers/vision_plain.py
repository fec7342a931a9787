"""A plain fine-tuning script: torchvision's recipe of one optimizer, one rate, flips, as long as the time lasts.

Backbone, weights, image size and batch are forecastle's; rates and schedule are those usual services have as defaults.
Weights of the epoch that is best on the images to choose on predict.
"""

from __future__ import annotations

import copy
import math
from time import monotonic

import numpy as np
import torch
from torch import nn
from torchvision.transforms import v2
from vision_job import main, rows_of

from vision.data.pictures import load_picture
from vision.models.backbones import build

EPOCHS = 15
RATES = {"multiclass": 0.01, "multilabel": 0.035, "detection": 0.005, "instance_segmentation": 0.005}


def schedule(step, total, warm):
    """Warmup of two epochs, then 0.45 cycles of a cosine."""
    if step < warm:
        return (step + 1) / (warm + 1)
    return 0.5 * (1 + math.cos(2 * math.pi * 0.45 * (step - warm) / max(total - warm, 1)))


def sgd(network, job):
    parameters = [p for p in network.parameters() if p.requires_grad]
    return torch.optim.SGD(parameters, lr=RATES[job["task"]], momentum=0.9, nesterov=True, weight_decay=1e-4)


class Classes(nn.Module):
    """Backbone and a new linear layer."""

    def __init__(self, outputs):
        super().__init__()
        made = build("efficientnet_lite0", "auto")
        self.body, self.head = made.module, nn.Linear(made.width, outputs)
        self.norm = v2.Normalize(made.mean, made.std)

    def forward(self, x):
        """Score images."""
        return self.head(self.body(self.norm(x)))


def tensor(path, size):
    picture = load_picture(path).resize((size, size))
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


def fit_classes(job):
    end = monotonic() + job["time_limit"] * 0.98
    torch.manual_seed(0)
    names, size, batch = job["classes"], job["image_size"], job["batch"]
    train = rows_of(job, "train")
    held = rows_of(job, "val")
    if not held:
        order = np.random.default_rng(0).permutation(len(train))
        cut = len(train) // 5
        train, held = [train[k] for k in order[cut:]], [train[k] for k in order[:cut]]
    x, xv = (torch.stack([tensor(p, size) for p, _ in part]) for part in (train, held))
    y, yv = (torch.tensor([[float(n in labels) for n in names] for _, labels in part]) for part in (train, held))
    network = Classes(len(names)).to(memory_format=torch.channels_last)
    optimizer = sgd(network, job)
    crop = v2.Compose(
        [v2.RandomResizedCrop(size, antialias=True), v2.RandomHorizontalFlip(), v2.ColorJitter(0.4, 0.4, 0.4)]
    )
    one = job["task"] == "multiclass"
    loss_of = nn.CrossEntropyLoss() if one else nn.BCEWithLogitsLoss()
    steps = max(1, len(x) // batch)
    best, state, took, first = -1.0, None, 0.0, None
    begun = monotonic()
    for epoch in range(EPOCHS):
        start = monotonic()
        network.train()
        order = torch.randperm(len(x))
        for k in range(steps):
            rows = order[k * batch : (k + 1) * batch]
            for group in optimizer.param_groups:
                group["lr"] = RATES[job["task"]] * schedule(epoch * steps + k, EPOCHS * steps, 2 * steps)
            images = torch.stack([crop(image) for image in x[rows]]).float() / 255
            loss = loss_of(network(images.contiguous(memory_format=torch.channels_last)), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if monotonic() > end:
                break
        score = accuracy(probabilities(network, xv, one), yv, one)
        if score > best:
            best, state = score, copy.deepcopy(network.state_dict())
        first = first or round(monotonic() - begun, 2)
        took = max(took, monotonic() - start)
        if monotonic() > end or monotonic() + 0.3 * took > end:
            break
    network.load_state_dict(state)
    return (network, size, one), first, {"epochs": epoch + 1, "image_size": size, "batch": batch}


def accuracy(prob, y, one):
    if one:
        return float((prob.argmax(1) == y.argmax(1).numpy()).mean())
    from sklearn.metrics import average_precision_score

    y = y.numpy()
    there = [k for k in range(y.shape[1]) if 0 < y[:, k].sum() < len(y)]
    return float(np.mean([average_precision_score(y[:, k], prob[:, k]) for k in there]))


def probabilities(network, x, one):
    network.eval()
    out = []
    with torch.inference_mode():
        for k in range(0, len(x), 64):
            scores = network((x[k : k + 64].float() / 255).contiguous(memory_format=torch.channels_last))
            out.append((scores.softmax(1) if one else scores.sigmoid()).numpy())
    return np.concatenate(out)


def predict_classes(model, paths):
    network, size, one = model
    return probabilities(network, torch.stack([tensor(p, size) for p in paths]), one)


def fit(job):
    torch.set_num_threads(job["cores"])
    if job["task"] in {"multiclass", "multilabel"}:
        return fit_classes(job)
    from vision_plain_objects import fit_objects

    return fit_objects(job)


def predict(model, paths, job):
    if job["task"] in {"multiclass", "multilabel"}:
        return predict_classes(model, paths)
    from vision_plain_objects import predict_objects

    return predict_objects(model, paths, job)


if __name__ == "__main__":
    main(fit, predict, torch.__version__)
