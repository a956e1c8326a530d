"""One record for each nonlinear site and scan iteration, with its numbers as plain Python."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxsat.activations import Activation
from jaxsat.probing.measuring import Backward
from jaxsat.probing.site_statistics import Forward
from jaxsat.probing.survey import SiteDescription, part_in_order
from jaxsat.probing.values import Address, Loop

NAN = float("nan")


@dataclasses.dataclass(frozen=True)
class Site:
    """A nonlinear site in one run. Numbers that do not exist are NaN; logarithms are natural.

    Attributes:
        path: modules and loops it is in, and its kind; unique but for iterations.
        kind: the activation's name ('tanh', 'relu' ...), 'softmax', 'normalization', a jitted function's name, or the
            primitives it is made of.
        role: 'activation', 'gate' (a sigmoid that multiplies something), 'softmax' or 'normalization'.
        part: 'network'; 'loss', which comes after the last linear map; 'optimizer', which is made from gradients alone.
        iteration: indices in the scans around it, outermost first.
        shape, dtype: of the pre-activation h.
        where: source line.
        weight: the argument that is the weight of the linear map before it, as a path in the arguments; '' if none. If an
            activation takes the sum of two to four linear maps: the weights of all of them.
        activation: the catalogue's record, if it has one.
        unit_axes: axes of the units; () if it is one unit.
        attention: whether it is a softmax of products of two data.
        in_while: whether it is inside a while loop, of which only the last iteration is seen, without gradients.
        maps: number of linear maps whose sum the pre-activation is.
        pre_activation_mean, pre_activation_rms, pre_activation_min, pre_activation_max: of h over all entries.
        activation_rms: root mean square of phi(h).
        slope_mean, slope_rms: of phi'(h), by autodiff in the run's dtype.
        zero_slope_fraction: share of slopes that are exactly zero in that dtype.
        saturated_fraction: share of entries with |phi'(h)| <= 0.05 max|phi'|.
        mostly_saturated_fraction: share of units that are saturated for over 90 % of the inputs.
        never_saturated_fraction: share of units that are saturated for no input.
        dead_fraction: share of units whose slope is exactly zero for every input; 0 for activations that saturate only
            softly, whose true slope is never zero.
        weight_scale: root mean square of the weight times sqrt(fan_in): sigma_w. If there are several weights: the largest
            sigma_w.
        bias_scale, bias_mean: root mean square and mean of the bias.
        log_gradient_norm: ln ||dE/dh||, E the scalar output. -inf where it is exactly zero. Where some of it
            underflowed it is that of a run with E multiplied up, less the factor's logarithm.
        log_gradient_growth: log_gradient_norm less that of the next activation.
        zero_gradient_fraction, subnormal_gradient_fraction: share of entries of dE/dh that are exactly zero, or below
            the smallest normal number but not zero, in the run's own dtype.
        underflow_fraction: share of entries that are exactly zero, but not if E is multiplied up.
        nonfinite_fraction: share of entries where h or phi(h) is NaN or infinite. A masked score of a softmax is not
            counted.
        input_correlation: correlation of the pre-activations of two inputs, by the typical unit: 1 if all inputs are
            alike, or if all units are shifted far by their biases.
        entropy: of a softmax: mean entropy of its rows, divided by the logarithm of the number of scores that are not
            masked. 1: all are equal; 0: one has all the weight.
        participation_ratio: in how many directions the units of an activation vary over the inputs: (sum v)^2 / sum v^2 of the
            principal variances v. At most 512 inputs are looked at. NaN where nothing varies.
    """

    path: str
    kind: str
    role: str
    part: str
    iteration: tuple[int, ...]
    shape: tuple[int, ...]
    dtype: str
    where: str
    weight: str
    activation: Activation | None = dataclasses.field(repr=False)
    unit_axes: tuple[int, ...] = dataclasses.field(repr=False)
    attention: bool = dataclasses.field(repr=False)
    in_while: bool = dataclasses.field(repr=False)
    maps: int = dataclasses.field(default=1, repr=False)
    pre_activation_mean: float = NAN
    pre_activation_rms: float = NAN
    pre_activation_min: float = NAN
    pre_activation_max: float = NAN
    activation_rms: float = NAN
    slope_mean: float = NAN
    slope_rms: float = NAN
    zero_slope_fraction: float = NAN
    saturated_fraction: float = NAN
    mostly_saturated_fraction: float = NAN
    never_saturated_fraction: float = NAN
    dead_fraction: float = NAN
    weight_scale: float = NAN
    bias_scale: float = NAN
    bias_mean: float = NAN
    log_gradient_norm: float = NAN
    log_gradient_growth: float = NAN
    zero_gradient_fraction: float = NAN
    subnormal_gradient_fraction: float = NAN
    underflow_fraction: float = NAN
    nonfinite_fraction: float = NAN
    input_correlation: float = NAN
    entropy: float = NAN
    participation_ratio: float = NAN

    @property
    def inputs(self) -> int:
        """Number of inputs (examples, positions) over which each unit is seen."""
        return int(np.prod(self.shape, dtype=int)) // self.units

    @property
    def units(self) -> int:
        """Number of units."""
        return max(math.prod(self.shape[axis] for axis in self.unit_axes), 1) if self.shape else 1

    @property
    def ran(self) -> bool:
        """Whether it was computed: a branch that was not taken was not."""
        return not np.isnan(self.nonfinite_fraction)


NUMBERS = tuple(field.name for field in dataclasses.fields(Site) if field.type == "float")


def site_records(
    descriptions: Sequence[SiteDescription],
    forward: Mapping[str, Forward],
    backward: Mapping[str, np.ndarray],
    multiplied: tuple[Mapping[str, np.ndarray], float] | None,
    names: Sequence[str],
) -> tuple[Site, ...]:
    """Return the records of all sites, in the order of execution.

    Args:
        descriptions: of the program's sites.
        forward, backward: what it measured, as NumPy arrays.
        multiplied: `backward` of a run with E multiplied by exp(second); None if there was no need of one.
        names: of the arguments.
    """
    rows = []
    for described in descriptions:
        for iteration in itertools.product(*map(range, described.lengths)):
            numbers = {name: float(value[iteration]) for name, value in forward[described.end]._asdict().items()}
            if described.root in backward:
                numbers |= _gradient(backward[described.root][iteration], multiplied, described.root, iteration)
            weight = _names_of(described.weights if described.has_own_weights else (), names)
            site = Site(
                described.path, described.kind, described.role, described.part, iteration, described.shape, described.dtype, described.where, weight,
                described.activation, described.unit_axes, described.attention, described.in_while, len(described.maps),
                **numbers,
            )  # fmt: skip
            rows.append((execution_order(described.address, described.loops, iteration), site))
    ordered = [site for _, site in sorted(rows, key=lambda row: row[0])]
    return tuple(_with_growth(ordered))


def _names_of(weights: Sequence[int], names: Sequence[str]) -> str:
    named = ("a constant" if weight == -1 else names[weight] for weight in weights)
    return " and ".join(dict.fromkeys(named))


def _gradient(row: np.ndarray, multiplied: Any, root: str, iteration: tuple[int, ...]) -> dict[str, float]:
    found = Backward(*map(float, row))
    if not found.reached:
        return {}
    numbers = found._asdict()
    del numbers["reached"]
    numbers["underflow_fraction"] = 0.0
    if multiplied is not None:
        rows, log_factor = multiplied
        again = Backward(*map(float, rows[root][iteration]))
        lost = found.zero_gradient_fraction - again.zero_gradient_fraction
        if np.isfinite(again.log_gradient_norm) and (lost > 0 or found.subnormal_gradient_fraction > 0):
            numbers["underflow_fraction"] = max(lost, 0.0)
            numbers["log_gradient_norm"] = again.log_gradient_norm - log_factor
    return numbers


def execution_order(address: Address, loops: Sequence[Loop], iteration: Sequence[int]) -> tuple[tuple[int, str], ...]:
    """Return a key that sorts by time: by each equation in its jaxpr, and by the iteration where that is a loop."""
    key: list[tuple[int, str]] = []
    turns = iter(iteration)
    at_depth = {loop.depth: loop for loop in loops if loop.length is not None}
    for depth, part in enumerate(address):
        if depth in at_depth:
            turn = next(turns)
            key.append((-turn if at_depth[depth].backwards else turn, ""))
        key.append(part_in_order(part))
    return tuple(key)


def _with_growth(ordered: Sequence[Site]) -> list[Site]:
    """Return the records with the growth of the gradient from the next activation."""
    after: float = NAN
    rows = []
    for site in reversed(ordered):
        if site.role != "activation":
            rows.append(site)
            continue
        with np.errstate(invalid="ignore"):
            growth = float(np.subtract(site.log_gradient_norm, after))
        rows.append(dataclasses.replace(site, log_gradient_growth=growth))
        after = site.log_gradient_norm
    return rows[::-1]
