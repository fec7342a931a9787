"""Classes of images: a linear head on features that do not change (seconds), and fine-tuning of all layers from there.

Source of the order, head first: Kumar et al. (2022), Fine-tuning can distort pretrained features and underperform
out-of-distribution, ICLR.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from automl.errors import ConfigError, DeadlineExceededError, LearnerError
from automl.files import write_atomic
from vision.config import Training
from vision.learners.base import Fit, kept_choice, member_of, pack, saved_states, unpack
from vision.models.backbones import BACKBONES, ONE_SIZE, build
from vision.pixels import square

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import torch

    from automl.candidates import JsonScalar
    from automl.trial import State, Trial
    from vision.learners.base import TaskSettings, Work
    from vision.networks.classifier import Classifier

_PENALTIES = (1e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0, 10.0)
"""Penalties of squared weights tried for a linear head."""

_SIZES = (96, 128, 160, 192, 224)
_EPOCHS_WANTED = 8
"""Where a size is to be found: the largest at which so many epochs fit into the time."""

_BLOCK = 64
_FIRST = 20.0
"""Seconds that features of the first model may take for mirror images to be looked at too."""


@dataclass(frozen=True, slots=True)
class ClassMember:
    """A fitted classifier.

    Parameters
    ----------
    learner, kind, backbone, classes : what it is. resize, crop : pixels of the sides an image is squeezed to, and of
        the middle that is looked at. mirrored : whether the mean over an image and its mirror image predicts.
    arrays : weights of `vision.networks.classifier.Classifier`.
    """

    learner: str
    kind: str
    backbone: str
    classes: tuple[str, ...]
    resize: int
    crop: int
    mirrored: bool
    arrays: dict[str, np.ndarray]

    def state(self) -> State:
        """JSON and arrays."""
        own = {k: getattr(self, k) for k in ("learner", "kind", "backbone", "resize", "crop", "mirrored")}
        return {**own, "classes": list(self.classes)}, {"weights": pack(self.arrays)}

    @classmethod
    def from_state(cls, state: State) -> Self:
        """Read what `state` gave."""
        own, blobs = state
        return cls(**{**own, "classes": tuple(own["classes"])}, arrays=unpack(blobs["weights"]))

    def network(self) -> Classifier:
        """Network with its weights, ready to predict."""
        from vision.networks.classifier import Classifier
        from vision.networks.training import fill

        network = Classifier(build(self.backbone, "none"), len(self.classes))
        fill(network, self.arrays)
        network.eval()
        return network

    def pixels(self, paths: Sequence[str]) -> Iterator[np.ndarray]:
        """Images in blocks, the middle of each, uint8 [block, crop, crop, 3]."""
        for first in range(0, len(paths), _BLOCK):
            block = [square(p, self.resize) for p in paths[first : first + _BLOCK]]
            yield middle(np.stack(block), self.crop)

    def predict(self, paths: Sequence[str], device: str = "auto") -> np.ndarray:
        """Probabilities of the classes, shape [images, classes]."""
        import torch

        from vision.networks.training import pick_device

        place = pick_device(device)
        network = self.network().to(place)
        out = [np.zeros((0, len(self.classes)), dtype=np.float32)]
        with torch.inference_mode():
            for block in self.pixels(paths):
                scores = scores_of(network, as_tensor(block, place), mirrored=self.mirrored)
                out.append(probabilities(self.kind, scores))
        return np.concatenate(out)


def middle(images: np.ndarray, crop: int) -> np.ndarray:
    """Middle of squares, shape [n, crop, crop, 3]."""
    edge = (images.shape[1] - crop) // 2
    return images[:, edge : edge + crop, edge : edge + crop]


def as_tensor(images: np.ndarray, device: torch.device) -> torch.Tensor:
    """Images [n, h, w, 3] uint8 as colours 0..1 [n, 3, h, w], laid out as convolutions like it."""
    import torch

    moved = torch.from_numpy(np.ascontiguousarray(images)).to(device).permute(0, 3, 1, 2)
    return moved.float().div(255).contiguous(memory_format=torch.channels_last)


def scores_of(network: Classifier, images: torch.Tensor, *, mirrored: bool) -> torch.Tensor:
    """Scores before softmax or sigmoid, the mean with those of the mirror image where that is asked for."""
    from vision.networks.training import mixed

    with mixed(images.device):
        scores = network(images)
        return (scores + network(images.flip(3))) / 2 if mirrored else scores


def probabilities(kind: str, scores: torch.Tensor) -> np.ndarray:
    """Softmax of one label, sigmoid of several. Shape [n, classes], float32."""
    scores = scores.float()
    found = scores.softmax(dim=1) if kind == "multiclass" else scores.sigmoid()
    return np.asarray(found.cpu().numpy())


def class_loss(settings: TaskSettings, y: np.ndarray, prob: np.ndarray) -> float:
    """Metric to choose by, as a loss."""
    from vision.task import find_metric

    metric = find_metric(settings.metric, settings.kind)
    return float(metric.loss(metric.function(y, prob)))


def fine_loss(settings: TaskSettings, y: np.ndarray, prob: np.ndarray) -> float:
    """The metric with a hundredth of the logarithmic loss, which tells apart what counts of hits cannot."""
    from vision.task import find_metric

    fine = find_metric("log_loss", settings.kind)
    return class_loss(settings, y, prob) + 0.01 * float(fine.function(y, prob))


def class_weights(settings: TaskSettings, y: np.ndarray, how: int) -> np.ndarray | None:
    """Weights of classes by their frequency, mean 1; of several labels, those of a yes. None = all alike."""
    if not how:
        return None
    if settings.kind == "multiclass":
        count = np.bincount(y, minlength=len(settings.classes)).astype(float)
        weight = len(y) / (len(count) * np.maximum(count, 1))
    else:
        often = y.sum(axis=0)
        weight = (len(y) - often + 1) / (often + 1)
    return np.sqrt(weight) if how == 1 else np.asarray(weight)


# -- a head on frozen features ----------------------------------------------------------------------------------------


def frozen_features(
    work: Work, part: str, backbone: str, size: tuple[int, int], network: Classifier, deadline: Any, *, mirrored: bool
) -> np.ndarray:
    """Features of all images, kept on disk, shape [1 or 2, images, width], float32; of mirror images below.

    Parameters
    ----------
    size : of the square an image is squeezed to, and of its middle that is looked at.
    """
    import torch

    from vision.networks.training import pick_device

    resize, crop = size
    stem = work.folder / "features" / f"{backbone}-{resize}-{crop}-{part}"
    file = stem.with_name(f"{stem.name}-{1 + mirrored}.npy")
    for known in (file, stem.with_name(f"{stem.name}-2.npy")):
        if known.exists():
            kept: np.ndarray = np.load(known, mmap_mode="r")
            return kept
    pixels, place = work.pixels(part, resize), pick_device(work.settings.device)
    network = network.to(place)
    found: list[np.ndarray] = []
    with torch.inference_mode():
        for first in range(0, len(pixels), _BLOCK):
            if deadline.passed:
                raise DeadlineExceededError(f"out of time after features of {first} of {len(pixels)} images")
            images = as_tensor(middle(pixels.take(range(first, min(first + _BLOCK, len(pixels)))), crop), place)
            views = [images, images.flip(3)] if mirrored else [images]
            both = torch.stack([network.features(view) for view in views])
            found.append(both.float().cpu().numpy())
    out = np.concatenate(found, axis=1)
    file.parent.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()
    np.save(content, out)
    write_atomic(file, content.getvalue())
    return out


def seconds_an_image(work: Work, network: Classifier, side: int) -> float:
    """What the features of one image take, by a timed block."""
    import torch

    from vision.networks.training import pick_device

    place = pick_device(work.settings.device)
    images = torch.zeros((16, 3, side, side), device=place).contiguous(memory_format=torch.channels_last)
    network = network.to(place)
    took = []
    with torch.inference_mode():
        for _ in range(2):
            begun = perf_counter()
            network.features(images).sum().item()
            took.append(perf_counter() - begun)
    return min(took) / len(images)


def views_in_time(
    work: Work, network: Classifier, plan: Training, largest: int, deadline: Any
) -> tuple[tuple[int, int], bool]:
    """Size of images (of the squares, and of their middle), and whether mirror images are looked at too.

    Parameters
    ----------
    largest : 0 = the plan's size, with mirror images if that takes seconds; else the largest size up to this one that
        fits into the plan's share of the time.

    Raises
    ------
    LearnerError : not even a size above that of the first head fits.
    """
    count, left = len(work.train) + len(work.held), deadline.left()
    if not largest:
        size = plan.valid_resize_size, plan.valid_crop_size
        timed = np.isfinite(left)
        return size, not timed or 2 * count * seconds_an_image(work, network, size[1]) <= _FIRST
    sides = [side for side in _SIZES if _SIZES[1] < side < largest] + [largest]
    if not np.isfinite(left):
        return (largest, largest), True
    looks = plan.time_share * left / (count * seconds_an_image(work, network, _SIZES[1]))
    fitting = [side for side in sides if (side / _SIZES[1]) ** 2 <= looks]
    if not fitting:
        raise LearnerError(
            f"no time: features at {sides[0]} pixels take more than {plan.time_share:.0%} of what is left."
        )
    side = fitting[-1]
    return (side, side), 2 * (side / _SIZES[1]) ** 2 <= looks


@dataclass(slots=True)
class _Head:
    """The best linear head."""

    weight: torch.Tensor
    bias: torch.Tensor
    penalty: float
    loss: float


def best_head(
    settings: TaskSettings, x: np.ndarray, y: np.ndarray, held_x: np.ndarray, held_y: np.ndarray, weighted: int
) -> _Head:
    """Logistic regression with the penalty that suits the held-out images best."""
    import torch

    from vision.networks.classifier import linear_head

    outputs = len(settings.classes)
    given = class_weights(settings, y, weighted)
    weight = None if given is None else torch.tensor(given, dtype=torch.float32)
    inputs = torch.from_numpy(np.array(x))
    truth = torch.from_numpy(np.array(y))
    best: _Head | None = None
    start = None
    for penalty in sorted(_PENALTIES, reverse=True):
        start = linear_head(inputs, truth, outputs, penalty / outputs, weight=weight, start=start)
        scores = torch.from_numpy(np.array(held_x)) @ start[0].T + start[1]
        loss = fine_loss(settings, held_y, probabilities(settings.kind, scores))
        if best is None or loss < best.loss:
            best = _Head(*start, penalty, loss)
    assert best is not None  # noqa: S101 - there are penalties
    return best


def fit_head(
    work: Work, network: Classifier, name: str, plan: Training, deadline: Any, *, mirrored: bool
) -> tuple[_Head, list[torch.Tensor]]:
    """Give a network the best linear head on its frozen features; returns it, and its scores of the held-out images.

    Parameters
    ----------
    mirrored : whether mirror images are learned from too; then there are scores of them as well.
    """
    import torch

    size = plan.valid_resize_size, plan.valid_crop_size
    x, held = (
        frozen_features(work, part, name, size, network, deadline, mirrored=mirrored)[: 1 + mirrored]
        for part in ("train", "held")
    )
    y = np.concatenate([work.train.codes()] * len(x))
    head = best_head(work.settings, np.concatenate(list(x)), y, held[0], work.held.codes(), plan.weighted_loss)
    network.head.weight.data.copy_(head.weight)
    network.head.bias.data.copy_(head.bias)
    return head, [torch.from_numpy(np.array(h)) @ head.weight.T + head.bias for h in held]


class LinearProbe:
    """A linear head on the features of a backbone that stays as it is.

    Parameters (of a trial): backbone, weighted_loss, and valid_resize_size and valid_crop_size, or `largest`, up to
    which a size is found that fits into time_share of the time.
    """

    member: ClassVar = ClassMember

    def fit(self, work: Work, params: Mapping[str, JsonScalar], trial: Trial, checkpoint: Path) -> Fit:
        """Fit on cached features; both an image and its mirror image are learned from."""
        del checkpoint
        from vision.networks.classifier import Classifier
        from vision.networks.training import parameters_of, seed_all

        s, begun = work.settings, perf_counter()
        seed_all(trial.seed, 0)
        name = BACKBONES.resolve(str(params["backbone"]))
        plan = Training.of(s.kind, name, params)
        network = Classifier(work.backbone(name), len(s.classes)).eval()
        size, both = views_in_time(work, network, plan, int(params.get("largest", 0) or 0), trial.deadline)
        plan = replace(plan, valid_resize_size=size[0], valid_crop_size=size[1])
        head, scores = fit_head(work, network, name, plan, trial.deadline, mirrored=both)
        mirrored, prob = mirror(s, work.held.codes(), scores * (3 - len(scores)))
        member = ClassMember("LinearProbe", s.kind, name, s.classes, *size, mirrored, parameters_of(network))
        seconds = perf_counter() - begun
        told = {"penalty": head.penalty, "images_per_second": len(work.train) / seconds}
        info = {"windows": 1, "fit_s": seconds, **told}
        return Fit(member, {"held": prob}, info)


def mirror(settings: TaskSettings, y: np.ndarray, scores: Sequence[torch.Tensor]) -> tuple[bool, np.ndarray]:
    """Whether the mean with the mirror image predicts better, and the better probabilities."""
    plain = probabilities(settings.kind, scores[0])
    mean = probabilities(settings.kind, (scores[0] + scores[1]) / 2)
    better = fine_loss(settings, y, mean) < fine_loss(settings, y, plain)
    return better, mean if better else plain


# -- fine-tuning ------------------------------------------------------------------------------------------------------


class FineTuning:
    """All layers are trained, from a linear head on frozen features where `head_first` says so.

    Parameters (of a trial): backbone, and those of `vision.config.Training`; `image_size` sets all three sizes, 0 =
    the largest at which eight epochs fit into the time.
    """

    member: ClassVar = ClassMember

    def fit(self, work: Work, params: Mapping[str, JsonScalar], trial: Trial, checkpoint: Path) -> Fit:
        """Train, and predict with the weights of the best epoch."""
        import torch

        from vision.networks.classifier import Classifier
        from vision.networks.training import frozen_layers, parameters_of, pick_device, seed_all, train

        s, begun = work.settings, perf_counter()
        device = pick_device(s.device, trial.number)
        seed_all(trial.seed, 0)
        name = BACKBONES.resolve(str(params["backbone"]))
        network = Classifier(work.backbone(name, weights=s.start is None), len(s.classes)).eval()
        self._start(work, network, name)
        params = _sized(work, network, name, params, trial, checkpoint)
        plan = Training.of(s.kind, name, params)
        # features of an earlier model's weights are not those that are kept
        if plan.head_first and s.start is None and not checkpoint.exists():
            fit_head(work, network, name, plan, trial.deadline, mirrored=False)
        network = network.to(device, memory_format=torch.channels_last)
        run = _Epochs(work, plan, device)
        frozen_layers(network.backbone, plan.layers_to_freeze)
        trained = train(
            network,
            plan,
            run.job(),
            seed=trial.seed,
            device=device,
            deadline=trial.deadline,
            checkpoint=checkpoint,
            report=trial.report,
            prepare=lambda n: _learning(n, plan),
        )
        with torch.inference_mode():
            mirrored, prob = mirror(s, run.held_y, run.both(network))
        member = ClassMember(
            "FineTuning",
            s.kind,
            name,
            s.classes,
            plan.valid_resize_size,
            plan.valid_crop_size,
            mirrored,
            parameters_of(network),
        )
        seconds = perf_counter() - begun
        info = {
            "windows": 1,
            "fit_s": seconds,
            "least_seconds": max(5.0, 0.3 * seconds),
            "epoch": trained.epoch,
            "epochs": trained.epochs,
            "stopped": trained.stopped,
            "image_size": plan.valid_crop_size,
            "batch": plan.training_batch_size,
            "history": trained.history,
        }
        return Fit(member, {"held": prob}, info, pruned=trained.stopped == "pruned")

    @staticmethod
    def _start(work: Work, network: Classifier, backbone: str) -> None:
        """Begin with an earlier model's weights where that is asked for; with its head if its classes are these."""
        from vision.networks.training import fill

        if work.settings.start is None:
            return
        earlier = earlier_member(work.settings.start, backbone)
        same = tuple(earlier.classes) == work.settings.classes
        arrays = {k: v for k, v in earlier.arrays.items() if same or not k.startswith("head.")}
        fill(network, arrays, strict=False)


