"""What is minimised, and how its value for one example depends on the output; the targets decide which.

classes, integers (example,)            softmax cross-entropy of the output, in nats
classes, integers (example, count)      the same after each of the last `count` steps of a sequence, mean over them
real numbers (example,) or              squared error, mean over outputs
(example, outputs)
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def is_real(y: Any) -> bool:
    """Return whether targets are real numbers, and not classes."""
    return jnp.issubdtype(y.dtype, jnp.floating)


def losses(net: Any, params: Any, x: Array, y: Array) -> tuple[Float[Array, " example"], Array]:
    """Return the loss of each example, and the outputs that it is of."""
    if is_real(y) or y.ndim == 1:
        outputs = jax.vmap(lambda one: net.apply(params, one))(x)
    else:
        outputs = jax.vmap(lambda one: net.apply_at_last(params, one, y.shape[1]))(x)
    if is_real(y):
        return jnp.mean((outputs - y.reshape(outputs.shape)) ** 2, axis=1), outputs
    of_classes = -jnp.take_along_axis(jax.nn.log_softmax(outputs), y[..., None], axis=-1)[..., 0]
    return of_classes if y.ndim == 1 else jnp.mean(of_classes, axis=1), outputs


def loss_and_accuracy(net: Any, params: Any, x: Array, y: Array) -> tuple[Array, Array]:
    """Return the mean loss, and the share of classes that are right; NaN for real targets."""
    loss, outputs = losses(net, params, x, y)
    mean = jnp.mean(loss)
    if is_real(y):
        return mean, jnp.full_like(mean, jnp.nan)
    return mean, jnp.mean(jnp.argmax(outputs, axis=-1).astype(y.dtype) == y, dtype=loss.dtype)


def cotangents_of(outputs: Float[Array, "example outputs"], y: Array) -> Float[Array, "example outputs"]:
    """Return dE/dy of each example's own loss E at the network's output; of the last step where there are several targets."""
    if is_real(y):
        return 2 * (outputs - y.reshape(outputs.shape)) / outputs.shape[1]
    classes = y if y.ndim == 1 else y[:, -1]
    return jax.nn.softmax(outputs) - jax.nn.one_hot(classes, outputs.shape[1], dtype=outputs.dtype)
