"""Objects of an image, found or true: boxes, masks and what they are; outlines to masks and back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from automl.errors import DataError
from vision.outlines import Mask, mask_outlines, outline_mask, thing_mask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vision.data.records import Image

__all__ = [
    "Mask",
    "Objects",
    "boxes_overlap",
    "flipped",
    "from_arrays",
    "joined",
    "mask_outlines",
    "masks_overlap",
    "masks_shared",
    "outline_mask",
    "overlap",
    "suppress",
    "to_arrays",
    "true_objects",
]


@dataclass(frozen=True, slots=True)
class Objects:
    """Objects of one image; found ones are sorted by score, the most certain first.

    Parameters
    ----------
    boxes : shape [n, 4]: left, top, right, bottom as shares of width and height, 0..1, float64.
    labels : codes of the classes, shape [n], int64. scores : 0..1, shape [n]; of true objects ones.
    masks : a mask each, on an image of `size`; None = boxes only. crowd : true objects that are not scored, shape [n]
        bool; None = none. size : width and height of the image in pixels, (0, 0) = not known.
    """

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    masks: tuple[Mask, ...] | None = None
    crowd: np.ndarray | None = None
    size: tuple[int, int] = (0, 0)

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: np.ndarray) -> Objects:
        """Some of them, in the order given: numbers, or a mark for each."""
        rows = np.flatnonzero(rows) if np.asarray(rows).dtype == bool else np.asarray(rows, dtype=np.int64)
        masks = None if self.masks is None else tuple(self.masks[int(k)] for k in rows)
        crowd = None if self.crowd is None else self.crowd[rows]
        return replace(
            self, boxes=self.boxes[rows], labels=self.labels[rows], scores=self.scores[rows], masks=masks, crowd=crowd
        )

    def first(self, most: int) -> Objects:
        """At most so many of them: the most certain ones, where they are sorted."""
        return self if len(self) <= most else self.take(np.arange(most))


def true_objects(
    image: Image, classes: Sequence[str], size: tuple[int, int] | None = None, *, masks: bool = False
) -> Objects:
    """Objects of a labelled image.

    An object without an outline, as crowds often are, has its box as mask.

    Parameters
    ----------
    size : width and height in pixels; None = the image's own. masks : whether outlines become masks of that size.

    Raises
    ------
    DataError : a label is none of the classes, or masks are wanted of an image whose size is not known.
    """
    place = {name: k for k, name in enumerate(classes)}
    own = image.width, image.height
    size = size or own
    things = image.things
    strange = sorted({t.label for t in things} - set(place))
    if strange:
        raise DataError(f"{image.path} has objects of {strange[0]!r}, which is none of the {len(place)} classes.")
    if masks and things and min(size) < 1:
        raise DataError(f"masks of {image.path} need its size in pixels. Fix: check_images first, or give size.")
    n = len(things)
    return Objects(
        boxes=np.array([t.box for t in things], dtype=float).reshape(n, 4),
        labels=np.array([place[t.label] for t in things], dtype=np.int64),
        scores=np.ones(n),
        masks=tuple(thing_mask(t, own, size) for t in things) if masks else None,
        crowd=np.array([t.crowd for t in things], dtype=bool),
        size=size,
    )


def boxes_overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes [n, 4] and [m, 4]. Shape [n, m].

    Examples
    --------
    >>> boxes_overlap(np.array([[0.0, 0.0, 0.5, 1.0]]), np.array([[0.0, 0.0, 1.0, 1.0], [0.6, 0.0, 1.0, 1.0]])).tolist()
    [[0.5, 0.0]]
    """
    shared = _boxes_shared(a, b)
    either = _areas(a)[:, None] + _areas(b) - shared
    return np.asarray(shared / np.where(either > 0, either, 1))


def _boxes_shared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    return np.asarray(np.prod(np.clip(high - low, 0, None), axis=2))


def _areas(boxes: np.ndarray) -> np.ndarray:
    return np.asarray(np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None), axis=1))


def masks_overlap(a: Sequence[Mask], b: Sequence[Mask]) -> np.ndarray:
    """Intersection over union of masks; only crops that meet are looked at. Shape [n, m].

    Examples
    --------
    >>> square = Mask(0, 0, np.ones((2, 2), dtype=bool))
    >>> masks_overlap([square], [square, Mask(1, 0, square.bits), Mask(5, 5, square.bits)]).round(2).tolist()
    [[1.0, 0.33, 0.0]]
    """
    shared = masks_shared(a, b)
    area_a, area_b = (np.array([m.area for m in masks], dtype=float) for masks in (a, b))
    either = area_a[:, None] + area_b - shared
    return np.asarray(shared / np.maximum(either, 1))


def masks_shared(a: Sequence[Mask], b: Sequence[Mask]) -> np.ndarray:
    """Pixels that masks have in common. Shape [n, m]."""
    out = np.zeros((len(a), len(b)))
    edges_a, edges_b = _edges(a), _edges(b)
    low = np.maximum(edges_a[:, None, :2], edges_b[None, :, :2])
    high = np.minimum(edges_a[:, None, 2:], edges_b[None, :, 2:])
    for i, j in np.argwhere((low < high).all(axis=2)).tolist():
        (left, top), (right, bottom) = low[i, j].tolist(), high[i, j].tolist()
        one, other = (m.bits[top - m.top : bottom - m.top, left - m.left : right - m.left] for m in (a[i], b[j]))
        out[i, j] = np.count_nonzero(one & other)
    return out


