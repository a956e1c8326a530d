"""How do layers saturate while a network is trained, and what does the initialisation change?

Glorot & Bengio (2010), figures 2 to 4 and 6 to 9: the top layer of a deep sigmoid network goes to 0 early, stays there
while nothing is learnt, and leaves late or never; activations of tanh and softsign networks against time and at the end;
activations, back-propagated gradients and weight gradients at the start, under the standard initialisation
(uniform on +-1 / sqrt n, sigma_w = 1 / sqrt 3) and the normalised one (sigma_w = 1). Their networks of 1000 units saw an
endless stream of Shapeset-3x2; here they are small. The sigmoid ones learn the digits, the others 2000 images like Shapeset-3x2,
which they learn by heart (in test images they are little better than chance).
"""

from __future__ import annotations

import dataclasses
import textwrap
from typing import Literal

from analyses import command

NAME = "saturation_during_training"


@dataclasses.dataclass(frozen=True)
class Options(command.Output):
    quick: bool = False
    """A smaller study in some seconds: fewer seeds, epochs and depths, digits only (their options are ignored)."""
    activations: tuple[str, ...] = ("tanh", "softsign")
    """Bounded activations followed beside sigmoid, by names from jaxsat.activations.names(); the first is looked at before
    training, too."""
    sigmoid_data: Literal["digits", "shapes"] = "digits"
    """What sigmoid networks learn: scikit-learn's digits, or 2000 images of 16 x 16 pixels like Shapeset-3x2."""
    data: Literal["digits", "shapes"] = "shapes"
    """What the other networks learn."""
    depths: tuple[int, ...] = (2, 3, 4, 5)
    """Hidden layers of the sigmoid networks."""
    shown: tuple[int, int] = (4, 5)
    """The two of depths whose layers are shown: the one that escapes and the one that does not in Glorot & Bengio."""
    depth: int = 5
    """Hidden layers of the other networks."""
    sigmoid_epochs: int = 120
    """Passes over the training data, sigmoid networks."""
    epochs: int = 80
    """Passes over the training data, other networks."""
    sigmoid_rate: float = 0.5
    """Learning rate of plain gradient descent, sigmoid networks."""
    rate: float = 0.1
    """Learning rate, other networks."""
    batch_size: int = 10
    """Examples of a minibatch."""
    seeds: int = 8
    """Networks for each activation, depth and initialisation."""
    start_seeds: int = 32
    """Networks looked at before training."""
    width: int = 64
    """Units per layer."""
    root_seed: int = 0
    """Root of all randomness."""


QUICK = {
    "depths": (2, 4), "shown": (2, 4), "data": "digits", "sigmoid_epochs": 40, "epochs": 12, "seeds": 3, "start_seeds": 8,
}  # fmt: skip
INITIALISATIONS = {"standard": 3**-0.5, "normalised": 1.0}
PROBE = 300  # training examples on which layers are looked at
RECORD = ("pre_activation_percentiles", "activation_histogram", "log_gradient_norm",
          "log_weight_gradient_norm")  # fmt: skip


def main(options: Options) -> None:
    if options.quick:
        options = dataclasses.replace(options, **QUICK)
    command.check_output(options, NAME)
    command.check_bounded(options.activations)  # histograms go over their range
    command.check_positive(
        options, "depths", "depth", "width", "sigmoid_epochs", "epochs", "sigmoid_rate", "rate", "batch_size"
    )
    if not set(options.shown) <= set(options.depths):
        raise ValueError(f"shown: must be two of depths {options.depths}; got {options.shown}.")
    if min(options.seeds, options.start_seeds) < 2:
        found = f"{options.seeds} and {options.start_seeds}"
        raise ValueError(f"seeds, start_seeds: must be at least 2 for an interval; got {found}.")
    command.produce(options, NAME, measure, draw)


