"""The answer of a probe: its sites, what is wrong, and both as text, table, dataset and figure."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxsat.probing.finding import Finding, turns_of
from jaxsat.probing.sites import NUMBERS, Site

HIDDEN = ("activation", "unit_axis", "attention", "in_while")  # fields of a site that tables leave out
HEADINGS = ("site", "kind", "shape", "rms h", "saturated", "dead", "sigma_w", "ln|dE/dh|", "zeros")


@dataclasses.dataclass(frozen=True)
class Report:
    """What a probe found. ``print(report)`` says it in words.

    Attributes:
        sites: one record for each nonlinear site and scan iteration, in the order of execution.
        findings: what is wrong; empty where nothing is.
        notes: what the probe could not see, and why.
        loss: the scalar that gradients are taken of; NaN if there is none.
    """

    sites: tuple[Site, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    loss: float

    def __str__(self) -> str:
        found = [_in_words(finding) for finding in self.findings] or ["No findings."]
        return "\n".join([str(self.table()), "", *found, *(f"Note: {note}" for note in self.notes)])

    def table(self, format: str = "text") -> Any:
        """Return the sites as a table.

        Args:
            format: 'text' and 'markdown' give a string with one line for each site, numbers averaged over the iterations
                of a scan and gradients as first .. last iteration; 'dataframe' gives a pandas DataFrame with every record.

        Raises:
            ValueError: another format.
        """
        if format == "dataframe":
            import pandas as pd

            return pd.DataFrame([_plain(site) for site in self.sites])
        rows = [_line(group) for group in _by_path(self.sites)]
        if format == "markdown":
            lines = ["| " + " | ".join(row) + " |" for row in [HEADINGS, ["---"] * len(HEADINGS), *rows]]
            return "\n".join(lines)
        if format != "text":
            raise ValueError(f"table: `format` must be 'text', 'markdown' or 'dataframe'; got {format!r}.")
        widths = [max(map(len, column)) for column in zip(HEADINGS, *rows, strict=True)]
        return "\n".join(
            "  ".join(
                cell.ljust(w) if i < 3 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
            )
            for row in [HEADINGS, *rows]
        )

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

    def dataset(self) -> Any:
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

    def plot(self) -> Any:
        """Return a matplotlib Figure: saturated and dead fractions, and ln of the gradient norm, by site."""
        from jaxsat.results import plotting

        shown = [site for site in self.sites if site.role in ("activation", "gate")]
        return plotting.sites_figure(
            [_short(site) for site in shown],
            *(
                np.array([getattr(site, name) for site in shown], float)
                for name in ("saturated_fraction", "dead_fraction", "log_gradient_norm")
            ),
        )


def _in_words(finding: Finding) -> str:
    advice = f"\n    Try: {finding.advice}" if finding.advice else ""
    return f"[{finding.code}] {finding.message}{advice}"


def _by_path(sites: Sequence[Site]) -> list[list[Site]]:
    groups: dict[str, list[Site]] = {}
    for site in sites:
        groups.setdefault(site.path, []).append(site)
    return list(groups.values())


def _line(sites: Sequence[Site]) -> list[str]:
    first, last = sites[0], sites[-1]
    gradient = _number(first.log_gradient_norm, "{:.2f}")
    if len(sites) > 1:
        gradient += " .. " + _number(last.log_gradient_norm, "{:.2f}")
    return [
        first.path + (f" x {len(sites)}" if len(sites) > 1 else ""),
        first.kind,
        "x".join(map(str, first.shape)) or "()",
        _number(_average(sites, "pre_activation_rms"), "{:.3g}"),
        _number(_average(sites, "saturated_fraction"), "{:.1%}"),
        _number(_average(sites, "dead_fraction"), "{:.1%}"),
        _number(_average(sites, "weight_scale"), "{:.3g}"),
        gradient,
        _number(_average(sites, "zero_gradient_fraction"), "{:.1%}"),
    ]


def _average(sites: Sequence[Site], name: str) -> float:
    return float(np.mean([getattr(site, name) for site in sites]))


def _number(value: float, form: str) -> str:
    return "" if math.isnan(value) else form.format(value)


def _short(site: Site) -> str:
    *_, last = site.path.split("/")
    return last + turns_of(site.iteration)


def _plain(site: Site) -> dict[str, Any]:
    record = {field.name: getattr(site, field.name) for field in dataclasses.fields(site)}
    return {name: value for name, value in record.items() if name not in HIDDEN}
