"""AutoClassifier and AutoRegressor: scikit-learn estimators that search, combine and explain themselves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from automl.budget import Deadline
from automl.errors import ConfigError, DataError, RunError
from automl.files import plain
from automl.guardrails import Guardrail, Report
from automl.runs import Run
from automl.session import board, more, run_folder, session
from tabular import checks
from tabular.answers import Answers
from tabular.config import META_LEARNERS, Settings
from tabular.fitting import (
    Fitting,
    Outcome,
    imbalanced,
    portfolio_of,
    settings_from_json,
    settings_to_json,
    workers_of,
)
from tabular.folds import check_classes, splits
from tabular.model import TabularModel
from tabular.profile import profile
from tabular.reading import Prepared, Schema, read_training, to_frame
from tabular.stream import measured, memory_limit, note, sample, share_of, source_of, table_mb, workers_within
from tabular.task import TabularTask, TaskSettings, find_metric

if TYPE_CHECKING:
    from collections.abc import Sequence

    from automl.parquet import Parquet

_DEFAULT = {True: "log_loss", False: "normalized_root_mean_squared_error"}


class _AutoEstimator(Answers, BaseEstimator):  # type: ignore[misc]
    """What both share."""

    _classifies: bool

    def __init__(
        self,
        *,
        metric: str | None = None,
        time_limit: float | str | None = "auto",
        max_trials: int | None = None,
        allowed: Sequence[str] | None = None,
        blocked: Sequence[str] = (),
        workers: int | None = None,
        seed: int = 0,
        settings: Settings | None = None,
        path: str | Path | None = None,
    ) -> None:
        self.metric = metric
        self.time_limit = time_limit
        self.max_trials = max_trials
        self.allowed = allowed
        self.blocked = blocked
        self.workers = workers
        self.seed = seed
        self.settings = settings
        self.path = path

    # -- learning -----------------------------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, *, validation: Any = None) -> Self:  # noqa: N803 - scikit-learn's name
        """Search, combine, refit.

        Parameters
        ----------
        X : features: pandas, polars or pyarrow table, array or scipy sparse matrix, or the path of a CSV or Parquet
            file. y : labels, shape [rows], or the name of a column of X. sample_weight : shape [rows].
        validation : (X, y) of rows that models are chosen on; nothing is learned from them but by the final fit.

        Raises
        ------
        DataError, ConfigError : the data or a setting cannot be used; the message says what to do.
        """
        begun = monotonic()
        settings = self._merged()
        deadline = Deadline.after(settings.search.limits.time_limit)
        held = 0
        if validation is not None:
            X, y, sample_weight, held = _joined(X, y, sample_weight, validation, settings)  # noqa: N806 - as above
        self.target_ = y if isinstance(y, str) else None
        source = source_of(X, y, settings.data) if validation is None and sample_weight is None else None
        if source is not None:
            X = sample(source, y, settings.data, classes=self._classifies, seed=int(self.seed))  # noqa: N806 - as above
        prepared = read_training(X, y, settings.data, classes=self._classifies, weight=sample_weight)
        self._report = Report(prepared.notes)
        task = self._task(prepared, settings, held)
        schema = replace(prepared.schema, unused=tuple(p.name for p in task.profiles if p.kind == "ignore"))
        prepared = replace(prepared, schema=schema)
        if source is not None:
            task.settings = self._streamed(source, prepared, settings, task.settings)
        told = self._run_settings(settings, schema, prepared.classes)
        portfolio_of(task, settings.search)  # what is wrong with the names is said before there is a folder
        run = Run.create(run_folder(self, self.path), task=self._kind, settings=told, seed=int(self.seed))
        self.run_ = run
        fitting = Fitting(run, settings)
        fitting.start(task)
        return self._finish(fitting, deadline, schema, prepared.classes, begun)

    @classmethod
    def resume(cls, path: str | Path, *, more_trials: int | None = None, more_time: float | None = None) -> Self:
        """Take up a run that was killed, cancelled or completed; finished trials are not run again.

        Parameters
        ----------
        more_trials : on top of those the run has. more_time : seconds for this session; None = the run's limit.
        """
        begun = monotonic()
        run = Run.open(Path(path))
        if run.task != cls._kind_of():
            raise RunError(f"{path} is a run of {run.task}, not of {cls._kind_of()}.")
        saved = run.settings
        settings = settings_from_json(saved["settings"])
        limits = settings.search.limits
        self = cls(seed=run.seed, settings=settings, time_limit=limits.time_limit)
        limits = more(limits, run, more_trials, more_time)
        self._report = Report.from_json(saved["guardrails"])
        self.target_ = saved["target"]
        self.run_ = run
        classes = _labels(saved["classes"])
        schema = Schema.from_json(saved["schema"])
        return self._finish(
            Fitting(run, settings), Deadline.after(limits.time_limit), schema, classes, begun, limits=limits
        )

    def _finish(
        self,
        fitting: Fitting,
        deadline: Deadline,
        schema: Schema,
        classes: np.ndarray | None,
        begun: float,
        **options: Any,
    ) -> Self:
        run, search = fitting.run, fitting.settings.search
        limit = search.limits.time_limit
        with session(run, "tabular", verbosity=search.verbosity, time_limit=limit, begun=begun) as own:
            fitting.on_event = own.listen
            outcome = fitting.finish(deadline, schema, classes, **options)
            self._take(outcome, run, fitting.settings)
            self.first_model_seconds_ = own.first_model_seconds
            self._alerts(outcome)
            self._save_into(run.path / "model")
            own.stopped = outcome.stopped
        return self

    def _merged(self) -> Settings:
        """Settings with the arguments given beside them, which win."""
        given: Any = self.settings or Settings()
        if not isinstance(given, Settings):
            told = f"{type(given).__module__}.{type(given).__name__}"
            raise ConfigError(f"settings must be tabular.Settings, got {told}. Fix: from tabular import Settings.")
        settings = given
        search, limits = settings.search, settings.search.limits
        limits = limits.within(self.time_limit)
        if self.max_trials is not None:
            limits = replace(limits, max_trials=int(self.max_trials))
        asked: dict[str, Any] = {
            "metric": self.metric,
            "allowed": None if self.allowed is None else tuple(self.allowed),
            "blocked": tuple(self.blocked) or None,
            "workers": self.workers,
        }
        search = replace(search, limits=limits, **{k: v for k, v in asked.items() if v is not None})
        find_metric(search.metric or _DEFAULT[self._classifies], int(self._classifies))
        features = settings.features
        if search.onnx:  # what no graph can do is not tried
            features = replace(features, hash_new=False, blocked=tuple({*features.blocked, "WordEmbedding"}))
        if search.stack_meta_learner not in META_LEARNERS[self._classifies]:
            have = ", ".join(META_LEARNERS[self._classifies])
            what = "classes" if self._classifies else "numbers"
            raise ConfigError(f"stack_meta_learner={search.stack_meta_learner!r} does not learn {what}. Fix: {have}.")
        # plain numbers and text, as a run that is taken up again finds them
        return settings_from_json(settings_to_json(replace(settings, search=search, features=features)))

    def _task(self, prepared: Prepared, settings: Settings, held: int) -> TabularTask:
        table, y = prepared.table, prepared.y
        n_classes = 0 if prepared.classes is None else len(prepared.classes)
        profiles = profile(table, settings.data, settings.features)
        checks.usable(profiles, sparse=table.matrix is not None)
        parts, note = splits(
            table, y, settings.search, n_classes=n_classes, seed=int(self.seed), given=prepared.folds, held=held
        )
        if prepared.classes is not None:
            check_classes(parts, y, prepared.classes)
        self._report.append(note)
        for found in checks.of_table(profiles, y, prepared.classes, settings.features):
            self._report.append(found)
        metric = settings.search.metric or _DEFAULT[self._classifies]
        own = TaskSettings(
            metric=metric,
            n_classes=n_classes,
            y_range=0.0 if n_classes else float(np.ptp(y)) or 1.0,
            seed=int(self.seed),
            threads=settings.search.threads,
        )
        return TabularTask(table, y, prepared.weight, parts, profiles, settings.features, own)

    def _streamed(self, source: Parquet, prepared: Prepared, settings: Settings, own: TaskSettings) -> TaskSettings:
        """Settings of a task whose table is a sample."""
        assert self.target_ is not None  # noqa: S101 - seen to before
        limit = memory_limit(settings.data) or table_mb(source)
        room = share_of(limit, workers_within(limit, workers_of(settings.search)))
        stream = measured(source, self.target_, settings.data, prepared.schema, prepared.classes, room)
        self._report.append(note(stream, prepared.table.n_rows))
        return replace(own, stream=stream.to_json())

    def _take(self, outcome: Outcome, run: Run, settings: Settings) -> None:
        """Become what was found."""
        model = outcome.model
        self._settings = settings
        self._model = model
        self._stopped = outcome.stopped
        metric = settings.search.metric or _DEFAULT[self._classifies]
        self._rows = board(run, outcome.rows, outcome.skipped, metric)
        self._metric = metric
        self._seen()

    def _seen(self) -> None:
        """Attributes by which scikit-learn knows a fitted estimator."""
        schema = self._model.schema
        self.n_features_in_ = schema.matrix or len(schema.names)
        if schema.named and schema.names:
            self.feature_names_in_ = np.array(schema.names, dtype=object)
        if self._model.classes is not None:
            self.classes_ = self._model.classes

    def _alerts(self, outcome: Outcome) -> None:
        for name in ("Leakage suspicion", "Refit", "Class balancing"):
            self._report.discard(name)
        if outcome.alert:
            self._report.append(Guardrail("Refit", "alerted", outcome.alert))
        rows = [r for r in self._rows if r["model"] == outcome.model.best]
        self._report.append(checks.leakage(rows[0], self._classifies))
        if self._classifies:
            trials = [r for r in self._rows if r.get("params")]
            self._report.append(checks.balancing(outcome.model, trials, self._imbalanced()))

    def _imbalanced(self) -> bool:
        from tabular.task import open_task

        task = open_task(str(self.run_.path / "task"))
        return imbalanced(task.y, task.settings.n_classes)

    # -- files --------------------------------------------------------------------------------------------------------

    @property
    def _kind(self) -> str:
        return self._kind_of()

    @classmethod
    def _kind_of(cls) -> str:
        return "tabular.classification" if cls._classifies else "tabular.regression"

    def _run_settings(self, settings: Settings, schema: Schema, classes: np.ndarray | None) -> dict[str, Any]:
        return {
            "settings": settings_to_json(settings),
            "schema": schema.to_json(),
            "classes": None if classes is None else [v.item() if hasattr(v, "item") else v for v in classes],
            "guardrails": self._report.to_json(),
            "target": self.target_,
        }

    def save(self, path: str | Path) -> None:
        """Write the fitted estimator into a directory: JSON, arrays and native formats, no pickle."""
        self._fitted()
        self._save_into(Path(path))

    def _save_into(self, path: Path) -> None:
        own = {
            "settings": settings_to_json(self._settings),
            "seed": int(self.seed),
            "leaderboard": self._rows,
            "stopped": self._stopped,
            "guardrails": self._report.to_json(),
            "metric": self._metric,
            "target": self.target_,
        }
        self._model.save(path, {"kind": self._kind, "estimator": plain(own)})

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a saved estimator, or the one in a run directory.

        Raises
        ------
        ModelFileError : a file is missing, truncated, changed or of a newer format.
        """
        path = Path(path)
        run = Run.open(path) if (path / "model").is_dir() else None
        if run is not None:
            path = path / "model"
        model, manifest = TabularModel.load(path)
        if manifest.get("kind") != cls._kind_of():
            raise ConfigError(f"{path} holds {manifest.get('kind')}, not {cls._kind_of()}.")
        own = manifest["estimator"]
        settings = settings_from_json(own["settings"])
        self = cls(seed=own["seed"], settings=settings, time_limit=settings.search.limits.time_limit)
        self._settings, self._model, self._rows = settings, model, own["leaderboard"]
        self._stopped, self._metric, self.target_ = own["stopped"], own["metric"], own["target"]
        self._report = Report.from_json(own["guardrails"])
        self._seen()
        if run is not None:
            self.run_ = run
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_model")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        return tags


