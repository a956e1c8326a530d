"""Decompositions of several kinds of network in a single program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

import jaxsat


def of_each(
    function: Callable[[Array, Array, Array], Any], networks: Sequence[jaxsat.MLP], key: Array, inputs: Sequence[Array]
) -> Any:
    """Return a function of the layers of each network, along a new first axis.

    A sweep over activations would compile `function` for each of them, which takes many seconds for a decomposition of
    graded products. Here it is compiled once: networks differ in the layers that are handed to it.

    Args:
        function: of weights (depth, n, n), ln |slopes| (depth, n) and their signs; returns a tree of arrays.
        networks: all of one depth, square (no inputs or outputs of other widths) and plain (no skip connections, no
            normalisation).
        key: of the draw, which networks of one ensemble share.
        inputs: an input for each network.
    """
    layers = [_layers(net, key, x) for net, x in zip(networks, inputs, strict=True)]
    stacked = [jnp.stack(parts) for parts in zip(*layers, strict=True)]
    # Not vmap: every network would then be decomposed in as many windows as the widest spectrum of all kinds needs.
    return jax.lax.map(lambda parts: function(*parts), tuple(stacked))


def _layers(net: jaxsat.MLP, key: Array, x: Array) -> tuple[Array, Array, Array]:
    """Return weights of unit scale, and slopes times the weight scale: a sweep over scales then shares the weights."""
    params = net.init(key)
    h = net.trace(params, x).pre_activations
    logs, signs = net.phi.log_abs_slope(h) + jnp.log(params.weight_scale), net.phi.slope_sign(h)
    return jnp.concatenate([params.first[None], params.hidden]), jnp.where(signs == 0, -jnp.inf, logs), signs
