"""What people pass where something else is wanted, and what must come of it. Run it as a program: it prints what went wrong.

It runs in a process of its own, without the type checks of the other tests, as users run jaxsat. For each argument of each
sound call of `calls.py` there are odd values, each with what must come of it:

refused   an error
same      the answer to the sound value that it equals, or an error
nan       an answer with a NaN, or an error
any       any answer, or an error
answer    an answer: a pure function is traced

An error is right if jaxsat raised it itself, as TypeError or ValueError, in one line that says where and what came.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
import sys
import time
import traceback
import warnings
from collections.abc import Sequence
from typing import Any

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies

from tests.odd_arguments.calls import CALLS, public_names
from tests.odd_arguments.given import Call
from tests.odd_arguments.values import TRACED, VMAPPED, Odd, odd_values, traced_values

MUSTS = ("refused", "same", "nan", "any", "answer")
LINE = re.compile(r"[A-Za-z_][\w .`]*: \S.*")  # where: rule; got ...


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
    if any(frame.endswith("odd_arguments/given.py") for frame in frames):
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
    """Walk, once or more often: ``python -m tests.odd_arguments EXAMPLES MUST .. EXAMPLES MUST ..``.

    Or try all of some: ``python -m tests.odd_arguments all MUST .. NAME ..``.
    """
    warnings.simplefilter("error")
    count, *words = sys.argv[1:] or [""]
    if count.isdigit():
        starts = [i for i, word in enumerate(sys.argv) if word.isdigit()]
        for start, end in itertools.pairwise([*starts, len(sys.argv)]):
            walk(int(sys.argv[start]), sys.argv[start + 1 : end])
        return None
    if count != "all":
        sys.exit(main.__doc__)
    musts = [word for word in words if word in MUSTS]
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
