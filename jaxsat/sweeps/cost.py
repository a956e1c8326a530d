"""The cost of a sweep, before it runs: networks, memory, arithmetic, and time from a short calibration."""

from __future__ import annotations

import math
import time
from typing import NamedTuple

import jax

from jaxsat.jax_compat import Jaxpr, Literal, Var, jaxprs_in
from jaxsat.sweeps.choices import ChoicePrograms
from jaxsat.sweeps.plan import Plan
from jaxsat.sweeps.tiles import TileCorner, tree_bytes


class Cost(NamedTuple):
    """The cost of a whole sweep of which nothing is done yet.

    Attributes:
        networks: how many networks are measured.
        flops: matrix products and elementwise operations in the text of the programs, without decompositions. A loop whose
            length is decided while it runs counts once.
        result_bytes: size of the arrays that are returned or stored, uncompressed.
        device_bytes: what a tile of the first program takes on a device.
        compile_seconds: to compile all programs one after the other, if each takes as long as the first.
        seconds: to compute on this machine, if each network takes as long as in one tile of the first program, in
            proportion to its arithmetic.
    """

    networks: int
    flops: float
    result_bytes: int
    device_bytes: int
    compile_seconds: float
    seconds: float


def estimate(plan: Plan) -> Cost:
    """Compile the programs of the first static choice and run a tile of them twice."""
    choices = list(plan.programs.values())
    first = choices[0]
    points = math.prod(len(plan.grid.over[name]) for name in plan.grid.traced)
    each = plan.request.seeds * points
    flops = [_flops_of_network(choice) for choice in choices]
    networks = each * len(choices)
    started = time.perf_counter()
    first.lower()
    device_bytes = first.compile(2**62)
    compile_seconds = time.perf_counter() - started
    corner = TileCorner(0, plan.grid.columns(dict.fromkeys(plan.grid.over, 0), first.tile.block))
    corners = [corner] * len(first.devices())

    def tile() -> float:
        started = time.perf_counter()
        drawn = first.start_draw([corner.seed for corner in corners], plan.root)
        jax.block_until_ready(first.start(corners, drawn, plan.root, plan.x))
        return time.perf_counter() - started

    tile()  # the first run of a program is slower
    per_network = tile() / (len(corners) * first.tile.seeds * first.tile.points)
    work = sum(flops) / flops[0] if flops[0] else float(len(choices))
    return Cost(
        networks=networks,
        flops=float(each * sum(flops)),
        result_bytes=networks * tree_bytes(first.shapes),
        device_bytes=device_bytes,
        compile_seconds=compile_seconds * len(choices),
        seconds=per_network * each * work,
    )


def _flops_of_network(choice: ChoicePrograms) -> float:
    drawn = 0.0 if choice.draw is None else flops_of(choice.draw.jaxpr.jaxpr)
    return (drawn + flops_of(choice.measure.jaxpr.jaxpr)) / (choice.tile.seeds * choice.tile.points)


def flops_of(jaxpr: Jaxpr) -> float:
    """Count the operations of a program: two for each product in a matrix multiplication, one for each other result.

    >>> square = jax.make_jaxpr(lambda a: a @ a)(jax.numpy.ones((4, 4)))
    >>> flops_of(square.jaxpr)
    128.0
    """
    total = 0.0
    for equation in jaxpr.eqns:
        inner = jaxprs_in(equation.params)
        if inner:
            times = equation.params.get("length", 1) if equation.primitive.name == "scan" else 1
            total += times * sum(map(flops_of, inner))
        elif equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            depth = math.prod(_shape(equation.invars[0])[i] for i in contracted)
            total += 2.0 * depth * math.prod(_shape(equation.outvars[0]))
        else:
            total += float(sum(math.prod(_shape(v)) for v in equation.outvars))
    return total


def _shape(atom: Literal | Var) -> tuple[int, ...]:
    return getattr(atom.aval, "shape", ())
