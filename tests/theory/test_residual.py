"""Skip connections and layer normalisation: their gradients and spectra, by autodiff, by hand and against theory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsat
from jaxsat import addresses, theory
from jaxsat.measures import gradients
from jaxsat.measures.jacobians import factors, jacobian, log_singular_values, singular_values
from jaxsat.networks import normalization
from tests.quick_cases import slow_except

KEY = addresses.root(3)
FORMS = [
    {"residual_scale": 0.6},
    {"normalization": "layer"},
    {"residual_scale": 0.6, "normalization": "layer"},
    {"residual_scale": 0.6, "inputs": 5},
    {"residual_scale": 0.6, "normalization": "layer", "inputs": 5, "outputs": 3},
]


def example(form, **fields):
    net = jaxsat.MLP(
        **{"depth": 5, "width": 7, "activation": "tanh", "weight_scale": 1.4, "bias_scale": 0.2} | form | fields
    )
    return net, net.init(KEY), jnp.linspace(-1.0, 1.5, net.input_width)


# --- layer normalisation --------------------------------------------------------------------------------------------


def test_the_derivative_of_layer_normalisation():
    a = np.array([0.3, -2.0, 1.1, 5.0])
    normalized, step = jax.jit(lambda a: normalization.layer_normalized(a)[0]), 1e-5

    @jax.jit
    def everything(a):
        h, s = normalization.layer_normalized(a)
        return h, normalization.projected(jnp.eye(4), h) / s, jax.jacfwd(normalized)(a)

    h, projected, by_autodiff = (np.asarray(value) for value in everything(a))
    assert (h.mean(), (h**2).mean()) == pytest.approx((0, 1), abs=1e-15)
    by_differences = [
        (np.asarray(normalized(a + d)) - np.asarray(normalized(a - d))) / (2 * step) for d in step * np.eye(4)
    ]
    np.testing.assert_allclose(by_autodiff, np.transpose(by_differences), atol=1e-9)
    np.testing.assert_allclose(projected, by_autodiff, atol=1e-15)


@pytest.mark.parametrize("size", [1e-300, 1.0, 1e300])
def test_any_size_is_normalised(size):
    """Squares would underflow or overflow."""
    h, s = normalization.layer_normalized(size * jnp.array([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(h, np.array([-1, 0, 1]) * 1.5**0.5, rtol=1e-14, atol=1e-14)
    assert float(s) == pytest.approx(size * (2 / 3) ** 0.5, rel=1e-14)


def test_equal_units_are_dead_without_nan():
    net = jaxsat.MLP(depth=3, width=4, normalization="layer")
    params, x = net.init(KEY), np.zeros(4)
    apply = lambda x: net.apply(params, x)  # noqa: E731
    plain = jax.jit(lambda x: (apply(x), jax.jacrev(apply)(x), jax.jacfwd(apply)(x), singular_values(net, params, x)))
    assert all((np.asarray(numbers) == 0).all() for numbers in plain(x))
    # the last layer's slope is that at 0; nothing passes the normalisation below it
    assert np.isneginf(gradients.log_gradient_norms(net, params, x)).tolist() == [True, True, False]
    assert np.isneginf(log_singular_values(net, params, x)).all()


# --- gradients and Jacobians against autodiff -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form",
    slow_except([FORMS[4]], FORMS),
    ids=str,
)
def test_gradients_are_those_of_autodiff(form):
    net, params, x = example(form)
    u = jnp.linspace(0.5, -1.0, net.output_width)
    zeros = jnp.zeros((net.depth, net.width))
    expected = jax.grad(lambda shifts: net.apply(params, x, shifts) @ u)(zeros)
    signal = gradients.backpropagated_signal(net, params, x, u)
    np.testing.assert_allclose(signal.direction * jnp.exp(signal.log_scale)[:, None], expected, rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(abs(signal.direction).max(axis=1), 1, rtol=1e-15)
    assert not gradients.plain_gradient_is_zero(net, params, x, u).any()


@pytest.mark.parametrize("form", FORMS[:4], ids=str)
@pytest.mark.slow
def test_gradients_of_every_depth(form):
    net, params, x = example(form)
    u = jnp.linspace(0.5, -1.0, net.output_width)
    found = gradients.log_gradient_norms(net, params, x, u, every_depth=True)
    for depth in range(1, net.depth + 1):
        shallow, its_params, _ = example(form, depth=depth)
        np.testing.assert_allclose(
            found[depth - 1, :depth], gradients.log_gradient_norms(shallow, its_params, x, u), rtol=1e-12, atol=1e-13
        )


@pytest.mark.parametrize(
    "form",
    slow_except([FORMS[2]], FORMS),
    ids=str,
)
def test_spectra_are_those_of_the_jacobian(form):
    net, params, x = example(form)
    j = jacobian(net, params, x)
    step = 1e-6
    differences = [(net.apply(params, x + d) - net.apply(params, x - d)) / (2 * step) for d in step * np.eye(len(x))]
    np.testing.assert_allclose(j, np.transpose(differences), rtol=1e-7, atol=1e-8)
    expected = np.linalg.svd(j, compute_uv=False)
    np.testing.assert_allclose(singular_values(net, params, x), expected, rtol=1e-11, atol=1e-13)
    logs = log_singular_values(net, params, x)
    large = expected > 1e-9 * expected[0]  # normalisation loses two directions
    np.testing.assert_allclose(logs[large], np.log(expected[large]), rtol=1e-9, atol=1e-12)
    assert (logs[~large] < np.log(1e-9 * expected[0])).all()

    f = factors(net, params, x)
    product = np.eye(net.input_width)
    for weight, log, sign in zip([f.first, *f.hidden], f.log_abs_slopes, f.slope_signs, strict=True):
        product = (sign * np.exp(log))[:, None] * (weight @ product)
    np.testing.assert_allclose(product if f.readout is None else f.readout @ product, j, rtol=1e-11, atol=1e-13)


@pytest.mark.slow
def test_directions_that_normalisation_takes_away_are_lost_exactly():
    net, params, x = example({"normalization": "layer"})
    logs, errors = log_singular_values(net, params, x, with_error=True)
    assert np.isneginf(logs[-2:]).all()
    assert (errors[-2:] == 0).all()
    dense = np.log(np.linalg.svd(jacobian(net, params, x), compute_uv=False))[:-2]
    np.testing.assert_allclose(logs[:-2], dense, rtol=0, atol=1e-9)  # spread exp(10): eps exp(10) is 1e-11
    every = log_singular_values(net, params, x, every_depth=True)
    assert every.shape == (net.depth, net.width)
    np.testing.assert_allclose(every[-1, :-2], logs[:-2], rtol=0, atol=1e-11)
    assert np.isneginf(every[:, -2:]).all()


def test_no_skip_is_not_a_skip_of_zero():
    """a = 0 passes the input on; no skip connection is a plain network."""
    net, params, x = example({"residual_scale": 0.0})
    assert (net.apply(params, x) == x).all()
    assert (singular_values(net, params, x) == 1).all()
    assert np.isneginf(gradients.log_gradient_norms(net, params, x)).all(), "h_l moves nothing"


@pytest.mark.slow
def test_signals_that_leave_float32():
    """Layer normalisation does not save sigmoid: ln 0.39 per layer. Skip connections let nothing vanish."""
    depth = 400
    net = jaxsat.MLP(depth=depth, width=16, activation="sigmoid", normalization="layer")
    params = net.init(KEY, jnp.float32)
    norms = gradients.log_gradient_norms(net, params, jnp.linspace(-1, 1, 16))
    assert norms.dtype == jnp.float32
    exact = gradients.log_gradient_norms(net, jax.tree.map(lambda a: a.astype(float), params), jnp.linspace(-1, 1, 16))
    assert float(exact[0]) < np.log(np.finfo(np.float32).tiny)
    np.testing.assert_allclose(norms, exact, atol=0.02)  # 400 layers of rounding, amplified by the forward pass
    skip = jaxsat.MLP(depth=depth, width=16, activation="relu", weight_scale=3.0, residual_scale=1.0)
    assert float(gradients.log_gradient_norms(skip, skip.init(KEY), jnp.ones(16))[0]) > 100


# --- theory ----------------------------------------------------------------------------------------------------------


def assert_growth(net, log_growth, seeds, layers):
    """ln of the ratio of mean squared gradients over those layers, to 4 standard errors, less than a factor of 1.05.

    Means of ratios would have a bias of order 1 / width: the mean field is about mean squares.
    """
    found = jaxsat.sweep(
        net, "log_gradient_norms", {"weight_scale": [float(net.weight_scale)]}, seeds=seeds, progress=False
    )
    norms = found.log_gradient_norms.values[0]
    squares = np.exp(2 * norms[:, list(layers)])
    means = squares.mean(axis=0)
    relative = squares / means
    error = (relative[:, 0] - relative[:, 1]).std() / np.sqrt(seeds) / 2
    assert 4 * error < np.log(1.05)
    assert abs(np.log(means[0] / means[1]) / 2 - log_growth) < 4 * error


@pytest.mark.parametrize(
    ("activation", "weight_scale", "a", "width", "seeds"),
    [
        ("tanh", 1.5, 0.5, 100, 600),
        pytest.param("tanh", 1.5, 0.5, 200, 800, marks=pytest.mark.slow),
        pytest.param("relu", 1.0, 0.3, 200, 800, marks=pytest.mark.slow),
    ],
)
def test_residual_growth_is_the_mean_field(activation, weight_scale, a, width, seeds):
    """Of delta_l = a D_l dE/dx_l: its square is a^2 E[phi'^2] times that of dE/dx_l."""
    depth = 6
    net = jaxsat.MLP(
        depth=depth, width=width, activation=activation, weight_scale=weight_scale, bias_scale=0.2, residual_scale=a
    )
    field = theory.residual_field(activation, depth, weight_scale, 0.2, a)
    slopes = np.log(np.asarray(field.chi) / weight_scale**2) / 2
    expected = float(field.log_growth[1:].sum() + slopes[0] - slopes[-1])
    assert_growth(net, expected, seeds, (0, depth - 1))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("activation", "weight_scale", "bias_scale", "width", "seeds"),
    [("tanh", 3.0, 0.0, 200, 800), ("relu", 0.7, 0.5, 200, 800)],
)
def test_normalised_growth_is_the_mean_field(activation, weight_scale, bias_scale, width, seeds):
    depth = 5
    net = jaxsat.MLP(depth=depth, width=width, activation=activation, weight_scale=weight_scale, bias_scale=bias_scale,
                     normalization="layer")  # fmt: skip
    chi = float(theory.layer_norm_chi(activation, weight_scale, bias_scale))
    assert_growth(net, (depth - 1) * np.log(chi) / 2, seeds, (0, depth - 1))


