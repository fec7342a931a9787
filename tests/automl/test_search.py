import math
import os
import signal
import time

import numpy as np
import pytest

from automl.budget import Deadline, ExitCriteria
from automl.candidates import Candidate, Int
from automl.control import Control
from automl.errors import ConfigError, RunError
from automl.runs import Run
from tests.automl import toy_task as toy
from tests.automl.helpers import (
    alive,
    arrays,
    do_search,
    essence,
    finish,
    kill,
    make_search,
    start_script,
    stored,
    wait_for,
    workers_of,
)

FLAT = Candidate.of("mean", {"k": 0}, space={"k": Int(0, 100_000)})


def bad(*names):
    return [Candidate.of(name) for name in names]


# -- determinism ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """24 trials, one worker, nothing in the way."""
    return do_search(tmp_path_factory.mktemp("plain"), trials=24)


def test_the_number_of_workers_changes_nothing(plain, tmp_path):
    _, run = plain
    for workers in (2, 3):
        _, other = do_search(tmp_path, name=f"w{workers}", workers=workers, trials=24)
        assert essence(other) == essence(run)
    statuses = {t.status for t in run.trials()}
    assert statuses == {"completed", "pruned"}


def test_portfolio_first_then_the_spaces_and_nothing_twice(plain):
    outcome, run = plain
    trials = run.trials()
    assert outcome.stopped_because == "max_trials"
    assert [t.number for t in trials] == list(range(24))
    assert [(t.learner, dict(t.params)) for t in trials[:3]] == [(c.learner, c.values()) for c in toy.GOOD]
    assert {t.learner for t in trials[3:]} == {"poly", "wave"}
    assert len({(t.learner, repr(t.params)) for t in trials}) == 24
    for t in trials[3:]:
        if t.learner == "poly":
            assert isinstance(t.params["degree"], int)
            assert 0 <= t.params["degree"] <= 9
            assert 1e-6 <= t.params["ridge"] <= 10
    best = min(t.scores["mse"] for t in trials if t.usable)
    assert best < 0.7 * min(t.scores["mse"] for t in trials[:3])
    assert run.leaderboard()[0]["score"] == best


def test_records_hold_what_was_measured(plain):
    record = plain[1].trials()[1]
    assert record.info["threads"] == "1"
    assert 0 < record.seconds < 60
    assert 10 < record.peak_mb < 1000
    assert set(record.predictions()) == {"y"}
    assert set(record.reported) == {0, 1}
    assert not list(plain[1].trials_path.glob(".*"))


def test_a_replay_gives_the_same_bytes(plain, tmp_path):
    _, run = plain
    outcome, again = do_search(tmp_path, workers=2, replay=run.trial_list())
    assert outcome.stopped_because == "replayed"
    old = [t for t in run.trials() if t.usable]
    assert [t.params for t in outcome.records] == [t.params for t in old]
    for a, b in zip(old, again.trials(), strict=True):
        assert [p.read_bytes() for p in arrays(a)] == [p.read_bytes() for p in arrays(b)]
        assert a.scores["mse"] == b.scores["mse"]


def test_another_seed_asks_something_else(plain, tmp_path):
    search = make_search(tmp_path, trials=8)
    search._seed = 2
    with search:
        records = search.run(Deadline()).records
    assert [r.params for r in records[:3]] == [t.params for t in plain[1].trials()[:3]]
    assert [r.params for r in records[3:]] != [t.params for t in plain[1].trials()[3:8]]


def test_pruning_spares_the_portfolio_and_starts_after_five(plain):
    pruned = [t for t in plain[1].trials() if t.status == "pruned"]
    assert pruned
    assert all(t.number >= 8 and not t.usable and "median" in t.reason for t in pruned)


def test_no_portfolio_trial_is_pruned(tmp_path):
    good = [Candidate.of("poly", {"degree": 9, "ridge": 10.0**-k}) for k in range(9)]
    outcome, _ = do_search(tmp_path, [*good, toy.MEAN])
    assert {r.status for r in outcome.records} == {"completed"}
    assert max(r.scores["mse"] for r in outcome.records) == outcome.records[9].scores["mse"]


