"""What is said of the figures of ``saturation_during_training``: findings, captions and numbers, from the dataset alone."""

from __future__ import annotations

import numpy as np

from analyses.saturation_during_training import PROBE, TEST_SHAPES, Options, fates
from analyses.saturation_during_training.figure import KINDS, shown_fates
from analyses.shared import words
from analyses.shared.captions import Caption, Number
from jaxsat.results import estimates
from jaxsat.training import datasets

PAPER = (
    "Glorot & Bengio (2010), figures {figures}. Their networks have 1000 units and see an endless stream of Shapeset-3x2. Here networks are small; "
    "the sigmoid networks learn {sigmoid}, the others learn {others}. So epochs and accuracies cannot be compared with theirs, the order of "
    "events and the ratios at the start can. {paper}"
)
COLOURS = "Colour: layer, counted from the input."


def _paper(options: Options, figures: str, paper: str = "") -> str:
    return PAPER.format(figures=figures, sigmoid=options.sigmoid_data, others=options.data, paper=paper).strip()


def _setting(options: Options, sigmoid: bool) -> list[str]:
    data, rate = (options.sigmoid_data, options.sigmoid_rate) if sigmoid else (options.data, options.rate)
    return [
        f"{options.seeds} seeds (root {options.root_seed}), {options.width} units per layer, on {data}.",
        f"Standard: uniform weights, weight scale 1/sqrt(3); normalised: 1. Gradient descent, rate {rate:g}, batch {options.batch_size}.",
        "No biases at the start.",
    ]


def of_sigmoid(options: Options, dataset) -> Caption:
    """Say whether the top layer saturates, and recovers."""
    numbers, told = [], []
    for depth in options.shown:
        for kind in KINDS:
            of = dataset.sel(initialisation=kind)
            at_limit, left = dict(zip(of.depth.values.tolist(), fates.epochs_of_recovery(of), strict=True))[depth]
            saturated, recovered = int(np.isfinite(at_limit).sum()), int(np.isfinite(left).sum())
            lowest = of.sigmoid_activation_mean.sel(depth=depth, sigmoid_layer=depth).min("sigmoid_step").values
            interval = estimates.mean_interval(lowest)
            which = f"{depth} layers, {kind}"
            numbers += [
                Number(f"lowest mean activation of the top layer, {which}", *(float(p) for p in interval[:3])),
                Number(f"networks whose top layer saturates, {which}", saturated),
                Number(f"networks whose top layer recovers after that, {which}", recovered),
            ]
            if recovered:
                when = float(np.median(left[np.isfinite(left)]))
                numbers.append(Number(f"epoch of recovery, median of the networks that recover, {which}", when))
            if kind == KINDS[0]:
                told.append(f"{saturated} of {options.seeds} networks of {depth} layers ({recovered} recover)")
    return Caption(
        f"Within {options.sigmoid_epochs} epochs the top sigmoid layer saturates in {words.enumerated(told)}.",
        [f"{depth} layers, {kind}." for depth, kind in shown_fates(options)]
        + ["Epoch at which the top layer recovers, a mark for each network, a line through medians; above the dots: not yet."],
        f"Mean activation over units and {PROBE} training examples, with its standard deviation, of the first network. {COLOURS} Thin: the top "
        "layer of the other networks. Saturated: the standard deviation of the top layer has fallen below half of its start, and the slope at its mean is at most a quarter of the largest. Recovered: after that the standard deviation is above its start.",
        _setting(options, True),
        numbers,
        "No theory of training is compared.",
        _paper(options, "2", "There the network of 5 layers never recovers and that of 4 layers does at about epoch 100."),
    )  # fmt: skip


def of_training(options: Options, dataset) -> Caption:
    """Say in which order layers bend over."""
    names = [str(name) for name in dataset.activation.values]
    numbers = []
    for name in names:
        for kind in KINDS:
            last = dataset.sel(activation=name, initialisation=kind).isel(step=-1)
            for layer in dataset.layer.values:
                found = estimates.mean_interval(last.highest.sel(layer=layer).values)
                numbers.append(
                    Number(f"98th percentile at the end, {name}, {kind}, layer {layer}", *map(float, found[:3]))
                )
    orders = [fates.order(dataset, name, KINDS[0]) for name in names]
    return Caption(
        f"In training layers saturate in the order {'; '.join(orders)}.",
        [f"{name}, {kind}." for name in names for kind in KINDS],
        f"Activations over units and {PROBE} training examples against epochs. {COLOURS} Solid: standard deviation; dashed: 98th percentile. Bands: 95 % "
        "intervals of the mean over seeds. A layer is counted as saturated where the slope at its 98th percentile is a quarter of the largest.",
        _setting(options, False),
        numbers,
        "No theory of training is compared.",
        _paper(options, "3", "There layer 1 saturates first, then layer 2, and so on."),
    )


