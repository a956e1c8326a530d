"""The catalogue of measures: what can be looked at in a network, in a sweep and in training.

Each entry is an array of one :class:`Subject`, with labels. Most of them ask a network that is no MLP for its scan only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxsat import checks
from jaxsat.activations import Activation
from jaxsat.linalg import spectrum
from jaxsat.linalg.magnitudes import maximum_or_nan
from jaxsat.measures import gradients, saturation
from jaxsat.measures.subject import Subject, root_mean_square_of_logs
from jaxsat.networks.mlp import MLP

PERCENTILES = (2.0, 50.0, 98.0)
BINS = 40  # of histograms of activations, over the range of the activation


@dataclasses.dataclass(frozen=True)
class Variable:
    """Labels of one measured array: its own dimensions, what it is, and its unit ('1' for pure numbers).

    `coordinates` gives labels along a dimension. "layer", "depth", "time", "lag", "unit" and "index" are counted from 1
    without them.
    """

    dims: tuple[str, ...]
    long_name: str
    units: str = "1"
    coordinates: Mapping[str, Sequence[Any]] = dataclasses.field(default_factory=dict)


COUNTED = {  # dimensions that are counted from 1: what they are, and their units
    "layer": ("layer, counted from the input", "layers"),
    "depth": ("depth, counted from the input", "layers"),
    "time": ("step in time, counted from 1", "steps"),
    "lag": ("steps from the first state on", "steps"),
    "unit": ("unit of a layer", "1"),
    "index": ("rank by size", "1"),
}
_AXES = {"time": {"layer": "time", "depth": "lag"}}  # of networks whose scan runs over time
_NEEDS = {
    "scan": "be known for this network",
    "trace": "be of a network with trace(params, x) and a field `activation`",
    "gates": "be of a network with gates, as jaxsat.Recurrent(cell='lstm', ...)",
    "MLP": "be of an MLP",
    "no MLP": "be of a network that is no MLP (there: log_weight_gradient_norms)",
}


@dataclasses.dataclass(frozen=True)
class Quantity:
    """A measure of the catalogue: one array, from a subject.

    Attributes:
        variable: its labels.
        of: the array.
        needs: what a network that is no MLP must have: "scan", "trace" or "gates"; "MLP": it must be an MLP; "no MLP": it
            must be none.
        general: its long name for a network that is no MLP; empty: the same.
    """

    variable: Variable
    of: Callable[[Subject], Array]
    needs: str = "scan"
    general: str = ""

    def check(self, where: str, argument: str, name: str, net: Any) -> None:
        """Raise unless the network has what the measure needs."""
        met = {
            "scan": True,
            "trace": callable(getattr(net, "trace", None)) and hasattr(net, "activation"),
            "gates": bool(getattr(net, "gates", ())),
            "MLP": isinstance(net, MLP),
            "no MLP": not isinstance(net, MLP),
        }
        if not met[self.needs]:
            came = checks.Shown(f"{name!r} for {type(net).__name__}")
            raise ValueError(checks.refusal(where, argument, _NEEDS[self.needs], came))

    def labels(self, net: Any) -> Variable:
        """Return the labels for the array of this network."""
        if isinstance(net, MLP):
            return self.variable
        axes = _AXES.get(getattr(net, "scan_axis", "layer"), {})
        dims = tuple(axes.get(dim, dim) for dim in self.variable.dims)
        coordinates = {axes.get(dim, dim): labels for dim, labels in self.variable.coordinates.items()}
        if "gate" in dims:
            coordinates["gate"] = list(net.gates)
        long_name = self.general or self.variable.long_name
        return dataclasses.replace(self.variable, dims=dims, long_name=long_name, coordinates=coordinates)


def _per_layer(
    long_name: str, of_layer: Callable[[Activation, Array], Array], part: str = "pre_activations", units: str = "1",
    own: tuple[str, ...] = (), coordinates: Mapping[str, Sequence[Any]] | None = None,
) -> Quantity:  # fmt: skip
    """Return a measure of one layer's array (inputs, width), taken at every layer."""

    def of(subject):
        arrays = getattr(subject.trace, part)
        return jax.vmap(lambda h: of_layer(subject.phi, h), in_axes=1)(arrays)

    return Quantity(Variable(("layer", *own), long_name, units, coordinates or {}), of, needs="trace")


def _percentiles(what: str, part: str) -> Quantity:
    return _per_layer(
        f"percentiles of {what} over units and inputs",
        lambda phi, a: saturation.activation_percentiles(a, PERCENTILES),
        part,
        own=("percentile",),
        coordinates={"percentile": PERCENTILES},
    )


def _of_gates(subject: Subject) -> Array:
    by_gate = jax.vmap(lambda a: saturation.saturated_fraction("sigmoid", a), in_axes=1)
    return jax.vmap(by_gate, in_axes=1)(subject.trace.gates)


def _log_gradient_norms_every_depth(subject: Subject) -> Array:
    norms = jax.vmap(
        lambda x: gradients.log_gradient_norms(subject.net, subject.params, x, key=subject.key, every_depth=True)
    )
    return root_mean_square_of_logs(norms(subject.inputs))


def _resolved(subject: Subject) -> Array:
    """Above the floor of a dense decomposition, for every input."""
    return jnp.all(spectrum.is_resolved(subject.singular_values, subject.larger_side), axis=0)


