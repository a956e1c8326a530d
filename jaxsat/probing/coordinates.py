"""Does a network train alike at every width? Sizes of activations and updates against width, and what they say.

In a maximal-update parametrisation (Yang & Hu 2021; Yang et al. 2022) every layer's update moves its output by an amount
that does not depend on the width. In the standard one, updates of hidden and output layers grow with it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxsat.checks import Shown, integer, refusal
from jaxsat.probing.layer_changes import Followed, LayerMoves, follow
from jaxsat.results.student import student_t

Verdict = Literal["maximal-update", "standard", "mixed", "undecided"]
FLAT = 0.25  # an exponent within this of 0: half of the smallest that theory knows, 1/2
LEAST_WIDTHS = 3


class Exponent(NamedTuple):
    """a in size ~ width^a, by least squares of logarithms, with its 95 % interval (Student's t). NaN where not known."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.2f} ({self.low:+.2f} to {self.high:+.2f})"


@dataclasses.dataclass(frozen=True)
class LayerScaling:
    """One linear map at all widths. Sizes are root mean squares.

    Attributes:
        name: path of its weight in the parameters, with the iteration in a scan.
        role: 'input' (only its outputs grow in number with the width), 'hidden' (both), 'output' (only its inputs: the
            logits), 'fixed' (neither).
        sizes: of its output h, (widths, steps + 1): before the first step and after each.
        changes: of h - h_0, (widths, steps).
        updates: of (W - W_0) x, (widths, steps): what its own weight's change does.
        size, initial_size, change, update: exponents in the width: of h after the last step and before the first; of the
            changes and updates, averaged over the steps.
    """

    name: str
    role: str
    sizes: np.ndarray
    changes: np.ndarray
    updates: np.ndarray
    size: Exponent
    initial_size: Exponent
    change: Exponent
    update: Exponent

    @property
    def departs(self) -> bool:
        """Whether its updates are known to grow or to vanish with the width."""
        return abs(self.update.value) > FLAT and (self.update.low > 0 or self.update.high < 0)

    @property
    def keeps(self) -> bool:
        """Whether its updates keep their size, as far as can be seen."""
        return abs(self.update.value) <= FLAT


@dataclasses.dataclass(frozen=True)
class CoordinateCheck:
    """Sizes against width. ``print(check)`` says what they mean.

    Attributes:
        widths: that were tried.
        layers: one record for each linear map, in the order of execution.
        losses: (widths, steps), before each step.
        verdict: 'maximal-update' if the updates of all layers keep their size; 'standard' if those of all hidden and
            output layers grow; 'mixed' if only some depart; 'undecided' if the intervals are too wide, or a run is not
            finite.
    """

    widths: tuple[int, ...]
    layers: tuple[LayerScaling, ...]
    losses: np.ndarray
    verdict: Verdict

    @property
    def departs(self) -> tuple[LayerScaling, ...]:
        """The layers whose updates grow or vanish with the width."""
        return tuple(layer for layer in self.layers if layer.departs)

    def __str__(self) -> str:
        headings = ("layer", "role", "initial size", "size", "change", "update")
        rows = [
            (one.name, one.role, *(str(e) for e in (one.initial_size, one.size, one.change, one.update)))
            for one in self.layers
        ]
        widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
        lines = [
            "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in (headings, *rows)
        ]
        return "\n".join([f"Exponents in the width, {self.widths[0]} to {self.widths[-1]}:", *lines, "", *self._said()])

    def _said(self) -> list[str]:
        said = {
            "maximal-update": "Maximal-update parametrisation: the updates of every layer keep their size.",
            "standard": "Standard parametrisation: updates grow with the width, so the best learning rate shrinks with it.",
            "mixed": "Not a maximal-update parametrisation: some layers depart from it.",
            "undecided": "Undecided: the intervals are too wide, or a run is not finite. Take more widths, or more distant ones.",
        }[self.verdict]
        return [said, *(_in_words(layer) for layer in self.departs)]

    def plot(self) -> Any:
        """Return a matplotlib Figure: sizes, changes and updates against width, after the last step."""
        from jaxsat.results import drawing

        last = {
            "size": [one.sizes[:, -1] for one in self.layers],
            "change": [one.changes[:, -1] for one in self.layers],
            "update": [one.updates[:, -1] for one in self.layers],
        }
        return drawing.coordinates_figure(self.widths, [one.name for one in self.layers], last)


def _in_words(layer: LayerScaling) -> str:
    value = layer.update.value
    verb = "grow" if value > 0 else "shrink"
    return (
        f"{layer.name} ({layer.role}): its updates {verb} as width^{layer.update}. Multiply its learning rate by "
        f"width^{-round(2 * value) / 2:+g}."
    )


def coordinate_check(make: Callable[[int], Any], widths: Sequence[int], steps: int = 4) -> CoordinateCheck:
    """Return how a network's activations and updates scale with its width over the first steps of training.

    Args:
        make: make(width) -> (loss_fn, params, batches, optimizer): loss_fn(params, batch), or loss_fn(params, *batch) for
            batches that are tuples, returns a scalar; params is a pytree of arrays; batches is a sequence, used again
            from its start if it is shorter than `steps`; optimizer is an optax optimiser.
        widths: at least three, different. Factors of two from 64 on are a good choice.
        steps: of training, at least 1.

    Returns: a :class:`CoordinateCheck`. Layers are the products of data with a parameter, convolutions, and look-ups in
        a table of parameters. Scores of attention are no layer: they are not judged.

    Cost: two compilations for each width, and steps + 1 passes.

    Accuracy: sizes are random numbers of finite networks. The intervals show how far the widths lie from a power law;
        they do not know what other seeds would give. Exponents that theory knows are multiples of 1/2.

    Raises:
        ValueError: fewer than three widths; networks of different structure; no batches.
        TypeError: make returns something else; loss_fn does not return a floating scalar.

    References: Yang & Hu (2021), "Feature learning in infinite-width neural networks", ICML; Yang et al. (2022), "Tensor
        programs V: tuning large neural networks via zero-shot hyperparameter transfer".
    """
    if not callable(make):
        raise TypeError(refusal("coordinate_check", "make", "be a function of a width", Shown(type(make).__name__)))
    steps = integer("coordinate_check", "steps", steps)
    widths = [integer("coordinate_check", "widths", width) for width in widths]
    if len(set(widths)) < LEAST_WIDTHS or len(set(widths)) < len(widths):
        raise ValueError(refusal("coordinate_check", "widths", "hold at least three different widths", widths))
    widths = sorted(widths)
    runs = [_followed(make, width, steps) for width in widths]
    names = [tuple(layer.name for layer in run.layers) for run in runs]
    for width, named in zip(widths, names, strict=True):
        if named != names[0]:
            rule = f"make networks with the same layers at all widths; at {widths[0]} they are {', '.join(names[0])}"
            raise ValueError(refusal("coordinate_check", "make", rule, Shown(f"{', '.join(named)} at {width}")))
    layers = tuple(_scaling(widths, [run.layers[i] for run in runs]) for i in range(len(names[0])))
    losses = np.array([run.losses for run in runs])
    return CoordinateCheck(tuple(widths), layers, losses, _verdict(layers, losses))


def _followed(make: Callable[[int], Any], width: int, steps: int) -> Followed:
    made = make(width)
    if not isinstance(made, tuple | list) or len(made) != 4:
        rule = "return (loss_fn, params, batches, optimizer)"
        raise TypeError(refusal("coordinate_check", "make", rule, Shown(type(made).__name__)))
    return follow("coordinate_check", *made, steps)


def _scaling(widths: Sequence[int], moves: Sequence[LayerMoves]) -> LayerScaling:
    inputs, outputs = (len({getattr(one, name) for one in moves}) > 1 for name in ("fan_in", "units"))
    role = {(False, True): "input", (True, True): "hidden", (True, False): "output", (False, False): "fixed"}[
        inputs, outputs
    ]
    sizes, changes, updates = (
        np.array([getattr(one, name) for one in moves]) for name in ("sizes", "changes", "updates")
    )
    return LayerScaling(
        moves[0].name, role, sizes, changes, updates,
        exponent_of(widths, sizes[:, -1:]), exponent_of(widths, sizes[:, :1]),
        exponent_of(widths, changes), exponent_of(widths, updates),
    )  # fmt: skip


def exponent_of(widths: Sequence[int], sizes: np.ndarray) -> Exponent:
    """Return the exponent of sizes (widths, steps) in the width, of the mean of their logarithms over the steps.

    Steps at which a size is 0 (before anything can move) are left out.

    >>> exponent_of([1, 2, 4, 8], np.array([[3.0], [6.0], [12.0], [24.0]]))
    Exponent(value=1.0, low=1.0, high=1.0)
    """
    moved = np.all(sizes > 0, axis=0)
    if not np.any(moved) or not np.all(np.isfinite(sizes)):
        return Exponent(math.nan, math.nan, math.nan)
    y = np.mean(np.log(sizes[:, moved]), axis=1)
    x = np.log(np.asarray(widths, float))
    x, y = x - x.mean(), y - y.mean()
    value = float(x @ y / (x @ x))
    freedom = len(widths) - 2
    error = math.sqrt(float(np.sum((y - value * x) ** 2)) / freedom / float(x @ x))
    reach = student_t(freedom) * error
    return Exponent(*(round(number, 12) for number in (value, value - reach, value + reach)))


def _verdict(layers: Sequence[LayerScaling], losses: np.ndarray) -> Verdict:
    judged = [layer for layer in layers if layer.role != "fixed"]
    if not judged or not np.all(np.isfinite(losses)):
        return "undecided"
    if all(layer.keeps for layer in judged):
        return "maximal-update"
    deep = [layer for layer in judged if layer.role in ("hidden", "output")]
    if deep and all(layer.departs and layer.update.value > 0 for layer in deep):
        return "standard"
    return "mixed" if any(layer.departs for layer in judged) else "undecided"
