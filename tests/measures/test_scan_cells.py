"""Cells of Flax, Equinox and Haiku go into a scan as they are. Each is compared with autodiff over a few steps."""

import functools

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsat
from jaxsat import addresses
from tests.quick_cases import quick_first

STEPS, N = 4, 3
KEY = addresses.root(5)


def of_flax():
    cell = nn.LSTMCell(N, param_dtype=jnp.float64)
    carry = cell.initialize_carry(KEY, (N,))
    params = cell.init(KEY, carry, jnp.zeros(N))
    return lambda params, carry, x: cell.apply(params, carry, x)[0], params, carry


def of_equinox():
    cell = eqx.nn.GRUCell(N, N, key=KEY)
    return lambda cell, h, x: cell(x, h), cell, jnp.zeros(N)


def of_haiku():
    cell = hk.without_apply_rng(hk.transform(lambda x, state: hk.LSTM(N)(x, state)[1]))
    carry = hk.LSTMState(jnp.zeros(N), jnp.zeros(N))
    return lambda params, carry, x: cell.apply(params, x, carry), cell.init(KEY, jnp.zeros(N), carry), carry


@pytest.mark.parametrize("library", quick_first([of_equinox, of_flax, of_haiku]))
def test_cells_go_in_as_they_are(library):
    step, params, carry = library()
    xs = np.random.default_rng(0).normal(size=(STEPS, N))
    size = sum(leaf.size for leaf in jax.tree.leaves(carry))
    found = jaxsat.gradients_of_scan(step, carry, xs, np.ones(size), params=params)

    def last(params, carry, xs):
        return functools.reduce(functools.partial(step, params), xs, carry)

    def total(params, carry, xs):
        return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(last(params, carry, xs)))

    of_params, of_carry, of_xs = jax.jit(jax.grad(total, (0, 1, 2)))(params, carry, xs)
    norm = lambda tree: np.log(sum(np.sum(np.square(leaf)) for leaf in jax.tree.leaves(tree))) / 2  # noqa: E731
    # sums of some tens of products, rounded by eps each
    np.testing.assert_allclose(found.params.log_norms, norm(of_params), rtol=0, atol=1e-13)
    np.testing.assert_allclose(found.carries.log_norms[0], norm(of_carry), rtol=0, atol=1e-13)
    np.testing.assert_allclose(found.inputs.log_norms, [norm(row) for row in of_xs], rtol=0, atol=1e-13)
    assert jax.tree.structure(found.params.direction) == jax.tree.structure(params)
    values = jaxsat.log_singular_values_of_scan(functools.partial(step, params), carry, xs)
    blocks = jax.jit(jax.jacfwd(last, 1))(params, carry, xs)
    dense = np.array(jax.tree.leaves(blocks)).reshape(size // N, size // N, N, N).swapaxes(1, 2).reshape(size, size)
    # dense values are right to eps times the largest: the smallest is exp(-20) of it
    np.testing.assert_allclose(values, np.log(np.linalg.svd(dense, compute_uv=False)), rtol=0, atol=1e-6)
