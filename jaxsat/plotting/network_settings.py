"""Which network a line of a dataset is: what theory must know of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from jaxsat import checks

if TYPE_CHECKING:
    import xarray

GAUSSIAN_INPUT = "gaussian, unit mean square"


class Setting(NamedTuple):
    """A plain MLP, the number of its inputs, and their mean square."""

    activation: str
    depth: int
    width: int
    inputs: int
    weight_scale: float
    bias_scale: float
    ensemble: str
    mean_square: float


def setting_of(where: str, ds: xarray.Dataset, fields: dict[str, Any], mean_square: float | None) -> Setting:
    """Return the network with these swept values.

    Args:
        where: name of the function, for errors.
        ds: of ``jaxsat.sweep``.
        fields: swept values by name; they take the place of those of the network that was swept.
        mean_square: of the input; None takes 1 for the gaussian input of a sweep without `x`.

    Raises:
        ValueError: a dataset that no sweep made; a network that theory does not know; an input of unknown size.
    """
    try:
        request = json.loads(ds.attrs["request"])
        network = request["network"]
    except (KeyError, TypeError, ValueError):
        remedy = "Choose theory=False, or keep the attributes of the dataset (xarray.set_options(keep_attrs=True))."
        raise ValueError(checks.refusal(where, "ds", "know its network", checks.Shown("no request"), remedy)) from None
    asked = network | fields
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
        str(asked["activation"]), int(asked["depth"]), width, inputs, float(asked["weight_scale"]), float(asked["bias_scale"]),
        str(asked["ensemble"]), float(mean_square),
    )  # fmt: skip
