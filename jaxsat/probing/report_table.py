"""Sites as rows of text: how numbers are averaged over iterations and written, and the shortest names that differ."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from jaxsat.probing.finding import Finding
from jaxsat.probing.sites import Site

HEADINGS = ("site", "kind", "shape", "rms h", "saturated", "dead", "sigma_w", "ln|dE/dh|", "zeros")
LEFT = (0, 1, 2, len(HEADINGS))  # columns of words


def by_path(sites: Sequence[Site]) -> dict[str, list[Site]]:
    """Return the sites of each path: one for each iteration of the scans around it."""
    groups: dict[str, list[Site]] = {}
    for site in sites:
        groups.setdefault(site.path, []).append(site)
    return groups


def codes_by_path(findings: Sequence[Finding]) -> dict[str, list[str]]:
    """Return the codes of the findings that a path has a part in."""
    codes: dict[str, list[str]] = {}
    for finding in findings:
        for path in {site.path for site in finding.sites}:
            if finding.code not in codes.setdefault(path, []):
                codes[path].append(finding.code)
    return codes


def average(sites: Sequence[Site], name: str) -> float:
    """Return the mean of a number over iterations; NaN if one of them has none."""
    with np.errstate(invalid="ignore"):
        return float(np.mean([getattr(site, name) for site in sites]))


def table_rows(sites: Sequence[Site], findings: Sequence[Finding]) -> list[list[str]]:
    """Return the headings, and a row for each path. The last column has the codes of findings, if there are any."""
    codes = codes_by_path(findings)
    rows = [
        _line(group) + ([", ".join(codes.get(path, []))] if codes else []) for path, group in by_path(sites).items()
    ]
    return [[*HEADINGS, *(["findings"] if codes else [])], *rows]


def text_table(sites: Sequence[Site], findings: Sequence[Finding], markdown: bool = False) -> str:
    """Return the rows as text, a line for each."""
    headings, *rows = table_rows(sites, findings)
    if markdown:
        cells = [[cell.replace("|", "\\|") for cell in row] for row in [headings, ["---"] * len(headings), *rows]]
        return "\n".join("| " + " | ".join(row) + " |" for row in cells)
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    lines = []
    for row in [headings, *rows]:
        cells = [
            cell.ljust(width) if i in LEFT else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def kind_and_part(site: Site) -> str:
    """Return what a site is, and the part of the program that it is in, if that is not the network: 'softmax (loss)'."""
    return site.kind if site.part == "network" else f"{site.kind} ({site.part})"


def _line(sites: Sequence[Site]) -> list[str]:
    first, last = sites[0], sites[-1]
    gradient = _number(first.log_gradient_norm, "{:.2f}")
    if len(sites) > 1:
        gradient += " .. " + _number(last.log_gradient_norm, "{:.2f}")
    return [
        first.path + (f" x {len(sites)}" if len(sites) > 1 else ""),
        kind_and_part(first),
        "x".join(map(str, first.shape)) or "()",
        _number(average(sites, "pre_activation_rms"), "{:.3g}"),
        _number(average(sites, "saturated_fraction"), "{:.1%}"),
        _number(average(sites, "dead_fraction"), "{:.1%}"),
        _number(average(sites, "weight_scale"), "{:.3g}"),
        gradient,
        _number(average(sites, "zero_gradient_fraction"), "{:.1%}"),
    ]


def _number(value: float, form: str) -> str:
    return "" if math.isnan(value) else form.format(value)


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """Return the shortest end of each path that no other path has, cut at slashes.

    >>> short_names(["net/block_0/relu", "net/block_1/relu", "net/tanh"])
    {'net/block_0/relu': 'block_0/relu', 'net/block_1/relu': 'block_1/relu', 'net/tanh': 'tanh'}
    """
    ends: Mapping[str, list[str]] = {path: path.split("/") for path in dict.fromkeys(paths)}
    counts: dict[str, int] = {}
    for parts in ends.values():
        for i in range(len(parts)):
            end = "/".join(parts[i:])
            counts[end] = counts.get(end, 0) + 1
    return {
        path: next(
            ("/".join(parts[i:]) for i in range(len(parts) - 1, -1, -1) if counts["/".join(parts[i:])] == 1), path
        )
        for path, parts in ends.items()
    }
