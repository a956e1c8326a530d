"""Sound calls of public functions: activations, networks, matrices and scans."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import jaxsat
from jaxsat import activations, addresses, ensembles, gradients, krylov, saturation, spectrum
from tests.odd_arguments.given import (
    ACTIVATION,
    FN,
    IN_CELL,
    IN_NET,
    IN_SCAN,
    KEY,
    LEVEL,
    LOGS,
    MATRIX,
    NET,
    NETWORK,
    PARAMS,
    PRODUCT,
    QUADRATURE,
    RECURRENT,
    ROWS,
    SCALES,
    UNITS,
    Call,
    Given,
    X,
    array,
    given,
    integer,
    number,
    scalar,
)


def _activations() -> Iterator[tuple[str, Call]]:
    yield "activations.celu", Call(activations.celu, {"alpha": number(1.0, 0.0)}, pure=False)
    yield "activations.elu", Call(activations.elu, {"alpha": number(1.0, 0.0)}, pure=False)
    yield "activations.leaky_relu", Call(activations.leaky_relu, {"negative_slope": number(0.125)}, pure=False)
    yield "activations.get", Call(activations.get, {"activation": ACTIVATION}, pure=False)
    for method in ("__call__", "slope", "log_abs_slope"):
        yield f"Activation.{method}", Call(getattr(activations.get("gelu"), method), {"x": array(X, shape="any")})
    sides = {"dtype": given("dtype", "float16"), "side": given("name", "right")}
    yield (
        "precision.underflow_points",
        Call(jaxsat.precision.underflow_points, {"activation": ACTIVATION, **sides}, pure=False),
    )
    yield "saturation.saturated_fraction", Call(saturation.saturated_fraction, {**UNITS, **LEVEL})
    yield "saturation.always_saturated_fraction", Call(saturation.always_saturated_fraction, {**UNITS, **LEVEL})
    yield "saturation.dead_fraction", Call(saturation.dead_fraction, UNITS)
    yield (
        "saturation.off_units",
        Call(saturation.off_units, {"pre_activations": dataclasses.replace(array(ROWS, "any"), nan="bool")}),
    )
    for name in ("boundary_measure", "activation_entropy", "activation_histogram"):
        yield f"saturation.{name}", Call(getattr(saturation, name), {**UNITS, "bins": integer(4)})
    percentiles = {"activations_": array(ROWS, "any"), "percentiles": Given("list", (2.0, 50.0))}
    yield "saturation.activation_percentiles", Call(saturation.activation_percentiles, percentiles)


def _networks() -> Iterator[tuple[str, Call]]:
    scales = {name: dataclasses.replace(given, kind="family") for name, given in IN_CELL.items()}
    own = {name: scales[name] for name in SCALES}
    sizes = {
        "depth": integer(2),
        "width": integer(3),
        "activation": ACTIVATION,
        **own,
        "ensemble": given("name", "gaussian"),
    }
    more = {
        "inputs": integer(3, optional=True),
        "outputs": integer(2, optional=True),
        "residual_scale": Given("family", 0.5, optional=True),
    }
    yield "MLP", Call(jaxsat.MLP, {**sizes, **more}, pure=False)
    sizes = {
        "steps": integer(2),
        "width": integer(3),
        "cell": given("name", "tanh"),
        **scales,
        "inputs": more["inputs"],
    }
    yield "Recurrent", Call(jaxsat.Recurrent, sizes, pure=False)
    yield "MLP.init", Call(NET.init, {"key": given("key", KEY)})
    yield "Recurrent.init", Call(RECURRENT.init, {"key": given("key", KEY)})
    yield "MLP.apply", Call(NET.apply, {"params": given("params", PARAMS), "x": array(X)})
    sequence = {"params": given("params", RECURRENT.init(KEY)), "x": array(ROWS[:, :2].repeat(2, 0)[:3])}
    yield "Recurrent.apply", Call(RECURRENT.apply, sequence)
    yield "networks.gaussian_input", Call(jaxsat.networks.gaussian_input, {"net": NETWORK, "key": given("key", KEY)})
    yield "networks.as_network", Call(jaxsat.networks.as_network, {"swept": Given("list", ())}, pure=False)
    yield "addresses.root", Call(addresses.root, {"seed": integer(3, 0)}, pure=False)
    of_key = {"root": given("key", KEY), "seed": integer(3, 0)}
    yield "addresses.network", Call(addresses.network, of_key, pure=False)
    of_key = {"network": given("key", KEY), "index": integer(3, 0)}
    yield "addresses.layer", Call(addresses.layer, of_key, pure=False)
    yield "addresses.epoch", Call(addresses.epoch, of_key, pure=False)
    for name in ("gaussian", "uniform", "orthogonal"):
        shape = {"key": given("key", KEY), "n_out": integer(3), "n_in": integer(2)}
        yield f"ensembles.{name}", Call(getattr(ensembles, name), shape)
    yield "ensembles.get", Call(ensembles.get, {"ensemble": given("name", "gaussian")}, pure=False)
    named = {"name": given("name", "he"), "n_out": integer(3), "n_in": integer(2)}
    yield "ensembles.named_scale", Call(ensembles.named_scale, named, pure=False)
    for name in ("jacobian", "singular_values", "log_singular_values", "factors"):
        yield name, Call(getattr(jaxsat, name), IN_NET)
    yield "log_gradient_norms", Call(jaxsat.log_gradient_norms, {**IN_NET, "cotangent": array(X, optional=True)})
    yield "backpropagated_signal", Call(jaxsat.backpropagated_signal, {**IN_NET, "cotangent": array(X)})
    truths = {name: dataclasses.replace(given, nan="bool") for name, given in {**IN_NET, "cotangent": array(X)}.items()}
    yield "gradients.plain_gradient_is_zero", Call(gradients.plain_gradient_is_zero, truths)
    yield "gradients.unit_cotangent", Call(gradients.unit_cotangent, {"net": NETWORK, "key": given("key", KEY)})
    traced = NET.trace(PARAMS, X)
    yield (
        "gradients.signal_of_trace",
        Call(
            gradients.signal_of_trace,
            {
                "net": NETWORK,
                "params": Given("params", PARAMS, nan="bool"),
                "trace": given("trace", traced),
                "cotangent": array(X),
            },
        ),
    )
    signal = jaxsat.backpropagated_signal(NET, PARAMS, X, X)
    yield "gradients.log_norms", Call(gradients.log_norms, {"signal": given("signal", signal)})


def _matrices() -> Iterator[tuple[str, Call]]:
    k = {"k": integer(2)}
    yield (
        "krylov.largest_singular_values",
        Call(krylov.largest_singular_values, {**FN, **k, "key": Given("key", KEY, optional=True)}),
    )
    yield "krylov.largest_singular_values_with_bounds", Call(krylov.largest_singular_values_with_bounds, {**FN, **k})
    yield (
        "krylov.quadrature",
        Call(krylov.quadrature, {**FN, "probes": integer(2), "steps": dataclasses.replace(integer(3), huge="any")}),
    )
    quadrature = given("quadrature", QUADRATURE)
    yield "krylov.log_determinant", Call(krylov.log_determinant, {"q": quadrature})
    yield "krylov.schatten_norm", Call(krylov.schatten_norm, {"q": quadrature, "p": scalar(2.0, 0.0)})
    yield (
        "krylov.spectral_density",
        Call(krylov.spectral_density, {"q": quadrature, "log_s": array(LOGS, "vector"), "width": number(0.5, 0.0)}),
    )
    for name in ("effective_rank", "isometry_gap", "log_condition_number", "participation_ratio", "stable_rank"):
        yield f"spectrum.{name}", Call(getattr(spectrum, name), {"log_singular_values": array(LOGS, "vector")})
    ridge = {"log_singular_values": array(LOGS, "vector"), "ridge": scalar(1.0, 0.0)}
    yield "spectrum.effective_dimension", Call(spectrum.effective_dimension, ridge)
    yield "spectrum.decomposed", Call(spectrum.decomposed, {"matrix": array(MATRIX, "matrix")})
    yield (
        "spectrum.singular_values_of_matrix",
        Call(spectrum.singular_values_of_matrix, {"matrix": array(MATRIX, "matrix")}),
    )
    yield "spectrum.log_singular_values_of_product", Call(spectrum.log_singular_values_of_product, PRODUCT)
    yield "spectrum.lyapunov_exponents", Call(spectrum.lyapunov_exponents, PRODUCT)
    exact = Call(spectrum.exact_log_singular_values_of_product, {**PRODUCT, "digits": integer(15)}, pure=False)
    yield "spectrum.exact_log_singular_values_of_product", exact
    yield (
        "spectrum.is_log_resolved",
        Call(spectrum.is_log_resolved, {"errors": dataclasses.replace(array(LOGS, "any"), nan="bool")}),
    )
    yield (
        "spectrum.is_resolved",
        Call(
            spectrum.is_resolved,
            {"values": dataclasses.replace(array([2.0, 1.0], "any"), nan="bool"), "size": integer(3)},
        ),
    )


def _scans() -> Iterator[tuple[str, Call]]:
    yield "log_singular_values_of_scan", Call(jaxsat.log_singular_values_of_scan, IN_SCAN)
    yield (
        "leading_log_singular_values_of_scan",
        Call(jaxsat.leading_log_singular_values_of_scan, {**IN_SCAN, "k": integer(1), "passes": integer(2)}),
    )
    yield (
        "lyapunov_exponents_of_scan",
        Call(
            jaxsat.lyapunov_exponents_of_scan,
            {**IN_SCAN, "count": integer(1, optional=True), "transient": integer(0, 0)},
        ),
    )
    yield "log_gradient_norms_of_scan", Call(jaxsat.log_gradient_norms_of_scan, {**IN_SCAN, "cotangent": array(X[:2])})
    yield "gradients_of_scan", Call(jaxsat.gradients_of_scan, {**IN_SCAN, "cotangent": array(X[:2])})


PARTS = (_activations, _networks, _matrices, _scans)
