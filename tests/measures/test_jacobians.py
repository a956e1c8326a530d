import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsat
from jaxsat import addresses
from tests.quick_cases import quick_first

KEY = addresses.root(4)
SMOOTH = ["tanh", "sigmoid", "gelu", "silu", "mish", "sin", "erf", "softplus"]


def product(factors):
    """The Jacobian as the product of its layer factors, in NumPy."""
    f = jax.tree.map(np.asarray, factors)
    j = None
    slopes = f.slope_signs * np.exp(f.log_abs_slopes)
    for weight, slope in zip([f.first, *f.hidden], slopes, strict=True):
        j = slope[:, None] * (weight if j is None else weight @ j)
    return j if f.readout is None else f.readout @ j


@pytest.mark.parametrize(
    ("activation", "sizes"),
    [
        *quick_first(
            [(name, {"inputs": 9, "outputs": 2}) for name in ("tanh", "gelu", "leaky_relu", "hard_tanh")], several=True
        ),
        *quick_first([("relu", sizes) for sizes in ({"inputs": 2, "outputs": 5}, {}, {"inputs": 3})], several=True),
        *(
            pytest.param(name, {"inputs": 9, "outputs": 2}, marks=pytest.mark.slow)
            for name in (*SMOOTH, "relu", "elu")
            if name not in ("tanh", "gelu")
        ),
    ],
)
def test_jacobian_is_the_product_of_its_factors(activation, sizes):
    net = jaxsat.MLP(depth=5, width=7, activation=activation, weight_scale=1.6, bias_scale=0.2, **sizes)
    params, x = net.init(KEY), jnp.linspace(-1, 1, net.input_width)
    j = jaxsat.jacobian(net, params, x)
    assert j.shape == (net.output_width, net.input_width)
    np.testing.assert_allclose(j, product(jaxsat.factors(net, params, x)), rtol=0, atol=1e-13 * np.abs(j).max())


@pytest.mark.slow
@pytest.mark.parametrize("activation", SMOOTH)
def test_jacobian_is_the_limit_of_differences(activation):
    net = jaxsat.MLP(depth=4, width=6, activation=activation, weight_scale=1.3, outputs=3)
    params, x, h = net.init(KEY), jnp.linspace(-1, 1, 6), 1e-5
    columns = [(net.apply(params, x + h * e) - net.apply(params, x - h * e)) / (2 * h) for e in jnp.eye(6)]
    # central differences: h^2 / 6 times a third derivative of order 1 to 1000, and rounding of eps / h = 2e-11
    np.testing.assert_allclose(jaxsat.jacobian(net, params, x), jnp.stack(columns, 1), rtol=0, atol=2e-8)


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


@pytest.mark.parametrize("activation", ["tanh", "relu", "identity"])
@pytest.mark.parametrize(
    "sizes",
    [
        {"inputs": 9, "outputs": 2},
        *(pytest.param(s, marks=pytest.mark.slow) for s in ({}, {"inputs": 2, "outputs": 5})),
    ],
)
def test_singular_values_are_those_of_the_jacobian(activation, sizes):
    net = jaxsat.MLP(depth=3, width=7, activation=activation, weight_scale=1.6, bias_scale=0.2, **sizes)
    params, x = net.init(KEY), jnp.linspace(-1, 1, net.input_width)
    exact = np.linalg.svd(jaxsat.jacobian(net, params, x), compute_uv=False)
    np.testing.assert_allclose(jaxsat.singular_values(net, params, x), exact, rtol=0, atol=1e-13 * exact[0])
    logs = jaxsat.log_singular_values(net, params, x)
    np.testing.assert_allclose(jnp.exp(logs), exact, rtol=0, atol=1e-13 * exact[0])


def test_log_singular_values_of_every_depth_are_those_of_the_shallower_networks():
    net = jaxsat.MLP(depth=5, width=6, inputs=4, activation="sigmoid", weight_scale=3.0)
    table = jaxsat.log_singular_values(net, net.init(KEY), jnp.ones(4), every_depth=True)
    assert table.shape == (5, 4)
    for depth in (1, 2, 5):
        shallow = jaxsat.MLP(depth=depth, width=6, inputs=4, activation="sigmoid", weight_scale=3.0)
        alone = jaxsat.log_singular_values(shallow, shallow.init(KEY), jnp.ones(4))
        np.testing.assert_allclose(table[depth - 1], alone, rtol=0, atol=1e-11)


def test_orthogonal_linear_network_at_depth_1000():
    net = jaxsat.MLP(depth=1000, width=8, activation="identity", ensemble="orthogonal", weight_scale=0.3)
    logs = jaxsat.log_singular_values(net, net.init(KEY), jnp.ones(8))
    np.testing.assert_allclose(logs, 1000 * np.log(0.3), rtol=1e-12)


def test_a_network_of_scale_zero_has_rank_zero():
    net = jaxsat.MLP(depth=3, width=4, weight_scale=0.0)
    assert np.isneginf(jaxsat.log_singular_values(net, net.init(KEY), jnp.ones(4))).all()


@pytest.mark.slow
def test_log_singular_values_differentiate_through_the_network():
    net = jaxsat.MLP(depth=4, width=5, activation="tanh", weight_scale=1.2)
    params, x, h = net.init(KEY), jnp.linspace(-1, 1, 5), 1e-5
    f = lambda x: jaxsat.log_singular_values(net, params, x)[-1]  # noqa: E731
    differences = [(f(x + h * e) - f(x - h * e)) / (2 * h) for e in jnp.eye(5)]
    np.testing.assert_allclose(jax.grad(f)(x), jnp.stack(differences), rtol=0, atol=1e-7)
