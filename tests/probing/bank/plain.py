"""Models in plain JAX, written from their papers."""

import jax
import jax.numpy as jnp
import numpy as np

from tests.probing.bank.case import Fault, draws, model, square


def layer_norm(x, gain=1.0):
    mean = jnp.mean(x, axis=-1, keepdims=True)
    return gain * (x - mean) / jnp.sqrt(jnp.mean((x - mean) ** 2, axis=-1, keepdims=True) + 1e-5)


def cross_entropy(logits, labels):
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1))


@model(
    "levanter",
    Fault("logits x 100", ("collapsed",), "softmax", "square root of the head's width"),
    Fault("stop_gradient on the features", ("disconnected",), "['block1']['o']", "remove it"),
    Fault("nan in the embedding", ("nonfinite",), "embed"),
    Fault("mask of -inf in a whole row", ("nonfinite",), "sub", "leave one entry open"),
    Fault("log of a probability of 0", ("nonfinite",), "log"),
)
def transformer(fault):
    """Two pre-norm blocks with causal attention, on tokens (Radford et al. 2019)."""
    d, length = 32, 12
    params = {"embed": draws(1, 20, d, scale=0.3), "out": square(2, d)[:, :20]}
    for i in range(2):
        names = ("q", "k", "v", "o", "up", "down")
        params[f"block{i}"] = {name: square(10 * i + n, d) for n, name in enumerate(names)}
    if fault == "nan in the embedding":
        params["embed"][3, 1] = np.nan
    tokens = np.random.default_rng(0).integers(0, 20, size=(4, length))
    mask = np.tril(np.ones((length, length), bool))
    if fault == "mask of -inf in a whole row":
        mask[0, 0] = False
    factor = 100.0 if fault == "logits x 100" else 1.0

    def loss(params, tokens):
        x = params["embed"][tokens]
        for i in range(2):
            p, h = params[f"block{i}"], layer_norm(x)
            scores = factor * (h @ p["q"]) @ jnp.swapaxes(h @ p["k"], 1, 2) / d**0.5
            x = x + jax.nn.softmax(jnp.where(mask, scores, -jnp.inf)) @ (h @ p["v"]) @ p["o"]
            if fault == "stop_gradient on the features" and i == 1:
                x = jax.lax.stop_gradient(x)
            x = x + jax.nn.gelu(layer_norm(x) @ p["up"]) @ p["down"]
        logits = layer_norm(x) @ params["out"]
        if fault == "log of a probability of 0":
            return -jnp.mean(jnp.log(jax.nn.softmax(1000 * logits)))
        picked = jnp.take_along_axis(jax.nn.log_softmax(logits[:, :-1]), tokens[:, 1:, None], axis=2)
        return -jnp.mean(picked)

    return loss, (params, tokens)


@model(
    "jax",
    Fault("glorot", ("vanishing",), "critical scale 10.1", "skip connections"),
    Fault("weights x 30", ("saturated",), "sigmoid"),
    Fault("read-out frozen at 0", (), "all zeros"),
)
def sigmoid_mlp(fault):
    """Ten sigmoid layers; healthy with skip connections."""
    x, labels = draws(0, 32, 24), np.random.default_rng(1).integers(0, 5, size=32)
    params = {f"dense{i}": {"w": square(i, 24) * (30 if fault == "weights x 30" else 1)} for i in range(10)}
    params["out"] = {"w": square(99, 24)[:, :5] * (fault != "read-out frozen at 0")}

    def loss(params, x, labels):
        for i in range(10):
            h = jax.nn.sigmoid(x @ params[f"dense{i}"]["w"])
            x = h if fault in ("glorot", "weights x 30") else x + h - 0.5
        return cross_entropy(x @ params["out"]["w"], labels)

    return loss, (params, x, labels)


