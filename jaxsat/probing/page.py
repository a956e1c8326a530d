"""A report as one HTML page that opens without a network: a strip of the sites, findings, heat maps, and the table.

The page is readable without JavaScript; a script in it sorts, filters and draws the heat maps.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from jaxsat.probing.finding import Finding, turns_of
from jaxsat.probing.notebook import in_numbers
from jaxsat.probing.report_table import average, by_path, codes_by_path, kind_and_part
from jaxsat.probing.sites import Site

SHOWN_LINKS = 12  # of a finding's sites
HEAT = ("log_gradient_norm", "saturated_fraction", "dead_fraction", "pre_activation_rms", "zero_gradient_fraction")
COLUMNS: Mapping[str, tuple[str, str]] = {
    "rms h": ("pre_activation_rms", "{:.3g}"),
    "saturated": ("saturated_fraction", "{:.1%}"),
    "dead": ("dead_fraction", "{:.1%}"),
    "sigma_w": ("weight_scale", "{:.3g}"),
    "slope": ("slope_rms", "{:.3g}"),
    "ln|dE/dh|": ("log_gradient_norm", "{:.2f}"),
    "zeros": ("zero_gradient_fraction", "{:.1%}"),
}
BANDS = (
    ("saturated_fraction", 50, "var(--blue)"),
    ("dead_fraction", 50, "var(--red)"),
    ("log_gradient_norm", 70, "var(--green)"),
)
WIDEST = 60  # pixels of a column
GAP = 2  # pixels between two bands of the strip


def page_of(sites: Sequence[Site], findings: Sequence[Finding], notes: Sequence[str], loss: float) -> str:
    """Return the HTML text of a report's page."""
    groups, codes = by_path(sites), codes_by_path(findings)
    anchors = {path: f"site-{i}" for i, path in enumerate(groups)}
    low, high = _range(sites)
    parts = {
        "SUMMARY": in_numbers(sites, findings, loss),
        "FINDINGS": "\n".join(_finding(finding, anchors) for finding in findings) or "<li>No findings.</li>",
        "NOTES": "\n".join(f'<p class="soft">Note: {html.escape(note)}</p>' for note in notes),
        "RANGE": f"{low:.3g} to {high:.3g}" if math.isfinite(low) else "none",
        "STRIP": _strip(groups, anchors, codes, (low, high)),
        "HEAD": "".join(f'<th scope="col"><button type="button">{name}</button></th>' for name in _headings()),
        "ROWS": "\n".join(_row(group, anchors[path], codes.get(path, [])) for path, group in groups.items()),
        # A text that closes a script must not stand in one.
        "DATA": json.dumps({"numbers": HEAT, "heat": _heat(groups)}).replace("</", "<\\/"),
    }
    page = resources.files("jaxsat.probing").joinpath("page.html").read_text(encoding="utf-8")
    head, *rest = page.split("@@")
    return head + "".join(parts[text] if i % 2 == 0 else text for i, text in enumerate(rest))


def _headings() -> tuple[str, ...]:
    return ("site", "kind", "shape", *COLUMNS, "findings")


def _finding(finding: Finding, anchors: Mapping[str, str]) -> str:
    paths = list(dict.fromkeys(site.path for site in finding.sites))
    links = [f'<a href="#{anchors[path]}">{html.escape(path)}</a>' for path in paths[:SHOWN_LINKS] if path in anchors]
    more = f" and {len(paths) - SHOWN_LINKS} more" if len(paths) > SHOWN_LINKS else ""
    cause = f"<p>Cause: {html.escape(finding.cause)} (confidence: {finding.confidence})</p>" if finding.cause else ""
    advice = f"<p>Try: {html.escape(finding.advice)}</p>" if finding.advice else ""
    return (
        f'<li><span class="code">{finding.code}</span> <p>{html.escape(finding.message)}</p>{cause}{advice}'
        f'<p class="links soft">{" ".join(links)}{more}</p></li>'
    )


