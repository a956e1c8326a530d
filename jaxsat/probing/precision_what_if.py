"""What a narrower dtype would lose, from one run in float32: site by site, on the way there and on the way back."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxsat.checks import refusal
from jaxsat.linalg.magnitudes import maximum_or_nan
from jaxsat.probing.finding import turns_of
from jaxsat.probing.narrow_formats import NarrowFormat, format_of, limit_share, lost_shares
from jaxsat.probing.program import measurements
from jaxsat.probing.reader import Context, Reader
from jaxsat.probing.reading import read, rule_of
from jaxsat.probing.sites import execution_order
from jaxsat.probing.survey import SiteDescription, Survey, survey_of
from jaxsat.probing.tracing import TracedFunction, trace_function
from jaxsat.probing.values import Address, Value, key_of

if TYPE_CHECKING:
    import pandas

ALL = ("bfloat16", "float16", "float8_e4m3fn", "float8_e5m2", "mxfp8_e4m3")
FORWARD = (
    "pre_activation_underflow", "pre_activation_overflow", "activation_underflow", "activation_overflow",
    "activation_at_limit",
)  # fmt: skip
BACKWARD = ("gradient_underflow", "gradient_overflow")
MATTERS = 0.01  # share of the entries that a summary speaks of


@dataclasses.dataclass(frozen=True)
class CastLoss:
    """What casting one site to one dtype would lose: shares of entries. NaN where there is no such number.

    Attributes:
        path, kind, iteration: of the site.
        dtype: name of the format.
        pre_activation_underflow, pre_activation_overflow: of h: not 0 but cast to 0; finite but cast to infinity or NaN
            (in a block-scaled format: cut to the largest number).
        activation_underflow, activation_overflow: the same of phi(h).
        activation_at_limit: share of phi(h) that is not at a limit of phi but would be rounded to it (tanh: to 1).
        gradient_underflow, gradient_overflow: as of h, of dE/dh.
        log2_gradient_max: log2 of the largest |dE/dh|, in the run's own dtype; the same for all formats.
    """

    path: str
    kind: str
    iteration: tuple[int, ...]
    dtype: str
    pre_activation_underflow: float
    pre_activation_overflow: float
    activation_underflow: float
    activation_overflow: float
    activation_at_limit: float
    gradient_underflow: float = math.nan
    gradient_overflow: float = math.nan
    log2_gradient_max: float = math.nan


@dataclasses.dataclass(frozen=True)
class PrecisionReport:
    """What narrower dtypes would lose. ``print(report)`` says it in words.

    Attributes:
        sites: a record for each site, scan iteration and dtype.
        dtypes: names of the formats.
        loss_scales: by dtype, the largest power of two that the loss may be multiplied by, such that no gradient at a
            site passes half of the format's largest number. NaN without gradients.
    """

    sites: tuple[CastLoss, ...]
    dtypes: tuple[str, ...]
    loss_scales: dict[str, float]

    def __str__(self) -> str:
        return "\n".join(f"{dtype}: {self._in_words(dtype)}" for dtype in self.dtypes)

    def _in_words(self, dtype: str) -> str:
        rows = [row for row in self.sites if row.dtype == dtype]
        said = []
        for name in (*FORWARD, *BACKWARD):
            worst = max(rows, key=lambda row: np.nan_to_num(getattr(row, name)), default=None)
            share = getattr(worst, name) if worst else 0.0
            if worst and share >= MATTERS:
                what = name.replace("_", " ").replace("activation at limit", "activations at their limit")
                said.append(f"{what} {share:.0%} at {worst.path}{turns_of(worst.iteration)}")
        scale = self.loss_scales[dtype]
        if any(row.gradient_underflow >= MATTERS for row in rows) and scale > 1:
            said.append(f"the loss may be multiplied by 2^{math.log2(scale):.0f} against the gradients' underflow")
        return "; ".join(said) if said else f"less than {MATTERS:.0%} of the entries are lost at any site"

    @overload
    def table(self, format: Literal["text"] = "text") -> str: ...

    @overload
    def table(self, format: Literal["dataframe"]) -> pandas.DataFrame: ...

    def table(self, format: str = "text") -> str | pandas.DataFrame:
        """Return all shares, as 'text' or as a pandas 'dataframe'.

        Raises:
            ValueError: another format.
        """
        if format not in ("text", "dataframe"):
            raise ValueError(refusal("table", "format", "be 'text' or 'dataframe'", format))
        import pandas as pd

        frame = pd.DataFrame([dataclasses.asdict(row) for row in self.sites])
        return frame if format == "dataframe" else frame.to_string(index=False, float_format="{:.3f}".format)


def precision_report(
    fn: Callable[..., Any], *args: Any, dtypes: Sequence[Any] = ALL, loss: Callable[[Any], Any] | None = None, **kwargs: Any
) -> PrecisionReport:  # fmt: skip
    """Return what narrower dtypes would lose at each nonlinear site, forward and backward, from one run as it is.

    Each site is looked at by itself: its pre-activations, activations and gradients as the run has them, and what a
    cast of them would do. What the rounding in earlier sites does to later ones is not in it.

    Args:
        fn, args, kwargs, loss: as of :func:`jaxsat.probe`. Give float32 arrays.
        dtypes: names or dtypes: 'bfloat16', 'float16', 'float8_e4m3fn', 'float8_e5m2', and the block-scaled
            'mxfp8_e4m3' (also 'mxfp8') and 'mxfp8_e5m2', in which 32 numbers along the last axis share a power of two.

    Returns: a :class:`PrecisionReport`.

    Accuracy: the shares are those of ml_dtypes' own casts (round to nearest, halves to even), entry by entry. Block
        scales follow OCP Microscaling Formats 1.0 (2023): the largest number of a block gets the largest exponent.

    Raises:
        TypeError: as of :func:`jaxsat.probe`.
        ValueError: an unknown dtype.

    >>> import jax.numpy as jnp
    >>> x = jnp.linspace(-4, 4, 9, dtype=jnp.float32)
    >>> report = precision_report(lambda x: jnp.sum(jnp.tanh(x)), x, dtypes=["bfloat16"])
    >>> round(report.sites[0].activation_at_limit, 3)  # tanh(4) = 0.9993 is 1 in bfloat16
    0.222
    """
    if isinstance(dtypes, (str, bytes)) or not isinstance(dtypes, Sequence):
        raise TypeError(refusal("precision_report", "dtypes", "be a list of number formats", dtypes))
    formats = [format_of(dtype) for dtype in dtypes]
    if not formats:
        raise ValueError(refusal("precision_report", "dtypes", "name at least one number format", tuple(dtypes)))
    traced = trace_function("precision_report", fn, args, kwargs, loss)
    survey = survey_of(traced.closed, traced.arrays, traced.names)
    run = _program(traced, survey, formats)
    forward, backward = jax.device_get(run(traced.constants, traced.arrays))
    names = tuple(narrow.name for narrow in formats)
    rows = _records(survey.sites, names, forward, backward)
    largest = max((row.log2_gradient_max for row in rows if math.isfinite(row.log2_gradient_max)), default=math.nan)
    return PrecisionReport(rows, names, {narrow.name: _loss_scale(narrow, largest) for narrow in formats})


def _loss_scale(narrow: NarrowFormat, log2_largest: float) -> float:
    if math.isnan(log2_largest):
        return math.nan
    most = math.log2(float(jnp.finfo(narrow.element).max))
    return 2.0 ** math.floor(most - 1 - log2_largest)


def _program(traced: TracedFunction, survey: Survey, formats: Sequence[NarrowFormat]) -> Callable[..., Any]:
    """Return the compiled (constants, leaves) -> shares by the key of a site's end, and of its pre-activation."""

    def forward(site: SiteDescription, root: Value, end: Value) -> Array:
        phi = site.activation
        found = () if phi is None else (phi.left_limit, phi.right_limit)
        limits = [float(limit) for limit in found if limit is not None]
        h, y = jax.lax.stop_gradient((root.array, end.array))
        rows = [
            jnp.stack([*lost_shares(h, narrow), *lost_shares(y, narrow), limit_share(y, limits, narrow)])
            for narrow in formats
        ]
        return jnp.stack(rows)

    hear, counted = measurements(survey.sites, forward), _counting(formats)

    def tap(reader: Reader, address: Address, array: Any) -> Any:
        key = key_of(address)
        return counted(array, reader.sinks[key]) if key in reader.sinks else array

    @jax.jit
    def compute(constants: Any, leaves: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        def objective(sinks: dict[str, Array]) -> tuple[Any, dict[str, Any]]:
            outputs, results = read(
                Context(rule_of, hear, tap, cuts=survey.cuts), traced.closed.jaxpr, constants, leaves, sinks
            )
            return (jnp.zeros(()) if traced.loss is None else outputs[traced.loss]), results

        if traced.loss is None:
            return objective({})[1], {}
        sinks = {
            site.root: jnp.zeros((*site.lengths, len(formats) + 1, 2), jnp.float32)
            for site in survey.sites
            if not site.in_while
        }
        gradients, results = jax.grad(objective, has_aux=True)(sinks)
        return results, gradients

    return compute


def _counting(formats: Sequence[NarrowFormat]) -> Callable[[Array, Array], Array]:
    """Return the identity of (x, sink), whose "gradient" in the sink is what casts of x's gradient would lose.

    The last row is 1 where a gradient arrived, and log2 of its largest entry.
    """

    @jax.custom_vjp
    def counted(x: Array, sink: Array) -> Array:
        return x

    def back(_: None, gradient: Array) -> tuple[Array, Array]:
        rows = [jnp.stack(lost_shares(gradient, narrow)) for narrow in formats]
        largest = jnp.log2(maximum_or_nan(jnp.abs(gradient.astype(jnp.float32)), initial=0.0))
        return gradient, jnp.stack([*rows, jnp.stack([jnp.ones_like(largest), largest])])

    counted.defvjp(lambda x, sink: (x, None), back)
    return counted


def _records(
    sites: Sequence[SiteDescription], names: Sequence[str], forward: dict[str, Any], backward: dict[str, Any]
) -> tuple[CastLoss, ...]:
    """Return a record for each site, iteration and format, in the order of execution."""
    rows = []
    for site in sites:
        for turn in itertools.product(*map(range, site.lengths)):
            shares = np.asarray(forward[site.end][turn], float)
            back = np.asarray(backward[site.root][turn], float) if site.root in backward else np.zeros((1, 2))
            reached = back[-1, 0] > 0
            order = execution_order(site.address, site.loops, turn)
            for i, name in enumerate(names):
                numbers: dict[str, float] = dict(zip(FORWARD, shares[i].tolist(), strict=True))
                if reached:
                    numbers |= dict(zip(BACKWARD, back[i].tolist(), strict=True))
                    numbers["log2_gradient_max"] = float(back[-1, 1])
                rows.append(((i, order), CastLoss(site.path, site.kind, turn, name, **numbers)))
    return tuple(row for _, row in sorted(rows, key=lambda pair: pair[0]))
