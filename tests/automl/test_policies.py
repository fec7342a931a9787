"""Policies by numbers made by hand, in both directions, and what a search does with them."""

import math
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from automl.budget import Deadline
from automl.candidates import Candidate
from automl.errors import ConfigError, UnknownNameError
from automl.policies import (
    BanditPolicy,
    MedianAtRung,
    MedianPolicy,
    TruncationPolicy,
    policy_of,
    policy_to_json,
)
from automl.runs import TrialRecord
from automl.trial import Trial
from tests.automl import toy_task as toy
from tests.automl.helpers import do_search, essence

ONE = Candidate.of("one")

EVERY = [
    MedianAtRung(least=2),
    BanditPolicy(slack_factor=0.2),
    BanditPolicy(slack_amount=0.1, evaluation_interval=2),
    MedianPolicy(delay_evaluation=2),
    TruncationPolicy(truncation_percentage=40),
    TruncationPolicy(truncation_percentage=40, exclude_finished=True),
]


def told(*losses, status="completed", first=1, number=0):
    """A trial that reported these at rungs `first`, `first` + 1, ..."""
    reported = dict(enumerate(losses, first))
    return TrialRecord(
        number=number, learner="one", candidate=ONE, params={}, status=status, reported=reported, path=Path()
    )


def maximised(*scores, **more):
    """A trial that reported these values of a metric to maximise."""
    return told(*(-s for s in scores), **more)


def ended(policy, records, *losses, first=1):
    """Rungs at which a new trial with these losses is told to stop."""
    trial = Trial(
        number=9,
        candidate=ONE,
        params={},
        seed=0,
        threads=1,
        deadline=Deadline(),
        directory=Path(),
        thresholds=policy.thresholds(records),
        by_best=policy.by_best,
    )
    return [step for step, loss in enumerate(losses, first) if trial.report(step, loss)]


# -- the rules --------------------------------------------------------------------------------------------------------


def test_bandit_of_a_metric_to_maximise():
    records = [maximised(0.5, 0.8, 0.7), maximised(0.6, 0.7, 0.9)]
    found = BanditPolicy(slack_factor=0.2).thresholds(records)
    assert {step: -x for step, x in found.items()} == pytest.approx({1: 0.6 / 1.2, 2: 0.8 / 1.2, 3: 0.9 / 1.2})
    found = BanditPolicy(slack_amount=0.2).thresholds(records)
    assert {step: -x for step, x in found.items()} == pytest.approx({1: 0.4, 2: 0.6, 3: 0.7})
    # 0.66 is less than 0.8 / 1.2 and 0.67 is not: the example of the services' manuals
    assert ended(BanditPolicy(slack_factor=0.2), [maximised(0.8)], -0.66) == [1]
    assert ended(BanditPolicy(slack_factor=0.2), [maximised(0.8)], -0.67) == []


def test_bandit_of_a_metric_to_minimise():
    records = [told(2.0, 1.5), told(3.0, 1.0)]
    assert BanditPolicy(slack_factor=0.5).thresholds(records) == {1: 3.0, 2: 1.5}
    assert BanditPolicy(slack_amount=0.25).thresholds(records) == {1: 2.25, 2: 1.25}
    assert ended(BanditPolicy(slack_factor=0.5), records, 3.1, 1.6) == [1, 2]
    assert ended(BanditPolicy(slack_factor=0.5), records, 3.0, 1.5) == []


@pytest.mark.parametrize("best", [-2.0, -0.5, 0.0, 0.5, 2.0])
def test_slack_never_ends_what_equals_the_best(best):
    for policy in (BanditPolicy(slack_factor=0.5), BanditPolicy(slack_amount=0.5)):
        bound = policy.thresholds([told(best)])[1]
        assert bound > best or (best == 0 and policy.slack_factor)
        assert ended(policy, [told(best)], best) == []
        assert ended(policy, [told(best)], bound + 1e-9) == [1]


def test_the_best_so_far_counts_for_the_rules_of_sweeps():
    """A trial that was good once is not ended by one bad epoch."""
    records = [told(1.0, 0.5)]
    assert ended(BanditPolicy(slack_amount=0.1), records, 0.4, 0.9) == []
    assert ended(MedianPolicy(), records, 0.7, 0.9) == []
    assert ended(TruncationPolicy(truncation_percentage=50), records, 0.4, 0.9) == []
    assert ended(MedianAtRung(least=1), records, 0.4, 0.9) == [2]


