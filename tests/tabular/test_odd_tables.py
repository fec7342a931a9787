"""Tables that are small, lopsided or oddly typed: an answer or a plain error, never a crash after the search."""

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
import pytest
from typer.testing import CliRunner

from automl.budget import ExitCriteria
from automl.errors import ConfigError, DataError, UnknownNameError
from automl.metrics import CLASSIFICATION
from forecastle.cli_tabular import tabular
from tabular import AutoClassifier, AutoRegressor, DataSettings, FeatureSettings, SearchSettings, Settings
from tabular.ensembles import STACKING, VOTING, fit_stack, no_stack
from tabular.fitting import Fitting, _choose, settings_from_json, settings_to_json
from tabular.folds import Split
from tabular.reading import Schema, read_new, read_training
from tabular.table import Table, numbers
from tabular.task import TabularTask, TaskSettings

LINEAR = {"allowed": ["LogisticRegression", "ElasticNet", "DecisionTree"], "workers": 0, "max_trials": 2}


def frame_of(rows, seed=0):
    return pd.DataFrame(np.random.default_rng(seed).normal(size=(rows, 2)), columns=["a", "b"])


def read(frame, target, *, classes=True, **settings):
    return read_training(pd.DataFrame(frame), target, DataSettings(**settings), classes=classes)


def task_of(y, parts, metric, n_classes=0):
    table = Table.of([numbers("a", np.arange(len(y), dtype=float))])
    return TabularTask(
        table,
        np.asarray(y),
        np.ones(len(y)),
        [Split(np.setdiff1d(np.arange(len(y)), p), np.asarray(p)) for p in parts],
        [],
        FeatureSettings(),
        TaskSettings(metric=metric, n_classes=n_classes, y_range=1.0),
    )


# -- the stack --------------------------------------------------------------------------------------------------------


def both_members(monkeypatch):
    """Votes of all trials, so that a stack is asked for."""
    monkeypatch.setattr(
        "tabular.ensembles.Assembly.vote", lambda self, _: {r.number: 1 / len(self.records) for r in self.records}
    )


def test_held_out_rows_of_one_class_leave_no_stack(monkeypatch):
    both_members(monkeypatch)
    y = np.zeros(120, dtype=int)
    y[7] = 1
    model = AutoClassifier(**LINEAR, settings=Settings(search=SearchSettings(n_folds=2))).fit(frame_of(120), y)
    board = model.leaderboard().set_index("model")
    assert board.loc[STACKING, ["status", "reason"]].tolist() == ["skipped", "rows that are held out are of one class"]
    assert VOTING in model.models()


def test_six_rows_leave_no_stack(monkeypatch):
    both_members(monkeypatch)
    model = AutoRegressor(**LINEAR).fit(frame_of(6), np.arange(6.0) ** 2)
    assert np.isfinite(model.predict(frame_of(3))).all()
    assert STACKING not in model.models()


def test_a_stack_of_numbers_learns_past_a_block_of_weight_zero():
    rng = np.random.default_rng(0)
    y = rng.normal(size=50)
    weight = np.where(np.arange(50) < 12, 0.0, 1.0)
    stack = fit_stack([y + 0.1 * rng.normal(size=50), rng.normal(size=50)], y, weight, 0, "auto", 0)
    assert stack.coef[0, 0] > 0.8


def test_a_large_stack_is_left_out_by_its_size_alone():
    y, weight, parts = np.arange(2_000) % 100, np.ones(2_000), [np.ones(2_000, dtype=bool)]
    assert "2000 rows, 10 members and 100 classes" in no_stack(parts, y, weight, 10, 100)
    assert no_stack(parts, y, weight, 4, 100) == ""
    assert no_stack(parts, y, 0 * weight, 4, 100) == "too few rows of positive weight are held out"


def test_a_stack_without_a_vote():
    rng = np.random.default_rng(0)
    frame = frame_of(200)
    y = frame["a"] + np.sin(2 * frame["b"]) + 0.1 * rng.normal(size=200)
    search = SearchSettings(vote=False, n_folds=3)
    options = {**LINEAR, "allowed": ["ElasticNet", "KNN"]}
    model = AutoRegressor(**options, settings=Settings(search=search)).fit(frame, y)
    assert STACKING in model.models()
    assert VOTING not in model.models()
    assert _choose({STACKING: 0.1}, sure=True) == STACKING


def test_a_model_over_members_that_does_nothing_is_an_error():
    with pytest.raises(ConfigError, match="stack_meta_learner must be one of"):
        SearchSettings(stack_meta_learner="LightGBM")
    old = settings_to_json(Settings())
    old["search"]["stack_meta_learner"] = "LightGBM"
    assert settings_from_json(old).search.stack_meta_learner == "auto"
    search = Settings(search=SearchSettings(stack_meta_learner="ElasticNet"))
    with pytest.raises(ConfigError, match=r"'ElasticNet' does not learn classes. Fix: auto, LogisticRegression"):
        AutoClassifier(**LINEAR, settings=search).fit(frame_of(20), [0, 1] * 10)


