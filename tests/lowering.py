"""Programs for machines that this one is not: JAX writes them, and refuses what it cannot write. Nothing is computed."""

import jax
from jax import export

PLATFORMS = ["cuda", "rocm", "tpu"]


def lower(function, *arguments):
    """Write the program of a function for each platform."""
    export.export(jax.jit(function), platforms=PLATFORMS)(*arguments)
