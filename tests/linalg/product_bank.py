"""Products of matrices in every position: independent, tied, triangular, graded, nearly singular, undone again.

All have one shape, so that one program serves them; short products are filled up with identities.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

N, LAYERS = 6, 40


class Product(NamedTuple):
    """W_1 .. W_L as h = W x, and ln |D| and signs of D, or None."""

    name: str
    weights: np.ndarray
    log_abs_slopes: np.ndarray
    signs: np.ndarray


def products(seed: int) -> Iterator[Product]:
    """Give one product of each kind."""
    for name, make in KINDS.items():
        rng = np.random.default_rng([seed, len(name)])
        made = make(rng)
        factors, logs = made if isinstance(made, tuple) else (made, np.zeros((len(made), N)))
        missing = LAYERS - len(factors)
        weights = np.concatenate([np.stack(factors), np.broadcast_to(np.eye(N), (missing, N, N))])
        logs = np.concatenate([logs, np.zeros((missing, N))])
        yield Product(name, weights, logs, np.where(np.isneginf(logs), 0.0, 1.0))


def gaussian(rng: np.random.Generator, layers: int = LAYERS) -> np.ndarray:
    return rng.normal(size=(layers, N, N)) / np.sqrt(N)


def tied(matrix: np.ndarray, layers: int = LAYERS) -> np.ndarray:
    return np.broadcast_to(matrix, (layers, N, N))


def haar(rng: np.random.Generator) -> np.ndarray:
    return np.linalg.qr(rng.normal(size=(N, N)))[0]


def toeplitz() -> np.ndarray:
    return np.eye(N) + np.eye(N, k=1) / 2 + np.eye(N, k=2) / 4


def defective(rng: np.random.Generator) -> np.ndarray:
    base = rng.normal(size=(N, N))
    return base @ (np.eye(N) + np.eye(N, k=1)) @ np.linalg.inv(base)


def near_rank_one(rng: np.random.Generator, noise: float, layers: int) -> np.ndarray:
    return np.outer(*rng.normal(size=(2, N))) / N + noise * gaussian(rng, layers)


def undone(factors: np.ndarray) -> np.ndarray:
    return np.concatenate([factors, np.linalg.inv(factors)[::-1]])


def slopes(rng: np.random.Generator, spread: float, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return weights, -spread * np.abs(rng.normal(size=(len(weights), N)))


def masks(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    alive = rng.uniform(size=(LAYERS, N)) < 0.95
    alive[:, :2] = True
    return gaussian(rng), np.where(alive, 0.0, -np.inf)


def recurrent(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    weight, h, logs = 2 * gaussian(rng, 1)[0], rng.normal(size=N), []
    for _ in range(LAYERS):
        h = np.tanh(weight @ h)
        logs.append(np.log1p(-(h**2)))
    return tied(weight), np.array(logs)


def companion(rng: np.random.Generator) -> np.ndarray:
    matrix = np.eye(N, k=-1)
    matrix[:, -1] = rng.normal(size=N)
    return matrix


def stochastic(rng: np.random.Generator, layers: int) -> np.ndarray:
    made = np.abs(rng.normal(size=(layers, N, N)))
    return made / made.sum(axis=2, keepdims=True)


def positions(rng: np.random.Generator) -> np.ndarray:
    return np.sort(rng.uniform(0.1, 1.0, N))


SIZES = 10.0 ** np.linspace(-20, 20, N)
KAHAN = np.diag(0.8 ** np.arange(N)) @ (np.eye(N) - 0.6 * np.triu(np.ones((N, N)), 1))
HILBERT = 1 / (np.arange(N)[:, None] + np.arange(N) + 1.0)
CLEMENT = np.diag(np.arange(1.0, N), 1) + np.diag(np.arange(N - 1.0, 0, -1), -1)
PAIRS = np.diag(np.repeat(np.arange(1.0, N // 2 + 1), 2))

KINDS: dict[str, Callable[[np.random.Generator], np.ndarray | tuple[np.ndarray, np.ndarray]]] = {
    "gaussian": gaussian,
    "gaussian, tied": lambda rng: tied(gaussian(rng, 1)[0]),
    "orthogonal": lambda rng: np.stack([haar(rng) for _ in range(LAYERS)]),
    "orthogonal, tied": lambda rng: tied(haar(rng)),
    "residual": lambda rng: np.eye(N) + 0.3 * gaussian(rng),
    "residual, tied": lambda rng: tied(np.eye(N) + 0.3 * gaussian(rng, 1)[0]),
    "upper Toeplitz, tied": lambda rng: tied(toeplitz()),
    "lower Toeplitz, tied": lambda rng: tied(toeplitz().T),
    "upper triangular": lambda rng: np.triu(gaussian(rng)),
    "lower triangular": lambda rng: np.tril(gaussian(rng)),
    "upper triangular, tied": lambda rng: tied(np.triu(gaussian(rng, 1)[0])),
    "lower triangular, tied": lambda rng: tied(np.tril(gaussian(rng, 1)[0])),
    "triangular, turned, tied": lambda rng: tied((q := haar(rng)) @ np.triu(gaussian(rng, 1)[0]) @ q.T),
    "unit triangular, tied": lambda rng: tied(np.eye(N) + 0.3 * np.triu(rng.normal(size=(N, N)), 1)),
    "Jordan block, tied": lambda rng: tied(0.9 * np.eye(N) + np.eye(N, k=1)),
    "defective, tied": lambda rng: tied(defective(rng)),
    "rank one + 1e-6": lambda rng: near_rank_one(rng, 1e-6, LAYERS),
    "rank one + 1e-12": lambda rng: near_rank_one(rng, 1e-12, LAYERS),
    "rank one + 1e-15": lambda rng: near_rank_one(rng, 1e-15, LAYERS),
    "rank one + 1e-6, tied": lambda rng: tied(near_rank_one(rng, 1e-6, 1)[0]),
    "columns 1e-20 .. 1e20": lambda rng: gaussian(rng, 6) * SIZES,
    "rows 1e-20 .. 1e20": lambda rng: gaussian(rng, 6) * SIZES[:, None],
    "rows and columns": lambda rng: SIZES[:, None] * gaussian(rng, 3) * SIZES[::-1],
    "undone": lambda rng: undone(gaussian(rng, LAYERS // 2)),
    "undone, mild": lambda rng: undone(np.stack([haar(rng) * np.linspace(0.5, 1.5, N) for _ in range(LAYERS // 2)])),
    "Kahan, tied": lambda rng: tied(KAHAN),
    "Hilbert": lambda rng: tied(HILBERT, 12),
    "Hilbert and gaussian": lambda rng: HILBERT @ gaussian(rng, 12),
    "equal in pairs": lambda rng: np.stack([haar(rng) @ PAIRS @ haar(rng)]),
    "equal in pairs, tied": lambda rng: tied((q := haar(rng)) @ PAIRS @ q.T, 20),
    "Clement, tied": lambda rng: tied(CLEMENT, 10),
    "stochastic": lambda rng: stochastic(rng, LAYERS),
    "stochastic, tied": lambda rng: tied(stochastic(rng, 1)[0]),
    "companion, tied": lambda rng: tied(companion(rng)),
    "Vandermonde, tied": lambda rng: tied(np.vander(positions(rng), increasing=True), 8),
    "Cauchy, tied": lambda rng: tied(1 / ((x := positions(rng))[:, None] + x), 8),
    "sparse": lambda rng: gaussian(rng) * (rng.uniform(size=(LAYERS, N, N)) < 0.6),
    "bidiagonal": lambda rng: np.stack(
        [np.diag(np.exp(rng.normal(size=N))) + np.diag(np.exp(rng.normal(size=N - 1)), 1) for _ in range(LAYERS)]
    ),
    "zeros as of ReLU": masks,
    "slopes over exp(3)": lambda rng: slopes(rng, 3.0, gaussian(rng)),
    "slopes over exp(40)": lambda rng: slopes(rng, 40.0, gaussian(rng)),
    "slopes over exp(300)": lambda rng: slopes(rng, 300.0, gaussian(rng, 6)),
    "slopes over exp(12), tied": lambda rng: slopes(rng, 12.0, tied(gaussian(rng, 1)[0])),
    "a recurrent network": recurrent,
}
