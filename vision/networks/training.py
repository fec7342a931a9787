"""The training loop: epochs, schedules, running means of weights, checkpoints; the same for every task.

All that is random in an epoch is drawn from (seed, epoch), so that a training taken up from the checkpoint of an epoch
ends with the same weights as one that was never interrupted (on a processor; GPUs add in no fixed order).

Sources: Loshchilov & Hutter (2017), SGDR (cosine schedules); Polyak & Juditsky (1992), averaging of iterates.
"""

from __future__ import annotations

import copy
import logging
import math
import random
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from automl.errors import LearnerError
from automl.files import put

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from automl.budget import Deadline
    from vision.config import Training

LOG = logging.getLogger("vision")

_CLIP = 10.0
"""Longest gradient; longer ones are shortened to it."""

_TIMED = 3
_SPARE = 0.93
"""Share of the time that is planned for: machines have slower moments."""

_JUDGED = 0.15
"""Most of the time that scoring may take where time is short; epochs between are not scored."""

_LEAVE = 2.0
"""Seconds for writing what was trained."""

_SAVED = 10.0
"""Seconds between two checkpoints at least."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a task gives the loop.

    Parameters
    ----------
    steps : batches of an epoch. batches : epoch -> that many batches, drawn from the global random state.
    loss : (network, batch) -> mean loss to learn from. judge : network -> (loss to choose the best epoch by, loss to
        report), lower is better.
    judged : what judging costs, in steps. closing : what the last epoch's score and the predictions after it cost, in
        judgings.
    """

    steps: int
    batches: Callable[[int], Iterable[Any]]
    loss: Callable[[nn.Module, Any], torch.Tensor]
    judge: Callable[[nn.Module], tuple[float, float]]
    judged: float
    closing: float = 2.0


@dataclass(slots=True)
class Trained:
    """How a training went; the network holds the weights of its best epoch.

    Parameters
    ----------
    best : loss to choose by at the best epoch. epoch : that epoch, from 1. epochs : that were planned.
    history : a row an epoch: epoch, loss, judged and reported (None where it was not), learning_rate. stopped : "" or
        why early. judging : seconds that scoring takes, 0 where nothing was scored.
    """

    best: float = math.inf
    epoch: int = 0
    epochs: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    stopped: str = ""
    judging: float = 0.0


def pick_device(asked: str, number: int = 0) -> torch.device:
    """Device of a trial: the one asked for, else a GPU by the trial's number, else the processor."""
    if asked != "auto":
        return torch.device(asked)
    if torch.cuda.is_available():
        return torch.device("cuda", number % torch.cuda.device_count())
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def mixed(device: torch.device) -> Any:
    """Mixed precision on GPUs; processors count in float32, where depthwise convolutions learn faster."""
    kind = torch.float16 if narrow(device) else torch.bfloat16
    return torch.autocast(device.type, dtype=kind, enabled=device.type == "cuda")


def narrow(device: torch.device) -> bool:
    """Whether a device counts in float16, whose small gradients vanish unless losses are scaled up: older GPUs do."""
    return device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False)


