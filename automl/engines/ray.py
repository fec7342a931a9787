"""`ray://host:port`: tasks on a Ray cluster, through its Ray Client server."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from automl.engines.base import RETRIES, EngineExecutor
from automl.engines.connection import Shared, reach, within
from automl.engines.task import perform

if TYPE_CHECKING:
    from collections.abc import Callable

_connection = Shared()
_START_SECONDS = 75.0
"""Time for a Ray Client server to start a server of its own for us, twice."""


class RayExecutor(EngineExecutor):
    """Tasks on a Ray cluster; each takes as many of its CPUs as it may use threads.

    A task whose worker dies is run again three times; one past its limit or cancelled is killed. A process can be
    connected to one Ray cluster: a connection that the program has already (`ray.init`) is used as it is and left open.
    Clusters that ask for a token take it from `RAY_AUTH_MODE=token` and `RAY_AUTH_TOKEN`. Connecting that takes half a
    minute now and then is Ray's head hanging in a fork; `GRPC_ENABLE_FORK_SUPPORT=0` in the head's environment helps.
    """

    def _open(self, place: tuple[str, int] | None) -> None:
        import ray

        host, port = place or ("127.0.0.1", 10001)
        fix = (
            f"start `ray start --head --ray-client-server-port {port}` there with the same versions of Python and "
            "Ray (pip install 'ray[client]'), set RAY_AUTH_TOKEN if it asks for a token, or correct the address"
        )
        reach(self.name, (host, port), fix)
        self._ours = _connection.take(self.name, ray.is_initialized, lambda: self._connect(fix))
        self._remote = ray.remote(perform).options(num_cpus=self._threads, max_retries=RETRIES, retry_exceptions=False)

    def _connect(self, fix: str) -> None:
        import ray

        def connect() -> None:
            try:
                self._init()
            except ConnectionError as error:
                if "connection timeout" in str(error):  # no Ray there
                    raise
                # the server made for us may die of a fork beside gRPC's threads: Ray's own race, won by trying again
                ray.shutdown()
                self._init()

        within(self.name, connect, fix, _START_SECONDS)

    def _init(self) -> None:
        import ray

        with warnings.catch_warnings():
            # a slow head is told of as a warning while Ray goes on trying; what comes of it is an answer or an error
            warnings.filterwarnings("ignore", message="Ray Client connection timed out")
            ray.init(address=self.name, logging_level="error", log_to_driver=False)

    def _slots(self) -> int:
        import ray

        return int(ray.cluster_resources().get("CPU", 0)) // self._threads

    def _start(self, work: bytes, done: Callable[[bytes | BaseException], None]) -> Any:
        reference = self._remote.remote(work)
        future = reference.future()
        future.add_done_callback(lambda f: done(f.exception() or f.result()))
        return reference

    def _stop(self, handle: Any) -> None:
        import ray

        ray.cancel(handle, force=True)

    def _close(self) -> None:
        import ray

        if self._ours:
            _connection.give_back(ray.shutdown)
