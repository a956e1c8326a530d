"""Gradient norms of tanh networks over scales and seeds: jaxsat.sweep's tile, the straightforward JAX program, PyTorch.

The straightforward program is what people write: ``jit(vmap(vmap(grad)))`` over scales and seeds, a Python loop over
layers, weights drawn and scaled inside. PyTorch loops over networks. All return the norm of dE/dh at every layer. Times
are per network, compilation left out (it is shown apart).
"""

from __future__ import annotations

import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

import jaxsat
from benchmarks.clock import median_seconds

DEPTH, WIDTH, SCALES, SEEDS = 50, 128, 12, 8


def straightforward():
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


def torch_loop(scales, seeds):
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


def main() -> None:
    scales = np.geomspace(0.5, 3, SCALES)
    net = jaxsat.MLP(depth=DEPTH, width=WIDTH, activation="tanh")
    count = SCALES * SEEDS

    def ours(seeds):
        return jaxsat.sweep(net, "log_gradient_norms", {"weight_scale": scales}, seeds=seeds, progress=False)

    # A sweep compiles anew at each call: the difference of a long and a short one is the time of its networks alone.
    few, many = SEEDS, 126 * SEEDS
    short, long = (median_seconds(lambda n=n: ours(n), repeats=2) for n in (few, many))
    own = (long - short) / ((many - few) * SCALES)
    program = straightforward()
    start = time.perf_counter()
    jax.block_until_ready(program(scales, jnp.arange(SEEDS)))
    compiling = time.perf_counter() - start
    plain = median_seconds(lambda: jax.block_until_ready(program(scales, jnp.arange(SEEDS)))) / count
    print(f"depth {DEPTH}, width {WIDTH}, {SCALES} scales x {SEEDS} seeds, {jax.devices()[0].device_kind}")
    print(f"jaxsat.sweep             {own * 1e3:8.3f} ms a network   (call with compilation: {short:.2f} s)")
    print(
        f"jit(vmap(vmap(grad)))    {plain * 1e3:8.3f} ms a network   (first call: {compiling:.2f} s)  {plain / own:6.1f} x"
    )
    try:
        import torch  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError:
        print("PyTorch loop: skipped, PyTorch is not installed", file=sys.stderr)
        return
    loop = median_seconds(lambda: torch_loop(scales, 1), repeats=3) / SCALES
    print(f"PyTorch, network by network {loop * 1e3:5.1f} ms a network {'':32} {loop / own:6.1f} x")


if __name__ == "__main__":
    main()
