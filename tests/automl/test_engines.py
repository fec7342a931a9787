import os
import signal
import sys
import tempfile
import time
from concurrent.futures import CancelledError, Executor, wait
from concurrent.futures.process import BrokenProcessPool
from importlib.util import find_spec

import pytest

from automl.compute import executor
from automl.errors import EngineError
from automl.worker import InitializerError
from tests.automl import cluster_tasks as tasks
from tests.automl import clusters
from tests.automl import toy_task as toy
from tests.automl.helpers import alive, wait_for

PATIENCE = 60

pytestmark = pytest.mark.xdist_group("clusters")  # one cluster at a time: two fight for the cores


@pytest.fixture(scope="module", params=clusters.PACKAGES)
def cluster(request, cluster_of):
    """Address of a cluster that really runs, and an executor on it."""
    engine = request.param
    if sys.platform == "win32" or find_spec(clusters.PACKAGES[engine]) is None:
        pytest.skip(f"{clusters.PACKAGES[engine]} is not installed, or this is Windows")
    address = cluster_of(engine)
    try:
        pool = with_stderr(
            lambda: executor(address, workers=2, initializer=("tests.automl.toy_task:see", {"value": 3}))
        )
    except _StartError as error:
        if engine != "spark":
            raise
        pytest.skip(f"Spark does not start here: {error}")
    yield address, pool
    pool.kill()


class _StartError(Exception):
    pass


def with_stderr(make):
    """What `make` returns; its failure with what it, or a Java it started, wrote to stderr."""
    with tempfile.TemporaryFile() as file:
        before = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            return make()
        except EngineError as error:
            file.seek(0)
            raise _StartError(f"{error}\n{file.read().decode(errors='replace')}") from error
        finally:
            os.dup2(before, 2)
            os.close(before)


def test_results_and_errors_come_back(cluster):
    _, pool = cluster
    assert isinstance(pool, Executor)
    wait_for(lambda: pool.workers == 2, what="both workers")
    assert list(pool.map(abs, range(-12, 0))) == list(range(12, 0, -1))
    with pytest.raises(ZeroDivisionError, match="by zero") as caught:
        pool.submit(divmod, 1, 0).result(PATIENCE)
    assert "perform" in caught.value.__notes__[0]
    with pytest.raises(RuntimeError, match="OddError: 1 is not 2"):
        pool.submit(tasks.odd).result(PATIENCE)
    with pytest.raises(SystemExit, match="3"):
        pool.submit(sys.exit, 3).result(PATIENCE)
    with pytest.raises(Exception, match="pickle"):
        pool.submit(abs, lambda: 0).result(PATIENCE)


def test_workers_are_set_up_once(cluster):
    _, pool = cluster
    looks = [f.result(PATIENCE) for f in [pool.submit(tasks.look) for _ in range(6)]]
    assert os.getpid() not in {pid for pid, _, _ in looks}
    assert [seen for _, seen, _ in looks] == [[3]] * 6
    assert [threads for _, _, threads in looks] == [{1}] * 6


def test_a_killed_workers_task_is_run_again(cluster, tmp_path):
    _, pool = cluster
    log = tmp_path / "log"
    futures = [pool.submit(tasks.note, log, number, 0.5) for number in range(8)]
    wait_for(lambda: len(toy.lines(log, "start")) >= 2, PATIENCE, "tasks")
    number, pid = map(int, toy.lines(log, "start")[-1].split())
    os.kill(pid, signal.SIGKILL)
    assert [f.result(PATIENCE) for f in futures] == [n * n for n in range(8)]
    numbers = toy.numbers(log, "start")
    assert set(numbers) == set(range(8))
    assert numbers.count(number) == 2


def test_a_task_that_kills_its_workers_is_given_up(cluster, tmp_path):
    address, pool = cluster
    log = tmp_path / "log"
    with pytest.raises(EngineError, match=f"{address} gave up a task"):
        pool.submit(tasks.die, log).result(PATIENCE)
    assert len(toy.lines(log, "start")) == 4
    assert pool.submit(abs, -1).result(PATIENCE) == 1


def test_stuck_work_is_stopped(cluster, tmp_path):
    _, pool = cluster
    log = tmp_path / "log"
    late = pool.submit(tasks.note, log, 1, 1000, timeout=2)
    unwanted = pool.submit(tasks.note, log, 2, 1000)
    wait_for(lambda: len(toy.lines(log, "start")) == 2, PATIENCE, "both tasks")
    pids = [int(line.split()[1]) for line in toy.lines(log, "start")]
    assert unwanted.running()
    assert unwanted.cancel()
    assert not wait([late, unwanted], timeout=60).not_done
    with pytest.raises(TimeoutError):
        late.result(0)
    with pytest.raises(CancelledError):
        unwanted.result(0)
    wait_for(lambda: not any(map(alive, pids)), PATIENCE, "the workers' end")
    assert pool.submit(abs, -1).result(PATIENCE) == 1


def test_our_end_is_not_the_clusters(cluster):
    address, pool = cluster
    with executor(address, initializer=("os:putenv", {})) as other:
        with pytest.raises(InitializerError, match="os:putenv failed: TypeError"):
            other.submit(abs, -1).result(PATIENCE)
        later = other.submit(time.sleep, 0.1)
    assert isinstance(later.exception(0), InitializerError)
    with pytest.raises(BrokenProcessPool, match="shut down"):
        other.submit(abs, -1)
    assert pool.submit(toy.seen).result(PATIENCE)[-1] == 3
    other = executor(address)
    futures = [other.submit(time.sleep, 1000) for _ in range(5)]
    other.kill()
    assert all(f.cancelled() for f in futures)
    assert pool.submit(abs, -1).result(PATIENCE) == 1
