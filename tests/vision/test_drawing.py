"""Pictures of predictions: what is drawn lies where it should, and the page holds it all."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image as Pillow

from vision.drawing import draw_heat, draw_labels, draw_objects, gallery
from vision.objects import Mask, Objects


def test_boxes_and_masks_are_drawn_where_they_are():
    grey = Pillow.new("RGB", (500, 500), (90, 90, 90))
    bits = np.ones((50, 50), dtype=bool)
    found = Objects(
        np.array([[0.2, 0.2, 0.4, 0.4]]), np.array([0]), np.array([0.9]), (Mask(110, 110, bits),), None, (500, 500)
    )
    truth = Objects(np.array([[0.6, 0.6, 0.9, 0.9]]), np.array([0]), np.ones(1))
    changed = (np.asarray(draw_objects(grey, found, truth, ["cell"])) != 90).any(axis=2)
    assert changed[150, 150]  # the mask
    assert not changed[180, 180]  # inside the box, outside the mask
    assert changed[100:200, 100].all()
    assert changed[300, 300:450].any()
    assert not changed[500 - 20 :, :100].any()


def test_small_pictures_are_enlarged_and_nothing_is_needed():
    small = Pillow.new("RGB", (60, 40), (10, 10, 10))
    assert draw_objects(small, None, None, []).size == (720, 480)
    assert draw_labels(small, ["true cat", "said dog"], right=False).height > 480
    heat = np.zeros((40, 60))
    heat[:20] = 1
    shown = np.asarray(draw_heat(small, heat)).mean(axis=2)
    assert shown[:200].mean() > 2 * shown[280:].mean()


def test_a_gallery_holds_its_pictures(tmp_path):
    entries = [(Pillow.new("RGB", (20, 20)), f"picture {k} <b>") for k in range(3)]
    text = gallery(tmp_path / "a" / "worst.html", entries, title="Worst").read_text()
    assert text.count("<img ") == 3
    assert "<b>" not in text
    assert "http" not in text


def one(box, label=0, score=1.0, mask=None, size=(200, 200)):
    return Objects(np.array([box]), np.array([label]), np.array([score]), None if mask is None else (mask,), None, size)


def changed(before, after):
    return (np.asarray(after).astype(int) != np.asarray(before.resize(after.size))).any(axis=2)


@pytest.mark.parametrize("ground", [0, 255])
def test_true_objects_show_on_any_ground(ground):
    grey = Pillow.new("RGB", (500, 500), (ground,) * 3)
    line = np.asarray(draw_objects(grey, None, one((0.2, 0.2, 0.8, 0.8)), ["cell"]))[100, 110:390]
    assert {(255, 255, 255), (20, 20, 20)} <= {tuple(p) for p in line.tolist()}


def test_true_masks_are_drawn_along_their_outline():
    grey = Pillow.new("RGB", (500, 500), (90, 90, 90))
    bits = np.hypot(*(np.mgrid[0:200, 0:200] - 99.5)) < 99
    seen = changed(
        grey, draw_objects(grey, None, one((0.2, 0.2, 0.6, 0.6), 0, 1.0, Mask(100, 100, bits), (500, 500)), ["a"])
    )
    far = np.abs(np.hypot(*(np.mgrid[0:500, 0:500] - 199.5)) - 99)
    assert not seen[far > 3].any()
    y, x = np.nonzero(seen)
    assert len(np.unique(np.floor(np.degrees(np.arctan2(y - 199.5, x - 199.5))))) == 360  # all the way round


def test_only_true_objects_that_were_not_found_bear_their_label():
    grey = Pillow.new("RGB", (500, 500), (90, 90, 90))
    truth = one((0.3, 0.3, 0.7, 0.7))
    right, wrong = (np.asarray(draw_objects(grey, one(truth.boxes[0], code), truth, ["a", "b"])) for code in (0, 1))
    alone = np.asarray(draw_objects(grey, None, truth, ["a", "b"]))
    white = [(shown == 255).all(axis=2)[130:149, 150:170].sum() for shown in (right, wrong, alone)]
    assert white[0] == 0
    assert white[1] + (wrong == 255).all(axis=2)[351:372, 150:170].sum() > 50
    assert white[2] > 50


def test_tags_stay_within_the_picture_and_apart():
    grey = Pillow.new("RGB", (480, 480), (90, 90, 90))
    boxes = np.array([[0.0, 0.0, 0.05, 0.05], [0.95, 0.95, 1.0, 1.0], [0.94, 0.0, 1.0, 0.03], [0.5, 0.5, 0.52, 0.52]])
    found = Objects(boxes, np.arange(4), np.linspace(0.9, 0.6, 4))
    shown = np.asarray(draw_objects(grey, found, None, ["long name of a class"] * 4))
    for colour in ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66)):
        assert (shown == colour).all(axis=2).sum() > 1000


def test_masks_of_another_size_lie_where_they_should_and_may_stick_out():
    picture = Pillow.new("RGB", (1000, 1000), (90, 90, 90))
    mask = Mask(-10, 50, np.ones((20, 30), dtype=bool))  # of an image of 100 x 100
    seen = changed(picture, draw_objects(picture, one((0, 0, 0, 0), 0, 1.0, mask, (100, 100)), None, ["a"]))
    assert seen[500:700, 30:200].all()
    assert not seen[500:700, 203:].any()


@pytest.mark.parametrize("size", [(1, 1), (3, 900), (900, 3), (5000, 2000), (32, 32)])
def test_pictures_of_any_size_can_be_drawn(size):
    picture = Pillow.new("L", size)
    empty = Objects(np.zeros((0, 4)), np.zeros(0, dtype=np.int64), np.zeros(0))
    for drawn in (draw_objects(picture, empty, empty, []), draw_heat(picture, np.ones((2, 2)))):
        assert max(drawn.size) <= 1600
        assert abs(np.log((drawn.width / drawn.height) / (size[0] / size[1]))) < 0.5
    assert draw_labels(picture, ["true"], right=True).width >= 480
    assert picture.size == size


def test_long_lines_are_broken_and_letters_of_other_scripts_are_drawn():
    picture = Pillow.new("RGB", (480, 480))
    short, long = (draw_labels(picture, [text], right=False) for text in ("true", "a class and another " * 8))
    assert long.width == short.width == 480
    assert long.height > short.height + 30
    assert draw_labels(picture, ["x" * 200], right=False).height > short.height + 30
    shown = [np.asarray(draw_labels(picture, [t], right=True)) for t in ("ß", "ж", "Ω", "é")]
    assert len({s.tobytes() for s in shown}) == 4  # none of them is the box that stands for a missing letter


def test_right_and_wrong_answers_differ_and_the_picture_stays_as_it_is():
    picture = Pillow.new("RGB", (480, 480), (7, 8, 9))
    right, wrong = (np.asarray(draw_labels(picture, ["a"], right=r)) for r in (True, False))
    assert right[-2, -2, 1] > right[-2, -2, 0]
    assert wrong[-2, -2, 0] > wrong[-2, -2, 1]
    assert (right[:480] == (7, 8, 9)).all()


def test_pages_embed_small_jpegs_and_change_no_picture(tmp_path):
    large = Pillow.new("RGB", (3000, 1500), (200, 30, 30))
    text = gallery(tmp_path / "page.html", [(large, "a & b")], title="<Worst>", note="n").read_text(encoding="utf-8")
    with Pillow.open(io.BytesIO(base64.b64decode(re.search(r"base64,([^\"]+)", text)[1]))) as inner:
        assert (inner.format, inner.size) == ("JPEG", (1000, 500))
    assert large.size == (3000, 1500)
    assert "&lt;Worst&gt;" in text
    assert "a &amp; b" in text
    assert "<script" not in text
    assert "src=" not in text.replace('src="data:', "")
    assert gallery(tmp_path / "none.html", [], title="None").read_text(encoding="utf-8").count("<img ") == 0
