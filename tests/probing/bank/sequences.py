"""Language models and state-space models, written from their papers."""

import jax
import jax.numpy as jnp
import numpy as np

from tests.probing.bank.case import Fault, draws, model


def rms_norm(x, gain):
    return gain * x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + 1e-6)


def turned(x):
    """Rotary positions: pairs of units are turned by an angle that grows with the position (Su et al. 2021)."""
    half = x.shape[-1] // 2
    angle = np.arange(x.shape[1])[:, None] / 100.0 ** (np.arange(half) / half)
    cos, sin = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
    a, b = x[..., :half], x[..., half:]
    return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1)


@model(
    "maxtext",
    Fault("queries of one layer x 300", ("collapsed",), "[1]", "queries"),
    Fault("nan in the embedding of one token", ("nonfinite",), "embed"),
    Fault("a token beyond the vocabulary", ("nonfinite",), "index"),
    steps=150,
)
def llama(fault):
    """Four blocks in one scan, with rotary positions, gated units and root-mean-square norms (Touvron et al. 2023)."""
    d, layers, length = 16, 4, 10
    names = ("q", "k", "v", "o", "gate", "up", "down")
    blocks = {name: draws(i, layers, d, d, scale=d**-0.5) for i, name in enumerate(names)}
    blocks |= {"norm1": np.ones((layers, d), np.float32), "norm2": np.ones((layers, d), np.float32)}
    params = {"embed": draws(50, 12, d), "blocks": blocks, "norm": np.ones(d, np.float32), "out": draws(51, d, 12, scale=d**-0.5)}  # fmt: skip
    blocks["q"][1] *= 300 if fault == "queries of one layer x 300" else 1
    params["embed"][7, 2] = np.nan if fault == "nan in the embedding of one token" else 0
    tokens = np.random.default_rng(0).integers(0, 12, size=(8, length))
    tokens[2, 5] = 12 if fault == "a token beyond the vocabulary" else tokens[2, 5]
    mask = np.tril(np.ones((length, length), bool))

    def loss(params, tokens):
        def block(x, p):
            h = rms_norm(x, p["norm1"])
            scores = turned(h @ p["q"]) @ jnp.swapaxes(turned(h @ p["k"]), 1, 2) / d**0.5
            x = x + jax.nn.softmax(jnp.where(mask, scores, -1e9)) @ (h @ p["v"]) @ p["o"]
            h = rms_norm(x, p["norm2"])
            return x + (jax.nn.silu(h @ p["gate"]) * (h @ p["up"])) @ p["down"], None

        x, _ = jax.lax.scan(block, params["embed"][tokens], params["blocks"])
        log_p = jax.nn.log_softmax(rms_norm(x, params["norm"]) @ params["out"])
        return -jnp.mean(jnp.take_along_axis(log_p[:, :-1], tokens[:, 1:, None], axis=2))

    return loss, (params, tokens)


@model(
    "s5",
    Fault("eigenvalues of 2", ("exploding",), "scan"),
    Fault("eigenvalues of 0.05, read at the end", ("vanishing",), "scan"),
)
def linear_recurrence(fault):
    """A diagonal linear recurrence over 40 steps, then gated units (Gu et al. 2022; Orvieto et al. 2023)."""
    d, length = 12, 40
    factor = {"eigenvalues of 2": 2.0, "eigenvalues of 0.05, read at the end": 0.05}.get(fault or "", 0.95)
    params = {
        "log_factor": np.full(d, np.log(factor), np.float32),
        "in": draws(0, 4, d, scale=0.5),
        "gate": draws(1, d, d, scale=d**-0.5),
        "up": draws(2, d, d, scale=d**-0.5),
        "out": draws(3, d, 1, scale=d**-0.5),
    }
    when = np.zeros(length, np.float32)
    when[-1 if factor == 0.05 else slice(None)] = 1.0

    def loss(params, xs, when, target):
        def step(state, x):
            state = jnp.exp(params["log_factor"]) * state + x @ params["in"]
            return state, state

        _, states = jax.lax.scan(step, jnp.zeros((8, d)), xs)
        y = (jax.nn.sigmoid(states @ params["gate"]) * (states @ params["up"])) @ params["out"]
        return jnp.sum(when[:, None] * (y[:, :, 0] - target) ** 2) / jnp.sum(when)

    xs = draws(5, length, 8, 4)
    return loss, (params, xs, when, np.sin(xs.sum(axis=2)).astype(np.float32))
