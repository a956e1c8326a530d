"""Several reductions in one pass, beside NumPy."""

import jax
import numpy as np
import pytest

from jaxsat.linalg.folding import ROW, fold_rows

DRAWS = np.random.default_rng(0)


@pytest.mark.parametrize("n", [1, ROW, 3 * ROW + 7])
def test_rows_are_those_of_numpy(n):
    x = DRAWS.normal(size=(n, 3))
    rows = [x[i : i + ROW] for i in range(0, n, ROW)]
    found = jax.jit(lambda x: fold_rows([("add", x), ("min", x), ("max", x)]))(x)
    for one, reduced in zip(found, (np.sum, np.min, np.max), strict=True):
        # 512 additions, each rounded by half an eps of at most 512 times the largest entry, some 4.
        atol = ROW * ROW * 4 * 1.1e-16 if reduced is np.sum else 0
        np.testing.assert_allclose(one, [reduced(row, axis=0) for row in rows], rtol=0, atol=atol)


def test_a_nan_stays_in_its_row():
    x = np.ones((20 * ROW, 2), np.float32)
    x[3 * ROW + 5, 1] = np.nan
    for one in jax.jit(lambda x: fold_rows([("add", x), ("min", x), ("max", x)]))(x):
        assert np.argwhere(np.isnan(one)).tolist() == [[3, 1]]
