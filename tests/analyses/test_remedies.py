"""The order of remedies, from numbers where it is known."""

import types

import numpy as np
import pytest
import xarray

from analyses.remedies import judging

CASES = [("good", "its own"), ("half", "too small"), ("half", "too large"), ("close", "its own")]
# (case, rate): loss on the choosing seed and mean accuracy on the reported ones.
LOSS = np.array([[0.5, 0.1], [0.2, 0.3], [1.0, 0.5], [0.1, 0.01]])
ACCURACY = np.array([[0.7, 0.9], [0.85, 0.2], [0.2, 0.3], [0.88, 0.1]])


@pytest.fixture
def dataset():
    shape = (4, 2, 4, 2)  # case, rate, seed, step
    loss, accuracy = np.full(shape, 9.0), np.zeros(shape)
    loss[:, :, 0, 1] = LOSS
    accuracy[:, :, 0, 1] = 1.0  # of the seed that chooses: not to be reported
    accuracy[:, :, 1:, 1] = ACCURACY[..., None] + np.array([-0.01, 0.0, 0.01])
    diverged = np.full(shape[:3], -1)
    diverged[3, 1] = 5  # or its loss would be the lowest
    dims = ("case", "rate", "seed", "step")
    return xarray.Dataset(
        {
            "loss": (dims, loss),
            "test_accuracy": (dims, accuracy),
            "log_gradient_ratio": (dims, np.zeros(shape)),
            "log_condition": (("case", "seed"), np.ones((4, 4))),
            "diverged_at": (dims[:3], diverged),
        },
        {
            "remedy": ("case", [r for r, _ in CASES]),
            "ailment": ("case", [a for _, a in CASES]),
            "learning_rate": (("case", "rate"), np.tile([0.1, 1.0], (4, 1))),
        },
    )


def test_order_choice_and_verdicts(dataset):
    options = types.SimpleNamespace(choosing=1)
    order, bar = judging.judged_cases(options, dataset)
    assert bar == pytest.approx(0.1 + 0.9 * 0.8)
    assert [cases[0].remedy for cases in order] == ["good", "close", "half"]
    rows = judging.table(options, dataset)
    assert [row["rate"] for row in rows] == [1.0, 0.1, 1.0]
    assert [row["accuracy"] for row in rows] == pytest.approx([0.9, 0.88, 0.3])
    assert [row["trains"] for row in rows] == ["its own", "its own", "too small"]
    assert [row["works"] for row in rows] == ["1 of 2", "1 of 2", "0 of 2"]
    assert [row["behind"] for row in rows] == ["0.000", "0.020 *", "0.600 *"]
    assert {row["at end"] for row in rows} == {"yes"}
    assert rows[2]["worse case"] == "too large"
