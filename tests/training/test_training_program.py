"""A second call finds the compiled programs of the first; what is recorded of weights agrees with jax.grad."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxsat
from jaxsat import addresses
from jaxsat.training import optimizers
from tests.quick_cases import quick_first

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(12, 3)), RNG.integers(0, 2, 12)


def run(net, data=(X, Y), **options):
    defaults = {"optimizer": optax.sgd(0.2), "epochs": 1, "batch_size": 6, "progress": False}
    return jaxsat.train(net, data, **(defaults | options))


@pytest.mark.parametrize("residual_scale", quick_first([None, 0.5]), ids=["plain", "skip"])
def test_a_second_call_neither_traces_nor_compiles(compilations, residual_scale):
    """Other root seed, scales, data, number of networks, of epochs and of records, and a new but equal optimiser."""

    def net(scale):
        return jaxsat.MLP(2, 3, weight_scale=scale, inputs=3, outputs=2, residual_scale=residual_scale)

    first = run(net(1.0), record="loss", seeds=2)
    del compilations[:]
    again = run(net(0.7), (X + 1, Y), record="loss", seeds=30, root_seed=5, epochs=4, record_every=1)
    assert compilations == []
    assert again.sizes["seed"] == 30
    run(net(1.0), record="loss", seeds=2, optimizer=optax.sgd(0.3))
    assert compilations, "another rate that is not swept is another program"
    again = run(net(1.0), record="loss", seeds=2)
    np.testing.assert_array_equal(again.loss, first.loss)


def test_optimisers_are_the_same_only_if_they_do_the_same():
    of = optimizers.identity_of
    assert of(optax.adam(0.1)) == of(optax.adam(0.1))
    assert of(optax.adam(0.1)) != of(optax.adam(0.1, b1=0.8))
    schedules = [optax.sgd(lambda step: 0.1 * step), optax.sgd(lambda step: 0.1 * step)]
    assert of(schedules[0]) == of(schedules[0])
    assert of(schedules[0]) != of(schedules[1]), "functions that optax did not write may use names that change"


@pytest.mark.parametrize("normalization", quick_first(["layer", None]))
def test_norms_of_weight_gradients_are_those_of_jax_grad(normalization):
    """Also where layers are normalised, whose derivative stands between dE/dh and dE/dW."""
    net = jaxsat.MLP(3, 6, "tanh", inputs=3, outputs=2, weight_scale=2.0, normalization=normalization)
    ds = run(net, record="log_weight_gradient_norms", probe=4, record_every=[0])
    params = net.init(addresses.network(addresses.root(0), 0)).scaled()

    @jax.jit
    @jax.grad
    def slope(params, x, y):
        outputs = net.apply(params, x)
        return jax.nn.logsumexp(outputs) - outputs[y]

    slopes = [slope(params, jnp.asarray(x), y) for x, y in zip(X[:4], Y[:4], strict=True)]
    squares = [[np.sum(np.asarray(w) ** 2) for w in (one.first, *one.hidden)] for one in slopes]
    expected = np.log(np.mean(squares, axis=0)) / 2
    np.testing.assert_allclose(ds.log_weight_gradient_norms[0, 0], expected, atol=1e-10)
