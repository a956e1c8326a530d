"""From a function and its arguments to its jaxpr, with the names of its arrays and the scalar that is its loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxsat.checks import Shown, refusal
from jaxsat.jax_compat import ClosedJaxpr
from jaxsat.probing.arguments import Split, check_concrete, is_array, names_of, split

PURE = (
    "jaxsat.{}: this came up while fn was traced. It must be a pure JAX function of its arguments: pass modules with "
    "state (Flax nnx) as an argument, or split them with nnx.split and merge(..., copy=True) inside."
)


class TracedFunction(NamedTuple):
    """A function that was traced once.

    Attributes:
        closed: its jaxpr, of all arrays of the function itself (a callable pytree) and then of its arguments.
        own, given: those arrays: of the function, and of the arguments with all that is no array.
        names: of all of them.
        scalars: names of the outputs that gradients may be taken of.
        loss: index of the output that they are taken of; None if there is none, or several and none is named.
    """

    closed: ClosedJaxpr
    own: Sequence[Any]
    given: Split
    names: tuple[str, ...]
    scalars: tuple[str, ...]
    loss: int | None

    @property
    def arrays(self) -> list[Any]:
        return [*self.own, *self.given.arrays]

    @property
    def constants(self) -> tuple[Any, ...]:
        """The arrays that the function closes over."""
        return tuple(jnp.asarray(array) for array in self.closed.consts)


def trace_function(
    where: str,
    fn: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    loss: Callable[[Any], Any] | None,
) -> TracedFunction:
    """Return a function, traced for these arguments.

    Args:
        where: what was called, for errors.
        fn, args, kwargs, loss: as of :func:`jaxsat.probe`.

    Raises:
        TypeError: fn is not callable; an argument is traced; loss does not give one floating scalar.
    """
    if not callable(fn):
        raise TypeError(refusal(where, "fn", f"be a function, as in {where}(fn, *args)", Shown(type(fn).__name__)))
    own, given = split(fn), split((tuple(args), dict(kwargs)))
    arrays = [*own.arrays, *given.arrays]
    names = names_of(fn, args, kwargs)
    check_concrete(arrays, names)
    outputs: list[str] = []

    def flat(*values: Any) -> tuple[list[Any], Any]:
        mine, theirs = values[: len(own.arrays)], values[len(own.arrays) :]
        positional, named = given.joined(theirs)
        result = own.joined(mine)(*positional, **named)
        scalar = None if loss is None else loss(result)
        labelled = [pair for pair in jax.tree_util.tree_flatten_with_path(result)[0] if is_array(pair[1])]
        outputs[:] = [f"output{jax.tree_util.keystr(path)}" for path, _ in labelled]
        return [leaf for _, leaf in labelled], scalar

    try:
        closed, shapes = jax.make_jaxpr(flat, return_shape=True)(*arrays)
    except Exception as error:
        error.add_note(PURE.format(where))
        raise
    check_concrete(closed.consts, ())
    scalars = _scalars(where, shapes, loss is not None)
    which = scalars[0] if len(scalars) == 1 else None
    named = tuple(outputs[i] for i in scalars if i < len(outputs))
    return TracedFunction(closed, own.arrays, given, names, named, which)


def _scalars(where: str, shapes: Any, named: bool) -> list[int]:
    """Return the indices of the outputs that gradients may be taken of: of `loss` alone, if it is named."""
    outputs, scalar = shapes
    if named:
        if getattr(scalar, "shape", None) != () or not jnp.issubdtype(scalar.dtype, jnp.floating):
            raise TypeError(refusal(where, "loss", "take fn's output to one floating scalar", Shown(str(scalar))))
        return [len(outputs)]
    return [i for i, s in enumerate(outputs) if s.shape == () and jnp.issubdtype(s.dtype, jnp.floating)]
