"""Sweeps of several processes into a server of objects; some are killed."""

import concurrent.futures
import multiprocessing
import os
import signal
import threading

import pytest
import xarray

import jaxsat
from jaxsat.results import locations, zarr_files
from jaxsat.results.locations import location_of
from jaxsat.results.store import Store
from jaxsat.results.verify import damages
from tests.sweeps.test_store_processes import PROGRAM, finish, start, until

FEW = PROGRAM.replace("seeds=480", "seeds=120")  # 60 chunks
pytestmark = pytest.mark.slow


@pytest.fixture
def at_server(object_server, monkeypatch, request):
    for key, value in object_server.items():
        monkeypatch.setenv(key, value)
    return f"s3://results/{request.node.name}"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    path = tmp_path_factory.mktemp("undisturbed") / "s"
    finish(start(path, program=FEW))
    return xarray.open_zarr(path, chunks=None).load()


def marks(address):
    return len(locations.files_below(location_of("test", address) / "chunk_counts" / "c"))


def check(address, undisturbed):
    place = location_of("test", address)
    found = xarray.open_zarr(zarr_files.store_of(place), chunks=None).load()
    xarray.testing.assert_identical(found.drop_attrs(), undisturbed.drop_attrs())
    assert not damages(Store(place))
    assert not locations.names_in(place / ".jaxsat" / "leases")


def test_killed_at_any_moment_it_ends_the_same(at_server, undisturbed):
    before = 0
    for wanted in (1, 20, 45):
        process = start(at_server, program=FEW)
        until(lambda process=process, wanted=wanted: marks(at_server) >= wanted or process.poll() is not None)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert before <= marks(at_server)
        before = marks(at_server)
    finish(start(at_server, program=FEW))
    check(at_server, undisturbed)


def test_processes_share_it_and_one_is_killed(at_server, undisturbed):
    first, second = start(at_server, program=FEW), start(at_server, program=FEW)
    until(lambda: marks(at_server) >= 4)
    first.kill()
    first.communicate()
    finish(second)
    check(at_server, undisturbed)


def test_an_executor_of_processes_and_one_is_killed(at_server, tmp_path):
    """Python's own pool ends with its process; the same again in a new pool does the rest."""
    arguments = jaxsat.MLP(depth=4, width=6), "log_gradient_norms", {"weight_scale": [0.5, 1.0, 3.0]}
    options = {"seeds": 5000, "progress": False}
    expected = jaxsat.sweep(*arguments, **options, store=tmp_path / "here").load()
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=spawn) as pool:
        pids = {pool.submit(os.getpid).result() for _ in range(4)}
        killer = threading.Timer(2.0, os.kill, (next(iter(pids)), signal.SIGKILL))
        killer.start()
        with pytest.raises(RuntimeError, match=r"Run the same again|terminated abruptly"):
            jaxsat.sweep(*arguments, **options, store=at_server, executor=pool)
        killer.join()
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=spawn) as pool:
        found = jaxsat.sweep(*arguments, **options, store=at_server, executor=pool).load()
    xarray.testing.assert_identical(found.drop_attrs(), expected.drop_attrs())
