"""The parameters of a network: unit draws and their scales, and how they are drawn from addresses."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxsat import addresses
from jaxsat.linalg import ensembles
from jaxsat.linalg.lapack import after


class Params(NamedTuple):
    """The parameters of one network: unit draws, and the scales that multiply them.

    The scales stay apart, so that ``vmap`` runs over thousands of scales without copying the draws. The weight matrix of
    layer l is ``weight_scale`` times its draw. It multiplies from the left, h = W x: rows are outputs. :meth:`scaled`
    multiplies the scales in.

    `hidden` may be a tuple of depth - 1 matrices instead of one array: :meth:`MLP.apply` and :meth:`MLP.trace` then write
    the layers out one after the other. In training that runs up to 1.4 times faster, and compiles longer.
    """

    first: Float[Array, "width inputs"]
    hidden: Float[Array, "depth-1 width width"]
    biases: Float[Array, "depth width"]
    readout: Float[Array, "outputs width"] | None
    readout_bias: Float[Array, " outputs"] | None
    weight_scale: Float[Array, ""]
    bias_scale: Float[Array, ""]
    residual_scale: Float[Array, ""] | None = None

    def scaled(self) -> Params:
        """Return the same network with the scales multiplied into the draws, so that both scales are 1.

        The residual scale stays: it multiplies phi, not a draw.
        """
        w, b = self.weight_scale, self.bias_scale
        one = jnp.ones_like(w)
        readout = None if self.readout is None else w * self.readout
        readout_bias = None if self.readout_bias is None else b * self.readout_bias
        return Params(
            w * self.first, w * self.hidden, b * self.biases, readout, readout_bias, one, one, self.residual_scale
        )


class Trace(NamedTuple):
    """What each layer computed for one input, l = 1 .. depth.

    Attributes:
        pre_activations: h_l, what phi sees: after normalisation, if there is one.
        activations: x_l, after the skip connection, if there is one.
        deviations: the standard deviations that layer normalisation divided by; None without it.
    """

    pre_activations: Float[Array, "depth width"]
    activations: Float[Array, "depth width"]
    deviations: Float[Array, " depth"] | None = None


class DrawChoices(NamedTuple):
    """The static fields of a network that its draws depend on."""

    depth: int
    width: int
    inputs: int
    outputs: int | None
    ensemble: str
    fan: str


@functools.partial(jax.jit, static_argnums=0)  # outside jit each draw would be a program of its own
def draw_parameters(choices: DrawChoices, key: Array) -> Params:
    """Draw weights and biases at unit scale.

    The keys of all layers are made together, and all weights of one shape are drawn together: a program with fewer
    random generators in it compiles faster.
    """
    depth, width = choices.depth, choices.width
    draw = ensembles.get(choices.ensemble)
    draw_bias = ensembles.uniform if choices.ensemble == "uniform" else ensembles.gaussian
    weight_keys, bias_keys = jax.vmap(functools.partial(addresses.layer, key))(jnp.arange(depth + 1))

    def weights(key, n_out, n_in, earlier):
        if earlier is not None and choices.ensemble == "orthogonal":
            key = after(earlier, key)
        unit = draw(key, n_out, n_in)
        if choices.fan == "average" and n_out != n_in:
            unit = unit * float(np.sqrt(2 * n_in / (n_in + n_out)))
        return unit

    def biases(key, count):
        return draw_bias(key, count, 1)[:, 0]

    first = weights(weight_keys[1], width, choices.inputs, None)
    hidden = jax.vmap(lambda key: weights(key, width, width, first))(weight_keys[2:])
    readout, readout_bias = None, None
    if choices.outputs is not None:
        earlier = hidden if depth > 1 else first
        readout = weights(weight_keys[addresses.READOUT], choices.outputs, width, earlier)
        readout_bias = biases(bias_keys[addresses.READOUT], choices.outputs)
    one = jnp.ones((), first.dtype)
    return Params(
        first, hidden, jax.vmap(lambda key: biases(key, width))(bias_keys[1:]), readout, readout_bias, one, one
    )
