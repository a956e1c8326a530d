import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import digamma, polygamma

import jaxsat
from jaxsat import addresses
from jaxsat.measures import gradients
from tests.draws import params_of
from tests.quick_cases import quick_first

KEY = addresses.root(3)
SIZES = {"depth": 6, "width": 9}  # of most networks here: they share programs
U = np.random.default_rng(3).normal(size=9)

norms_of = jax.jit(jaxsat.log_gradient_norms, static_argnames="every_depth")


@jax.jit
def by_autodiff(net, params, x, cotangent):
    """dE/dh_l as the gradient with respect to a shift of each layer's biases."""
    params = params.scaled()
    loss = lambda biases: net.apply(params._replace(biases=biases), x) @ cotangent  # noqa: E731
    return jax.grad(loss)(params.biases)


def log_norms_by_numpy(net, params, x, cotangent):
    """Second algorithm: NumPy, float64, slopes multiplied in plainly, rescaled by the norm at each layer.

    It takes the pre-activations as they are: a chaotic forward pass cannot be repeated in another arithmetic.
    """
    slopes = np.asarray(net.phi.slope(net.trace(params, x).pre_activations), np.float64)
    return log_norms_of_slopes(params, slopes, cotangent)


def log_norms_of_slopes(params, slopes, cotangent):
    """The same, slopes given: those of the first k layers give the network of k layers."""
    weights = np.asarray(params.hidden, np.float64) * float(params.weight_scale)
    log_scale, signal, norms = 0.0, np.asarray(cotangent), []
    for layer in reversed(range(len(slopes))):
        signal = slopes[layer] * signal
        norm = np.linalg.norm(signal)
        log_scale += np.log(norm)
        norms.append(log_scale)
        signal = weights[layer - 1].T @ (signal / norm) if layer else None
    return np.array(norms[::-1])


@pytest.mark.parametrize(
    ("activation", "sizes"),
    [
        ("relu", {}),
        *quick_first([("gelu", {"inputs": 5, "outputs": 3}), ("gelu", {"depth": 1})], several=True),
        *(
            pytest.param(name, {}, marks=pytest.mark.slow)
            for name in ("tanh", "sigmoid", "gelu", "leaky_relu", "sin", "hard_tanh", "softsign")
        ),
    ],
)
def test_signal_equals_autodiff(activation, sizes):
    net = jaxsat.MLP(**SIZES | {"activation": activation, "weight_scale": 1.4, "bias_scale": 0.3} | sizes)
    params, x = params_of(net), np.linspace(-1, 1, net.input_width)
    u = U[: net.output_width] / np.linalg.norm(U[: net.output_width])
    expected = np.asarray(by_autodiff(net, params, x, u))
    signal = jaxsat.backpropagated_signal(net, params, x, u)
    direction, log_scale = (np.asarray(part) for part in signal)
    got = direction * np.exp(log_scale)[:, None]
    np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-13 * np.abs(expected).max())
    norms = jaxsat.log_gradient_norms(net, params, x, u)
    np.testing.assert_allclose(norms, np.log(np.linalg.norm(expected, axis=1)), rtol=0, atol=1e-12)
    assert np.abs(direction).max(axis=1).min() == 1


@pytest.mark.parametrize("outputs", quick_first([None, 4]))
def test_every_depth_rows_are_the_shallower_networks(outputs):
    net = jaxsat.MLP(**SIZES, weight_scale=1.5, outputs=outputs)
    params, x = params_of(net), np.linspace(-1, 1, 9)
    table = np.asarray(norms_of(net, params, x, key=KEY, every_depth=True))
    slopes = 1 - np.tanh(np.asarray(net.trace(params, x).pre_activations)) ** 2
    top = np.asarray(gradients.unit_cotangent(net, KEY))
    if outputs is not None:
        top = 1.5 * np.asarray(params.readout).T @ top
    for depth in range(1, 7):
        expected = log_norms_of_slopes(params, slopes[:depth], top)
        np.testing.assert_allclose(table[depth - 1, :depth], expected, rtol=0, atol=1e-12)
        assert np.isnan(table[depth - 1, depth:]).all()


