"""Networks before they are trained: histograms of their gradients on real examples, and what mean-field theory says.

Glorot & Bengio (2010), figures 6 to 8.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray

import jaxsat
from analyses.shared import theories
from jaxsat import addresses, theory
from jaxsat.measures import gradients

BINS, REACH = 81, 4.0  # of histograms, to either side, in root mean squares of the widest layer
SINGLE = 10  # examples whose weight gradients are looked at: each example has as many entries as there are weights


def histograms(
    net: jaxsat.MLP, scales: Mapping[str, float], seeds: int, root_seed: int, examples: tuple[Any, Any]
) -> xarray.Dataset:
    """Return densities, over networks and examples, of the entries of dE/dh_l and dE/dW_l, E the loss of one example.

    Args:
        net: the networks; `scales` maps names of initialisations to sigma_w.
        seeds, root_seed: networks are drawn as ``jaxsat.train`` draws them.
        examples: inputs and classes.

    Returns: dimensions initialisation, start_seed, layer and bin; and the edges of the bins.
    """
    found: dict[str, list] = {name: [] for name in ("signal_density", "signal_edge", "weight_density", "weight_edge")}
    signals_of = _signals(net, root_seed, examples)
    for scale in scales.values():
        signals, outputs = (
            np.stack(part) for part in zip(*(signals_of(scale, seed) for seed in range(seeds)), strict=True)
        )
        inputs = np.asarray(examples[0], signals.dtype)[:SINGLE]
        below = [np.broadcast_to(inputs, (seeds, *inputs.shape))]
        below += [outputs[:, :SINGLE, layer] for layer in range(net.depth - 1)]

        def weights(seed, layer):
            return signals[seed, :SINGLE, layer, :, None] * below[layer][seed, :, None, :]

        for kind, entries in (("signal", lambda seed, layer: signals[seed, :, layer]), ("weight", weights)):
            squares = [np.mean(entries(0, layer) ** 2) for layer in range(net.depth)]
            widest = np.sqrt(max(squares))
            edges = np.linspace(-REACH * widest, REACH * widest, BINS + 1)
            densities = [[_density(entries(seed, layer), edges) for layer in range(net.depth)] for seed in range(seeds)]
            found[f"{kind}_density"].append(densities)
            found[f"{kind}_edge"].append(edges)
    dims = {"density": ("initialisation", "start_seed", "layer", "bin"), "edge": ("initialisation", "edge")}
    dataset = xarray.Dataset()
    for name, values in found.items():
        kind, what = name.split("_")
        told = f"{what} of entries of {'dE/dh_l' if kind == 'signal' else 'dE/dW_l'}"
        dataset[name] = (dims[what], np.array(values), {"long_name": told, "units": "1"})
    return dataset


def _signals(net: jaxsat.MLP, root_seed: int, examples: tuple[Any, Any]):
    """Return a function (weight scale, seed) -> dE/dh and activations of every example and layer, compiled once."""
    x, y = jnp.asarray(examples[0], jnp.result_type(float)), jnp.asarray(examples[1])
    root = addresses.root(root_seed)

    @jax.jit
    def of_network(net, seed):
        params = net.init(addresses.network(root, seed))

        def of_example(x, y):
            trace, outputs = net.trace(params, x), net.apply(params, x)
            cotangent = jax.nn.softmax(outputs) - jax.nn.one_hot(y, net.output_width, dtype=outputs.dtype)
            signal = gradients.signal_of_trace(net, params, trace, cotangent)
            return signal.direction * jnp.exp(signal.log_scale)[:, None], trace.activations

        return jax.vmap(of_example)(x, y)

    return lambda scale, seed: of_network(dataclasses.replace(net, weight_scale=scale), seed)


def _density(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return the density of values in bins, per unit of the values; what lies beyond the edges counts in the total."""
    return np.histogram(values, edges)[0] / values.size / np.diff(edges)


def gradients_in_theory(activation: str, depth: int, scales: Mapping[str, float], mean_square: float) -> xarray.Dataset:
    """Return mean field: lengths q_l, and root mean square entries of dE/dh_l and dE/dW_l over those of the last layer."""

    def of_scale(scale):
        q = theory.length_trajectory(activation, depth, scale, mean_square=mean_square)
        signal = theory.log_gradient_norms(activation, depth, scale, mean_square=mean_square)
        below = jnp.log(q) / 2  # ln of the root mean square of x_{l-1}, but for ln sigma_w
        return q, jnp.exp(signal - signal[-1]), jnp.exp(signal - signal[-1] + below - below[-1])

    found = theories.over(of_scale, np.array([*scales.values()]))
    told = {
        "theory_length": "mean squared pre-activation",
        "theory_signal": "dE/dh_l, r.m.s. over the last layer's",
        "theory_weight_gradient": "dE/dW_l, r.m.s. over the last layer's",
    }
    dataset = xarray.Dataset()
    for (name, long_name), values in zip(told.items(), found, strict=True):
        dataset[name] = (("initialisation", "layer"), values, {"long_name": long_name, "units": "1"})
    return dataset
