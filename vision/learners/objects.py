"""Objects of images: torchvision's detectors on our backbones, trained by the same loop as classifiers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from automl.files import write_atomic
from vision.config import Training, tiles
from vision.data.pictures import load_picture
from vision.learners.base import Fit, kept_choice, pack, saved_states, unpack
from vision.models.detectors import WHOLE, anchors_for, build_detector, check_kind, has_anchors, parse, strides_of
from vision.objects import Mask, Objects, flipped, joined, suppress, to_arrays, true_objects
from vision.scores import average_precision, crowd_of, matches

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import torch

    from automl.candidates import JsonScalar
    from automl.trial import State, Trial
    from vision.data.records import Image
    from vision.learners.base import Work

_LOW, _MOST = 0.02, 300
"""Least score, and most objects of an image, that mean average precision looks at."""

_JUDGED = 0.35
"""What predicting costs, in trainings of the same image."""

LEAST_SIZE, _LONGEST, _LARGER, _GRID = 320, 1.6, 1.5, 32
"""Where a size is to be found: the least of the shorter side, the longer one by it, how much larger, in steps of."""

_SEEN_WELL, _EPOCHS_WANTED = 32.0, 15
"""Pixels of objects that larger images should reach where so many epochs fit into the time."""

_CLOSING, _ONCE = 4.0, 2.0
"""What the last score, the views of held-out images and the choice of how they are put together cost, in scorings; and
where nothing is chosen."""

_DOUBLES = 0.005
"""Mean average precision that fewer doubles may cost: it hardly sees them, people do."""

_BORROWED = 20.0
"""Objects that a class borrows from all classes for its least score: it has its own where it has many."""

_USUAL = 0.5
_JUDGED_AT = (0.5, 0.75)
"""Overlaps of hits by which an epoch, and how views are put together, are judged, the reported one first: at a half
alone, boxes that are somewhat off are as good as exact ones, and a score full early would keep an early epoch."""

_OVERLAPS = (0.3, 0.4, 0.5, 0.6)
"""Overlaps tried beyond which of two objects of a class the less certain one is left out."""

_KEPT = ("strides", "anchors", "channels", "convolutions", "box_width", "box_samples", "mask_width", "mirrored")
"""Parameters of networks besides those of `vision.config.Training`."""


@dataclass(frozen=True, slots=True)
class ObjectMember:
    """A fitted detector.

    Parameters
    ----------
    learner, kind, detector, backbone, classes : what it is. params : what the network was built with.
    arrays : its weights.
    """

    learner: str
    kind: str
    detector: str
    backbone: str
    classes: tuple[str, ...]
    params: dict[str, Any]
    arrays: dict[str, np.ndarray]

    def state(self) -> State:
        """JSON and arrays."""
        own = {k: getattr(self, k) for k in ("learner", "kind", "detector", "backbone", "params")}
        return {**own, "classes": list(self.classes)}, {"weights": pack(self.arrays)}

    @classmethod
    def from_state(cls, state: State) -> Self:
        """Read what `state` gave."""
        own, blobs = state
        return cls(**{**own, "classes": tuple(own["classes"])}, arrays=unpack(blobs["weights"]))

    def network(self) -> Any:
        """Network with its weights, ready to predict."""
        from vision.networks.training import fill

        network = build_detector(self.detector, self.backbone, len(self.classes), self.params)
        fill(network, self.arrays)
        network.eval()
        return network

    def predict(self, paths: Sequence[str], device: str = "auto", *, everything: bool = False) -> list[Objects]:
        """Objects of each image, the most certain first.

        Parameters
        ----------
        everything : down to low scores, as mean average precision wants it.
        """
        import torch

        from vision.networks.training import pick_device

        place = pick_device(device)
        network = self.network().to(place)
        most = set_views(network, self.params, everything=everything)
        masks = self.kind == "segmentation"
        with torch.inference_mode():
            found = (seen(network, load_picture(path), self.params, place, masks=masks) for path in paths)
            return [one.first(most) if everything else self.given(one) for one in found]

    def least(self) -> np.ndarray:
        """Score of each class from which on its objects are given, shape [classes]."""
        own = self.params.get("class_score_thresh") or [self.params["box_score_thresh"]]
        return np.array(np.broadcast_to(own, len(self.classes)), dtype=float)

    def given(self, found: Objects) -> Objects:
        """Those of everything found in an image that `predict` gives."""
        sure = found.take(found.scores >= self.least()[found.labels])
        return sure.first(int(self.params["box_detections_per_img"]))


def set_views(network: Any, params: Mapping[str, Any], *, everything: bool) -> int:
    """Set which objects a network gives for one view; returns how many that are at most."""
    from vision.networks.detectors import set_thresholds

    most = max(int(params["box_detections_per_img"]), _MOST)  # else what is given depends on who asks
    score = _LOW if everything else float(params["box_score_thresh"])
    set_thresholds(network, score=score, nms=max(float(params["box_nms_thresh"]), *_OVERLAPS), most=most)
    return most


def fitted_size(size: tuple[int, int], params: Mapping[str, Any]) -> tuple[int, int]:
    """Width and height at which a network looks at an image: the shorter side min_size, the longer at most max_size."""
    scale = min(int(params["min_size"]) / min(size), int(params["max_size"]) / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def picture_tensor(picture: Any, size: tuple[int, int], device: torch.device) -> torch.Tensor:
    """Picture at a size as colours 0..1, shape [3, h, w]."""
    import torch
    from PIL import Image as Pillow

    if picture.size != size:
        picture = picture.resize(size, Pillow.Resampling.BILINEAR)
    return torch.from_numpy(np.array(picture)).to(device).permute(2, 0, 1).float().div(255)


def seen(network: Any, picture: Any, params: Mapping[str, Any], device: torch.device, *, masks: bool) -> Objects:
    """Objects of one picture, by tiles where `tile_grid_size` says so; masks are those of the picture's own size."""
    columns, rows = tiles(str(params.get("tile_grid_size", "none")))
    if (columns, rows) == (1, 1):
        return whole(network, picture, params, device, masks=masks)
    lap = float(params["tile_overlap_ratio"])
    width, height = picture.size
    step = width / (columns - (columns - 1) * lap), height / (rows - (rows - 1) * lap)
    parts = [whole(network, picture, params, device, masks=masks)]
    for column in range(columns):
        for row in range(rows):
            left, top = round(column * step[0] * (1 - lap)), round(row * step[1] * (1 - lap))
            box = left, top, min(width, left + math.ceil(step[0])), min(height, top + math.ceil(step[1]))
            found = whole(network, picture.crop(box), params, device, masks=masks)
            parts.append(_moved(found, box, picture.size))
    return suppress(joined(parts), float(params["tile_predictions_nms_thresh"]))


