"""Random weight matrices at unit scale, and the named scales of the literature.

Weights act from the left, h = W x: rows are outputs. A *unit draw* of shape (n_out, n_in) has entries of mean 0 and mean
square 1 / n_in, so that W = sigma_w * draw keeps the mean squared pre-activation at sigma_w^2 times that of the input.
Scales are applied afterwards: one draw serves every scale.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from jaxsat import checks

Ensemble = Literal["gaussian", "uniform", "orthogonal"]
Draw = Callable[[Key[Array, ""], int, int], Float[Array, "n_out n_in"]]


def gaussian(key: Key[Array, ""], n_out: int, n_in: int) -> Float[Array, "n_out n_in"]:
    """Return independent normal entries of variance 1 / n_in."""
    key, n_out, n_in = _checked(key, n_out, n_in)
    return jax.random.normal(key, (n_out, n_in)) / float(np.sqrt(n_in))


def uniform(key: Key[Array, ""], n_out: int, n_in: int) -> Float[Array, "n_out n_in"]:
    """Return independent uniform entries of mean 0 and variance 1 / n_in: on [-a, a] with a = sqrt(3 / n_in)."""
    key, n_out, n_in = _checked(key, n_out, n_in)
    bound = float(np.sqrt(3 / n_in))
    return jax.random.uniform(key, (n_out, n_in), minval=-bound, maxval=bound)


def orthogonal(key: Key[Array, ""], n_out: int, n_in: int) -> Float[Array, "n_out n_in"]:
    """Return a Haar-distributed orthogonal matrix; for other shapes, a matrix with orthonormal rows or columns.

    With more rows than columns it is multiplied by sqrt(n_out / n_in), so that entries have mean square 1 / n_in
    whatever the shape.

    References: Mezzadri 2007 (QR of a gaussian matrix, signs fixed by the diagonal of R).
    """
    key, n_out, n_in = _checked(key, n_out, n_in)
    tall = jax.random.normal(key, (max(n_out, n_in), min(n_out, n_in)))
    q, r = jnp.linalg.qr(tall)
    q = q * jnp.where(jnp.diagonal(r) < 0, -1.0, 1.0)[None, :]
    return q * float(np.sqrt(n_out / n_in)) if n_out > n_in else q.T if n_out < n_in else q


def _checked(key: Key[Array, ""], n_out: int, n_in: int) -> tuple[Key[Array, ""], int, int]:
    n_out, n_in = checks.size("ensemble", "n_out", n_out), checks.size("ensemble", "n_in", n_in)
    return checks.random_key("ensemble", "key", key), n_out, n_in


_ENSEMBLES: dict[str, Draw] = {"gaussian": gaussian, "uniform": uniform, "orthogonal": orthogonal}


def get(ensemble: str) -> Draw:
    """Return the unit draw of an ensemble, by name.

    Raises:
        TypeError: not a string.
        ValueError: unknown name.
    """
    return _ENSEMBLES[checks.one_of("ensemble", "", ensemble, _ENSEMBLES)]


ScaleName = Literal["lecun", "he", "glorot", "standard"]


def named_scale(name: str, n_out: int, n_in: int) -> float:
    """Return sigma_w of a named initialisation: the standard deviation of an entry is sigma_w / sqrt(n_in).

    Args:
        name: 'lecun' (variance 1/n_in), 'he' (2/n_in), 'glorot' (2/(n_in + n_out); "normalised" in Glorot & Bengio
            2010), or 'standard' (1/(3 n_in): uniform on +-1/sqrt(n_in), the "standard" of the same paper).
        n_out, n_in: shape of the weight matrix.

    References: LeCun et al. 1998; He et al. 2015, eq. 10; Glorot & Bengio 2010, eqs. 1 and 16.

    >>> round(named_scale("he", 128, 128), 4), round(named_scale("glorot", 128, 64), 4)
    (1.4142, 0.8165)
    """
    n_out, n_in = checks.size("weight_scale", "n_out", n_out), checks.size("weight_scale", "n_in", n_in)
    checks.one_of("weight_scale", "", name, get_args(ScaleName), "be a number or a known name")
    squares = {"lecun": 1.0, "he": 2.0, "glorot": 2 * n_in / (n_in + n_out), "standard": 1 / 3}
    return float(np.sqrt(squares[name]))
