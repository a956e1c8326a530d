"""What is asked of a training run: data, grid of networks, optimiser and times, checked before anything is compiled."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxsat.networks.grid import Grid
from jaxsat.networks.mlp import MLP

LEARNING_RATE = "learning_rate"


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """Inputs (example, input) in the default float dtype, and their classes (example,)."""

    x: Any
    y: Any

    @property
    def arrays(self) -> tuple[Any, Any]:
        return jnp.asarray(self.x, jnp.result_type(float)), jnp.asarray(self.y, jnp.int32)


def examples(name: str, given: Any, networks: Sequence[MLP]) -> Examples:
    """Inputs and classes, or an error that names the argument."""
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        raise TypeError(f"train: `{name}` must be a pair (x, y) of inputs and classes; got {type(given).__name__}.")
    x, y = np.asarray(given[0]), np.asarray(given[1])
    widths, classes = {net.input_width for net in networks}, min(net.output_width for net in networks)
    if x.ndim != 2 or widths != {x.shape[-1]} or not len(x):
        wanted = ", ".join(map(str, sorted(widths)))
        raise ValueError(
            f"train: `{name}`: x must have shape (examples, n_0) with n_0 = {wanted}; got {x.shape}. "
            "Set `inputs` of MLP to the width of your data, or reshape it."
        )
    if x.dtype.kind not in "fiub":
        raise TypeError(f"train: `{name}`: x must be real numbers; got {x.dtype}.")
    if bad := np.count_nonzero(~np.isfinite(x)):
        raise ValueError(f"train: `{name}`: x must be finite; got {bad} non-finite entries. Remove those examples.")
    if y.dtype.kind not in "iu":
        raise TypeError(f"train: `{name}`: y must be integers, the classes; got {y.dtype}. Use y.astype(int).")
    if y.shape != (len(x),):
        raise ValueError(
            f"train: `{name}`: y must have one class for each of the {len(x)} examples; got shape {y.shape}. "
            "Use argmax for one-hot classes."
        )
    if y.min() < 0 or y.max() >= classes:
        raise ValueError(
            f"train: `{name}`: y must be classes from 0 to {classes - 1}; got {y.min()} to {y.max()}. "
            "Number them from 0, or set `outputs` of MLP."
        )
    return Examples(x, y)


def grid_of(net: MLP, over: Mapping[str, Any]) -> Grid:
    """The networks of a request, from fields and values."""
    found = Grid.of(net, over, rates=(LEARNING_RATE,), caller="train")
    if any(one.outputs is None for one in found.networks()):
        raise ValueError("train: `net` must have a read-out; got outputs=None. Set `outputs` to the number of classes.")
    return found


def optimizer_of(optimizer: Any, swept: bool) -> Callable[[Any], Any]:
    """A function learning rate -> GradientTransformation, whichever form was given."""
    import optax

    if not swept:
        if not isinstance(optimizer, optax.GradientTransformation):
            what = "a function" if callable(optimizer) else type(optimizer).__name__
            raise TypeError(
                f"train: `optimizer` must be an optax GradientTransformation, as optax.sgd(0.1); got {what}. "
                "A function learning_rate -> transformation needs over={'learning_rate': [...]}."
            )
        return lambda rate: optimizer
    if isinstance(optimizer, optax.GradientTransformation) or not callable(optimizer):
        raise TypeError(
            "train: `optimizer` must be a function learning_rate -> GradientTransformation where 'learning_rate' is "
            f"swept, as optax.sgd; got {type(optimizer).__name__}."
        )

    def made(rate):
        found = optimizer(rate)
        if not isinstance(found, optax.GradientTransformation):
            raise TypeError(
                f"train: `optimizer` must return an optax GradientTransformation; got {type(found).__name__}."
            )
        return found

    return made


def recorded_steps(record_every: Any, steps: int) -> list[int]:
    """The steps at which networks are looked at: after that many updates."""
    if isinstance(record_every, (int, np.integer)) and not isinstance(record_every, bool):
        at_least_one("record_every", record_every)
        return sorted({*range(0, steps, int(record_every)), steps})
    wrong = f"train: `record_every` must be an interval in steps, or ascending steps from 0 to {steps}; "
    try:
        given = np.asarray(record_every)
    except ValueError:
        raise TypeError(wrong + f"got {record_every!r}.") from None
    if given.ndim != 1 or given.dtype.kind not in "iu" or not given.size:
        raise TypeError(wrong + f"got {record_every!r}.")
    if given[0] < 0 or given[-1] > steps or (np.diff(given) <= 0).any():
        raise ValueError(wrong + f"got {given.tolist()}.")
    return given.tolist()


def at_least_one(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"train: `{name}` must be an integer of at least 1; got {value!r}.")


def at_most_examples(name: str, value: Any, count: int) -> None:
    at_least_one(name, value)
    if value > count:
        raise ValueError(
            f"train: `{name}` must be at most the {count} training examples; got {value}. Make it smaller."
        )
