import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsat
from jaxsat import addresses
from jaxsat.linalg import krylov
from tests.quick_cases import quick_first

KEY = addresses.root(2)


def network(depth=6, width=200, activation="tanh", **sizes):
    net = jaxsat.MLP(depth=depth, width=width, activation=activation, weight_scale=1.4, **sizes)
    params, x = jax.jit(net.init)(KEY), np.random.default_rng(0).normal(size=net.input_width)
    return (lambda x: net.apply(params, x)), x


def dense(fn, x):
    return np.linalg.svd(jax.jit(jax.jacobian(fn))(x), compute_uv=False)


def measured(what, fn, x, *args, **options):
    """A function of krylov as a single program: eagerly it is some dozens."""
    return jax.jit(lambda x: what(fn, x, *args, **options))(x)


@pytest.mark.parametrize("sizes", quick_first([{"inputs": 150}, {}, {"outputs": 120}]))
def test_largest_values_lie_within_their_bounds_of_the_dense_ones(sizes):
    fn, x = network(**sizes)
    found = measured(krylov.largest_singular_values_with_bounds, fn, x, 5)
    exact = dense(fn, x)[:5]
    assert np.all(found.values <= exact * (1 + 1e-12))
    assert np.all(exact - found.values <= found.bounds)
    np.testing.assert_allclose(found.values[:3], exact[:3], rtol=1e-6)


def test_all_of_a_small_matrix_are_exact():
    fn, x = network(width=20)
    np.testing.assert_allclose(krylov.largest_singular_values(fn, x, 20), dense(fn, x), rtol=0, atol=1e-12)


@jax.jit
def largest_of_low_rank(u, v, s):
    return krylov.largest_singular_values(lambda x: u @ (s * (v.T @ x)), jnp.ones(300), 7)


@pytest.mark.parametrize("scale", [1e-250, 1.0, 1e250])
def test_multiple_values_low_rank_and_any_size(scale):
    rng = np.random.default_rng(0)
    u, v = (np.linalg.qr(rng.normal(size=(300, 5)))[0] for _ in range(2))
    s = scale * np.array([3.0, 3.0, 3.0, 1.0, 0.5])
    found = largest_of_low_rank(u, v, s)
    np.testing.assert_allclose(found[:5], s, rtol=1e-12)
    np.testing.assert_allclose(found[5:], 0, atol=1e-12 * scale)
    assert np.all(largest_of_low_rank(u, v, 0 * s) == 0)


def test_pytrees_and_vmap():
    fn = lambda p: {"y": p["a"] * 2, "z": jnp.sin(p["b"])}  # noqa: E731
    x = {"a": jnp.ones(3), "b": jnp.zeros((2, 2))}
    np.testing.assert_allclose(measured(krylov.largest_singular_values, fn, x, 4), [2, 2, 2, 1], rtol=1e-12)
    batch = jax.jit(jax.vmap(lambda t: krylov.largest_singular_values(jnp.sin, t, 1)))(np.zeros((4, 5)))
    np.testing.assert_allclose(batch, 1.0)


def within(estimate, exact, rounding=1e-9):
    """Four standard errors: of 40 probes, one in 3 700 by chance (Student's t), and the keys are fixed."""
    assert abs(estimate.value - exact) <= 4 * estimate.standard_error + rounding * abs(exact)


@pytest.mark.parametrize("sizes", quick_first([{"outputs": 300}, {}]))
def test_quadrature_is_within_its_error_of_the_dense_sums(sizes):
    fn, x = network(depth=2, width=100, activation="softplus", **sizes)
    s = dense(fn, x)
    q = measured(krylov.quadrature, fn, x, probes=40, steps=100, key=KEY)
    within(krylov.log_determinant(q), np.log(s).sum(), rounding=1e-6)
    for p in (1.0, 2.0, 4.0):
        within(krylov.schatten_norm(q, p), (s**p).sum() ** (1 / p))
    grid = np.linspace(np.log(s[0]) - 6, np.log(s[0]) + 1, 15)
    exact = np.exp(-(((grid[:, None] - np.log(s)) / 0.3) ** 2) / 2).sum(1) / (0.3 * np.sqrt(2 * np.pi) * len(s))
    density = jax.jit(krylov.spectral_density)(q, grid, 0.3)
    # fifteen at a time: 4.5 standard errors, one in 17 000 for each; 1e-6 where no probe sees anything
    assert np.all(np.abs(density.value - exact) <= 4.5 * density.standard_error + 1e-6)