@contextmanager
def told_of_memory(what: str) -> Iterator[None]:
    """Turn a device's want of memory into an error that names what was too large."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise LearnerError(f"out of memory with {what}. Fix: a smaller batch or smaller images.") from error
    except RuntimeError as error:
        if "out of memory" not in str(error) and "can't allocate memory" not in str(error):
            raise
        raise LearnerError(f"out of memory with {what}. Fix: a smaller batch or smaller images.") from error


def frozen_layers(backbone: nn.Module, count: int) -> None:
    """Keep the first layers of a backbone as they are; lists of layers count one by one."""
    layers: list[nn.Module] = []
    for child in backbone.children():
        layers += list(child) if isinstance(child, nn.ModuleList | nn.Sequential) else [child]
    for layer in layers[:count]:
        layer.requires_grad_(requires_grad=False)


def optimizer_of(network: nn.Module, plan: Training) -> torch.optim.Optimizer:
    """Optimizer; biases and scales of normalisation do not decay."""
    trained = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": plan.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [g for g in groups if g["params"]]
    if plan.optimizer == "sgd":
        nesterov = plan.nesterov and plan.momentum > 0
        return torch.optim.SGD(groups, lr=plan.learning_rate, momentum=plan.momentum, nesterov=nesterov)
    cls = torch.optim.AdamW if plan.optimizer == "adamw" else torch.optim.Adam
    return cls(groups, lr=plan.learning_rate, betas=(plan.beta1, plan.beta2), amsgrad=plan.amsgrad)


def rate(plan: Training, step: float, steps: int, total: int) -> float:
    """Factor of the learning rate after `step` of `total` steps, `steps` of them an epoch.

    Examples
    --------
    >>> from vision.config import Training
    >>> plan = Training(warmup_cosine_lr_warmup_epochs=1)
    >>> [round(rate(plan, s, 10, 100), 3) for s in (0, 10, 100)]
    [0.091, 1.0, 0.024]
    """
    if plan.lr_scheduler == "none":
        return 1.0
    if plan.lr_scheduler == "step":
        return float(plan.step_lr_gamma ** (step // steps // plan.step_lr_step_size))
    warm = min(plan.warmup_cosine_lr_warmup_epochs * steps, total / 5)
    if step < warm:
        return float((step + 1) / (warm + 1)) if warm else 1.0
    done = (step - warm) / max(total - warm, 1)
    return float(max(0.0, 0.5 * (1 + math.cos(2 * math.pi * plan.warmup_cosine_lr_cycles * done))))


class _Average:
    """Running mean of a network's weights."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval()
        self.network.requires_grad_(requires_grad=False)
        self.decay = decay
        self.count = 0

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def update(self, network: nn.Module) -> None:
        self.count += 1
        keep = min(self.decay, (1 + self.count) / (10 + self.count))
        own = self.network.state_dict()
        floats = []
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                floats.append((own[name], value))
            else:
                own[name].copy_(value)
        torch._foreach_lerp_([a for a, _ in floats], [b for _, b in floats], 1 - keep)


def seed_all(seed: int, epoch: int) -> None:
    """Set all random states by seed and epoch."""
    number = int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
    torch.manual_seed(number)
    np.random.seed(number)  # noqa: NPY002 - libraries of transforms draw from it
    random.seed(number)


def train(
    network: nn.Module,
    plan: Training,
    job: Job,
    *,
    seed: int,
    device: torch.device,
    deadline: Deadline,
    checkpoint: Path,
    report: Callable[[int, float], bool] = lambda _epoch, _loss: False,
    prepare: Callable[[nn.Module], None] = lambda network: network.train(),
) -> Trained:
    """Train, and leave the network with the weights of its best epoch.

    Parameters
    ----------
    checkpoint : file that an interrupted training goes on from. report : (epoch, loss) -> whether to stop.
    prepare : puts the network into the mode to learn in.

    Raises
    ------
    LearnerError : the loss is not finite, or memory is too small; the message says what to change.
    """
    run = _Run(network, plan, job, seed, device, deadline, checkpoint, prepare)
    run.open()
    for row in run.trained.history:  # of an interrupted training: rungs count from the start
        if row["reported"] is not None:
            report(row["epoch"], row["reported"])
    while run.trained.epoch_done < run.trained.epochs and not run.trained.stopped:
        run.epoch(report)
    return run.close()


def learn(network: nn.Module, plan: Training, job: Job, batch: Any, accumulate: int = 1, scaler: Any = None) -> float:
    """Gradients of one batch; returns its loss.

    Parameters
    ----------
    scaler : torch.amp.GradScaler, by which gradients are then larger; None = they are not.

    Raises
    ------
    LearnerError : the loss is not finite, or memory is too small.
    """
    with told_of_memory(f"batches of {plan.training_batch_size} images"):
        device = next(network.parameters()).device
        with mixed(device):
            loss = job.loss(network, batch) / accumulate
        value = float(loss.detach()) * accumulate
        if not math.isfinite(value):
            raise LearnerError(
                f"the loss is {value} with learning_rate {plan.learning_rate:g}. Fix: a lower learning_rate."
            )
        (loss if scaler is None else scaler.scale(loss)).backward()
    return value


