import socket

import pytest

from automl import engines
from automl.compute import executor
from automl.engines import connection
from automl.engines import task as remote
from automl.errors import ConfigError, EngineError, MissingPackageError
from tests.automl import clusters
from tests.automl import toy_task as toy


@pytest.mark.parametrize("name", ["dask://x", "ray://", "spark://h:70000", "dask://h:1/x", "ray://user@h:1"])
def test_malformed_addresses_are_refused(name):
    with pytest.raises(ConfigError, match=f"compute backend '{name}' needs a host and a port, such as {name[:3]}"):
        executor(name)


@pytest.mark.parametrize("name", ["dask", "ray", "sparc", "dask:127.0.0.1:1"])
def test_unknown_names_are_refused(name):
    with pytest.raises(ConfigError, match=r"unknown compute backend.*Known: dask://host:port, local, ray://host:port"):
        executor(name)


@pytest.mark.parametrize("engine", clusters.PACKAGES)
def test_where_nobody_listens_is_told_at_once(engine):
    pytest.importorskip(clusters.PACKAGES[engine])
    name = f"{engine}://127.0.0.1:{clusters.free_port()}"
    with pytest.raises(EngineError, match=f"nothing answers at {name}: .*refused.*Fix: start"):
        executor(name)


def test_where_something_else_listens_is_told_in_time(monkeypatch):
    pytest.importorskip("distributed")
    assert connection.CONNECT_SECONDS < 15
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        name = f"dask://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(EngineError, match=f"{name}.*Fix: start"):
            executor(name)


@pytest.mark.parametrize(("engine", "extra"), [("dask", "distributed"), ("ray", "distributed"), ("spark", "spark")])
def test_a_missing_package_is_named_with_its_extra(engine, extra, monkeypatch):
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    with pytest.raises(
        MissingPackageError, match=rf"'{clusters.PACKAGES[engine]}'.*pip install 'forecastle\[{extra}\]'"
    ):
        executor(f"{engine}://127.0.0.1:1")


def test_tasks_of_two_executors_take_turns_in_one_process():
    def run(owner, value):
        initializer = ("tests.automl.toy_task:see", {"value": value})
        return remote.unpack(remote.perform(remote.pack(remote.Setup(owner, 1, initializer), toy.seen, (), {})))

    try:
        assert [run("a", 1)[-1], run("a", 1)[-1], run("b", 2)[-1], run("a", 1)[-1]] == [1, 1, 2, 1]
        assert toy.SEEN == [1, 2, 1]
    finally:
        toy.SEEN.clear()
