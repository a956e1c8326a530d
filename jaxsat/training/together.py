"""``train``: networks of a grid trained side by side, from request to dataset."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import pathlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike

from jaxsat import provenance
from jaxsat.network import MLP, STATIC_FIELDS, TRACED_FIELDS, check_net
from jaxsat.training import checkpoints, recording, request
from jaxsat.training.request import Grid
from jaxsat.training.steps import Data, Trainer, tile_size, tiles

if TYPE_CHECKING:
    import xarray

SECONDS_BETWEEN_CHECKPOINTS = 5.0

_LABELS = {
    "learning_rate": ("learning rate", "1"),
    "weight_scale": ("weight scale sigma_w", "1"),
    "bias_scale": ("bias scale sigma_b", "1"),
    "residual_scale": ("residual scale a", "1"),
    "depth": ("depth L", "layers"),
    "width": ("width n", "units"),
    "inputs": ("input width", "units"),
    "outputs": ("read-out width", "units"),
}


def train(
    net: MLP,
    data: tuple[ArrayLike, ArrayLike],
    test: tuple[ArrayLike, ArrayLike] | None = None,
    *,
    optimizer: Any,
    epochs: int,
    batch_size: int,
    over: Mapping[str, Sequence[Any] | ArrayLike] | None = None,
    seeds: int = 1,
    root_seed: int = 0,
    record: str | Sequence[str] | None = None,
    record_every: int | Sequence[int] = 100,
    probe: int = 256,
    store: str | pathlib.Path | None = None,
    progress: bool = True,
) -> xarray.Dataset:
    """Train every network of a grid, for many seeds, and return what was recorded on the way as a labelled dataset.

    The loss is the softmax cross-entropy of the read-out, mean over a minibatch. Weights start as ``net.init`` draws
    them, scales folded in (standard parametrisation: the optimiser sees sigma_w U, not U); all weights and biases of all
    layers are trained, the residual scale is not. Every epoch has a new order of the examples, drawn from the address
    (root_seed, seed, epoch), and ``examples // batch_size`` steps; what does not fill a minibatch is left out of it.

    Args:
        net: the network whose fields are varied; needs `outputs`, the number of classes.
        data: inputs (examples, n_0), finite, and classes (examples,), integers from 0 to outputs - 1.
        test: the same, looked at but not trained on.
        optimizer: any ``optax.GradientTransformation``. Where "learning_rate" is swept: a function learning rate ->
            transformation, as ``optax.sgd``; the rate is traced.
        epochs, batch_size: of training; the batch at most the number of examples.
        over: fields of MLP, and "learning_rate" -> values. Scales and learning rates cost nothing to compile; each
            combination of the others costs one compilation.
        seeds: how many; seed s draws its weights at ``fold_in(jax.random.key(root_seed), s)``, as in ``sweep``, whatever
            else is in the grid: networks of one seed share draws and minibatches.
        root_seed: of the whole run.
        record: names of ``jaxsat.training.recording.names()``; None: loss, accuracy (train and test), saturated_fraction,
            dead_fraction, log_gradient_norm, gradient_norm, update_ratio.
        record_every: steps between looks (step 0 and the last are always looked at), or the steps themselves.
        probe: layers are looked at on the first so many training examples (all, if there are fewer).
        store: path of a zarr store to write. A run that was killed, at any moment, is resumed from ``<store>.partial``;
            a finished one is read back. Results are those of an undisturbed run, to the last bit.
        progress: show steps done, rate and time left on stderr.

    Returns: an ``xarray.Dataset``: dimensions are the swept names in the order of `over`, "seed", "step" (updates done;
    "epoch" is a coordinate along it), then a record's own ("layer" from the input, "percentile", "index"). `diverged_at`
    (.., seed) is the step at which loss or weights stopped being finite, -1 otherwise: from then on that network, and no
    other, stays as it was before that step.

    Dtype: default float dtype, ``jax_enable_x64`` gives float64. Optimisers may keep their own.

    Raises:
        ValueError, TypeError: data that are not finite or do not fit, classes outside the read-out's, a batch larger than
            the data, an optimiser that is not one, unknown fields or records, a store of another request. All before
            anything is compiled.

    **Accuracy**: a network's numbers do not depend on which others run beside it, to the last bit, on one machine and
    version of JAX. In float32 `gradient_norm` underflows where `log_gradient_norm` does not.
    Cost: on a CPU of two cores about that of training them one after another in compiled JAX (`benchmarks/training.py`): a
        network of width 128 fills the cores alone. One compilation serves all scales, rates and seeds.

    >>> import optax
    >>> x = jax.random.normal(jax.random.key(0), (64, 3))
    >>> ds = train(MLP(depth=2, width=8, inputs=3, outputs=2), (x, (x[:, 0] > 0).astype(int)), optimizer=optax.sgd,
    ...            epochs=20, batch_size=16, over={"learning_rate": [0.01, 0.5]}, seeds=3, record_every=40, progress=False)
    >>> dict(ds.sizes)
    {'learning_rate': 2, 'seed': 3, 'step': 3, 'layer': 2}
    >>> bool((ds.accuracy.isel(step=-1).sel(learning_rate=0.5) > 0.9).all())
    True
    """
    started = time.perf_counter()
    check_net("train", net)
    for name, value in (("seeds", seeds), ("epochs", epochs), ("batch_size", batch_size), ("probe", probe)):
        request.at_least_one(name, value)
    if isinstance(root_seed, bool) or not isinstance(root_seed, (int, np.integer)):
        raise TypeError(f"train: `root_seed` must be an integer; got {root_seed!r}.")
    grid = request.grid(net, {} if over is None else over, seeds)
    given = request.examples("data", data, grid.networks)
    tested = None if test is None else request.examples("test", test, grid.networks)
    request.at_most_examples("batch_size", batch_size, len(given.x))
    make = request.optimizer_of(optimizer, request.LEARNING_RATE in grid.over)
    records = recording.get(record, tested is not None)
    per_epoch = len(given.x) // batch_size
    at = request.recorded_steps(record_every, epochs * per_epoch)
    arrays = given.arrays
    arguments = Data(arrays, None if tested is None else tested.arrays, (arrays[0][:probe], arrays[1][:probe]))

    trainers = [Trainer(one, make, records, batch_size, len(given.x)) for one in grid.networks]
    programs = [_Program.lower(trainer, grid, jax.random.key(root_seed), arguments, at) for trainer in trainers]
    _same_shapes(programs)
    asked = {
        "kind": checkpoints.KIND,
        "network": {name: request.plain(getattr(net, name)) for name in (*STATIC_FIELDS, *TRACED_FIELDS)},
        "over": {name: [request.plain(v) for v in values] for name, values in grid.over.items()},
        "seeds": int(seeds), "root_seed": int(root_seed), "epochs": int(epochs), "batch_size": int(batch_size),
        "record": list(records), "steps": at, "probe": int(probe), "dtype": str(arrays[0].dtype),
        "data": _digest(given.x, given.y), "test": "none" if tested is None else _digest(tested.x, tested.y),
        "program": _digest(*(program.text for program in programs)),
    }  # fmt: skip
    folder = None
    if store is not None:
        if (done := checkpoints.finished(pathlib.Path(store), asked)) is not None:
            return done
        folder = checkpoints.Folder(pathlib.Path(store), asked)

    total = len(programs) * grid.count * at[-1]
    with _progress_bar(progress, total) as advance:
        results = [program.run(_Keeper(folder, str(index)), advance) for index, program in enumerate(programs)]
    merged = {name: np.stack([found[name] for found in results]) for name in results[0]}
    dataset = _label(merged, grid, records, at, per_epoch)
    dataset.attrs |= provenance.record(asked, seconds=time.perf_counter() - started)
    dataset.attrs[checkpoints.KIND] = dataset.attrs["request"]
    if folder is not None:
        folder.finish(dataset)
    return dataset


@dataclasses.dataclass(frozen=True, eq=False)
class _Keeper:
    """Where the tiles of one static choice are kept, if anywhere."""

    folder: checkpoints.Folder | None
    choice: str

    def load(self, tile: int, template: Any) -> tuple[Any, int] | None:
        return None if self.folder is None else self.folder.load(f"{self.choice}-{tile}", template)

    def save(self, tile: int, tree: Any, done: int) -> None:
        if self.folder is not None:
            self.folder.save(f"{self.choice}-{tile}", tree, done)


@dataclasses.dataclass(frozen=True, eq=False)
class _Program:
    """One static choice, traced: its tiles, and how they start and advance."""

    cut: list[tuple[dict, np.ndarray, int]]
    shapes: dict[str, jax.ShapeDtypeStruct]
    at: list[int]
    begin: jax.stages.Lowered
    lowered: jax.stages.Lowered
    root: Any
    data: Data

    @classmethod
    def lower(cls, trainer: Trainer, grid: Grid, root: Any, data: Data, at: list[int]) -> _Program:
        size = tile_size(trainer.net)
        dtype = jnp.result_type(float)
        columns = {name: jax.ShapeDtypeStruct((size,), dtype) for name in grid.columns}
        seeds = jax.ShapeDtypeStruct((size,), jnp.int32)
        try:
            shapes = trainer.shapes(columns, seeds, root, data)
            state = jax.eval_shape(trainer.start, columns, seeds, root)
            found = {n: jax.ShapeDtypeStruct((size, len(at), *s.shape), s.dtype) for n, s in shapes.items()}
            begin = jax.jit(trainer.start).lower(columns, seeds, root)
            index = jax.ShapeDtypeStruct((), jnp.int32)
            times = jax.ShapeDtypeStruct((len(at),), jnp.int32)
            lowered = jax.jit(trainer.advance).lower(state, found, columns, seeds, root, data, times, index, index)
        except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError) as error:
            if request.LEARNING_RATE not in grid.over:
                raise
            raise ValueError(
                "train: `optimizer` must take any learning rate the same way; it looked at the value of a traced number. "
                f"Use jnp.where instead of Python's if, and no float(). ({str(error).splitlines()[0]})"
            ) from error
        return cls(tiles(grid.columns, grid.count, grid.seeds, size), shapes, at, begin, lowered, root, data)

    @property
    def text(self) -> str:
        return self.lowered.as_text()

    def run(self, keeper: _Keeper, advance: Callable[[int], Any]) -> dict[str, np.ndarray]:
        """Train every tile, from where it was left, and return what was recorded of each network."""
        begin, program = self.begin.compile(), self.lowered.compile()
        dtype = jnp.result_type(float)
        at = jnp.asarray(self.at, jnp.int32)
        parts: list[dict[str, np.ndarray]] = []
        seconds_a_step = None
        for number, (columns, seeds, count) in enumerate(self.cut):
            columns = {name: jnp.asarray(values, dtype) for name, values in columns.items()}
            seeds = jnp.asarray(seeds, jnp.int32)
            state = begin(columns, seeds, self.root)
            found = {n: jnp.zeros(s.shape, s.dtype) for n, s in self.found().items()}
            done = 0
            if (kept := keeper.load(number, (state, found))) is not None:
                (state, found), done = kept
                advance(count * self.at[done - 1])
            while done < len(self.at):
                to = self._next(done, seconds_a_step)
                clock = time.perf_counter()
                state, found = jax.block_until_ready(
                    program(state, found, columns, seeds, self.root, self.data, at, jnp.int32(done), jnp.int32(to))
                )
                steps = self.at[to - 1] - (self.at[done - 1] if done else 0)
                seconds_a_step = (time.perf_counter() - clock) / max(steps, 1)
                done = to
                keeper.save(number, (state, found), done)
                advance(count * steps)
            whole = {**found, "diverged_at": state.diverged_at}
            parts.append({name: np.asarray(array)[:count] for name, array in whole.items()})
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def found(self) -> dict[str, jax.ShapeDtypeStruct]:
        size = len(self.cut[0][1])
        return {n: jax.ShapeDtypeStruct((size, len(self.at), *s.shape), s.dtype) for n, s in self.shapes.items()}

    def _next(self, done: int, seconds_a_step: float | None) -> int:
        """Up to which record to go before the next checkpoint; where that is does not change any result."""
        here = self.at[done - 1] if done else 0
        reach = 0.0 if seconds_a_step is None else SECONDS_BETWEEN_CHECKPOINTS / seconds_a_step
        return max(done + 1, int(np.searchsorted(self.at, here + reach, side="right")))


def _same_shapes(programs: list[_Program]) -> None:
    expected = {name: s.shape for name, s in programs[0].shapes.items()}
    for program in programs:
        got = {name: s.shape for name, s in program.shapes.items()}
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


@contextlib.contextmanager
def _progress_bar(show: bool, steps: int) -> Iterator[Callable[[int], Any]]:
    from tqdm import tqdm

    with tqdm(total=steps, unit=" steps", unit_scale=True, disable=not show, file=sys.stderr) as bar:
        yield bar.update


def _label(
    results: Mapping[str, np.ndarray],
    grid: Grid,
    records: Mapping[str, recording.Record],
    at: list[int],
    per_epoch: int,
) -> xarray.Dataset:
    import xarray

    order = [*grid.static, *grid.traced]
    sizes = [len(grid.over[name]) for name in order]
    arrays, coordinates = {}, {}
    for name, array in results.items():
        if name == "diverged_at":
            own, long_name, units = (), "step at which loss or weights stopped being finite, -1 while they are", "1"
        else:
            variable = records[name].variable
            own, long_name, units = ("step", *variable.dims), variable.long_name, variable.units
            coordinates |= {dim: list(labels) for dim, labels in variable.coordinates.items()}
        shaped = array.reshape(*sizes, grid.seeds, *array.shape[2:])
        labelled = xarray.DataArray(shaped, dims=(*order, "seed", *own), attrs={"long_name": long_name, "units": units})
        arrays[name] = labelled.transpose(*grid.over, ...)
    dataset = xarray.Dataset(arrays)
    for name, values in grid.over.items():
        long_name, units = _LABELS.get(name, (name, "1"))
        attrs = {"long_name": long_name, "units": units}
        dataset = dataset.assign_coords({name: (name, [request.plain(v) for v in values], attrs)})
    counted = {
        "seed": (np.arange(grid.seeds), "seed", "1"),
        "step": (np.asarray(at), "optimiser steps done", "steps"),
        "layer": (np.arange(1, dataset.sizes.get("layer", 0) + 1), "layer, counted from the input", "layers"),
        "unit": (np.arange(1, dataset.sizes.get("unit", 0) + 1), "unit of a layer", "1"),
        "index": (np.arange(1, dataset.sizes.get("index", 0) + 1), "rank by size", "1"),
    }
    for name, (values, long_name, units) in counted.items():
        if name in dataset.sizes:
            dataset = dataset.assign_coords({name: (name, values, {"long_name": long_name, "units": units})})
    epoch = ("step", np.asarray(at) / per_epoch, {"long_name": "passes over the training data", "units": "epochs"})
    return dataset.assign_coords(epoch=epoch, **coordinates)
