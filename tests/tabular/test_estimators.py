"""The estimators: from a table to predictions and back, under faults and commands, by scikit-learn's rules."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn import metrics
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from automl.budget import ExitCriteria
from automl.errors import ConfigError, DataError, ModelFileError, RunError, UnknownNameError
from automl.runs import Run
from tabular import AutoClassifier, AutoRegressor, DataSettings, SearchSettings, Settings
from tests.automl.helpers import ENVIRONMENT, ROOT, wait_for
from tests.tabular.tables import mixed

QUICK = {"allowed": ["LightGBM", "LogisticRegression", "ElasticNet", "ExtremeRandomTrees"], "workers": 0}


def settings(**search):
    return Settings(search=SearchSettings(n_folds=3, **search))


@pytest.fixture(scope="module")
def fitted():
    frame, _, label = mixed()
    return AutoClassifier(max_trials=5, **QUICK, settings=settings()).fit(frame, label), frame, label


def test_a_classifier_beats_its_rows(fitted):
    model, frame, label = fitted
    proba = model.predict_proba(frame)
    assert proba.shape == (240, 2)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    assert model.classes_.tolist() == ["high", "low"]
    assert set(model.predict(frame)) == {"high", "low"}
    assert model.score(frame, label) > 0.8
    board = model.leaderboard()
    assert board["score"].iloc[0] == board["score"].min()
    assert {"VotingEnsemble", "LogisticRegression", "LightGBM"} <= set(board["model"])
    assert set(board.loc[board["status"] == "skipped", "learner"]) >= {"KNN", "ElasticNet"}
    assert (board.loc[board["model"] == "ElasticNet", "reason"] == "it does not learn classes").all()


def test_held_out_scores_are_honest(fitted):
    """Labels that follow from nothing are not learned: a search that leaks would claim otherwise."""
    frame, _, label = mixed()
    noise = np.random.default_rng(5).permutation(label)
    model = AutoClassifier(max_trials=4, metric="AUC_weighted", **QUICK, settings=settings()).fit(frame, noise)
    board = model.leaderboard()
    assert board.loc[board["model"].isin(["LightGBM", "LogisticRegression"]), "score"].max() < 0.62


def test_scores_of_new_rows_are_those_of_scikit_learn(fitted):
    model, frame, label = fitted
    scores = model.evaluate(frame, label)
    proba = model.predict_proba(frame)
    assert scores["accuracy"] == pytest.approx(metrics.accuracy_score(label, model.predict(frame)))
    assert scores["AUC_weighted"] == pytest.approx(metrics.roc_auc_score(label == "low", proba[:, 1]))
    assert scores["log_loss"] == pytest.approx(metrics.log_loss(label, proba))
    assert model.evaluate(frame.assign(y=label), "y", model=model.best()) == scores
    with pytest.raises(DataError, match="1 labels are none of training, first 'middle'"):
        model.evaluate(frame[:2], ["high", "middle"])


def test_every_kept_model_predicts_alone(fitted):
    model, frame, _ = fitted
    for name in model.models():
        assert model.predict_proba(frame[:5], model=name).shape == (5, 2)
    assert model.best("accuracy") in model.models()
    assert sum(model.weights("VotingEnsemble").values()) == pytest.approx(1)
    with pytest.raises(UnknownNameError, match="did you mean 'VotingEnsemble'"):
        model.predict(frame, model="VotingEnsembl")


def test_features_and_guardrails_are_told(fitted):
    model, _, _ = fitted
    summary = model.featurization_summary().set_index("name")
    assert summary.loc["key", "dropped"]
    assert summary.loc["colour", "kind"] == "categorical"
    assert any(name.startswith("note_") for name in model.feature_names("LogisticRegression"))
    rails = model.guardrails().set_index("name")
    assert rails.loc["Missing feature values imputation", "status"] == "done"
    assert rails.loc["High cardinality feature detection", "status"] == "done"
    assert rails.loc["Class balancing detection", "status"] == "passed"
    assert rails.loc["Leakage suspicion", "status"] == "passed"


def test_a_saved_estimator_predicts_the_same(fitted, tmp_path):
    model, frame, _ = fitted
    model.save(tmp_path / "model")
    again = AutoClassifier.load(tmp_path / "model")
    for name in model.models():
        np.testing.assert_array_equal(again.predict_proba(frame, model=name), model.predict_proba(frame, model=name))
    pd.testing.assert_frame_equal(again.leaderboard()[["model", "score"]], model.leaderboard()[["model", "score"]])
    assert again.classes_.tolist() == model.classes_.tolist()
    with pytest.raises(ConfigError, match=r"holds tabular\.classification, not tabular\.regression"):
        AutoRegressor.load(tmp_path / "model")
    victim = next((tmp_path / "model").glob("member-0/*.bin"))
    victim.write_bytes(victim.read_bytes()[:-20])
    with pytest.raises(ModelFileError):
        AutoClassifier.load(tmp_path / "model")


def test_the_same_seed_gives_the_same_whatever_the_workers(fitted):
    model, frame, label = fitted
    with_processes = clone(model).set_params(workers=2).fit(frame, label)
    np.testing.assert_array_equal(with_processes.predict_proba(frame), model.predict_proba(frame))


def test_a_regressor_of_all_kinds_of_rows(tmp_path):
    frame, number, _ = mixed()
    table = frame.assign(price=number, w=1.0)
    model = AutoRegressor(max_trials=4, **QUICK, settings=Settings(data=DataSettings(weight="w")))
    model.fit(table[:200], "price")
    truth = number[200:]
    assert np.mean((model.predict(frame[200:]) - truth) ** 2) < 0.4 * np.var(truth)
    table.drop(columns=["price", "w"])[200:].to_parquet(tmp_path / "new.parquet")
    np.testing.assert_array_equal(model.predict(tmp_path / "new.parquet"), model.predict(frame[200:]))


def test_one_model_fitted_on_all_rows_when_there_is_no_bag():
    frame, number, _ = mixed()
    model = AutoRegressor(max_trials=3, **QUICK, settings=settings(bag=False)).fit(frame, number)
    assert all(len(pipelines) == 1 for pipelines in model._model.members.values())
    bagged = AutoRegressor(max_trials=3, **QUICK, settings=settings()).fit(frame, number)
    assert all(len(pipelines) == 3 for pipelines in bagged._model.members.values())
    assert np.corrcoef(model.predict(frame), bagged.predict(frame))[0, 1] > 0.9


def test_text_that_is_sparse_stays_sparse_and_is_learned():
    rng = np.random.default_rng(0)
    x = sparse.random(300, 20_000, 0.002, format="csr", random_state=0)
    y = np.asarray(x[:, :200].sum(axis=1) > 0.05).ravel()
    y ^= rng.random(300) < 0.02
    model = AutoClassifier(max_trials=3, workers=0, allowed=["MultinomialNaiveBayes", "LogisticRegression"])
    model.fit(x, y)
    assert model.predict_proba(x[:3]).shape == (3, 2)
    assert model.n_features_in_ == 20_000


def test_validation_rows_are_what_models_are_chosen_on():
    frame, _, label = mixed()
    model = AutoClassifier(max_trials=2, **QUICK)
    model.fit(frame[:180], label[:180], validation=(frame[180:], label[180:]))
    rails = model.guardrails().set_index("name")
    assert rails.loc["Train-Test data split", "message"] == "60 rows of validation data given"
    with pytest.raises(ConfigError, match="exclude each other"):
        AutoClassifier(**QUICK, settings=settings()).fit(frame, label, validation=(frame, label))


def test_rare_classes_are_told_and_weights_tried():
    frame, number, _ = mixed(rows=400)
    rare = (number > np.quantile(number, 0.92)).astype(int)
    model = AutoClassifier(allowed=["LightGBM"], max_trials=5, workers=0, metric="AUC_weighted").fit(frame, rare)
    rails = model.guardrails().set_index("name")
    assert rails.loc["Class balancing detection", "status"] == "alerted"
    assert any(isinstance(p, dict) and p.get("balanced") for p in model.leaderboard()["params"])
    assert rails.loc["Class balancing", "message"].startswith("class weights")


def test_a_column_that_gives_the_answer_away_is_suspected():
    frame, _, label = mixed()
    model = AutoClassifier(allowed=["LogisticRegression"], max_trials=1, workers=0)
    model.fit(frame.assign(later=label == "high"), label)
    assert model.guardrails().set_index("name").loc["Leakage suspicion", "status"] == "alerted"


def test_what_cannot_be_is_said():
    frame, _, label = mixed()
    with pytest.raises(UnknownNameError, match="metric"):
        AutoClassifier(metric="AUC").fit(frame, label)
    from forecastle import Settings as ForSeries

    with pytest.raises(ConfigError, match=r"must be tabular\.Settings, got forecasting\.config\.Settings"):
        AutoClassifier(settings=ForSeries()).fit(frame, label)
    with pytest.raises(UnknownNameError, match="did you mean 'LightGBM'"):
        AutoClassifier(allowed=["LigtGBM"]).fit(frame, label)
    with pytest.raises(ConfigError, match="leaves no learner"):
        AutoClassifier(allowed=["KNN"], blocked=["KNN"]).fit(frame, label)
    with pytest.raises(DataError, match="no column can be used"):
        AutoClassifier(**QUICK).fit(frame[["key", "same"]].assign(same=range(240)), label)


# -- runs -------------------------------------------------------------------------------------------------------------

SCRIPT = """
    import sys
    sys.path.insert(0, {root!r})
    from tabular import AutoClassifier, SearchSettings, Settings
    from tests.tabular.tables import mixed
    frame, _, label = mixed()
    own = Settings(search=SearchSettings(n_folds=3))
    model = AutoClassifier(allowed=["LightGBM", "LogisticRegression"], max_trials={trials}, time_limit=None, workers=1)
    model.set_params(path={path!r}, settings=own)
    if __name__ == "__main__":
        model.fit(frame, label)
