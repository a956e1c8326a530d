"""The parameters of a network: unit draws and their scales, and how they are drawn from addresses."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxsat import addresses, checks
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


LAYOUTS = ("x @ w", "w @ x")


def params_of_layers(net: DrawChoices, layers: Sequence[Any], layout: str, residual_scale: Any) -> Params:
    """Return parameters made of weights that exist; see :meth:`MLP.params`."""
    where = "MLP.params"
    checks.one_of(where, "layout", layout, LAYOUTS, "say how a weight w acts")
    if not isinstance(layers, (list, tuple)):
        remedy = "Write [(w, b), ...], from the input on."
        came = checks.Shown(type(layers).__name__)
        raise TypeError(checks.refusal(where, "layers", "be a list of (weight, bias)", came, remedy))
    shapes = [(net.width, net.inputs), *[(net.width, net.width)] * (net.depth - 1)]
    shapes += [] if net.outputs is None else [(net.outputs, net.width)]
    if len(layers) != len(shapes):
        rule = f"have {len(shapes)} layers ({net.depth} of depth, {'no' if net.outputs is None else 'and a'} read-out)"
        remedy = "Set `depth`, and `outputs` where the last layer has no activation."
        raise ValueError(checks.refusal(where, "layers", rule, checks.Shown(len(layers)), remedy))
    pairs = [_layer_of(where, i, *each, layout) for i, each in enumerate(zip(layers, shapes, strict=True))]
    with jax.numpy_dtype_promotion("standard"):
        dtype = jnp.result_type(*(array for pair in pairs for array in pair))
    weights, biases = ([jnp.asarray(array, dtype) for array in part] for part in zip(*pairs, strict=True))
    one, a = jnp.ones((), dtype), residual_scale
    hidden = jnp.stack(weights[1 : net.depth]) if net.depth > 1 else jnp.zeros((0, net.width, net.width), dtype)
    ends = (None, None) if net.outputs is None else (weights[-1], biases[-1])
    return Params(
        weights[0],
        hidden,
        jnp.stack(biases[: net.depth]),
        *ends,
        one,
        one,
        None if a is None else jnp.asarray(a, dtype),
    )


def _layer_of(where: str, index: int, given: Any, shape: tuple[int, int], layout: str) -> tuple[Array, Array]:
    """Return weight (n_out, n_in) and bias of one layer, checked."""
    weight, bias = given if isinstance(given, (list, tuple)) and len(given) == 2 else (given, None)
    name, transposed = f"layers[{index}]", layout == "x @ w"
    weight = _real(where, name, weight)
    expected = shape[::-1] if transposed else shape
    if weight.shape != expected:
        other = LAYOUTS[1 - LAYOUTS.index(layout)]
        remedy = f"Is the layout {other!r}?" if weight.shape == expected[::-1] else ""
        rule = f"have a weight of shape {expected} with the layout {layout!r}"
        raise ValueError(checks.refusal(where, name, rule, checks.Shown(weight.shape), remedy))
    if bias is None:
        return weight.T if transposed else weight, jnp.zeros(shape[0], weight.dtype)
    bias = _real(where, name, bias)
    if bias.shape != shape[:1]:
        raise ValueError(checks.refusal(where, name, f"have a bias of shape {shape[:1]}", checks.Shown(bias.shape)))
    return weight.T if transposed else weight, bias


def _real(where: str, name: str, given: Any) -> Array:
    try:
        array = jnp.asarray(given)
    except (TypeError, ValueError):
        came = checks.Shown(type(given).__name__)
        raise TypeError(checks.refusal(where, name, "be a pair (weight, bias) of arrays", came)) from None
    if not jnp.issubdtype(array.dtype, jnp.floating):
        rule = "hold floating-point numbers"
        raise TypeError(checks.refusal(where, name, rule, checks.Shown(f"dtype {array.dtype}")))
    return array
