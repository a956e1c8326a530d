"""A small training task, and gradient descent on it by the chain rule in NumPy."""

from typing import Any

import numpy as np
import optax

import jaxsat
from jaxsat import addresses

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(40, 3)), RNG.integers(0, 4, 40)
TEST = RNG.normal(size=(15, 3)), RNG.integers(0, 4, 15)
NET = jaxsat.MLP(depth=3, width=6, activation="tanh", inputs=3, outputs=4, weight_scale=1.5, bias_scale=0.3)


def run(net: Any = NET, data=(X, Y), **options):
    defaults = {"optimizer": optax.sgd(0.2), "epochs": 2, "batch_size": 10, "record_every": 4, "progress": False}
    return jaxsat.train(net, data, **(defaults | options))


def drawn(net, seed, root_seed=0):
    """Weight matrices, biases of a network as it is drawn: read-out last."""
    params = net.init(addresses.network(addresses.root(root_seed), seed)).scaled()
    weights = [params.first, *params.hidden, params.readout]
    return [np.array(w) for w in weights], [np.array(b) for b in [*params.biases, params.readout_bias]]


def forward(weights, biases, x, phi):
    values, before = [x], []
    for w, b in zip(weights[:-1], biases[:-1], strict=True):
        before.append(values[-1] @ w.T + b)
        values.append(phi(before[-1]))
    return values, before, values[-1] @ weights[-1].T + biases[-1]


def cross_entropy(outputs, y):
    shifted = outputs - outputs.max(1, keepdims=True)
    return np.mean(np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(y)), y])


def step_by_hand(weights, biases, x, y, rate, phi, slope):
    """Gradient descent by the chain rule, nothing but NumPy."""
    values, before, outputs = forward(weights, biases, x, phi)
    p = np.exp(outputs - outputs.max(1, keepdims=True))
    delta = (p / p.sum(1, keepdims=True) - np.eye(outputs.shape[1])[y]) / len(y)
    new_weights, new_biases = list(weights), list(biases)
    for layer in range(len(weights) - 1, -1, -1):
        new_weights[layer] = weights[layer] - rate * delta.T @ values[layer]
        new_biases[layer] = biases[layer] - rate * delta.sum(0)
        if layer:
            delta = (delta @ weights[layer]) * slope(before[layer - 1])
    return new_weights, new_biases
