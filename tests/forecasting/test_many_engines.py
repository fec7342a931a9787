"""Many models on real clusters of this machine: the same forecasts to the last bit, also after a worker was killed."""

import os
import signal
import threading
import time
from importlib.util import find_spec

import pandas as pd
import pytest

from automl.errors import EngineError
from tests.automl import clusters
from tests.automl.test_engines import with_stderr
from tests.forecasting.test_many import many, sales, split

pytestmark = pytest.mark.xdist_group("clusters")  # one cluster at a time: two fight for the cores


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """Rows on disk, and what one local process makes of them."""
    folder = tmp_path_factory.mktemp("engines")
    train, test = split(sales())
    train.to_parquet(folder / "train.parquet", index=False)
    future = test.drop(columns="sold")
    fitted = many(piece_rows=120).fit(folder / "train.parquet", path=folder / "local")
    return folder, future, fitted.predict(future, level=[80])


@pytest.fixture(scope="module", params=clusters.PACKAGES)
def address(request, cluster_of):
    if find_spec(clusters.PACKAGES[request.param]) is None:
        pytest.skip(f"{clusters.PACKAGES[request.param]} is not installed")
    return cluster_of(request.param)


def test_a_cluster_forecasts_what_one_process_does(local, address):
    folder, future, expected = local
    job = folder / address.partition(":")[0]
    try:
        fitted = with_stderr(lambda: many(piece_rows=120, compute=address).fit(folder / "train.parquet", path=job))
    except Exception as error:
        if address != "spark" or not isinstance(error.__cause__, EngineError):
            raise
        pytest.skip(f"Spark does not start here: {error}")
    pd.testing.assert_frame_equal(fitted.predict(future, level=[80]), expected, check_exact=True)


def test_a_killed_worker_costs_nothing(local, tmp_path):
    distributed = pytest.importorskip("distributed")
    folder, future, expected = local
    with clusters.dask() as where:
        with distributed.Client(where.replace("dask", "tcp")) as client:
            client.wait_for_workers(2)
            pids = list(client.run(os.getpid).values())
        job = tmp_path / "job"
        killed = []

        def kill():
            until = time.monotonic() + 60
            while time.monotonic() < until:
                if any((job / "status").glob("piece-*.parquet")):
                    os.kill(pids[0], signal.SIGKILL)
                    killed.append(pids[0])
                    return
                time.sleep(0.005)

        thread = threading.Thread(target=kill)
        thread.start()
        fitted = many(piece_rows=40, compute=where).fit(folder / "train.parquet", path=job)
        thread.join()
        assert killed == pids[:1]
        status = fitted.status()
        assert len(status) == len(status[["store", "brand"]].drop_duplicates()) == 16
        pd.testing.assert_frame_equal(fitted.predict(future, level=[80]), expected, check_exact=True)
