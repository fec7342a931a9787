"""Scores of objects: mean average precision as Pascal VOC and COCO count it, and what is right or wrong in an image.

Sources: Everingham et al. (2010), The Pascal visual object classes challenge, IJCV 88; Lin et al. (2014), Microsoft
COCO, ECCV.
"""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from automl.errors import DataError, MissingPackageError
from vision.objects import Mask, Objects, overlap

if TYPE_CHECKING:
    from collections.abc import Sequence

COCO_NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
_NO_SUCH = float("nan")


@dataclass(frozen=True, slots=True)
class Detected:
    """How well objects were found.

    Parameters
    ----------
    mean_average_precision : over the classes that have true objects, NaN where there are none.
    precision, recall : over all objects given, whatever their score.
    per_label : a row a class: label, average_precision, precision, recall (NaN where there is nothing to count),
        images (with true objects of the class), objects (true), found, right. Crowds, and what was found in them, are
        not counted.
    """

    mean_average_precision: float
    precision: float
    recall: float
    per_label: list[dict[str, Any]]


def average_precision(
    truth: Sequence[Objects],
    found: Sequence[Objects],
    classes: Sequence[str],
    *,
    threshold: float = 0.5,
    masks: bool = False,
    least: float | np.ndarray = 0.0,
) -> Detected:
    """Mean average precision: area under the precision-recall curve made monotone, at all its points.

    What is found is matched as `matches` says. Objects of equal score keep the order of their images.

    Parameters
    ----------
    truth, found : of the same images. classes : names of the labels; () = labels are named by their codes.
    threshold : least overlap of a hit. masks : whether overlaps are those of masks. least : score from which objects
        count for precision, recall, found and right, one or one a class; average precision looks at all.

    Raises
    ------
    DataError : truth and found are not of the same number of images, or a label is none of the classes.
    """
    _check(truth, found, classes)
    codes = [np.zeros(0, dtype=np.int64)]
    scores, right, ignored = [np.zeros(0)], [np.zeros(0, dtype=bool)], [np.zeros(0, dtype=bool)]
    for true, given in zip(truth, found, strict=True):
        match, aside = matches(true, given, threshold, masks=masks)
        codes.append(given.labels)
        scores.append(given.scores)
        right.append(match >= 0)
        ignored.append(aside)
    counted = ~np.concatenate(ignored)
    code, score, hit = (np.concatenate(part)[counted] for part in (codes, scores, right))
    own_least = np.take(least, code, mode="clip")  # one alone stands for all classes
    shown = score >= own_least  # hits go by score, so lower ones change nothing above
    true_codes = [t.labels[~crowd_of(t)] for t in truth]
    names = list(classes) or [str(k) for k in range(_most(true_codes) + 1)]
    objects, images = np.zeros(len(names), dtype=int), np.zeros(len(names), dtype=int)
    for own in true_codes:
        objects += np.bincount(own, minlength=len(names))
        images[np.unique(own)] += 1
    rows: list[dict[str, Any]] = []
    for k, name in enumerate(names):
        own, own_hits = code == k, hit[(code == k) & shown]
        rows.append(
            {
                "label": name,
                "average_precision": area(score[own], hit[own], int(objects[k])),
                "precision": float(own_hits.mean()) if len(own_hits) else _NO_SUCH,
                "recall": float(own_hits.sum() / objects[k]) if objects[k] else _NO_SUCH,
                "images": int(images[k]),
                "objects": int(objects[k]),
                "found": len(own_hits),
                "right": int(own_hits.sum()),
            }
        )
    each = [float(row["average_precision"]) for row in rows if row["objects"]]
    return Detected(
        float(np.mean(each)) if each else _NO_SUCH,
        float(hit[shown].mean()) if shown.any() else (0.0 if objects.any() else _NO_SUCH),
        float(hit[shown].sum() / objects.sum()) if objects.any() else _NO_SUCH,
        rows,
    )


def _most(codes: Sequence[np.ndarray]) -> int:
    return max((int(own.max(initial=-1)) for own in codes), default=-1)


