"""What is said of the figure of ``remedies``, from the dataset alone."""

from __future__ import annotations

import numpy as np

from analyses.remedies import Options, judging
from analyses.shared import words
from analyses.shared.captions import Caption, Number
from jaxsat.results import estimates


def caption(options: Options, dataset) -> Caption:
    """Say which remedy is best in its worse case, and which remedies work."""
    order, bar = judging.judged_cases(options, dataset)
    numbers = []
    for case in (case for cases in order for case in cases):
        which = f"{case.remedy}, weights {case.ailment}"
        before = np.where(np.isfinite(case.ratios[0]), case.ratios[0], np.nan)
        spread = np.where(np.isfinite(case.conditions), case.conditions, np.nan)
        for what, interval in (
            ("test accuracy", case.accuracy_interval),
            ("ln of the gradient ratio at the start", estimates.mean_interval(before)),
            ("ln of s_1 / s_10 at the start", estimates.mean_interval(spread)),
        ):
            numbers.append(Number(f"{what}, {which}", *map(float, interval[:3])))
    works = [cases[0].remedy for cases in order if all(case.trains(bar) for case in cases)]
    first, accuracy = order[0][0].remedy, order[0][0].accuracy
    others = [name for name in works if name != first]
    rest = (
        f"; {words.enumerated(others[:3])}{' and more' if len(others) > 3 else ''} {'work' if len(others) > 1 else 'works'}, too"
        if others
        else "; nothing else is sure to work in both cases"
    )
    if first not in works:
        rest = ", though it is not sure to work in both cases"
    stopped = int((dataset.diverged_at.values >= 0).sum())
    return Caption(
        f'What makes {options.depth} layers of {options.ailing} trainable? First try "{first}" (test accuracy {accuracy:.2f}){rest}.',
        [
            f"Test accuracy after training; dashed: {judging.RECOVERED:.0%} of the way from chance to the first row.",
            "Gradient of the first over the last layer, root mean square over examples.",
            "Largest over tenth largest singular value of dx_L/dx_1 at an image, before training.",
        ],
        f"A row for each remedy, sorted by test accuracy in the worse case. Means over seeds with 95 % intervals. Colour and marker: weights too small ({options.scales[0]:g}), too large ({options.scales[1]:g}), or a remedy that sets the scale itself. "
        "Hollow: before training; filled: after it.",
        [
            f"{options.seeds} seeds (root {options.root_seed}), {options.depth} layers of {options.width} units, on digits.",
            f"Batch {options.batch_size}, {int(dataset.step[-1])} steps, each remedy at the best of {dataset.sizes['rate']} learning rates (lowest median training loss on {options.choosing} other seeds).",
            f"{stopped} of {dataset.loss.isel(step=-1).size} networks diverged, over all rates.",
        ],
        numbers,
        "The critical scales, and the scales that keep a mean square of 1, come from mean-field theory. What training does is measured only.",
        "No figure of a paper is regenerated. Remedies are those of Glorot & Bengio (2010), He et al. (2015), Klambauer et al. (2017), Saxe et al. (2013), residual networks, layer normalisation, clipping and Adam.",
    )  # fmt: skip
