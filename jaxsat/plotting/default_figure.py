"""The default figure of any sweep: a panel for each measure, medians with bands over seeds, titled by its finding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jaxsat.plotting.curves import measure
from jaxsat.plotting.of_measures import gradient_norms
from jaxsat.plotting.of_spectra import spectrum
from jaxsat.results import drawing

if TYPE_CHECKING:
    import xarray

MOST_PANELS = 6
OWN = {
    "log_gradient_norms": gradient_norms,
    "log_weight_gradient_norms": gradient_norms,
    "log_singular_values": spectrum,
    "singular_values": spectrum,
}  # measures that have a figure of their own


def draw(dataset: xarray.Dataset, name: str) -> Any:
    """Draw the measured variables of a sweep, at most six, each with its default figure.

    Args:
        dataset: of a sweep. Networks that are not done yet are NaN and left out.
        name: of the sweep, for the footnote.
    """
    drawn = [str(n) for n, v in dataset.data_vars.items() if v.dtype.kind in "fiub"][:MOST_PANELS]
    with drawing.style():
        figure, axes = drawing.row_of_panels(len(drawn))
        for ax, variable in zip(axes, drawn, strict=True):
            only = dataset[[variable]]
            OWN[variable](only, ax=ax) if variable in OWN else measure(only, variable, ax=ax)
        seeds = dataset.sizes["seed"]
        text = f"{name}: median and 5-95 % band over {seeds} seeds. Made {dataset.attrs.get('created', '')[:10]}."
        drawing.footnote(figure, text)
    return figure