def _edges(masks: Sequence[Mask]) -> np.ndarray:
    """Left, top, right, bottom of crops in pixels, shape [n, 4]."""
    edges = [(m.left, m.top, m.left + m.bits.shape[1], m.top + m.bits.shape[0]) for m in masks]
    return np.array(edges, dtype=np.int64).reshape(-1, 4)


def overlap(found: Objects, true: Objects, *, masks: bool) -> np.ndarray:
    """Intersection over union of boxes or masks; with a crowd the share of the found object that lies in it, as COCO.

    Returns
    -------
    Shape [found, true].

    Raises
    ------
    DataError : overlaps of masks are wanted, and objects have none.
    """
    if masks:
        one, other = (_masks_of(o) for o in (found, true))
        out = masks_overlap(one, other)
    else:
        out = boxes_overlap(found.boxes, true.boxes)
    if true.crowd is not None and true.crowd.any():
        some = np.flatnonzero(true.crowd)
        if masks:
            area = np.array([m.area for m in one], dtype=float)
            shared = masks_shared(one, [other[int(k)] for k in some])
        else:
            area, shared = _areas(found.boxes), _boxes_shared(found.boxes, true.boxes[some])
        out[:, some] = shared / np.where(area > 0, area, 1)[:, None]
    return out


def _masks_of(objects: Objects) -> tuple[Mask, ...]:
    if objects.masks is None and len(objects):
        raise DataError(f"{len(objects)} objects have boxes only, no masks. Fix: masks=False.")
    return objects.masks or ()


def suppress(found: Objects, threshold: float) -> Objects:
    """Leave out objects whose box overlaps that of a more certain one of the same class by more than `threshold`.

    What is left is sorted by score.
    """
    found = found.take(np.argsort(-found.scores, kind="stable"))
    near = (boxes_overlap(found.boxes, found.boxes) > threshold) & (found.labels[:, None] == found.labels)
    kept = np.ones(len(found), dtype=bool)
    for k in range(len(found)):
        if kept[k]:
            kept[k + 1 :] &= ~near[k, k + 1 :]
    return found.take(kept)


def joined(parts: Sequence[Objects]) -> Objects:
    """All objects found in views of one image, in the order of the views; crowds are forgotten."""
    first = parts[0]
    masks = None if first.masks is None else tuple(m for p in parts for m in p.masks or ())
    boxes, labels, scores = (np.concatenate([getattr(p, n) for p in parts]) for n in ("boxes", "labels", "scores"))
    return Objects(boxes, labels, scores, masks, None, first.size)


def flipped(found: Objects) -> Objects:
    """Objects of the mirror image, left and right exchanged.

    Examples
    --------
    >>> flipped(Objects(np.array([[0.0, 0.0, 0.25, 1.0]]), np.array([0]), np.ones(1))).boxes.tolist()
    [[0.75, 0.0, 1.0, 1.0]]
    """
    boxes = found.boxes.copy()
    boxes[:, [0, 2]] = 1 - found.boxes[:, [2, 0]]
    masks = None
    if found.masks is not None:
        masks = tuple(Mask(found.size[0] - m.left - m.bits.shape[1], m.top, m.bits[:, ::-1]) for m in found.masks)
    return replace(found, boxes=boxes, masks=masks)


def to_arrays(objects: Sequence[Objects]) -> dict[str, np.ndarray]:
    """Objects of images as a few flat arrays for a file; `from_arrays` reads them, nothing is lost."""
    crowds = [o.crowd for o in objects if o.crowd is not None]
    masks = [m for o in objects for m in o.masks or ()]
    bits = np.concatenate([np.zeros(0, dtype=bool), *(m.bits.ravel() for m in masks)])
    return {
        "count": np.array([len(o) for o in objects], dtype=np.int64),
        "size": np.array([o.size for o in objects], dtype=np.int64).reshape(-1, 2),
        "boxes": np.concatenate([np.zeros((0, 4)), *(o.boxes for o in objects)]),
        "labels": np.concatenate([np.zeros(0, dtype=np.int64), *(o.labels for o in objects)]),
        "scores": np.concatenate([np.zeros(0), *(o.scores for o in objects)]),
        "masked": np.array([o.masks is not None for o in objects], dtype=bool),
        "crowded": np.array([o.crowd is not None for o in objects], dtype=bool),
        "crowd": np.concatenate([np.zeros(0, dtype=bool), *crowds]),
        "places": np.array([(m.left, m.top, *m.bits.shape) for m in masks], dtype=np.int64).reshape(-1, 4),
        "bits": np.packbits(bits),
    }


def from_arrays(arrays: Mapping[str, Any]) -> list[Objects]:
    """Read what `to_arrays` gave."""
    held = {name: np.asarray(values) for name, values in arrays.items()}  # a file reads its arrays once
    areas = held["places"][:, 2] * held["places"][:, 3]
    bits = np.unpackbits(held["bits"], count=int(areas.sum())).astype(bool)
    starts = (np.cumsum(areas) - areas).tolist()
    masks = [
        Mask(x, y, bits[start : start + h * w].reshape(h, w))
        for (x, y, h, w), start in zip(held["places"].tolist(), starts, strict=True)
    ]
    out, row, next_mask, next_crowd = [], 0, 0, 0
    for k, count in enumerate(held["count"].tolist()):
        own = crowd = None
        if held["masked"][k]:
            own, next_mask = tuple(masks[next_mask : next_mask + count]), next_mask + count
        if held["crowded"][k]:
            crowd, next_crowd = held["crowd"][next_crowd : next_crowd + count], next_crowd + count
        boxes, labels, scores = (held[name][row : row + count] for name in ("boxes", "labels", "scores"))
        width, height = held["size"][k].tolist()
        out.append(Objects(boxes, labels, scores, own, crowd, (width, height)))
        row += count
    return out