def _check(truth: Sequence[Objects], found: Sequence[Objects], classes: Sequence[str]) -> None:
    if len(truth) != len(found):
        raise DataError(f"there are true objects of {len(truth)} images and found ones of {len(found)}.")
    most = _most([o.labels for o in (*truth, *found)])
    if len(classes) and most >= len(classes):
        raise DataError(f"an object has the label {most}, and there are {len(classes)} classes.")


def area(scores: np.ndarray, right: np.ndarray, count: int) -> float:
    """Area under the monotone precision-recall curve; NaN where there are no true objects.

    Parameters
    ----------
    scores, right : of objects found, shape [n]. count : true objects.

    Examples
    --------
    >>> round(area(np.array([0.9, 0.8, 0.7]), np.array([True, False, True]), 2), 4)
    0.8333
    """
    if not count:
        return _NO_SUCH
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(right[order])
    precision = hits / np.arange(1, len(hits) + 1)
    recall = hits / count
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * best_from_here))


def matches(true: Objects, found: Objects, threshold: float, *, masks: bool) -> tuple[np.ndarray, np.ndarray]:
    """Which true object each found one hits.

    Found objects are taken by score. Each hits, of the true objects of its class not hit yet, the one it overlaps
    most, by at least `threshold`: COCO's rule. Pascal VOC's counts an object as wrong whose best true one was hit
    before, even where a second one would do. One that hits nothing and lies in a crowd of its class by that share is
    ignored.

    Returns
    -------
    Number of the true object, -1 = none, and whether it is ignored; both shape [found], in the order given.
    """
    match = np.full(len(found), -1)
    ignored = np.zeros(len(found), dtype=bool)
    if not len(true) or not len(found):
        return match, ignored
    near = np.where(found.labels[:, None] == true.labels, overlap(found, true, masks=masks), -1.0)
    crowd = crowd_of(true)
    ones = np.where(crowd, -1.0, near)
    for k in np.argsort(-found.scores, kind="stable"):
        best = int(ones[k].argmax())
        if ones[k, best] >= threshold:
            match[k] = best
            ones[:, best] = -1.0
        else:
            ignored[k] = bool((near[k, crowd] >= threshold).any())
    return match, ignored


def crowd_of(objects: Objects) -> np.ndarray:
    """Which true objects are crowds, shape [n]."""
    return np.zeros(len(objects), dtype=bool) if objects.crowd is None else objects.crowd


def tally(truth: Objects, found: Objects, *, threshold: float = 0.5, masks: bool = False) -> dict[str, int]:
    """Count what is right and wrong in one image.

    Returns
    -------
    found : true objects hit by one of their class. missed : hit by none. wrong : hit by one of another class alone.
    false : objects given where there is none. duplicate : further ones given on a true object that was hit.
    The first three add up to the true objects, and found, wrong, false and duplicate to the objects given; crowds, and
    what lies in them, are left out of both.

    Examples
    --------
    >>> true = Objects(np.array([[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]]), np.array([0, 1]), np.ones(2))
    >>> tally(true, true.take(np.array([0, 0])))
    {'found': 1, 'missed': 1, 'wrong': 0, 'false': 0, 'duplicate': 1}
    """
    out = dict.fromkeys(("found", "missed", "wrong", "false", "duplicate"), 0)
    crowd = crowd_of(truth)
    match, _ = matches(truth, found, threshold, masks=masks)
    taken = np.zeros(len(truth), dtype=bool)
    taken[match[match >= 0]] = True
    out["found"] = int(taken.sum())
    near = np.zeros((len(found), len(truth)))
    if len(found) and len(truth):
        near = overlap(found, truth, masks=masks)
    for k in np.argsort(-found.scores, kind="stable"):
        if match[k] >= 0:
            continue
        touched = near[k] >= threshold
        same = truth.labels == found.labels[k]
        others = np.where(touched & ~taken & ~crowd & ~same, near[k], -1.0)
        if (touched & taken & same).any():
            out["duplicate"] += 1
        elif (others >= 0).any():
            taken[int(others.argmax())] = True
            out["wrong"] += 1
        elif (touched & ~crowd).any():
            out["duplicate"] += 1
        elif not touched.any():
            out["false"] += 1
    out["missed"] = int((~taken & ~crowd).sum())
    return out


