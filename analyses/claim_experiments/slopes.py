"""Claims on slopes and their products: the logistic's quarter, the chain rule, and where a dtype stops telling apart."""

from __future__ import annotations

from typing import Any

import numpy as np

from analyses.claim_experiments.networks import LARGE, Networks
from analyses.claim_experiments.rows import Row, of_seeds

DTYPES = ("float16", "bfloat16", "float32", "float64")
SOME, FAR = 30.0, 200.0  # by which ln of the slopes' product falls: in float32's range, and far beyond it


def slope_is_at_most_a_quarter(networks: Networks) -> list[Row]:
    """ln of what is measured over its bound: the slope's own, the chain rule's, and the quarter alone."""
    import jax
    import jax.numpy as jnp

    import jaxsat
    from jaxsat import activations, estimates

    options, sigmoid, rows = networks.options, activations.get("sigmoid"), []
    with jax.enable_x64(True):
        every = np.arange(2**16, dtype=np.uint16).view(np.float16)
        half, double = jnp.asarray(every[np.isfinite(every)]), jnp.asarray(np.linspace(-40, 40, 800_001))
        slopes = {
            "s (1 - s), float64": sigmoid(double) * (1 - sigmoid(double)),
            "s (1 - s), float16": sigmoid(half) * (1 - sigmoid(half)),
            "jaxsat's slope, float64": sigmoid.slope(double),
            "jaxsat's slope, float16": sigmoid.slope(half),
        }
        for condition, slope in slopes.items():
            largest = float(np.max(np.asarray(slope, np.float64)))
            rows.append(Row(condition, *[np.log(largest / 0.25)] * 3))
    if "sigmoid" not in networks.sigmoidal:
        return rows
    net = jaxsat.MLP(depth=options.drawn_depth, width=options.width)
    root = jax.random.key(options.root_seed)
    draws = jax.vmap(lambda s: net.init(jax.random.fold_in(root, s)).hidden)(
        jnp.arange(options.drawn_seeds, dtype=jnp.int32)
    )
    log_norm = np.log(np.linalg.norm(np.asarray(draws, np.float64), ord=2, axis=(-2, -1)))
    scales = networks.scale("sigmoid"), networks.scale("sigmoid", LARGE), networks.critical["sigmoid"]
    for scale in scales:
        norms = networks.drawn_at("log_gradient_norms", "sigmoid", scale).astype(float)
        excess = norms[:, :-1] - norms[:, 1:] - np.log(scale / 4) - log_norm
        rows.append(of_seeds(f"layer, weight scale {scale:.3g}: 1/4 ||W||", excess.max(-1)))
    for scale in scales:
        growth = estimates.growth_rates(networks.drawn_at("log_gradient_norms", "sigmoid", scale))
        rows.append(of_seeds(f"layer, weight scale {scale:.3g}: 1/4 alone", growth + np.log(4)))
    return rows


def upstream_does_not_reach_downstream(networks: Networks) -> list[Row]:
    """||dE/dh_1|| for twice the gradient at the output, over what it is for that gradient; 1 where both are 0."""
    import jax
    import jax.numpy as jnp

    import jaxsat

    options, rows = networks.options, []
    draw = jaxsat.MLP(depth=options.depth, width=options.width, bias_scale=1.0)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(options.root_seed), np.arange(options.seeds))

    @jax.vmap
    def drawn(key):
        return draw.init(key), jaxsat.network.gaussian_input(draw, key), jaxsat.gradients.unit_cotangent(draw, key)

    def in_logs(net, params, x, upstream):
        twice, once = (jaxsat.log_gradient_norms(net, params, x, u)[0] for u in (2 * upstream, upstream))
        return jnp.exp(twice - once)

    def by_autodiff(net, params, x, upstream):
        back = jax.vjp(lambda s: net.apply(params, x, s), jnp.zeros((net.depth, net.width), x.dtype))[1]
        twice, once = (jnp.max(jnp.abs(back(u)[0][0])) for u in (2 * upstream, upstream))
        return jnp.where((twice == 0) & (once == 0), 1, twice / once)

    parts = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), drawn(keys))
    for name in networks.sigmoidal:
        net = jaxsat.MLP(depth=options.depth, width=options.width, activation=name)
        sizes = jnp.asarray([_bias_for(net.phi, fall / options.depth) for fall in (SOME, FAR)], parts[1].dtype)
        for how, of in (("float32", by_autodiff), ("in logs", in_logs)):

            def one(params, x, upstream, size):
                pushed = params._replace(biases=size * jnp.sign(params.biases))
                return of(net, pushed, x, upstream)

            ratios = jax.jit(jax.vmap(jax.vmap(one, (0, 0, 0, None)), (None, None, None, 0)))(*parts, sizes)
            for what, ratio in zip(("saturated", "far in it"), np.asarray(ratios, float), strict=True):
                rows.append(of_seeds(f"{name}, {what}, {how}", ratio, expected=2.0))
    return rows


def _bias_for(phi: Any, fall: float) -> float:
    """Where ln |slope| has fallen by so much from its largest."""
    x = np.geomspace(0.1, 1e6, 4001)
    fallen = np.asarray(phi.log_abs_slope(x)) <= np.log(phi.max_slope) - fall
    return float(x[np.argmax(fallen)] if fallen.any() else x[-1])


def cannot_be_told_apart(networks: Networks) -> list[Row]:
    """From which x on f(x) = f(x + 1) in a dtype, for sigma and for ln sigma'; the interval is between its numbers."""
    import jax
    import jax.numpy as jnp
    import ml_dtypes

    from jaxsat import activations, precision

    sigmoid, rows = activations.get("sigmoid"), []
    with jax.enable_x64(True):
        for what, function in (("sigma", sigmoid), ("ln sigma'", sigmoid.log_abs_slope)):
            for name in DTYPES:
                dtype = jnp.dtype(name)
                apart = jax.jit(lambda x: function(x) != function(x + jnp.ones((), x.dtype)))
                info = ml_dtypes.finfo(dtype)
                if what == "sigma":
                    expected = precision.underflow_points("sigmoid", dtype).rounds_to_limit
                else:  # a number half as far from x as its neighbours rounds to x, or away from an odd x
                    expected = 4 / float(info.eps)
                low, high = 1.0, min(float(info.max) / 2, 1e20)
                for _ in range(6):
                    x = jnp.asarray(np.geomspace(low, high, 20_001).astype(dtype))
                    told = np.flatnonzero(apart(x))
                    if not told.size or told[-1] == len(x) - 1:
                        break
                    low, high = (float(x[told[-1] + i]) for i in (0, 1))
                rows.append(Row(f"{what}, {name}", high, low, high, expected))
    return rows
