import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsat
from jaxsat import addresses, measures
from jaxsat.measures import saturation
from jaxsat.networks import gaussian_input

OTHERS = {"gate_saturated_fraction", "log_input_gradient_norms"}  # not of an MLP


def test_every_catalogued_measure_has_the_shape_it_says():
    net = jaxsat.MLP(depth=4, width=5, activation="tanh")
    named = [name for name in measures.names() if name not in OTHERS]
    measure = measures.get(named)
    found = jax.eval_shape(lambda x: measure(net, addresses.root(0), x), jnp.ones((3, 5)))
    assert set(found) == set(measure.variables) == set(named)
    for name, variable in measure.variables.items():
        sizes = {"layer": 4, "index": 5, "unit": 5} | {dim: len(of) for dim, of in variable.coordinates.items()}
        assert found[name].shape == tuple(sizes[dim] for dim in variable.dims), name
        assert variable.long_name


def test_forward_measures_are_those_of_the_trace():
    net, key = jaxsat.MLP(depth=3, width=6, activation="tanh", weight_scale=4.0), addresses.root(1)
    x = np.random.default_rng(1).normal(size=(7, 6))
    functions = [saturation.saturated_fraction, saturation.boundary_measure, saturation.activation_entropy]
    measure = measures.get([*(function.__name__ for function in functions), "mean_squared_pre_activation"])

    @jax.jit
    def both(x):
        h = jax.vmap(lambda x: net.trace(net.init(key), x).pre_activations)(x)
        return measure(net, key, x), h

    found, h = both(x)
    alone = jax.jit(lambda one: [function("tanh", one) for function in functions])
    for layer, one in enumerate(np.asarray(h).swapaxes(0, 1)):
        fraction, boundary, entropy = alone(one)
        assert found["saturated_fraction"][layer] == fraction
        assert found["boundary_measure"][layer] == pytest.approx(float(boundary))
        assert found["activation_entropy"][layer] == pytest.approx(float(entropy))
        assert found["mean_squared_pre_activation"][layer] == pytest.approx(np.mean(one**2))


def test_several_measures_share_one_draw_and_one_forward_pass(monkeypatch):
    calls = []
    monkeypatch.setattr(jaxsat.MLP, "init", lambda self, key, init=jaxsat.MLP.init: calls.append(1) or init(self, key))
    together = measures.get(["log_gradient_norms", "log_largest_gradients", "dead_fraction", "saturated_fraction"])
    jax.eval_shape(lambda: together(jaxsat.MLP(depth=3, width=4), addresses.root(0), None))
    assert len(calls) == 1


@pytest.mark.parametrize("order", [1, -1])
def test_a_measure_that_overflows_leaves_the_others_as_they_are(order):
    """The dense product overflows and its decomposition is NaN; a small input keeps the forward pass finite."""
    net, key = jaxsat.MLP(depth=40, width=8, activation="relu", weight_scale=1e9), addresses.root(0)
    x, names = jnp.full((1, 8), 1e-200), ["singular_values", "log_singular_values"][::order]
    together = measures.get(names)(net, key, x)
    assert np.isnan(together["singular_values"]).all()
    assert np.isfinite(together["log_singular_values"][0])
    for name in names:
        np.testing.assert_array_equal(together[name], measures.get(name)(net, key, x)[name])


def test_neither_name_nor_function():
    with pytest.raises(TypeError, match=r"measure: must be a name or a function \(net, key, x\) -> dict; got int"):
        measures.get(3)


def test_correlation_of_pre_activations():
    net = jaxsat.MLP(depth=2, width=5, activation="identity", weight_scale=0.5)
    x = np.random.default_rng(1).normal(size=(3, 5))
    key, measure = addresses.root(0), measures.get("correlation")
    found, p = jax.tree.map(np.asarray, jax.jit(lambda x: (measure(net, key, x)["correlation"], net.init(key)))(x))
    first = x @ p.first.T / 2
    h = np.stack([first, first @ p.hidden[0].T / 2], axis=1)
    pairs = [(0, 1), (0, 2), (1, 2)]
    cosine = lambda u, v: u @ v / np.linalg.norm(u) / np.linalg.norm(v)  # noqa: E731
    expected = [np.mean([cosine(h[a, layer], h[b, layer]) for a, b in pairs]) for layer in range(2)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    with pytest.raises(ValueError, match="at least 2 inputs; got 1"):
        measures.get("correlation")(net, addresses.root(0), x[0])


@pytest.mark.slow
def test_spectra_come_with_their_errors_and_their_care_on_request():
    net = jaxsat.MLP(depth=3, width=4, activation="identity")
    key = addresses.root(5)
    found = measures.get(["log_singular_values", "log_singular_values_error"])(net, key, None)
    values, errors = jaxsat.log_singular_values(net, net.init(key), gaussian_input(net, key), with_error=True)
    np.testing.assert_allclose(found["log_singular_values"], values, rtol=0, atol=1e-12)  # batched: other last bits
    np.testing.assert_allclose(found["log_singular_values_error"], errors, rtol=0.1)
    assert np.all(errors < 1e-8)
    assert set(measures.get("log_singular_values_error").variables) == {
        "log_singular_values",
        "log_singular_values_error",
    }
