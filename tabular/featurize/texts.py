"""Features of text: TF-IDF of words and trigrams, a few dense directions of it for trees, class probabilities."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from tabular.featurize.base import Goal, Transformer
from tabular.table import words_blobs, words_from_blobs

if TYPE_CHECKING:
    from automl.trial import State
    from tabular.table import Table

_FORMS: dict[str, dict[str, Any]] = {
    "word": {"analyzer": "word", "ngram_range": (1, 2), "token_pattern": r"(?u)\b\w+\b"},
    "char": {"analyzer": "char_wb", "ngram_range": (3, 3)},
}


_counted: dict[tuple[int, str], tuple[Any, Any, np.ndarray]] = {}
"""Counts of all terms in the words of a table's column, which its parts share: texts are read once, not once a fold."""


def counted(words: np.ndarray, form: str) -> tuple[Any, np.ndarray]:
    """Counts [words + 1, terms] as CSR, last row that of the empty text, and the terms in order."""
    from sklearn.feature_extraction.text import CountVectorizer

    key = id(words), form
    known = _counted.get(key)
    if known is not None and known[0]() is words:
        return known[1], known[2]
    vectorizer = CountVectorizer(lowercase=True, dtype=np.float32, **_FORMS[form])
    try:
        counts = vectorizer.fit_transform([*words, ""]).tocsr()
        terms = vectorizer.get_feature_names_out()
    except ValueError:  # no term in any text
        counts, terms = _empty(len(words) + 1), np.empty(0, dtype=object)
    _counted[key] = weakref.ref(words, lambda _: _counted.pop(key, None)), counts, terms
    return counts, terms


def _empty(rows: int) -> Any:
    from scipy import sparse

    return sparse.csr_matrix((rows, 0), dtype=np.float32)


@dataclass(slots=True)
class Terms:
    """Terms of one form and their weights; shape [terms] both."""

    form: str
    terms: np.ndarray
    idf: np.ndarray

    def weigh(self, counts: Any) -> Any:
        """TF-IDF of counts [texts, terms]: logarithms of counts times weights, rows of length 1."""
        from sklearn.preprocessing import normalize

        out = counts.copy()
        out.data = (1 + np.log(out.data)) * self.idf[out.indices].astype(np.float32)
        return normalize(out, copy=False)


class Bag:
    """TF-IDF of the distinct texts of one column, by words (one and two) and by character trigrams.

    Source: Salton & Buckley (1988), Information Processing & Management 24(5); weights as in scikit-learn, sublinear.

    Parameters
    ----------
    forms : some of "word" and "char". most : terms of each, the most frequent ones that stand in at least two texts.
    """

    def __init__(self, forms: tuple[str, ...], most: int) -> None:
        self.forms = forms
        self.most = most
        self.parts: list[Terms] = []

    def fit(self, texts: Texts) -> Any:
        """Learn terms and their weights. Returns the TF-IDF of the distinct texts."""
        n = int(texts.often.sum())
        least = 2 if n > 10 else 1  # with few texts every term counts
        self.parts, made = [], []
        for form in self.forms:
            whole, terms = counted(texts.words, form)
            counts = whole[texts.used]
            there = counts.copy()
            there.data[:] = 1
            rows = there.T @ texts.often
            total = counts.T @ texts.often
            kept = np.flatnonzero(rows >= least)
            if len(kept) > self.most:
                kept = np.sort(kept[np.argsort(-total[kept], kind="stable")[: self.most]])
            if len(kept):
                part = Terms(form, terms[kept], np.log((1 + n) / (1 + rows[kept])) + 1)
                self.parts.append(part)
                made.append(part.weigh(counts[:, kept]))
        return _joined(made, len(texts.used))

    def transform(self, texts: Texts) -> Any:
        """TF-IDF of the distinct texts, CSR float32 [texts, terms]."""
        from sklearn.feature_extraction.text import CountVectorizer

        made = []
        for part in self.parts:
            if (id(texts.words), part.form) in _counted:
                whole, terms = counted(texts.words, part.form)
                counts = whole[texts.used][:, np.searchsorted(terms, part.terms)]
            else:
                own = {"lowercase": True, "dtype": np.float32, "vocabulary": list(part.terms), **_FORMS[part.form]}
                vectorizer = CountVectorizer(**own)
                counts = vectorizer.transform(texts.texts())
            made.append(part.weigh(counts))
        return _joined(made, len(texts.used))

    @property
    def names(self) -> list[str]:
        """Names of the terms in order."""
        return [f"{part.form}_{t}" for part in self.parts for t in part.terms]

    def blobs(self, name: str) -> dict[str, Any]:
        """Terms and their weights."""
        out: dict[str, Any] = {}
        for part in self.parts:
            out |= words_blobs(part.terms, f"{name}-{part.form}")
            out[f"idf-{name}-{part.form}"] = part.idf
        return out

    @classmethod
    def from_blobs(cls, forms: tuple[str, ...], most: int, blobs: dict[str, Any], name: str) -> Bag:
        """Read what `blobs` gave."""
        self = cls(forms, most)
        self.parts = [
            Terms(form, words_from_blobs(blobs, f"{name}-{form}"), np.asarray(blobs[f"idf-{name}-{form}"]))
            for form in forms
            if f"idf-{name}-{form}" in blobs
        ]
        return self


