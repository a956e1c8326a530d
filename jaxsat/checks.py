"""Checks of arguments. Every error is one line: where, the rule, what came, and what to do.

    sweep: `seeds` must be an integer of at least 1; got 0.
    activation: must be a name of the catalogue; got 'tanhh'. Did you mean 'tanh'?

A check returns the value in its plain form, so that the caller writes ``seeds = checks.integer("sweep", "seeds", seeds)``.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxsat.jax_compat import Tracer

LONGEST = 100  # characters of a value that are shown


def refusal(where: str, name: str, rule: str, value: Any, remedy: str = "") -> str:
    """Return the text of an error about one argument.

    Args:
        where: what was called, as the user names it.
        name: the argument; empty if `where` says it already.
        rule: what the argument must be, after the word "must".
        value: what came. A string that should be shown without quotes is passed as :class:`Shown`.
        remedy: one sentence, or several, on what to do.

    >>> refusal("sweep", "seeds", "be an integer of at least 1", 0)
    'sweep: `seeds` must be an integer of at least 1; got 0.'
    """
    subject = f"`{name}` must" if name else "must"
    return f"{where}: {subject} {rule}; got {shown(value)}. {remedy}".rstrip()


class Shown(str):
    """What came, in words that are shown as they are: a shape, a dtype, a count."""

    __slots__ = ()


def shown(value: Any) -> str:
    """Return a value as an error shows it: its repr on one line, cut to 100 characters."""
    text = value if isinstance(value, Shown) else repr(value)
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its kind where there is none.

    >>> first_line(ValueError("no such key")), first_line(KeyError())
    ('no such key', 'KeyError')
    """
    return (str(error).splitlines() or [type(error).__name__])[0]


def near(value: Any, known: Iterable[str], most: int = 3, otherwise: str = "") -> str:
    """Return a hint for an unknown name: the names that look like it, or else `otherwise`, or else all of them.

    >>> near("tanhh", ["tanh", "relu"])
    "Did you mean 'tanh'?"
    >>> near("x", ["tanh", "relu"])
    'Known: tanh, relu.'
    """
    names = list(known)
    close = difflib.get_close_matches(str(value), names, n=most)
    if close:
        return f"Did you mean {' or '.join(map(repr, close))}?"
    return otherwise or f"Known: {', '.join(names)}."


def one_of(where: str, name: str, value: Any, known: Iterable[str], rule: str = "") -> str:
    """Return a name, checked against those that are known.

    Raises:
        TypeError: not a string.
        ValueError: not known; the message names what looks like it.
    """
    names = list(known)
    rule = rule or "be a known name"
    if not isinstance(value, str):
        raise TypeError(refusal(where, name, rule, value, f"Known: {', '.join(names)}."))
    if value not in names:
        raise ValueError(refusal(where, name, rule, value, near(value, names)))
    return value


def integer(where: str, name: str, value: Any, least: int | None = 1, most: int | None = None, remedy: str = "") -> int:
    """Return an integer as a Python int.

    Raises:
        TypeError: not an integer (a bool is none).
        ValueError: below `least` or above `most`.
    """
    rule = "be an integer"
    if least is not None and most is not None:
        rule += f" from {least} to {most}"
    elif least is not None:
        rule += f" of at least {least}"
    elif most is not None:
        rule += f" of at most {most}"
    if isinstance(value, (np.ndarray, jax.Array)) and not isinstance(value, Tracer) and value.ndim == 0:
        value = np.asarray(value)[()]  # an array that is a number
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(refusal(where, name, rule, value, remedy))
    if (least is not None and value < least) or (most is not None and value > most):
        raise ValueError(refusal(where, name, rule, int(value), remedy))
    return int(value)


def size(where: str, name: str, value: Any, least: int = 1, remedy: str = "") -> int:
    """Return the length of an axis, or how many there are of something, as a Python int: below 2^31.

    Raises:
        TypeError, ValueError: as of :func:`integer`; 2^31 or more.
    """
    plain = integer(where, name, value, least, remedy=remedy)
    if plain >= 2**31:
        raise ValueError(refusal(where, name, "be below 2^31", plain, remedy))
    return plain


