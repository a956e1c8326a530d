"""Executors by name, for the command line.

processes:8            eight processes of this machine
dask://HOST:PORT       a Dask cluster, by the address of its scheduler
slurm                  jobs of SLURM, through submitit
mpi                    the other ranks of MPI: mpiexec -n 8 python -m mpi4py.futures -m jaxsat run ... --engine mpi
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import importlib
import multiprocessing
import pathlib
import re
import sys
from collections.abc import Iterator
from typing import Any

from jaxsat import checks
from jaxsat.results.executors import Executor

FORMS = "be processes:N, dask://HOST:PORT, slurm or mpi"
LOGS = pathlib.Path("jaxsat-logs")  # of jobs


@contextlib.contextmanager
def executor_of(engine: str) -> Iterator[Executor]:
    """Yield the executor with this name, and close it afterwards.

    Raises:
        ValueError: another name.
        ImportError: the library of the engine is not installed.

    >>> with executor_of("processes:1") as executor:
    ...     executor.submit(abs, -3).result()
    3
    """
    if found := re.fullmatch(r"processes:(\d+)", engine):
        count = checks.integer("run", "--engine", int(found[1]), remedy="Give the number of processes.")
        spawn = multiprocessing.get_context("spawn")  # a fork of a process in which JAX has started threads can hang
        with concurrent.futures.ProcessPoolExecutor(count, mp_context=spawn) as pool:
            yield pool
    elif found := re.fullmatch(r"dask://(.+:\d+)", engine):
        with _library("distributed", engine).Client(f"tcp://{found[1]}") as client:
            yield client
    elif engine == "slurm":
        executor = _library("submitit", engine).AutoExecutor(folder=LOGS, cluster="slurm")
        executor.update_parameters(timeout_min=240)
        yield executor
    elif engine == "mpi":
        with _ranks_of_mpi(engine) as pool:
            yield pool
    else:
        raise ValueError(checks.refusal("run", "--engine", FORMS, engine))


def _ranks_of_mpi(engine: str) -> Any:
    """Return the executor of the other ranks. Started in another way, mpi4py would wait for ranks that never come."""
    launched = "mpi4py.futures" in sys.orig_argv
    try:
        ranks = _library("mpi4py.MPI", engine).COMM_WORLD.Get_size() if launched else 1
    except RuntimeError as error:
        what = f"run: `--engine` {engine} needs an MPI library, as from pip install mpich"
        raise ImportError(f"{what}: {checks.first_line(error)}") from None
    if ranks == 1:
        rule, remedy = (
            "be mpi under mpiexec, with two ranks or more",
            "Example: mpiexec -n 8 jobs/mpi.sh JOB.toml STORE.",
        )
        raise ValueError(checks.refusal("run", "--engine", rule, checks.Shown("one process alone"), remedy))
    return importlib.import_module("mpi4py.futures").MPIPoolExecutor()


def _library(name: str, engine: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        package = name.partition(".")[0]
        raise ImportError(f"run: `--engine` {engine} needs {package}; install it with: pip install {package}") from None
