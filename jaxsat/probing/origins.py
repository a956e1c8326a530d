"""Finds the equation that makes the first NaN or infinity, forward or backward. Run only where something is not finite."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxsat.jax_compat import Jaxpr, source_line
from jaxsat.linalg.magnitudes import wide
from jaxsat.probing.measuring import Backward, tie
from jaxsat.probing.reader import Context, Reader, Step
from jaxsat.probing.reading import read, rule_of
from jaxsat.probing.sites import execution_order
from jaxsat.probing.values import Address, Loop, Value, key_of

LOOPS = ("scan", "while", "cond", "checkpoint", "remat", "remat2")
WITHOUT_DERIVATIVE = ("sqrt", "rsqrt", "log", "log1p", "pow", "div", "integer_pow", "acos", "asin", "cbrt", "rem")


class Origin(NamedTuple):
    """An equation that makes something that is not finite from what is.

    Attributes:
        primitive, line: what it does, and its source line; '' if that is not known.
        iteration: indices in the scans around it, outermost first.
        what: 'NaN' or 'inf'.
        backward: whether it is the gradient that is not finite.
        order: sorts by time.
    """

    primitive: str
    line: str
    iteration: tuple[int, ...]
    what: str
    backward: bool
    order: tuple[tuple[int, str], ...]


class _Equation(NamedTuple):
    primitive: str
    line: str
    address: Address
    loops: tuple[Loop, ...]
    operands: tuple[Address, ...]


class _Watched:
    """Writes down the equations of a reading, and the dtypes of all floating values."""

    def __init__(self) -> None:
        self.equations: dict[str, _Equation] = {}
        self.values: dict[Address, tuple[Any, tuple[Loop, ...]]] = {}

    def watch(self, reader: Reader, step: Step, outputs: Sequence[Value]) -> None:
        given, made = _floating(step.inputs), _floating(outputs)
        if not made or step.name in LOOPS:
            return
        loops = step.position.loops
        for value in (*given, *made):
            if value.address:  # a literal has none
                self.values[value.address] = (jnp.result_type(value.array), loops)
        line = source_line(step.equation) or step.position.line
        operands = tuple(value.address for value in given)
        key = key_of(step.address)
        self.equations[key] = _Equation(step.name, line, step.address, loops, operands)
        arrived = [value for value in given if value.address]  # a NaN written into the program is made here
        new = [_any(jnp.isnan, made) & ~_any(jnp.isnan, arrived), _any(jnp.isinf, made) & ~_any(jnp.isinf, given)]
        reader.results[key] = jnp.stack(new).astype(jnp.float32)


def _floating(values: Sequence[Value]) -> list[Value]:
    return [value for value in values if jnp.issubdtype(jnp.result_type(value.array), jnp.floating)]


def _any(test: Callable[[Any], Any], values: Sequence[Value]) -> Any:
    if not values:
        return jnp.zeros((), bool)
    of_each = [jnp.any(test(value.array)) for value in values]
    return jnp.any(jnp.stack(of_each))


def origins_of(jaxpr: Jaxpr, constants: Sequence[Any], leaves: Sequence[Any], loss: int | None) -> list[Origin]:
    """Return where the first inf and the first NaN are made, in the order of execution.

    If all values are finite, it is the last equation whose gradient is not: the first on the way back. Empty if
    nothing is found: inside a while loop only the last iteration is seen.

    Args:
        jaxpr: the function.
        constants, leaves: what it closes over, and its arguments.
        loss: index of the output that gradients are taken of; None if there is none.
    """
    watched = _Watched()

    def forward(constants, leaves):
        return read(Context(rule_of, watch=watched.watch), jaxpr, constants, leaves, {})[1]

    results = jax.device_get(jax.jit(forward)(constants, leaves))
    firsts = [_first(results, watched, column) for column in (0, 1)]
    made = sorted((origin for origin in firsts if origin is not None), key=lambda origin: origin.order)
    if made or loss is None:
        return made
    backward = _backward(jaxpr, constants, leaves, loss, watched)
    return [] if backward is None else [backward]


def _first(results: Mapping[str, Any], watched: _Watched, column: int) -> Origin | None:
    """Return the first equation that makes a NaN (column 0) or an infinity (column 1)."""
    made = []
    for key, flags in results.items():
        equation = watched.equations[key]
        for iteration in np.argwhere(np.asarray(flags)[..., column] > 0):
            turns = tuple(map(int, iteration))
            order = execution_order(equation.address, equation.loops, turns)
            made.append(Origin(equation.primitive, equation.line, turns, ("NaN", "inf")[column], False, order))
    return min(made, key=lambda origin: origin.order, default=None)


def _backward(
    jaxpr: Jaxpr, constants: Sequence[Any], leaves: Sequence[Any], loss: int, watched: _Watched
) -> Origin | None:
    """Return the equation at which the gradient first is not finite on the way back."""
    sinks = {}
    for address, (dtype, loops) in watched.values.items():
        lengths = [loop.length for loop in loops]
        if None not in lengths:
            sinks[key_of(address)] = jnp.zeros((*lengths, len(Backward._fields)), wide(dtype))

    def run(sinks, constants, leaves):
        return read(Context(rule_of, tap=tie), jaxpr, constants, leaves, sinks)[0][loss]

    rows = jax.device_get(jax.jit(jax.grad(run))(sinks, constants, leaves))
    broken = []
    for address, (_, loops) in watched.values.items():
        reached, norm = np.moveaxis(np.asarray(rows.get(key_of(address), np.zeros(4)), float), -1, 0)[:2]
        for iteration in np.argwhere((reached != 0) & ~(norm < np.inf)):
            turns = tuple(map(int, iteration))
            broken.append((execution_order(address, loops, turns), turns, address, norm[turns]))
    if not broken:
        return None
    order, turns, address, norm = max(broken, key=lambda row: row[0])
    users = [equation for equation in watched.equations.values() if address in equation.operands]
    if not users:
        return None
    culprit = next((one for one in users if one.primitive in WITHOUT_DERIVATIVE), users[0])
    what = "NaN" if np.isnan(norm) else "inf"
    return Origin(culprit.primitive, culprit.line, turns, what, True, order)