def _joined(parts: list[Any], rows: int) -> Any:
    from scipy import sparse

    return sparse.hstack(parts, format="csr") if parts else _empty(rows)


@dataclass(frozen=True, slots=True)
class Texts:
    """Distinct texts of some rows.

    Parameters
    ----------
    words : of the column; number len(words) is the empty text, for missing ones. used : numbers of those that occur.
    of_row : which of them each row holds. often : how many rows hold each.
    """

    words: np.ndarray
    used: np.ndarray
    of_row: np.ndarray
    often: np.ndarray

    @classmethod
    def of(cls, table: Table, i: int) -> Self:
        """Texts of a column."""
        column = table.columns[i]
        codes = np.where(column.values < 0, len(column.words), column.values)
        used, of_row = np.unique(codes, return_inverse=True)
        return cls(column.words, used, of_row, np.bincount(of_row).astype(np.float64))

    def texts(self) -> np.ndarray:
        """The distinct texts themselves."""
        return np.append(self.words, "")[self.used]


@dataclass(kw_only=True)
class TfIdf(Transformer):
    """Weights of words and trigrams, sparse.

    Parameters
    ----------
    most : terms of each form a column. forms : "word", "char" or both with a comma.
    """

    most: int = 20_000
    forms: str = "word,char"
    _bags: tuple[Bag, ...] = field(default=(), init=False, repr=False)
    _raw: tuple[str, ...] = field(default=(), init=False, repr=False)

    kind: ClassVar[str] = "TfIdf"

    def fit(self, table: Table, goal: Goal) -> Self:  # noqa: ARG002 - the protocol's form
        """Learn terms."""
        bags = []
        for i in self.columns:
            bag = Bag(tuple(self.forms.split(",")), self.most)
            bag.fit(Texts.of(table, i))
            bags.append(bag)
        self._bags, self._raw = tuple(bags), tuple(table.columns[i].name for i in self.columns)
        self._name()
        return self

    def _name(self) -> None:
        pairs = list(zip(self.columns, self._raw, self._bags, strict=True))
        self.names = tuple(f"{raw}_TfIdf_{t}" for _, raw, bag in pairs for t in bag.names)
        self.sources = tuple((i,) for i, _, bag in pairs for _ in bag.names)

    def transform(self, table: Table) -> Any:
        """TF-IDF as CSR."""
        parts = []
        for i, bag in zip(self.columns, self._bags, strict=True):
            texts = Texts.of(table, i)
            parts.append(bag.transform(texts)[texts.of_row])
        return _joined(parts, table.n_rows)

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
        self._bags = tuple(Bag.from_blobs(forms, self.most, blobs, str(k)) for k in range(len(self.columns)))
        self._raw = tuple(settings["raw"])
        self._name()
        return self


