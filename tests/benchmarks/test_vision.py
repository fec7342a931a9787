"""The benchmark of images: objects written by an adapter are scored, an image without any included."""

import json

import numpy as np
import pytest

from benchmarks.peers.vision_job import write_answers
from benchmarks.vision import score_of


@pytest.mark.parametrize(("found", "score"), [((True, False), 0.5050), ((True, True), 1.0)])
def test_objects_of_images_with_and_without_any_are_scored(found, score, tmp_path):
    pytest.importorskip("pycocotools")
    images = [{"id": k, "file_name": f"{k}.png", "width": 100, "height": 80} for k in range(2)]
    things = [
        {"id": k + 1, "image_id": k, "category_id": 5, "bbox": [10, 20, 30, 40], "area": 1200, "iscrowd": 0}
        for k in range(2)
    ]
    truth = {"images": images, "annotations": things, "categories": [{"id": 5, "name": "cell"}]}
    (tmp_path / "test.json").write_text(json.dumps(truth))
    job = {"folder": str(tmp_path), "task": "detection", "test": "test.json", "classes": ["cell"]}
    answers = [
        {"boxes": np.array([[10.0, 20, 40, 60]] * hit), "scores": np.ones(hit), "labels": np.zeros(hit)}
        for hit in map(int, found)
    ]
    write_answers(tmp_path, answers)
    assert score_of(job, tmp_path / "predictions.npz")["score"] == pytest.approx(score, abs=1e-3)
