"""VisionModel: fitted networks, how they are combined, and what they tell apart; saved without code."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from automl.bundle import load_bundle, save_bundle
from automl.ensemble import combine
from automl.errors import ConfigError, UnknownNameError
from vision.learners.base import member_of
from vision.models.backbones import need

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from vision.data.records import Kind
    from vision.learners.base import Member

VOTING = "VotingEnsemble"


@dataclass(slots=True)
class VisionModel:
    """What predicts.

    Parameters
    ----------
    kind, classes : of the task. members : name -> fitted network. entries : name -> (member, weight) pairs.
    best : entry that predicts unless another is asked for.
    """

    kind: Kind
    classes: tuple[str, ...]
    members: dict[str, Member]
    entries: dict[str, tuple[tuple[str, float], ...]]
    best: str
    extra: dict[str, Any] = field(default_factory=dict)

    def entry(self, model: str | None) -> tuple[tuple[str, float], ...]:
        """Members and weights of an entry.

        Raises
        ------
        UnknownNameError : there is no such entry.
        """
        name = self.best if model is None else model
        if name not in self.entries:
            raise UnknownNameError("model", name, self.entries)
        return self.entries[name]

    def predict(self, paths: Sequence[str], model: str | None = None, device: str = "auto") -> Any:
        """Probabilities [images, classes], or objects of each image."""
        need("torch")
        pairs = self.entry(model)
        found = [self.members[name].predict(paths, device) for name, _ in pairs]
        if self.kind in {"multiclass", "multilabel"}:
            return combine([np.asarray(f, dtype=float) for f in found], [w for _, w in pairs])
        return found[0]

    def heaviest(self, model: str | None) -> str:
        """Name of the member of an entry that counts most."""
        return max(self.entry(model), key=lambda pair: pair[1])[0]

    def single(self, model: str | None) -> Member:
        """Network of an entry that counts most."""
        return self.members[self.heaviest(model)]

    def save(self, path: Path, manifest: Mapping[str, Any]) -> None:
        """Write into a folder."""
        own = {
            "task": self.kind,
            "classes": list(self.classes),
            "entries": {name: [list(pair) for pair in pairs] for name, pairs in self.entries.items()},
            "members": list(self.members),
            "best": self.best,
            "extra": self.extra,
        }
        states = {f"member-{k}": member.state() for k, member in enumerate(self.members.values())}
        save_bundle(path, {**manifest, "model": own}, states)

    @classmethod
    def load(cls, path: Path) -> tuple[Self, dict[str, Any]]:
        """Read a folder; returns the model and the caller's manifest.

        Raises
        ------
        ModelFileError : a file is missing, truncated or changed. ConfigError : it holds a model of another task.
        """
        manifest, states = load_bundle(path)
        own = manifest.get("model")
        if not isinstance(own, dict) or "task" not in own:
            raise ConfigError(f"{path} holds no model of images.")
        members = {name: member_of(states[f"member-{k}"]) for k, name in enumerate(own["members"])}
        entries = {n: tuple((str(m), float(w)) for m, w in pairs) for n, pairs in own["entries"].items()}
        model = cls(own["task"], tuple(own["classes"]), members, entries, own["best"], own["extra"])
        return model, manifest
