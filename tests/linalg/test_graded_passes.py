"""Estimated errors beside true ones: products in every position, against exact arithmetic."""

import functools

import jax
import numpy as np
import pytest

from jaxsat.linalg import spectrum
from tests.linalg import product_bank

pytest.importorskip("flint", reason="python-flint is not installed: pip install python-flint")

# Kinds of which every value is resolved, at n = 6, by the quick pass or by the careful way, and the error that is allowed.
# What else is in the bank, the data do not determine: an ulp in the weights moves the values by more than 1e-3.
RESOLVED = {
    "gaussian": 1e-11,
    "gaussian, tied": 1e-11,
    "upper Toeplitz, tied": 1e-11,
    "lower Toeplitz, tied": 1e-11,
    "upper triangular": 1e-8,
    "Jordan block, tied": 1e-9,
    "rank one + 1e-6, tied": 1e-6,
    "columns 1e-20 .. 1e20": 1e-11,
    "rows and columns": 1e-11,
    "slopes over exp(300)": 1e-10,
    "zeros as of ReLU": 1e-11,
}
# Compiled as users do it: at level 0, as other tests are, a product with columns of 1e-20 .. 1e20 stays unresolved (and says so).
estimated = jax.jit(
    functools.partial(spectrum.log_singular_values_of_product, with_error=True),
    compiler_options={"xla_backend_optimization_level": 1},
)


def judged(seed):
    """Name, values, estimates and true errors of every product of a seed."""
    for name, *product in product_bank.products(seed):
        exact = spectrum.exact_log_singular_values_of_product(*product)
        values, estimates = (np.asarray(a) for a in estimated(*product))
        same = values == exact.values  # -inf among them
        errors = np.where(same, 0.0, np.abs(np.where(same, 0.0, values) - np.where(same, 0.0, exact.values)))
        yield name, values, estimates, errors, exact.errors


@pytest.mark.parametrize("seeds", [1, pytest.param(7, marks=pytest.mark.slow)])
def test_estimates_are_honest_and_not_much_too_large(seeds):
    """Of all values 99.5 % lie within their estimates; half of the estimates are below 300 times the true error."""
    above, count, ratios = 0, 0, []
    for seed in range(seeds):
        for name, values, estimates, errors, bounds in judged(seed):
            above, count = above + np.sum(~(errors <= estimates + bounds)), count + errors.size
            seen = np.isfinite(values)
            ratios.extend(estimates[seen] / np.maximum(errors[seen], 1e-16))
            assert np.all(errors[np.isneginf(values)] == 0), name
            if name in RESOLVED:
                assert spectrum.is_log_resolved(estimates).all(), name
                assert errors.max() < RESOLVED[name], name
            if name == "undone":
                assert estimates.max() > 1e-6, "rounding is seen through the condition of both halves"
    assert above <= 0.005 * count, f"{above} of {count}"
    assert np.median(ratios) < 300


def test_zeros_that_rounding_may_have_made_are_not_called_certain():
    """Two equal rows leave a pivot of exactly 0: the value is -inf, and so would be that of rows that only look equal."""
    weights = np.random.default_rng(3).normal(size=(2, product_bank.N, product_bank.N))
    weights[0, 1] = weights[0, 0]
    values, errors = spectrum.log_singular_values_of_product(weights, with_error=True)
    assert np.isneginf(values[-1]) == np.isinf(errors[-1])
    assert not spectrum.is_log_resolved(errors[-1:]).any()
    weights[0, 1] = 0.0  # a row of zeros is seen
    values, errors = spectrum.log_singular_values_of_product(weights, with_error=True)
    assert np.isneginf(values[-1])
    assert errors[-1] == 0


@pytest.mark.slow
def test_batches_get_what_each_product_gets_alone():
    """vmap over a product that is resolved at once and products that take the careful way."""
    bank = {name: product for name, *product in product_bank.products(0)}
    names = ["gaussian", "upper Toeplitz, tied", "slopes over exp(300)"]
    together = jax.vmap(estimated)(*(np.stack(parts) for parts in zip(*(bank[name] for name in names), strict=True)))
    for index, name in enumerate(names):
        values, errors = estimated(*bank[name])
        # Batched products and decompositions round differently: a few units in the last place of the largest |ln s|.
        np.testing.assert_allclose(together[0][index], values, rtol=1e-13, atol=1e-11)
        assert np.all(together[1][index] < 10 * errors + 1e-12)
