"""Pipeline: featurizer and learner as one, the unit that is saved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from tabular.featurize.featurizer import Featurizer
from tabular.learners.base import LEARNERS

if TYPE_CHECKING:
    import numpy as np

    from automl.trial import State
    from tabular.learners.base import Learner
    from tabular.table import Table


@dataclass(frozen=True, slots=True)
class Pipeline:
    """One fitted model on raw columns.

    Parameters
    ----------
    featurizer, learner : both fitted. name : of the learner.
    """

    name: str
    featurizer: Featurizer
    learner: Learner

    def predict(self, table: Table) -> np.ndarray:
        """Numbers [rows] or probabilities [rows, classes]."""
        return self.learner.predict(self.featurizer.transform(table))

    def state(self) -> State:
        """As (JSON, arrays)."""
        features, feature_blobs = self.featurizer.state()
        own, blobs = self.learner.state()
        both = {f"f-{k}": v for k, v in feature_blobs.items()} | {f"l-{k}": v for k, v in blobs.items()}
        return {"name": self.name, "featurizer": features, "learner": own}, both

    @classmethod
    def from_state(cls, settings: dict[str, Any], blobs: dict[str, Any]) -> Self:
        """Read what `state` gave."""
        features = {k.removeprefix("f-"): v for k, v in blobs.items() if k.startswith("f-")}
        own = {k.removeprefix("l-"): v for k, v in blobs.items() if k.startswith("l-")}
        learner = LEARNERS.load(settings["name"]).from_state(settings["learner"], own)
        return cls(settings["name"], Featurizer.from_state(settings["featurizer"], features), learner)
