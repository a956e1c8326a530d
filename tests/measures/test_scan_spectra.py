"""Spectra of scans, against arithmetic with many digits and without rounding."""

import functools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import jaxsat
from jaxsat.linalg.exact import exact_log_singular_values_of_product
from tests.quick_cases import quick_first

N, STEPS = 2, 60


def lstm(weights, carry, x):
    h, c = carry
    i, g, f, o = jnp.split(weights @ jnp.concatenate([h, x]), 4)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def lstm_or_matrix(linear, weights, carry, x):
    """The LSTM, or the square half of its weights times the carry: the tests of both share a program."""
    of_matrix = jnp.split(weights.reshape(2, 2 * N, 2 * N)[0] @ jnp.concatenate(carry), 2)
    return jax.tree.map(functools.partial(jnp.where, linear), tuple(of_matrix), lstm(weights, carry, x))


def lstm_case(scale, seed=0):
    rng = np.random.default_rng(seed)
    start = np.zeros(N), np.zeros(N)
    return scale * rng.normal(size=(4 * N, 2 * N)) / N**0.5, start, rng.normal(size=(STEPS, N))


def exact_product(weights, start, xs, steps):
    """d carry_T / d carry_0 of the LSTM with many digits: every slope, state and product. A matrix of mpmath."""
    sigmoid = lambda x: 1 / (1 + mpmath.exp(-x))  # noqa: E731
    w = [[mpmath.mpf(float(v)) for v in row] for row in weights]
    h, c = ([mpmath.mpf(0)] * N for _ in range(2))
    product = mpmath.eye(2 * N)
    for x in xs[:steps]:
        z = [*h, *(mpmath.mpf(float(v)) for v in x)]
        pre = [sum(a * b for a, b in zip(row, z, strict=True)) for row in w]
        jacobian = mpmath.zeros(2 * N)
        new_h, new_c = [], []
        for u in range(N):
            i, g, f, o = sigmoid(pre[u]), mpmath.tanh(pre[N + u]), sigmoid(pre[2 * N + u]), sigmoid(pre[3 * N + u])
            new_c.append(f * c[u] + i * g)
            t = mpmath.tanh(new_c[-1])
            new_h.append(o * t)
            for k in range(N):
                of_c = i * (1 - i) * w[u][k] * g + i * (1 - g * g) * w[N + u][k] + f * (1 - f) * w[2 * N + u][k] * c[u]
                jacobian[N + u, k] = of_c
                jacobian[u, k] = o * (1 - o) * w[3 * N + u][k] * t + o * (1 - t * t) * of_c
            jacobian[N + u, N + u] = f
            jacobian[u, N + u] = o * (1 - t * t) * f
        h, c, product = new_h, new_c, jacobian * product
    return product


def log_values(matrix):
    """ln of singular values, from the eigenvalues of P^T P with enough digits."""
    squares = mpmath.eigsy(matrix.T * matrix, eigvals_only=True)
    return np.array(sorted((float(mpmath.log(v)) / 2 for v in squares), reverse=True))


def everything(weights, start, xs, linear=False):
    """Values and errors, values after every step, values after the last step."""
    return everything_compiled(weights, start, xs, linear)


@jax.jit
def everything_compiled(weights, start, xs, linear):
    step = functools.partial(lstm_or_matrix, linear, weights)
    every = jaxsat.log_singular_values_of_scan(step, start, xs, every_step=True)
    last = jaxsat.log_singular_values_of_scan(step, start, xs)
    return *jaxsat.log_singular_values_of_scan(step, start, xs, with_error=True), every, last


@pytest.mark.parametrize("scale", [9.0, *(pytest.param(scale, marks=pytest.mark.slow) for scale in (1.0, 3.0))])
def test_lstm_against_many_digits(scale):
    """Gates at a scale of 9 are at 30 and more: autodiff's slopes of jax.nn.sigmoid are zeros there, or noise."""
    weights, start, xs = lstm_case(scale)
    values, errors, every, last = everything(weights, start, xs)
    with mpmath.workdps(1500):
        true, early = (log_values(exact_product(weights, start, xs, steps)) for steps in (STEPS, 7))
    assert (errors < 1e-7).all()
    # The estimate counts one rounding of each row of a step's derivative; each entry has some ten of them.
    assert (np.abs(values - true) <= 10 * errors + 1e-11).all()
    # Without an estimate there is no careful way. At a scale of 9 the same weights at every step cost four more digits.
    quick = 1e-6 if scale > 5 else 1e-10
    np.testing.assert_allclose(last, true, rtol=0, atol=quick)
    np.testing.assert_allclose(every[-1], true, rtol=0, atol=quick)
    np.testing.assert_allclose(every[6], early, rtol=0, atol=quick)


def test_the_product_of_derivatives_is_exact_for_hundreds_of_nats():
    weights, start, xs = lstm_case(3.0)
    *_, got = everything(weights, start, xs)
    jacobians, state = [], start
    step = jax.jit(functools.partial(lstm, weights))
    derivative = jax.jit(jax.jacfwd(step))
    for x in xs:
        blocks = derivative(state, x)
        jacobians.append(np.block([[np.asarray(block) for block in row] for row in blocks]))
        state = step(state, x)
    true = exact_log_singular_values_of_product(np.array(jacobians))
    assert true.values[0] - true.values[-1] > 100
    np.testing.assert_allclose(got, true.values, rtol=0, atol=1e-9)  # what `graded` promises for random factors


def powers_of(w):
    """`everything` of h -> W h."""
    return everything(np.concatenate([w, w]), (np.ones(N), np.ones(N)), np.zeros((STEPS, N)), linear=True)


