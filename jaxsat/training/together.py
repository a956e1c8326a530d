"""``train``: networks of a grid trained side by side, from request to dataset."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import ArrayLike

from jaxsat.networks.protocol import Network
from jaxsat.results import provenance
from jaxsat.results.executors import Executor, check_executor
from jaxsat.results.header import MACHINES
from jaxsat.results.locations import Location, location_of, within_reach
from jaxsat.results.progress import reported
from jaxsat.training import checkpoints
from jaxsat.training.elsewhere import train_elsewhere
from jaxsat.training.labels import labelled_training
from jaxsat.training.train_request import Lengths, TrainingRequest
from jaxsat.training.training_program import trained

if TYPE_CHECKING:
    import xarray


def train(
    net: Network,
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
    store: str | Location | None = None,
    executor: Executor | None = None,
    allow_mixed: bool = False,
    progress: bool = True,
) -> xarray.Dataset:
    """Train every network of a grid, for many seeds, and return what was recorded on the way as a labelled dataset.

    The loss is the softmax cross-entropy of the read-out, for real targets the squared error; mean over a minibatch.
    Weights start as ``net.init`` draws them, scales folded in (standard parametrisation: the optimiser sees sigma_w U, not U); all weights and biases of all
    layers are trained, the residual scale is not. Every epoch has a new order of the examples, drawn from the address
    (root_seed, seed, epoch), and ``examples // batch_size`` steps; what does not fill a minibatch is left out of it.

    Args:
        net: the network whose fields are varied; needs `outputs`, the number of classes. An MLP, a ``Recurrent``, or a
            network of your own (`docs/your_own_network.md`), whose output is then the read-out.
        data: inputs (examples, n_0), for a recurrent network (examples, steps, n_0), finite; and targets: classes
            (examples,), integers from 0 to outputs - 1; or real numbers (examples, outputs), or (examples,) for one
            output. For a recurrent network also classes (examples, count): those after each of the last `count` steps.
            Gradients that are recorded are then those of the loss after the last step.
        test: the same, looked at but not trained on.
        optimizer: any ``optax.GradientTransformation``. Where "learning_rate" is swept: a function learning rate ->
            transformation, as ``optax.sgd``; the rate is traced.
            It sees the matrices of hidden layers one by one up to depth 16, beyond that as one array (depth - 1, n, n):
            only optimisers that take norms of whole arrays, such as LAMB, are affected. A second call with the same shapes
            compiles nothing, unless the optimiser is a function of your own that was made anew.
        epochs, batch_size: of training; the batch at most the number of examples.
        over: fields of the network, and "learning_rate" -> values. Scales and learning rates cost nothing to compile; each
            combination of the others costs one compilation.
        seeds: how many; seed s draws its weights at ``addresses.network(addresses.root(root_seed), s)``, as in ``sweep``, whatever
            else is in the grid: networks of one seed share draws and minibatches.
        root_seed: of the whole run.
        record: names of ``jaxsat.training.recording.names()``; None: loss, accuracy (train and test), saturated_fraction,
            dead_fraction, log_gradient_norms, gradient_norm, update_ratio; of those, what the network has.
        record_every: steps between looks (step 0 and the last are always looked at), or the steps themselves.
        probe: number of training examples, from the first on, on which layers are looked at (all, if there are fewer).
        store: path or address of a zarr store to write. A run that was killed, at any moment, is resumed from ``<store>.partial``;
            a finished one is read back. Results are those of an undisturbed run, to the last bit.
        executor: whose workers train the networks, instead of this process, as of ``jaxsat.sweep``; needs `store`. Workers save
            their checkpoints there and return what they recorded. A task is a tile of networks.
        allow_mixed: accept checkpoints of a machine with other instructions or other XLA_FLAGS. Results are then not those of
            an undisturbed run. The attribute `machines` names all kinds.
        progress: show steps done, rate and time left on stderr.

    Returns: an ``xarray.Dataset``: dimensions are the swept names in the order of `over`, "seed", "step" (updates done;
    "epoch" is a coordinate along it), then a record's own ("layer" from the input, for a recurrent network "time";
    "percentile", "index"). `diverged_at`
    (.., seed) is the step at which loss or weights stopped being finite, -1 otherwise: from then on that network, and no
    other, stays as it was before that step.

    Dtype: default float dtype, ``jax_enable_x64`` gives float64. Optimisers may keep their own.

    Raises:
        ValueError, TypeError: data that are not finite or do not fit, classes outside the read-out's, a batch larger than
            the data, an optimiser that is not one, unknown fields or records, a store of another request or kind of machine. All before
            anything is compiled.

    Accuracy: a network's numbers do not depend on which others run beside it, to the last bit, on one machine and
        version of JAX. In float32 `gradient_norm` underflows where `log_gradient_norms` does not.
    Cost: networks are trained in tiles of up to 8 small ones, and on a CPU a tile on each core at the same time. So many
        networks cost less than compiled JAX that trains them one after another, and a few up to twice as much
        (`benchmarks/training.py`). One compilation serves all scales, rates and seeds.

    >>> import jax, optax
    >>> from jaxsat.networks import MLP
    >>> x = jax.random.normal(jax.random.key(0), (64, 3))
    >>> ds = train(MLP(depth=2, width=8, inputs=3, outputs=2), (x, (x[:, 0] > 0).astype(int)), optimizer=optax.sgd,
    ...            epochs=20, batch_size=16, over={"learning_rate": [0.01, 0.5]}, seeds=3, record_every=40, progress=False)
    >>> dict(ds.sizes)
    {'learning_rate': 2, 'seed': 3, 'step': 3, 'layer': 2}
    >>> bool((ds.accuracy.isel(step=-1).sel(learning_rate=0.5) > 0.9).all())
    True
    """
    started = time.perf_counter()
    lengths = Lengths.of(seeds=seeds, epochs=epochs, batch_size=batch_size, probe=probe)
    arguments = {
        "net": net, "data": data, "test": test, "over": over, "optimizer": optimizer, "lengths": lengths,
        "root_seed": root_seed, "record": record, "record_every": record_every,
    }  # fmt: skip
    request = TrainingRequest.of(**arguments)
    path = None if store is None else location_of("train", store)
    if executor is not None:
        check_executor("train", executor, store)
    with within_reach("train", path):
        return _trained(request, arguments, path, executor, allow_mixed, progress, started)


def _trained(
    request: TrainingRequest, arguments: Mapping[str, Any], path: Location | None, executor: Executor | None,
    allow_mixed: bool, progress: bool, started: float,
) -> xarray.Dataset:  # fmt: skip
    """Train what is asked for, here or by an executor, and return what was recorded, from a store if it is there."""
    runs = request.runs()
    asked, folder = request.as_kept(runs), None
    if path is not None:
        if (done := checkpoints.finished(path, asked)) is not None:
            return done
        folder = checkpoints.Folder(path, asked, allow_mixed)
    with reported(sum(run.networks for run in runs) * request.at[-1], "steps", progress) as advance:
        if executor is not None and folder is not None:
            results = train_elsewhere(executor, arguments, runs, folder, allow_mixed, advance)
        else:
            results = trained(runs, folder, advance)
    merged = {name: np.stack([found[name] for found in results]) for name in results[0]}
    dataset = labelled_training(merged, request)
    dataset.attrs |= provenance.of_run(asked, seconds=time.perf_counter() - started)
    dataset.attrs[checkpoints.KIND] = dataset.attrs["request"]
    if folder is not None:
        dataset.attrs[MACHINES] = json.dumps(folder.machines())
        folder.finish(dataset)
    return dataset
