"""Claims on what gradients do to learning: none without them, and over-fitting where they are constantly 1."""

from __future__ import annotations

from typing import Any

import numpy as np

from analyses.claim_experiments.networks import CONTRASTS, LARGE, STANDARD, Networks
from analyses.claim_experiments.rows import Row, of_seeds

ALIVE, KILL = 30, -1e3  # steps before a layer is switched off, and the biases that do it
DEAD = 1  # the layer, counted from 0


def no_gradient_no_learning(networks: Networks) -> list[Row]:
    """How far a layer with exactly zero gradient moves in its first such step, over how far it moved in the step before."""
    import optax

    rate = 0.05
    optimizers = {
        "sgd": optax.sgd(rate),
        "sgd, momentum 0.9": optax.sgd(rate, momentum=0.9),
        "adam": optax.adam(0.1 * rate),
        "sgd, weight decay": optax.chain(optax.add_decayed_weights(1e-2), optax.sgd(rate)),
    }
    rows = []
    for name, optimizer in optimizers.items():
        layer, readout = _movement_after_death(networks, optimizer)
        rows.append(of_seeds(f"{name}: the layer", layer, expected=0.0 if name == "sgd" else float("nan")))
        if name == "sgd":
            rows.append(of_seeds(f"{name}: read-out bias above it", readout))
    return rows


def _movement_after_death(networks: Networks, optimizer: Any) -> tuple[np.ndarray, np.ndarray]:
    """Of the weights of a relu layer that is switched off for every example, and of the read-out's biases."""
    import jax
    import jax.numpy as jnp

    import jaxsat
    from jaxsat.training.recording import losses

    options = networks.options
    net = jaxsat.MLP(depth=3, width=options.width, activation="relu", weight_scale="he", inputs=64, outputs=10)
    x, y = (jnp.asarray(a[:100]) for a in networks.digits.train)
    x = x.astype(jnp.result_type(float))

    def one(seed):
        params = net.init(jax.random.fold_in(jax.random.key(options.root_seed), seed)).scaled()

        def step(carry):
            weights, state = carry
            slope = jax.grad(lambda p: jnp.mean(losses(net, _whole(p, x.dtype), x, y)[0]))(weights)
            with jax.numpy_dtype_promotion("standard"):
                update, state = optimizer.update(slope, state, weights)
            return (jax.tree.map(lambda w, u: w + u, weights, update), state), (slope, update)

        weights = params._replace(weight_scale=None, bias_scale=None)
        carry = jax.lax.fori_loop(0, ALIVE - 1, lambda _, c: step(c)[0], (weights, optimizer.init(weights)))
        (weights, state), (_, before) = step(carry)
        dead = weights._replace(biases=weights.biases.at[DEAD].set(KILL))
        (_, _), (slope, after) = step((dead, state))
        size = lambda p: (jnp.linalg.norm(p.hidden[DEAD - 1]), jnp.linalg.norm(p.readout_bias))  # noqa: E731
        return [b / a for a, b in zip(size(before), size(after), strict=True)], size(slope)[0]

    seeds = jnp.arange(options.seeds, dtype=jnp.int32)
    (layer, readout), slope = jax.jit(jax.vmap(one))(seeds)
    return np.where(np.asarray(slope) == 0, layer, np.nan), np.asarray(readout)  # NaN: the claim is not of this case


def _whole(weights: Any, dtype: Any) -> Any:
    import jax.numpy as jnp

    one = jnp.ones((), dtype)
    return weights._replace(weight_scale=one, bias_scale=one)


def constant_gradient_overfits(networks: Networks) -> list[Row]:
    """Training less test accuracy: that of linear and relu networks less that of sigmoidal ones of the same seed."""
    level, rows = networks.options.level, []
    for other in networks.sigmoidal:
        for name in reversed(CONTRASTS):
            kind = "linear" if name == "identity" else name
            for label, gap in ((f"{level:.0%} in training", _gap_at_level), ("last epoch", _gap_at_end)):
                rows.append(of_seeds(f"{kind} - {other}, {label}", gap(networks, name) - gap(networks, other)))
    return rows


def _fastest(networks: Networks, name: str) -> tuple[str, float]:
    """The setting under which networks of a kind reach the level of training accuracy first."""
    options = networks.options

    def steps(setting):
        reached = networks.trained_at("accuracy", name, *setting) >= options.level
        first = np.where(reached.any(-1), reached.argmax(-1), reached.shape[-1])
        return float(np.mean(networks.trained.step.values.take(first, mode="clip") + (first == reached.shape[-1]) * 1e9))

    return min(((label, rate) for label in (STANDARD, LARGE) for rate in options.learning_rates), key=steps)


def _gap_at_level(networks: Networks, name: str) -> np.ndarray:
    """Where training accuracy first passes the level, linear between looks; NaN for seeds that never do."""
    level, setting = networks.options.level, _fastest(networks, name)
    train, test = (networks.trained_at(v, name, *setting).astype(float) for v in ("accuracy", "test_accuracy"))
    gaps = np.full(len(train), np.nan)
    for seed in np.flatnonzero((train >= level).any(-1) & (train[:, 0] < level)):
        after = int((train[seed] >= level).argmax())
        low, high = train[seed, after - 1], train[seed, after]
        share = (level - low) / (high - low)
        gaps[seed] = level - (test[seed, after - 1] + share * (test[seed, after] - test[seed, after - 1]))
    return gaps


def _gap_at_end(networks: Networks, name: str) -> np.ndarray:
    setting = _fastest(networks, name)
    return (networks.trained_at("accuracy", name, *setting) - networks.trained_at("test_accuracy", name, *setting))[:, -1]
