"""Explanations: contributions add up, agree with other ways of finding them, and name what cannot be explained."""

import numpy as np
import pandas as pd
import pytest

from automl.errors import ConfigError
from tabular import AutoClassifier, AutoRegressor
from tabular.ensembles import fit_stack
from tabular.explain import BASE, able, explained_share, local, member_shares
from tabular.featurize.base import dense
from tabular.learners.base import LEARNERS
from tabular.model import Entry, TabularModel
from tabular.reading import read_training
from tests.tabular.tables import mixed
from tests.tabular.test_learners import cases
from tests.tabular.test_onnx import fitted

EXPLAINED = [(name, n) for name, n in cases() if hasattr(LEARNERS.load(name), "margins")]


@pytest.mark.parametrize(("name", "n_classes"), EXPLAINED)
@pytest.mark.parametrize("raw", [True, False], ids=["raw", "engineered"])
def test_contributions_add_up_to_predictions(name, n_classes, raw):
    pytest.importorskip("xgboost" if name == "XGBoost" else "sklearn")
    model, table = fitted(name, n_classes, {"scaler": "StandardScaleWrapper", "clusters": True})
    table = table.take(np.arange(0, 240, 5))
    found = local(model, None, table, raw=raw)
    whole = model.predict(table) if n_classes else model.predict(table)[:, None]
    np.testing.assert_allclose(found.base + found.values.sum(axis=1), whole, atol=1e-9)
    np.testing.assert_allclose(found.base.std(axis=0), 0, atol=1e-3)  # every prediction starts from the same
    size = dict(zip(found.names, np.abs(found.values).mean(axis=(0, 2)), strict=True))
    if raw:
        assert set(size) <= {"size", "rooms", "colour", "street", "sold", "note"}
        assert min(size["size"], size["rooms"]) > size["sold"]
    margins = model.members["m"][0].learner.margins(dense(model.members["m"][0].featurizer.transform(table)))
    assert margins.values.shape[2] == max(n_classes, 1)


def test_a_linear_model_is_explained_exactly():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(2, 1, 400), "b": rng.normal(0, 3, 400), "c": rng.normal(size=400)})
    y = 5 + 3 * frame["a"] - 2 * frame["b"]
    model = AutoRegressor(max_trials=1, workers=0, allowed=["FastLinear"]).fit(frame, y)
    found = model.explain(frame.iloc[:20], local=True).pivot_table(
        index="row", columns="feature", values="contribution"
    )
    expected = 3 * (frame["a"][:20] - frame["a"].mean())
    np.testing.assert_allclose(found["a"], expected, atol=0.05)
    np.testing.assert_allclose(found[BASE], y.mean(), atol=0.05)
    np.testing.assert_allclose(found.sum(axis=1), model.predict(frame.iloc[:20]), atol=1e-9)


def test_features_of_several_columns_are_shared_out():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=300), "b": rng.normal(size=300)})
    y = frame["a"] + frame["b"]
    model, table = fitted("ElasticNet", 0, {"scaler": "PCA"}, data=frame, y=y.to_numpy())
    found = local(model, None, table, raw=True)
    assert found.names == ("a", "b")
    np.testing.assert_allclose(found.values[:, 0], found.values[:, 1])


