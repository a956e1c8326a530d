"""Over which lag does a recurrent cell learn to remember, and does the time scale at its start say it beforehand?

Small recurrent networks learn to copy: a symbol is shown, blanks follow, and after a lag a sign asks for the symbol. A
setting (cell, weight scale, bias of the gate that keeps the state) has learned a lag if more than half of its networks
reach the wanted accuracy on new sequences, at this lag and at all shorter ones. The largest such lag is compared with two time
scales of the networks at their start, in steps per factor e of the squared gradient: that of mean field with untied
weights, and that measured in the networks.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import numpy as np
import optax
import xarray
from scipy import stats

import jaxsat
from analyses.shared import command, layouts, panels, theories
from analyses.shared.captions import Caption, Drawing, Number
from jaxsat import theory
from jaxsat.training import datasets

NAME = "memory_of_cells"
FEWEST_SETTINGS = 6  # for a correlation over them
BEYOND = 1e4  # where time scales without end are drawn


@dataclasses.dataclass(frozen=True)
class Options(command.Output):
    quick: bool = False
    """A smaller study in about a minute: fewer cells, settings, lags, seeds and epochs (their options are ignored)."""
    cells: tuple[Literal["tanh", "minimal", "gru", "lstm"], ...] = ("tanh", "minimal", "gru", "lstm")
    """Cells of recurrent networks."""
    scales: tuple[float, ...] = (0.7, 1.4)
    """Weight scales."""
    gate_biases: tuple[float, ...] = (0.0, 2.0, 4.0)
    """Biases of the gate that keeps the state. The tanh cell has none."""
    lags: tuple[int, ...] = (4, 8, 16, 32, 64)
    """Steps over which the symbol is to be kept."""
    symbols: int = 4
    """Different symbols."""
    width: int = 16
    """Units."""
    seeds: int = 3
    """Networks for each setting and lag."""
    examples: int = 256
    """Sequences to train on, and as many new ones to test on."""
    batch_size: int = 32
    """Sequences of a minibatch."""
    epochs: int = 40
    """Passes over the training sequences."""
    learning_rate: float = 0.01
    """Of Adam."""
    wanted: float = 0.9
    """Accuracy on new sequences at which a lag is learned."""
    root_seed: int = 0
    """Root of all randomness."""


QUICK = {"cells": ("tanh", "lstm"), "scales": (1.0,), "gate_biases": (0.0, 3.0), "lags": (2, 8, 32), "seeds": 2,
         "epochs": 20}  # fmt: skip


def main(options: Options) -> None:
    if options.quick:
        options = dataclasses.replace(options, **QUICK)
    check(options)
    command.produce(options, NAME, measure, {"": Drawing(draw, caption)}, table)


def check(options: Options) -> None:
    """Raise unless the options make sense together. Called before any long work."""
    from jaxsat import checks

    command.check_output(options, NAME)
    if not options.cells:
        raise ValueError(checks.refusal("--cells", "", "have at least one name", checks.Shown("none")))
    command.check_numbers(options, "scales", "learning_rate", above=0)
    command.check_numbers(options, "gate_biases")
    command.check_numbers(options, "lags", least=1)
    command.check_numbers(options, "wanted", least=0, most=1)
    command.check_at_least(options, symbols=2, width=1, seeds=1, examples=1, epochs=1)
    remedy = "A minibatch is at most as large as --examples."
    checks.integer("--batch-size", "", options.batch_size, 1, options.examples, remedy)


# --- measuring -----------------------------------------------------------------------------------------------------------


def measure(options: Options) -> xarray.Dataset:
    """Return the accuracy of every network at the end, and both time scales of every setting at the start."""
    over = {
        "cell": list(options.cells), "weight_scale": sorted(options.scales), "gate_bias": sorted(options.gate_biases),
    }  # fmt: skip
    steps = max(options.lags) + 2
    net = jaxsat.Recurrent(steps=steps, width=options.width, inputs=options.symbols + 2, outputs=options.symbols)
    trained: list[xarray.DataArray] = []
    attrs: dict[Any, Any] = {}
    for lag in sorted(options.lags):
        data, test = (
            (_in_front(x, steps), y[:, 0])
            for x, y in datasets.copying(lag, 1, options.symbols, count=options.examples, test=options.examples)
        )
        count = options.epochs * (options.examples // options.batch_size)
        found = jaxsat.train(
            net, data, test, optimizer=optax.adam(options.learning_rate), epochs=options.epochs,
            batch_size=options.batch_size, over=over, seeds=options.seeds, root_seed=options.root_seed,
            record=["test_accuracy"], record_every=[0, count], store=command.part(options, NAME, f"lag-{lag}"),
        )  # fmt: skip
        trained.append(found.test_accuracy.isel(step=-1, drop=True).drop_vars("epoch", errors="ignore"))
        attrs = found.attrs
    accuracy = xarray.concat(trained, xarray.IndexVariable("lag", sorted(options.lags)))
    dataset = xarray.Dataset({"accuracy": accuracy}, attrs=attrs)
    grid = np.meshgrid(over["weight_scale"], over["gate_bias"], indexing="ij")
    chi = np.stack([_chi(cell, grid) for cell in options.cells])
    told = {"long_name": "factor of the squared gradient per step back, theory with untied weights", "units": "1"}
    dataset["chi"] = ("cell", "weight_scale", "gate_bias"), chi, told
    dataset["growth"] = _growth_at_start(options, net, over)
    return dataset


def _in_front(x: np.ndarray, steps: int) -> np.ndarray:
    """Return sequences with blanks put in front, so that all lags have one length, and one program."""
    blank = x[:, 1:2]  # what follows the symbol
    return np.concatenate([np.repeat(blank, steps - x.shape[1], axis=1), x], axis=1)


def _chi(cell: str, grid: list[np.ndarray]) -> np.ndarray:
    return theories.over(lambda w, bias: theory.recurrent_mean_field(cell, w, 0.0, 1.0, bias).chi, *grid)


def _growth_at_start(options: Options, net: jaxsat.Recurrent, over: dict[str, Any]) -> xarray.DataArray:
    """Return the growth of ln ||dE/dh|| per step back before training, mean over seeds, for inputs as in training."""
    (x, _), _ = datasets.copying(net.steps - 2, 1, options.symbols, count=4, test=1)
    found = jaxsat.sweep(
        net, "log_gradient_norms", over, seeds=max(options.seeds, 8), root_seed=options.root_seed, x=x,
        store=command.part(options, NAME, "start"),
    )  # fmt: skip
    norms = found.log_gradient_norms
    half = norms.sizes["time"] // 2
    rate = (norms.isel(time=1) - norms.isel(time=half)) / (half - 1)
    rate = rate.mean("seed").drop_vars("time", errors="ignore")
    return rate.assign_attrs(long_name="growth of ||dE/dh_t|| at the start", units="nat per step back")


# --- what was learned ------------------------------------------------------------------------------------------------------


def largest_lag(dataset: xarray.Dataset, wanted: float) -> xarray.DataArray:
    """Return the largest lag that a setting learns, with all shorter lags; 0 where it learns none."""
    learned = (dataset.accuracy >= wanted).mean("seed") > 0.5
    unbroken = learned.cumprod("lag").astype(bool)
    return xarray.where(unbroken, dataset.lag, 0).max("lag")


def time_scales(dataset: xarray.Dataset) -> dict[str, xarray.DataArray]:
    """Return both time scales at the start, in steps; inf where gradients do not vanish."""
    with np.errstate(divide="ignore", invalid="ignore"):
        scales = {"theory, untied weights": -1 / np.log(dataset.chi), "measured": -1 / (2 * dataset.growth)}
    return {name: scale.where(scale > 0, np.inf) for name, scale in scales.items()}


def _settings(options: Options, dataset: xarray.Dataset) -> list[dict[str, Any]]:
    """Return every setting as labels; the tanh cell has no gate, and one bias stands for all."""
    return [
        {"cell": cell, "weight_scale": float(scale), "gate_bias": float(bias)}
        for cell in options.cells
        for scale in dataset.weight_scale.values
        for bias in (dataset.gate_bias.values if cell != "tanh" else dataset.gate_bias.values[:1])
    ]


def _rank_correlation(options: Options, dataset: xarray.Dataset, scale: xarray.DataArray) -> float:
    """Return Spearman's correlation of the largest lag with a time scale, over settings; NaN where nothing varies."""
    lags = largest_lag(dataset, options.wanted)
    pairs = [(float(lags.sel(of)), min(float(scale.sel(of)), BEYOND)) for of in _settings(options, dataset)]
    a, b = np.array(pairs).T
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.corrcoef(stats.rankdata(a), stats.rankdata(b))[0, 1])


