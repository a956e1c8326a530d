"""The weights that are trained: those that a network draws, with its scales multiplied in and left out.

The optimiser sees sigma_w U, not U (standard parametrisation). Of an MLP the matrices of hidden layers are kept one by one
up to some depth. Of other networks all parameters are trained, after ``folded(params)`` if the network has that.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxsat import addresses, checks
from jaxsat.measures import Variable
from jaxsat.networks.mlp import MLP
from jaxsat.networks.parameters import Params
from jaxsat.networks.protocol import any_of

# Up to this depth the layers are written out one after the other, which runs 1.2 to 1.4 times faster; deeper networks loop
# over them, so that the time to compile does not grow with depth.
DEPTH_WRITTEN_OUT = 16
RATIO = "norm of the last update of {} over the norm of {}; NaN before the first"


def drawn_weights(net: Any, key: Array) -> Any:
    """Return the trained weights of a network as it is drawn."""
    if not isinstance(net, MLP):
        params = net.init(key)
        return net.folded(params) if hasattr(net, "folded") else params
    weights = net.init(key).scaled()._replace(weight_scale=None, bias_scale=None, residual_scale=None)
    if net.depth <= DEPTH_WRITTEN_OUT:
        weights = weights._replace(hidden=cast(Array, tuple(weights.hidden)))  # see Params
    return weights


def stacked(net: Any, weights: Any) -> Any:
    """Return the weights with those of hidden layers as one array."""
    if not isinstance(net, MLP) or not isinstance(weights.hidden, tuple):
        return weights
    width = net.width
    return weights._replace(hidden=jnp.stack(weights.hidden) if weights.hidden else jnp.zeros((0, width, width)))


def params_of_weights(net: Any, weights: Any, column: Mapping[str, Array]) -> Any:
    """Return the parameters of a network with these weights; `column` has its swept numbers."""
    if not isinstance(net, MLP):
        return weights
    one = jnp.ones((), weights.first.dtype)
    return weights._replace(weight_scale=one, bias_scale=one, residual_scale=column.get("residual_scale"))


def update_ratio(net: Any, old: Any, new: Any) -> Array:
    """Return the Frobenius norm of the last update over that of the weights: of layers, or of each array of parameters."""
    if isinstance(net, MLP):
        change = new._replace(first=new.first - old.first, hidden=new.hidden - old.hidden)
        return _norms_of_layers(change) / _norms_of_layers(old)
    ratios = [_norm(b - a) / _norm(a) for a, b in zip(jax.tree.leaves(old), jax.tree.leaves(new), strict=True)]
    return jnp.stack(ratios)


def label_of_ratio(net: Any) -> Variable:
    """Return the labels of :func:`update_ratio`."""
    if isinstance(net, MLP):
        return Variable(("layer",), RATIO.format("W_l", "W_l"))
    names = [jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(_shapes(jax.tree.structure(net)))]
    names = [name.strip(".[]'") for name in names]
    return Variable(("parameter",), RATIO.format("a parameter", "it"), coordinates={"parameter": names})


def check_weights(net: Any) -> None:
    """Raise unless all parameters of a network can be trained."""
    for leaf in [] if isinstance(net, MLP) else jax.tree.leaves(_shapes(jax.tree.structure(net))):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            came = checks.Shown(f"dtype {leaf.dtype} from {type(net).__name__}.init")
            rule = "have floating-point parameters"
            raise TypeError(checks.refusal("train", "net", rule, came, "Put integers into fields or xs."))


@functools.lru_cache(maxsize=256)
def _shapes(structure: Any) -> Any:
    return jax.eval_shape(lambda: drawn_weights(any_of(structure), addresses.root(0)))


def _norms_of_layers(weights: Params) -> Array:
    return jnp.concatenate([jnp.linalg.norm(weights.first)[None], jnp.linalg.norm(weights.hidden, axis=(1, 2))])


def _norm(array: Array) -> Array:
    return jnp.sqrt(jnp.sum(array * array))
