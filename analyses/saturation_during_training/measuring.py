"""The dataset: networks followed while they learn, others looked at before, and what theory says of the start."""

from __future__ import annotations

import numpy as np
import optax
import xarray

import jaxsat
from analyses.saturation_during_training import INITIALISATIONS, NAME, PROBE, RECORD, TEST_SHAPES, Options, start
from analyses.shared import command
from jaxsat import activations
from jaxsat.training import datasets


def measure(options: Options) -> xarray.Dataset:
    """Return everything that the figure shows."""
    data, others = _of_names(options.sigmoid_data), _of_names(options.data)
    sigmoid, trained = _sigmoid(options, data), _others(options, others)
    first = str(trained.activation.values[0])
    few = others.train[0][:PROBE], others.train[1][:PROBE]
    net = _network(options, others, options.depth, first)
    parts = [
        sigmoid.rename({name: f"sigmoid_{name}" for name in (*sigmoid.data_vars, "step", "epoch", "layer")}),
        trained,
        start.histograms(net, INITIALISATIONS, options.start_seeds, options.root_seed, few),
        start.gradients_in_theory(first, options.depth, INITIALISATIONS, float(np.mean(few[0] ** 2))),
    ]
    merged = xarray.merge(parts, combine_attrs="drop_conflicts", join="exact", compat="no_conflicts")
    return merged.assign_attrs(trained.attrs)


def _of_names(name: str) -> datasets.TrainTestSplit:
    """Return training and test examples."""
    return datasets.digits() if name == "digits" else datasets.shapes(count=2000, test=TEST_SHAPES, size=16)


def _network(options: Options, data: datasets.TrainTestSplit, depth: int, activation: str) -> jaxsat.MLP:
    x, y = data.train
    return jaxsat.MLP(depth, options.width, activation, ensemble="uniform", inputs=x.shape[1], outputs=int(y.max()) + 1)


def _trained(
    options: Options,
    data: datasets.TrainTestSplit,
    names: list[str],
    depth: int,
    epochs: int,
    rate: float,
    record: tuple[str, ...],
    part: str,
) -> xarray.Dataset:
    """Return networks of some activations, trained from both initialisations and looked at on the way."""
    per_epoch = len(data.train[0]) // options.batch_size
    steps = epochs * per_epoch
    times = np.concatenate([[0], np.geomspace(per_epoch / 20, steps, 24), np.linspace(0, steps, 31)])
    found = jaxsat.train(
        _network(options, data, depth, names[0]), data.train, data.test, optimizer=optax.sgd(rate), epochs=epochs,
        batch_size=options.batch_size, over={"activation": names, "weight_scale": list(INITIALISATIONS.values())},
        seeds=options.seeds, root_seed=options.root_seed, record=[*record, "activation_std", "test_accuracy"],
        record_every=np.unique(times.astype(int)).tolist(), probe=PROBE, store=command.part(options, NAME, part),
    )  # fmt: skip
    return found.rename(weight_scale="initialisation").assign_coords(initialisation=list(INITIALISATIONS))


def _sigmoid(options: Options, data: datasets.TrainTestSplit) -> xarray.Dataset:
    """Return sigmoid networks of every depth; layers that a network does not have are NaN."""
    parts: list[xarray.Dataset] = []
    for depth in sorted(options.depths):
        found = _trained(
            options, data, ["sigmoid"], depth, options.sigmoid_epochs, options.sigmoid_rate, ("activation_mean",),
            f"sigmoid-{depth}",
        )  # fmt: skip
        found = found.isel(activation=0, drop=True).reindex(layer=np.arange(1, max(options.depths) + 1))
        parts.append(found.expand_dims(depth=[depth]))
    return xarray.concat(parts, "depth", combine_attrs="override")


def _others(options: Options, data: datasets.TrainTestSplit) -> xarray.Dataset:
    """Return the other networks, with root mean square gradients, and how far their largest activations are bent over."""
    records = [activations.get(name) for name in options.activations]
    names = [phi.name for phi in records]
    found = _trained(options, data, names, options.depth, options.epochs, options.rate, RECORD, "others")
    sizes = np.array([data.train[0].shape[1]] + [options.width] * (options.depth - 1)) * options.width
    for name, what, log, size in (
        ("signal", "dE/dh_l", found.log_gradient_norms, options.width),
        ("weight_gradient", "dE/dW_l", found.log_weight_gradient_norms, sizes),
    ):
        told = {"long_name": f"{what} of single examples, root mean square entry", "units": "1"}
        found[name] = (np.exp(log) / np.sqrt(size)).assign_attrs(told)
    highest = found.pre_activation_percentiles.sel(percentile=98.0, drop=True)
    # The activations increase, so that percentiles of activations are activations of percentiles.
    for name, of, long_name in (
        ("highest", lambda phi, h: phi(h), "98th percentile of activations"),
        ("slope_share", lambda phi, h: phi.slope(h) / phi.max_slope, "slope there over the largest"),
    ):
        values = [np.asarray(of(phi, highest[i].values)) for i, phi in enumerate(records)]
        found[name] = (highest.dims, np.stack(values), {"long_name": long_name, "units": "1"})
    return found
