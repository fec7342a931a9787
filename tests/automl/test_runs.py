import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from automl.candidates import Candidate
from automl.errors import AutoMLError, ConfigError, RunError, UnknownNameError
from automl.files import write_atomic
from automl.journal import Journal, repair
from automl.runs import Run, TrialRecord, model_names
from automl.session import session
from tests.automl.helpers import ENVIRONMENT, finish, wait_for


@pytest.fixture
def run(tmp_path):
    return Run.create(tmp_path / "run", task="toy", settings={"a": [1, 2]}, seed=5)


def add(run, number, learner="poly", status="completed", arrays=(), **more):
    candidate = Candidate.of(learner, {"degree": number})
    record = TrialRecord(
        number=number,
        learner=learner,
        candidate=candidate,
        params=candidate.values(),
        status=status,
        path=run.trials_path / str(number),
        **more,
    )
    record.publish()
    for name, array in dict(arrays).items():
        np.save(record.path / f"{name}.npy", array)
        raw = json.loads((record.path / "trial.json").read_text())
        (record.path / "trial.json").write_text(json.dumps(raw | {"arrays": [name]}))
    return record


def test_create_open_and_state(run):
    again = Run.open(run.path)
    assert (again.state, again.task, again.seed, again.settings) == ("created", "toy", 5, {"a": [1, 2]})
    run.set_state("running", "because")
    assert again.state == "running"
    assert [h["state"] for h in again.read()["history"]] == ["created", "running"]
    again.amend(settings={"a": 3})
    assert run.settings == {"a": 3}
    with pytest.raises(ConfigError, match="unknown run state 'asleep'"):
        run.set_state("asleep")


def test_wrong_places_are_named(tmp_path, run):
    with pytest.raises(RunError, match="no run directory"):
        Run.open(tmp_path)
    with pytest.raises(RunError, match="already holds a run"):
        Run.create(run.path, task="toy", settings={}, seed=0)
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunError, match="cannot be written"):
        Run.create(tmp_path / "file" / "run", task="toy", settings={}, seed=0)
    run.amend(format=99)
    with pytest.raises(RunError, match="format 99"):
        Run.open(run.path)
    (run.path / "run.json").write_text("{")
    with pytest.raises(RunError, match="cannot be read"):
        Run.open(run.path)


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    file = tmp_path / "a.json"
    write_atomic(file, b"old")
    with pytest.raises(TypeError):
        write_atomic(file, "no bytes")
    assert file.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_trials_come_back_by_number_with_mapped_predictions(run):
    for number in (10, 2, 0):
        add(run, number, scores={"mse": number / 3}, reported={1: 0.5}, arrays={"y": np.arange(3.0)})
    (run.trials_path / ".11.part").mkdir()
    trials = run.trials()
    assert [t.number for t in trials] == [0, 2, 10]
    assert trials[2].scores == {"mse": 10 / 3}
    assert trials[2].reported == {1: 0.5}
    assert trials[2].params == {"degree": 10}
    predictions = trials[0].predictions()
    assert isinstance(predictions["y"], np.memmap)
    assert not predictions["y"].flags.writeable
    assert predictions["y"].tolist() == [0, 1, 2]
    (run.trials_path / "2" / "trial.json").write_text('{"number": 2')
    with pytest.raises(RunError, match="delete that folder"):
        run.trials()


def test_leaderboard_and_summary(run):
    assert run.leaderboard() == []
    assert run.summary() == []
    run.amend(metric="r2", direction="max")
    add(run, 0, "mean", scores={"r2": 0.1, "mse": 5.0}, seconds=1.0)
    add(run, 1, "poly", scores={"r2": 0.7, "mse": 9.0}, seconds=2.0, info={"windows": 3, "degraded": "2 fell back"})
    add(run, 2, "poly", scores={"r2": 0.9, "mse": 2.0}, seconds=3.0, info={"fit_s": 0.5})
    add(run, 3, "wave", status="failed", reason="no data")
    add(run, 4, "poly", scores={"r2": 0.95}, status="pruned", reason="hopeless")
    board = run.leaderboard()
    assert [r["model"] for r in board] == ["poly_2", "poly", "mean", "wave", "poly_3"]
    assert [r["score"] for r in board[:3]] == [0.9, 0.7, 0.1]
    assert [r["status"] for r in board] == ["completed", "degraded", "completed", "failed", "pruned"]
    assert (board[1]["reason"], board[3]["reason"], board[0]["mse"], board[0]["fit_s"]) == (
        "2 fell back",
        "no data",
        2.0,
        0.5,
    )
    assert [r["number"] for r in run.leaderboard("mse", "min")][:3] == [2, 0, 1]
    with pytest.raises(UnknownNameError, match="did you mean 'mse'"):
        run.leaderboard("msr")
    assert model_names(run.trials()) == {0: "mean", 1: "poly", 2: "poly_2", 3: "wave", 4: "poly_3"}
    summary = run.summary()
    assert [(r["learner"], r["trials"], r["completed"], r["seconds"]) for r in summary] == [
        ("poly", 3, 2, 5.0),
        ("mean", 1, 1, 1.0),
        ("wave", 1, 0, 0.0),
    ]
    assert summary[0]["best"] == 0.9


