"""Gaussian integrals against closed forms, a brute-force rule and mpmath."""

import inspect

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy import stats

from jaxsat import activations
from jaxsat.theory import gaussian_integrals
from tests import known
from tests.quick_cases import slow_except

VARIANCES = np.array([1e-8, 1e-4, 0.1, 1.0, 7.5, 100.0, 1e4])
OF_EACH_SHAPE = ("identity", "tanh", "hard_sigmoid", "relu", "elu", "gelu", "sin", "softsign")
EXACT = 1e-13  # some hundred roundings


@pytest.mark.parametrize("name", slow_except(OF_EACH_SHAPE, activations.names()))
def test_every_activation_against_brute_force(name):
    act = activations.get(name)
    mesh = gaussian_integrals.mesh_of(act)

    def moments(q):
        x, w = gaussian_integrals.rule(mesh, q)
        return jnp.stack([w @ act(x) ** 2, w @ act.slope(x) ** 2])

    found = np.asarray(jax.jit(jax.vmap(moments))(jnp.asarray(VARIANCES)))
    square, slope = jax.jit(lambda x: act(x) ** 2), jax.jit(lambda x: act.slope(x) ** 2)
    expected = [[known.by_many_panels(f, q, act.kinks) for f in (square, slope)] for q in VARIANCES]
    np.testing.assert_allclose(found, expected, rtol=EXACT)


def test_tanh_by_mpmath():
    q = 7.5
    exact = mpmath.quad(lambda z: mpmath.tanh(mpmath.sqrt(q) * z) ** 2 * mpmath.npdf(z), [-40, -5, -1, 0, 1, 5, 40])
    assert abs(float(gaussian_integrals.expectation(lambda x: jnp.tanh(x) ** 2, q)) - float(exact)) < EXACT


@pytest.mark.parametrize("q", VARIANCES)
def test_closed_forms(q):
    erf = activations.get("erf")
    np.testing.assert_allclose(
        gaussian_integrals.expectation(lambda x: erf.slope(x) ** 2, q), known.erf_slope_squared(q), rtol=EXACT
    )
    np.testing.assert_allclose(gaussian_integrals.expectation(jnp.cos, q), np.exp(-q / 2), atol=EXACT)
    np.testing.assert_allclose(gaussian_integrals.expectation(lambda x: x**8, q), 105 * q**4, rtol=EXACT)
    np.testing.assert_allclose(gaussian_integrals.expectation("relu", q), np.sqrt(q / (2 * np.pi)), rtol=EXACT)


def test_zero_variance():
    assert float(gaussian_integrals.expectation("sigmoid", 0.0)) == 0.5
    assert float(gaussian_integrals.expectation_of_pair("sigmoid", jnp.exp, 0.0, 0.0, 0.3)) == pytest.approx(
        0.5, abs=1e-15
    )


@pytest.mark.slow
@pytest.mark.parametrize(("q_u", "q_v"), [(1.0, 1.0), (1e-8, 1e-8), (1e4, 1e4), (1e4, 1e-4), (3.0, 50.0)])
def test_pairs_against_closed_forms(q_u, q_v):
    c = np.array([0.0, 0.3, -0.7, 0.99, 1 - 1e-6, 1 - 1e-12, 1.0, -1.0, -1 + 1e-9])
    step = lambda x: (x > 0).astype(x.dtype)  # noqa: E731

    def all_of(c):
        pair = lambda f, **k: gaussian_integrals.expectation_of_pair(f, f, q_u, q_v, c, **k)  # noqa: E731
        return pair("relu"), pair("erf"), pair(step, kinks=(0.0,))

    relu, erf, steps = jax.jit(lambda c: jax.lax.map(all_of, c))(jnp.asarray(c))
    np.testing.assert_allclose(relu, known.arc_cosine_1(q_u, q_v, c), atol=EXACT * np.sqrt(q_u * q_v))
    np.testing.assert_allclose(erf, known.arcsine(q_u, q_v, c), atol=EXACT)
    np.testing.assert_allclose(steps, known.arc_cosine_0(c), atol=EXACT)


def test_kinks_away_from_zero_nearly_correlated():
    c, q = 0.9999, 2.0
    box = lambda x: (jnp.abs(x) < 1).astype(x.dtype)  # noqa: E731
    covariance = q * np.array([[1, c], [c, 1]])
    cdf = lambda a, b: stats.multivariate_normal.cdf([a, b], cov=covariance, abseps=1e-13, releps=1e-13, maxpts=10**7)  # noqa: E731
    exact = cdf(1, 1) - 2 * cdf(-1, 1) + cdf(-1, -1)
    found = float(gaussian_integrals.expectation_of_pair(box, box, q, q, c, kinks=(-1.0, 1.0)))
    assert abs(found - exact) < 1e-11  # scipy's


