"""A fitted model as one ONNX file, checked against Python by onnxruntime; and the file as a model to predict with."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from automl.errors import ConfigError, LearnerError, MissingPackageError, ModelFileError
from tabular.ensembles import SMALLEST
from tabular.onnx.graph import Graph, Raw, input_names
from tabular.reading import Schema, read_new

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tabular.ensembles import Stack
    from tabular.model import TabularModel
    from tabular.pipeline import Pipeline
    from tabular.table import Table

LABELS_AGREE, TOLERANCE = 0.999, 1e-4
"""Share of rows whose labels must agree, and how far probabilities and values may differ, relative."""

_SMALL, _NEAR_ZERO = 1e-6, 1e-3
"""Differences of probabilities below the first do not count; values are compared with at least the second share of
their mean size."""

_ROWS = 1_000
"""Rows that onnxruntime is given at a time: terms of texts are whole columns there."""


@dataclass(frozen=True, slots=True)
class Parity:
    """How an ONNX model compares with the Python model it was made of.

    Parameters
    ----------
    rows : compared. labels : share of rows with the same label (1.0 for numbers). difference : the largest one of
        probabilities or values, relative.
    """

    rows: int
    labels: float
    difference: float

    @property
    def holds(self) -> bool:
        """Whether they agree."""
        return self.labels >= LABELS_AGREE and self.difference <= TOLERANCE


def to_model(model: TabularModel, name: str | None = None) -> Any:
    """Write an entry of a model as an ONNX model.

    Raises
    ------
    ConfigError : a learner or transformer of it has no ONNX form. MissingPackageError : `onnx` is not installed.
    """
    graph = Graph()
    schema = model.schema
    raw = Raw(graph, schema.names, schema.matrix)
    entry = model.entry(name)
    used = [(m, w) for m, w in entry.weights if w or entry.stack is not None]
    made = [_mean(graph, [_pipeline(graph, raw, p) for p in model.members[m]]) for m, _ in used]
    out = _stacked(graph, entry.stack, made) if entry.stack is not None else _blend(graph, made, [w for _, w in used])
    outputs: dict[str, tuple[str, str, int | None]] = {}
    if model.classes is None:
        outputs["variable"] = (graph.cast(out, "float32"), "float32", 1)
    else:
        kind, labels = _labels(model.classes)
        out = _normalised(graph, out)
        place = graph.op("ArgMax", out, axis=1, keepdims=0)
        outputs["label"] = (graph.op("Gather", graph.constant(labels, kind), place, axis=0), kind, None)
        outputs["probabilities"] = (graph.cast(out, "float32"), "float32", len(labels))
    about = {"entry": name or model.best, "schema": schema.to_json(), "classes": model.classes is not None}
    return graph.model(outputs, {"forecastle": json.dumps(about)})


def _pipeline(graph: Graph, raw: Raw, pipeline: Pipeline) -> str:
    learner: Any = pipeline.learner
    if not hasattr(learner, "onnx"):
        raise ConfigError(f"{pipeline.name} has no ONNX form. Fix: block it, or fit with onnx=True.")
    out = str(learner.onnx(graph, pipeline.featurizer.onnx(graph, raw)))
    return out if pipeline.logs is None else str(graph.op("Exp", graph.clip(out, *pipeline.logs, "float64")))


def _mean(graph: Graph, parts: Sequence[str]) -> str:
    if len(parts) == 1:
        return parts[0]
    return str(graph.op("Div", graph.op("Sum", *parts), graph.constant(float(len(parts)))))


def _blend(graph: Graph, parts: Sequence[str], weights: Sequence[float]) -> str:
    if len(parts) == 1:
        return parts[0]
    total = float(sum(weights))
    return str(
        graph.op(
            "Sum",
            *(graph.op("Mul", p, graph.constant(w / total)) for p, w in zip(parts, weights, strict=True)),
        )
    )


def _normalised(graph: Graph, out: str) -> str:
    clipped = graph.op("Max", out, graph.constant(0.0))
    total = graph.total(clipped)
    return str(graph.op("Div", clipped, graph.op("Max", total, graph.constant(np.finfo(float).tiny))))


def _stacked(graph: Graph, stack: Stack, members: Sequence[str]) -> str:
    if not stack.n_classes:
        return graph.linear(graph.concat(members), stack.coef, stack.intercept)
    parts = []
    for member in members:
        logs = graph.op("Log", graph.clip(_normalised(graph, member), SMALLEST, 1.0, "float64"))
        mean = graph.op("ReduceMean", logs, graph.constant([1], "int64"), keepdims=1)
        logs = graph.op("Sub", logs, mean)
        parts.append(graph.columns(logs, [1]) if stack.n_classes == 2 else logs)
    return str(graph.op("Softmax", graph.linear(graph.concat(parts), stack.coef, stack.intercept), axis=1))


def _labels(classes: np.ndarray) -> tuple[str, list[Any]]:
    """Labels as ONNX can hold them: whole numbers, numbers, or text."""
    values = classes.tolist()
    if classes.dtype.kind in "iu":
        return "int64", values
    if classes.dtype.kind == "f":
        return "float64", values
    return "object", [str(v) for v in values]


# -- the file as a model ----------------------------------------------------------------------------------------------


class OnnxModel:
    """An ONNX file written by `to_onnx`, read back: the same tables in, the same answers out, by onnxruntime alone.

    Parameters
    ----------
    path : of the file.

    Raises
    ------
    MissingPackageError : onnxruntime is not installed. ModelFileError : the file is none of ours, or damaged.
    """

    def __init__(self, path: str | Path) -> None:
        self._session = _session(Path(path).read_bytes(), str(path))
        about = self._session.get_modelmeta().custom_metadata_map
        if "forecastle" not in about:
            raise ModelFileError(f"{path} was not written by to_onnx.")
        told = json.loads(about["forecastle"])
        self.schema = Schema.from_json(told["schema"])
        self.classifies = bool(told["classes"])

    def predict(self, data: Any) -> np.ndarray:
        """Labels or numbers of rows, shape [rows]; data as for the estimator's predict."""
        name = "label" if self.classifies else "variable"
        return run(self._session, read_new(data, self.schema), self.schema, name).ravel()

    def predict_proba(self, data: Any) -> np.ndarray:
        """Probabilities of classes, shape [rows, classes].

        Raises
        ------
        ConfigError : the model predicts numbers.
        """
        if not self.classifies:
            raise ConfigError("the model predicts numbers, which have no probabilities. Fix: use predict.")
        return run(self._session, read_new(data, self.schema), self.schema, "probabilities")


