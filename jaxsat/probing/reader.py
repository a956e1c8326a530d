"""Reads a jaxpr while evaluating it: follows every value, and closes elementwise chains where something else uses them.

Public JAX only: jaxprs come from ``jax.make_jaxpr`` and every equation is evaluated by ``jax.core.eval_jaxpr``, so a
function that is read computes what it computes. Jitted functions are looked into; scan, cond, while and remat are
evaluated as what they are, with a reader inside; custom derivative rules are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from jax.extend import core

from jaxsat.probing import loops
from jaxsat.probing import primitives as kinds
from jaxsat.probing.facts import is_data, is_minus_infinity, line_of, linear_map, stack_of, through
from jaxsat.probing.values import Address, Value, between, common_ancestor, evaluate

# How a reader tells of what it meets: a chain's end and the primitive that uses it; a normalisation; an unknown primitive.
Listener = Callable[["Reader", Value, str], None]


class Reader:
    """One evaluation of a jaxpr.

    Args:
        listener: told of every value that something other than an elementwise primitive uses, with that primitive's
            name ('gate' for a product with unrelated data, 'normalization' for one with an inverse root of sums).
        tap: applied to each new value, by its address; may return another array of the same shape and dtype.
        sinks: where gradients arrive, by key of address.
        cuts: addresses of values that chains stop at.

    The listener writes what it measures into `results`; out of a scan it comes with a leading axis for iterations.
    """

    def __init__(
        self,
        listener: Listener,
        tap: Callable[[Address, Any, Mapping[str, Any]], Any],
        sinks: Mapping[str, Any],
        cuts: frozenset[Address] = frozenset(),
        unread: dict[tuple[str, str], None] | None = None,
        path: tuple[str, ...] = (),
        loops: tuple[tuple[int, int | None, bool], ...] = (),
        inside: Address = (),
    ) -> None:
        self.listener, self.tap, self.sinks, self.cuts = listener, tap, sinks, cuts
        self.unread = {} if unread is None else unread
        self.path, self.loops, self.inside = path, loops, inside
        self.results: dict[str, Any] = {}
        self.equation: Any = None
        self.prefix: tuple[str, ...] = ()
        self.line = ""

    # --- values -------------------------------------------------------------------------------------------------

    def lift(self, array: Any, address: Address, **facts: Any) -> Value:
        array = self.tap(address, array, self.sinks)
        return Value(array, address, cut=address in self.cuts, modules=self.prefix, line=self.line, **facts)

    def use(self, value: Value, by: str) -> None:
        """Something that is not elementwise uses this value."""
        while value.before is not None:
            value = value.before
        if value.parent is not None and not value.uniform:
            self.listener(self, value, by)

    def run(
        self,
        closed: Any,
        inputs: Sequence[Value],
        address: Address,
        scope: tuple[str, ...] = (),
        constants: Sequence[Any] | None = None,
    ) -> list[Value]:
        """Values of the outputs. The jaxpr's constants, which may be given, are inputs that come before all others."""
        jaxpr = getattr(closed, "jaxpr", closed)
        if constants is None:
            constants = tuple(getattr(closed, "consts", ()))
        known: dict[Any, Value] = {}
        for i, (variable, constant) in enumerate(zip(jaxpr.constvars, constants, strict=True)):
            alive = jnp.issubdtype(jnp.result_type(constant), jnp.floating)
            uniform = jnp.ndim(constant) == 0
            known[variable] = self.lift(
                constant, (*address, "const", i), uniform=uniform, alive=alive, leaf=-1 if alive else None
            )
        known.update(zip(jaxpr.invars, inputs, strict=True))

        def read(atom):
            if isinstance(atom, core.Literal):
                return Value(atom.val, (), uniform=jnp.ndim(atom.val) == 0, alive=False)
            return known[atom]

        for n, equation in enumerate(jaxpr.eqns):
            outputs = self.step(equation, [read(atom) for atom in equation.invars], (*address, n), scope)
            known.update(zip(equation.outvars, outputs, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def step(self, equation: Any, inputs: list[Value], address: Address, scope: tuple[str, ...]) -> list[Value]:
        name, params = equation.primitive.name, equation.params
        if name in kinds.INLINE:
            inner = next((params[key] for key in ("jaxpr", "call_jaxpr") if key in params), None)
            if inner is not None:
                outside = self.prefix, self.line
                self.prefix, self.line = (*self.prefix, *stack_of(equation)), line_of(equation) or self.line
                label = (params["name"],) if "name" in params else ()
                outputs = self.run(inner, inputs, address, (*scope, *label))
                self.prefix, self.line = outside
                return outputs
        self.equation = equation
        if name in kinds.CUSTOM:
            return self.custom(equation, inputs, address, scope)
        if name in kinds.CHECKPOINT:
            return loops.checkpoint(self, equation, inputs, address)
        if name == "scan":
            return loops.scan(self, equation, inputs, address)
        if name == "cond":
            return loops.cond(self, equation, inputs, address)
        if name == "while":
            return loops.while_loop(self, equation, inputs, address)
        if name in kinds.ELEMENTWISE and len(equation.outvars) == 1:
            return self.elementwise(equation, inputs, address, scope)
        if name not in kinds.KNOWN:
            self.unread[name, line_of(equation) or self.line or "unknown line"] = None
        return self.other(equation, inputs, address, scope)

    # --- equations that are not loops ---------------------------------------------------------------------------

    def other(self, equation: Any, inputs: list[Value], address: Address, scope: tuple[str, ...]) -> list[Value]:
        name = equation.primitive.name
        arrays = evaluate(equation, [one.array for one in inputs])
        alive = any(one.alive for one in inputs)
        if name in kinds.SHAPE:
            return [self.reshaped(inputs[0], equation, arrays[0], address)]
        if name == "broadcast_in_dim":
            one = inputs[0]
            if one.uniform:
                made_by = (equation, inputs, 0)
                facts = {"alive": alive, "leaf": one.leaf, "reduced": one.reduced, "inverse_root": one.inverse_root}
                return [self.lift(arrays[0], (*address, 0), uniform=True, made_by=made_by, **facts)]
            if arrays[0].size == jnp.size(one.array):
                return [self.reshaped(one, equation, arrays[0], address)]
            self.use(one, name)
            facts = {
                "coefficient": True,
                "alive": alive,
                "leaf": one.leaf,
                "reduced": one.reduced,
                "inverse_root": one.inverse_root,
            }
            return [self.lift(arrays[0], (*address, 0), **facts)]
        for one in inputs:
            self.use(one, name)
        facts: dict[str, Any] = {"alive": alive, "scope": scope}
        if name in kinds.REDUCTIONS:
            facts["reduced"] = True
        if name in kinds.LINEAR:
            facts |= linear_map(equation, inputs)
        if name in ("slice", "split", "dynamic_slice", "unstack"):
            one = inputs[0]
            facts |= {
                "maps": one.maps,
                "bias": one.bias,
                "unit_axis": one.unit_axis,
                "leaf": one.leaf,
                "reduced": one.reduced,
            }
        return [
            self.lift(array, (*address, i), uniform=jnp.ndim(array) == 0, **facts) for i, array in enumerate(arrays)
        ]

    def reshaped(self, one: Value, equation: Any, array: Any, address: Address) -> Value:
        axis = -1
        if equation.primitive.name == "transpose":
            axis = equation.params["permutation"].index(one.unit_axis % max(jnp.ndim(one.array), 1))
        facts = {
            "alive": one.alive,
            "leaf": one.leaf,
            "reduced": one.reduced,
            "inverse_root": one.inverse_root,
            "maps": one.maps,
            "bias": one.bias,
        }
        coefficient, uniform = one.coefficient, one.uniform or jnp.ndim(array) == 0
        made_by = (equation, [one], 0) if uniform else None
        return self.lift(
            array, (*address, 0), unit_axis=axis, before=None if uniform else one, coefficient=coefficient,
            uniform=uniform, made_by=made_by, **facts,
        )  # fmt: skip

    def elementwise(
        self,
        equation: Any,
        inputs: list[Value],
        address: Address,
        scope: tuple[str, ...],
        known: tuple[bool, frozenset[str]] | None = None,
    ) -> list[Value]:
        """`known`: whether the equation as a whole is nonlinear, and its primitives, where that was found out before."""
        name = equation.primitive.name
        arrays = evaluate(equation, [one.array for one in inputs])
        inputs = [self.stretched(one, arrays[0], name) for one in inputs]
        wide = [one for one in inputs if not one.uniform]
        facts: dict[str, Any] = {
            "alive": any(one.alive for one in inputs),
            "scope": scope,
            "reduced": all(one.reduced or not one.alive for one in inputs) and any(one.reduced for one in inputs),
            "inverse_root": not any(is_data(one) for one in inputs)
            and (any(one.inverse_root for one in inputs) or (name in ("sqrt", "rsqrt") and inputs[0].reduced)),
        }
        if not wide:
            made = [(equation, inputs, k) for k in range(len(arrays))]
            return [self.lift(a, (*address, k), uniform=True, made_by=made[k], **facts) for k, a in enumerate(arrays)]
        live = [one for one in wide if not one.coefficient]
        scaled = any(one.inverse_root and (one.uniform or one.coefficient) for one in inputs)
        normalizes = name in ("mul", "div") and scaled and len(live) == 1 and is_data(live[0])
        facts["coefficient"] = not live
        live = live or wide
        if name in kinds.AFFINE | kinds.AFFINE_BESIDE_COEFFICIENTS:
            facts |= through(name, inputs, live)
        facts.setdefault("unit_axis", live[0].unit_axis)
        for one in live:
            if one.before is not None:
                self.use(one, name)
        base = common_ancestor(live)
        if base is None:
            by = "gate" if name == "mul" and sum(map(is_data, live)) > 1 else name
            for one in live:
                self.use(one, by)
            return [self.lift(array, (*address, k), **facts) for k, array in enumerate(arrays)]
        if known is None:
            affine = name in kinds.AFFINE or (
                name in kinds.AFFINE_BESIDE_COEFFICIENTS
                and len(live) == 1
                and not (name == "div" and live[0] is inputs[1])
            )
            affine = affine or (name == "max" and any(is_minus_infinity(one) for one in inputs))
            known = (False, frozenset()) if affine else (True, frozenset([name]))
        nonlinear, primitives = known
        for one in live:
            bends, more = between(one, base)
            nonlinear, primitives = nonlinear or bends, primitives | more
        facts |= {"parent": base, "nonlinear": nonlinear, "primitives": primitives}
        outputs = [
            self.lift(array, (*address, k), made_by=(equation, inputs, k), **facts) for k, array in enumerate(arrays)
        ]
        if normalizes:
            self.listener(self, outputs[0], "normalization")
        return outputs

    def stretched(self, one: Value, result: Any, by: str) -> Value:
        """An operand, as the coefficient that it is where its axes of length 1 are broadcast to the result's."""
        if one.uniform or one.coefficient or jnp.size(one.array) == result.size:
            return one
        self.use(one, by)
        facts = {"alive": one.alive, "leaf": one.leaf, "reduced": one.reduced, "inverse_root": one.inverse_root}
        return Value(one.array, one.address, coefficient=True, **facts)

    def custom(self, equation: Any, inputs: list[Value], address: Address, scope: tuple[str, ...]) -> list[Value]:
        """A function with its own derivative: one elementwise piece if it is that, else looked into for values only."""
        body = next(equation.params[key] for key in ("call_jaxpr", "fun_jaxpr") if key in equation.params)
        quiet = Reader(lambda *_: None, lambda _, array, __: array, {}, self.cuts)
        outputs = quiet.run(body, inputs, address, scope)
        live = [one for one in inputs if not one.uniform and not one.coefficient]
        base = common_ancestor(live) if live else None
        if base is not None and all(any(node is base for node in one.ancestors()) for one in outputs):
            bends, primitives = zip(*(between(one, base) for one in outputs), strict=True)
            names = next((one.scope for one in outputs if len(one.scope) > len(scope)), scope)
            return self.elementwise(equation, inputs, address, names, (any(bends), frozenset().union(*primitives)))
        for one in self.run(body, inputs, address, scope):
            self.use(one, "output")
        for one in inputs:
            self.use(one, "custom")
        arrays = evaluate(equation, [one.array for one in inputs])
        alive = any(one.alive for one in inputs)
        return [
            self.lift(array, (*address, "custom", k), alive=alive, uniform=jnp.ndim(array) == 0)
            for k, array in enumerate(arrays)
        ]

    # --- equations that hold jaxprs -----------------------------------------------------------------------------

    def child(
        self, address: Address, label: str, sinks: Mapping[str, Any], length: int | None = 0, reverse=False
    ) -> Reader:
        """A reader inside a loop of so many iterations (None: not known), or inside a branch (0)."""
        loops = self.loops if length == 0 else (*self.loops, (len(address), length, reverse))
        stack = (*self.path, *self.prefix, *stack_of(self.equation), *([label] if label else []))
        reader = Reader(self.listener, self.tap, sinks, self.cuts, self.unread, stack, loops, address)
        reader.line = line_of(self.equation) or self.line
        return reader

    def entering(self, outer: Sequence[Value], arrays: Sequence[Any]) -> list[Value]:
        """Values at the entrance of this reader's jaxpr: new roots."""
        return [
            self.lift(array, (*self.inside, "in", i), uniform=jnp.ndim(array) == 0, alive=one.alive, leaf=one.leaf)
            for i, (one, array) in enumerate(zip(outer, arrays, strict=True))
        ]

    def finish(self, outputs: Sequence[Value]) -> list[Any]:
        for one in outputs:
            self.use(one, "output")
        return [one.array for one in outputs]

    def within(self, address: Address) -> dict[str, Any]:
        """The sinks inside an equation; what comes out of it lies outside."""
        inside, outside = key_of(address), key_of((*address, "out"))
        return {k: sink for k, sink in self.sinks.items() if k.startswith(inside) and not k.startswith(outside)}

    def leaving(self, arrays: Sequence[Any], address: Address) -> list[Value]:
        return [self.lift(array, (*address, "out", k), uniform=jnp.ndim(array) == 0) for k, array in enumerate(arrays)]


def key_of(address: Address) -> str:
    """An address as a key that sorts and whose beginning is the key of what it lies in."""
    return "".join(f"{part}/" for part in address)
