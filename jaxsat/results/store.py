"""Sweeps on disk or among objects: zarr stores that are written chunk by chunk, resumed, extended and shared by processes.

A store is an ordinary zarr hierarchy: open it with ``xarray.open_zarr(path)``. A chunk of it is the unit of work: one value
of each static field, a block of values of each swept scale, and many seeds. A chunk is written whole (zarr renames a
finished file into place; an object is whole or absent), flushed to the disk, and only then marked as done (see ``marks``).
What a crash leaves unmarked is computed again. Every array has a checksum, so that a damaged chunk is an error when it is read, not a number.

Beside the arrays lies ``.jaxsat/``: leases of processes at work, records of runs, and chunks that failed with their errors.
The header, in the attributes of the root, says what the store is of: an *identity* that a request must share, and the
values of each swept field and the number of seeds, which requests may extend.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import socket
import time
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxsat.results import locations, zarr_files
from jaxsat.results.header import HEADER, Header, read_header, write_header
from jaxsat.results.layout import Layout, Unit
from jaxsat.results.leases import Leases
from jaxsat.results.locations import METADATA, Location
from jaxsat.results.marks import COUNTS, Marks, chunk_file

if TYPE_CHECKING:
    import xarray
    import zarr

STATE = ".jaxsat"
COMMIT_SECONDS, COMMIT_CHUNKS = 2.0, 64  # chunks are flushed and marked together at least so often
WAIT = 0.5  # seconds between looks at what other processes do


class Store:
    """An open store.

    Args:
        path: of an existing store.

    Raises:
        ValueError: unreadable, somebody else's, or of a later version of jaxsat.
    """

    def __init__(self, path: str | Location):
        self.path = pathlib.Path(path) if isinstance(path, str) else path
        self.state = self.path / STATE
        self._stamp = self._version()
        self.header = read_header(self.path)
        writable = locations.is_address(self.path) or os.access(str(self.path), os.W_OK)
        self._group = open_group(self.path, "r+" if writable else "r")
        self._arrays: dict[str, zarr.Array] = {}
        self._pending: list[tuple[Unit, list[int]]] = []
        self._last_commit = time.monotonic()

    @property
    def layout(self) -> Layout:
        return self.header.layout

    @property
    def variables(self) -> list[str]:
        """Names of the measured arrays."""
        return self._array(COUNTS).attrs["counted"][1:]  # type: ignore[index, return-value]

    def leases(self) -> Leases:
        """Return this process's leases on chunks of the store."""
        return Leases(self.state / "leases")

    # --- chunks ------------------------------------------------------------------------------------------------

    @property
    def marks(self) -> Marks:
        """Which chunks are done."""
        return Marks(self.path, self.layout, {name: self._array(name).ndim for name in self.variables})

    def done(self, among: Collection[Unit] | None = None) -> set[Unit]:
        """Return the chunks that are done, of all or of some."""
        return set(self.marks.done(among))

    def is_done(self, unit: Unit) -> bool:
        """Return whether a chunk is done."""
        return bool(self.marks.done([unit]))

    def _version(self) -> Hashable:
        return locations.version(self.path / METADATA)

    def is_extended(self) -> bool:
        """Return whether somebody has added values or seeds since the header was read."""
        if (now := self._version()) == self._stamp:
            return False
        found = read_header(self.path)
        if (found.over, found.seeds) != (self.header.over, self.header.seeds):
            return True
        self._stamp = now
        return False

    def write(self, unit: Unit, arrays: Mapping[str, np.ndarray]) -> list[Unit]:
        """Write a chunk; return the chunks that this marks as done, which may be several or none.

        Args:
            unit: its place in the layout.
            arrays: values with the leading dimensions of the layout, of the unit's lengths.
        """
        where = tuple(self.layout.slices(unit).values())
        counts = [self.layout.networks(unit)]
        for name in self.variables:
            array = arrays[name]
            own = tuple(range(len(where), array.ndim))
            counts.append(int(np.isnan(array).any(axis=own).sum()) if array.dtype.kind == "f" else 0)
            self._array(name)[where] = array
        self._pending.append((unit, counts))
        if len(self._pending) >= COMMIT_CHUNKS or time.monotonic() - self._last_commit > COMMIT_SECONDS:
            return self.commit()
        return []

    def commit(self) -> list[Unit]:
        """Flush what was written to the disk, mark it, and return what was marked."""
        locations.flush(
            chunk_file(self.path, name, unit, self._array(name).ndim)
            for unit, _ in self._pending
            for name in self.variables
        )
        for unit, counts in self._pending:
            self._array(COUNTS)[unit] = np.array(counts, np.int32)
            locations.remove(self._failure(unit))
        marked = [unit for unit, _ in self._pending]
        self._pending, self._last_commit = [], time.monotonic()
        return marked

    def fail(self, unit: Unit, error: Exception) -> None:
        """Record that a chunk could not be computed, and why."""
        path, text = self._failure(unit), f"{type(error).__name__}: {error}\n"
        locations.make_folder(path.parent)
        locations.write_whole(path, lambda file: file.write(text.encode()))

    def failures(self) -> dict[Unit, str]:
        """Return the chunks that failed and have not been done since, with their errors."""
        folder = self.state / "failed"
        return {
            tuple(map(int, name.split("."))): locations.read_bytes(folder / name).decode().strip()
            for name in locations.names_in(folder)
        }

    def _failure(self, unit: Unit) -> Location:
        return self.state / "failed" / unit_name(unit)

    def _array(self, name: str) -> zarr.Array:
        if name not in self._arrays:
            import zarr

            # Chunks that hold the fill value alone are written, too: a file that is not there is a hole.
            with zarr.config.set({"array.write_empty_chunks": True}):
                self._arrays[name] = self._group[name]  # type: ignore[assignment]
        return self._arrays[name]

    # --- the whole ---------------------------------------------------------------------------------------------

    def record_run(self, record: Mapping[str, Any]) -> None:
        """Write what this process has done so far, as JSON, in place of its earlier record."""
        folder = self.state / "runs"
        locations.make_folder(folder)
        created = "".join(c for c in str(record["created"]) if c.isalnum())
        name, text = f"{created}-{socket.gethostname()}-{os.getpid()}.json", json.dumps(record)
        locations.write_whole(folder / name, lambda file: file.write(text.encode()))

    def runs(self) -> list[dict[str, Any]]:
        """Return the records of all processes that have worked here."""
        folder = self.state / "runs"
        return [json.loads(locations.read_bytes(folder / n)) for n in locations.names_in(folder) if n.endswith(".json")]

    def counts(self) -> dict[str, int]:
        """Return the networks that are done, and how many of them hold a NaN in each variable."""
        total = np.zeros(1 + len(self.variables), int)
        for mark in self.marks.done().values():
            total += mark
        return dict(zip(["networks", *self.variables], map(int, total), strict=True))

    def dataset(self, over: Mapping[str, Sequence[Any]] | None = None, seeds: int | None = None) -> xarray.Dataset:
        """Return what is stored: everything, or what a request asked for, in its order. It is read when it is used."""
        import xarray

        found = xarray.open_zarr(zarr_files.store_of(self.path), chunks=None).drop_vars(COUNTS)
        counts = self.counts()
        for name, array in found.data_vars.items():
            array.attrs["nan_networks"] = counts[str(name)]
        found.attrs.pop(HEADER)
        found.attrs["seconds"] = round(sum(run["seconds"] for run in self.runs()), 3)
        if over is None:
            return found
        places = {name: {value: i for i, value in enumerate(values)} for name, values in self.header.over.items()}
        index = {name: [places[name][value] for value in values] for name, values in over.items()}
        index["seed"] = list(range(self.header.seeds if seeds is None else seeds))
        chosen = {name: list(i) for name, i in index.items() if list(i) != list(range(self.layout.sizes[name]))}
        return found.isel(chosen) if chosen else found

    @contextlib.contextmanager
    def _changing_header(self, leases: Leases) -> Iterator[None]:
        while not leases.take("extension"):
            time.sleep(WAIT)
        try:
            yield
        finally:
            leases.give_back("extension")

    def admit(self, here: dict[str, str], leases: Leases) -> None:
        """Note in the header that numbers of another kind of machine are in the store, too."""
        with self._changing_header(leases):
            now = read_header(self.path)
            others = [machine for machine in now.machines if machine != here]
            header = dataclasses.replace(now, machines=[*others, here])
            write_header(self._group, self.path, header)
            self.header, self._arrays, self._stamp = header, {}, self._version()

    def extend(self, header: Header, leases: Leases) -> None:
        """Make room for the values and seeds of a larger header.

        Chunks at the old edge that grow are computed again.

        Raises:
            ValueError: other processes are at work in the store.
        """
        with self._changing_header(leases):
            self._stamp = self._version()
            now = read_header(self.path)
            if now != self.header:
                self.header, self._arrays = now, {}
                header = now.extended(header.over, header.seeds)
                header = dataclasses.replace(header, programs=now.programs | header.programs)
            if at_work := leases.held_by_others():
                raise ValueError(
                    f"sweep: `store` must not be at work when values or seeds are added; {len(at_work)} chunks of "
                    f"{self.path} are being computed. Wait until they are done, or ask for what it has."
                )
            before = self.layout
            marks = self.marks
            for unit in marks.done():
                if before.slices(unit) != header.layout.slices(unit):
                    marks.remove(unit)
            for name in [*self.variables, COUNTS]:
                array = self._array(name)
                lengths = header.layout.counts if name == COUNTS else tuple(header.layout.sizes.values())
                array.resize((*lengths, *array.shape[len(lengths) :]))
            self.write_coordinates(header)
            write_header(self._group, self.path, header)
            self.header, self._arrays, self._stamp = header, {}, self._version()

    # --- coordinates and chunks, as they are on the disk --------------------------------------------------------------

    def wrong_coordinates(self, header: Header | None = None) -> list[str]:
        """Return the names of coordinates that do not hold the values of the header, or cannot be read."""
        wrong = []
        for name, values in _coordinates(header or self.header).items():
            array: Any = self._group[name]
            try:
                if array.shape != (len(values),) or not np.array_equal(array[:], np.asarray(values, array.dtype)):
                    wrong.append(name)
            except (RuntimeError, ValueError, OSError):
                wrong.append(name)
        return wrong

    def write_coordinates(self, header: Header | None = None) -> None:
        """Write the coordinates that differ from the header, also after a kill between growing and filling one."""
        values = _coordinates(header or self.header)
        for name in self.wrong_coordinates(header):
            array: Any = self._group[name]
            array.resize((len(values[name]),))
            array[:] = np.asarray(values[name], array.dtype)

    def mend_coordinates(self, leases: Leases) -> None:
        """Write damaged coordinates anew, unless another process has changed the header meanwhile, and them with it."""
        with self._changing_header(leases):
            if self._version() == self._stamp:
                self.write_coordinates()

    def dims(self, name: str) -> int:
        """Return how many dimensions a variable has."""
        return self._array(name).ndim

    def read(self, name: str, unit: Unit) -> np.ndarray:
        """Return a variable's values in one chunk."""
        return np.asarray(self._array(name)[tuple(self.layout.slices(unit).values())])


def _coordinates(header: Header) -> dict[str, list[Any]]:
    return {**header.labels, **header.over, "seed": list(range(header.seeds))}


def unit_name(unit: Unit) -> str:
    """Return the name of a chunk, as in leases and in reports of failures."""
    return ".".join(map(str, unit))


def open_group(path: Location, mode: Any) -> zarr.Group:
    """Open the zarr group of a store."""
    import zarr

    return zarr.open_group(zarr_files.store_of(path), mode=mode, use_consolidated=False)
