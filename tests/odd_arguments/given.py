"""Sound arguments of public functions, each with what it is: what odd arguments grow from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

import jaxsat
from jaxsat import addresses, krylov


@dataclasses.dataclass(frozen=True)
class Given:
    """A sound argument.

    Attributes:
        kind: what it is: integer, number, scalar (a number that may be traced), family (several scalars, too), array, key, network, params, function,
            name, activation, sizes (of layers), flag, dataset, data (a pair of arrays).
        value: a sound value.
        shape: of an array: "fixed" if no other shape is right.
        optional: whether None is sound.
        least, above: bounds of a number.
        nan: what NaN does in an array: "nan" (the answer has one), "left out", or "bool" (the answer is of truth values).
        huge: what must come of 10**30: "refused", or "any" where it means as many as there are.
    """

    kind: str
    value: Any
    shape: str = "fixed"
    optional: bool = False
    least: float | None = None
    nan: str = "nan"
    huge: str = "refused"


@dataclasses.dataclass(frozen=True)
class Call:
    """A function and sound arguments, in their order.

    Attributes:
        function: what is called.
        arguments: by name.
        fixed: more arguments, which stay as they are.
        pure: whether it may be traced and vmapped over its arrays and scalars.
    """

    function: Callable[..., Any]
    arguments: dict[str, Given]
    fixed: dict[str, Any] = dataclasses.field(default_factory=dict)
    pure: bool = True

    def values(self) -> dict[str, Any]:
        return {name: given.value for name, given in self.arguments.items()} | self.fixed


def integer(value: int, least: int | None = 1, optional: bool = False) -> Given:
    return Given("integer", value, least=least, optional=optional)


def number(value: float, least: float | None = None) -> Given:
    return Given("number", value, least=least)


def scalar(value: float, least: float | None = None) -> Given:
    return Given("scalar", value, least=least)


def array(value: Any, shape: str = "fixed", nan: str = "nan", optional: bool = False) -> Given:
    return Given("array", np.asarray(value, np.float32), shape=shape, nan=nan, optional=optional)


def given(kind: str, value: Any, optional: bool = False) -> Given:
    return Given(kind, value, optional=optional)


KEY = addresses.root(0)
NET = jaxsat.MLP(depth=2, width=3)
PARAMS = NET.init(KEY)
RECURRENT = jaxsat.Recurrent(steps=3, width=2)
X = np.array([0.5, -1.0, 2.0], np.float32)
ROWS = np.array([[0.5, -1.0, 2.0], [0.1, 0.2, -0.3]], np.float32)
MATRIX = np.array([[2.0, 1.0], [0.5, -1.0]], np.float32)
QUADRATURE = krylov.quadrature(jnp.sin, X, probes=2, steps=3)
LOGS = [0.5, 0.0, -1.0]


def sine(x: Any) -> Any:
    return jnp.sin(x)


def step(carry: Any, x: Any) -> Any:
    return jnp.tanh(carry * 0.5 + x)


def run_step(params: Any, carry: Any, x: Any) -> Any:
    return jnp.tanh(params * carry + x)


ACTIVATION, NETWORK = given("activation", "tanh"), given("network", NET)
IN_NET = {"net": NETWORK, "params": given("params", PARAMS), "x": array(X)}
IN_SCAN = {"step": given("function", step), "carry": array(X[:2], "any"), "xs": array(ROWS[:, :2], "steps")}
SCALES = {"weight_scale": scalar(1.5, 0.0), "bias_scale": scalar(0.25, 0.0)}
DEEP = {"activation": ACTIVATION, "depth": integer(3)}
OF_RELU = {
    "activation": given("relu", "relu"),
    "depth": integer(2),
    "width": given("sizes", 4),
    "weight_scale": scalar(1.5, 0.0),
}
OF_CELL = {"cell": given("name", "gru")}
IN_CELL = {**SCALES, "input_scale": scalar(1.0, 0.0), "gate_bias": scalar(0.5)}
UNITS = {"activation": ACTIVATION, "pre_activations": array(ROWS, shape="any")}
LEVEL = {"level": number(0.125, 0.0)}
PRODUCT = {"weights": array(np.stack([MATRIX, MATRIX])), "log_abs_slopes": array(-np.abs(ROWS[:, :2]), optional=True)}
FN = {"fn": given("function", sine), "x": array(X, shape="any")}
IN_THEORY = {"weight_scale": scalar(1.0, 0.0), "bias_scale": scalar(0.0, 0.0), "ensemble": given("name", "gaussian")}
OF_INPUT = {"mean_square": scalar(1.0, 0.0)}
SEED = dataclasses.replace(integer(0, 0), huge="any")
SEEDED = {"test": integer(16), "seed": SEED}
