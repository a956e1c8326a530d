"""What the functions of theory take and return: checked numbers, float64 inside, the default float dtype outside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxsat import activations, checks
from jaxsat.activations import Activation
from jaxsat.jax_compat import Tracer


def checked(where: str, activation: Any, **numbers: Any) -> Activation:
    """The activation's record; raise unless every number is one, finite and >= 0. Tracers pass."""
    for name, number in numbers.items():
        check_number(where, name, number)
    return activations.get(activation)


def check_number(where: str, name: str, number: Any, positive: bool = False, signed: bool = False) -> None:
    """Raise unless it is one real number, finite and >= 0 (or > 0, or of any sign). Tracers pass."""
    if isinstance(number, Tracer):
        return
    remedy = "Batches go through jax.vmap." if np.ndim(number) else ""
    if signed:
        checks.number(where, name, number, remedy=remedy)
    elif positive:
        checks.number(where, name, number, above=0.0, remedy=remedy)
    else:
        checks.number(where, name, number, least=0.0, remedy=remedy)


def input_slack(*numbers: Any) -> float:
    """What rounding to their dtype leaves open: float32 cannot tell sqrt 2 from its neighbours."""
    dtypes = [n.dtype for n in numbers if hasattr(n, "dtype") and jnp.issubdtype(n.dtype, jnp.floating)]
    return max((4 * float(jnp.finfo(dtype).eps) for dtype in dtypes), default=0.0)


def in_double(fn: Any, phi: Activation, *numbers: Any) -> Any:
    """fn of an activation and of the numbers in float64; floating-point results in the default float dtype."""
    default = jnp.result_type(float)
    with jax.enable_x64(True):
        found = fn(phi, *(jnp.asarray(n).astype(jnp.float64) for n in numbers))
        return jax.tree.map(lambda a: a.astype(default) if jnp.issubdtype(a.dtype, jnp.floating) else a, found)


def check_correlation(where: str, c: Any, name: str = "c") -> None:
    if not isinstance(c, Tracer) and not np.all(np.abs(np.asarray(c, float)) <= 1):
        raise ValueError(checks.refusal(where, name, "be a correlation, from -1 to 1", c))


def widths_of_layers(where: str, depth: Any, width: Any, name: str = "width") -> tuple[int, ...]:
    """One width for each layer, from one number or from a sequence of them; raise unless all are integers >= 1."""
    layers = checks.integer(where, "depth", depth)
    given: list[Any] = (
        list(width) if isinstance(width, (Sequence, np.ndarray)) and not isinstance(width, str) else [width]
    )
    widths = tuple(checks.integer(where, name, n) for n in given) * (layers if np.ndim(width) == 0 else 1)
    if len(widths) != layers:
        came = checks.Shown(f"{len(widths)}")
        raise ValueError(checks.refusal(where, name, f"be one number or one for each of {layers} layers", came))
    return widths
