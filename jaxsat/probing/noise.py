"""The gradient noise scale: how many examples a batch needs before more of them stop to help.

McCandlish et al. (2018) compare the gradients of two batch sizes: that of parts of a batch, and that of the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxsat.checks import Shown, refusal
from jaxsat.jax_compat import eval_jaxpr
from jaxsat.linalg.magnitudes import wide
from jaxsat.probing.arguments import is_array
from jaxsat.probing.tracing import TracedFunction, trace_function


class GradientNoise(NamedTuple):
    """How much the gradient differs between examples, over all parameters together.

    Attributes:
        noise: trace of the covariance of one example's gradient, estimated without bias.
        signal: squared norm of the gradient of all data, estimated without bias: it may come out below 0.
        noise_scale: noise / signal, a number of examples: the simple noise scale of McCandlish et al. (2018). Batches much
            smaller than this are mostly noise; much larger ones bring little. inf where the signal is not above 0.

    Accuracy: some eps times the squared norm of a part's gradient, in noise and signal. NaN where squares of the gradient
        leave the range of their dtype: for norms below 3e-16 in float32, exact zeros among them. Noise that is smaller than
        eps times the squared norm is rounding, and may come out below 0.
    """

    noise: Array | float
    signal: Array | float
    noise_scale: Array | float


def noise_of_parts(part_square: Array, whole_square: Array, parts: int, examples: int = 1) -> GradientNoise:
    """Return the noise scale by two batch sizes.

    Args:
        part_square: mean over the parts of a batch of the squared norm of the part's gradient.
        whole_square: squared norm of the gradient of the batch: of the mean over its parts.
        parts: their number, at least 2, all of one size.
        examples: in each part.
    """
    known = part_square > jnp.finfo(part_square.dtype).tiny / jnp.finfo(part_square.dtype).eps
    part_square = jnp.where(known, part_square, jnp.nan)
    of_part = (part_square - whole_square) * parts / (parts - 1)
    signal = whole_square - of_part / parts
    noise = examples * of_part
    ratio = jnp.where(signal > 0, noise / jnp.where(signal > 0, signal, 1), jnp.inf)
    return GradientNoise(noise, signal, jnp.where(jnp.isnan(signal), jnp.nan, ratio))


def square_norm(tree: Any) -> Array:
    """Return the sum of the squares of all floating entries of a pytree."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(jnp.result_type(leaf), jnp.floating)]
    to = np.result_type(np.float32, *(wide(leaf.dtype) for leaf in leaves))
    squares = [jnp.sum(jnp.square(leaf.astype(to))) for leaf in leaves]
    return jnp.sum(jnp.stack([jnp.zeros((), to), *squares]))


class NoiseMeter:
    """Measures the noise scale of a function's gradient at each call: one gradient of each part of the batch.

    Args:
        fn, loss: as of :func:`jaxsat.probe`; the loss must be a mean over examples.
        examples: the arguments that hold a batch along their first axes, by position or keyword. Gradients are taken with
            respect to all other floating arguments.
        parts: of a batch.
    """

    def __init__(
        self, fn: Callable[..., Any], loss: Callable[[Any], Any] | None, examples: Sequence[int | str], parts: int
    ) -> None:
        if isinstance(examples, str) or not isinstance(examples, Sequence):
            rule = "be a list of places or names of arguments"
            raise TypeError(refusal("PeriodicProbe", "examples", rule, examples, "For the second argument, pass (1,)."))
        self.fn, self.loss, self.examples, self.parts = fn, loss, tuple(examples), parts
        self._run: Any = None

    def __call__(self, args: Sequence[Any], kwargs: dict[str, Any]) -> GradientNoise:
        """Return the noise scale for these arguments.

        Raises:
            ValueError: a batch that has no equal parts; no such argument.
        """
        given: dict[int | str, Any] = {**dict(enumerate(args)), **kwargs}
        missing = [key for key in self.examples if key not in given]
        if missing:
            raise ValueError(refusal("PeriodicProbe", "examples", "name arguments of fn", missing[0]))
        sizes = {leaf.shape[:1] for key in self.examples for leaf in jax.tree.leaves(given[key]) if is_array(leaf)}
        (size,) = sizes.pop() if len(sizes) == 1 and all(sizes) else (0,)
        if size == 0 or size % self.parts:
            rule = f"have first axes of one length, a multiple of parts={self.parts}"
            raise ValueError(refusal("PeriodicProbe", "examples", rule, Shown(str(size or sorted(sizes)))))
        first = {
            key: _part(value, size // self.parts) if key in self.examples else value for key, value in given.items()
        }
        positional = [first[i] for i in range(len(args))]
        traced = trace_function("PeriodicProbe", self.fn, positional, {key: first[key] for key in kwargs}, self.loss)
        whole = jax.tree.leaves((tuple(args), dict(kwargs)))
        arrays = [*traced.own, *(leaf for leaf in whole if is_array(leaf))]
        if self._run is None:
            self._run = jax.jit(self._program(traced, size // self.parts))
        found = jax.device_get(self._run(traced.constants, arrays))
        return GradientNoise(*map(float, found))

    def _program(self, traced: TracedFunction, examples: int) -> Callable[..., Any]:
        """Return (constants, arrays) -> :class:`GradientNoise`."""
        jaxpr, which, parts = traced.closed.jaxpr, traced.loss, self.parts
        if which is None:
            raise ValueError(
                refusal(
                    "PeriodicProbe",
                    "fn",
                    "have one scalar output",
                    Shown(str(len(traced.scalars))),
                    "Name it with loss=.",
                )
            )
        shapes = [variable.aval.shape for variable in jaxpr.invars]

        def run(constants: Any, arrays: Sequence[Any]) -> GradientNoise:
            split = [i for i, shape in enumerate(shapes) if jnp.shape(arrays[i]) != shape]
            floating = [i for i, x in enumerate(arrays) if jnp.issubdtype(x.dtype, jnp.floating) and i not in split]
            batch = {i: arrays[i].reshape(parts, examples, *shapes[i][1:]) for i in split}

            def loss(weights: dict[int, Any], part: dict[int, Any]) -> Any:
                now = weights | part
                return eval_jaxpr(jaxpr, constants, *(now.get(i, x) for i, x in enumerate(arrays)))[which]

            weights = {i: jnp.asarray(arrays[i]) for i in floating}

            def step(total: Any, part: dict[int, Any]) -> tuple[Any, Any]:
                gradient = jax.grad(loss)(weights, part)
                return jax.tree.map(jnp.add, total, gradient), square_norm(gradient)

            total, squares = jax.lax.scan(step, jax.tree.map(jnp.zeros_like, weights), batch)
            whole = square_norm(jax.tree.map(lambda x: x / parts, total))
            return noise_of_parts(jnp.mean(squares), whole, parts, examples)

        return run


def _part(tree: Any, size: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[:size] if is_array(leaf) else leaf, tree)
