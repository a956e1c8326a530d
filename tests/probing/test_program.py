"""Programs are kept: a probe of what was probed before compiles nothing, and sees what fn closes over now."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsat
from jaxsat.probing import prepare, program

W, X = np.full((4, 4), 0.5), np.linspace(-1, 1, 12).reshape(3, 4)


def network(w, x):
    return jnp.sum(jax.nn.relu(jnp.tanh(x @ w) @ w))


def tanh_times(scale, array):
    """A new function at each call, that closes over a number and an array."""
    return lambda x: jnp.sum(jnp.tanh(scale * (x + array[None])))


def test_a_second_probe_of_the_same_function_compiles_nothing(compilations):
    first = jaxsat.probe(network, W, X)
    assert compiled(compilations)
    del compilations[:]
    second = jaxsat.probe(network, W, X)
    third = jaxsat.probe(network, W / 2, X)
    assert compiled(compilations) == []
    assert str(second) == str(first)
    assert third.sites[0].pre_activation_rms == pytest.approx(first.sites[0].pre_activation_rms / 2)
    jaxsat.probe(network, W, X[:2])
    assert compiled(compilations), "another shape is another program"


def compiled(events):
    return [event for event in events if "compile" in event]


def test_what_a_function_closes_over_is_never_stale(compilations):
    def rms(scale, array):
        return jaxsat.probe(tanh_times(scale, array), X).sites[0].pre_activation_rms

    def by_hand(scale, array):
        return np.sqrt(np.mean((scale * (X + array)) ** 2))

    assert rms(2.0, np.ones(4)) == pytest.approx(by_hand(2, 1), rel=1e-12)
    del compilations[:]
    assert rms(2.0, np.full(4, 3.0)) == pytest.approx(by_hand(2, 3), rel=1e-12)  # another array: the same program
    array = np.ones(4)
    assert rms(2.0, array) == pytest.approx(by_hand(2, 1), rel=1e-12)
    array += 4.0  # changed in place
    assert rms(2.0, array) == pytest.approx(by_hand(2, 5), rel=1e-12)
    assert compiled(compilations) == []
    assert rms(3.0, np.ones(4)) == pytest.approx(by_hand(3, 1), rel=1e-12)  # a number that is written into the program


def test_a_scalar_that_decides_what_an_activation_is_called_is_not_stale():
    def kind(slope):
        return jaxsat.probe(lambda x: jnp.sum(jnp.where(x > 0, x, slope * x)), X).sites[0].kind

    assert [kind(jnp.asarray(0.2)), kind(jnp.asarray(0.3))] == ["leaky_relu(0.2)", "leaky_relu(0.3)"]


def test_the_programs_kept_are_bounded_and_hold_no_large_arrays(monkeypatch):
    monkeypatch.setattr(program, "KEPT", 2)
    monkeypatch.setattr(program, "_kept", [])
    for n in (1, 2, 3):
        prepare(tanh_times(1.0, np.ones(4)), X[:n])
    assert [kept.program.leaves[0].shape for kept in program._kept] == [(3, 4), (2, 4)]
    prepare(tanh_times(1.0, np.ones(4)), X[:2])  # used again: it stays longest
    assert [kept.program.leaves[0].shape for kept in program._kept] == [(2, 4), (3, 4)]
    assert all(kept.scalars == () for kept in program._kept)
