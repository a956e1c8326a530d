"""What one run of a probe measures, and how gradients are measured where they arrive.

A sink is a small array of zeros that a site's pre-activation is tied to; its "gradient" is the statistics of the gradient
that arrives.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jaxsat.linalg.magnitudes import magnitude, wide
from jaxsat.linalg.packed_arrays import largest_magnitudes
from jaxsat.probing.flow_points import FlowPlace
from jaxsat.probing.reader import Reader
from jaxsat.probing.site_statistics import Forward, Statistic
from jaxsat.probing.survey import SiteDescription
from jaxsat.probing.values import Address, key_of


class Measured(NamedTuple):
    """What one run of a probe measures.

    Attributes:
        loss: the scalar that gradients are taken of; None if there is none.
        forward: statistics of each site, by the key of its end; stacked along the last axis as they leave a program.
        backward: rows of :class:`Backward`, by the key of a site's pre-activation.
        arguments: largest magnitude in each argument; NaN if there is a NaN in it, 0 if it is no floating array.
        outputs: the same of the function's outputs.
        weights: two rows, ln of the norms of gradient and value, of the weights in the order of the program.
    """

    loss: Any
    forward: dict[str, Any]
    backward: dict[str, Any]
    arguments: Any
    outputs: Any
    weights: Any


def on_host(measured: Measured) -> Measured:
    """Return what a program measured as NumPy arrays, its statistics by name."""
    measured = jax.device_get(measured)
    named = {key: Forward(*np.moveaxis(np.asarray(rows), -1, 0)) for key, rows in measured.forward.items()}
    return measured._replace(forward=named)


def largest(arrays: Sequence[Any]) -> Float[Array, " n"]:
    """Return the largest magnitude in each array; NaN if there is a NaN in it, 0 if it is no floating array."""
    floating = [i for i, array in enumerate(arrays) if jnp.issubdtype(jnp.result_type(array), jnp.floating)]
    sizes = largest_magnitudes([lax.stop_gradient(jnp.asarray(arrays[i])) for i in floating])
    if len(floating) == len(arrays):
        return sizes
    return jnp.zeros(len(arrays), sizes.dtype).at[np.array(floating, int)].set(sizes)


class Backward(NamedTuple):
    """Statistics of the gradient with respect to one site's pre-activation."""

    reached: Statistic
    log_gradient_norm: Statistic
    zero_gradient_fraction: Statistic
    subnormal_gradient_fraction: Statistic


def sink(site: SiteDescription | FlowPlace) -> Float[Array, "*iterations 4"]:
    """Return zeros, one row for each iteration. Their gradient is the statistics of the gradient at the site."""
    return jnp.zeros((*site.lengths, len(Backward._fields)), wide(jnp.dtype(site.dtype)))


@jax.custom_vjp
def tied(x: Array, sink: Array) -> Array:
    """Return x itself. The gradient of the sink is the :class:`Backward` of x's gradient."""
    return x


def _tied_forward(x: Array, sink: Array) -> tuple[Array, Array]:
    return x, sink


def _tied_backward(sink: Array, gradient: Array) -> tuple[Array, Array]:
    found = magnitude(gradient)
    rows = jnp.stack([jnp.ones_like(found.log_norm), *found])
    return gradient, sink + rows  # zeros: a sum differs between shards as the sink does


tied.defvjp(_tied_forward, _tied_backward)


def tie(reader: Reader, address: Address, array: Any) -> Any:
    """Tie a value to its sink, if the reader has one for it."""
    key = key_of(address)
    return tied(array, reader.sinks[key]) if key in reader.sinks else array