OWNER = """
import sys, time
from automl.runs import Run
run = Run.open(sys.argv[1])
with run.claim(), run.claim():
    print("mine", flush=True)
    time.sleep(1000)
"""


def test_one_live_owner_and_the_lock_vanishes_with_it(run):
    assert not run.is_live()
    with pytest.raises(RunError, match="no process works on the run"):
        run.send("pause")
    arguments = [sys.executable, "-c", OWNER, str(run.path)]
    process = subprocess.Popen(arguments, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "mine\n"
        assert run.is_live()
        with pytest.raises(RunError, match="another live process"), run.claim():
            pass
    finally:
        process.kill()
        finish(process)
    wait_for(lambda: not run.is_live())
    with run.claim(), run.claim():
        assert run.is_live()
        with pytest.raises(RunError), Run.open(run.path).claim():
            pass
    assert not run.is_live()


def test_commands_arrive_once_in_order_and_stale_ones_never(run):
    with run.claim():
        run.send("pause")
        run.send("cancel-trial", 3)
        run.send("cancel")
        (run.path / "commands" / "99999999999999999999-abcd.json").write_text("{")
        assert [(c.verb, c.number) for c in run.take_commands()] == [
            ("pause", None),
            ("cancel-trial", 3),
            ("cancel", None),
        ]
        assert run.take_commands() == []
        run.send("cancel")
        for wrong in (("cancel-trial", None), ("pause", 3), ("stop", None)):
            with pytest.raises(AutoMLError):
                run.send(*wrong)
    with run.claim():
        assert run.take_commands() == []


def trials_of(journal_path):
    import optuna
    from optuna.storages.journal import JournalFileBackend

    storage = optuna.storages.JournalStorage(JournalFileBackend(str(journal_path)))
    return optuna.load_study(study_name="search", storage=storage).get_trials()


def test_journal_can_be_read_by_optuna_and_survives_kills(run):
    path = run.path / "journal.log"
    first = add(run, 0, scores={"mse": 2.0})
    journal = Journal(path, "min", "mse", [])
    for number in range(3):
        journal.asked(number, first.candidate, {"degree": number})
    journal.told(first)
    # killed while it wrote: half a line, the writer's lock still there; trial 1 is on disk but was not told
    with path.open("ab") as file:
        file.write(b'{"op_code": 6, "trial')
    Path(f"{path}.lock").symlink_to(path)
    second = add(run, 1, status="failed")
    start = time.monotonic()
    journal = Journal(path, "min", "mse", [first, second])
    assert time.monotonic() - start < 25  # Optuna itself would wait half a minute for the dead writer's lock
    assert [t.state.name for t in trials_of(path)] == ["COMPLETE", "FAIL", "FAIL"]
    # trial 2 left nothing; it is asked anew and gets an entry of its own
    journal.asked(2, first.candidate, {"degree": 2})
    journal.told(add(run, 2, scores={"mse": 1.0}))
    Journal(path, "min", "mse", run.trials())
    last = trials_of(path)[-1]
    assert (len(trials_of(path)), last.state.name, last.value, last.user_attrs["number"]) == (4, "COMPLETE", 1.0, 2)


def test_a_journal_needs_no_symbolic_links(run, monkeypatch):
    def refuse(*_):
        raise PermissionError("no symbolic links here")

    monkeypatch.setattr("os.symlink", refuse)
    path = run.path / "journal.log"
    Path(f"{path}.lock").touch()  # of a writer that was killed
    start = time.monotonic()
    Journal(path, "min", "mse", [add(run, 0, scores={"mse": 2.0})])
    assert time.monotonic() - start < 25
    monkeypatch.undo()
    assert [t.value for t in trials_of(path)] == [2.0]
    assert not list(run.path.glob("*.lock*"))


def _session(run):
    return session(run, "automl", verbosity="info", time_limit=None, begun=0.0)


def test_a_session_that_is_interrupted_ends_as_cancelled(run):
    with pytest.raises(KeyboardInterrupt), _session(run):
        raise KeyboardInterrupt
    assert run.state == "cancelled"
    assert run.read()["history"][-1]["reason"] == "interrupted"


def test_a_session_whose_refit_was_stopped_ends_as_cancelled(run):
    for state in ("running", "cancelled"):
        with _session(run) as own:
            run.set_state(state)
            own.stopped = "max_trials"
        assert run.state == {"running": "completed"}.get(state, state)


def test_a_damaged_journal_is_made_anew_from_the_trials(run, caplog):
    path = run.path / "journal.log"
    records = [add(run, n, scores={"mse": 1.0 + n}) for n in range(3)]
    path.write_bytes(b'{"broken\n{"more": 1}\n')
    repair(path)
    Journal(path, "min", "mse", records)
    assert [t.value for t in trials_of(path)] == [1.0, 2.0, 3.0]
    assert "damaged" in caplog.text
    assert len(list(run.path.glob("journal.log.broken-*"))) == 1
