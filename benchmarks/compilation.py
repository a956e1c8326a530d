"""Compile time of gradient norms against depth: it should not grow."""

from __future__ import annotations

import statistics
import time

import jax
import jax.numpy as jnp

import jaxsat
from jaxsat import addresses


def compile_seconds(depth: int) -> float:
    net = jaxsat.MLP(depth=depth, width=64, activation="sigmoid")

    def norms(key):
        return jaxsat.log_gradient_norms(net, net.init(key), jnp.ones(64), key=key)

    start = time.perf_counter()
    jax.jit(norms).lower(addresses.root(0)).compile()
    return time.perf_counter() - start


def main() -> None:
    compile_seconds(3)
    times = {depth: statistics.median(compile_seconds(depth) for _ in range(5)) for depth in (10, 100, 1000)}
    for depth, seconds in times.items():
        print(f"depth {depth:5d}: {seconds:.2f} s to trace and compile, {seconds / times[10]:.2f} x depth 10")


if __name__ == "__main__":
    main()
