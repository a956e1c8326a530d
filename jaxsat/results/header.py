"""The header of a store: what its sweep is of, kept as JSON among the attributes of the zarr group."""

from __future__ import annotations

import dataclasses
import json
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jaxsat.results import locations, zarr_files
from jaxsat.results.layout import Layout
from jaxsat.results.locations import METADATA, Location

if TYPE_CHECKING:
    import zarr

FORMAT = 1
HEADER = "jaxsat_sweep"
MACHINES = "machines"  # the attribute of any dataset: the kinds of machines that its numbers are from, as JSON


@dataclasses.dataclass(frozen=True)
class Header:
    """What the sweep of a store is.

    Attributes:
        identity: what all requests to the store have in common, as plain JSON.
        programs: the fingerprint of the compiled program of each combination of static values.
        over: the values of each swept field, as labels, in the order in which they came.
        seeds: how many.
        chunks: length of a chunk along each swept field and "seed".
        machines: the kinds of machines that its numbers are from; several where that was accepted.
        labels: the values of the other coordinates, those of the measure: from them, damaged ones are written anew.
    """

    identity: dict[str, Any]
    programs: dict[str, str]
    over: dict[str, list[Any]]
    seeds: int
    chunks: dict[str, int]
    machines: list[dict[str, str]] = dataclasses.field(default_factory=list)
    labels: dict[str, list[Any]] = dataclasses.field(default_factory=dict)

    @property
    def layout(self) -> Layout:
        """Sizes and chunks of the arrays."""
        return Layout({name: len(values) for name, values in self.over.items()} | {"seed": self.seeds}, self.chunks)

    def extended(self, over: Mapping[str, Sequence[Any]], seeds: int) -> Header:
        """Return a header that also has the values and seeds of a request."""
        known = {name: set(values) for name, values in self.over.items()}
        union = {n: values + [v for v in over[n] if v not in known[n]] for n, values in self.over.items()}
        return dataclasses.replace(self, over=union, seeds=max(seeds, self.seeds))


def read_header(location: Location) -> Header:
    """Read the header of a store.

    Raises:
        ValueError: unreadable, somebody else's, or of a later version of jaxsat.
    """
    try:
        found = json.loads(locations.read_bytes(location / METADATA))["attributes"][HEADER]
        written = found.pop("format")
    except (OSError, KeyError, ValueError, TypeError, AttributeError):
        raise ValueError(
            f"sweep: `store` must be a new path or the store of a sweep; {location} is something else or unreadable. "
            "Choose another name."
        ) from None
    if written > FORMAT:
        raise ValueError(
            f"sweep: `store` {location} was written by a later version of jaxsat (format {written}; this one knows {FORMAT}). "
            "Update jaxsat, or choose another name."
        )
    return Header(**found)


def differences_of(
    header: Header, identity: Mapping[str, Any], over: Sequence[str], programs: Mapping[str, str]
) -> list[str]:
    """Return the reasons why a request does not belong to a store; none if it does."""
    found = [
        f"{name}: {header.identity.get(name)!r} there, {identity.get(name)!r} asked"
        for name in sorted(header.identity.keys() | identity.keys())
        if header.identity.get(name) != identity.get(name)
    ]
    if list(header.over) != list(over):
        found.insert(0, f"over: {', '.join(header.over) or 'nothing'} there, {', '.join(over) or 'nothing'} asked")
    changed = [label for label, program in programs.items() if header.programs.get(label, program) != program]
    if changed and not found:
        which = f" for {changed[0]}" if changed[0] else ""
        found.append(f"measure: the program that computes it has changed{which}, and its numbers with it")
    return found


def write_header(group: zarr.Group, location: Location, header: Header) -> None:
    import zarr

    kept = {"format": FORMAT} | dataclasses.asdict(header)
    group.update_attributes({HEADER: kept, MACHINES: json.dumps(header.machines)})
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        warnings.filterwarnings("ignore", message="Object at .jaxsat")
        zarr.consolidate_metadata(zarr_files.store_of(location), zarr_format=3)
