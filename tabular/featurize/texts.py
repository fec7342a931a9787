"""Features of text: TF-IDF of words and trigrams, a few dense directions of it for trees, class probabilities."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from tabular.config import NGRAMS
from tabular.featurize.base import Goal, Transformer
from tabular.table import words_blobs, words_from_blobs

if TYPE_CHECKING:
    from automl.trial import State
    from tabular.table import Table

_SPANS = {"word": ("1", "2"), "char": ("3", "3")}
_MOST_TEXTS, _MOST_TERMS = 50_000, 100_000
"""Above so many distinct texts, terms are those of as many of them, and so many at most."""

BOTH = "word_1_2,char_3_3"


def kind_of(form: str) -> str:
    """`word` or `char`, of the name of a form.

    Examples
    --------
    >>> kind_of("word_1_3")
    'word'
    """
    return form.partition("_")[0]


def vectorizer_of(form: str, **options: Any) -> Any:
    """Counter of n-grams of one form."""
    from sklearn.feature_extraction.text import CountVectorizer

    found = NGRAMS.fullmatch(form)
    assert found is not None  # noqa: S101 - settings are checked
    kind, *span = found.groups()
    low, high = (int(n or d) for n, d in zip(span, _SPANS[kind], strict=True))
    own = {"analyzer": "word", "token_pattern": r"(?u)\b\w+\b"} if kind == "word" else {"analyzer": "char_wb"}
    return CountVectorizer(lowercase=True, dtype=np.float32, ngram_range=(low, high), **own, **options)


_counted: dict[tuple[int, str], tuple[Any, Any, np.ndarray]] = {}
"""Counts of all terms in the words of a table's column, which its parts share: texts are read once, not once a fold."""


def counted(words: np.ndarray, form: str) -> tuple[Any, np.ndarray]:
    """Counts [words + 1, terms] as CSR, last row that of the empty text, and the terms in order."""
    key = id(words), form
    known = _counted.get(key)
    if known is not None and known[0]() is words:
        return known[1], known[2]
    many = len(words) > _MOST_TEXTS
    vectorizer = vectorizer_of(form, max_features=_MOST_TERMS if many else None)
    try:
        if many:
            vectorizer.fit(words[np.linspace(0, len(words) - 1, _MOST_TEXTS).astype(int)])
            counts = vectorizer.transform([*words, ""]).tocsr()
        else:
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
    """TF-IDF of the distinct texts of one column, by n-grams of words and of characters.

    Source: Salton & Buckley (1988), Information Processing & Management 24(5); weights as in scikit-learn, sublinear.

    Parameters
    ----------
    forms : such as word_1_2 and char_3_3. most : terms of each, the most frequent ones that stand in at least two
        texts.
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
        made = []
        for part in self.parts:
            counts = self._known_counts(texts, part)
            if counts is None:
                counts = vectorizer_of(part.form, vocabulary=list(part.terms)).transform(texts.texts())
            made.append(part.weigh(counts))
        return _joined(made, len(texts.used))

    @staticmethod
    def _known_counts(texts: Texts, part: Terms) -> Any:
        """Counts of a table that was counted before; None where that was not done, or did not look for every term."""
        if (id(texts.words), part.form) not in _counted:
            return None
        whole, terms = counted(texts.words, part.form)
        at = np.searchsorted(terms, part.terms)
        if not len(terms) or not (terms[np.minimum(at, len(terms) - 1)] == part.terms).all():
            return None
        return whole[texts.used][:, at]

    @property
    def names(self) -> list[str]:
        """Names of the terms in order."""
        return [f"{kind_of(part.form)}_{t}" for part in self.parts for t in part.terms]

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
    most : terms of each form a column. forms : of n-grams, with commas between.
    """

    most: int = 20_000
    forms: str = BOTH
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
            own = np.asarray(bag.transform(texts) @ axes.T) if len(axes) else np.empty((len(texts.used), 0))
            parts.append(np.concatenate([own, _statistics(texts.texts())], axis=1)[texts.of_row])
        return np.concatenate(parts, axis=1).astype(np.float32)

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
            models.append(_class_model(x, goal) if goal.n_classes else _number_model(x, goal))
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
