"""A callable becomes a record of its own: class, limits, kinks and slope by probing, or an error that says why not."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsat import activations
from tests.activations.truths import (
    all_four,
    mp,
    record_and_truth,
)

CALLABLES = {
    "identity": lambda x: x,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "hard_sigmoid": jax.nn.hard_sigmoid,
    "hard_tanh": jax.nn.hard_tanh,
    "erf": jax.scipy.special.erf,
    "arctan": jnp.arctan,
    "softsign": jax.nn.soft_sign,
    "lecun_tanh": lambda x: 1.7159 * jnp.tanh(2 * x / 3),
    "relu": jax.nn.relu,
    "leaky_relu": jax.nn.leaky_relu,
    "relu6": jax.nn.relu6,
    "elu": jax.nn.elu,
    "selu": jax.nn.selu,
    "celu": jax.nn.celu,
    "softplus": jax.nn.softplus,
    "squareplus": jax.nn.squareplus,
    "sparse_plus": jax.nn.sparse_plus,
    "gelu": functools.partial(jax.nn.gelu, approximate=False),
    "gelu_tanh": jax.nn.gelu,
    "silu": jax.nn.silu,
    "hard_silu": jax.nn.hard_silu,
    "mish": jax.nn.mish,
    "log_sigmoid": jax.nn.log_sigmoid,
    "sin": jnp.sin,
    "leaky_relu(-0.5)": lambda x: jax.nn.leaky_relu(x, -0.5),
    "elu(2)": lambda x: jax.nn.elu(x, 2.0),
}


ALWAYS = {(name, True) for name in ("sigmoid", "relu", "sparse_plus", "leaky_relu(-0.5)")} | {("tanh", False)}
DERIVED = [
    pytest.param(*case, marks=[] if case in ALWAYS else pytest.mark.slow)  # half a second to two each
    for case in itertools.product(CALLABLES, (True, False))
]


@pytest.mark.parametrize(("name", "x64"), DERIVED)
def test_derived_record(name, x64):
    """Class, limits of the slope and jumps are found by probing, in float64 and in JAX's default float32 alike."""
    known, truth = record_and_truth(name)
    fn = CALLABLES[name]
    with jax.enable_x64(x64):
        derived = activations.get(fn if x64 else lambda x: fn(x))
        x = jnp.array([-2.7, -0.6, 0.1, 1.4, 2.2, 4.5])
        *four, gradient = jax.jit(lambda x: (*all_four(derived)(x), jax.vmap(jax.grad(derived))(x)))(x)
        for got, expected in zip(four, all_four(known)(x), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(gradient, four[1], rtol=4e-7)
    assert derived.derived
    assert (derived.left, derived.right) == (known.left, known.right)
    assert derived.max_slope == pytest.approx(known.max_slope, rel=1e-4)
    step = mp.mpf("1e-9")
    jumps = [k for k in truth.kinks if abs(truth.slope(mp.mpf(k) + step) - truth.slope(mp.mpf(k) - step)) > 1e-3]
    assert list(derived.kinks) == pytest.approx(jumps, abs=2e-6)
    assert activations.get(derived) is derived


def test_derived_record_is_the_same_for_the_same_callable():
    assert activations.get(jnp.tanh) is activations.get(jnp.tanh)
    assert activations.get(jnp.tanh) is not activations.get("tanh")
    assert activations.get(jnp.tanh).name == "tanh"


def test_derive_inside_jit_leaks_nothing():
    def bent(x):
        return jnp.where(x > 1, 1 + (x - 1) / 10, x)

    inside = jax.jit(lambda x: activations.get(bent)(x))(jnp.array([0.5, 2.0]))
    np.testing.assert_allclose(inside, [0.5, 1.1], rtol=1e-15)
    record = activations.get(bent)
    assert isinstance(record.max_slope, float)
    assert record.max_slope == 1.0
    assert record.kinks == pytest.approx((1.0,), abs=2e-6)
    np.testing.assert_allclose(record(jnp.array([3.0])), [1.2], rtol=1e-15)


@pytest.mark.parametrize(
    "fn",
    [
        jax.nn.softmax, jnp.cumsum, lambda x: x - jnp.mean(x), lambda x: x / jnp.std(x), lambda x: x[::-1], jnp.sort,
        jax.lax.cummax, lambda x: x / jnp.max(jnp.abs(x)), lambda x: x + x[0],
    ],
    ids=["softmax", "cumsum", "centre", "scale", "reverse", "sort", "cummax", "max_norm", "first"],
)  # fmt: skip
def test_entries_that_depend_on_each_other(fn):
    with pytest.raises(ValueError, match=r"activation: .* must act elementwise; got entries that depend on each other"):
        activations.get(fn)


@pytest.mark.parametrize("fn", [jnp.sum, jnp.max, lambda x: jnp.stack([x, x]), lambda x: x[:-1]])
def test_shape_changing_callables(fn):
    with pytest.raises(ValueError, match=r"activation: .* must act elementwise; got shape \(.*\) from shape \(4001,\)"):
        activations.get(fn)


@pytest.mark.parametrize("wrap", [jax.jit, jax.grad, jax.vmap])
def test_callables_that_close_over_a_traced_value(wrap):
    def slope_at_one(a):
        return activations.get(lambda x: jnp.tanh(a.astype(x.dtype) * x)).slope(1.0)

    assert float(slope_at_one(jnp.float64(0.9))) > 0
    with pytest.raises(ValueError, match="whose values are known; got one that closes over a traced value"):
        wrap(slope_at_one)(jnp.ones(3 if wrap is jax.vmap else ()))


def test_callables_that_fail_are_named():
    def square_matrix_only(x):
        return x.reshape(2, 2)

    with pytest.raises(
        ValueError, match=r"`square_matrix_only` must map an array to an array elementwise; got an error on"
    ):
        activations.get(square_matrix_only)
    with pytest.raises(ValueError, match=r"must be made of operations of JAX; got NumPy's tanh. Use jax.numpy.tanh"):
        activations.get(np.tanh)
    with pytest.raises(
        ValueError, match=r"`through_numpy` must map .*; got an error on shape \(4001,\): The numpy.ndarray conv"
    ):
        activations.get(through_numpy)


def through_numpy(x):
    return np.exp(np.asarray(x))
