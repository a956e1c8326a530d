"""Calls of LAPACK in a compiled program wait for each other: two at once can hang a machine of two cores for good."""

import functools
import itertools
import re

import jax
import jax.numpy as jnp
import pytest

from jaxsat import spectrum
from tests.quick_cases import quick_first

INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?([\w.-]+) = .*?\b[a-z][\w-]*\((.*)$")
HEAD = re.compile(r"^(?:ENTRY )?%?([\w.-]+) \(.*\{$")


def computations(text):
    """Name -> instructions, each a name, the names on its right side, and whether it calls LAPACK itself."""
    found, own = {}, {}
    for line in text.splitlines():
        if head := HEAD.match(line):
            own = found.setdefault(head[1], {})
        elif instruction := INSTRUCTION.match(line):
            names = set(re.findall(r"%([\w.-]+)", line)) - {instruction[1]}
            own[instruction[1]] = names, "lapack_" in line
    return found


def unordered(text):
    """Pairs of instructions that call LAPACK, or a computation that does, of which neither waits for the other."""
    all_of = computations(text)

    @functools.cache
    def calls(computation):
        return any(
            itself or any(name in all_of and calls(name) for name in names)
            for names, itself in all_of[computation].values()
        )

    pairs = []
    for instructions in all_of.values():

        @functools.cache
        def before(name, instructions=instructions):
            operands = {n for n in instructions[name][0] if n in instructions}
            return operands.union(*(before(n) for n in operands))

        heavy = [
            name for name, (names, itself) in instructions.items()
            if itself or any(n in all_of and calls(n) for n in names)
        ]  # fmt: skip
        pairs += [(a, b) for a, b in itertools.combinations(heavy, 2) if a not in before(b) and b not in before(a)]
    return pairs


def test_what_nothing_orders_is_seen():
    two = jax.vmap(lambda a, b: (jnp.linalg.qr(a)[1], jnp.linalg.qr(b)[1]))
    assert len(unordered(jax.jit(two).lower(*jnp.ones((2, 3, 4, 4))).compile().as_text())) > 0
    chained = jax.vmap(lambda a, b: jnp.linalg.qr(b @ jnp.linalg.qr(a, mode="r"), mode="r"))
    assert not unordered(jax.jit(chained).lower(*jnp.ones((2, 3, 4, 4))).compile().as_text())


PROGRAMS = {
    "errors": functools.partial(spectrum.log_singular_values_of_product, with_error=True),
    "values": spectrum.log_singular_values_of_product,
    "every depth": functools.partial(spectrum.log_singular_values_of_product, every_depth=True),
    "exponents": spectrum.lyapunov_exponents,
}


@pytest.mark.parametrize("name", quick_first(PROGRAMS))
def test_decompositions_are_ordered(name):
    """Looked at as a batch: single matrices need no threads."""
    arguments = jnp.ones((3, 6, 5, 5)), jnp.zeros((3, 6, 5)), jnp.ones((3, 6, 5))
    text = jax.jit(jax.vmap(PROGRAMS[name])).lower(*arguments).compile().as_text()
    assert "lapack_" in text
    assert unordered(text) == []