@dataclass(kw_only=True)
class TextParts(Transformer):
    """A few dense columns a text: main directions of its TF-IDF (latent semantics), length, words, shares of kinds.

    Source: Deerwester et al. (1990), JASIS 41(6). Made for trees, which cannot use thousands of sparse columns.

    Parameters
    ----------
    directions : most of them. most : terms of the TF-IDF beneath.
    """

    directions: int = 30
    most: int = 5_000
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
            bag = Bag(("word", "char"), self.most)
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
            own = np.asarray(bag.transform(texts) @ axes.T) if len(axes) else np.empty((len(texts.used), 0))
            parts.append(np.concatenate([own, _statistics(texts.texts())], axis=1)[texts.of_row])
        return np.concatenate(parts, axis=1).astype(np.float32)

    def state(self) -> State:
        """As (JSON, arrays)."""
        blobs: dict[str, Any] = {}
        for k, (bag, axes) in enumerate(zip(self._bags, self._axes, strict=True)):
            blobs |= {**bag.blobs(str(k)), f"axes-{k}": axes}
        own = {"columns": list(self.columns), "directions": self.directions, "most": self.most}
        return {**own, "names": list(self.names)}, blobs

    @classmethod
    def from_state(cls, settings: dict[str, Any], blobs: dict[str, Any]) -> Self:
        """Read what `state` gave."""
        self = cls(columns=tuple(settings["columns"]), directions=settings["directions"], most=settings["most"])
        places = range(len(self.columns))
        self._bags = tuple(Bag.from_blobs(("word", "char"), self.most, blobs, str(k)) for k in places)
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
    most : terms of each form a column. most_classes : above so many classes it is left out.
    """

    most: int = 5_000
    most_classes: int = 20
    _bags: tuple[Bag, ...] = field(default=(), init=False, repr=False)
    _models: tuple[tuple[np.ndarray, np.ndarray], ...] = field(default=(), init=False, repr=False)
    _classes: int = field(default=0, init=False, repr=False)

    kind: ClassVar[str] = "TextTargetEncoder"
    supervised: ClassVar[bool] = True

    def fit(self, table: Table, goal: Goal) -> Self:
        """Fit the linear models."""
        from sklearn.linear_model import LogisticRegression, Ridge

        bags, models = [], []
        self._classes = goal.n_classes
        for i in self.columns:
            texts = Texts.of(table, i)
            bag = Bag(("word", "char"), self.most)
            x = bag.fit(texts)[texts.of_row]
            weight = np.maximum(goal.weight, 1e-12)
            if goal.n_classes:
                model: Any = LogisticRegression(C=5.0, max_iter=200, tol=1e-3).fit(x, goal.y, weight)
                coef = np.zeros((goal.n_classes, x.shape[1]))
                intercept = np.full(goal.n_classes, -30.0)
                if len(model.classes_) == 2:
                    coef[model.classes_[1]], intercept[model.classes_] = model.coef_[0], [0.0, model.intercept_[0]]
                else:
                    coef[model.classes_], intercept[model.classes_] = model.coef_, model.intercept_
            else:
                model = Ridge(alpha=1.0, solver="sparse_cg", random_state=goal.seed).fit(x, goal.y, weight)
                coef, intercept = model.coef_[None, :], np.atleast_1d(model.intercept_)
            bags.append(bag)
            models.append((coef.astype(np.float32), np.asarray(intercept, dtype=float)))
        self._bags, self._models = tuple(bags), tuple(models)
        self._name([table.columns[i].name for i in self.columns])
        return self

    @property
    def _width(self) -> int:
        return 1 if self._classes in {0, 2} else self._classes

    def _name(self, raw: list[str]) -> None:
        self.names = tuple(f"{name}_TextTarget_{k}" for name in raw for k in range(self._width))
        self.sources = tuple((i,) for i in self.columns for _ in range(self._width))

    def transform(self, table: Table) -> np.ndarray:
        """Ask the linear models."""
        from scipy.special import softmax

        parts = []
        for i, bag, (coef, intercept) in zip(self.columns, self._bags, self._models, strict=True):
            texts = Texts.of(table, i)
            out = np.asarray(bag.transform(texts) @ coef.T) + intercept
            if self._classes:
                out = softmax(out, axis=1)
                out = out[:, 1:] if self._classes == 2 else out
            parts.append(out[texts.of_row])
        return np.concatenate(parts, axis=1).astype(np.float32)

    def state(self) -> State:
        """As (JSON, arrays)."""
        blobs: dict[str, Any] = {}
        for k, (bag, (coef, intercept)) in enumerate(zip(self._bags, self._models, strict=True)):
            blobs |= {**bag.blobs(str(k)), f"coef-{k}": coef, f"intercept-{k}": intercept}
        own = {"columns": list(self.columns), "most": self.most, "classes": self._classes}
        return {**own, "names": list(self.names)}, blobs

    @classmethod
    def from_state(cls, settings: dict[str, Any], blobs: dict[str, Any]) -> Self:
        """Read what `state` gave."""
        self = cls(columns=tuple(settings["columns"]), most=settings["most"])
        self._classes = settings["classes"]
        places = range(len(self.columns))
        self._bags = tuple(Bag.from_blobs(("word", "char"), self.most, blobs, str(k)) for k in places)
        self._models = tuple((np.asarray(blobs[f"coef-{k}"]), np.asarray(blobs[f"intercept-{k}"])) for k in places)
        self.names = tuple(settings["names"])
        self.sources = tuple((i,) for i in self.columns for _ in range(self._width))
        return self
