"""`dask://host:port`: tasks on the workers of a Dask scheduler."""

from __future__ import annotations

import threading
import uuid
from contextlib import suppress
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from automl.engines import connection
from automl.engines.base import EngineExecutor
from automl.engines.connection import reach, within
from automl.engines.task import perform

if TYPE_CHECKING:
    from collections.abc import Callable

_RESTART_SECONDS = 20
_ARRIVAL_SECONDS = 0.5


class DaskExecutor(EngineExecutor):
    """Tasks on a Dask cluster, one in each thread of its workers.

    A task whose worker dies is run again as often as the scheduler's `distributed.scheduler.allowed-failures` says (3).
    Dask cannot stop a running task. Where a worker has one thread and a nanny (`dask worker --nthreads 1`, which also
    suits these tasks best) the worker is restarted at a limit or cancellation; elsewhere the future ends at once, and
    the task keeps its thread until it returns. A thread limit stays in the worker when we have gone.
    """

    def _open(self, place: tuple[str, int] | None) -> None:
        from distributed import Client

        host, port = place or ("127.0.0.1", 8786)
        host = f"[{host}]" if ":" in host else host
        fix = f"start `dask scheduler --port {port}` there and a `dask worker`, or correct the address"
        reach(self.name, (host.strip("[]"), port), fix)

        def connect() -> Any:
            return Client(f"tcp://{host}:{port}", timeout=0.8 * connection.CONNECT_SECONDS, set_as_default=False)

        self._aborts: list[threading.Thread] = []
        self._client = within(self.name, connect, fix)

    def _slots(self) -> int:
        return sum(self._client.nthreads().values())

    def _start(self, work: bytes, done: Callable[[bytes | BaseException], None]) -> Any:
        future = self._client.submit(perform, work, key=f"forecastle-{uuid.uuid4().hex}", pure=False)
        future.add_done_callback(lambda f: done(_answer(f)))
        return future, monotonic()

    def _stop(self, handle: Any) -> None:
        thread = threading.Thread(
            target=self._abort, args=handle, daemon=True
        )  # takes seconds, and nobody waits for it
        self._aborts.append(thread)
        thread.start()

    def _abort(self, future: Any, sent: float) -> None:
        """Cancel a task, and restart the worker that runs it, if it runs nothing else."""
        with suppress(Exception):  # no nanny, or the worker or the whole cluster is gone: nothing left to stop
            workers = self._workers_of(future.key, sent)
            future.cancel()
            threads = self._client.nthreads(workers) if workers else {}
            alone = [address for address, count in threads.items() if count == 1]
            if alone:
                self._client.restart_workers(alone, timeout=_RESTART_SECONDS, raise_for_error=False)

    def _workers_of(self, key: str, sent: float) -> list[str]:
        """Workers that have the task; one just sent may not have arrived anywhere, and could start after we looked."""
        while True:
            found = [address for address, keys in self._client.processing().items() if key in keys]
            if found or monotonic() - sent > _ARRIVAL_SECONDS:
                return found
            sleep(_ARRIVAL_SECONDS / 10)

    def _close(self) -> None:
        for thread in self._aborts:
            thread.join(_RESTART_SECONDS)
        self._client.close()


def _answer(future: Any) -> bytes | BaseException:
    """What became of a Dask future, without raising: the callback's thread would swallow it."""
    try:
        answer: bytes = future.result()
    except BaseException as error:  # noqa: BLE001 - CancelledError is none of Exception's
        return error
    return answer
