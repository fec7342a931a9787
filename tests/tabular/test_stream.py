"""Data larger than memory: a sample to choose on, all rows in pieces to fit; the same answers as in memory."""

import numpy as np
import pandas as pd
import pytest

from automl.errors import ConfigError, DataError
from automl.parquet import Parquet
from tabular import AutoClassifier, AutoRegressor, DataSettings, SearchSettings, Settings
from tabular.config import FeatureSettings
from tabular.featurize.base import Goal
from tabular.featurize.featurizer import Featurizer
from tabular.learners.base import LEARNERS, FitContext
from tabular.learners.spool import Spool
from tabular.profile import profile
from tabular.reading import read_training
from tabular.stream import measured, sample, source_of, table_mb, workers_within

ROWS = 6_000
STREAMING = [name for name in LEARNERS if hasattr(LEARNERS.load(name), "fit_pieces")]


def big(rows=ROWS, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 4))
    kind = rng.choice(["a", "b", "c"], rows)
    effect = x[:, 0] + np.abs(x[:, 1]) + (kind == "b")
    frame = pd.DataFrame(x, columns=list("wxyz")).assign(kind=kind, weight=rng.integers(1, 3, rows).astype(float))
    frame["price"] = effect + 0.2 * rng.normal(size=rows)
    frame["level"] = np.where(effect > 1.2, "high", "low")
    return frame


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Six files sorted by the target, so that the first rows tell little of the last; two rows of a third class."""
    path = tmp_path_factory.mktemp("data") / "table"
    path.mkdir()
    frame = big().sort_values("price").reset_index(drop=True)
    frame.loc[[17, 4100], "level"] = "odd"
    frame.loc[frame.index % 50 == 3, ["price", "level"]] = None
    for k in range(6):
        frame.iloc[k * 1000 : k * 1000 + 1000].to_parquet(path / f"{k}.parquet", row_group_size=250, index=False)
    return path


@pytest.fixture
def narrow(monkeypatch):
    """A table of some hundred kB is larger than memory, and few of its rows are a sample."""
    monkeypatch.setattr("tabular.stream._COPIES", 1_000_000)
    monkeypatch.setattr("tabular.stream._SAMPLE_ROWS", 1_500)


def settings(**data):
    return Settings(data=DataSettings(memory_mb=1_500.0, **data))


def test_only_parquet_that_is_too_large_is_read_in_pieces(folder, tmp_path):
    data = settings().data
    assert source_of(folder, "price", data) is None  # it fits
    assert source_of(big(), "price", data) is None
    big().to_csv(tmp_path / "a.csv")
    assert source_of(tmp_path / "a.csv", "price", data) is None
    assert source_of(tmp_path / "gone.parquet", "price", data) is None
    assert table_mb(Parquet(folder)) == pytest.approx(ROWS * 8 * 8 / 1e6, rel=0.5)
    assert [workers_within(m, 2) for m in (1_000.0, 3_000.0, 9_000.0)] == [1, 1, 2]
    assert workers_within(1_000.0, 0) == 0


@pytest.mark.usefixtures("narrow")
def test_what_pieces_cannot_do_is_said(folder):
    data = settings().data
    with pytest.raises(ConfigError, match="labels must be a column"):
        source_of(folder, np.zeros(ROWS), data)
    with pytest.raises(ConfigError, match=r"folds=\['w'\] needs all of it"):
        source_of(folder, "price", settings(folds=["w"]).data)
    with pytest.raises(DataError, match="label column 'cost' is not there"):
        sample(Parquet(folder), "cost", data, classes=False, seed=0)
    with pytest.raises(ConfigError, match="memory_mb must be at least"):
        DataSettings(memory_mb=10.0)


@pytest.mark.usefixtures("narrow")
def test_a_sample_is_like_the_whole(folder):
    whole = pd.read_parquet(folder)
    found = sample(Parquet(folder), "price", settings().data, classes=False, seed=0)
    assert 1_000 < len(found) < 2_000
    assert found["price"].notna().all()
    assert found["price"].mean() == pytest.approx(whole["price"].mean(), abs=0.15)
    assert found["price"].std() == pytest.approx(whole["price"].std(), rel=0.1)
    again = sample(Parquet(folder), "price", settings().data, classes=False, seed=0)
    pd.testing.assert_frame_equal(found, again)
    classes = sample(Parquet(folder), "level", settings().data, classes=True, seed=0)
    assert (classes["level"] == "odd").sum() == 2
    assert len(classes.drop_duplicates()) == len(classes)


def pieces_of(folder, target, n_classes, name, tmp_path, *, weight=None, balanced=False):
    data = settings(weight=weight).data if weight else settings().data
    source = Parquet(folder)
    frame = pd.read_parquet(folder)
    other = "level" if target == "price" else "price"
    data = DataSettings(memory_mb=1_500.0, weight=weight, drop=[other, *([] if weight else ["weight"])])
    prepared = read_training(frame, target, data, classes=n_classes > 0)
    cls = LEARNERS.load(name)
    featurizer = Featurizer(
        profile(prepared.table, data, FeatureSettings()), FeatureSettings(), cls.flavour, {"scaler": "MinMaxScaler"}
    )
    x = featurizer.fit_transform(prepared.table, Goal(prepared.y, prepared.weight, n_classes))
    stream = measured(source, target, data, prepared.schema, prepared.classes, 500.0)
    return prepared, featurizer, x, stream.pieces(featurizer, x.shape[1], tmp_path, balanced=balanced)


@pytest.mark.parametrize(("target", "n_classes"), [("price", 0), ("level", 3)])
@pytest.mark.parametrize("name", STREAMING)
def test_pieces_teach_what_all_rows_teach(folder, tmp_path, name, target, n_classes):
    cls = LEARNERS.load(name)
    if not (cls.classifier if n_classes else cls.regressor) if hasattr(cls, "classifier") else False:
        pytest.skip("it learns the other kind")
    prepared, featurizer, x, pieces = pieces_of(folder, target, n_classes, name, tmp_path)
    assert pieces.rows == len(prepared.y)
    params = {"n_estimators": 40, "subsample": 1.0} if name == "LightGBM" else {}
    context = FitContext(n_classes=n_classes, rows=pieces.rows, categorical=featurizer.categorical)
    fitted = cls(**params).fit_pieces(pieces, context)
    whole = cls(**params).fit(x, prepared.y, np.ones(len(x) if isinstance(x, np.ndarray) else x.shape[0]), context)
    told, expected = fitted.predict(x), whole.predict(x)
    if name == "LightGBM":
        np.testing.assert_allclose(told, expected, rtol=1e-4, atol=1e-6)
    elif n_classes:
        assert (told.argmax(axis=1) == prepared.y).mean() > (expected.argmax(axis=1) == prepared.y).mean() - 0.1
    else:
        assert np.mean((told - prepared.y) ** 2) < 1.5 * np.mean((expected - prepared.y) ** 2)
    again = cls.from_state(*fitted.state())
    np.testing.assert_allclose(again.predict(x), told, rtol=1e-6)


def test_weights_and_balance_reach_the_pieces(folder, tmp_path):
    prepared, _, _, pieces = pieces_of(folder, "price", 0, "LightGBM", tmp_path, weight="weight")
    weights = np.concatenate([w for _, _, w in pieces.read()])
    np.testing.assert_allclose(weights.mean(), 1)
    np.testing.assert_allclose(np.sort(weights), np.sort(prepared.weight))
    prepared, _, _, pieces = pieces_of(folder, "level", 3, "LightGBM", tmp_path, balanced=True)
    y, weights = (np.concatenate(part) for part in zip(*[(y, w) for _, y, w in pieces.read()], strict=True))
    totals = np.bincount(y, weights=weights)
    np.testing.assert_allclose(totals, totals[0])


def test_rows_that_memory_does_not_hold_are_drawn(folder, tmp_path):
    _, _, x, pieces = pieces_of(folder, "price", 0, "LightGBM", tmp_path)
    with Spool(pieces, FitContext(n_classes=0), rows=2_000) as spool:
        assert 1_800 < spool.rows < 2_200
        rows = spool.sequence()
        assert len(rows) == spool.rows
        np.testing.assert_array_equal(rows[5:9][2], rows[7])
        np.testing.assert_array_equal(rows[[7, 1]][0], rows[7])
        assert not list(tmp_path.iterdir())  # the file has no name, so that a crash leaves nothing
    with Spool(pieces, FitContext(n_classes=0), rows=10**9) as spool:
        kept = spool.read(0, spool.rows)
        np.testing.assert_array_equal(kept[np.lexsort(kept.T)], x[np.lexsort(x.T)])


@pytest.mark.usefixtures("narrow")
def test_a_whole_fit_in_pieces(folder, tmp_path):
    chosen = Settings(data=DataSettings(memory_mb=1_500.0, drop=["level", "weight"]), search=SearchSettings(workers=0))
    model = AutoRegressor(max_trials=3, time_limit=60, settings=chosen, path=tmp_path / "run").fit(folder, "price")
    rails = model.guardrails().set_index("name")
    assert "5880 rows would take more memory" in rails.loc["Large data handling", "message"]
    assert "Refit" not in rails.index
    board = model.leaderboard().set_index("model")
    assert board.loc["KNN", "reason"] == "it does not learn from data larger than memory"
    assert "StackEnsemble" not in model.models()
    new = big(2_000, seed=1).drop(columns=["level", "weight"])
    assert model.score(new.drop(columns="price"), new["price"]) > 0.9
    again = AutoRegressor.resume(tmp_path / "run", more_trials=1)
    assert again.score(new.drop(columns="price"), new["price"]) > 0.9


@pytest.mark.usefixtures("narrow")
def test_every_class_is_known_though_the_sample_holds_few_rows_of_it(folder):
    chosen = Settings(
        data=DataSettings(memory_mb=1_500.0, drop=["price"], weight="weight"),
        search=SearchSettings(workers=0, n_folds=2),
    )
    model = AutoClassifier(max_trials=2, time_limit=60, settings=chosen).fit(folder, "level")
    assert list(model.classes_) == ["high", "low", "odd"]
    new = big(1_000, seed=1).drop(columns=["price", "weight"])
    assert model.score(new.drop(columns="level"), new["level"]) > 0.9


def test_labels_that_cannot_be_used_are_named(folder, tmp_path):
    frame = big(200)
    schema = read_training(frame.drop(columns=["price", "level"]), frame["price"], DataSettings(), classes=False).schema
    frame.assign(price=np.inf).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match="'price' is infinite"):
        measured(Parquet(tmp_path / "a.parquet"), "price", DataSettings(), schema, None, 500.0)
    frame.assign(weight=-1.0).to_parquet(tmp_path / "b.parquet")
    with pytest.raises(DataError, match="'weight' holds weights"):
        measured(Parquet(tmp_path / "b.parquet"), "price", DataSettings(weight="weight"), schema, None, 500.0)
    with pytest.raises(DataError, match="label 'high' is of another type"):
        measured(Parquet(tmp_path / "a.parquet"), "level", DataSettings(), schema, np.array(["low"]), 500.0)
