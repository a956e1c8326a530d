"""Lines of a measure: one for each combination of swept values, medians over networks with bands."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jaxsat import checks
from jaxsat.plotting import findings
from jaxsat.results import estimates

if TYPE_CHECKING:
    import xarray

    from jaxsat.results.drawing import Axes

MOST_LINES = 8
LABEL = 34  # letters in a line of a label
NETWORKS = "seed"


class Line(NamedTuple):
    """One combination of swept values: its label, places, values (network, place), and the swept values by name."""

    label: str
    x: np.ndarray
    values: np.ndarray
    fields: dict[str, Any]

    @property
    def median(self) -> np.ndarray:
        """Over networks; -inf counts, NaN does not."""
        return estimates.band(self.values, axis=0)[1]


class Lines(NamedTuple):
    """The lines of an array along one of its dimensions, and how many combinations there are in all."""

    along: str
    shown: list[Line]
    combinations: int


def variable_of(where: str, ds: xarray.Dataset, *names: str) -> xarray.DataArray:
    """Return the first of some variables that a dataset has.

    Raises:
        TypeError: not a dataset.
        ValueError: it has none of them, or nothing else to draw than seeds.
    """
    if not hasattr(ds, "data_vars"):
        came = checks.Shown(type(ds).__name__)
        raise TypeError(checks.refusal(where, "ds", "be a dataset of jaxsat.sweep or jaxsat.train", came))
    for name in names:
        if name in ds:
            return ds[name] if NETWORKS in ds[name].dims else ds[name].expand_dims(NETWORKS)
    rule = f"have {' or '.join(names)}"
    came = checks.Shown(", ".join(map(str, ds.data_vars)) or "no variable")
    raise ValueError(checks.refusal(where, "ds", rule, came, "Measure it with jaxsat.sweep or jaxsat.train."))


def lines_of(array: xarray.DataArray, along: str | None = None) -> Lines:
    """Return the lines of an array with a dimension "seed": along its last own dimension, or the longest swept one."""
    dims = [str(d) for d in array.dims]
    swept, own = dims[: dims.index(NETWORKS)], dims[dims.index(NETWORKS) + 1 :]
    numeric = [name for name in swept if array[name].dtype.kind in "fiu"]
    along = along or (own[-1] if own else max(numeric, key=lambda name: array.sizes[name], default=NETWORKS))
    rest = [d for d in (*swept, *own) if d != along]
    combinations = list(itertools.product(*(range(array.sizes[d]) for d in rest)))
    chosen = np.unique(np.linspace(0, len(combinations) - 1, min(MOST_LINES, len(combinations))).astype(int))
    x = array[along].values if along in array.coords else np.arange(array.sizes[along])
    shown = []
    for i in chosen:
        part = array.isel(dict(zip(rest, combinations[i], strict=True)))
        values = part.transpose(NETWORKS, ...).values.astype(float).reshape(array.sizes[NETWORKS], -1)
        fields = {d: part[d].values.item() for d in rest if d in part.coords}
        label = ", ".join(f"{d.replace('_', ' ')} {_told(value)}" for d, value in fields.items())
        shown.append(Line(label, x, values, fields))
    return Lines(along, shown, len(combinations))


def measure(ds: xarray.Dataset, name: str, *, ax: Axes | None = None) -> Axes:
    """Draw any measured variable of a dataset and return the axis: medians over networks with 5 to 95 % bands.

    The variable is drawn against its own last dimension (layer, step, index ..). A variable without one is drawn against the
    swept field with the most numbers. At most eight combinations of the other values get a line.

    Args:
        ds: of ``jaxsat.sweep`` or ``jaxsat.train``.
        name: of a variable in it.
        ax: axis to draw on; None makes a new figure.

    Raises:
        ValueError: the dataset has no such variable.

    >>> import jaxsat
    >>> ds = jaxsat.sweep(jaxsat.MLP(depth=3, width=4), "dead_fraction", {}, seeds=2, progress=False)
    >>> measure(ds, "dead_fraction").get_title(loc="left").replace("\\n", " ")
    'Share of units with slope 0 for every input: 0 at the end'
    """
    array = variable_of("plotting.measure", ds, name)
    what = named(array)
    return draw_lines(array, lines_of(array), lambda lines: findings.of_values(what, [one.median for one in lines]), ax)


def draw_lines(
    array: xarray.DataArray, lines: Lines, finding: Callable[[Sequence[Line]], str], ax: Axes | None,
    theory: Callable[[Line], tuple[np.ndarray, str]] | None = None,
) -> Axes:  # fmt: skip
    """Draw lines with their bands, and theory over them; return the axis.

    Args:
        array: the measure; its attributes label the axes.
        lines: of :func:`lines_of`.
        finding: makes the title.
        ax: axis to draw on; None makes a new figure.
        theory: returns the values of a line in theory, and what is predicted.
    """
    from jaxsat.results import drawing

    predicted = [theory(line) for line in lines.shown] if theory else []
    with drawing.style():
        ax = drawing.axis_or_new(ax)
        for i, line in enumerate(lines.shown):
            color = drawing.COLORS[i]
            if lines.along == NETWORKS:
                ax.plot(line.x, line.values[:, 0], "o", color=color, label=line.label or None)
            else:
                drawing.median_band(ax, line.x, estimates.band(line.values, axis=0), color, line.label or None)
        for line, (values, _) in zip(lines.shown, predicted, strict=False):
            ax.plot(line.x, values, **drawing.OVER)
        for what in dict.fromkeys(what for _, what in predicted):
            ax.plot([], [], **drawing.OVER, label=what)
        described = array[lines.along].attrs if lines.along in array.coords else {}
        ax.set_xlabel(axis_label(described.get("long_name", lines.along), described.get("units", "1")))
        ax.set_ylabel(axis_label(array.attrs.get("long_name", str(array.name)), array.attrs.get("units", "1")))
        drawing.state(ax, finding(lines.shown))
        if ax.get_legend_handles_labels()[0]:
            drawing.legend_below(ax, more=lines.combinations - len(lines.shown))
    return ax


def named(array: xarray.DataArray) -> str:
    """Return what a measure is called, as a title begins."""
    name = str(array.attrs.get("long_name", array.name))
    return name[:1].upper() + name[1:]


def axis_label(long_name: str, units: str) -> str:
    """Return the label of an axis: a name with its unit, in lines that are as long as an axis is high."""
    return textwrap.fill(long_name if units == "1" else f"{long_name} [{units}]", LABEL)


def _told(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, (int, float)) else str(value)
