"""The catalogue of measures: named, labelled functions of one network, one key and one input.

A measure is a pure function ``(net, key, x) -> dict of arrays``. The catalogue's draw the network from the key, look at
it, and say what their axes and units are. Everything bigger is ``vmap`` and ``sweep`` over them.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxsat.activations import Activation
from jaxsat.linalg import spectrum
from jaxsat.linalg.lapack import after
from jaxsat.measures import gradients, jacobians, saturation
from jaxsat.networks.mlp import MLP
from jaxsat.networks.parameters import Params, Trace
from jaxsat.networks.protocol import gaussian_input

Compute = Callable[..., Mapping[str, Array]]  # (net, key, x), or (net, key, x, params)


@dataclasses.dataclass(frozen=True)
class Variable:
    """Labels of one measured array: its own dimensions, what it is, and its unit ('1' for pure numbers).

    `coordinates` gives labels along a dimension; "layer", "depth" and "index" are counted from 1 without
    being told.
    """

    dims: tuple[str, ...]
    long_name: str
    units: str = "1"
    coordinates: Mapping[str, Sequence[Any]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, eq=False)
class Measure:
    """A function ``(net, key, x) -> dict of arrays`` and the labels of what it returns.

    Attributes:
        name: of the measure.
        compute: the function. Where `takes_params` is set it has a fourth argument: the parameters of the network, if
            they are drawn already, else None.
        variables: labels of the arrays.
        takes_params: whether `compute` takes the parameters. A sweep then draws them once for all activations.

    Wrap your own function to have its axes named in the dataset of a sweep:

    >>> spread = Measure("spread", lambda net, key, x: {"v": net.init(key).first.var()}, {"v": Variable((), "variance")})
    >>> sorted(spread(MLP(depth=2, width=3), jax.random.key(0), None))
    ['v']
    """

    name: str
    compute: Compute
    variables: Mapping[str, Variable]
    takes_params: bool = False

    def __call__(self, net: MLP, key: Array, x: Array | None, params: Params | None = None) -> dict[str, Array]:
        found = self.compute(net, key, x, params) if self.takes_params else self.compute(net, key, x)
        if not isinstance(found, Mapping):
            raise TypeError(f"measure: {self.name} must return a dict of arrays; got {type(found).__name__}.")
        return dict(found)


class Subject:
    """One network looked at: its draw and its forward pass, made once however many measures ask for them."""

    def __init__(self, net: MLP, key: Array, x: Array | None, params: Params | None = None):
        self.net, self.key, self._drawn = net, key, params
        self.inputs = gaussian_input(net, key)[None] if x is None else jnp.atleast_2d(x)

    @functools.cached_property
    def params(self) -> Params:
        return self.net.init(self.key) if self._drawn is None else self._drawn

    @functools.cached_property
    def trace(self) -> Trace:
        """Of every input: arrays of shape (inputs, depth, ..)."""
        return jax.vmap(lambda x: self.net.trace(self.params, x))(self.inputs)

    @functools.cached_property
    def log_gradients(self) -> tuple[Array, Array]:
        """ln ||dE/dh_l|| and ln max|dE/dh_l| of the unit cotangent, each (inputs, depth)."""
        u = gradients.unit_cotangent(self.net, self.key)

        def of_trace(trace):
            keep = lambda signal: (gradients.log_norms(signal), signal.log_scale)  # noqa: E731
            return gradients.signal_of_trace(self.net, self.params, trace, u, keep=keep)

        return jax.vmap(of_trace)(self.trace)

    @functools.cached_property
    def singular_values(self) -> Array:
        """Dense, (inputs, k)."""
        params = self._params_after("log_singular_values")
        return jax.vmap(lambda x: jacobians.singular_values(self.net, params, x))(self.inputs)

    @functools.cached_property
    def log_singular_values(self) -> Array:
        """(inputs, k)"""
        params = self._params_after("singular_values")
        return jax.vmap(lambda x: jacobians.log_singular_values(self.net, params, x))(self.inputs)

    def _params_after(self, other: str) -> Params:
        """The parameters, to be had only after that property if it is known already."""
        if other not in vars(self):
            return self.params
        return self.params._replace(first=after(vars(self)[other], self.params.first))


@dataclasses.dataclass(frozen=True)
class _Catalogued:
    """A measure of the catalogue: one array, from a subject."""

    variable: Variable
    of: Callable[[Subject], Array]


def names() -> tuple[str, ...]:
    """Names of the catalogue."""
    return tuple(_CATALOGUE)


def get(measure: Any, every_depth: bool = False) -> Measure:
    """A measure by name, a user's function as a measure, or several as one.

    Measures of the catalogue that are asked for together share the network's draw and its passes.

    Args:
        measure: a name from :func:`names`, a :class:`Measure`, a function ``(net, key, x) -> dict of arrays`` (its
            axes are numbered rather than named), or a sequence of those.
        every_depth: ask for the networks of depth 1 .. depth at once; only some measures have this form.

    Raises:
        ValueError: unknown name; none; every_depth of a measure without that form; two arrays of one name.
        TypeError: neither a name nor callable.

    >>> get(["dead_fraction", "log_gradient_norms"]).name
    'dead_fraction, log_gradient_norms'
    """
    parts = [measure] if isinstance(measure, str) or not isinstance(measure, Sequence) else list(measure)
    if not parts:
        raise ValueError("measure: at least one is needed; got none.")
    asked = [part for part in parts if isinstance(part, str)]
    named = {part: _catalogued(part, every_depth) for part in asked}
    named |= {extra: _CATALOGUE[extra] for part in asked for extra in _BRINGS.get(part, ())}
    own = [_of_function(part, every_depth) for part in parts if not isinstance(part, str)]

    def compute(net: MLP, key: Array, x: Any, params: Params | None = None) -> dict[str, Array]:
        subject = Subject(net, key, x, params)
        found: dict[str, Array] = {name: entry.of(subject) for name, entry in named.items()}
        for part in own:
            new = {name: jnp.asarray(array) for name, array in part(net, key, x).items()}
            if clash := sorted(found.keys() & new.keys()):
                raise ValueError(f"measure: two measures return {clash}; rename one.")
            found |= new
        return found

    variables = {name: entry.variable for name, entry in named.items()}
    for part in own:
        variables |= part.variables
    return Measure(", ".join([*named, *(part.name for part in own)]), compute, variables, takes_params=bool(named))


def _catalogued(name: str, every_depth: bool) -> _Catalogued:
    if name not in _CATALOGUE:
        near = difflib.get_close_matches(name, _CATALOGUE, n=2)
        hint = f"Did you mean {' or '.join(map(repr, near))}?" if near else f"Known: {', '.join(_CATALOGUE)}."
        raise ValueError(f"measure: must be a known name or a function; got {name!r}. {hint}")
    if every_depth and name not in _EVERY_DEPTH:
        raise ValueError(
            f"measure: {name!r} has no every_depth form (those that have: {', '.join(_EVERY_DEPTH)}). "
            "A measure of the forward pass already gives every depth: layer l is the last of the network of depth l."
        )
    return (_EVERY_DEPTH if every_depth else _CATALOGUE)[name]


def _of_function(measure: Any, every_depth: bool) -> Measure:
    if not callable(measure):
        raise TypeError(f"measure: must be a name or a function (net, key, x) -> dict; got {type(measure).__name__}.")
    if every_depth:
        raise ValueError("measure: every_depth is for named measures; return a depth axis from your own function.")
    if isinstance(measure, Measure):
        return measure
    return Measure(getattr(measure, "__name__", "measure"), cast(Compute, measure), {})


def _per_layer(long_name: str, of_layer: Callable[[Activation, Array], Array], units: str = "1") -> _Catalogued:
    """A measure of one layer's pre-activations (inputs, width), taken at every layer."""

    def of(subject):
        return jax.vmap(lambda h: of_layer(subject.net.phi, h), in_axes=1)(subject.trace.pre_activations)

    return _Catalogued(Variable(("layer",), long_name, units), of)


