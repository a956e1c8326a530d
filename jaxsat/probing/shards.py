"""Rules for programs that run on many devices: what is inside shard_map (and pmap), and sums over devices."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
from jax.sharding import PartitionSpec

from jaxsat.jax_compat import evaluate_equation, shards_of
from jaxsat.probing.reader import Reader, Step
from jaxsat.probing.values import Loop, Value

# Of one shard with those of the others. What was a mean, or a gradient, on each device is one of all of them after it.
COLLECTIVES = frozenset(
    {"psum", "psum2", "psum_invariant", "pmax", "pmin", "ppermute", "all_gather", "all_gather_invariant", "all_to_all", "reduce_scatter"}
)  # fmt: skip


def shard_map(reader: Reader, step: Step) -> list[Value]:
    """Read a function that runs on shards of its arguments: each shard counts as an iteration, in the mesh's order."""
    reader.use_all(step)
    params = step.equation.params
    mesh, manual = params["mesh"], params["newly_manual_axes"]
    axes = tuple(name for name in mesh.axis_names if name in manual)
    over_all = PartitionSpec(axes)
    loop = Loop(len(step.address), shards_of(step.equation), False)

    def body(arrays: list[Any], sinks: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        inner = reader.body(step, "shard_map", {key: sink[0] for key, sink in sinks.items()}, loop=loop)
        values = inner.entering(step.inputs, arrays)
        outputs = inner.finish(inner.run(params["jaxpr"], values, step.address))
        return outputs, {key: result[None] for key, result in inner.measured().items()}

    run = jax.shard_map(
        body, mesh=mesh, in_specs=(list(params["in_specs"]), over_all), out_specs=(list(params["out_specs"]), over_all),
        axis_names=set(axes), check_vma=params["check_vma"],
    )  # fmt: skip
    outputs, results = run([value.array for value in step.inputs], reader.within(step.address))
    reader.results |= results
    return reader.leaving(outputs, step)


def collective(reader: Reader, step: Step) -> list[Value]:
    """Read a sum over devices and the like: what is known of an operand stays so, but for the weights it was made with."""
    arrays = evaluate_equation(step.equation, [operand.array for operand in step.inputs])
    reader.use_all(step)
    made = []
    for k, (operand, array) in enumerate(zip(step.inputs, arrays, strict=True)):
        facts = dataclasses.replace(operand.facts, maps=(), bias=None)
        made.append(reader.lift(array, (*step.address, k), facts, step.position))
    return made
