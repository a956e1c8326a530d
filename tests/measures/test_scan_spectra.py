"""Spectra of scans, against arithmetic without rounding."""

import jax
import jax.numpy as jnp
import numpy as np

import jaxsat

SIGMOID, TANH = jaxsat.activations.get("sigmoid"), jaxsat.activations.get("tanh")


def lstm(weights, carry, x):
    """A cell whose gates saturate: weights are three times as large as usual."""
    h, c = carry
    i, g, f, o = jnp.split(weights["h"] @ h + weights["x"] @ x, 4)
    c = SIGMOID(f) * c + SIGMOID(i) * TANH(g)
    return SIGMOID(o) * TANH(c), c


def lstm_case(n, steps, seed=0):
    rng = np.random.default_rng(seed)
    weights = {"h": 3 * rng.normal(size=(4 * n, n)) / n**0.5, "x": rng.normal(size=(4 * n, n)) / n**0.5}
    return weights, (np.zeros(n), np.zeros(n)), 2 * rng.normal(size=(steps, n))


def test_lstm_against_exact_products_of_its_steps():
    weights, carry, xs = lstm_case(2, 40)
    step = jax.jit(lambda carry, x: lstm(weights, carry, x))
    got = jaxsat.log_singular_values_of_scan(step, carry, xs)
    jacobians, state = [], carry
    for x in xs:
        blocks = jax.jacfwd(step)(state, x)
        jacobians.append(np.block([[np.asarray(block) for block in row] for row in blocks]))
        state = step(state, x)
    true = jaxsat.spectrum.exact_log_singular_values_of_product(np.array(jacobians))
    # 40 roundings, amplified by what a step spreads: graded's own bound for random factors.
    np.testing.assert_allclose(got, true.values, rtol=0, atol=1e-9)
    assert true.values[0] - true.values[-1] > 100


def test_linear_scan_multiplies_its_matrix():
    matrix = np.array([[0.5, 1.0], [0.0, 0.25]])
    norms = jaxsat.log_gradient_norms_of_scan(lambda h, x: matrix @ h + x, np.ones(2), np.ones((30, 2)), np.ones(2))
    true = [np.log(np.linalg.norm(np.linalg.matrix_power(matrix.T, 30 - t) @ np.ones(2))) for t in range(31)]
    np.testing.assert_allclose(norms, true, rtol=0, atol=1e-13)


def test_orthogonal_weights_give_exponents_of_zero():
    q = np.linalg.qr(np.random.default_rng(3).normal(size=(4, 4)))[0]
    found = jaxsat.lyapunov_exponents_of_scan(lambda h, x: q @ h + x, np.ones(4), np.ones((20, 4)))
    np.testing.assert_allclose(found.exponents, 0, atol=1e-13)  # 20 roundings of a step
