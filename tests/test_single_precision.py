"""Derivatives where float64 is off, as it is by default: the other tests run with it on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsat
from jaxsat import addresses


@pytest.mark.slow
def test_spectra_have_derivatives_in_both_modes_without_float64():
    net = jaxsat.MLP(depth=4, width=6)

    def logs(x, params):
        return jaxsat.log_singular_values(net, params, x)

    with jax.enable_x64(False):
        params, x = net.init(addresses.root(0)), jnp.linspace(-1, 1, 6)
        backward, forward = jax.jacrev(logs)(x, params), jax.jacfwd(logs)(x, params)
        assert backward.dtype == jnp.float32
    double = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), params)
    exact = jax.jacrev(logs)(jnp.asarray(x, jnp.float64), double)
    np.testing.assert_allclose(backward, exact, atol=1e-5)
    np.testing.assert_allclose(forward, exact, atol=1e-5)
