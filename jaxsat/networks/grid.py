"""A grid of networks: fields of a network and the values they take, each combination one kind of network."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from jaxsat import checks
from jaxsat.activations import Activation
from jaxsat.networks.mlp import MLP, check_scale
from jaxsat.networks.protocol import Network, swept_fields

UNITS = {"depth": "layers", "width": "units", "inputs": "units", "outputs": "units", "steps": "steps"}
LONG_NAMES = {
    "weight_scale": "weight scale sigma_w",
    "bias_scale": "bias scale sigma_b",
    "depth": "depth L",
    "width": "width n",
    "activation": "activation",
    "ensemble": "weight ensemble",
    "inputs": "input width",
    "outputs": "read-out width",
    "fan": "fan that divides the variance",
    "residual_scale": "residual scale a",
    "normalization": "normalisation",
    "learning_rate": "learning rate",
    "steps": "steps of the sequence",
    "input_scale": "input scale",
    "gate_bias": "bias of the gate that keeps the state",
}

Choice = tuple[int, ...]  # one combination of static values: an index for each static field


@dataclasses.dataclass(frozen=True)
class Grid:
    """Swept fields and their values, in the order given.

    Each combination of static fields is a program of its own; traced fields are arrays, and vmapped over. ``base``
    supplies the fields that are not swept.

    Args:
        base: the network whose fields are varied.
        over: field -> values.
        rates: swept numbers that are not fields of the network, but are traced like its scales: a learning rate.
    """

    base: Any
    over: dict[str, list[Any]]
    rates: tuple[str, ...] = ()

    @classmethod
    def of(cls, net: Network, over: Mapping[str, Any], rates: tuple[str, ...] = (), caller: str = "sweep") -> Grid:
        """Return the grid of a request.

        Raises:
            ValueError, TypeError: in the caller's name, unknown fields, and values that are no grid.
        """
        if not isinstance(over, Mapping):
            rule = f"map fields of {kind_of(net)} to values"
            raise TypeError(checks.refusal(caller, "over", rule, checks.Shown(type(over).__name__)))
        scales = swept_fields(net)
        known = (*(field.name for field in dataclasses.fields(cast(Any, net))), *rates)
        what = " or ".join([f"fields of {kind_of(net)}", *map(repr, rates)])
        for name in scales:
            if name not in over and np.ndim(value := getattr(net, name)) != 0:
                shape = checks.Shown(f"an array of shape {np.shape(value)}")
                remedy = f"Sweep it: over={{{name!r}: [...]}}."
                raise ValueError(checks.refusal(f"{caller}: {kind_of(net)}", name, "be one number", shape, remedy))
        values: dict[str, list[Any]] = {}
        for name, given in over.items():
            checks.one_of(caller, "over", name, known, f"name {what}")
            argument = f"over[{name!r}]"
            values[name] = _values(caller, argument, given)
            if name in (*scales, *rates):
                _check_numbers(
                    caller, argument, net, name, values[name], own=name in scales and not isinstance(net, MLP)
                )
        grid = cls(net, values, rates)
        grid.networks()  # raises for values that no network of this kind has
        return grid

    @property
    def static(self) -> list[str]:
        """Swept fields that change the compiled program, in the order given."""
        return [name for name in self.over if not self._is_number(name)]

    @property
    def traced(self) -> list[str]:
        """Swept fields that are arrays to the compiled program, in the order given."""
        return [name for name in self.over if self._is_number(name)]

    def _is_number(self, name: str) -> bool:
        return name in self.rates or name in swept_fields(self.base)

    def choices(self) -> list[Choice]:
        """Return every combination of static values, as an index for each of :attr:`static`."""
        return list(itertools.product(*(range(len(self.over[name])) for name in self.static)))

    def network(self, choice: Sequence[int]) -> Any:
        """Return the network of one combination of static values."""
        chosen = {name: self.over[name][i] for name, i in zip(self.static, choice, strict=True)}
        return dataclasses.replace(self.base, **chosen)

    def networks(self) -> list[Any]:
        """Return the networks of all combinations of static values."""
        return [self.network(choice) for choice in self.choices()]

    def label(self, choice: Sequence[int]) -> str:
        """Describe one combination of static values in words."""
        return ", ".join(f"{n}={plain(self.over[n][i])}" for n, i in zip(self.static, choice, strict=True))

    def columns(self, corner: Mapping[str, int], block: Sequence[int]) -> dict[str, np.ndarray]:
        """Return the values of the swept scales at each point of a block that begins at `corner`.

        Beyond the edge of the grid the last value is repeated.
        """
        values = []
        for name, length in zip(self.traced, block, strict=True):
            own = np.asarray(self.over[name], float)
            values.append(own[np.minimum(corner[name] + np.arange(length), len(own) - 1)])
        mesh = np.meshgrid(*values, indexing="ij")
        return {name: m.ravel() for name, m in zip(self.traced, mesh, strict=True)}

    def within(self, over: Mapping[str, Sequence[Any]]) -> Grid:
        """Return this grid with the values of a wider grid, given as labels. Static values that it lacks stay labels."""
        known = {name: dict(zip(self.labels[name], values, strict=True)) for name, values in self.over.items()}
        over = {name: [known[name].get(v, v) for v in values] for name, values in over.items()}
        return dataclasses.replace(self, over=over)

    def choices_in(self, wider: Grid) -> list[Choice]:
        """Return the combinations of this grid's static values, as indices of a wider grid."""
        places = {name: {value: i for i, value in enumerate(wider.labels[name])} for name in self.static}
        return list(itertools.product(*([places[name][v] for v in self.labels[name]] for name in self.static)))

    @functools.cached_property
    def labels(self) -> dict[str, list[Any]]:
        """The values as coordinates. Many values are many objects: they are made once."""
        numbers = set(self.traced)
        return {
            name: [float(plain(v)) if name in numbers else plain(v) for v in values]
            for name, values in self.over.items()
        }