def _moved(found: Objects, box: tuple[int, int, int, int], size: tuple[int, int]) -> Objects:
    """Objects of a tile on the whole image."""
    left, top, right, bottom = box
    scale = np.array([right - left, bottom - top, right - left, bottom - top], dtype=float)
    boxes = (found.boxes * scale + [left, top, left, top]) / [*size, *size]
    masks = None if found.masks is None else tuple(Mask(m.left + left, m.top + top, m.bits) for m in found.masks)
    return replace(found, boxes=boxes, masks=masks, size=size)


def whole(network: Any, picture: Any, params: Mapping[str, Any], device: torch.device, *, masks: bool) -> Objects:
    """Objects of one picture looked at as a whole, and in the mirror where `mirrored` says so."""
    views = [view(network, picture, params, device, masks=masks)]
    if params.get("mirrored"):
        views.append(view(network, picture, params, device, masks=masks, mirror=True))
    return suppress(joined(views), float(params["box_nms_thresh"]))


def view(
    network: Any, picture: Any, params: Mapping[str, Any], device: torch.device, *, masks: bool, mirror: bool = False
) -> Objects:
    """What a network gives for one picture or for its mirror image, on the picture."""
    from vision.networks.detectors import first_class

    size = fitted_size(picture.size, params)
    pixels = picture_tensor(picture, size, device)
    found = network([pixels.flip(2) if mirror else pixels])[0]
    first = first_class(network)
    threshold = float(params["mask_pixel_score_threshold"])
    out = objects_of(found, size, picture.size, threshold, first=first, masks=masks)
    return flipped(out) if mirror else out


def objects_of(
    found: Mapping[str, torch.Tensor],
    size: tuple[int, int],
    own: tuple[int, int],
    threshold: float,
    *,
    first: int,
    masks: bool,
) -> Objects:
    """What a network gave for an image of `size`, on an image of its own size; `first` : number of the first class."""
    boxes = found["boxes"].float().cpu().numpy().astype(float) / [*size, *size]
    order = np.argsort(-found["scores"].float().cpu().numpy(), kind="stable")
    boxes = np.clip(boxes, 0, 1)
    shapes = None
    if masks:
        pixels = found["masks"].float().cpu().numpy()[:, 0]
        shapes = tuple(_crop(pixels[k], boxes[k], own, threshold) for k in order)
    labels = found["labels"].cpu().numpy().astype(np.int64) - first
    scores = found["scores"].float().cpu().numpy().astype(float)
    return Objects(boxes[order], labels[order], scores[order], shapes, None, own)


