"""``jaxsat.train`` beside the plainest training loop there is: a jitted ``lax.scan`` over steps, one network at a time.

64-width-width-width-width-10 on digits, tanh, batches of 64, plain gradient descent. The plain loop gets its minibatches
shuffled, watches nothing and records nothing. jaxsat's tanh has a slope that does not cancel, which costs an exponential
for each unit: the plain loop is timed with it, too. Records are made every 100 steps. ``train`` advances a tile of networks
on each core at the same time; *one tile* is what it takes where there is no second one. Times are microseconds a step and
network: the least of several short runs, those of all programs by turns, of long runs less short ones, so that neither
compilation nor the call itself counts.

First, second and third call of ``train`` are named apart: the second has another root seed, other scales and another
optimiser of the same kind, and compiles nothing.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxsat
from benchmarks.clock import least_seconds
from jaxsat.training import datasets
from jaxsat.training.steps import tile_size

BATCH, RATE, SHORT, LONG, ROUNDS = 64, 0.1, 2, 14, 5  # SHORT, LONG: epochs
WIDTHS = (16, 32, 64, 128)
SEEDS = 16  # two tiles of the smallest width, sixteen of the largest


def network(width: int, scale: float = 1.0) -> jaxsat.MLP:
    return jaxsat.MLP(4, width, "tanh", weight_scale=scale, inputs=64, outputs=10)


def together(
    data, net: jaxsat.MLP, every: int, epochs: int, root_seed: int = 0, seeds: int = SEEDS, **options: Any
) -> None:
    """Train networks and record what ``train`` records by default, or `record`."""
    jaxsat.train(net, data, optimizer=optax.sgd(RATE), epochs=epochs, batch_size=BATCH, seeds=seeds, root_seed=root_seed,
                 record_every=every, progress=False, **options)  # fmt: skip


def plain(data, width: int, phi: Callable = jnp.tanh) -> Callable[[int], object]:
    """Return a function that trains one network for a number of epochs."""
    x, y = jnp.asarray(data[0], jnp.float32), jnp.asarray(data[1], jnp.int32)
    rng, steps = np.random.default_rng(0), len(x) // BATCH
    sizes = [64, *[width] * 4, 10]
    weights = [
        (jnp.asarray(rng.normal(size=(b, a)) / np.sqrt(a), jnp.float32), jnp.zeros(b))
        for a, b in itertools.pairwise(sizes)
    ]

    def loss(weights, x, y):
        for weight, bias in weights[:-1]:
            x = phi(x @ weight.T + bias)
        outputs = x @ weights[-1][0].T + weights[-1][1]
        return jnp.mean(jax.nn.logsumexp(outputs, axis=1) - jnp.take_along_axis(outputs, y[:, None], axis=1)[:, 0])

    @jax.jit
    def run(weights, batches):
        def step(weights, batch):
            slope = jax.grad(loss)(weights, x[batch], y[batch])
            return jax.tree.map(lambda w, g: w - RATE * g, weights, slope), None

        return jax.lax.scan(step, weights, batches)[0]

    def epochs(count: int) -> object:
        orders = [rng.permutation(len(x))[: steps * BATCH].reshape(steps, BATCH) for _ in range(count)]
        return jax.block_until_ready(run(weights, np.concatenate(orders).astype(np.int32)))

    return epochs


def steady(data, width: int) -> Mapping[str, float]:
    """Return microseconds a step and network: of the plain loop, of train without records, and with those by default."""
    loop, steps, net = plain(data, width), len(data[0]) // BATCH, network(width)
    alone = tile_size(net)
    runs = {
        "plain": (1, loop),
        "exact slope": (1, plain(data, width, jaxsat.activations.get("tanh"))),
        "steps": (SEEDS, lambda epochs: together(data, net, 10**6, epochs, record="loss")),
        "loss": (SEEDS, lambda epochs: together(data, net, 100, epochs, record="loss")),
        "default": (SEEDS, lambda epochs: together(data, net, 100, epochs)),
        "one tile": (alone, lambda epochs: together(data, net, 100, epochs, seeds=alone)),
    }
    calls = {
        (name, epochs): (lambda run=run, n=epochs: run(n))
        for name, (_, run) in runs.items()
        for epochs in (SHORT, LONG)
    }
    seconds = least_seconds(calls, ROUNDS)
    scale = 1e6 / (steps * (LONG - SHORT))
    return {name: (seconds[name, LONG] - seconds[name, SHORT]) * scale / count for name, (count, _) in runs.items()}


def main() -> None:
    data = datasets.digits().train
    print(f"64-n-n-n-n-10, batches of {BATCH}, {SEEDS} networks, {jax.devices()[0].device_kind}")
    print("                                                                                     one tile,")
    print(
        "n    plain scan   exact slope      steps alone      loss recorded    all by default  all by default  [us (ratio)]"
    )
    for width in WIDTHS:
        seen = steady(data, width)
        ratios = "   ".join(f"{us:8.1f} ({us / seen['plain']:.2f})" for name, us in seen.items() if name != "plain")
        print(f"{width:<4d} {seen['plain']:8.1f}     {ratios}", flush=True)
    jax.clear_caches()
    for name, root_seed, scale in (("first", 0, 1.1), ("second", 1, 0.9), ("third", 2, 1.3)):
        started = time.perf_counter()
        together(data, network(48, scale), 100, SHORT, root_seed)
        print(f"{name} call of train, {SHORT} epochs, width 48: {time.perf_counter() - started:.2f} s")


if __name__ == "__main__":
    main()