def _session(content: bytes, what: str) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingPackageError("onnxruntime", "onnx", "running ONNX models") from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ModelFileError(f"{what} cannot be loaded by onnxruntime: {' '.join(str(error).split())}") from error


def feeds(table: Table, schema: Schema) -> dict[str, np.ndarray]:
    """What a graph's inputs are given: float64 [rows, 1], dates in seconds since 1970, text with "" for gaps.

    Examples
    --------
    >>> from tabular.table import Table, numbers, texts
    >>> table = Table.of([numbers("size", [1.5]), texts("colour", [None])])
    >>> [v.tolist() for v in feeds(table, Schema(("size", "colour"), ("number", "text"))).values()]
    [[[1.5]], [['']]]
    """
    if table.matrix is not None:
        return {"X": np.asarray(table.matrix.toarray(), dtype=np.float32)}
    out = {}
    for name, column in zip(input_names(schema.names), table.columns, strict=True):
        if column.stored == "text":
            words = np.append(column.words, "").astype(object)
            out[name] = words[np.where(column.values < 0, len(column.words), column.values)][:, None]
        else:
            out[name] = column.values[:, None]
    return out


def run(session: Any, table: Table, schema: Schema, output: str) -> np.ndarray:
    """Ask a session, some rows at a time."""
    wanted = {i.name for i in session.get_inputs()}
    parts = []
    for first in range(0, table.n_rows, _ROWS):
        rows = np.arange(first, min(first + _ROWS, table.n_rows))
        given = {name: values for name, values in feeds(table.take(rows), schema).items() if name in wanted}
        parts.append(session.run([output], given)[0])
    return np.concatenate(parts)


def parity(model: TabularModel, content: bytes, table: Table, name: str | None = None) -> Parity:
    """Compare an ONNX model with the entry it was made of, on some rows."""
    session = _session(content, "the model just written")
    expected = model.predict(table, name)
    if model.classes is None:
        got = run(session, table, model.schema, "variable").ravel().astype(float)
        scale = np.maximum(np.abs(expected), _NEAR_ZERO * float(np.abs(expected).mean()) or 1.0)
        return Parity(table.n_rows, 1.0, float((np.abs(got - expected) / scale).max()))
    got = run(session, table, model.schema, "probabilities").astype(float)
    apart = np.maximum(np.abs(got - expected) - _SMALL, 0) / np.maximum(np.abs(expected), _SMALL)
    labels = run(session, table, model.schema, "label")
    kept = np.array(_labels(model.classes)[1], dtype=labels.dtype)[expected.argmax(axis=1)]
    return Parity(table.n_rows, float(np.mean(labels == kept)), float(apart.max()))


def write_onnx(model: TabularModel, path: Path, table: Table, name: str | None = None) -> Parity:
    """Write an entry of a model as an ONNX file, if it agrees with the model on some rows.

    Raises
    ------
    LearnerError : it does not. ConfigError : a part has no ONNX form, or the model is larger than ONNX allows (2 GB).
    """
    made = to_model(model, name)
    try:
        content = made.SerializeToString()
    except ValueError as error:
        raise ConfigError(
            f"{name or model.best} is too large for one ONNX file: {error}. Fix: a smaller model."
        ) from error
    found = parity(model, content, table, name)
    if not found.holds:
        raise LearnerError(
            f"the ONNX form of {name or model.best} differs from it: {found.labels:.2%} of {found.rows} rows have the "
            f"same label, values differ by up to {found.difference:.1e}. Nothing was written. Fix: another model."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return found
