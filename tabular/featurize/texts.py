"""Features of text: TF-IDF of words and trigrams, a few dense directions of it for trees, class probabilities."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from tabular.featurize.base import Goal, Transformer
from tabular.featurize.terms import BOTH, Bag, Texts, side_by_side

if TYPE_CHECKING:
    from automl.trial import State
    from tabular.onnx.graph import Graph, Raw
    from tabular.table import Table


@dataclass(kw_only=True)
class TfIdf(Transformer):
    """Weights of words and trigrams, sparse.

    Parameters
    ----------
    most : terms of each form a column. forms : of n-grams, with commas between.
    """

    most: int = 20_000
    forms: str = BOTH
    _bags: tuple[Bag, ...] = field(default=(), init=False, repr=False)
    _raw: tuple[str, ...] = field(default=(), init=False, repr=False)

    kind: ClassVar[str] = "TfIdf"
    weighed: ClassVar[bool] = True

    def fit(self, table: Table, goal: Goal) -> Self:  # noqa: ARG002 - the protocol's form
        """Learn terms."""
        bags = []
        for i in self.columns:
            bag = Bag(tuple(self.forms.split(",")), self.most, weighed=self.weighed)
            bag.fit(Texts.of(table, i))
            bags.append(bag)
        self._bags, self._raw = tuple(bags), tuple(table.columns[i].name for i in self.columns)
        self._name()
        return self

    def _name(self) -> None:
        pairs = list(zip(self.columns, self._raw, self._bags, strict=True))
        self.names = tuple(f"{raw}_{self.kind}_{t}" for _, raw, bag in pairs for t in bag.names)
        self.sources = tuple((i,) for i, _, bag in pairs for _ in bag.names)

    def transform(self, table: Table) -> Any:
        """TF-IDF as CSR."""
        parts = []
        for i, bag in zip(self.columns, self._bags, strict=True):
            texts = Texts.of(table, i)
            parts.append(bag.transform(texts)[texts.of_row])
        return side_by_side(parts, table.n_rows)

    def onnx(self, graph: Graph, raw: Raw) -> list[str]:
        """TF-IDF."""
        pairs = zip(self.columns, self._bags, strict=True)
        return [part for i, bag in pairs for part in bag.onnx(graph, raw.texts(i))]

    def state(self) -> State:
        """As (JSON, arrays)."""
        blobs: dict[str, Any] = {}
        for k, bag in enumerate(self._bags):
            blobs |= bag.blobs(str(k))
        own = {"columns": list(self.columns), "most": self.most, "forms": self.forms}
        return {**own, "raw": list(self._raw)}, blobs

    @classmethod
    def from_state(cls, settings: dict[str, Any], blobs: dict[str, Any]) -> Self:
        """Read what `state` gave."""
        self = cls(columns=tuple(settings["columns"]), most=settings["most"], forms=settings["forms"])
        forms = tuple(self.forms.split(","))
        self._bags = tuple(
            Bag.from_blobs(forms, self.most, blobs, str(k), weighed=cls.weighed) for k in range(len(self.columns))
        )
        self._raw = tuple(settings["raw"])
        self._name()
        return self


@dataclass(kw_only=True)
class Counts(TfIdf):
    """How often words and trigrams stand in a text, sparse; what naive Bayes was made for."""

    kind: ClassVar[str] = "CountVectorizer"
    weighed: ClassVar[bool] = False


@dataclass(kw_only=True)
class TextParts(Transformer):
    """A few dense columns a text: main directions of its TF-IDF (latent semantics), length, words, shares of kinds.

    Source: Deerwester et al. (1990), JASIS 41(6). Made for trees, which cannot use thousands of sparse columns.

    Parameters
    ----------
    directions : most of them. most : terms of each form of the TF-IDF beneath. forms : with commas between.
    """

    directions: int = 30
    most: int = 5_000
    forms: str = BOTH
    _bags: tuple[Bag, ...] = field(default=(), init=False, repr=False)
    _axes: tuple[np.ndarray, ...] = field(default=(), init=False, repr=False)

    kind: ClassVar[str] = "TfIdf"
    _STATS: ClassVar[tuple[str, ...]] = ("Length", "Words", "Digits", "Upper", "Marks")

    def fit(self, table: Table, goal: Goal) -> Self:
        """Learn terms and directions."""
        from sklearn.decomposition import TruncatedSVD

        bags, axes, names, sources = [], [], [], []
        for i in self.columns:
            texts = Texts.of(table, i)
            bag = Bag(tuple(self.forms.split(",")), self.most)
            x = bag.fit(texts)
            k = min(self.directions, min(x.shape) - 1)
            own = np.empty((0, x.shape[1]))
            if k > 0:
                own = TruncatedSVD(k, n_iter=3, random_state=goal.seed).fit(x).components_
            bags.append(bag)
            axes.append(own.astype(np.float32))
            raw = table.columns[i].name
            names += [f"{raw}_Direction_{j}" for j in range(len(own))] + [f"{raw}_{s}" for s in self._STATS]
            sources += [(i,)] * (len(own) + len(self._STATS))
        self._bags, self._axes = tuple(bags), tuple(axes)
        self.names, self.sources = tuple(names), tuple(sources)
        return self

    def transform(self, table: Table) -> np.ndarray:
        """Directions and statistics."""
        parts = []
        for i, bag, axes in zip(self.columns, self._bags, self._axes, strict=True):
            texts = Texts.of(table, i)
            own = np.empty((len(texts.used), 0))
            if len(axes):
                own = np.asarray(bag.transform(texts).astype(np.float64) @ axes.T.astype(np.float64))
            parts.append(np.concatenate([own, _statistics(texts.texts())], axis=1)[texts.of_row])
        return np.concatenate(parts, axis=1).astype(np.float32)

    def onnx(self, graph: Graph, raw: Raw) -> list[str]:
        """Directions and statistics."""
        from tabular.onnx.strings import statistics

        made = []
        for i, bag, axes in zip(self.columns, self._bags, self._axes, strict=True):
            if len(axes):
                weights = graph.cast(graph.concat(bag.onnx(graph, raw.texts(i))), "float64")
                product = graph.op("MatMul", weights, graph.constant(np.ascontiguousarray(axes.T, dtype=float)))
                made.append(graph.cast(product, "float32"))
            made.append(statistics(graph, raw.texts(i)))
        return made

    def state(self) -> State:
        """As (JSON, arrays)."""
        blobs: dict[str, Any] = {}
        for k, (bag, axes) in enumerate(zip(self._bags, self._axes, strict=True)):
            blobs |= {**bag.blobs(str(k)), f"axes-{k}": axes}
        own = {"columns": list(self.columns), "directions": self.directions, "most": self.most}
        return {**own, "forms": self.forms, "names": list(self.names)}, blobs

    @classmethod
    def from_state(cls, settings: dict[str, Any], blobs: dict[str, Any]) -> Self:
        """Read what `state` gave."""
        own = {name: settings[name] for name in ("directions", "most", "forms")}
        self = cls(columns=tuple(settings["columns"]), **own)
        places, forms = range(len(self.columns)), tuple(self.forms.split(","))
        self._bags = tuple(Bag.from_blobs(forms, self.most, blobs, str(k)) for k in places)
        self._axes = tuple(np.asarray(blobs[f"axes-{k}"]) for k in places)
        self.names = tuple(settings["names"])
        sizes = [len(a) + len(self._STATS) for a in self._axes]
        self.sources = tuple((i,) for i, n in zip(self.columns, sizes, strict=True) for _ in range(n))
        return self


def _statistics(texts: np.ndarray) -> np.ndarray:
    """Length, words, and shares of digits, capitals and marks. Shape [texts, 5]."""
    rows = []
    for text in texts:
        size = max(len(text), 1)
        digits, upper = sum(c.isdigit() for c in text), sum(c.isupper() for c in text)
        marks = sum(not (c.isalnum() or c.isspace()) for c in text)
        rows.append((len(text), len(text.split()), digits / size, upper / size, marks / size))
    return np.array(rows, dtype=np.float32).reshape(-1, 5)


@dataclass(kw_only=True)
class TextTarget(Transformer):
    """What a linear model on the bag of words says of the target: class probabilities, or the number.

    Parameters
    ----------
    most : terms of each form a column. forms : of n-grams, with commas between.
    """

    most: int = 5_000
    forms: str = BOTH
    _bags: tuple[Bag, ...] = field(default=(), init=False, repr=False)
    _models: tuple[tuple[np.ndarray, np.ndarray], ...] = field(default=(), init=False, repr=False)
    _classes: int = field(default=0, init=False, repr=False)

    kind: ClassVar[str] = "TextTargetEncoder"
    label: ClassVar[str] = "TextTarget"
    supervised: ClassVar[bool] = True

    def fit(self, table: Table, goal: Goal) -> Self:
        """Fit the linear models."""
        bags, models = [], []
        self._classes = goal.n_classes
        for i in self.columns:
            texts = Texts.of(table, i)
            bag = Bag(tuple(self.forms.split(",")), self.most)
            x = bag.fit(texts)[texts.of_row]
            bags.append(bag)
            models.append(self._model(x, goal))
        self._bags, self._models = tuple(bags), tuple(models)
        self._name([table.columns[i].name for i in self.columns])
        return self

    def _model(self, x: Any, goal: Goal) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients [outputs, terms] and intercepts."""
        return _class_model(x, goal) if goal.n_classes else _number_model(x, goal)

    @property
    def _width(self) -> int:
        return 1 if self._classes in {0, 2} else self._classes

    def _name(self, raw: list[str]) -> None:
        self.names = tuple(f"{name}_{self.label}_{k}" for name in raw for k in range(self._width))
        self.sources = tuple((i,) for i in self.columns for _ in range(self._width))

    def transform(self, table: Table) -> np.ndarray:
        """Ask the linear models."""
        from scipy.special import softmax

        parts = []
        for i, bag, (coef, intercept) in zip(self.columns, self._bags, self._models, strict=True):
            texts = Texts.of(table, i)
            out = np.asarray(bag.transform(texts).astype(np.float64) @ coef.T.astype(np.float64)) + intercept
            if self._classes:
                out = softmax(out, axis=1)
                out = out[:, 1:] if self._classes == 2 else out
            parts.append(out[texts.of_row])
        return np.concatenate(parts, axis=1).astype(np.float32)

    def onnx(self, graph: Graph, raw: Raw) -> list[str]:
        """Ask the linear models."""
        made = []
        for i, bag, (coef, intercept) in zip(self.columns, self._bags, self._models, strict=True):
            parts = bag.onnx(graph, raw.texts(i))
            if parts:
                out = graph.linear(graph.cast(graph.concat(parts), "float64"), coef.astype(float), intercept)
            else:
                none = graph.cast(graph.place(raw.words(i), {}, 0), "float64")
                out = graph.op("Add", none, graph.constant(np.atleast_2d(intercept)))
            if self._classes:
                out = graph.op("Softmax", out, axis=1)
                out = graph.columns(out, [1]) if self._classes == 2 else out
            made.append(graph.cast(out, "float32"))
        return made

    def state(self) -> State:
        """As (JSON, arrays)."""
        blobs: dict[str, Any] = {}
        for k, (bag, (coef, intercept)) in enumerate(zip(self._bags, self._models, strict=True)):
            blobs |= {**bag.blobs(str(k)), f"coef-{k}": coef, f"intercept-{k}": intercept}
        own = {"columns": list(self.columns), "most": self.most, "forms": self.forms, "classes": self._classes}
        return {**own, "names": list(self.names)}, blobs

    @classmethod
    def from_state(cls, settings: dict[str, Any], blobs: dict[str, Any]) -> Self:
        """Read what `state` gave."""
        self = cls(columns=tuple(settings["columns"]), most=settings["most"], forms=settings["forms"])
        self._classes = settings["classes"]
        places, forms = range(len(self.columns)), tuple(self.forms.split(","))
        self._bags = tuple(Bag.from_blobs(forms, self.most, blobs, str(k)) for k in places)
        self._models = tuple((np.asarray(blobs[f"coef-{k}"]), np.asarray(blobs[f"intercept-{k}"])) for k in places)
        self.names = tuple(settings["names"])
        self.sources = tuple((i,) for i in self.columns for _ in range(self._width))
        return self


