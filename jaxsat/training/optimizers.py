"""The optimiser of a training run: a function of the learning rate, and what tells it from other optimisers."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Hashable
from typing import Any

from jaxsat import checks

LEARNING_RATE = "learning_rate"


def optimizer_of(optimizer: Any, swept: bool) -> Callable[[Any], Any]:
    """Return a function learning rate -> GradientTransformation, whichever form was given.

    Args:
        optimizer: a transformation, or a function learning rate -> transformation.
        swept: whether learning rates are swept: then it must be the function.

    Raises:
        TypeError: the other form, or neither.
    """
    import optax

    given = checks.Shown("a function" if callable(optimizer) else type(optimizer).__name__)
    if not swept:
        if not isinstance(optimizer, optax.GradientTransformation):
            raise TypeError(
                checks.refusal(
                    "train", "optimizer", "be an optax GradientTransformation, as optax.sgd(0.1)", given,
                    "A function learning_rate -> transformation needs over={'learning_rate': [...]}.",
                )
            )  # fmt: skip
        return lambda rate: optimizer
    if isinstance(optimizer, optax.GradientTransformation) or not callable(optimizer):
        rule = "be a function learning_rate -> GradientTransformation where 'learning_rate' is swept, as optax.sgd"
        raise TypeError(checks.refusal("train", "optimizer", rule, checks.Shown(type(optimizer).__name__)))

    def made(rate):
        found = optimizer(rate)
        if not isinstance(found, optax.GradientTransformation):
            rule = "return an optax GradientTransformation"
            raise TypeError(checks.refusal("train", "optimizer", rule, checks.Shown(type(found).__name__)))
        return found

    return made


def identity_of(optimizer: Any) -> Hashable:
    """Return a key that two optimisers share only if they do the same.

    ``optax.sgd(0.1)`` makes new functions each time. They are the same if optax wrote their code and they hold the same
    numbers, so that a second ``train`` with a second ``optax.sgd(0.1)`` finds the compiled program of the first. A function
    of your own is the same only if it is the same object: its code may use names that have changed meanwhile.

    >>> import optax
    >>> identity_of(optax.sgd(0.1)) == identity_of(optax.sgd(0.1)), identity_of(optax.sgd(0.1)) == identity_of(optax.sgd(0.2))
    (True, False)
    """
    try:
        key = _parts(optimizer, depth=0)
        hash(key)
    except (TypeError, ValueError, RecursionError):  # it holds arrays, an empty cell or itself
        return optimizer
    return key


def _parts(value: Any, depth: int) -> Hashable:
    if depth > 50:
        raise RecursionError
    if isinstance(value, (tuple, list)):
        return (type(value), *(_parts(part, depth + 1) for part in value))
    if isinstance(value, dict):
        return (dict, *((name, _parts(part, depth + 1)) for name, part in value.items()))
    if isinstance(value, functools.partial):
        return (functools.partial, *(_parts(part, depth + 1) for part in (value.func, value.args, value.keywords)))
    if isinstance(value, types.FunctionType) and value.__module__.split(".")[0] == "optax":
        held = [value.__defaults__, value.__kwdefaults__, *(cell.cell_contents for cell in value.__closure__ or ())]
        return (value.__code__, value.__module__, *(_parts(part, depth + 1) for part in held))
    if isinstance(value, float):
        return (float, value.hex())  # 0.0 is not -0.0
    return (type(value), value)