# -- rules that end it ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_early_stopping_comes_at_trial_31_and_not_before(tmp_path, workers):
    outcome, run = do_search(tmp_path, [FLAT], workers=workers, criteria=ExitCriteria())
    assert outcome.stopped_because == "early_stopping"
    by_status = [t.status for t in run.trials()]
    assert by_status == ["completed"] * 31 + ["cancelled"] * 3


def test_exit_score_in_both_directions(tmp_path):
    for metric, direction, goal in (("mse", "min", 0.3), ("r2", "max", 0.5)):
        criteria = ExitCriteria(max_trials=50, exit_score=goal)
        outcome, run = do_search(
            tmp_path, name=metric, criteria=criteria, metric_name=metric, direction=direction, workers=2
        )
        assert outcome.stopped_because == "exit_score"
        good = [t for t in run.trials() if t.usable]
        reached = [t.scores[metric] <= goal if direction == "min" else t.scores[metric] >= goal for t in good]
        assert reached == [False] * (len(good) - 1) + [True]
        assert run.leaderboard()[0]["number"] == good[-1].number


def test_what_ends_behind_the_stop_is_not_counted(tmp_path):
    """The first trial reaches the goal last of all; with a second worker the others have ended long before."""
    runs = []
    for workers in (1, 2):
        criteria = ExitCriteria(exit_score=100.0)
        candidates = [*bad("slow"), *toy.GOOD]
        outcome, run = do_search(tmp_path, candidates, name=f"w{workers}", workers=workers, criteria=criteria)
        assert outcome.stopped_because == "exit_score"
        runs.append(essence(run))
        assert [t.status for t in run.trials()] == ["completed"] + ["cancelled"] * 3
        assert [t.predictions() for t in run.trials()[1:]] == [{}] * 3
    assert len(toy.lines(tmp_path / "w2.log", "end")) == 4
    assert runs[0] == runs[1]


def test_results_that_come_in_together_skip_no_ask(tmp_path):
    """Trial 1 reaches the goal, but is told after trial 0, which is slow; trial 4 is asked between the two."""
    for workers in (1, 2):
        criteria = ExitCriteria(exit_score=0.5)
        candidates = [*bad("slow"), toy.POLY, toy.MEAN, toy.WAVE]
        outcome, run = do_search(tmp_path, candidates, name=f"w{workers}", workers=workers, criteria=criteria)
        assert outcome.stopped_because == "exit_score"
        assert [t.status for t in run.trials()] == ["completed"] * 2 + ["cancelled"] * 3


def test_max_direction_searches_upwards(tmp_path):
    _, run = do_search(tmp_path, metric_name="r2", direction="max", trials=15)
    _, low = do_search(tmp_path, name="low", trials=15)
    # r2 falls as mse grows, so both searches ask the same
    assert [t.params for t in run.trials()] == [t.params for t in low.trials()]
    assert run.leaderboard()[0]["number"] == low.leaderboard()[0]["number"]


def test_a_small_space_is_exhausted(tmp_path):
    small = Candidate.of("mean", {"k": 0}, space={"k": Int(0, 3)})
    outcome, _ = do_search(tmp_path, [small])
    assert outcome.stopped_because == "exhausted"
    assert sorted(r.params["k"] for r in outcome.records) == [0, 1, 2, 3]
    outcome, _ = do_search(tmp_path, [small])  # continued: still nothing left
    assert (outcome.stopped_because, len(outcome.records)) == ("exhausted", 4)
    outcome, _ = do_search(tmp_path, [toy.MEAN], name="nothing to tune")
    assert (outcome.stopped_because, len(outcome.records)) == ("exhausted", 1)


def test_an_undefined_metric_is_a_failure_with_its_reason(tmp_path):
    outcome, run = do_search(tmp_path, trials=2, metric_name="nothing")
    assert [(r.status, r.reason) for r in outcome.records] == [("failed", "its nothing is nan")] * 2
    assert math.isnan(run.summary()[0]["best"])
    outcome, _ = do_search(tmp_path, name="other", trials=1, metric_name="absent")
    assert outcome.records[0].reason == "its absent is missing"


