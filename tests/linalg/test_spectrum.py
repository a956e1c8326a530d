import jax
import jax.numpy as jnp
import numpy as np
import pytest
from mpmath import digamma

import jaxsat
from jaxsat import addresses
from jaxsat.linalg import spectrum


def chosen(log_s, seed=0):
    """A matrix of known singular values: the orthogonal factors from Householder reflections, so rounding is eps."""
    rng = np.random.default_rng(seed)
    u, v = (np.linalg.qr(rng.normal(size=(len(log_s),) * 2))[0] for _ in range(2))
    return u * np.exp(log_s) @ v.T


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_resolved_values_are_right_and_others_are_not_claimed(dtype):
    log_s = np.linspace(0, -60, 31)
    found = spectrum.singular_values_of_matrix(jnp.asarray(chosen(log_s), dtype))
    eps = float(jnp.finfo(dtype).eps)
    assert float(found.floor) == pytest.approx(eps, rel=1e-4)
    error = np.abs(np.asarray(found.values, float) - np.exp(log_s))
    assert np.all(error < 31 * eps)
    resolved = np.asarray(found.resolved)
    assert np.all(error[resolved] < np.exp(log_s)[resolved]), "resolved means right to its order of magnitude"
    np.testing.assert_array_equal(resolved, np.exp(log_s) > 31 * eps)


def test_dense_and_log_domain_agree_above_the_floor():
    net = jaxsat.MLP(depth=60, width=30, activation="tanh", weight_scale=1.3, inputs=25, outputs=28)
    params, x = net.init(addresses.root(1)), jnp.linspace(-1, 1, 25)
    dense, logs = jaxsat.singular_values(net, params, x), jaxsat.log_singular_values(net, params, x)
    assert dense.shape == logs.shape == (25,)
    dense, logs = np.asarray(dense), np.asarray(logs)
    seen = dense > 1e-12 * dense[0]
    assert 5 < seen.sum() < 25
    # absolute error of the dense ones: a few eps * depth * s_1
    np.testing.assert_array_less(np.abs(dense - np.exp(logs)), 20 * 60 * np.finfo(float).eps * dense[0])
    np.testing.assert_allclose(np.log(dense[0]), logs[0], rtol=0, atol=1e-12)


def test_lyapunov_exponents_of_gaussian_products():
    """ln s_i / L -> (ln 2 + psi((n - i + 1) / 2) - ln n) / 2 (Newman 1986); QR increments have exactly that mean."""
    n, layers = 6, 4000
    weights = np.random.default_rng(0).normal(size=(layers, n, n)) / np.sqrt(n)
    law = np.array([(np.log(2) + float(digamma((n - i) / 2)) - np.log(n)) / 2 for i in range(n)])
    found = spectrum.lyapunov_exponents(weights)
    variance = np.array([float(digamma_prime((n - i) / 2)) / 4 for i in range(n)])
    batches = 63  # about sqrt(layers); a deviation from so many has a standard error of 9 % of itself: five of those
    np.testing.assert_allclose(found.standard_error, np.sqrt(variance / layers), rtol=5 / np.sqrt(2 * (batches - 1)))
    assert np.all(np.abs(found.by_qr - law) < 4 * np.sqrt(variance / layers))
    # ln s_i and ln R_ii differ by some nats, however many layers: by 6.3 at most in sixty products of other seeds
    assert np.all(np.abs(found.exponents - law) < 4 * np.sqrt(variance / layers) + 10 / layers)


def digamma_prime(x):
    from mpmath import polygamma

    return polygamma(1, x)


def test_lyapunov_exponents_in_deep_saturation():
    """Slopes of every layer over tens of orders of magnitude: the sum is ln |det| / L whatever the directions do."""
    rng = np.random.default_rng(1)
    weights, logs = rng.normal(size=(50, 8, 8)), -60 * rng.random((50, 8))
    found = spectrum.lyapunov_exponents(weights, logs)
    log_det = (np.linalg.slogdet(weights)[1].sum() + logs.sum()) / 50
    assert float(found.exponents.sum()) == pytest.approx(log_det, abs=1e-10)
    assert float(found.by_qr.sum()) == pytest.approx(log_det, abs=1e-10)
    assert np.isnan(spectrum.lyapunov_exponents(weights[:3]).standard_error).all()


def test_exponents_of_a_batch_in_single_precision_are_those_of_each():
    weights = np.random.default_rng(2).normal(size=(3, 9, 4, 4)).astype(np.float32)
    with jax.enable_x64(False):
        found = jax.vmap(jax.jit(spectrum.lyapunov_exponents))(weights)
    assert {numbers.dtype.name for numbers in found} == {"float32"}
    for one, exponents, by_qr in zip(weights, found.exponents, found.by_qr, strict=True):
        exact = spectrum.lyapunov_exponents(one.astype(float))
        # computed in float64, rounded to float32: sums of 9 numbers below 4
        np.testing.assert_allclose(exponents, exact.exponents, rtol=0, atol=1e-6)
        np.testing.assert_allclose(by_qr, exact.by_qr, rtol=0, atol=1e-6)


