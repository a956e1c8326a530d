"""Datasets on disk: zarr stores that anyone opens with ``xarray.open_zarr(path)``."""

from __future__ import annotations

import pathlib
import warnings
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    import xarray


def write(dataset: xarray.Dataset, path: pathlib.Path, mode: Literal["w", "w-"] = "w-") -> None:
    """Write a dataset as a zarr store.

    Args:
        dataset: what to write.
        path: the store's folder.
        mode: 'w-' refuses an existing store, 'w' replaces it.
    """
    # Fixed-width strings have no zarr v3 specification; variable-width ones do.
    text = {n: v.astype(np.dtypes.StringDType()) for n, v in dataset.variables.items() if v.dtype.kind == "U"}
    with warnings.catch_warnings():
        # Consolidated metadata is not in the v3 specification yet, but without it every reader is warned and slow.
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        dataset.assign(text).to_zarr(str(path), mode=mode, zarr_format=3, consolidated=True)


def check_new(path: pathlib.Path, what: str) -> None:
    """Raise ValueError unless a new store can be made at `path`; `what` names the argument in the message."""
    if path.exists():
        raise ValueError(f"{what} must be a new path; {path} exists. Choose another name or move it away.")
    check_folder(path.absolute().parent, what)


def check_folder(folder: pathlib.Path, what: str) -> None:
    """Raise ValueError unless `folder` exists, or can be made, and files can be written in it."""
    probe = folder / ".jaxsat-probe"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ValueError(
            f"{what} must be in a folder that can be written; {folder}: {error.strerror}. Choose another."
        ) from None