def test_scores_computed_here_rank_and_are_stored_before_they_are_told(tmp_path):
    """Worker processes never see the function, so a closure will do; with any number of workers it asks the same."""
    asked = []
    for workers in (1, 2):

        def spread(record):
            return {"spread": float(np.ptp(record.predictions()["y"]))}

        more = {"metric_name": "spread", "direction": "max", "score": spread}
        _, run = do_search(tmp_path, name=f"s{workers}", workers=workers, trials=8, **more)
        asked.append([(t.params, t.scores) for t in run.trials()])
        for trial in run.trials():
            assert trial.scores["spread"] == float(np.ptp(trial.predictions()["y"]))
            assert "mse" in trial.scores
        assert run.leaderboard()[0]["score"] == max(t.scores["spread"] for t in run.trials())
    assert asked[0] == asked[1]


def test_a_trial_whose_score_cannot_be_computed_here_has_failed(tmp_path):
    def broken(record):
        raise ValueError(f"no {record.learner}")

    outcome, run = do_search(tmp_path, trials=1, score=broken)
    assert [r.status for r in outcome.records] == ["failed"]
    assert "its mse failed: ValueError: no" in run.trials()[0].reason
    assert not list(run.trials()[0].path.glob("*.npy"))


def test_nothing_to_search_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="at least one candidate"):
        make_search(tmp_path, [])


# -- learners that misbehave ------------------------------------------------------------------------------------------


def test_failures_are_recorded_and_the_search_goes_on(tmp_path):
    tuned = Candidate.of("raise", {"k": 0}, space={"k": Int(0, 99)})
    candidates = [*bad("crash", "exit0", "exit7", "killed", "quit"), tuned, *toy.GOOD]
    _, run = do_search(tmp_path, candidates, workers=2, trials=14)
    trials = run.trials()
    reasons = {t.learner: t.reason for t in trials if t.status == "failed"}
    assert reasons.pop("crash").startswith("KeyError: 'missing' (at toy_task.py:")
    assert reasons == {
        "raise": "too few points for this learner: found 3, needs 10.",
        "exit0": "worker died: it ended itself with exit code 0",
        "exit7": "worker died: it ended itself with exit code 7",
        "killed": "worker died: killed by signal SIGKILL (e.g. out of memory, or a crash in native code)",
        "quit": "the learner called exit(3)",
    }
    assert [t.status for t in trials[6:9]] == ["completed"] * 3
    assert {t.learner for t in trials[9:]} <= {"poly", "wave"}  # what failed is not sampled again
    assert len(trials) == 14


def test_workers_killed_from_outside_are_replaced(plain, tmp_path):
    """Idle ones break pebble's pool, which then is replaced; no trial is lost."""

    def kill_idle(event):
        if event.kind == "finished" and event.number in {1, 5}:
            for pid in filter(alive, workers_of(tmp_path / "run.log")):
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.3)

    _, run = do_search(tmp_path, trials=24, window=4, on_event=kill_idle)
    assert essence(run) == essence(plain[1])
    assert len(workers_of(tmp_path / "run.log")) == 3


@pytest.mark.parametrize("learner", ["sleep", "stuck"])
def test_a_hanging_learner_is_killed_at_its_limit(tmp_path, learner):
    criteria = ExitCriteria(trial_time_limit=0.4, max_trials=5, early_stopping=False)
    outcome, _ = do_search(tmp_path, [*bad(learner), *toy.GOOD], criteria=criteria)
    hung = outcome.records[0]
    assert (hung.status, hung.reason) == ("timeout", "killed after 0.4 s: the limit of one trial")
    assert [r.status for r in outcome.records[1:]] == ["completed"] * 4
    assert not any(map(alive, workers_of(tmp_path / "run.log")))


def test_peak_memory_belongs_to_the_trial(tmp_path):
    outcome, _ = do_search(tmp_path, [toy.MEAN, *bad("fat"), toy.POLY], trials=3)
    mean, fat, poly = (r.peak_mb for r in outcome.records)
    assert fat - mean > 35
    assert fat - poly > 30


def test_a_task_that_cannot_be_opened_fails_the_run(tmp_path):
    with (
        make_search(tmp_path, n=-1, trials=3) as search,
        pytest.raises(RunError, match=r"cannot open the task.*negative"),
    ):
        search.run(Deadline())
    assert search.run_directory.state == "failed"


