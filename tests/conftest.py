"""Tests run in float64, with strict promotion of dtypes and ranks, and with every annotated shape checked."""

import os
import pathlib

os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=1")

import jax
import matplotlib
import pytest
from jaxtyping import install_import_hook

matplotlib.use("Agg")
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
install_import_hook("jaxsat", "beartype.beartype")

# Programs compiled once are kept for the next run. The cache's keys hold jaxlib, machine and flags.
CACHE = pathlib.Path(__file__).parent.parent / ".venv" / "compiled"
jax.config.update("jax_compilation_cache_dir", str(CACHE))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


@pytest.fixture(autouse=True, scope="module")
def _programs_are_let_go():
    """A process may map only so many pieces of memory, and every compiled program holds some."""
    yield
    jax.clear_caches()
