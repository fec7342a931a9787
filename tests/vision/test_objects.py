"""Objects: outlines to masks and back, overlaps, suppression, storage; against exact masks and pycocotools."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from automl.errors import ConfigError, DataError
from vision.data.reading import read_images
from vision.data.records import Image, Thing
from vision.objects import (
    Mask,
    Objects,
    boxes_overlap,
    flipped,
    from_arrays,
    joined,
    mask_outlines,
    masks_overlap,
    outline_mask,
    overlap,
    suppress,
    to_arrays,
    true_objects,
)
from vision.scores import full_mask

DATA = Path(os.environ.get("FORECASTLE_DATA", Path(__file__).resolve().parents[3] / "shared" / "data" / "timeseries"))
TRACED = DATA.parent / "vision" / "nuclei_instance_seg"


def cropped(whole):
    """Mask of a bool image."""
    rows, columns = np.flatnonzero(whole.any(axis=1)), np.flatnonzero(whole.any(axis=0))
    top, left = rows[0], columns[0]
    return Mask(int(left), int(top), whole[top : rows[-1] + 1, left : columns[-1] + 1])


def disc(x, y, radius, size=(120, 80)):
    rows, columns = np.mgrid[: size[1], : size[0]] + 0.5
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


def blob(rng, size=(120, 80)):
    """A few discs that hang together, and perhaps one apart."""
    whole = np.zeros((size[1], size[0]), dtype=bool)
    x, y = rng.uniform(20, 100), rng.uniform(15, 65)
    for _ in range(int(rng.integers(1, 5))):
        radius = rng.uniform(4, 14)
        whole |= disc(x, y, radius, size)
        x, y = x + rng.uniform(-radius, radius), y + rng.uniform(-radius, radius)
    return cropped(whole)


def found(boxes, labels=None, scores=None, **more):
    n = len(boxes)
    return Objects(
        np.array(boxes, dtype=float).reshape(n, 4),
        np.zeros(n, dtype=np.int64) if labels is None else np.array(labels, dtype=np.int64),
        np.linspace(0.9, 0.1, n) if scores is None else np.array(scores, dtype=float),
        **more,
    )


# -- true objects -----------------------------------------------------------------------------------------------------


def test_true_objects_have_boxes_codes_and_crowds():
    things = (Thing("b", (0.1, 0.2, 0.3, 0.4)), Thing("a", (0.5, 0.5, 1.0, 1.0), crowd=True))
    made = true_objects(Image("x.png", (), things, 40, 20), ("a", "b"))
    assert made.labels.tolist() == [1, 0]
    assert made.boxes.tolist() == [[0.1, 0.2, 0.3, 0.4], [0.5, 0.5, 1.0, 1.0]]
    assert made.crowd.tolist() == [False, True]
    assert made.scores.tolist() == [1, 1]
    assert made.size == (40, 20)
    assert made.masks is None


def test_an_image_without_objects_has_none():
    made = true_objects(Image("x.png"), ("a",), masks=True)
    assert len(made) == 0
    assert made.boxes.shape == (0, 4)
    assert made.masks == ()


def test_an_object_without_outline_has_its_box_as_mask():
    image = Image("x.png", (), (Thing("a", (0.25, 0.5, 0.75, 1.0), crowd=True),), 8, 4)
    (mask,) = true_objects(image, ("a",), masks=True).masks
    assert (mask.left, mask.top, mask.bits.shape, mask.area) == (2, 2, (2, 4), 8)


def test_parts_of_an_outline_are_joined():
    square = (0.0, 0.0, 0.25, 0.0, 0.25, 0.5, 0.0, 0.5)
    other = (0.5, 0.5, 1.0, 0.5, 1.0, 1.0, 0.5, 1.0)
    image = Image("x.png", (), (Thing("a", (0.0, 0.0, 1.0, 1.0), False, (square, other)),), 8, 4)
    (mask,) = true_objects(image, ("a",), masks=True).masks
    whole = full_mask(mask, (8, 4))
    assert whole[:2, :2].all()
    assert whole[2:, 4:].all()
    assert whole.sum() == 4 + 8


def test_true_objects_say_what_is_wrong():
    image = Image("x.png", (), (Thing("z", (0.1, 0.2, 0.3, 0.4)),))
    with pytest.raises(DataError, match=r"x\.png has objects of 'z'"):
        true_objects(image, ("a",))
    with pytest.raises(DataError, match="need its size in pixels"):
        true_objects(image, ("z",), masks=True)


def traced(size=(40, 30)):
    """A thing whose outline lists the outermost pixels of an object, as tracing gives them."""
    left, top, right, bottom = 5, 4, 20, 16  # the object has columns 5..20 and rows 4..16
    points = [(left, top), (right, top), (right, bottom), (left, bottom)]
    outline = tuple(v / side for point in points for v, side in zip(point, size, strict=True))
    box = (left / size[0], top / size[1], (right + 1) / size[0], (bottom + 1) / size[1])
    return Image("x.png", (), (Thing("a", box, False, (outline,)),), *size)


def test_outlines_through_the_outermost_pixels_include_them():
    (mask,) = true_objects(traced(), ("a",), masks=True).masks
    assert (mask.left, mask.top, mask.bits.shape) == (5, 4, (13, 16))
    assert mask.bits.all()


def test_traced_outlines_keep_their_place_at_another_size():
    (mask,) = true_objects(traced(), ("a",), (80, 60), masks=True).masks
    whole = np.zeros((60, 80), dtype=bool)
    whole[8:34, 10:42] = True
    assert masks_overlap([mask], [cropped(whole)])[0, 0] > 0.97


def test_outlines_along_edges_of_pixels_do_not_grow():
    box = (0.25, 0.25, 0.75, 0.75)
    image = Image("x.png", (), (Thing("a", box, False, ((0.25, 0.25, 0.75, 0.25, 0.75, 0.75, 0.25, 0.75),)),), 8, 8)
    assert true_objects(image, ("a",), masks=True).masks[0].area == 16


@pytest.mark.skipif(not TRACED.is_dir(), reason="the public set with exact masks is not here; set FORECASTLE_DATA")
def test_masks_of_a_public_set_are_those_its_outlines_were_traced_from():
    images = read_images(TRACED / "val.json", "segmentation", images=TRACED / "images").images[:12]
    entries = {e["file_name"]: e["mask_file"] for e in json.loads((TRACED / "val.json").read_text())["images"]}
    best = []
    for image in images:
        exact = np.asarray(Pillow.open(TRACED / "masks" / entries[Path(image.path).name])).astype(int)
        true = [cropped(exact == number) for number in np.unique(exact)[1:]]
        masks = true_objects(image, ("nucleus",), masks=True).masks
        best += masks_overlap(masks, true).max(axis=1).tolist()
    assert len(best) > 100
    assert np.mean(best) > 0.98
    assert min(best) > 0.85


# -- outlines ---------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_masks_agree_with_pycocotools():
    codec = pytest.importorskip("pycocotools.mask", reason="pycocotools is the oracle")
    rng = np.random.default_rng(0)
    for _ in range(30):
        angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 12))))
        radius = rng.uniform(8, 30, len(angles))
        points = np.column_stack([60 + radius * np.cos(angles), 40 + radius * np.sin(angles)])
        mine = full_mask(outline_mask([(points / [120, 80]).ravel()], (120, 80)), (120, 80))
        theirs = codec.decode(codec.merge(codec.frPyObjects([points.ravel().tolist()], 80, 120)))
        differs = (mine != theirs).sum()
        assert differs <= 0.25 * np.hypot(*(np.roll(points, -1, axis=0) - points).T).sum() + 4  # only along the edge


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_outlines_give_the_mask_back(seed):
    mask = blob(np.random.default_rng(seed))
    again = outline_mask(mask_outlines(mask, (120, 80), 10_000), (120, 80))
    filled = full_mask(again, (120, 80)) | full_mask(mask, (120, 80))
    assert filled.sum() == again.area  # holes are filled, nothing else differs
    assert again.area <= mask.area * 1.2
    few = mask_outlines(mask, (120, 80), 24)
    assert all(len(part) <= 48 for part in few)
    assert masks_overlap([again], [outline_mask(few, (120, 80))])[0, 0] >= 0.9


def test_a_large_mask_keeps_its_form_with_few_points():
    mask = cropped(disc(600, 500, 300, (1200, 1000)))
    (outline,) = mask_outlines(mask, (1200, 1000), 100)
    assert len(outline) == 200
    assert masks_overlap([mask], [outline_mask([outline], (1200, 1000))])[0, 0] > 0.995


def test_parts_come_largest_first_and_holes_not_at_all():
    whole = disc(30, 40, 20) | disc(90, 40, 8)
    whole &= ~disc(30, 40, 6)
    outlines = mask_outlines(cropped(whole), (120, 80))
    assert len(outlines) == 2
    areas = [outline_mask([part], (120, 80)).area for part in outlines]
    assert areas[0] == disc(30, 40, 20).sum()
    assert areas[1] == disc(90, 40, 8).sum()


def test_one_pixel_and_none():
    one = Mask(3, 2, np.ones((1, 1), dtype=bool))
    (outline,) = mask_outlines(one, (8, 8))
    again = outline_mask([outline], (8, 8))
    assert (again.left, again.top, again.area) == (3, 2, 1)
    assert mask_outlines(Mask(0, 0, np.zeros((2, 2), dtype=bool)), (8, 8)) == ()
    assert outline_mask([], (8, 8)).area == 0


def test_a_mask_at_the_edge_stays_within_the_image():
    mask = Mask(0, 0, np.ones((8, 8), dtype=bool))
    (outline,) = mask_outlines(mask, (8, 8))
    assert min(outline) >= 0
    assert max(outline) <= 1
    assert outline_mask([outline], (8, 8)).area == 64


def test_an_outline_needs_three_points():
    with pytest.raises(ConfigError, match="most_points must be at least 3, got 2"):
        mask_outlines(Mask(0, 0, np.ones((2, 2), dtype=bool)), (8, 8), 2)


# -- overlaps ---------------------------------------------------------------------------------------------------------


def test_overlaps_of_boxes_by_hand():
    near = boxes_overlap(np.array([[0, 0, 2, 2], [5, 5, 5, 6]]), np.array([[1, 1, 3, 3], [0, 0, 2, 2], [2, 0, 4, 2]]))
    np.testing.assert_allclose(near, [[1 / 7, 1, 0], [0, 0, 0]])
    assert boxes_overlap(np.zeros((0, 4)), np.zeros((3, 4))).shape == (0, 3)


def test_overlaps_agree_with_pycocotools_crowds_included():
    codec = pytest.importorskip("pycocotools.mask", reason="pycocotools is the oracle")
    rng = np.random.default_rng(1)
    for masks in (False, True):
        shapes = [[blob(rng) for _ in range(9)] for _ in range(2)]
        one, other = (
            found([[m.left, m.top, m.left + m.bits.shape[1], m.top + m.bits.shape[0]] for m in side], masks=tuple(side))
            for side in shapes
        )
        crowd = rng.random(9) < 0.4
        true = Objects(other.boxes, other.labels, other.scores, other.masks, crowd)
        if masks:
            sides = [[codec.encode(np.asfortranarray(full_mask(m, (120, 80)))) for m in o.masks] for o in (one, true)]
        else:
            sides = [np.column_stack([o.boxes[:, :2], o.boxes[:, 2:] - o.boxes[:, :2]]) for o in (one, true)]
        np.testing.assert_allclose(overlap(one, true, masks=masks), codec.iou(*sides, crowd.astype(np.uint8)))


def test_masks_are_needed_where_they_are_compared():
    with pytest.raises(DataError, match="1 objects have boxes only"):
        overlap(
            found([[0, 0, 1, 1]]), found([[0, 0, 1, 1]], masks=(Mask(0, 0, np.ones((1, 1), dtype=bool)),)), masks=True
        )
    assert overlap(found([]), found([]), masks=True).shape == (0, 0)


# -- suppression ------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 0.9))
def test_what_is_left_does_not_overlap_and_covers_what_went(seed, threshold):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 0.7, (25, 2))
    boxes = np.column_stack([corner, corner + rng.uniform(0.05, 0.3, (25, 2))])
    given_ = found(boxes, rng.integers(0, 3, 25), rng.permutation(25) / 25)
    left = suppress(given_, threshold)
    assert (np.diff(left.scores) < 0).all()
    same = left.labels[:, None] == left.labels
    near = boxes_overlap(left.boxes, left.boxes)
    assert not (same & (near > threshold) & ~np.eye(len(left), dtype=bool)).any()
    gone = given_.take(~np.isin(given_.scores, left.scores))
    covers = (boxes_overlap(gone.boxes, left.boxes) > threshold) & (gone.labels[:, None] == left.labels)
    assert (covers & (left.scores > gone.scores[:, None])).any(axis=1).all()


def test_suppression_agrees_with_torchvision():
    torch = pytest.importorskip("torch", reason="torchvision is the oracle")
    ops = pytest.importorskip("torchvision.ops", reason="torchvision is the oracle")
    rng = np.random.default_rng(2)
    corner = rng.uniform(0, 0.7, (80, 2))
    boxes = np.column_stack([corner, corner + rng.uniform(0.05, 0.4, (80, 2))])
    given_ = found(boxes, rng.integers(0, 3, 80), rng.random(80))
    kept = ops.batched_nms(*(torch.tensor(x) for x in (given_.boxes, given_.scores, given_.labels)), 0.4)
    np.testing.assert_array_equal(suppress(given_, 0.4).scores, given_.scores[kept.numpy()])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_mirrored_twice_is_as_before_and_masks_move_with_their_boxes(seed):
    rng = np.random.default_rng(seed)
    width, height = rng.integers(4, 30, 2).tolist()
    whole = rng.random((height, width)) < 0.3
    left, top = int(rng.integers(0, width - 1)), int(rng.integers(0, height - 1))
    mask = Mask(left, top, whole[top:, left:])
    box = [left / width, top / height, 1, 1]
    one = Objects(np.array([box]), np.array([0]), np.ones(1), (mask,), None, (width, height))
    mirror = flipped(one)
    np.testing.assert_array_equal(full_mask(mirror.masks[0], one.size), full_mask(mask, one.size)[:, ::-1])
    twice = flipped(mirror)
    np.testing.assert_allclose(twice.boxes, one.boxes, atol=1e-12)
    assert (twice.masks[0].left, twice.masks[0].top) == (left, top)
    np.testing.assert_array_equal(twice.masks[0].bits, mask.bits)


def test_views_are_joined_in_order():
    a, b = found([[0, 0, 1, 1]], [0], [0.5]), found([[0, 0, 0.5, 0.5]], [1], [0.9])
    both = joined([a, b])
    assert both.scores.tolist() == [0.5, 0.9]
    assert both.labels.tolist() == [0, 1]
    assert both.masks is None


def test_nothing_is_suppressed_of_nothing():
    assert len(suppress(found([]), 0.5)) == 0


# -- storage ----------------------------------------------------------------------------------------------------------


def test_arrays_hold_everything(tmp_path):
    rng = np.random.default_rng(3)
    square = [[0.1, 0.2, 0.3, 0.4]]
    masks = tuple(blob(rng) for _ in range(3))
    objects = [
        found(square * 3, [2, 0, 1], masks=masks, size=(120, 80)),
        found([], masks=(), size=(5, 6)),
        found(square * 2, crowd=np.array([True, False])),
        found([]),
        found(square, masks=(Mask(4, 5, np.zeros((0, 0), dtype=bool)),), crowd=np.array([False]), size=(1, 2)),
    ]
    np.savez(tmp_path / "objects.npz", **to_arrays(objects))
    with np.load(tmp_path / "objects.npz") as held:
        again = from_arrays(held)
    assert len(again) == len(objects)
    for one, other in zip(objects, again, strict=True):
        assert one.size == other.size
        for name in ("boxes", "labels", "scores", "crowd"):
            a, b = getattr(one, name), getattr(other, name)
            assert (a is None) == (b is None)
            if a is not None:
                assert a.dtype == b.dtype
                np.testing.assert_array_equal(a, b)
        assert (one.masks is None) == (other.masks is None)
        for mask, back in zip(one.masks or (), other.masks or (), strict=True):
            assert (mask.left, mask.top) == (back.left, back.top)
            assert back.bits.dtype == bool
            np.testing.assert_array_equal(mask.bits, back.bits)


def test_no_images_at_all():
    assert from_arrays(to_arrays([])) == []


def test_taking_some():
    some = found([[0, 0, 1, 1], [0, 0, 0.5, 0.5]], [0, 1], crowd=np.array([True, False]))
    assert some.take(np.array([False, True])).labels.tolist() == [1]
    assert some.take(np.array([1, 0])).crowd.tolist() == [False, True]
    assert len(some.take(np.array([], dtype=int))) == 0
