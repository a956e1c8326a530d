"""Laws at finite width against closed forms, multiple precision, a second route and networks."""

import inspect
import itertools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy import special, stats

import jaxsat
from jaxsat import activations, theory
from tests.quick_cases import quick_first

unchecked = inspect.unwrap  # under the import hook the type checker speaks first


def networks(seeds, **fields):
    """ln ||dE/dh_l|| of so many networks, (seeds, depth)."""
    net = jaxsat.MLP(**fields)
    over = {"weight_scale": [fields["weight_scale"]]}
    return jaxsat.sweep(net, "log_gradient_norms", over, seeds=seeds, progress=False).log_gradient_norms.values[0]


def log_norms_of_products(widths, weight_scale, seeds):
    """ln ||J_l u|| and ln ||x_l|| of ReLU networks, by plain NumPy."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(seeds, widths[0]))
    u = np.zeros((seeds, widths[0]))
    u[:, 0] = 1
    found = []
    with np.errstate(divide="ignore"):
        for n_in, n in itertools.pairwise(widths):
            w = weight_scale / np.sqrt(n_in) * rng.normal(size=(seeds, n, n_in))
            h, u = np.einsum("sij,sj->si", w, x), np.einsum("sij,sj->si", w, u)
            x, u = np.where(h > 0, h, 0), np.where(h > 0, u, 0)
            found.append(np.log(np.linalg.norm(u, axis=1)))
    return np.stack(found, axis=1)


def assert_mean_and_std(values, mean, std, bias=0.0):
    """Within 4 standard errors, and `bias` of std for what the law leaves out."""
    error = values.std() / np.sqrt(len(values))
    assert 4 * error + bias * std < np.log(1.05), "too few networks to see a factor of 1.05"
    assert abs(values.mean() - mean) < 4 * error + bias * std
    fourth = np.mean((values - values.mean()) ** 4) / values.var() ** 2
    relative = np.sqrt((fourth - 1) / len(values)) / 2
    assert 4 * relative + bias < 0.07  # the fourth moment of a few thousand heavy-tailed values is uncertain itself
    assert abs(values.std() / std - 1) < 4 * relative + bias


# --- exact ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 10, 300])
def test_a_relu_layer_by_summation_in_multiple_precision(n):
    with mpmath.workdps(30):
        weights = [mpmath.binomial(n, b) / (mpmath.mpf(2) ** n - 1) for b in range(1, n + 1)]
        means = [mpmath.psi(0, mpmath.mpf(b) / 2) + mpmath.log(2) for b in range(1, n + 1)]
        mean = mpmath.fdot(weights, means)
        variance = sum(
            w * (mpmath.psi(1, mpmath.mpf(b) / 2) + (m - mean) ** 2)
            for b, w, m in zip(range(1, n + 1), weights, means, strict=True)
        )
        mean = (mean + mpmath.log(mpmath.mpf("1.5") ** 2 / 7)) / 2
    law = theory.exact_log_norms("relu", 1, n, 1.5, of="jacobian", inputs=7)
    assert float(law.mean[0]) == pytest.approx(float(mean), rel=1e-11)
    assert float(law.std[0]) == pytest.approx(float(mpmath.sqrt(variance)) / 2, rel=1e-11)
    assert float(law.log_survival[0]) == pytest.approx(np.log1p(-(2.0**-n)), rel=1e-12)


def test_linear_networks_in_closed_form():
    widths = [5, 2, 9]
    law = theory.exact_log_norms("identity", 3, widths, 1.3, of="jacobian", inputs=4)
    steps = [
        np.log(1.3**2 / n_in) + special.digamma(n / 2) + np.log(2) for n_in, n in zip([4, 5, 2], widths, strict=True)
    ]
    np.testing.assert_allclose(law.mean, np.cumsum(steps) / 2, rtol=1e-12)
    np.testing.assert_allclose(law.std, np.sqrt(np.cumsum(special.polygamma(1, np.array(widths) / 2))) / 2, rtol=1e-12)
    assert not law.log_survival.any()
    back = theory.exact_log_norms("identity", 3, widths, 1.3)
    steps = [np.log(1.3**2 / n) + special.digamma(n / 2) + np.log(2) for n in widths[:2]]
    np.testing.assert_allclose(back.mean, [sum(steps) / 2, steps[1] / 2, 0], rtol=1e-12, atol=1e-15)
    assert back.std[2] == 0, "the cotangent's norm is 1"


def test_the_last_gradient_of_two_relu_units():
    """B = 1 with probability 2/3: Beta(1/2, 1/2), E ln = -2 ln 2, Var ln = pi^2 / 3; B = 2: the cotangent's own norm."""
    law = theory.exact_log_norms("relu", 1, 2, 1.7)
    assert float(law.mean[0]) == pytest.approx(-2 / 3 * np.log(2), rel=1e-12)
    variance = 2 / 3 * np.pi**2 / 3 + 2 / 9 * (2 * np.log(2)) ** 2
    assert float(law.std[0]) == pytest.approx(np.sqrt(variance) / 2, rel=1e-12)


