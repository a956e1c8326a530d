"""Sums of many arrays at once, beside NumPy on each array alone."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsat.linalg import packed_arrays
from jaxsat.linalg.folding import ROW
from jaxsat.linalg.magnitudes import log_norm
from jaxsat.linalg.packed_arrays import largest_magnitudes, means, norms_in_logs

DRAWS = np.random.default_rng(0)
ALL_THREE = jax.jit(lambda arrays: (norms_in_logs(arrays), largest_magnitudes(arrays), means(arrays)))
SHAPES = [(), (1,), (ROW,), (ROW + 1,), (3, 5, 7), (2 * ROW, 3)]


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_each_array_has_the_number_it_has_alone(dtype, scale):
    arrays = [jnp.asarray(DRAWS.normal(size=shape) * scale, dtype) for shape in SHAPES]
    plain = [np.asarray(array, np.float64) for array in arrays]
    # A row of 512 is summed to 256 eps at most, 3e-5 in float32; a logarithm near 70 is rounded to 4e-6.
    most = 1e-12 if dtype == jnp.float64 else 4e-5
    logs, largest, middles = ALL_THREE(arrays)
    np.testing.assert_allclose(logs, [math.log(np.linalg.norm(one)) for one in plain], rtol=0, atol=most)
    np.testing.assert_array_equal(largest, [np.max(np.abs(one)) for one in plain])
    of_sizes = np.array([np.mean(np.abs(one)) for one in plain])
    assert np.all(np.abs(np.asarray(middles) - [np.mean(one) for one in plain]) <= most * of_sizes)


def test_large_arrays_and_other_dtypes_keep_their_places(monkeypatch):
    monkeypatch.setattr(packed_arrays, "ALONE", 40)
    monkeypatch.setattr(packed_arrays, "ROOM", 60)
    arrays = [
        jnp.asarray(np.full(n, n), dtype)
        for n, dtype in [
            (30, jnp.float32),
            (50, jnp.float32),
            (20, jnp.bfloat16),
            (35, jnp.float32),
            (25, jnp.float32),
            (3, jnp.bfloat16),
        ]
    ]
    np.testing.assert_array_equal(jax.jit(largest_magnitudes)(arrays), [30, 50, 20, 35, 25, 3])


def test_zeros_and_what_is_not_finite_stay_with_their_array():
    infinite, unknown = np.ones(600), np.ones(600)
    infinite[5], unknown[590] = np.inf, np.nan
    arrays = [jnp.asarray(one) for one in (np.zeros(600), infinite, unknown, np.ones(4), np.zeros(0))]
    np.testing.assert_array_equal(jax.jit(norms_in_logs)(arrays[:4]), [-np.inf, np.inf, np.nan, math.log(2)])
    np.testing.assert_array_equal(jax.jit(largest_magnitudes)(arrays), [0, np.inf, np.nan, 1, 0])
    assert norms_in_logs([]).shape == (0,)


def test_one_array_alone_is_the_plain_norm():
    x = jnp.asarray(DRAWS.normal(size=7))
    assert float(norms_in_logs([x])[0]) == float(log_norm(x))
