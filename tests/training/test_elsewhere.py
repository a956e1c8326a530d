"""Trainings through an executor: the same bits, whoever trains them and whatever dies."""

import concurrent.futures
import multiprocessing
import os
import signal

import numpy as np
import optax
import pytest

import jaxsat
from jaxsat.training import training_program
from tests.sweeps.small_sweeps import Unreliable, same

RNG = np.random.default_rng(0)
DATA = RNG.normal(size=(24, 3)), RNG.integers(0, 2, 24)
NET = jaxsat.MLP(depth=2, width=4, inputs=3, outputs=2)


def run(**options):
    defaults = {
        "optimizer": optax.sgd,
        "over": {"activation": ["tanh", "relu"], "learning_rate": [0.1, 1.0]},
        "epochs": 3,
    }
    return jaxsat.train(NET, DATA, batch_size=8, seeds=3, record_every=3, progress=False, **(defaults | options))


@pytest.fixture
def several_tiles(monkeypatch):
    monkeypatch.setattr(training_program, "tile_size", lambda net: 4)


@pytest.mark.usefixtures("several_tiles")
def test_results_are_the_same_bits_though_workers_die(tmp_path):
    expected, executor = run(), Unreliable(failures=2)
    same(run(store=tmp_path / "s", executor=executor), expected)
    assert executor.calls == 2 * 2 + 2  # 6 networks in tiles of 4 for either activation, and two calls that failed
    same(run(store=tmp_path / "s", executor=executor), expected)
    assert executor.calls == 6, "what is done is not submitted again"


@pytest.mark.usefixtures("several_tiles")
def test_what_fails_for_good_is_said_and_can_be_made_good(tmp_path):
    with pytest.raises(
        RuntimeError, match=r"train: 4 of 4 tasks could not be computed by `executor`.*the worker is gone"
    ):
        run(store=tmp_path / "s", executor=Unreliable(failures=10**6))
    same(run(store=tmp_path / "s"), run())


def test_a_store_is_needed():
    with pytest.raises(ValueError, match=r"train: `executor` must come with a `store`; got store=None"):
        run(executor=Unreliable(0))


@pytest.mark.slow
def test_processes_train_it_and_a_killed_pool_leaves_checkpoints_that_go_on(tmp_path):
    expected = run()
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=spawn) as pool:
        os.kill(pool.submit(os.getpid).result(), signal.SIGKILL)
        with pytest.raises(RuntimeError, match=r"Run the same again|terminated abruptly"):
            run(store=tmp_path / "s", executor=pool)
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=spawn) as pool:
        found = run(store=tmp_path / "s", executor=pool)
    same(found, expected)
