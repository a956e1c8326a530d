"""Flax linen: four convolutions with relu, a mean over the image, a read-out."""

from __future__ import annotations

import sys
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

import jaxsat
from examples.show import show

DEPTH, CHANNELS, CLASSES = 4, 32, 10
FAULTS = {"dead bias": "dead", "wrong initialiser": "vanishing", "float16": "underflow"}
SITES = DEPTH + 1


class Network(nn.Module):
    channels: int
    kernel_init: Any
    biases: tuple[float, ...]
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x):
        for bias in self.biases:
            options = {
                "kernel_init": self.kernel_init,
                "bias_init": nn.initializers.constant(bias),
                "dtype": self.dtype,
            }
            x = nn.relu(nn.Conv(self.channels, (3, 3), **options)(x))
        return nn.Dense(CLASSES, dtype=self.dtype)(x.mean(axis=(1, 2)))


def build(fault: str | None = None, channels: int = CHANNELS, size: int = 8, batch: int = 32):
    network = Network(
        channels,
        nn.initializers.normal(0.005) if fault == "wrong initialiser" else jaxsat.critical_initializer("relu"),
        (0.0, -8.0 if fault == "dead bias" else 0.0, 0.0, 0.0),
        jnp.float16 if fault == "float16" else jnp.float32,
    )
    key = jax.random.key(1)
    x = jax.random.normal(key, (batch, size, size, 3), jnp.float32)
    labels = jax.random.randint(key, (batch,), 0, CLASSES)

    def loss(params, x, labels):
        logits = jnp.asarray(network.apply(params, x), jnp.float32)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    return loss, (network.init(jax.random.key(0), x), x, labels)


if __name__ == "__main__":
    show(sys.modules[__name__])
