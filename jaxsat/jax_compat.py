"""The only place that touches jaxprs and other parts of JAX that move between its versions.

Everything here is public JAX (``jax.core``, ``jax.extend``), as of JAX 0.10 to 0.12; ``tests/test_jax_compat.py`` holds
what jaxsat relies on.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.core import Tracer, eval_jaxpr
from jax.extend import source_info_util
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var, jaxpr_as_fun

__all__ = [
    "ClosedJaxpr",
    "Jaxpr",
    "JaxprEqn",
    "Literal",
    "Tracer",
    "Var",
    "called_jaxpr",
    "eval_jaxpr",
    "evaluate_equation",
    "jaxpr_as_fun",
    "jaxprs_in",
    "opened",
    "same_computation",
    "same_numbers",
    "scan_counts",
    "scopes_of",
    "shards_of",
    "source_info_util",
    "source_line",
]

CALLED = ("jaxpr", "call_jaxpr", "fun_jaxpr")  # names of the parameter that holds what an equation calls


def jaxprs_in(params: dict[str, Any]) -> list[Jaxpr]:
    """Return every jaxpr among the parameters of an equation: the bodies of loops, branches and calls."""
    found: list[Jaxpr] = []
    for leaf in jax.tree.leaves(list(params.values()), is_leaf=lambda v: isinstance(v, (ClosedJaxpr, Jaxpr))):
        if isinstance(leaf, ClosedJaxpr):
            found.append(leaf.jaxpr)
        elif isinstance(leaf, Jaxpr):
            found.append(leaf)
    return found


def opened(jaxpr: Jaxpr | ClosedJaxpr) -> tuple[Jaxpr, tuple[Any, ...]]:
    """Return a jaxpr and the arrays it closes over."""
    return (jaxpr.jaxpr, tuple(jaxpr.consts)) if isinstance(jaxpr, ClosedJaxpr) else (jaxpr, ())


def called_jaxpr(equation: JaxprEqn) -> Jaxpr | ClosedJaxpr | None:
    """Return the jaxpr that an equation calls (jit, remat, a custom derivative); None if it calls none."""
    return next((equation.params[key] for key in CALLED if key in equation.params), None)


def evaluate_equation(equation: JaxprEqn, arrays: Sequence[Any]) -> list[Any]:
    """Return the results of one equation for these operands. JAX's own evaluator computes them."""
    variables: list[Var] = []
    distinct = []
    for atom, array in zip(equation.invars, arrays, strict=True):
        if not isinstance(atom, Literal) and atom not in variables:
            variables.append(atom)
            distinct.append(array)
    outputs = list(equation.outvars)
    origin = _debug_info(len(variables), len(outputs))
    alone = Jaxpr((), variables, outputs, [equation], equation.effects, debug_info=origin)
    return eval_jaxpr(alone, (), *distinct)


@functools.cache
def _debug_info(inputs: int, outputs: int) -> Any:
    """Return the origin that a jaxpr must name, taken from a made-up one with this number of inputs and outputs."""
    return jax.make_jaxpr(lambda *_: [0.0] * outputs)(*[0.0] * inputs).jaxpr.debug_info


def scan_counts(equation: JaxprEqn) -> tuple[int, int]:
    """Return how many operands of a scan are constants of its body, and how many are carried.

    JAX 0.10 keeps both as parameters, JAX 0.12 does not. The shapes say it in both: what is scanned over loses its
    first axis inside, what is stacked gains one outside.
    """
    body, _ = opened(equation.params["jaxpr"])
    scanned = sum(_rank(a) != _rank(b) for a, b in zip(equation.invars, body.invars, strict=True))
    carried = sum(_rank(a) == _rank(b) for a, b in zip(equation.outvars, body.outvars, strict=True))
    return len(equation.invars) - carried - scanned, carried


def shards_of(equation: JaxprEqn) -> int:
    """Return on how many shards of its arguments a shard_map runs its function."""
    mesh, manual = equation.params["mesh"], equation.params["newly_manual_axes"]
    return math.prod(mesh.shape[name] for name in manual)


