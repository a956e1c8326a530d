"""What is asked of a training run: data, grid of networks, optimiser and times, checked before anything is traced."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import jaxlib.version
import numpy as np

from jaxsat import addresses, checks
from jaxsat.networks.grid import Grid, kind_of, plain
from jaxsat.networks.mlp import MLP
from jaxsat.networks.protocol import Network, check_network, swept_fields
from jaxsat.training import checkpoints, recording
from jaxsat.training.optimizers import LEARNING_RATE, identity_of, optimizer_of
from jaxsat.training.steps import Data, Trainer
from jaxsat.training.targets import Examples, examples
from jaxsat.training.training_program import ChoiceRun, network_tiles
from jaxsat.training.weights import check_weights

MOST_LOOKS = 10**7


@dataclasses.dataclass(frozen=True)
class Lengths:
    """How much is asked for: networks of each kind, passes over the data, sizes of a minibatch and of the probe."""

    seeds: int
    epochs: int
    batch_size: int
    probe: int

    @classmethod
    def of(cls, **given: Any) -> Lengths:
        """Return them checked: integers of at least 1."""
        return cls(**{name: checks.size("train", name, value) for name, value in given.items()})


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingRequest:
    """Arguments of ``train`` that decide its numbers.

    Attributes:
        grid: of networks and learning rates.
        train, test: the examples; `test` may be None.
        optimizer: learning rate -> GradientTransformation.
        identity: what tells the optimiser from others.
        records: what is looked at, by name.
        at: the steps at which it is.
        lengths, root_seed: as given.
    """

    grid: Grid
    train: Examples
    test: Examples | None
    optimizer: Callable[[Any], Any]
    identity: Hashable
    records: Mapping[str, recording.Record]
    at: list[int]
    lengths: Lengths
    root_seed: int

    @classmethod
    def of(
        cls, net: Any, data: Any, test: Any, *, over: Any, optimizer: Any, lengths: Lengths, root_seed: Any, record: Any,
        record_every: Any,
    ) -> TrainingRequest:  # fmt: skip
        """Return the request, checked; errors as of ``train``."""
        check_network("train", net)
        root_seed = checks.integer("train", "root_seed", root_seed, least=0, most=2**32 - 1)
        grid = grid_of(net, {} if over is None else over)
        networks = grid.networks()
        given = examples("data", data, networks)
        tested = None if test is None else examples("test", test, networks)
        if tested is not None and (tested.y.shape[1:], tested.real) != (given.y.shape[1:], given.real):
            came = checks.Shown(f"{tested.y.dtype} of shape {tested.y.shape}")
            raise ValueError(checks.refusal("train", "test", "have targets of the same kind as `data`", came))
        if lengths.batch_size > len(given.x):
            rule = f"be at most the {len(given.x)} training examples"
            raise ValueError(checks.refusal("train", "batch_size", rule, lengths.batch_size, "Make it smaller."))
        make = optimizer_of(optimizer, LEARNING_RATE in grid.over)
        for one in networks:
            check_weights(one)
        records = recording.get(record, tested is not None, networks, given.real)
        at = recorded_steps(record_every, lengths.epochs * (len(given.x) // lengths.batch_size))
        return cls(grid, given, tested, make, identity_of(optimizer), records, at, lengths, root_seed)

    @property
    def steps_of_epoch(self) -> int:
        """Optimiser steps of one pass over the data."""
        return len(self.train.x) // self.lengths.batch_size

    def runs(self) -> list[ChoiceRun]:
        """Return what is to run for each static choice; its programs are traced, and compiled only if they are run.

        Raises:
            ValueError: records whose shapes differ between networks.
        """
        x, y = self.train.arrays
        test = None if self.test is None else self.test.arrays
        data = Data((x, y), test, (x[: self.lengths.probe], y[: self.lengths.probe]))
        root, size = addresses.root(self.root_seed), self.lengths.batch_size
        runs = []
        for net in self.grid.networks():
            trainer = Trainer(net, self.optimizer, self.records, size, len(x))
            cut = network_tiles(net, self.grid, self.lengths.seeds)
            runs.append(ChoiceRun(trainer, self.identity, cut, root, data, self.at))
        _check_same_shapes(runs)
        return runs

    def as_kept(self, runs: Sequence[ChoiceRun]) -> dict[str, Any]:
        """Return the request as it is kept with its results, plain JSON."""
        test = "none" if self.test is None else _digest(self.test.x, self.test.y)
        base = self.grid.base
        kind = {} if isinstance(base, MLP) else {"kind": kind_of(base)}
        return {
            "kind": checkpoints.KIND,
            "network": kind | {field.name: plain(getattr(base, field.name)) for field in dataclasses.fields(base)},
            "over": self.grid.labels,
            **dataclasses.asdict(self.lengths),
            "root_seed": self.root_seed,
            "record": list(self.records),
            "steps": self.at,
            "dtype": str(jnp.result_type(float)),
            "platform": jax.default_backend(),
            "jaxlib": jaxlib.version.__version__,
            "data": _digest(self.train.x, self.train.y),
            "test": test,
            "program": _digest(*(run.program.fingerprint for run in runs)),
        }


def _check_same_shapes(runs: Sequence[ChoiceRun]) -> None:
    expected = {name: s.shape for name, s in runs[0].program.shapes.items()}
    for run in runs:
        got = {name: s.shape for name, s in run.program.shapes.items()}
        if got != expected:
            raise ValueError(
                f"train: `record` must have the same shapes for every network; got {expected} and {got}. "
                "Train networks of different depths apart, or record nothing per layer."
            )


def _digest(*parts: Any) -> str:
    found = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            found.update(part.encode())
        else:
            found.update(f"{part.shape} {part.dtype}".encode() + np.ascontiguousarray(part).tobytes())
    return found.hexdigest()[:16]


def grid_of(net: Network, over: Mapping[str, Any]) -> Grid:
    """Return the networks of a request, from fields and values."""
    found = Grid.of(net, over, rates=(LEARNING_RATE,), caller="train")
    if any(getattr(one, "outputs", 0) is None for one in found.networks()):
        remedy = "Set `outputs` to the number of classes."
        raise ValueError(checks.refusal("train", "net", "have a read-out", checks.Shown("outputs=None"), remedy))
    for name in swept_fields(net):
        if name not in found.over and np.ndim(value := getattr(net, name)) != 0:
            remedy = f"Give several as over={{'{name}': [...]}}."
            came = checks.Shown(f"an array of shape {np.shape(value)}")
            raise ValueError(checks.refusal("train", "net", f"have one number for {name}", came, remedy))
    return found


def recorded_steps(record_every: Any, steps: int) -> list[int]:
    """Return the steps at which networks are looked at: after that many updates."""
    if isinstance(record_every, (bool, int, np.integer)):
        every = checks.integer("train", "record_every", record_every)
        if steps // every > MOST_LOOKS:
            rule = f"give at most {MOST_LOOKS} looks in {steps} steps"
            raise ValueError(
                checks.refusal("train", "record_every", rule, every, "Look less often, or train for fewer epochs.")
            )
        return sorted({*range(0, steps, every), steps})
    rule = f"be an interval in steps, or ascending steps from 0 to {steps}"
    try:
        given = np.asarray(record_every)
    except (TypeError, ValueError):
        raise TypeError(checks.refusal("train", "record_every", rule, record_every)) from None
    if given.ndim != 1 or given.dtype.kind not in "iu" or not given.size:
        raise TypeError(checks.refusal("train", "record_every", rule, record_every))
    if given[0] < 0 or given[-1] > steps or (np.diff(given) <= 0).any():
        raise ValueError(checks.refusal("train", "record_every", rule, given.tolist()))
    return given.tolist()
