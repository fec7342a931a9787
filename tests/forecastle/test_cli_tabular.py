"""`forecastle tabular`: fit, predict, test, going on, and what is said of mistakes."""

import json

import numpy as np
import pandas as pd
import pytest

from forecastle.cli import main
from tests.tabular.tables import mixed


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tabular-cli")
    frame, number, label = mixed()
    table = frame.assign(label=label, number=number)
    table[:180].to_parquet(folder / "train.parquet")
    table[180:].to_csv(folder / "test.csv", index=False)
    limits = ["--max-trials", "3", "--workers", "1", "--allow", "LightGBM", "--allow", "LogisticRegression"]
    base = ["tabular", "fit", str(folder / "train.parquet"), "--out", str(folder / "run"), *limits]
    assert main([*base, "--target", "label", "--task", "classification"]) == 0
    return folder


def test_fitting_leaves_tables_beside_the_model(place):
    board = pd.read_csv(place / "run" / "leaderboard.csv")
    assert {"VotingEnsemble", "LightGBM", "LogisticRegression"} <= set(board["model"])
    assert (place / "run" / "featurization_summary.csv").is_file()


def test_predictions_stand_behind_the_rows(place):
    out = place / "answer.parquet"
    assert main(["tabular", "predict", str(place / "run"), str(place / "test.csv"), "--out", str(out)]) == 0
    answer = pd.read_parquet(out)
    assert len(answer) == 60
    assert set(answer["prediction"]) <= {"high", "low"}
    np.testing.assert_allclose(answer[["probability_high", "probability_low"]].sum(axis=1), 1)


def test_a_test_run_scores_where_it_can(place, capsys):
    out = place / "scores"
    assert main(["tabular", "test", str(place / "run"), str(place / "test.csv"), "--out", str(out)]) == 0
    scores = json.loads((out / "metrics.json").read_text())
    answer = pd.read_csv(out / "predictions.csv")
    assert scores["accuracy"] == pytest.approx((answer["prediction"] == answer["label"]).mean())
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "log_loss" in page
    assert "plotly" in page
    pd.read_csv(place / "test.csv").drop(columns="label").to_csv(place / "unknown.csv", index=False)
    other = place / "other"
    assert main(["tabular", "test", str(place / "run"), str(place / "unknown.csv"), "--out", str(other)]) == 0
    assert "there are no metrics" in capsys.readouterr().err
    assert not (other / "metrics.json").exists()


def test_explanations_by_column_feature_and_row(place):
    run, out = str(place / "run"), place / "why.csv"
    assert main(["tabular", "explain", run, "--out", str(out)]) == 0
    assert list(pd.read_csv(out).columns) == ["feature", "importance", "std", "method"]
    assert main(["tabular", "explain", run, "--engineered", "--out", str(out)]) == 0
    assert pd.read_csv(out)["feature"].str.contains("_").any()
    rows = ["--data", str(place / "test.csv"), "--local", "--model", "VotingEnsemble"]
    assert main(["tabular", "explain", run, *rows, "--out", str(out)]) == 0
    assert pd.read_csv(out)["row"].nunique() == 60


def test_a_model_as_onnx(place, capsys):
    pytest.importorskip("onnxruntime")
    path = place / "model.onnx"
    assert main(["tabular", "onnx", str(place / "run"), "--out", str(path)]) == 0
    assert "180 rows compared: labels 100.00%" in capsys.readouterr().err
    assert path.is_file()
    wrong = ["tabular", "onnx", str(place / "run"), "--out", str(path), "--model", "VotingEnsembel"]
    assert main(wrong) == 2
    assert "did you mean 'VotingEnsemble'" in capsys.readouterr().err


def test_a_run_goes_on(place, capsys):
    before = len(pd.read_csv(place / "run" / "leaderboard.csv"))
    assert main(["run", "continue", str(place / "run"), "--more-trials", "2"]) == 0
    assert len(pd.read_csv(place / "run" / "leaderboard.csv")) > before
    assert main(["tabular", "leaderboard", str(place / "run"), "--metric", "accuracy"]) == 0
    assert "LightGBM" in capsys.readouterr().out


def test_mistakes_are_told(place, capsys):
    train, out = str(place / "train.parquet"), str(place / "no")
    assert main(["tabular", "fit", train, "--target", "lable", "--task", "classification", "--out", out]) == 2
    assert "label column 'lable' is not there" in capsys.readouterr().err
    assert main(["tabular", "fit", train, "--target", "label", "--task", "forecasting", "--out", out]) == 2
    assert "--task must be classification or regression" in capsys.readouterr().err
