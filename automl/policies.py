"""Policies that end hopeless trials at their rungs (epochs, folds, sample sizes).

A policy gives, from the trials told before a trial is asked, the worst loss at each rung that is still worth going on
with. It is a snapshot, so what is ended depends on those trials and not on timing. Losses: lower is better; that of a
metric to maximise is its negative.

The rules of sweeps look at every `evaluation_interval`-th report, from report number `delay_evaluation` on, and judge
the best loss a trial has reported so far. At a rung they compare it with the trials that reached the rung, ended there
or not, and with those that had finished before, by what these had reported until then. Trials that failed, were
cancelled or ran out of time are left out: how far they came is chance.

Sources: the rules of hyperparameter sweeps as services offer them; Golovin et al. (2017), Google Vizier (median rule).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import accumulate
from statistics import median
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

from automl.errors import ConfigError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from automl.runs import TrialRecord


class Policy(Protocol):
    """What the search asks.

    Parameters
    ----------
    by_best : whether thresholds are for the best loss reported so far; else for the one reported at the rung.
    """

    by_best: ClassVar[bool]

    def thresholds(self, told: Sequence[TrialRecord]) -> dict[int, float]:
        """Worst loss at each rung that is worth going on with, from trials told before."""
        ...


def _check_looks(evaluation_interval: int, delay_evaluation: int) -> None:
    for name, value, least in (
        ("evaluation_interval", evaluation_interval, 1),
        ("delay_evaluation", delay_evaluation, 0),
    ):
        if not isinstance(value, int) or value < least:
            raise ConfigError(f"{name} must be a whole number >= {least}, got {value!r}.")


def _best(losses: Sequence[float]) -> list[float]:
    return list(accumulate(losses, min))


def _mean(losses: Sequence[float]) -> list[float]:
    return [total / n for n, total in enumerate(accumulate(losses), 1)]


def _compared(
    told: Sequence[TrialRecord],
    so_far: Callable[[Sequence[float]], list[float]],
    interval: int,
    delay: int,
    *,
    finished: bool = True,
) -> dict[int, list[float]]:
    """Rung a policy looks at -> what each trial compared there had so far; `finished` : with those finished before."""
    ran = [r for r in told if r.status in {"completed", "pruned"}]
    steps = sorted({step for r in ran for step in r.reported})
    rungs = [step for n, step in enumerate(steps, 1) if n >= delay and n % interval == 0]
    out: dict[int, list[float]] = {}
    for record in ran:
        known = sorted((step, loss) for step, loss in record.reported.items() if math.isfinite(loss))
        values = so_far([loss for _, loss in known])
        places = [step for step, _ in known]
        for rung in rungs:
            n = bisect_right(places, rung)
            if n and (rung <= max(record.reported) or (finished and record.usable)):
                out.setdefault(rung, []).append(values[n - 1])
    return out


@dataclass(frozen=True, slots=True, kw_only=True)
class MedianAtRung:
    """The engine's own rule: a loss worse than the median of what completed trials lost at the same rung.

    It suits rungs that are not alike, such as folds, where a best so far says little.

    Parameters
    ----------
    least : completed trials that must have reached a rung.
    """

    by_best: ClassVar[bool] = False
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
    """Ends a trial whose best so far is behind the best of all at the same rung by more than some slack.

    The factor counts in both signs alike, so that maximising a metric and minimising its negative end the same trials.
    Around a best value of 0 a factor leaves no slack; an amount does.

    Parameters
    ----------
    slack_factor : share of the best value. slack_amount : in units of the metric. One of both, above 0.
    evaluation_interval : reports from one look to the next. delay_evaluation : number of the first report looked at.

    Examples
    --------
    With 0.8 as the best accuracy so far, what has not reached 0.8 / 1.2 is ended:

    >>> from automl.candidates import Candidate
    >>> from automl.runs import TrialRecord
    >>> told = TrialRecord(number=0, learner="a", candidate=Candidate.of("a"), params={}, status="completed",
    ...     reported={1: -0.8}, path=None)
    >>> {step: round(-loss, 3) for step, loss in BanditPolicy(slack_factor=0.2).thresholds([told]).items()}
    {1: 0.667}
    """

    by_best: ClassVar[bool] = True
    slack_factor: float | None = None
    slack_amount: float | None = None
    evaluation_interval: int = 1
    delay_evaluation: int = 0

    def __post_init__(self) -> None:
        given = [v for v in (self.slack_factor, self.slack_amount) if v is not None]
        if len(given) != 1 or not 0 < given[0] < math.inf:
            raise ConfigError(
                "a BanditPolicy needs slack_factor or slack_amount, one of both and above 0, "
                f"got {self.slack_factor!r} and {self.slack_amount!r}."
            )
        _check_looks(self.evaluation_interval, self.delay_evaluation)

    def thresholds(self, told: Sequence[TrialRecord]) -> dict[int, float]:
        """Best loss at each rung, with the slack on top.

        A value to maximise must reach best / (1 + factor), a positive loss may be best * (1 + factor) at most.
        """
        compared = _compared(told, _best, self.evaluation_interval, self.delay_evaluation)
        return {rung: self._with_slack(min(losses)) for rung, losses in compared.items()}

    def _with_slack(self, best: float) -> float:
        if self.slack_factor is None:
            return best + (self.slack_amount or 0.0)
        return best / (1 + self.slack_factor) if best < 0 else best * (1 + self.slack_factor)


@dataclass(frozen=True, slots=True, kw_only=True)
class MedianPolicy:
    """Ends a trial whose best so far is worse than the median of the running means of the others at the same rung.

    Parameters
    ----------
    evaluation_interval : reports from one look to the next. delay_evaluation : number of the first report looked at.
    """

    by_best: ClassVar[bool] = True
    evaluation_interval: int = 1
    delay_evaluation: int = 0

    def __post_init__(self) -> None:
        _check_looks(self.evaluation_interval, self.delay_evaluation)

    def thresholds(self, told: Sequence[TrialRecord]) -> dict[int, float]:
        """Median of the means of what each trial reported up to the rung."""
        compared = _compared(told, _mean, self.evaluation_interval, self.delay_evaluation)
        return {rung: median(means) for rung, means in compared.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class TruncationPolicy:
    """Ends a trial that belongs, by its best so far, to the worst share of all trials at the same rung.

    The trial itself is one of them: with 20 % none is ended before four others were there, and then the worst of five.

    Parameters
    ----------
    truncation_percentage : the share, 1 to 99.
    evaluation_interval : reports from one look to the next. delay_evaluation : number of the first report looked at.
    exclude_finished : whether trials that had finished before a rung are not compared with there.
    """

    by_best: ClassVar[bool] = True
    truncation_percentage: int
    evaluation_interval: int = 1
    delay_evaluation: int = 0
    exclude_finished: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.truncation_percentage, int) or not 1 <= self.truncation_percentage <= 99:
            raise ConfigError(
                f"truncation_percentage must be a whole number from 1 to 99, got {self.truncation_percentage!r}."
            )
        _check_looks(self.evaluation_interval, self.delay_evaluation)

    def thresholds(self, told: Sequence[TrialRecord]) -> dict[int, float]:
        """Best loss among those to be ended at each rung, were the next trial to end too."""
        finished = not self.exclude_finished
        compared = _compared(told, _best, self.evaluation_interval, self.delay_evaluation, finished=finished)
        out = {}
        for rung, losses in compared.items():
            ended = (len(losses) + 1) * self.truncation_percentage // 100
            if ended:
                out[rung] = sorted(losses)[-ended]
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
    if not isinstance(raw, Mapping):
        raise ConfigError(f"a policy is a mapping such as {{'type': 'median'}}, got {raw!r}.")
    given: dict[str, Any] = dict(raw)
    kind = given.pop("type", None)
    if not isinstance(kind, str) or kind not in POLICIES:
        raise UnknownNameError("policy", kind, POLICIES)
    try:
        made: Policy = POLICIES[kind](**given)
    except TypeError as error:
        raise ConfigError(f"policy {kind!r}: {error}.") from error
    return made


def policy_to_json(policy: Policy | None) -> dict[str, Any] | None:
    """Write a policy so that `policy_of` reads it.

    Raises
    ------
    ConfigError : it is none of `POLICIES`.

    Examples
    --------
    >>> policy_to_json(MedianPolicy(delay_evaluation=5))
    {'type': 'median', 'evaluation_interval': 1, 'delay_evaluation': 5}
    """
    if policy is None:
        return None
    own: Any = policy
    for name, cls in POLICIES.items():
        if isinstance(own, cls):
            return {"type": name, **asdict(own)}
    raise ConfigError(f"{own!r} cannot be written to settings. Fix: one of {', '.join(POLICIES)}.")
