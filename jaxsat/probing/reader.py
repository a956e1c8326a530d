"""Reads a jaxpr while evaluating it, and follows every value.

Every equation is evaluated by JAX's own evaluator, so a function that is read computes what it computes. Jitted
functions are looked into here; every other equation has a rule: see ``elementwise``, ``structure`` and ``loops``, and
``reading``, which joins them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxsat.jax_compat import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, called_jaxpr, opened, scopes_of, source_line
from jaxsat.probing import primitives as kinds
from jaxsat.probing.values import Address, Facts, Loop, Position, Recipe, Value, key_of


class Use(NamedTuple):
    """Something that is not elementwise uses a value: a chain may end here.

    Attributes:
        reader: which reading, and of which loop's body.
        value: what is used.
        by: name of the primitive that uses it; 'gate' for a product with unrelated data, 'normalization' for a product
            with an inverse root of sums, 'output' for a result of the function.
        equation: that uses it; None for 'output'.
        position: of that equation.
    """

    reader: Reader
    value: Value
    by: str
    equation: JaxprEqn | None
    position: Position


class Step(NamedTuple):
    """One equation about to be read."""

    equation: JaxprEqn
    inputs: Sequence[Value]
    address: Address
    position: Position

    @property
    def name(self) -> str:
        return self.equation.primitive.name


Rule = Callable[["Reader", Step], list[Value]]
Watch = Callable[["Reader", Step, Sequence[Value]], None]


def _nothing(use: Use) -> None:
    """Take no notice of a use."""


def _unwatched(reader: Reader, step: Step, outputs: Sequence[Value]) -> None:
    """Take no notice of an equation."""


def unchanged(reader: Reader, address: Address, array: Any) -> Any:
    """Return the array itself: no tap."""
    return array


@dataclasses.dataclass(frozen=True)
class Context:
    """What all readers of one reading share.

    Attributes:
        rules: how each primitive is read, by its name.
        listener: called with every use. It writes what it measures into the reader's `results`.
        tap: applied to each new value; may return another array of the same shape and dtype.
        watch: called after each equation that is not a jitted function, with its results.
        settle: applied to `results` at the end of each jaxpr, before they leave a loop.
        cuts: addresses of values that chains stop at.
        unread: primitives that were not understood, with their source lines: written by the readers.
        products: which argument a weight or a scale is that data are multiplied by, by the product's address: written by
            the readers.
    """

    rules: Callable[[JaxprEqn], Rule]
    listener: Callable[[Use], None] = _nothing
    tap: Callable[[Reader, Address, Any], Any] = unchanged
    watch: Watch = _unwatched
    settle: Callable[[Mapping[str, Any]], dict[str, Any]] = dict
    cuts: frozenset[Address] = frozenset()
    products: dict[Address, int] = dataclasses.field(default_factory=dict)
    unread: dict[tuple[str, str], None] = dataclasses.field(default_factory=dict)


class Reader:
    """One evaluation of a jaxpr: of the whole function, or of the body of a loop or a branch.

    Args:
        context: shared by all readers of one reading.
        position: where the jaxpr is.
        sinks: where gradients arrive, by key of address.

    What the listener measures is kept in `results`; it leaves a scan with a leading axis for iterations.
    """

    def __init__(self, context: Context, position: Position, sinks: Mapping[str, Any]) -> None:
        self.context, self.position, self.sinks = context, position, sinks
        self.results: dict[str, Any] = {}

    def run(
        self, jaxpr: Jaxpr | ClosedJaxpr, inputs: Sequence[Value], address: Address, position: Position | None = None,
        constants: Sequence[Any] | None = None,
    ) -> list[Value]:  # fmt: skip
        """Return the values of the outputs. The jaxpr's constants, which may be given, come before the inputs."""
        position = self.position if position is None else position
        body, own = opened(jaxpr)
        known: dict[Any, Value] = {}
        for i, (variable, array) in enumerate(
            zip(body.constvars, own if constants is None else constants, strict=True)
        ):
            alive = bool(jnp.issubdtype(jnp.result_type(array), jnp.floating))
            facts = Facts(uniform=jnp.ndim(array) == 0, alive=alive, leaf=-1 if alive else None)
            known[variable] = self.lift(array, (*address, "const", i), facts, position)
        known.update(zip(body.invars, inputs, strict=True))

        def read(atom: Any) -> Value:
            if isinstance(atom, Literal):
                return Value(atom.val, (), Facts(uniform=jnp.ndim(atom.val) == 0, alive=False))
            return known[atom]

        for n, equation in enumerate(body.eqns):
            operands = [read(atom) for atom in equation.invars]
            outputs = self.step(Step(equation, operands, (*address, n), position))
            known.update(zip(equation.outvars, outputs, strict=True))
        return [read(atom) for atom in body.outvars]

    def step(self, step: Step) -> list[Value]:
        """Return the results of one equation, by its rule. A jitted function is looked into."""
        equation, position = step.equation, step.position
        called = called_jaxpr(equation) if step.name in kinds.INLINE else None
        if called is None:
            outputs = self.context.rules(equation)(self, step)
            self.context.watch(self, step, outputs)
            return outputs
        label = (equation.params["name"],) if "name" in equation.params else ()
        inside = dataclasses.replace(
            position,
            modules=(*position.modules, *scopes_of(equation)),
            scope=(*position.scope, *label),
            line=source_line(equation) or position.line,
        )
        return self.run(called, step.inputs, step.address, inside)

    def lift(self, array: Any, address: Address, facts: Facts, position: Position, **links: Any) -> Value:
        """Return a new value. `links` are the other fields of Value."""
        array = self.context.tap(self, address, array)
        cut = address in self.context.cuts
        return Value(array, address, facts, cut=cut, modules=position.modules, line=position.line, **links)

    def use(self, value: Value, by: str, step: Step | None = None) -> None:
        """Tell the listener that something which is not elementwise uses this value."""
        while value.before is not None:
            value = value.before
        if value.parent is not None and not value.facts.uniform:
            equation, position = (step.equation, step.position) if step else (None, self.position)
            self.context.listener(Use(self, value, by, equation, position))

    def use_all(self, step: Step) -> None:
        for operand in step.inputs:
            self.use(operand, step.name, step)

    def not_understood(self, step: Step) -> None:
        line = source_line(step.equation) or step.position.line or "unknown line"
        self.context.unread[step.name, line] = None

    # --- bodies of loops and branches ---------------------------------------------------------------------------

    def measured(self) -> dict[str, Any]:
        """Return what the listener measured, as it leaves this reader's jaxpr."""
        return self.context.settle(self.results)

    def body(
        self, step: Step, label: str, sinks: Mapping[str, Any], part: Address = (), loop: Loop | None = None
    ) -> Reader:
        """Return a reader for a jaxpr inside an equation.

        Args:
            step: the equation.
            label: what the path calls it; '' for nothing.
            sinks: those inside.
            part: what its address has beyond the equation's.
            loop: if it runs more than once.
        """
        outside = step.position
        position = Position(
            path=(*outside.path, *outside.modules, *scopes_of(step.equation), *([label] if label else [])),
            loops=(*outside.loops, *([loop] if loop else [])),
            inside=(*step.address, *part),
            line=source_line(step.equation) or outside.line,
        )
        return Reader(self.context, position, sinks)

    def entering(self, outer: Sequence[Value], arrays: Sequence[Any], changing: Sequence[int] = ()) -> list[Value]:
        """Return the values at the entrance of this reader's jaxpr: new roots.

        Args:
            outer: the values outside.
            arrays: what they are inside.
            changing: indices of those that a loop carries: they are no parameters, even if they begin as such.
        """
        values = []
        for i, (value, array) in enumerate(zip(outer, arrays, strict=True)):
            facts = Facts(uniform=jnp.ndim(array) == 0, alive=value.facts.alive, leaf=value.facts.leaf)
            if i in changing:
                floating = bool(jnp.issubdtype(jnp.result_type(array), jnp.floating))
                facts = dataclasses.replace(facts, leaf=None, alive=floating)
            values.append(self.lift(array, (*self.position.inside, "in", i), facts, self.position))
        return values

    def finish(self, outputs: Sequence[Value]) -> list[Any]:
        """Return the arrays of the outputs, after telling that they are used."""
        for value in outputs:
            self.use(value, "output")
        return [value.array for value in outputs]

    def within(self, address: Address) -> dict[str, Any]:
        """Return the sinks inside an equation. What comes out of it lies outside."""
        inside, outside = key_of(address), key_of((*address, "out"))
        return {k: sink for k, sink in self.sinks.items() if k.startswith(inside) and not k.startswith(outside)}

    def leaving(self, arrays: Sequence[Any], step: Step) -> list[Value]:
        """Return the values that come out of a loop or branch: new roots."""
        return [
            self.lift(array, (*step.address, "out", k), Facts(uniform=jnp.ndim(array) == 0), step.position)
            for k, array in enumerate(arrays)
        ]

    def results_of(self, step: Step, arrays: Sequence[Any], facts: Facts, recipes: bool = False) -> list[Value]:
        """Return the values that an equation makes, all with the same facts, except that a scalar is uniform."""
        scope = step.position.scope
        return [
            self.lift(
                array, (*step.address, k), dataclasses.replace(facts, uniform=facts.uniform or jnp.ndim(array) == 0),
                step.position, scope=scope, recipe=Recipe(step.equation, step.inputs, k) if recipes else None,
            )
            for k, array in enumerate(arrays)
        ]  # fmt: skip
