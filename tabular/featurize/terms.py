"""Terms of texts: n-grams of words and characters, counted once a column, weighed by TF-IDF."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from tabular.config import NGRAMS
from tabular.featurize.base import forget
from tabular.table import words_blobs, words_from_blobs

if TYPE_CHECKING:
    from tabular.onnx.graph import Graph
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
    _counted[key] = weakref.ref(words, partial(forget, _counted, key)), counts, terms
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
        """TF-IDF of counts [texts, terms]: logarithms of counts times weights, rows of length 1.

        Reckoned in float64 and rounded once, so that an ONNX graph comes to the same float32, and trees to one side.
        """
        from sklearn.preprocessing import normalize

        out = counts.astype(np.float64)
        out.data = (1 + np.log(out.data)) * self.idf[out.indices]
        return normalize(out, copy=False).astype(np.float32)

    def onnx_counts(self, graph: Graph, texts: str) -> str:
        """Counts in texts [rows] in an ONNX graph, float32 [rows, terms]."""
        from tabular.onnx.strings import counts

        return counts(graph, texts, kind_of(self.form), [str(t) for t in self.terms])

    def onnx(self, graph: Graph, texts: str) -> str:
        """TF-IDF of texts [rows] in an ONNX graph, float32 [rows, terms]."""
        often = graph.cast(self.onnx_counts(graph, texts), "float64")
        one = graph.constant(1.0)
        logs = graph.op("Add", graph.op("Log", graph.op("Max", often, one)), one)
        there = graph.op("Min", often, one)
        weighed = graph.op("Mul", graph.op("Mul", logs, there), graph.constant(self.idf))
        return graph.cast(graph.unit_rows(weighed, "float64"), "float32")


class Bag:
    """TF-IDF of the distinct texts of one column, by n-grams of words and of characters.

    Source: Salton & Buckley (1988), Information Processing & Management 24(5); weights as in scikit-learn, sublinear.

    Parameters
    ----------
    forms : such as word_1_2 and char_3_3. most : terms of each, the most frequent ones that stand in at least two
        texts. weighed : by TF-IDF, else plain counts.
    """

    def __init__(self, forms: tuple[str, ...], most: int, *, weighed: bool = True) -> None:
        self.forms = forms
        self.most = most
        self.weighed = weighed
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
                made.append(part.weigh(counts[:, kept]) if self.weighed else counts[:, kept])
        return side_by_side(made, len(texts.used))

    def transform(self, texts: Texts) -> Any:
        """TF-IDF of the distinct texts, CSR float32 [texts, terms]."""
        made = []
        for part in self.parts:
            counts = self._known_counts(texts, part)
            if counts is None:
                counts = vectorizer_of(part.form, vocabulary=list(part.terms)).transform(texts.texts())
            made.append(part.weigh(counts) if self.weighed else counts.astype(np.float32))
        return side_by_side(made, len(texts.used))

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

    def onnx(self, graph: Graph, texts: str) -> list[str]:
        """TF-IDF of texts [rows] in an ONNX graph, a part a form."""
        return [part.onnx(graph, texts) if self.weighed else part.onnx_counts(graph, texts) for part in self.parts]

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
    def from_blobs(
        cls, forms: tuple[str, ...], most: int, blobs: dict[str, Any], name: str, *, weighed: bool = True
    ) -> Bag:
        """Read what `blobs` gave."""
        self = cls(forms, most, weighed=weighed)
        self.parts = [
            Terms(form, words_from_blobs(blobs, f"{name}-{form}"), np.asarray(blobs[f"idf-{name}-{form}"]))
            for form in forms
            if f"idf-{name}-{form}" in blobs
        ]
        return self


def side_by_side(parts: list[Any], rows: int) -> Any:
    """Sparse matrices as one, CSR; of no column where there are none."""
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