@dataclass(kw_only=True)
class NaiveBayes(TextTarget):
    """What multinomial naive Bayes on the bag of words says of the classes (McCallum & Nigam 1998)."""

    kind: ClassVar[str] = "NaiveBayes"
    label: ClassVar[str] = "NaiveBayes"
    _SMOOTH: ClassVar[float] = 0.1

    def _model(self, x: Any, goal: Goal) -> tuple[np.ndarray, np.ndarray]:
        hot = goal.weight * (goal.y == np.arange(goal.n_classes)[:, None])
        size, often = hot.sum(axis=1), np.asarray(hot @ x) + self._SMOOTH
        coef = np.log(often / np.maximum(often.sum(axis=1, keepdims=True), np.finfo(float).tiny))
        start = np.where(size > 0, np.log(np.maximum(size, np.finfo(float).tiny) / size.sum()), _NEVER)
        return coef.astype(np.float32), start


_NEVER = -30.0
"""Logarithm of the odds of a class that training did not hold."""


def _class_model(x: Any, goal: Goal) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients [classes, terms] and intercepts of a softmax."""
    from sklearn.linear_model import LogisticRegression

    coef, intercept = np.zeros((goal.n_classes, x.shape[1])), np.full(goal.n_classes, _NEVER)
    weight = np.maximum(goal.weight, 1e-12)
    there = np.unique(goal.y)
    if len(there) < 2 or not x.shape[1]:  # nothing to tell apart, or nothing to tell it by
        size = np.bincount(goal.y, weights=weight, minlength=goal.n_classes)
        intercept[there] = np.log(size[there] / size.sum())
        return coef.astype(np.float32), intercept
    model = LogisticRegression(C=5.0, max_iter=200, tol=1e-3).fit(x, goal.y, weight)
    if len(there) == 2:
        coef[there[1]], intercept[there] = model.coef_[0], [0.0, model.intercept_[0]]
    else:
        coef[there], intercept[there] = model.coef_, model.intercept_
    return coef.astype(np.float32), intercept


def _number_model(x: Any, goal: Goal) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients [1, terms] and intercept."""
    from sklearn.linear_model import Ridge

    weight = np.maximum(goal.weight, 1e-12)
    if not x.shape[1]:
        return np.zeros((1, 0), dtype=np.float32), np.array([np.average(goal.y, weights=weight)])
    model = Ridge(alpha=1.0, solver="sparse_cg", random_state=goal.seed).fit(x, goal.y, weight)
    return model.coef_[None, :].astype(np.float32), np.atleast_1d(np.asarray(model.intercept_, dtype=float))
