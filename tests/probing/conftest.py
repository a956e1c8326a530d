"""What tests of whole models share."""

import jax
import pytest


@pytest.fixture
def as_people_run_them():
    """Libraries are not written for strict promotion of dtypes and ranks, and train in float32."""
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield
