"""A function for each kind of measure, with theory where there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxsat import checks, theory
from jaxsat.plotting import curves, findings
from jaxsat.plotting.network_settings import setting_of

if TYPE_CHECKING:
    import xarray

    from jaxsat.plotting.network_settings import Own
    from jaxsat.results.drawing import Axes


def gradient_norms(
    ds: xarray.Dataset,
    *,
    theory: bool = False,
    mean_square: float | None = None,
    activations: Own = (),
    ax: Axes | None = None,
) -> Axes:
    """Draw ln of the gradient norm against the layer (or time), and return the axis.

    Args:
        ds: of a sweep with the measure "log_gradient_norms", or without theory with "log_weight_gradient_norms".
        theory: draw theory over it (plain MLPs). For gaussian weights this is the mean of ln of the norm, to first order in
            1 / width, which the median is near. For others it is the root mean square at infinite width, which lies above
            the median.
        mean_square: of the input, for theory; None takes 1, that of a sweep without `x`.
        activations: of your own, that were swept, for theory: the dataset has their names alone.
        ax: axis to draw on; None makes a new figure.

    Raises:
        ValueError: another dataset; theory of a network that it does not know.

    >>> import jaxsat
    >>> ds = jaxsat.sweep(jaxsat.MLP(depth=3, width=4), "log_gradient_norms", {}, seeds=2, progress=False)
    >>> len(gradient_norms(ds).lines)
    1
    """
    where = "plotting.gradient_norms"
    known = ("log_gradient_norms",) if theory else ("log_gradient_norms", "log_weight_gradient_norms")
    array = curves.variable_of(where, ds, *known)

    def predicted(line: curves.Line) -> tuple[np.ndarray, str]:
        return _norms_in_theory(setting_of(where, ds, line.fields, mean_square, activations), line)

    def finding(lines: Any) -> str:
        medians = [line.median[np.isfinite(line.median)] for line in lines]
        changes = [float(of[0] - of[-1]) if of.size > 1 else np.nan for of in medians]
        return findings.of_gradients(changes, max((of.size for of in medians), default=1) - 1)

    return curves.draw_lines(array, curves.lines_of(array), finding, ax, predicted if theory else None)


def _norms_in_theory(of: Any, line: curves.Line) -> tuple[np.ndarray, str]:
    """Return ln of the norm in theory, and which average it is."""
    scales = {"mean_square": of.mean_square}
    if of.ensemble == "gaussian":
        found = theory.log_normal_law(of.activation, of.depth, of.width, of.weight_scale, of.bias_scale, **scales).mean
        what = "theory: mean of ln"
    else:
        found = theory.log_gradient_norms(of.activation, of.depth, of.weight_scale, of.bias_scale, **scales)
        what = "theory: root mean square"
    filled = np.full(line.x.shape, np.nan)
    filled[: of.depth] = np.asarray(found, float)
    return filled, what


def pre_activations(
    ds: xarray.Dataset,
    *,
    theory: bool = False,
    mean_square: float | None = None,
    activations: Own = (),
    ax: Axes | None = None,
) -> Axes:
    """Draw the mean squared pre-activation, or the standard deviation, against the layer, and return the axis.

    Args:
        ds: of a sweep with the measure "mean_squared_pre_activation" or "pre_activation_std".
        theory: draw the mean-field length over it (infinite width; its square root over a standard deviation).
        mean_square, activations, ax: as :func:`gradient_norms`.

    Raises: as :func:`gradient_norms`.
    """
    where = "plotting.pre_activations"
    array = curves.variable_of(where, ds, "mean_squared_pre_activation", "pre_activation_std")
    power = 0.5 if array.name == "pre_activation_std" else 1.0

    def predicted(line: curves.Line) -> tuple[np.ndarray, str]:
        of = setting_of(where, ds, line.fields, mean_square, activations)
        q = _lengths(of, len(line.x))
        return q**power, "theory: mean field"

    return _named(array, ax, predicted if theory else None)


def _lengths(of: Any, layers: int) -> np.ndarray:
    found = theory.length_trajectory(of.activation, layers, of.weight_scale, of.bias_scale, of.mean_square)
    return np.asarray(found, float)


def unit_shares(ds: xarray.Dataset, *, kind: str = "saturated", ax: Axes | None = None) -> Axes:
    """Draw the share of saturated or dead units against the layer, and return the axis.

    Args:
        ds: of a sweep or training with the measure.
        kind: "saturated", "always_saturated", "gate_saturated" or "dead": the start of the measure's name.
        ax: as :func:`gradient_norms`.

    Raises: as :func:`gradient_norms`; another kind.
    """
    where = "plotting.unit_shares"
    checks.one_of(where, "kind", kind, ("saturated", "always_saturated", "gate_saturated", "dead"))
    ax = _named(curves.variable_of(where, ds, f"{kind}_fraction"), ax)
    ax.set_ylim(-0.02, 1.02)
    return ax


def input_correlations(ds: xarray.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw the correlation of the pre-activations of pairs of inputs against the layer, and return the axis.

    Args and raises: as :func:`measure`, for the measure "correlation".
    """
    return _named(curves.variable_of("plotting.input_correlations", ds, "correlation"), ax)


def percentile_lines(ds: xarray.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw percentiles of activations or pre-activations against the layer, a line each, and return the axis.

    Args and raises: as :func:`measure`, for "activation_percentiles" or "pre_activation_percentiles".
    """
    names = "activation_percentiles", "pre_activation_percentiles"
    array = curves.variable_of("plotting.percentile_lines", ds, *names)
    return _named(array, ax, along="layer")


def histogram(ds: xarray.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw the histogram of activations, a line for each layer, and return the axis.

    Args and raises: as :func:`measure`, for the measure "activation_histogram".
    """
    return _named(curves.variable_of("plotting.histogram", ds, "activation_histogram"), ax)


def training_curves(ds: xarray.Dataset, name: str = "loss", *, ax: Axes | None = None) -> Axes:
    """Draw a record of training against the optimiser's steps, and return the axis.

    Args:
        ds: of ``jaxsat.train``.
        name: "loss", "accuracy", "test_accuracy", or any other record; of a record by layer, a line for each layer.
        ax: as :func:`gradient_norms`.

    Raises:
        ValueError: the dataset has no such record, or no steps.
    """
    array = curves.variable_of("plotting.training_curves", ds, name)
    if "step" not in array.dims:
        came = checks.Shown(f"dimensions {', '.join(map(str, array.dims))}")
        raise ValueError(checks.refusal("plotting.training_curves", "ds", "have steps of training", came))
    return _named(array, ax, along="step")


def _named(array: xarray.DataArray, ax: Axes | None, predicted: Any = None, along: str | None = None) -> Axes:
    """Draw a measure whose finding is the range of its values at the end."""
    return curves.draw_lines(
        array, curves.lines_of(array, along),
        lambda lines: findings.of_values(curves.named(array), [line.median for line in lines]), ax, predicted,
    )  # fmt: skip
