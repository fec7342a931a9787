"""Training of the TCN: seeded windows, pinball loss, early stopping inside the training part, a foreseen end."""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from automl.errors import ConfigError, DeadlineExceededError, LearnerError, MissingPackageError
from forecasting.learners.tcn_network import LEVELS, Spec, initial_weights, quantile_heads

if TYPE_CHECKING:
    from collections.abc import Iterator

    from automl.budget import Deadline
    from forecasting.learners.tcn_inputs import Rows, Windows

_FORK_STEPS, _MOST_FORKS = 384, 16
_MOST_CHECKED = 1_000
_BATCH_CHECKED = 256
_LEAST_HISTORY = 2
_GRADIENT_NORM = 1.0
_LEAST_BATCHES = 16
_FORGET = 0.1
_DECAY = 0.98
_MOMENTUM, _WEIGHT_DECAY = (0.9, 0.999), 1e-3
_PLATEAU, _SHRINK, _LEAST_RATE = 3, 0.5, 1e-5


def import_torch() -> Any:
    """Return the torch module.

    Raises
    ------
    MissingPackageError : it is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise MissingPackageError("torch", "deep", "TCNForecaster") from error
    return torch


@contextmanager
def torch_settings(threads: int) -> Iterator[Any]:
    """Give torch with so many threads; the process's own number comes back after.

    The operations used here add up in a fixed order on the CPU, and random numbers come from generators of our own,
    so torch's global switches and seeds stay untouched (the switch for deterministic algorithms loads its compiler).
    """
    torch = import_torch()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield torch
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to train.

    Parameters
    ----------
    max_epochs, patience, windows_per_epoch, batch_size : counts. dropout : share. learning_rate : first one.
    seed : of weights, windows and dropout. device : "cpu" or "cuda".
    """

    max_epochs: int
    patience: int
    windows_per_epoch: int
    batch_size: int
    dropout: float
    learning_rate: float
    seed: int
    device: str


@dataclass(frozen=True, slots=True)
class Split:
    """Where training and checking windows lie, in positions inside each series.

    Parameters
    ----------
    series, first, last, limit : [k], series trained on, their first and last origin, and where their targets end.
    checked, origin : [m], series checked on and the one origin of each; empty = no early stopping.
    """

    series: np.ndarray
    first: np.ndarray
    last: np.ndarray
    limit: np.ndarray
    checked: np.ndarray
    origin: np.ndarray


