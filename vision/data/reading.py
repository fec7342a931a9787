"""The door: JSON lines, COCO, Pascal VOC, folders, CSV and frames become an ImageSet; what is wrong is said here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

from automl.errors import ConfigError, DataError
from vision.data.records import KINDS, Image, ImageSet, Kind, Thing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif"})
"""Ends of names that are taken for images."""

IMAGE_COLUMNS = ("image", "file", "path", "image_url", "filename")
"""Columns that name images, the first that is there."""

_LABEL_COLUMNS = ("label", "labels")
_MOST_NAMED = 5


def read_images(
    source: Any, kind: Kind, *, images: str | Path | None = None, where: Mapping[str, str] | None = None
) -> ImageSet:
    """Read labelled images.

    Parameters
    ----------
    source : path of a JSON lines file (`.jsonl`), a COCO file (`.json`), a CSV file, a Pascal VOC folder (with
        `Annotations`), a folder with one folder of images a class; or a frame with columns as the CSV has.
        CSV: a column image (or file, path, image_url, filename), and label or labels; several labels of an image are
        joined by | or commas.
    kind : multiclass, multilabel, detection or segmentation.
    images : folder that names of images are relative to; None = that of the source, or `images` beside it.
    where : column -> value of the rows of a CSV file that are meant, say {"split": "train"}.

    Raises
    ------
    DataError : the source is none of these, or an entry of it cannot be used; all such entries are counted.
    ConfigError : there is no such kind.
    """
    if kind not in KINDS:
        raise ConfigError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}.")
    if isinstance(source, ImageSet):
        return source
    if not isinstance(source, str | Path):
        return _of_rows(_frame_rows(source), kind, _roots(images, Path()), where)
    path = Path(source)
    if not path.exists():
        raise DataError(f"there is no file or folder {str(path)!r}.")
    if path.is_dir():
        if (path / "Annotations").is_dir():
            return ImageSet.of(kind, list(_voc(path, kind, _roots(images, path / "JPEGImages", path, path / "images"))))
        return _folders(path, kind)
    roots = _roots(images, path.parent, path.parent / "images")
    suffix = path.suffix.lower()
    if suffix == ".jsonl":
        return ImageSet.of(kind, _json_lines(path, kind, roots))
    if suffix == ".json":
        return ImageSet.of(kind, _coco(path, kind, roots))
    if suffix == ".csv":
        return _of_rows(_csv_rows(path), kind, roots, where)
    raise DataError(f"{path} is none of .jsonl, .json (COCO), .csv or a folder.")


def _roots(given: str | Path | None, *usual: Path) -> tuple[Path, ...]:
    return (Path(given),) if given is not None else usual


def _found(name: str, roots: Sequence[Path]) -> str:
    """Path of an image: as it is, or below the first folder that has it; below the first where none has."""
    url = urlparse(name)
    if url.scheme == "file":
        return unquote(url.path)
    if len(url.scheme) > 1:
        raise DataError(f"image {name!r} lies elsewhere; only files of this machine are read. Fix: download it.")
    path = Path(name)
    if path.is_absolute():
        return str(path)
    return str(next((root / path for root in roots if (root / path).exists()), roots[0] / path))


class _Problems:
    """Entries that cannot be used, told together."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._told: list[str] = []

    def add(self, place: str, why: object) -> None:
        self._told.append(f"{place}: {why}")

    def check(self) -> None:
        if self._told:
            more = len(self._told) - _MOST_NAMED
            tail = f" and {more} more" if more > 0 else ""
            raise DataError(
                f"{self._what}: {len(self._told)} entries cannot be used: {'; '.join(self._told[:_MOST_NAMED])}{tail}."
            )


# -- JSON lines -------------------------------------------------------------------------------------------------------


def _json_lines(path: Path, kind: Kind, roots: Sequence[Path]) -> list[Image]:
    out, problems = [], _Problems(str(path))
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        if not line.strip():
            continue
        try:
            out.append(_of_line(json.loads(line), kind, roots))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            why = f"no {error.args[0]!r}" if isinstance(error, KeyError) else error
            problems.add(f"line {number}", why)
    problems.check()
    return out


