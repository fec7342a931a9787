"""Featurizer: the transformers that suit a table's columns, fitted together, for one flavour of learner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from automl.candidates import Registry
from automl.errors import DataError
from automl.preprocess import Scaler, fit_scaler
from tabular.featurize.base import Goal, Transformer, dense
from tabular.featurize.sparse import MatrixScaler
from tabular.profile import Profile
from tabular.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from automl.candidates import JsonScalar
    from automl.trial import State
    from tabular.config import FeatureSettings
    from tabular.onnx.graph import Graph, Raw

TRANSFORMERS = Registry(
    "transformer",
    {
        "numbers": "tabular.featurize.numbers:Numbers",
        "dates": "tabular.featurize.numbers:Dates",
        "levels": "tabular.featurize.numbers:Levels",
        "clusters": "tabular.featurize.numbers:Clusters",
        "onehot": "tabular.featurize.categories:OneHot",
        "hashed": "tabular.featurize.categories:Hashed",
        "codes": "tabular.featurize.categories:Codes",
        "means": "tabular.featurize.categories:TargetMeans",
        "tfidf": "tabular.featurize.texts:TfIdf",
        "counts": "tabular.featurize.texts:Counts",
        "textparts": "tabular.featurize.texts:TextParts",
        "texttarget": "tabular.featurize.texts:TextTarget",
        "bayes": "tabular.featurize.texts:NaiveBayes",
        "embeddings": "tabular.featurize.embeddings:Embeddings",
    },
)
FLAVOURS = ("dense", "codes")
_INNER_FOLDS = 5
_MOST_DENSE_CELLS, _MOST_DENSE_COLUMNS = 5_000_000, 2_000
"""Matrices up to this size are arrays, so that every learner can take them."""

_FEW = 10
"""Categories from which on their means help trees."""

_FEW_SHARE = 0.05
"""Numbers that take a few values only take at most as many as this share of the rows."""

_MOST_MEANS = 300
"""Columns of means of the target, one a class and encoded column, of which there are not more."""

_LARGEST = 1e18
_FEW_TERMS = 5_000
_MOST_CLASSES = 20
"""Classes up to which text is encoded by the target."""


class Featurizer:
    """Turns tables into matrices.

    Parameters
    ----------
    profiles : of the raw columns. settings : of the user.
    flavour : "dense" (imputed, scaled, one column a category; for linear models, neighbours and machines) or "codes"
        (gaps stay, categories are numbers; for trees).
    options : what is searched: scaler (one of automl.preprocess.SCALERS), means ("mean", "odds" or "" = none),
        clusters (whether to add distances), text ("both", "sparse", "target", "counts" (of terms, not weighed), "bayes"
        (in place of the linear model) or "none"), ngrams (forms of n-grams with
        commas between, such as "word_1_2,char_2_4"), levels (whether numbers of few values are categories too),
        embeddings (whether texts get sentence vectors, where the settings name a transformer).

    Examples
    --------
    >>> from tabular.config import DataSettings, FeatureSettings
    >>> from tabular.profile import profile
    >>> from tabular.table import Table, numbers, texts
    >>> table = Table.of([numbers("size", [3.0, np.nan, 2.0]), texts("colour", ["red", "blue", "red"])])
    >>> profiles = profile(table, DataSettings(), FeatureSettings())
    >>> made = Featurizer(profiles, FeatureSettings(), "dense", {})
    >>> made.fit_transform(table, Goal(np.array([0, 1, 0]), np.ones(3), 2)).shape, made.names
    ((3, 4), ('size_MeanImputer', 'size_WASNULL', 'colour_OneHot_red', 'colour_OneHot_blue'))
    """

    def __init__(
        self,
        profiles: Sequence[Profile],
        settings: FeatureSettings,
        flavour: str,
        options: Mapping[str, JsonScalar],
    ) -> None:
        self.profiles = tuple(profiles)
        self.settings = settings
        self.flavour = flavour
        self.options = dict(options)
        self._parts: list[tuple[str, Transformer]] = []
        self._scaler: Scaler | None = None
        self._sparse = False
        self._matrix: MatrixScaler | None = None
        self._raw: tuple[str, ...] = ()  # names of a matrix's columns

    # -- what is made -------------------------------------------------------------------------------------------------

    def _planned(self, n_classes: int) -> list[tuple[str, dict[str, Any]]]:
        """Names of transformers and their arguments."""
        of = {kind: tuple(i for i, p in enumerate(self.profiles) if p.kind == kind) for kind in _KINDS}
        blocked, dense_ = set(self.settings.blocked), self.flavour == "dense"
        if self.settings.mode == "off":
            odd = [p.name for p in self.profiles if p.kind not in {"numeric", "ignore"}]
            if odd:
                raise DataError(f"column {odd[0]!r} is no number, and features are off. Fix: mode='auto', or drop it.")
            return (
                [("numbers", {"columns": of["numeric"], "ways": ("",) * len(of["numeric"])})] if of["numeric"] else []
            )
        means = self.options.get("means", "")
        many = of["categorical_hash"]
        several = tuple(i for i in of["categorical"] if self.profiles[i].unique > _FEW)
        out: list[tuple[str, dict[str, Any]]] = []
        if of["numeric"]:
            asked = self.settings.imputers
            fallback = "mean" if dense_ and "Imputer" not in blocked else ""
            ways = tuple(asked.get(self.profiles[i].name, fallback) for i in of["numeric"])
            out.append(("numbers", {"columns": of["numeric"], "ways": ways, "fill": self.settings.fill_value}))
        if of["datetime"] and "DateTime" not in blocked:
            out.append(("dates", {"columns": of["datetime"], "filled": dense_}))
        if self.options.get("clusters") and len(of["numeric"]) > 1 and "ClusterDistance" not in blocked:
            out.append(("clusters", {"columns": of["numeric"]}))
        odds = means == "odds" and n_classes > 0 and "WoETargetEncoder" not in blocked
        room = _MOST_MEANS // (n_classes if n_classes > 2 else 1)
        encoded = (*many, *(several if means else ()))[:room]
        if encoded and (odds or "CatTargetEncoder" not in blocked):
            out.append(("means", {"columns": encoded, "odds": odds}))
        if not dense_ and "LabelEncoder" not in blocked:
            if of["categorical"] or many:
                out.append(("codes", {"columns": tuple(sorted((*of["categorical"], *many)))}))
            return out + self._of_text(of["text"], n_classes)
        if of["categorical"] and "OneHotEncoder" not in blocked:
            out.append(("onehot", {"columns": of["categorical"], "most": self.settings.most_categories}))
        few = tuple(i for i in of["numeric"] if self._takes_few(self.profiles[i]))
        if dense_ and few and self.options.get("levels", True) and "OneHotEncoder" not in blocked:
            out.append(("levels", {"columns": few}))
        if many and "HashOneHotEncoder" not in blocked:
            out.append(
                ("hashed", {"columns": many, "bits": self.settings.hash_bits, "closed": not self.settings.hash_new})
            )
        return out + self._of_text(of["text"], n_classes)

    def _takes_few(self, p: Profile) -> bool:
        return 2 < p.unique <= min(self.settings.few_values, _FEW_SHARE * p.rows)

    def _of_text(self, columns: tuple[int, ...], n_classes: int) -> list[tuple[str, dict[str, Any]]]:
        out: list[tuple[str, dict[str, Any]]] = []
        if not columns:
            return out
        blocked, way = self.settings.blocked, self.options.get("text", "both")
        forms = str(self.options.get("ngrams", ",".join(self.settings.ngrams)))
        path = self.settings.embeddings
        if path and self.options.get("embeddings", True) and "WordEmbedding" not in blocked:
            out.append(("embeddings", {"columns": columns, "path": path}))
        if way == "none":
            return out
        most, few = self.settings.text_features, min(self.settings.text_features, _FEW_TERMS)
        counted = "counts" if way == "counts" else "tfidf"
        if way not in {"target", "bayes"} and TRANSFORMERS.load(counted).kind not in blocked:
            if self.flavour == "dense":
                out.append((counted, {"columns": columns, "most": most, "forms": forms}))
            else:
                out.append(("textparts", {"columns": columns, "most": few, "forms": forms}))
        helps = (self.flavour == "codes" or way in {"target", "bayes"}) and way not in {"sparse", "counts"}
        told = "bayes" if way == "bayes" and n_classes else "texttarget"
        if helps and TRANSFORMERS.load(told).kind not in blocked and n_classes <= _MOST_CLASSES:
            out.append((told, {"columns": columns, "most": few, "forms": forms}))
        return out

    # -- fitting ------------------------------------------------------------------------------------------------------

    def fit_transform(self, table: Table, goal: Goal) -> Any:
        """Fit on training rows and make their features; what looks at the target never sees a row's own.

        Returns
        -------
        float32 array [rows, features], or CSR of the same shape where there are many.
        """
        if table.matrix is not None:
            return self._fit_matrix(table, goal.seed)
        planned = self._planned(goal.n_classes)
        if not planned:
            raise DataError("every transformer that could use a column is blocked. Fix: block fewer.")
        self._parts, made = [], []
        for name, arguments in planned:
            part = TRANSFORMERS.load(name)(**arguments)
            made.append(_across(part, table, goal) if part.supervised else part.fit(table, goal).transform(table))
            part.fit(table, goal)
            self._parts.append((name, part))
        return self._together(made, fitting=True)

    def transform(self, table: Table) -> Any:
        """Features of any rows."""
        if table.matrix is not None:
            return self._matrix.transform(table.matrix) if self._matrix is not None else table.matrix
        return self._together([part.transform(table) for _, part in self._parts], fitting=False)

    def _together(self, made: list[Any], *, fitting: bool) -> Any:
        flat = [np.asarray(m, dtype=np.float32) for m in made if not hasattr(m, "tocsr")]
        wide = [m for m in made if hasattr(m, "tocsr")]
        numbers = np.concatenate(flat, axis=1) if flat else np.empty((made[0].shape[0], 0), np.float32)
        scaler = str(self.options.get("scaler", "none"))
        if fitting:
            usable = self.flavour == "dense" and scaler != "none" and numbers.shape[1] > 0
            self._scaler = fit_scaler(scaler, _finite(numbers)) if usable else None
            width = sum(m.shape[1] for m in made)
            cells = width * made[0].shape[0]
            self._sparse = bool(wide) and (width > _MOST_DENSE_COLUMNS or cells > _MOST_DENSE_CELLS)
        if self.flavour == "dense":
            numbers = _finite(numbers)
        if self._scaler is not None:
            numbers = self._scaler.transform(numbers)
        if not wide:
            return numbers
        if not self._sparse:
            return np.concatenate([numbers, *(dense(m) for m in wide)], axis=1)
        from scipy import sparse

        return sparse.hstack([sparse.csr_matrix(numbers), *wide], format="csr", dtype=np.float32)

    def onnx(self, graph: Graph, raw: Raw) -> str:
        """Add to an ONNX graph what `transform` does. Returns features [rows, k] of float32.

        Raises
        ------
        ConfigError : a transformer has no ONNX form.
        """
        if self._raw:
            return self._matrix.onnx(graph, raw.matrix()) if self._matrix is not None else raw.matrix()
        parts = [(name in WIDE, part.onnx(graph, raw)) for name, part in self._parts]
        flat = [one for wide, made in parts if not wide for one in made]
        wide = [one for is_wide, made in parts if is_wide for one in made]
        if self.flavour == "codes" or not flat:
            return graph.concat([*flat, *wide])
        numbers = graph.where_nan(graph.concat(flat), graph.constant(0.0, "float32"))
        numbers = graph.clip(numbers, -_LARGEST, _LARGEST, "float32")
        if self._scaler is not None:
            numbers = _scaled(graph, self._scaler, numbers)
        return graph.concat([numbers, *wide])

    def _fit_matrix(self, table: Table, seed: int) -> Any:
        """Nameless numbers: dense learners get them scaled without centring, so that they stay sparse."""
        self._raw = table.names
        if self.flavour != "dense":
            return table.matrix
        self._matrix = MatrixScaler.fit(str(self.options.get("scaler", "none")), table.matrix, seed)
        return self._matrix.transform(table.matrix)

    # -- what came of it ----------------------------------------------------------------------------------------------

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features in order: those of arrays first, then sparse ones."""
        if self._raw:
            return self._matrix.names(self._raw) if self._matrix is not None else self._raw
        if self._projected:
            flat = tuple(f"{self._projected.name}_{j}" for j in range(len(self._projected.axes)))
            return flat + tuple(n for name, part in self._parts if name in WIDE for n in part.names)
        return tuple(n for part in self._ordered() for n in part.names)

    @property
    def sources(self) -> tuple[tuple[int, ...], ...]:
        """Raw columns behind each feature; behind a direction that a scaler finds lie all that go into it."""
        if self._raw:
            whole = tuple(range(len(self._raw)))
            mixed = self._matrix is not None and len(self._matrix.axes)
            return (whole,) * len(self.names) if mixed else tuple((j,) for j in whole)
        if self._projected:
            behind = {i for name, part in self._parts if name not in WIDE for s in part.sources for i in s}
            flat = (tuple(sorted(behind)),) * len(self._projected.axes)
            return flat + tuple(s for name, part in self._parts if name in WIDE for s in part.sources)
        return tuple(s for part in self._ordered() for s in part.sources)

    @property
    def _projected(self) -> Scaler | None:
        """The scaler, where it makes directions of the numbers."""
        return self._scaler if self._scaler is not None and len(self._scaler.axes) else None

    @property
    def categorical(self) -> tuple[int, ...]:
        """Positions of features that are numbers of categories."""
        return tuple(i for i, name in enumerate(self._kinds()) if name == "codes")

    def _ordered(self) -> list[Transformer]:
        return [part for name, part in self._parts if name not in WIDE] + [
            part for name, part in self._parts if name in WIDE
        ]

    def _kinds(self) -> list[str]:
        of = {id(part): name for name, part in self._parts}
        return [of[id(part)] for part in self._ordered() for _ in part.names]

    def summary(self) -> list[dict[str, Any]]:
        """Return what was made of each raw column: kind, why, transformers, number of features."""
        rows = []
        for i, p in enumerate(self.profiles):
            used = [part for _, part in self._parts if i in part.columns]
            features = sum(i in s for part in used for s in part.sources)
            kinds = [str(part.told()["transformer"]) for part in used]
            rows.append({**p.to_json(), "dropped": not used, "features": features, "transformers": kinds})
        return rows

    # -- state --------------------------------------------------------------------------------------------------------

    def state(self) -> State:
        """As (JSON, arrays)."""
        blobs: dict[str, Any] = {}
        parts = []
        for k, (name, part) in enumerate(self._parts):
            own, arrays = part.state()
            parts.append([name, own])
            blobs |= {f"p{k}-{key}": value for key, value in arrays.items()}
        scaler = None
        if self._scaler is not None:
            scaler, arrays = self._scaler.state()
            blobs |= {f"scaler-{key}": value for key, value in arrays.items()}
        matrix = None
        if self._matrix is not None:
            matrix, arrays = self._matrix.state()
            blobs |= {f"matrix-{key}": value for key, value in arrays.items()}
        own = {
            "flavour": self.flavour,
            "options": self.options,
            "parts": parts,
            "scaler": scaler,
            "sparse": self._sparse,
            "matrix": matrix,
            "width": len(self._raw),
        }
        return {**own, "profiles": [p.to_json() for p in self.profiles]}, blobs

    @classmethod
    def from_state(cls, settings: dict[str, Any], blobs: Mapping[str, Any]) -> Self:
        """Read what `state` gave; it can transform, not be fitted anew."""
        from tabular.config import FeatureSettings

        profiles = [Profile.from_json(p) for p in settings["profiles"]]
        self = cls(profiles, FeatureSettings(), settings["flavour"], settings["options"])
        for k, (name, own) in enumerate(settings["parts"]):
            self._parts.append((name, TRANSFORMERS.load(name).from_state(own, _under(blobs, f"p{k}-"))))
        if settings["scaler"] is not None:
            self._scaler = Scaler.from_state(settings["scaler"], _under(blobs, "scaler-"))
        self._sparse = settings["sparse"]
        if settings["matrix"] is not None:
            self._matrix = MatrixScaler.from_state(settings["matrix"], _under(blobs, "matrix-"))
        self._raw = tuple(f"x{j}" for j in range(settings["width"]))
        return self


