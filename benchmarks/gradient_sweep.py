"""Gradient norms of tanh networks over scales and seeds: jaxsat.sweep, the straightforward JAX program, PyTorch.

The straightforward program is what people write: ``jit(vmap(vmap(grad)))`` over scales and seeds, a Python loop over
layers, weights drawn and scaled inside. PyTorch loops over networks. All return the norm of dE/dh at every layer. The first
call of a program compiles it; the second has another root seed and other scales; *steady* is the time of a further network,
from a long call less a short one. The floors are parts of the same work alone: to draw the weights (each serves all scales),
and the products of the forward and the backward pass.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

import jaxsat
from benchmarks.clock import median_seconds
from jaxsat import addresses

DEPTH, WIDTH, SCALES, SEEDS = 50, 128, 12, 8
NET = jaxsat.MLP(depth=DEPTH, width=WIDTH, activation="tanh")


def straightforward() -> Callable[..., jax.Array]:
    def norms(scale, seed):
        key = jax.random.fold_in(jax.random.key(0), seed)
        keys = jax.random.split(key, DEPTH + 2)
        weights = [scale * jax.random.normal(k, (WIDTH, WIDTH)) / np.sqrt(WIDTH) for k in keys[:DEPTH]]
        x, u = jax.random.normal(keys[-2], (WIDTH,)), jax.random.normal(keys[-1], (WIDTH,))

        def loss(shifts):
            h = x
            for weight, shift in zip(weights, shifts, strict=True):
                h = jnp.tanh(weight @ h + shift)
            return h @ u / jnp.linalg.norm(u)

        return jnp.linalg.norm(jnp.stack(jax.grad(loss)([jnp.zeros(WIDTH)] * DEPTH)), axis=1)

    return jax.jit(jax.vmap(jax.vmap(norms, (0, None)), (None, 0)))


def torch_loop(scales: np.ndarray, seeds: int) -> None:
    import torch  # pyright: ignore[reportMissingImports]

    for seed in range(seeds):
        for scale in scales:
            torch.manual_seed(seed)
            layers = [torch.nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(DEPTH)]
            for layer in layers:
                torch.nn.init.normal_(layer.weight, std=scale / WIDTH**0.5)
            h, u, pre = torch.randn(WIDTH), torch.randn(WIDTH), []
            for layer in layers:
                h = layer(h)
                h.retain_grad()
                pre.append(h)
                h = torch.tanh(h)
            (h @ u / u.norm()).backward()
            [p.grad.norm() for p in pre]


def draws() -> float:
    """Return milliseconds a network to draw its weights, one draw for all scales."""
    program = jax.jit(jax.vmap(lambda seed: NET.init(addresses.network(addresses.root(0), seed)).hidden))
    return median_seconds(lambda: jax.block_until_ready(program(jnp.arange(SEEDS)))) / (SEEDS * SCALES) * 1e3


def products() -> float:
    """Return milliseconds a network for its products: two a layer, all scales of a seed as one wide product."""

    @jax.jit
    def program(weights, signal):
        def layer(signal, weight):
            signal = jnp.einsum("sgi,soi->sgo", signal, weight)
            return jnp.einsum("sgo,soi->sgi", signal, weight), None

        return jax.lax.scan(layer, signal, weights)[0]

    weights = jnp.full((DEPTH, SEEDS, WIDTH, WIDTH), 1 / WIDTH)
    signal = jnp.ones((SEEDS, SCALES, WIDTH))
    return median_seconds(lambda: jax.block_until_ready(program(weights, signal))) / (SEEDS * SCALES) * 1e3


def main() -> None:
    scales = np.geomspace(0.5, 3, SCALES)
    few, many = SEEDS, 126 * SEEDS

    def sweep(seeds: int, root_seed: int = 0, factor: float = 1.0) -> float:
        started = time.perf_counter()
        over = {"weight_scale": factor * scales}
        jaxsat.sweep(NET, "log_gradient_norms", over, seeds=seeds, root_seed=root_seed, progress=False)
        return time.perf_counter() - started

    first, second = sweep(few), sweep(few, root_seed=1, factor=1.1)
    short, long = (min(sweep(n) for _ in range(3)) for n in (few, many))
    own = (long - short) / ((many - few) * SCALES) * 1e3
    program = straightforward()
    started = time.perf_counter()
    jax.block_until_ready(program(scales, jnp.arange(SEEDS)))
    compiling = time.perf_counter() - started
    count = SEEDS * SCALES
    plain = median_seconds(lambda: jax.block_until_ready(program(scales, jnp.arange(SEEDS)))) / count * 1e3
    drawing, multiplying = draws(), products()
    print(f"depth {DEPTH}, width {WIDTH}, {SCALES} scales x {SEEDS} seeds, {jax.devices()[0].device_kind}")
    print(f"jaxsat.sweep             steady {own:7.3f} ms a network; first call {first:.2f} s, second {second:.2f} s")
    print(
        f"jit(vmap(vmap(grad)))    steady {plain:7.3f} ms a network, {plain / own:.1f} x; first call {compiling:.2f} s"
    )
    print(f"floor: draws alone              {drawing:7.3f} ms a network")
    print(f"floor: products alone           {multiplying:7.3f} ms a network; the sweep takes "
          f"{own / (drawing + multiplying):.1f} x both floors")  # fmt: skip
    try:
        import torch  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError:
        print("PyTorch loop: skipped, PyTorch is not installed", file=sys.stderr)
        return
    loop = median_seconds(lambda: torch_loop(scales, 1), repeats=3) / SCALES * 1e3
    print(f"PyTorch, one network after the other {loop:5.1f} ms a network, {loop / own:.1f} x")


if __name__ == "__main__":
    main()
