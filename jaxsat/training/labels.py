"""What was recorded, as a labelled dataset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from jaxsat.measures import Variable
from jaxsat.measures.quantities import COUNTED
from jaxsat.networks.grid import UNITS, long_name_of
from jaxsat.training.train_request import TrainingRequest

if TYPE_CHECKING:
    import xarray

DIVERGED = Variable((), "step at which loss or weights stopped being finite, -1 while they are")


def labelled_training(results: Mapping[str, np.ndarray], request: TrainingRequest) -> xarray.Dataset:
    """Return arrays with the dimensions of the grid, "seed", "step" and their own, as a dataset with labels and units.

    Args:
        results: arrays (static choice, network, record, ..) by name of the record, seeds fastest along the networks, and
            `diverged_at` without the axis of records.
        request: what was asked for.
    """
    grid, seeds, records = request.grid, request.lengths.seeds, request.records
    import xarray

    order = [*grid.static, *grid.traced]
    sizes = [len(grid.over[name]) for name in order]
    arrays, coordinates = {}, {}
    for name, array in results.items():
        variable = DIVERGED if name == "diverged_at" else records[name].variable
        own = variable.dims if name == "diverged_at" else ("step", *variable.dims)
        coordinates |= {dim: list(labels) for dim, labels in variable.coordinates.items()}
        shaped = array.reshape(*sizes, seeds, *array.shape[2:])
        attrs = {"long_name": variable.long_name, "units": variable.units}
        arrays[name] = xarray.DataArray(shaped, dims=(*order, "seed", *own), attrs=attrs).transpose(*grid.over, ...)
    dataset = xarray.Dataset(arrays).assign_coords(coordinates)
    steps = np.asarray(request.at)
    described = {name: (values, long_name_of(name), UNITS.get(name, "1")) for name, values in grid.labels.items()} | {
        "seed": (np.arange(seeds), "seed", "1"),
        "step": (steps, "optimiser steps done", "steps"),
    }
    for name, (long_name, units) in COUNTED.items():
        if name in grid.over:  # the dimension is the swept field, "depth" for example
            continue
        described[name] = (np.arange(1, dataset.sizes.get(name, 0) + 1), long_name, units)
    for name, (values, long_name, units) in described.items():
        if name in dataset.sizes:
            dataset = dataset.assign_coords({name: (name, values, {"long_name": long_name, "units": units})})
    epoch = ("step", steps / request.steps_of_epoch, {"long_name": "passes over the training data", "units": "epochs"})
    return dataset.assign_coords(epoch=epoch)
