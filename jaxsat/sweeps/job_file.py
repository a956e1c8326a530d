"""Job files: a sweep written as TOML, with the names of the arguments of ``jaxsat.sweep``.

measure = "log_gradient_norms"
seeds = 1000

[network]
depth = 100
width = 128

[over]
activation = ["tanh", "relu"]
weight_scale = { from = 0.5, to = 3.0, count = 26 }
"""

from __future__ import annotations

import dataclasses
import math
import pathlib
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any, get_type_hints

import numpy as np

from jaxsat import checks
from jaxsat.networks.mlp import MLP
from jaxsat.networks.recurrent import Recurrent

SPACINGS = {"linear": np.linspace, "log": np.geomspace}
KINDS = {"MLP": MLP, "Recurrent": Recurrent}  # of networks, by the key `kind` of [network]


@dataclasses.dataclass(frozen=True)
class Config:
    """A sweep, as a file describes it.

    Attributes:
        network: fields of the network; `kind` is "MLP" (the default; depth and width are needed) or "Recurrent" (steps and
            width are).
        measure: names of measures, one or several.
        over: field of the network -> values: a list, or {from, to, count, spacing}, spacing "linear" or "log".
        seeds, root_seed, every_depth, memory_budget: as those of ``sweep``.
        x: path of a .npy file with the input, or a batch of inputs, beside the configuration.
        x64: compute in float64.
    """

    network: dict[str, Any]
    measure: str | list[str]
    over: dict[str, Any] = dataclasses.field(default_factory=dict)
    seeds: int = 100
    root_seed: int = 0
    every_depth: bool = False
    memory_budget: int = 2**30
    x: str | None = None
    x64: bool = False

    def arguments(self, folder: pathlib.Path) -> dict[str, Any]:
        """Return the arguments of ``sweep``. The file of `x` is looked for in `folder`.

        Raises:
            ValueError: an input that cannot be read; fields that no MLP has or takes.
        """
        return {
            "net": _kind(self.network)(**{name: v for name, v in self.network.items() if name != "kind"}),
            "measure": self.measure,
            "over": {name: _values(name, given) for name, given in self.over.items()},
            "seeds": self.seeds,
            "root_seed": self.root_seed,
            "every_depth": self.every_depth,
            "x": None if self.x is None else _array(folder / self.x),
        }


def read_job(path: pathlib.Path) -> Config:
    """Read a job file and check its names and types.

    Raises:
        ValueError: a file that cannot be read or is no TOML; unknown, missing or wrongly typed keys.
    """
    try:
        given = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is no text"
        raise ValueError(f"config: {path}: {reason}. Name a TOML file, such as jobs/example.toml.") from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"config: {path} is no TOML: {error}.") from None
    return parsed(given)


def parsed(given: Mapping[str, Any]) -> Config:
    """Return the job that parsed TOML describes.

    >>> parsed({"network": {"depth": 3, "width": 8}, "measure": "dead_fraction"}).seeds
    100
    """
    fields = [field.name for field in dataclasses.fields(Config)]
    _known("a key", given, fields)
    for name in ("network", "measure"):
        if name not in given:
            raise ValueError(checks.refusal("config", name, "be given", checks.Shown(", ".join(given) or "nothing")))
    types = {"seeds": int, "root_seed": int, "memory_budget": int, "every_depth": bool, "x64": bool, "x": str}
    types |= {"network": dict, "over": dict, "measure": (str, list)}
    for name, value in given.items():
        if not isinstance(value, types[name]) or (types[name] is int and isinstance(value, bool)):
            expected = get_type_hints(Config)[name]
            rule = f"be {getattr(expected, '__name__', expected)}"
            raise ValueError(checks.refusal("config", name, rule, value))
    network = given["network"]
    fields = dataclasses.fields(_kind(network))
    names = [field.name for field in fields]
    _known("a key of [network]", network, [*names, "kind"])
    _known("a key of [over]", given.get("over", {}), names)
    for name in [field.name for field in fields if field.default is dataclasses.MISSING]:
        if name not in network:
            came = checks.Shown(", ".join(network) or "nothing")
            raise ValueError(checks.refusal("config", "network", f"have `{name}`", came))
    return Config(**given)


def _kind(network: Mapping[str, Any]) -> type[MLP] | type[Recurrent]:
    return KINDS[checks.one_of("config", "kind", network.get("kind", "MLP"), KINDS, "be a kind of network")]


def _known(what: str, given: Iterable[str], names: list[str]) -> None:
    for name in given:
        if name not in names:
            raise ValueError(f"config: {name!r} is not {what}. {checks.near(name, names, most=1)}")


def _values(name: str, given: Any) -> Any:
    if not isinstance(given, dict):
        return given
    _known(f"a key of over.{name}", given, ["from", "to", "count", "spacing"])
    spacing = given.get("spacing", "linear")
    if missing := [key for key in ("from", "to", "count") if key not in given]:
        rule = f"have `{missing[0]}`, or be a list of values"
        raise ValueError(checks.refusal("config", f"over.{name}", rule, given))
    checks.one_of("config", f"over.{name}.spacing", spacing, SPACINGS)
    above = 0.0 if spacing == "log" else -math.inf
    ends = [checks.number("config", f"over.{name}.{key}", given[key], above=above) for key in ("from", "to")]
    count = checks.integer("config", f"over.{name}.count", given["count"])
    return [float(v) for v in SPACINGS[spacing](*ends, count)]


def _array(path: pathlib.Path) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"config: `x`: {path} is no .npy file that can be read ({error}).") from None
