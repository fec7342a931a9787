"""The four estimators from labels to answers: learn, predict, explain, save, resume after kill -9, odd files."""

import json
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from automl.budget import Deadline, ExitCriteria
from automl.candidates import Candidate, Float
from automl.errors import ConfigError, DataError, LearnerError, UnknownNameError
from automl.trial import Trial
from tests.vision import shapes
from tests.vision.needs import require_torchvision
from vision import (
    DataSettings,
    ImageClassifier,
    InstanceSegmenter,
    MultiLabelImageClassifier,
    ObjectDetector,
    SearchSettings,
    Settings,
    write_images,
)
from vision.config import Training
from vision.data.pictures import load_picture
from vision.fitting import _vote
from vision.learners import classes
from vision.learners.base import TaskSettings, Work
from vision.learners.objects import Detector, fitted_size, picture_tensor
from vision.onnx import session as onnx_session
from vision.portfolio import Machine, choose
from vision.task import MODEL

torch = pytest.importorskip("torch")
require_torchvision()

ROOT = Path(__file__).parents[2]
QUICK = {
    "number_of_epochs": 2,
    "training_batch_size": 8,
    "valid_resize_size": 32,
    "valid_crop_size": 32,
    "train_crop_size": 32,
    "learning_rate": 0.01,
}
OBJECTS = {"number_of_epochs": 2, "training_batch_size": 4, "min_size": 64, "max_size": 64, "learning_rate": 0.005}


def settings(fixed=QUICK, data=None, **search):
    search = {"workers": 0, "threads": 1, "weights": "none", "models": ["efficientnet_lite0"], "fixed": fixed, **search}
    return Settings(data=data or DataSettings(), search=SearchSettings(**search))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    return shapes.classes(folder / "train", 24), shapes.classes(folder / "test", 8, seed=1)


@pytest.fixture(scope="module")
def fitted(pictures, tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "run"
    return ImageClassifier(max_trials=1, time_limit=None, settings=settings(), path=path).fit(pictures[0])


# -- classes ----------------------------------------------------------------------------------------------------------


def test_a_classifier_answers(fitted, pictures, tmp_path):
    test = pictures[1]
    prob = fitted.predict_proba(test)
    assert prob.shape == (8, 2)
    np.testing.assert_allclose(prob.sum(axis=1), 1, atol=1e-5)
    assert set(fitted.predict(test)) <= {"disc", "square"}
    assert {"accuracy", "AUC_weighted", "log_loss"} <= set(fitted.evaluate(test))
    table = fitted.by_label(test)
    assert table["label"].tolist()[:2] == ["disc", "square"]
    each = fitted.by_image(test)
    assert (each["true"] == each["predicted"]).mean() == pytest.approx(fitted.evaluate(test)["accuracy"])
    assert each["loss"].mean() == pytest.approx(fitted.evaluate(test)["log_loss"], abs=1e-6)
    assert each["loss"].is_monotonic_decreasing
    assert "confusion_matrix" in fitted.charts(test)
    answer = fitted.answers(test)[0]
    assert answer["labels"] == ["disc", "square"]
    assert json.loads(json.dumps(answer))["filename"] == "1-0.png"
    board = fitted.leaderboard()
    assert board.loc[0, "model"] == fitted.best() == "FineTuning"
    assert {"skipped"} == set(board["status"][1:])
    assert "Validation split" in set(fitted.guardrails()["name"])
    page = fitted.gallery(tmp_path / "worst.html", test, most=3).read_text()
    assert page.count("<img ") == 3


def test_scores_tables_and_pictures_look_at_images_once(fitted, pictures, tmp_path, monkeypatch):
    looks = []
    whole = type(fitted)._predicted
    monkeypatch.setattr(type(fitted), "_predicted", lambda self, *given: looks.append(1) or whole(self, *given))
    fitted._last = None
    _, held = pictures
    first = fitted.evaluate(held)
    fitted.by_label(held)
    fitted.gallery(tmp_path / "worst.html", held)
    assert len(looks) == 1
    os.utime(held.images[0].path)  # another file may lie there now
    assert fitted.evaluate(held) == first
    assert len(looks) == 2


def test_what_was_saved_answers_the_same(fitted, pictures, tmp_path):
    fitted.save(tmp_path / "model")
    again = ImageClassifier.load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict_proba(pictures[1]), fitted.predict_proba(pictures[1]))
    assert again.best() == fitted.best()
    with pytest.raises(ConfigError, match="multiclass"):
        MultiLabelImageClassifier.load(tmp_path / "model")


