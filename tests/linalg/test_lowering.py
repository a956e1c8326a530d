"""Everything public in linalg and measures lowers for machines that this one is not, in float32, without any flag.

Abstract: nothing is compiled, and nothing is computed. JAX writes the program for each platform, and refuses what it
cannot write. (It could not write float64 singular values for a TPU: that program is made outside ``enable_x64``.)
"""

import functools
import inspect

import jax
import jax.numpy as jnp
import pytest

import jaxsat
from jaxsat import krylov, saturation, spectrum
from jaxsat.linalg import ensembles, graded, magnitudes
from jaxsat.measures import gradients, jacobians, scan_exponents, scan_gradients, scan_spectra
from tests.lowering import lower
from tests.quick_cases import slow_except

SCANS = (scan_exponents, scan_gradients, scan_spectra)
KEY = jax.eval_shape(lambda: jaxsat.addresses.root(0))
NET = jaxsat.MLP(depth=3, width=4, inputs=3, outputs=2, bias_scale=0.1)
LSTM = jaxsat.Recurrent(steps=4, width=2, cell="lstm", inputs=3, outputs=2)


def of(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def with_network(function, *rest, **options):
    """A function of a network's parameters and one input; the parameters are abstract."""
    params = jax.eval_shape(lambda: NET.init(jaxsat.addresses.root(0)))
    return functools.partial(function, NET, **options), params, of(3), *rest


def with_recurrent(function, *rest):
    """The same for a recurrent network, whose parameters are drawn inside."""
    return lambda key, x, *rest: function(LSTM, LSTM.init(key), x, *rest), KEY, of(4, 3), *rest


def map_of(x):
    return jnp.sin(x) * 2.0


W, LOGS, SIGNS = of(3, 4, 4), of(3, 4), of(3, 4)
product = spectrum.log_singular_values_of_product


def growing(w, logs):
    return product(w, logs)[0]


def cell(h, x):
    return jnp.tanh(h + x)


def scaled_cell(w, h, x):
    return jnp.tanh(w * h + x)


def over_time(function, *rest, **options):
    return lambda h, xs, *others: function(cell, h, xs, *rest, *others, **options)


STATE, XS = of(3), of(4, 3)
QUADRATURE = krylov.Quadrature(of(2, 4), of(2, 4), 6)

CASES = {
    "singular_values_of_matrix": (spectrum.singular_values_of_matrix, of(5, 4)),
    "decomposed": (spectrum.decomposed, of(5, 4)),
    "is_resolved": (lambda v: spectrum.is_resolved(v, 5), of(4)),
    "log_singular_values_of_product": (product, W, LOGS, SIGNS),
    "log_singular_values_of_product, every depth": (functools.partial(product, every_depth=True), W, LOGS, SIGNS),
    "log_singular_values_of_product, several widths": (lambda a, b: product([a, b]), of(4, 3), of(2, 4)),
    "log_singular_values_of_product, reverse mode": (jax.grad(growing, (0, 1)), W, LOGS),
    "log_singular_values_of_product, forward mode": (jax.jacfwd(growing), W, LOGS),
    "log_singular_values_of_product, with error": (functools.partial(product, with_error=True), W, LOGS, SIGNS),
    "is_log_resolved": (spectrum.is_log_resolved, of(4)),
    "lyapunov_exponents": (spectrum.lyapunov_exponents, W, LOGS, SIGNS),
    "log_condition_number": (spectrum.log_condition_number, of(4)),
    "stable_rank": (spectrum.stable_rank, of(4)),
    "participation_ratio": (spectrum.participation_ratio, of(4)),
    "effective_rank": (spectrum.effective_rank, of(4)),
    "effective_dimension": (spectrum.effective_dimension, of(4)),
    "isometry_gap": (spectrum.isometry_gap, of(4)),
    "largest_singular_values": (lambda x: spectrum.largest_singular_values(map_of, x, 2), of(5)),
    "largest_singular_values_with_bounds": (
        lambda x, key: krylov.largest_singular_values_with_bounds(map_of, x, 2, key=key), of(200), KEY),
    "quadrature": (lambda x, key: krylov.quadrature(map_of, x, probes=2, steps=4, key=key)[:2], of(6), KEY),
    "log_determinant": (lambda nodes, weights: krylov.log_determinant(krylov.Quadrature(nodes, weights, 6)), *QUADRATURE[:2]),
    "schatten_norm": (lambda nodes, weights: krylov.schatten_norm(krylov.Quadrature(nodes, weights, 6), 2.0), *QUADRATURE[:2]),
    "spectral_density": (
        lambda nodes, weights, grid: krylov.spectral_density(krylov.Quadrature(nodes, weights, 6), grid, 0.3),
        *QUADRATURE[:2], of(5)),
    "gaussian": (lambda key: ensembles.gaussian(key, 4, 3), KEY),
    "uniform": (lambda key: ensembles.uniform(key, 4, 3), KEY),
    "orthogonal": (lambda key: ensembles.orthogonal(key, 4, 3), KEY),
    "magnitude": (magnitudes.magnitude, of(4, 3)),
    "log_norm": (magnitudes.log_norm, of(4)),
    "maximum_or_nan": (magnitudes.maximum_or_nan, of(4, 3)),
    "log_growth_by_qr": (lambda *a: graded.log_growth_by_qr(graded.Factor(*a)), W, LOGS, SIGNS),
    "jacobian": with_network(jacobians.jacobian),
    "jacobian, every depth": with_network(jacobians.jacobian, every_depth=True),
    "factors": with_network(jacobians.factors),
    "singular_values of a network": with_network(jacobians.singular_values),
    "log_singular_values": with_network(jacobians.log_singular_values),
    "log_singular_values, every depth": with_network(jacobians.log_singular_values, every_depth=True),
    "backpropagated_signal": with_network(gradients.backpropagated_signal, of(2)),
    "log_gradient_norms": with_network(gradients.log_gradient_norms, of(2)),
    "log_gradient_norms, every depth": with_network(gradients.log_gradient_norms, of(2), every_depth=True),
    "plain_gradient_is_zero": with_network(gradients.plain_gradient_is_zero, of(2)),
    "unit_cotangent": (lambda key: gradients.unit_cotangent(NET, key), KEY),
    "log_norms": (lambda *a: gradients.log_norms(gradients.Signal(*a)), of(3, 4), of(3)),
    "jacobian, of a recurrent network": with_recurrent(jacobians.jacobian),
    "log_singular_values, of a recurrent network": with_recurrent(jacobians.log_singular_values),
    "log_gradient_norms, of a recurrent network": with_recurrent(gradients.log_gradient_norms, of(2)),
    "saturated_fraction": (lambda h: saturation.saturated_fraction("tanh", h), of(5, 4)),
    "dead_fraction": (lambda h: saturation.dead_fraction("relu", h), of(5, 4)),
    "always_saturated_fraction": (lambda h: saturation.always_saturated_fraction("tanh", h), of(5, 4)),
    "boundary_measure": (lambda h: saturation.boundary_measure("tanh", h), of(5, 4)),
    "activation_entropy": (lambda h: saturation.activation_entropy("tanh", h), of(5, 4)),
    "activation_percentiles": (saturation.activation_percentiles, of(5, 4)),
    "off_units": (saturation.off_units, of(5, 4)),
    "activation_histogram": (lambda h: saturation.activation_histogram("tanh", h, 8), of(5, 4)),
    "log_singular_values_of_scan": (over_time(jaxsat.log_singular_values_of_scan), STATE, XS),
    "log_singular_values_of_scan, with error": (over_time(jaxsat.log_singular_values_of_scan, with_error=True), STATE, XS),
    "log_singular_values_of_scan, every step": (over_time(jaxsat.log_singular_values_of_scan, True), STATE, XS),
    "leading_log_singular_values_of_scan": (over_time(jaxsat.leading_log_singular_values_of_scan, 2), STATE, XS),
    "log_gradient_norms_of_scan": (over_time(jaxsat.log_gradient_norms_of_scan), STATE, XS, STATE),
    "gradients_of_scan": (
        lambda w, h, xs: jaxsat.gradients_of_scan(scaled_cell, h, xs, h, params=w).params.log_norms, STATE, STATE, XS
    ),
    "lyapunov_exponents_of_scan": (over_time(jaxsat.lyapunov_exponents_of_scan), STATE, XS),
}  # fmt: skip


def is_more_of_the_same(name):
    """Whether it is another case of a function, or of functions, that are lowered quickly too; derivatives are not."""
    return ", " in name and "mode" not in name


@pytest.mark.parametrize("name", slow_except([name for name in CASES if not is_more_of_the_same(name)], CASES))
def test_lowers_for_accelerators_in_single_precision(name):
    with jax.enable_x64(False):
        function, *arguments = CASES[name]
        lower(function, *arguments)


def test_no_public_function_is_left_out():
    tested = {name.split(",")[0].split(" of ")[0] for name in CASES}
    apart = {
        "get",
        "named_scale",
        "wide",
        "signal_of_trace",
        "factors_of_steps",
    }  # on names, numbers and dtypes; the last within others
    for module in (spectrum, krylov, ensembles, magnitudes, jacobians, gradients, saturation, *SCANS):
        own = {
            name
            for name, value in inspect.getmembers(module, inspect.isfunction)
            if value.__module__ == module.__name__ and not name.startswith("_")
        }
        assert own <= tested | apart, own - tested - apart
