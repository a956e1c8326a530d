"""Finds the nonlinear sites of a function in an abstract reading, before anything is computed.

A site is a chain of elementwise primitives between two things that are not elementwise, with at least one that is
nonlinear.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Literal

import jax
import jax.numpy as jnp

from jaxsat.activations import Activation
from jaxsat.jax_compat import ClosedJaxpr, Jaxpr, scopes_of, source_line
from jaxsat.probing import primitives as kinds
from jaxsat.probing.chains import Piece, before_shift, called, pieces
from jaxsat.probing.flow_points import FlowCollector, FlowPlace, chosen_places
from jaxsat.probing.naming import Identity
from jaxsat.probing.parts import Landmarks, Part, part_of, surroundings_of
from jaxsat.probing.reader import Context, Reader, Step, Use, Watch
from jaxsat.probing.reading import read, rule_of
from jaxsat.probing.values import Address, Arrays, InsideLoops, Loop, Value, distinct, key_of

Role = Literal["activation", "gate", "softmax", "normalization"]
GATES = ("sigmoid", "hard_sigmoid")
MOST_SUMMED = 4  # linear maps in one layer: a sum of more is a residual stream
LOSSES = ("log_sigmoid",)  # flat where a loss is near 0: after the last linear map it is the loss's own


@dataclasses.dataclass(frozen=True)
class SiteDescription(InsideLoops):
    """What a nonlinear site is and where it stands, whatever the numbers.

    Attributes:
        path: modules and loops it is in, as the framework names them, and its kind.
        kind: name of the activation, else of the jitted function, else its primitives.
        role: 'activation'; 'gate' for a sigmoid that multiplies something; 'softmax'; 'normalization'.
        part: 'network', 'loss' or 'optimizer'.
        shape, dtype: of the pre-activation.
        where: its source line.
        activation: the catalogue's record, if it has one.
        max_slope: largest |slope|, where it is known.
        unit_axes: axes of the units.
        loops: the loops around it, outermost first.
        root, end: keys of the pre-activation and of the result.
        address: of the pre-activation.
        weights: which arguments the weights of the linear maps are whose sum the pre-activation is; -1: a constant.
        axes: of a softmax: those that it sums over.
        attention: whether it is a softmax of products of two data.
        maps: addresses of the linear maps whose sum the pre-activation is.
    """

    path: str
    kind: str
    role: Role
    part: Part
    shape: tuple[int, ...]
    dtype: str
    where: str
    activation: Activation | None
    max_slope: float | None
    unit_axes: tuple[int, ...]
    loops: tuple[Loop, ...]
    root: str
    end: str
    address: Address
    weights: tuple[int, ...]
    axes: tuple[int, ...]
    attention: bool
    maps: tuple[Address, ...]

    @property
    def has_own_weights(self) -> bool:
        """Whether it follows the linear maps of one layer, such as those of an input and of a state.

        What takes a residual stream follows the maps of all branches before it.
        """
        several = self.role in ("activation", "gate") and len(self.maps) <= MOST_SUMMED
        return len(self.maps) < 2 or several


@dataclasses.dataclass(frozen=True)
class Survey:
    """What an abstract reading of a function finds.

    Attributes:
        sites: in program order.
        cuts: addresses of the values that end chains.
        unread: primitives that were not understood, with their source lines.
        products: which argument a weight or a scale is that data are multiplied by, by the product's address.
        places: where else the gradient is measured.
        maps: addresses of the linear maps, those of backward passes left out.
    """

    sites: tuple[SiteDescription, ...]
    cuts: frozenset[Address]
    unread: tuple[tuple[str, str], ...]
    products: Mapping[Address, int]
    places: tuple[FlowPlace, ...]
    maps: frozenset[Address]


def survey_of(closed: ClosedJaxpr, leaves: Arrays, names: Sequence[str] = ()) -> Survey:
    """Return the sites of a jaxpr. `names` of its arguments name sites that are in no module.

    It is read until nothing new comes up: each reading learns which values are used by themselves, and the next one
    ends chains at them, which may let others be used by themselves.
    """
    cuts: frozenset[Address] = frozenset()
    while True:
        finder, flow, marks = _Finder(names), FlowCollector(), Landmarks()
        context = Context(rule_of, finder.hear, watch=both(flow.watch, marks.watch), cuts=cuts)
        jax.eval_shape(lambda arrays: read(context, closed.jaxpr, closed.consts, arrays, {})[0], list(leaves))
        if finder.ends <= cuts:
            break
        cuts |= finder.ends
    sites = with_parts(closed.jaxpr, sorted(finder.sites.values(), key=_place_in_program), marks)
    places = chosen_places(flow.places, [site.root for site in sites], [site.maps for site in sites])
    paths = distinct([site.path for site in sites])
    sites = [dataclasses.replace(site, path=path) for site, path in zip(sites, paths, strict=True)]
    return Survey(tuple(sites), cuts, tuple(context.unread), dict(context.products), places, frozenset(marks.maps))


def both(one: Watch, other: Watch) -> Watch:
    """Return a watch that tells two."""

    def watch(reader: Reader, step: Step, outputs: Sequence[Value]) -> None:
        one(reader, step, outputs)
        other(reader, step, outputs)

    return watch


def with_parts(jaxpr: Jaxpr, sites: Sequence[SiteDescription], marks: Landmarks) -> list[SiteDescription]:
    """Return the sites, each with the part of the program that it is in."""
    around = surroundings_of(jaxpr, [site.address for site in sites], marks)

    def part(site: SiteDescription) -> Part:
        softmax = site.role == "softmax"
        is_activation = site.role == "normalization" or (site.activation is not None and site.unit_axes != ())
        mapped = bool(site.maps) and not softmax
        if site.kind in LOSSES:
            is_activation = mapped = False
        return part_of(around.get(site.address), is_activation, mapped)

    return [dataclasses.replace(site, part=part(site)) for site in sites]


class _Finder:
    """Listens to a reading and writes down the sites, by the keys of their pre-activation and end."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.sites: dict[tuple[str, str], SiteDescription] = {}
        self.ends: set[Address] = set()
        self.softmaxes: set[str] = set()

    def hear(self, use: Use) -> None:
        value = use.value
        if use.by == "normalization":
            operands = value.recipe.inputs if value.recipe else []
            live = [one for one in operands if not one.facts.uniform and not one.facts.coefficient]
            piece = Piece(value, before_shift(live[0]), Identity(None, None, None), frozenset())
            self.write(use, piece, "normalization", "normalization")
            return
        nodes = list(value.ancestors())
        if not any(node.nonlinear for node in nodes[:-1]):
            return
        self.ends.add(value.address)
        for piece in pieces(nodes):
            self.judge(use, piece)

    def judge(self, use: Use, piece: Piece) -> None:
        """Write down a piece of a chain if it is a site: losses, guards and normalisers are none."""
        end, root, used = piece.end, piece.root, piece.primitives
        if end.recipe is None or "transpose(" in "".join(scopes_of(end.recipe.equation)):
            return  # a backward pass inside the function
        if not root.facts.alive or jnp.shape(root.array) != jnp.shape(end.array) or 0 in jnp.shape(root.array):
            return
        if root.facts.reduced and use.by not in kinds.LINEAR:
            return  # a variance's clamp, a norm's floor
        if piece.known.name is None and used <= kinds.PLAIN:
            if "exp" in used and use.by == "reduce_sum":
                self.write(use, piece._replace(end=end, root=before_shift(root)), "softmax", "softmax")
                return
            if use.by not in kinds.LINEAR:
                return
        if piece.known.name == "identity":
            return
        if piece.known.name is None and use.by == "stop_gradient":
            return  # the forward half of a straight-through estimator
        kind = piece.known.name or called(end, root) or "+".join(sorted(used))
        self.write(use, piece, kind, "gate" if use.by == "gate" and kind in GATES else "activation")

    def module_of(self, root: Value) -> list[str]:
        """Return the module that the weight before a site lies in, by the weight's path; empty if there is none."""
        leaves = {weight.leaf for weight in root.facts.maps}
        if len(leaves) != 1:
            return []
        (leaf,) = leaves
        return module_path(self.names[leaf]) if isinstance(leaf, int) and 0 <= leaf < len(self.names) else []

    def write(self, use: Use, piece: Piece, kind: str, role: Role) -> None:
        end, root = piece.end, piece.root
        key = (key_of(root.address), key_of(end.address))
        if role == "gate" and key in self.sites:  # used before as something else, such as in pieces
            self.sites[key] = dataclasses.replace(self.sites[key], role=role)
        if key in self.sites or (role == "softmax" and key[0] in self.softmaxes):
            return
        self.softmaxes |= {key[0]} if role == "softmax" else set()
        assert end.recipe is not None, kind
        equation = end.recipe.equation
        stack = (*use.reader.position.path, *end.modules, *scopes_of(equation))
        line = source_line(equation) or end.line or "unknown line"
        self.sites[key] = SiteDescription(
            path="/".join([*(stack or self.module_of(root) or [line]), kind]),
            kind=kind,
            role=role,
            part="network",
            shape=tuple(jnp.shape(root.array)),
            dtype=str(root.array.dtype),
            where=line,
            activation=piece.known.activation,
            max_slope=piece.known.max_slope,
            unit_axes=root.facts.unit_axes,
            loops=use.reader.position.loops,
            root=key[0],
            end=key[1],
            address=root.address,
            weights=tuple(-1 if weight.leaf is None else weight.leaf for weight in root.facts.maps),
            axes=tuple(map(int, use.equation.params["axes"])) if role == "softmax" and use.equation else (),
            attention=role == "softmax" and root.facts.scores,
            maps=tuple(weight.map for weight in root.facts.maps),
        )


def module_path(name: str) -> list[str]:
    """Return the modules that a parameter is in, by its path in the arguments; empty if names say nothing.

    >>> module_path("args[0].layers[0].dense.kernel.value"), module_path("args[0][3]")
    (['layers', '0', 'dense'], [])
    """
    words = re.findall(r"\w+", name)
    start = 2 if words[:1] == ["args"] else 1
    words = [word for word in words[start:] if word not in ("value", "raw_value", "params")]
    return words[:-1] if any(not word.isdigit() for word in words[:-1]) else []


def part_in_order(part: int | str) -> tuple[int, str]:
    """Return a part of an address as something that sorts in the order of execution."""
    return (part, "") if isinstance(part, int) else (-1 if part in ("in", "const") else 10**9, part)


def _place_in_program(site: SiteDescription) -> tuple[tuple[int, str], ...]:
    return tuple(map(part_in_order, site.address))
