"""`forecastle vision`: fit, predict, evaluate, ONNX, going on, and what is said of mistakes."""

import json
from importlib.util import find_spec

import pandas as pd
import pytest

from forecastle.cli import main
from tests.vision import shapes
from tests.vision.needs import require_torchvision
from vision import write_images

pytest.importorskip("torch")
require_torchvision()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vision-cli")
    write_images(shapes.classes(folder / "train", 20), folder / "train.jsonl", "jsonl")
    write_images(shapes.classes(folder / "test", 6, seed=1), folder / "test.jsonl", "jsonl")
    base = ["vision", "fit", str(folder / "train.jsonl"), "--task", "multiclass", "--out", str(folder / "run")]
    assert main([*base, "--use", "efficientnet_lite0", "--weights", "none", "--max-trials", "1"]) == 0
    return folder


def test_fitting_leaves_a_leaderboard(place):
    assert pd.read_csv(place / "run" / "leaderboard.csv")["model"][0] == "LinearProbe"
    assert main(["vision", "leaderboard", str(place / "run")]) == 0


def test_predictions_are_json_lines(place):
    out = place / "answer.jsonl"
    assert main(["vision", "predict", str(place / "run"), str(place / "test"), "--out", str(out)]) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) == 6
    assert rows[0]["labels"] == ["disc", "square"]
    assert sum(rows[0]["probs"]) == pytest.approx(1, abs=1e-5)


def test_scores_tables_and_pictures(place):
    out = place / "scores"
    assert main(["vision", "evaluate", str(place / "run"), str(place / "test.jsonl"), "--out", str(out)]) == 0
    assert 0 <= json.loads((out / "metrics.json").read_text())["accuracy"] <= 1
    assert len(pd.read_csv(out / "by_label.csv")) == 5
    assert "loss" in pd.read_csv(out / "by_image.csv")
    assert "<img " in (out / "worst.html").read_text()


@pytest.mark.skipif(find_spec("onnxruntime") is None, reason="onnxruntime is not installed")
def test_onnx(place):
    assert main(["vision", "onnx", str(place / "run"), "--out", str(place / "model.onnx")]) == 0
    assert json.loads((place / "labels.json").read_text())["labels"] == ["disc", "square"]


def test_mistakes_are_said(place, capsys):
    base = ["vision", "fit", str(place / "train.jsonl"), "--out", str(place / "other")]
    assert main([*base, "--task", "classes"]) == 2
    assert "multiclass" in capsys.readouterr().err
    assert main(["vision", "predict", str(place / "run"), str(place / "nowhere"), "--out", str(place / "x")]) == 2
    assert "nowhere" in capsys.readouterr().err