# -- scores -----------------------------------------------------------------------------------------------------------


def test_a_fold_without_the_metric_does_not_end_a_trial():
    y = np.zeros(60, dtype=int)
    y[:3] = 1
    frame = frame_of(60).assign(a=y + 0.1)
    model = AutoClassifier(metric="AUC_weighted", **LINEAR).fit(frame, y)
    assert (model.leaderboard().set_index("model").loc[["LogisticRegression"], "status"] == "completed").all()
    folds = AutoRegressor(metric="r2_score", **LINEAR, settings=Settings(search=SearchSettings(n_folds=5)))
    assert np.isfinite(folds.fit(frame_of(9), frame_of(9)["a"] ** 2).leaderboard()["score"].iloc[0])


def test_the_mean_is_over_folds_that_have_the_metric():
    task = task_of([0.0, 0.0, 1.0, 2.0], [[0, 1], [2, 3]], "mean_absolute_percentage_error")
    assert task.loss(np.array([5.0, 5.0, 1.5, 2.0])) == pytest.approx(25)
    # labels that differ have a rank correlation, and constant predictions none: that is the model's fault
    ranks = task_of([0.0, 1.0, 1.0, 2.0], [[0, 1], [2, 3]], "spearman_correlation")
    assert np.isnan(ranks.loss(np.array([0.0, 0.0, 1.0, 2.0])))
    assert np.isnan(task_of([1, 1], [[0], [1]], "AUC_macro", 2).loss(np.full((2, 2), 0.5)))


def test_classes_of_weight_zero_do_not_count():
    y, weight = np.array([0, 0, 1, 1, 2]), np.array([1.0, 1.0, 1.0, 1.0, 0.0])
    prob = np.eye(3)[[0, 0, 1, 0, 0]]
    assert CLASSIFICATION.load("balanced_accuracy").function(y, prob, weight) == pytest.approx(0.75)
    assert CLASSIFICATION.load("norm_macro_recall").function(y, prob, weight) == pytest.approx(0.625)
    assert np.isfinite(CLASSIFICATION.load("AUC_macro").function(y, prob, weight))


