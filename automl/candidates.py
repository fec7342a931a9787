"""Candidates (learner + params + search space) and the lazy string registry they are named by."""

from __future__ import annotations

import importlib
import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from automl.errors import ConfigError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

JsonScalar = str | int | float | bool | None
"""What a parameter value may be: a JSON scalar. Lists are written as strings (`"1,2,12"`)."""


class Registry:
    """Names to lazily imported objects; nothing heavy is loaded until `load` is called.

    Examples
    --------
    >>> registry = Registry("shape", {"circle": "math:pi"}, aliases={"Round": "circle"})
    >>> registry.load("round")
    3.141592653589793
    >>> registry.resolve("circel")
    Traceback (most recent call last):
        ...
    automl.errors.UnknownNameError: unknown shape 'circel'; did you mean 'circle'? Known: circle.
    """

    def __init__(self, kind: str, entries: Mapping[str, str], aliases: Mapping[str, str] | None = None) -> None:
        self.kind = kind
        self._entries = dict(entries)
        self._aliases = {_fold(n): n for n in entries}
        self._aliases.update({_fold(a): n for a, n in (aliases or {}).items()})

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __contains__(self, name: object) -> bool:
        return _fold(str(name)) in self._aliases

    def resolve(self, name: str) -> str:
        """Return the canonical name; case, spaces and underscores do not matter."""
        try:
            return self._aliases[_fold(str(name))]
        except KeyError:
            raise UnknownNameError(self.kind, name, self._entries) from None

    def load(self, name: str) -> Any:
        """Import and return what the name stands for."""
        return import_object(self._entries[self.resolve(name)])

    def register(self, name: str, target: str) -> None:
        """Add an own entry, `"package.module:Name"`; a name that is taken is an error."""
        if name in self:
            raise ConfigError(f"{self.kind} {name!r} is already registered as {self._entries[self.resolve(name)]!r}.")
        self._entries[name] = target
        self._aliases[_fold(name)] = name

    def remove(self, name: str) -> None:
        """Take out an entry and what it is also called."""
        name = self.resolve(name)
        del self._entries[name]
        self._aliases = {alias: known for alias, known in self._aliases.items() if known != name}


def _fold(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "").replace(" ", "")


def import_object(target: str) -> Any:
    """Import `"package.module:Name"`.

    Raises
    ------
    ConfigError : the text is no such path, the module is not there, or it has no such name.

    Examples
    --------
    >>> import_object("math:tau") > 6
    True
    """
    module, _, attribute = target.partition(":")
    if not (module and attribute):
        raise ConfigError(f"{target!r} must be written 'package.module:Name'.")
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):
            raise  # the module is there, and something it needs is not
        raise ConfigError(
            f"{target!r} cannot be imported: there is no module {error.name!r}. Fix: install it, or put the folder "
            "that holds it on the Python path (PYTHONPATH)."
        ) from error
    if not hasattr(found, attribute):
        raise ConfigError(f"{target!r} cannot be imported: module {module!r} has no {attribute!r}.")
    return getattr(found, attribute)


@dataclass(frozen=True, slots=True)
class Choice:
    """A categorical parameter."""

    options: tuple[JsonScalar, ...]

    def __post_init__(self) -> None:
        if not self.options:
            raise ConfigError("a Choice needs at least one option.")


@dataclass(frozen=True, slots=True)
class Int:
    """An integer parameter in low..high, both included."""

    low: int
    high: int
    log: bool = False

    def __post_init__(self) -> None:
        _check_range(self.low, self.high, log=self.log)


@dataclass(frozen=True, slots=True)
class Float:
    """A real parameter in low..high."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        _check_range(self.low, self.high, log=self.log)


def _check_range(low: float, high: float, *, log: bool) -> None:
    if not (math.isfinite(low) and math.isfinite(high) and low <= high) or (log and low <= 0):
        raise ConfigError(f"a range needs finite low <= high (and low > 0 on a log scale), got {low!r}..{high!r}.")


Dimension = Choice | Int | Float


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A learner with a starting configuration and the space to search around it. Hashable and JSON-able.

    Parameters
    ----------
    learner : canonical name in the task's registry.
    params : starting values as sorted (name, value) pairs; build with `Candidate.of`.
    space : (name, Dimension) pairs; empty = nothing to tune, the candidate is tried once.
    cost : rough relative cost of one evaluation; the portfolio runs cheap ones first.

    Examples
    --------
    >>> c = Candidate.of("ridge", {"alpha": 1.0}, space={"alpha": Float(0.1, 10.0, log=True)})
    >>> Candidate.from_json(c.to_json()) == c
    True
    """

    learner: str
    params: tuple[tuple[str, JsonScalar], ...] = ()
    space: tuple[tuple[str, Dimension], ...] = field(default=())
    cost: float = 1.0

    @classmethod
    def of(
        cls,
        learner: str,
        params: Mapping[str, JsonScalar] | None = None,
        *,
        space: Mapping[str, Dimension] | None = None,
        cost: float = 1.0,
    ) -> Candidate:
        """Build a candidate from plain mappings."""
        return cls(
            learner=learner,
            params=tuple(sorted((params or {}).items())),
            space=tuple(sorted((space or {}).items())),
            cost=cost,
        )

    def values(self) -> dict[str, JsonScalar]:
        """Starting values as a new dict."""
        return dict(self.params)

    def to_json(self) -> str:
        """One canonical JSON text."""
        space = {n: {"kind": type(d).__name__, **{s: getattr(d, s) for s in d.__slots__}} for n, d in self.space}
        return json.dumps(
            {"learner": self.learner, "params": dict(self.params), "space": space, "cost": self.cost}, sort_keys=True
        )

    @classmethod
    def from_json(cls, text: str) -> Candidate:
        """Read what `to_json` wrote."""
        raw = json.loads(text)
        kinds: dict[str, Any] = {"Choice": Choice, "Int": Int, "Float": Float}
        space: dict[str, Dimension] = {}
        for name, spec in raw["space"].items():
            kind = kinds[spec.pop("kind")]
            if kind is Choice:
                spec["options"] = tuple(spec["options"])
            space[name] = kind(**spec)
        return cls.of(raw["learner"], raw["params"], space=space, cost=raw["cost"])
