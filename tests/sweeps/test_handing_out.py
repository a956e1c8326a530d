"""Sweeps whose chunks an executor computes: the same bits, whoever does them and whatever dies."""

import concurrent.futures
import multiprocessing
import os
import signal

import numpy as np
import pytest

import jaxsat
from jaxsat.results import executors
from tests.sweeps.small_sweeps import Unreliable, same

NET = jaxsat.MLP(depth=4, width=6)
OVER = {"activation": ["tanh", "relu"], "weight_scale": [0.5, 1.0, 3.0]}


def run(**options):
    return jaxsat.sweep(NET, "log_gradient_norms", OVER, seeds=9, progress=False, **options)


@pytest.mark.usefixtures("small")
def test_results_are_the_same_bits_though_workers_die(tmp_path):
    expected = run(store=tmp_path / "here").load()
    executor = Unreliable(failures=2)
    same(run(store=tmp_path / "there", executor=executor), expected)
    assert executor.calls > 3
    calls = executor.calls
    same(run(store=tmp_path / "there", executor=executor), expected)
    assert executor.calls == calls, "what is done is not submitted again"


@pytest.mark.usefixtures("small")
def test_what_fails_for_good_is_said_and_can_be_made_good(tmp_path):
    with pytest.raises(RuntimeError, match=r"tasks could not be computed by `executor`.*the worker is gone"):
        run(store=tmp_path / "s", executor=Unreliable(failures=10**6))
    same(run(store=tmp_path / "s"), run(store=tmp_path / "here").load())


def test_bad_executors(tmp_path):
    with pytest.raises(TypeError, match="`executor` must have a method `submit`, as executors have; got int"):
        executors.check_executor("sweep", 3, tmp_path / "s")
    with pytest.raises(ValueError, match=r"`executor` must come with a `store`; got store=None"):
        run(executor=Unreliable(0))


def test_arguments_that_cannot_travel_are_named(monkeypatch):
    monkeypatch.setattr(executors.importlib, "import_module", lambda name: 1 / 0)  # no cloudpickle
    with pytest.raises(TypeError, match=r"`executor` must get arguments that can be pickled.*install cloudpickle"):
        executors.pickled("sweep", {"measure": lambda net, key, x: {}})


@pytest.mark.slow
def test_processes_compute_it_and_a_killed_pool_leaves_a_store_that_goes_on(tmp_path):
    expected = run(store=tmp_path / "here").load()
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=spawn) as pool:
        pids = {pool.submit(os.getpid).result() for _ in range(4)}
        os.kill(next(iter(pids)), signal.SIGKILL)
        with pytest.raises(RuntimeError, match=r"Run the same again|terminated abruptly"):
            run(store=tmp_path / "there", executor=pool)
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=spawn) as pool:
        found = run(store=tmp_path / "there", executor=pool).load()
    np.testing.assert_array_equal(found.log_gradient_norms.values, expected.log_gradient_norms.values)
    same(found, expected)
