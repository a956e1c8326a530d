"""Jacobian spectra of tanh networks over scales and seeds: dense and in the log domain, beside what people write.

The straightforward program is ``jit(vmap(vmap(svd(jacfwd))))`` over seeds and scales, a Python loop over layers, weights
drawn and scaled inside; PyTorch's is ``vmap(jacrev)`` over networks and ``svdvals``, weights drawn beforehand. All in
float32, singular values only. jaxsat's are the tiles of ``jaxsat.sweep``: eight seeds times all scales. The floors are
parts of the same work, alone.
"""

from __future__ import annotations

import dataclasses
import sys

import jax
import jax.numpy as jnp
import numpy as np

import jaxsat
from benchmarks.clock import median_seconds
from jaxsat import addresses

DEPTH, WIDTH, SCALES, SEEDS, TILE = 32, 64, 16, 128, 8
NET = jaxsat.MLP(depth=DEPTH, width=WIDTH, activation="tanh")


def straightforward(scale, seed):
    keys = jax.random.split(jax.random.fold_in(addresses.root(0), seed), DEPTH + 1)
    weights = [scale * jax.random.normal(k, (WIDTH, WIDTH)) / np.sqrt(WIDTH) for k in keys[:DEPTH]]

    def network(x):
        for weight in weights:
            x = jnp.tanh(weight @ x)
        return x

    return jnp.linalg.svd(jax.jacfwd(network)(jax.random.normal(keys[-1], (WIDTH,))), compute_uv=False)


def of_network(function, net=NET):
    def run(scale, seed):
        key = jax.random.fold_in(addresses.root(0), seed)
        own = dataclasses.replace(net, weight_scale=scale)
        return function(own, own.init(key), jaxsat.networks.gaussian_input(own, key))

    return run


def only_products(scale, seed):
    weights = jax.random.normal(addresses.root(0), (DEPTH, WIDTH, WIDTH)) * 0.1 + seed
    step = lambda j, w: (jnp.einsum("in,mn->im", j, w), None)  # noqa: E731
    return jax.lax.scan(step, jnp.eye(WIDTH) * scale, weights)[0]


def only_decompositions(scale, seed):
    return jnp.linalg.svd(jnp.sin(jnp.arange(WIDTH**2.0).reshape(WIDTH, WIDTH) * (scale + seed)), compute_uv=False)


def milliseconds(function, scales, seeds=SEEDS, tile=None) -> float:
    """Per network, over all seeds and scales; in tiles of so many seeds, or all at once."""
    over_scales = jax.vmap(function, (0, None))
    program = jax.jit(jax.vmap(over_scales, (None, 0)))
    tile = tile or seeds
    pieces = [jnp.arange(start, start + tile) for start in range(0, seeds, tile)]
    seconds = median_seconds(lambda: [jax.block_until_ready(program(scales, piece)) for piece in pieces], repeats=3)
    return seconds / (seeds * len(scales)) * 1e3


def torch_milliseconds(scales) -> float:
    import torch  # pyright: ignore[reportMissingImports]

    draws = torch.randn(SEEDS, DEPTH, WIDTH, WIDTH) / WIDTH**0.5
    x = torch.randn(WIDTH)

    def jacobian(draw, scale):
        def network(x):
            for layer in range(DEPTH):
                x = torch.tanh(scale * (draw[layer] @ x))
            return x

        return torch.func.jacrev(network)(x)

    both = torch.vmap(torch.vmap(jacobian, (None, 0)), (0, None))
    factors = torch.tensor(np.array(scales))
    pieces = draws.split(TILE)  # all at once is slower
    seconds = median_seconds(lambda: [torch.linalg.svdvals(both(piece, factors)) for piece in pieces], repeats=3)
    return seconds / (SEEDS * SCALES) * 1e3


def main() -> None:
    scales = jnp.geomspace(0.5, 2.5, SCALES)
    few = SEEDS // 16  # for what takes long
    first = milliseconds(straightforward, scales)
    dense = milliseconds(of_network(jaxsat.singular_values), scales, tile=TILE)
    logs = milliseconds(of_network(jaxsat.log_singular_values), scales, tile=TILE)

    def every_depth(net, params, x):
        return jaxsat.log_singular_values(net, params, x, every_depth=True)

    every = milliseconds(of_network(every_depth), scales, seeds=few, tile=TILE)
    shallow = [dataclasses.replace(NET, depth=depth) for depth in range(1, DEPTH + 1)]
    each = sum(milliseconds(of_network(jaxsat.log_singular_values, net), scales, few, TILE) for net in shallow)
    rows = [
        ("jit(vmap(vmap(svd(jacfwd))))", first, 1.0),
        ("jaxsat.singular_values", dense, first / dense),
        ("jaxsat.log_singular_values", logs, first / logs),
    ]
    try:
        torch_time = torch_milliseconds(scales)
        rows.insert(1, ("PyTorch vmap(jacrev) + svdvals", torch_time, first / torch_time))
    except ImportError:
        print("PyTorch: skipped, it is not installed", file=sys.stderr)
    print(f"depth {DEPTH}, width {WIDTH}, {SCALES} scales x {SEEDS} seeds, float32, {jax.devices()[0].device_kind}")
    for name, time, ratio in rows:
        print(f"{name:34} {time:8.3f} ms a network   {ratio:5.2f} x the first's speed")
    print(f"log domain costs {logs / first:.2f} times the first")
    print(f"every depth in one pass {every:.2f} ms, asking for each depth {each:.2f} ms: {each / every:.2f} x")
    draws = milliseconds(of_network(lambda net, params, x: params.hidden.sum()), scales, tile=TILE)
    floors = {
        "draws alone": draws,
        "products alone, float32": milliseconds(only_products, scales, tile=TILE),
        "decompositions alone, float32": milliseconds(only_decompositions, scales, tile=TILE),
    }
    with jax.enable_x64(True):
        floors["decompositions alone, float64"] = milliseconds(
            only_decompositions, jnp.asarray(scales, jnp.float64), tile=TILE
        )
    for name, time in floors.items():
        print(f"{name:34} {time:8.3f} ms a network")


if __name__ == "__main__":
    main()
