"""The record of an activation: phi, its slope and ln|slope|, and what is known about its shape."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from jaxsat import checks
from jaxsat.activations.callables import Saturation

Elementwise = Callable[[Array], Array]


@dataclasses.dataclass(frozen=True, eq=False)
class Activation:
    """An elementwise nonlinearity phi and what is known about it.

    Call it for phi(x). Records are hashable (by identity) and meant to be static arguments of ``jax.jit``; get
    them from :func:`get`, which returns the same record for the same name, or the same callable, every time.

    Attributes:
        name: catalogue name, or the callable's own name.
        formula: phi(x) in words.
        left, right: saturation class of each tail (Gulcehre et al. 2016): 'soft' where phi' -> 0 only in the
            limit, 'hard' where phi' = 0 beyond a finite point, 'none' otherwise.
        kinks: points where some derivative of phi jumps, ascending. Integrals should be split there.
        max_slope: sup |phi'(x)| over the real line.
        left_limit, right_limit: exact limits of phi at -inf and +inf; None where phi has no finite limit.
        log_left_gap, log_right_gap: ln|phi(x) - limit| for x in that tail; None where there is no limit or
            the limit is reached (hard saturation).
        reference: where the function was introduced.
        derived: True when slope, kinks and classes were found by autodiff and probing rather than by formula.
        made_by: the function and the arguments that make this record, for other processes; None: it cannot be sent there.

    Dtype: float16, bfloat16, float32 and float64 go in and come out unchanged; integers become the default float.

    Accuracy: values and slopes have relative error below 1e-12 in float64 for |x| <= 1000, wherever the result
    is a normal number; slopes that change sign (sin, gelu, gelu_tanh, silu, mish) keep an absolute error of a few
    eps near their zeros. ln|slope| keeps that accuracy where the slope itself underflows.

    >>> from jaxsat.activations import get
    >>> tanh = get("tanh")
    >>> print(f"{tanh(0.5):.6f} {tanh.slope(0.5):.6f} {tanh.log_abs_slope(1000.0):.3f}")
    0.462117 0.786448 -1998.614
    >>> print(f"{jax.grad(get('sigmoid'))(40.0):.3e} {jax.grad(jax.nn.sigmoid)(40.0):.3e}")
    4.248e-18 0.000e+00
    """

    name: str
    formula: str
    value_of: Elementwise = dataclasses.field(repr=False)
    slope_of: Elementwise = dataclasses.field(repr=False)
    log_abs_slope_of: Elementwise = dataclasses.field(repr=False)
    left: Saturation
    right: Saturation
    max_slope: float
    kinks: tuple[float, ...] = ()
    slope_sign_of: Elementwise | None = dataclasses.field(default=None, repr=False)
    left_limit: Fraction | None = None
    right_limit: Fraction | None = None
    log_left_gap: Elementwise | None = dataclasses.field(default=None, repr=False)
    log_right_gap: Elementwise | None = dataclasses.field(default=None, repr=False)
    reference: str = ""
    derived: bool = False
    made_by: tuple[Callable[..., Activation], tuple[Any, ...]] | None = dataclasses.field(default=None, repr=False)

    def __post_init__(self) -> None:
        plain, slope = self.value_of, self.slope_of

        @jax.custom_jvp
        def value(x):  # of one argument: custom_jvp would differentiate a callable's default arguments too
            return plain(x)

        @value.defjvp
        def _jvp(primals, tangents):
            (x,), (t,) = primals, tangents
            return value(x), slope(x) * t

        object.__setattr__(self, "value_of", value)

    def __reduce__(self) -> tuple[Callable[..., Activation], tuple[Any, ...]]:
        """Return how another process makes the same record. Its own functions cannot be pickled."""
        if self.made_by is None:
            rule = "be of the catalogue or of a function, to be sent to another process"
            remedy = "Make it in a function that the other process can import."
            raise TypeError(checks.refusal("activation", "", rule, self.name, remedy))
        return self.made_by

    def __call__(self, x: Real[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
        """Return phi(x), elementwise."""
        return self.value_of(_floating(x))

    def slope(self, x: Real[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
        """Return phi'(x), elementwise.

        At a kink it is the value that jax.grad of the jax.nn function gives, if there is such a function.
        """
        return self.slope_of(_floating(x))

    def log_abs_slope(self, x: Real[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
        """Return ln|phi'(x)|, elementwise; -inf where the slope is exactly zero."""
        return self.log_abs_slope_of(_floating(x))

    def slope_sign(self, x: Real[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
        """Return the sign of phi'(x), elementwise: -1, 0 or 1. It is right even where the slope itself underflows."""
        x = _floating(x)
        if self.slope_sign_of is not None:
            return self.slope_sign_of(x)
        return jnp.where(jnp.isnan(x), x, (self.log_abs_slope_of(x) > -jnp.inf).astype(x.dtype))


def sendable(record: Activation, make: Callable[..., Activation], *arguments: Any) -> Activation:
    """Return the record, which other processes can make by this call from now on."""
    object.__setattr__(record, "made_by", (make, arguments))
    return record


def _floating(x: ArrayLike) -> Array:
    is_complex = jnp.issubdtype(getattr(x, "dtype", type(x)), jnp.complexfloating)
    remedy = "Pass the real and imaginary parts separately." if is_complex else ""
    return checks.real_array("activation", "x", x, remedy=remedy)


ActivationLike = str | Activation | Elementwise
"""What can be given as an activation: a name of the catalogue, an `Activation`, or any elementwise JAX function."""