def test_a_result_that_cannot_be_stored_fails_the_run_and_loses_nothing(tmp_path):
    search = make_search(tmp_path, [toy.MEAN, toy.POLY, *bad("disk"), toy.WAVE], trials=6, window=1)
    with search, pytest.raises(RunError, match=r"could not be stored in .*What was stored before is intact"):
        search.run(Deadline())
    run = search.run_directory
    assert run.state == "failed"
    assert [t.learner for t in run.trials()] == ["mean", "poly"]
    outcome, _ = do_search(tmp_path, trials=6)
    assert [r.status for r in outcome.records] == ["completed"] * 6
    assert toy.numbers(tmp_path / "run.log", "start").count(0) == 1


# -- time -------------------------------------------------------------------------------------------------------------


def test_the_reserve_is_kept_and_the_clock_obeyed(tmp_path):
    start = time.monotonic()
    with make_search(tmp_path, [*toy.GOOD, *bad("sleep")], workers=2, reserve=lambda _: 20.0) as search:
        outcome = search.run(Deadline.after(21.5))
    took = time.monotonic() - start
    assert outcome.stopped_because == "time"
    assert 1.4 < took < 15
    hung = outcome.records[3]
    assert (hung.status, hung.reason.partition(": ")[2]) == ("timeout", "the time of the search was over")


def test_what_cannot_end_in_time_is_not_started(tmp_path):
    slow = Candidate.of("slow", {"k": 0}, space={"k": Int(0, 99)})
    outcome, _ = do_search(tmp_path, [slow], limit=2.6)
    first, *others = outcome.records
    assert first.status == "completed"
    refused = [r for r in others if r.reason.startswith("not started")]
    assert refused
    assert "slow's quickest trial took 1.0 s" in refused[0].reason
    assert outcome.stopped_because == "time"
    assert len(others) < 10


def test_no_time_at_all_is_no_error(tmp_path):
    outcome, _ = do_search(tmp_path, limit=1e-9)
    assert (outcome.stopped_because, outcome.records) == ("time", [])


def test_trials_cut_by_the_clock_get_another_chance_when_continued(tmp_path):
    outcome, _ = do_search(tmp_path, [*bad("slow"), *toy.GOOD], limit=0.6, trials=4)
    assert outcome.records[0].status == "timeout"
    outcome, _ = do_search(tmp_path, [*bad("slow"), *toy.GOOD], trials=8)
    again = outcome.records[4]
    assert (again.learner, again.status) == ("slow", "completed")


# -- continue, resume, kill -------------------------------------------------------------------------------------------


def test_continuing_keeps_the_old_and_asks_as_if_never_stopped(plain, tmp_path):
    do_search(tmp_path, trials=10)
    before = {t.number: t.path.stat().st_mtime_ns for t in Run.open(tmp_path / "run").trials()}
    outcome, run = do_search(tmp_path, trials=24, workers=2)
    assert essence(run) == essence(plain[1])
    assert {n: run.trials()[n].path.stat().st_mtime_ns for n in before} == before
    assert sorted(toy.numbers(tmp_path / "run.log", "start")) == list(range(24))
    assert len(outcome.records) == 24


def test_patience_begins_anew_when_an_early_stopped_run_goes_on(tmp_path):
    do_search(tmp_path, [FLAT], criteria=ExitCriteria())
    outcome, _ = do_search(tmp_path, [FLAT], criteria=ExitCriteria(max_trials=60))
    assert outcome.stopped_because == "early_stopping"
    assert sum(r.usable for r in outcome.records) == 31 + 11


