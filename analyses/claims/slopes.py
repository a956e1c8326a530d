"""Claims on slopes and their products: the logistic's quarter, the chain rule, and from where on a dtype rounds neighbours to one value."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from jaxtyping import Array

import jaxsat
from analyses.claims.networks import LARGE, Networks
from analyses.claims.rows import Row, of_seeds
from jaxsat import activations
from jaxsat.activations import Activation, precision
from jaxsat.results import estimates

DTYPES = ("float16", "bfloat16", "float32", "float64")
SOME, FAR = 30.0, 200.0  # by which ln of the slopes' product falls: in float32's range, and far beyond it


def slope_is_at_most_a_quarter(networks: Networks) -> list[Row]:
    """Return the largest ln of 4 s', over every finite number of the small dtypes, and over 800 001 of float64.

    The slope is computed by the formula of the claim. jaxsat's own slope rounds to 1/4 (1 + eps) in float16 at some numbers.
    """
    sigmoid, every = activations.get("sigmoid"), np.arange(2**16, dtype=np.uint16)
    with jax.enable_x64(True):
        double, slopes = jnp.asarray(np.arange(-400_000, 400_001) / 1e4), {}
        for x in (*(jnp.asarray(every.view(dtype)) for dtype in (np.float16, jnp.bfloat16)), double):
            s = sigmoid(x[jnp.isfinite(x)])
            slopes[f"s (1 - s), {s.dtype}"] = s * (1 - s)
        slopes["exp(-x) / (1 + exp(-x))^2, float64"] = sigmoid.slope(double)
    rows = []
    for condition, slope in slopes.items():
        largest = np.max(np.asarray(slope, np.float64))
        found = float(np.log(4 * largest))
        rows.append(Row(condition, found, found, found))
    return rows


def product_has_quarter_and_weights(networks: Networks) -> list[Row]:
    """Return ln of the growth in a layer over 1/4 ||W||, in the layer where it is largest."""
    options = networks.options
    net = jaxsat.MLP(depth=options.drawn_depth, width=options.width)

    @jax.jit
    @jax.vmap
    def drawn(key):
        return net.init(key).hidden

    draws = np.asarray(drawn(networks.keys(options.drawn_seeds)), np.float64)
    log_norm, rows = np.log(np.linalg.norm(draws, ord=2, axis=(-2, -1))), []
    for name, scale, quarter in _scales(networks):
        norms = networks.drawn_at("log_gradient_norms", name, scale).astype(float)
        excess = norms[:, :-1] - norms[:, 1:] - np.log(quarter * scale) - log_norm
        rows.append(of_seeds(f"{name}, weight scale {scale:.3g}", excess.max(-1)))
    return rows


def product_has_quarter_alone(networks: Networks) -> list[Row]:
    """Return ln of the mean growth per layer over 1/4."""
    return [
        of_seeds(
            f"{name}, weight scale {scale:.3g}",
            estimates.growth_rates(networks.drawn_at("log_gradient_norms", name, scale)) - np.log(quarter),
        )
        for name, scale, quarter in _scales(networks)
    ]


def _scales(networks: Networks) -> list[tuple[str, float, float]]:
    """Return activation, weight scale (standard, large, critical) and largest slope: 1/4 for the logistic function."""
    name = "sigmoid" if "sigmoid" in networks.sigmoidal else networks.sigmoidal[0]
    scales = {networks.scale(name), networks.scale(name, LARGE), networks.critical[name]}
    return [(name, scale, activations.get(name).max_slope) for scale in sorted(scales)]


def upstream_does_not_reach_downstream(networks: Networks) -> list[Row]:
    """Return ||dE/dh_1|| for a doubled gradient at the output, over that for the single gradient; 1 if both are 0."""
    options, rows = networks.options, []
    draw = jaxsat.MLP(depth=options.depth, width=options.width, bias_scale=1.0)

    @jax.jit
    @jax.vmap
    def drawn(key):
        parts = draw.init(key), jaxsat.networks.gaussian_input(draw, key), jaxsat.gradients.unit_cotangent(draw, key)
        return jax.tree.map(lambda leaf: leaf.astype(jnp.float32), parts)

    def in_logs(net, params, x, upstream):
        twice, once = (jaxsat.log_gradient_norms(net, params, x, u)[0] for u in (2 * upstream, upstream))
        return jnp.exp(twice - once)

    def by_autodiff(net, params, x, upstream):
        back = jax.vjp(lambda s: net.apply(params, x, s), jnp.zeros((net.depth, net.width), x.dtype))[1]
        twice, once = (jnp.max(jnp.abs(back(u)[0][0])) for u in (2 * upstream, upstream))
        return jnp.where((twice == 0) & (once == 0), 1, twice / once)

    parts = drawn(networks.keys(options.seeds))
    for name in networks.sigmoidal:
        net = jaxsat.MLP(depth=options.depth, width=options.width, activation=name)
        sizes = jnp.asarray([_bias_for(net.phi, fall / options.depth) for fall in (SOME, FAR)], parts[1].dtype)

        def both_ways(params, x, upstream, size, net=net):
            pushed = params._replace(biases=size * jnp.sign(params.biases))
            return by_autodiff(net, pushed, x, upstream), in_logs(net, pushed, x, upstream)

        over_networks = jax.vmap(both_ways, (0, 0, 0, None))
        found = jax.jit(jax.vmap(over_networks, (None, None, None, 0)))(*parts, sizes)
        for how, ratios in zip(("float32", "in logs"), found, strict=True):
            for what, ratio in zip(("saturated", "far in it"), np.asarray(ratios, float), strict=True):
                rows.append(of_seeds(f"{name}, {what}, {how}", ratio, expected=2.0))
    return rows


def _bias_for(phi: Activation, fall: float) -> float:
    """Return where ln |slope| has fallen by this much from its largest value."""
    x = np.geomspace(0.1, 1e6, 4001)
    fallen = np.asarray(jax.jit(phi.log_abs_slope)(x)) <= np.log(phi.max_slope) - fall
    return float(x[np.argmax(fallen)] if fallen.any() else x[-1])


def values_cannot_be_told_apart(networks: Networks) -> list[Row]:

    sigmoid = activations.get("sigmoid")
    return _from_where_on("sigma", sigmoid, lambda dtype: precision.underflow_points("sigmoid", dtype).rounds_to_limit)


def log_slopes_cannot_be_told_apart(networks: Networks) -> list[Row]:
    """ln sigma'(x) is -x for large x, so x and x + 1 differ until x + 1 rounds to x: from 4 / eps on, at the latest."""
    sigmoid = activations.get("sigmoid")
    return _from_where_on("ln sigma'", sigmoid.log_abs_slope, lambda dtype: 4 / float(ml_dtypes.finfo(dtype).eps))


def _from_where_on(what: str, function: Callable[[Array], Array], expected: Callable[[np.dtype], float]) -> list[Row]:
    """Return the x from which on f(x) = f(x + 1), in each dtype; the interval lies between neighbours of a grid."""
    rows = []
    with jax.enable_x64(True):
        for name in DTYPES:
            dtype = jnp.dtype(name)
            apart = jax.jit(lambda x: function(x) != function(x + jnp.ones((), x.dtype)))
            low, high = 1.0, min(float(ml_dtypes.finfo(dtype).max) / 2, 1e20)
            for _ in range(6):
                x = jnp.asarray(np.geomspace(low, high, 20_001).astype(dtype))
                told = np.flatnonzero(apart(x))
                if not told.size or told[-1] == len(x) - 1:
                    break
                low, high = (float(x[told[-1] + i]) for i in (0, 1))
            rows.append(Row(f"{what}, {name}", high, low, high, expected(dtype)))
    return rows
