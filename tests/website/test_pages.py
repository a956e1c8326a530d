"""The examples of the pages that pytest's `testpaths` leaves out run. Most are slow: they compile programs of their own."""

import doctest
import pathlib

import jax
import matplotlib.pyplot as plt
import pytest

DOCS = pathlib.Path(__file__).parent.parent.parent / "docs"
QUICK = ["spectra_and_logarithms.md"]
SLOW = [
    "any_scan.md",
    "edge_of_chaos.md",
    "from_neural_tangents.md",
    "from_pytorch_hooks.md",
    "in_a_notebook.md",
    "index.md",
    "my_model_does_not_train.md",
    "quick_start.md",
    "weights_you_have.md",
    "where_numbers_are_wrong.md",
    "your_own_activation.md",
    "your_own_network.md",
]


@pytest.mark.parametrize("page", [*QUICK, *(pytest.param(page, marks=pytest.mark.slow) for page in SLOW)])
def test_examples_run(page):
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):  # as users do
        failed, tried = doctest.testfile(
            str(DOCS / page), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE
        )
    plt.close("all")
    assert failed == 0, "the answer and what was expected stand above"
    assert tried > 0
