"""Small made-up images: squares and discs on noise, with labels, boxes and outlines."""

import numpy as np
from PIL import Image as Pillow

from vision.data.records import Image, ImageSet, Thing

COLOURS = {"disc": (220, 60, 40), "square": (40, 90, 220)}


def canvas(rng, size):
    return rng.integers(90, 140, (size, size, 3)).astype(np.uint8)


def paint(pixels, shape, left, top, side):
    y, x = np.mgrid[0:side, 0:side]
    half = (side - 1) / 2
    inside = (
        np.ones((side, side), dtype=bool) if shape == "square" else (x - half) ** 2 + (y - half) ** 2 <= (side / 2) ** 2
    )
    pixels[top : top + side, left : left + side][inside] = COLOURS[shape]


def classes(folder, count, size=32, seed=0):
    """One shape an image, by class."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    out = []
    for k in range(count):
        shape = ("disc", "square")[k % 2]
        pixels = canvas(rng, size)
        side = int(rng.integers(size // 3, size // 2))
        paint(pixels, shape, *rng.integers(0, size - side, 2), side)
        path = folder / f"{seed}-{k}.png"
        Pillow.fromarray(pixels).save(path)
        out.append(Image(str(path), (shape,), (), size, size))
    return ImageSet.of("multiclass", out)


def labels(folder, count, size=32, seed=0):
    """None, one or both shapes an image."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    out = []
    for k in range(count):
        given = [s for j, s in enumerate(COLOURS) if k % 4 >> j & 1]
        pixels = canvas(rng, size)
        for j, shape in enumerate(given):
            paint(pixels, shape, 2 + j * size // 2, int(rng.integers(2, size // 2)), size // 3)
        path = folder / f"{seed}-{k}.png"
        Pillow.fromarray(pixels).save(path)
        out.append(Image(str(path), tuple(given), (), size, size))
    return ImageSet.of("multilabel", out)


def objects(folder, count, size=64, seed=0, *, outlines=False):
    """Some shapes an image, with boxes, and outlines where they are wanted."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    out = []
    for k in range(count):
        pixels = canvas(rng, size)
        things = []
        for j in range(1 + k % 2):
            shape = ("disc", "square")[(k + j) % 2]
            side = int(rng.integers(size // 4, size // 3))
            left, top = 1 + j * size // 2, int(rng.integers(0, size - side))
            paint(pixels, shape, left, top, side)
            box = tuple(v / size for v in (left, top, left + side, top + side))
            outline = ((box[0], box[1], box[2], box[1], box[2], box[3], box[0], box[3]),) if outlines else ()
            things.append(Thing(shape, box, False, outline))
        path = folder / f"{seed}-{k}.png"
        Pillow.fromarray(pixels).save(path)
        out.append(Image(str(path), (), tuple(things), size, size))
    return ImageSet.of("segmentation" if outlines else "detection", out)
