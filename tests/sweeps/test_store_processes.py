"""Stored sweeps of several processes, some of which are killed."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import xarray

from jaxsat.results.store import Store

PROGRAM = """
import os, sys
import jax
import jaxsat
from jaxsat.sweeps import plan
from jaxsat.sweeps.tiles import Tile
if len(sys.argv) > 2:
    jax.config.update("jax_enable_recoverability", True)
    jax.distributed.initialize(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    assert jax.process_count() == int(sys.argv[3])
Tile.of = lambda net, lengths, *_: Tile(4, tuple(lengths))
plan.chunk_lengths = lambda request, programs: {"activation": 1, "weight_scale": 2, "seed": 4}
print("at work", flush=True)
ds = jaxsat.sweep(
    jaxsat.MLP(depth=40, width=32, weight_scale=20.0), "log_gradient_norms",
    {"activation": ["tanh", "sin"], "weight_scale": [5.0, 20.0]}, seeds=480, store=sys.argv[1], progress=False,
)
ds.load()
print("done", flush=True)
if len(sys.argv) > 2:
    if sys.argv[4] == "0":
        input()  # the coordinator leaves last
    os._exit(0)  # without waiting for processes that were killed
"""


def start(path, *arguments, devices=1, program=PROGRAM):
    env = os.environ | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}", "JAX_ENABLE_X64": "0"}
    return subprocess.Popen(
        [sys.executable, "-c", program, str(path), *map(str, arguments)], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def finish(process):
    out = process.communicate("\n", timeout=200)[0]
    assert process.returncode == 0, out


def until(condition, seconds=100.0):
    deadline = time.time() + seconds
    while not condition():
        assert time.time() < deadline
        time.sleep(0.005)


def marks(path):
    return len(list(pathlib.Path(path).glob("chunk_counts/c/*/*/*/0")))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    path = tmp_path_factory.mktemp("undisturbed") / "s"
    finish(start(path))
    return xarray.open_zarr(path, chunks=None).load()


def check(path, undisturbed):
    found = xarray.open_zarr(path, chunks=None).load()
    xarray.testing.assert_identical(found.drop_attrs(), undisturbed.drop_attrs())
    assert int(found.chunk_counts[..., 0].sum()) == 2 * 2 * 480
    assert not list((pathlib.Path(path) / ".jaxsat" / "leases").iterdir())


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_the_same(tmp_path, undisturbed):
    """Five times, each later in the work; between them the store is readable, and what is marked is right."""
    path, before = tmp_path / "s", 0
    for wanted in (1, 20, 60, 110, 170):
        process = start(path)
        until(lambda process=process, wanted=wanted: marks(path) >= wanted or process.poll() is not None)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        found = xarray.open_zarr(path, chunks=None)
        done = np.asarray(found.chunk_counts[..., 0])
        assert before <= marks(path)
        before = marks(path)
        for a, _, s in np.argwhere(done > 0):
            part = {"activation": slice(a, a + 1), "weight_scale": slice(None), "seed": slice(4 * s, 4 * s + 4)}
            xarray.testing.assert_equal(found.isel(part).log_gradient_norms, undisturbed.isel(part).log_gradient_norms)
    finish(start(path))
    check(path, undisturbed)


@pytest.mark.slow
def test_devices_do_not_matter(tmp_path, undisturbed):
    finish(start(tmp_path / "s", devices=8))
    check(tmp_path / "s", undisturbed)


@pytest.mark.slow
def test_processes_share_a_store(tmp_path, undisturbed):
    """Two that know nothing of each other; one is killed, the other does its part."""
    path = tmp_path / "s"
    first, second = start(path), start(path)
    until(lambda: marks(path) >= 4)
    first.kill()
    first.communicate()
    finish(second)
    check(path, undisturbed)


@pytest.mark.slow
def test_hosts_of_jax_distributed_share_a_store(tmp_path, undisturbed):
    """Three processes; one is killed and started again."""
    path, port = tmp_path / "s", 20_000 + os.getpid() % 10_000
    processes = [start(path, f"localhost:{port}", 3, i) for i in range(3)]
    until(lambda: marks(path) >= 4)
    processes[2].kill()
    processes[2].communicate()
    again = start(path)  # outside: the coordinator need not know it
    for process in (processes[1], again, processes[0]):
        finish(process)
    check(path, undisturbed)
    hosts = {run["host"] for run in Store(path).runs()}
    assert hosts
    # The killed one leaves no record, and the one that takes its place may find everything done.
    assert len(Store(path).runs()) >= 2
    assert re.fullmatch(r"[\w.-]+", hosts.pop())
