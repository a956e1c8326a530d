"""A sound call of every public function, argument by argument, with what each argument is: what odd arguments grow from.

`CALLS` maps the name of a function, as a user writes it, to its arguments. An argument is a value of a kind: an integer, a
number, an array, a key, a network and so on. `tests/odd_arguments.py` knows what else people pass for each kind.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax

import jaxsat
from jaxsat import activations, addresses, ensembles, estimates, gradients, krylov, saturation, spectrum
from jaxsat.training import datasets


@dataclasses.dataclass(frozen=True)
class Given:
    """A sound argument.

    Attributes:
        kind: what it is: integer, number, scalar (a number that may be traced), family (several scalars, too), array, key, network, params, function,
            name, activation, sizes (of layers), flag, dataset, data (a pair of arrays).
        value: a sound value.
        shape: of an array: "fixed" if no other shape is right.
        optional: whether None is sound.
        least, above: bounds of a number.
        nan: what NaN does in an array: "nan" (the answer has one), "left out", or "bool" (the answer is of truth values).
        huge: what must come of 10**30: "refused", or "any" where it means as many as there are.
    """

    kind: str
    value: Any
    shape: str = "fixed"
    optional: bool = False
    least: float | None = None
    nan: str = "nan"
    huge: str = "refused"


@dataclasses.dataclass(frozen=True)
class Call:
    """A function and sound arguments, in their order.

    Attributes:
        function: what is called.
        arguments: by name.
        fixed: more arguments, which stay as they are.
        pure: whether it may be traced and vmapped over its arrays and scalars.
    """

    function: Callable[..., Any]
    arguments: dict[str, Given]
    fixed: dict[str, Any] = dataclasses.field(default_factory=dict)
    pure: bool = True

    def values(self) -> dict[str, Any]:
        return {name: given.value for name, given in self.arguments.items()} | self.fixed


def integer(value: int, least: int | None = 1, optional: bool = False) -> Given:
    return Given("integer", value, least=least, optional=optional)


def number(value: float, least: float | None = None) -> Given:
    return Given("number", value, least=least)


def scalar(value: float, least: float | None = None) -> Given:
    return Given("scalar", value, least=least)


def array(value: Any, shape: str = "fixed", nan: str = "nan", optional: bool = False) -> Given:
    return Given("array", np.asarray(value, np.float32), shape=shape, nan=nan, optional=optional)


def given(kind: str, value: Any, optional: bool = False) -> Given:
    return Given(kind, value, optional=optional)


KEY = addresses.root(0)
NET = jaxsat.MLP(depth=2, width=3)
PARAMS = NET.init(KEY)
RECURRENT = jaxsat.Recurrent(steps=3, width=2)
X = np.array([0.5, -1.0, 2.0], np.float32)
ROWS = np.array([[0.5, -1.0, 2.0], [0.1, 0.2, -0.3]], np.float32)
MATRIX = np.array([[2.0, 1.0], [0.5, -1.0]], np.float32)
QUADRATURE = krylov.quadrature(jnp.sin, X, probes=2, steps=3)
LOGS = [0.5, 0.0, -1.0]


def sine(x: Any) -> Any:
    return jnp.sin(x)


def step(carry: Any, x: Any) -> Any:
    return jnp.tanh(carry * 0.5 + x)


def run_step(params: Any, carry: Any, x: Any) -> Any:
    return jnp.tanh(params * carry + x)


ACTIVATION, NETWORK = given("activation", "tanh"), given("network", NET)
IN_NET = {"net": NETWORK, "params": given("params", PARAMS), "x": array(X)}
IN_SCAN = {"step": given("function", step), "carry": array(X[:2], "any"), "xs": array(ROWS[:, :2], "steps")}
SCALES = {"weight_scale": scalar(1.5, 0.0), "bias_scale": scalar(0.25, 0.0)}
DEEP = {"activation": ACTIVATION, "depth": integer(3)}
OF_RELU = {
    "activation": given("relu", "relu"),
    "depth": integer(2),
    "width": given("sizes", 4),
    "weight_scale": scalar(1.5, 0.0),
}
OF_CELL = {"cell": given("name", "gru")}
IN_CELL = {**SCALES, "input_scale": scalar(1.0, 0.0), "gate_bias": scalar(0.5)}
UNITS = {"activation": ACTIVATION, "pre_activations": array(ROWS, shape="any")}
LEVEL = {"level": number(0.125, 0.0)}
PRODUCT = {"weights": array(np.stack([MATRIX, MATRIX])), "log_abs_slopes": array(-np.abs(ROWS[:, :2]), optional=True)}
FN = {"fn": given("function", sine), "x": array(X, shape="any")}
IN_THEORY = {"weight_scale": scalar(1.0, 0.0), "bias_scale": scalar(0.0, 0.0), "ensemble": given("name", "gaussian")}
OF_INPUT = {"mean_square": scalar(1.0, 0.0)}
SEED = dataclasses.replace(integer(0, 0), huge="any")
SEEDED = {"test": integer(16), "seed": SEED}


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


def _theory() -> Iterator[tuple[str, Call]]:
    t = jaxsat.theory
    yield (
        "critical_initializer",
        Call(
            jaxsat.critical_initializer,
            {"activation": ACTIVATION, "bias_scale": number(0.25, 0.0), "ensemble": given("name", "gaussian")},
            pure=False,
        ),
    )
    yield (
        "theory.born_dead_probability",
        Call(t.born_dead_probability, {"depth": integer(2), "width": given("sizes", 3)}, pure=False),
    )
    yield (
        "theory.born_dead_bounds",
        Call(
            t.born_dead_bounds,
            {"depth": integer(2), "width": given("sizes", 3), "inputs": integer(2, optional=True)},
            pure=False,
        ),
    )
    point = {"activation": ACTIVATION, "c": scalar(0.5), "q": scalar(1.0, 0.0)}
    yield "theory.correlation_map", Call(t.correlation_map, {**point, **SCALES})
    yield (
        "theory.correlation_trajectory",
        Call(t.correlation_trajectory, {**DEEP, "c": scalar(0.5), **SCALES, **OF_INPUT}),
    )
    yield (
        "theory.critical_weight_scale",
        Call(t.critical_weight_scale, {"activation": ACTIVATION, "bias_scale": scalar(0.25, 0.0)}),
    )
    for name in ("fixed_points", "gradient_growth", "layer_norm_chi"):
        yield f"theory.{name}", Call(getattr(t, name), {"activation": ACTIVATION, **SCALES})
    yield "theory.mean_field", Call(t.mean_field, {"activation": ACTIVATION, **SCALES, **OF_INPUT})
    yield "theory.length_map", Call(t.length_map, {"activation": ACTIVATION, "q": scalar(1.0, 0.0), **SCALES})
    yield "theory.length_trajectory", Call(t.length_trajectory, {**DEEP, **SCALES, **OF_INPUT})
    yield "theory.log_gradient_norms", Call(t.log_gradient_norms, {**DEEP, **SCALES, **OF_INPUT})
    yield "theory.log_normal_law", Call(t.log_normal_law, {**DEEP, "width": given("sizes", 8), **SCALES, **OF_INPUT})
    yield "theory.residual_field", Call(t.residual_field, {**DEEP, **SCALES, "residual_scale": scalar(0.5), **OF_INPUT})
    yield (
        "theory.saturated_probability",
        Call(t.saturated_probability, {"activation": ACTIVATION, "q": scalar(1.0, 0.0), **LEVEL}),
    )
    yield (
        "theory.gaussian_lyapunov_exponents",
        Call(t.gaussian_lyapunov_exponents, {"width": integer(3), "weight_scale": scalar(1.5, 0.0)}),
    )
    of = {"of": given("name", "gradient")}
    yield "theory.exact_log_norms", Call(t.exact_log_norms, {**OF_RELU, **of})
    yield (
        "theory.exact_log_norm_distribution",
        Call(t.exact_log_norm_distribution, {"values": array(LOGS, "any"), **OF_RELU, **of}),
    )
    yield "theory.norm_moments", Call(t.norm_moments, {**OF_RELU, **of})
    yield "theory.spectrum_moments", Call(t.spectrum_moments, {**DEEP, **IN_THEORY})
    yield (
        "theory.spectrum_density",
        Call(t.spectrum_density, {"squared_singular_values": array([0.5, 1.0], "any"), **DEEP, **IN_THEORY}),
    )
    yield (
        "theory.log_spectrum_density",
        Call(t.log_spectrum_density, {"log_singular_values": array([0.5, 1.0], "any"), **DEEP, **IN_THEORY}),
    )
    inputs = {"mean_square": scalar(1.0, 0.0), "input_correlation": scalar(0.5), "start": scalar(1.0, 0.0)}
    yield "theory.recurrent_mean_field", Call(t.recurrent_mean_field, {**OF_CELL, **IN_CELL, **inputs})
    yield (
        "theory.recurrent_trajectory",
        Call(t.recurrent_trajectory, {**OF_CELL, "steps": integer(3), **IN_CELL, **inputs}),
    )


def _results() -> Iterator[tuple[str, Call]]:
    yield (
        "estimates.growth_rates",
        Call(
            estimates.growth_rates,
            {"log_norms": array(np.arange(12.0).reshape(2, 6), "any"), "margin": number(0.125, 0.0)},
            pure=False,
        ),
    )
    rows = array(np.arange(12.0).reshape(2, 6) ** 1.5, "any", nan="left out")
    for name in ("mean_interval", "std_interval", "band"):
        yield (
            f"estimates.{name}",
            Call(getattr(estimates, name), {"values": rows, "axis": integer(-1, None)}, pure=False),
        )
    yield (
        "estimates.share_interval",
        Call(
            estimates.share_interval,
            {"successes": Given("counts", 3, huge="any"), "count": Given("counts", 8, huge="any")},
            pure=False,
        ),
    )
    yield (
        "estimates.mean_share_interval",
        Call(
            estimates.mean_share_interval,
            {"shares": array([0.5, 0.25, 1.0], "any", nan="left out"), "of": integer(4)},
            pure=False,
        ),
    )
    crossing = {
        "scales": array([1.0, 2.0, 3.0]),
        "rates": array([[-1.0, -1.5], [0.5, 0.25], [2.0, 1.0]], nan="left out"),
    }
    yield "estimates.zero_crossings", Call(estimates.zero_crossings, crossing, pure=False)
    pooled = array([[0.1, 0.2, 0.7], [0.3, 0.4, 0.9]], "matrix", nan="left out")
    yield "estimates.density", Call(estimates.density, {"values": pooled, "edges": array([0.0, 0.5, 1.0])}, pure=False)
    yield (
        "estimates.distribution",
        Call(estimates.distribution, {"values": pooled, "points": array([0.0, 0.5, 1.0], "vector")}, pure=False),
    )
    yield "measures.get", Call(jaxsat.measures.get, {"measure": given("name", "dead_fraction")}, pure=False)


def _runs() -> Iterator[tuple[str, Call]]:
    quiet = {"progress": False}
    swept = {
        "net": NETWORK,
        "measure": given("name", "log_gradient_norms"),
        "over": given("over", {"weight_scale": [1.0, 2.0]}, optional=True),
    }
    sizes = {
        "seeds": integer(2),
        "root_seed": integer(0, 0),
        "x": array(X, optional=True),
        "memory_budget": dataclasses.replace(integer(2**30), huge="any"),
    }
    yield "sweep", Call(jaxsat.sweep, {**swept, **sizes}, quiet, pure=False)
    data = given("data", (ROWS, np.array([0, 1])))
    trained = {
        "net": given("network", jaxsat.MLP(depth=1, width=3, inputs=3, outputs=2)),
        "data": data,
        "test": Given("data", data.value, optional=True),
    }
    counts = {
        "epochs": integer(1),
        "batch_size": integer(2),
        "seeds": integer(1),
        "root_seed": integer(0, 0),
        "record": Given("name", "loss", optional=True),
        "record_every": dataclasses.replace(integer(1), huge="any"),
        "probe": integer(2),
    }
    yield (
        "train",
        Call(jaxsat.train, {**trained, "optimizer": given("optimizer", optax.sgd(0.125)), **counts}, quiet, pure=False),
    )
    for name in ("digits", "digit_rows"):
        yield f"datasets.{name}", Call(getattr(datasets, name), SEEDED, pure=False)
    counted = {"count": integer(20), **SEEDED}
    yield "datasets.shapes", Call(datasets.shapes, {**counted, "size": integer(8)}, pure=False)
    yield (
        "datasets.copying",
        Call(
            datasets.copying, {"lag": integer(2), "recalled": integer(1), "symbols": integer(3), **counted}, pure=False
        ),
    )
    yield "datasets.adding", Call(datasets.adding, {"steps": integer(4), **counted}, pure=False)
    # What `fn` returns and takes is the user's own affair: any pytree.
    loss = {"fn": given("callable", lambda x: jnp.sum(jnp.tanh(x)))}
    yield "probe", Call(lambda fn: jaxsat.probe(fn, X), loss, pure=False)
    formats = {"dtypes": given("list", ("float16",))}
    yield (
        "precision_report",
        Call(lambda fn, dtypes: jaxsat.precision_report(fn, X, dtypes=dtypes), loss | formats, pure=False),
    )
    yield (
        "monitor",
        Call(jaxsat.monitor, {"optimizer": Given("optimizer", optax.sgd(0.125), optional=True)}, pure=False),
    )
    yield (
        "monitoring.scalars",
        Call(
            jaxsat.monitoring.scalars, {"state": given("state", jaxsat.monitor(optax.sgd(0.125)).init(X))}, pure=False
        ),
    )
    yield (
        "PeriodicProbe",
        Call(jaxsat.PeriodicProbe, {**loss, "every": dataclasses.replace(integer(2), huge="any")}, pure=False),
    )


PARTS = (_activations, _networks, _matrices, _scans, _theory, _results, _runs)
CALLS: dict[str, Call] = {name: call for part in PARTS for name, call in part()}

# Public, but not called with arguments of users: what other calls return; what a user's own class is compared with.
RETURNED = {"names", "Network", "Measure", "Variable", "Activation", "ActivationLike", "UnderflowPoints"}
# They take a figure's dataset, functions that train, an extra package: tests of their own pass them odd arguments.
ELSEWHERE = {"plotting", "coordinate_check", "mnist_sample"}


METHODS = {"Activation.__call__", "Activation.slope", "Activation.log_abs_slope", "MLP.init", "MLP.apply"}
METHODS |= {"Recurrent.init", "Recurrent.apply"}


def public_names() -> set[str]:
    """Names of functions and classes that a user reaches from jaxsat, as they are in CALLS; each thing once."""
    found: dict[int, str] = {}

    def walk(module: types.ModuleType, prefix: str) -> None:
        own = [n for n, v in vars(module).items() if getattr(v, "__module__", None) == module.__name__]
        names = getattr(module, "__all__", [name for name in own if not name.startswith("_")])
        inside = {name: getattr(module, name) for name in names if name not in RETURNED | ELSEWHERE}
        for name, value in inside.items():
            if callable(value) and not (isinstance(value, type) and issubclass(value, tuple)):
                found.setdefault(id(value), prefix + name)
        for name, value in inside.items():
            if isinstance(value, types.ModuleType):
                walk(value, f"{name}.")

    walk(jaxsat, "")
    return set(found.values()) | METHODS
