"""Counting words and characters inside an ONNX graph, as scikit-learn's CountVectorizer counts them."""

from __future__ import annotations

import sys
import unicodedata
from functools import cache
from typing import TYPE_CHECKING, Any

from tabular.onnx.graph import MICROSOFT, ML

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tabular.onnx.graph import Graph

_PAD = "\x01"
"""What fills rows of fewer tokens; no term holds it."""

_WORD = r"[\p{L}\p{N}_]+"


def counts(graph: Graph, texts: str, kind: str, terms: Sequence[str]) -> str:
    """How often each term occurs in each text, shape [rows, terms] float32.

    Parameters
    ----------
    texts : text, shape [rows]. kind : "word" (n-grams of words, parts of a term separated by spaces) or "char"
        (n-grams inside words, with a space at both ends). terms : in small letters.

    Letters of ASCII are made small by the runtime, others by a table of the terms' own words: a word of another script
    counts in small, capital or title form, not where forms are mixed.
    """
    split = [t.split(" ") if kind == "word" else list(t) for t in terms]
    tokens = _words(graph, texts) if kind == "word" else _characters(graph, texts)
    known = sorted({part for parts in split for part in parts})
    number = {part: k for k, part in enumerate(known)}
    table = dict(number)
    for part in known:
        for form in (part.upper(), part.title()):
            if not form.isascii():
                table.setdefault(form, number[part])
    if kind == "char":
        table |= {c: number[" "] for c in _spaces() if " " in number} if " " in number else {}
    codes = graph.place(tokens, table, -1)
    lengths = sorted({len(parts) for parts in split})
    pool: list[int] = []
    starts: list[int] = []
    places: list[int] = []
    for length in range(1, max(lengths) + 1):
        starts.append(len(pool))
        for k, parts in enumerate(split):
            if len(parts) == length:
                pool += [number[p] for p in parts]
                places.append(k)
    return str(
        graph.op(
            "TfIdfVectorizer",
            codes,
            mode="TF",
            min_gram_length=lengths[0],
            max_gram_length=lengths[-1],
            max_skip_count=0,
            ngram_counts=starts,
            ngram_indexes=places,
            pool_int64s=pool,
        )
    )


def _small(graph: Graph, texts: str) -> str:
    return str(graph.op("StringNormalizer", texts, case_change_action="LOWER", is_case_sensitive=1, locale="C"))


def _words(graph: Graph, texts: str) -> str:
    """Words of each text, shape [rows, most words]."""
    small = _small(graph, texts)
    return str(graph.op("Tokenizer", small, domain=MICROSOFT, mark=0, mincharnum=1, pad_value=_PAD, tokenexp=_WORD))


def _characters(graph: Graph, texts: str, *, small: bool = True) -> str:
    """Characters of each text between two spaces (as marks), shape [rows, most characters + 2]."""
    source = _small(graph, texts) if small else texts
    spaced = graph.op(
        "StringConcat",
        graph.op("StringConcat", graph.constant([" "], "object"), source),
        graph.constant([" "], "object"),
    )
    return str(graph.op("Tokenizer", spaced, domain=MICROSOFT, mark=0, mincharnum=1, pad_value=_PAD, separators=[""]))


@cache
def _spaces() -> tuple[str, ...]:
    return tuple(c for c in map(chr, range(sys.maxunicode)) if c.isspace())


@cache
def _kinds() -> dict[str, int]:
    """Characters that are no small letters: 1 = digit, 2 = capital, 3 = mark, 4 = space, 5 = what fills rows."""
    out = {}
    for number in range(sys.maxunicode):
        c = chr(number)
        if unicodedata.category(c) in {"Cn", "Cs", "Co"}:
            continue
        if c.isspace():
            out[c] = 4
        elif c.isdigit():
            out[c] = 1
        elif c.isupper():
            out[c] = 2
        elif not c.isalnum():
            out[c] = 3
    return {**out, _PAD: 5}


def statistics(graph: Graph, texts: str) -> str:
    """Length, words, shares of digits, capitals and marks of each text, shape [rows, 5] float32."""
    tokens = _characters(graph, texts, small=False)
    kinds = graph.op(
        "LabelEncoder",
        tokens,
        domain=ML,
        keys_strings=list(_kinds()),
        values_int64s=list(_kinds().values()),
        default_int64=0,
    )

    def number_of(kind: int) -> Any:
        hits = graph.op("Equal", kinds, graph.constant(kind, "int64"))
        return graph.total(graph.cast(hits, "float32"))

    one = graph.constant(1.0, "float32")
    inside = graph.total(graph.cast(graph.op("Not", graph.op("Equal", kinds, graph.constant(5, "int64"))), "float32"))
    length = graph.op("Sub", inside, graph.constant(2.0, "float32"))
    space = graph.op("Equal", kinds, graph.constant(4, "int64"))
    first = [graph.constant([n], "int64") for n in (0, 1)]
    last = [graph.constant([n], "int64") for n in (-1, sys.maxsize)]
    before = graph.op("Slice", space, first[0], last[0], first[1])
    after = graph.op("Slice", kinds, first[1], last[1], first[1])
    begins = graph.op("And", before, graph.op("And", _is_not(graph, after, 4), _is_not(graph, after, 5)))
    words = graph.total(graph.cast(begins, "float32"))
    size = graph.op("Max", length, one)
    shares = [graph.op("Div", number_of(kind), size) for kind in (1, 2, 3)]
    return graph.concat([str(length), words, *map(str, shares)])


def _is_not(graph: Graph, kinds: str, kind: int) -> str:
    return str(graph.op("Not", graph.op("Equal", kinds, graph.constant(kind, "int64"))))
