"""Spectra of wide networks against Fuss-Catalan laws, their own moments, and random matrices."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from jaxsat import activations, theory
from tests import known

unchecked = inspect.unwrap  # under the import hook the type checker speaks first


@pytest.mark.parametrize(
    "depth",
    [
        2,
        pytest.param(1, marks=pytest.mark.slow),
        pytest.param(5, marks=pytest.mark.slow),
        pytest.param(30, marks=pytest.mark.slow),
    ],
)
def test_linear_gaussian_networks_are_fuss_catalan(depth):
    at, density = known.fuss_catalan(depth)
    found = theory.spectrum_density(at, "identity", depth)
    np.testing.assert_allclose(found * at, density * at, atol=1e-12)
    moments = theory.spectrum_moments("identity", depth)
    second = special.binom(2 * (depth + 1), 2) / (2 * depth + 1)
    np.testing.assert_allclose([moments.mean, moments.variance + 1], [1.0, second], rtol=1e-12)
    edge = (depth + 1) * np.log(depth + 1) - depth * np.log(depth)
    np.testing.assert_allclose(
        [moments.log_upper, moments.largest_singular_value], [edge, np.exp(edge / 2)], rtol=1e-10
    )
    assert np.isneginf(moments.log_lower)


@pytest.mark.parametrize(
    ("ensemble", "variance"), [("gaussian", 16.0), pytest.param("orthogonal", 8.0, marks=pytest.mark.slow)]
)  # L (1 - p) / p and L / p: Pennington et al. 2018
def test_relu_at_criticality(ensemble, variance):
    found = theory.spectrum_moments("relu", 8, 2**0.5, ensemble=ensemble)
    np.testing.assert_allclose([found.mean, found.variance, found.zero_mass], [1.0, variance, 0.5], rtol=1e-12)


def integrals(activation, depth, ensemble, weight_scale, bias_scale):
    """Mass, mean and second moment of s^2, by the midpoint rule in an angle that clusters points at the upper edge."""
    moments = theory.spectrum_moments(activation, depth, weight_scale, bias_scale, ensemble)
    high = float(moments.log_upper) / 2
    low = max(float(moments.log_lower) / 2, high - 40.0)
    angle = (np.arange(400) + 0.5) * np.pi / 400
    at = high - (high - low) * (1 - np.cos(angle / 2))
    density = theory.log_spectrum_density(at, activation, depth, weight_scale, bias_scale, ensemble)
    steps = np.asarray(density) * (high - low) * np.sin(angle / 2) / 2 * np.pi / 400
    top = float(moments.top_mass)
    atom = np.array(
        [top * np.exp(depth * k * np.log(weight_scale)) for k in (0, 2, 4)]
    )  # max|phi'| = 1 where it counts
    return moments, atom + [np.sum(steps * np.exp(2 * k * at)) for k in (0, 1, 2)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("activation", "depth", "ensemble", "weight_scale", "bias_scale"),
    [
        ("hard_tanh", 4, "orthogonal", 1.5, 0.1),
        ("tanh", 4, "gaussian", 1.5, 0.1),
        ("tanh", 4, "orthogonal", 1.5, 0.1),
        ("relu", 3, "gaussian", 1.3, 0.0),
        ("hard_tanh", 2, "gaussian", 1.5, 0.1),
        ("sigmoid", 3, "orthogonal", 4.0, 0.0),
    ],
)
def test_densities_have_the_moments_of_the_formulas(activation, depth, ensemble, weight_scale, bias_scale):
    """Two routes from different theorems: the resolvent, and Pennington's closed forms."""
    moments, (mass, mean, second) = integrals(activation, depth, ensemble, weight_scale, bias_scale)
    assert mass == pytest.approx(1 - float(moments.zero_mass), abs=1e-5)
    assert mean == pytest.approx(float(moments.mean), rel=1e-6)
    assert second - mean**2 == pytest.approx(float(moments.variance), rel=1e-5)


@pytest.mark.slow
def test_two_orthogonal_projections_share_an_atom():
    found = theory.spectrum_moments("hard_tanh", 2, 1.5, 0.1, "orthogonal")
    moments, _ = integrals("hard_tanh", 2, "orthogonal", 1.5, 0.1)
    assert 0.2 < float(found.top_mass) < 0.3
    assert float(found.zero_mass) + float(found.top_mass) < 1
    assert float(moments.largest_singular_value) == pytest.approx(1.5**2, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("ensemble", ["gaussian", "orthogonal"])
def test_against_random_matrices(ensemble):
    """Pooled singular values of D W ... D W, n = 300, many draws, within 5 standard errors of each share, plus 1/n."""
    depth, width, q, scale = 4, 300, 0.8, 1.4
    draws = 20 if ensemble == "gaussian" else 50
    rng = np.random.default_rng(3)
    tanh = activations.get("tanh")
    spectra = []
    for _ in range(draws):
        product = np.eye(width)
        for _ in range(depth):
            w = rng.normal(size=(width, width)) / np.sqrt(width)
            if ensemble == "orthogonal":
                w, r = np.linalg.qr(w)
                w = w * np.sign(np.diag(r))
            slopes = np.asarray(tanh.slope(jnp.asarray(np.sqrt(q) * rng.normal(size=width))))
            product = slopes[:, None] * (scale * w @ product)
        spectra.append(np.linalg.svd(product, compute_uv=False))
    logs = np.log(np.array(spectra))
    moments = theory.spectrum_moments("tanh", depth, scale, ensemble=ensemble, q=q)
    edges = np.quantile(logs, [0.05, 0.35, 0.65, 0.95])
    grid = np.linspace(edges[0], edges[-1], 401)
    density = np.asarray(theory.log_spectrum_density(grid, "tanh", depth, scale, ensemble=ensemble, q=q))
    cumulated = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(grid))])
    expected = np.diff(np.interp(edges, grid, cumulated))
    shares = np.stack([np.histogram(row, edges)[0] / width for row in logs])
    error = shares.std(0, ddof=1) / np.sqrt(draws)
    assert (np.abs(shares.mean(0) - expected) < 5 * error + 1 / width).all()
    assert (5 * error + 1 / width < 0.05 * expected).all(), "a factor of 1.05 would be seen"
    squares = np.exp(2 * logs).mean(1)
    assert abs(squares.mean() - float(moments.mean)) < 4 * squares.std(ddof=1) / np.sqrt(draws) + 3 / width
    # The largest fluctuates by n^(-2/3) at a square-root edge.
    largest = np.exp(logs.max(1)).mean()
    assert largest == pytest.approx(float(moments.largest_singular_value), rel=3 * width ** (-2 / 3))


