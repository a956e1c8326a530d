"""What a narrow number format would do to an array: which entries become 0, leave its range, or round to a limit.

Nothing is cast: bits are compared with thresholds that ml_dtypes' own casts give, so that no compiler can leave a cast
out, and none flushes subnormal numbers. Block-scaled formats (OCP Microscaling Formats 1.0, 2023) are rounded by hand.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence

import jax.numpy as jnp
import ml_dtypes
import numpy as np
from jax import lax
from jaxtyping import Array, DTypeLike

from jaxsat.checks import one_of, refusal

BLOCK = 32  # numbers along the last axis that share a power of two
_INFINITY = 0x7F800000  # the bits of float32's infinity


@dataclasses.dataclass(frozen=True)
class NarrowFormat:
    """A number format.

    Attributes:
        name: of the format.
        element: dtype of one number.
        block: how many numbers share a scale, a power of two; 0: none do.
    """

    name: str
    element: np.dtype
    block: int = 0


FORMATS = {
    one.name: one
    for one in (
        NarrowFormat("bfloat16", np.dtype(ml_dtypes.bfloat16)),
        NarrowFormat("float16", np.dtype(np.float16)),
        NarrowFormat("float8_e4m3fn", np.dtype(ml_dtypes.float8_e4m3fn)),
        NarrowFormat("float8_e5m2", np.dtype(ml_dtypes.float8_e5m2)),
        NarrowFormat("mxfp8_e4m3", np.dtype(ml_dtypes.float8_e4m3fn), BLOCK),
        NarrowFormat("mxfp8_e5m2", np.dtype(ml_dtypes.float8_e5m2), BLOCK),
    )
}
ALSO = {"float8_e4m3": "float8_e4m3fn", "mxfp8": "mxfp8_e4m3"}


def format_of(dtype: DTypeLike) -> NarrowFormat:
    """Return a format by its name or dtype.

    Raises:
        ValueError: not known.

    >>> format_of(jnp.bfloat16).name, format_of("mxfp8").block
    ('bfloat16', 32)
    """
    rule = "be names of number formats"
    try:
        name = dtype if isinstance(dtype, str) else np.dtype(dtype).name
    except TypeError:
        raise TypeError(refusal("precision_report", "dtypes", rule, dtype)) from None
    return FORMATS[one_of("precision_report", "dtypes", ALSO.get(name, name), FORMATS, rule)]


# --- thresholds, as bits of float32 -----------------------------------------------------------------------------------


def _cast(bits: int, element: np.dtype) -> float:
    number = np.array(bits, np.uint32).view(np.float32)
    with np.errstate(over="ignore"):
        return float(number.astype(element).astype(np.float64))


def _first(test: Callable[[int], bool], low: int, high: int) -> int:
    """Return the first integer in low .. high of which the test is true: it is false below and true above."""
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if test(middle) else (middle + 1, high)
    return low


@functools.cache
def ends_of(element: np.dtype) -> tuple[int, int]:
    """Return the largest bits that are cast to 0, and the smallest that are cast to infinity or NaN."""
    lost = _first(lambda bits: _cast(bits, element) > 0, 0, _INFINITY) - 1
    return lost, _first(lambda bits: not np.isfinite(_cast(bits, element)), 0, _INFINITY)


@functools.cache
def _reach_of(limit: float, element: np.dtype) -> tuple[int, int]:
    """Return the smallest and the largest bits that are cast to what |limit| is cast to."""
    value = _cast(int(np.float32(abs(limit)).view(np.uint32)), element)
    lowest = _first(lambda bits: not _cast(bits, element) < value, 0, _INFINITY)
    return lowest, _first(lambda bits: not _cast(bits, element) <= value, 0, _INFINITY) - 1


# --- shares -----------------------------------------------------------------------------------------------------------


def _bits(x: Array) -> Array:
    """Return the bits of |x| in float32. They sort as |x| does."""
    return lax.bitcast_convert_type(x.astype(jnp.float32), jnp.uint32) & jnp.uint32(0x7FFFFFFF)


def lost_shares(x: Array, narrow: NarrowFormat) -> tuple[Array, Array]:
    """Return the shares of entries that are not 0 but would be, and that are finite but would not be.

    In a block-scaled format nothing becomes infinite: there, the second counts entries cut to the largest number.
    """
    lost, beyond = ends_of(narrow.element)
    there, finite, bits = (_bits(x) > 0) | (x != 0), jnp.isfinite(x), _bits(x)
    if narrow.block:
        there, finite = _in_blocks(there, narrow.block), _in_blocks(finite, narrow.block)
        bits = _bits(_scaled(x, narrow)[0])
    return _share(there & (bits <= lost), x), _share(finite & (bits >= beyond), x)


def limit_share(y: Array, limits: Sequence[float], narrow: NarrowFormat) -> Array:
    """Return the share of entries that are not at one of these limits but would be rounded to it."""
    at = jnp.zeros((), bool)
    for limit in limits:
        off = y != jnp.asarray(limit, y.dtype)
        if narrow.block:
            scaled, unit = _scaled(y, narrow)
            there = _rounded(jnp.float32(limit) * unit, narrow.element)
            fits = jnp.abs(there) <= jnp.float32(float(ml_dtypes.finfo(narrow.element).max))
            at |= fits & (_rounded(scaled, narrow.element) == there) & _in_blocks(off, narrow.block)
        else:
            low, high = _reach_of(limit, narrow.element) if limit else (0, ends_of(narrow.element)[0])
            side = jnp.sign(y) == jnp.asarray(np.sign(limit), y.dtype) if limit else jnp.ones((), bool)
            at |= (_bits(y) >= low) & (_bits(y) <= high) & side & off
    return _share(at, y)


def _share(where: Array, x: Array) -> Array:
    """Return how many entries there are, divided by the size of x: what fills up a block is not counted."""
    return jnp.sum(where, dtype=jnp.float32) / max(x.size, 1)


def _in_blocks(x: Array, block: int) -> Array:
    """Return an array (.., blocks, block): its last axis filled up with zeros and cut into blocks."""
    x = jnp.atleast_1d(x)
    padded = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, -x.shape[-1] % block)])
    return padded.reshape(*x.shape[:-1], -1, block)


def _scaled(x: Array, narrow: NarrowFormat) -> tuple[Array, Array]:
    """Return the numbers in blocks, multiplied by the power of two of each block, and these powers.

    The largest number of a block gets the exponent of the format's largest number.
    """
    blocks = _in_blocks(x.astype(jnp.float32), narrow.block)
    finite = jnp.where(jnp.isfinite(blocks), blocks, 0)
    top = (
        lax.shift_right_logical(jnp.max(_bits(finite), axis=-1, keepdims=True), jnp.uint32(23)).astype(jnp.int32) - 127
    )
    largest = int(np.floor(np.log2(float(ml_dtypes.finfo(narrow.element).max))))
    power = jnp.clip(largest - top, -126, 127)
    unit = lax.bitcast_convert_type((power + 127) << 23, jnp.float32)
    return blocks * unit, unit


def _rounded(x: Array, element: np.dtype) -> Array:
    """Return numbers of float32, rounded to a format without an end, halves to even."""
    info = ml_dtypes.finfo(element)
    exponent = lax.shift_right_logical(_bits(x), jnp.uint32(23)).astype(jnp.int32) - 127
    step = jnp.maximum(exponent, info.minexp) - info.nmant
    unit = lax.bitcast_convert_type((step + 127) << 23, jnp.float32)
    return jnp.round(x / unit) * unit
