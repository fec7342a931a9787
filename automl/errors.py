"""The error tree. Every message says what was found, where, and the fix.

AutoMLError
├── ConfigError            a setting is wrong
│   └── UnknownNameError   a name is not in its registry (with a did-you-mean)
├── DataError              the user's data cannot be used as it is
├── MissingPackageError    an optional package is not installed
├── EngineError            a cluster cannot be reached, or lost a task for good
├── ModelFileError         a saved model is truncated, tampered with or too new
├── RunError               a run directory cannot do what was asked of it
├── DeadlineExceededError  work was stopped because its time was over
└── LearnerError           one learner failed on this data; the search goes on
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class AutoMLError(Exception):
    """Root of all errors this project raises on purpose."""


class ConfigError(AutoMLError, ValueError):
    """A setting has a value it cannot have."""


class UnknownNameError(ConfigError):
    """A name is not in its registry; the message lists the closest match and all names.

    Examples
    --------
    >>> str(UnknownNameError("learner", "lightgm", ["lightgbm", "naive"]))
    "unknown learner 'lightgm'; did you mean 'lightgbm'? Known: lightgbm, naive."
    """

    def __init__(self, kind: str, name: object, known: Iterable[str]) -> None:
        names = sorted(known)
        close = difflib.get_close_matches(str(name).lower(), [n.lower() for n in names], n=1, cutoff=0.5)
        hint = ""
        if close:
            original = next(n for n in names if n.lower() == close[0])
            hint = f"; did you mean {original!r}?"
        super().__init__(f"unknown {kind} {name!r}{hint or '.'} Known: {', '.join(names)}.")


class DataError(AutoMLError, ValueError):
    """The user's data cannot be used as it is."""


class MissingPackageError(AutoMLError, ImportError):
    """An optional package is needed and not installed; the message gives the install command."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        fix = f"pip install 'forecastle[{extra}]'" if extra else f"pip install {package}"
        super().__init__(f"{purpose} needs the package {package!r}, which is not installed. Fix: {fix}")
        self.fix = fix


class EngineError(AutoMLError):
    """A compute engine cannot be reached or used, or a task's workers died until it was given up."""


class ModelFileError(AutoMLError):
    """A saved model cannot be read: a file is missing, truncated, changed or of a newer format."""


class RunError(AutoMLError):
    """A run directory is missing, busy or in a state that forbids what was asked."""


class DeadlineExceededError(AutoMLError):
    """Work stopped because its time was over."""


class LearnerError(AutoMLError):
    """A learner cannot be fitted on this data; the reason stands in the leaderboard."""


def one_of(name: str, value: object, allowed: Sequence[object]) -> None:
    """Raise ConfigError unless the value of a setting is among those allowed."""
    if value not in allowed:
        raise ConfigError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}.")