def coco_scores(
    truth: Sequence[Objects], found: Sequence[Objects], classes: Sequence[str], *, masks: bool = False
) -> dict[str, float]:
    """Compute the twelve numbers of COCO, by pycocotools.

    AP over overlaps of 0.5 to 0.95, AP50 and AP75 at one overlap; AR1, AR10, AR100: recall of so many objects an image;
    s, m, l: of objects below 32, between 32 and 96 and above 96 pixels squared. NaN where there is nothing to score.
    Images whose size is not known count as 1000 x 1000 pixels.

    Raises
    ------
    MissingPackageError : pycocotools is not installed. DataError : as for `average_precision`.
    """
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise MissingPackageError("pycocotools", "vision", "COCO's scores") from error
    _check(truth, found, classes)
    annotations: list[dict[str, Any]] = []
    answers: list[dict[str, Any]] = []
    images = []
    for number, (true, given) in enumerate(zip(truth, found, strict=True), 1):
        size = true.size if all(true.size) else (1000, 1000)
        images.append({"id": number, "width": size[0], "height": size[1]})
        crowd = crowd_of(true)
        for k, entry in enumerate(_coco_entries(true, size, masks=masks)):
            annotations.append({**entry, "iscrowd": int(crowd[k]), "image_id": number, "id": len(annotations) + 1})
        for k, entry in enumerate(_coco_entries(given, size, masks=masks)):
            score = {"score": float(given.scores[k]), "iscrowd": 0}
            answers.append({**entry, **score, "image_id": number, "id": len(answers) + 1})
    categories = [{"id": k, "name": name} for k, name in enumerate(classes, 1)]
    with contextlib.redirect_stdout(io.StringIO()):
        sides = []
        for entries in (annotations, answers):
            side = COCO()
            side.dataset = {"images": images, "categories": categories, "annotations": entries}
            side.createIndex()
            sides.append(side)
        scored = COCOeval(*sides, "segm" if masks else "bbox")
        scored.evaluate()
        scored.accumulate()
        scored.summarize()
    return {
        name: float(value) if value >= 0 else _NO_SUCH for name, value in zip(COCO_NAMES, scored.stats, strict=True)
    }


def _coco_entries(objects: Objects, size: tuple[int, int], *, masks: bool) -> list[dict[str, Any]]:
    """Objects as COCO writes them: boxes as left, top, width, height in pixels, masks run-length encoded."""
    from pycocotools import mask as codec

    if masks and objects.masks is None and len(objects):
        raise DataError(f"{len(objects)} objects have boxes only, no masks. Fix: masks=False.")
    edges = objects.boxes * [*size, *size]
    sides = np.column_stack([edges[:, :2], edges[:, 2:] - edges[:, :2]])
    out = []
    for k in range(len(objects)):
        box = [float(v) for v in sides[k]]
        one: dict[str, Any] = {"bbox": box, "area": box[2] * box[3], "category_id": int(objects.labels[k]) + 1}
        if masks and objects.masks is not None:
            whole = full_mask(objects.masks[k], size)
            one["segmentation"] = codec.encode(np.asfortranarray(whole))
            one["area"] = int(whole.sum())
        out.append(one)
    return out


def full_mask(mask: Mask, size: tuple[int, int]) -> np.ndarray:
    """Mask on the whole image, uint8 [height, width]; what lies beyond the image is cut off."""
    out = np.zeros((size[1], size[0]), dtype=np.uint8)
    height, width = mask.bits.shape
    left, top = max(mask.left, 0), max(mask.top, 0)
    part = out[top : max(mask.top + height, 0), left : max(mask.left + width, 0)]
    part[:] = mask.bits[top - mask.top :, left - mask.left :][: part.shape[0], : part.shape[1]]
    return out