def of_end(options: Options, dataset) -> Caption:
    """Say how much of the activations lies at the limits at the end of training."""
    names, numbers, told = [str(name) for name in dataset.activation.values], [], []
    for name in names:
        for kind in KINDS:
            shares = dataset.activation_histogram.sel(activation=name, initialisation=kind).isel(step=-1)
            outer = shares.where(abs(dataset.place - 0.5) > 0.45, 0).sum("place").mean("layer").values
            found = estimates.mean_share_interval(outer, options.width)
            numbers.append(
                Number(f"share in the outer tenth of the range at the end, {name}, {kind}", *map(float, found[:3]))
            )
            if kind == KINDS[0]:
                told.append(f"{100 * float(found.estimate):.0f} % of the activations of {name}")
    right = dataset.test_accuracy.isel(step=-1)
    tested = datasets.TEST_DIGITS if options.data == "digits" else TEST_SHAPES
    for name in names:
        for kind in KINDS:
            accuracies = right.sel(activation=name, initialisation=kind).values
            found = estimates.mean_share_interval(accuracies, tested)
            numbers.append(Number(f"test accuracy at the end, {name}, {kind}", *map(float, found[:3])))
    return Caption(
        f"At the end of training {words.enumerated(told)} lie in the outer tenth of the range (standard initialisation).",
        [f"{name}, {kind}." for name in names for kind in KINDS],
        f"Density of the activations of each layer over units and {PROBE} training examples. {COLOURS} Bands: 95 % intervals over seeds.",
        _setting(options, False),
        numbers,
        "No theory of training is compared.",
        _paper(options, "4", "There tanh has modes at its limits and around 0, softsign around +-0.6 to 0.8."),
    )


def of_start(options: Options, dataset) -> Caption:
    """Say by how much gradients shrink from the last layer to the first before training."""
    name, numbers, told = str(dataset.activation.values[0]), [], []
    for kind in KINDS:
        of = dataset.sel(activation=name, initialisation=kind)
        for variable, what in (("signal", "dE/dh"), ("weight_gradient", "dE/dW")):
            values = of[variable].isel(step=0).transpose("layer", "seed").values
            found = estimates.mean_interval(values[0] / values[-1])
            expected = float(of[f"theory_{variable}"][0])
            numbers.append(Number(f"{what}, first over last layer, {kind}", *map(float, found[:3]), expected))
        told.append(f"{numbers[-2].estimate:.2g} ({kind})")
    return Caption(
        f"Before training the gradient of layer 1 of {name} networks is that of the last layer times {words.enumerated(told)}.",
        [
            *(f"Density of activations, {kind}." for kind in KINDS),
            *(f"Density of the entries of dE/dh_l of single examples, {kind}." for kind in KINDS),
            f"Density of the entries of dE/dW of single examples, {KINDS[0]}.",
            "Root mean square of dE/dh_l (filled) and of dE/dW (hollow), over that of the last layer.",
        ],
        f"{name} networks before training. {COLOURS} Bands: 95 % intervals over seeds. Dots (a, b) and lines (f): mean field, infinite width, all inputs of the same length.",
        [*_setting(options, False), f"Histograms of gradients: {options.start_seeds} seeds."],
        numbers,
        "Mean field at infinite width, from the mean square of the examples: lengths of all layers, and ratios of gradients.",
        _paper(options, "6, 7 and 8", "There, too, standard initialisation shrinks dE/dh from layer to layer and leaves dE/dW nearly equal."),
    )  # fmt: skip


def of_weight_gradients(options: Options, dataset) -> Caption:
    """Say how unequal the weight gradients of the layers are in training."""
    name, numbers, told = str(dataset.activation.values[0]), [], []
    for kind in KINDS:
        found = estimates.mean_interval(fates.spreads_in_training(dataset, name, kind))
        numbers.append(Number(f"largest over smallest dE/dW of a layer in training, {kind}", *map(float, found[:3])))
        told.append(f"{float(found.estimate):.2g} ({kind})")
    return Caption(
        f"In training the weight gradients of the layers of {name} networks differ by a factor {words.enumerated(told)}.",
        [f"{kind[0].upper()}{kind[1:]} initialisation." for kind in KINDS],
        f"Root mean square entry of dE/dW of single examples against epochs, {name}. {COLOURS} Geometric means over seeds, with 95 % intervals.",
        _setting(options, False),
        numbers,
        "No theory of training is compared.",
        _paper(options, "9", "There the gradients of standard initialisation move apart, and those of normalised initialisation stay together."),
    )  # fmt: skip
