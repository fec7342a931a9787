"""What a fitted estimator tells: scores, leaderboard, features, explanations, charts, a report, an ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from automl.errors import ConfigError, DataError
from automl.metrics import CLASSIFICATION, REGRESSION
from tabular.reading import label_array, read_new, to_frame
from tabular.task import find_metric, value_of

if TYPE_CHECKING:
    from automl.guardrails import Report
    from automl.runs import Run
    from tabular.model import TabularModel
    from tabular.onnx.export import Parity
    from tabular.table import Table
    from tabular.task import TabularTask


_EXPLAINED = 500
"""Rows of a run that explanations look at."""


class Answers:
    """Methods of a fitted estimator that tell what it found."""

    _classifies: bool
    _model: TabularModel
    _rows: list[dict[str, Any]]
    _metric: str
    _report: Report
    run_: Run
    seed: int

    # -- answers ------------------------------------------------------------------------------------------------------

    def _fitted(self) -> TabularModel:
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self, "n_features_in_")
        return self._model

    def _predicted(self, data: Any, model: str | None) -> np.ndarray:
        fitted = self._fitted()
        return fitted.predict(read_new(data, fitted.schema), model)

    def evaluate(self, X: Any, y: Any, *, model: str | None = None) -> dict[str, float]:  # noqa: N803 - scikit-learn's name
        """All metrics on rows whose labels are known; rows without a label are left out.

        Parameters
        ----------
        X, y : as for `fit`. model : any of `models()`; None = the best.

        Raises
        ------
        DataError : a label that training did not have, or no label at all.
        """
        return self._scores(*self._scored(X, y, model))

    def _scores(self, predicted: np.ndarray, truth: np.ndarray) -> dict[str, float]:
        fitted = self._fitted()
        n_classes = 0 if fitted.classes is None else len(fitted.classes)
        kind = CLASSIFICATION if n_classes else REGRESSION
        own: dict[str, Any] = {"n_classes": n_classes, "y_range": float(fitted.extra["y_range"])}
        return {name: value_of(kind.load(name), truth, predicted, **own) for name in kind}

    def _scored(self, data: Any, y: Any, model: str | None) -> tuple[np.ndarray, np.ndarray]:
        """Predictions and labels (codes of classes) of rows that have one."""
        if isinstance(y, str):
            frame, _ = to_frame(data)
            if y not in frame:
                raise DataError(f"the label column {y!r} is not there.")
            y, data = frame[y], frame.drop(columns=y)
        labels = label_array(y)
        known = ~np.asarray(pd.isna(labels))
        if not known.any():
            raise DataError("no row has a label, so there is nothing to score.")
        predicted = self._predicted(data, model)
        if len(predicted) != len(labels):
            raise DataError(f"there are {len(predicted)} rows and {len(labels)} labels.")
        return predicted[known], self._truth(labels[known])

    def leaderboard(self, metric: str | None = None) -> pd.DataFrame:
        """All models, best first by a metric (the one to choose by unless told), and learners not tried with why.

        Returns
        -------
        model, learner, score, all metrics, fit_s, predict_s, seconds, peak_mb, status, reason, params.
        """
        self._fitted()
        name = metric or self._metric
        found = find_metric(name, int(self._classifies))
        frame = pd.DataFrame(self._rows)
        frame["score"] = frame.get(name, np.nan)
        losses = frame["score"].map(found.loss).to_numpy(dtype=float)
        order = np.argsort(np.nan_to_num(losses, nan=np.inf), kind="stable")
        first = ["model", "learner", "score", "status", "reason", "fit_s", "predict_s", "seconds", "peak_mb", "params"]
        columns = [c for c in first if c in frame] + [c for c in frame if c not in {*first, "windows", "fallbacks"}]
        return frame.iloc[order][columns].reset_index(drop=True)

    def best(self, metric: str | None = None) -> str:
        """Name of the entry that predicts, or of the one that is best by another metric among those kept."""
        fitted = self._fitted()
        if metric is None or metric == self._metric:
            return fitted.best
        board = self.leaderboard(metric)
        return str(next(m for m in board["model"] if m in fitted.entries))

    def weights(self, model: str | None = None) -> dict[str, float]:
        """Members of an entry, and what each counts for."""
        return dict(self._fitted().entry(model).weights)

    def models(self) -> list[str]:
        """Entries that `predict(model=...)` takes."""
        return list(self._fitted().entries)

    def guardrails(self) -> pd.DataFrame:
        """What was checked, changed, or deserves a look: name, status, message, details."""
        self._fitted()
        return pd.DataFrame(self._report.rows())[["name", "status", "message", "details"]]

    def feature_names(self, model: str | None = None) -> list[str]:
        """Engineered features of a member (of an ensemble: of the one that counts most)."""
        return list(self._featurizer(model).names)

    def featurization_summary(self, model: str | None = None) -> pd.DataFrame:
        """What was made of each raw column: kind, why, dropped, transformers, number of features."""
        return pd.DataFrame(self._featurizer(model).summary())

    def _featurizer(self, model: str | None) -> Any:
        fitted = self._fitted()
        member = max(fitted.entry(model).weights, key=lambda pair: pair[1])[0]
        return fitted.members[member][0].featurizer

    # -- why ----------------------------------------------------------------------------------------------------------

    def explain(
        self,
        X: Any = None,  # noqa: N803 - scikit-learn's name
        y: Any = None,
        *,
        model: str | None = None,
        raw: bool = True,
        local: bool = False,
        method: str = "auto",
        repeats: int = 3,
    ) -> pd.DataFrame:
        """What predictions depend on: SHAP values of trees and linear models, or what is lost without a column.

        Contributions are in units of the prediction (probability, or the target's); with the base they add up to it.

        Parameters
        ----------
        X, y : rows to explain, and their labels (needed by permutation alone); None = up to 500 rows of the run.
        model : any of `models()`; None = the best. raw : by column, or by engineered feature.
        local : each row by itself, else the mean over rows of the absolute contributions.
        method : "shap", "permutation" (columns shuffled, how much the loss rises), or "auto" = SHAP where members of
            more than half the weight have it. repeats : shuffles of each column.

        Returns
        -------
        feature, importance, std, method, largest first; local: row, feature, contribution, and class for classes.

        Raises
        ------
        ConfigError : the method is unknown, or cannot explain this model; the message says what can.
        """
        from tabular import explain

        if method not in explain.METHODS:
            raise ConfigError(f"method must be one of {', '.join(explain.METHODS)}, got {method!r}.")
        fitted = self._fitted()
        shap = method == "shap" or local or explain.explained_share(fitted, model) > explain.MOST_SHARE
        if method == "permutation" or not shap:
            if local or not raw:
                raise ConfigError("permutation shuffles raw columns over all rows. Fix: raw=True, local=False.")
            return self._by_permutation(X, y, model, repeats)
        table = self._table(X, explain.rows_for(fitted, model, _EXPLAINED) if X is None or not local else None)
        found = explain.local(fitted, model, table, raw=raw)
        if not local:
            return pd.DataFrame(explain.by_shap(found))
        classes: list[Any] = [None] if fitted.classes is None else list(fitted.classes)
        whole = np.concatenate([found.base[:, None, :], found.values], axis=1)
        row, feature, output = (part.ravel() for part in np.indices(whole.shape))
        names = np.array([explain.BASE, *found.names], dtype=object)
        frame = pd.DataFrame({"row": row, "feature": names[feature], "contribution": whole.ravel()})
        if fitted.classes is not None:
            frame.insert(1, "class", np.array(classes, dtype=object)[output])
        return frame

    def _by_permutation(self, data: Any, y: Any, model: str | None, repeats: int) -> pd.DataFrame:
        from tabular import explain

        fitted = self._fitted()
        if data is None:
            task = self._task_of_run()
            rows = self._drawn(task.table.n_rows, _EXPLAINED)
            table, truth = task.table.take(rows), task.y[rows]
        else:
            if y is None:
                raise ConfigError("permutation needs the labels of the rows. Fix: give y, or leave X out.")
            table, truth = read_new(data, fitted.schema), self._truth(label_array(y))
        metric = find_metric(self._metric, int(self._classifies))
        own: dict[str, Any] = {"n_classes": 0 if fitted.classes is None else len(fitted.classes)}
        own["y_range"] = float(fitted.extra["y_range"])

        def loss(predicted: np.ndarray) -> float:
            return metric.loss(value_of(metric, truth, predicted, **own))

        found = explain.by_permutation(
            lambda t: fitted.predict(t, model), loss, table, repeats=repeats, seed=int(self.seed)
        )
        return pd.DataFrame(found)

    def _truth(self, labels: np.ndarray) -> np.ndarray:
        classes = self._fitted().classes
        return labels.astype(float) if classes is None else _codes(labels, classes)

    def _table(self, data: Any, most: int | None) -> Table:
        """Rows given, or some of the run's; at most so many, drawn at random."""
        if data is None:
            return self._some_rows(_EXPLAINED if most is None else most)
        table = read_new(data, self._fitted().schema)
        return table if most is None or table.n_rows <= most else table.take(self._drawn(table.n_rows, most))

    def _drawn(self, rows: int, most: int) -> np.ndarray:
        return np.sort(np.random.default_rng(int(self.seed)).permutation(rows)[:most])

    # -- charts -------------------------------------------------------------------------------------------------------

    def charts(self, X: Any, y: Any, *, model: str | None = None) -> dict[str, Any]:  # noqa: N803 - scikit-learn's name
        """Charts of predictions against labels, as plotly figures by name.

        Classes: confusion matrix, ROC, precision-recall, gains, lift, calibration.
        Numbers: residuals, predicted against true.

        Parameters
        ----------
        X, y : as for `evaluate`. model : any of `models()`; None = the best.
        """
        return self._charts(*self._scored(X, y, model))

    def _charts(self, predicted: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
        from automl.charts import charts_of

        fitted = self._fitted()
        wide = None if fitted.classes is not None else float(fitted.extra["y_range"])
        return charts_of(truth, predicted, fitted.classes, y_range=wide)

    def report(self, path: str | Path, X: Any, y: Any, *, model: str | None = None) -> Path:  # noqa: N803 - as above
        """Write one HTML file that needs no network: metrics, charts, leaderboard, guardrails, features.

        Parameters
        ----------
        X, y : rows to score, as for `evaluate`. model : any of `models()`; None = the best.
        """
        from tabular.report import write_report

        name = model or self.best()
        rows = self._scored(X, y, model)
        return write_report(
            path,
            title=f"{name}: {'classification' if self._classifies else 'regression'}",
            charts=self._charts(*rows),
            leaderboard=self.leaderboard(),
            guardrails=self.guardrails(),
            metrics=self._scores(*rows),
            features=self.featurization_summary(model),
        )

    # -- ONNX ---------------------------------------------------------------------------------------------------------

    def to_onnx(self, path: str | Path, *, model: str | None = None, rows: Any = None) -> Parity:
        """Write a model as one ONNX file with its features inside, once onnxruntime gives the same answers.

        Inputs are the columns, [rows, 1]: numbers and dates (seconds since 1970) as doubles, NaN = missing; text as it
        is, "" = missing. Outputs are `label` and `probabilities`, or `variable` for numbers.

        Parameters
        ----------
        model : any of `models()`; None = the best. rows : to compare on; None = up to 1,000 of the run's own.

        Raises
        ------
        MissingPackageError : the extra `onnx` is not installed. ConfigError : a part of the model has no ONNX form, or
            there are no rows to compare on. LearnerError : the answers differ; then nothing is written.
        """
        from tabular.onnx.export import write_onnx

        fitted = self._fitted()
        table = self._some_rows(1_000) if rows is None else read_new(rows, fitted.schema)
        return write_onnx(fitted, Path(path), table, model)

    def _some_rows(self, most: int) -> Table:
        """Rows of the run, drawn at random where there are more."""
        table = self._task_of_run().table
        return table.take(self._drawn(table.n_rows, most))

    def _task_of_run(self) -> TabularTask:
        from tabular.task import open_task

        run = getattr(self, "run_", None)
        folder = None if run is None else run.path / "task"
        if folder is None or not folder.is_dir():
            raise ConfigError("the run's rows are not at hand. Fix: give the rows, a table as for predict.")
        return open_task(str(folder))


def _codes(labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Codes of labels. Shape [rows]."""
    code = {c: k for k, c in enumerate(classes.tolist())}
    strange = sorted({str(v) for v in labels.tolist() if v not in code})
    if strange:
        raise DataError(f"{len(strange)} labels are none of training, first {strange[0]!r}.")
    return np.array([code[v] for v in labels.tolist()], dtype=np.int32)
