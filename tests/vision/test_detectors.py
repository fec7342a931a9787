"""Detectors and augmentation: every one builds, learns and predicts; boxes and masks move along."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from automl.budget import Deadline
from automl.errors import ConfigError, UnknownNameError
from tests.vision import shapes
from tests.vision.needs import require_torchvision
from vision.config import Training
from vision.data.records import Image, ImageSet, Thing

torch = pytest.importorskip("torch")
require_torchvision()

from torchvision import tv_tensors  # noqa: E402 - needs torchvision
from torchvision.transforms import v2  # noqa: E402 - needs torchvision

from vision.augment import Augmentation, no_upside, train_transform  # noqa: E402 - needs torchvision
from vision.learners.base import TaskSettings, Work  # noqa: E402 - needs torchvision
from vision.learners.objects import ObjectMember, _Samples, _sized, best_thresholds, fitted_size, losses, seen  # noqa: E402 - needs torchvision
from vision.models.detectors import DETECTORS, WHOLE, anchors_for, build_detector, check_kind, parse  # noqa: E402 - needs torchvision
from vision.networks.detectors import learning_mode, set_thresholds  # noqa: E402 - needs torchvision
from vision.objects import Mask, Objects, true_objects  # noqa: E402 - needs torchvision
from vision.scores import average_precision  # noqa: E402 - needs torchvision

SMALL = {
    "min_size": 64,
    "max_size": 96,
    "box_score_thresh": 0.05,
    "box_nms_thresh": 0.5,
    "box_detections_per_img": 20,
    "channels": 32,
    "convolutions": 1,
    "box_width": 32,
    "mask_width": 16,
    "mask_pixel_score_threshold": 0.5,
}


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    images = shapes.objects(tmp_path_factory.mktemp("shapes"), 4, outlines=True)
    plan = Training(min_size=64, max_size=96)
    return _Samples(images.images, images.classes, plan, 100.0, masks=True)


@pytest.mark.parametrize("name", [n for n in DETECTORS if n not in WHOLE])
@pytest.mark.parametrize("body", ["efficientnet_lite0", "resnet18", "mobilenet_v2"])
def test_a_detector_learns_and_predicts(name, body, samples):
    torch.manual_seed(0)
    network = build_detector(name, body, 2, SMALL)
    images, targets = zip(*[samples.sample(k) for k in range(2)], strict=True)
    pictures = [i.float().div(255) for i in images]
    first = 0 if name in {"fcos", "retinanet"} else 1
    targets = [{**t, "labels": t["labels"] - 1 + first} for t in targets]
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    losses = []
    for _ in range(4):
        learning_mode(network)
        torch.manual_seed(1)
        loss = sum(network(pictures, targets).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    assert not any(m.training for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d))
    network.eval()
    set_thresholds(network, score=0.0, nms=0.5, most=5)
    with torch.inference_mode():
        found = network(pictures)
    assert all(len(f["scores"]) <= 5 for f in found)
    assert ("masks" in found[0]) == (name == "maskrcnn")


def test_names():
    assert parse("FasterRCNN_resnet34_fpn") == ("fasterrcnn", "resnet34")
    assert parse("fcos") == ("fcos", None)
    with pytest.raises(UnknownNameError, match="fcos"):
        parse("fcoss")
    with pytest.raises(ConfigError, match="maskrcnn"):
        check_kind("fcos", "segmentation")
    with pytest.raises(ConfigError, match="convolutional"):
        build_detector("fcos", "vit_b_16", 2, SMALL)


def test_anchors_follow_the_sizes_of_objects():
    small, large = (float(anchors_for(np.full((20, 2), side), (4, 8, 16)).split(",")[0]) for side in (9.0, 300.0))
    assert small < large
    assert anchors_for(np.zeros((0, 2)), (8, 16)) == "4,5.6"
    network = build_detector("fasterrcnn", "efficientnet_lite0", 2, {**SMALL, "anchors": "2,3"})
    assert network.rpn.anchor_generator.sizes == ((16, 24), (32, 48), (64, 96), (128, 192))
    with pytest.raises(ConfigError, match="anchors"):
        build_detector("retinanet", "efficientnet_lite0", 2, {**SMALL, "anchors": "small"})


def test_samples_hold_what_is_there(samples):
    image, target = samples.sample(1)
    assert image.shape == (3, 64, 64)
    pixels = image.permute(1, 2, 0).numpy().astype(int)
    for box, label, mask in zip(target["boxes"], target["labels"], target["masks"], strict=True):
        left, top, right, bottom = box.int().tolist()
        middle = pixels[(top + bottom) // 2, (left + right) // 2]
        assert middle.tolist() == list(shapes.COLOURS[samples.classes[int(label) - 1]])
        assert int(mask.sum()) == (bottom - top) * (right - left)


def test_boxes_and_masks_move_along():
    image = torch.zeros((3, 40, 60), dtype=torch.uint8)
    image[:, 5:15, 10:30] = 255
    mask = (image[:1] > 0).to(torch.uint8)
    target = {
        "boxes": tv_tensors.BoundingBoxes([[10.0, 5.0, 30.0, 15.0]], format="XYXY", canvas_size=(40, 60)),
        "labels": torch.tensor([1]),
        "masks": tv_tensors.Mask(mask),
    }
    moved, where = v2.RandomHorizontalFlip(p=1.0)(tv_tensors.Image(image), target)
    assert where["boxes"].tolist() == [[30.0, 5.0, 50.0, 15.0]]
    transform = train_transform("segmentation", 0, Augmentation(zoom=1.0, colour=0.0), turns=True)
    seen_sizes = set()
    for seed in range(25):
        torch.manual_seed(seed)
        moved, where = transform(tv_tensors.Image(image), dict(target))
        if not len(where["labels"]):
            continue
        left, top, right, bottom = where["boxes"][0].tolist()
        y, x = np.nonzero(where["masks"][0].numpy())
        # the box holds the mask, and the mask the white pixels
        assert left - 1.5 <= x.min() <= x.max() <= right + 0.5
        assert top - 1.5 <= y.min() <= y.max() <= bottom + 0.5
        white = (moved.float().mean(dim=0) > 200).numpy()
        assert (white == (where["masks"][0].numpy() > 0)).mean() > 0.99
        seen_sizes.add(tuple(moved.shape))
    assert len(seen_sizes) > 5
    results = []
    for _ in range(2):
        torch.manual_seed(4)
        results.append(transform(tv_tensors.Image(image), dict(target))[1]["boxes"].tolist())
    assert results[0] == results[1]


def test_transforms_of_classes_keep_size_and_colour_kind():
    image = torch.randint(0, 255, (3, 50, 70), dtype=torch.uint8)
    out = train_transform("multiclass", 32, Augmentation())(image)
    assert (out.shape, out.dtype) == ((3, 32, 32), torch.uint8)
    with pytest.raises(ConfigError, match="crop"):
        Augmentation(crop=0.0)


def test_up_is_up_where_objects_lie_so():
    rng = np.random.default_rng(0)

    def at(y, wide):
        n = len(y)
        boxes = np.stack([np.full(n, 0.1), y, np.full(n, 0.1) + wide, y + 0.1], axis=1)
        return Objects(boxes, np.zeros(n, dtype=np.int64), np.ones(n))

    anywhere = [at(rng.uniform(0, 0.9, 50), rng.uniform(0.06, 0.15, 50)) for _ in range(10)]
    assert no_upside(anywhere)
    assert not no_upside([at(rng.uniform(0.5, 0.9, 50), 0.1) for _ in range(10)])
    assert not no_upside([at(rng.uniform(0, 0.9, 50), 0.2) for _ in range(10)])
    assert not no_upside(anywhere[:0])


def test_the_size_an_image_is_looked_at():
    assert fitted_size((480, 360), {"min_size": 320, "max_size": 512}) == (427, 320)
    assert fitted_size((1000, 200), {"min_size": 320, "max_size": 512}) == (512, 102)


@pytest.mark.parametrize(("side", "size"), [(0.3, 320), (0.08, 416), (0.02, 480)])
def test_small_objects_are_looked_at_larger(side, size, tmp_path):
    things = tuple(Thing("a", (x, 0.1, x + side, 0.1 + side)) for x in (0.1, 0.4, 0.6))
    images = ImageSet("detection", (Image(str(tmp_path / "a.png"), (), things, 256, 256),), ("a",))
    work = Work(images, images, TaskSettings(kind="detection", metric="", classes=("a",)), tmp_path)
    trial = SimpleNamespace(deadline=Deadline.after(None), seed=0, number=0)
    given = {"image_size": 0, "learning_rate": 1e-3}
    checkpoint = tmp_path / "new" / "kept.pt"
    found = _sized(work, "fcos", "efficientnet_lite0", given, trial, checkpoint)
    assert found == {"min_size": size, "max_size": round(1.6 * size), "learning_rate": 1e-3}
    other = Work(images.take([]), images, work.settings, tmp_path)  # what was kept is taken
    assert _sized(other, "fcos", "efficientnet_lite0", given, trial, checkpoint) == found


def test_the_threshold_that_finds_most_and_invents_least():
    box = np.array([[0.1, 0.1, 0.3, 0.3]])
    truth = [Objects(box, np.array([0]), np.ones(1))] * 10
    both = Objects(np.concatenate([box, box + 0.5]), np.array([0, 0]), np.array([0.6, 0.4]))
    (least,) = best_thresholds(truth, [both] * 10, 1, masks=False)
    assert 0.4 < least < 0.6
    assert best_thresholds(truth, [both.take([])] * 10, 2, masks=False) == [0.3, 0.3]


@pytest.mark.parametrize(("shift", "chosen", "reported"), [(0.0, -1.0, -1.0), (0.03, -0.5, -1.0), (0.2, 0.0, 0.0)])
def test_boxes_that_are_off_are_worse_also_where_the_reported_score_is_full(shift, chosen, reported):
    box = np.array([[0.1, 0.1, 0.3, 0.3]])
    truth = [Objects(box, np.array([0]), np.ones(1))]
    found = [Objects(box + np.array([shift, 0, shift, 0]), np.array([0]), np.ones(1))]
    assert losses(truth, found, ("a",), masks=False) == pytest.approx((chosen, reported))
    nothing = [truth[0].take([])]
    assert losses(nothing, found, ("a",), masks=False) == (0.0, 0.0)


@pytest.mark.parametrize(("images", "own"), [(200, True), (1, False)])
def test_a_class_has_a_threshold_of_its_own_once_it_has_many_objects(images, own):
    box = np.array([[0.1, 0.1, 0.3, 0.3]])
    many = (
        Objects(box, np.array([0]), np.ones(1)),
        Objects(np.concatenate([box, box + 0.5]), np.array([0, 0]), np.array([0.8, 0.6])),
    )
    few = (
        Objects(box, np.array([1]), np.ones(1)),
        Objects(np.concatenate([box, box + 0.5]), np.array([1, 1]), np.array([0.4, 0.2])),
    )
    truth, found = zip(*([many] * 400 + [few] * images), strict=True)
    first, second = best_thresholds(truth, found, 2, masks=False)
    assert 0.6 < first < 0.8
    assert (0.2 < second < 0.4) if own else second == first


def test_a_threshold_for_each_class_decides_what_is_given_and_counted():
    boxes = np.array([[0.1, 0.1, 0.3, 0.3], [0.5, 0.5, 0.8, 0.8], [0.2, 0.6, 0.3, 0.7]])
    found = Objects(boxes, np.array([0, 1, 1]), np.array([0.6, 0.5, 0.3]))
    params = {"box_score_thresh": 0.4, "box_detections_per_img": 100, "class_score_thresh": [0.7, 0.4]}
    member = ObjectMember("Detector", "detection", "fcos", "efficientnet_lite0", ("a", "b"), params, {})
    assert member.given(found).scores.tolist() == [0.5]
    truth = replace(found, scores=np.ones(3))
    rows = average_precision([truth], [found], ("a", "b"), least=member.least()).per_label
    assert [(r["found"], r["right"]) for r in rows] == [(0, 0), (1, 1)]
    for one in (0.4, np.array([0.4])):  # runs of earlier versions kept one score
        rows = average_precision([truth], [found], ("a", "b"), least=one).per_label
        assert [r["found"] for r in rows] == [1, 1]
    old = replace(member, params={k: v for k, v in params.items() if k != "class_score_thresh"})
    assert old.given(found).scores.tolist() == [0.6, 0.5]


class Everywhere:
    """A detector that finds what is bright: one box around it; of the left half alone where that is asked for."""

    def __init__(self, share=1.0):
        self.share = share

    def __call__(self, images):
        out = []
        for whole in images:
            image = whole[:, :, : int(self.share * whole.shape[2])]
            y, x = torch.nonzero(image.mean(dim=0) > 0.9, as_tuple=True)
            boxes = [[x.min(), y.min(), x.max() + 1, y.max() + 1]] if len(x) else torch.zeros((0, 4))
            n = len(boxes)
            out.append(
                {
                    "boxes": torch.as_tensor(boxes, dtype=torch.float32).reshape(n, 4),
                    "labels": torch.zeros(n, dtype=torch.int64),
                    "scores": torch.full((n,), 0.9),
                }
            )
        return out


@pytest.mark.parametrize("grid", ["none", "(3, 2)"])
def test_tiles_give_objects_of_the_whole_image(grid):
    from PIL import Image as Pillow

    pixels = np.zeros((120, 180, 3), dtype=np.uint8)
    pixels[20:26, 30:38] = 255
    params = {**SMALL, "tile_grid_size": grid, "tile_overlap_ratio": 0.25, "tile_predictions_nms_thresh": 0.25}
    found = seen(Everywhere(), Pillow.fromarray(pixels), params, torch.device("cpu"), masks=False)
    assert len(found) == 1
    np.testing.assert_allclose(found.boxes[0] * [180, 120, 180, 120], [30, 20, 38, 26], atol=3)


@pytest.mark.parametrize("mirrored", [False, True])
def test_mirror_images_show_what_the_image_does_not(mirrored):
    from PIL import Image as Pillow

    pixels = np.zeros((64, 96, 3), dtype=np.uint8)
    pixels[20:26, 10:18] = 255
    pixels[40:50, 60:80] = 255
    found = seen(
        Everywhere(0.5), Pillow.fromarray(pixels), {**SMALL, "mirrored": mirrored}, torch.device("cpu"), masks=False
    )
    right = [[60, 40, 80, 50]] if mirrored else []
    np.testing.assert_allclose(found.boxes * [96, 64, 96, 64], [[10, 20, 18, 26], *right], atol=1e-6)


def test_true_objects_of_samples_are_those_of_the_image(samples):
    own = true_objects(samples.images[0], samples.classes, masks=True)
    assert all(isinstance(m, Mask) for m in own.masks)
    np.testing.assert_allclose(own.boxes, samples.objects(0).boxes)
