"""Products in the log domain beside multiple-precision arithmetic and exact laws."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsat
from jaxsat import addresses
from jaxsat.linalg import graded
from jaxsat.linalg.graded_steps import Factor
from jaxsat.linalg.spectrum import log_singular_values_of_product
from tests.linalg.exact_products import haar, tanh_factors, truth
from tests.quick_cases import quick_first

LAYERS, WIDTH = 10, 8  # of all quick cases, where nothing speaks for another shape: they share a program
CASES = [
    (8, 10, 1.0, "gaussian", 900),
    (8, 10, 12.0, "gaussian", 900),  # deep saturation: slopes of one layer over tens of orders
    (12, 9, 12.0, "orthogonal", 900),
    (6, 60, 3.0, "gaussian", 900),
    (6, 7, 0.0, "orthogonal", 300),  # all ones
    (5, 6, 250.0, "gaussian", 4000),  # slopes of one layer beyond exp(600) of each other
    (4, 3, 1500.0, "gaussian", 16000),  # and beyond exp(5000)
]


@pytest.mark.parametrize(
    ("n", "layers", "spread", "ensemble", "digits"),
    [*CASES[:2], *(pytest.param(*case, marks=pytest.mark.slow) for case in CASES[2:])],
)
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_every_value_is_right_to_1e_9(n, layers, spread, ensemble, digits, seed):
    factors = tanh_factors(n, layers, spread, seed, ensemble)
    exact = truth(*factors, digits=digits)
    np.testing.assert_allclose(log_singular_values_of_product(*factors), exact, rtol=0, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "layers", "spread", "digits"), [(8, 400, 0.7, 1500), (12, 28, 12.0, 1100), (16, 20, 5.0, 900)]
)
@pytest.mark.parametrize("seed", range(3))
def test_long_and_wide_products(n, layers, spread, digits, seed):
    factors = tanh_factors(n, layers, spread, seed)
    exact = truth(*factors, digits=digits)
    np.testing.assert_allclose(log_singular_values_of_product(*factors), exact, rtol=0, atol=1e-9)
    single = [jnp.asarray(f, jnp.float32) for f in factors]
    exact = truth(*(np.asarray(f, float) for f in single), digits=digits)
    np.testing.assert_allclose(log_singular_values_of_product(*single), exact, rtol=2e-7, atol=1e-3)


def saturated_network(seed, scale, n=8, layers=6):
    """Weights, ln slopes and signs of a tanh network with weights of that scale."""
    net = jaxsat.MLP(depth=layers, width=n, activation="tanh", weight_scale=scale)
    params = net.init(addresses.network(addresses.root(1), seed))
    log_abs = net.phi.log_abs_slope(net.trace(params, jnp.ones(n)).pre_activations)
    return scale * jnp.concatenate([params.first[None], params.hidden]), log_abs, jnp.ones_like(log_abs)


def test_slopes_however_far_apart_keep_the_determinant():
    """ln |determinant| is the sum of all ln s. Layer's slopes multiplied in by steps of exp(600) lost tens, and took hours."""

    def off(scale, seed):
        weights, log_abs, signs = saturated_network(seed, scale, WIDTH, LAYERS)
        determinant = jnp.sum(log_abs) + jnp.sum(jnp.linalg.slogdet(weights)[1])
        return jnp.sum(log_singular_values_of_product(weights, log_abs, signs)) / determinant - 1

    scales, seeds = jnp.array([3.0, 300.0, 3e3, 3e4, 1e9]), jnp.arange(12)
    found = jax.jit(jax.vmap(jax.vmap(off, (None, 0)), (0, None)))(scales, seeds)
    np.testing.assert_allclose(found, 0, atol=1e-13)  # some 8 x 10 roundings of eps, relative to the whole


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_values_of_saturated_networks(seed):
    factors = saturated_network(seed, 500.0, 6, 5)
    exact = truth(*factors, digits=9000)
    np.testing.assert_allclose(log_singular_values_of_product(*factors), exact, rtol=0, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(("spread", "layers"), [(1.0, 20), (3.0, 31), (12.0, 10)])
def test_single_precision_input(spread, layers):
    """1e-3 beside the rounding of the result itself; at spread 12 the pairs of layers are not sound and are done again."""
    factors = [jnp.asarray(f, jnp.float32) for f in tanh_factors(8, layers, spread, 3)]
    exact = truth(*(np.asarray(f, float) for f in factors))
    found = log_singular_values_of_product(*factors)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, exact, rtol=2e-7, atol=1e-3)