@pytest.mark.parametrize(
    ("activation", "scale"), quick_first([("sigmoid", 1.0), ("tanh", 300.0), ("erf", 8.0)], several=True)
)
def test_a_thousand_layers(activation, scale):
    net = jaxsat.MLP(depth=1000, width=24, activation=activation, weight_scale=scale)
    # At scale 300 hardly any unit is near 0. At 30 some are, and rounding grows from layer to layer.
    params, x, u = jax.jit(net.init)(KEY), np.ones(24), np.ones(24)
    norms = np.asarray(norms_of(net, params, x, u))
    np.testing.assert_allclose(norms, log_norms_by_numpy(net, params, x, u), rtol=1e-11, atol=1e-10)
    assert np.isfinite(norms).all()
    if activation == "sigmoid":
        assert -1600 < norms[0] < -1300


def test_a_thousand_sigmoid_layers_in_float32():
    net = jaxsat.MLP(depth=1000, width=24, activation="sigmoid")
    x = u = np.ones(24)
    norms = norms_of(net, params_of(net, dtype=np.float32), x.astype(np.float32), u.astype(np.float32))
    assert norms.dtype == np.float32
    expected = norms_of(net, params_of(net), x, u)
    # One rounding of up to half an ulp of 1460 (6e-5) a layer adds like a random walk: sqrt(1000) * 4e-5 = 1e-3.
    np.testing.assert_allclose(norms, expected, rtol=0, atol=5e-3)


def test_deep_saturation_where_slopes_underflow():
    """tanh at pre-activations of thousands: slopes of exp(-1000) and less, in a closed form."""
    net = jaxsat.MLP(**SIZES)
    params = params_of(net)._replace(first=900 * np.eye(9), hidden=np.broadcast_to(-2000 * np.eye(9), (5, 9, 9)))
    norms = norms_of(net, params, np.ones(9), np.eye(9)[0])
    # ln sech^2(h) = 2 ln 2 - 2 |h| far out; |h| is 900 in the first layer, 2000 in the others
    slopes = 2 * np.log(2) - 2 * np.array([900.0, 2000, 2000, 2000, 2000, 2000])
    expected = np.cumsum(slopes[::-1])[::-1] + np.log(2000) * np.arange(5, -1, -1)
    np.testing.assert_allclose(norms, expected, rtol=1e-14)


def test_orthogonal_linear_networks_scale_each_layer_alike():
    net = jaxsat.MLP(**SIZES, activation="identity", ensemble="orthogonal", weight_scale=0.25)
    norms = norms_of(net, params_of(net), np.ones(9), U / np.linalg.norm(U))
    np.testing.assert_allclose(norms, np.log(0.25) * np.arange(5, -1, -1), rtol=0, atol=1e-12)


def test_a_dead_network_has_exactly_no_gradient():
    net = jaxsat.MLP(**SIZES, activation="relu", bias_scale=1.0)
    params = params_of(net)._replace(biases=np.where(np.arange(6)[:, None] == 1, -1e6, np.zeros((6, 9))))
    norms = np.asarray(jaxsat.log_gradient_norms(net, params, np.ones(9), np.ones(9)))
    assert (norms[:2] == -np.inf).all()


def test_nan_stays_in_its_network():
    net = jaxsat.MLP(**SIZES)
    x = np.where(np.arange(2)[:, None] == 1, np.nan, np.ones((2, 9)))
    norms = np.asarray(jax.jit(jax.vmap(lambda x: jaxsat.log_gradient_norms(net, params_of(net), x, U)))(x))
    assert np.isfinite(norms[0]).all()
    assert np.isnan(norms[1]).all()


