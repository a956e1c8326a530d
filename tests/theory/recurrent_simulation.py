"""Recurrent networks in NumPy, written from the equations of the cells: the witness against which theory is tested.

With untied weights, W x for a gaussian W that is drawn anew is exactly gaussian, with the Gram matrix of the vectors x it
acts on. So a network of any width is simulated without matrices, and exactly. With tied weights there are matrices.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.special import expit


@dataclasses.dataclass
class Settings:
    cell: str
    w: float
    b: float
    v: float
    gate_bias: float
    c: float = 1.0  # correlation of the inputs of the two sequences
    width: int = 1000
    replicas: int = 8
    tied: bool = False


@dataclasses.dataclass
class Seen:
    """Per replica and step: mean square, correlation of two sequences, and growth of a squared tangent."""

    square: np.ndarray
    correlation: np.ndarray
    log_growth: np.ndarray
    growth: np.ndarray


ROWS = {"tanh": 1, "minimal": 1, "gru": 3, "lstm": 4}


class Weights:
    def __init__(self, of: Settings, rng: np.random.Generator):
        self.of, self.rng = of, rng
        if of.tied:
            self.matrices = rng.standard_normal((of.replicas, ROWS[of.cell], of.width, of.width)) * of.w / of.width**0.5
            self.biases = rng.standard_normal((of.replicas, ROWS[of.cell], 1, of.width)) * of.b

    def times(self, x, rows):
        """W_r x for vectors x of shape (replica, vector, width): (replica, row, vector, width)."""
        if self.of.tied:
            return np.einsum("aroi,aki->arko", self.matrices[:, rows], x, optimize=True)
        values, vectors = np.linalg.eigh(np.einsum("aki,ali->akl", x, x) / self.of.width)
        root = vectors * np.sqrt(np.maximum(values, 0))[:, None, :]
        z = self.rng.standard_normal((len(x), len(rows), x.shape[1], self.of.width))
        return self.of.w * np.einsum("akl,arli->arki", root, z)

    def bias(self, rows):
        if self.of.tied:
            return self.biases[:, rows]
        return self.of.b * self.rng.standard_normal((self.of.replicas, len(rows), 1, self.of.width))

    def inputs(self, rows):
        """Of two sequences with correlated inputs; a fresh input is gaussian in each unit, for fixed weights too."""
        z = self.rng.standard_normal((2, self.of.replicas, rows, self.of.width))
        other = self.of.c * z[0] + np.sqrt(1 - self.of.c**2) * z[1]
        return np.stack([z[0], other], axis=2)


def simulate(of: Settings, steps: int, seed: int = 0, start: float = 1.0) -> Seen:
    """The last third-dimension vectors are: state of sequence a, of sequence b, tangent at a."""
    rng = np.random.default_rng(seed)
    weights = Weights(of, rng)
    x = start * rng.standard_normal((of.replicas, 3, of.width))
    if of.c == 1:
        x[:, 1] = x[:, 0] + 0.3 * x[:, 1]
    c = x.copy()
    found = []
    for _ in range(steps):
        x, c = STEPS[of.cell](of, weights, x, c)
        size = np.sum(x[:, 2] ** 2, axis=1) + (np.sum(c[:, 2] ** 2, axis=1) if of.cell == "lstm" else 0)
        x[:, 2] /= np.sqrt(size)[:, None]
        c[:, 2] /= np.sqrt(size)[:, None]
        square, other, both = (np.mean(x[:, i] * x[:, j], axis=1) for i, j in ((0, 0), (1, 1), (0, 1)))
        found.append((square, both / np.sqrt(np.maximum(square * other, 1e-300)), np.log(size), size))
    return Seen(*(np.moveaxis(np.array(f), 0, 1) for f in zip(*found, strict=True)))


def _gate(a, tangent):
    """Values of a gate in both sequences and its tangent in the first."""
    u = expit(a)
    return u, (u * expit(-a))[:, 0] * tangent


def _tanh_of(a, tangent):
    return np.tanh(a), tangent / np.cosh(np.clip(a[:, 0], -300, 300)) ** 2


def _arguments(of, weights, x, rows, inputs):
    """a_r of both sequences, and tangents of the first."""
    product = weights.times(x, rows)
    a = product[:, :, :2] + inputs + weights.bias(rows)
    return [(a[:, r], product[:, r, 2]) for r in range(len(rows))]


def _joined(both, tangent):
    return np.concatenate([both, tangent[:, None]], axis=1)


def _tanh_step(of, weights, x, c):
    ((a, t),) = _arguments(of, weights, x, [0], of.v * weights.inputs(1))
    return _joined(*_tanh_of(a, t)), c


def _mixed(u, du, x, new, dnew):
    both = u * x[:, :2] + (1 - u) * new
    return _joined(both, u[:, 0] * x[:, 2] + du * (x[:, 0] - new[:, 0]) + (1 - u)[:, 0] * dnew)


def _minimal_step(of, weights, x, c):
    z = np.tanh(of.v * weights.inputs(1))[:, 0]
    if of.tied and not hasattr(weights, "embedded"):
        weights.embedded = weights.rng.standard_normal((of.replicas, of.width, of.width)) / of.width**0.5
    if of.tied:
        inputs = of.v * np.einsum("aoi,aki->ako", weights.embedded, z)
    else:
        values, vectors = np.linalg.eigh(np.einsum("aki,ali->akl", z, z) / of.width)
        root = vectors * np.sqrt(np.maximum(values, 0))[:, None, :]
        inputs = of.v * np.einsum("akl,ali->aki", root, weights.rng.standard_normal(z.shape))
    ((a, t),) = _arguments(of, weights, x, [0], inputs[:, None])
    u, du = _gate(a + of.gate_bias, t)
    return _mixed(u, du, x, z, np.zeros_like(du)), c


def _gru_step(of, weights, x, c):
    inputs = of.v * weights.inputs(3)
    (keep, t_keep), (reset, t_reset) = _arguments(of, weights, x, [1, 2], inputs[:, 1:])
    u, du = _gate(keep + of.gate_bias, t_keep)
    r, dr = _gate(reset, t_reset)
    seen = _joined(r * x[:, :2], r[:, 0] * x[:, 2] + dr * x[:, 0])
    ((a, t),) = _arguments(of, weights, seen, [0], inputs[:, :1])
    return _mixed(u, du, x, *_tanh_of(a, t)), c


def _lstm_step(of, weights, x, c):
    candidate, keep, write, show = _arguments(of, weights, x, [0, 1, 2, 3], of.v * weights.inputs(4))
    g, dg = _tanh_of(*candidate)
    f, df = _gate(keep[0] + of.gate_bias, keep[1])
    i, di = _gate(*write)
    o, do = _gate(*show)
    inner = f * c[:, :2] + i * g
    tangent = f[:, 0] * c[:, 2] + df * c[:, 0] + di * g[:, 0] + i[:, 0] * dg
    shown, dshown = _tanh_of(inner, tangent)
    return _joined(o * shown, o[:, 0] * dshown + do * shown[:, 0]), _joined(inner, tangent)


STEPS = {"tanh": _tanh_step, "minimal": _minimal_step, "gru": _gru_step, "lstm": _lstm_step}
