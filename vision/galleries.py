"""Galleries: one HTML file with the images a model is most wrong about."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vision.data.pictures import load_picture
from vision.drawing import draw_labels, draw_objects, gallery
from vision.scores import tally
from vision.task import truth_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vision.data.records import ImageSet
    from vision.objects import Objects

_SIDE = 480


def worst_classes(path: Path, images: ImageSet, prob: np.ndarray, said: Sequence[tuple[str, ...]], most: int) -> Path:
    """Write the images with the largest logarithmic loss, what they are and what was said.

    Parameters
    ----------
    prob : shape [images, classes]. said : labels that were given to each image.
    """
    y = images.codes()
    loss = losses(y, prob)
    entries = []
    for k in np.argsort(-loss, kind="stable")[:most]:
        image = images.images[int(k)]
        true, given = set(image.labels), set(said[int(k)])
        if y.ndim == 1:
            lines = [f"true {image.labels[0]}", f"said {said[int(k)][0]} {prob[k].max():.2f}"]
        else:
            missed, false = sorted(true - given), sorted(given - true)
            lines = [f"missed {', '.join(missed) or 'none'}", f"false {', '.join(false) or 'none'}"]
        picture = draw_labels(_small(image.path), lines, right=given == true)
        entries.append((picture, f"{Path(image.path).name}: loss {loss[k]:.2f}"))
    return gallery(path, entries, title="Images of the largest loss")


def losses(y: np.ndarray, prob: np.ndarray) -> np.ndarray:
    """Logarithmic loss of each image, summed over labels, shape [images].

    Parameters
    ----------
    y : codes [images], or zeros and ones [images, classes]. prob : shape [images, classes].

    Examples
    --------
    >>> losses(np.array([0, 1]), np.array([[0.5, 0.5], [0.75, 0.25]])).round(2).tolist()
    [0.69, 1.39]
    """
    tiny = np.clip(prob, 1e-9, 1 - 1e-9)
    if y.ndim == 1:
        return np.asarray(-np.log(tiny[np.arange(len(y)), y]))
    return np.asarray(-(y * np.log(tiny) + (1 - y) * np.log(1 - tiny)).sum(axis=1))


def worst_objects(path: Path, images: ImageSet, found: Sequence[Objects], most: int) -> Path:
    """Write the images with the most missed, wrong, false and duplicate objects."""
    truth = truth_of(images)
    counts = tallies(truth, found)
    wrong = np.array([sum(v for name, v in c.items() if name != "found") for c in counts])
    entries = []
    for k in np.argsort(-wrong, kind="stable")[:most]:
        image = images.images[int(k)]
        picture = draw_objects(load_picture(image.path), found[k], truth[k], images.classes)
        told = ", ".join(f"{name} {value}" for name, value in counts[k].items())
        entries.append((picture, f"{Path(image.path).name}: {told}"))
    return gallery(path, entries, title="Images of the most missed and false objects", note="True objects are dashed.")


def tallies(truth: Sequence[Objects], found: Sequence[Objects]) -> list[dict[str, int]]:
    """Of each image how many objects were found, missed, taken for another class, invented and given twice."""
    return [tally(t, f, masks=t.masks is not None) for t, f in zip(truth, found, strict=True)]


def _small(path: str) -> Any:
    picture = load_picture(path, most=2 * _SIDE)
    picture.thumbnail((_SIDE, _SIDE))
    return picture
