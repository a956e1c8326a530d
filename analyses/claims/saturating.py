"""Claims on units that saturate or die: when they do, and whether their weights then move slower."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

import jaxsat
from analyses.claims.networks import LARGE, STANDARD, Networks
from analyses.claims.rows import Row, of_seeds
from analyses.shared import theories
from jaxsat import addresses, theory
from jaxsat.measures import saturation
from jaxsat.results import estimates
from jaxsat.training.objective import losses

PUSH = addresses.BATCHES + 1  # below the key of a network: the directions in which biases are moved
SHIFTS = (0.0, 1.0, 2.0, 4.0, 8.0)  # of the biases of one layer, to saturate it


def _settings(networks: Networks) -> Iterator[tuple[str, float]]:
    for label in (STANDARD, LARGE):
        for rate in networks.options.learning_rates:
            yield label, rate


def _starts(networks: Networks, name: str) -> list[tuple[str, Callable[[str], float]]]:
    """Return the weight scales at which an activation is compared with ReLU: one if its standard scale is critical."""
    standard, critical = ("standard", networks.scale), ("critical", networks.critical.__getitem__)
    same = np.isclose(networks.scale(name), networks.critical[name])
    return [("standard and critical", networks.scale)] if same else [standard, critical]


def _rise(networks: Networks, variable: str, activation: str, label: str, rate: float) -> np.ndarray:
    """Return a share at the end less that at the start, mean over layers, for each seed."""
    share = networks.trained_at(variable, activation, label, rate).mean(-1)
    return share[:, -1] - share[:, 0]


def sigmoidal_units_saturate(networks: Networks) -> list[Row]:
    """Return the mean over layers for each setting; and the layer and epoch that saturate most, at the largest rate."""
    rows, fastest = [], max(networks.options.learning_rates)
    for name in networks.sigmoidal:
        for label, rate in _settings(networks):
            rise = _rise(networks, "saturated_fraction", name, label, rate)
            rows.append(of_seeds(f"{name}, {label}, rate {rate:g}", rise))
        share = networks.trained_at("saturated_fraction", name, STANDARD, fastest)
        most = (share - share[:, :1]).max((1, 2))
        rows.append(of_seeds(f"{name}, standard, rate {fastest:g}, worst layer", most))
    return rows


def relu_can_die(networks: Networks) -> list[Row]:
    rows = []
    for label, rate in _settings(networks):
        diverged = networks.trained_at("diverged_at", "relu", label, rate) >= 0
        condition = f"{label}, rate {rate:g}" + (f", {diverged.mean():.0%} diverged" if diverged.any() else "")
        rows.append(of_seeds(condition, _rise(networks, "dead_fraction", "relu", label, rate)))
    return rows


def large_weights_saturate(networks: Networks) -> list[Row]:
    """Return differences at the start, with theory for wide networks, and at the end of training."""
    options, rows = networks.options, []

    for name in [*networks.sigmoidal, "relu"]:
        small = networks.scale(name)
        scales = np.array([small, networks.scale(name, LARGE), 10.0])
        start, *ends = _saturated_in_theory(name, options.drawn_depth, scales)
        for large, end in zip(scales[1:], ends, strict=True):
            before, after = (networks.drawn_at("saturated_fraction", name, s)[:, -1] for s in (small, large))
            condition = f"{name}, {small:.3g} to {large:.3g}, start"
            rows.append(of_seeds(condition, after - before, end - start))
    rate = min(options.learning_rates)
    for name in networks.sigmoidal:
        small, large = (
            networks.trained_at("saturated_fraction", name, label, rate)[:, -1].mean(-1) for label in (STANDARD, LARGE)
        )
        condition = f"{name}, {networks.scale(name):.3g} to {networks.scale(name, LARGE):.3g}, trained"
        rows.append(of_seeds(condition, large - small))
    return rows


def _saturated_in_theory(name: str, depth: int, scales: np.ndarray) -> np.ndarray:
    """Return the share of saturated slopes in the last layer of wide networks, at each weight scale."""
    if name == "relu":
        return np.full(len(scales), 0.5)  # slopes that are 0, at every scale

    def share(scale):
        return theory.saturated_probability(name, theory.length_trajectory(name, depth, scale)[-1])

    return theories.over(share, scales)


def relu_avoids_saturation(networks: Networks) -> list[Row]:
    rows, rate = [], networks.sound_rate
    for name in networks.sigmoidal:
        for what, scales in _starts(networks, name):
            share, of_relu = (networks.drawn_at("saturated_fraction", a, scales(a)).mean(-1) for a in (name, "relu"))
            rows.append(of_seeds(f"{name}, {what}, start", share - of_relu))
        rise, of_relu = (_rise(networks, "saturated_fraction", a, STANDARD, rate) for a in (name, "relu"))
        rows.append(of_seeds(f"{name}, standard, rise at rate {rate:g}", rise - of_relu))
    return rows


def relu_avoids_vanishing(networks: Networks) -> list[Row]:
    """Return the growth of the gradient per layer back in relu networks, less that in sigmoidal networks."""
    rows = []
    for name in networks.sigmoidal:
        for what, scales in _starts(networks, name):
            growth, of_relu = (
                estimates.growth_rates(networks.drawn_at("log_gradient_norms", a, scales(a))) for a in (name, "relu")
            )
            rows.append(of_seeds(f"{name}, {what}, start", of_relu - growth))
        rate = networks.sound_rate
        growth, of_relu = (
            estimates.growth_rates(networks.trained_at("log_gradient_norms", a, STANDARD, rate)[:, -1], margin=0)
            for a in (name, "relu")
        )
        rows.append(of_seeds(f"{name}, standard, trained at rate {rate:g}", of_relu - growth))
    return rows


def saturated_layers_move_slower(networks: Networks) -> list[Row]:
    """Return correlations within a network, mean over settings: differences between networks cannot cause them."""
    rows = []
    for name in networks.sigmoidal:
        plain, adjusted = [], []
        for label, rate in _settings(networks):
            saturated, ratio = (
                networks.trained_at(v, name, label, rate)[:, 1:] for v in ("saturated_fraction", "update_ratio")
            )
            with np.errstate(divide="ignore"):
                moved = np.log(ratio)
            ranked = _correlation(_ranks(saturated), _ranks(moved))
            plain.append(_mean(ranked, axis=-1))
            flat = [_residual(v).reshape(len(v), -1) for v in (saturated, moved)]
            adjusted.append(_correlation(*flat))
        for condition, found in (("across layers, in training", plain), ("less layer and epoch means", adjusted)):
            effects = _mean(np.array(found), axis=0)
            rows.append(of_seeds(f"{name}, {condition}", effects))
        rows.append(of_seeds(f"{name}, one layer pushed, start", _pushed(networks, name)))
    return rows


def _pushed(networks: Networks, name: str) -> np.ndarray:
    """Return the rank correlation of a layer's saturation with its update when its biases move outwards, for each seed."""
    options = networks.options
    net = jaxsat.MLP(depth=options.depth, width=options.width, activation=name, inputs=64, outputs=10)
    x, y = (jnp.asarray(a[: options.batch_size]) for a in networks.digits.train)
    x = x.astype(jnp.result_type(float))

    def loss(params):
        return jnp.mean(losses(net, params, x, y)[0])

    def one(seed, layer, shift):
        key = addresses.network(addresses.root(options.root_seed), seed)
        params = net.init(key).scaled()
        outwards = jax.random.rademacher(jax.random.fold_in(key, PUSH), (net.width,), x.dtype)
        params = params._replace(biases=params.biases.at[layer].add(shift * outwards))
        slope = jax.grad(loss)(params)
        sizes = [
            jnp.concatenate([jnp.linalg.norm(p.first)[None], jnp.linalg.norm(p.hidden, axis=(1, 2))])
            for p in (slope, params)
        ]
        h = jax.vmap(lambda image: net.trace(params, image))(x).pre_activations[:, layer]
        return jnp.log(sizes[0] / sizes[1])[layer], saturation.saturated_fraction(net.phi, h)

    over_shifts = jax.vmap(one, (None, None, 0))
    over_layers = jax.vmap(over_shifts, (None, 0, None))
    seeds, layers = jnp.arange(options.seeds, dtype=jnp.int32), jnp.arange(net.depth, dtype=jnp.int32)
    shifts = jnp.asarray(SHIFTS, x.dtype)

    @jax.jit
    def over_seeds(seeds):
        return jax.lax.map(lambda seed: over_layers(seed, layers, shifts), seeds)

    moved, saturated = (np.asarray(v) for v in over_seeds(seeds))
    return _mean(_correlation(_ranks(saturated), _ranks(moved)), axis=-1)


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return ranks along the last axis; ties share their mean rank."""
    return stats.rankdata(values, axis=-1)


def _residual(values: np.ndarray) -> np.ndarray:
    """Return values (seed, step, layer) less the mean of each step and of each layer of that seed."""
    return values - values.mean(1, keepdims=True) - values.mean(2, keepdims=True) + values.mean((1, 2), keepdims=True)


def _correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return Pearson's correlation along the last axis; NaN if a side does not vary or is not finite."""
    finite = np.all(np.isfinite(a) & np.isfinite(b), axis=-1, keepdims=True)
    a, b = (np.where(finite, v, 0.0) for v in (a, b))
    a, b = (v - v.mean(-1, keepdims=True) for v in (a, b))
    size = np.sqrt((a * a).sum(-1) * (b * b).sum(-1))
    return np.where(size > 1e-12, (a * b).sum(-1) / np.where(size > 1e-12, size, 1.0), np.nan)


def _mean(values: np.ndarray, axis: int) -> np.ndarray:
    """Return the mean over numbers that are not NaN; NaN if there are none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.nanmean(values, axis=axis)
