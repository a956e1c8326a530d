import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsat
from tests.draws import params_of
from tests.quick_cases import quick_first

SIZES = {"depth": 5, "width": 7, "inputs": 9, "outputs": 2}  # of most networks here: they share programs
SMOOTH = ["tanh", "sigmoid", "gelu", "silu", "mish", "sin", "erf", "softplus"]


jacobian_of = jax.jit(jaxsat.jacobian, static_argnames="every_depth")
factors_of = jax.jit(jaxsat.factors)


def products(factors):
    """The Jacobians of x_1, x_2, ... and of the output as the products of layer factors, in NumPy."""
    f = jax.tree.map(np.asarray, factors)
    j, every = None, []
    slopes = f.slope_signs * np.exp(f.log_abs_slopes)
    for weight, slope in zip([f.first, *f.hidden], slopes, strict=True):
        j = slope[:, None] * (weight if j is None else weight @ j)
        every.append(j)
    return every, j if f.readout is None else f.readout @ j


@pytest.mark.parametrize(
    ("activation", "sizes"),
    [
        *quick_first([(name, {}) for name in ("tanh", "gelu", "leaky_relu", "hard_tanh")], several=True),
        ("gelu", {"inputs": 2, "outputs": 5}),
        *(
            pytest.param("relu", sizes, marks=pytest.mark.slow)
            for sizes in (
                {"inputs": 2, "outputs": 5},
                {"inputs": None, "outputs": None},
                {"inputs": 3, "outputs": None},
            )
        ),
        *(
            pytest.param(name, {}, marks=pytest.mark.slow)
            for name in (*SMOOTH, "relu", "elu")
            if name not in ("tanh", "gelu")
        ),
    ],
)
def test_jacobian_is_the_product_of_its_factors(activation, sizes):
    net = jaxsat.MLP(**SIZES | {"activation": activation, "weight_scale": 1.6, "bias_scale": 0.2} | sizes)
    params, x = params_of(net), np.linspace(-1, 1, net.input_width)
    j = np.asarray(jacobian_of(net, params, x))
    assert j.shape == (net.output_width, net.input_width)
    _, expected = products(factors_of(net, params, x))
    np.testing.assert_allclose(j, expected, rtol=0, atol=1e-13 * np.abs(j).max())


@pytest.mark.slow
@pytest.mark.parametrize("activation", SMOOTH)
def test_jacobian_is_the_limit_of_differences(activation):
    net = jaxsat.MLP(depth=4, width=6, activation=activation, weight_scale=1.3, outputs=3)
    params, x, h = params_of(net), jnp.linspace(-1, 1, 6), 1e-5
    columns = [(net.apply(params, x + h * e) - net.apply(params, x - h * e)) / (2 * h) for e in jnp.eye(6)]
    # central differences: h^2 / 6 times a third derivative of order 1 to 1000, and rounding of eps / h = 2e-11
    np.testing.assert_allclose(jaxsat.jacobian(net, params, x), jnp.stack(columns, 1), rtol=0, atol=2e-8)


def test_forward_and_reverse_mode_agree():
    net = jaxsat.MLP(**SIZES | {"inputs": 2, "outputs": 5}, activation="gelu", weight_scale=1.4)
    params, x = params_of(net), np.ones(2)
    reverse = jax.jit(jax.jacrev(lambda x: net.apply(params, x)))(x)
    np.testing.assert_allclose(jacobian_of(net, params, x), reverse, rtol=0, atol=1e-14)


def test_every_depth_are_the_jacobians_of_the_shallower_networks():
    net = jaxsat.MLP(**SIZES)
    params, x = params_of(net), np.ones(9)
    every, _ = products(factors_of(net, params, x))
    table = jacobian_of(net, params, x, every_depth=True)
    np.testing.assert_allclose(table, np.stack(every), rtol=0, atol=1e-14)


