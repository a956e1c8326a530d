"""What a sweep will cost, before it is run: networks, memory, arithmetic, and time from a short calibration."""

from __future__ import annotations

import math
import time
from typing import Any, NamedTuple

import jax
from jax.extend import core

from jaxsat.sweeps.sweep_request import Request
from jaxsat.sweeps.tiles import Place


class Cost(NamedTuple):
    """Of a whole sweep, nothing of it being there yet.

    Attributes:
        networks: how many.
        flops: of the matrix products and elementwise operations in the programs' text, decompositions left out; loops
            whose length is decided on the way count once.
        result_bytes: of the arrays returned or stored, uncompressed.
        device_bytes: that the largest tile takes on a device.
        compile_seconds: of all programs, one after the other, from that of the first.
        seconds: of the computation on this machine: networks times the time that a network took in one tile of the first
            program, and their arithmetic beside its.
    """

    networks: int
    flops: float
    result_bytes: int
    device_bytes: int
    compile_seconds: float
    seconds: float


def estimate(request: Request) -> Cost:
    """Trace every program, compile the first one and run a tile of it twice."""
    tiles = request.tiles()
    programs = list(request.programs(tiles).values())
    points = math.prod(len(request.grid.over[name]) for name in request.grid.traced)
    each = request.seeds * points
    flops = [flops_of(p.traced.jaxpr.jaxpr) / (p.tile.seeds * p.tile.points) for p in programs]
    networks = each * len(programs)
    size = sum(s.dtype.itemsize * math.prod(s.shape) for s in programs[0].shapes.values())
    first = programs[0]
    started = time.perf_counter()
    compiled = first.lower(jax.local_devices()).compile(2**62)
    compile_seconds = time.perf_counter() - started
    corner = dict.fromkeys(request.grid.over, 0)
    places = [Place(0, request.grid.columns(corner, first.tile.block))] * compiled.devices
    jax.block_until_ready(compiled(places))
    started = time.perf_counter()
    jax.block_until_ready(compiled(places))
    per_network = (time.perf_counter() - started) / (compiled.devices * first.tile.seeds * first.tile.points)
    work = sum(flops) / flops[0] if flops[0] else float(len(programs))
    memory = getattr(compiled.run.memory_analysis(), "temp_size_in_bytes", 0) or 0
    return Cost(
        networks, float(each * sum(flops)), networks * size, memory + first.tile_bytes,
        compile_seconds * len(programs), per_network * each * work,
    )  # fmt: skip


def flops_of(jaxpr: Any) -> float:
    """Operations in the text of a program: two for each product in a matrix multiplication, one for each other result.

    >>> square = jax.make_jaxpr(lambda a: a @ a)(jax.numpy.ones((4, 4)))
    >>> flops_of(square.jaxpr)
    128.0
    """
    total = 0.0
    for equation in jaxpr.eqns:
        inner = [p for value in equation.params.values() for p in _programs(value)]
        if inner:
            times = equation.params.get("length", 1) if equation.primitive.name == "scan" else 1
            total += times * sum(map(flops_of, inner))
        elif equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            depth = math.prod(equation.invars[0].aval.shape[i] for i in contracted)
            total += 2.0 * depth * equation.outvars[0].aval.size
        else:
            total += float(sum(getattr(v.aval, "size", 0) for v in equation.outvars))
    return total


def _programs(value: Any) -> list[Any]:
    """Programs among an equation's parameters."""
    if isinstance(value, core.ClosedJaxpr):
        return [value.jaxpr]
    if isinstance(value, core.Jaxpr):
        return [value]
    return [p for v in value for p in _programs(v)] if isinstance(value, (tuple, list)) else []