def _crop(pixels: np.ndarray, box: np.ndarray, own: tuple[int, int], threshold: float) -> Mask:
    """Mask of one object on the image's own pixels, cut to its box; `pixels` are chances on the size it was seen at."""
    from PIL import Image as Pillow

    width, height = own
    left, top = max(int(box[0] * width) - 1, 0), max(int(box[1] * height) - 1, 0)
    right, bottom = min(math.ceil(box[2] * width) + 1, width), min(math.ceil(box[3] * height) + 1, height)
    if right <= left or bottom <= top:
        return Mask(left, top, np.zeros((0, 0), dtype=bool))
    scale_x, scale_y = pixels.shape[1] / width, pixels.shape[0] / height
    if (scale_x, scale_y) == (1.0, 1.0):
        return Mask(left, top, pixels[top:bottom, left:right] >= threshold)
    source = left * scale_x, top * scale_y, right * scale_x, bottom * scale_y
    part = Pillow.fromarray(pixels).resize((right - left, bottom - top), Pillow.Resampling.BILINEAR, box=source)
    return Mask(left, top, np.asarray(part) >= threshold)


class _Samples:
    """Images of one part at the size they are looked at, with their objects; decoded once where they fit."""

    def __init__(
        self, images: Sequence[Image], classes: Sequence[str], plan: Training, mb: float, *, masks: bool
    ) -> None:
        self.images = list(images)
        self.classes = classes
        self.masks = masks
        params = {"min_size": plan.min_size, "max_size": plan.max_size}
        self.sizes = [fitted_size((i.width, i.height), params) for i in self.images]
        self._kept: dict[int, np.ndarray] | None = {} if 3 * sum(w * h for w, h in self.sizes) / 1e6 <= mb else None
        self._objects: dict[int, Objects] = {}

    def __len__(self) -> int:
        return len(self.images)

    def objects(self, k: int) -> Objects:
        """True objects of an image, on the size it is looked at."""
        if k not in self._objects:
            self._objects[k] = true_objects(self.images[k], self.classes, self.sizes[k], masks=self.masks)
        return self._objects[k]

    def pixels(self, k: int) -> np.ndarray:
        """Image, uint8 [h, w, 3]."""
        if self._kept is not None and k in self._kept:
            return self._kept[k]
        from PIL import Image as Pillow

        picture = load_picture(self.images[k].path, most=max(self.sizes[k]))
        out = np.array(picture.resize(self.sizes[k], Pillow.Resampling.BILINEAR))
        if self._kept is not None:
            self._kept[k] = out
        return out

    def sample(self, k: int) -> tuple[Any, dict[str, Any]]:
        """Image and target as tv_tensors; crowds are left out."""
        import torch
        from torchvision import tv_tensors

        image = torch.from_numpy(self.pixels(k)).permute(2, 0, 1)
        objects = self.objects(k)
        if objects.crowd is not None:
            objects = objects.take(~objects.crowd)
        width, height = self.sizes[k]
        boxes = torch.from_numpy(objects.boxes * [width, height, width, height]).float()
        target: dict[str, Any] = {
            "boxes": tv_tensors.BoundingBoxes(boxes.reshape(-1, 4), format="XYXY", canvas_size=(height, width)),
            "labels": torch.from_numpy(objects.labels + 1),
        }
        if self.masks:
            bits = torch.zeros((len(objects), height, width), dtype=torch.uint8)
            for j, mask in enumerate(objects.masks or ()):
                h, w = mask.bits.shape
                bits[j, mask.top : mask.top + h, mask.left : mask.left + w] = torch.from_numpy(mask.bits)
            target["masks"] = tv_tensors.Mask(bits)
        return tv_tensors.Image(image), target