def test_outside_jit_a_sum_is_one_program_and_not_one_for_each_operation(compilations):
    q = krylov.Quadrature(np.zeros((3, 4)), np.full((3, 4), 1 / 4), 7)
    assert float(krylov.log_determinant(q).value) == 0
    assert float(krylov.schatten_norm(q, 2.0).value) == pytest.approx(7**0.5, rel=1e-14)
    density = np.asarray(krylov.spectral_density(q, np.zeros(1), 0.3).value)
    assert density == pytest.approx(1 / (0.3 * np.sqrt(2 * np.pi)), rel=1e-14)  # all of it at ln s = 0
    assert compilations.count("backend_compile_duration") <= 2 * 3  # and one to make an array of what is given


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_breakdown_leaves_neither_nan_nor_ghosts(scale):
    rank_two = scale * np.outer(np.arange(1.0, 61), np.ones(60)) + scale * np.eye(60)[:1].T * np.eye(60)[1:2]
    s = np.linalg.svd(rank_two / scale, compute_uv=False)[:2] * scale
    q = krylov.quadrature(lambda x: rank_two @ x, jnp.ones(60), probes=400, steps=40, key=KEY)
    within(krylov.schatten_norm(q, 2.0), np.sqrt(np.sum((s / scale) ** 2)) * scale)
    assert float(jnp.max(q.log_nodes)) < np.log(s[0]) + 1e-9
    assert krylov.log_determinant(q).value == -np.inf
    zero = krylov.quadrature(lambda x: 0 * x, jnp.ones(20), steps=10)
    assert krylov.schatten_norm(zero, 1.0).value == 0


def test_relu_deep_network_has_no_ghosts():
    fn, x = network(depth=64, width=50, activation="relu")
    q = measured(krylov.quadrature, fn, x, steps=40)
    assert float(jnp.max(jnp.where(q.weights > 1e-12, q.log_nodes, -jnp.inf))) <= np.log(dense(fn, x)[0]) + 1e-6


QUADRATURE = krylov.Quadrature(np.zeros((2, 3)), np.full((2, 3), 1 / 3), 5)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: krylov.largest_singular_values(lambda x: x[:3], jnp.ones(5), 4), ValueError, "from 1 to 3; got 4. 3 is the largest possible rank"),
        (lambda: krylov.largest_singular_values(lambda x: x, jnp.ones(5), 0), ValueError, "got 0"),
        (lambda: krylov.largest_singular_values(lambda x: x, jnp.arange(5), 1), TypeError, "floating-point arrays"),
        (lambda: krylov.largest_singular_values(lambda x: x.astype(complex), jnp.ones(5), 1), TypeError, "real floating-point"),
        (lambda: krylov.quadrature(lambda x: x, jnp.ones(5), probes=1), ValueError, "`probes` must be an integer of at least 2"),
        (lambda: krylov.quadrature(lambda x: x, jnp.ones(5), steps=0), ValueError, "`steps` must be"),
        (lambda: krylov.schatten_norm(QUADRATURE, -1.0), ValueError, "`p` must be a finite number and above 0"),
        (lambda: krylov.spectral_density(QUADRATURE, np.ones(2), 0.0), ValueError, "`width`"),
    ],
)  # fmt: skip
def test_mistakes(call, error, message):
    with pytest.raises(error, match=message):
        call()
