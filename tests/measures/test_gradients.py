import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsat
from jaxsat import addresses
from jaxsat.measures import gradients
from tests.quick_cases import quick_first

KEY = addresses.root(3)


def by_autodiff(net, params, x, cotangent):
    """dE/dh_l as the gradient with respect to a shift of each layer's biases."""
    params = params.scaled()
    loss = lambda biases: net.apply(params._replace(biases=biases), x) @ cotangent  # noqa: E731
    return jax.grad(loss)(params.biases)


def log_norms_by_numpy(net, params, x, cotangent):
    """Second algorithm: NumPy, float64, slopes multiplied in plainly, rescaled by the norm at each layer.

    It takes the pre-activations as they are: a chaotic forward pass cannot be repeated in another arithmetic.
    """
    weights = np.asarray(params.scaled().hidden, np.float64)
    slopes = np.asarray(net.phi.slope(net.trace(params, x).pre_activations), np.float64)
    log_scale, signal, norms = 0.0, np.asarray(cotangent), []
    for layer in reversed(range(net.depth)):
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
        *quick_first(
            [(name, {}) for name in ("tanh", "sigmoid", "gelu", "leaky_relu", "sin", "hard_tanh", "softsign")],
            several=True,
        ),
    ],
)
def test_signal_equals_autodiff(activation, sizes):
    net = jaxsat.MLP(
        **{"depth": 6, "width": 9, "activation": activation, "weight_scale": 1.4, "bias_scale": 0.3} | sizes
    )
    params, x = net.init(KEY), jnp.linspace(-1, 1, net.input_width)
    u = gradients.unit_cotangent(net, KEY)
    expected = by_autodiff(net, params, x, u)
    signal = jaxsat.backpropagated_signal(net, params, x, u)
    got = signal.direction * jnp.exp(signal.log_scale)[:, None]
    np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-13 * float(jnp.abs(expected).max()))
    norms = jaxsat.log_gradient_norms(net, params, x, u)
    np.testing.assert_allclose(norms, jnp.log(jnp.linalg.norm(expected, axis=1)), rtol=0, atol=1e-12)
    assert float(jnp.abs(signal.direction).max(axis=1).min()) == 1


@pytest.mark.parametrize("outputs", quick_first([None, 4]))
def test_every_depth_rows_are_the_shallower_networks(outputs):
    net = jaxsat.MLP(depth=7, width=8, weight_scale=1.5, outputs=outputs)
    x = jnp.linspace(-1, 1, 8)
    table = jaxsat.log_gradient_norms(net, net.init(KEY), x, key=KEY, every_depth=True)
    for depth in (1, 2, 4, 7):
        shallow = jaxsat.MLP(depth=depth, width=8, weight_scale=1.5, outputs=outputs)
        alone = jaxsat.log_gradient_norms(shallow, shallow.init(KEY), x, key=KEY)
        np.testing.assert_allclose(table[depth - 1, :depth], alone, rtol=0, atol=1e-12)
        assert jnp.isnan(table[depth - 1, depth:]).all()


@pytest.mark.parametrize(("activation", "scale"), [("sigmoid", 1.0), ("tanh", 30.0), ("erf", 8.0)])
def test_a_thousand_layers(activation, scale):
    net = jaxsat.MLP(depth=1000, width=24, activation=activation, weight_scale=scale)
    params, x, u = net.init(KEY), jnp.ones(24), jnp.ones(24)
    norms = jaxsat.log_gradient_norms(net, params, x, u)
    np.testing.assert_allclose(norms, log_norms_by_numpy(net, params, x, u), rtol=1e-11, atol=1e-10)
    assert jnp.isfinite(norms).all()
    if activation == "sigmoid":
        assert -1600 < norms[0] < -1300


def test_a_thousand_sigmoid_layers_in_float32():
    net = jaxsat.MLP(depth=1000, width=24, activation="sigmoid")
    params, x, u = net.init(KEY), jnp.ones(24), jnp.ones(24)
    single = jax.tree.map(lambda a: a.astype(jnp.float32), params)
    norms = jaxsat.log_gradient_norms(net, single, x.astype(jnp.float32), u.astype(jnp.float32))
    assert norms.dtype == jnp.float32
    expected = jaxsat.log_gradient_norms(net, params, x, u)
    # One rounding of up to half an ulp of 1460 (6e-5) a layer adds like a random walk: sqrt(1000) * 4e-5 = 1e-3.
    np.testing.assert_allclose(norms, expected, rtol=0, atol=5e-3)


def test_deep_saturation_where_slopes_underflow():
    """tanh at pre-activations of thousands: slopes of exp(-1000) and less, in a closed form."""
    net = jaxsat.MLP(depth=2, width=1, activation="tanh")
    params = net.init(KEY)._replace(first=jnp.array([[900.0]]), hidden=jnp.array([[[-2000.0]]]))
    norms = jaxsat.log_gradient_norms(net, params, jnp.ones(1), jnp.ones(1))
    # ln sech^2(h) = 2 ln 2 - 2 |h| far out
    second = 2 * np.log(2) - 4000
    np.testing.assert_allclose(norms, [second + np.log(2000) + 2 * np.log(2) - 1800, second], rtol=1e-14)


