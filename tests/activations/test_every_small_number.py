"""Where dtypes lose an activation: value and slope are rounded at every number of the formats of 8 and 16 bits."""

from collections.abc import Callable
from typing import NamedTuple

import ml_dtypes
import numpy as np
import pytest
from scipy import special

from jaxsat.activations.precision import underflow_points
from tests.quick_cases import slow_except

KINDS = ("float8_e4m3fn", "float8_e5m2", "float16", "bfloat16")
NEAR = 1e-9  # float64 rounds its own value and slope by 1e-15 at most: nearer to a point than this it may be wrong


class Tail(NamedTuple):
    """Value and slope in float64, in forms that lose no digits in the tail."""

    value: Callable[[np.ndarray], np.ndarray]
    slope: Callable[[np.ndarray], np.ndarray]
    limit: float


def _density(x):
    return np.exp(-x * x / 2) / np.sqrt(2 * np.pi)


def _root(x):
    return np.sqrt(x * x + 4)


SELU_LIMIT = -1.0507009873554804934193349852946 * 1.6732632423543772848170429916717
TAILS = {
    "sigmoid right": Tail(special.expit, lambda x: special.expit(x) * special.expit(-x), 1),
    "sigmoid left": Tail(special.expit, lambda x: special.expit(x) * special.expit(-x), 0),
    "tanh right": Tail(np.tanh, lambda x: 4 * special.expit(2 * x) * special.expit(-2 * x), 1),
    "erf right": Tail(special.erf, lambda x: 2 / np.sqrt(np.pi) * np.exp(-x * x), 1),
    "softsign right": Tail(lambda x: x / (1 + x), lambda x: (1 + x) ** -2.0, 1),
    "arctan left": Tail(np.arctan, lambda x: 1 / (1 + x * x), -np.pi / 2),
    "elu left": Tail(np.expm1, np.exp, -1),
    "selu left": Tail(lambda x: -SELU_LIMIT * np.expm1(x), lambda x: -SELU_LIMIT * np.exp(x), SELU_LIMIT),
    "softplus left": Tail(lambda x: np.log1p(np.exp(x)), special.expit, 0),
    "log_sigmoid right": Tail(lambda x: -np.log1p(np.exp(-x)), lambda x: special.expit(-x), 0),
    "silu left": Tail(
        lambda x: x * special.expit(x), lambda x: special.expit(x) * (1 + x * special.expit(-x)), 0
    ),
    "gelu left": Tail(lambda x: x * special.ndtr(x), lambda x: special.ndtr(x) + x * _density(x), 0),
    "squareplus left": Tail(lambda x: 2 / (_root(x) - x), lambda x: 2 / (_root(x) - x) / _root(x), 0),
}  # fmt: skip


def every_number(dtype: np.dtype) -> np.ndarray:
    """Every positive finite number of a dtype, ascending, in float64."""
    bits = np.arange(1, 2 ** (8 * dtype.itemsize - 1), dtype=f"u{dtype.itemsize}")
    numbers = bits.view(dtype)
    with np.errstate(invalid="ignore"):  # NaN among them
        return numbers[np.isfinite(numbers)].astype(np.float64)


@pytest.mark.parametrize("kind", slow_except(["bfloat16"], KINDS))
@pytest.mark.parametrize("tail", TAILS)
def test_points_divide_all_numbers(tail, kind):
    """All numbers beyond a point have lost slope or distance from the limit. The last number before it has not."""
    (name, side), dtype = tail.split(), np.dtype(getattr(ml_dtypes, kind, kind))
    found, own = underflow_points(name, dtype, side=side), TAILS[tail]
    x = every_number(dtype)
    signed = x if side == "right" else -x
    with np.errstate(over="ignore", under="ignore"):  # exp of thousands
        slope, value = own.slope(signed), own.value(signed)
    lost = {
        "subnormal": np.abs(slope) < float(ml_dtypes.finfo(dtype).smallest_normal),
        "zero": slope.astype(dtype) == 0,
        "rounds_to_limit": value.astype(dtype) == np.float64(own.limit).astype(dtype),
    }
    for field, beyond in lost.items():
        point = getattr(found, field)
        assert np.all(beyond[x > point * (1 + NEAR)]), field
        assert not np.any(beyond[x < point * (1 - NEAR)][-1:]), field
