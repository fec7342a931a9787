"""Pixels: any image file as upright RGB; files that cannot be read are found before training and named together."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from automl.errors import DataError
from automl.guardrails import Guardrail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vision.data.records import Image, ImageSet

_MOST_NAMED = 10


def load_picture(path: str | Path, most: int | None = None) -> Any:
    """Open an image file as upright RGB (PIL.Image).

    Grey and 16-bit images and those of fractions (0..1) become RGB, transparent ones lie on white, and the turn that a
    camera noted is made.

    Parameters
    ----------
    most : longest side wanted; JPEG files are then decoded smaller where they can be. None = as it is.

    Raises
    ------
    DataError : the file is missing, damaged or larger than Pillow reads (178 million pixels unless it is told).
    """
    from PIL import Image as Pillow
    from PIL import ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Pillow.DecompressionBombWarning)
            with Pillow.open(path) as file:
                if most is not None:
                    file.draft("RGB", (most, most))
                file.load()
                picture = ImageOps.exif_transpose(file)
                return _rgb(picture if picture is not None else file)
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing.") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{path} is no image.") from error
    except Pillow.DecompressionBombError as error:
        raise DataError(f"{path} is too large: {' '.join(str(error).split())}") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path} is damaged: {' '.join(str(error).split())}") from error


def _rgb(picture: Any) -> Any:
    from PIL import Image as Pillow

    if picture.mode.startswith("I") or picture.mode == "F":
        values = np.asarray(picture, dtype=float)
        low, high = float(values.min()), float(values.max())
        deep = 65_535.0 if high > 255 else 255.0 if high > 1 or picture.mode != "F" else 1.0
        scaled = values / deep if low >= 0 else (values - low) / max(high - low, 1e-12)
        picture = Pillow.fromarray((255 * np.clip(scaled, 0, 1)).astype(np.uint8))
    if picture.mode in {"RGBA", "LA", "PA"} or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = Pillow.new("RGBA", picture.size, (255, 255, 255, 255))
        picture = Pillow.alpha_composite(white, picture)
    return picture.convert("RGB")


def check_images(images: ImageSet, *, skip: bool = False, threads: int = 4) -> tuple[ImageSet, list[Guardrail]]:
    """Read every file once: the images that can be used, with their sizes, and what is to be said of the others.

    Boxes are shares of the upright image. Labels that note its sides the other way round may have been made on the
    image as it lies in its file, before the turn that a camera noted; this is an alert.

    Parameters
    ----------
    skip : whether images that cannot be read are left out; else they are an error.

    Raises
    ------
    DataError : some images cannot be read and `skip` is not set, or none can; the first ten are named, all are counted.
    """
    with ThreadPoolExecutor(threads) as pool:
        found = list(pool.map(_measured, images.images))
    good = [image for image, problem in found if not problem]
    told = _turned(images, found)
    bad = [problem for _, problem in found if problem]
    if not bad:
        text = f"all {len(good)} images can be read"
        return replace(images, images=tuple(good)), [Guardrail("Unreadable images", "passed", text), *told]
    more = f" and {len(bad) - _MOST_NAMED} more" if len(bad) > _MOST_NAMED else ""
    text = f"{len(bad)} of {len(images)} images cannot be read: {'; '.join(bad[:_MOST_NAMED])}{more}"
    if not skip or not good:
        raise DataError(f"{text}. Fix: replace them, or set skip_unreadable=True to leave them out.")
    details = tuple((image.path, problem) for image, problem in found if problem)
    done = Guardrail("Unreadable images", "done", f"{text}; left out", details)
    return replace(images, images=tuple(good)), [done, *told]


def _turned(images: ImageSet, found: Sequence[tuple[Image, str]]) -> list[Guardrail]:
    """An alert of images whose labels note width and height the other way round."""
    odd = [
        now.path
        for was, (now, problem) in zip(images.images, found, strict=True)
        if was.things and not problem and was.width != was.height and (was.height, was.width) == (now.width, now.height)
    ]
    if not odd:
        return []
    text = (
        f"{len(odd)} images are noted with width and height exchanged, first {odd[0]}: the camera noted a turn, which "
        "is made here, and boxes may have been drawn before it. Fix: save the images upright, with labels for that"
    )
    return [Guardrail("Turned images", "alerted", text)]


def _measured(image: Image) -> tuple[Image, str]:
    try:
        state = Path(image.path).stat()
    except OSError:
        size, problem = (0, 0), f"{image.path} is missing"
    else:
        size, problem = _looked_at(image.path, state.st_mtime_ns, state.st_size)
    return (image, problem) if problem else (replace(image, width=size[0], height=size[1]), "")


@lru_cache(maxsize=100_000)
def _looked_at(path: str, changed: int, length: int) -> tuple[tuple[int, int], str]:  # noqa: ARG001 - tell files apart
    """Width and height of an image, or what is wrong with it; a file is decoded again only when it has changed."""
    try:
        picture = load_picture(path)
    except DataError as error:
        return (0, 0), str(error).rstrip(".")
    return (picture.width, picture.height), ""
