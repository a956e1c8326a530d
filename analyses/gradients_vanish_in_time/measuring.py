"""The dataset: gradients against the lag in logs, spectra, plain back-propagation in each dtype, and theory."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray
from jaxtyping import Array, DTypeLike

import jaxsat
from analyses.gradients_vanish_in_time import NAME, Options
from analyses.shared import command, theories
from jaxsat import theory
from jaxsat.measures import Measure, Variable
from jaxsat.measures.by_scan import drawn_cotangent
from jaxsat.networks.protocol import gaussian_input

QUANTILES = (1.0, 0.5, 0.0)  # of the singular values that are kept: the largest, the median, the smallest


def measure(options: Options) -> xarray.Dataset:
    """Return what was measured, with theory beside it."""
    parts = [_gradients(options), _spectra(options), _plain_zeros(options), _theory(options)]
    return xarray.merge(parts, combine_attrs="override", compat="no_conflicts", join="exact")


def _net(options: Options, width: int, **fields: Any) -> jaxsat.Recurrent:
    """A network whose gradients go back over `lags` steps, after those in which its state settles."""
    return jaxsat.Recurrent(
        steps=options.before + options.lags, width=width, bias_scale=options.bias_scale, input_scale=options.input_scale,
        **fields,
    )  # fmt: skip


def settled(net: jaxsat.Recurrent, key: Array, before: int, dtype: DTypeLike | None = None) -> tuple[Any, Any, Any]:
    """Return step, carry and inputs of the scan after its first steps."""
    step, carry, xs = net.scan(net.init(key, dtype), gaussian_input(net, key))
    carry = jax.lax.scan(lambda carry, x: (step(carry, x), None), carry, xs[:before])[0]
    return step, carry, xs[before:]


def cotangent_of(net: jaxsat.Recurrent, key: Array, dtype: DTypeLike | None = None) -> Any:
    """Return a unit gaussian dE/dh of the last state, and 0 for the inner state of an lstm."""
    u = drawn_cotangent(key, jnp.zeros(net.width, jnp.result_type(float) if dtype is None else dtype))
    return (u, jnp.zeros_like(u)) if net.cell == "lstm" else u


def _gradients(options: Options) -> xarray.Dataset:
    def norms(net, key, x):
        found = jaxsat.log_gradient_norms_of_scan(*settled(net, key, options.before), cotangent_of(net, key))
        return {"log_gradient_norms": found[::-1]}

    label = Variable(
        ("steps_back",), "ln ||dE/dh_t||, with the inner state of an lstm", "1", {"steps_back": range(options.lags + 1)}
    )
    over = {
        "cell": list(options.cells), "weight_scale": sorted(options.scales), "gate_bias": sorted(options.gate_biases),
    }  # fmt: skip
    return jaxsat.sweep(
        _net(options, options.width), Measure("gradients_in_time", norms, {"log_gradient_norms": label}), over,
        seeds=options.seeds, root_seed=options.root_seed, store=command.part(options, NAME, "gradients"),
    )  # fmt: skip


def _spectra(options: Options) -> xarray.Dataset:
    def spectra(net, key, x):
        logs = jaxsat.log_singular_values_of_scan(*settled(net, key, options.before), every_step=True)
        kept = [round((1 - quantile) * (logs.shape[1] - 1)) for quantile in QUANTILES]
        return {"log_singular_values": logs[:, np.array(kept)]}

    label = Variable(
        ("spectrum_lag", "quantile"), "ln of singular values of dh_t/dh_0", "1",
        {"spectrum_lag": range(1, options.lags + 1), "quantile": list(QUANTILES)},
    )  # fmt: skip
    found = jaxsat.sweep(
        _net(options, options.spectrum_width, weight_scale=options.shown_scale, gate_bias=max(options.gate_biases)),
        Measure("spectra_in_time", spectra, {"log_singular_values": label}), {"cell": list(options.spectrum_cells)},
        seeds=options.spectrum_seeds, root_seed=options.root_seed, store=command.part(options, NAME, "spectra"),
    )  # fmt: skip
    return found.rename(cell="spectrum_cell", seed="spectrum_seed")


def _plain_zeros(options: Options) -> xarray.Dataset:
    """Sweep plain back-propagation through time, as everyone runs it: nothing in logs."""

    def in_dtype(net, key, dtype):
        step, carry, xs = settled(net, key, options.before, dtype)
        states = jax.lax.scan(lambda carry, x: (step(carry, x), carry), carry, xs)[1]

        def back(signal, at):
            carry, x = at
            (pulled,) = jax.vjp(lambda carry: step(carry, x), carry)[1](signal)
            nothing = [jnp.all(leaf == 0) for leaf in jax.tree.leaves(pulled)]
            return pulled, jnp.all(jnp.stack(nothing))

        zero = jax.lax.scan(back, cotangent_of(net, key, dtype), (states, xs), reverse=True)[1]
        return zero[::-1]

    def plain(net, key, x):
        return {"plain_gradient_is_zero": jnp.stack([in_dtype(net, key, jnp.dtype(dtype)) for dtype in options.dtypes])}

    label = Variable(
        ("dtype", "plain_lag"), "plain back-propagation returns exactly 0 for the whole state", "1",
        {"dtype": list(options.dtypes), "plain_lag": range(1, options.lags + 1)},
    )  # fmt: skip
    zeros = jaxsat.sweep(
        _net(options, options.width, weight_scale=options.shown_scale, gate_bias=min(options.gate_biases)),
        Measure("plain_in_time", plain, {"plain_gradient_is_zero": label}), {"cell": list(options.cells)},
        seeds=options.plain_seeds, root_seed=options.root_seed, store=command.part(options, NAME, "plain"),
    )  # fmt: skip
    return zeros.rename(seed="plain_seed")


def _theory(options: Options) -> xarray.Dataset:
    """Return ln(chi) / 2 of every setting: the growth of the root mean square gradient per step back."""
    scales, biases = sorted(options.scales), sorted(options.gate_biases)
    grid = np.meshgrid(scales, biases, indexing="ij")

    def growth(cell: str) -> np.ndarray:
        def of_setting(w, gate_bias):
            return theory.recurrent_mean_field(cell, w, options.bias_scale, options.input_scale, gate_bias).chi

        return np.log(theories.over(of_setting, *grid)) / 2

    told = {"long_name": "growth of ||dE/dh_t||, theory with untied weights", "units": "nat per step back"}
    found = np.stack([growth(cell) for cell in options.cells])
    return xarray.Dataset(
        {"theory_growth": (("cell", "weight_scale", "gate_bias"), found, told)},
        {"cell": list(options.cells), "weight_scale": scales, "gate_bias": biases},
    )
