"""A training loop that sends its health to TensorBoard: `python -m examples.training_log runs/first`, then `tensorboard --logdir runs`.

It needs a writer: `pip install tensorboardX`. Any object with `add_scalar(tag, value, step)` will do, such as that of
`torch.utils.tensorboard`. For Weights & Biases, replace the two loops over `add_scalar` by

    wandb.log(numbers, step=step)
"""

from __future__ import annotations

import sys
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxsat
from jaxsat.probing.monitoring import scalars

STEPS, EVERY = 60, 20


class Writer(Protocol):
    """What TensorBoard's writers have."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int, /) -> object: ...


def loss(params, x, y):
    for layer in params["layers"]:
        x = jnp.tanh(x @ layer["w"] + layer["b"])
    return jnp.mean(jnp.square(x @ params["out"] - y))


def data():
    """Return parameters of two tanh layers, inputs and targets."""
    draws = np.random.default_rng(0)
    layers = [{"w": draws.normal(size=(16, 16)) / 4, "b": np.zeros(16)} for _ in range(2)]
    x = draws.normal(size=(64, 16))
    params = {"layers": layers, "out": draws.normal(size=(16, 1)) / 4}
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), (params, x, np.sin(x[:, :1])))


def train(writer: Writer) -> jaxsat.PeriodicProbe:
    """Train, and write to `writer`; return the reports that were taken on the way."""
    params, x, y = data()
    optimizer = jaxsat.monitor(optax.adam(1e-2), every=EVERY)
    watch = jaxsat.PeriodicProbe(loss, every=EVERY, examples=(1, 2))

    @jax.jit
    def step(params, state):
        updates, state = optimizer.update(jax.grad(loss)(params, x, y), state, params)
        return optax.apply_updates(params, updates), state

    state = optimizer.init(params)
    for i in range(STEPS):
        report = watch(i, params, x, y)  # None, but for every EVERYth step
        params, state = step(params, state)
        if report is None or watch.noise is None:
            continue
        numbers = report.scalars() | {"loss": report.loss, "noise_scale": float(watch.noise.noise_scale)}
        for name, value in numbers.items():
            writer.add_scalar(f"report/{name}", value, i)
        for name, value in scalars(state).items():
            writer.add_scalar(f"optimizer/{name}", value, i)
    return watch


if __name__ == "__main__":
    try:
        from tensorboardX import SummaryWriter  # pyright: ignore[reportMissingImports]
    except ImportError:
        sys.exit("training_log: it needs a writer. Install it: pip install tensorboardX")

    with SummaryWriter(sys.argv[1] if len(sys.argv) > 1 else "runs/first") as events:
        train(events)
