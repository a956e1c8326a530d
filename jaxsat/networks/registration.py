"""A class of yours as a network: a frozen dataclass that is a pytree."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, dataclass_transform

import jax
import numpy as np

from jaxsat import checks
from jaxsat.jax_compat import Tracer
from jaxsat.networks.appearance import network_line, network_table
from jaxsat.networks.protocol import applied

Class = TypeVar("Class", bound=type)


@dataclass_transform(frozen_default=True)
def as_network(*, swept: Sequence[str] = ()) -> Callable[[Class], Class]:
    """Return a decorator that makes a class a network: a frozen dataclass, and a pytree whose leaves are the swept fields.

    The class writes its fields, ``init(key)`` and ``scan(params, x)``. Without a method ``apply`` it gets this:
    scan over all steps, then ``read_out(params, carry)`` if there is such a method.

    Args:
        swept: names of the fields that are numbers to sweep over, such as scales. All their values share one compiled
            program. All other fields are static: sizes, names, functions.

    Raises:
        ValueError: a name that is no field of the class.
        TypeError: a class without ``init`` or ``scan``. When a network is made: a static field that has no hash, a swept
            field that is no number.

    >>> import jax.numpy as jnp
    >>> @as_network(swept=["scale"])
    ... class Diagonal:
    ...     depth: int
    ...     width: int
    ...     scale: float = 1.0
    ...     def init(self, key):
    ...         return self.scale * jax.random.normal(key, (self.depth, self.width))
    ...     def scan(self, params, x):
    ...         return lambda x, w: jnp.tanh(w * x), x, params
    >>> net = Diagonal(depth=3, width=2, scale=0.5)
    >>> net.apply(net.init(jax.random.key(0)), jnp.ones(2)).shape, jax.tree.leaves(net)
    ((2,), [0.5])
    """

    if not isinstance(swept, (list, tuple)) or not all(isinstance(name, str) for name in swept):
        raise TypeError(checks.refusal("as_network", "swept", "be a list of names of fields", swept))

    def decorated(cls: Class) -> Class:
        for name in ("init", "scan"):
            if not callable(getattr(cls, name, None)):
                came = checks.Shown(f"{cls.__name__}, which has no `{name}`")
                raise TypeError(checks.refusal("as_network", "", "decorate a class with init and scan", came))
        if not hasattr(cls, "apply"):
            cls.apply = _apply
        if cls.__repr__ is object.__repr__:
            cls.__repr__ = network_line  # pyright: ignore[reportAttributeAccessIssue]
            cls._repr_html_ = network_table
        made = dataclasses.dataclass(frozen=True)(cls)
        names = [field.name for field in dataclasses.fields(made)]
        for name in swept:
            checks.one_of("as_network", "swept", name, names, f"name fields of {cls.__name__}")
        _check_when_made(made, tuple(swept))
        register_network(made, tuple(swept))
        return made

    return decorated


def _apply(self: Any, params: Any, x: Any) -> Any:
    """Return the output for one input: the last carry of the scan, read out."""
    return applied(self, params, x)


def register_network(cls: type, swept: tuple[str, ...]) -> None:
    """Register a dataclass as a pytree: its leaves are the swept fields, everything else is static.

    A swept field that holds a name instead of a number (a string) is static in that network.
    """
    static = tuple(field.name for field in dataclasses.fields(cls) if field.name not in swept)

    def flatten(net: Any) -> tuple[tuple[tuple[Any, Any], ...], tuple[Any, ...]]:
        values = [(name, getattr(net, name)) for name in swept]
        named = tuple((name, value) for name, value in values if isinstance(value, str))
        numbers = tuple(
            (jax.tree_util.GetAttrKey(name), None if isinstance(value, str) else value) for name, value in values
        )
        return numbers, (tuple(getattr(net, name) for name in static), named)

    def unflatten(kept: tuple[Any, ...], numbers: Any) -> Any:
        values, named = kept
        net = object.__new__(cls)  # not through __init__: JAX passes placeholders here
        for name, value in [*zip(static, values, strict=True), *zip(swept, numbers, strict=True), *named]:
            object.__setattr__(net, name, value)
        return net

    jax.tree_util.register_pytree_with_keys(cls, flatten, unflatten)


def _check_when_made(cls: type, swept: tuple[str, ...]) -> None:
    """Let every new network of the class check its fields."""
    plain = cls.__init__

    @functools.wraps(plain)
    def checked(self: Any, *arguments: Any, **named: Any) -> None:
        plain(self, *arguments, **named)
        for field in dataclasses.fields(cls):
            check_field(cls.__name__, field.name, getattr(self, field.name), field.name in swept)

    cls.__init__ = checked


def check_field(where: str, name: str, value: Any, swept: bool) -> None:
    """Raise unless the value of a field is a number, where the field is swept, or has a hash, where it is static."""
    if not swept:
        try:
            hash(value)
        except TypeError:
            remedy = "Use a tuple for a list, put arrays into the parameters, or name the field in `swept`."
            came = checks.Shown(f"a {type(value).__name__}")
            rule = "have a hash, because it is static (each value is a compiled program of its own)"
            raise TypeError(checks.refusal(where, name, rule, came, remedy)) from None
        return
    if value is None or isinstance(value, (str, Tracer)):
        return
    if np.asarray(value).dtype.kind not in "iuf" or not np.isfinite(value).all():
        raise TypeError(checks.refusal(where, name, "be a finite number, because it is swept", value))
