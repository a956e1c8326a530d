"""What the tests of stored sweeps share."""

import pytest

from jaxsat.sweeps import plan
from jaxsat.sweeps.tiles import Tile


@pytest.fixture
def small(monkeypatch):
    """Chunks and tiles of few networks, so that there are many of them: 4 seeds a chunk, 2 x 2 a tile."""
    monkeypatch.setattr(Tile, "of", lambda net, lengths, *_: Tile(2, tuple(min(2, n) for n in lengths)))
    monkeypatch.setattr(
        plan,
        "chunk_lengths",
        lambda request, programs: (
            dict.fromkeys(request.grid.static, 1) | dict.fromkeys(request.grid.traced, 2) | {"seed": 4}
        ),
    )
