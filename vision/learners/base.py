"""What a learner gets, and what it leaves: a fitted network as state, and predictions of the held-out images."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np

from automl.candidates import Registry
from automl.errors import ModelFileError
from automl.files import write_json
from vision.models.backbones import build
from vision.pixels import Pixels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from automl.candidates import JsonScalar
    from automl.trial import State, Trial
    from vision.data.records import ImageSet, Kind
    from vision.models.backbones import Backbone

LEARNERS = Registry(
    "learner",
    {
        "LinearProbe": "vision.learners.classes:LinearProbe",
        "FineTuning": "vision.learners.classes:FineTuning",
        "Detector": "vision.learners.objects:Detector",
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSettings:
    """What an evaluation needs besides images.

    Parameters
    ----------
    kind, metric, classes : of the task. weights : of backbones, as `SearchSettings.weights`. start : saved model whose
        weights training begins with. device : auto or a name. memory_mb : most that decoded images may take.
    augmentation : fields of `vision.augment.Augmentation` that differ from its defaults.
    """

    kind: Kind
    metric: str
    classes: tuple[str, ...]
    weights: str = "auto"
    start: str | None = None
    device: str = "auto"
    seed: int = 0
    threads: int = 1
    memory_mb: float = 4_000.0
    augmentation: Mapping[str, Any] | None = None


class Work:
    """Images of a task as learners take them; what is slow to make is kept in the task's folder.

    Parameters
    ----------
    train, held : images to learn from and to choose on. folder : of the task.
    """

    def __init__(self, train: ImageSet, held: ImageSet, settings: TaskSettings, folder: Path) -> None:
        self.train = train
        self.held = held
        self.settings = settings
        self.folder = folder
        self._pixels: dict[tuple[str, int], Pixels] = {}

    def pixels(self, part: str, size: int) -> Pixels:
        """Images of the part `train` or `held`, squeezed into squares."""
        key = part, size
        if key not in self._pixels:
            images: ImageSet = getattr(self, part)
            mb = 3 * size * size * (len(self.train) + len(self.held)) / 1e6
            kept = self.folder / part if mb <= self.settings.memory_mb else None
            self._pixels[key] = Pixels([i.path for i in images.images], size, kept, max(2, self.settings.threads))
        return self._pixels[key]

    def backbone(self, name: str, *, weights: bool = True) -> Backbone:
        """Backbone with the weights of the task, or with none."""
        return build(name, self.settings.weights if weights else "none")


@dataclass(frozen=True, slots=True)
class Fit:
    """What a learner leaves.

    Parameters
    ----------
    member : the fitted network. predictions : of the held-out images, named arrays.
    info : for the leaderboard. pruned : whether it was stopped as hopeless.
    """

    member: Member
    predictions: dict[str, np.ndarray]
    info: dict[str, Any]
    pruned: bool = False


def kept_choice(checkpoint: Path, find: Callable[[], int]) -> int:
    """What a trial found out by the clock, such as a size that suits the time: the same when it is taken up again."""
    note = checkpoint.with_suffix(".json")
    if note.exists():
        return int(json.loads(note.read_text(encoding="utf-8"))["choice"])
    found = find()
    note.parent.mkdir(parents=True, exist_ok=True)
    write_json(note, {"choice": found})
    return found


class Learner(Protocol):
    """What the task calls."""

    def fit(self, work: Work, params: Mapping[str, JsonScalar], trial: Trial, checkpoint: Path) -> Fit:
        """Fit one configuration and predict the held-out images."""
        ...


class Member(Protocol):
    """A fitted network: predicts images, becomes a state and back."""

    @property
    def learner(self) -> str:
        """Name of the learner that reads it back."""
        ...

    def predict(self, paths: Sequence[str], device: str = "auto") -> Any:
        """Probabilities [images, classes], or the objects of each image."""
        ...

    def state(self) -> State:
        """JSON and arrays."""
        ...

    @classmethod
    def from_state(cls, state: State) -> Self:
        """Read what `state` gave."""
        ...


def pack(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Named arrays as one block (NumPy's npz), since a network has hundreds.

    Examples
    --------
    >>> unpack(pack({"head.weight": np.ones(2)}))["head.weight"].tolist()
    [1.0, 1.0]
    """
    buffer = io.BytesIO()
    plain: Any = {k: np.asarray(v) for k, v in arrays.items()}
    np.savez(buffer, **plain)
    return buffer.getvalue()


def unpack(block: bytes | np.ndarray) -> dict[str, np.ndarray]:
    """Read what `pack` gave.

    Raises
    ------
    ModelFileError : the block is damaged.
    """
    try:
        with np.load(io.BytesIO(bytes(block)), allow_pickle=False) as found:
            return {name: found[name] for name in found.files}
    except (ValueError, OSError, EOFError) as error:
        raise ModelFileError(f"weights of a network cannot be read: {error}") from error


def saved_states(path: str) -> Iterator[State]:
    """States of the networks of a saved model, or of the one in a run directory."""
    from automl.bundle import load_bundle

    folder = Path(path)
    _, states = load_bundle(folder / "model" if (folder / "model").is_dir() else folder)
    return (states[name] for name in states)


def member_of(state: State) -> Member:
    """Fitted network of a state, by the name of its learner."""
    member: Member = LEARNERS.load(state[0]["learner"]).member.from_state(state)
    return member
