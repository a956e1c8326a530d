"""Which depths and weight scales can be trained, and does the depth scale of mean-field theory predict them?

Schoenholz et al. (2017, figure 5) train networks for a fixed number of steps at every depth L and weight scale sigma_w.
They state that training works where information passes, L < 6 xi_c. Their networks have width 300 and up to 300 layers,
and learn MNIST. Here the data are the 8 x 8 digits, and the networks are narrower and shallower. Their gradients also
fluctuate with L / n, which the theory of infinite width does not cover. How well the line separates is computed, beside
what depth alone would say.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
import optax
import xarray
from matplotlib import patheffects
from matplotlib.ticker import MaxNLocator

import jaxsat
from analyses.shared import command, layouts, panels, theories, words
from analyses.shared.captions import Caption, Drawing, Number
from jaxsat import activations, checks, theory
from jaxsat.results import estimates
from jaxsat.training import datasets

NAME = "trainability"
FACTOR = 6.0  # depth scales down to which networks train, says the paper
CHANCE = 0.1
TRAINS = (1 + CHANCE) / 2  # accuracy above which a network counts as trained


@dataclasses.dataclass(frozen=True)
class Options(command.Output):
    quick: bool = False
    """A smaller study in half a minute: fewer depths, scales and seeds (their options are ignored)."""
    activations: tuple[str, ...] = ("tanh",)
    """Names from jaxsat.activations.names(); a figure each."""
    depths: tuple[int, ...] = (4, 8, 16, 24, 32, 64, 96)
    """Layers."""
    scales: tuple[float, ...] = (0.7, 0.85, 1.0, 1.1, 1.2, 1.33, 1.5, 1.7, 2.0, 2.35, 2.7, 3.0)
    """Weight scales sigma_w."""
    bias_scale: float = 0.05**0.5
    """Bias scale sigma_b; its square is 0.05 in the paper."""
    seeds: int = 6
    """Networks for each depth, scale and ensemble."""
    width: int = 64
    """Units per layer."""
    epochs: int = 10
    """Passes over the training data."""
    batch_size: int = 64
    """Examples of a minibatch."""
    learning_rate: float = 0.01
    """Learning rate of plain stochastic gradient descent, the same for all."""
    root_seed: int = 0
    """Root of all randomness."""


QUICK = {"depths": (8, 24, 48), "scales": (0.7, 1.0, 1.33, 1.7, 2.35, 3.0), "seeds": 3}


def main(options: Options) -> None:
    if options.quick:
        options = dataclasses.replace(options, **QUICK)
    command.check_output(options, NAME)
    command.check_named(options.activations)
    command.check_numbers(options, "depths", least=1)
    command.check_numbers(options, "scales", "learning_rate", above=0)
    for name in ("depths", "scales"):
        values = getattr(options, name)
        if len(set(values)) < max(2, len(values)):
            raise ValueError(checks.refusal(command.flag(name), "", "be at least 2 different numbers", values))
    command.check_at_least(options, "An interval needs two networks.", seeds=2)
    command.produce(options, NAME, measure, drawings)


def measure(options: Options) -> xarray.Dataset:
    """Return the training accuracy of every network after the last step, and the depth scale at its weight scale."""
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
    dataset = jaxsat.train(
        net, train, optimizer=optax.sgd(options.learning_rate), epochs=options.epochs, batch_size=options.batch_size,
        over=over, seeds=options.seeds, root_seed=options.root_seed, record="accuracy", record_every=[steps],
        store=command.part(options, NAME, "train"),
    )  # fmt: skip
    scales = dataset.weight_scale.values
    fine = np.linspace(min(options.scales), max(options.scales), 241)
    found = np.stack([_depth_scales(options, name, np.concatenate([scales, fine])) for name in names])
    told = {"long_name": "depth scale of correlations xi_c", "units": "layers"}
    dataset["xi_c_weight_scale"] = ("activation", "weight_scale"), found[:, : len(scales)], told
    dataset["xi_c_fine_weight_scale"] = ("activation", "fine_weight_scale"), found[:, len(scales) :], told
    return dataset.assign_coords(fine_weight_scale=fine)


def _depth_scales(options: Options, name: str, scales: np.ndarray) -> np.ndarray:
    return theories.over(lambda w: theory.mean_field(name, w, options.bias_scale).xi_c, scales)


class Separation(NamedTuple):
    """How well a line between depths separates networks that train from others, each with its 95 % interval over seeds.

    A network trains where its accuracy is above half way from chance to 1. Each number is computed for the networks of
    a seed, over all depths and weight scales; then its mean over seeds is taken.

    Attributes:
        rank: Spearman's correlation of the accuracy with L / xi_c.
        right: share of networks on the right side of the paper's line.
        factor: the multiple of xi_c that puts most networks on the right side.
        best: the share that it puts there.
        depth_alone: the same share for the best line L = constant.
        ahead: the share on the right side of the paper's line, less that for the best line L = constant.
    """

    rank: np.ndarray
    right: np.ndarray
    factor: np.ndarray
    best: np.ndarray
    depth_alone: np.ndarray
    ahead: np.ndarray


def separation(accuracy: np.ndarray, depths: np.ndarray, xi_c: np.ndarray) -> Separation:
    """Return how well xi_c separates accuracies (depth, scale, seed); each number is (estimate, low, high)."""
    known = np.isfinite(xi_c) & (xi_c > 0)
    ratio = (depths[:, None] / xi_c[known]).ravel()
    depth = np.repeat(depths, known.sum())
    cells = accuracy[:, known].reshape(len(ratio), -1)
    a = _ranks(ratio)

    def of_seed(accuracies):
        b, trains = _ranks(accuracies), accuracies > TRAINS
        scale = np.sqrt((a @ a) * (b @ b))
        rank = a @ b / scale if scale > 0 else np.nan
        right, alone = np.mean((ratio < FACTOR) == trains), _best_line(depth, trains)[1]
        return rank, right, *_best_line(ratio, trains), alone, right - alone

    found = estimates.mean_interval(np.array([of_seed(accuracies) for accuracies in cells.T]), axis=0)
    least, most = np.array([-1, 0, 0, 0, 0, -1]), np.array([1, 1, np.inf, 1, 1, 1])
    ends = (np.clip(end, least, most) for end in (found.low, found.high))
    return Separation(*np.stack([found.estimate, *ends], axis=-1))


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return ranks, ties sharing theirs, less their mean (and doubled: only correlations are taken of them)."""
    ordered = np.sort(values)
    ranked = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")
    return ranked - ranked.mean()


