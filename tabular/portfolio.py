"""Which learners are tried, with which first configurations, and why the others are not."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING

from automl.candidates import Candidate, JsonScalar
from automl.errors import ConfigError
from tabular.learners.base import LEARNERS, NEEDS, ONLY_CLASSES, ONLY_NUMBERS
from tabular.spaces import DENSE, space_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tabular.config import FeatureSettings, SearchSettings
    from tabular.profile import Profile

_SVM_ROWS, _KNN_ROWS = 5_000, 30_000
_MANY_ROWS = 100_000
_ENCODED = 10
"""Categories from which on a column may be encoded by the target."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What the choice looks at.

    Parameters
    ----------
    rows, n_classes : of training; 0 classes = numbers. profiles : of the columns, () for a matrix.
    sparse : whether a matrix is given. imbalanced : the smallest class has at most a fifth of the rows of the largest.
    streams : whether the rows are a sample of data larger than memory. skewed : whether logarithms of the target are
        less skewed than the target.
    """

    rows: int
    n_classes: int
    profiles: Sequence[Profile]
    sparse: bool
    imbalanced: bool
    streams: bool = False
    skewed: bool = False

    def has(self, kind: str) -> int:
        """How many columns are of a kind."""
        return sum(p.kind == kind for p in self.profiles)

    @property
    def texty(self) -> bool:
        """Whether text says most: nearly every used column holds some, or the data is a sparse matrix."""
        used = sum(p.kind != "ignore" for p in self.profiles)
        return self.sparse or (used > 0 and self.has("text") * 2 >= used)


@dataclass(frozen=True, slots=True)
class Portfolio:
    """What a search tries: `candidates` in this order, cheap ones first; `skipped`: every other learner -> why."""

    candidates: tuple[Candidate, ...]
    skipped: Mapping[str, str]


def choose(shape: Shape, search: SearchSettings, features: FeatureSettings) -> Portfolio:
    """Choose what is tried.

    Raises
    ------
    UnknownNameError : a name in `allowed` or `blocked` is no learner. ConfigError : nothing is left.
    """
    skipped = _skipped(shape, search)
    listed = [c for c in _listed(shape, search, features) if c.learner not in skipped]
    if not listed:
        why = " ".join(f"{name}: {reason}." for name, reason in skipped.items())
        raise ConfigError(f"allowed={search.allowed} without blocked={list(search.blocked)} leaves no learner. {why}")
    return Portfolio(tuple(dict.fromkeys(listed)), skipped)


def _skipped(shape: Shape, search: SearchSettings) -> dict[str, str]:
    allowed = None if search.allowed is None else {LEARNERS.resolve(name) for name in search.allowed}
    blocked = {LEARNERS.resolve(name) for name in search.blocked}
    out: dict[str, str] = {}
    for name in LEARNERS:
        package, extra = NEEDS.get(name, ("", ""))
        if name in blocked:
            out[name] = "blocked by the settings"
        elif allowed is not None and name not in allowed:
            out[name] = "not among the learners allowed"
        elif name in (ONLY_NUMBERS if shape.n_classes else ONLY_CLASSES):
            out[name] = f"it does not learn {'classes' if shape.n_classes else 'numbers'}"
        elif package and importlib.util.find_spec(package) is None:
            out[name] = f"skipped: pip install 'forecastle[{extra}]'"
        elif search.onnx and not hasattr(LEARNERS.load(name), "onnx"):
            out[name] = "it cannot be written as ONNX"
        elif shape.streams and not hasattr(LEARNERS.load(name), "fit_pieces"):
            out[name] = "it does not learn from data larger than memory"
        elif allowed is None:
            reason = _unfit(name, shape)
            if reason:
                out[name] = reason
    return out


def _unfit(name: str, shape: Shape) -> str:
    """Why a learner that is not asked for by name does not suit the data."""
    if name == "SVM" and shape.rows > _SVM_ROWS:
        return f"more than {_SVM_ROWS} rows"
    if name == "KNN" and shape.rows > _KNN_ROWS:
        return f"more than {_KNN_ROWS} rows"
    if name == "LassoLars" and shape.texty:
        return "it needs a small dense matrix"
    if name in {"BernoulliNaiveBayes", "MultinomialNaiveBayes"} and not shape.texty:
        return "made for words; tried when allowed by name"
    many = shape.streams or shape.rows > _MANY_ROWS
    if name in {"AveragedPerceptron", "OnlineGradientDescent"} and not many:
        return f"for more than {_MANY_ROWS} rows"
    if name == "GradientBoosting" and shape.sparse:
        return "it needs a dense matrix"
    return ""


def _listed(shape: Shape, search: SearchSettings, features: FeatureSettings) -> list[Candidate]:
    """Fixed order: an answer at once, then what usually scores best for its time; each space is searched once."""
    hashed = shape.has("categorical_hash")
    many = hashed + sum(p.kind == "categorical" and p.unique > _ENCODED for p in shape.profiles)
    scalers = [s for s in search.scalers if s not in {"PCA", "TruncatedSVDWrapper", "SparseNormalizer"}] or ["none"]
    first = scalers[0]

    def of(learner: str, params: Mapping[str, JsonScalar] | None = None, *, search_it: bool = False) -> Candidate:
        own = dict(params or {})
        if learner in DENSE and "scaler" not in own:
            own["scaler"] = first if learner != "MultinomialNaiveBayes" else "MinMaxScaler"
        space = space_of(
            learner,
            rows=shape.rows,
            numbers=shape.has("numeric") > 1,
            encodes=many > 0 and features.mode == "auto",
            text=shape.has("text") > 0,
            scalers=list(search.scalers),
            skewed=shape.skewed,
        )
        return Candidate.of(learner, own, space=space if search_it else None)

    small = shape.rows < 2_000
    quick: dict[str, JsonScalar] = {"n_estimators": 100, "learning_rate": 0.1, "num_leaves": 15}
    leaf = 5 if small else 20
    usual: dict[str, JsonScalar] = {"learning_rate": 0.03 if small else 0.05, "num_leaves": 15 if small else 31}
    usual |= {"min_child_samples": leaf}
    wide: dict[str, JsonScalar] = {"learning_rate": 0.03, "num_leaves": 15 if small else 95, "colsample": 0.5}
    wide |= {"min_child_samples": 3 if small else 10, "subsample": 0.8}
    random_: dict[str, JsonScalar] = {**usual, "extra_trees": True, "colsample": 0.9}
    linear = "SGD" if shape.streams else "LogisticRegression" if shape.n_classes else "ElasticNet"
    words = [
        of("MultinomialNaiveBayes", {"alpha": 0.1, "text": "sparse"}, search_it=True),
        of("MultinomialNaiveBayes", {"alpha": 0.3, "text": "counts"}),
        of("LogisticRegression", {"C": 10.0, "text": "sparse"}, search_it=True),
        of("LinearSVM", {"C": 0.5, "text": "sparse"}, search_it=True),
        of("FastLinear", {"alpha": 1.0, "text": "sparse"}, search_it=True),
        of("SGD", {"text": "sparse"}),
    ]
    balanced = [of("LightGBM", {**usual, "balanced": True})] if shape.imbalanced and search.balance else []
    encoded = [of("LightGBM", {**usual, "means": "mean"})] if many else []
    if shape.has("text") and not shape.texty:
        quick["text"] = "none"
    logs = [of(linear, {"target": "log"}), of("LightGBM", {**usual, "target": "log"})] if shape.skewed else []
    return [
        *(words if shape.texty else []),
        of("LightGBM", quick),
        of(linear, search_it=not shape.texty or not shape.n_classes),
        of("LightGBM", usual, search_it=True),
        *logs,
        of("ExtremeRandomTrees", search_it=True),
        of("XGBoost", search_it=True),
        of("LightGBM", random_),
        of("RandomForest", search_it=True),
        of("LightGBM", wide),
        *balanced,
        *encoded,
        of("GradientBoosting", search_it=True),
        of("KNN", search_it=True),
        of("SVM", search_it=True),
        of("LinearSVM", search_it=not shape.texty),
        of("FastLinear", search_it=not shape.texty),
        of("SGD", search_it=True),
        of("LassoLars", search_it=True),
        of("DecisionTree", search_it=True),
        of("BernoulliNaiveBayes", search_it=True),
        of("MultinomialNaiveBayes", search_it=not shape.texty),
        of("AveragedPerceptron"),
        of("OnlineGradientDescent", search_it=True),
    ]
