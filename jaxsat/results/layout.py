"""The layout of a sweep: how its leading dimensions, the swept fields and "seed", are cut into chunks."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator

Unit = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Layout:
    """Sizes of the dimensions, and the length of a chunk along each of them."""

    sizes: dict[str, int]
    chunks: dict[str, int]

    @property
    def counts(self) -> tuple[int, ...]:
        """How many chunks there are along each dimension."""
        return tuple(-(-size // self.chunks[name]) for name, size in self.sizes.items())

    def units(self) -> Iterator[Unit]:
        """Yield every chunk, as its index along each dimension."""
        return itertools.product(*map(range, self.counts))

    def slices(self, unit: Unit) -> dict[str, slice]:
        """Return where a chunk lies along each dimension."""
        starts = {name: i * self.chunks[name] for (name, i) in zip(self.sizes, unit, strict=True)}
        return {n: slice(s, min(s + self.chunks[n], self.sizes[n])) for n, s in starts.items()}

    def networks(self, unit: Unit) -> int:
        """Return how many networks a chunk has."""
        return math.prod(s.stop - s.start for s in self.slices(unit).values())