@pytest.mark.parametrize("dtype", quick_first([jnp.float32, jnp.float64]))
@pytest.mark.parametrize("kind", ["tanh", "relu"])
def test_every_depth_is_each_partial_product(dtype, kind):
    weights, logs, signs = (jnp.asarray(f, dtype) for f in tanh_factors(WIDTH, LAYERS, 2.0, 5))
    if kind == "relu":
        signs = jnp.where(jnp.arange(WIDTH)[None, :] % 3 == jnp.arange(LAYERS)[:, None] % 4, 0, 1).astype(dtype)
        logs = jnp.zeros_like(logs)
    table = log_singular_values_of_product(weights, logs, signs, every_depth=True)
    assert table.shape == (LAYERS, WIDTH)
    for depth in (1, 6, LAYERS):
        exact = truth(*(np.asarray(f[:depth], float) for f in (weights, logs, signs)), digits=300)
        np.testing.assert_allclose(table[depth - 1], exact, rtol=2e-7, atol=1e-9 if dtype == jnp.float64 else 1e-3)


@pytest.mark.parametrize("dtype", quick_first([jnp.float32, jnp.float64]))
@pytest.mark.parametrize("seed", range(2))
def test_zero_slopes_give_exact_rank(dtype, seed):
    rng = np.random.default_rng(seed)
    weights = jnp.asarray(rng.normal(size=(LAYERS, WIDTH, WIDTH)) / np.sqrt(5), dtype)
    signs = jnp.asarray(rng.random((LAYERS, WIDTH)) < 0.6, dtype)
    exact = truth(weights, np.zeros((LAYERS, WIDTH)), signs, digits=400)
    found = log_singular_values_of_product(weights, jnp.zeros((LAYERS, WIDTH), dtype), signs)
    assert np.isneginf(exact).sum() >= 2, "some directions are dead"
    np.testing.assert_array_equal(np.isneginf(found), np.isneginf(exact))
    np.testing.assert_allclose(found, exact, rtol=2e-7, atol=1e-9 if dtype == jnp.float64 else 1e-3)


def test_a_layer_of_zero_slopes_kills_everything():
    weights, signs = np.ones((LAYERS, WIDTH, WIDTH)) + np.eye(WIDTH), np.ones((LAYERS, WIDTH))
    signs[4] = 0
    found = log_singular_values_of_product(weights, np.zeros_like(signs), signs)
    assert np.isneginf(found).all()


@pytest.mark.parametrize(
    "widths",
    quick_first([(5, 9, 9, 9, 3), (12, 6, 6, 6, 6), (6, 4, 6, 6, 8), (7, 7, 3, 7, 7), (2, 8, 1, 8, 5), (1, 1, 1)]),
)
def test_rectangular_factors(widths):
    rng = np.random.default_rng(1)
    weights = [rng.normal(size=(b, a)) for a, b in itertools.pairwise(widths)]
    logs = [-20 * rng.random(w.shape[0]) for w in weights]
    found = log_singular_values_of_product(weights, logs)
    assert found.shape == (min(widths[0], widths[-1]),)
    np.testing.assert_allclose(found, truth(weights, logs, digits=400), rtol=0, atol=1e-9)


