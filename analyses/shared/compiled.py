"""Compiled programs of the analyses: saved between runs, and for a small study compiled in less time."""

from __future__ import annotations

import os
import pathlib
import sys

ENVIRONMENT = pathlib.Path(__file__).parents[2] / ".venv"  # of a clone, made by `make`
# `claims --quick` on two cores: 62 s, of which XLA compiles 41; with these flags 46, of which 23. The full
# `gradients_vanish_with_depth`, where compiling is a fifth, would take 238 s instead of 195.
QUICK_FLAGS = "--xla_cpu_use_fusion_emitters=false --xla_backend_optimization_level=1"


def compile_fast() -> None:
    """Let XLA compile in less time, into slower programs. Must be called before the first compilation.

    Does nothing where the user chose XLA_FLAGS. The dataset records the flags: other flags change the last digits.
    """
    os.environ.setdefault("XLA_FLAGS", QUICK_FLAGS)


def keep_programs(environment: pathlib.Path = ENVIRONMENT) -> None:
    """Save compiled programs in `environment`/compiled. Must be called before the first compilation.

    Does nothing where there is no such environment, or where the user chose a folder (JAX_COMPILATION_CACHE_DIR). A
    folder that cannot be written is reported once, and the analysis goes on without it.
    """
    import jax

    from jaxsat.results import zarr_files

    chosen = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
    if not environment.is_dir() or chosen is not None:
        return
    folder = environment / "compiled"
    try:
        zarr_files.check_folder(folder, "compiled programs:")
    except ValueError as error:
        print(f"{error} Every run will compile its programs again.", file=sys.stderr)
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # Most programs of an analysis compile in less than the second from which on JAX saves them by default.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.05)
