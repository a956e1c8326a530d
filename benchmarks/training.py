"""256 networks trained together, beside a Python loop that trains them one by one in jitted JAX and optax.

64-128-128-128-128-10 on digits, 20 epochs of batches of 64, plain gradient descent. The loop calls one compiled step per
minibatch, shuffles in NumPy, and compiles once for all networks; a sample of its networks is timed and extrapolated.
Compilation is in neither time.
"""

from __future__ import annotations

import itertools
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxsat
from jaxsat.training import datasets

NETWORKS, SAMPLE, EPOCHS, BATCH = 256, 8, 20, 64
NET = jaxsat.MLP(depth=4, width=128, activation="tanh", inputs=64, outputs=10)


def together(data, networks: int) -> float:
    started = time.perf_counter()
    jaxsat.train(NET, data, optimizer=optax.sgd(0.1), epochs=EPOCHS, batch_size=BATCH, seeds=networks, record="loss",
                 record_every=10**6, progress=False)  # fmt: skip
    return time.perf_counter() - started


def one_by_one(data, networks: int) -> float:
    x, y = (np.asarray(part) for part in data)
    x = x.astype(np.float32)
    optimizer = optax.sgd(0.1)

    def loss(weights, x, y):
        for weight, bias in weights[:-1]:
            x = jnp.tanh(x @ weight + bias)
        outputs = x @ weights[-1][0] + weights[-1][1]
        return optax.softmax_cross_entropy_with_integer_labels(outputs, y).mean()

    @jax.jit
    def step(weights, state, x, y):
        update, state = optimizer.update(jax.grad(loss)(weights, x, y), state)
        return optax.apply_updates(weights, update), state

    def network(seed):
        rng = np.random.default_rng(seed)
        sizes = (64, 128, 128, 128, 128, 10)
        weights = [
            (jnp.asarray(rng.normal(size=(a, b)) / np.sqrt(a), jnp.float32), jnp.zeros(b))
            for a, b in itertools.pairwise(sizes)
        ]
        state = optimizer.init(weights)
        for _ in range(EPOCHS):
            order = rng.permutation(len(x))
            for start in range(0, len(x) - BATCH + 1, BATCH):
                batch = order[start : start + BATCH]
                weights, state = step(weights, state, x[batch], y[batch])
        return jax.block_until_ready(weights)

    network(0)
    started = time.perf_counter()
    for seed in range(networks):
        network(seed)
    return time.perf_counter() - started


def main() -> None:
    data = datasets.digits().train
    loop = one_by_one(data, SAMPLE) / SAMPLE
    short = together(data, 1)  # with compilation: the difference of both runs is without it
    own = (together(data, NETWORKS) - short) / (NETWORKS - 1)
    print(
        f"{NETWORKS} networks 64-128-128-128-128-10, {EPOCHS} epochs of batches of {BATCH}, {jax.devices()[0].device_kind}"
    )
    print(f"jaxsat.train      {own * NETWORKS:7.1f} s, {own * 1e3:6.1f} ms a network")
    print(f"one by one        {loop * NETWORKS:7.1f} s, {loop * 1e3:6.1f} ms a network, extrapolated from {SAMPLE}")
    print(f"ratio             {loop / own:7.1f} x")


if __name__ == "__main__":
    main()
