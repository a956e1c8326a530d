"""Compiled programs of the analyses, saved between runs: a second run compiles nothing."""

from __future__ import annotations

import pathlib
import sys

ENVIRONMENT = pathlib.Path(__file__).parents[2] / ".venv"  # of a clone, made by `make`


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
