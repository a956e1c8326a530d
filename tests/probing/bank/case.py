"""What a model of the bank is, and how its numbers are drawn."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np


@dataclasses.dataclass(frozen=True)
class Fault:
    """A planted fault, and what a report must say of it.

    Attributes:
        name: what is wrong.
        codes: the findings that may name it; none: nothing may be found, but something must be said.
        said: of its place or its cause.
        advised: of its advice, which makes the healthy model of the faulty one if it is followed; '' where there is none.
    """

    name: str
    codes: tuple[str, ...]
    said: str
    advised: str = ""


@dataclasses.dataclass(frozen=True)
class Model:
    """build(fault) gives a function and its arguments, parameters first; fault None is the healthy model.

    Attributes:
        name, build, faults: as they are called here.
        library: whose layers these are, or whose users train such models.
        steps: of training that a healthy model is given before it is probed again.
    """

    name: str
    library: str
    build: Callable[[str | None], tuple[Callable[..., Any], tuple[Any, ...]]]
    faults: tuple[Fault, ...]
    steps: int


MODELS: dict[str, Model] = {}


def model(library: str, *faults: Fault, steps: int = 300) -> Callable[[Any], Any]:
    """Return a decorator that puts a builder into the bank, under its name."""

    def add(build: Any) -> Any:
        MODELS[build.__name__] = Model(build.__name__, library, build, faults, steps)
        return build

    return add


def draws(seed: int, *shape: int, scale: float = 1.0) -> np.ndarray:
    return (scale * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


def square(seed: int, width: int) -> np.ndarray:
    return draws(seed, width, width, scale=width**-0.5)


def filled(shapes: Any) -> Any:
    """Return parameters of these shapes as most libraries draw them: weights of variance 1 / fan-in, scales 1, biases 0."""

    def draw(path: Any, leaf: Any) -> np.ndarray:
        name, kind = jax.tree_util.keystr(path), np.dtype(leaf.dtype)
        if len(leaf.shape) < 2:
            return np.full(leaf.shape, 1.0 if "scale" in name or ("norm" in name and "weight" in name) else 0.0, kind)
        fan_in = leaf.shape[1] if name.endswith(".weight") else np.prod(leaf.shape[:-1])
        return draws(sum(map(ord, name)), *leaf.shape, scale=float(fan_in) ** -0.5)

    return jax.tree_util.tree_map_with_path(draw, shapes)
