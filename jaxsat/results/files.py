"""Files that survive a crash: written whole, and flushed to the disk."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Iterable
from typing import BinaryIO


def write_whole(path: pathlib.Path, fill: Callable[[BinaryIO], object]) -> None:
    """Write a file so that at any moment it is either whole or as it was before."""
    new = path.with_name(f"{path.name}-{os.getpid()}.new")  # another process may write the same
    with open(new, "wb") as file:
        fill(file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)


def flush(files: Iterable[pathlib.Path]) -> None:
    """Flush files, and the entries of the folders that hold them, to the disk."""
    folders = set()
    for file in files:
        _sync(file)
        folders.add(file.parent)
    for folder in folders:
        _sync(folder)


def _sync(path: pathlib.Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