@pytest.mark.parametrize("n_classes", [0, 3])
def test_votes_and_stacks(n_classes):
    first, table = fitted("LightGBM", n_classes)
    members = {"trees": first.members["m"]}
    for name in ("KNN", "ElasticNet" if n_classes == 0 else "LogisticRegression"):
        members[name] = fitted(name, n_classes, {"scaler": "StandardScaleWrapper"})[0].members["m"]
    frame, number, _ = mixed(240)
    three = np.digitize(number, np.quantile(number, (0.33, 0.66)))
    prepared = read_training(frame, three if n_classes else number, _data(), classes=n_classes > 0)
    made = [members[m][0].predict(table) for m in members]
    stack = fit_stack(made, prepared.y, prepared.weight, n_classes, "auto", 0)
    entries = {
        "vote": Entry((("trees", 0.6), ("KNN", 0.2), (list(members)[2], 0.2))),
        "stack": Entry(tuple((m, 1.0) for m in members), stack),
        "near": Entry((("KNN", 1.0),)),
        "trees": Entry((("trees", 1.0),)),
    }
    model = TabularModel(members, entries, "vote", first.schema, first.classes)
    some = table.take(np.arange(40))
    for name in ("vote", "stack"):
        found = local(model, name, some, raw=True)
        whole = model.predict(some, name)
        np.testing.assert_allclose(
            found.base + found.values.sum(axis=1), whole if n_classes else whole[:, None], atol=1e-9
        )
        assert "(KNN)" in found.names
    assert explained_share(model, "vote") == pytest.approx(0.8)
    assert sum(member_shares(model, "stack").values()) == pytest.approx(1)
    assert able(model) == ["trees"]
    with pytest.raises(ConfigError, match=r"no member of near has SHAP values.*trees"):
        local(model, "near", some, raw=True)


def _data():
    from tabular.config import DataSettings

    return DataSettings()


def test_permutation_where_there_is_no_shap():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=300), "b": rng.normal(size=300), "c": rng.choice(["u", "v"], 300)})
    y = np.where(frame["a"] > 0, "high", "low")
    model = AutoClassifier(max_trials=1, workers=0, allowed=["KNN"]).fit(frame, y)
    found = model.explain()
    assert found["feature"][0] == "a"
    assert set(found["method"]) == {"permutation"}
    assert found.equals(model.explain(method="permutation"))
    again = model.explain(frame, y, repeats=2)
    assert again["importance"][0] > 5 * again["importance"][1:].abs().max()
    with pytest.raises(ConfigError, match="needs the labels"):
        model.explain(frame)
    with pytest.raises(ConfigError, match="raw=True"):
        model.explain(raw=False)
    with pytest.raises(ConfigError, match="has SHAP values"):
        model.explain(method="shap")
    with pytest.raises(ConfigError, match="one of auto, shap, permutation"):
        model.explain(method="lime")


def test_both_ways_agree_on_what_matters():
    frame, number, _ = mixed(240)
    model = AutoRegressor(max_trials=3, workers=0, allowed=["LightGBM", "ElasticNet"]).fit(frame, number)
    shap, lost = model.explain(), model.explain(method="permutation")
    assert set(shap["feature"][:3]) & set(lost["feature"][:3]) >= {"size", "rooms"}
    assert set(shap["method"]) <= {"tree SHAP", "linear SHAP", "tree SHAP + linear SHAP", "linear SHAP + tree SHAP"}
    engineered = model.explain(raw=False)
    assert len(engineered) > len(shap)
    assert engineered["importance"].is_monotonic_decreasing


def test_classes_are_named_in_local_explanations():
    frame, _, label = mixed(240)
    model = AutoClassifier(max_trials=1, workers=0, allowed=["LightGBM"]).fit(frame, label)
    found = model.explain(frame[:5], local=True)
    assert list(found.columns) == ["row", "class", "feature", "contribution"]
    total = found.groupby(["row", "class"])["contribution"].sum().reset_index()
    total = total.pivot_table(index="row", columns="class", values="contribution")
    np.testing.assert_allclose(total[list(model.classes_)], model.predict_proba(frame[:5]), atol=1e-9)


def test_scores_charts_and_report_take_the_same_rows(tmp_path):
    frame, number, _ = mixed(240)
    model = AutoRegressor(max_trials=1, workers=0, allowed=["ElasticNet"]).fit(frame, number)
    gone = number.copy()
    gone[3] = np.nan
    assert set(model.charts(frame, gone)) == {"residuals", "predicted_vs_true"}
    text = model.report(tmp_path / "report.html", frame.assign(price=gone), "price").read_text(encoding="utf-8")
    for part in ("r2_score", "ElasticNet", "Missing feature values imputation", "rooms"):
        assert part in text
