"""The decomposition of a graded matrix by itself: by windows, and by Jacobi rotations."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsat.linalg import graded_jacobi, graded_steps, graded_svd
from jaxsat.linalg.graded_steps import Factor
from tests.linalg.exact_products import tanh_factors, truth
from tests.quick_cases import quick_first

LOG_VALUES = jax.jit(graded_svd.log_values)  # outside jit each operation would be a program of its own
TRIANGLE = jax.jit(graded_svd.triangle)
JACOBI = jax.jit(graded_jacobi.jacobi_log_values)


@functools.partial(jax.jit, static_argnames="vectors")
def in_windows(g, d, rank, vectors=False):
    return graded_svd.in_windows(g, d, rank, graded_svd.RELATIVE, vectors=vectors)


@pytest.mark.parametrize("vectors", [False, True])
@pytest.mark.parametrize("spread", [1e4, 1e12])
def test_gaps_of_any_size_are_leapt_over(spread, vectors):
    """Far apart, values are those of the triangle's diagonal; window by window, 1e12 nats would take years."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(6, 5))
    d = spread * np.array([1.0, 0.4, 0.39, -0.2, -3.0])
    exact = d + np.log(np.abs(np.diagonal(np.linalg.qr(x)[1])))
    if vectors:
        found, rows = in_windows(
            TRIANGLE(jnp.asarray(x.T), jnp.asarray(d)), jnp.asarray(d), jnp.asarray(5), vectors=True
        )
        np.testing.assert_allclose(rows @ rows.T, np.eye(5), atol=1e-13)
    else:
        found = LOG_VALUES(jnp.asarray(x.T), jnp.asarray(d))
    np.testing.assert_allclose(found, exact, rtol=4e-16, atol=1e-12)  # rounding of d; QR of a 6 x 5 matrix


@pytest.mark.parametrize("entries", quick_first([(0.0, 1.0, -1.0, 1e-10, 1e-17, 1e-30), (0.0, 1.0, -1.0)]))
def test_exact_zeros_and_tiny_entries_do_not_lead_the_decomposition_astray(entries):
    """Its input alone: row permutations of unit triangles, columns graded in steps of 30."""
    rng, n = np.random.default_rng(6), 6
    x = np.tril(rng.choice(entries, size=(60, n, n)), -1) + np.eye(n)
    x = np.stack([own[rng.permutation(n)] for own in x])
    d = -30.0 * rng.integers(0, rng.choice([2, 4, 9, 21], size=(60, 1)), size=(60, n))
    find = jax.jit(jax.vmap(graded_svd.log_values))
    found = find(jnp.asarray(x.swapaxes(1, 2)), jnp.asarray(d))
    # X diag(exp d) is the transpose of diag(exp d) X^T
    exact = [truth(own.T[None], own_d[None], digits=700) for own, own_d in zip(x, d, strict=True)]
    np.testing.assert_allclose(found, np.stack(exact), rtol=0, atol=1e-9)


@pytest.mark.parametrize(("spread", "n"), [(900.0, 24), pytest.param(700.0, 40, marks=pytest.mark.slow)])
def test_values_at_the_ends_of_a_window_keep_their_digits(spread, n):
    """Up to 540 nats lie in one window. With a reach of 400 errors would be 10, with a margin of 5, 8e-11."""
    rng = np.random.default_rng(0)
    for d in (-np.sort(rng.uniform(0, spread, n)), -np.linspace(0, spread, n)):
        x = rng.normal(size=(n, n))
        found = LOG_VALUES(jnp.asarray(x.T / np.abs(x).max()), jnp.asarray(d))
        exact = truth(x.T[None] / np.abs(x).max(), d[None], digits=1000)
        # roundings of ln s; of QR and of the decomposition, which grow with n
        np.testing.assert_allclose(found, exact, rtol=0, atol=2**-52 * (2 * spread + 10 * n))


@pytest.mark.parametrize("spread", [6.0, pytest.param(0.0, marks=pytest.mark.slow)])
def test_jacobi_finds_the_same(spread):
    """What devices other than a CPU run: values, and right vectors that bring diag(exp d) G to orthogonal rows."""
    factors = [jnp.asarray(f) for f in tanh_factors(7, 12, spread, 0)]

    @jax.jit
    def graded(factors):
        state, _ = jax.lax.scan(graded_steps.times, graded_steps.identity([factors]), factors)
        return graded_svd.by_size(*graded_steps.absorbed(state))

    xt, d = graded(Factor(*factors))
    for rank in (7, 5):
        g = np.array(TRIANGLE(xt, d))
        g[:, rank:] = 0
        found, rows = JACOBI(g, d, jnp.asarray(rank))
        expected, _ = in_windows(g, d, jnp.asarray(rank))
        rows = np.asarray(rows)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11)
        np.testing.assert_allclose(rows[:rank] @ rows[:rank].T, np.eye(rank), atol=1e-13)
        sizes = np.asarray(d)
        turned = np.exp(sizes - sizes[0])[:, None] * (g @ rows[:rank].T)
        lengths = np.linalg.norm(turned, axis=0)
        np.testing.assert_allclose(lengths, np.exp(np.asarray(found)[:rank] - sizes[0]), rtol=0, atol=1e-13)
    found = JACOBI(TRIANGLE(xt, d), d, jnp.asarray(7))[0]
    np.testing.assert_allclose(found, truth(*factors), rtol=0, atol=1e-9)
    assert np.isnan(JACOBI(g * np.nan, d, jnp.asarray(7))[0]).all()