def _root_mean_square(log_norms: Array) -> Array:
    """ln of the root mean square over the first axis, of values given as logarithms."""
    if len(log_norms) == 1:
        return log_norms[0]
    return (jax.nn.logsumexp(2 * log_norms, axis=0) - float(np.log(len(log_norms)))) / 2


def _log_gradient_norms_every_depth(subject: Subject) -> Array:
    norms = jax.vmap(
        lambda x: gradients.log_gradient_norms(subject.net, subject.params, x, key=subject.key, every_depth=True)
    )
    return _root_mean_square(norms(subject.inputs))


def _log_singular_values_every_depth(subject: Subject) -> Array:
    values = jax.vmap(lambda x: jacobians.log_singular_values(subject.net, subject.params, x, every_depth=True))
    return jnp.mean(values(subject.inputs), axis=0)


def _resolved(subject: Subject) -> Array:
    """Above the floor of a dense decomposition, for every input."""
    size = max(subject.net.output_width, subject.net.input_width)
    return jnp.all(spectrum.is_resolved(subject.singular_values, size), axis=0)


def _correlation(h: Array) -> Array:
    """Mean over pairs of inputs of h_a . h_b / (|h_a| |h_b|)."""
    count = h.shape[0]
    if count < 2:
        raise ValueError(f"correlation: `x` must be a batch of at least 2 inputs; got {count}.")
    directions = h / jnp.linalg.norm(h, axis=1, keepdims=True)
    products = jnp.einsum("an,bn->ab", directions, directions)
    return (jnp.sum(products) - jnp.trace(products)) / (count * (count - 1))


