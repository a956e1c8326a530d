"""Networks trained on the digits, and the units of them that are off, counted."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import optax
import xarray

import jaxsat
from analyses.dying_relu import NAME, Options
from analyses.shared import command
from jaxsat import activations
from jaxsat.training import datasets

COUNTED = ("off_units", "diverged_at", "test_accuracy")


def measure(options: Options) -> xarray.Dataset:
    """Return every network trained on the digits, and at some steps which of its units are off for every training digit."""
    data = datasets.digits()
    steps = options.epochs * (len(data.train[0]) // options.batch_size)
    looks = np.unique(np.geomspace(1, steps, 12).astype(int))
    net = jaxsat.MLP(
        options.depth, options.width, weight_scale=options.weight_scale, inputs=data.train[0].shape[1], outputs=10
    )
    train = functools.partial(
        jaxsat.train, data=data.train, test=data.test, epochs=options.epochs, batch_size=options.batch_size,
        seeds=options.seeds, root_seed=options.root_seed, record=["off_units", "dead_fraction", "loss", "test_accuracy"],
        record_every=[0, *looks.tolist()], probe=len(data.train[0]),
    )  # fmt: skip
    names = [*options.activations, *(activations.leaky_relu(leak) for leak in options.leaks)]
    rates, biases = sorted(options.rates), sorted(options.bias_scales)
    over = {"activation": names, "bias_scale": biases, "learning_rate": rates}
    dataset = train(net, optimizer=optax.sgd, over=over, store=command.part(options, NAME, "training"))
    clipped = train(
        dataclasses.replace(net, activation=options.activations[0], bias_scale=biases[0]), over={"learning_rate": rates},
        optimizer=lambda rate: optax.chain(optax.clip_by_global_norm(options.clip), optax.sgd(rate)),
        store=command.part(options, NAME, "clipped"),
    )  # fmt: skip
    return dataset.assign({f"clipped_{name}": clipped[name] for name in clipped.data_vars})


def shares_of_units(dataset: xarray.Dataset) -> xarray.Dataset:
    """Return shares of units of each network; NaN where it diverged, because it stays as it was then.

    born: dead before training. kept: born dead, and dead at the end. died: dead at the end only. back: of the units that
    were ever off, those that were on at a later record. end, course: dead at the end, and at every record. Attribute `of`:
    how many units (for back: at most) or examples a share counts.
    """
    dataset = dataset.drop_vars("epoch")
    off, sound = dataset.off_units, dataset.diverged_at < 0
    seen = xarray.apply_ufunc(np.logical_or.accumulate, off, kwargs={"axis": off.get_axis_num("step")})
    born, end = off.isel(step=0), off.isel(step=-1)
    ever, back = seen.isel(step=-1), (seen & ~off).any("step")
    width, units = off.sizes["unit"], off.sizes["layer"] * off.sizes["unit"]
    shares = {
        "born": (born.mean("unit"), width), "kept": ((born & end).mean("unit"), width),
        "died": ((end & ~born).mean("unit"), width),
        "back": (back.sum("unit") / ever.sum("unit").where(ever.any("unit")), width),
        "end": (end.mean(("layer", "unit")), units), "course": (off.mean(("layer", "unit")), units),
        "accuracy": (dataset.test_accuracy.isel(step=-1), datasets.TEST_DIGITS),
    }  # fmt: skip
    found = xarray.Dataset({name: share.where(sound).assign_attrs(of=of) for name, (share, of) in shares.items()})
    found["blocked"] = end.all("unit").any("layer") & sound  # no gradient gets below a layer that is all dead
    found["diverged"] = ~sound
    found["once_off"], found["came_back"] = (ever & sound).sum("unit"), (back & sound).sum("unit")
    return found


def shares_of_clipped(dataset: xarray.Dataset) -> xarray.Dataset:
    """Return the same of the networks trained with clipped gradients."""
    names = {f"clipped_{name}": name for name in COUNTED}
    return shares_of_units(dataset[list(names)].rename(names))
