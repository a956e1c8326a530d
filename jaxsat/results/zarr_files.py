"""Datasets on disk or among objects: zarr stores that anyone opens with ``xarray.open_zarr(path)``."""

from __future__ import annotations

import pathlib
import tempfile
import uuid
import warnings
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from jaxsat import checks
from jaxsat.results import locations
from jaxsat.results.locations import Location

if TYPE_CHECKING:
    import xarray
    from zarr.abc.codec import BytesBytesCodec


def store_of(location: Location) -> Any:
    """Return what zarr and xarray take as the store at a location."""
    if not locations.is_address(location):
        return str(location)
    from zarr.storage import FsspecStore

    return FsspecStore.from_url(str(location), storage_options=dict(location.storage_options))  # type: ignore[attr-defined]


def write(dataset: xarray.Dataset, path: pathlib.Path, mode: Literal["w", "w-"] = "w-") -> None:
    """Write a dataset as a zarr store.

    Args:
        dataset: what to write.
        path: the store's folder.
        mode: 'w-' refuses an existing store, 'w' replaces it.
    """
    import zarr

    # Fixed-width strings have no zarr v3 specification; variable-width strings do.
    text = {n: v.astype(np.dtypes.StringDType()) for n, v in dataset.variables.items() if v.dtype.kind == "U"}
    # Chunks that hold the fill value alone are written, too: a file that is not there is a hole.
    with warnings.catch_warnings(), zarr.config.set({"array.write_empty_chunks": True}):
        # Consolidated metadata is not in the v3 specification yet, but without it every reader is warned and slow.
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        whole = dataset.assign(text)
        encoding = {name: {"compressors": (checked_compressor(),)} for name in whole.variables}
        whole.to_zarr(str(path), mode=mode, zarr_format=3, consolidated=True, encoding=encoding)


def read_whole(location: Location) -> xarray.Dataset:
    """Return a dataset that :func:`write` wrote, in memory.

    Raises:
        ValueError: a chunk is not there or cannot be read; zarr alone would return the fill value for the former.
    """
    import xarray
    import zarr

    try:
        holes = [
            name
            for name, array in zarr.open_group(store_of(location), mode="r").arrays()
            if array.nchunks_initialized < array.nchunks
        ]
        dataset = xarray.open_zarr(store_of(location), chunks=None).load()
    except PermissionError:
        raise
    except Exception as error:  # whatever zarr and its codecs raise
        raise ValueError(f"{location} is damaged: {checks.first_line(error)}") from error
    if holes:
        raise ValueError(f"{location} is damaged: chunks of {', '.join(sorted(holes))} are not there")
    return dataset


def checked_compressor() -> BytesBytesCodec:
    """Return the compressor of every array: zstd with its checksum, so that a flipped bit is an error when it is read."""
    from zarr.codecs import ZstdCodec

    return ZstdCodec(level=0, checksum=True)


def check_folder(folder: Location, what: str) -> None:
    """Raise ValueError unless a folder exists, or can be made, and files can be written in it; the same for an address."""
    try:
        locations.make_folder(folder)
        if isinstance(folder, pathlib.Path):
            with tempfile.TemporaryFile(dir=folder):  # of a name of its own: several processes may try at once
                return
        probe = folder / f".jaxsat-{uuid.uuid4().hex}"
        locations.write_new(probe, b"")
        locations.remove(probe)
    except Exception as error:
        if not locations.is_lost(error):
            raise
        reason = locations.reason_of(error)
        raise ValueError(
            f"{what} must be in a folder that can be written; {folder}: {reason}. Choose another."
        ) from None
