"""Products without rounding: beside closed forms, and as the judge of the estimated errors."""

import numpy as np
import pytest

import jaxsat
from jaxsat import addresses
from jaxsat.linalg.exact import exact_log_singular_values_of_product

pytest.importorskip("flint", reason="python-flint is not installed: pip install python-flint")
N = 6


def test_powers_of_a_golden_shear_in_closed_form():
    """[[1, 1], [0, 1]]^L = [[1, L], [0, 1]]: s_1 = (L + sqrt(L^2 + 4)) / 2, and s_2 = 1 / s_1."""
    exact = exact_log_singular_values_of_product([np.array([[1.0, 1.0], [0.0, 1.0]])] * 40)
    expected = np.arcsinh(20.0)
    np.testing.assert_allclose(exact.values, [expected, -expected], rtol=0, atol=1e-15)
    assert np.all(exact.errors < 2e-15)


def test_zeros_ties_and_widths_are_exact():
    tied = exact_log_singular_values_of_product(
        [np.diag([2.0, 2.0, 0.5]), np.eye(3)], None, np.array([[1, -1, 1], [1, 1, 0]])
    )
    np.testing.assert_allclose(tied.values, [np.log(2), np.log(2), -np.inf], rtol=0, atol=1e-15)
    narrow = exact_log_singular_values_of_product([np.ones((1, 3)), np.ones((3, 1))])  # 3 x 3, all ones: s_1 = 3
    np.testing.assert_allclose(narrow.values, [np.log(3), -np.inf, -np.inf], rtol=0, atol=1e-15)


def test_slopes_given_as_logarithms():
    logs = np.array([[-700.0, 3.5], [0.25, -1e3]])
    exact = exact_log_singular_values_of_product([np.eye(2)] * 2, logs)
    np.testing.assert_allclose(exact.values, [-699.75, -996.5], rtol=0, atol=1e-12)
    with pytest.raises(ArithmeticError, match="values are equal or zero"):
        exact_log_singular_values_of_product([np.eye(2)], np.array([[-1.5, -1.5]]))


def test_a_wrong_count_of_digits():
    with pytest.raises(ValueError, match="`digits` must be an integer from 1 to 10000; got 0"):
        exact_log_singular_values_of_product([np.eye(2)], digits=0)


@pytest.mark.slow
def test_networks_are_resolved_and_lost_directions_have_no_error():
    net = jaxsat.MLP(depth=6, width=N, inputs=4, activation="relu", weight_scale=1.4)
    params = net.init(addresses.root(2))
    values, errors = jaxsat.log_singular_values(net, params, np.linspace(-1, 1, 4), with_error=True)
    plain = jaxsat.log_singular_values(net, params, np.linspace(-1, 1, 4))
    np.testing.assert_allclose(values, plain, rtol=0, atol=1e-11)
    assert np.all(errors < 1e-8)
    assert np.all(errors[np.isneginf(values)] == 0)
    with pytest.raises(ValueError, match="`with_error` must be False with every_depth=True"):
        jaxsat.log_singular_values(net, params, np.ones(4), every_depth=True, with_error=True)