"""


def started(path, trials):
    script = path.parent / "fit.py"
    script.write_text(textwrap.dedent(SCRIPT.format(root=str(ROOT), path=str(path), trials=trials)))
    return subprocess.Popen([sys.executable, script], env=ENVIRONMENT | os.environ, start_new_session=True)


def done(path):
    return sum((p / "record.json").is_file() or any(p.glob("*.json")) for p in (path / "trials").glob("[0-9]*"))


def test_a_killed_run_is_taken_up(tmp_path):
    frame, _, label = mixed()
    path = tmp_path / "run"
    process = started(path, 40)
    wait_for(lambda: (path / "trials").is_dir() and done(path) >= 3, 90, "three trials")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    with pytest.raises(Exception, match=r"missing"):
        AutoClassifier.load(path)
    kept = {r.number: r.seconds for r in Run.open(path).trials() if r.usable}
    model = AutoClassifier.resume(path, more_trials=2)
    again = {r.number: r.seconds for r in Run.open(path).trials() if r.usable}
    assert all(again[k] == seconds for k, seconds in kept.items())
    assert len(again) > len(kept)
    assert model.predict(frame[:4]).shape == (4,)
    loaded = AutoClassifier.load(path)
    np.testing.assert_array_equal(loaded.predict_proba(frame), model.predict_proba(frame))
    with pytest.raises(RunError, match=r"not of tabular\.regression"):
        AutoRegressor.resume(path)
    assert label[0] in loaded.classes_


def test_a_run_pauses_goes_on_and_is_cancelled_from_outside(tmp_path):
    path = tmp_path / "run"
    process = started(path, 500)
    try:
        wait_for(lambda: (path / "trials").is_dir() and done(path) >= 2, 90, "two trials")
        run = Run.open(path)
        run.send("pause")
        wait_for(lambda: run.state == "paused", 30, "the pause")
        time.sleep(1.0)
        before = done(path)
        time.sleep(1.0)
        assert done(path) == before
        run.send("resume")
        wait_for(lambda: done(path) > before, 60, "another trial")
        run.send("cancel")
        assert process.wait(60) == 0
        assert run.state == "cancelled"
        assert AutoClassifier.load(path).models()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


SLOW = """
    import sys
    sys.path.insert(0, {root!r})
    from tabular import AutoClassifier
    from tests.tabular.tables import mixed

    frame, _, label = mixed(rows=12_000)
    model = AutoClassifier(max_trials=3, workers=1, allowed=["GradientBoosting"], path={path!r})
    if __name__ == "__main__":
        model.fit(frame.drop(columns=["note", "street"]), label)
