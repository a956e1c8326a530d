"""How well a line separates networks that train from others, where the answer is known."""

import numpy as np

from analyses.trainability import separation

DEPTHS, XI_C = np.array([4, 8, 16, 32, 64]), np.array([1.0, 3.0, 9.0, np.inf, 4.0])


def accuracy(trains, rng):
    return np.where(trains, 0.9, 0.15)[..., None] + rng.uniform(-0.05, 0.05, (*trains.shape, 4))


def test_networks_that_obey_the_theory():
    found = separation(accuracy(DEPTHS[:, None] < 6 * XI_C, np.random.default_rng(0)), DEPTHS, XI_C)
    for part in found:
        assert part[1] <= part[0] <= part[2]
    assert found.right.tolist() == found.best.tolist() == [1.0, 1.0, 1.0]
    assert 5.3 < found.factor[0] < 8  # cells lie at 16 / 3 and 8
    assert found.depth_alone[0] < 0.9
    assert found.rank[0] < -0.7


def test_networks_that_obey_another_line_or_depth_alone():
    rng = np.random.default_rng(1)
    found = separation(accuracy(DEPTHS[:, None] < 2 * XI_C, rng), DEPTHS, XI_C)
    assert 16 / 9 < found.factor[0] < 8 / 3
    assert found.best[0] == 1 > found.right[0]
    found = separation(accuracy(np.repeat(DEPTHS[:, None] < 10, 5, axis=1), rng), DEPTHS, XI_C)
    assert found.depth_alone[0] == 1 > found.best[0]