@pytest.mark.parametrize("kind", quick_first(["triangular", "gaussian"]))
def test_tied_weights_beside_exact_powers(kind):
    """Powers of one matrix: a triangular Toeplitz matrix, almost defective, is the hard case."""
    n = 2 * N
    w = np.random.default_rng(2).normal(size=(n, n)) / 2
    w = w if kind == "gaussian" else np.tril(np.ones((n, n)) / 2)
    true = exact_log_singular_values_of_product(np.array([w] * STEPS))
    values, errors, _, quick = powers_of(w)
    assert (np.abs(values - true.values) <= errors + true.errors + 1e-14 * np.abs(true.values)).all()
    assert errors.max() < 1e-3
    np.testing.assert_allclose(quick, true.values, rtol=0, atol=1e-6)


def test_single_precision_batched_and_jitted():
    weights, start, xs = lstm_case(1.0)
    both = np.stack([weights, 1.5 * weights])

    def values(weights, dtype):
        small = jax.tree.map(lambda a: jnp.asarray(a, dtype), start)
        return jaxsat.log_singular_values_of_scan(functools.partial(lstm, weights), small, jnp.asarray(xs, dtype))

    true = np.array([everything(w, start, xs)[-1] for w in both])
    with jax.enable_x64(False):
        single = jax.jit(jax.vmap(lambda w: values(w, jnp.float32)))(jnp.asarray(both, jnp.float32))
    assert single.dtype == jnp.float32
    # A step spreads by some exp(9): its smallest direction is known to 1e-7 exp(9), 40 times, by chance 40^(1/2).
    np.testing.assert_allclose(single, true, rtol=0, atol=1e-2)


@pytest.mark.slow
def test_derivatives_are_the_limits_of_differences():
    weights, start, xs = lstm_case(1.0)
    direction = np.random.default_rng(1).normal(size=weights.shape)

    def largest(weights):
        return jaxsat.log_singular_values_of_scan(functools.partial(lstm, weights), start, xs)[0]

    after, before = (everything(weights + t * direction, start, xs)[-1][0] for t in (1e-5, -1e-5))
    # Differences err by their third derivative times 1e-10, and by 1e-12 / 1e-5.
    np.testing.assert_allclose(
        np.sum(jax.jit(jax.grad(largest))(weights) * direction), (after - before) / 2e-5, rtol=1e-5
    )


def test_zero_directions_and_nan():
    values, _, every, last = powers_of(np.diag([0.5, 0.0, 2.0, 4.0]))
    true = STEPS * np.log([4.0, 2.0, 0.5, 0.0], where=[True, True, True, False], out=np.full(4, -np.inf))
    for found in (values, every[-1], last):
        np.testing.assert_allclose(found, true, rtol=1e-14)
    weights, start, xs = lstm_case(1.0)
    values, _, every, last = everything(weights, jax.tree.map(lambda a: a + np.nan, start), xs)
    assert np.isnan(np.concatenate([[values, last], every])).all()


def test_every_step_excludes_errors():
    with pytest.raises(ValueError, match="`with_error` must be False with every_step=True; got True"):
        jaxsat.log_singular_values_of_scan(lambda h, x: h, np.ones(1), np.ones(1), every_step=True, with_error=True)


@pytest.mark.parametrize("dtype", quick_first([jnp.float64, jnp.float32]))
def test_leading_values_of_a_wide_scan(dtype):
    """A symmetric matrix with eigenvalues 0.05 nats a step apart."""
    n, steps = 60, 50
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(n, n)))[0].astype(dtype)
    slopes = (np.exp(-0.05 * np.arange(n)) * 0.5).astype(dtype)

    def step(h, x):
        return turn @ (slopes * (turn.T @ h))

    found = jaxsat.leading_log_singular_values_of_scan(step, jnp.ones(n, dtype), None, 4, length=steps)
    assert found.values.dtype == dtype
    # Rounding: some eps a step; the ninth value beyond is exp(-0.4 50) of the fourth: converged.
    np.testing.assert_allclose(
        found.values, steps * np.log(slopes[:4]), rtol=0, atol=1e-12 if dtype == jnp.float64 else 1e-3
    )
    assert (found.changes < 1e-3).all()


@pytest.mark.slow
def test_leading_values_stay_below_the_true_ones_and_say_what_is_missing():
    rng = np.random.default_rng(1)
    w, xs, start = rng.normal(size=(40, 40)) / 40**0.5, rng.normal(size=(3, 40)), np.zeros(40)
    step = lambda h, x: jnp.tanh(w @ h + x)  # noqa: E731
    dense = jax.jacfwd(lambda h: functools.reduce(step, xs, h))(start)
    true = np.log(np.linalg.svd(dense, compute_uv=False)[:5])  # three steps: dense is right
    found = jaxsat.leading_log_singular_values_of_scan(step, start, xs, 5)
    assert (found.values <= true + 1e-12).all()
    np.testing.assert_allclose(found.values, true, rtol=0, atol=0.2)
    assert (found.changes >= 0.1 * (true - found.values)).all()
    more = jaxsat.leading_log_singular_values_of_scan(step, start, xs, 5, passes=12)
    np.testing.assert_allclose(more.values, true, rtol=0, atol=1e-3)


def test_leading_values_check_their_arguments():
    for k, kw, match in ((0, {}, "`k` must be an integer from 1 to 2; got 0"), (1, {"passes": 0}, "`passes` must be")):
        with pytest.raises(ValueError, match=match):
            jaxsat.leading_log_singular_values_of_scan(lambda h, x: h, np.ones(2), np.ones(1), k, **kw)
