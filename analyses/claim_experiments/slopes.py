"""Claims on slopes and their products: the logistic's quarter, the chain rule, and where a dtype stops telling apart."""

from __future__ import annotations

import numpy as np

from analyses.claim_experiments.networks import LARGE, Networks
from analyses.claim_experiments.rows import Row, of_seeds

DTYPES = ("float16", "bfloat16", "float32", "float64")
SOME, DEEP = 5.0, 50.0  # scales of biases: units in saturation, and so far in that float32 loses the product of slopes


def slope_is_at_most_a_quarter(networks: Networks) -> list[Row]:
    """ln of what is measured over its bound: the slope's own, the chain rule's, and the quarter alone."""
    import jax
    import jax.numpy as jnp

    import jaxsat
    from jaxsat import activations, estimates

    options, sigmoid, rows = networks.options, activations.get("sigmoid"), []
    with jax.enable_x64(True):
        for dtype in ("float16", "float64"):
            every = np.arange(2**16, dtype=np.uint16).view(np.float16)
            x = jnp.asarray(every[np.isfinite(every)] if dtype == "float16" else np.linspace(-40, 40, 800_001))
            largest = float(np.max(np.asarray(sigmoid.slope(x), np.float64)))
            rows.append(Row(f"slope, {dtype}", *[np.log(largest / 0.25)] * 3, expected=0.0))
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

    def in_logs(net, params, x, upstream):
        return jnp.exp(
            jaxsat.log_gradient_norms(net, params, x, 2 * upstream)[0]
            - jaxsat.log_gradient_norms(net, params, x, upstream)[0]
        )

    def by_autodiff(net, params, x, upstream):
        shifts = jnp.zeros((net.depth, net.width), x.dtype)
        back = jax.vjp(lambda s: net.apply(params, x, s), shifts)[1]
        return jnp.stack([back(2 * upstream)[0][0], back(upstream)[0][0]])

    def values(net, dtype, how):
        def one(seed):
            key = jax.random.fold_in(jax.random.key(options.root_seed), seed)
            params = net.init(key, dtype)
            x = jaxsat.network.gaussian_input(net, key).astype(dtype)
            upstream = jaxsat.gradients.unit_cotangent(net, key).astype(dtype)
            return how(net, params, x, upstream)

        seeds = jnp.arange(options.seeds, dtype=jnp.int32)
        return np.asarray(jax.jit(jax.vmap(one))(seeds), np.float64)

    for name in networks.sigmoidal:
        for what, biases, dtype in (
            ("saturated", SOME, "float32"), ("far", DEEP, "float64"), ("far", DEEP, "float32"), ("far", DEEP, "in logs")
        ):  # fmt: skip
            net = jaxsat.MLP(depth=options.depth, width=options.width, activation=name, bias_scale=biases)
            with jax.enable_x64(dtype == "float64"):
                if dtype == "in logs":
                    ratio = values(net, jnp.float32, in_logs)
                else:
                    # In float64 with the largest taken out, or the squares of small gradients would underflow here
                    pair = values(net, jnp.dtype(dtype), by_autodiff)
                    size = np.abs(pair).max((1, 2), keepdims=True)
                    twice, once = np.moveaxis(np.linalg.norm(pair / np.where(size > 0, size, 1.0), axis=-1), 1, 0)
                    ratio = np.where(once > 0, twice / np.where(once > 0, once, 1.0), np.where(twice > 0, np.inf, 1.0))
            rows.append(of_seeds(f"{name}, {what}, {dtype}", ratio, expected=2.0))
    return rows


def cannot_be_told_apart(networks: Networks) -> list[Row]:
    """From which x on f(x) = f(x + 1) in a dtype, for sigma and for ln sigma'; the interval is between its numbers."""
    import jax
    import jax.numpy as jnp
    import ml_dtypes

    from jaxsat import activations, precision

    sigmoid, rows = activations.get("sigmoid"), []
    with jax.enable_x64(True):
        for what, function in (("value", sigmoid), ("ln slope", sigmoid.log_abs_slope)):
            for name in DTYPES:
                dtype = jnp.dtype(name)
                info = ml_dtypes.finfo(dtype)
                if what == "value":
                    expected = precision.underflow_points("sigmoid", dtype).rounds_to_limit
                else:  # a number half as far from x as its neighbours rounds to x, or away from an odd x
                    expected = 4 / float(info.eps)
                low, high = 1.0, min(float(info.max) / 2, 1e20)
                for _ in range(6):
                    x = jnp.asarray(np.unique(np.geomspace(low, high, 20_001).astype(dtype)))
                    told = np.flatnonzero(np.asarray(function(x) != function(x + jnp.ones((), dtype))))
                    if not told.size or told[-1] == len(x) - 1:
                        break
                    low, high = (float(x[told[-1] + i]) for i in (0, 1))
                rows.append(Row(f"{what}, {name}", high, low, high, expected))
    return rows
