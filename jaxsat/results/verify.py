"""Verify a store: read every chunk, compare every mark and coordinate, and name what is damaged."""

from __future__ import annotations

import dataclasses

import numpy as np

from jaxsat import checks
from jaxsat.results.layout import Unit
from jaxsat.results.marks import chunk_file
from jaxsat.results.store import Store, unit_name


@dataclasses.dataclass(frozen=True)
class Damage:
    """Something wrong in a store.

    Attributes:
        unit: the chunk, or None where a coordinate is damaged.
        what: in words.
    """

    unit: Unit | None
    what: str


def damages(store: Store) -> list[Damage]:
    """Read the whole store, and return what is damaged. Chunks that are not done yet are not damage.

    A chunk is damaged if its mark or one of its arrays cannot be read, if an array is not there, or if the number of its
    networks with a NaN is not the number in its mark.
    """
    found = []
    marks = store.marks
    for unit in store.layout.units():
        if not marks.file(unit).exists():
            continue
        mark = marks.read(unit)
        if mark is None:
            found.append(Damage(unit, f"chunk {unit_name(unit)}: the mark cannot be read"))
        elif mark[0] == store.layout.networks(unit):
            for counted, name in zip(mark[1:], store.variables, strict=True):
                if (what := _damage_of_array(store, unit, name, int(counted))) is not None:
                    found.append(Damage(unit, f"chunk {unit_name(unit)}: {name} {what}"))
    for name in store.wrong_coordinates():
        found.append(Damage(None, f"coordinate {name}: does not hold the values of the header"))
    return found


def repair(store: Store, found: list[Damage]) -> None:
    """Take the marks of damaged chunks away, so that the sweep computes them again, and write damaged coordinates anew."""
    for damage in found:
        if damage.unit is not None:
            store.marks.remove(damage.unit)
    store.write_coordinates()


def _damage_of_array(store: Store, unit: Unit, name: str, counted: int) -> str | None:
    dims = store.dims(name)
    if not chunk_file(store.path, name, unit, dims).exists():
        return "is not there"
    try:
        array = store.read(name, unit)
    except (RuntimeError, ValueError, OSError) as error:
        return f"cannot be read ({checks.first_line(error)})"
    own = tuple(range(len(unit), array.ndim))
    nan = int(np.isnan(array).any(axis=own).sum()) if array.dtype.kind == "f" else 0
    return None if nan == counted else f"has {nan} networks with a NaN, and {counted} in its mark"
