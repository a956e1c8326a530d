"""The edge of chaos against closed forms and against iteration with bisection."""

import jax
import numpy as np
import pytest
from scipy import optimize, stats

from jaxsat import activations, theory
from tests import known
from tests.quick_cases import slow_except


@pytest.mark.parametrize(
    "name",
    slow_except(["tanh", "relu"], known.CRITICAL_WEIGHT_SCALES),
)
def test_critical_scales_in_closed_form(name):
    # softsign's slope has a cusp at 0 and is taken at q = 1e-30: 1e-14 off.
    assert float(theory.critical_weight_scale(name)) == pytest.approx(known.CRITICAL_WEIGHT_SCALES[name], rel=1e-12)


@pytest.mark.parametrize(
    ("name", "bias_scale"),
    [
        ("tanh", 0.05**0.5),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in (("sigmoid", 0.0), ("hard_tanh", 0.3), ("elu", 0.2))),
    ],
)
def test_critical_scales_by_iterating_and_bisection(name, bias_scale):
    """Independent of tables and Newton steps: iterate the length map by a trapezoidal rule, bisect chi - 1."""
    act = activations.get(name)
    z = np.linspace(-10, 10, 4001)
    weights = np.exp(-z * z / 2) / np.sum(np.exp(-z * z / 2))
    value, slope = (np.tanh, lambda x: np.cosh(x) ** -2.0) if name == "tanh" else (jax.jit(act), jax.jit(act.slope))

    def excess(w):
        q = 1.0
        for _ in range(400):
            q = w * w * (weights @ np.asarray(value(np.sqrt(q) * z)) ** 2) + bias_scale**2
        return w * w * (weights @ np.asarray(slope(np.sqrt(q) * z)) ** 2) - 1

    found = float(theory.critical_weight_scale(name, bias_scale))
    expected = optimize.brentq(excess, found * 0.9, found * 1.1, xtol=1e-12)
    # The trapezoidal rule sees a jump of the slope to within its step times the density there.
    assert found == pytest.approx(expected, rel=2e-3 if act.kinks else 1e-9)


@pytest.mark.slow
def test_no_critical_scale_is_said():
    with pytest.raises(ValueError, match="'gelu' with bias_scale = 0"):
        theory.critical_weight_scale("gelu")
    assert np.isnan(jax.jit(lambda b: theory.critical_weight_scale("gelu", b))(0.0))


@pytest.mark.parametrize("x64", [True, False])
def test_it_works_inside_jit_whatever_the_default_dtype(x64):
    """The index of an argmin changes its dtype where JAX lowers the program: an error in float32, not long ago."""
    with jax.enable_x64(x64):
        inside = jax.jit(theory.critical_weight_scale, static_argnums=0)("tanh", 0.2)
        np.testing.assert_allclose(inside, theory.critical_weight_scale("tanh", 0.2), rtol=1e-12 if x64 else 1e-7)


@pytest.mark.slow
def test_sigmoid_is_rescued_by_no_scale_that_does_not_saturate_it():
    scale = float(theory.critical_weight_scale("sigmoid"))
    q = float(theory.mean_field("sigmoid", scale).q)
    saturated = 2 * stats.norm.sf(5 / np.sqrt(q))
    assert 10.1 < scale < 10.2
    assert 0.45 < saturated < 0.5
