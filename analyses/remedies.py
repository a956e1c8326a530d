"""What makes a deep network trainable that is not, and what should be tried first?

One deep network on digits with weights too small, so that gradients vanish, and too large, so that they explode; and the
same network with one thing changed. Of each remedy: the ratio of the gradients at the first and the last layer, before and
after training, the spread of the singular values of the Jacobian before it (so that optimisers show the untreated
network's), and the test accuracy. Every remedy gets the learning rate that suits it, chosen on seeds that are not reported.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from analyses import command
from jaxsat import addresses

if TYPE_CHECKING:
    import xarray

NAME = "remedies"
OWN = "its own"  # the ailment of a remedy that sets the scale of weights itself: there is none
AILMENTS: tuple[str, str] = ("too small", "too large")


@dataclasses.dataclass(frozen=True)
class Options(command.Output):
    quick: bool = False
    """A smaller study in under a minute: fewer remedies, rates and seeds (their options are ignored)."""
    ailing: str = "tanh"
    """Activation of the network that is to be cured."""
    scales: tuple[float, float] = (0.5, 4.0)
    """Its bad weight scales sigma_w: too small, too large."""
    activations: tuple[str, ...] = ("relu", "leaky_relu", "selu")
    """Tried instead, each at the weight scale that keeps a mean square of 1 (He's for relu, LeCun's for selu)."""
    residual_scale: float = 0.2
    """a of the skip connections x + a phi(h)."""
    clip: float = 1.0
    """Largest norm of a clipped gradient."""
    optimizers: tuple[str, ...] = ("clipping", "adam", "normalised steps")
    """Tried instead of plain gradient descent."""
    rates: tuple[float, ...] = (0.003, 0.01, 0.03, 0.1, 0.3)
    """Learning rates to choose from; a thirtieth of them for adam."""
    choosing: int = 3
    """Seeds on which a remedy's learning rate is chosen: the lowest median training loss after the last step."""
    seeds: int = 7
    """Other seeds, that are reported."""
    depth: int = 24
    """Layers."""
    width: int = 64
    """Units per layer."""
    epochs: int = 10
    """Passes over the training data."""
    batch_size: int = 64
    """Examples of a minibatch."""
    root_seed: int = 0
    """Root of all randomness."""


QUICK = {
    "activations": ("relu",), "optimizers": ("adam",), "rates": (0.03, 0.1), "choosing": 1, "seeds": 4, "width": 32, "epochs": 8,
}  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class Remedy:
    """One change: fields of MLP or an optimiser, at some weight scales (ailment -> sigma_w)."""

    name: str
    scales: Mapping[str, float]
    fields: dict[str, Any] = dataclasses.field(default_factory=dict)
    optimizer: str = "sgd"


def main(options: Options) -> None:
    if options.quick:
        options = dataclasses.replace(options, **QUICK)
    command.check_output(options, NAME)
    for name, least in (("choosing", 1), ("seeds", 2), ("depth", 2), ("width", 10)):
        if getattr(options, name) < least:
            raise ValueError(f"{name}: must be at least {least}; got {getattr(options, name)}.")
    if not 0 < options.scales[0] < options.scales[1]:
        raise ValueError(f"scales: must be two numbers, 0 < too small < too large; got {options.scales}.")
    command.check_positive(options, "rates", "residual_scale", "clip", "epochs", "batch_size")
    from analyses import judged_remedies

    if unknown := set(options.optimizers) - set(_optimizers(options)):
        raise ValueError(f"optimizers: must be among {', '.join(_optimizers(options))}; got {', '.join(unknown)}.")
    command.produce(options, NAME, measure, draw, tables=judged_remedies.table)


def _optimizers(options: Options) -> dict[str, Any]:
    """Name -> (learning rate -> transformation)."""
    import optax

    return {
        "sgd": optax.sgd,
        "clipping": lambda rate: optax.chain(optax.clip_by_global_norm(options.clip), optax.sgd(rate)),
        "adam": optax.adam,
        "normalised steps": lambda rate: optax.chain(optax.normalize_by_update_norm(), optax.sgd(rate)),
    }