def test_undefined_scores_are_null_in_the_metrics_file(tmp_path):
    frame = frame_of(30).assign(y=[0, 1] * 15)
    AutoClassifier(**LINEAR, path=tmp_path / "run").fit(frame, "y")
    frame[frame["y"] == 1].to_csv(tmp_path / "test.csv", index=False)
    command = ["test", str(tmp_path / "run"), str(tmp_path / "test.csv"), "--out", str(tmp_path / "scores")]
    done = CliRunner().invoke(tabular, command)
    assert done.exit_code == 0, done.output
    text = (tmp_path / "scores" / "metrics.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["AUC_weighted"] is None


# -- time and settings ------------------------------------------------------------------------------------------------


def test_little_time_is_not_all_kept_back(tmp_path):
    settings = Settings(search=SearchSettings(bag=True, limits=ExitCriteria(time_limit=1.5)))
    task = task_of(np.arange(6.0), [[0, 1], [2, 3], [4, 5]], "mean_absolute_error")
    fitting = object.__new__(Fitting)
    fitting.settings = settings
    assert fitting._reserve([], task, 1.5, 0) == pytest.approx(0.6)
    assert fitting._reserve([], task, 600.0, 0) == pytest.approx(19.5)


def test_paths_and_numpy_numbers_in_settings_are_kept():
    limits = ExitCriteria(max_trials=np.int64(3), time_limit=np.float32(5))
    given = Settings(
        features=FeatureSettings(embeddings=Path("folder"), fill_value=np.float32(0.5)),
        search=SearchSettings(limits=limits, allowed=np.array(["KNN"])),
    )
    again = settings_from_json(json.loads(json.dumps(settings_to_json(given))))
    assert (again.features.embeddings, again.features.fill_value) == ("folder", 0.5)
    assert (again.search.limits.max_trials, again.search.allowed) == (3, ("KNN",))
    with pytest.raises(ConfigError, match=r"settings hold .* of type object"):
        settings_to_json(Settings(features=FeatureSettings(fill_value=object())))
    features = FeatureSettings(fill_value=np.float32(0.5), imputers={"a": "constant"})
    model = AutoRegressor(**LINEAR, settings=Settings(features=features)).fit(frame_of(20), np.arange(20.0) ** 2)
    assert model.predict(frame_of(2)).shape == (2,)


def test_a_wrong_name_leaves_no_run_folder(tmp_path):
    with pytest.raises(UnknownNameError):
        AutoClassifier(allowed=["LogisticRegresion"], workers=0, path=tmp_path / "run").fit(frame_of(20), [0, 1] * 10)
    assert not (tmp_path / "run").exists()


# -- labels -----------------------------------------------------------------------------------------------------------


def test_lists_of_labels_keep_their_types():
    prepared = read({"a": range(4)}, ["x", np.nan, "y", "x"])
    assert prepared.classes.tolist() == ["x", "y"]
    assert prepared.table.n_rows == 3
    assert read({"a": range(4)}, (True, np.nan, False, True)).classes.tolist() == [False, True]
    with pytest.raises(DataError, match="labels of types int, str cannot be told apart"):
        read({"a": range(2)}, [1, "a"])
    model = AutoClassifier(**LINEAR).fit(frame_of(20), ["x", "y"] * 9 + ["x", float("nan")])
    assert model.classes_.tolist() == ["x", "y"]
    assert model.evaluate(frame_of(3), ["x", np.nan, "y"])["accuracy"] >= 0


@pytest.mark.parametrize(
    "labels",
    [
        pd.Series(pd.cut([1, 5, 1, 5], [0, 3, 6])).astype(object),
        [Decimal(1), Decimal(2)] * 2,
        [b"a", b"b"] * 2,
        [dt.date(2020, 1, 1), dt.date(2020, 1, 2)] * 2,
        pd.Series(pd.period_range("2020", periods=2, freq="Y").repeat(2)),
        np.array(["2020-01-01", "2020-01-02"] * 2, dtype="datetime64[ns]"),
    ],
)
def test_labels_that_cannot_be_kept_are_told_before_there_is_a_folder(labels, tmp_path):
    with pytest.raises(DataError, match=r"to be kept with the model. Fix: y.astype\(str\)"):
        AutoClassifier(**LINEAR, path=tmp_path / "run").fit(frame_of(4), labels)
    assert not (tmp_path / "run").exists()


def test_validation_rows_without_a_label_do_not_shift_the_split():
    x, y = frame_of(30), pd.Series([0.0, 1.0] * 15)
    more, labels = frame_of(8, seed=1), pd.Series([0, 1, 0, 1, np.nan, np.nan, np.nan, np.nan])
    y[0] = np.nan
    model = AutoClassifier(**LINEAR).fit(x, y, validation=(more, labels))
    task = model._task_of_run()
    assert (len(task.parts[0].train), len(task.parts[0].held)) == (29, 4)
    with pytest.raises(DataError, match="no row of the validation data has a label"):
        AutoClassifier(**LINEAR).fit(x, y, validation=(more, np.full(8, np.nan)))


# -- columns ----------------------------------------------------------------------------------------------------------


def test_new_rows_may_hold_anything_where_training_saw_nothing():
    frame = frame_of(20).assign(empty=np.nan, same="x")
    model = AutoRegressor(**LINEAR).fit(frame, frame["a"] ** 2)
    new = frame[:3].assign(empty="text", same=[[1], [2], [3]])
    np.testing.assert_allclose(model.predict(new), model.predict(frame[:3]))


def test_columns_that_are_to_be_ignored_are_not_read():
    frame = frame_of(20).assign(lists=[[k] for k in range(20)], far=np.inf)
    settings = Settings(data=DataSettings(kinds={"lists": "ignore", "far": "ignore"}))
    model = AutoRegressor(**LINEAR, settings=settings).fit(frame, frame["a"] ** 2)
    assert model.predict(frame[:3]).shape == (3,)


def test_empty_text_among_dates_is_missing():
    for kinds in ({}, {"day": "datetime"}):
        prepared = read({"day": ["2020-01-01", "", "2020-01-03", " "]}, [0, 1, 0, 1], kinds=kinds)
        assert prepared.table.columns[0].stored == "date"
        np.testing.assert_array_equal(prepared.table.columns[0].missing, [False, True, False, True])
    again = read_new(pd.DataFrame({"day": ["", "2020-01-02"]}), Schema.from_json(prepared.schema.to_json()))
    np.testing.assert_array_equal(again.columns[0].values, [np.nan, 1577923200.0])


def test_days_of_arrow_are_dates():
    days = pd.array([dt.date(1970, 1, 2), None, dt.date(1969, 12, 31)], dtype=pd.ArrowDtype(pyarrow.date32()))
    prepared = read({"day": days}, [0, 1, 0])
    np.testing.assert_array_equal(prepared.table.columns[0].values, [86400.0, np.nan, -86400.0])
    again = read_new(pd.DataFrame({"day": days}), prepared.schema)
    np.testing.assert_array_equal(again.columns[0].values, [86400.0, np.nan, -86400.0])


def test_the_ending_of_a_file_may_be_in_capitals(tmp_path):
    frame_of(6).assign(y=[0, 1] * 3).to_parquet(tmp_path / "rows.PARQUET")
    prepared = read_training(tmp_path / "rows.PARQUET", "y", DataSettings(), classes=True)
    assert prepared.table.names == ("a", "b")
