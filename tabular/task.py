"""The tabular task as the engine sees it: opened by each worker from files, evaluated fold by fold."""

from __future__ import annotations

import json
import math
import tempfile
from collections import OrderedDict
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from automl.budget import Deadline
from automl.bundle import read_state, write_state
from automl.errors import LearnerError
from automl.metrics import CLASSIFICATION, REGRESSION, normalised
from automl.trial import Evaluation
from tabular.config import FeatureSettings
from tabular.featurize.base import Goal
from tabular.featurize.featurizer import Featurizer
from tabular.folds import Split
from tabular.learners.base import LEARNERS, FitContext
from tabular.pipeline import Pipeline, log_range
from tabular.profile import Profile
from tabular.spaces import OPTIONS
from tabular.stream import Stream
from tabular.table import table_from_state, table_state

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from automl.candidates import Candidate, JsonScalar
    from automl.metrics import Metric
    from automl.trial import State, Trial
    from tabular.learners.base import Learner
    from tabular.table import Table

OPEN = "tabular.task:open_task"
"""What the engine's workers import and call with the task's directory."""

PRELOAD = ("numpy", "pandas", "scipy.sparse", "sklearn.linear_model", "sklearn.ensemble", "lightgbm", "tabular.task")
FOLDS = "folds"
"""Folder of a trial that holds the pipelines fitted on its folds."""

_GROWING = 0.8
"""Share of a fit's time after which boosted trees stop growing; folds share a trial's time evenly."""

