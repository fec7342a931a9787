import os
import signal
import subprocess
import sys
import time
from concurrent.futures import CancelledError, Executor, wait

import pytest

from automl.compute import executor
from automl.errors import ConfigError
from automl.worker import InitializerError
from tests.automl import toy_task as toy
from tests.automl.helpers import ENVIRONMENT, alive, kill, wait_for


@pytest.fixture
def pool():
    pools = []

    def make(**kwargs):
        pools.append(executor("local", **kwargs))
        return pools[-1]

    yield make
    for p in pools:
        p.kill()


def test_results_and_errors_come_back(pool):
    p = pool(workers=2)
    assert isinstance(p, Executor)
    assert p.submit(divmod, 17, 5).result(60) == (3, 2)
    with pytest.raises(ZeroDivisionError):
        p.submit(divmod, 1, 0).result(60)
    assert list(p.map(abs, [-1, -2, 3])) == [1, 2, 3]
    assert p.submit(os.getpid).result(60) != os.getpid()


@pytest.mark.parametrize("code", [0, 7])
def test_a_worker_that_ends_itself_is_noticed_and_replaced(pool, code):
    p = pool()
    first = p.submit(os.getpid).result(60)
    for _ in range(5):
        with pytest.raises(Exception, match="Abnormal termination"):
            p.submit(os._exit, code).result(60)
    assert p.submit(os.getpid).result(60) != first


def test_stuck_work_is_killed_at_its_limit(pool):
    p = pool()
    stuck = p.submit(time.sleep, 1000, timeout=0.3)
    with pytest.raises(TimeoutError):
        stuck.result(60)
    assert stuck.done()
    assert p.submit(abs, -1).result(60) == 1


def test_cancel_kills_running_work(pool):
    p = pool()
    pid = p.submit(os.getpid).result(60)
    future = p.submit(time.sleep, 1000)
    wait_for(future.running)
    assert future.cancel()
    with pytest.raises(CancelledError):
        future.result(60)
    wait_for(lambda: not alive(pid), what="the worker's end")
    assert p.submit(abs, -1).result(60) == 1


def test_kill_ends_what_workers_started_too(pool, tmp_path):
    p = pool()
    mark = tmp_path / "pid"
    p.submit(subprocess.call, ["sh", "-c", f"echo $$ > {mark}; exec sleep 1000"])
    wait_for(lambda: mark.exists() and mark.read_text().strip(), what="the program")
    p.kill()
    wait_for(lambda: not alive(int(mark.read_text())), what="the program's end")


def test_threads_are_limited_by_environment_and_in_loaded_libraries(pool):
    p = pool(threads=1, preload=["numpy", "scipy.linalg"])
    assert p.submit(os.getenv, "OMP_NUM_THREADS").result(20) == "1"
    import threadpoolctl  # noqa: F401 - the workers need it

    infos = p.submit(_pools).result(20)
    assert infos
    assert {i["num_threads"] for i in infos} == {1}
    assert pool(threads=2).submit(os.getenv, "MKL_NUM_THREADS").result(20) == "2"


def _pools():
    from threadpoolctl import threadpool_info

    return threadpool_info()


def test_initializer_runs_once_a_worker_and_its_failure_is_the_tasks(pool):
    p = pool(initializer=("os:putenv", {}))
    with pytest.raises(InitializerError, match="os:putenv failed: TypeError"):
        p.submit(abs, -1).result(60)
    p = pool(initializer=("tests.automl.toy_task:see", {"value": 3}))
    assert [p.submit(toy.seen).result(60) for _ in range(3)] == [[3]] * 3


def test_unknown_backends_and_counts_are_refused():
    with pytest.raises(ConfigError, match="compute backend 'dask://x'"):
        executor("dask://x")
    with pytest.raises(ConfigError, match="at least 1"):
        executor(workers=0)


def test_what_workers_print_goes_to_the_file(pool, tmp_path):
    output = tmp_path / "workers.log"
    pool(output=output).submit(print, "hello from a worker", flush=True).result(60)
    assert output.read_text() == "hello from a worker\n"


PEAKS = """
from automl.worker import peak_mb, reset_peak
def peak_of(megabytes):
    assert reset_peak()
    bytearray(megabytes * 1_000_000)
    return peak_mb()
print(peak_of(1), peak_of(120), peak_of(1))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_peak_memory_is_that_of_one_task():
    # a process of its own: one that freed much before takes new memory from that
    told = subprocess.run([sys.executable, "-c", PEAKS], capture_output=True, text=True, check=True, timeout=60)
    low, high, again = map(float, told.stdout.split())
    assert 110 < high - low < 140
    assert again < high - 80


SCRIPT = """
import os, sys, time
print("script runs", flush=True)
from automl.compute import executor
pool = executor(workers=2)
pids = {pool.submit(os.getpid).result(20) for _ in range(4)}
print(*pids, flush=True)
"""


def run_script(tmp_path, extra, *, stdin):
    text = SCRIPT + extra
    (tmp_path / "script.py").write_text(text)
    arguments = [sys.executable] + (["-"] if stdin else [str(tmp_path / "script.py")])
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    source = (tmp_path / "script.py").open() if stdin else None
    process = subprocess.Popen(arguments, stdin=source, env=ENVIRONMENT, cwd=tmp_path, start_new_session=True, **pipes)
    if source:
        source.close()
    return process


@pytest.mark.parametrize("stdin", [False, True])
def test_a_script_without_main_guard_is_not_run_again_and_ends_by_itself(tmp_path, stdin):
    process = run_script(tmp_path, "", stdin=stdin)
    out, err = process.communicate(timeout=30)
    assert err == ""
    assert process.returncode == 0
    assert out.count("script runs") == 1
    pids = [int(p) for p in out.split("\n")[1].split()]
    assert pids
    wait_for(lambda: not any(map(alive, pids)), what="the workers' end")


SLEEP = """
futures = [pool.submit(time.sleep, 1000) for _ in range(2)]
time.sleep(1000)
"""
STUCK = """
import re
future = pool.submit(re.match, "(a*)*b", "a" * 40)
time.sleep(0.3)
print("stuck", flush=True)
time.sleep(1000)
"""


@pytest.mark.parametrize("work", [SLEEP, STUCK], ids=["sleeping", "holding the interpreter lock"])
def test_workers_end_with_a_killed_parent(tmp_path, work):
    process = run_script(tmp_path, work, stdin=False)
    assert process.stdout.readline() == "script runs\n"
    pids = [int(p) for p in process.stdout.readline().split()]
    if work is STUCK:
        process.stdout.readline()
    children = {int(p) for p in _descendants(process.pid)}
    assert children >= set(pids)
    kill(process)
    wait_for(lambda: not any(map(alive, children)), what="the end of workers and fork server")


def _descendants(pid):
    found = []
    listing = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(a): int(b) for a, b in (line.split() for line in listing.splitlines())}
    frontier = [pid]
    while frontier:
        parent = frontier.pop()
        children = [p for p, q in parents.items() if q == parent]
        found += children
        frontier += children
    return found


def test_ctrl_c_is_the_parents_business(pool):
    p = pool(workers=2)
    pids = {p.submit(os.getpid).result(60) for _ in range(6)}
    futures = [p.submit(time.sleep, 0.4) for _ in range(2)]
    wait_for(lambda: all(f.running() for f in futures))
    for pid in pids:
        os.kill(pid, signal.SIGINT)
    wait(futures, timeout=60)
    assert [f.result() for f in futures] == [None, None]
