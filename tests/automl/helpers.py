"""What the engine's tests share: running a search here, or in a process of its own that may be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from automl.budget import Deadline, ExitCriteria
from automl.runs import Run
from automl.search import Search
from tests.automl import toy_task as toy

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def make_search(
    folder: Path, candidates=toy.GOOD, *, name="run", workers=1, trials=None, pause=0.0, n=60, **more
) -> Search:
    """A search in `folder/name`, which is taken up when it exists."""
    path = folder / name
    run = Run.open(path) if path.exists() else Run.create(path, task="toy", settings={}, seed=1)
    more.setdefault("criteria", ExitCriteria(max_trials=trials, early_stopping=False))
    more.setdefault("metric_name", "mse")
    more.setdefault("direction", "min")
    task = (toy.TARGET, {"log": str(folder / f"{name}.log"), "pause": pause, "n": n})
    return Search(run, task=task, candidates=candidates, seed=1, workers=workers, preload=["numpy"], **more)


def do_search(folder: Path, candidates=toy.GOOD, *, limit: float | None = None, **more):
    """Search to the end. Returns (outcome, run)."""
    with make_search(folder, candidates, **more) as search:
        outcome = search.run(Deadline.after(limit))
        search.run_directory.set_state("completed")
        return outcome, search.run_directory


def essence(run: Run) -> list:
    """What must not depend on workers, kills or time, with the predictions' bytes."""
    return [
        (t.number, t.learner, dict(t.params), t.status, repr(t.scores), [p.read_bytes() for p in arrays(t)])
        for t in run.trials()
    ]


def arrays(record) -> list[Path]:
    return sorted(record.path.glob("*.npy"))


SCRIPT = """
# no main guard: that is the point
from pathlib import Path
from tests.automl import helpers, toy_task as toy
from automl.candidates import Candidate
print("script runs", flush=True)
outcome, run = helpers.do_search(Path({folder!r}), {candidates}, {arguments})
print("script ends", outcome.stopped_because, len(outcome.records), flush=True)
"""


def start_script(folder: Path, candidates="toy.GOOD", arguments="", *, stdin=False) -> subprocess.Popen:
    """A user's script in a process (and session) of its own; from standard input when asked."""
    text = SCRIPT.format(folder=str(folder), candidates=candidates, arguments=arguments)
    file = folder / "user_script.py"
    file.write_text(text, encoding="utf-8")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    common = {"env": ENVIRONMENT, "cwd": folder, "start_new_session": True, **pipes}
    if not stdin:
        return subprocess.Popen([sys.executable, str(file)], **common)
    with file.open(encoding="utf-8") as source:
        return subprocess.Popen([sys.executable, "-"], stdin=source, **common)


def finish(process: subprocess.Popen, seconds: float = 30) -> tuple[str, str]:
    try:
        return process.communicate(timeout=seconds)
    finally:
        if process.poll() is None:
            kill(process)


def kill(process: subprocess.Popen) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)


def wait_for(condition, seconds: float = 15, what: str = "something") -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s in vain for {what}"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def workers_of(log: Path) -> set[int]:
    return {int(line.split()[1]) for line in toy.lines(log, "start")}


def stored(run_path: Path) -> set[int]:
    return {int(p.name) for p in (run_path / "trials").iterdir() if p.name.isdigit()}