class Detector:
    """Trains a detector; boxes or outlines.

    Parameters (of a trial): detector (`fcos`, `fasterrcnn`, `retinanet`, `maskrcnn`), backbone, strides, channels and
    the like of the network, and those of `vision.config.Training`; `image_size` sets min_size and max_size, 0 = what
    suits the sizes of objects and the time; `mirrored` whether predictions look at mirror images too, if it is not to
    be chosen; `head_start` "give" = leave the weights for later trainings of the run, "take" = begin with them.
    """

    member: ClassVar = ObjectMember

    def fit(self, work: Work, params: Mapping[str, JsonScalar], trial: Trial, checkpoint: Path) -> Fit:
        """Train, and predict with the weights of the best epoch."""
        import torch

        from vision.networks.detectors import body_of, learning_mode
        from vision.networks.training import fill, frozen_layers, parameters_of, pick_device, seed_all, train

        s, begun = work.settings, perf_counter()
        device = pick_device(s.device, trial.number)
        detector, backbone = parse(str(params["detector"]))
        check_kind(detector, s.kind)
        if backbone is None:
            backbone = str(params.get("backbone") or "efficientnet_lite0")
        params = _sized(work, detector, backbone, params, trial, checkpoint)
        seed_all(trial.seed, 0)
        plan = Training.of(s.kind, backbone, params)
        own = _network_params(plan, params)
        earlier = self._earlier(work, detector, backbone)
        if earlier is not None:  # weights fit the network they were trained in
            shape = {k: v for k, v in earlier[0]["params"].items() if k in _KEPT and k != "mirrored"}
            own = {k: v for k, v in own.items() if k not in _KEPT or k == "mirrored"} | shape
        elif has_anchors(detector) and not own.get("anchors"):
            own["anchors"] = _anchors(work.train.images, own)
        weights = s.weights if earlier is None else "none"
        network = build_detector(detector, backbone, len(s.classes), own, weights)
        if earlier is not None:
            fill(network, unpack(earlier[1]["weights"]), strict=False)
        head_start, given = str(params.get("head_start", "")), work.folder / "given" / f"{detector}-{backbone}.npz"
        if head_start == "take" and given.exists():
            fill(network, unpack(given.read_bytes()))
        network = network.to(device, memory_format=torch.channels_last)
        frozen_layers(body_of(network), plan.layers_to_freeze)
        run = _Epochs(work, plan, own, device)
        trained = train(
            network,
            plan,
            run.job(),
            seed=trial.seed,
            device=device,
            deadline=trial.deadline,
            checkpoint=checkpoint,
            report=trial.report,
            prepare=partial(learning_mode, known=earlier is not None or weights != "none"),
        )
        enough = trial.deadline.left() > (_CLOSING - 1) * trained.judging
        with torch.inference_mode():
            found = run.settled(network) if enough and run.choosing else run.found(network)
        if "box_score_thresh" not in params:
            own["class_score_thresh"] = best_thresholds(run.truth, found, len(s.classes), masks=run.masks)
            own["box_score_thresh"] = min(own["class_score_thresh"])
        member = ObjectMember("Detector", s.kind, detector, backbone, s.classes, own, parameters_of(network))
        if head_start == "give":
            given.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(given, pack(member.arrays))
        seconds = perf_counter() - begun
        info = {
            "windows": 1,
            "fit_s": seconds,
            "epoch": trained.epoch,
            "epochs": trained.epochs,
            "stopped": trained.stopped,
            "image_size": plan.min_size,
            "batch": plan.training_batch_size,
            "least_seconds": max(20.0, 0.4 * seconds / plan.time_share),
            "least": member.least().tolist(),
            "history": trained.history,
        }
        kept = {**to_arrays(found), "least": member.least()}
        return Fit(member, kept, info, pruned=trained.stopped == "pruned")

    @staticmethod
    def _earlier(work: Work, detector: str, backbone: str) -> State | None:
        """State of such a detector of an earlier model, where training is to begin with one."""
        from automl.errors import ConfigError

        if work.settings.start is None:
            return None
        for state in saved_states(work.settings.start):
            if (state[0].get("detector"), state[0].get("backbone")) == (detector, backbone):
                return state
        what = f"{detector}_{backbone}" if backbone else detector
        raise ConfigError(f"the model in {work.settings.start} has no {what} to begin with. Fix: models=[what it has].")


def _sized(
    work: Work, detector: str, backbone: str, params: Mapping[str, JsonScalar], trial: Trial, checkpoint: Path
) -> dict[str, Any]:
    """Parameters with `image_size` turned into both sizes; networks that are made for one size have that."""
    out = dict(params)
    size = int(out.pop("image_size", -1) or 0)
    if WHOLE.get(detector):
        size = WHOLE[detector]  # the network squeezes images to that
    if size < 0:
        return out
    size = size or kept_choice(checkpoint, lambda: _suiting(work, detector, backbone, out, trial))
    return {**out, "min_size": size, "max_size": round(size * _LONGEST)}


