"""What people pass where something else is wanted, by the kind of the argument, each with what must come of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests.odd_arguments.given import KEY, Call, Given, X

TRACED, VMAPPED = object(), object()


class Unprintable:
    """An object of nobody's."""

    def __repr__(self) -> str:
        return "Unprintable"


@dataclasses.dataclass(frozen=True)
class Odd:
    """An odd value: its label, itself, and what must come of it."""

    label: str
    value: Any
    must: str = "refused"


JUNK = [
    Odd("bytes", b"3"),
    Odd("text", "3x"),
    Odd("complex", 1j),
    Odd("object", Unprintable()),
    Odd("a set", {3}),
    Odd("a dict", {"a": 1}),
]
NONE = Odd("None", None)


def odd_integers(given: Given) -> Iterator[Odd]:
    value, least = given.value, given.least
    yield from JUNK
    yield from [
        Odd("a fraction", value + 0.5),
        Odd("True", True),
        Odd("NaN", float("nan")),
        Odd("a list", [value, value]),
    ]
    yield from [Odd("an array of two", np.array([value, value])), Odd("a float", float(value), "same")]
    yield from [
        Odd("int64", np.int64(value), "same"),
        Odd("int8", np.int8(value % 100), "any"),
        Odd("10**30", 10**30, given.huge),
    ]
    yield from [
        Odd("-10**30", -(10**30)),
        Odd("no more than an array", np.array(value), "same"),
        Odd("jax", jnp.asarray(value), "same"),
    ]
    if least is not None:
        yield Odd("below", int(least) - 1)


def odd_numbers(given: Given) -> Iterator[Odd]:
    value, least = given.value, given.least
    yield from JUNK
    yield from [
        Odd("True", True),
        Odd("NaN", float("nan"), "nan"),
        Odd("a list", [value, value]),
        Odd("10**400", 10**400),
    ]
    yield from [
        Odd("float32", np.float32(value), "same"),
        Odd("an array of three", np.full(3, value)),
        Odd("inf", float("inf"), "any"),
    ]
    yield from [
        Odd("longdouble", np.longdouble(value), "same"),
        Odd("complex array", np.array(value + 1j)),
        Odd("bool array", np.array(True)),
    ]
    if float(value).is_integer():
        yield Odd("an integer", int(value), "same")
    if least is not None:
        yield Odd("below", least - 1.0)


def odd_scalars(given: Given) -> Iterator[Odd]:
    yield from odd_numbers(given)
    yield from [
        Odd("jax", jnp.asarray(given.value), "same"),
        Odd("a matrix of one", np.full((1, 1), given.value)),
        Odd("nothing", np.zeros(0)),
    ]


def odd_families(given: Given) -> Iterator[Odd]:
    several = ("a list", "an array of three")
    yield from [odd for odd in odd_numbers(given) if odd.label not in several]


def odd_arrays(given: Given) -> Iterator[Odd]:
    value = given.value
    yield from JUNK
    yield from [
        Odd("complex", value + 1j),
        Odd("bool", value > 0, "any" if given.shape == "steps" else "refused"),
        Odd("texts", value.astype(str)),
        Odd("bytes", value.astype(bytes)),
    ]
    yield from [
        Odd("objects", np.full(value.shape, Unprintable(), object)),
        Odd("ragged", [[1.0], [1.0, 2.0]]),
        Odd("huge", [10**400]),
    ]
    yield from [
        Odd("a list", value.tolist(), "same"),
        Odd("float64", value.astype(float), "same"),
        Odd("jax", jnp.asarray(value), "same"),
    ]
    yield Odd("dates", np.zeros(value.shape, "datetime64[s]"))
    for label, last in [("NaN", np.nan), ("inf", np.inf), ("large", 3e38)]:
        changed = np.array(value)
        changed.flat[-1] = last
        yield Odd(label, changed, "nan" if label == "NaN" and given.nan == "nan" else "any")
    if given.shape == "fixed":
        yield from [
            Odd("a longer array", np.concatenate([value, value, value])),
            Odd("a number", 1.0),
            Odd("nothing", value[:0]),
        ]
        yield Odd("one axis more", np.ones((2, 3, *value.shape), np.float32))
    else:
        yield from [
            Odd("nothing", value[:0], "any"),
            Odd("a number", np.float32(1.0), "any"),
            Odd("one axis more", value[None], "any"),
        ]
    if (value == np.round(value)).all():
        yield Odd("integers", value.astype(int), "same")


def odd_keys(given: Given) -> Iterator[Odd]:
    yield from JUNK
    yield from [
        Odd("an integer", 0),
        Odd("floats", jnp.ones(2)),
        Odd("two keys", jax.random.split(KEY, 2)),
        Odd("True", True),
    ]
    yield from [
        Odd("words", np.zeros(3, np.uint32)),
        Odd("a raw key", jax.random.PRNGKey(0), "any"),
        Odd("threefry", jax.random.key(0), "any"),
    ]


