"""Marks of a store: which chunks are done, with how many networks, and how many of those hold a NaN.

A mark is the chunk's own chunk of the array `chunk_counts`: uncompressed integers and their checksum, so that it is read
without zarr. Ten thousand of them are read in a second.
"""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np

from jaxsat.results import locations
from jaxsat.results.layout import Layout, Unit
from jaxsat.results.locations import Location

COUNTS = "chunk_counts"
MARK = "<i4"
CHECKSUM_BYTES = 4
SINGLY = 8  # chunks are looked at one by one where they are fewer than one in this many


def chunk_name(unit: Unit, dims: int) -> str:
    """Return the name, in its array, of a chunk with this number of dimensions; those after the unit's are one chunk long."""
    return "/".join([*map(str, unit), *["0"] * (dims - len(unit))])


def chunk_file(location: Location, name: str, unit: Unit, dims: int) -> Location:
    """Return the file of a chunk of an array."""
    return location.joinpath(name, "c", *chunk_name(unit, dims).split("/"))


class Marks:
    """The marks of a store.

    Args:
        location: of the store.
        layout: of its chunks.
        variables: names of the measured arrays, and how many dimensions each has.
    """

    def __init__(self, location: Location, layout: Layout, variables: dict[str, int]):
        self._location, self._layout, self._variables = location, layout, variables

    def done(self, among: Collection[Unit] | None = None) -> dict[Unit, np.ndarray]:
        """Return the chunks that are done, of all or of some, with what is in their marks.

        A chunk is done if it is marked, with as many networks as it has now, and its files are there.
        """
        depth, count = len(self._layout.sizes), math.prod(self._layout.counts)
        files: dict[str, set[str]] = {}
        if among is not None and SINGLY * len(among) < count:
            units = list(among)
        else:  # one look at all costs less than a look at each
            names = locations.files_below(self._location / COUNTS / "c")
            files = {name: locations.files_below(self._location / name / "c") for name in self._variables}
            # Files that are being written have other names.
            found = [name.split("/") for name in names if not name.endswith("partial")]
            units = [tuple(map(int, parts[:depth])) for parts in found if len(parts) == depth + 1]
            units = units if among is None else [unit for unit in units if unit in among]

        def is_whole(unit: Unit) -> bool:
            return all(
                chunk_name(unit, dims) in files[name]
                if name in files
                else chunk_file(self._location, name, unit, dims).exists()
                for name, dims in self._variables.items()
            )

        held = locations.read_all(self._location / COUNTS / "c", [chunk_name(unit, depth + 1) for unit in units])
        marks = {unit: self._counts(held.get(chunk_name(unit, depth + 1))) for unit in units}
        return {
            unit: mark
            for unit, mark in marks.items()
            if mark is not None and mark[0] == self._layout.networks(unit) and is_whole(unit)
        }

    def read(self, unit: Unit) -> np.ndarray | None:
        """Return the networks of a chunk, and those with a NaN in each variable; None without a sound mark."""
        try:
            return self._counts(locations.read_bytes(self.file(unit)))
        except FileNotFoundError:
            return None

    def file(self, unit: Unit) -> Location:
        """Return the file of a chunk's mark."""
        return chunk_file(self._location, COUNTS, unit, len(unit) + 1)

    def remove(self, unit: Unit) -> None:
        """Take the mark of a chunk away: it will be computed again."""
        locations.remove(self.file(unit))

    def _counts(self, data: bytes | None) -> np.ndarray | None:
        """Return what the bytes of a mark say; None if they are not there or not sound."""
        import google_crc32c

        if data is None:
            return None
        counts, checksum = data[:-CHECKSUM_BYTES], data[-CHECKSUM_BYTES:]
        if len(counts) != 4 * (1 + len(self._variables)):
            return None
        if google_crc32c.value(counts).to_bytes(CHECKSUM_BYTES, "little") != checksum:
            return None
        return np.frombuffer(counts, MARK)
