"""What is recorded of a network in training is what the library says of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsat
from jaxsat import addresses
from jaxsat.training import recording
from tests.training.by_hand import X, Y, drawn, forward, run


@pytest.mark.slow
def test_what_is_recorded_is_what_the_library_says_of_the_network():
    net = jaxsat.MLP(3, 6, "tanh", inputs=3, outputs=4, weight_scale=2.0, bias_scale=0.3)
    names = [n for n in recording.names() if not n.startswith(("test_", "gate_", "log_input_"))]
    ds = run(net, record=names, probe=8, record_every=[0], root_seed=3).isel(seed=0, step=0)
    params = net.init(addresses.network(addresses.root(3), 0))
    weights, biases = drawn(net, 0, root_seed=3)
    values, before, _ = forward(weights, biases, X[:8], np.tanh)
    for layer in range(3):
        at, h, a = ds.sel(layer=layer + 1), before[layer], values[layer + 1]
        flat = 1 - np.tanh(h) ** 2 <= 0.05
        expected = {
            "saturated_fraction": flat.mean(), "always_saturated_fraction": flat.all(0).mean(), "dead_fraction": 0.0,
            "boundary_measure": np.abs(a).mean(), "pre_activation_std": h.std(), "activation_mean": a.mean(),
            "activation_std": a.std(), "pre_activation_percentiles": np.percentile(h, [2, 50, 98]),
            "activation_percentiles": np.percentile(a, [2, 50, 98]),
            "activation_histogram": np.histogram(a, 40, (-1, 1))[0] / a.size, "off_units": (h <= 0).all(0),
        }  # fmt: skip
        for name, value in expected.items():
            np.testing.assert_allclose(at[name], value, atol=1e-12, err_msg=name)

    def loss(shifts, x, y):
        outputs = net.apply(params, x, shifts)
        return jax.nn.logsumexp(outputs) - outputs[y]

    signals = jnp.stack(
        [jax.grad(loss)(jnp.zeros((3, 6)), jnp.asarray(x), y) for x, y in zip(X[:8], Y[:8], strict=True)]
    )
    norms = jnp.sqrt(jnp.mean(jnp.sum(signals**2, axis=2), axis=0))
    np.testing.assert_allclose(ds.gradient_norm, norms, rtol=1e-10)
    np.testing.assert_allclose(ds.log_gradient_norms, jnp.log(norms), atol=1e-10)

    def loss_of_weights(params, x, y):
        outputs = net.apply(params, x)
        return jax.nn.logsumexp(outputs) - outputs[y]

    slopes = [jax.grad(loss_of_weights)(params.scaled(), jnp.asarray(x), y) for x, y in zip(X[:8], Y[:8], strict=True)]
    squares = [[jnp.sum(w**2) for w in (one.first, *one.hidden)] for one in slopes]
    np.testing.assert_allclose(ds.log_weight_gradient_norms, np.log(np.mean(squares, axis=0)) / 2, atol=1e-10)
    jacobians = [jax.jacfwd(lambda x: net.apply(params, x))(jnp.asarray(x)) for x in X[:4]]
    logs = np.mean([np.log(np.linalg.svd(j, compute_uv=False)) for j in jacobians], axis=0)
    np.testing.assert_allclose(ds.log_singular_values, logs, atol=1e-9)


def test_gradients_below_the_smallest_float32_are_recorded():
    net = jaxsat.MLP(90, 4, "sigmoid", inputs=3, outputs=4)
    with jax.enable_x64(False):
        ds = run(net, record=["log_gradient_norms", "gradient_norm"], record_every=[0])
    assert ds.log_gradient_norms.dtype == "float32"
    assert np.isfinite(ds.log_gradient_norms).all()
    assert ds.log_gradient_norms.min() < -110
    assert ds.gradient_norm.min() == 0


def test_dead_units_are_those_with_slope_zero_for_every_probe_example():
    net = jaxsat.MLP(2, 40, "relu", inputs=3, outputs=4, bias_scale=3.0)
    ds = run(net, record="dead_fraction", record_every=[0], probe=3)
    h = forward(*drawn(net, 0), X[:3], lambda h: np.maximum(h, 0))[1]
    share = [(a <= 0).all(0).mean() for a in h]
    assert min(share) > 0
    np.testing.assert_allclose(ds.dead_fraction[0, 0], share, atol=1e-12)
