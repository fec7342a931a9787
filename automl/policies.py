"""Policies that end hopeless trials at their rungs (epochs, folds, sample sizes).

A policy gives, from the trials told before a trial is asked, the worst loss at each rung that is still worth going on
with. It is a snapshot, so what is ended depends on those trials and not on timing. Losses: lower is better; that of a
metric to maximise is its negative.

Sources: the rules of hyperparameter sweeps as services offer them; Golovin et al. (2017), Google Vizier (median rule).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Protocol, cast

from automl.errors import ConfigError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from automl.runs import TrialRecord


class Policy(Protocol):
    """What the search asks."""

    def thresholds(self, told: Sequence[TrialRecord]) -> dict[int, float]:
        """Worst loss at each rung that is worth going on with, from trials told before."""
        ...


def _checked(evaluation_interval: int, delay_evaluation: int) -> None:
    if evaluation_interval < 1 or delay_evaluation < 0:
        raise ConfigError(
            "evaluation_interval must be at least 1 and delay_evaluation at least 0, "
            f"got {evaluation_interval!r} and {delay_evaluation!r}."
        )


def _rungs(told: Sequence[TrialRecord], interval: int, delay: int) -> dict[int, list[Sequence[float]]]:
    """Losses up to each rung where a policy looks, of trials that ran to their end or were ended there."""
    out: dict[int, list[Sequence[float]]] = {}
    for record in told:
        if record.status not in {"completed", "pruned"}:
            continue
        steps = sorted(record.reported)
        for k, step in enumerate(steps, 1):
            if step >= delay and step % interval == 0:
                out.setdefault(step, []).append([record.reported[s] for s in steps[:k]])
    return out


@dataclass(frozen=True, slots=True, kw_only=True)
class MedianAtRung:
    """The engine's own rule: worse than the median of what completed trials lost at the same rung.

    Parameters
    ----------
    least : completed trials that must have reached a rung.
    """

    least: int = 5

    def thresholds(self, told: Sequence[TrialRecord]) -> dict[int, float]:
        """Median loss at each rung that enough completed trials reached."""
        rungs: dict[int, list[float]] = {}
        for record in told:
            if record.usable:
                for step, loss in record.reported.items():
                    rungs.setdefault(step, []).append(loss)
        return {step: median(losses) for step, losses in rungs.items() if len(losses) >= self.least}


@dataclass(frozen=True, slots=True, kw_only=True)
class BanditPolicy:
    """Ends a trial that is behind the best at the same rung by more than some slack.

    Parameters
    ----------
    slack_factor : share of the best value, or slack_amount : of it in units of the metric; one of both.
    evaluation_interval : rungs between two looks. delay_evaluation : first rung looked at.
    """

    slack_factor: float | None = None
    slack_amount: float | None = None
    evaluation_interval: int = 1
    delay_evaluation: int = 0

    def __post_init__(self) -> None:
        given = [v for v in (self.slack_factor, self.slack_amount) if v is not None]
        if len(given) != 1 or not given[0] > 0:
            raise ConfigError(
                "a BanditPolicy needs slack_factor or slack_amount, one of both and above 0, "
                f"got {self.slack_factor!r} and {self.slack_amount!r}."
            )
        _checked(self.evaluation_interval, self.delay_evaluation)

    def thresholds(self, told: Sequence[TrialRecord]) -> dict[int, float]:
        """Best loss at each rung, with the slack on top.

        A value to maximise must reach best / (1 + factor); a loss may be best * (1 + factor) at most.
        """
        out = {}
        for step, losses in _rungs(told, self.evaluation_interval, self.delay_evaluation).items():
            best = min(min(sofar) for sofar in losses)
            if self.slack_amount is not None:
                out[step] = best + self.slack_amount
            else:
                factor = 1 + (self.slack_factor or 0.0)
                out[step] = best / factor if best < 0 else best * factor
        return out


@dataclass(frozen=True, slots=True, kw_only=True)
class MedianPolicy:
    """Ends a trial whose loss is worse than the median of the running means of the others at the same rung."""

    evaluation_interval: int = 1
    delay_evaluation: int = 0

    def __post_init__(self) -> None:
        _checked(self.evaluation_interval, self.delay_evaluation)

    def thresholds(self, told: Sequence[TrialRecord]) -> dict[int, float]:
        """Median of the running means."""
        rungs = _rungs(told, self.evaluation_interval, self.delay_evaluation)
        return {step: median(sum(s) / len(s) for s in losses) for step, losses in rungs.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class TruncationPolicy:
    """Ends the worst share of trials at each look.

    Parameters
    ----------
    truncation_percentage : 1 to 99. exclude_finished : whether trials that ran to their end are not compared with.
    """

    truncation_percentage: int
    evaluation_interval: int = 1
    delay_evaluation: int = 0
    exclude_finished: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.truncation_percentage <= 99:
            raise ConfigError(f"truncation_percentage must be 1 to 99, got {self.truncation_percentage!r}.")
        _checked(self.evaluation_interval, self.delay_evaluation)

    def thresholds(self, told: Sequence[TrialRecord]) -> dict[int, float]:
        """Loss that the best part of the trials did not exceed at each rung."""
        some = [r for r in told if not (self.exclude_finished and r.usable)]
        out = {}
        for step, losses in _rungs(some, self.evaluation_interval, self.delay_evaluation).items():
            ranked = sorted(sofar[-1] for sofar in losses)
            kept = len(ranked) - math.floor(len(ranked) * self.truncation_percentage / 100)
            out[step] = ranked[max(kept, 1) - 1]
        return out


POLICIES: dict[str, type[Any]] = {"bandit": BanditPolicy, "median": MedianPolicy, "truncation": TruncationPolicy}
"""Names in settings -> policies."""


def policy_of(raw: Mapping[str, Any] | Policy | None) -> Policy | None:
    """Policy of settings: {"type": "bandit", "slack_factor": 0.1}; a policy and None stay as they are.

    Raises
    ------
    UnknownNameError, ConfigError : there is no such policy, or a setting of it is wrong.

    Examples
    --------
    >>> policy_of({"type": "truncation", "truncation_percentage": 20}).truncation_percentage
    20
    """
    if raw is None or hasattr(raw, "thresholds"):
        return cast("Policy | None", raw)
    given: dict[str, Any] = dict(raw)
    kind = given.pop("type", None)
    if kind not in POLICIES:
        raise UnknownNameError("policy", kind, POLICIES)
    try:
        made: Policy = POLICIES[kind](**given)
    except TypeError as error:
        raise ConfigError(f"policy {kind!r}: {error}.") from error
    return made


def policy_to_json(policy: Policy | None) -> dict[str, Any] | None:
    """Write a policy so that `policy_of` reads it."""
    if policy is None:
        return None
    kind = next(name for name, cls in POLICIES.items() if isinstance(policy, cls))
    own: Any = policy
    return {"type": kind, **asdict(own)}
