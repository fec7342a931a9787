"""How worker processes of this machine are started: clean, cheap, and without running the user's script again."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from contextlib import contextmanager
from multiprocessing import context as mp_context
from multiprocessing import spawn, util
from time import monotonic
from typing import TYPE_CHECKING, Any

from automl.worker import THREAD_VARIABLES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.context import BaseContext
    from multiprocessing.process import BaseProcess

_GRACE = 0.05
_LOCK = threading.RLock()

Kind = tuple[int, tuple[str, ...]]
"""Threads a worker and modules it has from the start."""


def worker_context(threads: int, preload: tuple[str, ...]) -> BaseContext:
    """Multiprocessing context that starts workers from our own fork server, or spawns them on Windows."""
    return _Context((threads, preload))


class _Mixin:
    """What pebble's workers need beyond a plain process: die with all their children, and be missed when they do."""

    _dead_since: float | None = None

    def terminate(self) -> None:
        """Kill the worker and what it started (Prophet runs a program of its own); a stuck one hears nothing else."""
        process: Any = self
        if process.pid is None:
            return
        if sys.platform != "win32":
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):  # not yet the leader of its group, or gone
                process.kill()
        else:
            process.kill()

    def is_alive(self) -> bool:
        """Whether it runs, or died so short a time ago that its last message may not have been read yet.

        Pebble would otherwise lose a task whose worker dies right after taking it, and wait for it for ever.
        """
        if super().is_alive():  # type: ignore[misc]
            return True
        if self._dead_since is None:
            self._dead_since = monotonic()
        return monotonic() - self._dead_since < _GRACE

    @property
    def exitcode(self) -> int | None:
        """Exit code; 0 becomes 256, because no worker of a pool ever ends well by itself."""
        code: int | None = super().exitcode  # type: ignore[misc]
        return 256 if code == 0 else code


if sys.platform != "win32":
    from multiprocessing import forkserver, popen_forkserver
    from multiprocessing.reduction import dump

    _servers: dict[tuple[int, Kind], forkserver.ForkServer] = {}

    class _Popen(popen_forkserver.Popen):
        """Starts a worker without telling it where the user's script lies, so that it cannot run it again."""

        def _launch(self, process_obj: Any) -> None:
            preparation = spawn.get_preparation_data(process_obj.name)
            preparation = {k: v for k, v in preparation.items() if not k.startswith("init_main")}
            buffer = io.BytesIO()
            mp_context.set_spawning_popen(self)
            try:
                dump(preparation, buffer)
                dump(process_obj, buffer)
            finally:
                mp_context.set_spawning_popen(None)
            self.sentinel, data = _server(process_obj.kind).connect_to_new_process(self._fds)  # type: ignore[attr-defined]
            # as long as this duplicate is open the worker knows that we live
            life = os.dup(data)
            self.finalizer = util.Finalize(self, _close, (life, self.sentinel))
            with open(data, "wb") as pipe:  # noqa: PTH123 - a descriptor, not a path
                pipe.write(buffer.getbuffer())
            self.pid = forkserver.read_signed(self.sentinel)

    class _Process(_Mixin, mp_context.ForkServerProcess):
        kind: Kind

        @staticmethod
        def _Popen(process_obj: BaseProcess) -> Any:  # noqa: N802 - the standard library's name
            return _Popen(process_obj)

    class _Base(mp_context.ForkServerContext):
        pass

    def _server(kind: Kind) -> forkserver.ForkServer:
        """Our own fork server: the module-wide one of the standard library may run with other modules loaded."""
        key = (os.getpid(), kind)  # a forked copy of this process needs servers of its own
        threads, preload = kind
        with _LOCK:
            if key not in _servers:
                _servers[key] = forkserver.ForkServer()
                _servers[key].set_forkserver_preload(["automl.compute", "pebble.pool.process", *preload])
            with _environment(threads), _no_interrupts():
                _servers[key].ensure_running()
            return _servers[key]

    def _close(*handles: int) -> None:
        for handle in handles:
            os.close(handle)

    @contextmanager
    def _no_interrupts() -> Iterator[None]:
        """Start a child that never hears Ctrl-C (the mask is inherited); we handle it."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

else:

    class _Process(_Mixin, mp_context.SpawnProcess):
        kind: Kind

        @staticmethod
        def _Popen(process_obj: BaseProcess) -> Any:  # noqa: N802 - the standard library's name
            with _LOCK, _environment(process_obj.kind[0]), _hidden_script():
                return mp_context.SpawnProcess._Popen(process_obj)  # noqa: SLF001

    class _Base(mp_context.SpawnContext):
        pass

    @contextmanager
    def _hidden_script() -> Iterator[None]:
        """Make the user's script look like an interactive session while a process is spawned."""
        import __main__

        own = __main__.__dict__
        hidden = {name: own.pop(name) for name in ("__file__", "__spec__") if name in own}
        own["__spec__"] = None
        try:
            yield
        finally:
            del own["__spec__"]
            own.update(hidden)


class _Context(_Base):
    """A context whose processes are of one kind."""

    def __init__(self, kind: Kind) -> None:
        super().__init__()
        self._kind = kind

    def Process(self, *args: Any, **kwargs: Any) -> BaseProcess:  # type: ignore[override]  # noqa: N802 - as inherited
        """Make a process of our kind."""
        process = _Process(*args, **kwargs)
        process.kind = self._kind
        return process


@contextmanager
def _environment(threads: int) -> Iterator[None]:
    """Thread counts for libraries that read them when they are loaded."""
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
