"""The only place that touches jaxprs and other parts of JAX that move between its versions.

Everything here is public JAX (``jax.core``, ``jax.extend``), as of JAX 0.10 to 0.12; ``tests/test_jax_compat.py`` holds
what jaxsat relies on.
"""

from __future__ import annotations

from typing import Any

import jax
from jax.core import Tracer, eval_jaxpr
from jax.extend import source_info_util
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var, jaxpr_as_fun

__all__ = [
    "ClosedJaxpr",
    "Jaxpr",
    "JaxprEqn",
    "Literal",
    "Tracer",
    "Var",
    "eval_jaxpr",
    "jaxpr_as_fun",
    "jaxprs_in",
    "source_info_util",
]


def jaxprs_in(params: dict[str, Any]) -> list[Jaxpr]:
    """Return every jaxpr among the parameters of an equation: the bodies of loops, branches and calls."""
    found: list[Jaxpr] = []
    for leaf in jax.tree.leaves(list(params.values()), is_leaf=lambda v: isinstance(v, (ClosedJaxpr, Jaxpr))):
        if isinstance(leaf, ClosedJaxpr):
            found.append(leaf.jaxpr)
        elif isinstance(leaf, Jaxpr):
            found.append(leaf)
    return found
