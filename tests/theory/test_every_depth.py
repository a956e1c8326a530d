"""Theory of every depth at once: each row is the network of the first layers alone."""

import numpy as np
import pytest

from jaxsat import theory

DEPTH, SHALLOW = 5, 3
SCALES = 1.3, 0.2


@pytest.mark.parametrize(
    "found",
    [
        lambda depth, **more: (theory.log_gradient_norms("tanh", depth, *SCALES, **more),),
        pytest.param(
            lambda depth, **more: theory.log_normal_law("tanh", depth, 24, *SCALES, **more)[:2],  # mean and std
            marks=pytest.mark.slow,
        ),
    ],
)
def test_rows_are_shallower_networks_and_what_is_beyond_them_is_not_known(found):
    for rows, alone in zip(found(DEPTH, every_depth=True), found(SHALLOW), strict=True):
        assert rows.shape == (DEPTH, DEPTH)
        assert np.isnan(np.asarray(rows)[np.triu_indices(DEPTH, 1)]).all()
        # float64, the same sums in another order
        np.testing.assert_allclose(rows[SHALLOW - 1, :SHALLOW], alone, rtol=1e-12, atol=1e-13)


def test_linear_networks_in_closed_form():
    rows = theory.log_gradient_norms("identity", DEPTH, 0.5, every_depth=True)
    layers = np.arange(1, DEPTH + 1)
    expected = (layers[:, None] - layers) * np.log(0.5)
    below = np.tril_indices(DEPTH)
    np.testing.assert_allclose(np.asarray(rows)[below], expected[below], atol=1e-12)
