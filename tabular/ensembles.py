"""From trials to combinations: greedy voting and stacking on held-out predictions."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from scipy.special import softmax

from automl.ensemble import bagged_weights, combine, greedy_arrays
from automl.errors import ConfigError
from automl.metrics import normalised
from automl.runs import model_names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from automl.runs import TrialRecord
    from automl.trial import State
    from tabular.task import TabularTask

VOTING, STACKING = "VotingEnsemble", "StackEnsemble"
_EACH_LEARNER, _MOST = 4, 30
"""So many trials of a learner, and so many in all, are considered."""

SMALLEST = 1e-5
"""Probabilities below this are taken for it before logarithms."""

_STACK_FOLDS = 5
_STACK_WORK = 1e8
"""Rows x members x classes squared of the largest stack: six fits on one core then take 20 seconds at most."""

_BAGS, _PART_ROWS, _CLEARLY = 16, 5_000, 0.9
"""Choices whose mean is the vote, and rows that each looks at; share of them on which a single model must be better."""


@dataclass(frozen=True, slots=True)
class Stack:
    """A linear model over members.

    Parameters
    ----------
    coef : shape [outputs, inputs]. intercept : shape [outputs]. n_classes : 0 = numbers.
    """

    coef: np.ndarray
    intercept: np.ndarray
    n_classes: int

    def predict(self, members: Sequence[np.ndarray]) -> np.ndarray:
        """Combine predictions of the members, in the order of fitting."""
        out = inputs(members, self.n_classes) @ self.coef.T + self.intercept
        return softmax(out, axis=1) if self.n_classes else out[:, 0]

    def state(self) -> State:
        """As (JSON, arrays)."""
        return {"n_classes": self.n_classes}, {"coef": self.coef, "intercept": self.intercept}

    @classmethod
    def from_state(cls, settings: dict[str, Any], blobs: dict[str, Any]) -> Self:
        """Read what `state` gave."""
        return cls(np.asarray(blobs["coef"]), np.asarray(blobs["intercept"]), settings["n_classes"])


def inputs(members: Sequence[np.ndarray], n_classes: int) -> np.ndarray:
    """What a stack reads: numbers as they are, logarithms of probabilities against their mean. Shape [rows, k]."""
    if not n_classes:
        return np.stack(members, axis=1)
    parts = []
    for p in members:
        logs = np.log(np.clip(normalised(p), SMALLEST, 1))
        logs = logs - logs.mean(axis=1, keepdims=True)
        parts.append(logs[:, 1:] if n_classes == 2 else logs)
    return np.concatenate(parts, axis=1)


def fit_stack(
    members: Sequence[np.ndarray], y: np.ndarray, weight: np.ndarray, n_classes: int, learner: str, seed: int
) -> Stack:
    """Fit the model over members on held-out predictions.

    Parameters
    ----------
    learner : LogisticRegression, ElasticNet, LinearRegression or "auto".
    """
    from sklearn import linear_model
    from sklearn.model_selection import KFold

    used = weight > 0
    x, y, weight = inputs(members, n_classes)[used], y[used], weight[used]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # members resemble each other, so that the last digits are hard to find
        if n_classes:
            model: Any = linear_model.LogisticRegression(C=0.1, max_iter=500).fit(x, y, weight)
            coef = np.zeros((n_classes, x.shape[1]))
            intercept = np.full(n_classes, np.log(SMALLEST))
            if len(model.classes_) == 2:
                coef[model.classes_[1]] = model.coef_[0]
                intercept[model.classes_] = [0.0, model.intercept_[0]]
            else:
                coef[model.classes_], intercept[model.classes_] = model.coef_, model.intercept_
            return Stack(coef, intercept, n_classes)
        if learner == "LinearRegression":
            model = linear_model.LinearRegression(positive=True).fit(x, y, weight)
        else:
            folds = KFold(_STACK_FOLDS, shuffle=True, random_state=seed)
            model = linear_model.ElasticNetCV(positive=True, l1_ratio=0.5, cv=folds, random_state=seed)
            model.fit(x, y, sample_weight=weight)
    return Stack(model.coef_[None, :], np.atleast_1d(float(model.intercept_)), 0)


def no_stack(parts: Sequence[np.ndarray], y: np.ndarray, weight: np.ndarray, members: int, n_classes: int) -> str:
    """Why no stack can be fitted, empty = one can.

    Parameters
    ----------
    parts : rows of each fit. members : of the stack.
    """
    wide = n_classes if n_classes > 2 else 1
    if len(y) * members * wide * wide > _STACK_WORK:
        return f"{len(y)} rows, {members} members and {n_classes} classes would take minutes"
    for part in parts:
        known = y[part][weight[part] > 0]
        if len(known) < _STACK_FOLDS:
            return "too few rows of positive weight are held out"
        if n_classes and len(np.unique(known)) < 2:
            return "rows that are held out are of one class"
    return ""


class Assembly:
    """Chooses weights from the trials of one run.

    Parameters
    ----------
    task : they were evaluated on. records : its trials.
    """

    def __init__(self, task: TabularTask, records: Sequence[TrialRecord]) -> None:
        self.task = task
        metric = task.metric
        good = [r for r in records if r.usable and np.isfinite(r.scores.get(metric.name, np.nan))]
        self.records = sorted(good, key=lambda r: (metric.loss(r.scores[metric.name]), r.number))
        self.names = model_names(records)
        self._held: dict[int, np.ndarray] = {}

    def held(self, number: int) -> np.ndarray:
        """Held-out predictions of a trial."""
        if number not in self._held:
            record = next(r for r in self.records if r.number == number)
            self._held[number] = np.asarray(record.predictions()["held"])
        return self._held[number]

    def vote(self, rounds: int) -> dict[int, float]:
        """Greedy weights by trial number."""
        pool: list[TrialRecord] = []
        for record in self.records:
            if sum(r.learner == record.learner for r in pool) < _EACH_LEARNER and len(pool) < _MOST:
                pool.append(record)
        held = [self.held(r.number) for r in pool]
        try:
            weights = bagged_weights(held, self._loss, self._parts(), rounds=rounds, seed=self.task.settings.seed)
        except ConfigError:  # a class is so rare that parts do not hold it
            weights = greedy_arrays(held, self.task.loss, rounds=rounds)
        return {r.number: float(w) for r, w in zip(pool, weights, strict=True) if w > 0}

    def _loss(self, predicted: np.ndarray, rows: np.ndarray) -> float:
        """Loss of predictions of some of the held-out rows; lower is better."""
        metric = self.task.metric
        return metric.loss(self.task.score(metric, predicted, self.task.held[rows]))

    def clearly_better(self, one: np.ndarray, other: np.ndarray) -> bool:
        """Whether held-out predictions are better than others on nearly all random parts of the rows.

        The best of many models owes something to luck; what is better by luck is not so on every part.
        """
        wins = [self._loss(one[rows], rows) < self._loss(other[rows], rows) for rows in self._parts()]
        return sum(wins) > _CLEARLY * len(wins)

    def _parts(self) -> list[np.ndarray]:
        """Random halves of the held-out rows, at most 5,000 rows each, classes alike."""
        y = self.task.y[self.task.held]
        groups = [np.arange(len(y))]
        if self.task.settings.n_classes:
            groups = [np.flatnonzero(y == c) for c in np.unique(y)]
        rng = np.random.default_rng(self.task.settings.seed)
        share = min(0.5, _PART_ROWS / len(y))
        return [
            np.sort(np.concatenate([rng.permutation(g)[: max(1, round(share * len(g)))] for g in groups]))
            for _ in range(_BAGS)
        ]

    def blended(self, weights: Mapping[int, float]) -> np.ndarray:
        """Held-out predictions of a vote."""
        return combine([self.held(k) for k in weights], list(weights.values()))

    def stack(self, numbers: Sequence[int], learner: str) -> tuple[Stack, np.ndarray] | str:
        """Fit a stack over trials; and its held-out predictions, each made by a stack that did not see the row.

        Returns
        -------
        Both, or why there is none.
        """
        s = self.task.settings
        members = [self.held(k) for k in numbers]
        rows = self.task.held
        y, weight = self.task.y[rows], self.task.weight[rows]
        part = np.random.default_rng(s.seed).permutation(len(rows)) % _STACK_FOLDS
        why = no_stack([part != k for k in range(_STACK_FOLDS)], y, weight, len(members), s.n_classes)
        if why:
            return why
        out = np.zeros_like(members[0])
        for k in range(_STACK_FOLDS):
            inside, outside = part == k, part != k
            own = fit_stack([m[outside] for m in members], y[outside], weight[outside], s.n_classes, learner, s.seed)
            out[inside] = own.predict([m[inside] for m in members])
        return fit_stack(members, y, weight, s.n_classes, learner, s.seed), out
