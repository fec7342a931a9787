"""Augmentation: boxes and masks lie where the pixels went, nothing is invented around them, seeds decide."""

import pytest

from automl.errors import ConfigError
from tests.vision.needs import require_torchvision

torch = pytest.importorskip("torch")
require_torchvision()

from torchvision import tv_tensors  # noqa: E402 - needs torchvision

from vision.augment import Augmentation, train_transform  # noqa: E402 - needs torchvision

HEIGHT, WIDTH = 40, 60
PLACES = ((5, 10, 25, 20), (40, 0, 60, 12), (30, 28, 36, 40))
"""Left, top, right, bottom of white rectangles; two of them touch an edge."""


def sample(places=PLACES):
    image = torch.zeros((3, HEIGHT, WIDTH), dtype=torch.uint8)
    masks = torch.zeros((len(places), HEIGHT, WIDTH), dtype=torch.uint8)
    for k, (left, top, right, bottom) in enumerate(places):
        image[:, top:bottom, left:right] = 255
        masks[k, top:bottom, left:right] = 1
    boxes = torch.tensor(places, dtype=torch.float32).reshape(-1, 4)
    return tv_tensors.Image(image), {
        "boxes": tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=(HEIGHT, WIDTH)),
        "labels": torch.arange(1, len(places) + 1),
        "masks": tv_tensors.Mask(masks),
    }


def moved(seed, places=PLACES, *, turns=False, **fields):
    torch.manual_seed(seed)
    return train_transform("segmentation", 0, Augmentation(**fields), turns=turns)(*sample(places))


def edges(mask):
    y, x = torch.nonzero(mask, as_tuple=True)
    return [x.min().item(), y.min().item(), x.max().item() + 1, y.max().item() + 1]


@pytest.mark.parametrize("fields", [{"zoom": 0.0}, {"zoom": 0.0, "turns": True}, {"zoom": 1.0}])
def test_boxes_end_where_masks_end_and_masks_are_the_white_pixels(fields):
    for seed in range(40):
        image, target = moved(seed, colour=0.0, turns=fields.get("turns", False), zoom=fields["zoom"])
        assert len(target["boxes"]) == len(target["labels"]) == len(target["masks"])
        assert [edges(m) for m in target["masks"]] == target["boxes"].tolist()
        assert image.shape[1:] == target["masks"].shape[1:]
        if not fields["zoom"]:
            assert torch.equal(image[0] > 200, target["masks"].sum(dim=0) > 0)


@pytest.mark.parametrize(
    ("flip", "turns", "expected"),
    [
        (False, False, {(5, 10, 25, 20)}),
        (True, False, {(5, 10, 25, 20), (35, 10, 55, 20)}),
        (False, True, {(5, 10, 25, 20), (5, 20, 25, 30), (10, 35, 20, 55), (20, 35, 30, 55)}),
    ],
)
def test_every_place_that_flips_and_turns_lead_to_and_no_other(flip, turns, expected):
    seen = set()
    for seed in range(60):
        _, target = moved(seed, PLACES[:1], flip=flip, turns=turns, zoom=0.0, colour=0.0)
        seen.add(tuple(int(v) for v in target["boxes"][0].tolist()))
    assert seen == expected


def test_masks_hold_zeros_and_ones_however_far_an_image_is_zoomed_out():
    larger = 0
    for seed in range(60):
        image, target = moved(seed, turns=True, zoom=1.0)
        larger += image.shape[1] * image.shape[2] > HEIGHT * WIDTH
        assert set(target["masks"].unique().tolist()) <= {0, 1}
        assert all(mask.any() for mask in target["masks"])
    assert larger > 5


def test_labels_stay_with_their_objects_where_crops_leave_some_out():
    """One rectangle fills most of the image; crops to it lose those in the corners. Widths tell them apart."""
    places = ((4, 3, 50, 37), (54, 0, 60, 3), (55, 36, 60, 40))
    fewer = 0
    for seed in range(80):
        _, target = moved(seed, places, zoom=1.0, colour=0.0)
        fewer += len(target["labels"]) < len(places)
        for (left, _, right, _), label in zip(target["boxes"].tolist(), target["labels"].tolist(), strict=True):
            assert (right - left > 10) == (label == 1)
            assert label == 1 or right - left <= {2: 6, 3: 5}[label]
    assert fewer > 5


def test_images_without_objects_pass():
    for seed in range(30):
        image, target = moved(seed, (), turns=True, zoom=1.0)
        assert target["boxes"].shape == (0, 4)
        assert target["masks"].shape == (0, *image.shape[1:])


def test_masks_are_not_needed():
    image, target = sample()
    del target["masks"]
    torch.manual_seed(0)
    out, left = train_transform("detection", 0, Augmentation(), turns=True)(image, target)
    assert out.dtype == torch.uint8
    assert set(left) == {"boxes", "labels"}


def test_what_was_given_is_left_as_it_was():
    image, target = sample()
    for seed in range(10):
        torch.manual_seed(seed)
        train_transform("segmentation", 0, Augmentation(zoom=1.0), turns=True)(image, target)
    assert torch.equal(image, sample()[0])
    assert torch.equal(target["masks"], sample()[1]["masks"])


def test_a_seed_decides_and_seeds_differ():
    one, same, other = (moved(seed, turns=True, zoom=1.0) for seed in (3, 3, 4))
    assert torch.equal(one[0], same[0])
    assert torch.equal(one[1]["boxes"], same[1]["boxes"])
    assert torch.equal(one[1]["masks"], same[1]["masks"])
    assert one[0].shape != other[0].shape or not torch.equal(one[0], other[0])


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_images_of_classes_have_one_size_and_are_never_upside_down(kind):
    image = torch.zeros((3, 50, 70), dtype=torch.uint8)
    image[:, :25] = 255
    transform = train_transform(kind, 32, Augmentation(crop=0.9, colour=0.0), turns=True)
    for seed in range(20):
        torch.manual_seed(seed)
        out = transform(image)
        assert (out.shape, out.dtype) == ((3, 32, 32), torch.uint8)
        assert out[:, :8].float().mean() > 200 > 50 > out[:, -8:].float().mean()


@pytest.mark.parametrize(("name", "value"), [("crop", 0.0), ("zoom", -0.1), ("colour", 1.5)])
def test_impossible_strengths_are_named(name, value):
    with pytest.raises(ConfigError, match=name):
        Augmentation(**{name: value})
