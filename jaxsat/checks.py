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

import numpy as np

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
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(refusal(where, name, rule, value, remedy))
    if (least is not None and value < least) or (most is not None and value > most):
        raise ValueError(refusal(where, name, rule, int(value), remedy))
    return int(value)


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
    if isinstance(value, (bool, np.bool_, str, bytes, Tracer)) or np.ndim(value) != 0 or not np.isrealobj(value):
        raise TypeError(refusal(where, name, rule, value, remedy))
    try:
        plain = float(value)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(refusal(where, name, rule, value, remedy)) from None
    if not math.isfinite(plain) or plain < least or plain > most or plain <= above:
        raise ValueError(refusal(where, name, rule, plain, remedy))
    return plain
