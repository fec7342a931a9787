"""Outlines to masks and back."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from automl.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vision.data.records import Thing

_WHOLE = 0.02
"""Pixels by which shares of the sides may miss a whole number."""

_STRAIGHT = 1e-9


@dataclass(frozen=True, slots=True)
class Mask:
    """Pixels of one object: a crop of the image.

    Parameters
    ----------
    left, top : place of the crop in the image, pixels. bits : bool, shape [height, width].
    """

    left: int
    top: int
    bits: np.ndarray

    @property
    def area(self) -> int:
        """Pixels of the object."""
        return int(self.bits.sum())


def thing_mask(thing: Thing, own: tuple[int, int], size: tuple[int, int]) -> Mask:
    """Mask of an object at a size; `own` is the size that it was outlined at, (0, 0) = not known."""
    if not thing.outline:
        left, top, right, bottom = thing.box
        return outline_mask([(left, top, right, top, right, bottom, left, bottom)], size)
    if min(own) > 0 and _names_pixels(thing, own):
        # the outermost pixels belong to the object: polygons run through their centres, and the line is filled too
        mask = _with_line(thing.outline, own)
        return mask if size == own else outline_mask(mask_outlines(mask, own, 10_000), size)
    return outline_mask(thing.outline, size)


def _names_pixels(thing: Thing, size: tuple[int, int]) -> bool:
    """Whether an outline lists the outermost pixels of an object, as tracing a mask gives them, not their outer edges.

    Then all its points are whole numbers, and the box ends one pixel beyond the last one, right and below.
    """
    points = np.concatenate([np.asarray(p, dtype=float).reshape(-1, 2) for p in thing.outline]) * size
    if np.abs(points - points.round()).max() > _WHOLE:
        return False
    first, last = np.reshape(thing.box, (2, 2)) * size
    return bool(
        np.abs(points.min(axis=0) - first).max() <= _WHOLE and np.abs(points.max(axis=0) + 1 - last).max() <= _WHOLE
    )


def _with_line(outline: Sequence[Sequence[float]], size: tuple[int, int]) -> Mask:
    """Pixels that polygons pass through or surround; their points are numbers of pixels as shares of the sides."""
    from PIL import Image as Pillow
    from PIL import ImageDraw

    parts = [(np.asarray(p, dtype=float).reshape(-1, 2) * size).round().astype(int) for p in outline]
    points = np.concatenate(parts)
    (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    canvas = Pillow.new("L", (right - left + 1, bottom - top + 1))
    draw = ImageDraw.Draw(canvas)
    for part in parts:
        draw.polygon([(int(x) - left, int(y) - top) for x, y in part], fill=1, outline=1)
    return Mask(left, top, np.asarray(canvas).astype(bool))


def outline_mask(outline: Sequence[Sequence[float]], size: tuple[int, int]) -> Mask:
    """Pixels whose centres lie within polygons (shares of the sides); parts are joined.

    Parameters
    ----------
    size : width and height of the image in pixels.

    Examples
    --------
    >>> square = outline_mask([(0.25, 0.25, 0.75, 0.25, 0.75, 0.75, 0.25, 0.75)], (8, 8))
    >>> square.left, square.top, square.bits.shape, square.area
    (2, 2, (4, 4), 16)
    """
    width, height = size
    parts = [np.asarray(p, dtype=float).reshape(-1, 2) * [width, height] for p in outline]
    if not parts:
        return Mask(0, 0, np.zeros((0, 0), dtype=bool))
    points = np.concatenate(parts)
    left, top = np.clip(np.floor(points.min(axis=0)).astype(int), 0, [width, height])
    right, bottom = np.clip(np.ceil(points.max(axis=0)).astype(int), 0, [width, height])
    if right <= left or bottom <= top:
        return Mask(int(left), int(top), np.zeros((0, 0), dtype=bool))
    bits = np.zeros((bottom - top, right - left), dtype=bool)
    for part in parts:
        bits |= _inside(part - [left, top], bits.shape)
    return Mask(int(left), int(top), bits)


def _inside(points: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Pixels whose centres are inside a polygon: an odd number of edges lies to their left."""
    out = np.zeros(shape, dtype=bool)
    x0, y0 = points.T
    x1, y1 = np.roll(points, -1, axis=0).T
    rows = np.arange(shape[0]) + 0.5
    crosses = (y0[:, None] <= rows) != (y1[:, None] <= rows)
    for row in np.flatnonzero(crosses.any(axis=0)):
        edges = np.flatnonzero(crosses[:, row])
        share = (rows[row] - y0[edges]) / (y1[edges] - y0[edges])
        ends = np.sort(x0[edges] + share * (x1[edges] - x0[edges]))
        for first, last in zip(ends[0::2], ends[1::2], strict=True):
            out[row, max(int(np.ceil(first - 0.5)), 0) : max(int(np.ceil(last - 0.5)), 0)] = True
    return out


def mask_outlines(mask: Mask, size: tuple[int, int], most_points: int = 100) -> tuple[tuple[float, ...], ...]:
    """Polygons around a mask, as shares of the sides, of at most so many points each; the largest part first.

    Holes are filled, because parts of an outline are joined. Where there are too many points, those that change the
    area least go first (Visvalingam & Whyatt 1993); until then `outline_mask` gives the mask back.

    Parameters
    ----------
    size : width and height of the image in pixels. most_points : three or more.

    Raises
    ------
    ConfigError : fewer than three points are allowed.
    """
    import contourpy

    if most_points < 3:
        raise ConfigError(f"most_points must be at least 3, got {most_points}.")
    if not mask.bits.any():
        return ()
    # the contour runs half-way between the centres of pixels inside and outside; one row and column were padded
    lines = contourpy.contour_generator(z=np.pad(mask.bits.astype(float), 1), name="serial").lines(0.5)
    out = []
    for line in lines:
        points = np.asarray(line)[:-1] - 0.5
        x, y = points.T
        area = float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) / 2
        if area > 0:  # holes turn the other way
            shares = np.clip((_thinned(points, most_points) + np.array([mask.left, mask.top])) / size, 0, 1)
            out.append((area, tuple(float(v) for v in shares.ravel())))
    return tuple(polygon for _, polygon in sorted(out, key=lambda pair: -pair[0]))


def _thinned(points: np.ndarray, most: int) -> np.ndarray:
    """Points of a polygon without those on a straight line, and without the least ones until `most` are left."""
    n = len(points)
    before, after = [(k - 1) % n for k in range(n)], [(k + 1) % n for k in range(n)]
    xy = points.tolist()

    def triangle(k: int) -> float:
        (ax, ay), (bx, by), (cx, cy) = xy[before[k]], xy[k], xy[after[k]]
        return abs((bx - ax) * (cy - ay) - (cx - ax) * (by - ay))

    heap = [(triangle(k), k) for k in range(n)]
    heapq.heapify(heap)
    there, left = [True] * n, n
    while left > 3:
        size, k = heap[0]
        if size > _STRAIGHT and left <= most:
            break
        heapq.heappop(heap)
        if not there[k] or size != triangle(k):
            continue  # changed since, and put in anew
        there[k], left = False, left - 1
        after[before[k]], before[after[k]] = after[k], before[k]
        for near in (before[k], after[k]):
            heapq.heappush(heap, (triangle(near), near))
    return points[there]
