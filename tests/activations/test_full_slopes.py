"""Slopes inside any function, against mpmath; its values, against those it had."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from jaxsat.activations.full_slopes import with_full_slopes

FUNCTIONS = {
    "sigmoid": (jax.nn.sigmoid, lambda x: 1 / (1 + mpmath.exp(-x))),
    "tanh": (jnp.tanh, mpmath.tanh),
    "elu": (jax.nn.elu, lambda x: x if x > 0 else mpmath.expm1(x)),  # jitted, expm1 inside
    "chain": (lambda x: 2 * jax.jit(jnp.tanh)(jax.nn.sigmoid(x)), lambda x: 2 * mpmath.tanh(1 / (1 + mpmath.exp(-x)))),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_slopes_far_out_are_right_and_values_keep_their_bits(name):
    ours, theirs = FUNCTIONS[name]
    x = np.array([-300.0, -40.0, -2.0, 0.5, 40.0, 300.0])
    with mpmath.workdps(600):
        true = [float(mpmath.diff(theirs, mpmath.mpf(float(v)), h=mpmath.mpf(10) ** -200)) for v in x]
    slopes = jax.jit(jax.vmap(jax.grad(with_full_slopes(ours))))(x)
    # One exponential, some products: each rounds by eps, and exp(-300) by 300 eps.
    np.testing.assert_allclose(slopes, true, rtol=1e-13)
    np.testing.assert_array_equal(with_full_slopes(ours)(jnp.asarray(x)), ours(jnp.asarray(x)))


def test_pytrees_custom_derivatives_and_second_derivatives():
    @jax.custom_jvp
    def own(x):
        return jnp.tanh(x)

    own.defjvp(lambda primals, tangents: (own(primals[0]), 5 * tangents[0]))

    def fn(parts):
        return {"a": own(parts[0]), "b": jax.nn.relu(parts[1]) * jnp.tanh(parts[1]), "c": jnp.float32(1)}

    replaced = with_full_slopes(fn)
    out, changes = jax.jvp(replaced, ((0.5, 2.0),), ((1.0, 1.0),))
    assert out == fn((0.5, 2.0))
    np.testing.assert_allclose(changes["a"], 5)
    np.testing.assert_allclose(changes["b"], np.tanh(2) + 2 / np.cosh(2) ** 2, rtol=1e-15)
    second = jax.grad(jax.grad(with_full_slopes(jnp.tanh)))(20.0)
    np.testing.assert_allclose(second, -8 * np.exp(-40), rtol=1e-12)  # -2 tanh sech^2, sech^2 = 4 exp(-2 x)
