"""Which depths and weight scales can be trained, and does the depth scale of mean-field theory say so?

Schoenholz et al. (2017, figure 5): networks are trained for a fixed number of steps at every depth L and weight scale
sigma_w; they hold that training works where information passes, L < 6 xi_c. Their setting is MNIST, width 300, to 300
layers; here it is the 8 x 8 digits and narrower, shallower networks, whose gradients also fluctuate with L / n, which the
theory of infinite width does not know. How well the line separates is computed, beside what depth alone would say.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, NamedTuple

from analyses import command

if TYPE_CHECKING:
    import numpy as np

NAME = "trainability"
FACTOR = 6.0  # depth scales down to which networks train, says the paper
CHANCE = 0.1


@dataclasses.dataclass(frozen=True)
class Options(command.Output):
    quick: bool = False
    """A smaller study in half a minute: fewer depths, scales and seeds (their options are ignored)."""
    activations: tuple[str, ...] = ("tanh",)
    """Names from jaxsat.activations.names(); one row of panels each."""
    depths: tuple[int, ...] = (4, 8, 16, 24, 32, 64, 96)
    """Layers."""
    scales: tuple[float, ...] = (0.7, 0.85, 1.0, 1.1, 1.2, 1.33, 1.5, 1.7, 2.0, 2.35, 2.7, 3.0)
    """Weight scales sigma_w."""
    bias_scale: float = 0.05**0.5
    """sigma_b; its square is 0.05 in the paper."""
    seeds: int = 6
    """Networks for each depth, scale and ensemble."""
    width: int = 64
    """Units per layer."""
    epochs: int = 10
    """Passes over the training data."""
    batch_size: int = 64
    """Examples of a minibatch."""
    learning_rate: float = 0.01
    """Of plain stochastic gradient descent, the same for all."""
    root_seed: int = 0
    """Root of all randomness."""


QUICK = {"depths": (8, 24, 48), "scales": (0.7, 1.0, 1.33, 1.7, 2.35, 3.0), "seeds": 3}


def main(options: Options) -> None:
    if options.quick:
        options = dataclasses.replace(options, **QUICK)
    command.check_output(options, NAME)
    for name in ("depths", "scales"):
        values = getattr(options, name)
        if len(set(values)) < max(2, len(values)):
            raise ValueError(f"{name}: must be at least 2 different numbers; got {values}.")
    command.check_positive(options, "depths", "scales", "learning_rate")
    if options.seeds < 2:
        raise ValueError(f"seeds: must be at least 2, for an interval; got {options.seeds}.")
    command.produce(options, NAME, measure, draw)


def measure(options: Options):
    """Training accuracy of every network after the last step, and the depth scale at its weight scale."""
    import functools

    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax

    import jaxsat
    from jaxsat import activations, theory
    from jaxsat.training import datasets

    names = [activations.get(name).name for name in options.activations]
    train, _ = datasets.digits()
    net = jaxsat.MLP(
        depth=min(options.depths), width=options.width, bias_scale=options.bias_scale, inputs=train[0].shape[1], outputs=10
    )  # fmt: skip
    over = {
        "activation": names,
        "ensemble": ["gaussian", "orthogonal"],
        "depth": sorted(options.depths),
        "weight_scale": sorted(options.scales),
    }
    steps = options.epochs * (len(train[0]) // options.batch_size)
    found = jaxsat.train(
        net, train, optimizer=optax.sgd(options.learning_rate), epochs=options.epochs, batch_size=options.batch_size,
        over=over, seeds=options.seeds, root_seed=options.root_seed, record="accuracy", record_every=[steps],
        store=command.part(options, NAME, "train"),
    )  # fmt: skip
    fine = np.linspace(min(options.scales), max(options.scales), 241)

    def depth_scale(name, w):
        return theory.mean_field(name, w, options.bias_scale).xi_c

    attributes = {"long_name": "depth scale of correlations xi_c", "units": "layers"}
    with jax.enable_x64(True):
        for label, scales in (("weight_scale", found.weight_scale.values), ("fine_weight_scale", fine)):
            rows = [np.asarray(jax.lax.map(functools.partial(depth_scale, n), jnp.asarray(scales))) for n in names]
            found[f"xi_c_{label}"] = ("activation", label), np.stack(rows), attributes
    return found.assign_coords(fine_weight_scale=fine)


class Separation(NamedTuple):
    """How well a line between depths separates networks that train from others, each with its 95 % interval over seeds.

    Attributes:
        rank: Spearman's correlation, over cells, of the mean accuracy with L / xi_c.
        right: share of cells on the right side of the paper's line: mean accuracy above half way from chance to 1, below it.
        factor: of xi_c, for which the most cells are on the right side.
        best: their share there.
        depth_alone: the same share for the best line L = constant.
    """

    rank: np.ndarray
    right: np.ndarray
    factor: np.ndarray
    best: np.ndarray
    depth_alone: np.ndarray


def separation(accuracy: np.ndarray, depths: np.ndarray, xi_c: np.ndarray, resamples: int = 400) -> Separation:
    """From accuracies (depth, scale, seed); every number is (estimate, low, high), by bootstrap of whole seeds."""
    import numpy as np

    known = np.isfinite(xi_c) & (xi_c > 0)
    ratio = (depths[:, None] / xi_c[known]).ravel()
    depth = np.repeat(depths, known.sum())
    cells = accuracy[:, known].reshape(len(ratio), -1)
    seeds = cells.shape[1]
    draws = np.random.default_rng(0).integers(seeds, size=(resamples, seeds))

    def ranks(values):
        ordered = np.sort(values)
        ranked = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")
        return ranked - ranked.mean()

    def best_line(values, trains):
        ordered = np.unique(values)
        lines = np.concatenate([ordered[:1] / 2, np.sqrt(ordered[:-1] * ordered[1:]), ordered[-1:] * 2])
        shares = ((values < lines[:, None]) == trains).mean(1)
        # Where several lines do equally well, the one in their middle.
        (equal,) = np.nonzero(shares == shares.max())
        return lines[equal[len(equal) // 2]], shares.max()

    a = ranks(ratio)

    def one(mean):
        b, trains = ranks(mean), mean > (1 + CHANCE) / 2
        scale = np.sqrt((a @ a) * (b @ b))
        rank = a @ b / scale if scale > 0 else np.nan
        return rank, np.mean((ratio < FACTOR) == trains), *best_line(ratio, trains), best_line(depth, trains)[1]

    estimate = np.array(one(cells.mean(1)))
    spread = np.array([one(cells[:, chosen].mean(1)) for chosen in draws])
    low, high = np.nanquantile(spread, [0.025, 0.975], axis=0)
    return Separation(*np.stack([estimate, low, high], axis=-1))


def draw(options: Options, dataset):
    """The figure, from the dataset alone."""
    import numpy as np
    from matplotlib import patheffects
    from matplotlib import pyplot as plt

    from jaxsat.results import plotting

    names, ensembles = dataset.activation.values, dataset.ensemble.values
    depths, scales = dataset.depth.values, dataset.weight_scale.values
    accuracy = (
        dataset.accuracy.isel(step=-1).transpose("activation", "ensemble", "depth", "weight_scale", "seed").values
    )
    outlined = [patheffects.withStroke(linewidth=2.6, foreground="k")]
    lines = []
    with plotting.style():
        fig, axes = plt.subplots(
            len(names), 3, figsize=(plotting.PAGE, 2.5 * len(names)), layout="constrained", squeeze=False
        )
        for i, name in enumerate(names):
            xi_c, fine = dataset.xi_c_weight_scale.values[i], dataset.xi_c_fine_weight_scale.values[i]
            for j, ensemble in enumerate(ensembles):
                ax, mean = axes[i, j], accuracy[i, j].mean(-1)
                found = separation(accuracy[i, j], depths, xi_c)
                mesh = ax.pcolormesh(
                    _edges(scales), np.exp(_edges(np.log(depths))), mean, cmap="viridis", vmin=0, vmax=1, rasterized=True
                )  # fmt: skip
                theory = {"color": "w", "path_effects": outlined}
                ax.plot(
                    dataset.fine_weight_scale,
                    FACTOR * fine,
                    **theory,
                    lw=1.4,
                    label=rf"$L = {FACTOR:g}\,\xi_c$ (theory)",
                )
                ax.plot(
                    dataset.fine_weight_scale, found.factor[0] * fine, **theory, lw=1.2, ls=":",
                    label=rf"$L = {found.factor[0]:.2g}\,\xi_c$ (best)",
                )  # fmt: skip
                ax.set(yscale="log", ylim=np.exp(_edges(np.log(depths)))[[0, -1]], xlabel=r"weight scale $\sigma_w$")
                ax.set_xlim(*_edges(scales)[[0, -1]])
                ax.set_yticks(depths, labels=[f"{d}" for d in depths])
                ax.minorticks_off()
                ax.set_title(f"{name}, {ensemble}")
                box = {"facecolor": "0.35", "framealpha": 0.75, "edgecolor": "none", "frameon": True, "labelcolor": "w"}
                ax.legend(loc="lower right", fontsize=5.8, **box)
                _collapse(axes[i, 2], depths[:, None] / xi_c, accuracy[i, j], j, ensemble, options)
                lines.append(f"{name}, {ensemble}: {_told(found)}")
            axes[i, 0].set_ylabel("depth L (layers)")
            fig.colorbar(mesh, ax=axes[i, 1], pad=0.02, aspect=25, label="training accuracy")
            end = axes[i, 2]
            end.axvline(FACTOR, color="0.5", lw=0.8, ls="--")
            end.axhline((1 + CHANCE) / 2, color="0.8", lw=0.6, zorder=0)
            end.set(
                xscale="log", xlabel=r"depth over depth scale, $L / \xi_c$", ylabel="training accuracy", ylim=(0, 1.03)
            )
            end.set_title("all networks")
            end.legend(loc="center left", bbox_to_anchor=(0, 0.42))
        plotting.panel_letters(list(axes.flat))
        steps, stopped = int(dataset.step[-1]), int((dataset.diverged_at.values >= 0).sum())
        footer = (
            f"{accuracy.size} networks of n = {options.width} on digits (8 x 8, {options.seeds} seeds, root {options.root_seed}), "
            rf"$\sigma_b^2$ = {options.bias_scale**2:.2g}, SGD at rate {options.learning_rate:g}, batch {options.batch_size}, after {steps} steps; "
            f"{stopped} diverged. a, b: mean over seeds. c: mean with\n95 % interval; dashed: {FACTOR:g}. "
            f"A cell trains if its mean accuracy is above {(1 + CHANCE) / 2:g}. Over cells, with 95 % bootstrap intervals over seeds: r, rank correlation of accuracy with $L/\\xi_c$;\n"
            f"share of cells on the right side of {FACTOR:g} $\\xi_c$; the best factor and its share; the share of the best line of depth alone.\n"
            + "\n".join(lines)
            + f"\n{dataset.attrs['created'][:10]}, {dataset.attrs['device']}, {dataset.attrs['dtype']}."
        )
        plotting.footnote(fig, footer)
    return fig


def _collapse(ax, ratio, accuracy, which: int, ensemble: str, options: Options) -> None:
    """Accuracy of all cells of one ensemble against depth in units of the depth scale."""
    import numpy as np

    from jaxsat.results import estimates, plotting

    mean, low, high = (np.ravel(part) for part in estimates.mean_interval(accuracy)[:3])
    marks = {
        "color": plotting.COLORS[which],
        "marker": plotting.MARKERS[which],
        "ls": "none",
        "mfc": "none",
        "mew": 0.6,
    }
    errors = (mean - np.clip(low, 0, 1), np.clip(high, 0, 1) - mean)
    ax.errorbar(np.ravel(ratio), mean, errors, **marks, ms=2.8, elinewidth=0.4, label=ensemble)


def _told(found: Separation) -> str:
    def number(part):
        return f"{part[0]:.2f} [{part[1]:.2f}, {part[2]:.2f}]"

    return (
        f"r {number(found.rank)}; right side {number(found.right)}; best factor {number(found.factor)}, "
        f"share {number(found.best)}; depth alone {number(found.depth_alone)}."
    )


def _edges(centres):
    """Borders half way between, for a mesh of unequal cells."""
    import numpy as np

    middle = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])


if __name__ == "__main__":
    command.run(Options, main, __doc__)