@pytest.mark.slow
def test_edges_of_a_spectrum_bounded_away_from_zero():
    act = activations.leaky_relu(0.5)
    moments = theory.spectrum_moments(act, 3, 1.0, ensemble="orthogonal")
    assert 6 * np.log(0.5) < float(moments.log_lower) < float(moments.log_upper) < 0
    low, high = float(moments.log_lower) / 2, float(moments.log_upper) / 2
    inside = np.array([low + 1e-3, (low + high) / 2, high - 1e-3])
    outside = np.array([low - 1e-3, high + 1e-3])
    assert (np.asarray(theory.log_spectrum_density(inside, act, 3, 1.0, ensemble="orthogonal")) > 1e-3).all()
    assert (np.asarray(theory.log_spectrum_density(outside, act, 3, 1.0, ensemble="orthogonal")) == 0).all()


def test_an_atom_is_no_part_of_the_density():
    """Five projections: L p - L + 1 of the singular values are exactly 1, and nothing lies within 1e-3 nats of them."""
    found = theory.spectrum_moments("hard_tanh", 5, 1.0, 0.0, "orthogonal", q=0.3)
    p = 1 - 2 * stats.norm.sf(1 / np.sqrt(0.3))
    np.testing.assert_allclose(found.atoms.masses, [1 - p, 5 * p - 4], rtol=1e-10)
    np.testing.assert_allclose(found.atoms.log_squares, [-np.inf, 0.0], atol=1e-12)
    at = np.array([-1e-3, -1e-7, -1e-12, 0.0, 1e-12, np.nan])
    density = np.asarray(theory.log_spectrum_density(at, "hard_tanh", 5, ensemble="orthogonal", q=0.3))
    assert (density[:-1] == 0).all()
    assert np.isnan(density[-1])


def test_depth_1000_does_not_overflow():
    found = theory.spectrum_moments("tanh", 1000, 3.0, 0.1)
    chi = float(theory.mean_field("tanh", 3.0, 0.1).chi)
    assert float(found.log_mean) == pytest.approx(1000 * np.log(chi), rel=1e-10)
    assert np.isfinite([found.log_upper, found.relative_variance]).all()


@pytest.mark.slow
def test_documented_values_outside_the_domain():
    density = theory.spectrum_density(np.array([0.0, 100.0]), "identity", 1)
    assert density.tolist() == [0.0, 0.0]
    assert float(theory.spectrum_density(4.0, "identity", 2, 2.0, ensemble="orthogonal")) == 0.0
    assert float(theory.spectrum_moments("identity", 2, 2.0, ensemble="orthogonal").top_mass) == pytest.approx(
        1.0, rel=1e-15
    )


def test_a_program_serves_several_depths(compilations):
    """Up to 8 layers, to 16, to 32 and from 33 on: panels are as narrow as the deepest of them needs."""

    def found(depth):
        moments = theory.spectrum_moments("tanh", depth, 1.2, ensemble="orthogonal")
        return moments.variance, theory.log_spectrum_density(np.zeros(3), "tanh", depth, 1.2, ensemble="orthogonal")

    found(8)
    del compilations[:]
    found(3)
    assert compilations == []


@pytest.mark.slow
def test_jit_and_vmap_over_scales():
    scales = jnp.array([1.2, 1.6])
    found = jax.jit(jax.vmap(lambda w: theory.log_spectrum_density(np.array([-1.0, 0.0]), "tanh", 2, w, 0.1)))(scales)
    for row, w in zip(found, scales, strict=True):
        np.testing.assert_allclose(
            row, theory.log_spectrum_density(np.array([-1.0, 0.0]), "tanh", 2, w, 0.1), rtol=1e-9
        )


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: theory.spectrum_moments("tanh", 0), ValueError, "`depth` must be an integer of at least 1; got 0"),
        (lambda: unchecked(theory.spectrum_moments)("tanh", 1.5), TypeError, "`depth` must be an integer"),
        (lambda: theory.spectrum_moments("tanh", 2, -1.0), ValueError, "`weight_scale`"),
        (lambda: theory.spectrum_moments("tanh", 2, ensemble="ortho"), ValueError, "Did you mean 'orthogonal'"),
        (lambda: theory.spectrum_density(-1.0, "tanh", 2), ValueError, "must be at least 0; got -1.0"),
        (
            lambda: theory.log_spectrum_density(0.0, "tanh", 1, ensemble="orthogonal"),
            ValueError,
            "`depth` must be at least 2",
        ),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
