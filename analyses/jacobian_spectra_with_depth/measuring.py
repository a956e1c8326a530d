"""The dataset: spectra of random networks at every depth, and of a network in three ways beside 900 digits."""

from __future__ import annotations

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import xarray
from tqdm import tqdm

import jaxsat
from analyses.jacobian_spectra_with_depth import CRITICAL, ENSEMBLES, NAME, Options
from analyses.shared import command, factored, resolved
from jaxsat import addresses
from jaxsat.linalg.lapack import after
from jaxsat.measures import Measure, Variable


def measure(options: Options) -> xarray.Dataset:
    """Return a sweep in the log domain, and a network in three ways beside the truth."""
    kinds = list(itertools.product(options.activations, ENSEMBLES))

    def spectra(net, key, x):
        """The weight scale of `net` is a multiple of the critical scale, which is another for each activation."""
        networks = [
            dataclasses.replace(net, activation=name, ensemble=ensemble, weight_scale=net.weight_scale * CRITICAL[name])
            for name, ensemble in kinds
        ]
        inputs = [jaxsat.networks.gaussian_input(net, key)] * len(kinds)
        values, errors = factored.of_each(_every_depth, networks, key, inputs)
        kept = len(options.activations), len(ENSEMBLES)
        return {
            "log_singular_values": values.reshape(*kept, options.depth, options.width),
            "log_singular_values_error": errors.reshape(*kept, options.width),
        }

    coordinates = {"activation": list(options.activations), "ensemble": ENSEMBLES}
    what = "ln of the singular values of dx_l/dx_0, descending"
    labels = {
        "log_singular_values": Variable(("activation", "ensemble", "depth", "index"), what, coordinates=coordinates),
        "log_singular_values_error": Variable(
            ("activation", "ensemble", "index"), "estimated error of ln s after the last layer", "nat", coordinates
        ),
    }
    dataset = jaxsat.sweep(
        jaxsat.MLP(depth=options.depth, width=options.width), Measure("log_singular_values", spectra, labels),
        {"weight_scale": list(options.factors)}, seeds=options.seeds, root_seed=options.root_seed,
        store=command.part(options, NAME),
    ).rename(weight_scale="factor")  # fmt: skip
    dataset.factor.attrs.update(long_name="weight scale over the critical scale", units="1")
    last = dataset.log_singular_values.isel(depth=-1)
    known = last.copy(data=resolved.known(last, dataset.log_singular_values_error))
    dataset["log_singular_values"] = xarray.where(
        dataset.depth == options.depth, known, dataset.log_singular_values, keep_attrs=True
    ).transpose(*dataset.log_singular_values.dims)
    return dataset.merge(three_ways(options), combine_attrs="override")


def _every_depth(*layers):
    """ln of the singular values after each layer, and the errors of those after the last."""
    of_product = jaxsat.spectrum.log_singular_values_of_product
    values, errors = of_product(*layers, with_error=True)
    weights, *slopes = layers
    return of_product(after(values, weights), *slopes, every_depth=True), errors


def three_ways(options: Options) -> xarray.Dataset:
    """Return ln s at every depth of a tanh network: dense in two precisions, in the log domain, and to 900 digits."""
    net = jaxsat.MLP(depth=options.truth_depth, width=options.truth_width, activation="tanh")
    key = addresses.root(options.root_seed)
    params, x = net.init(key), jaxsat.networks.gaussian_input(net, key)
    f = jax.jit(jaxsat.factors)(net, params, x)
    weights = np.concatenate([f.first[None], f.hidden]).astype(float)
    logs = np.asarray(f.log_abs_slopes, float)
    with jax.enable_x64(True):
        ours = jaxsat.spectrum.log_singular_values_of_product(weights, logs, every_depth=True)
    rows = {
        "svd(J), float32": _dense(weights, logs, np.float32),
        "svd(J), float64": _dense(weights, logs, np.float64),
        "log domain, float64": np.asarray(ours),
        "900 digits": exact_log_singular_values(weights, logs),
    }
    told = {"long_name": "ln of the singular values of a tanh network", "units": "1"}
    coordinates = {
        "way": list(rows),
        "truth_depth": np.arange(1, options.truth_depth + 1),
        "truth_index": np.arange(1, options.truth_width + 1),
    }
    values = tuple(coordinates), np.stack(list(rows.values())), told
    return xarray.Dataset({"log_singular_values_by_method": values}, coordinates)


def _dense(weights: np.ndarray, log_slopes: np.ndarray, dtype) -> np.ndarray:
    """Return ln s of every partial product, multiplied out and decomposed in the given precision."""

    @jax.jit
    def decomposed(weights, slopes):
        def layer(product, factors):
            weight, slope = factors
            product = slope[:, None] * (weight @ product)
            return product, jnp.linalg.svd(product, compute_uv=False)

        return jax.lax.scan(layer, jnp.eye(weights.shape[1], dtype=dtype), (weights, slopes))[1]

    with jax.enable_x64(True), np.errstate(divide="ignore"):
        found = decomposed(jnp.asarray(weights, dtype), jnp.asarray(np.exp(log_slopes), dtype))
        return np.log(np.asarray(found, float))


def exact_log_singular_values(weights: np.ndarray, log_slopes: np.ndarray) -> np.ndarray:
    """Return ln s of every partial product by arithmetic with 900 digits."""
    found, layers = [], list(zip(weights, log_slopes, strict=True))
    with mpmath.workdps(900):
        product = mpmath.eye(weights.shape[1])
        for weight, logs in tqdm(layers, desc="900 digits", unit=" depths"):
            slopes = [mpmath.exp(mpmath.mpf(value)) for value in logs.tolist()]
            product = mpmath.diag(slopes) * mpmath.matrix(weight.tolist()) * product
            values = mpmath.svd_r(product, compute_uv=False)
            logs = [float(mpmath.log(abs(value))) for value in values]
            found.append(sorted(logs, reverse=True))
    return np.array(found)