def test_the_same_seed_gives_the_same_model(fitted, pictures):
    again = ImageClassifier(max_trials=1, time_limit=None, settings=settings()).fit(pictures[0])
    np.testing.assert_array_equal(again.predict_proba(pictures[1]), fitted.predict_proba(pictures[1]))


@pytest.mark.skipif(find_spec("captum") is None, reason="captum is not installed")
@pytest.mark.parametrize("method", ["grad_cam", "integrated_gradients"])
def test_maps_of_what_speaks_for_a_label(fitted, pictures, method):
    maps = fitted.explain(pictures[1].take([0, 1, 2]), label="disc", method=method)
    assert maps.shape == (3, 32, 32)
    assert maps.min() == 0
    assert maps.max() == 1 or method == "grad_cam"  # nothing may speak for a label
    with pytest.raises(UnknownNameError, match="disc"):
        fitted.explain(pictures[1], label="dics")


@pytest.mark.skipif(find_spec("onnxruntime") is None, reason="onnxruntime is not installed")
def test_onnx_gives_the_same_probabilities(fitted, tmp_path):
    found = fitted.to_onnx(tmp_path / "onnx" / "model.onnx")
    assert found.largest < 1e-4
    labels = json.loads((tmp_path / "onnx" / "labels.json").read_text())
    assert (labels["labels"], labels["size"]) == (["disc", "square"], 32)


def test_a_head_on_frozen_features_is_first_and_votes_combine(pictures, tmp_path):
    search = {"workers": 0, "threads": 1, "weights": "none", "models": ["efficientnet_lite0"]}
    own = Settings(search=SearchSettings(**search))
    model = ImageClassifier(max_trials=1, time_limit=None, settings=own, path=tmp_path / "run").fit(*pictures)
    assert model.best() == "LinearProbe"
    assert model.first_model_seconds_ > 0
    resumed = ImageClassifier.resume(tmp_path / "run")
    np.testing.assert_array_equal(resumed.predict_proba(pictures[1]), model.predict_proba(pictures[1]))


@pytest.mark.parametrize(("images", "single"), [(100, False), (400, True)])
def test_a_single_model_beats_the_vote_on_many_held_out_images_alone(images, single, tmp_path):
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, images)
    perfect = np.eye(2)[truth]
    guesses = rng.dirichlet([1, 1], images)
    (tmp_path / MODEL).mkdir()
    records = [SimpleNamespace(path=tmp_path, predictions=lambda p=p: {"held": p}) for p in (perfect, guesses)]
    own = TaskSettings(kind="multiclass", metric="accuracy", classes=("a", "b"))
    task = SimpleNamespace(truth=lambda: truth, settings=own)
    chosen, blended, clearly = _vote(task, records)
    assert clearly is single
    np.testing.assert_allclose(sum(weight for _, weight in chosen), 1)
    np.testing.assert_allclose(blended.sum(axis=1), 1)


@pytest.mark.parametrize(
    ("seconds", "looks"), [(37.0, ((192, 192), False)), (80.0, ((200, 200), True)), (None, ((200, 200), True))]
)
def test_a_second_head_looks_at_images_as_large_as_fits(seconds, looks, pictures, tmp_path, monkeypatch):
    train, held = pictures
    work = Work(train, held, TaskSettings(kind="multiclass", metric="accuracy", classes=train.classes), tmp_path)
    monkeypatch.setattr(classes, "seconds_an_image", lambda *_: 0.05)  # at 128 pixels; 32 images
    plan = Training(time_share=0.1)
    left = SimpleNamespace(left=lambda: float("inf") if seconds is None else seconds)
    assert classes.views_in_time(work, None, plan, 200, left) == looks
    with pytest.raises(LearnerError, match="160 pixels take more than 10%"):
        classes.views_in_time(work, None, plan, 200, SimpleNamespace(left=lambda: 2.0))
    assert classes.views_in_time(work, None, plan, 0, left) == ((256, 224), True)


