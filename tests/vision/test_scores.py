"""Scores of objects and of labels: numbers by hand, pycocotools, torchmetrics and scikit-learn as oracles."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from automl.errors import DataError, MissingPackageError
from vision.labels import MULTILABEL, per_class, per_label
from vision.objects import Mask, Objects, masks_overlap
from vision.scores import COCO_NAMES, area, average_precision, coco_scores, full_mask, matches, tally

SIZE = (400, 300)
CLASSES = ("a", "b", "c")


def objects(boxes, labels=None, scores=None, **more):
    n = len(boxes)
    return Objects(
        np.array(boxes, dtype=float).reshape(n, 4),
        np.zeros(n, dtype=np.int64) if labels is None else np.array(labels, dtype=np.int64),
        np.ones(n) if scores is None else np.array(scores, dtype=float),
        **{"size": SIZE, **more},
    )


def with_masks(some):
    """Each box as an ellipse, so that overlaps of masks are not those of boxes."""
    masks = []
    for left, top, right, bottom in (some.boxes * [*SIZE, *SIZE]).round().astype(int).tolist():
        rows, columns = np.mgrid[: max(bottom - top, 1), : max(right - left, 1)]
        high, wide = rows.shape
        bits = ((columns + 0.5) / wide - 0.5) ** 2 + ((rows + 0.5) / high - 0.5) ** 2 <= 0.25
        masks.append(Mask(left, top, bits))
    return Objects(some.boxes, some.labels, some.scores, tuple(masks), some.crowd, some.size)


def scene(rng, images=12, crowds=0.0):
    """True objects, and found ones of which some are shifted, of another class, doubled, missing or nowhere."""
    truth, found = [], []
    for _ in range(images):
        n = int(rng.integers(0, 8))
        corner = rng.uniform(0, 0.7, (n, 2))
        boxes = np.column_stack([corner, corner + rng.uniform(0.03, 0.3, (n, 2))])
        labels = rng.integers(0, 3, n)
        truth.append(objects(boxes, labels, crowd=rng.random(n) < crowds))
        rows = np.flatnonzero(rng.random(n) < 0.85)
        rows = np.concatenate([rows, rows[rng.random(len(rows)) < 0.2]])
        moved = np.clip(boxes[rows] + rng.normal(0, 0.02, (len(rows), 4)), 0, 1)
        moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 0.01)
        extra = rng.uniform(0, 0.7, (int(rng.integers(0, 4)), 2))
        moved = np.concatenate([moved, np.column_stack([extra, extra + 0.15])])
        said = np.concatenate([np.where(rng.random(len(rows)) < 0.9, labels[rows], 0), rng.integers(0, 3, len(extra))])
        found.append(objects(moved, said, rng.permutation(1000)[: len(moved)] / 1000 + 1e-6 * rng.random(len(moved))))
    return truth, found


# -- Pascal VOC -------------------------------------------------------------------------------------------------------


def test_average_precision_by_hand():
    # three true objects; hits and misses by score: right, wrong, right, wrong, right
    # precision at the hits: 1, 2/3, 3/5, all of them monotone; area = (1 + 2/3 + 3/5) / 3
    truth = [objects([[0, 0, 0.2, 0.2], [0.4, 0.4, 0.6, 0.6]]), objects([[0, 0, 0.5, 0.5]])]
    found = [
        objects([[0, 0, 0.2, 0.2], [0.7, 0.7, 0.9, 0.9], [0.4, 0.4, 0.6, 0.6]], scores=[0.9, 0.8, 0.7]),
        objects([[0.6, 0.6, 1, 1], [0, 0, 0.5, 0.4]], scores=[0.6, 0.5]),
    ]
    scored = average_precision(truth, found, ("a",))
    assert scored.mean_average_precision == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)
    assert scored.precision == pytest.approx(3 / 5)
    assert scored.recall == 1
    (row,) = scored.per_label
    assert {k: row[k] for k in ("label", "images", "objects", "found", "right")} == {
        "label": "a", "images": 2, "objects": 3, "found": 5, "right": 3,
    }  # fmt: skip
    strict = average_precision(truth, found, ("a",), threshold=0.9)  # the last one overlaps by 0.8
    assert strict.mean_average_precision == pytest.approx((1 + 2 / 3) / 3)
    assert strict.recall == pytest.approx(2 / 3)


def test_the_area_takes_the_best_precision_from_there_on():
    assert area(np.array([0.9, 0.8, 0.7]), np.array([False, True, True]), 2) == pytest.approx(2 / 3)
    assert area(np.array([0.9]), np.array([True]), 4) == pytest.approx(0.25)
    assert area(np.zeros(0), np.zeros(0, dtype=bool), 3) == 0
    assert np.isnan(area(np.zeros(0), np.zeros(0, dtype=bool), 0))


@pytest.mark.parametrize("masks", [False, True])
def test_perfect_objects_score_one(masks):
    truth, _ = scene(np.random.default_rng(0))
    truth = [with_masks(t) for t in truth]
    scored = average_precision(truth, truth, CLASSES, masks=masks)
    assert (scored.mean_average_precision, scored.precision, scored.recall) == (1, 1, 1)
    assert all(row["average_precision"] == 1 for row in scored.per_label)


def test_where_nothing_is_there_or_found():
    nothing, something = objects([]), objects([[0, 0, 0.5, 0.5]])
    none_found = average_precision([something], [nothing], ("a", "b"))
    assert (none_found.mean_average_precision, none_found.precision, none_found.recall) == (0, 0, 0)
    assert np.isnan(none_found.per_label[1]["average_precision"])
    none_true = average_precision([nothing], [something], ("a",))
    assert none_true.precision == 0
    assert np.isnan([none_true.mean_average_precision, none_true.recall]).all()
    neither = average_precision([nothing], [nothing], ("a",))
    assert np.isnan([neither.mean_average_precision, neither.precision, neither.recall]).all()
    assert np.isnan(average_precision([], [], ("a",)).mean_average_precision)
    assert average_precision([nothing, something], [nothing, something], ("a",)).mean_average_precision == 1


def test_crowds_are_neither_hits_nor_misses():
    boxes = [[0, 0, 0.2, 0.2], [0.5, 0.5, 1, 1]]
    truth = [objects(boxes, crowd=np.array([False, True]))]
    # two lie in the crowd, though they overlap it little by intersection over union; one is nowhere
    inside = [[0.6, 0.6, 0.7, 0.7], [0.8, 0.8, 0.9, 0.9]]
    found = [objects([boxes[0], *inside, [0.2, 0.6, 0.4, 0.8]], scores=[0.5, 0.9, 0.8, 0.4])]
    scored = average_precision(truth, found, ("a",))
    assert scored.mean_average_precision == 1
    assert scored.precision == 0.5
    assert scored.recall == 1
    assert scored.per_label[0]["objects"] == 1
    assert matches(truth[0], found[0], 0.5, masks=False)[1].tolist() == [False, True, True, False]


def test_the_best_true_object_not_hit_yet_is_hit():
    true = objects([[0, 0, 0.5, 0.5], [0.1, 0, 0.6, 0.5]])
    found = objects([[0, 0, 0.5, 0.5], [0.01, 0, 0.51, 0.5], [0.02, 0, 0.52, 0.5]], scores=[0.9, 0.8, 0.7])
    match, ignored = matches(true, found, 0.5, masks=False)
    assert match.tolist() == [0, 1, -1]
    assert not ignored.any()
    turned, _ = matches(true, found.take(np.array([2, 1, 0])), 0.5, masks=False)
    assert turned.tolist() == [-1, 1, 0]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_order_of_objects_and_images_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    truth, found = scene(rng, images=5, crowds=0.2)
    # scores that are all different, over all images
    ranks = iter(rng.permutation(10_000) / 10_000)
    found = [objects(f.boxes, f.labels, [next(ranks) for _ in range(len(f))]) for f in found]
    order = rng.permutation(5)
    mixed = [
        (truth[k].take(rng.permutation(len(truth[k]))), found[k].take(rng.permutation(len(found[k])))) for k in order
    ]
    one, other = average_precision(truth, found, CLASSES), average_precision(*zip(*mixed, strict=True), CLASSES)
    np.testing.assert_allclose(one.mean_average_precision, other.mean_average_precision)
    np.testing.assert_allclose([one.precision, one.recall], [other.precision, other.recall])


def test_labels_need_no_names():
    truth, found = scene(np.random.default_rng(1))
    named, bare = average_precision(truth, found, CLASSES), average_precision(truth, found, ())
    assert (bare.mean_average_precision, bare.precision) == (named.mean_average_precision, named.precision)
    strange = [objects([[0, 0, 1, 1]], [7])]  # found alone: it counts against precision
    assert average_precision([objects([[0, 0, 0.1, 0.1]])], strange, ()).precision == 0


def test_wrong_arguments_are_told():
    one = objects([[0, 0, 1, 1]], [1])
    with pytest.raises(DataError, match="of 1 images and found ones of 0"):
        average_precision([one], [], ("a",))
    with pytest.raises(DataError, match="the label 1, and there are 1 classes"):
        average_precision([one], [one], ("a",))
    with pytest.raises(DataError, match="boxes only"):
        average_precision([one], [one], ("a", "b"), masks=True)


# -- COCO -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("masks", [False, True])
def test_coco_scores_agree_with_torchmetrics(masks):
    pytest.importorskip("pycocotools", reason="coco_scores uses pycocotools")
    detection = pytest.importorskip("torchmetrics.detection", reason="torchmetrics is the oracle")
    import torch

    pairs = [(with_masks(t), with_masks(f)) for t, f in zip(*scene(np.random.default_rng(2), images=20), strict=True)]
    # of masks, torchmetrics leaves out images without true objects, and with them what was found there
    truth, found = zip(*[(t, f) for t, f in pairs if len(t)], strict=True)

    def entry(one):
        shapes = [full_mask(m, SIZE) > 0 for m in one.masks]
        shape = (
            {"masks": torch.tensor(np.array(shapes).reshape(-1, *SIZE[::-1]))}
            if masks
            else {"boxes": torch.tensor(one.boxes * [*SIZE, *SIZE])}
        )
        return {**shape, "labels": torch.tensor(one.labels), "scores": torch.tensor(one.scores)}

    sides = [[entry(one) for one in side] for side in (found, truth)]
    oracle = detection.MeanAveragePrecision(iou_type="segm" if masks else "bbox")
    oracle.update(*sides)
    theirs = oracle.compute()
    mine = coco_scores(truth, found, CLASSES, masks=masks)
    names = ("map", "map_50", "map_75", "map_small", "map_medium", "map_large",
             "mar_1", "mar_10", "mar_100", "mar_small", "mar_medium", "mar_large")  # fmt: skip
    assert tuple(mine) == COCO_NAMES
    for name, other in zip(mine, names, strict=True):
        expected = float(theirs[other])
        np.testing.assert_allclose(mine[name], expected if expected >= 0 else np.nan, atol=1e-6, err_msg=name)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_average_precision_is_that_of_coco_but_for_its_points(seed, masks):
    pytest.importorskip("pycocotools", reason="pycocotools is the oracle")
    truth, found = scene(np.random.default_rng(seed), images=15, crowds=0.2)
    truth, found = [with_masks(t) for t in truth], [with_masks(f) for f in found]
    mine = average_precision(truth, found, CLASSES, masks=masks).mean_average_precision
    theirs = coco_scores(truth, found, CLASSES, masks=masks)["AP50"]
    np.testing.assert_allclose(mine, theirs, atol=0.012)  # COCO reads the same curve at 101 points


def test_recall_is_that_of_coco():
    pytest.importorskip("pycocotools", reason="pycocotools is the oracle")
    truth, found = scene(np.random.default_rng(3), images=30, crowds=0.2)
    rows = average_precision(truth, found, CLASSES).per_label
    over = [average_precision(truth, found, CLASSES, threshold=t).per_label for t in np.linspace(0.5, 0.95, 10)]
    mine = np.mean([[row["recall"] for row in each] for each in over])
    assert all(row["objects"] for row in rows)
    np.testing.assert_allclose(mine, coco_scores(truth, found, CLASSES)["AR100"], atol=1e-9)


def test_coco_scores_of_nothing(capsys):
    pytest.importorskip("pycocotools", reason="coco_scores uses pycocotools")
    nothing, large = objects([]), objects([[0, 0, 0.5, 0.5]])
    missed = coco_scores([large], [nothing], ("a",))
    assert missed["AP"] == missed["AR100"] == missed["APl"] == 0
    assert np.isnan(missed["APs"])
    assert np.isnan(list(coco_scores([nothing], [large], ("a",)).values())).all()
    assert np.isnan(list(coco_scores([], [], ("a",)).values())).all()
    assert coco_scores([large], [large], ("a",))["AP"] == pytest.approx(1)
    assert capsys.readouterr().out == ""


def test_coco_scores_without_pycocotools(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    with pytest.raises(MissingPackageError, match="pycocotools"):
        coco_scores([objects([])], [objects([])], ("a",))


# -- counts -----------------------------------------------------------------------------------------------------------


def test_tally_by_hand():
    boxes = [[0, 0, 0.2, 0.2], [0.3, 0, 0.5, 0.2], [0.6, 0, 0.8, 0.2], [0, 0.5, 0.4, 0.9]]
    true = objects(boxes, [0, 1, 0, 0], crowd=np.array([False, False, False, True]))
    given_ = [
        (boxes[0], 0),  # found
        ([0.01, 0, 0.21, 0.2], 0),  # duplicate
        ([0, 0.01, 0.2, 0.2], 1),  # on one that is hit
        (boxes[1], 0),  # wrong class; the third is missed
        ([0.8, 0.8, 0.9, 0.9], 0),  # false
        ([0.1, 0.6, 0.2, 0.7], 1),  # in a crowd
    ]
    found = objects([b for b, _ in given_], [c for _, c in given_], np.linspace(0.9, 0.4, 6))
    assert tally(true, found) == {"found": 1, "missed": 1, "wrong": 1, "false": 1, "duplicate": 2}
    assert tally(objects([]), found)["false"] == 6
    assert tally(true, objects([])) == {"found": 0, "missed": 3, "wrong": 0, "false": 0, "duplicate": 0}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_counts_add_up(seed, masks):
    truth, found = scene(np.random.default_rng(seed), images=1)
    true, given_ = with_masks(truth[0]), with_masks(found[0])
    told = tally(true, given_, masks=masks)
    assert told["found"] + told["missed"] + told["wrong"] == len(true)
    assert told["found"] + told["wrong"] + told["false"] + told["duplicate"] == len(given_)
    assert tally(true, true, masks=masks)["found"] == len(true)


def test_a_mask_beyond_the_image_is_cut_off():
    whole = full_mask(Mask(-1, 3, np.ones((4, 3), dtype=bool)), (6, 5))
    assert whole.sum() == 4
    assert whole[3:, :2].all()
    assert masks_overlap([], [Mask(0, 0, np.ones((1, 1), dtype=bool))]).shape == (0, 1)


# -- several labels ---------------------------------------------------------------------------------------------------


def several(rng, n=60, labels=5):
    y = (rng.random((n, labels)) < rng.uniform(0.05, 0.7, labels)).astype(float)
    prob = np.clip(0.45 * y + rng.uniform(0, 0.75, (n, labels)), 0, 1)
    y[:3], prob[:3] = 0, 0.1  # images without any label, true or given
    return y, prob


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("weighted", [False, True])
def test_metrics_of_several_labels_are_those_of_scikit_learn(seed, weighted):
    from sklearn import metrics

    rng = np.random.default_rng(seed)
    y, prob = several(rng)
    weight = rng.uniform(0.2, 3, len(y)) if weighted else None
    said = (prob >= 0.5).astype(int)
    own = {"sample_weight": weight}
    expected = {
        "iou": metrics.jaccard_score(y, said, average="samples", zero_division=1, **own),
        "accuracy": metrics.accuracy_score(y, said, **own),
        "label_accuracy": 1 - metrics.hamming_loss(y, said, **own),
        "log_loss": np.mean([metrics.log_loss(y[:, k], prob[:, k], labels=[0, 1], **own) for k in range(5)]),
        "mean_average_precision": metrics.average_precision_score(y, prob, average="macro", **own),
        "f1_score_samples": metrics.f1_score(y, said, average="samples", zero_division=1, **own),
    }
    for average in ("macro", "micro", "weighted"):
        expected[f"AUC_{average}"] = metrics.roc_auc_score(y, prob, average=average, **own)
        expected[f"iou_{average}"] = metrics.jaccard_score(y, said, average=average, zero_division=0, **own)
        for name in ("f1", "precision", "recall"):
            function = getattr(metrics, f"{name}_score")
            expected[f"{name}_score_{average}"] = function(y, said, average=average, zero_division=0, **own)
    assert set(expected) == set(MULTILABEL)
    for name in MULTILABEL:
        np.testing.assert_allclose(MULTILABEL.load(name).function(y, prob, weight), expected[name], err_msg=name)


def test_labels_that_all_or_no_images_have_are_left_out_of_rankings():
    rng = np.random.default_rng(5)
    y, prob = several(rng)
    more = np.column_stack([y, np.ones(len(y)), np.zeros(len(y))])
    wide = np.column_stack([prob, rng.random((len(y), 2))])
    for name in ("mean_average_precision", "AUC_macro"):
        function = MULTILABEL.load(name).function
        assert function(more, wide) == pytest.approx(function(y, prob))
        assert np.isnan(function(more[:, -2:], wide[:, -2:]))


def test_perfect_labels_and_one_label_alone():
    y, _ = several(np.random.default_rng(6))
    for truth in (y, y[:, :1]):
        for name in MULTILABEL:
            metric = MULTILABEL.load(name)
            assert metric.function(truth, truth) == pytest.approx(0 if metric.direction == "min" else 1), name


# -- tables -----------------------------------------------------------------------------------------------------------


def _same_as_report(rows, report, classes):
    for name, key in [(c, c) for c in classes] + [(f"{a} mean", f"{a} avg") for a in ("macro", "weighted")]:
        row = next(r for r in rows if r["label"] == name)
        for mine, theirs in (("precision", "precision"), ("recall", "recall"), ("f1", "f1-score")):
            np.testing.assert_allclose(row[mine], report[key][theirs], err_msg=f"{name} {mine}")
        assert row["support"] == report[key]["support"]


@pytest.mark.parametrize("threshold", [0.5, 0.3])
def test_table_of_labels(threshold):
    from sklearn import metrics

    y, prob = several(np.random.default_rng(7))
    names = [f"label {k}" for k in range(5)]
    rows = per_label(y, prob, names, threshold)
    report = metrics.classification_report(y, prob >= threshold, target_names=names, output_dict=True, zero_division=0)
    _same_as_report(rows, report, names)
    assert [r["label"] for r in rows] == [*names, "macro mean", "micro mean", "weighted mean"]
    for k in range(5):
        assert rows[k]["auc"] == pytest.approx(metrics.roc_auc_score(y[:, k], prob[:, k]))
        assert rows[k]["average_precision"] == pytest.approx(metrics.average_precision_score(y[:, k], prob[:, k]))
    for row, average in zip(rows[5:], ("macro", "micro", "weighted"), strict=True):
        assert row["auc"] == pytest.approx(metrics.roc_auc_score(y, prob, average=average))
        assert row["average_precision"] == pytest.approx(metrics.average_precision_score(y, prob, average=average))
    assert rows[6]["f1"] == pytest.approx(report["micro avg"]["f1-score"])


def test_table_of_classes():
    from sklearn import metrics

    rng = np.random.default_rng(8)
    y = rng.integers(0, 3, 80)  # the fourth class does not occur
    prob = rng.dirichlet(np.ones(4), 80) + 0.4 * np.eye(4)[y]
    prob /= prob.sum(axis=1, keepdims=True)
    names = ["a", "b", "c", "never"]
    rows = per_class(y, prob, names)
    report = metrics.classification_report(
        y, prob.argmax(axis=1), labels=range(4), target_names=names, output_dict=True, zero_division=0
    )
    _same_as_report(rows, report, names)
    assert rows[5]["precision"] == pytest.approx(metrics.accuracy_score(y, prob.argmax(axis=1)))
    assert rows[0]["auc"] == pytest.approx(metrics.roc_auc_score(y == 0, prob[:, 0]))
    assert np.isnan([rows[3]["auc"], rows[3]["average_precision"]]).all()
    assert rows[4]["auc"] == pytest.approx(np.mean([row["auc"] for row in rows[:3]]))
