"""Which network a line of a dataset is: what theory must know of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from jaxsat import activations, checks

if TYPE_CHECKING:
    import xarray

    from jaxsat.activations import Activation

    Own = Sequence[Activation | Callable[..., Any]]

GAUSSIAN_INPUT = "gaussian, unit mean square"


class Setting(NamedTuple):
    """A plain MLP, the number of its inputs, and their mean square."""

    activation: str | Activation | Callable[..., Any]
    depth: int
    width: int
    inputs: int
    weight_scale: float
    bias_scale: float
    ensemble: str
    mean_square: float


def setting_of(
    where: str, ds: xarray.Dataset, fields: dict[str, Any], mean_square: float | None, own: Own = ()
) -> Setting:
    """Return the network with these swept values.

    Args:
        where: name of the function, for errors.
        ds: of ``jaxsat.sweep``, or a part of it.
        fields: swept values by name; they take the place of those of the network that was swept.
        mean_square: of the input; None takes 1 for the gaussian input of a sweep without `x`.
        own: activations that are not of the catalogue: a dataset has their names alone.

    Raises:
        ValueError: a dataset that no sweep made, or that has lost a swept value; a network that theory does not know; an
            activation that is neither of the catalogue nor in `own`; an input of unknown size.
    """
    if isinstance(own, str) or not isinstance(own, Sequence) or not all(map(callable, own)):
        remedy = "Pass activations=[f], a function of your own or several."
        raise TypeError(checks.refusal(where, "activations", "be a list of functions", own, remedy))
    try:
        request = json.loads(ds.attrs["request"])
        network = request["network"]
    except (KeyError, TypeError, ValueError):
        remedy = "Choose theory=False, or keep the attributes of the dataset (xarray.set_options(keep_attrs=True))."
        raise ValueError(checks.refusal(where, "ds", "know its network", checks.Shown("no request"), remedy)) from None
    chosen = {name: ds[name].item() for name in request.get("over", ()) if name in ds.coords and not ds[name].ndim}
    asked = network | chosen | fields
    for name in set(request.get("over", ())) - set(asked):
        came, remedy = checks.Shown(f"no {name}"), f"Select it without drop=True: ds.sel({name}=...)."
        raise ValueError(checks.refusal(where, "ds", "keep the coordinates that were swept", came, remedy))
    plain = {"residual_scale": "none", "normalization": "none", "outputs": "none", "fan": "in"}
    for name, value in plain.items():
        if asked.get(name) != value:
            came = checks.Shown(f"{name}={asked.get(name)}" if name in asked else "another kind of network")
            raise ValueError(checks.refusal(where, "theory", "be False but for a plain MLP", came))
    if mean_square is None:
        if request.get("x") != GAUSSIAN_INPUT:
            came, remedy = checks.Shown("a sweep with `x`"), "It is (x**2).mean()."
            raise ValueError(checks.refusal(where, "mean_square", "be given for an input of one's own", came, remedy))
        mean_square = 1.0
    width = int(asked["width"])
    inputs = width if asked["inputs"] == "none" else int(asked["inputs"])
    return Setting(
        _activation(where, str(asked["activation"]), own), int(asked["depth"]), width, inputs, float(asked["weight_scale"]), float(asked["bias_scale"]),
        str(asked["ensemble"]), float(mean_square),
    )  # fmt: skip


def _activation(where: str, name: str, own: Own) -> str | Activation | Callable[..., Any]:
    """Return an activation of the catalogue by its name, another from `own`."""
    if name in activations.names():
        return name
    found = {getattr(phi, "name", getattr(phi, "__name__", "")): phi for phi in own}
    if name not in found:
        came, remedy = (
            checks.Shown(", ".join(found) or "none"),
            f"Pass activations=[{name}]: the dataset has its name alone.",
        )
        raise ValueError(
            checks.refusal(where, "activations", f"have {name!r}, which the catalogue does not", came, remedy)
        )
    return found[name]
