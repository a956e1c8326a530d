"""Plain JAX: a tanh recurrent network under scan, whose loss looks at the last step."""

from __future__ import annotations

import sys

import jax
import jax.numpy as jnp

import jaxsat
from examples.show import show

STEPS, WIDTH, INPUTS, BATCH = 20, 64, 8, 32
FAULTS = {"large weights": "saturated", "wrong initialiser": "vanishing"}
SITES = STEPS


def loss(params, xs, target):
    def step(h, x):
        h = jnp.tanh(h @ params["recurrent"] + x @ params["input"])
        return h, None

    h, _ = jax.lax.scan(step, jnp.zeros((BATCH, WIDTH), jnp.float32), xs)
    return jnp.mean((h @ params["output"] - target) ** 2)


def build(fault: str | None = None):
    scale = {"large weights": 3.0, "wrong initialiser": 0.3}.get(fault or "", 1.0)
    keys = jax.random.split(jax.random.key(0), 5)
    recurrent = jaxsat.critical_initializer("tanh", ensemble="orthogonal")
    normal = jax.nn.initializers.lecun_normal()
    params = {
        "recurrent": scale * recurrent(keys[0], (WIDTH, WIDTH), jnp.float32),
        "input": 0.1 * normal(keys[1], (INPUTS, WIDTH), jnp.float32),
        "output": normal(keys[2], (WIDTH, 1), jnp.float32),
    }
    xs = jax.random.normal(keys[3], (STEPS, BATCH, INPUTS), jnp.float32)
    return loss, (params, xs, jax.random.normal(keys[4], (BATCH, 1), jnp.float32))


if __name__ == "__main__":
    show(sys.modules[__name__])