_CACHE_BYTES = 400_000_000
"""Features that a worker keeps for the next trial."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSettings:
    """What an evaluation needs besides the rows.

    Parameters
    ----------
    metric : to choose by. n_classes : 0 = numbers. y_range : of the target in training, for normalised metrics.
    seed, threads : of each fit. stream : where all rows lie, as JSON, where the table is a sample of them.
    """

    metric: str
    n_classes: int
    y_range: float
    seed: int = 0
    threads: int = 1
    stream: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class _Made:
    """Features of one fold."""

    featurizer: Featurizer
    train: Any
    held: Any

    @property
    def size(self) -> int:
        return sum(x.data.nbytes if hasattr(x, "tocsr") else x.nbytes for x in (self.train, self.held))


class TabularTask:
    """Evaluates and refits candidates on one table.

    Parameters
    ----------
    table, y, weight : all rows. parts : what is learned from and what is held out, a pair a fold.
    """

    def __init__(
        self,
        table: Table,
        y: np.ndarray,
        weight: np.ndarray,
        parts: Sequence[Split],
        profiles: Sequence[Profile],
        features: FeatureSettings,
        settings: TaskSettings,
    ) -> None:
        self.table = table
        self.y = y
        self.weight = weight
        self.parts = list(parts)
        self.profiles = tuple(profiles)
        self.features = features
        self.settings = settings
        self._cache: OrderedDict[tuple[str, str, int], _Made] = OrderedDict()

    # -- engine protocol ----------------------------------------------------------------------------------------------

    def evaluate(self, trial: Trial) -> Evaluation:
        """Fit on each fold and predict its held-out rows; the fitted pipelines stay in the trial's folder."""
        held, losses, states = [], [], []
        fit_s = predict_s = 0.0
        trees: list[int] = []
        metric = self.metric
        for k, part in enumerate(self.parts):
            start = perf_counter()
            made = self._features(trial.candidate.learner, trial.params, k)
            share = (len(self.parts) - k) / _GROWING
            pipeline = self._fit(trial.candidate.learner, trial.params, made, part, trial.deadline, share)
            middle = perf_counter()
            predicted = pipeline.of_features(made.held)
            predict_s += perf_counter() - middle
            fit_s += middle - start
            if not np.isfinite(predicted).all():
                raise LearnerError(f"{trial.candidate.learner} predicts values that are not finite.")
            trees.append(int(getattr(pipeline.learner, "trees", 0)))
            held.append(predicted)
            losses.append(metric.loss(self.score(metric, predicted, part.held)))
            states.append(pipeline.packed())
            if math.isnan(losses[-1]) and self._undefined(part):
                continue  # a rung that says nothing of the trial
            if trial.report(k, losses[-1]) and k + 1 < len(self.parts):
                break
        n = len(held)
        info = {"windows": n, "fit_s": fit_s / n, "predict_s": predict_s / n, "trees": int(np.mean(trees))}
        if n < len(self.parts):
            return Evaluation(scores={}, predictions={}, info=info, pruned=True)
        write_state(trial.directory / FOLDS, ({"folds": n}, {f"fold-{k}": s for k, s in enumerate(states)}))
        whole = np.concatenate(held)
        return Evaluation(scores=self.scores(whole), predictions={"held": whole}, info=info)

    def refit(self, candidate: Candidate, params: Mapping[str, JsonScalar], deadline: Deadline) -> State:
        """Fit on all rows; of data larger than memory, features on the sample and the learner on all, in pieces."""
        own, options = split_params(params)
        cls = LEARNERS.load(candidate.learner)
        featurizer = Featurizer(self.profiles, self.features, cls.flavour, _options(options))
        x = featurizer.fit_transform(self.table, self._goal(np.arange(self.table.n_rows)))
        balanced, logs = bool(options.get("balanced")), None
        if self.settings.stream is None:
            context = self._context(deadline, featurizer, len(self.y), balanced=balanced)
            y, logs = self._target(options)
            learner = cls(**own).fit(_fitting(x, cls), y, self.weight, context)
        else:
            stream, width = Stream.from_json(self.settings.stream), x.shape[1]
            del x
            context = self._context(deadline, featurizer, stream.rows, balanced=False)
            pieces = stream.pieces(featurizer, width, Path(tempfile.gettempdir()), balanced=balanced)
            learner = cls(**own).fit_pieces(pieces, context)
        return Pipeline(candidate.learner, featurizer, learner, logs).state()

    # -- scores -------------------------------------------------------------------------------------------------------

    @property
    def metric(self) -> Metric:
        """Metric to choose by."""
        return find_metric(self.settings.metric, self.settings.n_classes)

    @property
    def held(self) -> np.ndarray:
        """Rows that predictions are kept for, fold by fold. Shape [held rows]."""
        return np.concatenate([part.held for part in self.parts])

    def score(self, metric: Metric, predicted: np.ndarray, rows: np.ndarray) -> float:
        """One metric of predictions of some rows, natural sign."""
        weight, s = self.weight[rows], self.settings
        given = None if np.ptp(weight) == 0 else weight
        return value_of(metric, self.y[rows], predicted, n_classes=s.n_classes, y_range=s.y_range, weight=given)

    def loss(self, predicted: np.ndarray) -> float:
        """Mean over the folds that have it of the metric to choose by, of all held-out rows; lower is better."""
        metric, first, out = self.metric, 0, []
        for part in self.parts:
            end = first + len(part.held)
            loss = metric.loss(self.score(metric, predicted[first:end], part.held))
            if not (math.isnan(loss) and self._undefined(part)):
                out.append(loss)
            first = end
        return float(np.mean(out)) if out else math.nan

    def _undefined(self, part: Split) -> bool:
        """Whether the metric to choose by has no value on a fold, however good predictions are: AUC of one class."""
        truth = self.y[part.held]
        perfect = np.eye(self.settings.n_classes)[truth] if self.settings.n_classes else truth
        return math.isnan(self.score(self.metric, perfect, part.held))

    def scores(self, predicted: np.ndarray) -> dict[str, float]:
        """All metrics over all held-out rows; the one to choose by is the mean over folds that have it."""
        rows = self.held
        kind = CLASSIFICATION if self.settings.n_classes else REGRESSION
        out = {name: self.score(kind.load(name), predicted, rows) for name in kind}
        metric = self.metric
        out[metric.name] = self.loss(predicted) if metric.direction == "min" else -self.loss(predicted)
        return out

    # -- fitting ------------------------------------------------------------------------------------------------------

    def _goal(self, rows: np.ndarray) -> Goal:
        return Goal(self.y[rows], self.weight[rows], self.settings.n_classes, self.settings.seed)

    def _features(self, learner: str, params: Mapping[str, JsonScalar], fold: int) -> _Made:
        """Features of a fold, kept for later trials that want the same."""
        _, options = split_params(params)
        options = _options(options)
        flavour = LEARNERS.load(learner).flavour
        key = flavour, json.dumps(options, sort_keys=True), fold
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        part = self.parts[fold]
        featurizer = Featurizer(self.profiles, self.features, flavour, options)
        train = featurizer.fit_transform(self.table.take(part.train), self._goal(part.train))
        made = _Made(featurizer, train, featurizer.transform(self.table.take(part.held)))
        self._cache[key] = made
        while len(self._cache) > 1 and sum(m.size for m in self._cache.values()) > _CACHE_BYTES:
            self._cache.popitem(last=False)
        return made

    def _fit(
        self,
        name: str,
        params: Mapping[str, JsonScalar],
        made: _Made,
        part: Split,
        deadline: Deadline,
        share: float,
    ) -> Pipeline:
        own, options = split_params(params)
        cls = LEARNERS.load(name)
        y, logs = self._target(options)
        held = (_fitting(made.held, cls), y[part.held], self.weight[part.held])
        balanced = bool(options.get("balanced"))
        context = self._context(deadline, made.featurizer, len(part.train), balanced=balanced, held=held, share=share)
        train = _fitting(made.train, cls)
        learner: Learner = cls(**own).fit(train, y[part.train], self.weight[part.train], context)
        return Pipeline(name, made.featurizer, learner, logs)

    def _target(self, options: Mapping[str, JsonScalar]) -> tuple[np.ndarray, tuple[float, float] | None]:
        """What a learner learns: the target, or its logarithms and the range predictions stay in."""
        if options.get("target") != "log":
            return self.y, None
        return np.log(self.y), log_range(self.y)

    def _context(
        self,
        deadline: Deadline,
        featurizer: Featurizer,
        rows: int,
        *,
        balanced: bool,
        held: Any = None,
        share: float = 1 / _GROWING,
    ) -> FitContext:
        s, left = self.settings, deadline.left()
        return FitContext(
            n_classes=s.n_classes,
            rows=rows,
            seed=s.seed,
            threads=s.threads,
            deadline=deadline,
            enough=Deadline.after(left / share if math.isfinite(left) else None),
            categorical=featurizer.categorical,
            held=held,
            balanced=balanced,
        )


