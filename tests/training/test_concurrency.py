"""Works that go on at the same time: each ends as if it were alone, and an error stops what has not begun."""

import threading

import jax
import jax.numpy as jnp
import optax
import pytest
import xarray

import jaxsat
from jaxsat.training import concurrency, recording, training_program
from tests.training.by_hand import NET, run


def test_works_overlap_up_to_the_number_asked_for_and_never_beyond():
    """Three stages wait for each other at a barrier, which they pass only together."""
    together, under_way, most, here = threading.Barrier(3, timeout=30), 0, 0, threading.get_ident()
    counting = threading.Lock()

    def stage(number):
        nonlocal under_way, most
        with counting:
            under_way += 1
            most = max(most, under_way)
        together.wait()
        with counting:
            under_way -= 1
        return number, threading.get_ident()

    def work(number):
        total = 10 * number
        for step in range(2):
            found, thread = yield lambda step=step: stage(step)
            assert thread != here
            assert threading.get_ident() == here, "between its stages a work goes on in the caller's thread"
            total += found + 1
        return total

    found = concurrency.side_by_side({number: work(number) for number in range(6)}, at_once=3)
    assert found == {number: 10 * number + 3 for number in range(6)}
    assert most == 3


def test_an_error_ends_all_and_nothing_more_is_begun():
    begun = []

    def failing():
        begun.append("failing")
        yield lambda: 1 / 0

    def other(number):
        begun.append(number)
        yield lambda: None

    works = {"failing": failing(), **{number: other(number) for number in range(50)}}
    with pytest.raises(ZeroDivisionError):
        concurrency.side_by_side(works, at_once=2)
    assert len(begun) < 50


@pytest.mark.parametrize("double", [True, False])
def test_a_stage_sees_the_precision_of_its_caller(double):
    def work():
        return (yield lambda: jnp.arange(2.0).dtype)

    with jax.enable_x64(double):
        found = concurrency.side_by_side({0: work(), 1: work()}, at_once=2)
    assert found == dict.fromkeys(range(2), jnp.float64 if double else jnp.float32)


def test_networks_are_the_same_bits_however_many_tiles_are_under_way(monkeypatch, tmp_path):
    monkeypatch.setattr(training_program, "tile_size", lambda net: 2)
    request = {
        "over": {"weight_scale": [0.5, 1.0, 2.0], "activation": ["tanh", "relu"]},
        "record": ["loss", "update_ratio"],
        "seeds": 3,
    }
    found = {}
    for count in (1, 3):
        monkeypatch.setattr(training_program, "cores", lambda count=count: count)
        found[count] = run(**request, store=tmp_path / f"{count}.zarr")
    xarray.testing.assert_equal(found[3], found[1])


def test_programs_with_lapack_calls_run_alone(monkeypatch):
    """Two that run at the same time can wait for each other for good (see jaxsat/linalg/lapack.py)."""
    asked = []

    def noted(works, at_once):
        asked.append(at_once)
        return concurrency.side_by_side(works, 1)

    monkeypatch.setattr(training_program, "side_by_side", noted)
    monkeypatch.setattr(training_program, "cores", lambda: 5)
    for record in ("loss", "singular_values"):
        assert record in recording.names()
        run(NET, record=record, epochs=1, optimizer=optax.sgd(0.1))
    assert asked == [5, 1]


def test_weights_that_lapack_draws_are_drawn_one_tile_after_the_other(monkeypatch):
    """Orthogonal weights: the tiles are started in one thread, though several are trained at a time."""
    monkeypatch.setattr(training_program, "tile_size", lambda net: 1)
    monkeypatch.setattr(training_program, "cores", lambda: 4)
    start, drawing = training_program.TrainingProgram.start, set()

    def noted(self, networks):
        drawing.add(threading.get_ident())
        return start(self, networks)

    monkeypatch.setattr(training_program.TrainingProgram, "start", noted)
    net = jaxsat.MLP(3, 6, ensemble="orthogonal", inputs=3, outputs=4)
    assert bool((run(net, seeds=6, record="loss").diverged_at == -1).all())
    assert drawing == {threading.get_ident()}
