"""Grids of networks: any field of a network crossed with seeds, measured, and labelled.

A request (``sweep_request``) becomes a plan (``plan``): chunks of results, and the programs that fill them by tiles of
one fixed shape (``tiles``, ``choices``). A pipeline (``pipeline``) runs it on all devices, into memory or into a store on
disk (``worker``).
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import ArrayLike, Float

from jaxsat import checks
from jaxsat.measures.registry import Compute, Measure
from jaxsat.networks.protocol import Network
from jaxsat.results import executors, provenance
from jaxsat.results import progress as progress_
from jaxsat.results.executors import Executor
from jaxsat.results.locations import Location, location_of, within_reach
from jaxsat.sweeps import handing_out, worker
from jaxsat.sweeps.pipeline import Pipeline
from jaxsat.sweeps.plan import Plan, Task
from jaxsat.sweeps.sweep_request import SweepRequest, labelled_sweep

if TYPE_CHECKING:
    import xarray


def sweep(
    net: Network,
    measure: str | Compute | Measure | Sequence[str | Compute | Measure],
    over: Mapping[str, Sequence[Any] | ArrayLike] | None = None,
    *,
    seeds: int = 100,
    root_seed: int = 0,
    x: Float[ArrayLike, ...] | None = None,
    every_depth: bool = False,
    store: str | Location | None = None,
    executor: Executor | None = None,
    allow_mixed: bool = False,
    progress: bool = True,
    memory_budget: int = 2**30,
) -> xarray.Dataset:
    """Measure every network of a grid, for many seeds, and return a labelled dataset.

    Args:
        net: the network whose fields are varied: an MLP, a ``Recurrent``, or a network of your own (`docs/your_own_network.md`).
        measure: a name (``jaxsat.measures.names()``), a function ``(net, key, x) -> dict of arrays``, or several.
        over: field of the network -> values; None: this network alone, for all seeds. All values of a scale share one compiled program; each combination of the other
            fields has its own. Networks that differ only in scale or activation share their draws, so differences
            between them are paired.
        seeds: how many. Seed s is the network with key ``addresses.network(addresses.root(root_seed), s)``.
        root_seed: of the whole sweep, from 0 to 2^32 - 1.
        x: one input (n_0,), a batch of inputs (batch, n_0) that every network sees, or None: a gaussian input of
            unit mean square, drawn for each seed. A recurrent network takes (steps, inputs), or a batch of those. How a batch is reduced is decided by each measure.
        every_depth: adds a "depth" dimension, 1 .. depth, from one pass. Only some measures have this form. For a
            recurrent network the dimension is "lag": of the states after 1 .. steps steps.
        store: path of a zarr store, or its address, as "s3://bucket/run.zarr" (extra `objects`). It is written chunk by chunk,
            and a chunk is marked once it is safely on the disk. An existing store is resumed: what is done is not computed
            again, whatever ended the run before, and missing values and seeds are added. Any number of processes and hosts
            may work on one store at once, each on its own chunks; each returns when everything that it asked for is done.
        executor: whose workers compute the chunks, instead of this process: anything with the ``submit`` of PEP 3148, such as
            ``concurrent.futures.ProcessPoolExecutor`` (with the context "spawn"), a ``Client`` of Dask or its executor, or
            submitit's. Needs a `store` that the workers reach by the same path or address. A task whose worker dies is
            submitted again. Results are the same bits.
        allow_mixed: accept that this machine, or a worker's, has other instructions or other XLA_FLAGS than the machine that began
            the store. Last bits then depend on who computed what. The attribute `machines` names all kinds.
        progress: show networks done, rate and time left on stderr: a bar in a terminal, elsewhere a line now and then.
        memory_budget: bytes that the sweep may hold on each device at a time. The returned dataset comes on top; with a
            store it is read from there when it is used.

    Returns: an ``xarray.Dataset`` with a variable for each array of each measure; dimensions are the swept names in
    the order of `over`, then "seed", then the measure's own: "layer", for a recurrent network "time". Units, long names, configuration, versions, root seed
    and time are attributes. Non-finite results stay as they are (-inf is a correct logarithm of 0). The attribute
    `nan_networks` of each variable says how many networks hold a NaN; with a store, how many of the whole store.

    All local devices of JAX are used, each on tiles of its own. Results are the same bits for any number of devices.
    With ``jax.distributed`` each process uses its own devices.

    Raises:
        ValueError: unknown names, empty or non-finite grids, a wrong input width, a measure whose shapes differ
            between networks or that looks at a scale's value, a budget too small for one tile, an unusable store, or
            a store of another request or kind of machine (the message says what differs). All of them before any long work.
        OSError: the store can no longer be written. What was done before stays.
        RuntimeError: some chunks of a store could not be computed; all others are done.

    Cost: one trace and compilation for each combination of static values, in a process once: a later call with the same
        measure, shapes and dtype compiles nothing, also with other scales, seeds and another root seed. (A function of
        yours is traced once, as by ``jax.jit``: pass a new function where it should do something else.) Networks that
        differ in activation only share their draws. Peak device memory is below `memory_budget`. Seeds are added in
        whole chunks: the last chunk, if it was cut short, is computed anew.

    >>> from jaxsat.networks import MLP
    >>> ds = sweep(MLP(depth=5, width=16), "log_gradient_norms", {"weight_scale": [0.5, 1.0, 2.0]}, seeds=8, progress=False)
    >>> dict(ds.sizes)
    {'weight_scale': 3, 'seed': 8, 'layer': 5}
    >>> bool((ds.log_gradient_norms.mean("seed").diff("layer") > 0).sel(weight_scale=0.5).all())  # it vanishes
    True
    """
    started = time.perf_counter()
    over = {} if over is None else over
    request = SweepRequest.of(net, measure, over, seeds=seeds, root_seed=root_seed, x=x, every_depth=every_depth)
    memory_budget = checks.integer("sweep", "memory_budget", memory_budget)
    request.check_size(memory_budget)
    path = None if store is None else location_of("sweep", store)
    if executor is not None:
        executors.check_executor("sweep", executor, store)
    if path is not None:
        arguments = {"net": net, "measure": measure, "over": over, "seeds": seeds, "root_seed": root_seed, "x": x}
        arguments["every_depth"] = every_depth
        finish = None
        if executor is not None:
            finish = functools.partial(handing_out.hand_out, executor, arguments, memory_budget, allow_mixed)
        with within_reach("sweep", path):
            return worker.sweep_into_store(request, path, progress, memory_budget, allow_mixed, finish)
    plan = Plan.of(request)
    dataset = _in_memory(plan, progress, memory_budget)
    tiles = [programs.tile for programs in plan.programs.values()]
    dataset.attrs |= provenance.of_run(request.as_kept(tiles), seconds=time.perf_counter() - started)
    return dataset


def _in_memory(plan: Plan, progress: bool, memory_budget: int) -> xarray.Dataset:
    """Compute the whole plan into arrays."""
    sizes = plan.layout.sizes
    results = {n: np.empty((*sizes.values(), *s.shape), s.dtype) for n, s in plan.shapes.items()}
    # The dataset is a view of the arrays, made first: labels are checked before long work.
    dataset = labelled_sweep(results, plan.grid, plan.request.measure)
    with progress_.reported(math.prod(sizes.values()), "networks", progress) as done:

        def finished(task: Task) -> None:
            if task.error is not None:
                raise task.error
            for name, array in task.buffers.items():
                results[name][tuple(plan.layout.slices(task.unit).values())] = array
            done(plan.layout.networks(task.unit))

        Pipeline(plan, finished, memory_budget).run(plan.groups())
    for array in dataset.data_vars.values():
        own = [dim for dim in array.dims if dim not in sizes]
        array.attrs["nan_networks"] = int(array.isnull().any(own).sum())
    return dataset