def split_windows(lengths: np.ndarray, horizon: int, season: int) -> Split:
    """Keep back the last horizon of every series long enough for it, for early stopping; train on what is before.

    Raises
    ------
    LearnerError : no series is longer than the horizon.
    """
    if not len(lengths) or lengths.max() < horizon + 1:
        longest = int(lengths.max()) if len(lengths) else 0
        raise LearnerError(
            f"TCNForecaster needs a series of at least {horizon + 1} rows (horizon + 1), the longest of "
            f"{len(lengths)} has {longest}. Fix: a shorter horizon, more history or another learner."
        )
    least = np.minimum(max(season, _LEAST_HISTORY), np.maximum(lengths // 4, 1))
    # a series checked on must still have an origin to train on before the rows kept back
    holds = lengths >= 2 * horizon + np.maximum(least, _LEAST_HISTORY)
    limit = np.where(holds, lengths - horizon, lengths)
    series = np.flatnonzero(limit - horizon >= 1)
    checked = np.flatnonzero(holds)
    if len(checked) > _MOST_CHECKED:
        checked = checked[np.linspace(0, len(checked) - 1, _MOST_CHECKED).astype(np.int64)]
    last = limit[series] - horizon - 1
    return Split(
        series,
        np.minimum(least[series] - 1, last),
        last,
        limit[series],
        checked,
        lengths[checked] - horizon - 1,
    )


def train(spec: Spec, rows: Rows, recipe: Recipe, deadline: Deadline, threads: int) -> tuple[dict, dict[str, Any]]:
    """Train a network; returns its weights (float32 arrays by name) and a note on how it went.

    Raises
    ------
    DeadlineExceededError : all epochs will not fit into the time; said as soon as it can be foreseen, since a model
        cut short by the clock would be another one on another day.
    """
    split = split_windows(rows.lengths, spec.horizon, rows.layout.season)
    with torch_settings(threads) as torch:
        return _Training(torch, spec, rows, recipe, split).run(deadline)


class _Training:
    """All weights lie in one vector, updated by AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101).

    Written out here because torch's own optimisers load its compiler, which takes longer than a small training.
    """

    def __init__(self, torch: Any, spec: Spec, rows: Rows, recipe: Recipe, split: Split) -> None:
        self.torch, self.spec, self.rows, self.recipe, self.split = torch, spec, rows, recipe, split
        self.rng = np.random.default_rng([recipe.seed, 1])
        start = initial_weights(spec, recipe.seed)
        self.shapes = {n: a.shape for n, a in start.items()}
        flat = np.concatenate([a.ravel() for a in start.values()])
        decays = np.concatenate([np.full(a.size, float(".weight" in n), dtype=np.float32) for n, a in start.items()])
        self.theta = torch.tensor(flat, device=recipe.device, requires_grad=True)
        self.decays = torch.tensor(decays, device=recipe.device)
        self.first, self.second = torch.zeros_like(self.theta), torch.zeros_like(self.theta)
        self.smooth = self.theta.detach().clone()
        self.rate, self.step = recipe.learning_rate, 0
        self.forks = max(1, min(_FORK_STEPS // spec.horizon, _MOST_FORKS, int((split.last - split.first).max()) + 1))

    def run(self, deadline: Deadline) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        r = self.recipe
        checks = self._checks()
        # without rows to check on, stopping early is impossible: fewer epochs guard against overfitting
        epochs = r.max_epochs if checks else max(1, r.max_epochs // 2)
        origins = int((self.split.last - self.split.first + 1).sum())
        batches = max(2 * origins // (self.forks * r.batch_size), _LEAST_BATCHES)
        batches = min(batches, max(r.windows_per_epoch // r.batch_size, 1))
        pace = _Pace(deadline, epochs, batches)
        best, best_loss, best_epoch, since_drop = self._snapshot(), np.inf, 0, 0
        losses: list[float] = []
        for epoch in range(1, epochs + 1):
            for batch in range(batches):
                self._learn()
                pace.after(epoch, batch + 1)
            if not checks:
                best, best_epoch = self._snapshot(), epoch
                continue
            losses.append(self._loss_of(checks))
            pace.checked()
            if losses[-1] < best_loss:
                best, best_loss, best_epoch, since_drop = self._snapshot(), losses[-1], epoch, 0
                continue
            since_drop += 1
            if epoch - best_epoch >= r.patience:
                break
            if since_drop > _PLATEAU:
                since_drop = 0
                self.rate = max(self.rate * _SHRINK, _LEAST_RATE)
        return best, {"epochs": len(losses) or epochs, "best_epoch": best_epoch, "losses": losses}

    def _learn(self) -> None:
        torch = self.torch
        loss = self._loss(self._draw(), self._named(self.theta), self._drop if self.recipe.dropout > 0 else None)
        (gradient,) = torch.autograd.grad(loss, self.theta)
        self.step += 1
        with torch.no_grad():
            gradient *= (_GRADIENT_NORM / gradient.norm().clamp(min=1e-12)).clamp(max=1.0)
            self.first.lerp_(gradient, 1 - _MOMENTUM[0])
            self.second.lerp_(gradient.square(), 1 - _MOMENTUM[1])
            size = (self.second / (1 - _MOMENTUM[1] ** self.step)).sqrt() + 1e-8
            move = self.first / (1 - _MOMENTUM[0] ** self.step) / size + _WEIGHT_DECAY * self.decays * self.theta
            self.theta -= self.rate * move
            # averaged weights forecast better than the last ones (Polyak & Juditsky 1992); a short memory at first
            self.smooth.lerp_(self.theta, 1 - min(_DECAY, self.step / (self.step + 10)))

    def _named(self, vector: Any) -> dict[str, Any]:
        """Weights by name, as views of the vector."""
        sizes = [math.prod(shape) for shape in self.shapes.values()]
        parts = zip(self.shapes.items(), self.torch.split(vector, sizes), strict=True)
        return {name: part.reshape(shape) for (name, shape), part in parts}

    def _draw(self) -> Windows:
        """A batch: series by the root of how many origins they have, origins evenly."""
        s, n = self.split, self.recipe.batch_size
        origins = s.last - s.first + 1
        share = np.sqrt(origins)
        pick = self.rng.choice(len(s.series), n, p=share / share.sum())
        earliest = s.first[pick] - (self.forks - 1)
        origin = earliest + (self.rng.random(n) * (s.last[pick] - earliest + 1)).astype(np.int64)
        windows = self.rows.cut(s.series[pick], np.maximum(origin, s.first[pick]), self.forks, s.limit[pick])
        codes = windows.inputs["static_codes"]
        # a series or category is forgotten now and then, so that the unknown one is learnt as well
        codes *= self.rng.random(codes.shape) >= _FORGET
        return windows

    def _checks(self) -> list[Windows]:
        s, out = self.split, []
        for first in range(0, len(s.checked), _BATCH_CHECKED):
            part = slice(first, first + _BATCH_CHECKED)
            origin = s.origin[part]
            windows = self.rows.cut(s.checked[part], origin, 1, origin + self.spec.horizon + 1)
            if windows.weight.any():
                out.append(windows)
        return out

    def _loss_of(self, checks: list[Windows]) -> float:
        weights = self._named(self.smooth)
        with self.torch.no_grad():
            parts = [(float(self._loss(w, weights, None)), float(w.weight.sum())) for w in checks]
        return sum(loss * weight for loss, weight in parts) / sum(weight for _, weight in parts)

    def _loss(self, windows: Windows, weights: dict[str, Any], drop: Any) -> Any:
        """Mean pinball loss over the levels."""
        torch, device = self.torch, self.recipe.device
        inputs = to_tensors(torch, windows.inputs, torch.float32, device)
        target = torch.from_numpy(windows.target).to(device, torch.float32)
        weight = torch.from_numpy(windows.weight).to(device, torch.float32)
        levels = torch.tensor(LEVELS, device=device)
        error = target[..., None] - quantile_heads(self.spec, weights, inputs, drop)
        pinball = torch.maximum(levels * error, (levels - 1) * error).mean(-1)
        return (pinball * weight).sum() / weight.sum().clamp(min=1e-9)

    def _drop(self, x: Any) -> Any:
        """Zero some channels of each window, over all its rows."""
        p = self.recipe.dropout
        keep = self.rng.random((x.shape[0], *[1] * (x.ndim - 2), x.shape[-1]), dtype=np.float32) >= p
        return x * self.torch.from_numpy(keep / np.float32(1 - p)).to(x.device)

    def _snapshot(self) -> dict[str, np.ndarray]:
        return {n: w.cpu().numpy().copy() for n, w in self._named(self.smooth).items()}


def to_tensors(torch: Any, inputs: dict[str, np.ndarray], dtype: Any, device: str) -> dict[str, Any]:
    """Inputs as tensors: codes stay whole numbers, the rest takes the type given."""
    return {
        name: torch.from_numpy(np.ascontiguousarray(a)).to(device, torch.int64 if "codes" in name else dtype)
        for name, a in inputs.items()
    }


def choose_device(torch: Any, device: str) -> str:
    """Return "cpu" or "cuda"; "auto" takes the GPU where there is one.

    Raises
    ------
    ConfigError : "cuda" was asked for and there is none.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device='cuda' was asked for, but torch finds no CUDA device. Fix: device='auto' or 'cpu'.")
    return device


class _Pace:
    """Foresees from the first batches whether all epochs can be done in time."""

    def __init__(self, deadline: Deadline, epochs: int, batches: int) -> None:
        self._deadline, self._epochs, self._batches = deadline, epochs, batches
        self._start = perf_counter()
        self._first: float | None = None

    def after(self, epoch: int, batch: int) -> None:
        """Check after a batch; the very first one warms up and is not counted."""
        now = perf_counter()
        done = (epoch - 1) * self._batches + batch
        if self._first is None:
            self._first = now
        self._deadline.check(f"training TCNForecaster: {done} batches in epoch {epoch} of {self._epochs}")
        if done < 4:
            return
        total = self._epochs * self._batches
        rest = (now - self._first) / (done - 1) * (total - done)
        left = self._deadline.left()
        # the fewer were timed, the wider the doubt
        if rest > left * (1 + 1 / done):
            raise DeadlineExceededError(
                f"TCNForecaster needs about {now - self._start + rest:.0f} s for {self._epochs} epochs, "
                f"{max(left, 0):.0f} s left after {done} of {total} batches. Fix: more time, fewer max_epochs or a "
                "smaller windows_per_epoch"
            )

    def checked(self) -> None:
        """Check after the loss on the rows kept back was computed."""
        self._deadline.check(f"checking TCNForecaster on the rows kept back, {self._epochs} epochs at most")
