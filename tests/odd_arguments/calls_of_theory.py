"""Sound calls of public functions: theory, results, sweeps, training and the probe."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np
import optax

import jaxsat
from jaxsat import estimates
from jaxsat.training import datasets
from tests.odd_arguments.given import (
    ACTIVATION,
    DEEP,
    IN_CELL,
    IN_THEORY,
    LEVEL,
    LOGS,
    NETWORK,
    OF_CELL,
    OF_INPUT,
    OF_RELU,
    ROWS,
    SCALES,
    SEEDED,
    Call,
    Given,
    X,
    array,
    given,
    integer,
    number,
    scalar,
)


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
            {
                "depth": integer(2),
                "width": given("sizes", 3),
                "inputs": integer(2, optional=True),
            },
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
    yield (
        "theory.log_normal_law",
        Call(t.log_normal_law, {**DEEP, "width": Given("sizes", 8, huge="any"), **SCALES, **OF_INPUT}),
    )
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


PARTS = (_theory, _results, _runs)