"""


def test_one_trial_is_cancelled_and_the_search_goes_on(tmp_path):
    path = tmp_path / "run"
    script = tmp_path / "fit.py"
    script.write_text(textwrap.dedent(SLOW.format(root=str(ROOT), path=str(path))))
    process = subprocess.Popen([sys.executable, script], env=ENVIRONMENT | os.environ, start_new_session=True)
    try:
        wait_for(lambda: (path / "trials").is_dir() and any((path / "trials").iterdir()), 90, "a trial")
        Run.open(path).send("cancel-trial", 0)
        assert process.wait(120) == 0
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    records = {r.number: r for r in Run.open(path).trials()}
    assert records[0].status == "cancelled"
    assert any(r.usable for r in records.values())
    model = AutoClassifier.load(path)
    more = AutoClassifier.resume(path, more_trials=1)
    assert len(Run.open(path).trials()) > len(records)
    assert more.models()
    assert model.models()


def test_time_ends_a_search_and_leaves_no_threads():
    frame, number, _ = mixed(rows=600)
    model = AutoRegressor(time_limit=8, workers=1).fit(frame, number)
    assert model.first_model_seconds_ < 8
    assert threading.active_count() < 20


# -- scikit-learn -----------------------------------------------------------------------------------------------------

TINY = {
    "max_trials": 1,
    "time_limit": None,
    "workers": 0,
    "settings": Settings(search=SearchSettings(n_folds=2, stack=False, limits=ExitCriteria(early_stopping=False))),
}
EXEMPT = {
    "check_sample_weight_equivalence_on_dense_data": "folds are of rows, so a row twice is not a row of weight two",
    "check_sample_weight_equivalence_on_sparse_data": "folds are of rows, so a row twice is not a row of weight two",
    "check_methods_subset_invariance": "sums of floats in batches differ in the last digits",
}


def exempt(estimator):
    return EXEMPT


@parametrize_with_checks(
    [AutoClassifier(allowed=["LogisticRegression"], **TINY), AutoRegressor(allowed=["FastLinear"], **TINY)],
    expected_failed_checks=exempt,
)
@pytest.mark.filterwarnings("ignore")
def test_scikit_learn_accepts_them(estimator, check):
    check(estimator)


# -- logarithms of the target ------------------------------------------------------------------------------------------


def multiplied(rows=400):
    """Prices that sizes and places multiply, with a long tail."""
    rng = np.random.default_rng(5)
    frame = pd.DataFrame({"size": rng.lognormal(0, 0.6, rows), "place": rng.choice(["a", "b", "c"], rows)})
    price = 100 * np.exp(0.8 * np.log(frame["size"]) + frame["place"].map({"a": 0.0, "b": 0.7, "c": 1.4}))
    return frame.assign(size=np.log(frame["size"])), (price * rng.lognormal(0, 0.1, rows)).to_numpy()


def test_logarithms_of_a_skewed_target_are_tried(tmp_path):
    frame, price = multiplied()
    model = AutoRegressor(max_trials=4, workers=0, allowed=["ElasticNet", "LightGBM"], path=tmp_path / "run")
    model.fit(frame[:300], price[:300])
    board = model.leaderboard().set_index("model")
    logged = [m for m, p in board["params"].items() if isinstance(p, dict) and p.get("target") == "log"]
    plain = [m for m, p in board["params"].items() if isinstance(p, dict) and p and p.get("target") != "log"]
    assert board.loc[logged, "score"].min() < board.loc[plain, "score"].min()
    found = model.predict(frame[300:])
    assert np.mean(np.abs(found / price[300:] - 1)) < 0.15
    np.testing.assert_array_equal(AutoRegressor.load(tmp_path / "run").predict(frame[300:]), found)
    far = model.predict(pd.DataFrame({"size": [1e6, -1e6], "place": ["a", "a"]}))
    assert far.max() < 100 * price.max()
    assert far.min() > 0
    told = model.explain(frame[300:310], local=True).groupby("row")["contribution"].sum()
    np.testing.assert_allclose(told, found[:10])
    pytest.importorskip("onnxruntime")
    assert model.to_onnx(tmp_path / "model.onnx").holds


def test_logarithms_are_not_taken_of_what_has_none():
    frame, price = multiplied(200)
    model = AutoRegressor(max_trials=4, workers=0, allowed=["ElasticNet", "LightGBM"]).fit(frame, price - price.min())
    assert not any(isinstance(p, dict) and p.get("target") == "log" for p in model.leaderboard()["params"])
