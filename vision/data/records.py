"""ImageSet: images and their labels in one form, whatever format they came in."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Self

import numpy as np

from automl.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

Kind = Literal["multiclass", "multilabel", "detection", "segmentation"]
KINDS: tuple[Kind, ...] = ("multiclass", "multilabel", "detection", "segmentation")
"""What is asked of images: one label each, any number of labels, boxes, outlines."""

OBJECTS: tuple[Kind, ...] = ("detection", "segmentation")
"""Kinds whose images hold objects."""

Box = tuple[float, float, float, float]
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Thing:
    """One object of an image.

    Parameters
    ----------
    label : its class. box : left, top, right, bottom as shares of width and height, 0..1. crowd : many that are not
        told apart; they are not scored. outline : polygons x1, y1, x2, y2, ... as shares, one a part; () = only a box.
    """

    label: str
    box: Box
    crowd: bool = False
    outline: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Image:
    """One image and what is known of it.

    Parameters
    ----------
    path : of the file. labels : of the whole image. things : objects. width, height : in pixels, 0 = not known.
    """

    path: str
    labels: tuple[str, ...] = ()
    things: tuple[Thing, ...] = ()
    width: int = 0
    height: int = 0


@dataclass(frozen=True, slots=True)
class ImageSet:
    """Images of one task.

    Parameters
    ----------
    kind : one of KINDS. images : in order. classes : labels in order of the alphabet.

    Examples
    --------
    >>> found = ImageSet.of("multiclass", [Image("a.png", ("cat",)), Image("b.png", ("ant",))])
    >>> found.classes, len(found)
    (('ant', 'cat'), 2)
    """

    kind: Kind
    images: tuple[Image, ...]
    classes: tuple[str, ...]

    @classmethod
    def of(cls, kind: Kind, images: Sequence[Image]) -> Self:
        """Put images together.

        Raises
        ------
        DataError : an image has the wrong number of labels, or a box or outline is impossible; all are counted, and the
            first are named.
        """
        wrong = [told for image in images for told in _wrong(image, kind)]
        if wrong:
            more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
            raise DataError(f"{len(wrong)} labels cannot be used: {'; '.join(wrong[:5])}{more}.")
        names = {x for i in images for x in i.labels} | {t.label for i in images for t in i.things}
        return cls(kind, tuple(images), tuple(sorted(names)))

    def __len__(self) -> int:
        return len(self.images)

    def take(self, rows: Sequence[int] | np.ndarray) -> Self:
        """Some images, in the order given, with the same classes."""
        return replace(self, images=tuple(self.images[int(k)] for k in rows))

    def codes(self) -> np.ndarray:
        """Numbers of the classes, shape [images]; of several labels zeros and ones, shape [images, classes]."""
        place = {name: k for k, name in enumerate(self.classes)}
        if self.kind == "multiclass":
            return np.array([place[i.labels[0]] for i in self.images], dtype=np.int64)
        out = np.zeros((len(self), len(self.classes)), dtype=np.float32)
        for row, image in enumerate(self.images):
            for label in (*image.labels, *(t.label for t in image.things)):
                out[row, place[label]] = 1
        return out


def _wrong(image: Image, kind: Kind) -> list[str]:
    """What cannot be, of one image."""
    if kind == "multiclass" and len(image.labels) != 1:
        return [f"{image.path} has {len(image.labels)} labels, one is needed"]
    if kind in {"multiclass", "multilabel"}:
        return [f"{image.path} has an empty label"] if any(not label for label in image.labels) else []
    out = []
    for thing in image.things:
        left, top, right, bottom = thing.box
        inside = all(-_ROUNDING <= v <= 1 + _ROUNDING for v in thing.box)
        if not (inside and left < right and top < bottom):
            out.append(f"{image.path}: box {tuple(round(v, 4) for v in thing.box)} of {thing.label!r}")
        if kind == "segmentation" and not thing.crowd and not thing.outline:
            out.append(f"{image.path}: {thing.label!r} has no outline")
        if any(len(part) < 6 or len(part) % 2 for part in thing.outline):
            out.append(f"{image.path}: an outline of {thing.label!r} has fewer than three points")
    return out


def split(images: ImageSet, share: float, seed: int) -> tuple[ImageSet, ImageSet]:
    """Two parts, the second of about `share`, in which classes are as frequent as in the whole; each has all it can.

    Images go class by class, the rarest first, so that rare classes are on both sides where they have two images; where
    there are so many of them that the second part would be half as large again, some are learned from only.

    Raises
    ------
    DataError : there are fewer than two images.

    Examples
    --------
    >>> images = [Image(f"{k}.png", ("rare" if k % 10 == 0 else "usual",)) for k in range(100)]
    >>> train, held = split(ImageSet.of("multiclass", images), 0.2, 0)
    >>> len(train), len(held), sum(i.labels == ("rare",) for i in held.images)
    (80, 20, 2)
    """
    n = len(images)
    if n < 2:
        raise DataError(f"{n} images cannot be split; at least two are needed, one to learn from, one to score.")
    rng = np.random.default_rng(seed)
    often = Counter(label for i in images.images for label in _labels(i))
    groups: dict[str, list[int]] = {}
    for row, image in enumerate(images.images):
        rarest = min(_labels(image), key=lambda label: (often[label], label), default="")
        groups.setdefault(rarest, []).append(row)
    held: list[int] = []
    owed, most = 0.0, math.ceil(1.5 * share * n)
    for label in sorted(groups, key=lambda name: (len(groups[name]), name)):
        rows = rng.permutation(groups[label])
        owed += share * len(rows)
        count = min(round(owed), len(rows) - 1) if len(rows) > 1 else 0
        count = max(count, 1 if len(rows) > 1 and len(held) < most else 0)
        owed -= count
        held += rows[:count].tolist()
    if not held:
        held = [int(rng.integers(n))]
    chosen = set(held)
    return images.take([k for k in range(n) if k not in chosen]), images.take(sorted(chosen))


def _labels(image: Image) -> set[str]:
    return set(image.labels) | {t.label for t in image.things}
