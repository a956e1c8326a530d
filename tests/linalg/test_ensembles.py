import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsat import addresses
from jaxsat.linalg import ensembles


@pytest.mark.parametrize("name", ["gaussian", "uniform", "orthogonal"])
@pytest.mark.parametrize("shape", [(40, 40), (60, 20), (20, 60)])
def test_entries_have_mean_zero_and_mean_square_one_over_fan_in(name, shape):
    keys = jax.random.split(addresses.root(1), 200)
    w = np.asarray(jax.vmap(lambda k: ensembles.get(name)(k, *shape))(keys))
    squares = (w**2).mean((1, 2)) * shape[1]
    n = w.size
    assert abs(w.mean()) < 4 * np.sqrt(1 / shape[1] / n)  # orthogonal entries are less correlated than that allows
    # Orthogonal: exact for each draw. Others: kurtosis at most 3 bounds the variance of a squared entry by 2.
    tolerance = 1e-12 if name == "orthogonal" else 4 * np.sqrt(2 / n)
    assert abs(squares.mean() - 1) < tolerance


@pytest.mark.parametrize("shape", [(30, 30), (50, 20), (20, 50)])
def test_orthogonal_has_orthonormal_rows_or_columns(shape):
    w = ensembles.orthogonal(addresses.root(0), *shape)
    n_out, n_in = shape
    gram = w.T @ w * (n_in / n_out) if n_out >= n_in else w @ w.T
    np.testing.assert_allclose(gram, np.eye(min(shape)), atol=1e-13)


def test_orthogonal_is_haar():
    """Haar: the trace of a power of an n x n matrix has mean 0 and mean square k (Diaconis & Shahshahani 1994)."""
    draws = jax.vmap(lambda k: ensembles.orthogonal(k, 12, 12))(jax.random.split(addresses.root(5), 4000))
    trace = np.trace(np.asarray(draws), axis1=1, axis2=2)
    assert abs(trace.mean()) < 4 / np.sqrt(4000)
    assert abs((trace**2).mean() - 1) < 4 * np.sqrt(2 / 4000)  # nearly normal: variance of the square is 2


def test_uniform_stays_in_its_interval():
    w = ensembles.uniform(addresses.root(0), 100, 48)
    bound = np.sqrt(3 / 48)
    assert np.abs(w).max() <= bound
    assert np.abs(w).max() > 0.99 * bound


def test_named_scales_give_the_published_variances():
    # entry variance = sigma_w^2 / n_in
    variance = {n: ensembles.named_scale(n, 30, 20) ** 2 / 20 for n in ("lecun", "he", "glorot", "standard")}
    assert variance == pytest.approx({"lecun": 1 / 20, "he": 2 / 20, "glorot": 2 / 50, "standard": 1 / 60})
    bound = 1 / np.sqrt(20)  # "standard": uniform on +-1/sqrt(n_in)
    assert variance["standard"] == pytest.approx(bound**2 / 3)


def test_unknown_names():
    with pytest.raises(ValueError, match="Did you mean 'gaussian'"):
        ensembles.get("gausian")
    with pytest.raises(
        ValueError, match=r"must be a number or a known name; got 'xavier'\. Known: lecun, he, glorot, standard"
    ):
        ensembles.named_scale("xavier", 3, 3)


def test_draws_keep_under_vmap():
    keys = jax.random.split(addresses.root(2), 3)
    for name in ("gaussian", "uniform", "orthogonal"):
        batched = jax.vmap(lambda k, name=name: ensembles.get(name)(k, 5, 4))(keys)
        for key, one in zip(keys, batched, strict=True):
            assert jnp.array_equal(ensembles.get(name)(key, 5, 4), one)
