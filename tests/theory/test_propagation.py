"""Mean-field theory against closed forms, iteration of the maps, and wide networks."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsat import theory
from tests import known

unchecked = inspect.unwrap  # under the import hook the type checker speaks first


@pytest.mark.parametrize("weight_scale", [0.5, 1.2, 1.41])
def test_relu_field(weight_scale):
    q, chi = known.relu_field(weight_scale, 0.3)
    found = theory.mean_field("relu", weight_scale, 0.3)
    np.testing.assert_allclose([found.q, found.chi, found.chi_q], [q, chi, chi], rtol=1e-10)
    np.testing.assert_allclose([found.xi_q, found.xi_c], -1 / np.log(chi), rtol=1e-9)
    assert (found.phase, float(found.c), bool(found.converged)) == ("ordered", 1.0, True)


def test_divergence_and_criticality_of_relu():
    found = theory.mean_field("relu", 1.5)
    assert (found.phase, float(found.q), bool(found.converged)) == ("diverges", np.inf, False)
    assert float(found.chi) == pytest.approx(1.125)
    assert not any(np.isnan(np.asarray(v, float)).any() for v in found)
    critical = theory.mean_field("relu", 2**0.5, mean_square=3.0)
    assert critical.phase == "critical"
    assert float(critical.q) == pytest.approx(6.0)  # every length is stationary: that of the first layer stays
    assert np.isinf(critical.xi_c)


def test_selu_is_at_its_fixed_point():
    found = theory.mean_field("selu", 1.0)  # Klambauer et al. 2017: mean 0, variance 1
    assert float(found.q) == pytest.approx(1.0, abs=1e-9)
    assert float(found.chi) == pytest.approx(1.0716, abs=5e-5)


@pytest.mark.slow
def test_derivatives_are_those_of_finite_differences():
    fields = ("q", "chi", "chi_q", "c", "chi_c", "xi_q", "xi_c")
    stacked = jax.jit(lambda w, b: jnp.stack([getattr(theory.mean_field("tanh", w, b), f) for f in fields]))
    point, step = (1.5, 0.3), 1e-6
    found = jax.jacfwd(stacked, argnums=(0, 1))(*point)
    for i, change in enumerate(np.eye(2) * step):
        numeric = (stacked(*(point + change)) - stacked(*(point - change))) / (2 * step)
        np.testing.assert_allclose(found[i], numeric, rtol=1e-7, atol=1e-8)
    edge = lambda b: theory.critical_weight_scale("tanh", b)  # noqa: E731
    assert float(jax.grad(edge)(0.2)) == pytest.approx(
        float(edge(0.2 + step) - edge(0.2 - step)) / (2 * step), rel=1e-6
    )


def test_single_precision_is_rounded_once_and_one_compilation_serves_all_scales():
    traced = []

    def field(w, b):
        traced.append(1)
        return theory.mean_field("tanh", w, b)

    jitted = jax.jit(field)
    for w in (0.5, 1.5, 3.0):
        found = jitted(w, 0.1)
        np.testing.assert_allclose(np.array(found[:7]), np.array(theory.mean_field("tanh", w, 0.1)[:7]), rtol=1e-12)
    assert len(traced) == 1
    phases = jax.vmap(lambda w: theory.mean_field("tanh", w, 0.1))(jnp.array([0.5, 3.0])).phase
    assert phases.tolist() == ["ordered", "chaotic"]


def test_float32_scales_at_the_edge_are_critical():
    scale = jnp.float32(2**0.5)
    found = theory.mean_field("relu", scale)
    assert found.phase == "critical"
    assert float(found.q) == pytest.approx(2.0, rel=1e-6)


def test_gradients_change_by_chi_per_layer_at_the_stationary_length():
    found = theory.mean_field("tanh", 1.8, 0.3)
    start = (found.q - 0.3**2) / 1.8**2
    norms = np.asarray(theory.log_gradient_norms("tanh", 6, 1.8, 0.3, mean_square=start))
    np.testing.assert_allclose(np.diff(norms), -np.log(found.chi) / 2, rtol=1e-9)
    assert norms[-1] == pytest.approx(float(np.log(found.chi / 1.8**2)) / 2, rel=1e-9)  # E[phi'^2] of the last layer


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: theory.mean_field("tanh", -1.0),
            ValueError,
            "`weight_scale` must be a finite number and at least 0; got -1.0",
        ),
        (lambda: theory.mean_field("tanh", 1.0, np.nan), ValueError, "`bias_scale` must be a finite number"),
        (lambda: theory.mean_field("tahn", 1.0), ValueError, "Did you mean 'tanh'"),
        (
            lambda: theory.mean_field("tanh", np.ones(3)),
            TypeError,
            r"`weight_scale` must be a finite number .* Batches go through jax\.vmap",
        ),
        (
            lambda: unchecked(theory.mean_field)("tanh", "he"),
            TypeError,
            "`weight_scale` must be a finite number .* got 'he'",
        ),
        (lambda: theory.mean_field(jnp.exp, 1.0), ValueError, "grows too fast"),
        (lambda: theory.correlation_map("tanh", 1.5, 1.0, 1.0), ValueError, "from -1 to 1; got 1.5"),
        (lambda: theory.length_map("tanh", -1.0, 1.0), ValueError, "`q` must be a finite number and at least 0"),
        (
            lambda: theory.length_trajectory("tanh", 0, 1.0),
            ValueError,
            "`depth` must be an integer of at least 1; got 0",
        ),
        (lambda: unchecked(theory.length_trajectory)("tanh", 2.5, 1.0), TypeError, "`depth` must be an integer"),
        (lambda: theory.residual_field("tanh", 2, 1.0, residual_scale=-1.0), ValueError, "`residual_scale`"),
        (lambda: theory.critical_weight_scale("tanh", -0.1), ValueError, "`bias_scale`"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_without_weights_no_gradient_passes():
    """Lengths are sigma_b^2 everywhere; only the last layer's gradient, which meets no weights, is left."""
    norms = np.asarray(theory.log_gradient_norms("tanh", 4, 0.0, 0.1))
    assert np.isneginf(norms[:-1]).all()
    z = np.linspace(-12, 12, 4001)
    weights = np.exp(-z * z / 2) / np.exp(-z * z / 2).sum()
    assert norms[-1] == pytest.approx(np.log(weights @ np.cosh(0.1 * z) ** -4.0) / 2, rel=1e-12)


def test_zero_weights():
    found = theory.mean_field("tanh", 0.0, 0.0)
    assert (float(found.q), float(found.chi), found.phase) == (0.0, 0.0, "ordered")
    assert not any(np.isnan(np.asarray(v, float)).any() for v in found)