def test_wide_relu_networks_lose_five_quarters_of_depth_over_width():
    """Hanin & Nica 2018, to first order; the last gradient has variance 3 / n, not 5 / n."""
    n, depth = 4000, 10
    law = theory.exact_log_norms("relu", depth, n, 2**0.5)
    noise = (5 * (depth - 1) + 3) / n
    assert float(law.std[0]) == pytest.approx(np.sqrt(noise) / 2, rel=1e-3)
    assert float(law.mean[0]) == pytest.approx((np.log(0.5) - noise / 2) / 2, rel=1e-5)


@pytest.mark.parametrize("of", ["gradient", "jacobian"])
def test_moments_in_closed_form(of):
    w, n = 1.3, np.array([3.0, 2.0, 6.0])
    fan_in = np.array([3.0, 3.0, 2.0]) if of == "jacobian" else n
    second, fourth = w**2 / fan_in * n / 2, (w**2 / fan_in) ** 2 * (n**2 + 5 * n) / 4
    alive = 1 - 2.0**-n
    if of == "gradient":
        second[-1], fourth[-1] = 0.5, (n[-1] + 5) / (n[-1] + 2) / 4
        second, fourth = (np.cumprod(a[::-1])[::-1] * np.cumprod([1, *alive[:-1]]) for a in (second, fourth))
    else:
        second, fourth = np.cumprod(second), np.cumprod(fourth)
    found = theory.norm_moments("relu", 3, [3, 2, 6], w, of=of)
    np.testing.assert_allclose(np.exp(found.log_second), second, rtol=1e-12)
    np.testing.assert_allclose(np.exp(found.log_fourth), fourth, rtol=1e-12)


@pytest.mark.parametrize("of", quick_first(["gradient", "jacobian"]))
@pytest.mark.parametrize(
    ("activation", "widths"), quick_first([("relu", [3, 2, 6]), ("identity", [2, 5])], several=True)
)
def test_the_distribution_has_the_moments_found_without_it(activation, widths, of):
    depth, w = len(widths), 1.3
    law = theory.exact_log_norms(activation, depth, widths, w, of=of)
    moments = theory.norm_moments(activation, depth, widths, w, of=of)
    at = 0 if of == "gradient" else -1
    x = np.linspace(-45, 6, 10_201)
    found = theory.exact_log_norm_distribution(x, activation, depth, widths, w, of=of)
    density, step = np.asarray(found.density), x[1] - x[0]
    mean = step * density @ x
    assert step * density.sum() == pytest.approx(1, abs=1e-10)
    assert mean == pytest.approx(float(law.mean[at]), abs=1e-9)
    assert np.sqrt(step * density @ (x - mean) ** 2) == pytest.approx(float(law.std[at]), rel=1e-9)
    # exp(4 * 6) times the density's own error, 1e-15, is the second tolerance
    for power, log, rel in ((2, moments.log_second[at], 1e-8), (4, moments.log_fourth[at], 1e-4)):
        assert np.exp(law.log_survival[at]) * step * density @ np.exp(power * x) == pytest.approx(np.exp(log), rel=rel)
    cumulative = step * (np.cumsum(density) - density / 2)
    np.testing.assert_allclose(found.cumulative, cumulative, atol=1e-5)  # the rectangles' own error


