"""Sweeps whose chunks are computed by an executor: processes, a Dask cluster, batch jobs.

A task is some chunks of a store. The worker opens the store, computes them and writes them there, so results do not travel.
Leases and marks are those of any process on a store: a chunk that is done twice has the same bits. A worker may die at any
moment: its task is then submitted again.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxsat.results import executors
from jaxsat.results import progress as progress_
from jaxsat.results.executors import Executor
from jaxsat.results.layout import Unit
from jaxsat.results.locations import Location
from jaxsat.results.store import Store
from jaxsat.results.worker_memory import keep_memory
from jaxsat.sweeps import worker
from jaxsat.sweeps.plan import Plan
from jaxsat.sweeps.sweep_request import SweepRequest

CHUNKS_OF_A_TASK = 4  # a chunk takes seconds


def hand_out(
    executor: Executor, arguments: Mapping[str, Any], memory_budget: int, allow_mixed: bool, plan: Plan, opened: Store,
    progress: bool,
) -> None:  # fmt: skip
    """Have everything that is wanted and missing computed; return when it is there.

    Args:
        executor: whose workers reach the store by the same path or address.
        arguments: of ``jaxsat.sweep``, from which each worker makes the request again.
        memory_budget, allow_mixed, progress: as of ``jaxsat.sweep``.
        plan, opened: the plan of the request, and the store, which has its size already.

    Raises:
        RuntimeError: some chunks could not be computed in three attempts; all others are done.
        TypeError: arguments that cannot be pickled.
    """
    sent = executors.pickled("sweep", arguments)
    layout, wanted = plan.layout, plan.wanted()
    left = wanted - opened.done()
    path, double = opened.path.absolute(), jnp.result_type(float) == jnp.float64
    batches = [
        group[i : i + CHUNKS_OF_A_TASK] for group in plan.groups(left) for i in range(0, len(group), CHUNKS_OF_A_TASK)
    ]
    total, before = sum(map(layout.networks, wanted)), sum(map(layout.networks, wanted - left))
    with progress_.reported(total, "networks", progress, done=before) as advance:

        def ended(batch: tuple[Unit, ...], _: int) -> bool:
            if not all(map(opened.is_done, batch)):
                return False
            advance(sum(map(layout.networks, batch)))
            return True

        calls = {tuple(batch): (sent, path, batch, memory_budget, allow_mixed, double) for batch in batches}
        failed = executors.call_all(executor, work_on, calls, ended)
    executors.check_all_done("sweep", failed, len(calls), f"the rest is in {opened.path}")


def work_on(
    sent: bytes, path: Location, units: Sequence[Unit], memory_budget: int, allow_mixed: bool, double: bool
) -> int:
    """Compute chunks of a store, in the worker, and return how many they were."""
    keep_memory()
    with jax.enable_x64(double):
        request = SweepRequest.of(**pickle.loads(sent))
        return worker.work_on_units(request, path, units, memory_budget, allow_mixed)