def measure(options: Options):
    """Networks followed while they learn, and others before they do; what theory says of the start."""
    import numpy as np
    import optax
    import xarray

    import jaxsat
    from analyses import start_of_training
    from jaxsat import activations
    from jaxsat.training import datasets

    known = {"digits": datasets.digits, "shapes": lambda: datasets.shapes(count=2000, test=500, size=16)}

    def network(data, depth, activation):
        x, y = data.train
        return jaxsat.MLP(
            depth, options.width, activation, ensemble="uniform", inputs=x.shape[1], outputs=int(y.max()) + 1
        )

    def train(data, activation, depth, epochs, rate, record, part):
        per_epoch = len(data.train[0]) // options.batch_size
        steps = epochs * per_epoch
        times = np.concatenate([[0], np.geomspace(per_epoch / 20, steps, 24), np.linspace(0, steps, 31)])
        found = jaxsat.train(
            network(data, depth, activation[0]), data.train, data.test, optimizer=optax.sgd(rate), epochs=epochs, batch_size=options.batch_size,
            over={"activation": activation, "weight_scale": list(INITIALISATIONS.values())}, seeds=options.seeds,
            root_seed=options.root_seed, record=[*record, "activation_std", "test_accuracy"],
            record_every=np.unique(times.astype(int)).tolist(), probe=PROBE, store=command.part(options, NAME, part),
        )  # fmt: skip
        found = found.rename(weight_scale="initialisation")
        return found.assign_coords(initialisation=list(INITIALISATIONS))

    parts, data = [], known[options.sigmoid_data]()
    for depth in sorted(options.depths):
        found = train(
            data, ["sigmoid"], depth, options.sigmoid_epochs, options.sigmoid_rate, ["activation_mean"],
            f"sigmoid-{depth}",
        )  # fmt: skip
        found = found.isel(activation=0, drop=True).reindex(layer=np.arange(1, max(options.depths) + 1))
        parts.append(found.expand_dims(depth=[depth]))
    sigmoid = xarray.concat(parts, "depth", combine_attrs="override")
    names = [activations.get(name).name for name in options.activations]
    data = known[options.data]()
    others = train(data, names, options.depth, options.epochs, options.rate, RECORD, "others")
    sizes = np.array([data.train[0].shape[1]] + [options.width] * (options.depth - 1)) * options.width
    for name, what, log, size in (
        ("signal", "dE/dh_l", others.log_gradient_norm, options.width),
        ("weight_gradient", "dE/dW_l", others.log_weight_gradient_norm, sizes),
    ):
        told = {"long_name": f"{what} of single examples, root mean square entry", "units": "1"}
        others[name] = (np.exp(log) / np.sqrt(size)).assign_attrs(told)
    highest = others.pre_activation_percentiles.sel(percentile=98.0, drop=True)
    # The activations increase, so that percentiles of activations are activations of percentiles.
    told = {
        "highest": (lambda phi, h: phi(h), "98th percentile of activations"),
        "slope_share": (lambda phi, h: phi.slope(h) / phi.max_slope, "slope there over the largest"),
    }
    for name, (of, long_name) in told.items():
        values = np.stack([np.asarray(of(activations.get(n), highest[i].values)) for i, n in enumerate(names)])
        others[name] = (highest.dims, values, {"long_name": long_name, "units": "1"})
    first = names[0]
    net = network(data, options.depth, first)
    few = data.train[0][:PROBE], data.train[1][:PROBE]
    found = [
        sigmoid.rename({name: f"sigmoid_{name}" for name in (*sigmoid.data_vars, "step", "epoch", "layer")}),
        others,
        start_of_training.histograms(net, INITIALISATIONS, options.start_seeds, options.root_seed, few),
        start_of_training.mean_field(first, options.depth, INITIALISATIONS, float(np.mean(few[0] ** 2))),
    ]
    return xarray.merge(found, combine_attrs="drop_conflicts", join="exact", compat="no_conflicts").assign_attrs(
        others.attrs
    )