def _rank(variable: Any) -> int:
    return len(variable.aval.shape)


def scopes_of(equation: JaxprEqn) -> tuple[str, ...]:
    """Return the module names around an equation: those of `jax.named_scope`, which Flax, Haiku and Equinox set."""
    stack = str(equation.source_info.name_stack)
    return (stack,) if stack else ()


def source_line(equation: JaxprEqn) -> str:
    """Return the user's source line of an equation, 'file.py:12 (function)'; '' if it is not known."""
    line = source_info_util.summarize(equation.source_info).rsplit("/", 1)[-1]
    return "" if line.startswith("<") or "unknown" in line else re.sub(r":(\d+):\d+", r":\1", line)


def same_computation(one: Jaxpr | ClosedJaxpr, other: Jaxpr | ClosedJaxpr) -> bool:
    """Return whether two jaxprs have the same equations, source lines, shapes, dtypes and numbers written into them.

    The values of arrays that a jaxpr closes over at its top are not compared, only their shapes. The rules of custom
    derivatives are taken as equal where the functions that they belong to are.
    """
    (a, _), (b, _) = opened(one), opened(other)
    return _same_jaxpr(a, b, {})


def _same_jaxpr(a: Jaxpr, b: Jaxpr, known: dict[Any, Any]) -> bool:
    if len(a.eqns) != len(b.eqns) or not _bound([*a.constvars, *a.invars], [*b.constvars, *b.invars], known):
        return False
    for one, other in zip(a.eqns, b.eqns, strict=True):
        if one.primitive is not other.primitive or not _same_atoms(one.invars, other.invars, known):
            return False
        if scopes_of(one) != scopes_of(other) or source_line(one) != source_line(other):
            return False
        if not _same_params(one, other) or not _bound(one.outvars, other.outvars, known):
            return False
    return _same_atoms(a.outvars, b.outvars, known)


def _bound(a: Sequence[Any], b: Sequence[Any], known: dict[Any, Any]) -> bool:
    """Take each variable of `a` for the one of `b` at its place; False if their types differ."""
    known.update(zip(a, b, strict=False))
    return len(a) == len(b) and all(x.aval == y.aval for x, y in zip(a, b, strict=True))


def _same_atoms(a: Sequence[Any], b: Sequence[Any], known: dict[Any, Any]) -> bool:
    if len(a) != len(b):
        return False
    for x, y in zip(a, b, strict=True):
        if isinstance(x, Literal) != isinstance(y, Literal) or x.aval != y.aval:
            return False
        if not (_same_value(x.val, y.val) if isinstance(x, Literal) else known[x] is y):
            return False
    return True


def _same_params(one: JaxprEqn, other: JaxprEqn) -> bool:
    a, b = one.params, other.params
    names = [name for name in a if not (one.primitive.name.startswith("custom_") and _is_function(a[name]))]
    return a.keys() == b.keys() and all(_same_value(a[name], b[name]) for name in names)


def _is_function(value: Any) -> bool:
    return callable(value) or hasattr(value, "call_wrapped")


def _same_value(a: Any, b: Any) -> bool:
    """Return whether two parameters of an equation, or two numbers written into it, are the same."""
    if a is b:
        return True
    if isinstance(a, (ClosedJaxpr, Jaxpr)) and isinstance(b, (ClosedJaxpr, Jaxpr)):
        (p, p_arrays), (q, q_arrays) = opened(a), opened(b)
        return _same_value(p_arrays, q_arrays) and _same_jaxpr(p, q, {})
    if isinstance(a, (tuple, list)) and isinstance(b, (tuple, list)):
        return len(a) == len(b) and all(_same_value(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, (np.ndarray, np.generic, jax.Array, float)):
        return same_numbers(a, b)
    return bool(a == b)


def same_numbers(a: Any, b: Any) -> bool:
    """Return whether two arrays have the same bits, NaN and the sign of 0 included."""
    if not isinstance(b, type(a)) or isinstance(a, Tracer) or isinstance(b, Tracer):
        return False
    x, y = np.asarray(a), np.asarray(b)
    return x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()
