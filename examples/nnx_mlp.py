"""Flax nnx: a tanh network of six layers, classifying."""

from __future__ import annotations

import sys

import jax
import jax.numpy as jnp
import optax
from flax import nnx

import jaxsat
from examples.show import show

DEPTH, WIDTH, CLASSES, BATCH = 6, 64, 10, 64
FAULTS = {"large weights": "saturated", "wrong initialiser": "vanishing", "bfloat16": "underflow"}
SITES = DEPTH + 1  # and the softmax of the loss


class Network(nnx.Module):
    def __init__(self, kernel_init, dtype, rngs: nnx.Rngs) -> None:
        options = {"kernel_init": kernel_init, "dtype": dtype, "rngs": rngs}
        self.hidden = nnx.List([nnx.Linear(WIDTH, WIDTH, **options) for _ in range(DEPTH)])
        self.readout = nnx.Linear(WIDTH, CLASSES, **options)

    def __call__(self, x):
        for layer in self.hidden:
            x = jnp.tanh(layer(x))
        return self.readout(x)


def loss(network: Network, x, labels):
    logits = network(x).astype(jnp.float32)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def build(fault: str | None = None):
    initializers = {
        "large weights": jax.nn.initializers.variance_scaling(25.0, "fan_in", "normal"),
        "wrong initialiser": jax.nn.initializers.normal(0.02),
    }
    kernel_init = initializers.get(fault or "", jaxsat.critical_initializer("tanh"))
    dtype = jnp.bfloat16 if fault == "bfloat16" else jnp.float32
    network = Network(kernel_init, dtype, nnx.Rngs(0))
    key = jax.random.key(1)
    x = 1.8 * jax.random.normal(key, (BATCH, WIDTH), jnp.float32)
    return loss, (network, x, jax.random.randint(key, (BATCH,), 0, CLASSES))


if __name__ == "__main__":
    show(sys.modules[__name__])