def test_the_distribution_of_one_gaussian_factor():
    """Width 1, depth 1: ||J u|| = |z|."""
    x = np.linspace(-12, 2.5, 30).reshape(5, 6)
    found = theory.exact_log_norm_distribution(x, "identity", 1, 1, 2.0, of="jacobian", inputs=4)
    np.testing.assert_allclose(found.cumulative, special.erf(np.exp(x) / np.sqrt(2)), atol=1e-12)
    np.testing.assert_allclose(found.density, 2 * np.exp(x) * stats.norm.pdf(np.exp(x)), atol=1e-12)
    far = theory.exact_log_norm_distribution(jnp.array([-1e4, 1e4]), "relu", 3, 2, 1.0)
    assert found.density.shape == x.shape
    assert (far.density.tolist(), far.cumulative.tolist()) == ([0.0, 0.0], [0.0, 1.0])


@pytest.mark.slow
def test_gradients_of_relu_networks():
    depth, n, seeds = 8, 12, 20_000
    values = networks(seeds, depth=depth, width=n, activation="relu", weight_scale=1.5)
    law = theory.exact_log_norms("relu", depth, n, 1.5)
    alive = np.isfinite(values)
    share = float(np.exp(law.log_survival[0]))
    assert abs(alive[:, 0].mean() - share) < 4 * np.sqrt(share * (1 - share) / seeds)
    assert (alive == alive[:, :1]).all(), "a dead layer leaves no gradient anywhere"
    values = values[alive[:, 0]]
    for layer in (0, 4, 7):
        assert_mean_and_std(values[:, layer], float(law.mean[layer]), float(law.std[layer]))
    found = theory.exact_log_norm_distribution(values[:, 0], "relu", depth, n, 1.5)
    # Kolmogorov's 1.95 / sqrt(N) is passed by 1 in 1000; a shift by ln 1.05 is 0.03
    assert stats.kstest(np.asarray(found.cumulative), "uniform").statistic < 1.95 / np.sqrt(len(values)) < 0.025


def test_vectors_through_relu_networks_of_unequal_widths():
    widths, seeds = [3, 8, 5, 16], 20_000
    values = log_norms_of_products(widths, 1.4, seeds)
    law = theory.exact_log_norms("relu", 3, widths[1:], 1.4, of="jacobian", inputs=3)
    alive = np.isfinite(values)
    for layer in range(3):
        share = float(np.exp(law.log_survival[layer]))
        assert abs(alive[:, layer].mean() - share) < 4 * np.sqrt(share * (1 - share) / seeds)
        assert_mean_and_std(values[alive[:, layer], layer], float(law.mean[layer]), float(law.std[layer]))
    found = theory.exact_log_norm_distribution(
        values[alive[:, -1], -1], "relu", 3, widths[1:], 1.4, of="jacobian", inputs=3
    )
    assert stats.kstest(np.asarray(found.cumulative), "uniform").statistic < 1.95 / np.sqrt(alive[:, -1].sum())


# --- first order ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("activation", "weight_scale"), [("relu", 1.3), ("identity", 0.9)])
def test_first_order_is_the_exact_law_of_wide_networks(activation, weight_scale):
    widths = [3000, 5000, 4000, 6000]
    exact = theory.exact_log_norms(activation, 4, widths, weight_scale)
    found = theory.log_normal_law(activation, 4, widths, weight_scale)
    infinite = theory.log_normal_law(activation, 4, 10**12, weight_scale).mean
    # What is left out is of order 1 / n beside what is kept.
    np.testing.assert_allclose(found.mean - infinite, exact.mean - infinite, rtol=2e-3, atol=1e-9)
    np.testing.assert_allclose(found.std**2, exact.std**2, rtol=2e-3, atol=1e-9)


