"""What the functions of theory take and return: checked numbers, float64 inside, the default float dtype outside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike

from jaxsat import activations, checks
from jaxsat.activations import Activation, ActivationLike
from jaxsat.jax_compat import Tracer

Widths = int | np.integer | Sequence[int] | np.ndarray  # of all layers alike, or of each
Result = TypeVar("Result")


def checked(where: str, activation: ActivationLike, **numbers: Any) -> Activation:
    """Return the activation's record. Raise unless every number is a single one, finite and >= 0. Tracers pass."""
    for name, number in numbers.items():
        check_number(where, name, number)
    return activations.get(activation)


def check_number(where: str, name: str, number: Any, positive: bool = False, signed: bool = False) -> None:
    """Raise unless this is a single real number, finite and >= 0 (or > 0, or of any sign). Tracers pass."""
    remedy = "Batches go through jax.vmap." if isinstance(number, (list, tuple)) or getattr(number, "ndim", 0) else ""
    if signed:
        checks.scalar(where, name, number, remedy=remedy)
    elif positive:
        checks.scalar(where, name, number, above=0.0, remedy=remedy)
    else:
        checks.scalar(where, name, number, least=0.0, remedy=remedy)


def input_slack(*numbers: ArrayLike) -> float:
    """Return the relative rounding of the numbers' dtypes: float32 cannot tell sqrt 2 from its neighbours."""
    given = [getattr(number, "dtype", None) for number in numbers]
    dtypes = [dtype for dtype in given if dtype is not None and jnp.issubdtype(dtype, jnp.floating)]
    return max((4 * float(jnp.finfo(dtype).eps) for dtype in dtypes), default=0.0)


def in_double(fn: Callable[..., Result], phi: Activation, *numbers: ArrayLike) -> Result:
    """Return fn of an activation and of the numbers in float64; floating-point results have the default float dtype."""
    default = jnp.result_type(float)
    with jax.enable_x64(True):
        plain = (float(n) if isinstance(n, np.floating) else n for n in numbers)
        found = fn(phi, *(jnp.asarray(n).astype(jnp.float64) for n in plain))
        return jax.tree.map(lambda a: a.astype(default) if jnp.issubdtype(a.dtype, jnp.floating) else a, found)


def check_correlation(where: str, c: Any, name: str = "c") -> None:
    """Raise unless this is a number in [-1, 1]. Tracers pass."""
    check_number(where, name, c, signed=True)
    if not isinstance(c, Tracer) and not abs(float(c)) <= 1:
        raise ValueError(checks.refusal(where, name, "be a correlation, from -1 to 1", c))


def widths_of_layers(
    where: str, depth: Any, width: Any, name: str = "width", any_size: bool = False
) -> tuple[int, ...]:
    """Return the width of each layer, from a number or from a sequence. Raise unless all are integers >= 1, and below 2^31 but for
    `any_size`, where they are no sizes of arrays."""
    integer = checks.integer if any_size else checks.size
    layers = checks.size(where, "depth", depth)
    if not isinstance(width, (Sequence, np.ndarray)) or isinstance(width, str) or np.ndim(width) == 0:
        return (integer(where, name, width),) * layers
    widths = tuple(integer(where, name, n) for n in width)
    if len(widths) != layers:
        came = checks.Shown(f"{len(widths)}")
        raise ValueError(checks.refusal(where, name, f"be one number or one for each of {layers} layers", came))
    return widths
