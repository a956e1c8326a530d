"""Cost of a probe beside a forward-and-backward pass of the same model, and of a monitor beside a training step.

The named alternative is ``jax.jit(jax.value_and_grad(loss))`` with respect to all parameters, on the models of examples/
at sizes where arithmetic outweighs dispatch. Both are compiled, compilation left out; a probe's time includes bringing
its numbers to the host and making the report. Memory is XLA's own account of the compiled programs: temporary buffers and
outputs.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

import jaxsat
from examples import equinox_transformer, linen_cnn
from jaxsat.probing import prepare

SIZES: dict[str, tuple[Callable[..., Any], dict[str, int]]] = {
    "CNN": (linen_cnn.build, {"channels": 64, "size": 28, "batch": 64}),
    "transformer": (equinox_transformer.build, {"width": 256, "heads": 8, "length": 129, "batch": 16}),
}
REPEATS = 9


def of_parameters(fn: Callable[..., Any], model: Any, data: tuple[Any, ...]):
    """The loss as a function of the model's floating arrays, and those arrays."""
    leaves, structure = jax.tree.flatten(model)
    floating = [isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves]

    def loss(arrays):
        rest = iter(arrays)
        merged = [next(rest) if yes else leaf for yes, leaf in zip(floating, leaves, strict=True)]
        return fn(jax.tree.unflatten(structure, merged), *data)

    return loss, [leaf for yes, leaf in zip(floating, leaves, strict=True) if yes]


def side_by_side(*calls: Callable[[], object]) -> list[float]:
    """Median seconds of each, taken in turn, so that a change of the machine's speed meets all of them."""
    times: list[list[float]] = [[] for _ in calls]
    for repeat in range(REPEATS + 1):
        for call, kept in zip(calls, times, strict=True):
            start = time.perf_counter()
            jax.block_until_ready(call())
            if repeat:
                kept.append(time.perf_counter() - start)
    return [statistics.median(kept) for kept in times]


def megabytes(compiled: Any) -> float:
    used = compiled.memory_analysis()
    return (used.temp_size_in_bytes + used.output_size_in_bytes) / 2**20


def main() -> None:
    print(f"{jax.devices()[0].device_kind}, medians of {REPEATS}")
    for name, (build, sizes) in SIZES.items():
        fn, (model, *data) = build(**sizes)
        loss, arrays = of_parameters(fn, model, tuple(data))
        plain = jax.jit(jax.value_and_grad(loss)).lower(arrays).compile()
        ready = prepare(fn, model, *data)
        # What a monitor adds is small beside a step's own scatter: it is timed on the updates alone.
        optimizers = [optax.adam(1e-3), jaxsat.monitor(optax.adam(1e-3))]
        updates = [jax.jit(tx.update) for tx in optimizers]
        states = [tx.init(arrays) for tx in optimizers]
        by_plain, by_probe, update, watched = side_by_side(
            lambda: plain(arrays), lambda: ready(model, *data).loss,
            *(lambda f=f, s=s: f(arrays, s, arrays) for f, s in zip(updates, states, strict=True)),
        )  # fmt: skip
        memory, own = megabytes(plain), megabytes(ready.compile())
        print(f"{name} {sizes}")
        print(f"  forward and backward  {by_plain * 1e3:8.1f} ms  {memory:8.1f} MiB")
        print(
            f"  probe                 {by_probe * 1e3:8.1f} ms  {own:8.1f} MiB   {by_probe / by_plain:.2f} x time, {own / memory:.2f} x memory"
        )
        share = (watched - update) / (by_plain + update)
        print(
            f"  monitor adds          {(watched - update) * 1e3:8.1f} ms to an Adam step of {(by_plain + update) * 1e3:.1f} ms: {share:.1%}"
        )


if __name__ == "__main__":
    main()
