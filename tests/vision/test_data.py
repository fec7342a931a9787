"""Images and labels: every format there and back, odd files, splits."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image as Pillow

from automl.errors import ConfigError, DataError
from vision.data.pictures import check_images, load_picture
from vision.data.reading import read_images
from vision.data.records import Image, ImageSet, Thing, split
from vision.data.writing import write_images


def picture(path, size=(20, 10), mode="RGB", colour=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.new(mode, size, colour if colour is not None else 0).save(path, **options)
    return path


def boxes(folder, outlines=False):
    outline = ((0.1, 0.2, 0.6, 0.2, 0.6, 0.9), (0.0, 0.0, 0.1, 0.0, 0.1, 0.1)) if outlines else ()
    box = (0.0, 0.0, 0.6, 0.9) if outlines else (0.1, 0.2, 0.6, 0.9)
    things = (Thing("cat", box, False, outline), Thing("ant", (0.5, 0.5, 1.0, 1.0), outlines, ()))
    paths = [str(picture(folder / "images" / f"{k}.png")) for k in range(3)]
    kind = "segmentation" if outlines else "detection"
    images = [
        Image(paths[0], (), things, 20, 10),
        Image(paths[1], (), (), 20, 10),
        Image(paths[2], (), things[:1], 20, 10),
    ]
    return ImageSet.of(kind, images)


def same(a, b):
    assert a.classes == b.classes
    assert a.kind == b.kind
    assert [i.path for i in a.images] == [i.path for i in b.images]
    for one, other in zip(a.images, b.images, strict=True):
        assert (one.labels, one.width, one.height) == (other.labels, other.width, other.height)
        for x, y in zip(one.things, other.things, strict=True):
            assert (x.label, x.crowd) == (y.label, y.crowd)
            np.testing.assert_allclose(x.box, y.box, atol=1e-5)
            assert len(x.outline) == len(y.outline)
            for part, again in zip(x.outline, y.outline, strict=True):
                np.testing.assert_allclose(part, again, atol=1e-9)


# -- there and back ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["jsonl", "coco", "voc"])
def test_boxes_there_and_back(tmp_path, form):
    images = boxes(tmp_path)
    target = tmp_path if form == "voc" else tmp_path / f"labels.{'jsonl' if form == 'jsonl' else 'json'}"
    same(read_images(write_images(images, target, form), "detection"), images)


@pytest.mark.parametrize("form", ["jsonl", "coco"])
def test_outlines_there_and_back(tmp_path, form):
    images = boxes(tmp_path, outlines=True)
    target = tmp_path / f"labels.{'jsonl' if form == 'jsonl' else 'json'}"
    same(read_images(write_images(images, target, form), "segmentation"), images)
    with pytest.raises(DataError, match="holds boxes, not segmentation"):
        write_images(images, tmp_path / "voc", "voc")


@pytest.mark.parametrize("form", ["jsonl", "coco"])
@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_labels_there_and_back(tmp_path, form, kind):
    path = str(picture(tmp_path / "images" / "a b.png"))
    labels = ("x",) if kind == "multiclass" else ("x", "y z")
    images = ImageSet.of(kind, [Image(path, labels, (), 20, 10)])
    target = tmp_path / f"labels.{'jsonl' if form == 'jsonl' else 'json'}"
    same(read_images(write_images(images, target, form), kind), images)


def test_images_elsewhere_keep_their_whole_path(tmp_path):
    images = boxes(tmp_path / "one")
    path = write_images(images, tmp_path / "two" / "labels.jsonl", "jsonl")
    same(read_images(path, "detection"), images)
    unknown = ImageSet.of("detection", [Image("a.png", (), (Thing("cat", (0, 0, 1, 1)),))])
    for form in ("coco", "voc"):
        with pytest.raises(DataError, match="1 images have no known size, first a"):
            write_images(unknown, tmp_path / "x", form)
    with pytest.raises(ConfigError, match="jsonl, coco, voc"):
        write_images(images, tmp_path / "x", "yolo")


# -- reading ----------------------------------------------------------------------------------------------------------


def test_json_lines_of_the_service(tmp_path):
    for name in ("a.jpg", "b.jpg"):
        picture(tmp_path / name)
    details = {"format": "jpg", "width": "400px", "height": 258}
    lines = [{"image_url": "a.jpg", "image_details": details, "label": "can"}, {"image_url": "b.jpg", "label": 7}]
    (tmp_path / "one.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    found = read_images(tmp_path / "one.jsonl", "multiclass")
    assert [(i.labels, i.width, i.height) for i in found.images] == [(("can",), 400, 258), (("7",), 0, 0)]
    assert found.images[0].path == str(tmp_path / "a.jpg")
    thing = {"label": "can", "topX": 0.1, "topY": 0.2, "bottomX": 0.5, "bottomY": 0.6, "isCrowd": 0}
    (tmp_path / "two.jsonl").write_text(json.dumps({"image_url": "a.jpg", "label": [thing]}))
    assert read_images(tmp_path / "two.jsonl", "detection").images[0].things[0].box == (0.1, 0.2, 0.5, 0.6)
    shape = {"label": "can", "isCrowd": "false", "polygon": [[0.1, 0.2, 0.5, 0.2, 0.5, 0.6]]}
    (tmp_path / "three.jsonl").write_text(json.dumps({"image_url": "a.jpg", "label": [shape]}))
    assert read_images(tmp_path / "three.jsonl", "segmentation").images[0].things[0].box == (0.1, 0.2, 0.5, 0.6)


def test_bad_lines_are_counted_and_named(tmp_path):
    lines = ['{"image_url": "a.jpg"}', "{no json", '{"label": "x"}', '{"image_url": "b.jpg", "label": ["x"]}']
    (tmp_path / "bad.jsonl").write_text("\n".join(lines))
    with pytest.raises(
        DataError, match=r"4 entries cannot be used: line 1: no 'label'; line 2: .*; line 4: label \['x'\]"
    ):
        read_images(tmp_path / "bad.jsonl", "multiclass")
    (tmp_path / "far.jsonl").write_text('{"image_url": "https://host/a.jpg", "label": "x"}')
    with pytest.raises(DataError, match="lies elsewhere"):
        read_images(tmp_path / "far.jsonl", "multiclass")


def test_folders_and_rows(tmp_path):
    for name in ("cat/a.jpg", "cat/b.PNG", "ant/c.png", ".hidden/d.png", "cat/notes.txt"):
        picture(tmp_path / "f" / name) if not name.endswith("txt") else (tmp_path / "f" / name).write_text("x")
    found = read_images(tmp_path / "f", "multiclass")
    assert [(i.path.rpartition("/")[2], i.labels) for i in found.images] == [
        ("c.png", ("ant",)),
        ("a.jpg", ("cat",)),
        ("b.PNG", ("cat",)),
    ]
    with pytest.raises(DataError, match="gives one label an image"):
        read_images(tmp_path / "f", "multilabel")
    frame = pd.DataFrame(
        {"file": ["a.jpg", "b.jpg", "c.jpg"], "labels": ["x|y", None, "y, z"], "split": ["train", "train", "test"]}
    )
    frame.to_csv(tmp_path / "labels.csv", index=False)
    found = read_images(tmp_path / "labels.csv", "multilabel", where={"split": "train"})
    assert [i.labels for i in found.images] == [("x", "y"), ()]
    np.testing.assert_array_equal(found.codes(), [[1, 1], [0, 0]])
    assert read_images(frame, "multilabel", images=tmp_path).images[2].labels == ("y", "z")
    for own, message in (
        ({"where": {"part": "x"}}, "no column 'part'"),
        ({"where": {"split": "valid"}}, "no row has"),
    ):
        with pytest.raises(DataError, match=message):
            read_images(tmp_path / "labels.csv", "multilabel", **own)
    with pytest.raises(DataError, match="named image or file"):
        read_images(frame.rename(columns={"file": "name"}), "multilabel")
    with pytest.raises(DataError, match="rows of labels tell no detection"):
        read_images(frame, "detection")


def test_what_is_no_source_is_said(tmp_path):
    (tmp_path / "a.txt").touch()
    (tmp_path / "a.json").write_text("{}")
    (tmp_path / "empty").mkdir()
    for source, message in (
        (tmp_path / "gone.csv", "no file or folder"),
        (tmp_path / "a.txt", "none of .jsonl"),
        (tmp_path / "a.json", "is no COCO file"),
        (tmp_path / "empty", "holds no folders of images"),
        (3, "int is no path"),
    ):
        with pytest.raises(DataError, match=message):
            read_images(source, "multiclass")
    with pytest.raises(ConfigError, match="kind must be one of"):
        read_images(tmp_path, "classes")


def test_coco_that_contradicts_itself(tmp_path):
    told = {
        "images": [{"id": 1, "file_name": "a.png", "width": 10, "height": 10}],
        "categories": [{"id": 1, "name": "x"}],
    }
    own = [
        {"id": 1, "image_id": 2, "category_id": 1, "bbox": [0, 0, 5, 5]},
        {"id": 2, "image_id": 1, "category_id": 1},
        {"id": 3, "image_id": 1, "category_id": 1, "bbox": [0, 0, 5, 5], "segmentation": {"counts": "x"}},
    ]
    (tmp_path / "a.json").write_text(json.dumps({**told, "annotations": own}))
    with pytest.raises(
        DataError, match=r"3 entries cannot be used: annotation 1: its image.*annotation 2: no 'bbox'.*run-length"
    ):
        read_images(tmp_path / "a.json", "segmentation")
    (tmp_path / "b.json").write_text(
        json.dumps({**told, "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [5, 5, 20, 5]}]})
    )
    with pytest.raises(DataError, match=r"1 labels cannot be used: .*a.png: box"):
        read_images(tmp_path / "b.json", "detection")


# -- pixels -----------------------------------------------------------------------------------------------------------


def test_odd_pictures_become_upright_rgb(tmp_path):
    turned = Pillow.new("RGB", (30, 10), (255, 0, 0))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif)
    assert load_picture(tmp_path / "turned.jpg").size == (10, 30)
    half = picture(tmp_path / "half.png", mode="RGBA", colour=(255, 0, 0, 0))
    assert load_picture(half).getpixel((0, 0)) == (255, 255, 255)
    assert load_picture(picture(tmp_path / "grey.png", mode="L", colour=90)).getpixel((3, 3)) == (90, 90, 90)
    deep = Pillow.fromarray(np.full((4, 4), 32_768, dtype=np.uint16))
    deep.save(tmp_path / "deep.png")
    assert load_picture(tmp_path / "deep.png").getpixel((0, 0)) == (127, 127, 127)
    assert load_picture(picture(tmp_path / "print.jpg", mode="CMYK")).mode == "RGB"
    palette = Pillow.new("P", (4, 4))
    palette.save(tmp_path / "p.gif", transparency=0)
    assert load_picture(tmp_path / "p.gif").mode == "RGB"
    large = picture(tmp_path / "large.jpg", size=(1600, 800))
    assert max(load_picture(large, most=200).size) <= 400


def test_three_bad_files_among_many_are_named_and_left_out_where_wanted(tmp_path):
    images = [Image(str(picture(tmp_path / f"{k}.png", size=(90, 80))), ("x",)) for k in range(20)]
    (tmp_path / "3.png").write_bytes((tmp_path / "3.png").read_bytes()[:60])
    (tmp_path / "7.png").write_text("no picture")
    (tmp_path / "9.png").unlink()
    found = ImageSet.of("multiclass", images)
    with pytest.raises(
        DataError, match=r"3 of 20 images cannot be read: .*3.png is damaged.*7.png is no image; .*9.png is missing"
    ):
        check_images(found)
    kept, (note,) = check_images(found, skip=True)
    assert len(kept) == 17
    assert {(i.width, i.height) for i in kept.images} == {(90, 80)}
    assert note.status == "done"
    assert len(note.details) == 3
    with pytest.raises(DataError, match="3 of 3 images"):
        check_images(found.take([3, 7, 9]), skip=True)


def test_a_picture_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch):
    path = picture(tmp_path / "a.png", size=(100, 100))
    monkeypatch.setattr(Pillow, "MAX_IMAGE_PIXELS", 4_999)  # Pillow refuses twice as many
    with pytest.raises(DataError, match=r"a.png is too large: .*10000 pixels"):
        load_picture(path)


# -- splits -----------------------------------------------------------------------------------------------------------


def test_splits_keep_the_shares_of_classes():
    labels = ["a"] * 60 + ["b"] * 30 + ["c"] * 8 + ["d"] * 2
    images = ImageSet.of("multiclass", [Image(f"{k}.png", (label,)) for k, label in enumerate(labels)])
    train, held = split(images, 0.2, 3)
    assert len(train) + len(held) == 100
    assert not {i.path for i in train.images} & {i.path for i in held.images}
    often = [sum(i.labels == (c,) for i in held.images) for c in "abcd"]
    assert often[0] in {11, 12}
    assert often[1] in {5, 6, 7}
    assert often[2] in {1, 2}
    assert often[3] == 1
    assert split(images, 0.2, 3)[1] == held
    assert split(images, 0.2, 4)[1] != held
    pairs = ImageSet.of("multiclass", [Image(f"{k}.png", (str(k // 2),)) for k in range(200)])
    assert 60 <= len(split(pairs, 0.2, 0)[1]) <= 61  # half of them, where each class were to be on both sides
    with pytest.raises(DataError, match="1 images cannot be split"):
        split(images.take([0]), 0.2, 0)


def test_wrong_numbers_of_labels_are_told():
    with pytest.raises(DataError, match="2 labels cannot be used: a has 2 labels, one is needed; b has 0"):
        ImageSet.of("multiclass", [Image("a", ("x", "y")), Image("b")])
    with pytest.raises(DataError, match="fewer than three points"):
        ImageSet.of("segmentation", [Image("a", (), (Thing("x", (0, 0, 1, 1), False, ((0.1, 0.1, 0.2, 0.2),)),))])
