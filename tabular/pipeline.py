"""Pipeline: featurizer and learner as one, the unit that is saved."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from automl.errors import ModelFileError
from tabular.featurize.featurizer import Featurizer
from tabular.learners.base import LEARNERS

if TYPE_CHECKING:
    from automl.trial import State
    from tabular.learners.base import Learner
    from tabular.table import Table


_HEAD = "__head__"


@dataclass(frozen=True, slots=True)
class Pipeline:
    """One fitted model on raw columns.

    Parameters
    ----------
    featurizer, learner : both fitted. name : of the learner.
    logs : None, or the range of logarithms that predictions stay in: then the learner learned logarithms of the target.
    """

    name: str
    featurizer: Featurizer
    learner: Learner
    logs: tuple[float, float] | None = None

    def predict(self, table: Table) -> np.ndarray:
        """Numbers [rows] or probabilities [rows, classes]."""
        return self.of_features(self.featurizer.transform(table))

    def of_features(self, x: Any) -> np.ndarray:
        """Predict rows of features."""
        return self.unlogged(self.learner.predict(x))

    def unlogged(self, found: np.ndarray) -> np.ndarray:
        """What a learner says, on the target's own scale."""
        return found if self.logs is None else np.exp(np.clip(found, *self.logs))

    def state(self) -> State:
        """As (JSON, arrays)."""
        features, feature_blobs = self.featurizer.state()
        own, blobs = self.learner.state()
        both = {f"f-{k}": v for k, v in feature_blobs.items()} | {f"l-{k}": v for k, v in blobs.items()}
        logs = None if self.logs is None else list(self.logs)
        return {"name": self.name, "featurizer": features, "learner": own, "logs": logs}, both

    def packed(self) -> bytes:
        """All of it in one piece (numpy's archive): a bag has many pipelines, and a file each is slow to write."""
        own, blobs = self.state()
        arrays: dict[str, Any] = {
            k: np.frombuffer(v, dtype=np.uint8) if isinstance(v, bytes) else v for k, v in blobs.items()
        }
        names = [k for k, v in blobs.items() if isinstance(v, bytes)]
        text = json.dumps({"state": own, "bytes": names}).encode()
        buffer = io.BytesIO()
        np.savez(buffer, **(arrays | {_HEAD: np.frombuffer(text, dtype=np.uint8)}))
        return buffer.getvalue()

    @classmethod
    def unpacked(cls, content: Any) -> Self:
        """Read what `packed` gave.

        Raises
        ------
        ModelFileError : it is damaged.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as archive:
                arrays = dict(archive)
            head = json.loads(arrays.pop(_HEAD).tobytes())
        except (ValueError, OSError, KeyError, zipfile.BadZipFile) as error:
            raise ModelFileError(f"a saved pipeline cannot be read: {error}") from error
        blobs = {k: v.tobytes() if k in head["bytes"] else v for k, v in arrays.items()}
        return cls.from_state(head["state"], blobs)

    @classmethod
    def from_state(cls, settings: dict[str, Any], blobs: dict[str, Any]) -> Self:
        """Read what `state` gave."""
        features = {k.removeprefix("f-"): v for k, v in blobs.items() if k.startswith("f-")}
        own = {k.removeprefix("l-"): v for k, v in blobs.items() if k.startswith("l-")}
        learner = LEARNERS.load(settings["name"]).from_state(settings["learner"], own)
        logs = settings.get("logs")
        featurizer = Featurizer.from_state(settings["featurizer"], features)
        return cls(settings["name"], featurizer, learner, None if logs is None else (logs[0], logs[1]))


_BEYOND = 0.05
"""Share of the range of the target's logarithms by which predictions may leave it; beyond, exponentials explode."""


def log_range(y: np.ndarray) -> tuple[float, float]:
    """Range that logarithms of predictions stay in.

    Examples
    --------
    >>> [round(v, 3) for v in log_range(np.exp([1.0, 3.0]))]
    [0.9, 3.1]
    """
    low, high = float(np.log(y.min())), float(np.log(y.max()))
    return low - _BEYOND * (high - low), high + _BEYOND * (high - low)
