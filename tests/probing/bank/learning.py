"""Models that are defined by how they learn: by rewards, by contrast, by quantised codes. Written from their papers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from tests.probing.bank.case import Fault, draws, model
from tests.probing.bank.science import apply, dense


@model(
    "rlax",
    Fault("hidden biases at -30", ("dead",), "biases have mean -30", "Start the biases at 0"),
    Fault("the best action in place of its value", ("vanishing",), "argmax"),
    Fault("nan in a reward", ("nonfinite",), "reward"),
)
def deep_q_network(fault):
    """Values of actions, with a target network that is not trained by this loss (Mnih et al. 2015)."""
    params = [dense(0, 6, 24, 1.4), dense(1, 24, 24, 1.4), dense(2, 24, 3)]
    params[1]["b"] -= 30 if fault == "hidden biases at -30" else 0
    target = [dense(10 + i, p["w"].shape[0], p["w"].shape[1]) for i, p in enumerate(params)]
    batch = {"state": draws(3, 32, 6), "next": draws(4, 32, 6), "reward": draws(5, 32)}
    batch["reward"][3] = np.nan if fault == "nan in a reward" else 0
    batch["action"] = np.random.default_rng(0).integers(0, 3, size=32)

    def values(params, x):
        for p in params[:-1]:
            x = jax.nn.relu(apply(p, x))
        return apply(params[-1], x)

    def loss(params, target, batch):
        q = values(params, batch["state"])
        if fault == "the best action in place of its value":
            chosen = jnp.argmax(q, axis=1).astype(q.dtype)
        else:
            chosen = jnp.take_along_axis(q, batch["action"][:, None], axis=1)[:, 0]
        goal = batch["reward"] + 0.9 * jnp.max(values(target, batch["next"]), axis=1)
        return jnp.mean(optax.losses.huber_loss(chosen, jax.lax.stop_gradient(goal)))

    return loss, (params, target, batch)


@model(
    "scenic",
    Fault("a view of zeros", ("nonfinite",), "div"),
    Fault("hidden biases at -30", ("dead",), "biases have mean -30", "Start the biases at 0"),
    steps=600,
)
def contrastive(fault):
    """Two views of each example recognise each other among all others (Radford et al. 2021)."""
    params = {
        name: [dense(i, 8, 24, 1.4), dense(i + 1, 24, 24, 1.4), dense(i + 2, 24, 8)] for i, name in ((0, "a"), (5, "b"))
    }
    for tower in params.values():
        tower[1]["b"] -= 30 if fault == "hidden biases at -30" else 0
    a = draws(20, 24, 8)
    b = a @ draws(21, 8, 8, scale=0.35)
    a[3] *= fault != "a view of zeros"

    def embedded(tower, x):
        for p in tower[:-1]:
            x = jax.nn.relu(apply(p, x))
        x = apply(tower[-1], x)
        return x / jnp.sqrt(jnp.sum(x * x, axis=1, keepdims=True))

    def loss(params, a, b):
        logits = embedded(params["a"], a) @ embedded(params["b"], b).T / 0.1
        columns, rows = (
            jnp.diagonal(jax.nn.log_softmax(logits, axis=0)),
            jnp.diagonal(jax.nn.log_softmax(logits, axis=1)),
        )
        return -jnp.mean(columns + rows) / 2

    return loss, (params, a, b)


@model(
    "haiku",
    Fault("codes without a straight way for gradients", ("disconnected",), "encoder", "straight through"),
    Fault("encoder's weights x 60", ("saturated",), "tanh", "sigma_w = 1"),
)
def quantised_autoencoder(fault):
    """The nearest of 16 codes stands for each example (van den Oord et al. 2017)."""
    params = {
        "encoder": [dense(0, 8, 24), dense(1, 24, 4)],
        "codes": draws(2, 16, 4, scale=0.5),
        "decoder": [dense(3, 4, 24), dense(4, 24, 8)],
    }
    params["encoder"][0]["w"] *= 60 if fault == "encoder's weights x 60" else 1

    def loss(params, x):
        z = apply(params["encoder"][1], jnp.tanh(apply(params["encoder"][0], x)))
        codes = params["codes"]
        nearest = jnp.argmin(jnp.sum((z[:, None] - codes[None]) ** 2, axis=-1), axis=1)
        code = codes[nearest]
        if fault == "codes without a straight way for gradients":
            through, near = code, 0.0
        else:
            through = z + jax.lax.stop_gradient(code - z)
            near = jnp.mean((jax.lax.stop_gradient(z) - code) ** 2) + 0.25 * jnp.mean(
                (z - jax.lax.stop_gradient(code)) ** 2
            )
        y = apply(params["decoder"][1], jnp.tanh(apply(params["decoder"][0], through)))
        return jnp.mean((y - x) ** 2) + near

    return loss, (params, draws(5, 32, 8) @ draws(6, 8, 8, scale=0.35))
