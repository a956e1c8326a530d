import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsat
from jaxsat import addresses
from jaxsat.networks import gaussian_input, mlp
from tests.quick_cases import quick_first

KEY = addresses.root(7)
gelu = jax.jit(jaxsat.MLP(1, 1, "gelu").phi)
SIZES = {"depth": 4, "width": 6, "inputs": 3, "outputs": 2}  # of most networks here: they share programs


def by_hand(net, params, x):
    """The definition, in NumPy, layer by layer."""
    p = jax.tree.map(np.asarray, params)
    h, pre, post = None, [], []
    for weight, bias in zip([p.first, *p.hidden], p.biases, strict=True):
        h = p.weight_scale * weight @ x + p.bias_scale * bias
        if net.normalization is not None:
            h = (h - h.mean()) / h.std()
        branch = np.asarray(gelu(h))
        x = x + p.residual_scale * branch if net.residual_scale is not None and len(x) == len(h) else branch
        pre.append(h)
        post.append(x)
    out = x if p.readout is None else p.weight_scale * p.readout @ x + p.bias_scale * p.readout_bias
    return np.stack(pre), np.stack(post), out


@pytest.mark.parametrize(
    "sizes",
    quick_first(
        [
            {},
            {"inputs": None, "outputs": None},
            {"outputs": None},
            {"depth": 1, "inputs": None, "outputs": None},
            {"depth": 1, "inputs": 9, "outputs": None},
        ]
    ),
)
@pytest.mark.parametrize(
    "form",
    [
        {},
        {"residual_scale": 0.4, "normalization": "layer"},
        *(
            pytest.param(form, marks=pytest.mark.slow)
            for form in (
                {"ensemble": "uniform"},
                {"ensemble": "orthogonal"},
                {"residual_scale": 0.4},
                {"normalization": "layer"},
            )
        ),
    ],
    ids=str,
)
def test_apply_and_trace_are_the_definition(sizes, form):
    net = jaxsat.MLP(**SIZES | {"activation": "gelu", "weight_scale": 1.7, "bias_scale": 0.3} | form | sizes)
    params = net.init(KEY)
    x = np.linspace(-1, 1, net.input_width)
    pre, post, out = by_hand(net, params, x)
    trace = net.trace(params, x)
    np.testing.assert_allclose(trace.pre_activations, pre, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(trace.activations, post, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(net.apply(params, x), out, rtol=1e-12, atol=1e-13)


def test_first_layers_of_a_deep_network_are_the_shallow_network():
    deep = jaxsat.MLP(depth=4, width=6, inputs=3, outputs=2, bias_scale=0.2)
    shallow = jaxsat.MLP(depth=2, width=6, inputs=3, outputs=2, bias_scale=0.2)
    x, activations = np.ones(3), jax.jit(lambda net, params, x: net.trace(params, x).activations)
    np.testing.assert_array_equal(activations(deep, deep.init(KEY), x)[:2], activations(shallow, shallow.init(KEY), x))


def test_scales_and_activations_share_their_draws():
    a = jaxsat.MLP(**SIZES, activation="relu", weight_scale=2.0).init(KEY)
    b = jaxsat.MLP(**SIZES, activation="tanh", weight_scale=0.5, bias_scale=1.0).init(KEY)
    np.testing.assert_array_equal(a.hidden, b.hidden)
    np.testing.assert_array_equal(a.biases, b.biases)


def test_scaled_folds_the_scales_in():
    net = jaxsat.MLP(**SIZES, activation="gelu", weight_scale=1.3, bias_scale=0.7)
    params, x = net.init(KEY), np.ones(3)
    scaled = jax.jit(lambda params: params.scaled())(params)
    np.testing.assert_allclose(net.apply(scaled, x), net.apply(params, x), rtol=1e-13)
    np.testing.assert_allclose(scaled.hidden, 1.3 * np.asarray(params.hidden), rtol=1e-15)


def test_vmap_runs_over_the_scales_of_an_mlp_and_leaves_draws_unbatched():
    net = jaxsat.MLP(**SIZES, activation="gelu", weight_scale=jnp.array([0.5, 1.0, 2.0]), bias_scale=jnp.zeros(3))
    out = jax.vmap(lambda n: n.apply(n.init(KEY), np.ones(3)))(net)
    for scale, row in zip([0.5, 1.0, 2.0], out, strict=True):
        one = jaxsat.MLP(**SIZES, activation="gelu", weight_scale=scale)
        np.testing.assert_allclose(row, one.apply(one.init(KEY), np.ones(3)), rtol=1e-13)
    # out_axes=None is refused for anything that is batched: the draws are not
    assert jax.eval_shape(jax.vmap(lambda n: n.init(KEY).hidden, out_axes=None), net).shape == (3, 6, 6)


def test_an_mlp_is_a_pytree_of_its_two_scales():
    net = jaxsat.MLP(depth=2, width=3, weight_scale=1.5)
    leaves, treedef = jax.tree.flatten(net)
    assert leaves == [1.5, 0.0]
    assert jax.tree.unflatten(treedef, leaves) == net
    assert hash(treedef) == hash(jax.tree.structure(jaxsat.MLP(depth=2, width=3)))


def test_dtype_of_init_is_a_cast_of_the_same_draw():
    net = jaxsat.MLP(**SIZES)
    half, full = jax.jit(lambda: (net.init(KEY, jnp.bfloat16).hidden, net.init(KEY).hidden))()
    np.testing.assert_array_equal(half, np.asarray(full).astype(jnp.bfloat16))
    out = jax.eval_shape(lambda x: net.apply(net.init(KEY, jnp.float16), x), jnp.ones(3))
    assert out.dtype == jnp.float16


def test_length_map_of_relu_networks():
    """He et al. 2015: E q_l = sigma_w^2 / 2 q_{l-1}, so sigma_w = sqrt 2 keeps it. Exact at finite width."""
    net = jaxsat.MLP(depth=5, width=24, activation="relu", weight_scale="he")
    keys = jax.random.split(KEY, 6000)
    squares = lambda k: jnp.mean(net.trace(net.init(k), np.ones(24)).pre_activations ** 2, axis=1)  # noqa: E731
    q = np.asarray(jax.jit(jax.vmap(squares))(keys))
    error = q.std(0, ddof=1) / np.sqrt(6000)
    assert (np.abs(q.mean(0) - 2) < 4 * error).all()
    assert error.max() < 0.04  # small enough to see a factor of 1.05


@pytest.mark.parametrize(("name", "first", "hidden"), [("glorot", 2 / (20 + 40), 1 / 40), ("he", 2 / 20, 2 / 40)])
def test_named_scales_hold_in_every_layer(name, first, hidden):
    net = jaxsat.MLP(depth=3, width=40, inputs=20, weight_scale=name)
    params = jax.jit(jax.vmap(lambda k: net.init(k).scaled()))(jax.random.split(KEY, 100))
    for leaf, expected in ((params.first, first), (params.hidden, hidden)):
        assert abs(np.mean(np.asarray(leaf) ** 2) / expected - 1) < 4 * np.sqrt(2 / leaf.size)


def test_default_input_has_unit_mean_square():
    x = gaussian_input(jaxsat.MLP(depth=1, width=3, inputs=50), KEY)
    assert x.shape == (50,)
    assert np.mean(np.asarray(x) ** 2) == pytest.approx(1, abs=1e-14)


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"depth": 0}, ValueError, "MLP: `depth` must be an integer of at least 1; got 0"),
        ({"width": -3}, ValueError, "MLP: `width` must be an integer of at least 1; got -3"),
        ({"inputs": 0}, ValueError, "MLP: `inputs` must be an integer of at least 1"),
        ({"weight_scale": float("nan")}, ValueError, "MLP: `weight_scale` must be finite and at least 0; got nan"),
        ({"weight_scale": -1.0}, ValueError, "`weight_scale` must be finite and at least 0"),
        ({"bias_scale": float("inf")}, ValueError, "`bias_scale` must be finite"),
        ({"bias_scale": "large"}, TypeError, "`bias_scale` must be real numbers; got 'large'"),
        ({"weight_scale": "xavier"}, ValueError, "must be a number or a known name"),
        ({"activation": "rellu"}, ValueError, "Did you mean 'relu'"),
        ({"ensemble": "ortogonal"}, ValueError, "Did you mean 'orthogonal'"),
        ({"fan": "out"}, ValueError, "`fan` must be a known name; got 'out'. Known: in, average"),
    ],
)
def test_bad_fields(fields, error, message):
    with pytest.raises(error, match=message):
        jaxsat.MLP(**({"depth": 2, "width": 3} | fields))


@pytest.mark.parametrize("value", [2.5, True, None, "3"])
def test_sizes_that_are_no_integers(value):
    net = jaxsat.MLP(depth=2, width=3)
    object.__setattr__(net, "depth", value)  # behind the type checker of the test run, which would answer first
    with pytest.raises(TypeError, match=f"MLP: `depth` must be an integer of at least 1; got {value!r}"):
        net.__post_init__()


def test_swapped_parameters_and_input():
    net = jaxsat.MLP(**SIZES)
    swapped = r"got an array of shape \(3,\). The order is \(net, params, x\): if that is the input, `params` and `x` are swapped"
    with pytest.raises(TypeError, match=swapped):
        mlp.check_params("MLP", jnp.ones(3))  # below the type checker of the test run
    with pytest.raises(TypeError, match=swapped):
        inspect.unwrap(jaxsat.Recurrent.checked)(jaxsat.Recurrent(2, 3), jnp.ones(3), net.init(KEY))


def test_wrong_input_width():
    net = jaxsat.MLP(**SIZES)
    with pytest.raises(ValueError, match=r"`x` must be one input of shape \(3,\); got \(4,\)"):
        net.apply(net.init(KEY), jnp.ones(4))