def test_kill_9_at_any_moment_then_resume(plain, tmp_path):
    arguments = "workers=2, trials=24, pause=0.03"
    run_path, log = tmp_path / "run", tmp_path / "run.log"
    ran: dict[int, int] = {}
    for moment in (0, 2, 5, 9, 14):
        process = start_script(tmp_path, arguments=arguments)
        wait_for(lambda k=moment, p=process: len(toy.lines(log, "start")) > k or p.poll() is not None, what="trials")
        time.sleep(0.013 * moment)
        kill(process)
        wait_for(lambda: not any(map(alive, workers_of(log))), what="the workers' end")
        ran |= {n: toy.numbers(log, "start").count(n) for n in stored(run_path) if n not in ran}
        assert Run.open(run_path).state == "running"
        assert not Run.open(run_path).is_live()
    assert 3 < len(ran) < 24
    out, err = finish(start_script(tmp_path, arguments=arguments))
    assert err == ""
    assert out == "script runs\nscript ends max_trials 24\n"
    starts = toy.numbers(log, "start")
    assert {n: starts.count(n) for n in ran} == ran  # nothing that was stored ran again
    assert sorted(set(starts)) == list(range(24))
    assert essence(Run.open(run_path)) == essence(plain[1])


def test_a_half_told_run_is_resumed(plain, tmp_path):
    """As a kill between a trial's folder and its telling leaves it, with half a line in the journal."""
    _, run = do_search(tmp_path, trials=8)
    run.set_state("running")
    raw = run.read()
    raw["history"] = [h for h in raw["history"] if h.get("state") != "completed"]
    run._write(raw)
    journal = run.path / "journal.log"
    text = journal.read_bytes()
    journal.write_bytes(text[: int(len(text) * 0.7)])
    (run.trials_path / ".9.part").mkdir()
    _, run = do_search(tmp_path, trials=24)
    assert essence(run) == essence(plain[1])


@pytest.mark.parametrize("stdin", [False, True])
def test_a_plain_script_works_without_main_guard(tmp_path, stdin):
    out, err = finish(start_script(tmp_path, arguments="workers=2, trials=5", stdin=stdin))
    assert err == ""
    assert out == "script runs\nscript ends max_trials 5\n"


def test_a_stuck_worker_dies_with_a_killed_parent(tmp_path):
    log = tmp_path / "run.log"
    process = start_script(tmp_path, candidates='[Candidate.of("stuck"), Candidate.of("sleep")]', arguments="workers=2")
    wait_for(lambda: len(toy.lines(log, "start")) == 2, what="both trials")
    time.sleep(0.2)
    kill(process)
    wait_for(lambda: not any(map(alive, workers_of(log))), what="the workers' end")


# -- commands and Ctrl-C ----------------------------------------------------------------------------------------------


def test_pause_resume_cancel_trial_and_cancel_from_another_process(tmp_path):
    log = tmp_path / "run.log"
    candidates = '[toy.MEAN, Candidate.of("sleep"), toy.POLY, toy.WAVE]'
    process = start_script(tmp_path, candidates, "workers=2, pause=0.05")
    try:
        wait_for(lambda: toy.numbers(log, "end").count(3), what="trial 3")
        run = Run.open(tmp_path / "run")
        run.send("cancel-trial", 1)
        wait_for(lambda: 1 in stored(run.path), what="trial 1's end")
        assert (run.trials()[1].status, run.trials()[1].reason) == ("cancelled", "cancelled while it ran")
        wait_for(lambda: 8 in stored(run.path), what="more trials")
        run.send("pause")
        wait_for(lambda: run.state == "paused", what="the pause")
        time.sleep(0.4)
        paused = toy.lines(log, "")
        assert len(toy.lines(log, "start")) == len(toy.lines(log, "end")) + 1  # the one that was cancelled
        time.sleep(0.4)
        assert toy.lines(log, "") == paused
        run.send("resume")
        wait_for(lambda: len(toy.lines(log, "")) > len(paused) + 4, what="more trials")
        assert run.state == "running"
        run.send("cancel")
        out, err = finish(process)
    finally:
        if process.poll() is None:
            kill(process)
    assert err == ""
    assert "script ends cancelled" in out
    trials = run.trials()
    assert [t.number for t in trials] == list(range(len(trials)))
    assert sum(t.usable for t in trials) > 8
    assert {"cancelled", "paused"} <= {h.get("state") for h in run.read()["history"]}


def test_the_clock_stands_still_while_paused(tmp_path):
    run = Run.create(tmp_path / "run", task="toy", settings={}, seed=0)
    with run.claim():
        control = Control(run, Deadline.after(10))
        run.send("pause")
        control.poll()
        before = control.deadline.left()
        time.sleep(0.3)
        assert abs(control.deadline.left() - before) < 0.05
        run.send("resume")
        control.poll()
        time.sleep(0.1)
        assert 0.09 < before - control.deadline.left() < 0.25


