"""The dataset: sweeps over scales and seeds, plain back-propagation in each dtype, and theory."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import xarray
from sklearn.datasets import load_digits

import jaxsat
from analyses.gradients_vanish_with_depth import DTYPES, NAME, Options
from analyses.shared import command, theories
from jaxsat import checks, measures, theory
from jaxsat.results import estimates

MEASURED = ["log_gradient_norms", "log_largest_gradients", "saturated_fraction", "dead_fraction"]


def measure(options: Options) -> xarray.Dataset:
    """Return what was measured, with theory beside it."""
    inputs = standardised_digits(options.images)
    net = jaxsat.MLP(depth=options.depth, width=options.width, inputs=inputs.shape[1], bias_scale=options.bias_scale)
    measured = _over_scales(options, net, inputs)
    zeros = _plain_zeros(options, dataclasses.replace(net, weight_scale=options.zero_scale), inputs)
    known = _theory(options, sorted({*options.scales, *options.large_scales}), float((inputs**2).mean()))
    return xarray.merge([measured, zeros, known], combine_attrs="override", compat="no_conflicts", join="exact")


def _over_scales(options: Options, net: jaxsat.MLP, inputs: np.ndarray) -> xarray.Dataset:
    """Sweep activations and weight scales; bounded activations at large scales too."""
    records = {name: jaxsat.activations.get(name) for name in options.activations}
    bounded = [n for n, a in records.items() if a.left_limit is not None and a.right_limit is not None]
    scales, all_scales = sorted({*options.scales}), sorted({*options.scales, *options.large_scales})
    parts: list[xarray.Dataset] = []
    for kind, names, grid in (
        ("bounded", bounded, all_scales), ("unbounded", [n for n in records if n not in bounded], scales),
    ):  # fmt: skip
        if names:
            over = {"activation": names, "weight_scale": grid}
            store = command.part(options, NAME, kind)
            parts.append(
                jaxsat.sweep(
                    net, MEASURED, over, seeds=options.seeds, root_seed=options.root_seed, x=inputs, store=store
                )
            )
    together = xarray.concat(parts, "activation", join="outer", combine_attrs="override", fill_value=np.float32(np.nan))
    return together.sel(activation=list(options.activations))


def _plain_zeros(options: Options, net: jaxsat.MLP, inputs: np.ndarray) -> xarray.Dataset:
    """Sweep plain back-propagation, as everyone runs it: jax.nn's functions with the slopes of automatic differentiation."""

    def plain(net, key, x):
        u = jaxsat.gradients.unit_cotangent(net, key)

        def in_dtype(dtype):
            params = net.init(key, dtype)
            zero = jax.vmap(lambda image: jaxsat.gradients.plain_gradient_is_zero(net, params, image, u))(x)
            return jnp.all(zero, axis=0)

        return {"plain_gradient_is_zero": jnp.stack([in_dtype(jnp.dtype(dtype)) for dtype in DTYPES])}

    theirs = {"tanh": jnp.tanh, "softsign": jax.nn.soft_sign}
    functions = [theirs.get(n) or getattr(jax.nn, n, jaxsat.activations.get(n)) for n in options.activations]
    label = measures.Variable(
        ("dtype", "layer"), "plain back-propagation returns exactly 0 for every unit and input",
        coordinates={"dtype": DTYPES},
    )  # fmt: skip
    zeros = jaxsat.sweep(
        net, measures.Measure("plain_gradient_is_zero", plain, {"plain_gradient_is_zero": label}),
        {"activation": functions}, seeds=options.plain_seeds, root_seed=options.root_seed, x=inputs,
        store=command.part(options, NAME, "plain"),
    )  # fmt: skip
    return zeros.assign_coords(activation=list(options.activations)).rename(seed="plain_seed")


def _theory(options: Options, scales: list[float], mean_square: float) -> xarray.Dataset:
    """Return the mean ln||delta_l|| of theory at the scales measured, and its growth on a finer grid of scales."""
    fine = np.geomspace(scales[0], scales[-1], 61)

    def norms(name: str) -> np.ndarray:
        def of_scale(w):
            asked = options.depth, options.width, w, options.bias_scale
            return theory.log_normal_law(name, *asked, mean_square=mean_square).mean

        return theories.over(of_scale, np.concatenate([scales, fine]))

    found = np.stack(theories.of_each(norms, options.activations))
    growth = estimates.growth_rates(found[:, len(scales) :])
    told = {"long_name": "mean of ln ||dE/dh_l||, theory", "units": "1"}
    told_growth = {"long_name": "growth of ||dE/dh_l||, theory", "units": "nat per layer back"}
    return xarray.Dataset(
        {
            "theory": (("activation", "weight_scale", "layer"), found[:, : len(scales)], told),
            "theory_growth": (("activation", "fine_weight_scale"), growth, told_growth),
        },
        {"activation": list(options.activations), "weight_scale": scales, "fine_weight_scale": fine},
    )


def standardised_digits(count: int) -> np.ndarray:
    """Return the first handwritten digits, each pixel standardised over the whole set; constant pixels are 0."""
    images = load_digits(return_X_y=True)[0]
    checks.integer("--images", "", count, 1, len(images))
    spread = images.std(0)
    return ((images - images.mean(0)) / np.where(spread > 0, spread, 1))[:count]