def _range(sites: Sequence[Site]) -> tuple[float, float]:
    norms = [site.log_gradient_norm for site in sites if math.isfinite(site.log_gradient_norm)]
    return (min(norms), max(norms)) if norms else (math.nan, math.nan)


def _strip(
    groups: Mapping[str, Sequence[Site]],
    anchors: Mapping[str, str],
    codes: Mapping[str, Sequence[str]],
    ends: tuple[float, float],
) -> str:
    """Return the strip as SVG: a column for each site, with a bar in each band."""
    drawn = []
    for x, (path, group) in enumerate(groups.items()):
        bars, top = [f'<rect x="{x}" width="1" height="190" fill="transparent"/>'], 0
        for name, height, fill in BANDS:
            share = _share(average(group, name), name, ends)
            if math.isfinite(share):
                tall = share * (height - GAP)
                bars.append(
                    f'<rect x="{x + 0.1}" y="{top + height - tall:.1f}" width="0.8" height="{tall:.1f}" fill="{fill}"/>'
                )
            top += height
        found = codes.get(path, [])
        if found:
            bars.append(f'<rect x="{x + 0.1}" y="{top + GAP}" width="0.8" height="16" fill="var(--red)"/>')
        title = html.escape(f"{path}: {', '.join(found) or 'no findings'}")
        drawn.append(f'<a href="#{anchors[path]}"><title>{title}</title>{"".join(bars)}</a>')
    label = "saturation, death, size of the gradient and findings of each site"
    width = max(len(groups), 1)
    most = f"max-width: {WIDEST * width}px"
    return f'<svg class="strip" style="{most}" viewBox="0 0 {width} 190" preserveAspectRatio="none" role="img" aria-label="{label}">{"".join(drawn)}</svg>'


def _share(value: float, name: str, ends: tuple[float, float]) -> float:
    """Return how high a bar is, from 0 to 1. The smallest gradient keeps a low bar; one of exactly 0 has none."""
    if name != "log_gradient_norm" or not math.isfinite(value):
        return value
    low, high = ends
    return 0.1 + 0.9 * (value - low) / (high - low) if high > low else 1.0


def _row(sites: Sequence[Site], anchor: str, codes: Sequence[str]) -> str:
    first = sites[0]
    times = f" x {len(sites)}" if len(sites) > 1 else ""
    shape = "x".join(map(str, first.shape)) or "()"
    cells = [f"<td>{html.escape(text)}</td>" for text in (first.path + times, kind_and_part(first), shape)]
    for name, form in COLUMNS.values():
        value = average(sites, name)
        sort = "" if math.isnan(value) else repr(value).replace("inf", "1e999")  # JavaScript reads that as infinity
        cells.append(f'<td data-value="{sort}">{"" if math.isnan(value) else form.format(value)}</td>')
    cells.append(f"<td>{html.escape(', '.join(codes))}</td>")
    found = ' class="found"' if codes else ""
    return f'<tr id="{anchor}"{found}>{"".join(cells)}</tr>'


def _heat(groups: Mapping[str, Sequence[Site]]) -> list[dict[str, Any]]:
    """Return the heat maps: sites with the same iterations share one."""
    maps: dict[tuple[tuple[int, ...], ...], list[dict[str, Any]]] = {}
    for path, group in groups.items():
        if len(group) > 1:
            ordered = sorted(group, key=lambda site: site.iteration)
            numbers = {name: [_in_heat_map(getattr(site, name), name) for site in ordered] for name in HEAT}
            maps.setdefault(tuple(site.iteration for site in ordered), []).append({"path": path, **numbers})
    return [
        {"length": len(turns), "turns": [turns_of(turn)[1:-1] for turn in turns], "rows": rows}
        for turns, rows in maps.items()
    ]


def _in_heat_map(value: float, name: str) -> float | str | None:
    if name.startswith("log") and value == -math.inf:
        return "zero"
    return float(f"{value:.6g}") if math.isfinite(value) else None