def value_of(
    metric: Metric,
    y: np.ndarray,
    predicted: np.ndarray,
    *,
    n_classes: int,
    y_range: float,
    weight: np.ndarray | None = None,
) -> float:
    """One metric, natural sign; normalised errors are over the range of the target in training."""
    if n_classes:
        return float(metric.function(y, normalised(predicted), weight))
    if metric.name.startswith("normalized_"):
        return float(metric.function(y, predicted, y_range))
    return float(metric.function(y, predicted))


def find_metric(name: str, n_classes: int) -> Metric:
    """Metric of classes or of numbers by name."""
    return (CLASSIFICATION if n_classes else REGRESSION).load(name)


def split_params(params: Mapping[str, JsonScalar]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parameters of the learner, and those of features and classes."""
    own = {k: v for k, v in params.items() if k not in OPTIONS}
    return own, {k: v for k, v in params.items() if k in OPTIONS}


def _options(options: Mapping[str, JsonScalar]) -> dict[str, JsonScalar]:
    """Those of the featurizer."""
    return {k: v for k, v in options.items() if k not in {"balanced", "target"}}


def _fitting(x: Any, cls: Any) -> Any:
    """Features in a form that a learner takes."""
    if hasattr(x, "tocsr") and not cls.takes_sparse:
        if x.shape[0] * x.shape[1] > 50_000_000:
            raise LearnerError(f"{cls.__name__} needs a dense matrix, and {x.shape[0]} x {x.shape[1]} is too large.")
        return np.asarray(x.toarray(), dtype=np.float32)
    return x


# -- files ------------------------------------------------------------------------------------------------------------


def save_task(task: TabularTask, directory: Path) -> None:
    """Write what workers need to open the task."""
    table, blobs = table_state(task.table)
    own = {
        "table": table,
        "profiles": [p.to_json() for p in task.profiles],
        "features": json.loads(json.dumps(asdict(task.features))),
        "settings": asdict(task.settings),
        "folds": len(task.parts),
    }
    arrays: dict[str, Any] = {**blobs, "y": task.y, "weight": task.weight}
    for k, part in enumerate(task.parts):
        arrays |= {f"train-{k}": part.train, f"held-{k}": part.held}
    write_state(directory, (own, arrays))


def open_task(directory: str) -> TabularTask:
    """Open a saved task; arrays are mapped from disk, so workers share them."""
    own, blobs = read_state(Path(directory), mapped=True)
    parts = [Split(np.asarray(blobs[f"train-{k}"]), np.asarray(blobs[f"held-{k}"])) for k in range(own["folds"])]
    return TabularTask(
        table_from_state((own["table"], blobs)),
        np.asarray(blobs["y"]),
        np.asarray(blobs["weight"]),
        parts,
        [Profile.from_json(p) for p in own["profiles"]],
        FeatureSettings(**own["features"]),
        TaskSettings(**own["settings"]),
    )
