"""Which relu units die while a network is trained, which were born dead, and does any come back?

A unit is dead where its slope is 0 for every training input: no gradient passes through it, and its own weights have
none. Under plain gradient descent one of the first layer stays dead for ever; a deeper one can be revived by the layers
below it. Counted unit by unit at recorded steps, against learning rate, scale of the initial biases and leak; networks
that diverge are counted apart, since they are left as they were.
"""

from __future__ import annotations

import dataclasses
import textwrap

from analyses import command

NAME = "dying_relu"


@dataclasses.dataclass(frozen=True)
class Options(command.Output):
    quick: bool = False
    """A smaller study in some seconds: fewer seeds, rates and epochs (their options are ignored)."""
    activations: tuple[str, ...] = ("relu",)
    """Names from jaxsat.activations.names(); the first is followed closely, the others are compared with it."""
    leaks: tuple[float, ...] = (0.01, 0.1)
    """Slopes below 0 of leaky_relu, compared too."""
    rates: tuple[float, ...] = (0.02, 0.1, 0.2, 0.4, 0.6, 0.8, 1.2, 2.0, 4.0)
    """Learning rates of plain gradient descent."""
    bias_scales: tuple[float, ...] = (0.0, 1.0, 3.0)
    """sigma_b of the initial biases."""
    shown_rate: float = 0.1
    """The learning rate at which layers are compared; one of rates."""
    clip: float = 1.0
    """Largest norm of the gradient in a second training of the first activation, at the smallest bias scale, in which no
    network diverges."""
    weight_scale: float = 2**0.5
    """sigma_w."""
    seeds: int = 16
    """Networks for each combination."""
    epochs: int = 20
    """Passes over the training digits."""
    batch_size: int = 64
    """Examples of a minibatch."""
    depth: int = 4
    """Layers."""
    width: int = 64
    """Units per layer."""
    root_seed: int = 0
    """Root of all randomness."""


QUICK = {
    "seeds": 8, "epochs": 10, "rates": (0.1, 0.4, 0.8, 2.0), "bias_scales": (0.0, 3.0), "leaks": (0.01,), "width": 48,
}  # fmt: skip


def main(options: Options) -> None:
    if options.quick:
        options = dataclasses.replace(options, **QUICK)
    command.check_output(options, NAME)
    from jaxsat import activations

    if not options.activations:
        raise ValueError("activations: must name at least one; got none.")
    for name in _names(options):
        activations.get(name)
    command.check_positive(options, "rates", "clip")
    if options.shown_rate not in options.rates:
        raise ValueError(f"shown_rate: must be one of rates {options.rates}; got {options.shown_rate:g}.")
    if options.seeds < 2:
        raise ValueError(f"seeds: must be at least 2 for an interval; got {options.seeds}.")
    command.produce(options, NAME, measure, draw)


def _names(options: Options) -> list:
    from jaxsat import activations

    return [*options.activations, *(activations.leaky_relu(leak) for leak in options.leaks)]