@pytest.mark.parametrize("q", [1e-8, 0.1, 1.0, 50.0])
def test_derivatives_in_q_also_where_f_jumps(q):
    box = lambda x: (jnp.abs(x) < 1).astype(x.dtype)  # noqa: E731
    found = jax.jit(jax.grad(lambda q: gaussian_integrals.expectation(box, q, kinks=(-1.0, 1.0))))(q)
    np.testing.assert_allclose(found, -stats.norm.pdf(1 / np.sqrt(q)) * q**-1.5, atol=1e-14)
    bell = lambda q: gaussian_integrals.expectation(lambda x: jnp.exp(-x * x / 2), q)  # noqa: E731
    rounding = 4e-16 / q  # of the density's derivative
    first, second = jax.jit(jax.value_and_grad(jax.grad(bell)))(q)
    np.testing.assert_allclose(first, -0.5 * (1 + q) ** -1.5, atol=EXACT + rounding)
    np.testing.assert_allclose(second, 0.75 * (1 + q) ** -2.5, atol=EXACT + rounding)


def test_derivatives_in_what_f_closes_over_and_below_the_switch():
    of_scale = lambda a: gaussian_integrals.expectation(lambda x: jnp.cos(a * x), 2.0)  # noqa: E731
    np.testing.assert_allclose(jax.jit(jax.grad(of_scale))(1.5), -1.5 * 2 * np.exp(-(1.5**2)), rtol=1e-12)
    np.testing.assert_allclose(jax.grad(lambda q: gaussian_integrals.expectation(jnp.cos, q))(1e-10), -0.5, rtol=1e-9)


def test_derivatives_of_pairs():
    exact = lambda a, b, c: jnp.sqrt(a * b) * (jnp.sqrt(1 - c * c) + (jnp.pi - jnp.arccos(c)) * c) / (2 * jnp.pi)  # noqa: E731
    found = jax.grad(lambda *a: gaussian_integrals.expectation_of_pair("relu", "relu", *a), argnums=(0, 1, 2))
    np.testing.assert_allclose(found(2.0, 3.0, 0.4), jax.grad(exact, argnums=(0, 1, 2))(2.0, 3.0, 0.4), rtol=1e-12)


def test_single_precision_is_rounded_once():
    q = jnp.float32(2.0)
    found = jax.jit(lambda q: gaussian_integrals.expectation(lambda x: jnp.tanh(x) ** 2, q))(q)
    assert found.dtype == jnp.float32
    assert float(found) == np.float32(gaussian_integrals.expectation(lambda x: jnp.tanh(x) ** 2, 2.0))


def test_one_compilation_serves_every_variance():
    traced = []
    jitted = jax.jit(lambda q: (traced.append(1), gaussian_integrals.expectation("gelu", q))[1])
    [jitted(jnp.asarray(q)) for q in VARIANCES]
    assert len(traced) == 1


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: gaussian_integrals.expectation(lambda x: jnp.exp(x * x), 1.0),
            ValueError,
            "does not exist at q = 1.0",
        ),
        (lambda: gaussian_integrals.expectation(jnp.exp, 100.0), ValueError, "does not exist"),
        (lambda: gaussian_integrals.expectation(jnp.log, 1.0), ValueError, "does not exist"),
        (lambda: gaussian_integrals.expectation("tanhh", 1.0), ValueError, "Did you mean 'tanh'"),
        (
            lambda: inspect.unwrap(gaussian_integrals.expectation)(3, 1.0),
            TypeError,
            "must be an activation's name or a function",
        ),
        (lambda: gaussian_integrals.expectation(jnp.sum, 1.0), ValueError, "must be elementwise"),
        (lambda: gaussian_integrals.expectation(jnp.tanh, -1.0), ValueError, "at least 0; got -1.0"),
        (lambda: gaussian_integrals.expectation(jnp.tanh, np.ones(3)), TypeError, "Batches go through jax.vmap"),
        (lambda: gaussian_integrals.expectation(jnp.tanh, 1.0, kinks=(np.nan,)), ValueError, "`kinks` must be finite"),
        (
            lambda: gaussian_integrals.expectation_of_pair("tanh", "tanh", 1.0, 1.0, 1.2),
            ValueError,
            "from -1 to 1; got 1.2",
        ),
    ],
)
def test_bad_input(call, error, message, request):
    with pytest.raises(error, match=message):
        call()


def test_a_divergent_integral_under_jit_is_infinite_not_nan():
    assert np.isinf(jax.jit(lambda q: gaussian_integrals.expectation(lambda x: jnp.exp(x * x), q))(1.0))
    assert float(gaussian_integrals.expectation(jnp.exp, 1.0)) == pytest.approx(np.exp(0.5), rel=EXACT)