# --- drawing -----------------------------------------------------------------------------------------------------------------


def draw(options: Options, dataset: xarray.Dataset):
    """Return the figure, from the dataset alone."""
    figure, axes = layouts.panels(options, 3, tall=1.2)
    _draw_accuracy(axes[0], options, dataset)
    for ax, (name, scale) in zip(axes[1:], time_scales(dataset).items(), strict=True):
        _draw_against(ax, options, dataset, name, scale)
    layouts.letters(axes)
    return figure


def finding(options: Options, dataset: xarray.Dataset) -> str:
    """Return what the figure shows, in a sentence made from the data."""
    lags, most = largest_lag(dataset, options.wanted), int(dataset.lag.values[-1])

    def longest(cell: str) -> str:
        lag = int(max(lags.sel(of) for of in _settings(options, dataset) if of["cell"] == cell))
        return f"{cell} at least {lag}" if lag == most else f"{cell} {lag}"

    learned = f"Largest lag that a cell learns, at its best setting: {', '.join(map(longest, options.cells))} steps"
    if len(_settings(options, dataset)) < FEWEST_SETTINGS:
        return f"{learned}."
    ranks = [_rank_correlation(options, dataset, scale) for scale in time_scales(dataset).values()]
    return f"{learned}; rank correlation over settings with the time scale at the start: theory {ranks[0]:.2f}, measured {ranks[1]:.2f}."