def _suiting(work: Work, detector: str, backbone: str, params: Mapping[str, Any], trial: Trial) -> int:
    """Size at which objects are as large as networks find them well, if enough epochs fit into the time."""
    from vision.networks.detectors import learning_mode
    from vision.networks.training import pick_device, step_seconds

    s, least = work.settings, {**params, "min_size": LEAST_SIZE, "max_size": round(LEAST_SIZE * _LONGEST)}
    sides = _sides(work.train.images, least)
    scale = float(np.clip(_SEEN_WELL / np.median(np.sqrt(sides.prod(axis=1))), 1, _LARGER)) if len(sides) else 1.0
    plan = Training.of(s.kind, backbone, least)
    seconds = trial.deadline.left() * plan.time_share
    if scale > 1 and math.isfinite(seconds):
        device = pick_device(s.device, trial.number)
        own = _network_params(plan, least)
        network = build_detector(detector, backbone, len(s.classes), own, s.weights).to(device)
        job = _Epochs(work, plan, own, device).job()
        epoch = step_seconds(network, plan, job, trial.seed, learning_mode) * (job.steps + job.judged)
        scale = float(np.clip(math.sqrt(seconds / (_EPOCHS_WANTED * epoch)), 1, scale))
    return round(LEAST_SIZE * scale / _GRID) * _GRID


def _network_params(plan: Training, params: Mapping[str, Any]) -> dict[str, Any]:
    """What a network is built with, and what predictions need."""
    names = (
        "min_size",
        "max_size",
        "box_score_thresh",
        "box_nms_thresh",
        "box_detections_per_img",
        "tile_grid_size",
        "tile_overlap_ratio",
        "tile_predictions_nms_thresh",
        "mask_pixel_score_threshold",
        "max_number_of_polygon_points",
    )
    own = {**{n: getattr(plan, n) for n in names}, **{k: params[k] for k in _KEPT if k in params}}
    own["box_nms_thresh"] = plan.box_nms_thresh or _USUAL
    return own


def _anchors(images: Sequence[Image], params: Mapping[str, Any]) -> str:
    """Sides of anchors that suit the objects of the training images."""
    return anchors_for(_sides(images, params), strides_of(params))


def _sides(images: Sequence[Image], params: Mapping[str, Any]) -> np.ndarray:
    """Width and height of all objects as a network looks at them, pixels, shape [n, 2]."""
    sides = [np.zeros((0, 2))]
    for image in images:
        size = fitted_size((image.width, image.height), params)
        boxes = np.array([t.box for t in image.things if not t.crowd]).reshape(-1, 4)
        sides.append((boxes[:, 2:] - boxes[:, :2]) * size)
    return np.concatenate(sides)