def _correlation(h: Array) -> Array:
    """Mean over pairs of inputs of h_a . h_b / (|h_a| |h_b|)."""
    count = h.shape[0]
    if count < 2:
        raise ValueError(checks.refusal("correlation", "x", "be a batch of at least 2 inputs", count))
    directions = h / jnp.linalg.norm(h, axis=1, keepdims=True)
    products = jnp.einsum("an,bn->ab", directions, directions)
    return (jnp.sum(products) - jnp.trace(products)) / (count * (count - 1))


_SPECTRUM = "ln of the singular values of dy/dx, descending, mean over inputs"
_STATE_SPECTRUM = "ln of the singular values of d carry_T / d carry_0, descending, mean over inputs"
_GRADIENT = "ln ||dE/dh_l||, root mean square over inputs"
QUANTITIES: dict[str, Quantity] = {
    "log_gradient_norms": Quantity(
        Variable(("layer",), _GRADIENT),
        lambda subject: root_mean_square_of_logs(subject.log_gradients[0]),
        general="ln ||dE/d carry_t|| after step t, root mean square over inputs",
    ),
    "log_largest_gradients": Quantity(
        Variable(("layer",), "ln max |dE/dh_l| over units and inputs"),
        lambda subject: maximum_or_nan(subject.log_gradients[1], axis=0),
        needs="MLP",
    ),
    "log_weight_gradient_norms": Quantity(
        Variable(("layer",), "ln ||dE/dW_l|| of single inputs, root mean square over inputs"),
        lambda subject: root_mean_square_of_logs(subject.log_weight_gradients),
        needs="MLP",
    ),
    "log_singular_values_error": Quantity(
        Variable(("index",), "estimated error of log_singular_values, mean over inputs"),
        lambda subject: jnp.mean(subject.log_singular_values_and_errors[1], axis=0),
    ),
    "log_input_gradient_norms": Quantity(
        Variable(("layer",), "ln ||dE/d xs_t||, of what step t of the scan reads, root mean square over inputs"),
        lambda subject: root_mean_square_of_logs(subject.log_input_gradients),
        needs="no MLP",
    ),
    "singular_values": Quantity(
        Variable(("index",), "singular values of dy/dx, descending, dense, mean over inputs"),
        lambda subject: jnp.mean(subject.singular_values, axis=0),
        general="singular values of d carry_T / d carry_0, descending, dense, mean over inputs",
    ),
    "singular_values_resolved": Quantity(
        Variable(("index",), "above the rounding noise of a dense decomposition, max(shape) eps s_1, for every input"),
        _resolved,
    ),
    "log_singular_values": Quantity(
        Variable(("index",), _SPECTRUM),
        lambda subject: jnp.mean(subject.log_singular_values, axis=0),
        general=_STATE_SPECTRUM,
    ),
    "saturated_fraction": _per_layer(
        "share of units with slope at most 5 % of the largest", saturation.saturated_fraction
    ),
    "always_saturated_fraction": _per_layer(
        "share of units with slope at most 5 % of the largest for every input", saturation.always_saturated_fraction
    ),
    "gate_saturated_fraction": Quantity(
        Variable(("layer", "gate"), "share of units of a gate with slope at most 5 % of the largest"),
        _of_gates,
        needs="gates",
    ),
    "dead_fraction": _per_layer("share of units with slope 0 for every input", saturation.dead_fraction),
    "off_units": _per_layer(
        "whether a unit is never above 0, over inputs", lambda phi, h: saturation.off_units(h), own=("unit",)
    ),
    "boundary_measure": _per_layer("boundary measure of saturation, 10 bins", saturation.boundary_measure),
    "activation_entropy": _per_layer(
        "entropy of the histogram of activations, 10 bins", saturation.activation_entropy, units="nat"
    ),
    "activation_histogram": _per_layer(
        f"share of activations in each of {BINS} parts of their range",
        lambda phi, h: saturation.activation_histogram(phi, h, BINS),
        own=("place",),
        coordinates={"place": [(i + 0.5) / BINS for i in range(BINS)]},
    ),
    "correlation": _per_layer(
        "correlation c of pre-activations, mean over pairs of inputs", lambda phi, h: _correlation(h)
    ),
    "mean_squared_pre_activation": _per_layer("mean squared pre-activation q", lambda phi, h: jnp.mean(h * h)),
    "pre_activation_std": _per_layer("standard deviation of pre-activations", lambda phi, h: jnp.std(h)),
    "pre_activation_percentiles": _percentiles("pre-activations", "pre_activations"),
    "activation_mean": _per_layer("mean of activations", lambda phi, a: jnp.mean(a), "activations"),
    "activation_std": _per_layer("standard deviation of activations", lambda phi, a: jnp.std(a), "activations"),
    "activation_percentiles": _percentiles("activations", "activations"),
}
EVERY_DEPTH: dict[str, Quantity] = {
    "log_gradient_norms": Quantity(
        Variable(("depth", "layer"), _GRADIENT), _log_gradient_norms_every_depth, needs="MLP"
    ),
    "log_singular_values": Quantity(
        Variable(("depth", "index"), _SPECTRUM),
        lambda subject: jnp.mean(subject.log_singular_values_of_every_depth, axis=0),
        general="ln of the singular values of d carry_t / d carry_0, descending, mean over inputs",
    ),
}
# What is not to be read without something else.
BRINGS = {
    "singular_values": ("singular_values_resolved",),
    "log_singular_values_error": ("log_singular_values",),
}
BEFORE_OTHERS = ("log_singular_values_error",)  # the values are then those that it speaks of
