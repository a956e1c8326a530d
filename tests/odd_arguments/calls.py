"""A sound call of every public function: `CALLS` maps its name, as a user writes it, to its arguments."""

from __future__ import annotations

import types

import jaxsat
from tests.odd_arguments import calls_of_networks, calls_of_theory
from tests.odd_arguments.given import Call

PARTS = (*calls_of_networks.PARTS, *calls_of_theory.PARTS)
CALLS: dict[str, Call] = {name: call for part in PARTS for name, call in part()}

# Public, but not called with arguments of users: what other calls return; what a user's own class is compared with.
RETURNED = {"names", "Network", "Measure", "Variable", "Activation", "ActivationLike", "UnderflowPoints"}
# They take a figure's dataset, functions that train, an extra package: tests of their own pass them odd arguments.
ELSEWHERE = {"plotting", "coordinate_check", "mnist_sample"}


METHODS = {"Activation.__call__", "Activation.slope", "Activation.log_abs_slope", "MLP.init", "MLP.apply"}
METHODS |= {"Recurrent.init", "Recurrent.apply"}


def public_names() -> set[str]:
    """Names of functions and classes that a user reaches from jaxsat, as they are in CALLS; each thing once."""
    found: dict[int, str] = {}

    def walk(module: types.ModuleType, prefix: str) -> None:
        own = [n for n, v in vars(module).items() if getattr(v, "__module__", None) == module.__name__]
        names = getattr(module, "__all__", [name for name in own if not name.startswith("_")])
        inside = {name: getattr(module, name) for name in names if name not in RETURNED | ELSEWHERE}
        for name, value in inside.items():
            if callable(value) and not (isinstance(value, type) and issubclass(value, tuple)):
                found.setdefault(id(value), prefix + name)
        for name, value in inside.items():
            if isinstance(value, types.ModuleType):
                walk(value, f"{name}.")

    walk(jaxsat, "")
    return set(found.values()) | METHODS