def test_median_of_running_means():
    records = [told(4.0, 2.0), told(1.0, 3.0), told(6.0, 0.0)]
    assert MedianPolicy().thresholds(records) == {1: 4.0, 2: 3.0}  # means at 2: 3, 2, 3
    assert ended(MedianPolicy(), records, 4.0, 3.0) == []
    assert ended(MedianPolicy(), records, 5.0, 3.5) == [1, 2]
    assert ended(MedianPolicy(), records, 2.0, 9.0) == []  # its own mean is worse than 3, its best is not


def test_median_of_running_means_to_maximise():
    records = [maximised(0.2, 0.6), maximised(0.4, 0.8), maximised(0.9)]
    found = MedianPolicy().thresholds(records)
    assert {step: -x for step, x in found.items()} == pytest.approx({1: 0.4, 2: 0.6})


def test_truncation_ends_the_worst_share_with_the_trial_itself_among_all():
    policy = TruncationPolicy(truncation_percentage=20)
    four = [told(x) for x in (1.0, 4.0, 2.0, 3.0)]
    assert policy.thresholds(four[:3]) == {}  # a fifth part of four trials is none
    assert policy.thresholds(four) == {1: 4.0}
    nine = [told(float(x)) for x in range(1, 10)]
    assert policy.thresholds(nine) == {1: 8.0}  # two of ten: 9 and whatever is worse than 8
    assert ended(policy, nine, 8.0) == []
    assert ended(policy, nine, 8.5) == [1]
    up = [maximised(x / 10) for x in range(1, 10)]
    assert policy.thresholds(up) == {1: -0.2}


@given(st.integers(1, 99), st.lists(st.floats(-9, 9), min_size=1, max_size=120, unique=True))
def test_truncation_ends_no_more_than_its_share(share, losses):
    policy = TruncationPolicy(truncation_percentage=share)
    *others, last = losses
    hit = bool(ended(policy, [told(x) for x in others], last))
    worse = sum(x > last for x in others)
    assert hit == (worse + 1 <= len(losses) * share / 100)


def test_finished_trials_are_compared_with_at_later_rungs():
    short, long, cut = told(0.2, 0.1), told(0.6, 0.5, 0.4), told(0.3, status="pruned")
    assert BanditPolicy(slack_amount=1.0).thresholds([short, long, cut]) == {1: 1.2, 2: 1.1, 3: 1.1}
    policy = TruncationPolicy(truncation_percentage=50)
    assert policy.thresholds([short, long, cut]) == {1: 0.3, 2: 0.5, 3: 0.4}
    alone = TruncationPolicy(truncation_percentage=50, exclude_finished=True)
    assert alone.thresholds([short, long, cut]) == {1: 0.3, 2: 0.5, 3: 0.4}
    assert alone.thresholds([short, told(0.05), long]) == {1: 0.2, 2: 0.5, 3: 0.4}
    assert policy.thresholds([short, told(0.05), long]) == {1: 0.2, 2: 0.1, 3: 0.1}


@pytest.mark.parametrize("first", [0, 1])
def test_interval_and_delay_count_reports(first):
    """As in the services: the first look is at the first multiple of the interval that is not below the delay."""
    record = told(*range(10), first=first)
    for interval, delay, want in ((1, 0, range(1, 11)), (2, 0, [2, 4, 6, 8, 10]), (2, 6, [6, 8, 10]), (3, 4, [6, 9])):
        for policy in (
            BanditPolicy(slack_amount=1, evaluation_interval=interval, delay_evaluation=delay),
            MedianPolicy(evaluation_interval=interval, delay_evaluation=delay),
            TruncationPolicy(truncation_percentage=99, evaluation_interval=interval, delay_evaluation=delay),
        ):
            assert sorted(policy.thresholds([record] * 9)) == [n - 1 + first for n in want]


def test_the_rule_of_the_engine_needs_five_completed_trials():
    four = [told(float(x)) for x in range(4)]
    assert MedianAtRung().thresholds([*four, told(9.0, status="pruned")]) == {}
    assert MedianAtRung().thresholds([*four, told(9.0)]) == {1: 2.0}


# -- what holds for all -----------------------------------------------------------------------------------------------

RECORDS = st.lists(
    st.builds(
        lambda losses, status: told(*losses, status=status),
        st.lists(st.floats(-5, 5) | st.sampled_from([math.inf, math.nan]), max_size=6),
        st.sampled_from(["pruned", "failed", "timeout", "cancelled"]),
    )
    | st.builds(lambda losses: told(*losses), st.lists(st.floats(-5, 5), max_size=6)),
    max_size=8,
)


