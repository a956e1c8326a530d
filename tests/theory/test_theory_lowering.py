"""Theory lowers for machines that this one is not, in float32, without any flag: nothing is compiled or computed."""

import jax
import jax.numpy as jnp
import pytest

from jaxsat import theory
from tests.lowering import lower
from tests.quick_cases import slow_except

NUMBER = jax.ShapeDtypeStruct((), jnp.float32)

CASES = {
    "mean_field": (lambda w, b: theory.mean_field("tanh", w, b), 2),
    "gradient_growth": (lambda w, b: theory.gradient_growth("tanh", w, b), 2),
    "log_gradient_norms": (lambda w, b: theory.log_gradient_norms("tanh", 4, w, b), 2),
    "length_map": (lambda q, w: theory.length_map("gelu", q, w), 2),
    "length_trajectory": (lambda w, b: theory.length_trajectory("gelu", 4, w, b), 2),
    "fixed_points": (lambda w, b: theory.fixed_points("tanh", w, b), 2),
    "correlation_map": (lambda c, q, w: theory.correlation_map("relu", c, q, w), 3),
    "correlation_trajectory": (lambda c, w, b: theory.correlation_trajectory("tanh", 4, c, w, b), 3),
    "critical_weight_scale": (lambda b: theory.critical_weight_scale("tanh", b), 1),
    "saturated_probability": (lambda q: theory.saturated_probability("sigmoid", q), 1),
    "exact_log_norms": (lambda w: theory.exact_log_norms("relu", 4, 8, w), 1),
    "exact_log_norm_distribution": (lambda v, w: theory.exact_log_norm_distribution(v, "relu", 4, 8, w), 2),
    "norm_moments": (lambda w: theory.norm_moments("relu", 4, 8, w), 1),
    "gaussian_lyapunov_exponents": (lambda w: theory.gaussian_lyapunov_exponents(8, w), 1),
    "log_normal_law": (lambda w, b: theory.log_normal_law("tanh", 4, 8, w, b), 2),
    "spectrum_moments": (lambda w: theory.spectrum_moments("tanh", 4, w), 1),
    "spectrum_density": (lambda at, w: theory.spectrum_density(at[None], "tanh", 4, w), 2),
    "log_spectrum_density": (lambda at, w: theory.log_spectrum_density(at[None], "tanh", 4, w), 2),
    "residual_field": (lambda w, b, a: theory.residual_field("tanh", 4, w, b, a), 3),
    "layer_norm_chi": (lambda w, b: theory.layer_norm_chi("tanh", w, b), 2),
    "recurrent_mean_field": (lambda w: theory.recurrent_mean_field("tanh", w), 1),
    "recurrent_trajectory": (lambda w: theory.recurrent_trajectory("tanh", 4, w), 1),
}
QUICK = {"mean_field", "spectrum_moments"}
ON_THE_HOST = {"born_dead_probability", "born_dead_bounds"}  # of sizes alone


@pytest.mark.parametrize("name", slow_except(QUICK, CASES))
def test_lowers_for_accelerators_in_single_precision(name):
    with jax.enable_x64(False):
        function, count = CASES[name]
        lower(function, *[NUMBER] * count)


def test_no_public_function_is_left_out():
    assert {name for name in theory.__all__ if name[0].islower()} == CASES.keys() | ON_THE_HOST