def step_seconds(
    network: nn.Module, plan: Training, job: Job, seed: int, prepare: Callable[[nn.Module], None]
) -> float:
    """Seconds of one step of training, on a copy whose weights are thrown away."""
    with torch.random.fork_rng(devices=[]):
        seed_all(seed, 0)
        twin = copy.deepcopy(network)
        optimizer = optimizer_of(twin, plan)
        prepare(twin)
        took, begun = [], monotonic()
        for k, batch in enumerate(job.batches(0)):
            learn(twin, plan, job, batch)
            optimizer.step()
            optimizer.zero_grad()
            took.append(monotonic() - begun)
            begun = monotonic()  # reading the next batch is part of its step
            if k >= _TIMED:
                break
    # the first step also sets up what later ones reuse
    return float(np.mean(took[1:] or took)) * 1.05


@dataclass(slots=True)
class _State(Trained):
    """What a checkpoint holds besides weights."""

    epoch_done: int = 0
    worse: int = 0


class _Run:
    """One training under way."""

    def __init__(
        self,
        network: nn.Module,
        plan: Training,
        job: Job,
        seed: int,
        device: torch.device,
        deadline: Deadline,
        checkpoint: Path,
        prepare: Callable[[nn.Module], None],
    ) -> None:
        self.network = network
        self.plan = plan
        self.job = job
        self.seed = seed
        self.device = device
        self.deadline = deadline
        self.checkpoint = checkpoint
        self.prepare = prepare
        self.trained = _State()
        self.best: dict[str, torch.Tensor] | None = None
        self._saved = monotonic()
        self._end = math.inf
        self._took = 0.0

    # -- begin and end ------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Go on from the checkpoint, or plan."""
        self.optimizer = optimizer_of(self.network, self.plan)
        self.average = _Average(self.network, self.plan.average) if self.plan.average else None
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=narrow(self.device))
        if self.checkpoint.exists():
            self._load()
            return
        self.trained.epochs, self.steps, self.every = self._planned()
        self._save()

    def close(self) -> Trained:
        """Take the best weights."""
        t = self.trained
        if self.best is not None:
            self.network.load_state_dict(self.best)
        self.network.eval()
        return Trained(t.best, t.epoch, t.epochs, t.history, t.stopped, t.judging)

    def _planned(self) -> tuple[int, int, int]:
        """Epochs, steps of each, and epochs between two scorings, that fit into the time left."""
        plan, job = self.plan, self.job
        left = self.deadline.left() * plan.time_share
        if math.isinf(left):
            return plan.number_of_epochs, job.steps, plan.evaluation_frequency
        begun = monotonic()
        self._end = begun + left
        step = step_seconds(self.network, plan, job, self.seed, self.prepare)
        left = (left - (monotonic() - begun)) * _SPARE
        judging, whole = job.judged * step, job.steps * step
        self.trained.judging = judging
        every = max(plan.evaluation_frequency, math.ceil(judging / (_JUDGED * whole)))
        left -= job.closing * judging + _LEAVE
        epochs = int(left / (whole + judging / every))
        if epochs >= 1:
            return min(plan.number_of_epochs, epochs), job.steps, every
        fit = int(left / step)
        if fit < 1:
            raise LearnerError(
                f"no time to train: a step takes {step:.1f} s, scoring {judging:.1f} s, and {left:.0f} s more are left."
            )
        return 1, min(fit, job.steps), 1

    def _replan(self, done: int) -> None:
        """Epochs that fit, now that some were timed: more in the first half of a training, fewer at any time.

        The plan of a training that is taken up again stays as it is.
        """
        t = self.trained
        if math.isinf(self._end) or done >= t.epochs:
            return
        left = self._end - monotonic() - self.job.closing * t.judging - _LEAVE
        each = self._took / done + t.judging / self.every
        fit = done + int(left / each)
        if fit < t.epochs:
            t.epochs = max(done, fit)
        elif 2 * done <= t.epochs:
            t.epochs = max(t.epochs, min(self.plan.number_of_epochs, done + int(_SPARE * left / each)))

    # -- an epoch -----------------------------------------------------------------------------------------------------

    def epoch(self, report: Callable[[int, float], bool]) -> None:
        """One pass over the data, its score, its checkpoint."""
        t, number = self.trained, self.trained.epoch_done + 1
        seed_all(self.seed, number)
        self.prepare(self.network)
        begun = monotonic()
        total, first = t.epochs * self.steps, (number - 1) * self.steps
        losses, factor = [], 1.0
        accumulate = min(self.plan.grad_accumulation_step, self.steps)
        for k, batch in enumerate(self.job.batches(number)):
            if k >= self.steps:
                break
            if self.deadline.left() < (self.job.closing + 0.2) * t.judging + _LEAVE:
                t.stopped = "time"
                break
            factor = rate(self.plan, first + k, self.steps, total)
            for group in self.optimizer.param_groups:
                group["lr"] = self.plan.learning_rate * factor
            losses.append(learn(self.network, self.plan, self.job, batch, accumulate, self.scaler))
            if (k + 1) % accumulate == 0 or k + 1 == self.steps:
                self._step()
        t.epoch_done = number
        self._took += monotonic() - begun
        self._replan(number)
        loss = float(np.mean(losses)) if losses else math.nan
        due = number % self.every == 0 or number == t.epochs or t.stopped
        judged, told = self._judge(number, report) if due else (None, None)
        row = {"epoch": number, "loss": loss, "judged": judged, "reported": told}
        t.history.append({**row, "learning_rate": self.plan.learning_rate * factor})
        LOG.info("epoch %d of %d: loss %.4f, held out %s", number, t.epochs, loss, told)
        if number == t.epochs or t.stopped or monotonic() - self._saved > _SAVED:
            self._save()

    def _step(self) -> None:
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_([p for p in self.network.parameters() if p.grad is not None], _CLIP)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        if self.average is not None:
            self.average.update(self.network)

    def _judge(self, number: int, report: Callable[[int, float], bool]) -> tuple[float, float]:
        t, plan = self.trained, self.plan
        judged = self.network if self.average is None else self.average.network
        judged.eval()
        begun = monotonic()
        with torch.inference_mode():
            loss, told = self.job.judge(judged)
        t.judging = 1.2 * (monotonic() - begun)
        better = loss < t.best or self.best is None
        if better or loss == t.best:  # of equals the one that learned longer
            t.best, t.epoch = loss, number
            self.best = {k: v.detach().clone() for k, v in judged.state_dict().items()}
        if better:
            t.worse = 0
        elif number > plan.early_stopping_delay:
            t.worse += 1
        if report(number, told):
            t.stopped = t.stopped or "pruned"
        if plan.early_stopping and t.worse >= plan.early_stopping_patience:
            t.stopped = t.stopped or "early stopping"
        return loss, told

    # -- checkpoints --------------------------------------------------------------------------------------------------

    def _save(self) -> None:
        t = self.trained
        content = {
            "plan": [self.steps, self.every],
            "state": {name: getattr(t, name) for name in (*Trained.__slots__, "epoch_done", "worse")},
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "best": self.best,
            "average": None if self.average is None else (self.average.network.state_dict(), self.average.count),
        }
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        partial = self.checkpoint.with_suffix(".part")
        torch.save(content, partial)
        put(partial, self.checkpoint)
        self._saved = monotonic()

    def _load(self) -> None:
        content = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        self.steps, self.every = content["plan"]
        for name, value in content["state"].items():
            setattr(self.trained, name, value)
        self.network.load_state_dict(content["network"])
        self.optimizer.load_state_dict(content["optimizer"])
        if self.scaler.is_enabled():
            self.scaler.load_state_dict(content["scaler"])
        self.best = content["best"]
        if self.average is not None:
            state, self.average.count = content["average"]
            self.average.network.load_state_dict(state)
        LOG.info("training goes on after epoch %d of %d", self.trained.epoch_done, self.trained.epochs)


def parameters_of(network: nn.Module) -> dict[str, np.ndarray]:
    """Weights and buffers as arrays."""
    return {name: value.detach().cpu().numpy() for name, value in network.state_dict().items()}


def fill(network: nn.Module, arrays: Mapping[str, Any], *, strict: bool = True) -> Sequence[str]:
    """Put arrays or tensors back; returns names that were missing or of another shape, where `strict` allows it."""
    own = network.state_dict()
    tensors = {k: v if isinstance(v, torch.Tensor) else torch.from_numpy(np.array(v)) for k, v in arrays.items()}
    fit = {k: v for k, v in tensors.items() if k in own and own[k].shape == v.shape}
    left = [k for k in own if k not in fit]
    if strict and (left or len(fit) < len(arrays)):
        raise LearnerError(
            f"{len(left)} weights are missing or of another shape, first {(left or ['one too many'])[0]}."
        )
    network.load_state_dict(fit, strict=False)
    return left