def test_ctrl_c_keeps_what_was_found(tmp_path):
    log = tmp_path / "run.log"
    process = start_script(tmp_path, arguments="workers=2, pause=0.05")
    wait_for(lambda: len(toy.lines(log, "end")) > 5, what="trials")
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to everything in the foreground
    out, err = finish(process)
    assert err == ""
    assert "script ends interrupted" in out
    trials = Run.open(tmp_path / "run").trials()
    assert sum(t.usable for t in trials) > 4
    wait_for(lambda: not any(map(alive, workers_of(log))))


def test_an_interrupt_inside_a_listener_ends_in_good_order(tmp_path):
    def listener(event):
        if event.kind == "finished" and event.number == 4:
            raise KeyboardInterrupt

    with make_search(tmp_path, on_event=listener) as search:
        outcome = search.run(Deadline())
    assert outcome.stopped_because == "interrupted"
    assert len([r for r in outcome.records if r.usable]) >= 5
    assert search.run_directory.state == "cancelled"


def test_events_tell_the_story(tmp_path):
    events = []
    do_search(tmp_path, trials=6, workers=2, on_event=events.append)
    finished = [e for e in events if e.kind == "finished"]
    assert [e.number for e in finished] == list(range(6))
    assert [e.told for e in finished] == list(range(1, 7))
    bests = [e.best for e in finished]
    assert bests == sorted(bests, reverse=True)
    assert sorted(e.number for e in events if e.kind == "started") == list(range(6))


def test_only_one_process_searches(tmp_path):
    with make_search(tmp_path, trials=2) as search, search.run_directory.claim():
        with make_search(tmp_path, trials=2) as other, pytest.raises(RunError, match="another live process"):
            other.run(Deadline())
        assert len(search.run(Deadline()).records) == 2


# -- refit ------------------------------------------------------------------------------------------------------------


def test_refit_stores_reuses_and_explains(tmp_path):
    jobs = [(1, toy.POLY, {"degree": 3, "ridge": 1.0}), ("x", bad("raise")[0], {}), (2, toy.MEAN, {})]
    with make_search(tmp_path, trials=2, workers=2) as search:
        search.run(Deadline())
        first = search.refit(jobs, Deadline())
        assert list(first) == [1, "x", 2]
        assert first["x"] == "too few points for this learner: found 3, needs 10."
        settings, blobs = first[1]
        assert settings == {"learner": "poly"}
        assert blobs["coefficients"].shape == (4,)
    with make_search(tmp_path, trials=2) as search:
        again = search.refit(jobs, Deadline())
        assert again[1][1]["coefficients"].tobytes() == blobs["coefficients"].tobytes()
        assert len(toy.lines(tmp_path / "run.log", "refit poly")) == 1
        other = search.refit([(1, toy.POLY, {"degree": 2, "ridge": 1.0})], Deadline())
        assert other[1][1]["coefficients"].shape == (3,)
        hung = search.refit([(7, bad("sleep")[0], {}), (8, toy.MEAN, {})], Deadline.after(0.5))
        assert "the time was over" in hung[7]
        assert "the time was over" in hung[8]
    assert search.run_directory.state == "running"


@pytest.mark.parametrize("workers", [0, 1])
def test_ctrl_c_in_the_refit_keeps_what_is_fitted(tmp_path, workers):
    events = []

    def listener(event):
        if event.kind == "refitted":
            events.append(event)
            os.kill(os.getpid(), signal.SIGINT)

    jobs = [(k, toy.POLY, {"degree": k, "ridge": 1.0}) for k in range(3)]
    with make_search(tmp_path, trials=2, workers=workers, on_event=listener) as search:
        outcome = search.run(Deadline())
        found = search.refit(jobs, Deadline())
        assert not isinstance(found[0], str)
        assert [found[1], found[2]] == ["interrupted"] * 2
        assert (search.stopped, search.run_directory.state) == ("interrupted", "cancelled")
    # the progress line knows what the search has found
    assert [(e.best, e.told) for e in events] == [(min(r.scores["mse"] for r in outcome.records), 2)]