@given(RECORDS, st.randoms(use_true_random=False))
def test_order_does_not_matter_and_chance_does_not_count(records, rng):
    mixed = list(records)
    rng.shuffle(mixed)
    sure = [r for r in records if r.status in {"completed", "pruned"}]
    for policy in EVERY:
        found = policy.thresholds(records)
        assert policy.thresholds(mixed) == found
        assert policy.thresholds(sure) == found
        assert all(math.isfinite(x) for x in found.values())


@pytest.mark.parametrize("policy", EVERY)
def test_nothing_told_ends_nothing_and_no_number_ends_everything(policy):
    assert policy.thresholds([]) == {}
    assert policy.thresholds([told(), told(1.0, status="timeout")]) == {}
    assert ended(policy, [], 1.0, math.nan, math.inf, 2.0) == [2, 3]


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (BanditPolicy, "one of both"),
        (lambda: BanditPolicy(slack_factor=0.1, slack_amount=0.1), "one of both"),
        (lambda: BanditPolicy(slack_factor=0.0), "above 0"),
        (lambda: BanditPolicy(slack_amount=math.nan), "above 0"),
        (lambda: BanditPolicy(slack_amount=1.0, evaluation_interval=0), "evaluation_interval must be .* >= 1, got 0"),
        (lambda: MedianPolicy(delay_evaluation=-1), "delay_evaluation must be .* >= 0, got -1"),
        (lambda: MedianPolicy(evaluation_interval=1.5), "whole number"),
        (lambda: TruncationPolicy(truncation_percentage=0), "from 1 to 99, got 0"),
        (lambda: TruncationPolicy(truncation_percentage=100), "from 1 to 99, got 100"),
        (lambda: policy_of({"type": "median", "slack": 1}), "policy 'median': .*slack"),
        (lambda: policy_of({"type": "bandit", "slack_factor": "0.1"}), "policy 'bandit'"),
        (lambda: policy_of("bandit"), "a policy is a mapping such as .*, got 'bandit'"),
        (lambda: policy_of({"type": ["median"]}), "unknown policy"),
        (lambda: policy_to_json(MedianAtRung()), "cannot be written"),
    ],
)
def test_wrong_settings_are_refused(made, message):
    with pytest.raises(ConfigError, match=message):
        made()


def test_settings_round_trip():
    for policy in (*EVERY[1:], None):
        assert policy_of(policy_to_json(policy)) == policy
        assert policy_of(policy) is policy
    with pytest.raises(UnknownNameError, match="did you mean 'bandit'"):
        policy_of({"type": "bandits"})
    with pytest.raises(UnknownNameError, match="unknown policy None"):
        policy_of({})


# -- in a search ------------------------------------------------------------------------------------------------------


def test_a_policy_ends_the_same_trials_with_any_number_of_workers(tmp_path):
    policy = BanditPolicy(slack_factor=0.1)
    outcome, run = do_search(tmp_path, trials=16, policy=policy)
    _, other = do_search(tmp_path, name="two", workers=2, trials=16, policy=policy)
    assert essence(run) == essence(other)
    assert {r.status for r in outcome.records[:3]} == {"completed"}  # the portfolio
    for record in outcome.records[3:]:
        bounds = policy.thresholds([r for r in outcome.records if r.number <= record.number - 4])
        assert (record.status == "pruned") == (record.reported[0] > bounds.get(0, math.inf))
    assert any(r.status == "pruned" for r in outcome.records)


def test_without_a_policy_every_trial_runs_to_its_end(tmp_path):
    outcome, _ = do_search(tmp_path, toy.GOOD, trials=14, policy=None, workers=0)
    assert {r.status for r in outcome.records} == {"completed"}


@pytest.mark.parametrize("policy", [MedianAtRung(), MedianPolicy(), None])
def test_trials_know_the_rule_and_those_of_the_portfolio_have_none(policy, tmp_path, monkeypatch):
    seen = []
    evaluate = toy.ToyTask.evaluate

    def watched(task, trial):
        seen.append(trial)
        return evaluate(task, trial)

    monkeypatch.setattr(toy.ToyTask, "evaluate", watched)
    good = [Candidate.of("poly", {"degree": 9, "ridge": 10.0**-k}) for k in range(9)]
    outcome, _ = do_search(tmp_path, [*good, toy.POLY], trials=12, policy=policy, workers=0)
    assert [dict(t.thresholds) for t in seen[:10]] == [{}] * 10
    assert {t.by_best for t in seen} == {isinstance(policy, MedianPolicy)}
    for trial in seen[10:]:
        known = [r for r in outcome.records if r.number <= trial.number - 4]
        assert trial.thresholds == ({} if policy is None else policy.thresholds(known))
        assert bool(trial.thresholds) == (policy is not None)
