"""What is said of the figures of ``dying_relu``, from the dataset alone."""

from __future__ import annotations

import numpy as np

from analyses.dying_relu import Options
from analyses.dying_relu.figure import KINDS, labels_of, mean_of, networks_lost
from analyses.dying_relu.measuring import shares_of_clipped, shares_of_units
from analyses.shared import words
from analyses.shared.captions import Caption, Number
from jaxsat.results import estimates

PAPER = "No figure of a paper is regenerated. Lu et al. (2020) count networks that are born dead (see `analyses.born_dead`); here units die in training."
MARKS = "Means over seeds with 95 % intervals. Hollow, dashed: some networks diverged; cross: all did. Dead or off: pre-activation at most 0 for every training input."
THEORY = "Under plain gradient descent a dead unit of the first layer gets no gradient and its input does not change, so it never comes back. A deeper unit can be revived by the layers below it."


def _setting(options: Options, dataset) -> list[str]:
    networks = dataset.diverged_at.size + dataset.clipped_diverged_at.size
    gone = int((dataset.diverged_at >= 0).sum()) + int((dataset.clipped_diverged_at >= 0).sum())
    return [
        f"{options.seeds} seeds (root {options.root_seed}), {options.depth} layers of {options.width} units, on digits.",
        f"Weight scale {options.weight_scale:.4g}, gradient descent, batch {options.batch_size}, {options.epochs} epochs; clipped: gradients of norm at most {options.clip:g}.",
        f"{networks} networks, of which {gone} diverged: they are counted as lost only.",
    ]  # fmt: skip


def _rows(what: str, values) -> list[Number]:
    """Return a number for each learning rate; `values` are a share (learning_rate, seed)."""
    return _by_rate(what, mean_of(values), values.learning_rate.values)


def _by_rate(what: str, found: estimates.Interval, rates) -> list[Number]:
    return [Number(f"{what}, rate {rate:g}", *(float(p[i]) for p in found[:3])) for i, rate in enumerate(rates)]


def of_rates(options: Options, dataset) -> Caption:
    """Say how the share of dead units changes with the learning rate."""
    close, clipped = shares_of_units(dataset).isel(activation=0), shares_of_clipped(dataset)
    first, numbers = options.activations[0], []
    for i, bias in enumerate(close.bias_scale.values):
        numbers += _rows(f"share of {first} units dead at the end, bias scale {bias:g}", close.end.isel(bias_scale=i))
        numbers += _rows(f"test accuracy, bias scale {bias:g}", close.accuracy.isel(bias_scale=i))
        lost = networks_lost(close.isel(bias_scale=i), "blocked")
        what = f"share of networks with a layer all dead, of those that did not diverge, bias scale {bias:g}"
        numbers += _by_rate(what, lost, close.learning_rate.values)
    numbers += _rows(f"share of {first} units dead at the end, clipped", clipped.end)
    plain = close.isel(bias_scale=0)
    sound = plain.isel(learning_rate=~plain.diverged.any("seed").values)
    lost = int(plain.diverged.any("seed").sum())
    rates = plain.sizes["learning_rate"]
    return Caption(
        f"{_effect(sound, first)} At {lost} of {rates} rates some network diverges.",
        [
            "Share of dead units at the end against the learning rate; dots: born dead.",
            "Share of networks with a layer all dead (solid) of those that did not diverge, and share of networks that diverged (dashed), with Wilson intervals.",
            "Share of dead units against updates, at the smallest bias scale.",
            "Test accuracy against the share of dead units, a mark for each network.",
        ],
        f"Colour and marker: bias scale; in c colour is the learning rate. {MARKS}",
        _setting(options, dataset),
        [number for number in numbers if np.isfinite(number.estimate)],
        THEORY,
        PAPER,
    )


def _effect(sound, name: str) -> str:
    """Return in words how the share of dead units changes from the smallest rate to the largest."""
    if sound.sizes["learning_rate"] < 2:
        return f"Too few learning rates without divergence: how {name} units die with the rate is unknown."
    ends = sound.isel(learning_rate=[0, -1])
    change = 100 * ends.end.diff("learning_rate").values.ravel()
    found = estimates.mean_interval(change)
    low, high = ends.learning_rate.values
    if not (found.low > 0 or found.high < 0):
        return f"It is not clear whether {name} units die more often at rate {high:g} than at {low:g}, among rates without divergence ({float(found.estimate):+.1f} percentage points)."
    verb = "More" if found.low > 0 else "Fewer"
    return f"{verb} {name} units die at larger learning rates: {float(found.estimate):+.1f} percentage points from rate {low:g} to {high:g}, among rates without divergence."


def of_layers(options: Options, dataset) -> Caption:
    """Say how many dead units came back."""
    found = shares_of_units(dataset)
    close, first = found.isel(activation=0), options.activations[0]
    once, back = (close[n].sum([d for d in close[n].dims if d != "layer"]).values for n in ("once_off", "came_back"))
    shown, numbers = found.isel(bias_scale=-1).sel(learning_rate=options.shown_rate), []
    for layer in close.layer.values:
        of = shown.sel(layer=layer)
        for kind, text in KINDS.items():
            ends = mean_of(of[kind].isel(activation=0))[:3]
            numbers.append(Number(f"share of {first} units {text}, layer {layer}", *map(float, ends)))
        for i, label in enumerate(labels_of(options)):
            ends = mean_of(of.back.isel(activation=i))[:3]
            numbers.append(Number(f"share that came back, {label}, layer {layer}", *map(float, ends)))
    deeper = f", and {back[1:].sum()} of {once[1:].sum()} of deeper layers" if len(once) > 1 else ""
    return Caption(
        f"{back[0]} of {once[0]} {first} units of the first layer that were ever dead came back{deeper}.",
        [
            "Share of units born dead, still dead at the end, and died in training, by layer.",
            "Share of the units that were ever off which were on at a later recorded step, by layer.",
        ],
        f"Bias scale {dataset.bias_scale.values[-1]:g}, rate {options.shown_rate:g}; the title counts all rates and biases. {MARKS}",
        _setting(options, dataset),
        [number for number in numbers if np.isfinite(number.estimate)],
        THEORY,
        PAPER,
    )


def of_leaks(options: Options, dataset) -> Caption:
    """Say whether a leak helps accuracy at the largest rate at which all activations train."""
    plain, labels, numbers = shares_of_units(dataset).isel(bias_scale=0), labels_of(options), []
    for i, label in enumerate(labels):
        numbers += _rows(f"share of units off at the end, {label}", plain.end.isel(activation=i))
        numbers += _rows(f"test accuracy, {label}", plain.accuracy.isel(activation=i))
    accuracy = plain.accuracy.mean("seed").transpose("activation", "learning_rate").values
    known = np.flatnonzero(np.isfinite(accuracy).all(0))
    finding = "No learning rate trains all activations"
    if known.size:
        at = int(known[-1])
        rate = plain.learning_rate.values[at]
        told = [f"{accuracy[i, at]:.2f} ({label})" for i, label in enumerate(labels)]
        finding = f"At rate {rate:g} the test accuracy is {words.enumerated(told)}"
    return Caption(
        f"{finding}.",
        ["Share of units off for every training input at the end.", "Test accuracy at the end."],
        f"Against the learning rate, at the smallest bias scale. {MARKS}",
        _setting(options, dataset),
        [number for number in numbers if np.isfinite(number.estimate)],
        "A unit that is off still passes a share of the gradient if it leaks.",
        PAPER,
    )