def odd_networks(given: Given) -> Iterator[Odd]:
    yield from JUNK
    yield from [
        Odd("a class", type(given.value)),
        Odd("a function", jnp.sin),
        Odd("an array", X),
        Odd("a list", [given.value]),
    ]


def odd_params(given: Given) -> Iterator[Odd]:
    params = given.value
    yield from JUNK
    yield from [Odd("an array", X), Odd("a list", list(params)), Odd("a tuple", tuple(params)), Odd("empty", [])]
    first = params._fields[0]
    whole = getattr(params, first)
    for label, changed in [
        ("complex", whole + 1j),
        ("a row less", whole[1:]),
        ("None", None),
        ("text", "a"),
        ("bool", whole > 0),
    ]:
        yield Odd(f"{label} in it", params._replace(**{first: changed}))
    yield Odd("NaN in it", params._replace(**{first: whole * np.nan}), "nan" if given.nan == "nan" else "any")
    yield Odd("arrays of NumPy", jax.tree.map(np.asarray, params), "same")


def odd_functions(given: Given) -> Iterator[Odd]:
    yield from JUNK
    yield from [Odd("an array", X), Odd("returns None", lambda *_: None), Odd("returns text", lambda *_: "a")]
    yield from [Odd("returns a list of nothing", lambda *_: [])]


def odd_names(given: Given) -> Iterator[Odd]:
    yield from [odd for odd in JUNK if odd.label != "text"]
    yield from [
        Odd("unknown", str(given.value) + "h"),
        Odd("empty", ""),
        Odd("three", 3),
        Odd("an array", X),
        Odd("NaN", float("nan")),
    ]
    if isinstance(given.value, str):
        yield Odd("bytes of it", given.value.encode(), "any" if given.kind == "dtype" else "refused")


def odd_things(given: Given) -> Iterator[Odd]:
    yield from JUNK
    yield from [Odd("an array", X), Odd("three", 3), Odd("True", True)]


def odd_lists(given: Given) -> Iterator[Odd]:
    yield from [odd for odd in JUNK if odd.label not in ("a dict",)]
    yield from [Odd("three", 3), Odd("of objects", [Unprintable()]), Odd("of None", [None]), Odd("NaN", [float("nan")])]


def odd_data(given: Given) -> Iterator[Odd]:
    x, y = given.value
    yield from odd_things(given)
    yield from [
        Odd("one part", (x,)),
        Odd("three parts", (x, y, y)),
        Odd("too few", (x, y[:1])),
        Odd("NaN", (x * np.nan, y)),
    ]
    yield from [
        Odd("complex", (x + 1j, y)),
        Odd("texts", (x.astype(str), y)),
        Odd("classes too large", (x, y + 7)),
        Odd("bool", (x > 0, y), "any"),
    ]
    yield from [
        Odd("complex targets", (x, y + 1j)),
        Odd("no axis", (x[0], y)),
        Odd("empty", (x[:0], y[:0])),
        Odd("NaN targets", (x, y * np.nan)),
    ]


def odd_over(given: Given) -> Iterator[Odd]:
    yield from JUNK
    yield from [
        Odd("a list", ["weight_scale"]),
        Odd("unknown", {"weight_scal": [1.0]}),
        Odd("no values", {"weight_scale": []}),
    ]
    for label, value in [
        ("text", "a"),
        ("NaN", float("nan")),
        ("complex", 1j),
        ("True", True),
        ("None", None),
        ("10**400", 10**400),
        ("a list", [1.0]),
    ]:
        yield Odd(f"{label} in it", {"weight_scale": [1.0, value]})
    yield Odd("a fraction of a width", {"width": [3, 2.5]})
    yield Odd("a huge width", {"width": [3, 10**30]})


ODD: dict[str, Callable[[Given], Iterator[Odd]]] = {
    "integer": odd_integers, "sizes": odd_integers, "counts": odd_integers, "number": odd_numbers, "scalar": odd_scalars, "family": odd_families,
    "array": odd_arrays, "key": odd_keys, "network": odd_networks, "params": odd_params, "function": odd_functions,
    "name": odd_names, "dtype": odd_names, "activation": odd_names, "list": odd_lists, "callable": odd_things, "data": odd_data, "over": odd_over,
}  # fmt: skip


def odd_values(given: Given) -> list[Odd]:
    """Return the odd values of an argument."""
    found = list(ODD.get(given.kind, odd_things)(given))
    if given.kind in ("sizes", "counts"):
        found = [odd for odd in found if odd.label not in ("an array of two", "a list", "a float")]
    return found if given.optional else [NONE, *found]


def traced_values(call: Call, given: Given) -> list[Odd]:
    """Return what a trace passes: under jit, and under vmap. Pure functions answer; others may refuse it."""
    if given.kind in ("integer", "number", "sizes"):
        return [Odd("traced", TRACED, "any")]
    if given.kind not in ("scalar", "array", "key"):
        return []
    return [
        Odd("traced", TRACED, "answer" if call.pure else "any"),
        *([Odd("vmapped", VMAPPED, "answer")] if call.pure else []),
    ]
