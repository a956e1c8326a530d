import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsat.linalg.magnitudes import log_norm, magnitude, maximum_or_nan


def exact_log_norm(x) -> float:
    """By rational numbers: nothing underflows."""
    total = sum(Fraction(float(v)) ** 2 for v in np.asarray(x, np.float64).ravel())
    return (math.log(total.numerator) - math.log(total.denominator)) / 2


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32, jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("exponent", ["largest", "one", "small", "subnormal"])
def test_norms_of_any_size_are_those_of_rational_arithmetic(dtype, exponent):
    info = jnp.finfo(dtype)
    scale = {"largest": float(info.max) / 2, "one": 1.0, "small": float(info.tiny), "subnormal": float(info.tiny) / 4}
    x = np.random.default_rng(0).uniform(-1, 1, (7, 5)) * scale[exponent]
    x = x.astype(dtype)
    x[0, 0] = 0
    found = jax.jit(magnitude)(jnp.asarray(x))
    assert float(found.log_norm) == pytest.approx(exact_log_norm(x), rel=0, abs=1e-12 if dtype == jnp.float64 else 3e-5)
    size = np.abs(np.asarray(x, np.float64))
    assert float(found.zero_fraction) == pytest.approx(np.mean(size == 0), rel=1e-6)
    assert float(found.subnormal_fraction) == pytest.approx(np.mean((size > 0) & (size < float(info.tiny))), rel=1e-6)


def test_zero_subnormal_and_underflow_are_three_answers():
    tiny = float(jnp.finfo(jnp.float32).tiny)
    zero, subnormal, small = (jnp.full(4, v, jnp.float32) for v in (-0.0, tiny / 8, 1e-30))
    assert float(jnp.linalg.norm(small)) == 0  # what the plain norm says of all three
    assert [float(magnitude(x).zero_fraction) for x in (zero, subnormal, small)] == [1, 0, 0]
    assert [float(magnitude(x).subnormal_fraction) for x in (zero, subnormal, small)] == [0, 1, 0]
    assert float(log_norm(zero)) == -math.inf
    assert float(log_norm(subnormal)) == pytest.approx(math.log(tiny / 4), abs=1e-5)
    assert float(log_norm(small)) == pytest.approx(math.log(2e-30), abs=1e-5)


def test_non_finite_entries_show():
    assert float(log_norm(jnp.array([1.0, jnp.inf]))) == math.inf
    assert math.isnan(float(log_norm(jnp.array([1.0, jnp.nan]))))


@pytest.mark.parametrize("shape", [(7,), (5000,), (5, 1000), (100, 100)])
def test_the_largest_entry_beside_a_nan_is_nan(shape):
    """From some 4,000 entries on, XLA's CPU library drops NaN: here none is lost."""
    x = np.ones(shape, np.float32)
    assert float(jax.jit(maximum_or_nan)(x)) == 1
    x[tuple(size // 2 for size in shape)] = np.nan
    assert math.isnan(float(jax.jit(maximum_or_nan)(x)))
    along = np.asarray(jax.jit(lambda x: maximum_or_nan(x, axis=0))(x))
    np.testing.assert_array_equal(along, np.max(x, axis=0))