_KINDS = ("numeric", "categorical", "categorical_hash", "datetime", "text")
WIDE = {"onehot", "levels", "hashed", "tfidf", "counts"}


def _scaled(graph: Graph, scaler: Scaler, x: str) -> str:
    """Scale float32 numbers in an ONNX graph."""
    out = graph.op("Sub", x, graph.constant(scaler.centre, "float32"))
    out = graph.op("Div", out, graph.constant(scaler.scale, "float32"))
    if scaler.name == "SparseNormalizer":
        return graph.unit_rows(out)
    if not len(scaler.axes):
        return str(out)
    return str(graph.op("MatMul", out, graph.constant(np.ascontiguousarray(scaler.axes.T), "float32")))


def _under(blobs: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {key.removeprefix(prefix): value for key, value in blobs.items() if key.startswith(prefix)}


def _finite(x: np.ndarray) -> np.ndarray:
    """Gaps that no imputer filled, at 0; sizes whose squares would overflow, at the largest that do not."""
    return np.clip(np.nan_to_num(np.asarray(x, dtype=np.float32)), -_LARGEST, _LARGEST)


def _across(part: Transformer, table: Table, goal: Goal) -> Any:
    """Features of training rows, each made by a transformer fitted on other rows."""
    n = table.n_rows
    folds = np.random.default_rng(goal.seed).permutation(n) % min(_INNER_FOLDS, n)
    out: Any = None
    for k in range(min(_INNER_FOLDS, n)):
        inside, outside = np.flatnonzero(folds == k), np.flatnonzero(folds != k)
        if not len(outside):
            outside = inside
        part.fit(_narrow(table, part.columns, outside), goal.take(outside))
        rows = dense(part.transform(_narrow(table, part.columns, inside)))
        if out is None:
            out = np.empty((n, rows.shape[1]), dtype=np.float32)
        out[inside] = rows
    return out


def _narrow(table: Table, columns: Sequence[int], rows: np.ndarray) -> Table:
    """Some rows of some columns, at their places; the others stay as they are, so that nothing of them is copied."""
    return Table(tuple(c.take(rows) if i in columns else c for i, c in enumerate(table.columns)), len(rows))
