"""Make a store in which nothing is done yet.

A folder is made under another name, and renamed. Objects are written one by one, and the store's metadata last.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import socket
import tempfile
import time
from typing import TYPE_CHECKING

import numpy as np

from jaxsat.results import locations, zarr_files
from jaxsat.results.header import Header, write_header
from jaxsat.results.leases import Leases
from jaxsat.results.locations import METADATA, Location
from jaxsat.results.marks import COUNTS, MARK
from jaxsat.results.store import STATE, WAIT, open_group

if TYPE_CHECKING:
    import xarray

ABOUT = "about.txt"  # says that objects without metadata are the beginning of a store


def exists(path: Location) -> bool:
    """Return whether something is at `path` that is not to become a store: neither an empty folder nor half of a store."""
    if isinstance(path, pathlib.Path):
        return path.exists() and not (path.is_dir() and not any(path.iterdir()))
    names = set(locations.names_in(path)) - {STATE}
    return METADATA in names or (bool(names) and not (path / STATE / ABOUT).exists())


def create(path: Location, header: Header, dataset: xarray.Dataset) -> None:
    """Make a store in which nothing is done. If another process makes it first, that store stays.

    Args:
        path: a new path.
        header: what it is of.
        dataset: its coordinates, attributes and variables. The values of the variables are not used.
    """
    if isinstance(path, pathlib.Path):
        made = path.with_name(f".{path.name}.{socket.gethostname()}-{os.getpid()}")
        try:
            _make(made, header, dataset)
            (made / STATE / "leases").mkdir(parents=True)
            locations.put_whole(made, path, METADATA)
        finally:
            shutil.rmtree(made, ignore_errors=True)
        return
    about = b"jaxsat keeps here: leases of processes at work, records of runs, and chunks that failed.\n"
    locations.write_new(path / STATE / ABOUT, about)
    with Leases(path / STATE / "leases") as leases, tempfile.TemporaryDirectory() as folder:
        while not leases.take("creation"):
            time.sleep(WAIT)
        if not (path / METADATA).exists():
            locations.remove_all(path, but_for=STATE)  # what a process left that was killed here
            _make(pathlib.Path(folder) / "store", header, dataset)
            locations.put_whole(pathlib.Path(folder) / "store", path, METADATA)


def _make(made: pathlib.Path, header: Header, dataset: xarray.Dataset) -> None:
    """Make the files of a store in which nothing is done, but for its state."""
    from zarr.codecs import Crc32cCodec

    zarr_files.write(dataset.drop_vars(list(dataset.data_vars)), made, mode="w")
    group = open_group(made, "r+")
    leading = list(header.layout.sizes)
    for name, array in dataset.data_vars.items():
        own = array.shape[len(leading) :]
        group.create_array(
            str(name), shape=array.shape, chunks=(*(header.chunks[n] for n in leading), *own), dtype=array.dtype,
            fill_value=np.nan if array.dtype.kind == "f" else 0, dimension_names=[str(dim) for dim in array.dims],
            attributes=dict(array.attrs), compressors=zarr_files.checked_compressor(),
        )  # fmt: skip
    counted = ["networks", *map(str, dataset.data_vars)]
    group.create_array(
        COUNTS, shape=(*header.layout.counts, len(counted)), chunks=(*[1] * len(leading), len(counted)),
        dtype=MARK, compressors=Crc32cCodec(), fill_value=0, dimension_names=[*(f"{n}_chunk" for n in leading), "counted"],
        attributes={"long_name": "networks done, and those with a NaN in each variable", "units": "1", "counted": counted},
    )  # fmt: skip
    write_header(group, made, header)