@pytest.mark.slow
def test_a_chosen_spectrum_is_found_between_random_rotations():
    rng = np.random.default_rng(2)
    chosen = np.sort(rng.uniform(-300, 300, size=20))[::-1]
    u, v = haar(rng, 20), haar(rng, 20)
    # U . diag(s)^2 . diag(s) V: singular values s^3
    found = log_singular_values_of_product(np.stack([v, np.eye(20), u]), np.stack([chosen, 2 * chosen, 0 * chosen]))
    np.testing.assert_allclose(found, 3 * chosen, rtol=0, atol=1e-9)


def test_laws_of_a_product():
    weights, logs, signs = tanh_factors(WIDTH, LAYERS, 4.0, 7)
    logs[-1] = 0
    found = log_singular_values_of_product(weights, logs, signs)
    log_det = np.sum(np.linalg.slogdet(weights)[1]) + logs.sum()
    assert float(found.sum()) == pytest.approx(log_det, abs=1e-9), "sum of ln s is ln |det|"
    # D_L is the identity, so J^T = W_1^T D_1 W_2^T .. D_(L-1) W_L^T: shift the slopes by one factor
    turned, shifted = weights[::-1].swapaxes(1, 2), [np.roll(of[::-1], -1, axis=0) for of in (logs, signs)]
    np.testing.assert_allclose(log_singular_values_of_product(turned, *shifted), found, rtol=0, atol=1e-9)
    rotated = weights.copy()
    rotated[0] = weights[0] @ haar(np.random.default_rng(0), WIDTH)
    np.testing.assert_allclose(log_singular_values_of_product(rotated, logs, signs), found, rtol=0, atol=1e-9)
    fewer = log_singular_values_of_product(
        [*weights[:-1], weights[-1][:-1]], [*logs[:-1], logs[-1][:-1]], [*signs[:-1], signs[-1][:-1]]
    )
    assert np.all(fewer <= found[:-1] + 1e-9), "interlacing"
    assert np.all(fewer >= found[1:] - 1e-9), "interlacing"


STRUCTURED = {
    "permutations": np.eye(6)[[3, 0, 5, 1, 2, 4]],
    "blocks": np.kron(np.eye(3), np.array([[1.0, 2.0], [3.0, 4.0]])),
    "triangle": np.triu(np.ones((6, 6))),
    "hadamard": np.kron(np.array([[1.0, 1.0], [1.0, -1.0]]), haar(np.random.default_rng(0), 3)),
    "cycle": np.eye(6) + np.roll(np.eye(6), 1, axis=0),
}


@pytest.mark.parametrize("name", STRUCTURED)
def test_exact_zeros_and_ties_do_not_lead_it_astray(name):
    weights = np.stack([STRUCTURED[name]] * 7)
    logs = np.random.default_rng(3).choice([0.0, -30.0, -31.0, -90.0], size=(7, 6))
    np.testing.assert_allclose(log_singular_values_of_product(weights, logs), truth(weights, logs), rtol=0, atol=1e-9)


def test_a_nan_marks_its_network_and_no_other():
    weights, logs, signs = (jnp.asarray(f, jnp.float32) for f in tanh_factors(6, 8, 2.0, 1))
    batch = jnp.stack([logs, logs.at[3, 2].set(jnp.nan), logs, logs.at[0].set(jnp.nan)])
    for run in (graded.log_values_of_factors, lambda s: graded.log_singular_values_of_every_layer(s)[0][-1]):
        batched = jax.jit(jax.vmap(lambda own, run=run: run([Factor(weights, own, signs)])))
        found, sound = batched(batch), batched(jnp.stack([logs] * 4))
        np.testing.assert_array_equal(found[0], sound[0])
        np.testing.assert_array_equal(found[2], sound[2])
        assert jnp.isnan(found[1]).all()
        assert jnp.isnan(found[3]).all()


