"""Guardrails, explanations, budgets, candidates."""

import json

import numpy as np
import pytest

from automl.budget import Deadline, ExitCriteria
from automl.candidates import Candidate, Choice, Float, Int, Registry
from automl.errors import ConfigError, DeadlineExceededError, UnknownNameError
from automl.explain import permutation_importance, raw_importance
from automl.guardrails import Guardrail, Report


def test_report_round_trips_and_shows_alerts_first():
    report = Report()
    report.append(Guardrail("A", "passed", "fine"))
    report.append(Guardrail("B", "alerted", "look", (("s1", 3),)))
    report.append(Guardrail("A", "passed", "fine"))
    back = Report.from_json(json.loads(json.dumps(report.to_json())))
    assert list(back) == list(report)
    assert [r["status"] for r in back.rows()] == ["alerted", "passed"]
    with pytest.raises(ConfigError, match="status must be one of"):
        Guardrail("C", "fixed", "?")


def test_shuffled_group_hurts_by_what_it_explains():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((500, 4))
    y = 3 * x[:, 0] + x[:, 1]
    before = x.copy()

    def loss(m):
        return float(np.abs(3 * m[:, 0] + m[:, 1] - y).mean())

    found = permutation_importance(loss, x, {"one": [0], "two": [1], "rest": [2, 3]}, repeats=3, seed=1)
    assert [i.name for i in found] == ["one", "two", "rest"]
    assert found[2].mean == 0
    assert found[0].mean == pytest.approx(3 * found[1].mean, rel=0.15)
    np.testing.assert_array_equal(x, before)
    assert permutation_importance(loss, x, {"one": [0]}, seed=1) == permutation_importance(
        loss, x, {"one": [0]}, seed=1
    )


def test_raw_importance_adds_up():
    assert raw_importance({"a1": 1, "a2": 2, "b": 5}, {"a1": "a", "a2": "a"}) == {"b": 5, "a": 3}


def test_early_stopping_is_never_before_trial_31():
    rule = ExitCriteria()
    flat = [1.0] * 60
    assert min(n for n in range(60) if rule.no_progress(flat[:n])) == 31
    better_at_25 = [1.0] * 25 + [0.5] + [1.0] * 40
    assert min(n for n in range(60) if rule.no_progress(better_at_25[:n])) == 36
    assert not any(ExitCriteria(early_stopping=False).no_progress(flat[:n]) for n in range(60))


@pytest.mark.parametrize("bad", [{"time_limit": 0}, {"max_trials": 0}, {"trial_time_limit": -1}, {"patience": 0}])
def test_bad_limits_are_named(bad):
    with pytest.raises(ConfigError, match=next(iter(bad))):
        ExitCriteria(**bad)


def test_a_passed_deadline_says_what_was_going_on():
    with pytest.raises(DeadlineExceededError, match="out of time while baking"):
        Deadline.after(-1).check("baking")


def test_candidates_are_hashable_and_json():
    candidate = Candidate.of(
        "m", {"b": 2, "a": None}, space={"c": Choice(("x", None)), "i": Int(1, 9, log=True), "f": Float(0.1, 2)}, cost=3
    )
    assert Candidate.from_json(candidate.to_json()) == candidate
    assert len({candidate, Candidate.from_json(candidate.to_json())}) == 1
    with pytest.raises(ConfigError, match="range"):
        Float(0, 1, log=True)


def test_registry_helps_and_refuses_repeats():
    registry = Registry("tool", {"hammer": "math:pi"})
    with pytest.raises(ConfigError, match="already registered"):
        registry.register("Hammer", "math:e")
    registry.register("saw", "math:e")
    assert registry.load("SAW") == pytest.approx(np.e)
    with pytest.raises(UnknownNameError, match="did you mean 'hammer'"):
        registry.load("hamer")
