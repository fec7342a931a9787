"""Settings: frozen dataclasses that check themselves. One definition for Python, job files and help."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence  # noqa: TC003 - job files are checked against these types
from dataclasses import dataclass, field
from typing import Literal

from automl.budget import ExitCriteria
from automl.errors import ConfigError, UnknownNameError, one_of
from automl.preprocess import SCALERS

KINDS = ("numeric", "categorical", "categorical_hash", "datetime", "text", "ignore")
"""What a column may be used as."""

TRANSFORMERS = (
    "Imputer",
    "OneHotEncoder",
    "HashOneHotEncoder",
    "CatTargetEncoder",
    "WoETargetEncoder",
    "ClusterDistance",
    "DateTime",
    "TfIdf",
    "CountVectorizer",
    "TextTargetEncoder",
    "NaiveBayes",
    "WordEmbedding",
    "LabelEncoder",
)
"""Names of what can be blocked."""

NGRAMS = re.compile(r"(word|char)(?:_([1-9])_([1-9]))?")
"""How n-grams are named: word or char, and the least and most in a row; word alone is word_1_2, char is char_3_3."""

IMPUTERS = ("mean", "median", "most_frequent", "constant")
META_LEARNERS: Mapping[bool, tuple[str, ...]] = {
    True: ("auto", "LogisticRegression"),
    False: ("auto", "ElasticNet", "LinearRegression"),
}
"""Models over members of a stack, of classes (True) and of numbers."""

LEAST_MB = 1_000.0
"""Memory without which nothing can be fitted: the packages alone take half of it."""


def _share(name: str, value: float | None) -> None:
    if value is not None and not 0 < value < 1:
        raise ConfigError(f"{name} must lie between 0 and 1, got {value!r}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSettings:
    """How the user's table is read.

    Parameters
    ----------
    drop : columns that are not used. weight : column of row weights >= 0. folds : columns of 1 (row of training) and 0
        (row of validation), one a fold.
    kinds : column -> what it is used as (one of KINDS), where the user knows better.
    memory_mb : most memory that a fit may take; Parquet data that needs more is read in pieces. None = half of what is
        free.
    """

    drop: Sequence[str] = ()
    weight: str | None = None
    folds: Sequence[str] = ()
    kinds: Mapping[str, Literal["numeric", "categorical", "categorical_hash", "datetime", "text", "ignore"]] = field(
        default_factory=dict
    )
    memory_mb: float | None = None

    def __post_init__(self) -> None:
        if self.memory_mb is not None and not self.memory_mb >= LEAST_MB:
            raise ConfigError(f"memory_mb must be at least {LEAST_MB:g}, got {self.memory_mb!r}.")
        for name in ("drop", "folds"):
            value = getattr(self, name)
            object.__setattr__(self, name, (value,) if isinstance(value, str) else tuple(value))
        for column, kind in self.kinds.items():
            one_of(f"kinds[{column!r}]", kind, KINDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSettings:
    """How columns become features.

    Parameters
    ----------
    mode : "auto", or "off": numbers pass as they are and any other column is an error.
    blocked : transformers that are not used (some of TRANSFORMERS).
    imputers : column -> mean, median, most_frequent or constant; other numbers: mean. fill_value : of "constant".
    hash_bits : 2 ** bits columns of hashed categories. hash_new : whether categories that training did not hold are
        hashed too; ONNX cannot.
    id_share : text without spaces that differs in more than this share of the rows is an id and is not used.
    text_share, text_words : text differs in more than this share of the rows and has so many words on average.
    most_categories : columns with more of them are hashed (or encoded by the target).
    few_values : numbers of at most so many values (and 5 % of the rows) are given to linear learners as categories too.
    text_features : most n-grams of each form a text column gives. ngrams : forms, such as word_1_3 or char_2_4.
    embeddings : directory of a transformer (config.json, tokenizer and safetensors), or a package that ships one; texts
        then get its sentence vectors too. Needs the extra `text`.
    """

    mode: str = "auto"
    blocked: Sequence[str] = ()
    imputers: Mapping[str, str] = field(default_factory=dict)
    fill_value: float = 0.0
    hash_bits: int = 8
    hash_new: bool = True
    id_share: float = 0.95
    text_share: float = 0.2
    text_words: float = 3.0
    most_categories: int = 100
    few_values: int = 10
    text_features: int = 20_000
    ngrams: Sequence[str] = ("word_1_2", "char_3_3")
    embeddings: str | None = None

    def __post_init__(self) -> None:
        one_of("mode", self.mode, ("auto", "off"))
        for name in self.blocked:
            if name not in TRANSFORMERS:
                raise UnknownNameError("transformer", name, TRANSFORMERS)
        for column, way in self.imputers.items():
            one_of(f"imputers[{column!r}]", way, IMPUTERS)
        if self.imputers and "Imputer" in self.blocked:
            raise ConfigError("imputers are given and 'Imputer' is blocked. Fix: one of both.")
        object.__setattr__(self, "ngrams", (self.ngrams,) if isinstance(self.ngrams, str) else tuple(self.ngrams))
        for form in self.ngrams:
            found = NGRAMS.fullmatch(form)
            if not found or (found.group(2) or "1") > (found.group(3) or "9"):
                raise ConfigError(f"ngrams must be such as 'word_1_2' or 'char_3_5', got {form!r}.")
        if not self.ngrams or len(set(self.ngrams)) < len(self.ngrams):
            raise ConfigError(f"ngrams must name at least one form and each once, got {self.ngrams!r}.")
        _share("id_share", self.id_share)
        _share("text_share", self.text_share)
        limits = {"hash_bits": (1, 20), "most_categories": (1, 10_000), "few_values": (0, 100)}
        limits["text_features"] = (1, 10**6)
        for name, (least, most) in limits.items():
            value = getattr(self, name)
            if not (isinstance(value, int) and least <= value <= most):
                raise ConfigError(f"{name} must be a whole number from {least} to {most}, got {value!r}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSettings:
    """How models are tried, chosen and combined.

    Parameters
    ----------
    metric : what to choose by; None = log_loss for classes, normalized_root_mean_squared_error for numbers.
    limits : when to stop. n_folds : "auto" (10 below 1,000 rows, 3 up to 20,000, then a hold-out of 10 %) or a number.
    validation_size : share held out; with `n_folds` as many random splits of that share (Monte-Carlo).
    workers : processes evaluating at a time, None = one a core, 0 = none but this one. threads : of each fit.
    allowed, blocked : learner names; allowed=None = all that suit the data. scalers : that may be tried.
    bag : whether a model is the mean of those fitted on the folds (then nothing is fitted again) or fitted anew on all
        rows; None = a bag where there are at least three folds.
    vote, stack : ensembles. ensemble_rounds : greedy steps. stack_meta_learner : of the stack:
        LogisticRegression for classes, ElasticNet or LinearRegression for numbers, "auto" = the first.
    onnx : only learners and features that can be written as ONNX.
    balance : whether class weights are tried where classes are out of balance.
    verbosity : level of the log file: debug, info, warning or error.
    """

    metric: str | None = None
    limits: ExitCriteria = field(default_factory=lambda: ExitCriteria(patience=300))
    n_folds: int | str = "auto"
    validation_size: float | None = None
    workers: int | None = None
    threads: int = 1
    allowed: Sequence[str] | None = None
    blocked: Sequence[str] = ()
    scalers: Sequence[str] = tuple(s for s in SCALERS if s != "none")
    bag: bool | None = None
    vote: bool = True
    stack: bool = True
    ensemble_rounds: int = 15
    stack_meta_learner: str = "auto"
    onnx: bool = False
    balance: bool = True
    verbosity: str = "info"

    def __post_init__(self) -> None:
        folds = self.n_folds
        if folds != "auto" and not (isinstance(folds, int) and not isinstance(folds, bool) and folds >= 2):
            raise ConfigError(f"n_folds must be 'auto' or a whole number >= 2, got {folds!r}.")
        _share("validation_size", self.validation_size)
        for name in ("workers", "threads", "ensemble_rounds"):
            value = getattr(self, name)
            least = 0 if name == "workers" else 1
            if value is not None and (not isinstance(value, int) or value < least):
                raise ConfigError(f"{name} must be a whole number >= {least}, got {value!r}.")
        for name in self.scalers:
            if name not in SCALERS:
                raise UnknownNameError("scaler", name, SCALERS)
        known = (*META_LEARNERS[True], *META_LEARNERS[False][1:])
        one_of("stack_meta_learner", self.stack_meta_learner, known)
        one_of("verbosity", self.verbosity, ("debug", "info", "warning", "error"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything about a run."""

    data: DataSettings = field(default_factory=DataSettings)
    features: FeatureSettings = field(default_factory=FeatureSettings)
    search: SearchSettings = field(default_factory=SearchSettings)