def test_an_unsound_network_does_not_change_its_neighbours():
    """One deeply saturated network in a batch is done again layer by layer; the others keep their bits."""
    weights, logs, signs = (jnp.asarray(f, jnp.float32) for f in tanh_factors(8, 8, 1.0, 1))
    saturated = jnp.asarray(tanh_factors(8, 8, 60.0, 2)[1], jnp.float32)
    run = jax.jit(jax.vmap(lambda own: graded.log_values_of_factors([Factor(weights, own, signs)])))
    np.testing.assert_array_equal(run(jnp.stack([logs, saturated]))[0], run(jnp.stack([logs, logs]))[0])
    exact = truth(weights, saturated, signs, digits=1500)
    np.testing.assert_allclose(run(jnp.stack([logs, saturated]))[1], exact, rtol=2e-7, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("widths", [(6, 6), (9, 6), (4, 6)])
def test_derivatives_are_the_limits_of_differences(zeros, widths):
    inputs, n = widths
    rng = np.random.default_rng(4)
    weights = [rng.normal(size=(n, inputs)), *rng.normal(size=(5, n, n))]
    logs = jnp.asarray(-30 * rng.random((6, n)))
    signs = jnp.ones((6, n)).at[2, 1].set(0.0 if zeros else 1.0)
    direction = [rng.normal(size=np.shape(w)) for w in weights], rng.normal(size=(6, n))

    def f(t):
        moved = [w + t * v for w, v in zip(weights, direction[0], strict=True)]
        return log_singular_values_of_product(moved, list(logs + t * direction[1]), list(signs))

    change, h = jax.jvp(f, (0.0,), (1.0,))[1], 1e-5
    values = f(0.0)
    with np.errstate(invalid="ignore"):
        expected = np.where(np.isneginf(values), 0, (f(h) - f(-h)) / (2 * h))
    # differences: third derivative times h^2 / 6, about 1e-8, and 1e-12 / h of rounding
    np.testing.assert_allclose(change, expected, rtol=1e-5, atol=1e-6)
    backward = jax.jit(jax.jacrev(f))(0.0)
    np.testing.assert_allclose(backward, change, rtol=0, atol=1e-9)


def test_derivative_under_vmap_and_reverse_mode():
    weights, logs, signs = (jnp.asarray(f) for f in tanh_factors(6, 6, 2.0, 1))

    @jax.jit
    @jax.vmap
    def gradient(shift):
        return jax.grad(lambda own: log_singular_values_of_product(weights, own, signs)[-1])(logs + shift)

    found = gradient(jnp.zeros(4))
    assert found.shape == (4, 6, 6)
    # scaling all slopes of a layer by e moves each ln s by 1
    np.testing.assert_allclose(found.sum(-1), 1.0, atol=1e-9)


def test_every_depth_says_that_it_has_no_derivative():
    with pytest.raises(NotImplementedError, match="every_depth=True has no derivative"):
        jax.grad(lambda w: log_singular_values_of_product(w, every_depth=True).sum())(jnp.ones((2, 3, 3)))


def test_compiled_once_for_all_values():
    traces = []

    @jax.jit
    def run(logs):
        traces.append(1)
        return graded.log_values_of_factors([Factor(jnp.stack([jnp.eye(4)] * 3), logs, jnp.ones((3, 4)))])

    for scale in (1.0, 10.0, 500.0):
        run(-scale * jnp.ones((3, 4)))
    assert len(traces) == 1


def test_growth_by_qr_is_that_of_the_triangular_factor():
    weights, logs, signs = tanh_factors(5, 6, 1.0, 8)
    growth = graded.log_growth_by_qr(Factor(*(jnp.asarray(f) for f in (weights, logs, signs))))
    product = functools.reduce(
        lambda p, f: (f[2] * np.exp(f[1]))[:, None] * (f[0] @ p), zip(weights, logs, signs, strict=True), np.eye(5)
    )
    expected = np.abs(np.diag(np.linalg.qr(product)[1]))
    # NumPy's R is right to some eps times its largest entry: what its logarithm is worth depends on the entry.
    rounding = 10 * np.finfo(float).eps * expected.max() / expected
    assert np.all(np.abs(growth.sum(0) - np.log(expected)) < rounding)
