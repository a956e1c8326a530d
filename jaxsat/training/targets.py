"""Inputs and targets that networks are trained on: what is accepted, and its errors."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxsat import addresses, checks
from jaxsat.networks.grid import kind_of
from jaxsat.networks.mlp import MLP
from jaxsat.networks.protocol import any_of


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """Inputs (example, ..) in the default float dtype, and their targets: classes, or real numbers."""

    x: Any
    y: Any

    @property
    def arrays(self) -> tuple[Any, Any]:
        """Both as JAX arrays."""
        real = jnp.result_type(float)
        return jnp.asarray(self.x, real), jnp.asarray(self.y, real if self.real else jnp.int32)

    @property
    def real(self) -> bool:
        """Whether the targets are real numbers."""
        return self.y.dtype.kind == "f"


def examples(name: str, given: Any, networks: Sequence[Any]) -> Examples:
    """Return inputs and classes, or raise an error that names the argument."""
    if not isinstance(given, (tuple, list)) or len(given) != 2 or hasattr(given, "train"):
        raise TypeError(_no_pair(name, given))
    try:
        x, y = np.asarray(given[0]), np.asarray(given[1])
    except ValueError:  # rows of several lengths
        raise TypeError(_no_pair(name, given)) from None
    _check_inputs(f"train: `{name}`: x", x, networks)
    outputs = min(_outputs_of(net, x.shape[1:]) for net in networks)
    where = f"train: `{name}`: y"
    if y.dtype.kind == "f":
        _check_numbers(where, y, len(x), outputs)
    else:
        _check_classes(where, y, len(x), outputs, networks)
    return Examples(x, y)


def _no_pair(name: str, given: Any) -> str:
    remedy = "Take one of its parts: split.train, and test=split.test." if hasattr(given, "train") else ""
    came = checks.Shown(type(given).__name__)
    return checks.refusal("train", name, "be a pair (x, y) of arrays, inputs and classes", came, remedy)


def _outputs_of(net: Any, shape: tuple[int, ...]) -> int:
    """Return the size of a network's output for one input of this shape."""
    if isinstance(getattr(net, "outputs", None), int):
        return net.outputs
    return _traced_outputs(jax.tree.structure(net), shape)


@functools.lru_cache(maxsize=256)
def _traced_outputs(structure: Any, shape: tuple[int, ...]) -> int:
    net, x = any_of(structure), jax.ShapeDtypeStruct(shape, jnp.result_type(float))

    def drawn_and_applied(x: Any) -> Any:
        params = net.init(addresses.root(0))
        return net.apply(params, x)

    output = jax.eval_shape(drawn_and_applied, x)
    shapes = [leaf.shape for leaf in jax.tree.leaves(output)]
    if len(shapes) != 1 or len(shapes[0]) != 1:
        came = checks.Shown(f"{shapes} from {type(net).__name__}")
        raise ValueError(checks.refusal("train", "net", "have one vector as its output", came))
    return shapes[0][0]


def _check_inputs(where: str, x: np.ndarray, networks: Sequence[Any]) -> None:
    shapes = {tuple(net.input_shape) for net in networks if hasattr(net, "input_shape")}
    if not len(x) or x.ndim < 2 or any(shape != x.shape[1:] for shape in shapes):
        wanted = ", ".join(str(shape) for shape in sorted(shapes))
        rule, remedy = (
            f"have shape (examples, ..) with inputs of shape {wanted}",
            "Reshape it, or set the network's sizes.",
        )
        if isinstance(networks[0], MLP):
            widths = ", ".join(str(width) for (width,) in sorted(shapes))
            rule = f"have shape (examples, n_0) with n_0 = {widths}"
            remedy = "Set `inputs` of MLP to the width of your data, or reshape it."
        raise ValueError(_wrong(where, rule, x.shape, remedy))
    if x.dtype.kind not in "fiub":
        raise TypeError(_wrong(where, "be real numbers", x.dtype))
    if bad := np.count_nonzero(~np.isfinite(x)):
        raise ValueError(_wrong(where, "be finite", f"{bad} non-finite entries", "Remove those examples."))


def _check_classes(where: str, y: np.ndarray, count: int, classes: int, networks: Sequence[Any]) -> None:
    if y.dtype.kind not in "iu":
        raise TypeError(_wrong(where, "be integers, the classes, or real numbers", y.dtype, "Use y.astype(int)."))
    at_several = y.ndim == 2 and all(hasattr(net, "apply_at_last") for net in networks)
    if not at_several and y.shape != (count,):
        rule = f"have one class for each of the {count} examples"
        raise ValueError(_wrong(where, rule, f"shape {y.shape}", "Use argmax for one-hot classes."))
    if at_several and (len(y) != count or not 1 <= y.shape[1] <= min(net.steps for net in networks)):
        rule = f"have classes of the last steps for each of the {count} examples, shape ({count}, at most all steps)"
        raise ValueError(_wrong(where, rule, f"shape {y.shape}"))
    if y.min() < 0 or y.max() >= classes:
        rule, remedy = (
            f"be classes from 0 to {classes - 1}",
            f"Number them from 0, or set `outputs` of {kind_of(networks[0])}.",
        )
        raise ValueError(_wrong(where, rule, f"{y.min()} to {y.max()}", remedy))


def _check_numbers(where: str, y: np.ndarray, count: int, outputs: int) -> None:
    """Raise unless real targets fit the read-out."""
    if y.shape != (count, outputs) and not (outputs == 1 and y.shape == (count,)):
        rule = f"have shape ({count}, {outputs}), as real targets of {outputs} outputs"
        raise ValueError(_wrong(where, rule, f"shape {y.shape}", "Use y.astype(int) for classes."))
    if bad := np.count_nonzero(~np.isfinite(y)):
        raise ValueError(_wrong(where, "be finite", f"{bad} non-finite entries"))


def _wrong(where: str, rule: str, came: Any, remedy: str = "") -> str:
    return checks.refusal(where, "", rule, checks.Shown(came), remedy).replace(": must", " must", 1)
