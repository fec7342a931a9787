"""Guardrails: what was checked in the data, what was changed, what deserves a look."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

from automl.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

STATUSES = ("alerted", "done", "passed")
"""Passed: nothing to do. Done: something was found and handled. Alerted: the user should look."""


@dataclass(frozen=True, slots=True)
class Guardrail:
    """One check.

    Parameters
    ----------
    name : of the check. status : passed, done or alerted. message : one sentence. details : pairs (what, JSON value),
        such as `affected` gives.
    """

    name: str
    status: str
    message: str
    details: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ConfigError(
                f"guardrail {self.name!r}: status must be one of {', '.join(STATUSES)}, got {self.status!r}."
            )


def affected(series: int, example: str) -> tuple[tuple[str, Any], ...]:
    """Return details of a finding: how many series (0 = it is about columns or the whole), and one example."""
    return (("series", series), ("example", example))


class Report:
    """Guardrails of one run, in the order they were raised.

    Examples
    --------
    >>> report = Report()
    >>> report.append(Guardrail("Gaps", "passed", "none"))
    >>> report.append(Guardrail("Ids", "alerted", "one id looks odd"))
    >>> [row["name"] for row in report.rows()]
    ['Ids', 'Gaps']
    """

    def __init__(self, items: Iterable[Guardrail] = ()) -> None:
        self._items = list(items)

    def __iter__(self) -> Iterator[Guardrail]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def append(self, guardrail: Guardrail) -> None:
        """Add one; a later one of the same name and message is not repeated."""
        if guardrail not in self._items:
            self._items.append(guardrail)

    def discard(self, *names: str) -> None:
        """Forget all of some names."""
        self._items = [g for g in self._items if g.name not in names]

    def rows(self) -> list[dict[str, Any]]:
        """All as dicts, with the number of series and the example of `details`: alerts first, what passed last."""
        return [
            {**asdict(g), "series": _detail(g, "series", 0), "example": _detail(g, "example", "")}
            for g in sorted(self._items, key=lambda g: STATUSES.index(g.status))
        ]

    def to_json(self) -> list[dict[str, Any]]:
        """As JSON values, in order."""
        return [asdict(g) for g in self._items]

    @classmethod
    def from_json(cls, raw: Sequence[dict[str, Any]]) -> Self:
        """Read what `to_json` gave, also after a round trip through a file."""
        return cls(Guardrail(**{**row, "details": _frozen(row["details"])}) for row in raw)


def _detail(guardrail: Guardrail, what: str, otherwise: Any) -> Any:
    return next((pair[1] for pair in guardrail.details if len(pair) == 2 and pair[0] == what), otherwise)


def _frozen(value: Any) -> Any:
    return tuple(_frozen(v) for v in value) if isinstance(value, list | tuple) else value
