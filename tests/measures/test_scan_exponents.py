"""Lyapunov exponents of scans, against published values, exact laws and a second algorithm."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxsat


def henon(carry, _):
    x, y = carry
    return 1 - 1.4 * x**2 + y, 0.3 * x


def lorenz(state, _):
    def velocity(s):
        x, y, z = s
        return jnp.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z])

    dt = 0.01
    a = velocity(state)
    b = velocity(state + dt / 2 * a)
    c = velocity(state + dt / 2 * b)
    return state + dt / 6 * (a + 2 * b + 2 * c + velocity(state + dt * c))


def test_henon_map():
    """0.41922 and -1.62319 (Sprott 2003, Chaos and Time-Series Analysis). |det J| = 0.3 at every point."""
    found = jaxsat.lyapunov_exponents_of_scan(henon, (0.1, 0.1), None, length=20_000, transient=100)
    np.testing.assert_allclose(found.exponents.sum(), np.log(0.3), rtol=1e-12)
    assert 1e-4 < found.standard_error[0] < 1e-2
    # Chance: two values, four standard errors. 5e-6 is the rounding of what is published.
    np.testing.assert_array_less(
        np.abs(found.exponents - np.array([0.41922, -1.62319])), 4 * found.standard_error + 5e-6
    )


def test_lorenz_system():
    """0.9056, 0, -14.5723 per unit of time (Sprott 2003). The divergence is -41/3 at every point."""
    found = jaxsat.lyapunov_exponents_of_scan(lorenz, np.array([1.0, 1.0, 20.0]), None, length=100_000, transient=1000)
    exponents, error = found.exponents / 0.01, found.standard_error / 0.01
    # A Runge-Kutta step has the determinant exp(-41/3 dt) but for terms of order dt^5 with large constants.
    np.testing.assert_allclose(exponents.sum(), -41 / 3, rtol=1e-4)
    assert error.max() < 0.06
    # Along the flow lengths change as the speed, which stays within a factor e^5 after 990 units of time.
    assert abs(exponents[1]) < 5 / 990
    # Chance: three values, four standard errors; 1e-3 for the length of the step.
    np.testing.assert_array_less(np.abs(exponents - np.array([0.9056, 0, -14.5723])), 4 * error + 1e-3)


def test_linear_networks_with_orthogonal_weights_neither_grow_nor_shrink():
    q = np.linalg.qr(np.random.default_rng(3).normal(size=(4, 4)))[0]
    found = jaxsat.lyapunov_exponents_of_scan(lambda h, x: q @ h + x, np.ones(4), np.ones((101, 4)))
    np.testing.assert_allclose(found.exponents, 0, atol=1e-13)  # some eps a step
    np.testing.assert_allclose(found.standard_error, 0, atol=1e-13)


def test_random_linear_networks_with_tied_weights_have_the_law_of_ginibre():
    """Powers of W grow as its eigenvalues. Those fill the disc of radius sigma_w evenly: P(|lambda| < r) = r^2."""
    n, scale = 48, 1.5
    w = scale * np.random.default_rng(0).normal(size=(n, n)) / n**0.5
    found = jaxsat.lyapunov_exponents_of_scan(lambda h, x: w @ h, np.ones(n), None, length=2000, transient=1000)
    true = np.sort(np.log(np.abs(np.linalg.eigvals(w))))[::-1]
    # Frames of complex pairs turn: what is averaged differs by O(1) over 1000 steps. Close pairs are not told apart.
    np.testing.assert_allclose(found.exponents, true, rtol=0, atol=5e-3)
    np.testing.assert_allclose(found.exponents.sum(), np.linalg.slogdet(w)[1], rtol=1e-12)
    radii = np.sort(np.exp(found.exponents) / scale)
    # Eigenvalues repel: the count within r differs from n r^2 by order n^(1/4), about 2.6, and 1 / n^(1/2) at the edge.
    expected = np.clip(radii, 0, 1) ** 2
    np.testing.assert_allclose(np.arange(1, n + 1) / n, expected, rtol=0, atol=6 / n)


def network_case(n=6, steps=203):
    rng = np.random.default_rng(1)
    return 1.5 * rng.normal(size=(n, n)) / n**0.5, 0.3 * rng.normal(size=(steps, n)), rng.normal(size=n)


def benettin(w, xs, h, count=None):
    """The method with QR after each step, in NumPy: growth of each direction in each step."""
    frame, growth = np.eye(len(h)), []
    for x in xs:
        h = np.tanh(w @ h + x)
        frame, r = np.linalg.qr((1 - h**2)[:, None] * w @ frame)
        growth.append(np.log(np.abs(np.diag(r))))
    return np.array(growth)


def test_tanh_network_against_qr_at_every_step():
    w, xs, h = network_case()
    growth = benettin(w, xs, h)
    found = jaxsat.lyapunov_exponents_of_scan(lambda h, x: jnp.tanh(w @ h + x), h, xs)
    order = np.argsort(-growth.mean(0))
    # Pairs of steps are decomposed at once where pivots are above 1e-8 of their row: errors of some 1e-8 a pair at most.
    np.testing.assert_allclose(found.exponents, growth.mean(0)[order], rtol=0, atol=1e-9)
    batches = growth[203 - 14 * 14 :].reshape(14, 14, -1).mean(1)  # 14 = the root of 203; the first 7 are left over
    np.testing.assert_allclose(found.standard_error, batches.std(0, ddof=1)[order] / 14**0.5, rtol=1e-6)
    later = jaxsat.lyapunov_exponents_of_scan(lambda h, x: jnp.tanh(w @ h + x), h, xs, transient=50)
    np.testing.assert_allclose(later.exponents, np.sort(growth[50:].mean(0))[::-1], rtol=0, atol=1e-9)


def test_the_largest_alone_and_single_precision():
    w, xs, h = network_case()
    all_of_them = benettin(w, xs, h)[100:].mean(0)
    few = jaxsat.lyapunov_exponents_of_scan(lambda h, x: jnp.tanh(w @ h + x), h, xs, count=2, transient=100)
    # After 100 steps two random directions have found the plane of the leading two; within it they still turn.
    np.testing.assert_allclose(few.exponents.sum(), all_of_them[:2].sum(), rtol=0, atol=1e-5)
    np.testing.assert_allclose(few.exponents, all_of_them[:2], rtol=0, atol=2 / 103)
    w, xs, h = (jnp.asarray(a, jnp.float32) for a in (w, xs, h))
    single = jaxsat.lyapunov_exponents_of_scan(lambda h, x: jnp.tanh(w @ h + x), h, xs, transient=100)
    assert single.exponents.dtype == jnp.float32
    np.testing.assert_allclose(single.exponents, np.sort(all_of_them)[::-1], rtol=0, atol=1e-3)  # not chaotic here


def test_the_error_is_that_of_independent_steps():
    """h_t = x_t h_(t-1): the exponent is the mean of ln x, its error the deviation by the root of the number of steps."""
    logs = np.random.default_rng(0).normal(size=(4000, 1))
    found = jaxsat.lyapunov_exponents_of_scan(lambda h, x: x * h, np.ones(1), np.exp(logs))
    np.testing.assert_allclose(found.exponents[0], logs.mean(), rtol=0, atol=1e-12)
    # 63 batches: the estimate of the error itself has one of 1 / (2 * 62)^(1/2) = 9 percent. Four of these.
    np.testing.assert_allclose(found.standard_error[0], 1 / 4000**0.5, rtol=0.36)


@pytest.mark.parametrize("length", [1, 5, *(pytest.param(length, marks=pytest.mark.slow) for length in (2, 3))])
def test_few_steps(length):
    found = jaxsat.lyapunov_exponents_of_scan(lambda h, x: 0.5 * h, np.ones(2), None, length=length)
    np.testing.assert_allclose(found.exponents, np.log(0.5), rtol=1e-14)
    assert np.isnan(found.standard_error).all() == (length < 4)


def test_lost_directions_and_broken_states():
    found = jaxsat.lyapunov_exponents_of_scan(lambda h, x: jnp.array([2.0, 0.0]) * h, np.ones(2), None, length=9)
    np.testing.assert_allclose(found.exponents, [np.log(2), -np.inf])
    blown = jaxsat.lyapunov_exponents_of_scan(lambda h, x: h**2, np.array([1.0, 10.0]), None, length=20)
    assert np.isnan(blown.exponents).all()


def test_wrong_counts_and_transients():
    for kw, match in (
        ({"count": 3}, "`count` must be an integer from 1 to 2; got 3. The carry has 2 numbers."),
        ({"transient": 5}, "`transient` must be an integer from 0 to 4; got 5. The scan has 5 steps."),
    ):
        with pytest.raises(ValueError, match=match):
            jaxsat.lyapunov_exponents_of_scan(lambda h, x: h, np.ones(2), None, length=5, **kw)