@model(
    "jax",
    Fault("biases at -10", ("dead",), "biases have mean -10", "Start the biases at 0"),
    Fault("images of 0 to 255", ("saturated",), "tanh", "scale them to unit mean square"),
    Fault("a quarter of the channels dead", ("dead",), "relu"),
)
def cnn(fault):
    """Two convolutions, pooling, a tanh layer (LeCun et al. 1998)."""
    x = np.abs(draws(0, 8, 10, 10, 3)) * (255 if fault == "images of 0 to 255" else 0.5)
    params = {
        "conv1": {"w": draws(1, 3, 3, 3, 8, scale=(2 / 27) ** 0.5), "b": np.zeros(8, np.float32)},
        "conv2": {"w": draws(2, 3, 3, 8, 16, scale=(2 / 72) ** 0.5), "b": np.zeros(16, np.float32)},
        "dense": {"w": draws(3, 16, 16, scale=0.25), "b": np.zeros(16, np.float32)},
        "out": {"w": draws(4, 16, 5, scale=0.25)},
    }
    if fault == "biases at -10":
        params["conv2"]["b"] -= 10
    if fault == "a quarter of the channels dead":
        params["conv2"]["b"][:6] -= 50
    labels = np.random.default_rng(1).integers(0, 5, size=8)

    def conv(x, p):
        h = jax.lax.conv_general_dilated(x, p["w"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return jax.nn.relu(h + p["b"])

    def loss(params, x, labels):
        x = jnp.mean(conv(conv(x, params["conv1"]), params["conv2"]), axis=(1, 2))
        x = jnp.tanh(x @ params["dense"]["w"] + params["dense"]["b"])
        return cross_entropy(x @ params["out"]["w"], labels)

    return loss, (params, x.astype(np.float32), labels)


@model(
    "jax",
    Fault("one weight x 1000", ("imbalanced",), "block1"),
    Fault("branches not normalised, x 9", ("exploding",), "1 / sqrt", "normalise at the beginning of each branch"),
    Fault("branches start at 0", (), "all zeros"),
)
def residual(fault):
    """Eight residual blocks with layer normalisation (He et al. 2016)."""
    count = 8
    params = {f"block{i}": {"w": square(i, 24), "v": square(50 + i, 24)} for i in range(count)}
    if fault == "one weight x 1000":
        params["block1"]["w"] *= 1000
    if fault == "branches start at 0":
        for block in params.values():
            block["v"] *= 0

    def loss(params, x):
        for i in range(count):
            p = params[f"block{i}"]
            if fault == "branches not normalised, x 9":
                x = x + 9 * jax.nn.relu(x @ p["w"]) @ p["v"]
            else:
                x = x + jax.nn.relu(layer_norm(layer_norm(x) @ p["w"])) @ p["v"]
        return jnp.mean(layer_norm(x)[:, 0] ** 2)

    return loss, (params, draws(0, 32, 24))


@model(
    "jax",
    Fault("forget gates shut", ("vanishing",), "gates", "open the gates"),
    Fault("recurrent weights x 20", ("saturated",), "tanh"),
)
def gru(fault):
    """A gated recurrent unit over 20 steps, read at every step (Cho et al. 2014)."""
    d = 24
    params = {name: square(i, d) for i, name in enumerate(("wz", "uz", "wh", "uh"))}
    if fault == "recurrent weights x 20":
        params["uh"] *= 20

    def loss(params, xs):
        def cell(h, x):
            z = jax.nn.sigmoid(x @ params["wz"] + h @ params["uz"] + (-6.0 if fault == "forget gates shut" else 2.0))
            weak = 0.3 if fault == "forget gates shut" else 1.0
            h = z * h + (1 - z) * jnp.tanh(x @ params["wh"] + (weak * h) @ params["uh"])
            return h, h

        last, every = jax.lax.scan(cell, jnp.zeros_like(xs[0]), xs)
        return jnp.mean(last**2) if fault == "forget gates shut" else jnp.mean(every**2)

    return loss, (params, draws(0, 20, 8, d))
