"""What an elementwise chain is called: the activation of the catalogue that it equals on a grid.

Chains are evaluated in NumPy. Names of jitted functions and primitives are used only where no activation fits, so a
hand-written ``x / (1 + exp(-x))`` is silu, as jax.nn.silu is.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxsat import activations
from jaxsat.activations import Activation
from jaxsat.jax_compat import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Tracer, called_jaxpr, opened
from jaxsat.probing.primitives import CUSTOM, INLINE, NUMPY
from jaxsat.probing.values import Value

POINTS = np.linspace(-6, 6, 241) + 0.0125  # off the kinks at integers


class Unknown(Exception):
    """A chain that NumPy cannot evaluate: it needs numbers known only at run time, or an unusual primitive."""


class Identity(NamedTuple):
    """What is known of a chain.

    Attributes:
        name: of the activation, where the catalogue has it.
        activation: its record; None for chains that are not in the catalogue.
        max_slope: largest |slope|; None where the chain could not be evaluated.
    """

    name: str | None
    activation: Activation | None
    max_slope: float | None


def identify(value: Value, root: Value) -> Identity:
    """Return what is known of phi, where value = phi(root)."""
    try:
        with np.errstate(all="ignore"):
            y = np.broadcast_to(np.asarray(on_grid(value, root, POINTS), float), POINTS.shape)
            # Half precisions round the constants inside gelu and the like.
            found = _in_catalogue(y, max(1e-5, 2 * float(jnp.finfo(value.array.dtype).eps)))
            if found is not None:
                return Identity(found.name, found, found.max_slope)
            far = np.concatenate([POINTS, np.linspace(-40, 40, 4001)])
            far.sort()
            values = np.broadcast_to(np.asarray(on_grid(value, root, far), float), far.shape)
            slopes = np.abs(np.diff(values) / np.diff(far))
    except Unknown:
        return Identity(None, None, None)
    slopes = slopes[np.isfinite(slopes)]
    return Identity(None, None, float(slopes.max()) if slopes.size else None)


@functools.cache
def _catalogue() -> tuple[tuple[Activation, ...], np.ndarray]:
    records = tuple(activations.get(name) for name in activations.names() if name != "identity")
    with jax.ensure_compile_time_eval(), np.errstate(all="ignore"):
        return records, np.stack([_values_of(record) for record in records])


def _values_of(record: Activation) -> np.ndarray:
    """Return an activation's values on the grid: in NumPy, which compiles nothing, wherever that can evaluate it."""
    points = jnp.asarray(POINTS, jnp.float32)
    try:
        (values,) = _jaxpr(jax.make_jaxpr(record)(points), [POINTS])
    except Unknown:
        values = jax.jit(record)(points)
    return np.broadcast_to(np.asarray(values, float), POINTS.shape)


def _in_catalogue(y: np.ndarray, tolerance: float) -> Activation | None:
    records, values = _catalogue()
    error = np.max(np.abs(values - y), axis=1)
    best = int(np.argmin(np.where(np.isnan(error), np.inf, error)))
    if error[best] < tolerance:
        return records[best]
    left, right = POINTS < 0, POINTS > 0
    if not np.allclose(y[right], POINTS[right], rtol=1e-6, atol=0):
        return None
    slope = y[left] / POINTS[left]
    if np.ptp(slope) < 1e-6 and abs(slope[0] - 1) < 1e-6:
        return activations.get("identity")
    if np.ptp(slope) < 1e-6 and abs(slope[0]) < 1 - 1e-6:  # -1 is |x|
        return activations.leaky_relu(float(np.float32(np.round(slope[0], 6))))
    height = y[left] / np.expm1(POINTS[left])
    if np.ptp(height) < 1e-6 and height[0] > 0:
        return activations.elu(float(np.round(height[0], 6)))
    return None


def on_grid(value: Value, root: Value, grid: np.ndarray) -> Any:
    """Return phi(grid) in float64, where value = phi(root).

    Raises:
        Unknown: NumPy cannot evaluate the chain.
    """
    known: dict[int, Any] = {id(root): grid}

    def at(node: Value) -> Any:
        if id(node) not in known:
            if node.recipe is None:
                known[id(node)] = _number(node)
            else:
                operands = [at(operand) for operand in node.recipe.inputs]
                known[id(node)] = _equation(node.recipe.equation, operands)[node.recipe.which]
        return known[id(node)]

    return at(value)


def _number(node: Value) -> Any:
    if not node.facts.uniform or isinstance(node.array, Tracer):
        raise Unknown
    array = np.asarray(node.array)
    return array.astype(float) if array.dtype != bool else array


def _equation(equation: JaxprEqn, inputs: list[Any]) -> list[Any]:
    name, params = equation.primitive.name, equation.params
    if name in INLINE or name in CUSTOM:
        inner = called_jaxpr(equation)
        if inner is None:
            raise Unknown
        return _jaxpr(inner, inputs)
    if name == "integer_pow":
        inputs = [*inputs, params["y"]]
    if name == "convert_element_type":
        if not jnp.issubdtype(params["new_dtype"], jnp.floating):
            raise Unknown
        inputs = [np.asarray(inputs[0], float)]
    if name not in NUMPY:
        raise Unknown
    return [NUMPY[name](*inputs)]


def _jaxpr(closed: Jaxpr | ClosedJaxpr, inputs: list[Any]) -> list[Any]:
    jaxpr, constants = opened(closed)
    known = dict(zip(jaxpr.invars, inputs, strict=True))
    for variable, constant in zip(jaxpr.constvars, constants, strict=True):
        if np.ndim(constant) or isinstance(constant, Tracer):
            raise Unknown
        known[variable] = np.asarray(constant, float)

    def read(atom):
        return np.asarray(atom.val) if isinstance(atom, Literal) else known[atom]

    for equation in jaxpr.eqns:
        known.update(zip(equation.outvars, _equation(equation, [read(a) for a in equation.invars]), strict=True))
    return [read(atom) for atom in jaxpr.outvars]
