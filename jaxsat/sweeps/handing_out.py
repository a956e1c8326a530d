"""Sweeps whose chunks are computed by an executor: processes, a Dask cluster, batch jobs.

Any executor of PEP 3148 works: ``submit(function, *arguments)`` returns something with ``done()`` and ``result()``. A task is
some chunks of a store. The worker opens the store, computes them and writes them there, so results do not travel. Leases
and marks are those of any process on a store: a chunk that is done twice has the same bits. A worker may die at any moment: its
task is then submitted again.
"""

from __future__ import annotations

import importlib
import pathlib
import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from jaxsat import checks
from jaxsat.results import progress as progress_
from jaxsat.results.layout import Unit
from jaxsat.results.store import Store
from jaxsat.sweeps import worker
from jaxsat.sweeps.plan import Plan
from jaxsat.sweeps.sweep_request import SweepRequest

CHUNKS_OF_A_TASK = 4  # a chunk takes seconds
ATTEMPTS = 3  # of a task that fails
SECONDS_BETWEEN_LOOKS = 0.05


@runtime_checkable
class Errand(Protocol):
    """What an executor returns for a call, a ``concurrent.futures.Future`` or its like."""

    def done(self) -> bool:
        """Return whether the call has ended."""
        ...

    def result(self) -> Any:
        """Return what the call returned, or raise its error."""
        ...


@runtime_checkable
class Executor(Protocol):
    """What calls functions somewhere else, a ``concurrent.futures.Executor`` or its like."""

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Errand:
        """Start a call."""
        ...


def check_executor(executor: Any, store: Any) -> None:
    """Raise unless this is an executor, and there is a store that workers can write."""
    if not callable(getattr(executor, "submit", None)):
        rule, remedy = "have a method `submit`, as executors have", "Example: concurrent.futures.ProcessPoolExecutor."
        raise TypeError(checks.refusal("sweep", "executor", rule, checks.Shown(type(executor).__name__), remedy))
    if store is None:
        rule, remedy = "come with a `store`", "Workers write their chunks there."
        raise ValueError(checks.refusal("sweep", "executor", rule, checks.Shown("store=None"), remedy))


def hand_out(
    executor: Executor, arguments: Mapping[str, Any], memory_budget: int, plan: Plan, opened: Store, progress: bool
) -> None:
    """Compute everything that is wanted and missing, and return when it is there.

    Args:
        executor: whose workers reach the same folder by the same path.
        arguments: of ``jaxsat.sweep``, from which each worker makes the request again.
        memory_budget, progress: as of ``jaxsat.sweep``.
        plan, opened: the plan of the request, and the store, which has its size already.

    Raises:
        RuntimeError: some chunks could not be computed in three attempts; all others are done.
        TypeError: arguments that cannot be pickled.
    """
    sent = _pickled(arguments)
    layout, wanted = plan.layout, plan.wanted()
    left = wanted - opened.done()
    path, double = str(opened.path.absolute()), jnp.result_type(float) == jnp.float64
    batches = [
        group[i : i + CHUNKS_OF_A_TASK] for group in plan.groups(left) for i in range(0, len(group), CHUNKS_OF_A_TASK)
    ]
    under_way = {tuple(batch): executor.submit(work_on, sent, path, batch, memory_budget, double) for batch in batches}
    attempts, failed = dict.fromkeys(under_way, 1), {}
    total, before = sum(map(layout.networks, wanted)), sum(map(layout.networks, wanted - left))
    with progress_.reported(total, "networks", progress, done=before) as advance:
        while under_way:
            ended = [batch for batch, task in under_way.items() if task.done()]
            if not ended:
                time.sleep(SECONDS_BETWEEN_LOOKS)
            for batch in ended:
                error = _error_of(under_way.pop(batch))
                done = [unit for unit in batch if opened.is_done(unit)]
                if error is None and len(done) == len(batch):
                    advance(sum(map(layout.networks, done)))
                elif attempts[batch] < ATTEMPTS and (
                    new := _submitted(executor, sent, path, batch, memory_budget, double)
                ):
                    attempts[batch] += 1
                    under_way[batch] = new
                else:
                    failed[batch] = error or RuntimeError("the task ended, but its chunks are not marked as done")
    if failed:
        batch, error = next(iter(failed.items()))
        raise RuntimeError(
            f"sweep: {len(failed)} of {len(batches)} tasks could not be computed by `executor`; the rest is in "
            f"{opened.path}. Run the same again for what is missing. The first error: {checks.shown(checks.Shown(error))}"
        ) from error


def work_on(sent: bytes, path: str, units: Sequence[Unit], memory_budget: int, double: bool) -> int:
    """Compute chunks of a store, in the worker, and return how many they were."""
    with jax.enable_x64(double):
        request = SweepRequest.of(**pickle.loads(sent))
        return worker.work_on_units(request, pathlib.Path(path), units, memory_budget)


def _submitted(executor: Executor, *arguments: Any) -> Errand | None:
    """Return a task that was submitted again; None if the executor takes no more."""
    try:
        return executor.submit(work_on, *arguments)
    except RuntimeError:  # a pool whose process died, or that was shut down
        return None


def _error_of(task: Errand) -> BaseException | None:
    try:
        task.result()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a cancelled task is no Exception
        return error
    return None


def _pickled(arguments: Mapping[str, Any]) -> bytes:
    """Return arguments as bytes. Where cloudpickle is installed, it takes what pickle cannot write."""
    try:
        return pickle.dumps(dict(arguments))
    except Exception as error:
        try:
            return importlib.import_module("cloudpickle").dumps(dict(arguments))
        except Exception:
            rule = "get arguments that can be pickled"
            remedy = "Define functions in a module that the workers can import, or install cloudpickle."
            raise TypeError(checks.refusal("sweep", "executor", rule, checks.Shown(error), remedy)) from None
