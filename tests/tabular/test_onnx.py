"""ONNX: every learner and transformer answers in onnxruntime as in Python."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from automl.errors import ConfigError, LearnerError, ModelFileError
from tabular import AutoClassifier, AutoRegressor, SearchSettings, Settings
from tabular.config import DataSettings, FeatureSettings
from tabular.ensembles import fit_stack
from tabular.featurize.base import Goal
from tabular.featurize.featurizer import Featurizer
from tabular.learners.base import LEARNERS, FitContext
from tabular.model import Entry, TabularModel
from tabular.onnx.export import OnnxModel, parity, to_model, write_onnx
from tabular.pipeline import Pipeline
from tabular.profile import profile
from tabular.reading import read_training
from tests.tabular.tables import mixed
from tests.tabular.test_learners import cases

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

ROWS = 240
CLOSED = FeatureSettings(hash_new=False, most_categories=50)


def targets():
    frame, number, label = mixed(ROWS)
    three = np.digitize(number, np.quantile(number, (0.33, 0.66)))
    return frame, {0: number, 2: label, 3: three}


def fitted(name, n_classes, options=(), *, data=None, features=CLOSED, y=None, params=(), rows=slice(0, ROWS, 2)):
    """A model of one pipeline that learned every second row, and all rows."""
    frame, known = targets()
    prepared = read_training(
        frame if data is None else data, known[n_classes] if y is None else y, DataSettings(), classes=n_classes > 0
    )
    table = prepared.table
    cls = LEARNERS.load(name)
    featurizer = Featurizer(profile(table, DataSettings(), features), features, cls.flavour, dict(options))
    some = np.arange(table.n_rows)[rows]
    x = featurizer.fit_transform(table.take(some), Goal(prepared.y[some], prepared.weight[some], n_classes))
    x = x.toarray() if hasattr(x, "tocsr") and not cls.takes_sparse else x
    own = {"n_estimators": 20} if hasattr(cls, "n_estimators") else {}
    context = FitContext(n_classes=n_classes, rows=len(some), categorical=featurizer.categorical)
    learner = cls(**own | dict(params)).fit(x, prepared.y[some], prepared.weight[some], context)
    pipeline = Pipeline(name, featurizer, learner)
    entries = {"one": Entry((("m", 1.0),))}
    return TabularModel({"m": [pipeline]}, entries, "one", prepared.schema, prepared.classes), table


def agreement(model, table, name=None):
    return parity(model, to_model(model, name).SerializeToString(), table, name)


@pytest.mark.parametrize(("name", "n_classes"), list(cases()))
def test_every_learner_answers_the_same(name, n_classes):
    pytest.importorskip("xgboost" if name == "XGBoost" else "sklearn")
    found = agreement(*fitted(name, n_classes, {"scaler": "StandardScaleWrapper", "means": "mean", "clusters": True}))
    assert found.labels == 1.0
    assert found.difference < 2e-5


@pytest.mark.parametrize(
    "scaler", ["MinMaxScaler", "MaxAbsScaler", "RobustScaler", "PCA", "TruncatedSVDWrapper", "SparseNormalizer"]
)
def test_every_scaler(scaler):
    model, table = fitted("LogisticRegression", 2, {"scaler": scaler})
    assert agreement(model, table).holds


@pytest.mark.parametrize(
    "options",
    [
        {"text": "target"},
        {"text": "both"},
        {"text": "counts"},
        {"text": "bayes"},
        {"text": "sparse"},
        {"means": "odds"},
    ],
    ids=str,
)
@pytest.mark.parametrize(("name", "n_classes"), [("LightGBM", 3), ("LogisticRegression", 3), ("DecisionTree", 0)])
def test_features_that_look_at_the_target_and_text(name, n_classes, options):
    assert agreement(*fitted(name, n_classes, options)).holds


def test_categories_seen_by_trees_gaps_and_new_ones():
    rng = np.random.default_rng(0)
    words = rng.choice([f"w{k}" for k in range(40)], 400).astype(object)
    number = np.array([int(w[1:]) % 7 for w in words]) + 0.1 * rng.standard_normal(400)
    words[::9] = None
    data = pd.DataFrame({"word": words, "x": np.where(rng.random(400) < 0.2, np.nan, rng.normal(size=400))})
    data.loc[300:, "word"] = data.loc[300:, "word"].where(data["x"] > 0, "new")
    for name in ("LightGBM", "RandomForest", "XGBoost", "GradientBoosting"):
        model, table = fitted(
            name,
            0,
            data=data,
            y=number,
            rows=slice(0, 300),
            params={"min_samples_leaf": 2} if name == "RandomForest" else {},
        )
        assert agreement(model, table).difference < 5e-5


def test_gaps_where_training_had_none():
    rng = np.random.default_rng(1)
    data = pd.DataFrame(
        {
            "a": rng.normal(size=300),
            "b": rng.normal(size=300),
            "when": pd.Timestamp("1890-03-01") + pd.to_timedelta(rng.integers(0, 7_000_000_000, 300), unit="s"),
        }
    )
    number = data["a"] - 2 * (data["b"] > 0) + data["when"].dt.month / 6
    data.loc[200:240, "a"] = np.nan
    data.loc[220:260, "when"] = pd.NaT
    for name in ("LightGBM", "XGBoost", "GradientBoosting", "ExtremeRandomTrees", "ElasticNet"):
        pytest.importorskip("xgboost" if name == "XGBoost" else "sklearn")
        model, table = fitted(
            name, 0, {"scaler": "StandardScaleWrapper"}, data=data, y=number.fillna(0).to_numpy(), rows=slice(0, 200)
        )
        assert agreement(model, table).difference < 5e-5


def test_texts_of_every_kind_are_counted_alike():
    texts = [
        "Plain words here",
        "plain WORDS",
        "tabs\tand\nlines  and   gaps",
        "Ünïcode Straße ÉTÉ été",
        "数字 １２ and ²",
        "",
        None,
        "a b c a b",
        "x",
        "don't stop-now!",
        "ΑΒΓ αβγ",
        "emoji 😀 and 😀",
        "under_score 3rd",
    ]
    data = pd.DataFrame({"note": (texts * 30)[:300], "x": np.arange(300.0) % 7})
    number = data["note"].fillna("").str.len().to_numpy() + data["x"].to_numpy()
    features = FeatureSettings(ngrams=("word_1_3", "char_2_4"), text_share=0.001, text_words=1.0)
    for name in ("ElasticNet", "LightGBM", "DecisionTree"):
        model, table = fitted(name, 0, {"scaler": "StandardScaleWrapper"}, data=data, y=number, features=features)
        kinds = {p.name: p.kind for p in model.members["m"][0].featurizer.profiles}
        assert agreement(model, table).difference < 1e-5, kinds


@pytest.mark.parametrize("name", ["LogisticRegression", "LightGBM", "XGBoost", "KNN", "MultinomialNaiveBayes"])
@pytest.mark.parametrize("scaler", ["MaxAbsScaler", "SparseNormalizer", "PCA"])
def test_sparse_matrices(name, scaler):
    pytest.importorskip("xgboost" if name == "XGBoost" else "sklearn")
    rng = np.random.default_rng(2)
    x = sparse.random(200, 30, density=0.2, random_state=rng, format="csr", dtype=np.float32)
    y = (np.asarray(x.sum(axis=1)).ravel() + 0.1 * rng.normal(size=200) > 3).astype(int)
    model, table = fitted(name, 2, {"scaler": scaler}, data=x, y=y, rows=slice(0, 150))
    assert agreement(model, table).holds


@pytest.mark.parametrize("n_classes", [0, 2, 3])
def test_bags_votes_and_stacks(n_classes):
    first, table = fitted("LightGBM", n_classes)
    other, _ = fitted("ElasticNet" if n_classes == 0 else "LogisticRegression", n_classes)
    again, _ = fitted("LightGBM", n_classes, rows=slice(1, ROWS, 2))
    prepared = read_training(*[targets()[0], targets()[1][n_classes]], DataSettings(), classes=n_classes > 0)
    members = {"bag": [first.members["m"][0], again.members["m"][0]], "line": other.members["m"]}
    made = [np.mean([p.predict(table) for p in members[m]], axis=0) for m in members]
    stack = fit_stack(made, prepared.y, prepared.weight, n_classes, "auto", 0)
    entries = {
        "bag": Entry((("bag", 1.0),)),
        "vote": Entry((("bag", 0.7), ("line", 0.3))),
        "stack": Entry((("bag", 1.0), ("line", 1.0)), stack),
    }
    model = TabularModel(members, entries, "vote", first.schema, first.classes)
    for name in entries:
        found = agreement(model, table, name)
        assert found.labels == 1.0, name
        assert found.difference < 2e-5, name


@pytest.mark.parametrize("labels", [["no", "yes"], [3, 7], [False, True], [1.0, 2.0]], ids=str)
def test_labels_of_any_type(tmp_path, labels):
    x = np.random.default_rng(0).normal(size=(120, 3))
    y = np.array(labels)[(x[:, 0] > 0).astype(int)]
    estimator = AutoClassifier(
        max_trials=2, workers=0, allowed=["LogisticRegression", "DecisionTree"], path=tmp_path / "run"
    ).fit(x, y)
    found = estimator.to_onnx(tmp_path / "model.onnx")
    assert found.holds
    assert found.rows == 120
    answers = OnnxModel(tmp_path / "model.onnx")
    assert [str(v) for v in answers.predict(x)] == [str(v) for v in estimator.predict(x)]
    np.testing.assert_allclose(answers.predict_proba(x), estimator.predict_proba(x), atol=1e-6)


def test_a_whole_search_for_onnx(tmp_path):
    frame, number, _ = mixed(ROWS)
    settings = Settings(search=SearchSettings(onnx=True))
    model = AutoRegressor(
        max_trials=3, workers=0, allowed=["LightGBM", "ElasticNet", "KNN"], settings=settings, path=tmp_path / "run"
    ).fit(frame, number)
    assert "StackEnsemble" not in model.models()
    again = AutoRegressor.load(tmp_path / "run")
    for name in again.models():
        assert again.to_onnx(tmp_path / f"{name}.onnx", model=name).holds
    answers = OnnxModel(tmp_path / f"{again.best()}.onnx")
    np.testing.assert_allclose(answers.predict(frame), model.predict(frame), rtol=1e-4)
    with pytest.raises(ConfigError, match="no probabilities"):
        answers.predict_proba(frame)


def test_what_cannot_be_written_says_why(tmp_path):
    model, _ = fitted("LogisticRegression", 2, features=FeatureSettings(most_categories=50))
    with pytest.raises(ConfigError, match=r"HashOneHotEncoder has no ONNX form. Fix: fit with onnx=True"):
        to_model(model)
    model, _ = fitted("LogisticRegression", 2)
    model.members["m"][0].learner.__class__ = type("Own", (), {"predict": lambda _, x: x})
    with pytest.raises(ConfigError, match=r"LogisticRegression has no ONNX form"):
        to_model(model)


def test_an_answer_that_differs_is_not_written(tmp_path, monkeypatch):
    model, table = fitted("LogisticRegression", 2)
    before = to_model(model)
    monkeypatch.setattr("tabular.onnx.export.to_model", lambda *_: before)
    model.members["m"][0].learner.estimator.coef_ *= 1.01
    with pytest.raises(LearnerError, match="differs from it"):
        write_onnx(model, tmp_path / "model.onnx", table)
    assert not (tmp_path / "model.onnx").exists()


def test_files_that_are_none_of_ours(tmp_path):
    (tmp_path / "odd.onnx").write_bytes(b"no model")
    with pytest.raises(ModelFileError, match=r"odd.onnx cannot be loaded"):
        OnnxModel(tmp_path / "odd.onnx")


def test_rows_are_needed_where_the_run_is_gone(tmp_path):
    x = np.random.default_rng(0).normal(size=(60, 2))
    AutoRegressor(max_trials=1, workers=0, allowed=["ElasticNet"]).fit(x, x[:, 0]).save(tmp_path / "kept")
    model = AutoRegressor.load(tmp_path / "kept")
    with pytest.raises(ConfigError, match="give the rows"):
        model.to_onnx(tmp_path / "model.onnx")
    assert model.to_onnx(tmp_path / "model.onnx", rows=x).rows == 60
