"""torchvision's detectors as they come: names, weights of a file or a download, from labels to answers."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from automl.errors import ConfigError, LearnerError, ModelFileError
from tests.vision import shapes
from tests.vision.needs import require_torchvision
from vision import ObjectDetector, SearchSettings, Settings
from vision.portfolio import Machine, choose

torch = pytest.importorskip("torch")
require_torchvision()

from torchvision import models  # noqa: E402 - needs torchvision

from vision.models.detectors import WHOLE, build_detector, parse  # noqa: E402 - needs torchvision
from vision.networks.detectors import first_class, learning_mode, set_thresholds  # noqa: E402 - needs torchvision

SIZE = {"min_size": 64, "max_size": 96}
LITE = "ssdlite320_mobilenet_v3_large"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """File as torchvision's weights from COCO are: 91 classes, layers of batch normalisation without counts."""
    torch.manual_seed(3)
    network = models.get_model(LITE, weights=None, weights_backbone=None, num_classes=91)
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = None
    network.train().backbone(torch.rand(4, 3, 320, 320))  # statistics of images: without, all scores are alike
    state = network.state_dict()
    path = tmp_path_factory.mktemp("weights") / "lite.pth"
    torch.save({k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}, path)
    return path


def test_all_detectors_of_torchvision_are_known():
    known = {n for n in models.list_models(module=models.detection) if not n.startswith("keypoint")}
    assert set(WHOLE) == known
    assert all(parse(name) == (name, "") for name in known)


@pytest.mark.parametrize(
    "name",
    ["fasterrcnn_mobilenet_v3_large_320_fpn", "fcos_resnet50_fpn", "maskrcnn_resnet50_fpn_v2", "ssd300_vgg16", LITE],
)
def test_a_network_learns_and_predicts(name):
    torch.manual_seed(0)
    network = build_detector(name, "", 2, SIZE)
    first = first_class(network)
    mask = torch.zeros((1, 64, 64), dtype=torch.uint8)
    mask[0, 10:40, 20:50] = 1
    target = {"boxes": torch.tensor([[20.0, 10.0, 50.0, 40.0]]), "labels": torch.tensor([first + 1]), "masks": mask}
    image = torch.rand(3, 64, 64)
    learning_mode(network)
    loss = sum(network([image], [target]).values())
    loss.backward()
    assert torch.isfinite(loss)
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in network.backbone.parameters())
    network.eval()
    set_thresholds(network, score=0.0, nms=0.5, most=5)
    with torch.inference_mode():
        (found,) = network([image])
    assert len(found["scores"]) <= 5
    assert ("masks" in found) == name.startswith("maskrcnn")
    assert set((found["labels"] - first).tolist()) <= {0, 1}


def test_weights_of_other_classes_are_taken_but_for_the_head(weights, tmp_path):
    network = build_detector(LITE, "", 2, SIZE, str(weights))
    given = torch.load(weights, weights_only=True)
    own = network.state_dict()
    other = [k for k, v in given.items() if own[k].shape != v.shape]
    assert other
    assert all(k.startswith("head.classification_head.") for k in other)
    for k in set(given) - set(other):
        torch.testing.assert_close(own[k], given[k])
    with pytest.raises(ModelFileError, match=r"lite\.pth holds no weights of fcos_resnet50_fpn: backbone"):
        build_detector("fcos_resnet50_fpn", "", 2, SIZE, str(weights))
    with pytest.raises(ConfigError, match="no file of weights"):
        build_detector(LITE, "", 2, SIZE, str(tmp_path / "gone.pth"))


def test_weights_are_downloaded_or_it_is_said_that_they_cannot_be(weights, tmp_path, monkeypatch):
    def offline(*_, **__):
        raise OSError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(ConfigError, match=r"ssdlite.* cannot be downloaded: no network. Fix: .*efficientnet_lite0"):
        build_detector(LITE, "", 2, SIZE, "auto")
    monkeypatch.setattr(
        torch.hub, "download_url_to_file", lambda _url, to, *_, **__: Path(to).write_bytes(weights.read_bytes())
    )
    network = build_detector(LITE, "", 90, SIZE, "default")  # with the background as many classes as there
    for name, value in torch.load(weights, weights_only=True).items():
        torch.testing.assert_close(network.state_dict()[name], value)


def test_from_labels_to_answers(weights, tmp_path):
    train, test = shapes.objects(tmp_path / "a", 8), shapes.objects(tmp_path / "b", 3, seed=1)
    search = SearchSettings(
        workers=0, threads=1, weights=str(weights), models=["ssdlite"], fixed={"number_of_epochs": 1}
    )
    own = Settings(search=search)
    model = ObjectDetector(max_trials=1, time_limit=None, settings=own, path=tmp_path / "run").fit(train, test)
    member = model._model.single(None)
    assert (member.detector, member.backbone, member.params["min_size"]) == (LITE, "", 320)
    found = model.everything(test)
    assert sum(map(len, found)) > 0
    assert all(set(f.labels.tolist()) <= {0, 1} for f in found)
    again = ObjectDetector.load(tmp_path / "run")
    np.testing.assert_array_equal(again.everything(test)[0].boxes, found[0].boxes)
    if find_spec("onnxruntime"):
        assert again.to_onnx(tmp_path / "model.onnx", images=test).pixels <= 0.5
    other = Settings(search=SearchSettings(workers=0, models=["fcos"], start=str(tmp_path / "run")))
    with pytest.raises(LearnerError, match="no fcos_efficientnet_lite0 to begin with"):
        ObjectDetector(max_trials=1, time_limit=None, settings=other).fit(train, test)
    sized = Settings(search=SearchSettings(models=["ssdlite"], fixed={"min_size": 600}))
    with pytest.raises(ConfigError, match="made for images of 320 pixels"):
        ObjectDetector(settings=sized).fit(train, test)


def test_where_there_is_a_gpu_a_network_that_knows_objects_is_tried_after_the_first_answer():
    found = [dict(c.params) for c in choose("detection", SearchSettings(), Machine(1))]
    assert [c["detector"] for c in found] == ["fasterrcnn_resnet50_fpn_v2", "fcos", "fasterrcnn"]
    assert [c["learning_rate"] for c in found] == [1e-4, 5e-4, 5e-4]
    limits = SearchSettings().limits.__class__(time_limit=1800)
    long = [dict(c.params) for c in choose("segmentation", SearchSettings(limits=limits), Machine(1))]
    assert [c["detector"] for c in long] == ["maskrcnn", "maskrcnn_resnet50_fpn_v2", "maskrcnn"]
    assert [c.get("head_start") for c in long] == ["give", "take", "take"]