def test_a_second_call_for_exponents_compiles_nothing(compilations):
    weights = np.random.default_rng(3).normal(size=(9, 4, 4))
    spectrum.lyapunov_exponents(weights)
    del compilations[:]
    spectrum.lyapunov_exponents(2 * weights)
    assert not compilations


def test_what_a_spectrum_says_against_direct_sums():
    s = np.sort(np.random.default_rng(3).uniform(0.1, 4, size=9))[::-1]
    logs = jnp.asarray(np.log(s))
    p = s / s.sum()
    expected = {
        spectrum.log_condition_number: np.log(s[0] / s[-1]),
        spectrum.stable_rank: (s**2).sum() / s[0] ** 2,
        spectrum.participation_ratio: (s**2).sum() ** 2 / (s**4).sum(),
        spectrum.effective_rank: np.exp(-(p * np.log(p)).sum()),
        spectrum.effective_dimension: (s**2 / (s**2 + 1)).sum(),
        spectrum.isometry_gap: np.log((s**2).mean()) - np.log(s**2).mean(),
    }
    for function, value in expected.items():
        found, gradient = jax.jit(jax.value_and_grad(function))(logs)
        assert float(found) == pytest.approx(value, rel=1e-12)
        assert np.isfinite(gradient).all()
    for function in (
        spectrum.stable_rank,
        spectrum.participation_ratio,
        spectrum.effective_rank,
        spectrum.isometry_gap,
    ):
        assert float(jax.jit(function)(logs - 5000)) == pytest.approx(expected[function], rel=1e-9), "free of scale"
    assert float(spectrum.effective_dimension(logs, ridge=4.0)) == pytest.approx((s**2 / (s**2 + 4)).sum())
    assert float(spectrum.log_condition_number(jnp.array([0.0, -jnp.inf]))) == np.inf


W = np.ones((3, 4, 4))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: spectrum.singular_values_of_matrix(np.ones(3)), ValueError, "`matrix` must have 2 dimensions"),
        (lambda: spectrum.singular_values_of_matrix(np.ones((2, 0))), ValueError, "none of them empty"),
        (lambda: spectrum.singular_values_of_matrix(np.array([[np.nan, 1.0]])), ValueError, "must be finite; got 1 entries"),
        (lambda: spectrum.singular_values_of_matrix(np.ones((2, 2)) * 1j), TypeError, "real numbers; got dtype complex128"),
        (lambda: spectrum.log_singular_values_of_product([]), ValueError, "at least one matrix"),
        (lambda: spectrum.log_singular_values_of_product(np.ones((0, 3, 3))), ValueError, "none of them empty"),
        (lambda: spectrum.log_singular_values_of_product([np.ones((2, 3)), np.ones((2, 3))]), ValueError, "must chain"),
        (lambda: spectrum.log_singular_values_of_product(W * np.inf), ValueError, "must be finite"),
        (lambda: spectrum.log_singular_values_of_product(W * 1j), TypeError, "real numbers"),
        (lambda: spectrum.log_singular_values_of_product(W, np.ones((3, 5))), ValueError, r"must have shape \(3, 4\)"),
        (lambda: spectrum.log_singular_values_of_product(W, np.full((3, 4), np.nan)), ValueError, "got NaN or \\+inf"),
        (lambda: spectrum.log_singular_values_of_product(W, None, np.full((3, 4), 0.5)), ValueError, "-1, 0 or 1"),
        (lambda: spectrum.log_singular_values_of_product([W[0]], [np.ones(4)] * 2), ValueError, "one entry for each of 1"),
        (lambda: spectrum.log_singular_values_of_product([W[0], W[0, :2]], every_depth=True), ValueError, "layers of one width"),
        (lambda: spectrum.stable_rank(np.ones(0)), ValueError, "must be those of one matrix"),
        (lambda: spectrum.effective_dimension(np.ones(3), ridge=-1.0), ValueError, "`ridge` must be a finite number and above 0"),
        (lambda: spectrum.lyapunov_exponents(np.ones((1, 2, 3))), ValueError, "square and of one size"),
    ],
)  # fmt: skip
def test_mistakes(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_half_precision_is_decomposed_in_float32():
    exact = np.linalg.svd(chosen(np.array([1.0, 0.0, -1.0])), compute_uv=False)
    matrix = jnp.asarray(chosen(np.array([1.0, 0.0, -1.0])), jnp.bfloat16)
    found = spectrum.singular_values_of_matrix(matrix)
    assert found.values.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(found.values, float), exact, rtol=0, atol=4 * 2**-8 * exact[0])
