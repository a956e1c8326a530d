"""What is said of the figures of ``activations_saturate``, from the dataset alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analyses.activations_saturate import SPURIOUS, Options
from analyses.activations_saturate.figure import label, soft_sides
from analyses.shared import words
from analyses.shared.captions import Caption, Number

PAPER = (
    "No figure of a paper is regenerated. Left and right, hard and soft saturation are those of Gulcehre et al. (2016); the level of 5 % of the "
    "largest slope is ours."
)
NOTHING = ["Nothing here is random: functions in float64."]


def of_points(options: Options, dataset) -> Caption:
    """Say from which x on each dtype loses the slope of the first softly saturating activation."""
    rows, symmetric = soft_sides(dataset)
    numbers = [
        Number(f"|x| {what}, {label(name, side, symmetric)}, {dtype}", float(dataset[field].sel(activation=name, side=side, dtype=dtype)))
        for name, side in rows
        for dtype in dataset["dtype"].values
        for field, what in (("subnormal", "from which the slope is subnormal"), ("zero", "from which the slope is 0"), ("rounds_to_limit", "from which the value is its limit"))
    ]  # fmt: skip
    finding = "None of these activations saturates softly"
    if rows:
        name, side = rows[0]
        zero = dataset.zero.sel(activation=name, side=side)
        told = [f"{float(zero.sel(dtype=dtype)):.3g} in {dtype}" for dtype in ("float64", "float32", "float16")]
        finding = f"The slope of {name} rounds to 0 from |x| = {words.enumerated(told)}"
    return Caption(
        f"{finding}.",
        [
            "Points at which a dtype loses the true slope, going out from 0, for each side on which an activation saturates softly."
        ],
        "Colour: dtype. Open: the slope becomes subnormal. Filled: it rounds to 0. Bar: the value rounds to its limit. Arrow: beyond the axis.",
        [*NOTHING, "Points that are beyond the axis are in the table beside the figure."],
        [number for number in numbers if np.isfinite(number.estimate)],
        f"The points are those of the exact functions. {dataset.attrs['far_out']}.",
        PAPER,
    )


def of_autodiff(options: Options, dataset) -> Caption:
    """Say where automatic differentiation returns 0, and how large the slope is there."""
    numbers, told = [], []
    for name in SPURIOUS:
        of = dataset.log_slope_far.sel(saturating=name)
        true = of.sel(source="true").values
        for source in dataset.source.values[1:]:
            (gone,) = np.nonzero(~np.isfinite(of.sel(source=source).values))
            if not gone.size:
                continue
            at = float(dataset.x_far[gone[0]])
            numbers.append(Number(f"x from which {source} returns 0, {name}", at))
            numbers.append(Number(f"ln of the true slope there, {name}, {source}", float(true[gone[0]])))
            if str(source).endswith("float32"):
                told.append(f"of {name} from x = {at:.3g}, where the slope is {words.factor(float(true[gone[0]]))}")
    return Caption(
        f"In float32 jax.grad returns 0 for the slope {words.enumerated(told)}."
        if told
        else "jax.grad finds every slope here.",
        [f"ln of the slope of {name}." for name in SPURIOUS],
        "Solid: the true slope. Dashed, dotted: jax.grad of jax.nn.sigmoid and jax.numpy.tanh. Cross: it returns 0 from here on.",
        NOTHING,
        numbers,
        "The true slopes are closed forms in logs, which tests compare with mpmath.",
        PAPER,
    )


def of_curves(options: Options, dataset, shown: Sequence[str]) -> Caption:
    """Say on which sides these activations saturate."""
    sides: dict[str, list[str]] = {"both sides": [], "the left": [], "the right": [], "neither side": []}
    for name in shown:
        one = dataset.sel(activation=name)
        left, right = (one.log_abs_slope.values[[0, -1]] <= np.log(0.05 * float(one.max_slope))).tolist()
        sides[("both sides" if right else "the left") if left else "the right" if right else "neither side"].append(
            name
        )
    told = [f"{words.enumerated(names)} on {side}" for side, names in sides.items() if names]
    return Caption(
        f"Saturated at |x| = {options.span:g}: {'; '.join(told)}.",
        [f"{name}." for name in shown],
        "Value and slope (left axis) and ln of the slope (right axis). Grey: saturated, the slope is at most 5 % of the largest.",
        NOTHING,
        [],
        "Nothing is compared.",
        PAPER,
    )
