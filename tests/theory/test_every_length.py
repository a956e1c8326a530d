"""Stationary lengths of all activations, over all scales, against quadrature that knows neither tables nor Newton steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsat import activations, theory
from tests import known
from tests.quick_cases import slow_except

WEIGHT_SCALES = (0.01, 0.3, 0.9, 1.5, 4.0, 15.0, 50.0)
BIAS_SCALES = (0.0, 0.1, 1.0, 5.0)
LENGTHS = np.geomspace(1e-4, 1e5, 28)  # at which the length map is compared with the line q -> q
SMALL = 1e-30  # stands for 0
LARGEST = 1e6  # beyond it the rule of `known` is not fine enough near 0


@pytest.mark.parametrize("name", slow_except(["gelu"], activations.names()))
def test_stationary_lengths_and_gradients(name):
    """q = sigma_w^2 E[phi^2] + sigma_b^2 and chi = sigma_w^2 E[phi'^2], and no other length lies on the way to q."""
    grid = np.array([(w, b) for w in WEIGHT_SCALES for b in BIAS_SCALES])

    def quantities(w, b):
        field = theory.mean_field(name, w, b)
        return field.q, field.chi, field.chi_q, field.converged

    found = jax.jit(jax.vmap(quantities))(*jnp.asarray(grid.T))
    act = activations.get(name)
    square, slope = jax.jit(lambda x: act(x) ** 2), jax.jit(lambda x: act.slope(x) ** 2)

    def integral(f, q):
        return known.by_many_panels(f, max(q, SMALL), act.kinks)  # q = 0 is the limit from above

    squares = np.array([integral(square, q) for q in LENGTHS])
    for (w, b), q, chi, chi_q, converged in zip(grid, *map(np.asarray, found), strict=True):
        start = w * w + b * b  # of an input of mean square 1
        upwards = np.sign(w * w * squares + b * b - LENGTHS)
        between = (min(start, q) * 1.01 < LENGTHS) & (max(start, q) * 0.99 > LENGTHS)
        if not np.isfinite(q):
            assert not converged
            assert np.all(upwards[between] >= 0), (w, b)
            continue
        if not converged or q > LARGEST:
            continue
        assert np.all(upwards[between] == np.sign(q - start)), (w, b)
        image = w * w * integral(square, q) + b * b
        # An error of q by 1e-11 of itself moves q - F(q) by 1 - F'(q) times that; the rest is rounding of the rule.
        tolerance = q * (1e-11 * abs(1 - chi_q) + 1e-13) + 10 * w * w * SMALL  # slopes at 0 are 3 at most
        assert abs(image - q) <= tolerance, (w, b)
        assert abs(chi / (w * w * integral(slope, q)) - 1) < 1e-10, (w, b)
