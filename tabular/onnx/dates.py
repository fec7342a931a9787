"""Parts of dates inside an ONNX graph, by whole numbers alone.

Source: Howard Hinnant, chrono-Compatible Low-Level Date Algorithms (2013).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tabular.onnx.graph import Graph

_DAY = 86_400_000_000
_BEFORE_MONTH = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)


def add_parts(graph: Graph, seconds: str) -> dict[str, str]:
    """Parts by name, float64 [rows, 1], of seconds since 1970 (float64 [rows, 1]); of missing ones those of 1970."""
    whole = _Whole(graph)
    there = graph.where_nan(seconds, graph.constant(0.0))
    micro = graph.cast(graph.op("Mul", there, graph.constant(1e6)), "int64")
    day, inside = whole.split(micro, _DAY)
    second = whole.divide(inside, 1_000_000)
    weekday = whole.rest(whole.add(day, 3), 7)
    year, month, of_month, of_year = _civil(whole, day)
    thursday = whole.add(whole.subtract(day, weekday), 3)
    week = whole.add(whole.divide(whole.add(_civil(whole, thursday)[3], -1), 7), 1)
    parts = {
        "Year": year,
        "Quarter": whole.add(whole.divide(whole.add(month, -1), 3), 1),
        "Month": month,
        "Day": of_month,
        "DayOfWeek": weekday,
        "DayOfYear": of_year,
        "WeekOfYear": week,
        "Hour": whole.divide(second, 3600),
        "Minute": whole.rest(whole.divide(second, 60), 60),
        "Second": whole.rest(second, 60),
    }
    made = {name: graph.cast(part, "float64") for name, part in parts.items()}
    return {**made, "Days": graph.op("Div", there, graph.constant(86_400.0))}


def _civil(whole: _Whole, day: str) -> tuple[str, str, str, str]:
    """Year, month, day of the month and day of the year of days since 1970."""
    era, inside = whole.split(whole.add(day, 719_468), 146_097)
    leaps = whole.subtract(whole.divide(inside, 36_524), whole.divide(inside, 1_460))
    leaps = whole.subtract(leaps, whole.divide(inside, 146_096))
    of_era = whole.divide(whole.plus(inside, leaps), 365)
    gone = whole.plus(whole.times(of_era, 365), whole.subtract(whole.divide(of_era, 4), whole.divide(of_era, 100)))
    since_march = whole.subtract(inside, gone)
    shifted = whole.divide(whole.add(whole.times(since_march, 5), 2), 153)
    before = whole.divide(whole.add(whole.times(shifted, 153), 2), 5)
    of_month = whole.add(whole.subtract(since_march, before), 1)
    late = whole.divide(shifted, 10)  # 1 = January or February of the next year
    month = whole.subtract(whole.add(shifted, 3), whole.times(late, 12))
    year = whole.plus(whole.plus(of_era, whole.times(era, 400)), late)
    graph = whole.graph
    known = graph.op("Gather", graph.constant(_BEFORE_MONTH, "int64"), whole.add(month, -1), axis=0)
    leap = graph.op(
        "And",
        whole.divides(year, 4),
        graph.op("Or", graph.op("Not", whole.divides(year, 100)), whole.divides(year, 400)),
    )
    after = graph.op("Greater", month, graph.constant(2, "int64"))
    extra = graph.cast(graph.op("And", leap, after), "int64")
    return year, month, of_month, whole.plus(whole.plus(known, of_month), extra)


class _Whole:
    """Whole numbers; division rounds down."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def _op(self, kind: str, a: str, b: str, **attributes: Any) -> str:
        return str(self.graph.op(kind, a, b, **attributes))

    def _number(self, b: int) -> str:
        return self.graph.constant(b, "int64")

    def add(self, a: str, b: int) -> str:
        return self._op("Add", a, self._number(b))

    def plus(self, a: str, b: str) -> str:
        return self._op("Add", a, b)

    def subtract(self, a: str, b: str) -> str:
        return self._op("Sub", a, b)

    def times(self, a: str, b: int) -> str:
        return self._op("Mul", a, self._number(b))

    def rest(self, a: str, b: int) -> str:
        return self._op("Mod", a, self._number(b))

    def divide(self, a: str, b: int) -> str:
        return self._op("Div", self.subtract(a, self.rest(a, b)), self._number(b))

    def split(self, a: str, b: int) -> tuple[str, str]:
        return self.divide(a, b), self.rest(a, b)

    def divides(self, a: str, b: int) -> str:
        return self._op("Equal", self.rest(a, b), self._number(0))