def _of_line(entry: Mapping[str, Any], kind: Kind, roots: Sequence[Path]) -> Image:
    details = entry.get("image_details") or {}
    width, height = (_pixels(details.get(side)) for side in ("width", "height"))
    path, label = _found(entry["image_url"], roots), entry["label"]
    if kind == "multiclass":
        return Image(path, (_text(label),), (), width, height)
    if kind == "multilabel":
        many = [label] if isinstance(label, str) else label
        return Image(path, tuple(dict.fromkeys(_text(x) for x in many)), (), width, height)
    if not isinstance(label, list):
        raise TypeError(f"label {label!r} is no list of objects")
    return Image(path, (), tuple(_thing(t) for t in label), width, height)


def _thing(entry: Mapping[str, Any]) -> Thing:
    crowd = str(entry.get("isCrowd", "false")).lower() in {"1", "true"}
    outline = tuple(tuple(float(v) for v in part) for part in entry.get("polygon") or ())
    if outline and "topX" not in entry:
        return Thing(_text(entry["label"]), box_of(outline), crowd, outline)
    box = tuple(float(entry[side]) for side in ("topX", "topY", "bottomX", "bottomY"))
    return Thing(_text(entry["label"]), box, crowd, outline)  # type: ignore[arg-type]


def _pixels(value: Any) -> int:
    """Pixels of "400px", 400 or nothing."""
    if value is None:
        return 0
    return int(float(str(value).strip().lower().removesuffix("px")))


def _text(value: Any) -> str:
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise TypeError(f"label {value!r} is no text")
    return str(value)


def box_of(outline: Sequence[Sequence[float]]) -> tuple[float, float, float, float]:
    """Box around polygons.

    Examples
    --------
    >>> box_of([(0.1, 0.2, 0.5, 0.2, 0.5, 0.9)])
    (0.1, 0.2, 0.5, 0.9)
    """
    xs = [v for part in outline for v in part[0::2]]
    ys = [v for part in outline for v in part[1::2]]
    return min(xs), min(ys), max(xs), max(ys)


# -- COCO -------------------------------------------------------------------------------------------------------------