def measure(options: Options):
    """Every network trained on the digits, and at some steps which of its units are off for every training digit."""
    import functools

    import numpy as np
    import optax

    import jaxsat
    from jaxsat.training import datasets

    data = datasets.digits()
    steps = options.epochs * (len(data.train[0]) // options.batch_size)
    net = jaxsat.MLP(
        options.depth, options.width, weight_scale=options.weight_scale, inputs=data.train[0].shape[1], outputs=10
    )
    train = functools.partial(
        jaxsat.train, data=data.train, test=data.test, epochs=options.epochs, batch_size=options.batch_size,
        seeds=options.seeds, root_seed=options.root_seed, record=["off_units", "dead_fraction", "loss", "test_accuracy"],
        record_every=sorted({0, *np.unique(np.geomspace(1, steps, 12).astype(int)).tolist()}), probe=len(data.train[0]),
    )  # fmt: skip
    rates, biases = sorted(options.rates), sorted(options.bias_scales)
    over = {"activation": _names(options), "bias_scale": biases, "learning_rate": rates}
    dataset = train(net, optimizer=optax.sgd, over=over, store=command.part(options, NAME, "training"))
    clipped = train(
        dataclasses.replace(net, activation=options.activations[0], bias_scale=biases[0]), over={"learning_rate": rates},
        optimizer=lambda rate: optax.chain(optax.clip_by_global_norm(options.clip), optax.sgd(rate)),
        store=command.part(options, NAME, "clipped"),
    )  # fmt: skip
    return dataset.assign({f"clipped_{name}": clipped[name] for name in clipped.data_vars})


def draw(options: Options, dataset):
    """The figure, from the dataset alone."""
    from matplotlib import pyplot as plt

    from jaxsat.results import estimates, plotting

    rates = dataset.learning_rate.values
    layers, steps = dataset.layer.values, dataset.step.values
    labels = [*options.activations, *(f"leak {leak:g}" for leak in options.leaks)]
    found = _counted(dataset)
    clipped = _counted(dataset[[f"clipped_{n}" for n in COUNTED]].rename({f"clipped_{n}": n for n in COUNTED}))
    close = found.isel(activation=0)
    plain = found.isel(bias_scale=0)
    middle = close.isel(bias_scale=-1).sel(learning_rate=options.shown_rate)
    with plotting.style():
        fig, axes = plt.subplots(2, 4, figsize=(plotting.PAGE, 4.1), layout="constrained")
        (ends, lost, course, kinds), (revived, leaks, learnt, cost) = axes
        for i, bias in enumerate(dataset.bias_scale.values):
            one = close.isel(bias_scale=i)
            _against_rate(ends, one, "end", i, rf"$\sigma_b$ = {bias:g}")
            ends.axhline(float(one.born.mean()), color=plotting.COLORS[i], ls=":", lw=0.8)
            for name, ls, filled in (("blocked", "-", True), ("diverged", "--", False)):
                lost_count = one[name].sum("seed").transpose("learning_rate")
                share = estimates.share_interval(lost_count.values, options.seeds)
                color = plotting.COLORS[i]
                lost.errorbar(
                    rates, share.estimate, (share.estimate - share.low, share.high - share.estimate), color=color, ls=ls,
                    marker=plotting.MARKERS[i], mfc=color if filled else "white", mew=0.7, elinewidth=0.6, lw=0.9,
                )  # fmt: skip
        count = dataset.sizes["bias_scale"]
        _against_rate(ends, clipped, "end", count, rf"$\sigma_b$ = {dataset.bias_scale.values[0]:g}, clipped")
        ends.plot([], [], color="0.4", ls=":", lw=0.8, label="born dead")
        lost.plot([], [], color="0.4", label="a layer dead")
        lost.plot([], [], color="0.4", ls="--", label="diverged")
        colors = plotting.scale_colors(rates)
        for rate in rates:
            values = close.isel(bias_scale=0).sel(learning_rate=rate).course.transpose("step", "seed").values
            mean, low, high, sound = _shares(values)
            hollow = sound[0] < options.seeds
            course.plot(steps, mean, color=colors.to_rgba(rate), ls="--" if hollow else "-")
            course.fill_between(steps, low, high, color=colors.to_rgba(rate), alpha=0.2, lw=0)
        for i, (name, label) in enumerate(KINDS.items()):
            _points(kinds, layers, middle[name].transpose("layer", "seed").values, i, label)
        for i, label in enumerate(labels):
            values = found.isel(activation=i, bias_scale=-1).sel(learning_rate=options.shown_rate).back
            _points(revived, layers, values.transpose("layer", "seed").values, i, label, shift=0.12 * i)
            _against_rate(leaks, plain.isel(activation=i), "end", i, label)
            _against_rate(learnt, plain.isel(activation=i), "accuracy", i, label)
        for i, one in enumerate([*(close.isel(bias_scale=i) for i in range(count)), clipped]):
            cost.plot(
                one.end.values.ravel(), one.accuracy.values.ravel(), ls="none", marker=plotting.MARKERS[i], ms=2.2,
                mfc="none", mec=plotting.COLORS[i], mew=0.5,
            )  # fmt: skip
        unit = f"dead {labels[0]} units, share"
        for ax, ylabel in (
            (ends, unit),
            (lost, "share of networks"),
            (leaks, "share of units off"),
            (learnt, "test accuracy"),
        ):
            ax.set(xscale="log", xlabel="learning rate", ylabel=ylabel)
        for ax, room in ((ends, 1.9), (leaks, 1.5)):
            ax.set(ylim=(None, room * ax.get_ylim()[1]))
        learnt.set(ylim=(-0.04, 1.04))
        lost.set(ylim=(-0.04, 1.4), yticks=(0, 0.5, 1))
        titles = ("at the end", "networks lost", "in time", "by layer", "came back", "with a leak", "learnt")
        for ax, title in zip(axes.flat, (*titles, "what it costs"), strict=True):
            ax.set_title(title)
        course.set(
            xscale="symlog", xlabel="updates", ylabel=unit, xlim=(0, None), ylim=(-0.01, 1.5 * course.get_ylim()[1])
        )
        bar = fig.colorbar(colors, cax=course.inset_axes((0.08, 0.94, 0.6, 0.035)), orientation="horizontal")
        bar.set_label("learning rate", labelpad=0)
        kinds.set(xlabel="layer", ylabel=unit, xticks=layers, ylim=(None, 1.7 * kinds.get_ylim()[1]))
        revived.set(xlabel="layer", ylabel="share of units once off", xticks=layers, ylim=(-0.04, 1.04))
        cost.set(xlabel=unit, ylabel="test accuracy", xlim=(-0.04, 1.04), ylim=(-0.04, 1.04))
        for ax, where in ((ends, "upper left"), (lost, "upper left"), (kinds, "upper left"), (revived, "lower right"),
                          (leaks, "upper left"), (learnt, "lower left")):  # fmt: skip
            ax.legend(loc=where, handlelength=1.2, borderaxespad=0.1)
        plotting.panel_letters(list(axes.flat))
        plotting.footnote(fig, _footer(options, dataset, close, clipped))
    return fig


COUNTED = ("off_units", "diverged_at", "test_accuracy")
KINDS = {"born": "born dead", "kept": "born dead, still so", "died": "died in training"}


def _counted(dataset):
    """Shares of units of each network; NaN where it diverged, for it stands still where it was."""
    import numpy as np
    import xarray

    dataset = dataset.drop_vars("epoch")
    off, sound = dataset.off_units, dataset.diverged_at < 0
    once = xarray.apply_ufunc(np.logical_or.accumulate, off, kwargs={"axis": off.get_axis_num("step")})
    born, end = off.isel(step=0), off.isel(step=-1)
    ever, back = once.isel(step=-1), (once & ~off).any("step")  # off at one record, on at a later one
    shares = {
        "born": born.mean("unit"), "kept": (born & end).mean("unit"), "died": (end & ~born).mean("unit"),
        "back": back.sum("unit") / ever.sum("unit").where(ever.any("unit")),
        "end": end.mean(("layer", "unit")), "course": off.mean(("layer", "unit")),
        "accuracy": dataset.test_accuracy.isel(step=-1),
    }  # fmt: skip
    found = xarray.Dataset({name: share.where(sound) for name, share in shares.items()})
    found["blocked"] = end.all("unit").any("layer") & sound  # no gradient gets below a layer that is all dead
    found["diverged"] = ~sound
    found["once_off"], found["came_back"] = (ever & sound).sum("unit"), (back & sound).sum("unit")
    return found


def _shares(values):
    """Mean over networks of shares with its interval, which ends at 0 and 1."""
    import numpy as np

    from jaxsat.results import estimates

    mean, low, high, count = estimates.mean_interval(values)
    return mean, np.maximum(low, 0), np.minimum(high, 1), count


def _against_rate(ax, one, name, i, label):
    """Means over networks with their intervals; hollow where some diverged, a cross where all did."""
    import numpy as np

    from jaxsat.results import plotting

    rates = one.learning_rate.values
    mean, low, high, count = _shares(one[name].transpose("learning_rate", "seed").values)
    color, marker = plotting.COLORS[i], plotting.MARKERS[i]
    ax.plot(rates, mean, color=color, lw=0.9)
    ax.errorbar(rates, mean, (mean - low, high - mean), color=color, ls="none", elinewidth=0.7)
    for some, fill in ((False, color), (True, "white")):
        here = (count < one.sizes["seed"]) == some
        ax.plot(rates[here], mean[here], marker, color=color, mfc=fill, mew=0.7)
    gone = count == 0
    ax.plot(rates[gone], np.full(gone.sum(), -0.01 * i), "x", color=color, mew=0.7)
    ax.plot([], [], marker=marker, color=color, label=label)


def _points(ax, layers, values, i, label, shift=0.0):
    from jaxsat.results import plotting

    mean, low, high, _ = _shares(values)
    ax.errorbar(
        layers + shift, mean, (mean - low, high - mean), color=plotting.COLORS[i], marker=plotting.MARKERS[i], lw=0.6,
        ls=":", elinewidth=0.8, label=label,
    )  # fmt: skip


def _footer(options: Options, dataset, close, clipped) -> str:
    once, back = (close[n].sum([d for d in close[n].dims if d != "layer"]).values for n in ("once_off", "came_back"))
    plain, first = close.isel(bias_scale=0), options.activations[0]
    whole = ~plain.diverged.any("seed")
    sound = plain.isel(learning_rate=whole.values)
    gone = int((dataset.diverged_at >= 0).sum()) + int((dataset.clipped_diverged_at >= 0).sum())
    text = (
        f"{dataset.diverged_at.size + dataset.clipped_diverged_at.size} networks, L = {options.depth}, n = {options.width}, gaussian weights, sigma_w = {options.weight_scale:.4g}, on digits; plain gradient descent, batch {options.batch_size}, {options.epochs} epochs; "
        f"{options.seeds} seeds (root {options.root_seed}). Means with 95 % intervals over seeds; shares of networks with Wilson's. Dead or off: pre-activation at most 0 for every training input "
        "(for relu: slope 0). Came back: off at one recorded step, on at a later one. "
        f"The {gone} networks that diverged are left out of all but b; hollow and dashed: some did (no bar: one network is left); x: all did. a to d, h: {first}; c, f, g: sigma_b = {dataset.bias_scale.values[0]:g}; "
        f"d, e: sigma_b = {dataset.bias_scale.values[-1]:g}, rate {options.shown_rate:g}; clipped: gradients of norm at most {options.clip:g}. {first}, all rates and biases, unclipped: "
        f"{back[0]} of {once[0]} first-layer units once dead came back (theory: none), {back[1:].sum()} of {once[1:].sum()} deeper ones. "
        f"Dead units, largest less smallest rate at the smallest sigma_b: {_effect(sound)} where no network diverged, {_effect(clipped)} clipped. "
        f"{dataset.attrs['created'][:10]}, {dataset.attrs['device']}, {dataset.attrs['dtype']}."
    )
    return textwrap.fill(text, 185)


def _effect(one) -> str:
    """Of the learning rate on dead units, seed by seed, with its interval."""
    from jaxsat.results import estimates

    if one.sizes["learning_rate"] < 2:
        return "unknown (fewer than two rates)"
    ends = one.isel(learning_rate=[0, -1])
    change = estimates.mean_interval(ends.end.diff("learning_rate").values.ravel())
    low, high = ends.learning_rate.values
    return f"{change.estimate:.3f} [{change.low:.3f}, {change.high:.3f}] ({low:g} to {high:g})"


if __name__ == "__main__":
    command.run(Options, main, __doc__)
