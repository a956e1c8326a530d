"""Dtypes, NaN and shapes: what goes into an activation, and what comes out."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsat import activations
from jaxsat.activations import Activation
from tests.activations.truths import CASES, FEW_QUICKLY, QUANTITIES, all_four, mp, record_and_truth


@pytest.mark.parametrize("name", FEW_QUICKLY)
def test_dtype_is_kept(name):
    record = record_and_truth(name)[0]
    for dtype in (jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64):
        x = jax.ShapeDtypeStruct((2, 3), dtype)
        for got in (*jax.eval_shape(all_four(record), x), jax.eval_shape(jax.vmap(jax.vmap(jax.grad(record))), x)):
            assert (got.shape, got.dtype) == (x.shape, dtype)


@pytest.mark.parametrize("name", FEW_QUICKLY)
def test_half_precision(name):
    """Right to a few units of the last place: near 0 to five, and exp(-x^2) loses x^2 of them."""
    record, truth = record_and_truth(name)
    x = np.array([-6.5, -2.25, -0.25, 0.5, 2.25, 6.5])
    slope = [truth.slope(mp.mpf(v)) for v in x]
    value = [truth.value(mp.mpf(v)) for v in x]
    log_slope = [mp.log(abs(t)) if t else mp.ninf for t in slope]
    expected = np.array([[float(t) for t in true] for true in (value, slope, log_slope, map(mp.sign, slope))])
    both = jnp.asarray(x, jnp.float16), jnp.asarray(x, jnp.bfloat16)
    compiled = jax.jit(lambda both: [(*all_four(record)(x), jax.vmap(jax.grad(record))(x)) for x in both])
    for given, (*four, gradient) in zip(both, compiled(both), strict=True):
        eps, tiny = float(jnp.finfo(given.dtype).eps), float(jnp.finfo(given.dtype).tiny)
        for quantity, got, true, slack in zip(QUANTITIES, four, expected, (tiny, tiny, 5 * eps, 0.0), strict=True):
            got, finite = np.asarray(got, np.float64), np.isfinite(true)
            np.testing.assert_array_equal(got[~finite], true[~finite], err_msg=quantity)
            bound = np.array([16, 5, 5, 5, 5, 16]) * eps * np.abs(true) + slack
            assert np.all(np.abs(got[finite] - true[finite]) <= bound[finite]), (given.dtype, quantity, got, true)
        np.testing.assert_array_equal(gradient, four[1])


@pytest.mark.parametrize("name", FEW_QUICKLY)
def test_integers_become_floats(name):
    four = all_four(record_and_truth(name)[0])
    for got, expected in zip(four(jnp.arange(-3, 3)), four(jnp.arange(-3.0, 3.0)), strict=True):
        assert got.dtype == jnp.float64
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_complex_is_refused(quantity):
    tanh = activations.get("tanh")
    # unwrapped: under the import hook the type checker speaks first
    method = inspect.unwrap(Activation.__call__ if quantity == "value" else getattr(Activation, quantity))
    with pytest.raises(
        TypeError, match=r"activation: `x` must be real numbers; got dtype complex128\. Pass the real and imaginary"
    ):
        method(tanh, jnp.array([1j]))


@pytest.mark.parametrize("name", CASES)
def test_nan_stays_nan(name):
    x = jnp.array([jnp.nan, 1.5, jnp.nan, -0.5, 7.0, -7.0])
    for quantity, got in zip(QUANTITIES, all_four(record_and_truth(name)[0])(x), strict=True):
        np.testing.assert_array_equal(np.isnan(got), np.isnan(x), err_msg=quantity)


def test_shapes_and_scalars():
    tanh = activations.get("tanh")
    assert tanh(0.5).shape == ()
    assert tanh(np.zeros((2, 0, 3))).shape == (2, 0, 3)
    assert float(tanh(0.5)) == pytest.approx(np.tanh(0.5), rel=1e-15)