def test_images_that_are_large_have_a_second_head():
    search = SearchSettings(models=["efficientnet_lite0", "vit_b_16"])
    for side, heads in ((0, 2), (150, 2), (400, 3)):
        found = choose("multiclass", search, Machine(0, side))
        assert sum(c.learner == "LinearProbe" for c in found) == heads


def test_several_labels(tmp_path):
    train, test = shapes.labels(tmp_path / "a", 24), shapes.labels(tmp_path / "b", 8, seed=1)
    model = MultiLabelImageClassifier(max_trials=1, time_limit=None, settings=settings()).fit(train, test)
    assert model.predict_proba(test).shape == (8, 2)
    assert all(set(found) <= {"disc", "square"} for found in model.predict(test))
    assert {"iou", "mean_average_precision"} <= set(model.evaluate(test))
    assert len(model.by_label(test)) > 2
    assert "roc: disc" in model.charts(test)


def test_a_sweep_with_a_policy(pictures):
    own = settings(
        {k: v for k, v in QUICK.items() if k != "learning_rate"},
        space={"learning_rate": Float(1e-4, 1e-1, log=True), "optimizer": ["sgd", "adamw"]},
        sampling="random",
        policy={"type": "bandit", "slack_factor": 0.1},
    )
    model = ImageClassifier(max_trials=3, time_limit=None, settings=own).fit(pictures[0])
    trials = model.run_.trials()
    assert len(trials) == 3
    assert {t.status for t in trials} <= {"completed", "pruned"}
    assert {t.params.get("optimizer") for t in trials[1:]} <= {"sgd", "adamw"}
    assert trials[0].reported


def test_training_goes_on_from_an_earlier_model(fitted, pictures, tmp_path):
    fitted.save(tmp_path / "model")
    own = settings({**QUICK, "learning_rate": 1e-9}, start=str(tmp_path / "model"))
    model = ImageClassifier(max_trials=1, time_limit=None, settings=own).fit(*pictures)
    member = next(iter(model._model.members.values()))
    earlier = next(iter(fitted._model.members.values()))
    np.testing.assert_allclose(member.arrays["head.weight"], earlier.arrays["head.weight"], atol=1e-5)


# -- objects ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("cls", "detector"), [(ObjectDetector, "fcos"), (InstanceSegmenter, "maskrcnn")])
def test_objects_from_labels_to_answers(cls, detector, tmp_path):
    outlines = cls is InstanceSegmenter
    train = shapes.objects(tmp_path / "a", 12, outlines=outlines)
    test = shapes.objects(tmp_path / "b", 4, seed=1, outlines=outlines)
    labels = write_images(train, tmp_path / "train.json", "coco")
    own = settings(OBJECTS, models=[detector])
    model = cls(max_trials=1, time_limit=None, settings=own, path=tmp_path / "run").fit(labels, test)
    found = model.predict(test)
    assert len(found) == 4
    assert all((np.diff(f.scores) <= 0).all() for f in found)
    assert all(((f.boxes >= 0) & (f.boxes <= 1)).all() for f in found)
    scores = model.evaluate(test)
    assert set(scores) == {"mean_average_precision", "precision", "recall"}
    chosen_by = model.leaderboard()["score"].max()  # of the same images: what was scored is what predicts
    assert scores["mean_average_precision"] == pytest.approx(chosen_by, abs=1e-9)
    assert model.by_label(test)["label"].tolist()[:2] == ["disc", "square"]
    assert [a["filename"] for a in model.answers(test)] == [f"1-{k}.png" for k in range(4)]
    each = model.by_image(test).set_index("image")
    assert each[["found", "missed", "wrong"]].to_numpy().sum() == sum(len(i.things) for i in test.images)
    told = each.loc[[i.path for i in test.images], ["found", "wrong", "false", "duplicate"]].sum(axis=1)
    assert told.tolist() == [len(f) for f in found]
    for one, everything in zip(found, model.everything(test), strict=True):
        given = model._model.single(None).given(everything)
        np.testing.assert_array_equal(given.scores, one.scores)
        np.testing.assert_array_equal(given.boxes, one.boxes)
    assert model.gallery(tmp_path / "worst.html", test).read_text().count("<img ") == 4
    again = cls.load(tmp_path / "run")
    np.testing.assert_array_equal(again.predict(test)[0].boxes, found[0].boxes)
    if find_spec("pycocotools"):
        assert "AP75" in model.evaluate(test, coco=True)
    if find_spec("onnxruntime"):
        for mirrored in (False, True):
            again._model.single(None).params["mirrored"] = mirrored
            told = again.to_onnx(tmp_path / "model.onnx", images=test)
            assert told.pixels <= 0.5
        assert json.loads((tmp_path / "labels.json").read_text())["least_scores"].keys() == {"disc", "square"}


