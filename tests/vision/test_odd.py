"""What people's sets are like: odd labels, odd files, odd settings. Each once failed, or failed late."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image as Pillow

from automl.budget import ExitCriteria
from automl.candidates import Choice, Float, Int
from automl.errors import ConfigError, DataError
from automl.policies import BanditPolicy
from tests.vision import shapes
from tests.vision.needs import require_torchvision
from tests.vision.test_estimators import OBJECTS, QUICK, settings
from vision import (
    DataSettings,
    ImageClassifier,
    InstanceSegmenter,
    ObjectDetector,
    SearchSettings,
    Settings,
    read_images,
    write_images,
)
from vision.data.pictures import check_images, load_picture
from vision.data.records import ImageSet
from vision.fitting import settings_from_json, settings_to_json
from vision.learners.classes import _sized
from vision.models.backbones import build
from vision.pixels import Pixels
from vision.portfolio import Machine, choose

torch = pytest.importorskip("torch")
require_torchvision()


# -- labels -----------------------------------------------------------------------------------------------------------


def test_labels_of_another_task_are_told_by_line(tmp_path):
    shapes.classes(tmp_path, 1)
    file = tmp_path / "labels.JSONL"
    file.write_text(json.dumps({"image_url": "0-0.png", "label": "disc"}) + "\n")
    with pytest.raises(DataError, match="line 1: label 'disc' is no list of objects"):
        read_images(file, "detection")
    file.write_text(json.dumps({"image_url": "0-0.png", "label": ["disc"]}) + "\n")
    with pytest.raises(DataError, match="line 1"):
        read_images(file, "detection")
    assert len(read_images(file, "multilabel")) == 1


def test_coco_without_sizes_of_images_without_objects(tmp_path):
    images = shapes.objects(tmp_path, 2)
    told = json.loads(write_images(images, tmp_path / "all.json", "coco").read_text())
    empty = told["images"][1]
    told["annotations"] = [a for a in told["annotations"] if a["image_id"] != empty["id"]]
    del empty["width"], empty["height"]
    (tmp_path / "some.json").write_text(json.dumps(told))
    found, _ = check_images(read_images(tmp_path / "some.json", "detection"))
    assert [(len(i.things) > 0, i.width) for i in found.images] == [(True, 64), (False, 64)]


@pytest.mark.parametrize(("left", "wanted"), [(0, 0.0), (1, 0.0), (5, 4 / 64)])
def test_pascal_boxes_may_count_from_zero(tmp_path, left, wanted):
    images = shapes.objects(tmp_path / "images", 1)
    folder = write_images(images, tmp_path / "voc", "voc")
    file = next((folder / "Annotations").glob("*.xml"))
    text = file.read_text()
    start, end = text.index("<xmin>"), text.index("</xmin>")
    file.write_text(f"{text[:start]}<xmin>{left}{text[end:]}")
    first = read_images(folder, "detection", images=tmp_path / "images").images[0].things[0]
    assert first.box[0] == pytest.approx(wanted)
    many = read_images(folder, "multilabel", images=tmp_path / "images").images[0]
    assert many.labels
    assert not many.things


def test_images_noted_the_other_way_round_are_an_alert(tmp_path):
    picture = Pillow.fromarray(np.zeros((20, 40, 3), dtype=np.uint8))
    exif = Pillow.Exif()
    exif[274] = 6
    picture.save(tmp_path / "turned.jpg", exif=exif)
    entry = {"label": "disc", "topX": 0.1, "topY": 0.1, "bottomX": 0.5, "bottomY": 0.5}
    raw = {"image_url": "turned.jpg", "image_details": {"width": 40, "height": 20}, "label": [entry]}
    (tmp_path / "labels.jsonl").write_text(json.dumps(raw) + "\n")
    images, told = check_images(read_images(tmp_path / "labels.jsonl", "detection"))
    assert (images.images[0].width, images.images[0].height) == (20, 40)
    assert [note.status for note in told] == ["passed", "alerted"]
    assert "turned.jpg" in told[1].message
    raw["image_details"] = {"width": 20, "height": 40}
    (tmp_path / "labels.jsonl").write_text(json.dumps(raw) + "\n")
    assert len(check_images(read_images(tmp_path / "labels.jsonl", "detection"))[1]) == 1


# -- files ------------------------------------------------------------------------------------------------------------


def test_fractions_are_not_black(tmp_path):
    Pillow.fromarray(np.full((4, 4), 0.5, dtype=np.float32)).save(tmp_path / "half.tif")
    assert np.asarray(load_picture(tmp_path / "half.tif")).mean() == pytest.approx(127, abs=1)


def test_names_with_spaces_stay_whole_in_the_report(tmp_path):
    images = shapes.classes(tmp_path, 2)
    (tmp_path / "a b.png").write_text("no image")
    broken = SimpleNamespace(path=str(tmp_path / "a b.png"), things=(), width=0, height=0)
    some = ImageSet("multiclass", (*images.images, broken), images.classes)
    _, (note,) = check_images(some, skip=True)
    assert note.details[0][0].endswith("a b.png")


def test_files_are_decoded_once_to_be_checked(tmp_path, monkeypatch):
    images, looks = shapes.classes(tmp_path, 3), []
    whole = load_picture
    monkeypatch.setattr("vision.data.pictures.load_picture", lambda *given: looks.append(given) or whole(*given))
    first = check_images(images)
    assert check_images(images) == first
    assert len(looks) == 3
    Pillow.new("RGB", (5, 4)).save(images.images[1].path)
    assert check_images(images)[0].images[1].width == 5
    assert len(looks) == 4


def test_files_that_are_gone_are_named_with_their_count(tmp_path):
    train, test = shapes.classes(tmp_path / "a", 12), shapes.classes(tmp_path / "b", 5, seed=1)
    model = ImageClassifier(max_trials=1, time_limit=None, settings=settings()).fit(train)
    for image in test.images[:2]:
        (tmp_path / "b" / image.path).unlink()
    with pytest.raises(DataError, match="2 of 5 images cannot be read"):
        model.evaluate(test)
    (tmp_path / "b" / "1-0.png").write_text("no image")
    (tmp_path / "b" / "1-1.png").write_text("no image")
    with pytest.raises(DataError, match="2 of 5 images cannot be read"):
        model.predict(tmp_path / "b")
    lenient = settings(data=DataSettings(skip_unreadable=True))
    model = ImageClassifier(max_trials=1, time_limit=None, settings=lenient).fit(train)
    assert len(model.by_image(test)) == 3


def test_workers_do_not_spoil_each_others_pixels(tmp_path, monkeypatch):
    images = shapes.classes(tmp_path / "a", 4)
    paths = [i.path for i in images.images]
    whole = Pixels._fill
    monkeypatch.setattr("vision.pixels.os.getpid", lambda: 1)

    def interrupted(self, out, which):  # another worker begins and ends while this one is at it
        monkeypatch.setattr(Pixels, "_fill", whole)
        monkeypatch.setattr("vision.pixels.os.getpid", lambda: 2)
        Pixels(paths, 16, tmp_path / "kept")
        monkeypatch.setattr("vision.pixels.os.getpid", lambda: 1)
        whole(self, out, which)

    monkeypatch.setattr(Pixels, "_fill", interrupted)
    got = Pixels(paths, 16, tmp_path / "kept").take(range(4))
    np.testing.assert_array_equal(got, Pixels(paths, 16, None).take(range(4)))


def test_answers_tell_files_of_two_folders_apart(tmp_path):
    train = shapes.classes(tmp_path / "a", 12)
    shapes.classes(tmp_path / "b" / "x", 2)
    shapes.classes(tmp_path / "b" / "y", 2)
    model = ImageClassifier(max_trials=1, time_limit=None, settings=settings(), path=tmp_path / "run").fit(train)
    names = [a["filename"] for a in model.answers(tmp_path / "b")]
    assert len(set(names)) == 4
    told = model.history()
    assert told["epoch"].tolist() == [1, 2]
    assert told["loss"].notna().all()


# -- what cannot be scored --------------------------------------------------------------------------------------------


def test_objects_must_be_among_the_images_to_choose_on(tmp_path):
    images = shapes.objects(tmp_path, 6)
    bare = ImageSet.of("detection", [i.__class__(i.path, (), (), i.width, i.height) for i in images.images[3:]])
    with pytest.raises(DataError, match="none of 3 images to choose on holds an object"):
        ObjectDetector(max_trials=1, time_limit=None, settings=settings(OBJECTS, models=["fcos"])).fit(
            images.take([0, 1, 2]), bare
        )


def test_a_metric_must_be_told_on_the_images_to_choose_on(tmp_path):
    images = shapes.classes(tmp_path, 12)
    discs = images.take(range(0, 6, 2))
    model = ImageClassifier(metric="AUC_macro", max_trials=1, time_limit=None, settings=settings())
    with pytest.raises(DataError, match="AUC_macro cannot be told"):
        model.fit(images, discs)
    ImageClassifier(max_trials=1, time_limit=None, settings=settings()).fit(images, discs)


# -- settings ---------------------------------------------------------------------------------------------------------


def test_a_time_limit_of_the_settings_counts():
    given = Settings(search=SearchSettings(limits=ExitCriteria(time_limit=7200)))
    assert ImageClassifier(settings=given)._merged().search.limits.time_limit == 7200
    assert ImageClassifier(settings=given, time_limit=60)._merged().search.limits.time_limit == 60
    assert ImageClassifier()._merged().search.limits.time_limit == 600
    assert ImageClassifier(time_limit=None)._merged().search.limits.time_limit is None
    with pytest.raises(ConfigError, match="'long'"):
        ImageClassifier(time_limit="long")._merged()


def test_settings_with_paths_and_policies_are_kept(tmp_path):
    search = SearchSettings(policy=BanditPolicy(slack_factor=0.2), start=tmp_path, weights=tmp_path / "w.pt")
    again = settings_from_json(settings_to_json(Settings(search=search)))
    assert again.search.policy == {
        "type": "bandit",
        "slack_factor": 0.2,
        "slack_amount": None,
        "evaluation_interval": 1,
        "delay_evaluation": 0,
    }
    assert again.search.start == str(tmp_path)


def test_a_sweep_begins_within_its_space():
    space = {"training_batch_size": Choice((1, 2)), "learning_rate": Float(0.1, 0.2), "number_of_epochs": Int(2, 4)}
    for kind, name in (("multiclass", "efficientnet_lite0"), ("detection", "fcos")):
        first = choose(kind, SearchSettings(space=space, models=[name]), Machine(0))[0].values()
        assert first["training_batch_size"] == (1 if kind == "multiclass" else 2)
        assert first["learning_rate"] == 0.1
        assert first["number_of_epochs"] == 4


def test_torchvisions_weights_are_asked_of_torchvisions_networks():
    wanted = SearchSettings(weights="default")
    assert {c.values()["backbone"] for c in choose("multiclass", wanted, Machine(0))} == {"mobilenet_v2"}
    assert {c.values()["backbone"] for c in choose("detection", wanted, Machine(0))} == {"mobilenet_v2"}


def test_random_weights_are_neither_frozen_nor_normalised_as_if_known():
    bare = SearchSettings(weights="none")
    for candidate in choose("multiclass", bare, Machine(0)):
        if candidate.learner == "FineTuning":
            assert candidate.values()["frozen_statistics"] is False
    assert {c.values()["layers_to_freeze"] for c in choose("detection", bare, Machine(0))} == {0}


def test_networks_of_one_size_are_trained_at_it(tmp_path):
    params = {"backbone": "vit_b_16", "image_size": 0}
    sized = _sized(None, None, "vit_b_16", params, None, tmp_path / "c.pt")
    assert {sized[k] for k in ("valid_resize_size", "valid_crop_size", "train_crop_size")} == {224}


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "convnext_tiny", "resnet18"])
def test_files_of_torchvisions_weights_can_be_read(name, tmp_path):
    from torchvision import models

    torch.save(models.get_model(name).state_dict(), tmp_path / "w.pt")
    made = build(name, str(tmp_path / "w.pt"))
    state = torch.load(tmp_path / "w.pt", weights_only=True)
    for key, value in made.module.state_dict().items():
        torch.testing.assert_close(value, state[key])


def test_no_batch_is_larger_than_asked(tmp_path):
    train, test = shapes.classes(tmp_path / "a", 15), shapes.classes(tmp_path / "b", 4, seed=1)
    from vision.config import Training
    from vision.learners.base import TaskSettings, Work
    from vision.learners.classes import _Epochs

    own = TaskSettings(kind="multiclass", metric="accuracy", classes=train.classes, weights="none")
    plan = Training.of("multiclass", "efficientnet_lite0", QUICK)
    epochs = _Epochs(Work(train, test, own, tmp_path / "kept"), plan, torch.device("cpu"))
    sizes = [len(y) for _, y in epochs.job().batches(0)]
    assert sum(sizes) == 15
    assert max(sizes) <= 8


# -- objects ----------------------------------------------------------------------------------------------------------


def test_a_segmenter_goes_on_with_the_shape_it_had(tmp_path):
    train = shapes.objects(tmp_path / "a", 6, outlines=True)
    test = shapes.objects(tmp_path / "b", 2, seed=1, outlines=True)
    from vision.learners.objects import Detector

    own = settings(OBJECTS, models=["maskrcnn"])
    shaped = {"strides": "4,8,16,32", "channels": 64}
    whole = Detector.fit
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Detector, "fit", lambda self, work, params, *rest: whole(self, work, {**params, **shaped}, *rest))
        first = InstanceSegmenter(max_trials=1, time_limit=None, settings=own).fit(train, test)
    first.save(tmp_path / "model")
    slow = settings({**OBJECTS, "learning_rate": 1e-9}, models=["maskrcnn"], start=str(tmp_path / "model"))
    again = InstanceSegmenter(max_trials=1, time_limit=None, settings=slow).fit(train, test)
    before, after = (m._model.single(None) for m in (first, again))
    assert {k: after.params[k] for k in shaped} == shaped
    assert before.arrays.keys() == after.arrays.keys()
    moved = [k for k, v in before.arrays.items() if not np.allclose(v, after.arrays[k], atol=1e-4)]
    assert not [k for k in moved if "running" not in k and "batches" not in k]


def test_sizes_noted_in_labels_are_not_believed_when_scored(tmp_path, monkeypatch):
    train = shapes.objects(tmp_path / "a", 6, outlines=True)
    test = shapes.objects(tmp_path / "b", 3, seed=1, outlines=True)
    own = settings(OBJECTS, models=["maskrcnn"])
    model = InstanceSegmenter(max_trials=1, time_limit=None, settings=own).fit(train, test)
    right = model.evaluate(test)
    larger = [i.__class__(i.path, (), i.things, 10 * i.width, 10 * i.height) for i in test.images]
    assert model.evaluate(ImageSet.of("segmentation", larger)) == right
    predicted, whole = [], type(model)._predicted
    monkeypatch.setattr(type(model), "_predicted", lambda *given: predicted.append(1) or whole(*given))
    assert len(model.answers(test)) == 3
    files = model.draw(tmp_path / "drawn", test)
    assert len(predicted) == 1
    assert [load_picture(f).width >= 64 for f in files] == [True] * 3


def test_tiles_are_no_part_of_onnx(tmp_path):
    pytest.importorskip("onnxruntime")
    train, test = shapes.objects(tmp_path / "a", 6), shapes.objects(tmp_path / "b", 2, seed=1)
    own = settings({**OBJECTS, "tile_grid_size": "(2, 2)"}, models=["fcos"])
    model = ObjectDetector(max_trials=1, time_limit=None, settings=own).fit(train, test)
    with pytest.raises(ConfigError, match="tile_grid_size"):
        model.to_onnx(tmp_path / "model.onnx", images=test)
