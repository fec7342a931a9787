"""Guardrails, explanations, budgets, candidates."""

import json
import math
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from time import monotonic

import numpy as np
import pytest

from automl.budget import Deadline, ExitCriteria
from automl.bundle import read_state
from automl.candidates import Candidate, Choice, Float, Int, Registry
from automl.crew import Crew
from automl.errors import ConfigError, DeadlineExceededError, UnknownNameError
from automl.explain import permutation_importance, raw_importance
from automl.guardrails import Guardrail, Report
from automl.inline import InlineExecutor
from automl.memory import group_free
from automl.runs import TrialRecord
from automl.trial import Evaluation, Trial
from automl.worker import _store, refit
from tests.automl import toy_task as toy


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


def test_a_later_deadline_is_so_many_seconds_behind():
    assert Deadline(10.0).later(2.5) == Deadline(12.5)
    assert Deadline(10.0).later(2.5).earlier(2.5) == Deadline(10.0)
    assert Deadline().later(5) == Deadline()


def test_the_file_cache_of_a_container_is_free_memory(tmp_path):
    for name, text in (
        ("max", "1000\n"),
        ("current", "900\n"),
        ("stat", "anon 200\nfile 700\ninactive_file 400\nactive_file 250\nworkingset_refault_file 7\n"),
    ):
        (tmp_path / f"memory.{name}").write_text(text)
    assert group_free(tmp_path) == 750
    (tmp_path / "memory.max").write_text("max\n")
    with pytest.raises(ValueError, match="max"):
        group_free(tmp_path)


def test_nothing_to_wait_for_is_waited_for_too(tmp_path):
    crew = Crew((toy.TARGET, {}), workers=0, threads=1, preload=(), output=tmp_path / "log")
    begun = monotonic()
    crew.rest([])
    assert monotonic() - begun > 0.05


@pytest.mark.parametrize(("loss", "reason"), [(math.nan, "at rung 1 is no finite number (nan)"), (9.0, "the median")])
def test_a_trial_ended_at_a_rung_says_why(tmp_path, loss, reason):
    trial = Trial(
        number=0,
        candidate=toy.MEAN,
        params={},
        seed=0,
        threads=1,
        deadline=Deadline(),
        directory=tmp_path,
        thresholds={1: 5.0},
    )
    trial.report(0, 1.0)
    assert trial.report(1, loss)
    _store(trial, Evaluation(scores={}, pruned=True), 0.0, 0.0)
    record = TrialRecord.read(tmp_path)
    assert record.status == "pruned"
    assert reason in record.reason


def test_each_thread_of_a_process_without_workers_has_its_own_task(tmp_path):
    both = Barrier(2, timeout=30)

    def search(n):
        task = ("automl.worker:open_task", {"target": toy.TARGET, "values": {"log": str(tmp_path / "log"), "n": n}})
        own = InlineExecutor(task)
        own.submit(len, "").result()
        both.wait()
        fitted = own.submit(refit, tmp_path / str(n), toy.MEAN, {}, Deadline()).result()
        return fitted.status, read_state(tmp_path / str(n))[1]["coefficients"][0]

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(search, (30, 60)))
    for n, (status, mean) in zip((30, 60), found, strict=True):
        assert status == "stored"
        assert mean == pytest.approx(toy.open_toy("", n).y.mean(), abs=0.01)


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