@pytest.mark.parametrize(
    ("activation", "weight_scale", "bias_scale", "depth", "width", "count"),
    [
        ("sigmoid", 3.0, 0.5, 6, 40, 3000),
        *(
            pytest.param(*case, 64, 8000, marks=pytest.mark.slow)
            for case in (("sigmoid", 3.0, 0.5, 8), ("tanh", 1.5, 0.0, 12), ("leaky_relu", 1.4, 0.3, 8))
        ),
    ],
)
def test_gradients_of_other_networks(activation, weight_scale, bias_scale, depth, width, count):
    """Left out: some depth / n^2 in the variance, 1 % here. Without the fluctuations of q, tanh's std is 12 % too small."""
    values = networks(
        count, depth=depth, width=width, activation=activation, weight_scale=weight_scale, bias_scale=bias_scale
    )
    law = theory.log_normal_law(activation, depth, width, weight_scale, bias_scale)
    for layer in (0, depth // 2):
        assert_mean_and_std(values[:, layer], float(law.mean[layer]), float(law.std[layer]), bias=0.015)


def test_linear_networks_with_biases_have_no_forward_noise():
    """Slopes are 1 whatever the lengths: biases change nothing."""
    plain, biased = (theory.log_normal_law("identity", 5, 20, 1.1, b) for b in (0.0, 0.7))
    np.testing.assert_allclose(plain.mean, biased.mean, rtol=1e-12, atol=1e-15)  # sums of numbers below 1
    np.testing.assert_allclose(plain.std**2, biased.std**2, rtol=1e-12, atol=1e-15)


@pytest.mark.slow
def test_homogeneous_activations_at_lengths_beyond_float64():
    law = theory.log_normal_law("relu", 3000, 1000, 4.0)
    exact = theory.exact_log_norms("relu", 3000, 1000, 4.0)
    assert float(law.mean[0]) == pytest.approx(float(exact.mean[0]), abs=0.02)
    vanishing = theory.log_normal_law("tanh", 400, 1000, 0.5)
    linear = theory.log_normal_law("identity", 400, 1000, 0.5)
    assert float(vanishing.std[0]) == pytest.approx(float(linear.std[0]), rel=1e-3)


def test_the_band_holds_as_many_networks_as_it_says():
    law = theory.exact_log_norms("relu", 40, 40, 2**0.5)
    low, high = (float(v) for v in law.quantiles((0.05, 0.95))[:, 0])
    found = theory.exact_log_norm_distribution(jnp.array([low, high]), "relu", 40, 40, 2**0.5)
    # exact probabilities: the law is skewed to the left, so that 0.05 becomes 0.055
    np.testing.assert_allclose(found.cumulative, [0.05, 0.95], atol=0.008)
    np.testing.assert_allclose(law.quantiles((0.5,))[0], law.mean)


# --- products of gaussian matrices -----------------------------------------------------------------------------------


def test_lyapunov_exponents_of_gaussian_products():
    """By QR: the logarithms of R's diagonal are independent from factor to factor."""
    n, count = 4, 40_000
    r = np.linalg.qr(np.random.default_rng(0).normal(size=(count, n, n)) * 1.7 / np.sqrt(n), mode="r")
    steps = np.log(np.abs(np.diagonal(r, axis1=1, axis2=2)))
    found = theory.gaussian_lyapunov_exponents(n, 1.7)
    error = steps.std(0) / np.sqrt(count)
    assert (4 * error < np.log(1.05)).all()
    assert (np.abs(steps.mean(0) - np.asarray(found)) < 4 * error).all()
    halves = [mpmath.psi(0, mpmath.mpf(k) / 2) for k in (4, 3, 2, 1)]
    exact = [float(mpmath.log(mpmath.mpf("1.7")) + (h + mpmath.log(2) - mpmath.log(4)) / 2) for h in halves]
    np.testing.assert_allclose(found, exact, rtol=1e-12, atol=1e-13)


# --- transformations, dtype and input --------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "function",
    [
        lambda w: theory.exact_log_norms("relu", 4, 5, w).mean,
        lambda w: theory.norm_moments("relu", 4, 5, w).log_fourth,
        lambda w: theory.log_normal_law("tanh", 4, 5, w, 0.2).std,
        lambda w: theory.log_normal_law("relu", 4, 5, w).quantiles(),
        lambda w: theory.exact_log_norm_distribution(jnp.array([-1.0, 0.5]), "relu", 4, 5, w).density,
        lambda w: theory.gaussian_lyapunov_exponents(3, w),
    ],
)
def test_jit_vmap_and_single_precision(function):
    scales = jnp.array([0.8, 1.5])
    one_by_one = jnp.stack([function(float(w)) for w in scales])
    np.testing.assert_allclose(jax.jit(jax.vmap(function))(scales), one_by_one, rtol=1e-12)
    with jax.enable_x64(False):
        single = function(0.8)
        assert single.dtype == jnp.float32
        np.testing.assert_allclose(np.asarray(single), one_by_one[0], rtol=2e-7)


