"""The plain script for objects: torchvision's Faster or Mask R-CNN as they are, on a pyramid over the same backbone."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from time import monotonic

import numpy as np
import torch
from torchvision import tv_tensors
from torchvision.models.detection import FasterRCNN, MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import MultiScaleRoIAlign
from torchvision.transforms import v2
from vision_job import has_val
from vision_plain import EPOCHS, RATES, schedule, sgd

from vision import read_images
from vision.data.pictures import load_picture
from vision.models.backbones import build
from vision.networks.detectors import Pyramid, learning_mode
from vision.objects import true_objects
from vision.scores import average_precision

LONGEST = 1.6
CLIP = 10.0
"""Largest norm of gradients: Mask R-CNN on this backbone has some of hundreds, and without a bound ends at nothing."""


def network_of(job):
    made = build("efficientnet_lite0", "auto")
    body = Pyramid(made, (4, 8, 16, 32), 256, extra=True)
    anchors = AnchorGenerator(((32,), (64,), (128,), (256,), (512,)), ((0.5, 1.0, 2.0),) * 5)
    size = {"min_size": job["image_size"], "max_size": round(job["image_size"] * LONGEST)}
    names = ["0", "1", "2", "3"]
    extra = {} if job["task"] == "detection" else {"mask_roi_pool": MultiScaleRoIAlign(names, 14, 2)}
    cls = FasterRCNN if job["task"] == "detection" else MaskRCNN
    return cls(
        body,
        len(job["classes"]) + 1,
        rpn_anchor_generator=anchors,
        box_roi_pool=MultiScaleRoIAlign(names, 7, 2),
        image_mean=list(made.mean),
        image_std=list(made.std),
        box_score_thresh=0.02,
        **size,
        **extra,
    )


def samples(job, part):
    kind = "detection" if job["task"] == "detection" else "segmentation"
    return read_images(Path(job["folder"]) / job[part], kind)


def target_of(image, classes, masks):
    objects = true_objects(image, classes, masks=masks)
    width, height = objects.size
    out = {
        "boxes": tv_tensors.BoundingBoxes(
            torch.tensor(objects.boxes * [width, height, width, height]).float().reshape(-1, 4),
            format="XYXY",
            canvas_size=(height, width),
        ),
        "labels": torch.tensor(objects.labels + 1),
    }
    if masks:
        bits = torch.zeros((len(objects), height, width), dtype=torch.uint8)
        for k, m in enumerate(objects.masks):
            h, w = m.bits.shape
            bits[k, m.top : m.top + h, m.left : m.left + w] = torch.from_numpy(m.bits)
        out["masks"] = tv_tensors.Mask(bits)
    return out


def pixels(path):
    return torch.from_numpy(np.array(load_picture(path))).permute(2, 0, 1)


def fit_objects(job):
    begun = monotonic()
    end = begun + job["time_limit"] * 0.98
    torch.manual_seed(0)
    masks = job["task"] != "detection"
    train = samples(job, "train")
    held = samples(job, "val") if has_val(job) else train.take(range(0, len(train), 5))
    classes = train.classes
    network = network_of(job).to(memory_format=torch.channels_last)
    optimizer = sgd(network, job)
    flip = v2.RandomHorizontalFlip()
    batch = job["batch"]
    steps = max(1, len(train) // batch)
    best, state, took, first, judging = -1.0, None, 0.0, None, 0.0
    truth = [true_objects(i, classes, masks=masks) for i in held.images]
    for epoch in range(EPOCHS):
        start = monotonic()
        learning_mode(network)
        order = torch.randperm(len(train)).tolist()
        for k in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = RATES[job["task"]] * schedule(epoch * steps + k, EPOCHS * steps, 2 * steps)
            images, targets = [], []
            for row in order[k * batch : (k + 1) * batch]:
                image = train.images[row]
                x, t = flip(tv_tensors.Image(pixels(image.path)), target_of(image, classes, masks))
                images.append(x.float() / 255)
                targets.append(t)
            loss = sum(network(images, targets).values())
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), CLIP)
            optimizer.step()
            if monotonic() + judging > end:
                break
        look = monotonic()
        found = answers(network, [i.path for i in held.images], masks)
        scored = average_precision(truth, [objects(f) for f in found], classes, masks=masks)
        score = scored.mean_average_precision
        judging = monotonic() - look
        if score > best:
            best, state = score, copy.deepcopy(network.state_dict())
        first = first or round(monotonic() - begun, 2)
        took = max(took, monotonic() - start)
        if monotonic() + judging + 0.3 * took > end:
            break
    network.load_state_dict(state)
    return network, first, {"epochs": epoch + 1, "image_size": job["image_size"], "batch": batch, "held": best}


def answers(network, paths, masks):
    network.eval()
    out = []
    with torch.inference_mode():
        for path in paths:
            x = pixels(path).float() / 255
            found = network([x])[0]
            one = {"boxes": found["boxes"].numpy(), "scores": found["scores"].numpy()}
            one |= {"labels": found["labels"].numpy() - 1, "size": (x.shape[2], x.shape[1]), "masks": None}
            if masks:
                one["masks"] = found["masks"].numpy()[:, 0] >= 0.5
            out.append(one)
    return out


def objects(found):
    from vision.objects import Mask, Objects

    width, height = found["size"]
    masks = None if found["masks"] is None else tuple(Mask(0, 0, m) for m in found["masks"])
    boxes = found["boxes"].astype(float) / [width, height, width, height]
    return Objects(boxes, found["labels"].astype(np.int64), found["scores"].astype(float), masks, None, found["size"])


def predict_objects(network, paths, job):
    told = json.loads((Path(job["folder"]) / job["train"]).read_text(encoding="utf-8"))
    names = sorted(c["name"] for c in told["categories"])
    trained = samples(job, "train").classes
    found = answers(network, paths, job["task"] != "detection")
    for one in found:
        one["labels"] = np.array([names.index(trained[k]) for k in one["labels"]], dtype=int)
    return found
