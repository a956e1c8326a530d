"""Measures: named, labelled functions of one network, one key and one input.

A measure is a pure function ``(net, key, x) -> dict of arrays``. Those of the catalogue (``quantities``) draw the network
from the key, look at it, and say what their axes and units are. Everything bigger is ``vmap`` and ``sweep`` over them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import jax.numpy as jnp
from jaxtyping import Array

from jaxsat import checks
from jaxsat.measures.quantities import BEFORE_OTHERS, BRINGS, EVERY_DEPTH, QUANTITIES, Quantity, Variable
from jaxsat.measures.subject import subject_of

Compute = Callable[..., Mapping[str, Array]]  # (net, key, x), or (net, key, x, params)


__all__ = ["Compute", "Measure", "Variable", "get", "names"]


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

    >>> import jax
    >>> from jaxsat.networks import MLP
    >>> spread = Measure("spread", lambda net, key, x: {"v": net.init(key).first.var()}, {"v": Variable((), "variance")})
    >>> sorted(spread(MLP(depth=2, width=3), jax.random.key(0), None))
    ['v']
    """

    name: str
    compute: Compute
    variables: Mapping[str, Variable]
    takes_params: bool = False

    def __call__(self, net: Any, key: Array, x: Any, params: Any = None) -> dict[str, Array]:
        found = self.compute(net, key, x, params) if self.takes_params else self.compute(net, key, x)
        if not isinstance(found, Mapping):
            came = checks.Shown(type(found).__name__)
            raise TypeError(checks.refusal("measure", self.name, "return a dict of arrays", came))
        return dict(found)


def names() -> tuple[str, ...]:
    """Return the names of the catalogue."""
    return tuple(QUANTITIES)


def get(measure: Any, every_depth: bool = False, net: Any = None) -> Measure:
    """Return a measure by name, a user's function as a measure, or several as one.

    Measures of the catalogue that are asked for together share the network's draw and its passes.

    Args:
        measure: a name from :func:`names`, a :class:`Measure`, a function ``(net, key, x) -> dict of arrays`` (its
            axes are numbered rather than named), or a sequence of those.
        every_depth: ask for the networks of depth 1 .. depth at once; only some measures have this form.
        net: the network that it is for: the labels of axes are its own, and it must have what the measure needs. None: an
            MLP.

    Raises:
        ValueError: unknown name; none; every_depth of a measure without that form; two arrays of one name; a network
            without what the measure needs.
        TypeError: neither a name nor callable.

    >>> get(["dead_fraction", "log_gradient_norms"]).name
    'dead_fraction, log_gradient_norms'
    """
    parts = [measure] if isinstance(measure, str) or not isinstance(measure, Sequence) else list(measure)
    if not parts:
        raise ValueError(checks.refusal("measure", "", "be at least one name or function", checks.Shown("none")))
    asked = [part for part in parts if isinstance(part, str)]
    named = {part: _catalogued(part, every_depth) for part in asked}
    named |= {extra: QUANTITIES[extra] for part in asked for extra in BRINGS.get(part, ())}
    named = dict(sorted(named.items(), key=lambda entry: entry[0] not in BEFORE_OTHERS))
    for name, entry in named.items() if net is not None else ():
        entry.check("sweep", "measure", f"{name} of every depth" if every_depth else name, net)
    own = [_of_function(part, every_depth) for part in parts if not isinstance(part, str)]

    def compute(net: Any, key: Array, x: Any, params: Any = None) -> dict[str, Array]:
        subject = subject_of(net, key, x, params)
        found: dict[str, Array] = {name: entry.of(subject) for name, entry in named.items()}
        for part in own:
            new = {name: jnp.asarray(array) for name, array in part(net, key, x).items()}
            if clash := sorted(found.keys() & new.keys()):
                raise ValueError(f"measure: two measures return {clash}; rename one.")
            found |= new
        return found

    variables = {name: entry.variable if net is None else entry.labels(net) for name, entry in named.items()}
    for part in own:
        variables |= part.variables
    return Measure(", ".join([*named, *(part.name for part in own)]), compute, variables, takes_params=bool(named))


def _catalogued(name: str, every_depth: bool) -> Quantity:
    checks.one_of("measure", "", name, QUANTITIES, "be a known name or a function")
    if every_depth and name not in EVERY_DEPTH:
        rule = f"have a form for every depth, as {' and '.join(EVERY_DEPTH)} have"
        remedy = (
            "A measure of the forward pass gives every depth as it is: layer l is the last of the network of depth l."
        )
        raise ValueError(checks.refusal("measure", "", rule, name, remedy))
    return (EVERY_DEPTH if every_depth else QUANTITIES)[name]


def _of_function(measure: Any, every_depth: bool) -> Measure:
    if not callable(measure):
        came = checks.Shown(type(measure).__name__)
        raise TypeError(checks.refusal("measure", "", "be a name or a function (net, key, x) -> dict", came))
    if every_depth:
        remedy = "Return a depth axis from your own function."
        raise ValueError(checks.refusal("measure", "every_depth", "be False for a function", True, remedy))
    if isinstance(measure, Measure):
        return measure
    return Measure(getattr(measure, "__name__", "measure"), cast(Compute, measure), {})
