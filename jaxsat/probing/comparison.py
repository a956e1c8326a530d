"""Two reports side by side: before and after a change."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, overload

from jaxsat.checks import refusal
from jaxsat.probing.finding import Finding, turns_of
from jaxsat.probing.sites import NUMBERS, Site

if TYPE_CHECKING:
    import pandas

SHOWN = (
    ("rms h", "pre_activation_rms", "{:.3g}"),
    ("saturated", "saturated_fraction", "{:.1%}"),
    ("dead", "dead_fraction", "{:.1%}"),
    ("ln|dE/dh|", "log_gradient_norm", "{:.2f}"),
)
LISTED = 4  # sites of one report only that are named


class SitePair(NamedTuple):
    """One site before and after; None where it is in one report only."""

    before: Site | None
    after: Site | None


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What changed from one report to another. ``print(comparison)`` says it in words.

    Attributes:
        sites_before, sites_after: of the two reports.
        findings_before, findings_after: of the two reports.
        loss_before, loss_after: of the two reports; NaN if there is none.
    """

    sites_before: tuple[Site, ...]
    sites_after: tuple[Site, ...]
    findings_before: tuple[Finding, ...]
    findings_after: tuple[Finding, ...]
    loss_before: float
    loss_after: float

    @property
    def pairs(self) -> tuple[SitePair, ...]:
        """Each site with itself: by its path and iteration, else by its shape and its order among those left over."""
        return _paired(self.sites_before, self.sites_after)

    @property
    def gone(self) -> tuple[Finding, ...]:
        """Findings of the first report whose code the second has no more."""
        return _without(self.findings_before, self.findings_after)

    @property
    def new(self) -> tuple[Finding, ...]:
        """Findings of the second report whose code the first has not."""
        return _without(self.findings_after, self.findings_before)

    @property
    def stayed(self) -> tuple[Finding, ...]:
        """Findings of the second report whose code the first has too."""
        codes = {finding.code for finding in self.findings_before}
        return tuple(finding for finding in self.findings_after if finding.code in codes)

    @overload
    def table(self, format: Literal["text"] = "text") -> str: ...

    @overload
    def table(self, format: Literal["dataframe"]) -> pandas.DataFrame: ...

    def table(self, format: str = "text") -> str | pandas.DataFrame:
        """Return the sites of both, side by side.

        Args:
            format: 'text': a string with a line for each site; 'dataframe': a pandas DataFrame with NUMBER_before,
                NUMBER_after for every number.

        Raises:
            ValueError: another format.
        """
        if format == "dataframe":
            import pandas as pd

            return pd.DataFrame([_record(pair) for pair in self.pairs])
        if format != "text":
            raise ValueError(refusal("table", "format", "be 'text' or 'dataframe'", format))
        return "\n".join(_line(pair.before, pair.after) for pair in self.pairs if pair.before and pair.after)

    def __str__(self) -> str:
        lines = [self.table()] if self.pairs else []
        for name, sites in (
            ("before", [pair.before for pair in self.pairs if pair.before and not pair.after]),
            ("after", [pair.after for pair in self.pairs if pair.after and not pair.before]),
        ):
            if sites:
                named = ", ".join(site.path + turns_of(site.iteration) for site in sites[:LISTED] if site)
                lines.append(f"Only {name}: {named}{' and others' if len(sites) > LISTED else ''}.")
        if not (math.isnan(self.loss_before) and math.isnan(self.loss_after)):
            lines.append(f"Loss {self.loss_before:.3g} -> {self.loss_after:.3g}.")
        for name, findings in (("Gone", self.gone), ("Still there", self.stayed), ("New", self.new)):
            if findings:
                lines.append(f"{name}: {', '.join(dict.fromkeys(finding.code for finding in findings))}.")
        if not self.findings_before and not self.findings_after:
            lines.append("No findings in either.")
        return "\n".join(line for line in lines if line)


def _without(findings: Sequence[Finding], others: Sequence[Finding]) -> tuple[Finding, ...]:
    codes = {finding.code for finding in others}
    return tuple(finding for finding in findings if finding.code not in codes)


def _paired(before: Sequence[Site], after: Sequence[Site]) -> tuple[SitePair, ...]:
    """Return the pairs, in the order of the second report. Sites of the first report alone come last."""
    by_place = {(site.path, site.iteration): site for site in before}
    exact = {id(site): by_place.pop((site.path, site.iteration), None) for site in after}
    left: dict[tuple[Any, ...], list[Site]] = {}
    for site in by_place.values():  # another activation at the place of the first: its path differs
        left.setdefault(_likeness(site), []).append(site)
    pairs = []
    for site in after:
        others = left.get(_likeness(site), [])
        partner = exact[id(site)] or (others.pop(0) if others else None)
        pairs.append(SitePair(partner, site))
    alone = {id(site) for sites in left.values() for site in sites}
    return (*pairs, *(SitePair(site, None) for site in before if id(site) in alone))


def _likeness(site: Site) -> tuple[Any, ...]:
    return site.role, site.shape, site.iteration


def _line(before: Site, after: Site) -> str:
    changes = []
    for heading, name, form in SHOWN:
        values = getattr(before, name), getattr(after, name)
        if not all(map(math.isnan, values)):
            changes.append(f"{heading} {' -> '.join('none' if math.isnan(v) else form.format(v) for v in values)}")
    kinds = f" ({before.kind} -> {after.kind})" if before.kind != after.kind else ""
    return f"{after.path}{turns_of(after.iteration)}{kinds}: {', '.join(changes)}"


def _record(pair: SitePair) -> dict[str, Any]:
    site = pair.after or pair.before
    assert site is not None
    record: dict[str, Any] = {"path": site.path, "iteration": site.iteration}
    for name in NUMBERS:
        record[f"{name}_before"] = getattr(pair.before, name) if pair.before else math.nan
        record[f"{name}_after"] = getattr(pair.after, name) if pair.after else math.nan
    return record
