"""What is asked after the portfolio, in each of its three ways."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from automl.budget import Deadline
from automl.candidates import Candidate, Choice, Float, Int
from automl.errors import ConfigError
from automl.runs import TrialRecord
from automl.sampling import Proposal, Sampler, contains, grid_of, same_params
from tests.automl import toy_task as toy
from tests.automl.helpers import do_search, essence, make_search

TREE = Candidate.of(
    "tree",
    {"depth": 3, "rate": 0.1, "loss": "a"},
    space={"depth": Int(1, 6), "rate": Float(1e-4, 1.0, log=True), "loss": Choice(("a", "b", None))},
)
LINE = Candidate.of("line", {"alpha": 1.0}, space={"alpha": Float(0.0, 1.0)})
FIXED = Candidate.of("fixed", {"k": 1})

STEPS = Candidate.of("steps", {"other": True, "n": 9}, space={"n": Int(1, 3), "way": Choice(("x", "y"))})
SMALL = Candidate.of("small", space={"rate": Choice((0.1, 0.01))})
GRID = [
    *(("steps", {"other": True, "n": n, "way": w}) for n in (1, 2, 3) for w in ("x", "y")),
    ("small", {"rate": 0.1}),
    ("small", {"rate": 0.01}),
]


def asked(candidates, n, *, seed=1, sampling="random", feed=None, queue=(), first=0):
    """The first n proposals, noted as a search does; `feed(number)` is the loss told of the one four before."""
    sampler = Sampler(candidates, seed=seed, queue=queue, first=first, sampling=sampling)
    out = []
    for number in range(first, first + n):
        if feed is not None and len(out) >= 4:
            proposal, loss = out[-4], feed(number - 4)
            sampler.feed(record(proposal, number - 4, "failed" if math.isnan(loss) else "completed"), loss)
        proposal = sampler.ask(number)
        if proposal is None:
            break
        sampler.note(proposal.candidate, proposal.params)
        out.append(proposal)
    return out


def record(proposal, number, status="completed"):
    return TrialRecord(
        number=number,
        learner=proposal.candidate.learner,
        candidate=proposal.candidate,
        params=proposal.params,
        status=status,
        path=Path(),
    )


def plain(proposals):
    return [(p.candidate.learner, dict(p.params)) for p in proposals]


# -- random -----------------------------------------------------------------------------------------------------------


def test_random_draws_depend_on_seed_and_number_alone():
    found = plain(asked([TREE, LINE, FIXED], 30))
    assert plain(asked([TREE, LINE, FIXED], 30)) == found
    assert plain(asked([TREE, LINE, FIXED], 30, feed=lambda n: (n * 7 % 5) - 2.0)) == found  # results teach nothing
    assert plain(asked([TREE, LINE, FIXED], 20, first=10)) == found[10:]
    assert plain(asked([TREE, LINE, FIXED], 30, seed=2)) != found


def test_random_draws_fill_the_space():
    found = asked([TREE, LINE, FIXED], 200)
    assert len({(p.candidate, same_params(p.params)) for p in found}) == 200
    assert not any(p.portfolio for p in found)
    trees = [p.params for p in found if p.candidate is TREE]
    assert 70 <= len(trees) <= 130  # half of the draws: what has no space is not drawn
    assert {p["depth"] for p in trees} == set(range(1, 7))
    assert {p["loss"] for p in trees} == {"a", "b", None}
    assert all(contains(d, p[name]) for p in trees for name, d in TREE.space)
    assert 0.3 <= sum(p["rate"] < 0.01 for p in trees) / len(trees) <= 0.7  # as many below as above the middle


def test_random_draws_end_when_each_was_tried():
    found = plain(asked([STEPS], 50))
    assert sorted(found, key=str) == sorted(GRID[:6], key=str)


def test_random_draws_leave_out_what_failed_as_it_was():
    found = plain(asked([TREE, LINE], 30, queue=[TREE, LINE], feed=lambda n: math.nan if n == 0 else 1.0))
    assert found[:2] == [("tree", TREE.values()), ("line", LINE.values())]
    assert {name for name, _ in found[5:]} == {"line"}


def test_what_the_end_of_time_cut_is_searched_when_the_run_goes_on():
    first = Proposal(LINE, LINE.values(), portfolio=True)
    sampler = Sampler([LINE], seed=1, queue=[], first=9, sampling="random")
    sampler.feed(replace(record(first, 0, "timeout"), info={"cut": True}), math.nan)
    assert sampler.ask(9) is not None
    sampler.feed(record(first, 1, "timeout"), math.nan)  # it had its whole limit
    assert sampler.ask(9) is None
    sampler.feed(record(first, 2), 1.0)
    assert sampler.ask(9) is not None


# -- grid -------------------------------------------------------------------------------------------------------------


def test_a_grid_is_complete_in_order_and_then_exhausted():
    found = asked([STEPS, FIXED, SMALL], 50, sampling="grid", queue=[STEPS, FIXED, SMALL])
    assert plain(found) == [("fixed", {"k": 1}), *GRID]  # nothing but the grid where there is a space
    assert [p.portfolio for p in found] == [True] + [False] * 8
    assert plain(asked([STEPS, SMALL], 50, sampling="grid", seed=9, feed=lambda n: -1.0 * n)) == GRID


def test_a_point_that_fails_ends_no_grid():
    """Not even the one that equals the starting values."""
    few = Candidate.of("few", {"n": 2}, space={"n": Int(1, 8)})
    found = asked([few], 20, sampling="grid", queue=[few], feed=lambda n: math.nan if n == 1 else 1.0)
    assert [p.params["n"] for p in found] == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_grid_goes_on_behind_what_was_tried():
    sampler = Sampler([STEPS, SMALL], seed=1, queue=[], first=5, sampling="grid")
    for name, params in (GRID[0], GRID[2], GRID[6]):
        sampler.note(STEPS if name == "steps" else SMALL, params)
    left = []
    while (proposal := sampler.ask(5 + len(left))) is not None:
        sampler.note(proposal.candidate, proposal.params)
        left.append(proposal)
    assert plain(left) == [GRID[1], *GRID[3:6], GRID[7]]


@pytest.mark.parametrize(
    ("dimension", "found"),
    [(Float(0.0, 1.0), "Float"), (Int(1, 8, log=True), "Int"), (Int(0, 100), "Int"), (Int(0, 10**12), "Int")],
)
def test_a_grid_refuses_what_is_no_list_of_values(dimension, found, tmp_path):
    odd = Candidate.of("odd", space={"good": Choice((1, 2)), "rate": dimension})
    with pytest.raises(ConfigError, match=rf"'rate' of odd is {found}\(.*Fix: a Choice"):
        grid_of(odd)
    with pytest.raises(ConfigError, match="'rate' of odd"):
        Sampler([SMALL, odd], seed=1, queue=[], first=0, sampling="grid")
    with pytest.raises(ConfigError, match="'rate' of odd"):
        make_search(tmp_path, [SMALL, odd], sampling="grid")
    assert len(list(grid_of(Candidate.of("odd", space={"n": Int(1, 100)})))) == 100


def test_an_unknown_sampling_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="sampling must be one of tpe, random, grid, got 'bayes'"):
        make_search(tmp_path, sampling="bayes")


# -- in a search ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampling", ["random", "grid"])
def test_the_number_of_workers_changes_nothing(sampling, tmp_path):
    waves = Candidate.of("wave", {"period": 9.0}, space={"period": Int(1, 4), "phase": Choice(("sin", "cos"))})
    candidates = [toy.MEAN, waves]
    more = {"sampling": sampling, "trials": 9}
    outcome, run = do_search(tmp_path, candidates, workers=0, **more)
    _, other = do_search(tmp_path, candidates, name="two", workers=2, **more)
    assert essence(run) == essence(other)
    if sampling == "grid":
        tried = [(r.params["period"], r.params["phase"]) for r in outcome.records[1:]]
        assert tried == [(n, w) for n in (1, 2, 3, 4) for w in ("sin", "cos")]


def test_a_continued_grid_does_again_what_was_cut_off(tmp_path):
    means = Candidate.of("mean", space={"k": Choice((1, 2, 3, 4, 5, 6))})
    more = {"sampling": "grid", "workers": 0}

    def stop(event):
        if event.kind == "finished" and event.number == 2:
            raise KeyboardInterrupt

    with make_search(tmp_path, [means], on_event=stop, **more) as search:
        first = search.run(Deadline()).records
    lost = [r.params["k"] for r in first if r.status == "cancelled"]
    assert lost
    outcome, _ = do_search(tmp_path, [means], **more)
    assert outcome.stopped_because == "exhausted"
    done = [r.params["k"] for r in outcome.records if r.status != "cancelled"]
    assert sorted(done) == [1, 2, 3, 4, 5, 6]
