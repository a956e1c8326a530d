"""Trainings whose tiles are trained by an executor: processes, a Dask cluster, batch jobs.

A task is a tile of networks. Its worker makes the request again from the arguments of ``train``, saves the tile's checkpoints
beside the store, as one process would, and returns what was recorded. Tiles are the same as without an executor, so results
are the same bits. A worker may die at any moment: its task is submitted again and goes on from the last checkpoint.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxsat.results import executors
from jaxsat.results.locations import Location
from jaxsat.results.worker_memory import keep_memory
from jaxsat.training.checkpoints import Folder
from jaxsat.training.concurrency import in_turn
from jaxsat.training.train_request import TrainingRequest
from jaxsat.training.training_program import ChoiceRun


def train_elsewhere(
    executor: executors.Executor, arguments: Mapping[str, Any], runs: Sequence[ChoiceRun], folder: Folder,
    allow_mixed: bool, advance: Callable[[int], Any],
) -> list[dict[str, np.ndarray]]:  # fmt: skip
    """Have every tile trained, and return what was recorded: what ``training_program.trained`` returns.

    Args:
        executor: whose workers reach the folder by the same path.
        arguments: of ``TrainingRequest.of``.
        runs: of that request.
        folder: for checkpoints.
        allow_mixed: whether workers may be machines of another kind.
        advance: called with the number of steps done, summed over networks.

    Raises:
        RuntimeError: some tiles could not be trained in three attempts; checkpoints of all are kept.
        TypeError: arguments that cannot be pickled.
    """
    sent, double = executors.pickled("train", arguments), jnp.result_type(float) == jnp.float64
    store = folder.store.absolute()
    calls = {
        (choice, tile): (sent, store, choice, tile, allow_mixed, double)
        for choice, run in enumerate(runs)
        for tile in range(len(run.tiles))
    }
    found: dict[tuple[int, int], dict[str, np.ndarray]] = {}

    def ended(which: tuple[int, int], result: dict[str, np.ndarray]) -> bool:
        found[which] = result
        advance(runs[which[0]].counts[which[1]] * runs[which[0]].at[-1])
        return True

    failed = executors.call_all(executor, train_tile, calls, ended)
    executors.check_all_done("train", failed, len(calls), f"checkpoints are in {folder.path}")
    return [run.joined([found[i, tile] for tile in range(len(run.tiles))]) for i, run in enumerate(runs)]


def train_tile(
    sent: bytes, store: Location, choice: int, tile: int, allow_mixed: bool, double: bool
) -> dict[str, np.ndarray]:
    """Train a tile, in the worker, and return what was recorded."""
    keep_memory()
    with jax.enable_x64(double):
        request = TrainingRequest.of(**pickle.loads(sent))
        runs = request.runs()
        folder = Folder(store, request.as_kept(runs), allow_mixed)  # raises where programs differ
        return in_turn(runs[choice].tile(tile, folder, str(choice), lambda steps: None))
