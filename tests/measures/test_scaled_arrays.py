"""Arrays beside a scale: norms and sums that are right where plain squares and sums leave the range of numbers."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxsat.measures.scaled_arrays import Powered, added, renormalised, size_and_log_norm, with_log_scale, zeros_like


def powered(value, exponent=0):
    return Powered({"a": jnp.asarray(value, jnp.float32)}, jnp.asarray(exponent, jnp.int32))


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
def test_norms_of_any_size(size):
    exponent, log = size_and_log_norm(powered([3 * size, 4 * size], 1000), jnp.float32)
    true = np.log(5) + np.log(size) + 1000 * np.log(2)
    np.testing.assert_allclose(log, true, rtol=1e-6)  # some eps of float32
    assert abs(float(exponent) - true / np.log(2)) < 2


def test_zeros_have_no_norm_and_change_no_sum():
    size, log = size_and_log_norm(powered([0.0, 0.0]), jnp.float32)
    assert log == -np.inf
    total = added(powered([0.5, 0.25], -3000), powered([0.0, 0.0]), size)
    assert with_log_scale(total, jnp.float32).direction["a"].tolist() == [1.0, 0.5]
    empty = zeros_like({"a": jnp.ones(2)})
    assert with_log_scale(empty, jnp.float32).log_scale == -np.inf


def test_sums_of_terms_far_apart():
    terms = [powered([1.0, 0.0], 500), powered([3e-38, 1.0], -500), powered([1e30, -1e30], 400)]
    total = zeros_like(terms[0].tree)
    for term in terms:
        total = added(total, term, size_and_log_norm(term, jnp.float32)[0])
    found = with_log_scale(total, jnp.float32)
    # 2^500 + 1e30 2^400 = 2^500 (1 + 0.789); what is 2^-500 is far below
    small = 1e30 / 2.0**100
    np.testing.assert_allclose(found.log_scale, 500 * np.log(2) + np.log(1 + small), rtol=1e-6)
    np.testing.assert_allclose(found.direction["a"], [1, -small / (1 + small)], rtol=1e-6)


def test_powers_are_exact():
    back = renormalised(powered([1.1e-37, 5.0e-39 * 10], 7))
    exact = np.ldexp(np.asarray(back.tree["a"], np.float64), int(back.exponent) - 7)
    np.testing.assert_array_equal(exact, np.asarray([1.1e-37, 5.0e-38], np.float32).astype(np.float64))