def test_linear_gaussian_growth_is_the_exact_finite_width_law():
    """E ln ||W u||^2 = psi(n/2) + ln(2/n) + 2 ln sigma_w for a gaussian n x n matrix and any unit u (chi square)."""
    n, depth, count, scale = 10, 40, 500, 1.2
    net = jaxsat.MLP(depth=depth, width=n, activation="identity", weight_scale=scale)
    norms_of_key = lambda k: jaxsat.log_gradient_norms(net, net.init(k), np.ones(n), np.eye(n)[0])  # noqa: E731
    norms = np.asarray(jax.jit(jax.vmap(norms_of_key))(jax.random.split(KEY, count)))
    per_layer = (norms[:, 0] - norms[:, -1]) / (depth - 1)
    expected = (digamma(n / 2) + np.log(2 / n)) / 2 + np.log(scale)
    error = np.sqrt(polygamma(1, n / 2) / 4 / (depth - 1) / count)  # var ln chi^2_n = trigamma(n/2)
    assert abs(per_layer.mean() - expected) < 4 * error
    assert error < 0.005


def test_relu_gradient_squares_are_kept_by_he_weights():
    """E ||delta_1||^2 / E ||delta_L||^2 = (sigma_w^2 / 2)^(L-1) at any width (Hanin 2018)."""
    net = jaxsat.MLP(depth=4, width=16, activation="relu", weight_scale="he")
    norms_of_key = lambda k: jaxsat.log_gradient_norms(net, net.init(k), np.ones(16), key=k)  # noqa: E731
    norms = np.asarray(jax.jit(jax.vmap(norms_of_key))(jax.random.split(addresses.root(11), 6000)))
    squares = np.exp(2 * norms[:, 0])
    error = squares.std(ddof=1) / np.sqrt(6000)
    assert abs(squares.mean() - 0.5) < 4 * error  # E ||D_L u||^2 = 1/2
    assert error < 0.0125


def test_jit_and_grad_work_where_smooth():
    net = jaxsat.MLP(**SIZES)

    def first(params, scale):
        return norms_of(net, params._replace(weight_scale=scale), np.ones(9), U)[0]

    params, h = params_of(net), 1e-6
    slope = (float(first(params, 1.1 + h)) - float(first(params, 1.1 - h))) / (2 * h)
    # the differences: rounding of norms of order 1 divided by 2 h is of order 1e-10, third derivatives times h^2 less
    assert float(jax.jit(jax.grad(first, 1))(params, 1.1)) == pytest.approx(slope, rel=1e-6)


def test_plain_gradients_vanish_where_the_exact_ones_pass_below_the_dtype():
    net = jaxsat.MLP(depth=1000, width=24, activation="sigmoid")
    x = u = np.ones(24)
    exact = np.asarray(norms_of(net, params_of(net), x, u))
    single = params_of(net, dtype=np.float32), x.astype(np.float32), u.astype(np.float32)
    zero = np.asarray(jax.jit(gradients.plain_gradient_is_zero)(net, *single))
    low, high = np.log(float(jnp.finfo(np.float32).smallest_subnormal) / 2), np.log(float(jnp.finfo(np.float32).tiny))
    # The largest of 24 entries is at most the norm, and at least the norm divided by sqrt(24).
    assert zero[exact < low - 1].all()
    assert not zero[exact > high + 1 + np.log(24) / 2].any()
    assert zero[0]
    assert not zero[-1]


def test_wrong_widths():
    net = jaxsat.MLP(depth=2, width=3, outputs=2)
    params = params_of(net)
    for every_depth in (False, True):
        with pytest.raises(ValueError, match=r"`cotangent` must have the output's shape \(2,\); got \(3,\)"):
            jaxsat.log_gradient_norms(net, params, jnp.ones(3), jnp.ones(3), every_depth=every_depth)
    with pytest.raises(ValueError, match=r"`cotangent` must have the output's shape \(2,\); got \(3,\)"):
        gradients.plain_gradient_is_zero(net, params, jnp.ones(3), jnp.ones(3))