def kind_of(net: Any) -> str:
    """Return the name of a network's class."""
    return type(net).__name__


def long_name_of(name: str) -> str:
    """Return what a field is, in words."""
    return LONG_NAMES.get(name, name.replace("_", " "))


def _check_numbers(where: str, argument: str, net: Any, name: str, values: list[Any], own: bool) -> None:
    """Raise unless all are numbers that a swept field can have; `own`: the network's class checks them too."""
    if not own:
        return check_scale(where, argument, values)
    for value in values:
        remedy = "A name goes into the network itself: sweep it apart." if isinstance(value, str) else ""
        checks.number(where, argument, value, remedy=remedy)
        dataclasses.replace(net, **{name: value})
    return None


def _values(where: str, argument: str, given: Any) -> list[Any]:
    """Return the values of one swept field."""
    if isinstance(given, (str, bytes)) or (not isinstance(given, Sequence) and np.ndim(given) == 0):
        raise TypeError(checks.refusal(where, argument, "be a sequence of values", given, "Wrap it in a list."))
    values = list(given)
    if not values:
        raise ValueError(checks.refusal(where, argument, "have at least one value", checks.Shown("none")))
    labels = [plain(value) for value in values]
    if len(set(labels)) < len(labels):
        named = all(isinstance(value, Activation) or not callable(value) for value in values)
        remedy = "" if named else "Functions are labelled by their names: write each with def, under a name of its own."
        raise ValueError(checks.refusal(where, argument, "have distinct values", labels, remedy))
    return values


def plain(value: Any) -> str | int | float:
    """Return a field's value as a coordinate label."""
    if value is None:
        return "none"
    if isinstance(value, Activation):
        return value.name
    if callable(value):
        return getattr(value, "__name__", repr(value))
    value = value.item() if hasattr(value, "item") else value
    return value if isinstance(value, (str, int, float)) else repr(value)
