"""Marks of a store: which chunks are done, with how many networks, and how many of those hold a NaN.

A mark is the chunk's own chunk of the array `chunk_counts`: uncompressed integers and their checksum, so that it is read
without zarr. Ten thousand of them are read in a second.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np

from jaxsat.results.layout import Layout, Unit

COUNTS = "chunk_counts"
MARK = "<i4"
CHECKSUM_BYTES = 4


def chunk_file(path: pathlib.Path, name: str, unit: Unit, dims: int) -> pathlib.Path:
    """Return the file of a chunk of an array with this number of dimensions; those after the unit's are one chunk long."""
    return path.joinpath(name, "c", *map(str, unit), *["0"] * (dims - len(unit)))


class Marks:
    """The marks of a store.

    Args:
        path: of the store.
        layout: of its chunks.
        variables: names of the measured arrays, and how many dimensions each has.
    """

    def __init__(self, path: pathlib.Path, layout: Layout, variables: dict[str, int]):
        self._path, self._layout, self._variables = path, layout, variables

    def done(self) -> set[Unit]:
        """Return the chunks that are done."""
        depth = len(self._layout.sizes)
        units = (
            tuple(map(int, path.split(os.sep)[-1 - depth : -1]))
            for path in _files(str(self._path / COUNTS / "c"), depth + 1)
        )
        return {unit for unit in units if self.is_done(unit)}

    def is_done(self, unit: Unit) -> bool:
        """Return whether a chunk is done: marked, with as many networks as it has now, and its files are there."""
        mark = self.read(unit)
        if mark is None or mark[0] != self._layout.networks(unit):
            return False
        return all(chunk_file(self._path, name, unit, dims).exists() for name, dims in self._variables.items())

    def read(self, unit: Unit) -> np.ndarray | None:
        """Return the networks of a chunk, and those with a NaN in each variable; None without a sound mark."""
        import google_crc32c

        try:
            data = self.file(unit).read_bytes()
        except FileNotFoundError:
            return None
        counts, checksum = data[:-CHECKSUM_BYTES], data[-CHECKSUM_BYTES:]
        if len(counts) != 4 * (1 + len(self._variables)):
            return None
        if google_crc32c.value(counts).to_bytes(CHECKSUM_BYTES, "little") != checksum:
            return None
        return np.frombuffer(counts, MARK)

    def file(self, unit: Unit) -> pathlib.Path:
        """Return the file of a chunk's mark."""
        return chunk_file(self._path, COUNTS, unit, len(unit) + 1)

    def remove(self, unit: Unit) -> None:
        """Take the mark of a chunk away: it will be computed again."""
        self.file(unit).unlink(missing_ok=True)

    def totals(self, units: Sequence[Unit]) -> dict[str, int]:
        """Return the networks of some chunks, and how many of them hold a NaN in each variable."""
        total = np.zeros(1 + len(self._variables), int)
        for unit in units:
            if (mark := self.read(unit)) is not None:
                total += mark
        return dict(zip(["networks", *self._variables], map(int, total), strict=True))


def _files(folder: str, depth: int) -> Iterator[str]:
    """Return the files at this number of levels below a folder, but not those that are being written."""
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if depth > 1:
                yield from _files(entry.path, depth - 1)
            elif not entry.name.endswith("partial"):
                yield entry.path