@pytest.mark.skipif(find_spec("onnxruntime") is None, reason="onnxruntime is not installed")
def test_each_class_has_its_own_least_score_everywhere(tmp_path):
    train, test = shapes.objects(tmp_path / "a", 12), shapes.objects(tmp_path / "b", 4, seed=1)
    own = settings({**OBJECTS, "box_score_thresh": 0.02}, models=["fcos"])
    model = ObjectDetector(max_trials=1, time_limit=None, settings=own).fit(train, test)
    member = model._model.single(None)
    assert member.least().tolist() == [0.02, 0.02]  # one given by the user stays
    found = model.predict(test)
    assert {0, 1} <= set(np.concatenate([f.labels for f in found]).tolist())
    high = float(np.median([s for f in found for s in f.scores[f.labels == 1]]))
    member.params["class_score_thresh"] = [0.02, high]
    fewer = model.predict(test)
    wanted = [f.take(f.scores >= np.array([0.02, high])[f.labels]).first(100) for f in model.everything(test)]
    lost = sum(int((f.labels == 1).sum()) for f in found) - sum(int((f.labels == 1).sum()) for f in wanted)
    assert lost > 0
    for one, want in zip(fewer, wanted, strict=True):
        np.testing.assert_array_equal(one.scores, want.scores)
    model.to_onnx(tmp_path / "model.onnx", images=test)
    session = onnx_session((tmp_path / "model.onnx").read_bytes())
    picture = load_picture(test.images[0].path)
    pixels = picture_tensor(picture, fitted_size(picture.size, member.params), torch.device("cpu"))
    _, labels, scores = session.run(None, {"image": pixels.numpy()})
    assert labels.tolist() == fewer[0].labels.tolist()
    np.testing.assert_allclose(scores, fewer[0].scores, atol=1e-3)


def test_long_searches_of_objects_answer_early():
    short, long = (SearchSettings(models=["fcos"], limits=ExitCriteria(time_limit=s)) for s in (200, 1800))
    assert len(choose("detection", short, Machine(0))) == 1
    first, second = (dict(c.params) for c in choose("detection", long, Machine(0)))
    assert (first["head_start"], second["head_start"]) == ("give", "take")
    assert first["time_share"] * 1800 == pytest.approx(120)
    assert "time_share" not in second


def test_a_training_begins_with_the_weights_that_an_earlier_one_left(tmp_path):
    images = shapes.objects(tmp_path / "a", 8)
    task = TaskSettings(kind="detection", metric="", classes=images.classes, weights="none")
    work = Work(images, images, task, tmp_path / "kept")

    def fit(number, **params):
        trial = Trial(
            number=number,
            candidate=Candidate.of("Detector", {}),
            params={**OBJECTS, "detector": "fcos", "backbone": "efficientnet_lite0", **params},
            seed=0,
            threads=1,
            deadline=Deadline.after(None),
            directory=tmp_path,
        )
        return Detector().fit(work, trial.params, trial, tmp_path / f"{number}.pt").member

    still = {"number_of_epochs": 1, "learning_rate": 1e-12, "head_start": "take"}
    anew = fit(0, **still)  # nothing was left yet
    first = fit(1, head_start="give", mirrored=False)
    second = fit(2, **still)
    name = "head.classification_head.cls_logits.weight"
    np.testing.assert_allclose(second.arrays[name], first.arrays[name], atol=1e-6)
    assert np.abs(anew.arrays[name] - first.arrays[name]).max() > 1e-4
    assert (first.params["mirrored"], first.params["box_nms_thresh"]) == (False, 0.5)


