"""Tests run in float64, with strict promotion of dtypes and ranks, and with every annotated shape checked."""

import atexit
import os
import pathlib
import uuid

# Compiling takes most of the time. Two files, compiled anew, CPU s: as users compile 76, without optimization 55, without
# fusion emitters too 28 to 34. Five files: 89 with that, 85 without call stacks in each program, 76 not split for several threads.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1",
)
os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")

import jax
import matplotlib
import pytest
from jaxtyping import install_import_hook

from tests import quick_cases

matplotlib.use("Agg")
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
install_import_hook("jaxsat", "beartype.beartype")
if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers share the cores: a thread for each core in each worker costs a quarter more. Tests of threads ask for their own.
    from jaxsat.results import machine

    machine.cores = lambda: 1

# Programs compiled once are kept for the next run. The cache's keys hold jaxlib, machine and flags.
CACHE = pathlib.Path(__file__).parent.parent / ".venv" / "compiled"
jax.config.update("jax_compilation_cache_dir", str(CACHE))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)

collect_ignore = ["odd_arguments"]  # a program of its own, as users run jaxsat: in float32

MAPS = pathlib.Path("/proc/self/maps")
MOST_MAPS = 45_000  # of the 65,530 pieces of memory that Linux lets a process map


@pytest.fixture(autouse=True, scope="module")
def _programs_are_let_go():
    """Every compiled program maps some pieces of memory: all are let go when there are many."""
    yield
    if not MAPS.exists() or MAPS.read_text().count("\n") > MOST_MAPS:
        from jaxsat.sweeps.choices import SWEEP_PROGRAMS

        SWEEP_PROGRAMS.clear()
        jax.clear_caches()


@pytest.fixture
def compilations():
    """What JAX traces and compiles from here on: a list of its own names for it, growing as it does."""
    seen: list[str] = []

    def listen(event: str, duration: float, **_: object) -> None:
        if event.startswith("/jax/core/compile/"):
            seen.append(event.removeprefix("/jax/core/compile/"))

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield seen
    jax.monitoring.unregister_event_duration_listener(listen)


@pytest.fixture(scope="session")
def object_server():
    """The environment in which clients find a server of objects."""
    from tests.object_server import serving

    with serving() as environment:
        yield environment


@pytest.fixture(params=["memory", pytest.param("s3", marks=pytest.mark.slow)])
def address(request, monkeypatch):
    """An address at which nothing is yet: of a server of objects, or in the memory of this process."""
    name = f"{uuid.uuid4().hex}/run.zarr"
    if request.param == "memory":
        return f"memory://{name}"
    for key, value in request.getfixturevalue("object_server").items():
        monkeypatch.setenv(key, value)
    return f"s3://results/{name}"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Note, before any case is left out, which test functions have no quick case, and which cases are marked twice."""
    quick_cases.note(items)


def pytest_sessionfinish() -> None:
    """Let a worker end at once: it has nothing left to write, and would take down thousands of programs for 10 s."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        atexit.register(os._exit, 0)
