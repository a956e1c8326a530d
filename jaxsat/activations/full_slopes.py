"""Slopes that automatic differentiation rounds to 0, put right inside any function.

``jax.grad`` takes the slope of a sigmoid from its value s, as s (1 - s): exactly 0 from x = 37 in float64, from 17 in
float32. The same happens to tanh (1 - t^2) and to expm1 (e + 1, far below 0). Here these three operations get the slopes of
their formulas, wherever they stand in a function; its values keep their bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxsat import checks
from jaxsat.activations.catalogue import get
from jaxsat.jax_compat import Jaxpr, JaxprEqn, Literal, called_jaxpr, eval_jaxpr, evaluate_equation, opened

INLINED = ("jit", "pjit", "closed_call", "core_call", "checkpoint", "remat", "remat2")


def with_full_slopes(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return the same function with slopes of sigmoid, tanh and expm1 that do not cancel.

    Args:
        fn: of arrays, or pytrees of arrays. Calls of other jitted functions are looked into; loops, branches and custom
            derivatives inside keep the slopes that they have.

    Raises:
        TypeError: `fn` is no function.

    Accuracy: slopes are right to some eps, down to the smallest normal number: exp(-708) in float64, exp(-87) in float32.
        Slopes below that are 0.

    >>> float(jax.grad(jax.nn.sigmoid)(40.0))
    0.0
    >>> print(f"{jax.grad(with_full_slopes(jax.nn.sigmoid))(40.0):.3e}")
    4.248e-18
    """
    if not callable(fn):
        raise TypeError(checks.refusal("with_full_slopes", "fn", "be a function", checks.Shown(type(fn).__name__)))

    def replaced(*args: Any) -> Any:
        flat, tree = jax.tree.flatten(args)
        closed, shapes = jax.make_jaxpr(lambda *flat: fn(*jax.tree.unflatten(tree, flat)), return_shape=True)(*flat)
        body, constants = opened(closed)
        return jax.tree.unflatten(jax.tree.structure(shapes), _evaluated(body, constants, flat))

    return replaced


def _evaluated(body: Jaxpr, constants: Sequence[Any], arrays: Sequence[Any]) -> list[Any]:
    if not any(_concerns(equation) for equation in body.eqns):
        return eval_jaxpr(body, constants, *arrays)
    known = dict(zip([*body.constvars, *body.invars], [*constants, *arrays], strict=True))
    for equation in body.eqns:
        operands = [atom.val if isinstance(atom, Literal) else known[atom] for atom in equation.invars]
        known.update(zip(equation.outvars, _results(equation, operands), strict=True))
    return [atom.val if isinstance(atom, Literal) else known[atom] for atom in body.outvars]


def _results(equation: JaxprEqn, operands: list[Any]) -> list[Any]:
    if not _concerns(equation):
        return evaluate_equation(equation, operands)
    if equation.primitive.name in FULL:
        return [FULL[equation.primitive.name](operands[0])]
    body, constants = opened(called_jaxpr(equation))  # pyright: ignore[reportArgumentType]
    return _evaluated(body, constants, operands)


def _concerns(equation: JaxprEqn) -> bool:
    """Return whether an equation is one of the three operations, or calls a function that has one."""
    name = equation.primitive.name
    if name in FULL:
        plain = equation.params.get("accuracy") is None
        return plain and jnp.issubdtype(equation.invars[0].aval.dtype, jnp.floating)  # pyright: ignore[reportAttributeAccessIssue]
    if name not in INLINED or (called := called_jaxpr(equation)) is None:
        return False
    return any(_concerns(inner) for inner in opened(called)[0].eqns)


def _with_slope(value: Callable[[Any], Any], slope: Callable[[Any], Any]) -> Callable[[Any], Any]:
    @jax.custom_jvp
    def operation(x):
        return value(x)

    @operation.defjvp
    def _tangent(primals, tangents):
        (x,), (t,) = primals, tangents
        return operation(x), slope(x) * t

    return operation


FULL = {
    "logistic": _with_slope(lax.logistic, get("sigmoid").slope),
    "tanh": _with_slope(lax.tanh, get("tanh").slope),
    "expm1": _with_slope(lax.expm1, lax.exp),
}