def _coco(path: Path, kind: Kind, roots: Sequence[Path]) -> list[Image]:
    try:
        told = json.loads(path.read_text(encoding="utf-8-sig"))
        names = {c["id"]: str(c["name"]) for c in told["categories"]}
        pictures = {i["id"]: i for i in told["images"]}
        annotations = told["annotations"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is no COCO file: {error!r}. It has images, annotations and categories.") from error
    things: dict[Any, list[Thing]] = {key: [] for key in pictures}
    problems = _Problems(str(path))
    for entry in annotations:
        place = f"annotation {entry.get('id')}"
        picture = pictures.get(entry.get("image_id"))
        if picture is None or entry.get("category_id") not in names:
            problems.add(place, "its image or category is not in the file")
            continue
        try:
            things[picture["id"]].append(_coco_thing(entry, picture, names[entry["category_id"]], kind))
        except (ValueError, KeyError, TypeError, ZeroDivisionError) as error:
            problems.add(place, f"no {error.args[0]!r}" if isinstance(error, KeyError) else error)
    problems.check()
    out = []
    for key, picture in pictures.items():
        own, size = things[key], (int(picture.get("width") or 0), int(picture.get("height") or 0))
        labels: tuple[str, ...] = ()
        if kind in {"multiclass", "multilabel"}:
            labels, own = tuple(dict.fromkeys(t.label for t in own)), []
        out.append(Image(_found(str(picture["file_name"]), roots), labels, tuple(own), *size))
    return out


def _coco_thing(entry: Mapping[str, Any], picture: Mapping[str, Any], label: str, kind: Kind) -> Thing:
    if kind in {"multiclass", "multilabel"}:
        return Thing(label, (0.0, 0.0, 1.0, 1.0))
    width, height = float(picture["width"]), float(picture["height"])
    crowd, shape = bool(entry.get("iscrowd", 0)), entry.get("segmentation") or []
    outline: tuple[tuple[float, ...], ...] = ()
    if isinstance(shape, list):
        outline = tuple(
            tuple(_inside(v / (width, height)[k % 2]) for k, v in enumerate(part)) for part in shape if len(part) >= 6
        )
    elif kind == "segmentation" and not crowd:
        raise ValueError("its outline is run-length encoded; polygons are read")
    x, y, w, h = (float(v) for v in entry["bbox"])
    box = (_inside(x / width), _inside(y / height), _inside((x + w) / width), _inside((y + h) / height))
    return Thing(label, box, crowd, outline)


def _inside(share: float) -> float:
    """A share that rounding to pixels moved out by less than a hundredth."""
    return min(max(share, 0.0), 1.0) if -0.01 <= share <= 1.01 else share


# -- Pascal VOC, folders, rows ----------------------------------------------------------------------------------------


def _voc(path: Path, kind: Kind, roots: Sequence[Path]) -> Iterator[Image]:
    from xml.etree import ElementTree

    problems = _Problems(str(path / "Annotations"))
    for file in sorted((path / "Annotations").glob("*.xml")):
        try:
            root = ElementTree.parse(file).getroot()  # noqa: S314 - files of the user's own
            width, height = (int(root.findtext(f"size/{side}", "0")) for side in ("width", "height"))
            name = root.findtext("filename") or f"{file.stem}.jpg"
            image = _found(name, roots)
            things = [_voc_thing(t, width, height) for t in root.findall("object")]
        except (ElementTree.ParseError, ValueError, TypeError) as error:
            problems.add(file.name, error)
            continue
        whole = kind in {"multiclass", "multilabel"}  # labels of objects are then those of the image
        labels = tuple(dict.fromkeys(t.label for t in things)) if whole else ()
        yield Image(image, labels, () if whole else tuple(things), width, height)
    problems.check()


def _voc_thing(entry: Any, width: int, height: int) -> Thing:
    """Box in pixels, counted from 1, both ends inside."""
    if not width or not height:
        raise ValueError("it has no size")
    left, top, right, bottom = (float(entry.findtext(f"bndbox/{side}")) for side in ("xmin", "ymin", "xmax", "ymax"))
    # some count from 0: such a box begins a pixel outside
    left, top = max(left - 1, 0.0) if left >= 0 else left, max(top - 1, 0.0) if top >= 0 else top
    box = (_inside(left / width), _inside(top / height), _inside(right / width), _inside(bottom / height))
    return Thing(str(entry.findtext("name")), box, entry.findtext("difficult") == "1")


def _folders(path: Path, kind: Kind) -> ImageSet:
    if kind != "multiclass":
        raise DataError(f"{path} is a folder without Annotations, which gives one label an image. Fix: a labels file.")
    found = [
        Image(str(file), (folder.name,))
        for folder in sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
        for file in sorted(folder.rglob("*"))
        if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
    ]
    if not found:
        raise DataError(f"{path} holds no folders of images; one a class is looked for.")
    return ImageSet.of(kind, found)


def _csv_rows(path: Path) -> list[dict[str, str]]:
    import csv

    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def _frame_rows(frame: Any) -> list[dict[str, Any]]:
    if hasattr(frame, "to_pandas"):
        frame = frame.to_pandas()
    if not hasattr(frame, "to_dict"):
        raise DataError(f"{type(frame).__name__} is no path and no frame of images.")
    return list(frame.to_dict("records"))


def _of_rows(
    rows: Sequence[Mapping[str, Any]], kind: Kind, roots: Sequence[Path], where: Mapping[str, str] | None
) -> ImageSet:
    if kind not in {"multiclass", "multilabel"}:
        raise DataError(f"rows of labels tell no {kind}. Fix: JSON lines, COCO or Pascal VOC.")
    if not rows:
        raise DataError("there are no rows.")
    columns = list(rows[0])
    for column in where or {}:
        if column not in columns:
            raise DataError(f"there is no column {column!r}. Columns: {', '.join(map(str, columns))}.")
    image = _column(columns, IMAGE_COLUMNS)
    label = _column(columns, _LABEL_COLUMNS)
    out, problems = [], _Problems("rows")
    for number, row in enumerate(rows, 1):
        if any(str(row[c]) != v for c, v in (where or {}).items()):
            continue
        try:
            out.append(Image(_found(str(row[image]), roots), _cell(row[label], kind)))
        except (ValueError, TypeError) as error:
            problems.add(f"row {number}", error)
    problems.check()
    if not out:
        raise DataError(f"no row has {where}.")
    return ImageSet.of(kind, out)


def _column(columns: Sequence[str], known: Sequence[str]) -> str:
    for name in known:
        if name in columns:
            return name
    raise DataError(f"none of the columns {', '.join(map(str, columns))} is named {' or '.join(known)}.")


def _cell(value: Any, kind: Kind) -> tuple[str, ...]:
    if value is None or value != value:  # noqa: PLR0124 - NaN is not equal to itself
        value = ""
    if kind == "multiclass":
        return (str(value),)
    if isinstance(value, list | tuple):
        parts = [str(v) for v in value]
    else:
        text = str(value)
        parts = text.split("|") if "|" in text else text.split(",")
    return tuple(dict.fromkeys(p.strip() for p in parts if p.strip()))
