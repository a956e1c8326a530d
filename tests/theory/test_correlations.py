"""Correlations against the arcsine kernel, in floating point and in 40 digits, and against their own map."""

import functools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from jaxsat import activations, theory
from jaxsat.theory import correlations
from tests import known


@pytest.mark.parametrize(("weight_scale", "bias_scale"), [(0.7, 0.2), (1.3, 0.3), (2.5, 0.3), (4.0, 0.3)])
def test_erf_correlation_in_closed_form(weight_scale, bias_scale):
    """Williams' arcsine kernel gives the whole theory of erf networks."""
    w2, b2 = weight_scale**2, bias_scale**2
    q = 1.0
    for _ in range(3000):
        q = w2 * known.arcsine(q, q, 1.0) + b2
    next_c = lambda c: (w2 * known.arcsine(q, q, c) + b2) / q  # noqa: E731
    c = 0.1
    for _ in range(20000):
        c = next_c(c)
    slope = w2 / q * 2 / np.pi / np.sqrt(1 - (2 * q * c / (1 + 2 * q)) ** 2) * 2 * q / (1 + 2 * q)
    found = theory.mean_field("erf", weight_scale, bias_scale)
    np.testing.assert_allclose([found.q, found.c, found.chi_c], [q, c, slope], rtol=1e-9)
    assert float(found.chi) == pytest.approx(w2 * known.erf_slope_squared(q), rel=1e-10)


def erf_field_in_digits(weight_scale, bias_scale):
    """q, 1 - c and xi_c of an erf network, to 40 digits: Williams' kernel, and fixed points by mpmath's root finders."""
    with mpmath.workdps(40):
        w2, b2 = mpmath.mpf(weight_scale) ** 2, mpmath.mpf(bias_scale) ** 2
        kernel = lambda q, c: w2 * 2 / mpmath.pi * mpmath.asin(2 * q * c / (1 + 2 * q)) + b2  # noqa: E731
        q = mpmath.findroot(lambda q: kernel(q, 1) - q, b2 + 0.8 * w2)
        moved = lambda gap: ((kernel(q, 1) - kernel(q, 1 - gap)) / q - gap) / gap  # noqa: E731
        gap = mpmath.findroot(moved, [mpmath.mpf(10) ** -7, 0.9], solver="illinois", tol=1e-30, verify=False)
        slope = w2 * 4 / mpmath.pi / mpmath.sqrt((1 + 2 * q) ** 2 - (2 * q * (1 - gap)) ** 2)
        return float(q), float(gap), float(-1 / mpmath.log(slope))


@pytest.mark.parametrize(
    ("weight_scale", "bias_scale"), [(3.04, 5.0), (4.16, 10.0), (5.72, 20.0), (1.1, 0.1), (40.0, 5.0)]
)
def test_depth_scales_where_the_correlation_rests_near_1(weight_scale, bias_scale):
    """The power series alone was off by a factor of 146 at the third: its transition is narrower than 256 terms see."""
    q, gap, xi_c = erf_field_in_digits(weight_scale, bias_scale)
    found = theory.mean_field("erf", weight_scale, bias_scale)
    assert float(found.q) == pytest.approx(q, rel=1e-12)
    assert 1 - float(found.c) == pytest.approx(gap, rel=1e-9)
    assert float(found.xi_c) == pytest.approx(xi_c, rel=1e-9)


@pytest.mark.slow
def test_derivatives_of_the_depth_scale_near_1():
    field = jax.jit(lambda w: theory.mean_field("erf", w, 5.0).xi_c)
    step = 1e-5
    numeric = (field(3.04 + step) - field(3.04 - step)) / (2 * step)
    # the difference's own error: its third derivative times step^2, and rounding over step
    assert float(jax.jit(jax.jacfwd(field))(3.04)) == pytest.approx(float(numeric), rel=1e-5)


@pytest.mark.parametrize("name", ["tanh", *(pytest.param(n, marks=pytest.mark.slow) for n in ("hard_tanh", "selu"))])
def test_stationary_correlation_satisfies_the_map_by_quadrature(name):
    scale = {"tanh": 1.6, "hard_tanh": 1.6, "selu": 1.2}[name]
    found = theory.mean_field(name, scale, 0.2)
    assert found.phase == "chaotic"
    after = theory.correlation_map(name, found.c, found.q, scale, 0.2)
    assert float(after) == pytest.approx(float(found.c), abs=1e-10)
    step = 1e-4
    rise = theory.correlation_map(name, found.c + step, found.q, scale, 0.2) - theory.correlation_map(
        name, found.c - step, found.q, scale, 0.2
    )
    assert float(rise) / (2 * step) == pytest.approx(float(found.chi_c), rel=1e-4)


def test_a_gap_that_is_not_sought_takes_no_step():
    """In a batch all search as long as the slowest: points of the ordered phase, where there is no gap, took 60 steps."""
    tanh, q, scale = activations.get("tanh"), jnp.array([0.8, 0.8]), jnp.array([1.45, 0.5])
    search = jax.jit(jax.vmap(functools.partial(correlations._resting_gap, tanh)))
    gaps = search(jnp.array([True, False]), q, scale)
    assert float(gaps[1]) == pytest.approx(correlations.FIRST_GAP, rel=1e-15)  # of exp(ln gap)
    apart, _ = correlations.gap_integrals(tanh, q[0], gaps[0])
    assert float(scale[0] * apart) == pytest.approx(float(gaps[0]), rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(("scale", "within"), [(8.0, 1e-4), (2.5, 1e-8)])
def test_trajectory_of_correlations_reaches_c(scale, within):
    c, found = 0.9, theory.mean_field("tanh", scale, 0.3)
    step = jax.jit(lambda c: theory.correlation_map("tanh", c, found.q, scale, 0.3))
    for _ in range(int(np.ceil(np.log(within / 10) * -float(found.xi_c)))):
        c = step(c)
    assert float(c) == pytest.approx(float(found.c), abs=within)