def earlier_member(path: str, backbone: str) -> ClassMember:
    """Member of a saved model that has this backbone.

    Raises
    ------
    ConfigError : none has.
    """
    for state in saved_states(path):
        if state[0].get("backbone") == backbone and state[0].get("learner") != "Detector":
            found = member_of(state)
            assert isinstance(found, ClassMember)  # noqa: S101 - the learner says so
            return found
    raise ConfigError(f"the model in {path} has no member with backbone {backbone}. Fix: models=[one that it has].")


def _learning(network: Any, plan: Training) -> None:
    """Learn; layers that are frozen do not change their statistics either."""
    from torch import nn

    network.train()
    for layer in network.modules():
        own = list(layer.parameters(recurse=False))
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and (  # noqa: SLF001 - torch's own common base
            plan.frozen_statistics or not any(p.requires_grad for p in own)
        ):
            layer.eval()


def _sized(
    work: Work,
    network: Classifier,
    name: str,
    params: Mapping[str, JsonScalar],
    trial: Trial,
    checkpoint: Path,
) -> dict[str, Any]:
    """Parameters with `image_size` turned into the three sizes; one found by time is kept beside the checkpoint."""
    out = dict(params)
    size = int(out.pop("image_size", -1) or 0)
    if size < 0:
        return out
    if size == 0:
        size = ONE_SIZE.get(name) or kept_choice(checkpoint, lambda: _largest(work, network, name, out, trial))
    return {**out, "valid_resize_size": size, "valid_crop_size": size, "train_crop_size": size}