def draw(options: Options, dataset):
    """The figure, from the dataset alone."""
    from matplotlib import pyplot as plt
    from matplotlib.lines import Line2D
    from matplotlib.ticker import NullFormatter

    from analyses import saturation_panels as panels
    from jaxsat.results import plotting

    names, kinds = [str(name) for name in dataset.activation.values], list(INITIALISATIONS)
    count, rows = max(options.depth, *options.shown), 3 + len(names)
    with plotting.style(), plt.rc_context({"axes.titlesize": 6.5}):
        fig, axes = plt.subplots(rows, 4, figsize=(plotting.PAGE, 1.62 * rows), layout="constrained")
        shown = [(options.shown[0], kinds[0]), (options.shown[0], kinds[1]), (options.shown[1], kinds[0])]
        for ax, (depth, kind) in zip(axes[0], shown, strict=False):
            panels.fate(ax, dataset.sel(depth=depth, initialisation=kind), depth, count)
            ax.set_title(f"L = {depth}, {kind}")
        axes[0, 0].set(ylabel="sigmoid activation")
        axes[0, 3].set_title("sigmoid, top layer")
        panels.escapes(axes[0, 3], dataset, options.sigmoid_epochs)
        for row, name in zip(axes[1:], names, strict=False):
            for kind, course, end in zip(kinds, row[:2], row[2:], strict=True):
                of = dataset.sel(activation=name, initialisation=kind)
                panels.lines(course, of, "activation_std", "-")
                panels.lines(course, of, "highest", "--")
                course.set(ylim=(0, 1.02))
                panels.activations_of(end, of, -1, name)
                end.set(xlabel="activation at the end")
                for ax in (course, end):
                    ax.set_title(f"{name}, {kind}")
            row[0].set(ylabel="activation")
            row[2].set(ylabel="density")
        start, last = axes[-2], axes[-1]
        of = dataset.sel(activation=names[0])
        for i, kind in enumerate(kinds):
            one = of.sel(initialisation=kind)
            panels.activations_of(start[i], one, 0, names[0])
            panels.theory_of(start[i], one, names[0])
            start[i].set(xlabel="activation at the start")
            panels.entries(start[2 + i], one, "signal")
            start[2 + i].set(xlabel=r"$\partial E/\partial h$ at the start")
            panels.lines(last[2 + i], one, "weight_gradient", "-")
            for ax in (start[i], start[2 + i], last[2 + i]):
                ax.set_title(f"{names[0]}, {kind}")
        panels.entries(last[0], of.sel(initialisation=kinds[0]), "weight")
        last[0].set(xlabel=r"$\partial E/\partial W$ at the start")
        last[0].set_title(f"{names[0]}, {kinds[0]}")
        panels.ratios(last[1], of)
        last[1].set_title(f"{names[0]}, at the start")
        for ax in last[2:]:
            ax.set(yscale="log")
        ends = [end for ax in last[2:] for end in ax.get_ylim()]
        for ax in last[2:]:
            ax.set(ylim=(min(ends), max(ends)))
            ax.yaxis.set_minor_formatter(NullFormatter())
        last[2].set(ylabel=r"$\partial E/\partial W$, r.m.s.")
        for ax in (start[0], start[2], last[0]):
            ax.set(ylabel="density")
        handles = [Line2D([], [], color=color) for color in panels.colors(count)]
        handles += [Line2D([], [], color="0.4"), Line2D([], [], color="0.4", ls="--")]
        labels = [*(f"layer {i + 1}" for i in range(count)), "standard deviation", "98th percentile"]
        fig.legend(handles, labels, loc="outside upper center", ncols=len(handles))
        plotting.panel_letters(list(axes.flat))
        plotting.footnote(fig, _footer(options, dataset))
    return fig


def _footer(options: Options, dataset) -> str:
    from analyses import saturation_verdicts as verdicts

    first, (standard, normalised) = str(dataset.activation.values[0]), INITIALISATIONS
    fates = [
        verdicts.fate(dataset, depth, kind)
        for depth, kind in ((options.shown[0], standard), (options.shown[0], normalised), (options.shown[1], standard), (options.shown[1], normalised))
    ]  # fmt: skip
    orders = [verdicts.order(dataset, str(name), standard) for name in dataset.activation.values]
    at_start = [
        f"{what} {verdicts.ratio_at_start(dataset, first, standard, name)} {standard}, "
        f"{verdicts.ratio_at_start(dataset, first, normalised, name)} {normalised}"
        for what, name in (("dE/dh", "signal"), ("dE/dW", "weight_gradient"))
    ]
    right = [
        f"{verdicts.interval(dataset.test_accuracy.sel(activation=first, initialisation=kind).isel(step=-1), '.2f')} {kind}"
        for kind in INITIALISATIONS
    ]
    text = (
        f"Glorot & Bengio 2010, figures 2 (a to d), 3, 4, 6 to 9. On {options.sigmoid_data} (sigmoid) and {options.data} (others), n = {options.width}, uniform weights, sigma_w = 1/sqrt(3) ({standard}) or 1 ({normalised}), no biases at the start; plain gradient descent, batch {options.batch_size}, "
        f"rate {options.sigmoid_rate:g} (sigmoid), {options.rate:g} (others); {options.seeds} seeds (root {options.root_seed}), for histograms of gradients {options.start_seeds}. Bands: 95 % intervals over seeds; "
        f"a to c: mean and s.d. over units and {PROBE} training examples in one network, and the top layer of others. Dotted, and lines of the ratios: mean field, infinite width, all inputs of one length; ratios filled: dE/dh, hollow: dE/dW of single examples. "
        f"Sunk: s.d. of the top layer below half of its start; escaped: then above its start. Sigmoid: {'; '.join(fates)}. "
        f"Order in which the slope at the 98th percentile falls to a quarter: {'; '.join(orders)}. First over last layer at the start, r.m.s., {first}: {'; '.join(at_start)}. "
        f"Largest over smallest layer's dE/dW in training: {verdicts.spread_in_training(dataset, first, standard)} {standard}, {verdicts.spread_in_training(dataset, first, normalised)} {normalised}. "
        f"Test accuracy at the end, {first}: {', '.join(right)}. {dataset.attrs['created'][:10]}, {dataset.attrs['device']}, {dataset.attrs['dtype']}."
    )
    return textwrap.fill(text, 195)


if __name__ == "__main__":
    command.run(Options, main, __doc__)
