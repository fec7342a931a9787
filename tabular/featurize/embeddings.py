"""Sentence vectors of text by a transformer that lies on this machine."""

from __future__ import annotations

import hashlib
import weakref
from dataclasses import dataclass, field
from functools import lru_cache, partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from automl.errors import ConfigError, MissingPackageError, ModelFileError
from tabular.featurize.base import Goal, Transformer, forget

if TYPE_CHECKING:
    from automl.trial import State
    from tabular.table import Table

_TOKENS, _BATCH = 128, 64


@dataclass(frozen=True, slots=True)
class Encoder:
    """A transformer with its tokenizer.

    Parameters
    ----------
    tokenizer, model : of the package transformers. print : SHA-256 of configuration and weights.
    """

    tokenizer: Any
    model: Any
    print: str

    @property
    def width(self) -> int:
        """Numbers a text."""
        return int(self.model.config.hidden_size)

    def encode(self, texts: list[str]) -> np.ndarray:
        """Means over the tokens (at most 128) of a text, of length 1; empty texts are zeros. Shape [texts, width]."""
        import torch

        out = np.zeros((len(texts), self.width), dtype=np.float32)
        order = [k for k in np.argsort([len(t) for t in texts], kind="stable") if texts[k].strip()]
        for first in range(0, len(order), _BATCH):
            places = order[first : first + _BATCH]
            tokens = self.tokenizer(
                [texts[k] for k in places], padding=True, truncation=True, max_length=_TOKENS, return_tensors="pt"
            )
            with torch.inference_mode():
                states = self.model(**tokens).last_hidden_state
            mask = tokens["attention_mask"][..., None].to(states.dtype)
            mean = (states * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
            out[places] = torch.nn.functional.normalize(mean, dim=1).numpy()
        return out


def directory_of(path: str) -> Path:
    """Directory of a transformer: the path itself, or the one that a package ships.

    Raises
    ------
    ConfigError : there is none.
    """
    where = Path(path)
    if not where.is_dir():
        spec = find_spec(path) if path.isidentifier() else None
        if spec is None or not spec.submodule_search_locations:
            raise ConfigError(f"embeddings={path!r} is neither a directory nor an installed package.")
        where = Path(next(iter(spec.submodule_search_locations)))
    found = sorted(p.parent for p in where.rglob("config.json") if any(p.parent.glob("*.safetensors")))
    if not found:
        raise ConfigError(f"embeddings={path!r} holds no transformer: config.json beside *.safetensors is looked for.")
    return found[0]


@lru_cache(maxsize=2)
def load_encoder(path: str) -> Encoder:
    """Load a transformer by its directory or package; nothing is fetched.

    Raises
    ------
    MissingPackageError : transformers or torch is not installed. ConfigError : there is no transformer.
    """
    for package in ("torch", "transformers"):
        if find_spec(package) is None:
            raise MissingPackageError(package, "text", "sentence embeddings of text columns")
    transformers: Any = import_module("transformers")
    transformers.utils.logging.disable_progress_bar()
    where = directory_of(path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(where, local_files_only=True)
    model = transformers.AutoModel.from_pretrained(where, local_files_only=True, use_safetensors=True).eval()
    digest = hashlib.sha256((where / "config.json").read_bytes())
    for part in sorted(where.glob("*.safetensors")):
        digest.update(part.read_bytes())
    return Encoder(tokenizer, model, digest.hexdigest())


_encoded: dict[tuple[int, str], tuple[Any, np.ndarray]] = {}
"""Vectors of the words of a table's column, which its parts share: each text is encoded once, not once a fold."""


def encoded(words: np.ndarray, path: str) -> np.ndarray:
    """Vectors [words + 1, width] of distinct texts; the last is that of a missing one, zeros."""
    key = id(words), path
    known = _encoded.get(key)
    if known is not None and known[0]() is words:
        return known[1]
    vectors = load_encoder(path).encode([*words, ""])
    _encoded[key] = weakref.ref(words, partial(forget, _encoded, key)), vectors
    return vectors


@dataclass(kw_only=True)
class Embeddings(Transformer):
    """Sentence vectors.

    Source: Reimers & Gurevych (2019), EMNLP: mean over tokens.

    Parameters
    ----------
    path : directory of a transformer, or package that ships one.
    """

    path: str
    _print: str = field(default="", init=False, repr=False)

    kind: ClassVar[str] = "WordEmbedding"

    def fit(self, table: Table, goal: Goal) -> Self:  # noqa: ARG002 - the protocol's form
        """Learn nothing but which transformer it is."""
        encoder = load_encoder(self.path)
        self._print = encoder.print
        self.names = tuple(f"{table.columns[i].name}_Embedding_{j}" for i in self.columns for j in range(encoder.width))
        self.sources = tuple((i,) for i in self.columns for _ in range(encoder.width))
        return self

    def transform(self, table: Table) -> np.ndarray:
        """Encode texts.

        Raises
        ------
        ModelFileError : the transformer is another one than in training.
        """
        if load_encoder(self.path).print != self._print:
            raise ModelFileError(f"the transformer {self.path!r} is another one than in training. Fix: restore it.")
        parts = []
        for i in self.columns:
            column = table.columns[i]
            parts.append(encoded(column.words, self.path)[np.where(column.values < 0, -1, column.values)])
        return np.concatenate(parts, axis=1)

    def state(self) -> State:
        """As (JSON, arrays); the transformer itself stays where it is."""
        own = {"columns": list(self.columns), "path": self.path, "print": self._print}
        return {**own, "names": list(self.names)}, {}

    @classmethod
    def from_state(cls, settings: dict[str, Any], blobs: dict[str, Any]) -> Self:  # noqa: ARG003 - the protocol's form
        """Read what `state` gave."""
        self = cls(columns=tuple(settings["columns"]), path=settings["path"])
        self._print, self.names = settings["print"], tuple(settings["names"])
        width = len(self.names) // len(self.columns)
        self.sources = tuple((i,) for i in self.columns for _ in range(width))
        return self
