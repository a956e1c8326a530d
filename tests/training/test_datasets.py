import itertools

import numpy as np
import pytest

from jaxsat.training import datasets


@pytest.mark.parametrize("split", [datasets.digits(), datasets.shapes(count=180, test=40)], ids=["digits", "shapes"])
def test_training_part_is_standardised_and_test_part_by_the_same_numbers(split):
    x, _ = split.train
    spread = x.std(0)
    np.testing.assert_allclose(x.mean(0), 0, atol=1e-12)
    assert np.all(np.isclose(spread, 1) | (spread == 0))
    assert abs(split.test[0].mean(0)).max() > 0.01, "of its own it is not standardised"


def test_digits_are_all_there_once_and_in_the_order_of_the_seed():
    split, other = datasets.digits(), datasets.digits(seed=1)
    assert np.bincount(np.concatenate([split.train[1], split.test[1]])).tolist() == [
        178,
        182,
        177,
        183,
        181,
        182,
        181,
        179,
        174,
        180,
    ]
    assert not np.array_equal(split.train[1], other.train[1])
    np.testing.assert_array_equal(split.train[0], datasets.digits().train[0])


def test_shapes_have_as_many_grey_levels_as_their_class_says():
    rng = np.random.default_rng(0)
    for kinds in [*[[k] for k in datasets.SHAPES], *itertools.combinations_with_replacement(datasets.SHAPES, 2)]:
        for _ in range(20):
            levels, counts = np.unique(datasets._scene(list(kinds), 32, rng), return_counts=True)
            assert len(levels) == 1 + len(kinds)
            assert counts.min() >= 10, "no shape is hidden"


def test_copying_says_each_symbol_once_and_asks_for_it_after_the_lag():
    (x, y), (_, y_test) = datasets.copying(lag=4, recalled=3, symbols=5, count=400, test=100)
    assert x.shape == (400, 10, 7)
    np.testing.assert_allclose(np.mean(x**2, axis=2), 1, rtol=1e-12)
    said = x.argmax(2)
    np.testing.assert_array_equal(said[:, :3], y)
    assert (said[:, 3:6] == 5).all(), "blanks"
    assert (said[:, 6] == 6).all(), "the sign, 4 steps after the last symbol"
    assert (said[:, 7:] == 5).all()
    shares = np.bincount(y.ravel(), minlength=5) / y.size
    assert abs(shares - 0.2).max() < 4 * np.sqrt(0.2 * 0.8 / y.size)
    assert not np.array_equal(y[:100], y_test)


def test_adding_marks_one_number_in_each_half_and_its_sum_has_the_known_spread():
    (x, y), _ = datasets.adding(steps=7, count=4000, test=10)
    marks = x[..., 1]
    assert (marks[:, :3].sum(1) == 1).all()
    assert (marks[:, 3:].sum(1) == 1).all()
    assert set(np.unique(marks)) == {0, 1}
    # Mean 1 and variance 1/6 of a sum of two uniforms; its kurtosis is 2.4, so the variance of (y - 1)^2 is 1.4 / 36.
    assert abs(y.mean() - 1) < 4 * np.sqrt(1 / 6 / 4000)
    assert abs(np.mean((y - 1) ** 2) - 1 / 6) < 4 * np.sqrt(1.4 / 36 / 4000)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: datasets.digits(test=1797),
            "`test` must be an integer from 1 to 1796; got 1797. There are 1797 examples",
        ),
        (lambda: datasets.shapes(count=0), "`count` must be an integer of at least 1; got 0"),
        (lambda: datasets.copying(0), "copying: `lag` must be an integer of at least 1; got 0"),
        (lambda: datasets.adding(1), "adding: `steps` must be an integer of at least 2; got 1"),
        (lambda: datasets.adding(2, seed=-1), "adding: `seed` must be an integer of at least 0; got -1"),
        (lambda: datasets.copying(2, seed=-1), "copying: `seed` must be an integer of at least 0; got -1"),
        (lambda: datasets.digit_rows(seed=-1), "digit_rows: `seed` must be an integer of at least 0; got -1"),
    ],
)
def test_bad_sizes(call, message):
    with pytest.raises(ValueError, match=message):
        call()
