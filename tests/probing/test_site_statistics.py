"""The effective rank of features, beside the eigenvalues of their covariance."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxsat
from jaxsat.probing.site_statistics import feature_participation
from jaxsat.probing.site_sums import RANKED, sampled

DRAWS = np.random.default_rng(0)


def of_eigenvalues(rows):
    values = np.linalg.eigvalsh(np.cov(rows, rowvar=False))
    return values.sum() ** 2 / (values**2).sum()


@pytest.mark.parametrize("shape", [(40, 6), (5, 9)])
def test_effective_rank_is_that_of_the_eigenvalues_of_the_covariance(shape):
    rows = 3 + DRAWS.normal(size=shape) * np.arange(1, shape[1] + 1)
    assert float(feature_participation(jnp.asarray(rows))) == pytest.approx(of_eigenvalues(rows), rel=1e-12)


def test_known_ranks():
    turned, _ = np.linalg.qr(DRAWS.normal(size=(8, 8)))
    three = np.concatenate([np.eye(3), -np.eye(3)]) @ turned[:3]
    assert float(feature_participation(jnp.asarray(three))) == pytest.approx(3, rel=1e-12)
    assert np.isnan(float(feature_participation(jnp.ones((4, 8)))))
    many = np.concatenate([np.eye(2), -np.eye(2)] * RANKED) @ turned[:2]  # with a period of four rows
    # 512 rows of two directions: shares differ from 1/2 by some 0.02, and (a + b)^2 / (a^2 + b^2) is 2 - 4 (difference)^2.
    assert float(feature_participation(sampled(jnp.asarray(many.reshape(2, -1, 8))))) == pytest.approx(2, abs=0.01)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_features_of_any_size_have_their_rank_and_constant_ones_have_none(scale):
    rows = DRAWS.normal(size=(40, 6)) * np.arange(1, 7)
    found = feature_participation(jnp.asarray(rows * scale, jnp.float32))
    assert float(found) == pytest.approx(of_eigenvalues(rows), rel=1e-4)  # sums of 40 products in float32: some 40 eps
    constant = np.full((40, 6), 0.1 * scale, np.float32)  # its mean is rounded, and differs from it
    assert np.isnan(float(feature_participation(jnp.asarray(constant))))


def test_a_report_has_the_effective_rank_of_each_layer():
    w = np.diag([1.0, 1.0, 1e-6, 0.0])
    x = DRAWS.normal(size=(30, 4))
    report = jaxsat.probe(lambda w, x: jnp.sum(jnp.tanh(x @ w)), w, x)
    assert report.sites[0].participation_ratio == pytest.approx(of_eigenvalues(np.tanh(x @ w)), rel=1e-10)
    assert report.scalars()[f"{report.sites[0].path}/participation_ratio"] == report.sites[0].participation_ratio
