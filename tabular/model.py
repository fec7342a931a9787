"""TabularModel: members, how they are combined, and what they were trained on; saved without code."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from automl.bundle import load_bundle, save_bundle
from automl.ensemble import combine
from automl.errors import UnknownNameError
from automl.metrics import normalised
from tabular.ensembles import Stack
from tabular.pipeline import Pipeline
from tabular.reading import Schema

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tabular.table import Table


@dataclass(frozen=True, slots=True)
class Entry:
    """One way to predict.

    Parameters
    ----------
    weights : (member, weight) pairs; of a stack the order of its inputs. stack : None = weighted mean.
    """

    weights: tuple[tuple[str, float], ...]
    stack: Stack | None = None


@dataclass(slots=True)
class TabularModel:
    """What predicts.

    Parameters
    ----------
    members : name -> pipelines whose predictions are averaged (one, or one a fold). entries : name -> how members are
        combined. best : the entry used where none is named. classes : labels as they came, None = numbers.
    """

    members: dict[str, list[Pipeline]]
    entries: dict[str, Entry]
    best: str
    schema: Schema
    classes: np.ndarray | None
    extra: dict[str, Any] = field(default_factory=dict)

    def entry(self, name: str | None) -> Entry:
        """Return the entry of that name, the best one for None.

        Raises
        ------
        UnknownNameError : there is none.
        """
        if name is not None and name not in self.entries:
            raise UnknownNameError("model", name, self.entries)
        return self.entries[name or self.best]

    def predict(self, table: Table, name: str | None = None) -> np.ndarray:
        """Numbers [rows], or probabilities [rows, classes] that add up to 1."""
        entry = self.entry(name)
        used = [(m, w) for m, w in entry.weights if w or entry.stack is not None]
        made = [np.mean([p.predict(table) for p in self.members[m]], axis=0) for m, _ in used]
        out = entry.stack.predict(made) if entry.stack is not None else combine(made, [w for _, w in used])
        return normalised(out) if self.classes is not None else out

    def save(self, path: Path, manifest: Mapping[str, Any]) -> None:
        """Write it into a directory."""
        states: dict[str, Any] = {}
        members = []
        for m, (name, pipelines) in enumerate(self.members.items()):
            members.append([name, len(pipelines)])
            states[f"member-{m}"] = {"name": name}, {f"fold-{k}": p.packed() for k, p in enumerate(pipelines)}
        entries = []
        for e, (name, entry) in enumerate(self.entries.items()):
            entries.append([name, [list(pair) for pair in entry.weights], entry.stack is not None])
            if entry.stack is not None:
                states[f"stack-{e}"] = entry.stack.state()
        if self.classes is not None:
            states["classes"] = _labels_state(self.classes)
        own = {
            "members": members,
            "entries": entries,
            "best": self.best,
            "schema": self.schema.to_json(),
            "classes": self.classes is not None,
            "extra": self.extra,
        }
        save_bundle(path, {**manifest, "model": own}, states)

    @classmethod
    def load(cls, path: Path) -> tuple[Self, dict[str, Any]]:
        """Read what `save` wrote; the model and the manifest.

        Raises
        ------
        ModelFileError : a file is missing, truncated, changed or of a newer format.
        """
        manifest, states = load_bundle(path)
        own = manifest["model"]
        members = {
            name: [Pipeline.unpacked(states[f"member-{m}"][1][f"fold-{k}"]) for k in range(count)]
            for m, (name, count) in enumerate(own["members"])
        }
        entries = {
            name: Entry(
                tuple((m, float(w)) for m, w in weights),
                Stack.from_state(*_mutable(states[f"stack-{e}"])) if stacked else None,
            )
            for e, (name, weights, stacked) in enumerate(own["entries"])
        }
        classes = _labels_from_state(*_mutable(states["classes"])) if own["classes"] else None
        schema = Schema.from_json(own["schema"])
        return cls(members, entries, own["best"], schema, classes, own["extra"]), manifest


def _mutable(state: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    settings, blobs = state
    return dict(settings), dict(blobs)


def _labels_state(classes: np.ndarray) -> tuple[dict[str, Any], dict[str, Any]]:
    """Labels of any type: text and whatever is no number as JSON, numbers as an array."""
    if classes.dtype.kind in "biufU":
        return {"kind": "array"}, {"labels": classes}
    return {"kind": "list", "labels": [v.item() if hasattr(v, "item") else v for v in classes]}, {}


def _labels_from_state(settings: dict[str, Any], blobs: dict[str, Any]) -> np.ndarray:
    if settings["kind"] == "array":
        return np.asarray(blobs["labels"])
    out = np.empty(len(settings["labels"]), dtype=object)
    out[:] = settings["labels"]
    return out