def test_derivative_in_the_scale():
    grad = jax.grad(lambda w: theory.exact_log_norms("relu", 4, 5, w).mean[0])(1.3)
    assert float(grad) == pytest.approx(3 / 1.3, rel=1e-12)


def test_zero_weights():
    law = theory.exact_log_norms("relu", 3, 4, 0.0)
    assert np.isneginf(law.mean[:2]).all()
    assert np.isfinite(law.mean[2])


@jax.jit
def exploding(x):
    return jnp.exp(x * x)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: theory.exact_log_norms("tanh", 2, 3, 1.0), ValueError, "must be one of relu, identity.*got 'tanh'"),
        (lambda: theory.exact_log_norms(exploding, 2, 3, 1.0), ValueError, "got 'exploding'. log_normal_law"),
        (lambda: theory.exact_log_norms("relu", 2, 3, 1.0, of="weights"), ValueError, "`of` must be a known name; got 'weights'. Known: gradient, jacobian"),
        (lambda: theory.exact_log_norms("relu", 0, 3, 1.0), ValueError, "`depth` must be an integer of at least 1; got 0"),
        (lambda: theory.exact_log_norms("relu", 2, 0, 1.0), ValueError, "`width` must be an integer of at least 1; got 0"),
        (lambda: unchecked(theory.exact_log_norms)("relu", 2, 2.5, 1.0), TypeError, "`width` must be an integer of at least 1; got 2.5"),
        (lambda: unchecked(theory.exact_log_norms)("relu", 2, "3", 1.0), TypeError, "`width` must be an integer of at least 1; got '3'"),
        (lambda: theory.exact_log_norms("relu", 2, [3, 3, 3], 1.0), ValueError, "one for each of 2 layers; got 3"),
        (lambda: theory.exact_log_norms("relu", 2, 3, 1.0, inputs=0), ValueError, "`inputs` must be an integer of at least 1"),
        (lambda: theory.exact_log_norms("relu", 2, 3, -1.0), ValueError, "`weight_scale` must be a finite number and at least 0; got -1"),
        (lambda: theory.norm_moments("relu", 2, 3, np.ones(2)), TypeError, "`weight_scale` must be a finite number"),
        (lambda: theory.exact_log_norm_distribution(np.zeros(1), "relu", 1, 3, 1.0), ValueError, "`depth` must be at least 2 for a gradient; got 1"),
        (lambda: theory.log_normal_law("tanh", 2, 3, 0.0), ValueError, "`weight_scale` must be a finite number and above 0; got 0"),
        (lambda: theory.log_normal_law("tahn", 2, 3, 1.0), ValueError, "Did you mean 'tanh'"),
        (lambda: theory.log_normal_law("tanh", 2, 3, 1.0, np.inf), ValueError, "`bias_scale` must be a finite number"),
        (lambda: theory.log_normal_law(exploding, 2, 3, 1.0), ValueError, r"of 'exploding' is not finite"),
        (lambda: theory.log_normal_law("tanh", 2, 3, 1.0).quantiles((1.5,)), ValueError, r"`levels` must lie in \[0, 1\]"),
        (lambda: theory.gaussian_lyapunov_exponents(0, 1.0), ValueError, "`width` must be an integer of at least 1"),
    ],
)  # fmt: skip
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_callable_named_like_the_catalogue_is_not_taken_for_it():
    def relu(x):
        return jnp.where(x > 0, x, 0.5 * x)

    assert activations.get(relu).name == "relu"
    with pytest.raises(ValueError, match="must be one of relu, identity"):
        theory.exact_log_norms(relu, 2, 3, 1.0)