def number(
    where: str, name: str, value: Any, least: float = -math.inf, most: float = math.inf, above: float = -math.inf,
    remedy: str = "",
) -> float:  # fmt: skip
    """Return a finite real number as a Python float.

    Args:
        where, name, value, remedy: as of :func:`refusal`.
        least, most: bounds that the value may reach.
        above: bound that it may not reach.

    Raises:
        TypeError: not one real number (a bool, a string, an array of several, a traced value).
        ValueError: not finite, or out of bounds.
    """
    bounds = [
        *([f"above {above:g}"] if above > -math.inf else []),
        *([f"at least {least:g}"] if least > -math.inf else []),
        *([f"at most {most:g}"] if most < math.inf else []),
    ]
    rule = " and ".join(["be a finite number", *bounds]) if bounds else "be a finite number"
    try:
        given = value if isinstance(value, Tracer) else np.asarray(value)
        if (
            isinstance(given, Tracer)
            or isinstance(value, (str, bytes))
            or given.ndim != 0
            or given.dtype.kind in "bcSUmM"
        ):
            raise TypeError
        plain = float(value)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(refusal(where, name, rule, value, remedy)) from None
    if not math.isfinite(plain) or plain < least or plain > most or plain <= above:
        raise ValueError(refusal(where, name, rule, plain, remedy))
    return plain


def real_array(where: str, name: str, value: Any, rule: str = "be real numbers", remedy: str = "") -> Array:
    """Return an array of floating-point numbers; integers become them. Traced values pass.

    Raises:
        TypeError: complex numbers, truth values, text, objects, lists of unequal lengths, integers beyond all dtypes.
    """
    given = value
    if not isinstance(value, jax.Array):
        try:
            given = np.asarray(value)
        except jax.errors.TracerArrayConversionError:
            given = jnp.asarray(value)  # a list with traced values in it
        except (TypeError, ValueError, OverflowError):
            raise TypeError(refusal(where, name, rule, value, remedy)) from None
        if given.dtype == np.longdouble:
            given = given.astype(float)
    floating = jnp.issubdtype(given.dtype, jnp.floating)
    if not floating and not jnp.issubdtype(given.dtype, jnp.integer):
        came = Shown(type(value).__name__ if given.dtype == object else f"dtype {given.dtype}")
        raise TypeError(refusal(where, name, rule, came, remedy))
    return jnp.asarray(given) if floating else jnp.asarray(given).astype(jnp.result_type(float))


def real_numbers(where: str, name: str, value: Any) -> np.ndarray:
    """Return an array of float64, on the host.

    Raises:
        TypeError: as of :func:`real_array`, and traced values.
    """
    try:
        given = np.asarray(value)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(refusal(where, name, "be real numbers", value)) from None
    if not (jnp.issubdtype(given.dtype, jnp.floating) or given.dtype.kind in "iu"):
        named = Shown(type(value).__name__ if given.dtype == object else f"dtype {given.dtype}")
        raise TypeError(refusal(where, name, "be real numbers", value if isinstance(value, str) else named))
    return given.astype(float)


def scalar(
    where: str, name: str, value: Any, least: float = -math.inf, most: float = math.inf, above: float = -math.inf,
    remedy: str = "",
) -> Any:  # fmt: skip
    """Return a number as of :func:`number`, or a traced one of any value.

    Raises:
        TypeError, ValueError: as of :func:`number`; a traced value that is no single real number.
    """
    if not isinstance(value, Tracer):
        return number(where, name, value, least, most, above, remedy)
    if value.ndim or not (jnp.issubdtype(value.dtype, jnp.floating) or jnp.issubdtype(value.dtype, jnp.integer)):
        came = Shown(f"an array of dtype {value.dtype} and shape {value.shape}")
        raise TypeError(refusal(where, name, "be a number", came, "Batches go through jax.vmap."))
    return value


def random_key(where: str, name: str, value: Any) -> Array:
    """Return a random key, as JAX makes them, typed or raw.

    Raises:
        TypeError: something else, or several keys.
    """
    dtype, shape = getattr(value, "dtype", None), getattr(value, "shape", None)
    typed = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)
    raw = dtype == np.uint32 and shape in ((2,), (4,))
    if not raw and not (typed and shape == ()):
        came = value if dtype is None else Shown(f"an array of dtype {dtype} and shape {shape}")
        remedy = "Make it with jaxsat.addresses.root(seed) or jax.random.key(seed); several go through jax.vmap."
        raise TypeError(refusal(where, name, "be a random key", came, remedy))
    return value


def function(where: str, name: str, value: Any, rule: str = "be a function") -> None:
    """Raise unless a value can be called."""
    if not callable(value):
        raise TypeError(refusal(where, name, rule, Shown(type(value).__name__)))