_SPECTRUM = "ln of the singular values of dy/dx, descending, mean over inputs"
_GRADIENT = "ln ||dE/dh_l||, root mean square over inputs"
_CATALOGUE: dict[str, _Catalogued] = {
    "log_gradient_norms": _Catalogued(
        Variable(("layer",), _GRADIENT), lambda subject: _root_mean_square(subject.log_gradients[0])
    ),
    "log_largest_gradients": _Catalogued(
        Variable(("layer",), "ln max |dE/dh_l| over units and inputs"),
        lambda subject: jnp.max(subject.log_gradients[1], axis=0),
    ),
    "singular_values": _Catalogued(
        Variable(("index",), "singular values of dy/dx, descending, dense, mean over inputs"),
        lambda subject: jnp.mean(subject.singular_values, axis=0),
    ),
    "singular_values_resolved": _Catalogued(
        Variable(("index",), "above the rounding noise of a dense decomposition, max(shape) eps s_1, for every input"),
        _resolved,
    ),
    "log_singular_values": _Catalogued(
        Variable(("index",), _SPECTRUM), lambda subject: jnp.mean(subject.log_singular_values, axis=0)
    ),
    "saturated_fraction": _per_layer(
        "share of units with slope at most 5 % of the largest", saturation.saturated_fraction
    ),
    "dead_fraction": _per_layer("share of units with slope 0 for every input", saturation.dead_fraction),
    "boundary_measure": _per_layer("boundary measure of saturation, 10 bins", saturation.boundary_measure),
    "activation_entropy": _per_layer(
        "entropy of the histogram of activations, 10 bins", saturation.activation_entropy, units="nat"
    ),
    "correlation": _per_layer(
        "correlation c of pre-activations, mean over pairs of inputs", lambda phi, h: _correlation(h)
    ),
    "mean_squared_pre_activation": _per_layer("mean squared pre-activation q", lambda phi, h: jnp.mean(h * h)),
}
_EVERY_DEPTH: dict[str, _Catalogued] = {
    "log_gradient_norms": _Catalogued(Variable(("depth", "layer"), _GRADIENT), _log_gradient_norms_every_depth),
    "log_singular_values": _Catalogued(Variable(("depth", "index"), _SPECTRUM), _log_singular_values_every_depth),
}
_BRINGS = {"singular_values": ("singular_values_resolved",)}  # not to be read without it