def test_no_spurious_zeros_in_forward_mode():
    """jax.nn.sigmoid's derivative is exactly 0 at 40; ours is exp(-40)."""
    ours, theirs = (jaxsat.MLP(depth=1, width=1, activation=a) for a in ("sigmoid", jax.nn.sigmoid))
    params = params_of(ours)._replace(first=jnp.ones((1, 1)))
    x = np.array([40.0])
    assert float(jacobian_of(theirs, params, x)[0, 0]) == 0
    assert float(jacobian_of(ours, params, x)[0, 0]) == pytest.approx(np.exp(-40), rel=1e-14)


def test_gradient_norm_and_jacobian_agree():
    net = jaxsat.MLP(**SIZES, weight_scale=1.2)
    params, x, u = params_of(net), np.ones(9), np.array([1.0, 2.0])
    signal = jax.jit(jaxsat.backpropagated_signal)(net, params, x, u)
    delta = np.asarray(signal.direction[0]) * np.exp(float(signal.log_scale[0]))
    jacobian = np.asarray(jacobian_of(net, params, x))
    np.testing.assert_allclose(1.2 * np.asarray(params.first).T @ delta, jacobian.T @ u, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("activation", ["tanh", "relu", pytest.param("identity", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "sizes",
    [
        {},
        *(
            pytest.param(s, marks=pytest.mark.slow)
            for s in ({"inputs": None, "outputs": None}, {"inputs": 2, "outputs": 5})
        ),
    ],
)
def test_singular_values_are_those_of_the_jacobian(activation, sizes):
    net = jaxsat.MLP(**SIZES | {"activation": activation, "weight_scale": 1.6, "bias_scale": 0.2} | sizes)
    params, x = params_of(net), np.linspace(-1, 1, net.input_width)
    exact = np.linalg.svd(jacobian_of(net, params, x), compute_uv=False)
    np.testing.assert_allclose(jaxsat.singular_values(net, params, x), exact, rtol=0, atol=1e-13 * exact[0])
    logs = jaxsat.log_singular_values(net, params, x)
    np.testing.assert_allclose(np.exp(logs), exact, rtol=0, atol=1e-13 * exact[0])


def test_log_singular_values_of_every_depth_are_those_of_the_shallower_networks():
    net = jaxsat.MLP(depth=5, width=6, inputs=4, activation="sigmoid", weight_scale=3.0)
    params, x = params_of(net), np.ones(4)
    table = jaxsat.log_singular_values(net, params, x, every_depth=True)
    assert table.shape == (5, 4)
    every, _ = products(factors_of(net, params, x))
    for row, jacobian in zip(table, every, strict=True):
        exact = np.linalg.svd(jacobian, compute_uv=False)
        assert exact[0] / exact[-1] < 1e4  # the dense values have 12 digits
        np.testing.assert_allclose(row, np.log(exact), rtol=0, atol=1e-11)


def test_orthogonal_linear_network_at_depth_1000():
    net = jaxsat.MLP(depth=1000, width=8, activation="identity", ensemble="orthogonal", weight_scale=0.3)
    logs = jaxsat.log_singular_values(net, params_of(net), np.ones(8))
    np.testing.assert_allclose(logs, 1000 * np.log(0.3), rtol=1e-12)


def test_a_network_of_scale_zero_has_rank_zero():
    net = jaxsat.MLP(**SIZES, weight_scale=0.0)
    assert np.isneginf(jaxsat.log_singular_values(net, params_of(net), np.ones(9))).all()


@pytest.mark.slow
def test_log_singular_values_differentiate_through_the_network():
    net = jaxsat.MLP(depth=4, width=5, activation="tanh", weight_scale=1.2)
    params, x, h = params_of(net), jnp.linspace(-1, 1, 5), 1e-5
    f = lambda x: jaxsat.log_singular_values(net, params, x)[-1]  # noqa: E731
    differences = [(f(x + h * e) - f(x - h * e)) / (2 * h) for e in jnp.eye(5)]
    np.testing.assert_allclose(jax.grad(f)(x), jnp.stack(differences), rtol=0, atol=1e-7)