def _best_line(values: np.ndarray, trains: np.ndarray) -> tuple[float, float]:
    """Return the value that separates best what trains, below it, from the others; and the share it puts right."""
    ordered = np.unique(values)
    lines = np.concatenate([ordered[:1] / 2, np.sqrt(ordered[:-1] * ordered[1:]), ordered[-1:] * 2])
    shares = ((values < lines[:, None]) == trains).mean(1)
    # Where several lines do equally well, the line in their middle.
    (equal,) = np.nonzero(shares == shares.max())
    return float(lines[equal[len(equal) // 2]]), float(shares.max())


def draw(options: Options, dataset: xarray.Dataset, name: str):
    """Return the figure of one activation: cells for either ensemble, and all cells against L / xi_c."""
    of, depths = dataset.sel(activation=name), dataset.depth.values
    figure, axes = layouts.panels(options, 3)
    # The first panel is the widest in a column: there all cells are.
    end, *cells = axes if layouts.narrow(options) else [axes[2], *axes[:2]]
    mesh, accuracy = None, _accuracy(of)
    for j, (ax, ensemble) in enumerate(zip(cells, dataset.ensemble.values, strict=True)):
        found = separation(accuracy[j], depths, of.xi_c_weight_scale.values)
        mesh = _draw_cells(ax, of, accuracy[j].mean(-1), found)
        ax.set(title=str(ensemble), ylabel="depth $L$ (layers)")
        _draw_accuracy(end, depths[:, None] / of.xi_c_weight_scale.values, accuracy[j], j, str(ensemble))
    assert mesh is not None
    figure.colorbar(mesh, ax=cells[1], pad=0.02, aspect=25, label="training accuracy")
    end.axvline(FACTOR, color="0.5", lw=0.8, ls="--")
    end.axhline(TRAINS, color="0.8", lw=0.6, zorder=0)
    end.set(xscale="log", xlabel=r"depth over depth scale, $L / \xi_c$", ylabel="training accuracy", ylim=(0, 1.03))
    end.legend(loc="lower left")
    layouts.letters(axes)
    return figure


def _accuracy(of) -> np.ndarray:
    """Return the accuracy at the end (ensemble, depth, weight scale, seed)."""
    return of.accuracy.isel(step=-1).transpose("ensemble", "depth", "weight_scale", "seed").values


def _draw_cells(ax, of, mean: np.ndarray, found: Separation):
    """Mean accuracy over depths and weight scales, with the paper's line and the best line."""
    depths, scales = of.depth.values, of.weight_scale.values
    rows = np.exp(_edges(np.log(depths)))
    mesh = ax.pcolormesh(_edges(scales), rows, mean, cmap="viridis", vmin=0, vmax=1, rasterized=True)
    theory_line = {"color": "w", "path_effects": [patheffects.withStroke(linewidth=2.6, foreground="k")]}
    fine, best = of.xi_c_fine_weight_scale.values, found.factor[0]
    label = rf"${FACTOR:g}\,\xi_c$ (theory)"
    ax.plot(of.fine_weight_scale, FACTOR * fine, **theory_line, lw=1.4, label=label)
    label = rf"${best:.2g}\,\xi_c$ (best)"
    ax.plot(of.fine_weight_scale, best * fine, **theory_line, lw=1.2, ls=":", label=label)
    ax.set(yscale="log", ylim=rows[[0, -1]], xlabel=r"weight scale $\sigma_w$")
    ax.set_xlim(*_edges(scales)[[0, -1]])
    ax.set_yticks(depths, labels=[f"{d}" for d in depths])
    ax.minorticks_off()
    ax.xaxis.set_major_locator(MaxNLocator(4))
    box = {"facecolor": "0.35", "framealpha": 0.75, "edgecolor": "none", "frameon": True, "labelcolor": "w"}
    ax.legend(loc="lower right", **box)
    return mesh


def _draw_accuracy(ax, ratio, accuracy, which: int, ensemble: str) -> None:
    """Accuracy of all cells of one ensemble against depth in units of the depth scale."""
    examples = len(datasets.digits().train[0])
    mean, low, high = (np.ravel(part) for part in estimates.mean_share_interval(accuracy, examples)[:3])
    marks = panels.marks(which, mew=0.6, ms=2.8, elinewidth=0.4)
    errors = panels.bars(mean, low, high)
    ax.errorbar(np.ravel(ratio), mean, errors, **marks, label=ensemble)


def _edges(centres):
    """Return borders half way between, for a mesh of unequal cells."""
    middle = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])


def caption(options: Options, dataset: xarray.Dataset, name: str) -> Caption:
    """Say how well the depth scale separates what trains from what does not, beside depth alone."""
    of, numbers, found = dataset.sel(activation=name), [], {}
    accuracy = _accuracy(of)
    told = {
        "rank": "rank correlation of accuracy with L / xi_c", "right": f"share on the right side of L = {FACTOR:g} xi_c",
        "factor": "factor of the best line L = factor xi_c", "best": "share on the right side of that line",
        "depth_alone": "share on the right side of the best line L = constant",
        "ahead": f"share on the right side of L = {FACTOR:g} xi_c, less that of the best line L = constant",
    }  # fmt: skip
    for j, ensemble in enumerate(dataset.ensemble.values):
        one = found[str(ensemble)] = separation(accuracy[j], dataset.depth.values, of.xi_c_weight_scale.values)
        numbers += [Number(f"{text}, {ensemble}", *map(float, getattr(one, field))) for field, text in told.items()]
    stopped = int((dataset.diverged_at.values >= 0).sum())
    right, alone = (np.mean([getattr(one, field)[0] for one in found.values()]) for field in ("right", "depth_alone"))
    versus = f"{100 * right:.0f} % of {name} networks right, the best line of depth alone {100 * alone:.0f} %"
    order = [
        "All cells against depth over depth scale; dashed: 6.",
        *(
            f"Training accuracy over depth and weight scale, {e} weights, with the line of the paper and the best line."
            for e in dataset.ensemble.values
        ),
    ]
    return Caption(
        f"The line L = {FACTOR:g} depth scales predicts which networks train {_verdict(found)}: it puts {versus}.",
        order if layouts.narrow(options) else [*order[1:], order[0]],
        f"Accuracy after {int(dataset.step[-1])} steps, mean over seeds, with 95 % intervals where there are bars. A network trains if its accuracy is above {TRAINS:g}.",
        [
            f"{accuracy[0].size * len(accuracy)} networks of width {options.width}, {options.seeds} seeds (root {options.root_seed}), on digits.",
            f"Gradient descent at rate {options.learning_rate:g}, batch {options.batch_size}; squared bias scale {options.bias_scale**2:.2g}; {stopped} diverged.",
        ],
        numbers,
        "Mean field: information passes over some depth scales xi_c of the correlations. Each number is computed for the networks of a seed, over all depths and scales; then its mean over seeds is taken. The best line of depth alone is chosen on the same networks, which favours it.",
        "Schoenholz et al. (2017), figure 5: width 300, up to 300 layers, MNIST. Here the data are 8 x 8 digits, and networks are narrower and shallower, so that gradients also fluctuate with L / n, which the theory does not cover.",
    )  # fmt: skip


def _verdict(found: dict[str, Separation]) -> str:
    """Return in words whether the paper's line is ahead of depth alone, for the weights of each ensemble."""
    judged = {
        ensemble: "better" if of.ahead[1] > 0 else "worse" if of.ahead[2] < 0 else "about as well"
        for ensemble, of in found.items()
    }
    than = {
        "better": "better than depth alone",
        "worse": "worse than depth alone",
        "about as well": "about as well as depth alone",
    }
    if len(set(judged.values())) == 1:
        return than[next(iter(judged.values()))]
    return words.enumerated([f"{than[word]} ({ensemble} weights)" for ensemble, word in judged.items()])


def drawings(options: Options) -> dict[str, Drawing]:
    """Return a figure for each activation."""
    return Drawing.of_each(options.activations, draw, caption)


if __name__ == "__main__":
    command.run(Options, main, __doc__)
