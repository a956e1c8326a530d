"""What is wrong with a run: all rules, in the order in which they explain each other.

Each rule compares measured numbers with a threshold that stands by name beside it. Where none is crossed there is no
finding.
"""

from __future__ import annotations

from collections.abc import Sequence

from jaxsat.probing import gradient_rules, precision_rules, unit_rules
from jaxsat.probing.finding import Finding
from jaxsat.probing.gradient_paths import GradientPaths, in_order
from jaxsat.probing.sites import Site


def in_network(sites: Sequence[Site]) -> list[Site]:
    """Return the sites of the network itself, without those of losses and optimisers."""
    return [site for site in sites if site.part == "network"]


def diagnose(
    sites: Sequence[Site], has_zero_weights: bool = False, paths: GradientPaths | None = None
) -> tuple[Finding, ...]:
    """Return all findings for the sites of one run, in order of execution.

    Args:
        sites: of the run.
        has_zero_weights: whether an argument that is the weight of a linear map is all zeros, so that gradients of
            exactly 0 are meant.
        paths: along which gradients are compared; None: the activations, in the order of execution.
    """
    everywhere, sites = sites, in_network(sites)
    paths = in_order(sites) if paths is None else paths
    saturated, dead = unit_rules.saturated(sites, paths.residual), unit_rules.dead(sites)
    explained = {id(site) for finding in saturated for site in finding.sites}
    rest = [site for site in sites if id(site) not in explained]
    return (
        *saturated,
        *dead,
        *unit_rules.collapsed(sites),
        *gradient_rules.gradient(sites, bool(saturated or dead or has_zero_weights), paths),
        *precision_rules.underflow(everywhere),
        *precision_rules.lost_slopes(rest),
    )
