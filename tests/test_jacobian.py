import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsat

KEY = jax.random.key(4)
SMOOTH = ["tanh", "sigmoid", "gelu", "silu", "mish", "sin", "erf", "softplus"]


def product(factors):
    """The Jacobian as the product of its layer factors, in NumPy."""
    f = jax.tree.map(np.asarray, factors)
    j = None
    slopes = f.slope_signs * np.exp(f.log_abs_slopes)
    for weight, slope in zip([f.first, *f.hidden], slopes, strict=True):
        j = slope[:, None] * (weight if j is None else weight @ j)
    return j if f.readout is None else f.readout @ j


@pytest.mark.parametrize("activation", [*SMOOTH, "relu", "leaky_relu", "hard_tanh", "elu"])
@pytest.mark.parametrize("sizes", [{}, {"inputs": 3}, {"inputs": 9, "outputs": 2}, {"inputs": 2, "outputs": 5}])
def test_jacobian_is_the_product_of_its_factors(activation, sizes):
    net = jaxsat.MLP(depth=5, width=7, activation=activation, weight_scale=1.6, bias_scale=0.2, **sizes)
    params, x = net.init(KEY), jnp.linspace(-1, 1, net.input_width)
    j = jaxsat.jacobian(net, params, x)
    assert j.shape == (net.output_width, net.input_width)
    np.testing.assert_allclose(j, product(jaxsat.factors(net, params, x)), rtol=0, atol=1e-13 * np.abs(j).max())


@pytest.mark.parametrize("activation", SMOOTH)
def test_jacobian_is_the_limit_of_differences(activation):
    net = jaxsat.MLP(depth=4, width=6, activation=activation, weight_scale=1.3, outputs=3)
    params, x, h = net.init(KEY), jnp.linspace(-1, 1, 6), 1e-5
    columns = [(net.apply(params, x + h * e) - net.apply(params, x - h * e)) / (2 * h) for e in jnp.eye(6)]
    # central differences: h^2 / 6 times a third derivative of order 1 to 100, and rounding of eps / h = 2e-11
    np.testing.assert_allclose(jaxsat.jacobian(net, params, x), jnp.stack(columns, 1), rtol=0, atol=3e-9)


def test_forward_and_reverse_mode_agree():
    net = jaxsat.MLP(depth=5, width=6, activation="gelu", weight_scale=1.4)
    params, x = net.init(KEY), jnp.ones(6)
    reverse = jax.jacrev(lambda x: net.apply(params, x))(x)
    np.testing.assert_allclose(jaxsat.jacobian(net, params, x), reverse, rtol=0, atol=1e-14)


def test_every_depth_are_the_jacobians_of_the_shallower_networks():
    net = jaxsat.MLP(depth=4, width=5, inputs=3)
    table = jaxsat.jacobian(net, net.init(KEY), jnp.ones(3), every_depth=True)
    for depth in range(1, 5):
        shallow = jaxsat.MLP(depth=depth, width=5, inputs=3)
        np.testing.assert_allclose(
            table[depth - 1], jaxsat.jacobian(shallow, shallow.init(KEY), jnp.ones(3)), rtol=0, atol=1e-15
        )


def test_no_spurious_zeros_in_forward_mode():
    """jax.nn.sigmoid's derivative is exactly 0 at 40; ours is exp(-40)."""
    ours, theirs = (jaxsat.MLP(depth=1, width=1, activation=a) for a in ("sigmoid", jax.nn.sigmoid))
    params = ours.init(KEY)._replace(first=jnp.ones((1, 1)))
    x = jnp.array([40.0])
    assert float(jaxsat.jacobian(theirs, params, x)[0, 0]) == 0
    assert float(jaxsat.jacobian(ours, params, x)[0, 0]) == pytest.approx(np.exp(-40), rel=1e-14)


def test_gradient_norm_and_jacobian_agree():
    net = jaxsat.MLP(depth=6, width=5, activation="tanh", weight_scale=1.2)
    params, x, u = net.init(KEY), jnp.ones(5), jnp.linspace(1, 2, 5)
    signal = jaxsat.backpropagated_signal(net, params, x, u)
    delta = signal.direction[0] * jnp.exp(signal.log_scale[0])
    np.testing.assert_allclose(
        params.scaled().first.T @ delta, jaxsat.jacobian(net, params, x).T @ u, rtol=1e-12, atol=1e-14
    )
