"""Claims on gradients and learning: no learning without gradients, and over-fitting where gradients are constantly 1."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxsat
from analyses.claims.networks import CONTRASTS, Networks
from analyses.claims.rows import Row, of_seeds
from jaxsat.training.objective import losses

ALIVE, KILL = 30, -1e3  # steps before a layer is switched off, and the biases that do it
DEAD = 1  # the layer, counted from 0


def no_gradient_no_learning(networks: Networks) -> list[Row]:
    """Return how far a relu layer moves after it is switched off for every example, over how far it moved before.

    Its weights have a gradient of exactly 0 then; the read-out's biases do not.
    """
    options, rate, rows = networks.options, 0.05, []
    net = jaxsat.MLP(depth=3, width=options.width, activation="relu", weight_scale="he", inputs=64, outputs=10)
    x, y = (jnp.asarray(a[:100]) for a in networks.digits.train)
    x = x.astype(jnp.result_type(float))

    def loss(weights):
        one = jnp.ones((), x.dtype)
        return jnp.mean(losses(net, weights._replace(weight_scale=one, bias_scale=one), x, y)[0])

    slopes = jax.jit(jax.vmap(jax.grad(loss)))

    @jax.jit
    @jax.vmap
    def drawn(key):
        return net.init(key).scaled()

    start: Any = drawn(networks.keys(options.seeds))._replace(weight_scale=None, bias_scale=None)

    def sizes(tree):
        """Return the norms of the layer's weights and of the read-out's biases, for each seed."""
        return np.linalg.norm(tree.hidden[:, DEAD - 1], axis=(1, 2)), np.linalg.norm(tree.readout_bias, axis=1)

    optimizers = {
        "sgd": optax.sgd(rate),
        "sgd, momentum 0.9": optax.sgd(rate, momentum=0.9),
        "adam": optax.adam(0.1 * rate),
        "sgd, weight decay": optax.chain(optax.add_decayed_weights(1e-2), optax.sgd(rate)),
    }
    weights: Any
    for name, optimizer in optimizers.items():

        @jax.jit
        def advanced(slope, state, weights, optimizer=optimizer):
            update, state = optimizer.update(slope, state, weights)
            return update, state, jax.tree.map(jnp.add, weights, update)

        weights, state, moved = start, jax.jit(optimizer.init)(start), []
        slope = None
        for step in range(ALIVE + 1):
            if step == ALIVE:
                weights = weights._replace(biases=weights.biases.at[:, DEAD].set(KILL))
            slope = slopes(weights)
            update, state, weights = advanced(slope, state, weights)
            moved.append(sizes(update))
        layer, readout = (after / before for before, after in zip(*moved[-2:], strict=True))
        without = sizes(slope)[0] == 0  # otherwise this case does not test the claim
        rows.append(of_seeds(f"{name}: the layer", np.where(without, layer, np.nan)))
        if name == "sgd":
            rows.append(of_seeds("sgd: read-out bias above it", readout))
    return rows


def constant_gradient_overfits(networks: Networks) -> list[Row]:
    """Return the gap of linear and relu networks less the gap of sigmoidal networks of the same seed."""
    level, rows = networks.options.level, []
    for other in networks.sigmoidal:
        for name in reversed(CONTRASTS):
            kind = "linear" if name == "identity" else name
            for label, gap in ((f"{level:.0%} in training", _gap_at_level), ("last epoch", _gap_at_end)):
                rows.append(of_seeds(f"{kind} - {other}, {label}", gap(networks, name) - gap(networks, other)))
    return rows


def _gap_at_level(networks: Networks, name: str) -> np.ndarray:
    """Return the gap where training accuracy first passes the level, linear between looks; NaN if it never does."""
    level, setting = networks.options.level, networks.fastest(name)
    train, test = (networks.trained_at(v, name, *setting).astype(float) for v in ("accuracy", "test_accuracy"))
    gaps = np.full(len(train), np.nan)
    for seed in np.flatnonzero((train >= level).any(-1) & (train[:, 0] < level)):
        after = int((train[seed] >= level).argmax())
        low, high = train[seed, after - 1], train[seed, after]
        share = (level - low) / (high - low)
        gaps[seed] = level - (test[seed, after - 1] + share * (test[seed, after] - test[seed, after - 1]))
    return gaps


def _gap_at_end(networks: Networks, name: str) -> np.ndarray:
    setting = networks.fastest(name)
    train, test = (networks.trained_at(variable, name, *setting) for variable in ("accuracy", "test_accuracy"))
    return (train - test)[:, -1]
