"""The answer of a probe: its sites, what is wrong, and both as text, table, dataset and figure."""

from __future__ import annotations

import dataclasses
import math
import os
import pathlib
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from jaxsat.checks import refusal
from jaxsat.probing.comparison import Comparison
from jaxsat.probing.finding import Finding, turns_of
from jaxsat.probing.flow_points import FlowPoint
from jaxsat.probing.notebook import in_numbers, summary_of
from jaxsat.probing.page import page_of
from jaxsat.probing.report_table import codes_by_path, short_names, text_table
from jaxsat.probing.sites import NUMBERS, Site
from jaxsat.probing.weight_rules import WeightGradient

if TYPE_CHECKING:
    import pandas
    import xarray

HIDDEN = ("activation", "unit_axes", "attention", "in_while", "maps")  # fields of a site that tables leave out


@dataclasses.dataclass(frozen=True)
class Report:
    """What a probe found. ``print(report)`` says it in words.

    Attributes:
        sites: one record for each nonlinear site and scan iteration, in the order of execution.
        findings: what is wrong; empty where nothing is.
        notes: what the probe could not see, and why.
        loss: the scalar that gradients are taken of; NaN if there is none.
        flow: the gradient at residual streams, joins and linear maps without an activation, in program order.
        weights: the gradient of each weight: of each argument that data are multiplied by.
    """

    sites: tuple[Site, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    loss: float
    flow: tuple[FlowPoint, ...] = ()
    weights: tuple[WeightGradient, ...] = ()

    def __repr__(self) -> str:
        codes = ", ".join(dict.fromkeys(finding.code for finding in self.findings))
        return f"Report({in_numbers(self.sites, self.findings, self.loss)}{f': {codes}' if codes else ''})"

    def _repr_html_(self) -> str:
        return summary_of(self.sites, self.findings, self.notes, self.loss)

    def __str__(self) -> str:
        found = [str(finding) for finding in self.findings] or ["No findings."]
        return "\n".join([str(self.table()), "", *found, *(f"Note: {note}" for note in self.notes)])

    @overload
    def table(self, format: Literal["text", "markdown"] = "text") -> str: ...

    @overload
    def table(self, format: Literal["dataframe"]) -> pandas.DataFrame: ...

    def table(self, format: str = "text") -> str | pandas.DataFrame:
        """Return the sites as a table.

        Args:
            format: 'text' and 'markdown' give a string with one line for each site, numbers averaged over the iterations
                of a scan and gradients as first .. last iteration, and the codes of its findings; 'dataframe' gives a pandas DataFrame with every record.

        Raises:
            ValueError: another format.
        """
        if format == "dataframe":
            import pandas as pd

            return pd.DataFrame([_plain(site) for site in self.sites])
        if format not in ("text", "markdown"):
            raise ValueError(refusal("table", "format", "be 'text', 'markdown' or 'dataframe'", format))
        return text_table(self.sites, self.findings, format == "markdown")

    def scalars(self) -> dict[str, float]:
        """Return every finite number as 'path/number' or 'path[iteration]/number', for loggers.

        TensorBoard: ``for k, v in report.scalars().items(): writer.add_scalar(k, v, step)``.
        Weights & Biases: ``wandb.log(report.scalars(), step=step)``.
        """
        found = {
            f"{site.path}{list(site.iteration) if site.iteration else ''}/{name}": getattr(site, name)
            for site in self.sites
            for name in NUMBERS
        }
        return {key: value for key, value in found.items() if math.isfinite(value)}

    def dataset(self) -> xarray.Dataset:
        """Return an xarray Dataset with one dimension, 'site', and a variable for each number.

        The index of 'site' is the path and, inside a scan, the iteration: 'scan/tanh[3]'.
        """
        import xarray as xr

        coordinates = {
            "site": np.array([site.path + turns_of(site.iteration) for site in self.sites], dtype=object),
            "path": ("site", np.array([site.path for site in self.sites], dtype=object)),
            "kind": ("site", np.array([site.kind for site in self.sites], dtype=object)),
            "iteration": ("site", np.array([",".join(map(str, site.iteration)) for site in self.sites], dtype=object)),
        }
        numbers = {name: ("site", np.array([getattr(site, name) for site in self.sites], float)) for name in NUMBERS}
        return xr.Dataset(numbers, coordinates)

    def save_html(self, path: str | os.PathLike[str]) -> pathlib.Path:
        """Write the report as one HTML page, and return its path.

        The page needs no network and no other file: a strip of the sites with saturation, death and size of the
        gradient; findings with links to their rows; a table that sorts and filters; the iterations of scans as heat maps.

        Args:
            path: of the file; one that exists is replaced.

        Raises:
            TypeError: `path` is no path.
            OSError: the file cannot be written, or its folder does not exist.
        """
        if not isinstance(path, str | os.PathLike):
            raise TypeError(refusal("save_html", "path", "be the path of a file", path))
        target = pathlib.Path(path)
        if not target.absolute().parent.is_dir():
            raise FileNotFoundError(refusal("save_html", "path", "lie in a folder that exists", str(path)))
        target.write_text(page_of(self.sites, self.findings, self.notes, self.loss), encoding="utf-8")
        return target

    def compare(self, other: Report) -> Comparison:
        """Return what changed from this report to another one: this is before, the other is after.

        >>> import jax.numpy as jnp
        >>> import jaxsat
        >>> w = jnp.full((3, 3), 2.0)
        >>> fn = lambda w, x: jnp.sum(jnp.tanh(x @ w))
        >>> change = jaxsat.probe(fn, w, w).compare(jaxsat.probe(fn, 0.01 * w, w))
        >>> [finding.code for finding in change.gone], change.new
        (['saturated'], ())

        Raises:
            TypeError: not a report.
        """
        if not isinstance(other, Report):
            raise TypeError(refusal("compare", "other", "be a Report, as probe returns", other))
        return Comparison(self.sites, other.sites, self.findings, other.findings, self.loss, other.loss)

    def plot(self) -> Any:
        """Return a matplotlib Figure: saturated and dead fractions, and ln of the gradient norm, by site.

        The names of sites with findings are red.
        """
        from jaxsat.results import drawing

        names, flagged = short_names([site.path for site in self.sites]), codes_by_path(self.findings)
        return drawing.sites_figure(
            [names[site.path] + turns_of(site.iteration) for site in self.sites],
            *(
                np.array([getattr(site, name) for site in self.sites], float)
                for name in ("saturated_fraction", "dead_fraction", "log_gradient_norm")
            ),
            flagged=[site.path in flagged for site in self.sites],
        )


def _plain(site: Site) -> dict[str, Any]:
    record = {field.name: getattr(site, field.name) for field in dataclasses.fields(site)}
    return {name: value for name, value in record.items() if name not in HIDDEN}
