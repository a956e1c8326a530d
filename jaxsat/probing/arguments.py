"""Arguments of a probe: their arrays are traced, everything else is taken as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxsat.checks import Shown, refusal
from jaxsat.jax_compat import Tracer
from jaxsat.probing.values import Arrays

OUTSIDE = "Call probe outside jit, vmap, grad and scan, with arrays that have values."


class Split(NamedTuple):
    """A pytree in parts.

    Attributes:
        arrays: its leaves that are arrays.
        static: its leaves with None in place of the arrays. (A pytree has no leaf that is None.)
        structure: of the pytree.
    """

    arrays: Arrays
    static: tuple[Any, ...]
    structure: Any

    def joined(self, arrays: Sequence[Any]) -> Any:
        """Return the pytree with other arrays in it."""
        rest = iter(arrays)
        return jax.tree.unflatten(self.structure, [next(rest) if leaf is None else leaf for leaf in self.static])


def split(tree: Any) -> Split:
    """Return the arrays of a pytree and what is left."""
    leaves, structure = jax.tree.flatten(tree)
    arrays = [leaf for leaf in leaves if is_array(leaf)]
    return Split(arrays, tuple(None if is_array(leaf) else leaf for leaf in leaves), structure)


def is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray | np.generic)


def is_number(leaf: Any) -> bool:
    return isinstance(leaf, int | float) and not isinstance(leaf, bool)


def same_but_for_numbers(one: Sequence[Any], other: Sequence[Any]) -> bool:
    """Return whether two lists of static leaves differ at most in the values of plain numbers."""

    def alike(a: Any, b: Any) -> bool:
        return a is b or (is_number(a) and type(a) is type(b)) or bool(a == b)

    return len(one) == len(other) and all(alike(a, b) for a, b in zip(one, other, strict=True))


def names_of(fn: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the paths of the traced arrays, in order: 'args[0].layers[1].weight'."""
    found = []
    for prefix, tree in (("fn", fn), ("args", tuple(args)), ("", dict(kwargs))):
        for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
            name = jax.tree_util.keystr(path)
            if not prefix:  # ['x'][0] is the keyword argument x, then [0]
                first, rest = path[0], path[1:]
                name = f"{first.key}{jax.tree_util.keystr(rest)}"
            if is_array(leaf):
                found.append(prefix + name)
    return tuple(found)


def check_concrete(arrays: Arrays, names: Sequence[str]) -> None:
    """Raise unless all arrays have values: inside jit they have none.

    Raises:
        TypeError: the message names the first that has none.
    """
    for i, array in enumerate(arrays):
        if isinstance(array, Tracer):
            name = names[i] if i < len(names) else "an array that fn closes over"
            what = Shown(f"a tracer of {array.dtype}{list(array.shape)}")
            raise TypeError(refusal("probe", name, "be an array with values", what, OUTSIDE))


def check_alike(want: Sequence[jax.ShapeDtypeStruct], arrays: Arrays, names: Sequence[str]) -> None:
    """Raise unless arrays have these shapes and dtypes.

    Raises:
        ValueError: the message names the first that has another.
    """
    for name, old, new in zip(names, want, arrays, strict=True):
        shape, dtype = jnp.shape(new), jnp.result_type(new)
        if (shape, dtype) != (old.shape, old.dtype):
            rule = f"have the shape and dtype that it was prepared for, {old.dtype}{list(old.shape)}"
            raise ValueError(
                refusal("probe", name, rule, Shown(f"{dtype}{list(shape)}"), "Prepare another probe for these.")
            )
