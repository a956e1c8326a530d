"""Initialisers at the edge of chaos, in the form of ``jax.nn.initializers``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxsat import checks
from jaxsat.activations import ActivationLike
from jaxsat.linalg import ensembles
from jaxsat.theory.edge_of_chaos import critical_weight_scale

CriticalEnsemble = Literal["gaussian", "orthogonal"]
Initializer = Callable[..., Array]


def critical_initializer(
    activation: ActivationLike,
    bias_scale: float = 0.0,
    ensemble: CriticalEnsemble = "gaussian",
    *,
    in_axis: int | Sequence[int] = -2,
    out_axis: int = -1,
) -> Initializer:
    """Return an initialiser at the edge of chaos: the mean squared gradient is the same in every layer.

    Entries have mean 0 and variance sigma_w^2 / fan_in, with sigma_w = ``theory.critical_weight_scale(activation,
    bias_scale)``. Start the biases with standard deviation `bias_scale` (0: at zero).

    Args:
        activation: that follows the layer: a name, a record, or an elementwise callable.
        bias_scale: sigma_b, at least 0.
        ensemble: 'gaussian' (not truncated) or 'orthogonal' (the kernel as a fan_in x out matrix with orthonormal rows or
            columns, scaled so that entries have the same variance).
        in_axis, out_axis: of the kernel. Other axes are a convolution's window and belong to the fan-in. The defaults are
            those of Flax, Haiku and jax.nn.initializers: (..., in, out). Equinox's are in_axis=1, out_axis=0.

    Returns: init(key, shape, dtype=float) -> array, as in ``jax.nn.initializers``: usable as Flax's kernel_init as it is.
        Called as init(shape, dtype), as Haiku calls its w_init, it draws with ``haiku.next_rng_key()``.

    Accuracy: sigma_w is that of infinitely wide networks; at width n growth per layer is off by O(1 / n).

    References: Schoenholz et al. 2017; Pennington, Schoenholz & Ganguli 2017 (orthogonal).

    Raises:
        ValueError: an unknown activation or ensemble; a negative bias_scale; no critical scale; a shape of rank below 2.

    >>> init = critical_initializer("relu")
    >>> w = init(jax.random.key(0), (3, 3, 64, 128), jnp.float32)     # a 3 x 3 convolution: fan-in 576
    >>> w.shape, abs(float(w.std()) - (2 / 576) ** 0.5) < 1e-3
    ((3, 3, 64, 128), True)
    """
    where = "critical_initializer"
    checks.one_of(where, "ensemble", ensemble, get_args(CriticalEnsemble))
    bias_scale = checks.number(where, "bias_scale", bias_scale, least=0.0)
    scale = float(critical_weight_scale(activation, bias_scale))
    draw = ensembles.get(ensemble)

    def init(key: Any, shape: Any = None, dtype: Any = None, out_sharding: Any = None) -> Array:
        if isinstance(key, Sequence):  # Haiku's way: init(shape, dtype), with a key of its own
            import haiku

            key, shape, dtype = haiku.next_rng_key(), key, shape if dtype is None else dtype
        dtype = jnp.dtype(jnp.result_type(float) if dtype is None else dtype)
        if len(shape) < 2:
            remedy = "Start biases with jax.nn.initializers.normal(bias_scale) or zeros."
            raise ValueError(checks.refusal(where, "shape", "have an input and an output axis", tuple(shape), remedy))
        out = out_axis % len(shape)
        window = [i for i in range(len(shape)) if i != out]
        if not {i % len(shape) for i in ([in_axis] if isinstance(in_axis, int) else in_axis)} <= set(window):
            came = checks.Shown(f"{in_axis} and {out_axis}")
            raise ValueError(checks.refusal(where, "in_axis", "differ from `out_axis`", came))
        n_out, n_in = shape[out], math.prod(shape[i] for i in window)
        unit = draw(key, n_out, n_in).reshape([n_out, *(shape[i] for i in window)])
        kernel = (scale * jnp.moveaxis(unit, 0, out)).astype(dtype)
        return kernel if out_sharding is None else jax.device_put(kernel, out_sharding)

    return init
