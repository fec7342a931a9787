"""Real clusters on this machine for the tests of engines: each a context that yields the address."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from automl.compute import executor
from automl.errors import EngineError
from tests.automl.helpers import ENVIRONMENT, ROOT, wait_for

PACKAGES = {"dask": "distributed", "ray": "ray", "spark": "pyspark"}
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}
# without gRPC's fork handlers: one start in four of Ray's server for a client hangs in them on a busy machine
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "GRPC_ENABLE_FORK_SUPPORT": "0"}


@contextmanager
def dask():
    port = free_port()
    scheduler = ["distributed.cli.dask_scheduler", "--port", str(port)]
    workers = ["distributed.cli.dask_worker", f"tcp://127.0.0.1:{port}", "--nworkers", "2", "--nthreads", "1"]
    common = ["--host", "127.0.0.1", "--no-dashboard"]
    with scratch() as folder, running([*scheduler, *common]):
        wait_for(lambda: listens(port), 30, "the Dask scheduler")
        with running([*workers, "--local-directory", str(folder), *common]):
            yield f"dask://127.0.0.1:{port}"


@contextmanager
def ray():
    """A Ray head that has answered: on a busy machine some never do, and one is started anew.

    The connection is held open, as a process can have only one, so that tests share it.
    """
    with ExitStack() as stack:
        for attempt in range(2):
            address = stack.enter_context(ray_head())
            try:
                held = executor(address)
            except EngineError as error:
                stack.close()
                if "connection timeout" not in str(error):
                    raise
                if attempt:
                    pytest.skip(f"Ray's heads were started twice and answered no client: {error}")
            else:
                stack.callback(held.kill)
                yield address
                return


@contextmanager
def ray_head():
    gcs, client = free_port(), free_port()
    head = ["ray.scripts.scripts", "start", "--head", "--block", "--num-cpus=2", "--node-ip-address=127.0.0.1"]
    ports = [f"--port={gcs}", f"--ray-client-server-port={client}", "--include-dashboard=false"]
    with scratch() as folder, environment(TOKEN | QUIET):
        storage = [f"--temp-dir={folder}", "--object-store-memory=80000000"]
        with running([*head, *ports, *storage]):
            wait_for(lambda: listens(client), 60, "the Ray Client server")
            yield f"ray://127.0.0.1:{client}"


@contextmanager
def spark():
    with environment({"PYTHONPATH": str(ROOT)}):
        yield "spark"


@contextmanager
def environment(values):
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def running(module_and_arguments):
    """A program in a session of its own, ended politely, so that it ends its children, and for good after that."""
    command = [sys.executable, "-m", *module_and_arguments]
    settings = ENVIRONMENT | os.environ | {"PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env=settings, stdout=log, stderr=log, start_new_session=True)
        try:
            yield process
        except BaseException as error:
            log.seek(0)
            error.add_note(f"{command[2]}:\n{log.read().decode(errors='replace')[-4000:]}")
            raise
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


@contextmanager
def scratch():
    folder = Path(tempfile.mkdtemp(prefix="fc", dir="/tmp"))  # sockets lie in it: the path must be short
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