class AutoClassifier(ClassifierMixin, _AutoEstimator):  # type: ignore[misc]
    """Finds a classifier for a table: tries pipelines, combines the best.

    Parameters
    ----------
    metric : what to choose by, a name of docs/metrics.md; None = log_loss.
    time_limit : seconds for everything; "auto" = that of the settings, 600 where they have none; None = theirs.
    max_trials : at most so many configurations.
    allowed, blocked : learner names. workers : processes, None = one a core, 0 = none but this one.
    seed : same seed, same data, same trial limit: same predictions. settings : everything else.
    path : run directory, kept and resumable; None = a temporary one.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> model = AutoClassifier(max_trials=2, workers=0, allowed=["LogisticRegression"]).fit(X, y)
    >>> bool(model.score(X, y) > 0.9), model.predict_proba(X).shape
    (True, (150, 3))
    """

    _classifies = True

    def predict(self, X: Any, *, model: str | None = None) -> np.ndarray:  # noqa: N803 - scikit-learn's name
        """Most probable label of each row. model : any of `models()`; None = the best."""
        self._fitted()
        return np.asarray(self.classes_[self.predict_proba(X, model=model).argmax(axis=1)])

    def predict_proba(self, X: Any, *, model: str | None = None) -> np.ndarray:  # noqa: N803 - scikit-learn's name
        """Probabilities of the labels in the order of `classes_`, shape [rows, classes]."""
        return self._predicted(X, model)