# --- sweeps, transformations and input ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_sweep_over_the_residual_scale_is_network_after_network():
    net = jaxsat.MLP(depth=4, width=6, activation="tanh", normalization="layer")
    scales = [0.0, 0.5, 2.0]
    names = ["log_gradient_norms", "singular_values", "saturated_fraction"]
    found = jaxsat.sweep(net, names, {"residual_scale": scales}, seeds=3, progress=False)
    for i, a in enumerate(scales):
        for seed in range(3):
            key = addresses.network(addresses.root(0), seed)
            one = jaxsat.MLP(depth=4, width=6, activation="tanh", normalization="layer", residual_scale=a)
            for name, value in jaxsat.measures.get(names)(one, key, None).items():
                np.testing.assert_allclose(found[name].values[i, seed], value, rtol=1e-9, atol=1e-12)
    assert found.residual_scale.attrs["long_name"] == "residual scale a"


def test_derivatives_in_the_residual_scale():
    def last(a):
        net = jaxsat.MLP(depth=3, width=4, residual_scale=a)
        return net.apply(net.init(KEY), jnp.ones(4)).sum()

    assert float(jax.jit(jax.grad(last))(0.7)) == pytest.approx(
        float(last(0.7 + 1e-6) - last(0.7 - 1e-6)) / 2e-6, rel=1e-8
    )


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"residual_scale": -1.0}, ValueError, "`residual_scale` must be finite and at least 0; got -1"),
        ({"residual_scale": "one"}, TypeError, "`residual_scale` must be real numbers; got 'one'"),
        ({"normalization": "batch"}, ValueError, "`normalization` must be None or 'layer'; got 'batch'"),
    ],
)
def test_bad_input(fields, error, message):
    with pytest.raises(error, match=message):
        jaxsat.MLP(depth=2, width=3, **fields)


def test_parameters_of_another_form_are_refused():
    plain, skip = (jaxsat.MLP(depth=2, width=3, residual_scale=a) for a in (None, 1.0))
    with pytest.raises(ValueError, match="`params` must have a residual scale where the network has one"):
        skip.apply(plain.init(KEY), jnp.ones(3))
