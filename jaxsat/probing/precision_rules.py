"""Rules for what a dtype loses: gradients that underflow, slopes that round to 0, numbers that are not finite."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from jaxsat.activations import precision
from jaxsat.probing.finding import Finding, mean_of, turns_of, where_of
from jaxsat.probing.origins import Origin
from jaxsat.probing.sites import Site

LOST_SHARE = 0.05  # of the entries of a gradient
LOST_SLOPES = 0.02  # of the slopes
_LARGE = 3.0  # root mean square of pre-activations: beyond this they are the cause, not the dtype
HINTS = {
    "exp": "exp overflows: subtract the largest number first, as jax.nn.softmax and logsumexp do",
    "log": "log of a number that is 0 or less: clip its argument away from 0",
    "div": "a division by 0: replace the divisor by 1 where it is 0, before dividing",
    "sub": "infinity minus infinity, as in a softmax whose row is masked everywhere: leave one entry open",
    "sqrt": "a root of a negative number: clip its argument at 0",
    "gather": "an index beyond the end of what it looks up gives NaN: labels and tokens must lie below its length",
    "cholesky": "the matrix is not positive definite: add a small number to its diagonal",
}
HINTS_BACKWARD = {
    "sqrt": "the root has no derivative at 0: add a small number inside, or replace its argument by 1 where it is 0",
    "log": "the derivative of log at 0 is infinite: clip its argument away from 0",
    "div": "a division by 0: replace the divisor by 1 where it is 0, before dividing; jnp.where after it is too late",
    "pow": "the power has no derivative at 0: clip its base away from 0",
}


def nonfinite(
    sites: Sequence[Site], bad_arguments: Sequence[str], origins: Sequence[Origin], loss: float | None
) -> Finding:
    """Return the finding that something is not finite.

    Args:
        sites: of the run.
        bad_arguments: names of the arguments that hold a NaN or an infinity.
        origins: the equations that make the first of them.
        loss: of the run; None if it has none.
    """
    where = tuple(site for site in sites if site.nonfinite_fraction > 0 or _broken(site))[:1]
    at_loss = "" if loss is None else f" The loss is {float(loss):.3g}."
    if bad_arguments:
        names = ", ".join(bad_arguments[:4]) + (" and others" if len(bad_arguments) > 4 else "")
        message = f"Not finite on the way in: {names}.{at_loss}"
        advice = "Look at where these come from: the data, or the step before."
        return Finding("nonfinite", where, message, advice, "what comes in", "high")
    seen = f" It is seen first at {where_of(where)}." if where else ""
    if not origins:
        return Finding("nonfinite", where, f"Something is not finite.{seen}{at_loss}", "")
    first = origins[0]
    what = f"gradient that is {first.what}" if first.backward else first.what
    line = first.line or "unknown line"
    message = f"The first {what} comes from {first.primitive} at {line}{_during(first)}.{seen}{at_loss}"
    hints = HINTS_BACKWARD if first.backward else HINTS
    hint = hints.get(first.primitive, "")
    advice = f"{hint[:1].upper()}{hint[1:]}." if hint else _of_dtype(sites)
    return Finding("nonfinite", where, message, advice, f"{first.primitive} at {line}", "high")


def _broken(site: Site) -> bool:
    return not math.isnan(site.zero_gradient_fraction) and not site.log_gradient_norm < math.inf


def _during(origin: Origin) -> str:
    return f", iteration {turns_of(origin.iteration)}" if origin.iteration else ""


def _of_dtype(sites: Sequence[Site]) -> str:
    """Return advice for float16, whose largest number is 65504."""
    if any(site.dtype == "float16" for site in sites):
        return "float16 ends at 65504: take bfloat16 or float32 here, or lower the loss scale."
    return ""


def underflow(sites: Sequence[Site]) -> list[Finding]:
    """Return a finding for gradients that are 0 or subnormal only because of their dtype."""
    lost = [site for site in sites if site.underflow_fraction + site.subnormal_gradient_fraction >= LOST_SHARE]
    if not lost:
        return []
    message = (
        f"{where_of(lost)}: in {_dtypes(lost)}, {mean_of(lost, 'underflow_fraction'):.0%} of the gradient's entries are 0 "
        f"only because they underflow and {mean_of(lost, 'subnormal_gradient_fraction'):.0%} are subnormal; "
        f"smallest norm exp({min(site.log_gradient_norm for site in lost):.1f})."
    )
    narrow = any(site.dtype == "float16" for site in lost)
    wider = ", or take a dtype of wider range (bfloat16, float32)" if narrow else ""
    advice = f"Multiply the loss by a power of two and divide the gradients by it in float32 (loss scaling){wider}."
    return [Finding("underflow", tuple(lost), message, advice, f"the range of {_dtypes(lost)}", "high")]


def lost_slopes(sites: Sequence[Site]) -> list[Finding]:
    """Return findings for slopes that rounding alone makes 0."""
    flat: dict[tuple[str, str], list[Site]] = {}
    for site in sites:
        phi = site.activation
        if phi is not None and "hard" not in (phi.left, phi.right) and site.zero_slope_fraction >= LOST_SLOPES:
            flat.setdefault((site.kind, site.dtype), []).append(site)
    return [_lost_slopes(kind, where) for (kind, _), where in flat.items()]


def _lost_slopes(kind: str, where: Sequence[Site]) -> Finding:
    phi, dtype = where[0].activation, where[0].dtype
    reach = precision.underflow_points(phi, np.dtype(dtype)).rounds_to_limit if phi is not None else math.inf
    beyond = f": its values round to their limit from h = {reach:.2g} on" if math.isfinite(reach) else ""
    size = mean_of(where, "pre_activation_rms")
    message = (
        f"{where_of(where)}: {mean_of(where, 'zero_slope_fraction'):.0%} of {kind}'s slopes are exactly 0 in {dtype}, "
        f"though {kind}'s slope is never 0{beyond}; root mean square pre-activation {size:.3g}."
    )
    wider = f"Compute the {kind} in a wider dtype (cast before it and back after it), or keep pre-activations small."
    advice = "Keep pre-activations small: a wider dtype would not help much." if size > _LARGE else wider
    cause = "large pre-activations" if size > _LARGE else f"the precision of {dtype}"
    return Finding("underflow", tuple(where), message, advice, cause, "medium")


def _dtypes(sites: Sequence[Site]) -> str:
    return " and ".join(sorted({site.dtype for site in sites}))
