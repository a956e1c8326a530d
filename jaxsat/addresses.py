"""Addresses of randomness: which key every random number of jaxsat comes from.

A draw belongs to an address, not to a moment: layer l of the network with key k draws from ``fold_in(k, l)``, whatever
was drawn before. Networks that differ in scale or activation only therefore share their draws, the first l layers of
a deep network are the network of depth l, and a result does not depend on how the work was cut into pieces.

    root(root_seed)                            a sweep, or a run of trainings
    └─ network(root, seed)                     one network
       ├─ layer(network, l), l = 1 .. depth    its weights and biases; ROWS of a recurrent cell in place of layers
       ├─ READOUT, INPUT, COTANGENT            its read-out, the input and the cotangent where none is given
       └─ epoch(network, e)                    the order of the training examples in epoch e

Keys that jaxsat makes are philox4x32: it compiles and runs about twice as fast as JAX's default, threefry2x32, and its
keys have 64 bits. A key that you pass is used as it is, of whatever kind.

With jaxlib 0.10 a philox key cannot be used inside one program that runs on several devices (``shard_map``, shardings over
several devices): compiling it fails. Use a program for each device, as ``sweep`` does, or pass a threefry key.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Int, Key

from jaxsat import checks

# Addresses below a network's key. Layers take 1 .. depth; depth stays far below 2^31.
READOUT, INPUT, COTANGENT, BATCHES = 0, 2**31, 2**31 + 1, 2**31 + 2
# The rows of a recurrent cell take the place of layers.
ROWS = {"candidate": 1, "keep": 2, "reset": 3, "input": 4, "output": 5}
ROW_INPUTS, ROW_EMBEDDED = 1, 2  # below the key of a row's weights; 0 is for the recurrent matrix
ROW_TIMES = 1  # below the key of a row's biases: the time scales of gate_bias="chrono"

Index = int | Int[Array, ""]


def root(seed: Index) -> Key[Array, ""]:
    """Make the key of a whole sweep or training run from an integer.

    >>> str(jax.random.key_impl(root(0)))
    'philox4x32'
    """
    return jax.random.key(_index("root", "seed", seed), impl="philox4x32")


def network(root: Key[Array, ""], seed: Index) -> Key[Array, ""]:
    """Return the key of one network: ``net.init(network(root(root_seed), seed))`` is what ``sweep`` measures as `seed`."""
    return jax.random.fold_in(checks.random_key("network", "root", root), _index("network", "seed", seed))


def layer(network: Key[Array, ""], index: Index) -> tuple[Key[Array, ""], Key[Array, ""]]:
    """Return the keys of a layer's weights and of its biases; `index` is 1 .. depth, or READOUT."""
    key = jax.random.fold_in(checks.random_key("layer", "network", network), _index("layer", "index", index))
    weights, biases = jax.random.split(key)
    return weights, biases


def epoch(network: Key[Array, ""], index: Index) -> Key[Array, ""]:
    """Return the key of the order of the training examples in one epoch, counted from 0."""
    batches = jax.random.fold_in(checks.random_key("epoch", "network", network), BATCHES)
    return jax.random.fold_in(batches, _index("epoch", "index", index))


def _index(where: str, name: str, value: Any) -> Any:
    """Return an integer, which may be traced; others are from 0 to 2^32 - 1."""
    if isinstance(value, jax.Array) and value.ndim == 0 and jax.numpy.issubdtype(value.dtype, jax.numpy.integer):
        return value
    value = value[()] if isinstance(value, np.ndarray) and value.ndim == 0 else value
    return checks.integer(where, name, value, least=0, most=2**32 - 1)
