"""Weights without a gradient, each with its reason, and weights whose gradient is far from the others'."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsat

DRAWS = np.random.default_rng(0)
N = 6
WS = {name: DRAWS.normal(size=(N, N)) / N**0.5 for name in "abcd"}
X = DRAWS.normal(size=(9, N))


def network(ws, x, between=lambda h: h, weight=lambda w: w):
    h = jnp.tanh(x @ weight(ws["a"]))
    h = jnp.tanh(between(h) @ ws["b"])
    return jnp.sum(jnp.tanh(h @ ws["c"]) @ ws["d"])


def test_gradients_of_weights_are_those_of_autodiff():
    report = jaxsat.probe(network, WS, X)
    gradients = jax.grad(network)(WS, X)
    assert [weight.name for weight in report.weights] == [f"args[0]['{name}']" for name in "abcd"]
    for weight, name in zip(report.weights, "abcd", strict=True):
        assert weight.log_gradient_norm == pytest.approx(np.log(np.linalg.norm(gradients[name])), rel=1e-12)
        assert weight.log_weight_norm == pytest.approx(np.log(np.linalg.norm(WS[name])), rel=1e-12)
    assert report.findings == ()


@pytest.mark.parametrize("stop", [jax.lax.stop_gradient, pytest.param(jnp.round, marks=pytest.mark.slow)])
def test_weights_before_something_without_a_derivative_are_disconnected(stop):
    report = jaxsat.probe(lambda ws, x: network(ws, x, between=stop), WS, X)
    (finding,) = report.findings
    assert finding.code == "disconnected"
    assert "exactly 0 for args[0]['a'], though weights after them get one" in finding.message
    assert (finding.cause, finding.confidence) == ("no derivative on the way", "high")


def test_what_may_be_meant_is_a_note():
    frozen = jaxsat.probe(lambda ws, x: network(ws, x, weight=jax.lax.stop_gradient), WS, X)
    assert frozen.findings == ()
    assert any("no gradient for args[0]['a']" in note and "frozen" in note for note in frozen.notes)

    def temporal(ws, target, x):
        goal = jax.lax.stop_gradient(jnp.tanh(x @ target) @ ws["a"][:, :1])
        return jnp.mean((network(ws, x) - goal) ** 2)

    aside = jaxsat.probe(temporal, WS, WS["b"], X)
    assert aside.findings == ()
    assert any("no gradient for args[1]" in note and "act on the loss only through" in note for note in aside.notes)
    unused = jaxsat.probe(lambda ws, w, x: (network(ws, x), jnp.tanh(x @ w)), WS, WS["a"], X)
    assert unused.findings == ()
    assert any("the loss does not depend on args[1]" in note for note in unused.notes)


def test_one_weight_far_from_the_others_is_imbalanced():
    def normalised(h):
        return h / jnp.sqrt(jnp.mean(h**2, axis=1, keepdims=True) + 1e-9)

    def loss(ws, x):
        for name in "abcd":
            x = jnp.tanh(normalised(x @ ws[name]))
        return jnp.sum(x)

    assert jaxsat.probe(loss, WS, X).findings == ()
    # Normalised, a weight's gradient goes as 1 over its scale, and so the ratio as 1 over its square.
    report = jaxsat.probe(loss, WS | {"b": 50 * WS["b"]}, X)
    (finding,) = report.findings
    assert finding.code == "imbalanced"
    assert "args[0]['b'] 0.000" in finding.message
