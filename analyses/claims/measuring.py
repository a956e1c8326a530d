"""The dataset: the networks in training, and a row for each claim and condition."""

from __future__ import annotations

import numpy as np
import xarray

from analyses.claims import NAME, Options
from analyses.claims.networks import Networks
from analyses.claims.statements import CLAIMS
from jaxsat.results import provenance

TOLD = {
    "estimate": "effect", "low": "lower end of its 95 % interval", "high": "upper end", "expected": "what theory says",
}  # fmt: skip


def measure(options: Options) -> xarray.Dataset:
    """Return the networks in training, and the effects of all experiments."""
    networks = Networks(options, NAME)
    rows = [(number, row) for number, claim in enumerate(CLAIMS) for row in claim.rows(networks)]
    dataset = networks.trained.copy()
    values = np.full((len(rows), max(options.seeds, options.drawn_seeds)), np.nan)
    for place, (_, row) in enumerate(rows):
        values[place, : len(row.values)] = row.values
    for name, long_name in TOLD.items():
        dataset[name] = "row", [getattr(row, name) for _, row in rows], {"long_name": long_name}
    long_name = "effect in a single network; NaN: no such network, or nothing was sampled"
    dataset["effect_of_seed"] = ("row", "network"), values, {"long_name": long_name}
    fastest = [networks.fastest(str(name)) for name in dataset.activation.values]
    texts = {
        name: ("claim", [getattr(claim, name) for claim in CLAIMS])
        for name in ("key", "wording", "experiment", "effect")
    }
    dataset = dataset.assign_coords(texts).assign_coords(
        condition=("row", [row.condition for _, row in rows]),
        claim_of_row=("row", [number for number, _ in rows]),
        fastest=("activation", [f"{label}, rate {rate:g}" for label, rate in fastest]),
        side=("claim", [claim.wanted.side for claim in CLAIMS]),
        threshold=("claim", [claim.wanted.threshold for claim in CLAIMS]),
        logarithmic=("claim", [claim.logarithmic for claim in CLAIMS]),
    )
    dataset.attrs |= provenance.of_run({"looks": options.looks})
    return dataset
