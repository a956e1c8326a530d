"""A probe lowers for machines that this one is not, in float32, without any flag."""

import jax
import jax.numpy as jnp

from jaxsat.probing import prepare
from tests.lowering import lower


def attention(w, x):
    h = jnp.tanh(x @ w)
    weights = jax.nn.softmax(h @ h.T, axis=-1)
    h, _ = jax.lax.scan(lambda h, _: (jax.nn.relu(weights @ h), None), h, None, length=2)
    return jnp.mean(h**2)


def test_a_probe_lowers_for_accelerators_in_single_precision():
    with jax.enable_x64(False):
        program = prepare(attention, jnp.ones((3, 3)), jnp.ones((2, 3)))._program
        assert [site.kind for site in program.survey.sites] == ["tanh", "softmax", "relu"]
        lower(program.compiled, [], list(program.leaves), 1.0)
