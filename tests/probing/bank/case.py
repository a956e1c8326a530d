"""What a model of the bank is, and how its numbers are drawn."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Fault:
    """A planted fault: which codes may name it (none: a note must), and what the report must say of its place or cause."""

    name: str
    codes: tuple[str, ...]
    said: str


@dataclasses.dataclass(frozen=True)
class Model:
    """build(fault) gives a function and its arguments; fault None is the healthy model."""

    name: str
    build: Callable[[str | None], tuple[Callable[..., Any], tuple[Any, ...]]]
    faults: tuple[Fault, ...]


MODELS: dict[str, Model] = {}


def model(*faults: Fault) -> Callable[[Any], Any]:
    """Return a decorator that puts a builder into the bank, under its name."""

    def add(build: Any) -> Any:
        MODELS[build.__name__] = Model(build.__name__, build, faults)
        return build

    return add


def draws(seed: int, *shape: int, scale: float = 1.0) -> np.ndarray:
    return (scale * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


def square(seed: int, width: int) -> np.ndarray:
    return draws(seed, width, width, scale=width**-0.5)
