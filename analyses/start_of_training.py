"""Networks before they are trained: histograms of their gradients on real examples, and what mean-field theory says.

Used by ``saturation_during_training`` (Glorot & Bengio 2010, figures 6 to 8).
"""

from __future__ import annotations

BINS, REACH = 81, 4.0  # of histograms, which go so many root mean squares of the widest layer to either side
SINGLE = 10  # examples whose weight gradients are looked at, one by one: each has as many entries as there are weights


def histograms(net, scales, seeds: int, root_seed: int, examples):
    """Densities, over networks and examples, of the entries of dE/dh_l and dE/dW_l, E the loss of one example.

    Args:
        net: the networks; `scales` maps names of initialisations to sigma_w.
        seeds, root_seed: drawn as ``jaxsat.train`` draws them.
        examples: inputs and classes.

    Returns: a Dataset of (initialisation, start_seed, layer, bin), and the edges of the bins.
    """
    import dataclasses

    import jax
    import jax.numpy as jnp
    import numpy as np
    import xarray

    from jaxsat.measures import gradients

    x, y = jnp.asarray(examples[0], jnp.result_type(float)), jnp.asarray(examples[1])

    @jax.jit
    def one(net, seed):
        params = net.init(jax.random.fold_in(jax.random.key(root_seed), seed))

        def of_example(x, y):
            trace, outputs = net.trace(params, x), net.apply(params, x)
            cotangent = jax.nn.softmax(outputs) - jax.nn.one_hot(y, net.output_width, dtype=outputs.dtype)
            signal = gradients.signal_of_trace(net, params, trace, cotangent)
            return signal.direction * jnp.exp(signal.log_scale)[:, None], trace.activations

        return jax.vmap(of_example)(x, y)

    found = {name: [] for name in ("signal_density", "signal_edge", "weight_density", "weight_edge")}
    for scale in scales.values():
        drawn = [one(dataclasses.replace(net, weight_scale=scale), seed) for seed in range(seeds)]
        signals, outputs = (np.stack([np.asarray(pair[i]) for pair in drawn]) for i in range(2))
        below = [np.broadcast_to(x[:SINGLE], (seeds, SINGLE, x.shape[1]))]
        below += [outputs[:, :SINGLE, layer] for layer in range(net.depth - 1)]

        def weights(seed, layer):
            return signals[seed, :SINGLE, layer, :, None] * below[layer][seed, :, None, :]

        for kind, entries in (("signal", lambda seed, layer: signals[seed, :, layer]), ("weight", weights)):
            widest = max(np.sqrt(np.mean(entries(0, layer) ** 2)) for layer in range(net.depth))
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


def _density(values, edges):
    """Per unit of the values; what lies beyond the edges counts in the total."""
    import numpy as np

    return np.histogram(values, edges)[0] / values.size / np.diff(edges)


def mean_field(activation, depth: int, scales, mean_square: float):
    """Mean field: lengths q_l, and root mean square entries of dE/dh_l and dE/dW_l over those of the last layer."""
    import numpy as np
    import xarray

    from jaxsat import theory

    rows = {name: [] for name in ("theory_length", "theory_signal", "theory_weight_gradient")}
    for scale in scales.values():
        q = np.asarray(theory.length_trajectory(activation, depth, scale, mean_square=mean_square))
        signal = np.asarray(theory.log_gradient_norms(activation, depth, scale, mean_square=mean_square))
        below = np.log(q) / 2  # ln of the root mean square of x_{l-1}, but for ln sigma_w
        rows["theory_length"].append(q)
        rows["theory_signal"].append(np.exp(signal - signal[-1]))
        rows["theory_weight_gradient"].append(np.exp(signal - signal[-1] + below - below[-1]))
    told = (
        "mean squared pre-activation",
        "dE/dh_l, r.m.s. over the last layer's",
        "dE/dW_l, r.m.s. over the last layer's",
    )
    dataset = xarray.Dataset()
    for (name, values), long_name in zip(rows.items(), told, strict=True):
        dataset[name] = (("initialisation", "layer"), np.array(values), {"long_name": long_name, "units": "1"})
    return dataset
