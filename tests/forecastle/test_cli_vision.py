"""`forecastle vision`: fit, predict, evaluate, ONNX, going on, and what is said of mistakes."""

import json
from importlib.util import find_spec

import pandas as pd
import pytest

from forecastle.cli import main
from tests.vision import shapes
from tests.vision.needs import require_torchvision
from tests.vision.test_estimators import OBJECTS, settings
from vision import ObjectDetector, write_images

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
    for command, option in (("predict", ["--pictures", str(place / "drawn")]), ("evaluate", ["--coco"])):
        images = str(place / ("test" if command == "predict" else "test.jsonl"))
        assert main(["vision", command, str(place / "run"), images, "--out", str(place / "x"), *option]) == 2
        assert f"{option[0]} " in capsys.readouterr().err


@pytest.mark.skipif(find_spec("pycocotools") is None, reason="pycocotools is not installed")
def test_objects_are_drawn_and_scored_as_coco_does(tmp_path):
    train, test = shapes.objects(tmp_path / "a", 6), shapes.objects(tmp_path / "b", 2, seed=1)
    labels = str(write_images(test, tmp_path / "test.json", "coco"))
    run = str(tmp_path / "run")
    own = settings(OBJECTS, models=["fcos"])
    ObjectDetector(max_trials=1, time_limit=None, settings=own, path=run).fit(train, test)
    drawn = ["--pictures", str(tmp_path / "drawn")]
    assert main(["vision", "predict", run, str(tmp_path / "b"), "--out", str(tmp_path / "found.jsonl"), *drawn]) == 0
    assert sorted(p.name for p in (tmp_path / "drawn").iterdir()) == ["1-0.png", "1-1.png"]
    assert main(["vision", "evaluate", run, labels, "--out", str(tmp_path / "scores"), "--coco"]) == 0
    assert {"AP", "AP75"} <= json.loads((tmp_path / "scores" / "metrics.json").read_text()).keys()