def _draw_accuracy(ax, options: Options, dataset: xarray.Dataset) -> None:
    """Accuracy against the lag, mean over seeds, at the weight scale nearest to 1: least and largest gate bias."""
    of = dataset.accuracy.sel(weight_scale=1.0, method="nearest").mean("seed")
    ax.set_title(f"weight scale {float(of.weight_scale):g}")
    for i, cell in enumerate(options.cells):
        for bias, line in ((min(options.gate_biases), "--"), (max(options.gate_biases), "-")):
            if cell == "tanh" and line == "--":
                continue
            ax.plot(
                dataset.lag.values, of.sel(cell=cell, gate_bias=bias).values, line, marker=".", color=panels.color(i)
            )
        ax.plot([], [], color=panels.color(i), label=cell)
    ax.plot([], [], "k--", label=f"gate bias {min(options.gate_biases):g}")
    ax.plot([], [], "k-", label=f"gate bias {max(options.gate_biases):g}")
    ax.axhline(1 / options.symbols, color="0.5", lw=0.6, ls=":")
    ax.set(xscale="log", xlabel="lag, steps", ylabel="accuracy on new sequences", ylim=(0, 1.03))
    ax.set_xticks(dataset.lag.values, labels=[f"{lag:g}" for lag in dataset.lag.values])
    ax.minorticks_off()
    ax.legend(loc="lower left")


def _draw_against(ax, options: Options, dataset: xarray.Dataset, name: str, scale: xarray.DataArray) -> None:
    """The largest lag learned against a time scale at the start, a mark for each setting."""
    lags = largest_lag(dataset, options.wanted)
    least = dataset.lag.values[0]
    for i, cell in enumerate(options.cells):
        settings = [of for of in _settings(options, dataset) if of["cell"] == cell]
        x = [min(float(scale.sel(of)), BEYOND) for of in settings]
        # marks that would lie on each other are moved apart by less than half of the step between two lags
        y = [max(float(lags.sel(of)), least / 2) * 2 ** (0.12 * (i - 1.5)) for of in settings]
        ax.plot(x, y, **panels.marks(i, ms=4), label=cell)
    ends = np.array([0.3, 300.0])
    ax.plot(ends, 6 * ends, "k:", lw=0.7, label="6 time scales")
    ax.set(
        xscale="log",
        yscale="log",
        title=name.split(",")[0],
        xlabel="steps per factor e",
        ylim=(least / 3, dataset.lag.values[-1] * 2),
    )
    ax.set_yticks([least / 2, *dataset.lag.values], labels=["none", *(f"{lag:g}" for lag in dataset.lag.values)])
    ax.minorticks_off()
    ax.set_ylabel("largest lag learned, steps")
    ax.legend(loc="lower right")


def caption(options: Options, dataset: xarray.Dataset) -> Caption:
    """Return what is said of the figure."""
    lags, numbers = largest_lag(dataset, options.wanted), []
    for of in _settings(options, dataset):
        which = f"{of['cell']}, weight scale {of['weight_scale']:g}, gate bias {of['gate_bias']:g}"
        numbers.append(Number(f"largest lag learned (steps), {which}", float(lags.sel(of))))
    return Caption(
        finding(options, dataset),
        [
            f"Accuracy against the lag at the weight scale nearest to 1, least and largest gate bias; mean over seeds; dots: chance, 1/{options.symbols}.",
            "Largest lag learned against the time scale at the start in theory, a mark for each weight scale and gate bias.",
            "The same against the time scale measured.",
        ],
        f"Colour: cell. Dots in b, c: 6 time scales. Learned: accuracy {options.wanted:g} in more than half of the seeds, at all shorter lags too. Time scales without end: at {BEYOND:g}.",
        [
            f"{int(dataset.accuracy.size)} runs: {options.seeds} seeds (root {options.root_seed}), {options.width} units.",
            f"{options.symbols} symbols, Adam at {options.learning_rate:g}, {options.epochs} epochs of {options.examples} sequences.",
        ],
        numbers,
        "Mean field with untied weights: a squared gradient shrinks by a factor e in -1 / ln(chi) steps.",
        "Tallec & Ollivier (2018) give the bias ln(T - 1) for a lag T; Gilboa et al. (2019) compare trained lags with mean-field time scales. Here cells are small and learn to copy one symbol.",
    )  # fmt: skip


def table(options: Options, dataset: xarray.Dataset) -> list[dict[str, Any]]:
    """The largest lag at which more than half of the seeds reach the wanted accuracy, at all shorter lags too; 0: none. Time
    scales are those of the squared gradient at the start, in steps per factor e; inf where it does not vanish.
    """
    lags, scales = largest_lag(dataset, options.wanted), time_scales(dataset)
    return [
        of
        | {"largest lag": int(lags.sel(of))}
        | {f"time scale, {name}": float(scale.sel(of)) for name, scale in scales.items()}
        for of in _settings(options, dataset)
    ]


if __name__ == "__main__":
    command.run(Options, main, __doc__)
