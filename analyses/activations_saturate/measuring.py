"""The dataset: curves in float64, the points where dtypes lose a slope, and slopes of automatic differentiation."""

from __future__ import annotations

import time

import jax
import jax.numpy as jnp
import numpy as np
import xarray

from analyses.activations_saturate import DTYPES, NAME, SPURIOUS, Options
from jaxsat import activations
from jaxsat.activations import precision
from jaxsat.results import provenance

SIDES = ("left", "right")
POINTS = ("subnormal", "zero", "rounds_to_limit")


def measure(options: Options) -> xarray.Dataset:
    """Return curves in float64, underflow points, and the slopes of automatic differentiation beside the true slopes."""
    started = time.perf_counter()
    names = options.activations or activations.names()
    records = [activations.get(name) for name in names]
    dataset = xarray.merge([_curves(options, records), _underflow(records), _far_slopes()])
    dataset = dataset.assign_coords(activation=list(names))
    dataset.attrs = provenance.of_run(
        {"analysis": NAME, "activations": list(names), "span": options.span, "seed": options.seed},
        seconds=time.perf_counter() - started,
    )
    dataset.attrs["far_out"] = _far_out()
    print(dataset.attrs["far_out"])
    return dataset


def _curves(options: Options, records) -> xarray.Dataset:
    """Return value, slope and ln |slope|, all activations in a single program."""
    x = np.linspace(-options.span, options.span, options.points)

    @jax.jit
    def of_all(x):
        return {
            "value": jnp.stack([phi(x) for phi in records]),
            "slope": jnp.stack([phi.slope(x) for phi in records]),
            "log_abs_slope": jnp.stack([phi.log_abs_slope(x) for phi in records]),
        }

    with jax.enable_x64(True):
        found = {name: (("activation", "x"), np.asarray(values)) for name, values in of_all(x).items()}
    return xarray.Dataset(found | {"max_slope": ("activation", [phi.max_slope for phi in records])}, {"x": x})


def _underflow(records) -> xarray.Dataset:
    """Return the underflow points of every activation, dtype and side."""
    points = [[[precision.underflow_points(a, d, side) for side in SIDES] for d in DTYPES] for a in records]
    told = {
        "long_name": "distance from 0 beyond which the dtype loses the slope, or the distance from the limit",
        "units": "1",
    }
    dataset = xarray.Dataset(coords={"dtype": list(DTYPES), "side": list(SIDES)})
    for field in POINTS:
        values = [[[getattr(point, field) for point in sides] for sides in dtypes] for dtypes in points]
        dataset[field] = ("activation", "dtype", "side"), values, told
    return dataset


def _far_slopes() -> xarray.Dataset:
    """Return ln slopes far out: the true ones, and those of automatic differentiation in two dtypes."""
    far, theirs = np.linspace(0, 60, 601), {"sigmoid": jax.nn.sigmoid, "tanh": jnp.tanh}
    with jax.enable_x64(True):
        logs = {"true": [np.asarray(activations.get(name).log_abs_slope(far)) for name in SPURIOUS]}
        for dtype in ("float64", "float32"):
            x = jnp.asarray(far, dtype)
            slopes = [jax.vmap(jax.grad(theirs[name]))(x) for name in SPURIOUS]
            with np.errstate(divide="ignore"):
                logs[f"autodiff in {dtype}"] = [np.log(np.asarray(slope, float)) for slope in slopes]
    values = ("source", "saturating", "x_far"), np.array(list(logs.values()))
    return xarray.Dataset({"log_slope_far": values}, {"source": list(logs), "saturating": list(SPURIOUS), "x_far": far})


def _far_out() -> str:
    """Return in words how far sigma(1000) and sigma(1001) are from 1, and from where on each dtype rounds them to 1."""
    sigmoid = activations.get("sigmoid")
    assert sigmoid.log_right_gap is not None
    with jax.enable_x64(True):
        gaps = [float(sigmoid.log_right_gap(jnp.asarray(at))) for at in (1000.0, 1001.0)]
    points = [f"{precision.underflow_points('sigmoid', d).rounds_to_limit:.2f} in {d}" for d in DTYPES]
    return (
        f"sigmoid: 1 - s(1000) = exp({gaps[0]:g}) and 1 - s(1001) = exp({gaps[1]:g}). They differ by a factor e, but both "
        f"values round to 1 in every dtype here, from x = {', '.join(points)}"
    )
