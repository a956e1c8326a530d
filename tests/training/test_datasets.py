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


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: datasets.digits(test=1797), "`test` must be from 1 to 1796 of 1797 examples; got 1797"),
        (lambda: datasets.shapes(count=0), "`count` must be at least 1; got 0"),
    ],
)
def test_bad_sizes(call, message):
    with pytest.raises(ValueError, match=message):
        call()