class AutoRegressor(RegressorMixin, _AutoEstimator):  # type: ignore[misc]
    """Finds a regression for a table: tries pipelines, combines the best. Parameters as of `AutoClassifier`.

    The default metric is normalized_root_mean_squared_error.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> model = AutoRegressor(max_trials=2, workers=0, allowed=["ElasticNet"]).fit(X, y)
    >>> bool(model.score(X, y) > 0.4)
    True
    """

    _classifies = False

    def predict(self, X: Any, *, model: str | None = None) -> np.ndarray:  # noqa: N803 - scikit-learn's name
        """Predict each row. model : any of `models()`; None = the best."""
        return self._predicted(X, model)


def _labels(raw: list[Any] | None) -> np.ndarray | None:
    """Labels as they were stored; their order is that of training."""
    if raw is None:
        return None
    if all(isinstance(v, str) for v in raw):
        out = np.empty(len(raw), dtype=object)
        out[:] = raw
        return out
    return np.array(raw)


def _joined(data: Any, target: Any, weight: Any, validation: Any, settings: Settings) -> tuple[Any, Any, Any, int]:
    """Training and validation rows in one table; how many rows are validation."""
    if settings.search.n_folds != "auto" or settings.search.validation_size is not None:
        raise ConfigError("validation data and n_folds or validation_size exclude each other. Fix: give one of both.")
    if not (isinstance(validation, tuple | list) and len(validation) == 2):
        raise ConfigError("validation must be a pair (X, y).")
    frame, _ = to_frame(data)
    more, _ = to_frame(validation[0], "the validation data")
    if set(frame.columns) != set(more.columns):
        odd = sorted(set(frame.columns) ^ set(more.columns))
        raise DataError(f"training and validation data have different columns, first {odd[0]!r}.")
    if isinstance(target, str) and target not in frame:
        raise DataError(f"the label column {target!r} is not there. Columns: {', '.join(frame.columns[:20])}.")
    whole = pd.concat([frame, more[list(frame.columns)]], ignore_index=True)
    labels = target
    if not isinstance(target, str):
        labels = np.concatenate([np.asarray(target, dtype=object), np.asarray(validation[1], dtype=object)])
        labels = pd.Series(labels).infer_objects()
    if weight is not None:
        weight = np.concatenate([np.asarray(weight, dtype=float), np.ones(len(more))])
    return whole, labels, weight, _labelled(whole[target] if isinstance(target, str) else labels, len(frame))


def _labelled(labels: pd.Series, first: int) -> int:
    """Validation rows that have a label: the others are left out before rows are split."""
    known = labels.notna().to_numpy()
    if known.any() and not (known[:first].any() and known[first:].any()):
        where = "validation" if known[:first].any() else "training"
        raise DataError(f"no row of the {where} data has a label. Fix: give labels of both.")
    return int(known[first:].sum())
