"""An ImageSet as JSON lines, COCO or Pascal VOC; what is read back is the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from automl.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vision.data.records import Image, ImageSet, Thing

FORMATS = ("jsonl", "coco", "voc")


def write_images(images: ImageSet, path: str | Path, form: str) -> Path:
    """Write labels (not the images, whose paths are written relative to the target where they lie below it).

    Parameters
    ----------
    path : of the file (JSON lines, COCO) or folder (VOC). form : jsonl, coco or voc.

    Raises
    ------
    ConfigError : there is no such form. DataError : the form cannot hold the labels, or needs sizes that are not known.
    """
    path = Path(path)
    if form == "jsonl":
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps(_line(i, images.kind, path.parent)) for i in images.images]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    elif form == "coco":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(_coco(images, path.parent)), encoding="utf-8")
    elif form == "voc":
        _voc(images, path)
    else:
        raise ConfigError(f"form must be one of {', '.join(FORMATS)}, got {form!r}.")
    return path


def _name(image: Image, folder: Path) -> str:
    path = Path(image.path)
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path.resolve())


def _line(image: Image, kind: str, folder: Path) -> dict[str, Any]:
    out: dict[str, Any] = {"image_url": _name(image, folder)}
    if image.width and image.height:
        out["image_details"] = {"width": image.width, "height": image.height}
    if kind == "multiclass":
        return {**out, "label": image.labels[0]}
    if kind == "multilabel":
        return {**out, "label": list(image.labels)}
    return {**out, "label": [_thing(t) for t in image.things]}


def _thing(thing: Thing) -> dict[str, Any]:
    own: dict[str, Any] = {"label": thing.label, "isCrowd": int(thing.crowd)}
    if thing.outline:
        own["polygon"] = [list(part) for part in thing.outline]
    return {**own, **dict(zip(("topX", "topY", "bottomX", "bottomY"), thing.box, strict=True))}


def _sized(images: Sequence[Image]) -> None:
    unknown = [i.path for i in images if not (i.width and i.height)]
    if unknown:
        raise DataError(
            f"{len(unknown)} images have no known size, first {unknown[0]}. Fix: check_images(...) looks it up."
        )


def _coco(images: ImageSet, folder: Path) -> dict[str, Any]:
    _sized(images.images)
    number = {name: k for k, name in enumerate(images.classes, 1)}
    pictures, annotations = [], []
    for k, image in enumerate(images.images, 1):
        size = {"width": image.width, "height": image.height}
        pictures.append({"id": k, "file_name": _name(image, folder), **size})
        labels = [(label, {"iscrowd": 0}) for label in image.labels]
        labels += [(thing.label, _coco_thing(thing, image)) for thing in image.things]
        annotations += [{"image_id": k, "category_id": number[label], **own} for label, own in labels]
    for k, entry in enumerate(annotations, 1):
        entry["id"] = k
    categories = [{"id": k, "name": name} for name, k in number.items()]
    return {"images": pictures, "annotations": annotations, "categories": categories}


def _coco_thing(thing: Thing, image: Image) -> dict[str, Any]:
    sides = (image.width, image.height)
    left, top, right, bottom = (v * sides[k % 2] for k, v in enumerate(thing.box))
    own = {"bbox": [left, top, right - left, bottom - top], "iscrowd": int(thing.crowd)}
    outline = [[v * sides[k % 2] for k, v in enumerate(part)] for part in thing.outline]
    return {**own, "segmentation": outline, "area": sum(map(_area, outline)) or (right - left) * (bottom - top)}


def _area(part: Sequence[float]) -> float:
    """Area of a polygon x1, y1, x2, y2, ... (shoelace formula)."""
    xs, ys = part[0::2], part[1::2]
    return abs(sum(xs[k - 1] * ys[k] - xs[k] * ys[k - 1] for k in range(len(xs)))) / 2


def _voc(images: ImageSet, path: Path) -> None:
    if images.kind != "detection":
        raise DataError(f"Pascal VOC holds boxes, not {images.kind}. Fix: jsonl or coco.")
    _sized(images.images)
    folder = path / "Annotations"
    folder.mkdir(parents=True, exist_ok=True)
    for k, image in enumerate(images.images):
        root = ElementTree.Element("annotation")
        ElementTree.SubElement(root, "filename").text = _name(image, path)
        size = ElementTree.SubElement(root, "size")
        for side in ("width", "height"):
            ElementTree.SubElement(size, side).text = str(getattr(image, side))
        for thing in image.things:
            entry = ElementTree.SubElement(root, "object")
            ElementTree.SubElement(entry, "name").text = thing.label
            ElementTree.SubElement(entry, "difficult").text = str(int(thing.crowd))
            box = ElementTree.SubElement(entry, "bndbox")
            left, top, right, bottom = (v * (image.width, image.height)[j % 2] for j, v in enumerate(thing.box))
            for side, value in zip(("xmin", "ymin", "xmax", "ymax"), (left + 1, top + 1, right, bottom), strict=True):
                ElementTree.SubElement(box, side).text = f"{value:.6g}"
        ElementTree.ElementTree(root).write(folder / f"{k:06d}.xml", encoding="utf-8")