def test_orthogonal_linear_networks_scale_each_layer_alike():
    net = jaxsat.MLP(depth=50, width=16, activation="identity", ensemble="orthogonal", weight_scale=0.25)
    norms = jaxsat.log_gradient_norms(net, net.init(KEY), jnp.ones(16), gradients.unit_cotangent(net, KEY))
    np.testing.assert_allclose(norms, np.log(0.25) * np.arange(49, -1, -1), rtol=0, atol=1e-11)


def test_a_dead_network_has_exactly_no_gradient():
    net = jaxsat.MLP(depth=3, width=4, activation="relu")
    params = net.init(KEY)._replace(biases=jnp.array([[0.0] * 4, [-1e6] * 4, [0.0] * 4]), bias_scale=jnp.asarray(1.0))
    norms = jaxsat.log_gradient_norms(net, params, jnp.ones(4), jnp.ones(4))
    assert (norms[:2] == -jnp.inf).all()


def test_nan_stays_in_its_network():
    net = jaxsat.MLP(depth=3, width=4)
    x = jnp.array([[1.0, 1, 1, 1], [jnp.nan, 1, 1, 1]])
    norms = jax.vmap(lambda x: jaxsat.log_gradient_norms(net, net.init(KEY), x))(x)
    assert jnp.isfinite(norms[0]).all()
    assert jnp.isnan(norms[1]).all()


def test_linear_gaussian_growth_is_the_exact_finite_width_law():
    """E ln ||W u||^2 = psi(n/2) + ln(2/n) + 2 ln sigma_w for a gaussian n x n matrix and any unit u (chi square)."""
    from jax.scipy.special import digamma, polygamma

    n, depth, count, scale = 10, 40, 500, 1.2
    net = jaxsat.MLP(depth=depth, width=n, activation="identity", weight_scale=scale)
    u = jnp.eye(n)[0]
    keys = jax.random.split(KEY, count)
    norms = jax.vmap(lambda k: jaxsat.log_gradient_norms(net, net.init(k), jnp.ones(n), u))(keys)
    per_layer = (norms[:, 0] - norms[:, -1]) / (depth - 1)
    expected = (digamma(n / 2) + np.log(2 / n)) / 2 + np.log(scale)
    error = np.sqrt(polygamma(1, n / 2) / 4 / (depth - 1) / count)  # var ln chi^2_n = trigamma(n/2)
    assert abs(per_layer.mean() - expected) < 4 * error
    assert error < 0.005


def test_relu_gradient_squares_are_kept_by_he_weights():
    """E ||delta_1||^2 / E ||delta_L||^2 = (sigma_w^2 / 2)^(L-1) at any width (Hanin 2018)."""
    net = jaxsat.MLP(depth=4, width=40, activation="relu", weight_scale="he")
    keys = jax.random.split(addresses.root(11), 4000)
    norms = jax.vmap(lambda k: jaxsat.log_gradient_norms(net, net.init(k), jnp.ones(40), key=k))(keys)
    squares = jnp.exp(2 * norms[:, 0])
    error = float(squares.std(ddof=1)) / np.sqrt(4000)
    assert abs(float(squares.mean()) - 0.5) < 4 * error  # E ||D_L u||^2 = 1/2
    assert error < 0.0125


def test_jit_and_grad_work_where_smooth():
    net = jaxsat.MLP(depth=5, width=6, weight_scale=1.1)

    def first(scale):
        params = net.init(KEY)._replace(weight_scale=scale)
        return jaxsat.log_gradient_norms(net, params, jnp.ones(6))[0]

    h = 1e-6
    slope = (first(jnp.asarray(1.1 + h)) - first(jnp.asarray(1.1 - h))) / (2 * h)
    assert float(jax.jit(jax.grad(first))(jnp.asarray(1.1))) == pytest.approx(float(slope), rel=1e-6)


def test_plain_gradients_vanish_where_the_exact_ones_pass_below_the_dtype():
    net = jaxsat.MLP(depth=80, width=16, activation="sigmoid")
    x, u = jnp.ones(16), gradients.unit_cotangent(net, KEY)
    exact = jaxsat.backpropagated_signal(net, net.init(KEY), x, u).log_scale
    zero = gradients.plain_gradient_is_zero(net, net.init(KEY, jnp.float32), x.astype(jnp.float32), u)
    low, high = np.log(float(jnp.finfo(jnp.float32).smallest_subnormal) / 2), np.log(float(jnp.finfo(jnp.float32).tiny))
    assert bool(zero[exact < low - 1].all())
    assert not bool(zero[exact > high + 1].any())
    assert bool(zero[0])
    assert not bool(zero[-1])


def test_wrong_widths():
    net = jaxsat.MLP(depth=2, width=3, outputs=2)
    for every_depth in (False, True):
        with pytest.raises(ValueError, match=r"`cotangent` must have the output's shape \(2,\); got \(3,\)"):
            jaxsat.log_gradient_norms(net, net.init(KEY), jnp.ones(3), jnp.ones(3), every_depth=every_depth)
    with pytest.raises(ValueError, match=r"`cotangent` must have the output's shape \(2,\); got \(3,\)"):
        gradients.plain_gradient_is_zero(net, net.init(KEY), jnp.ones(3), jnp.ones(3))
