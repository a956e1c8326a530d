"""Equinox: two transformer blocks (layer norm, attention, gelu), predicting the next of a sequence of vectors."""

from __future__ import annotations

import sys

import equinox as eqx
import jax
import jax.numpy as jnp

from examples.show import show

FAULTS = {"dead bias": "saturated", "float16": "underflow"}
BLOCKS = 2
SITES = BLOCKS * 4  # two layer norms, a softmax and a gelu each


class Block(eqx.Module):
    norms: list[eqx.nn.LayerNorm]
    attention: eqx.nn.MultiheadAttention
    up: eqx.nn.Linear
    down: eqx.nn.Linear

    def __init__(self, width: int, heads: int, key):
        a, b, c = jax.random.split(key, 3)
        self.norms = [eqx.nn.LayerNorm(width), eqx.nn.LayerNorm(width)]
        self.attention = eqx.nn.MultiheadAttention(heads, width, key=a)
        self.up, self.down = eqx.nn.Linear(width, 4 * width, key=b), eqx.nn.Linear(4 * width, width, key=c)

    def __call__(self, x):
        h = jax.vmap(self.norms[0])(x)
        x = x + self.attention(h, h, h)
        return x + jax.vmap(lambda one: self.down(jax.nn.gelu(self.up(self.norms[1](one)))))(x)


class Network(eqx.Module):
    blocks: list[Block]

    def __init__(self, width: int, heads: int, key):
        self.blocks = [Block(width, heads, k) for k in jax.random.split(key, BLOCKS)]

    def __call__(self, x):
        for block in self.blocks:
            x = block(x)
        return x


def loss(network: Network, x):
    after = jax.vmap(network)(x[:, :-1])
    return jnp.mean((after - x[:, 1:]).astype(jnp.float32) ** 2)


def build(fault: str | None = None, width: int = 32, heads: int = 4, length: int = 17, batch: int = 8):
    network = Network(width, heads, jax.random.key(0))
    if fault == "dead bias":
        bias = network.blocks[0].up.bias
        assert bias is not None
        low = jnp.full_like(bias, -8.0)
        network = eqx.tree_at(lambda one: one.blocks[0].up.bias, network, low)
    x = jax.random.normal(jax.random.key(1), (batch, length, width), jnp.float32)
    if fault == "float16":
        network, x = jax.tree.map(lambda a: a.astype(jnp.float16) if eqx.is_inexact_array(a) else a, (network, x))
    return loss, (network, x)


if __name__ == "__main__":
    show(sys.modules[__name__])
