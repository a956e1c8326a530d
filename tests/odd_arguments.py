"""What people pass where something else is wanted, and what must come of it. Run it as a program: it prints what went wrong.

It runs in a process of its own, without the type checks of the other tests, as users run jaxsat. For each argument of each
sound call of `tests/public_calls.py` there are odd values, each with what must come of it:

refused   an error
same      the answer to the sound value that it equals, or an error
nan       an answer with a NaN, or an error
any       any answer, or an error
answer    an answer: a pure function is traced

An error is right if jaxsat raised it itself, as TypeError or ValueError, in one line that says where and what came.
"""

from __future__ import annotations

import dataclasses
import re
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies

from tests.public_calls import CALLS, KEY, Call, Given, X, public_names

MUSTS = ("refused", "same", "nan", "any", "answer")
TRACED, VMAPPED = object(), object()
LINE = re.compile(r"[A-Za-z_][\w .`]*: \S.*")  # where: rule; got ...


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


def answer_of(call: Call, argument: str, odd: Odd) -> Any:
    """Return what a call with an odd argument answers; None of it where it is traced only."""

    def called(value: Any) -> Any:
        return call.function(**{**call.values(), argument: value})

    if odd.value is not TRACED and odd.value is not VMAPPED:
        return called(odd.value)
    value = call.arguments[argument].value
    value = value if call.arguments[argument].kind == "key" else jnp.asarray(value)
    if odd.value is VMAPPED:
        return jax.eval_shape(jax.vmap(called), jnp.stack([value, value]))
    return jax.eval_shape(lambda value: (called(value), None)[1], value)


def wrong(name: str, argument: str, odd: Odd) -> str | None:
    """Call a function with an odd argument, and return what is wrong with what comes of it; None if nothing is."""
    call = CALLS[name]
    try:
        answer = answer_of(call, argument, odd)
    except Exception as error:
        return f"raised {_short(error)}" if odd.must == "answer" else wrong_error(error)
    if odd.must == "refused":
        return f"answered {_short(answer)}"
    if odd.must == "nan" and not has_nan(answer):
        return f"answered without a NaN: {_short(answer)}"
    return differs(answer, call.function(**call.values())) if odd.must == "same" else None


def wrong_error(error: Exception) -> str | None:
    """Return what is wrong with an error: not one line of jaxsat's own."""
    text, frames = str(error), [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    if any(frame.endswith("public_calls.py") for frame in frames):
        return None  # raised inside the user's own function
    raised = frames[-1]
    if "/jaxsat/" not in raised:
        return f"foreign {type(error).__name__} from {'/'.join(raised.split('/')[-2:])}: {text.splitlines()[:1]}"
    if not isinstance(error, (TypeError, ValueError, ArithmeticError)) or not LINE.fullmatch(text):
        return f"not one line: {type(error).__name__}: {text[:200]!r}"
    return None


def numbers_of(answer: Any) -> list[np.ndarray]:
    """Return the floating arrays of an answer, of whatever kind it is."""
    if hasattr(answer, "data_vars"):
        answer = {name: array.values for name, array in answer.data_vars.items()}
    if dataclasses.is_dataclass(answer) and not isinstance(answer, type):
        answer = {field.name: getattr(answer, field.name) for field in dataclasses.fields(answer)}
    leaves = [leaf for leaf in jax.tree.leaves(answer) if not callable(leaf)]
    arrays = [np.asarray(leaf) for leaf in leaves if not _is_key(leaf)]
    return [array.astype(float) for array in arrays if array.dtype.kind in "fiub"]


def _is_key(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def has_nan(answer: Any) -> bool:
    return any(np.isnan(array).any() for array in numbers_of(answer))


def differs(answer: Any, sound: Any) -> str | None:
    found, expected = numbers_of(answer), numbers_of(sound)
    if [a.shape for a in found] != [a.shape for a in expected]:
        return f"other shapes than the sound call: {[a.shape for a in found]}, {[a.shape for a in expected]}"
    for one, other in zip(found, expected, strict=True):
        # Computed in another precision at most: 1e-3 is far above float32's rounding in these small calls.
        if not np.allclose(one, other, rtol=1e-3, atol=1e-3, equal_nan=True):
            return f"another answer than the sound call: {_short(one)}, {_short(other)}"
    return None


def _short(value: Any) -> str:
    return " ".join(repr(value).split())[:80]


def places(musts: Sequence[str]) -> list[tuple[str, str, Odd]]:
    """Return the odd values of every argument of every function of which one of these things must come."""
    found = [
        (name, argument, odd)
        for name, call in CALLS.items()
        for argument, given in call.arguments.items()
        for odd in [*odd_values(given), *traced_values(call, given)]
    ]
    return [place for place in found if place[2].must in musts]


def shown(place: tuple[str, str, Odd]) -> str:
    name, argument, odd = place
    return f"{name}({argument}={odd.label})"


def walk(examples: int, musts: Sequence[str]) -> None:
    """Try that many odd arguments, the same ones each time."""
    assert public_names() == CALLS.keys(), f"calls of {public_names() ^ CALLS.keys()} are missing, or no longer public"

    @hypothesis.settings(
        max_examples=examples, derandomize=True, database=None, deadline=None, phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck), report_multiple_bugs=False,
    )  # fmt: skip
    @hypothesis.given(strategies.sampled_from(places(musts)))
    def every_answer_is_right_or_one_line(place: tuple[str, str, Odd]) -> None:
        what = wrong(*place)
        assert what is None, f"{shown(place)}: {what}"

    every_answer_is_right_or_one_line()


def main() -> None:
    """Walk: ``python -m tests.odd_arguments EXAMPLES MUST ..``; or all of some: ``.. all MUST .. NAME ..``."""
    warnings.simplefilter("error")
    count, *words = sys.argv[1:]
    musts = [word for word in words if word in MUSTS]
    if count != "all":
        return walk(int(count), musts)
    chosen = [word for word in words if word not in MUSTS]
    for place in places(musts):
        if not chosen or any(place[0].startswith(name) for name in chosen):
            begun = time.process_time()
            what = wrong(*place)
            if what is not None or time.process_time() - begun > 1:
                print(f"{shown(place)}: {what} ({time.process_time() - begun:.1f} s)", flush=True)
    return None


if __name__ == "__main__":
    main()
