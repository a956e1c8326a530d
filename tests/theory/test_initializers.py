import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxsat
from jaxsat import addresses
from jaxsat.theory.initializers import critical_initializer

KEY = addresses.root(4)


@pytest.mark.parametrize("ensemble", ["gaussian", "orthogonal"])
@pytest.mark.parametrize(
    ("shape", "axes", "fan_in"),
    [
        ((200, 300), {}, 200),
        ((300, 200), {}, 300),
        ((3, 3, 16, 64), {}, 144),
        ((64, 16, 3, 3), {"in_axis": 1, "out_axis": 0}, 144),
        ((300, 200), {"in_axis": 1, "out_axis": 0}, 200),
    ],
)
def test_entries_have_the_critical_variance_over_the_fan_in(ensemble, shape, axes, fan_in):
    sigma = float(jaxsat.theory.critical_weight_scale("tanh", 0.3))
    w = critical_initializer("tanh", 0.3, ensemble, **axes)(KEY, shape)
    assert w.shape == shape
    assert w.dtype == jnp.float64
    square = float(jnp.mean(w**2)) * fan_in / sigma**2
    # gaussian: the mean of n squares has standard error sqrt(2 / n); orthogonal: exact
    assert abs(square - 1) < (4 * np.sqrt(2 / w.size) if ensemble == "gaussian" else 1e-12)
    if ensemble == "orthogonal":
        matrix = np.moveaxis(np.asarray(w), axes.get("out_axis", -1), 0).reshape(-1, fan_in)
        small = matrix @ matrix.T if matrix.shape[0] <= fan_in else matrix.T @ matrix
        scale = sigma**2 * max(1.0, matrix.shape[0] / fan_in)
        np.testing.assert_allclose(small, scale * np.eye(len(small)), atol=1e-12)


@pytest.mark.parametrize(
    "name", ["tanh", *(pytest.param(n, marks=pytest.mark.slow) for n in ("relu", "sigmoid", "erf"))]
)
def test_the_mean_squared_gradient_is_kept_from_layer_to_layer(name):
    """By the probe, on a network of its own: growth per layer within what chance and width allow."""
    depth, width = 12, 256
    bias = 0.5 if name == "tanh" else 0.0  # at sigma_b = 0 tanh's length decays for hundreds of layers
    init = critical_initializer(name, bias)
    keys = jax.random.split(KEY, 2 * depth + 1)
    ws = jnp.stack([init(k, (width, width)) for k in keys[:depth]])
    bs = bias * jax.random.normal(keys[-1], (depth, width))
    phi = jaxsat.activations.get(name)

    def loss(ws, bs, x):
        h, _ = jax.lax.scan(lambda h, layer: (phi(h @ layer[0] + layer[1][None]), None), x, (ws, bs))
        return jnp.mean(h * jax.random.normal(keys[-2], h.shape))

    report = jaxsat.probe(loss, ws, bs, jax.random.normal(keys[-3], (16, width)))
    assert [site.kind for site in report.sites] == [name] * depth
    growth = np.mean([site.log_gradient_growth for site in report.sites[4:-1]])
    # a layer's growth varies by about sqrt(5 / width) / 2 = 0.07; seven of them, four standard errors
    assert abs(growth) < 4 * 0.07 / np.sqrt(7)


@pytest.mark.slow
def test_frameworks_take_it_as_it_is():
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"), jax.enable_x64(False):
        init = critical_initializer("relu")
        x = jnp.ones((1, 8, 8, 16))
        kernel = nn.Conv(64, (3, 3), kernel_init=init).init(KEY, x)["params"]["kernel"]
        assert kernel.dtype == jnp.float32
        assert abs(float(kernel.std()) * 12 - 2**0.5) < 0.03  # fan-in 144
        layer = nnx.Linear(256, 128, kernel_init=init, rngs=nnx.Rngs(0))
        assert abs(float(layer.kernel[...].std()) * 16 - 2**0.5) < 0.03
        linear = eqx.nn.Linear(256, 128, key=KEY)
        weight = critical_initializer("relu", in_axis=1, out_axis=0)(KEY, linear.weight.shape, jnp.float32)
        assert abs(float(eqx.tree_at(lambda m: m.weight, linear, weight).weight.std()) * 16 - 2**0.5) < 0.03
        assert critical_initializer("tanh")(KEY, (4, 4), jnp.bfloat16).dtype == jnp.bfloat16


def test_haiku_takes_it_as_it_is():
    import haiku as hk

    with jax.enable_x64(False):
        model = hk.transform(lambda x: hk.Linear(128, w_init=critical_initializer("relu"))(x))
        w = model.init(KEY, jnp.ones((2, 256)))["linear"]["w"]
        assert abs(float(w.std()) * 16 - 2**0.5) < 0.03


def test_bad_input():
    with pytest.raises(ValueError, match="Did you mean 'tanh'"):
        critical_initializer("tnah")
    with pytest.raises(ValueError, match=r"'silu' with bias_scale = 0\.0 has none"):
        critical_initializer("silu")
    with pytest.raises(ValueError, match="bias_scale"):
        critical_initializer("tanh", -1.0)
    with pytest.raises(ValueError, match=r"`shape` must have an input and an output axis; got \(3,\)"):
        critical_initializer("tanh")(KEY, (3,))
    with pytest.raises(ValueError, match="`in_axis` must differ from `out_axis`; got 0 and 0"):
        critical_initializer("tanh", in_axis=0, out_axis=0)(KEY, (3, 4))
