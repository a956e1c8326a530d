"""The default figure of any sweep: a panel for each measure, medians with bands over seeds."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxsat.results import estimates, plotting

if TYPE_CHECKING:
    import xarray

MOST_LINES, MOST_PANELS = 8, 6


def draw(dataset: xarray.Dataset, name: str) -> Any:
    """Draw the measured variables of a sweep.

    Each is drawn against its own last axis (layer, index ...). A variable without an axis of its own is drawn against the
    swept field with the most numbers. At most eight combinations of the other swept values get a line; the title says
    if there are more.

    Args:
        dataset: of a sweep. Networks that are not done yet are NaN and left out.
        name: of the sweep, for the footnote.
    """
    drawn = [str(n) for n, v in dataset.data_vars.items() if v.dtype.kind in "fiub"][:MOST_PANELS]
    swept = [str(d) for d in next(iter(dataset.data_vars.values())).dims]
    swept = swept[: swept.index("seed")]
    with plotting.style():
        fig, axes = plotting.row_of_panels(len(drawn))
        for ax, variable in zip(axes, drawn, strict=True):
            _panel(ax, dataset[variable], swept)
        seeds = dataset.sizes["seed"]
        text = f"{name}: median and 5-95 % band over {seeds} seeds. Made {dataset.attrs.get('created', '')[:10]}."
        plotting.footnote(fig, text)
    return fig


def _panel(ax: Any, array: xarray.DataArray, swept: list[str]) -> None:
    own = [str(d) for d in array.dims if d not in (*swept, "seed")]
    numeric = [n for n in swept if array[n].dtype.kind in "fiu"]
    along = own[-1] if own else max(numeric, key=lambda n: array.sizes[n], default="seed")
    rest = [d for d in (*swept, *own) if d != along]
    combinations = list(itertools.product(*(range(array.sizes[d]) for d in rest)))
    chosen = np.unique(np.linspace(0, len(combinations) - 1, min(MOST_LINES, len(combinations))).astype(int))
    x = array[along].values if along in array.coords else np.arange(array.sizes[along])
    for line, i in enumerate(chosen):
        part = array.isel(dict(zip(rest, combinations[i], strict=True)))
        values = part.transpose("seed", ...).values.astype(float).reshape(array.sizes["seed"], -1)
        label = ", ".join(f"{d} {_shown(part[d].values)}" for d in rest if d in part.coords)
        if along == "seed":
            ax.plot(x, values[:, 0], "o", color=plotting.COLORS[line], label=label)
        else:
            plotting.median_band(ax, x, estimates.band(values, axis=0), plotting.COLORS[line], label or None)
    described = array[along].attrs if along in array.coords else {}
    ax.set_xlabel(_axis(described.get("long_name", along), described.get("units", "1")), fontsize=7)
    ax.set_ylabel(_axis(array.attrs["long_name"], array.attrs["units"]), fontsize=6.5, wrap=True)
    some = "" if len(chosen) == len(combinations) else f" ({len(chosen)} of {len(combinations)} combinations)"
    ax.set_title(f"{array.name}{some}", fontsize=7)
    if rest:
        ax.legend(fontsize=5.5, loc="upper left", bbox_to_anchor=(0, -0.22))


def _shown(value: Any) -> str:
    return f"{value:.3g}" if np.issubdtype(np.asarray(value).dtype, np.number) else str(value)


def _axis(long_name: str, units: str) -> str:
    return long_name if units == "1" else f"{long_name} [{units}]"