# -- what can go wrong ------------------------------------------------------------------------------------------------


def test_damaged_files_are_named_and_left_out_if_so_wished(tmp_path):
    images = shapes.classes(tmp_path / "a", 200, size=16)
    for k in (3, 77, 150):
        Path(images.images[k].path).write_bytes(b"not an image" * 9)
    own = settings({**QUICK, "number_of_epochs": 1})
    with pytest.raises(DataError, match=r"3 of 200 images cannot be read.*0-3\.png.*0-77\.png.*0-150\.png"):
        ImageClassifier(max_trials=1, time_limit=None, settings=own).fit(images)
    skipping = settings({**QUICK, "number_of_epochs": 1}, data=DataSettings(skip_unreadable=True))
    model = ImageClassifier(max_trials=1, time_limit=None, settings=skipping).fit(images)
    rails = model.guardrails().set_index("name")
    assert rails.loc["Unreadable images", "status"] == "done"
    assert "3 of 200" in rails.loc["Unreadable images", "message"]
    assert "of 197 images" in rails.loc["Validation split", "message"]


def test_what_cannot_be_is_said(pictures, tmp_path):
    with pytest.raises(UnknownNameError, match="accuracy"):
        ImageClassifier(metric="acuracy").fit(pictures[0])
    with pytest.raises(UnknownNameError, match="efficientnet_lite0"):
        ImageClassifier(models=["efficientnet_lite9"]).fit(pictures[0])
    with pytest.raises(DataError, match="at least two labels are needed"):
        ImageClassifier().fit(pictures[0].take([0, 2, 4]))
    missing = str(tmp_path / "none.pt")
    with pytest.raises(LearnerError, match="no file of weights"):
        ImageClassifier(weights=missing, max_trials=1, settings=settings()).fit(pictures[0])
    with pytest.raises(UnknownNameError, match="learning_rate"):
        SearchSettings(fixed={"learningrate": 1})
    with pytest.raises(ConfigError, match="maskrcnn"):
        ObjectDetector(models=["maskrcnn"]).fit(shapes.objects(tmp_path / "o", 4))


# -- kill -9 ----------------------------------------------------------------------------------------------------------

_CHILD = """
import sys
from tests.vision import shapes
from tests.vision.test_estimators import LONG, settings
from vision import ImageClassifier
from pathlib import Path
import vision.networks.training as training
training._SAVED = 0.0
if __name__ == "__main__":
    folder = Path(sys.argv[1])
    ImageClassifier(max_trials=1, time_limit=None, settings=settings(LONG), path=folder / "run").fit(
        shapes.classes(folder / "train", 24)
    )
"""
LONG = {**QUICK, "number_of_epochs": 8, "early_stopping": False}


def test_a_run_killed_in_an_epoch_ends_as_one_that_was_not(tmp_path, monkeypatch):
    whole = ImageClassifier(max_trials=1, time_limit=None, settings=settings(LONG))
    whole.fit(shapes.classes(tmp_path / "train", 24))
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    child = subprocess.Popen([sys.executable, "-c", _CHILD, str(tmp_path)], env=env, stderr=subprocess.DEVNULL)
    kept = tmp_path / "run" / "task" / "checkpoints"
    end = time.monotonic() + 120
    while child.poll() is None and time.monotonic() < end:
        if any(torch_epoch(p) >= 2 for p in kept.glob("*.pt")):
            child.send_signal(signal.SIGKILL)
            break
        time.sleep(0.01)
    child.wait()
    assert child.returncode == -signal.SIGKILL, "the run ended before it could be killed"
    again = ImageClassifier.resume(tmp_path / "run")
    record = again.run_.trials()[0]
    assert "training goes on after epoch" in (tmp_path / "run" / "log.txt").read_text()
    assert record.scores == whole.run_.trials()[0].scores
    one, other = (next(iter(m._model.members.values())).arrays for m in (whole, again))
    assert all(np.array_equal(one[name], other[name]) for name in one)


def torch_epoch(path):
    """Epoch of a checkpoint, 0 while it is being replaced."""
    try:
        return torch.load(path, weights_only=True)["state"]["epoch_done"]
    except (OSError, RuntimeError, EOFError):
        return 0
