"""Experiments on claims, where the answer is known."""

import types

import jax
import numpy as np
import pytest

from analyses.claims import gates, learning, saturating, slopes
from analyses.claims.networks import Networks
from analyses.claims.rows import of_seeds
from analyses.claims.statements import CLAIMS
from jaxsat import activations


@pytest.fixture
def networks():
    options = types.SimpleNamespace(depth=3, width=8, seeds=3, root_seed=0, activations=("sigmoid",), examples=500)
    return Networks(options, "claims")


def test_claims_have_keys_of_their_own():
    assert len({claim.key for claim in CLAIMS}) == len(CLAIMS)


def test_a_row_of_seeds_leaves_out_what_is_not_defined():
    row = of_seeds("c", [1.0, 3.0, np.nan])
    # Student's t of two values: 12.7062 standard errors, each sqrt(2) / sqrt(2).
    assert (row.estimate, row.high - row.estimate) == (2.0, pytest.approx(12.7062, rel=1e-5))


def test_correlations_are_numpys_and_nan_where_nothing_varies():
    a, b = np.random.default_rng(0).normal(size=(2, 4, 9))
    expected = [np.corrcoef(x, y)[0, 1] for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(saturating._correlation(a, b), expected, rtol=1e-12)
    b[0], b[1, 3] = 2.0, -np.inf
    assert np.isnan(saturating._correlation(a, b)).tolist() == [True, True, False, False]


def test_effects_of_layers_and_epochs_are_taken_out():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(2, 5, 1)) + rng.normal(size=(2, 1, 4))
    np.testing.assert_allclose(saturating._residual(values), 0, atol=1e-12)


def test_a_bias_for_a_fall_of_the_slope():
    tanh = activations.get("tanh")
    assert float(tanh.log_abs_slope(slopes._bias_for(tanh, 20.0))) == pytest.approx(-20, abs=0.1)


@pytest.mark.slow
def test_doubling_is_linear_until_float32_underflows(networks):
    found = {row.condition: row.estimate for row in slopes.upstream_does_not_reach_downstream(networks)}
    assert found == {
        "sigmoid, saturated, float32": 2.0,
        "sigmoid, far in it, float32": 1.0,
        "sigmoid, saturated, in logs": pytest.approx(2, rel=1e-4),
        "sigmoid, far in it, in logs": pytest.approx(2, rel=1e-4),
    }


def test_the_logistic_slope_is_a_quarter_at_most(networks):
    assert {row.condition: row.high for row in slopes.slope_is_at_most_a_quarter(networks)} == {
        "s (1 - s), float16": 0.0,
        "s (1 - s), bfloat16": 0.0,
        "s (1 - s), float64": 0.0,
        "exp(-x) / (1 + exp(-x))^2, float64": 0.0,
    }


def test_from_where_on_dtypes_cannot_tell(networks):
    values, logs = slopes.values_cannot_be_told_apart(networks), slopes.log_slopes_cannot_be_told_apart(networks)
    sizes = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-52}
    for value, log, (dtype, eps) in zip(values, logs, sizes.items(), strict=True):
        assert (value.condition, log.condition) == (f"sigma, {dtype}", f"ln sigma', {dtype}")
        assert value.low <= value.estimate == value.high
        assert value.expected == pytest.approx(np.log(4 / eps - 1), rel=1e-12)
        # 1 / (1 + exp(-x)) is 1 as soon as exp(-x) is lost beside 1: up to ln 2 before the exact value rounds to 1
        assert value.expected - np.log(2) - 0.05 <= value.estimate <= value.expected + 0.05
        assert log.estimate == pytest.approx(4 / eps, rel=0.01)


@pytest.mark.slow
def test_what_moves_a_layer_without_a_gradient(networks):
    with jax.numpy_dtype_promotion("standard"):  # as optax is written
        found = {row.condition: row.estimate for row in learning.no_gradient_no_learning(networks)}
    assert found["sgd: the layer"] == 0
    assert found["sgd, momentum 0.9: the layer"] == pytest.approx(0.9, rel=1e-6)
    assert found["adam: the layer"] > 0.5
    assert found["sgd, weight decay: the layer"] > 0
    assert found["sgd: read-out bias above it"] > 0


@pytest.mark.slow
def test_a_gate_that_is_shut_and_a_gate_that_is_open():
    """An open gate keeps the state, and gradients with it; a gate that is shut forgets it."""
    networks = Networks(types.SimpleNamespace(width=16, drawn_seeds=12, root_seed=0), "claims")
    rows = {
        row.condition.split(",")[0] + row.condition.split(",")[1]: row
        for row in gates.saturated_gates_make_gradients_vanish(networks)
    }
    for cell in gates.GATED:
        shut, open_ = rows[f"{cell} gate shut"], rows[f"{cell} gate open"]
        assert shut.estimate < -0.3 < 0.3 < open_.estimate
        # theory has other weights at every step: near, not equal
        assert shut.estimate == pytest.approx(shut.expected, rel=0.35)
        assert open_.estimate == pytest.approx(open_.expected, rel=0.35)
