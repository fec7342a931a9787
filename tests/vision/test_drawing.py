"""Pictures of predictions: what is drawn lies where it should, and the page holds it all."""

import numpy as np
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
