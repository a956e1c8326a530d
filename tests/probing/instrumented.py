"""A small dense model, and its pre-activations and gradients without the probe."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxsat import addresses

KEY = addresses.root(5)
WIDTH, BATCH = 12, 9


def weights(depth, scale, dtype=jnp.float64):
    keys = jax.random.split(KEY, depth)
    return [(scale / WIDTH**0.5 * jax.random.normal(k, (WIDTH, WIDTH))).astype(dtype) for k in keys]


def inputs(dtype=jnp.float64):
    return jax.random.normal(jax.random.fold_in(KEY, 99), (BATCH, WIDTH)).astype(dtype)


def by_hand(phi, ws, biases, x):
    """Pre-activations, and d loss / d pre-activation by autodiff with respect to shifts of them."""

    def run(shifts):
        h, kept = x, []
        for w, b, shift in zip(ws, biases, shifts, strict=True):
            kept.append(h @ w + b[None, :] + shift)
            h = phi(kept[-1])
        return jnp.sum(h**2) / 7, kept

    gradients, kept = jax.grad(run, has_aux=True)([jnp.zeros((BATCH, WIDTH))] * len(ws))
    return [np.asarray(h) for h in kept], [np.asarray(g) for g in gradients]