class _Epochs:
    """Batches, losses and scores of one training."""

    def __init__(self, work: Work, plan: Training, params: dict[str, Any], device: torch.device) -> None:
        from vision.augment import Augmentation, no_upside, train_transform

        s = work.settings
        self.settings, self.plan, self.params, self.device = s, plan, params, device
        self.masks = s.kind == "segmentation"
        self.choosing = tiles(plan.tile_grid_size) == (1, 1) and "mirrored" not in params
        self.train = _Samples(work.train.images, s.classes, plan, s.memory_mb, masks=self.masks)
        self.held = work.held.images
        augmentation = Augmentation(**(s.augmentation or {}))
        turns = augmentation.turns
        if turns is None:
            turns = no_upside([true_objects(i, s.classes) for i in work.train.images])
        self.transform = train_transform(s.kind, 0, augmentation, turns=turns)
        self.truth = [true_objects(i, s.classes, masks=self.masks) for i in work.held.images]

    def job(self) -> Any:
        """For the loop."""
        from vision.networks.training import Job

        batch = self.plan.training_batch_size
        steps = math.ceil(len(self.train) / batch)
        judged = _JUDGED * len(self.held) / batch
        closing = _CLOSING if self.choosing else _ONCE
        return Job(steps, lambda _: self._batches(steps), self._loss, self._judge, judged, closing)

    def _batches(self, steps: int) -> Iterator[tuple[list[torch.Tensor], list[dict[str, torch.Tensor]]]]:
        import torch

        order = torch.randperm(len(self.train)).numpy()
        for rows in np.array_split(order, steps):
            images, targets = [], []
            for k in rows.tolist():
                image, target = self.transform(*self.train.sample(k))
                images.append(image.to(self.device).float().div(255))
                targets.append({name: value.to(self.device) for name, value in target.items()})
            yield images, targets

    def _loss(self, network: Any, batch: tuple[list[torch.Tensor], list[dict[str, torch.Tensor]]]) -> torch.Tensor:
        from vision.networks.detectors import first_class

        images, targets = batch
        if not first_class(network):
            targets = [{**t, "labels": t["labels"] - 1} for t in targets]
        losses = network(images, targets)
        total: torch.Tensor = sum(losses.values())
        return total

    def found(self, network: Any) -> list[Objects]:
        """Objects of the held-out images, down to low scores."""
        most = set_views(network, self.params, everything=True)
        found = (seen(network, load_picture(i.path), self.params, self.device, masks=self.masks) for i in self.held)
        return [one.first(most) for one in found]

    def settled(self, network: Any) -> list[Objects]:
        """Choose by the held-out images whether mirror images are looked at too, and which overlap is too much.

        Both are put into the parameters. Returns the objects of the held-out images, as predictions will give them.
        """
        most = set_views(network, self.params, everything=True)
        views: list[tuple[Objects, Objects]] = []
        for image in self.held:
            one = load_picture(image.path)
            seen_ = [view(network, one, self.params, self.device, masks=self.masks, mirror=m) for m in (False, True)]
            views.append((seen_[0], seen_[1]))

        def answers(overlap: float, *, mirrored: bool) -> list[Objects]:
            found = (suppress(joined(both if mirrored else both[:1]), overlap) for both in views)
            return [one.first(most) for one in found]

        usual = float(self.params["box_nms_thresh"])
        plain, twice = (self._losses(answers(usual, mirrored=m))[0] for m in (False, True))
        mirrored = twice < plain
        by_overlap = {usual: min(plain, twice)}
        if not self.plan.box_nms_thresh:
            others = [o for o in _OVERLAPS if o != usual]
            by_overlap |= {o: self._losses(answers(o, mirrored=mirrored))[0] for o in others}
        least = min(by_overlap.values())
        overlap = min(o for o, loss in by_overlap.items() if loss <= least + _DOUBLES)
        self.params |= {"mirrored": mirrored, "box_nms_thresh": overlap}
        return answers(overlap, mirrored=mirrored)

    def _judge(self, network: Any) -> tuple[float, float]:
        return self._losses(self.found(network))

    def _losses(self, found: list[Objects]) -> tuple[float, float]:
        return losses(self.truth, found, self.settings.classes, masks=self.masks)


def losses(
    truth: Sequence[Objects], found: Sequence[Objects], classes: Sequence[str], *, masks: bool
) -> tuple[float, float]:
    """Loss to choose by, which tells apart detectors that find all and place it differently; and the reported one."""
    scored = (average_precision(truth, found, classes, threshold=t, masks=masks) for t in _JUDGED_AT)
    means = np.nan_to_num([one.mean_average_precision for one in scored], nan=0.0)
    return -float(means.mean()), -float(means[0])


def best_thresholds(truth: Sequence[Objects], found: Sequence[Objects], n_classes: int, *, masks: bool) -> list[float]:
    """Least score of each class at which its objects are given: precision and recall are best together there (F1).

    A class counts its own objects of the held-out images and, at the weight of `_BORROWED` objects, those of all
    classes: one of few objects has the score of all, one of many its own.

    Returns
    -------
    0.05..0.95 for each class; 0.3 where nothing was found rightly.
    """
    scores, labels, right = [np.zeros(0)], [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=bool)]
    counts = np.zeros(n_classes)
    for true, given in zip(truth, found, strict=True):
        match, ignored = matches(true, given, 0.5, masks=masks)
        scores.append(given.scores[~ignored])
        labels.append(given.labels[~ignored])
        right.append((match >= 0)[~ignored])
        counts += np.bincount(true.labels[~crowd_of(true)], minlength=n_classes)
    score, label, hits = (np.concatenate(part) for part in (scores, labels, right))
    if not hits.any():
        return [0.3] * n_classes
    order = np.argsort(-score, kind="stable")
    score, label, hits = score[order], label[order], hits[order]
    borrowed = _BORROWED / counts.sum()
    out = []
    for k in range(n_classes):
        weights = (label == k) + borrowed
        f1 = 2 * np.cumsum(weights * hits) / (np.cumsum(weights) + counts[k] + _BORROWED)
        out.append(float(np.clip(score[int(f1.argmax())] - 1e-6, 0.05, 0.95)))
    return out