def catalogue(options: Options) -> list[Remedy]:
    """What is tried; raises for activations that there are not."""
    from jaxsat import activations, theory

    others = [activations.get(name).name for name in options.activations]
    bad = dict(zip(AILMENTS, options.scales, strict=True))
    critical = {OWN: float(theory.critical_weight_scale(activations.get(options.ailing)))}
    orthogonal = {"ensemble": "orthogonal"}
    tried = [
        Remedy("as it is", bad),
        Remedy("critical scale", critical),
        Remedy("orthogonal weights", bad, orthogonal),
        Remedy("orthogonal, critical", critical, orthogonal),
    ]
    tried += [
        Remedy(name, {OWN: float(theory.length_map(name, 1.0, 1.0)) ** -0.5}, {"activation": name}) for name in others
    ]
    tried += [
        Remedy(f"residual, a = {options.residual_scale:g}", bad, {"residual_scale": options.residual_scale}),
        Remedy("layer normalisation", bad, {"normalization": "layer"}),
    ]
    return tried + [Remedy(name, bad, optimizer=name) for name in options.optimizers]


def measure(options: Options) -> xarray.Dataset:
    """Train every remedy at every learning rate; what differs in the scale of weights alone is trained together."""
    import functools

    import numpy as np
    import xarray

    import jaxsat
    from jaxsat.training import datasets

    tried = catalogue(options)
    train, test = datasets.digits()
    net = jaxsat.MLP(
        depth=options.depth, width=options.width, activation=options.ailing, inputs=train[0].shape[1], outputs=10
    )
    steps = options.epochs * (len(train[0]) // options.batch_size)
    run = functools.partial(
        jaxsat.train, data=train, test=test, epochs=options.epochs, batch_size=options.batch_size,
        seeds=options.choosing + options.seeds, root_seed=options.root_seed, record_every=[0, steps],
        record=["loss", "test_accuracy", "log_gradient_norm"],
    )  # fmt: skip
    programs: dict[tuple, list[Remedy]] = {}
    for remedy in tried:
        programs.setdefault((remedy.optimizer, *remedy.fields.items()), []).append(remedy)
    spread = _spreads(options, train[0][0])
    attributes = {"long_name": "ln s_1 - ln s_10 of dx_L/dx_1 before training", "units": "nat"}
    cases: list[xarray.Dataset] = []
    for number, alike in enumerate(programs.values()):
        first = alike[0]
        changed = dataclasses.replace(net, **first.fields)
        rates = np.asarray(options.rates) / (30 if first.optimizer == "adam" else 1)
        scales = tuple(sorted({scale for remedy in alike for scale in remedy.scales.values()}))
        found = run(
            changed, optimizer=_optimizers(options)[first.optimizer],
            over={"weight_scale": scales, "learning_rate": rates}, store=command.part(options, NAME, f"train-{number}"),
        )  # fmt: skip
        norms = found.log_gradient_norm
        found["log_gradient_ratio"] = norms.isel(layer=0) - norms.isel(layer=-1)
        spreads = [[spread(changed, scale, seed) for seed in found.seed.values] for scale in scales]
        found["log_condition"] = ("weight_scale", "seed"), np.array(spreads), attributes
        found = found.drop_dims("layer").swap_dims(learning_rate="rate").reset_coords("learning_rate")
        for remedy in alike:
            for ailment, scale in remedy.scales.items():
                case = found.isel(weight_scale=scales.index(scale))
                cases.append(case.assign_coords(remedy=remedy.name, ailment=ailment, place=tried.index(remedy)))
    cases.sort(key=lambda case: int(case.place))
    whole: xarray.Dataset = xarray.concat(
        cases, "case", combine_attrs="override", coords="different", compat="equals", join="exact"
    )
    whole.log_gradient_ratio.attrs.update(long_name="ln ||dE/dh_1|| - ln ||dE/dh_L||", units="nat")
    return whole


def _spreads(options: Options, x):
    """(network, weight scale, seed) -> ln s_1 - ln s_10 of dx_L/dx_1 at one image, of the network `train` starts from.

    The decomposition takes layers as plain matrices and is compiled once for all remedies.
    """
    import jax

    from jaxsat.linalg import spectrum
    from jaxsat.measures.jacobians import factors

    root = addresses.root(options.root_seed)

    @jax.jit
    def layers(net, seed):
        found = factors(net, net.init(jax.random.fold_in(root, seed)), x)
        return found.hidden, found.log_abs_slopes[1:], found.slope_signs[1:]

    @jax.jit
    def logs(weights, slopes, signs):
        return spectrum.log_singular_values_of_product(weights, slopes, signs)

    def spread(net, scale, seed):
        found = logs(*layers(dataclasses.replace(net, weight_scale=scale), seed))
        return float(found[0] - found[9])

    return spread


def draw(options: Options, dataset):
    """The figure, from the dataset alone."""
    import numpy as np
    from matplotlib import pyplot as plt

    from analyses import judged_remedies
    from jaxsat.results import estimates, plotting

    order, bar = judged_remedies.judged(options, dataset)
    kinds: dict[str, Any] = {OWN: ("0.25", "D", "sets the scale itself"), AILMENTS[0]: (plotting.COLORS[0], "o", None), AILMENTS[1]: (plotting.COLORS[1], "s", None)}  # fmt: skip
    scales: dict[str, float] = dict(zip(AILMENTS, options.scales, strict=True))
    with plotting.style():
        fig, axes = plt.subplots(
            1, 3, sharey=True, figsize=(plotting.PAGE, 0.24 * len(order) + 1.0), layout="constrained"
        )
        for row, cases in enumerate(order):
            for case in cases:
                color, marker, _ = kinds[case.ailment]
                y = row + {AILMENTS[0]: -0.14, AILMENTS[1]: 0.14}.get(case.ailment, 0.0)
                shown = (case.ratios, case.conditions[None], case.accuracies[None])
                for ax, values, starts in zip(axes, shown, (0, 0, 1), strict=True):
                    for when, of_seeds in enumerate(values, start=starts):
                        finite = np.where(np.isfinite(of_seeds), of_seeds, np.nan)
                        middle, low, high, _ = estimates.mean_interval(finite)
                        ax.errorbar(
                            middle, y, xerr=[[middle - low], [high - middle]], color=color, marker=marker, ms=3.6,
                            mfc=color if when else "w", mew=0.7, elinewidth=0.8, ls="none", zorder=3 + when,
                        )  # fmt: skip
        for ax in axes:
            ax.set_axisbelow(True)
            ax.grid(axis="y", color="0.92", lw=0.6)
        axes[0].set_yticks(range(len(order)), labels=[cases[0].remedy for cases in order])
        axes[0].set_ylim(len(order) - 0.5, -0.5)
        axes[0].axvline(0, color="0.6", lw=0.6)
        axes[2].axvline(bar, color="0.6", lw=0.6, ls="--")
        axes[0].set(xlabel=r"$\ln\,\|\delta_1\| / \|\delta_L\|$ (nats)", title="gradient, first / last layer")
        axes[1].set(xlabel=r"$\ln\,s_1 / s_{10}$ (nats)", title="Jacobian, before training")
        axes[2].set(xlabel="test accuracy", xlim=(0, 1.02), title="after training")
        for kind, (color, marker, label) in kinds.items():
            label = label or rf"weights {kind}, $\sigma_w$ = {scales[kind]:g}"
            axes[1].plot([], [], color=color, marker=marker, ls="none", label=label)
        axes[1].plot([], [], color="0.5", marker="o", mfc="w", ls="none", label="hollow: before training")
        fig.legend(*axes[1].get_legend_handles_labels(), loc="outside upper center", ncols=4)
        plotting.panel_letters(list(axes))
        stopped = int((dataset.diverged_at.values >= 0).sum())
        footer = (
            f"{options.ailing} network of {options.depth} layers, n = {options.width}, on digits (8 x 8), batch {options.batch_size}, {int(dataset.step[-1])} steps, "
            f"each remedy at the best of {dataset.sizes['rate']} learning rates (lowest\nmedian training loss on {options.choosing} other seeds). "
            f"Mean and 95 % interval over {options.seeds} seeds (root {options.root_seed}). Rows by test accuracy in the worse case. "
            r"$\delta_l$: dE/dh$_l$,"
            "\n"
            r"root mean square over examples; $s_1 .. s_{10}$: the ten largest singular values of dx$_L$/dx$_1$ at one image. "
            f"Dashed: {judged_remedies.RECOVERED:.0%} of the way from chance to the\nfirst row. {stopped} of {dataset.loss.isel(step=-1).size} networks diverged, at any rate. "
            f"{dataset.attrs['created'][:10]}, {dataset.attrs['device']}, {dataset.attrs['dtype']}."
        )
        plotting.footnote(fig, footer)
    return fig


if __name__ == "__main__":
    command.run(Options, main, __doc__)
