"""`spark` and `spark://host:port`: tasks as Spark jobs of one partition each."""

from __future__ import annotations

import os
import re
import sys
import uuid
from typing import TYPE_CHECKING, Any

from automl import memory
from automl.engines.base import RETRIES, EngineExecutor
from automl.engines.connection import Shared, reach
from automl.engines.task import perform
from automl.errors import EngineError
from automl.worker import describe

if TYPE_CHECKING:
    from collections.abc import Callable

_session = Shared()
_LOCAL = re.compile(r"local(\[(\*|\d+)\])?")


class SparkExecutor(EngineExecutor):
    """Tasks on Spark; each takes `spark.task.cpus` cores, which a session of ours sets to the threads of a task.

    A task whose worker dies is run again three times; one past its limit or cancelled is killed within about two
    seconds. A process can have one session: the active one is used as it is and left open, with its own limits; else
    one is made, on the master that Spark's configuration names or on this machine, and stopped at the end.
    """

    def _open(self, place: tuple[str, int] | None) -> None:
        from pyspark import SparkContext

        def active() -> bool:
            return SparkContext._active_spark_context is not None  # noqa: SLF001 - there is no public way to ask

        if place is not None and not active():
            reach(self.name, place, "start a Spark master there, or correct the address")
        self._ours = _session.take(self.name, active, lambda: self._make(place is not None))
        self._context = SparkContext.getOrCreate()
        self._cpus = int(self._context.getConf().get("spark.task.cpus", "1"))

    def _make(self, remote: bool) -> None:
        """Start Java and a session; takes some ten seconds."""
        from pyspark import SparkConf, SparkContext

        try:
            SparkContext._ensure_initialized()  # noqa: SLF001 - the configuration is Java's to read
            conf = SparkConf()
            _configure(conf, self.name if remote else None, self._most, self._threads)
            SparkContext(conf=conf).setLogLevel("ERROR")
        except Exception as error:
            fix = "install Java 17 or later and set JAVA_HOME, or see what Spark wrote to stderr"
            raise EngineError(f"no Spark session at {self.name!r}: {describe(error)}. Fix: {fix}") from error

    def _slots(self) -> int:
        return int(self._context.defaultParallelism) // self._cpus

    def _start(self, work: bytes, done: Callable[[bytes | BaseException], None]) -> Any:
        from pyspark import InheritableThread

        group = f"forecastle-{uuid.uuid4().hex}"
        InheritableThread(target=self._run, args=(group, work, done), daemon=True, name=group).start()
        return group

    def _run(self, group: str, work: bytes, done: Callable[[bytes | BaseException], None]) -> None:
        try:
            self._context.setJobGroup(group, "forecastle", interruptOnCancel=True)
            answer = self._context.parallelize([work], 1).map(perform).collect()[0]
        except BaseException as error:  # noqa: BLE001 - whatever it is, the future gets it
            done(error)
        else:
            done(answer)

    def _stop(self, handle: Any) -> None:
        # the job may not have reached Spark yet
        self._context._jsc.sc().cancelJobGroupAndFutureJobs(handle)  # noqa: SLF001 - not in the Python interface

    def _close(self) -> None:
        if self._ours:
            _session.give_back(self._context.stop)


def _configure(conf: Any, master: str | None, workers: int | None, threads: int) -> None:
    """Settings of a session of ours; what the user has configured stands."""
    master = master or conf.get("spark.master", "local[*]")
    if _LOCAL.fullmatch(master):
        cores = (workers or max(1, memory.cores() // threads)) * threads
        master = f"local[{cores},{RETRIES + 1}]"  # plain local mode runs nothing twice
    if master.startswith("local"):
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        conf.setIfMissing("spark.driver.host", "127.0.0.1").setIfMissing("spark.driver.bindAddress", "127.0.0.1")
    conf.setMaster(master)
    conf.set("spark.app.name", "forecastle")
    conf.set("spark.task.maxFailures", str(RETRIES + 1)).set("spark.task.cpus", str(threads))
    # progress bars are on by default in what looks like a shell to Spark
    conf.setIfMissing("spark.ui.enabled", "false").set("spark.ui.showConsoleProgress", "false")