def _largest(work: Work, network: Classifier, name: str, params: Mapping[str, Any], trial: Trial) -> int:
    """Largest size at which eight epochs fit into the trial's share of the time."""
    import copy

    from vision.networks.training import mixed, pick_device

    plan = Training.of(work.settings.kind, name, params)
    seconds = trial.deadline.left() * plan.time_share
    if not np.isfinite(seconds):
        return _SIZES[-1]
    import torch

    place = pick_device(work.settings.device, trial.number)
    twin = copy.deepcopy(network).to(place, memory_format=torch.channels_last).train()
    batch, probe = min(plan.training_batch_size, 32), _SIZES[1]
    images = torch.rand(batch, 3, probe, probe, device=place).contiguous(memory_format=torch.channels_last)
    took = []
    for _ in range(3):
        begun = perf_counter()
        with mixed(place):
            twin(images).float().square().mean().backward()
        took.append(perf_counter() - begun)
    each = min(took) / batch
    cost = (len(work.train) + 0.7 * len(work.held)) * each * _EPOCHS_WANTED
    fitting = [size for size in _SIZES if cost * (size / probe) ** 2 <= seconds]
    return max(fitting, default=_SIZES[0])


class _Epochs:
    """Batches, losses and scores of one training."""

    def __init__(self, work: Work, plan: Training, device: torch.device) -> None:
        import torch
        from torchvision.transforms import v2

        from vision.augment import Augmentation, train_transform

        s = work.settings
        self.settings, self.plan, self.device = s, plan, device
        self.train = work.pixels("train", plan.valid_resize_size)
        self.held = work.pixels("held", plan.valid_resize_size)
        self.y, self.held_y = work.train.codes(), work.held.codes()
        augmentation = Augmentation(**(s.augmentation or {}))
        self.transform = train_transform(s.kind, plan.train_crop_size, augmentation)
        self.mix = v2.MixUp(alpha=plan.mixing, num_classes=len(s.classes)) if plan.mixing else None
        weight = class_weights(s, self.y, plan.weighted_loss)
        self.weight = None if weight is None else torch.tensor(weight, dtype=torch.float32, device=device)

    def job(self) -> Any:
        """For the loop."""
        from vision.networks.training import Job

        batch = self.plan.training_batch_size
        steps = math.ceil(len(self.train) / batch)
        judged = 0.7 * len(self.held) / batch
        return Job(steps, lambda _epoch: self._batches(steps), self._loss, self._judge, judged)

    def _batches(self, steps: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        import torch

        order = torch.randperm(len(self.train)).numpy()
        for rows in np.array_split(order, steps):
            images = torch.from_numpy(self.train.take(rows)).permute(0, 3, 1, 2)
            x = torch.stack([self.transform(image) for image in images]).to(self.device)
            y = torch.from_numpy(self.y[rows]).to(self.device)
            x = x.float().div(255).contiguous(memory_format=torch.channels_last)
            if self.mix is not None and len(x) > 1 and self.settings.kind == "multiclass":
                x, y = self.mix(x, y)
            yield x, y

    def _loss(self, network: Any, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        from vision.networks.classifier import binary_entropy, entropy

        function = entropy if self.settings.kind == "multiclass" else binary_entropy
        return function(network(batch[0]), batch[1], weight=self.weight, smoothing=self.plan.smoothing)

    def both(self, network: Any) -> list[torch.Tensor]:
        """Scores of the held-out images, and of their mirror images."""
        import torch

        out: list[list[torch.Tensor]] = [[], []]
        block = self.plan.validation_batch_size
        for first in range(0, len(self.held), block):
            rows = range(first, min(first + block, len(self.held)))
            images = as_tensor(middle(self.held.take(rows), self.plan.valid_crop_size), self.device)
            out[0].append(scores_of(network, images, mirrored=False).cpu())
            out[1].append(scores_of(network, images.flip(3), mirrored=False).cpu())
        return [torch.cat(part) for part in out]

    def _judge(self, network: Any) -> tuple[float, float]:
        _, prob = mirror(self.settings, self.held_y, self.both(network))
        return fine_loss(self.settings, self.held_y, prob), class_loss(self.settings, self.held_y, prob)
